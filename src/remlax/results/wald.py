"""Wald tests of linear hypotheses about the coefficients, of one fit and pooled."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import scipy

from ..errors import DataError
from ..inference.coefficients import CoefficientInference
from ..pooling import PooledTest, d1, d2, wald_statistics
from .constraints import Linear

WaldMethod = Literal["D1", "D2"]


def check_rank(linear: Linear) -> None:
    """Refuse hypotheses that follow from each other, or contradict each other.

    Raises
    ------
    DataError
    """
    size = np.sqrt((linear.matrix**2).sum(axis=1, keepdims=True))
    if np.linalg.matrix_rank(linear.matrix / size) < len(linear.matrix):
        raise DataError(f"the hypotheses are linearly dependent ({'; '.join(linear.labels)}): leave one out")


def fit_test(beta: np.ndarray, within: CoefficientInference, linear: Linear) -> pd.DataFrame:
    """F test of one fit: one row with hypothesis, statistic, df1, df2, p_value."""
    check_rank(linear)
    difference = linear.matrix @ beta - linear.null
    variance = linear.matrix @ within.vcov[0] @ linear.matrix.T
    joint = within.joint(linear.matrix)
    df1, df2 = len(linear.matrix), float(joint.df2[0])
    statistic = float(joint.scale[0] * difference @ np.linalg.solve(variance, difference) / df1)
    p = scipy.stats.f.sf(statistic, df1, df2) if np.isfinite(df2) else scipy.stats.chi2.sf(df1 * statistic, df1)
    return pd.DataFrame(
        {
            "hypothesis": [hypothesis(linear)],
            "statistic": statistic,
            "df1": df1,
            "df2": df2,
            "p_value": float(p),
            "method": joint.name or f"F, {within.rule}",
        }
    )


def pooled_wald(betas: np.ndarray, within: CoefficientInference, linear: Linear, method: WaldMethod) -> PooledTest:
    """D1 or D2 (of Wald statistics) of L beta = q0.

    Parameters
    ----------
    betas : ndarray (K, p)
    within : CoefficientInference
        Its F test gives the complete-data degrees of freedom of D1, averaged over the data sets.
    linear : Linear
    method : {"D1", "D2"}

    Raises
    ------
    DataError
        An unknown method, or dependent hypotheses.
    """
    check_rank(linear)
    estimates = betas @ linear.matrix.T
    covariances = linear.matrix @ within.vcov @ linear.matrix.T
    if method == "D1":
        return d1(estimates, covariances, linear.null, dfcom=float(within.joint(linear.matrix).df2.mean()))
    if method == "D2":
        return d2(wald_statistics(estimates, covariances, linear.null), len(linear.matrix))
    raise DataError(f"method={method!r} is not known: use 'D1' or 'D2'; likelihood tests are in rx.anova()")


def hypothesis(linear: Linear) -> str:
    """Write the hypotheses in one line."""
    return "; ".join(f"{label} = {value:.6g}" for label, value in zip(linear.labels, linear.null, strict=True))


def test_frame(test: PooledTest, what: str) -> pd.DataFrame:
    """One row: hypothesis, statistic, df1, df2, p_value, riv, dfcom, method, note."""
    return pd.DataFrame(
        {
            "hypothesis": [what],
            "statistic": float(test.statistic),
            "df1": test.df1,
            "df2": float(test.df2),
            "p_value": float(test.p_value),
            "riv": float(test.riv),
            "dfcom": float(test.dfcom),
            "method": test.method,
            "note": test.note,
        }
    )
