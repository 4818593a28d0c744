"""The seam for methods that analyse many data sets at once: arrays in, arrays out, no host round trip in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import SimulationError
from ..simulation.design import MultilevelDesign
from ..simulation.generate import SimulatedData
from ..simulation.measures import STATUSES
from ..simulation.rows import tidy_rows

Scenario = Mapping[str, Any]


@dataclass(frozen=True)
class BatchData:
    """R replications of one scenario.

    Attributes
    ----------
    scenario
        Its parameters.
    replications
        (R,) numbers of the replications.
    keys
        (R,) random keys of this method, one per replication.
    complete
        The data before anything went missing, with leading axis R.
    mask
        (R, n) True where missing, for every column that can be.
    design
        The design that the data were drawn from.
    model
        The study's formula, if it has one.
    full
        Replications of a full batch of the study, which the last one may fall short of.
    """

    scenario: Scenario
    replications: NDArray[np.int64]
    keys: jax.Array
    complete: SimulatedData
    mask: Mapping[str, jax.Array]
    design: MultilevelDesign
    model: str | None
    full: int = 0


@dataclass(frozen=True)
class BatchRows:
    """What a batched method found, for T terms.

    Attributes
    ----------
    terms
        Names of the terms.
    estimate, std_error
        (R, T) numbers; NaN where there is none.
    df, fmi
        (R, T) degrees of freedom and fractions of missing information, if there are any.
    status
        (R,) places in `STATUSES` ("ok", "singular", "nonconverged", "failed"); None: "ok" where there is an
        estimate, and not known to be singular or not. A batched method cannot raise for one replication; it says
        here that it failed.
    n_iter
        (R,) iterations, if they are counted.
    message
        (R,) texts, empty where there is nothing to say.
    """

    terms: Sequence[str]
    estimate: Any
    std_error: Any
    df: Any = None
    fmi: Any = None
    status: Any = None
    n_iter: Any = None
    message: Any = None


@runtime_checkable
class BatchMethod(Protocol):
    """A method that analyses a batch of replications in JAX.

    It gets what was generated and amputed as arrays, and imputes, fits and pools without leaving them.
    """

    def analyse_batch(self, batch: BatchData) -> BatchRows:
        """Analyse all replications of a batch; called with 64-bit types enabled."""
        ...


def batch_rows(
    found: BatchRows, *, replications: NDArray[np.int64], method: str, truth: Mapping[str, float], seconds: float
) -> pd.DataFrame:
    """Rows of the results file, replication by replication, of what a batched method found.

    Terms that are not estimands, of which ``truth`` has the true values, are left out; each row gets its share of
    ``seconds``.

    Raises
    ------
    SimulationError
        An estimand is not among the terms, or an array has another shape.

    Examples
    --------
    >>> found = BatchRows(["x"], np.array([[1.0], [2.0]]), np.array([[0.5], [0.5]]))
    >>> batch_rows(found, replications=np.arange(2), method="a", truth={"x": 1.5}, seconds=1.0).shape
    (2, 16)
    """
    if not isinstance(found, BatchRows):
        raise SimulationError(f"Method {method!r} returned a {type(found).__name__}: return BatchRows.")
    lacking = [term for term in truth if term not in found.terms]
    if lacking:
        raise SimulationError(
            f"Method {method!r} gave no estimand {', '.join(map(repr, lacking))}; it gave "
            f"{', '.join(map(repr, found.terms))}."
        )
    r, t = len(replications), len(truth)
    pick = [list(found.terms).index(term) for term in truth]
    frame: dict[str, Any] = {"term": list(truth) * r, "truth": list(truth.values()) * r}
    for name in ("estimate", "std_error", "df", "fmi"):
        value = getattr(found, name)
        if value is not None:
            frame[name] = _shaped(value, (r, len(found.terms)), method, name)[:, pick].ravel()
    for name in ("status", "n_iter", "message"):
        value = getattr(found, name)
        if value is not None:
            frame[name] = np.repeat(_shaped(value, (r,), method, name), t)
    if "status" in frame:
        if not np.isin(frame["status"], np.arange(len(STATUSES))).all():
            raise SimulationError(f"Method {method!r} gave a status that is no place in {STATUSES}.")
        frame["status"] = np.array(STATUSES)[frame["status"]]
        frame["singular"] = frame["status"] == "singular"
    frame |= {"replication": np.repeat(replications, t), "method": method, "seconds": seconds / r}
    return tidy_rows(pd.DataFrame(frame))


def _shaped(value: Any, shape: tuple[int, ...], method: str, name: str) -> NDArray[Any]:
    array = np.asarray(value)
    if array.shape != shape:
        raise SimulationError(f"Method {method!r} gave {name} of shape {array.shape}; expected {shape}.")
    return array
