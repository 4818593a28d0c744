"""What the pooled tests share: the result, the check of statistics, the reference distribution."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from ..errors import PoolingError
from ..pooling._checks import FloatArray, as_float, check_count, check_finite, name_imputations
from ..pooling._tails import f_upper
from ..pooling.rubin import ratio
from ..shapes import Float


@dataclass(frozen=True, eq=False)
class PooledTest:
    """A pooled test; the arrays have the shape of the batch, () for one test.

    Attributes
    ----------
    method : str
        "D1", "D2", "D3", "D4" or "D4 (robust)".
    statistic : array
        Statistic on the scale of F.
    df1 : int
        Number of tested components k.
    df2 : array
        Denominator degrees of freedom; inf where the imputations agree and the sample is taken as large.
    p_value : array
        Upper tail probability.
    riv : array
        Average relative increase in variance of the tested components.
    dfcom : array
        Complete-data degrees of freedom used (D1); inf for the large-sample tests.
    note : str
        Departures from the plain rule, in sentences; empty when there are none.
    """

    method: str
    statistic: Float[FloatArray, "*batch"]
    df1: int
    df2: Float[FloatArray, "*batch"]
    p_value: Float[FloatArray, "*batch"]
    riv: Float[FloatArray, "*batch"]
    dfcom: Float[FloatArray, "*batch"]
    note: str = ""


def check_statistics(values: npt.ArrayLike, what: str) -> FloatArray:
    """Check statistics (..., m) that cannot be negative but for rounding."""
    d = as_float(values, what, 1)
    check_count(d.shape[-1])
    check_finite(d, what, -1)
    negative = d < -1e-4
    if negative.any():
        where = np.unique(np.nonzero(negative)[-1]) + 1
        raise PoolingError(
            f"The {what} of {name_imputations(where)} (counted from 1) are negative: the models are not "
            "nested, not fitted to the same data, or a fit has not converged."
        )
    return d


def large_sample_df(m: int, k: int, r: Float[FloatArray, "*batch"]) -> Float[FloatArray, "*batch"]:
    """Denominator degrees of freedom of Li, Raghunathan and Rubin (1991), used by D1 and D3."""
    t = k * (m - 1)
    if t > 4:
        return 4.0 + (t - 4.0) * squared_inflation(r, 1.0 - 2.0 / t)
    return t * (1.0 + 1.0 / k) * squared_inflation(r) / 2.0


def squared_inflation(r: Float[FloatArray, "*batch"], factor: float = 1.0) -> Float[FloatArray, "*batch"]:
    """(1 + factor / r)^2, infinite in the limit of imputations that agree."""
    with np.errstate(over="ignore"):
        return np.asarray((1.0 + factor * ratio(1.0, r, inf)) ** 2)


def large_sample_test(
    method: str, statistic: FloatArray, k: int, df2: FloatArray, r: FloatArray, note: str
) -> PooledTest:
    """Add the p-value of a large-sample test, and a note where the statistic is negative."""
    if (statistic < 0).any():
        note = f"{note} The statistic is negative, hence p = 1.".strip()
    df2 = np.asarray(df2)
    p = f_upper(np.asarray(statistic), k, df2)
    return PooledTest(method, np.asarray(statistic), k, df2, p, np.asarray(r), np.full(df2.shape, inf), note)
