"""Replicate weights: how they were made, and what the squares of their deviations are multiplied with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ..checks import Checks
from ..errors import DataError, shortened

Method = Literal["brr", "fay", "jk1", "jk2", "bootstrap"]
NAMES = {
    "brr": "balanced repeated replication",
    "fay": "Fay's method",
    "jk1": "the jackknife (JK1)",
    "jk2": "the paired jackknife (JK2)",
    "bootstrap": "the bootstrap",
}
checks = Checks()


@dataclass(frozen=True, eq=False)
class Replicates:
    """Replicate weights (R, n), the factor of the sum of squares, degrees of freedom, and the method in words."""

    weights: np.ndarray
    factor: float
    df: float
    words: str


def read_replicates(
    given: pd.DataFrame | Sequence[str] | None,
    frame: pd.DataFrame,
    kept: np.ndarray | None,
    method: Method | None,
    fay: float,
    factor: float | None,
) -> Replicates | None:
    """Read replicate weights: columns of the data, or a frame with a row for every row of it.

    Raises
    ------
    DataError
    """
    if method is not None:
        checks.choice(method, Method, "method=")
    if given is None:
        if method is not None:
            raise DataError(f"method={method!r} says how replicate weights were made: give them as replicates=")
        return None
    if method is None:
        known = ", ".join(map(repr, get_args(Method)))
        raise DataError(f"replicates= needs method=, which says how they were made: one of {known}")
    values = _values(given, frame, kept)
    if not np.isfinite(values).all() or (values < 0).any():
        raise DataError(f"{int((~(values >= 0)).sum())} replicate weights are missing, infinite or negative")
    count = len(values)
    if count < 2:
        raise DataError("replicates= holds one set of weights: at least two are needed")
    checks.number(fay, "fay=", 0.0, 0.99)
    usual = {"brr": 1 / count, "fay": 1 / (count * (1 - fay) ** 2), "jk1": (count - 1) / count, "jk2": 1.0}
    own = usual.get(method, 1 / (count - 1)) if factor is None else checks.positive(factor, "replicate_factor=")
    words = f"{count} replicates by {NAMES[method]}" + (f" ({fay:g})" if method == "fay" else "")
    return Replicates(values, own, float(np.linalg.matrix_rank(values) - 1), words)


def _values(given: pd.DataFrame | Sequence[str], frame: pd.DataFrame, kept: np.ndarray | None) -> np.ndarray:
    if isinstance(given, pd.DataFrame):
        if len(given) != (len(frame) if kept is None else len(kept)):
            raise DataError(f"replicates= has {len(given)} rows, and the data have {len(frame)}")
        chosen = given if kept is None else given.loc[kept]
        if not chosen.index.equals(frame.index):
            raise DataError("the rows of replicates= have other labels than those of the data, or another order")
    else:
        names = checks.names(given, "replicates=")
        unknown = [name for name in names if name not in frame.columns]
        if unknown:
            raise DataError(f"replicates= names {shortened(map(repr, unknown))}, which is no column of the data")
        chosen = frame[names]
    wrong = [str(name) for name, kind in chosen.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if wrong:
        raise DataError(f"replicate weights must be numbers, and {shortened(map(repr, wrong))} holds other things")
    return np.ascontiguousarray(chosen.to_numpy(np.float64).T)
