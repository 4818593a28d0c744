"""What is known about single cells before imputation, and which values are admissible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from ..errors import ImputationError
from .arguments import checks
from .columns import ColumnCode, FloatArray, slots


@dataclass(frozen=True)
class CellPrior:
    """Normal prior for a missing cell, or for all missing cells of a column.

    Attributes
    ----------
    column
        Continuous column of the imputation model.
    low, high
        Central interval that holds the value with probability `conf`, in units of the data. On a transformed
        column the interval is transformed and the prior is normal there.
    conf
        Probability of the interval, in (0, 1); default 0.95.
    row
        Position of the row, counted from 0; None = every missing cell of the column that has no prior of
        its own.

    Raises
    ------
    ImputationError
        If the interval is empty or `conf` not a probability.

    Examples
    --------
    >>> CellPrior("income", 20_000, 40_000, row=3)
    CellPrior(column='income', low=20000, high=40000, conf=0.95, row=3)
    >>> round(CellPrior.normal("income", mean=30_000, sd=5_000).high)
    39800
    """

    column: str
    low: float
    high: float
    conf: float = 0.95
    row: int | None = None

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            checks.number(getattr(self, name), f"the prior on {self.column!r}: {name}=")
        if not self.low < self.high:
            raise ImputationError(f"the prior on {self.column!r} has low={self.low} and high={self.high}: low < high")
        checks.level(self.conf, f"the prior on {self.column!r}: conf=")

    @classmethod
    def normal(cls, column: str, mean: float, sd: float, *, row: int | None = None) -> CellPrior:
        """Build the prior from a mean and a standard deviation, in units of the data."""
        checks.number(mean, f"the prior on {column!r}: mean=")
        checks.positive(sd, f"the prior on {column!r}: sd=")
        half = float(norm.ppf(0.975)) * sd
        return cls(column, mean - half, mean + half, row=row)


def check_priors(priors: Sequence[CellPrior] | None) -> Sequence[CellPrior]:
    """Return the priors, none as an empty tuple, or raise an ImputationError where they are something else."""
    if priors is None:
        return ()
    if not isinstance(priors, list | tuple) or not all(isinstance(prior, CellPrior) for prior in priors):
        raise ImputationError("priors= needs a list of CellPrior, such as [CellPrior('income', 20_000, 40_000)]")
    return priors


class PriorTable(NamedTuple):
    """Priors on the model scale: rows (k,), means (k, p), precisions (k, p), 0 = no prior."""

    rows: npt.NDArray[np.intp]
    mean: FloatArray
    precision: FloatArray


def _continuous_code(codes: Sequence[ColumnCode], name: str, role: str) -> ColumnCode:
    code = {c.name: c for c in codes}.get(name)
    if code is None or code.kind != "continuous":
        what = "is not in the imputation model" if code is None else f"is {code.kind}"
        raise ImputationError(f"{role}= names {name!r}, which {what}: it can name continuous columns only")
    return code


def prior_table(
    priors: Sequence[CellPrior] | None, codes: Sequence[ColumnCode], missing: npt.NDArray[np.bool_]
) -> PriorTable | None:
    """Collect the priors of the rows that have one; missing (n, p) flags the model columns.

    Raises ImputationError: the column is not continuous, the row does not exist, its cell is observed, or the
    interval leaves the domain of the column's transform.
    """
    if not priors:
        return None
    mean, precision = np.zeros(missing.shape), np.zeros(missing.shape)
    where = slots(codes)
    # priors on whole columns first, so that those on single cells win
    for prior in sorted(priors, key=lambda p: p.row is not None):
        code = _continuous_code(codes, prior.column, "priors")
        column = where[prior.column].start
        ends = code.forward([prior.low, prior.high])
        if not np.isfinite(ends).all():
            raise ImputationError(
                f"the prior interval [{prior.low}, {prior.high}] on {prior.column!r} leaves the domain of "
                f"its {code.transform} transform"
            )
        rows = np.flatnonzero(missing[:, column])
        if prior.row is not None:
            if prior.row not in rows:
                raise ImputationError(f"the prior on {prior.column!r} names row {prior.row}, where no cell is missing")
            rows = np.array([prior.row])
        mean[rows, column] = ends.mean()
        precision[rows, column] = (2.0 * norm.ppf(0.5 + prior.conf / 2.0) / (ends[1] - ends[0])) ** 2
    rows = np.flatnonzero(precision.any(axis=1))
    return PriorTable(rows, mean[rows], precision[rows])


def bounds_table(
    bounds: Mapping[str, tuple[float, float]] | None,
    codes: Sequence[ColumnCode],
    data: pd.DataFrame,
    width: int,
) -> tuple[FloatArray, FloatArray] | None:
    """Lowest and highest values of `width` model columns, mapped through the columns' transforms.

    Raises ImputationError: the column is not continuous, the interval is empty, or no observed value lies inside.
    """
    if not bounds:
        return None
    where = slots(codes)
    low, high = np.full(width, -np.inf), np.full(width, np.inf)
    for name, limits in bounds.items():
        code = _continuous_code(codes, name, "bounds")
        try:
            least, most = (float(limit) for limit in limits)
        except (TypeError, ValueError):
            raise ImputationError(f"bounds= gives {limits!r} for {name!r}: give a pair (lowest, highest)") from None
        ends = code.forward([least, most])
        if not ends[0] < ends[1] or not data[name].between(least, most).any():
            raise ImputationError(
                f"bounds= gives [{least}, {most}] for {name!r}, which holds none of its observed values "
                f"({data[name].min()} to {data[name].max()})"
            )
        low[where[name]], high[where[name]] = ends
    return low, high
