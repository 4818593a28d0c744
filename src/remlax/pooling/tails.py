"""Tail probabilities and quantiles of t and F that hold at zero and infinite degrees of freedom.

They call scipy.special, which scipy.stats itself calls: importing scipy.stats would double the import time of remlax.
"""

from __future__ import annotations

import numpy as np
import scipy

from ._checks import FloatArray


def t_two_sided(statistic: FloatArray, df: FloatArray) -> FloatArray:
    """P(|T| > |statistic|); 1 in the limit of no degrees of freedom; NaN stays NaN."""
    positive = df > 0
    p = 2.0 * scipy.special.stdtr(np.where(positive, df, 1.0), -np.abs(statistic))
    return np.asarray(np.where(positive | np.isnan(p), p, 1.0))


def t_quantile(conf_level: float, df: FloatArray) -> FloatArray:
    """Half-width, in standard errors, of a two-sided interval; infinite at no degrees of freedom."""
    positive = df > 0
    quantile = -scipy.special.stdtrit(np.where(positive, df, 1.0), (1.0 - conf_level) / 2.0)
    return np.asarray(np.where(positive, quantile, np.where(np.isnan(df), np.nan, np.inf)))


def f_upper(statistic: FloatArray, df1: float, df2: FloatArray) -> FloatArray:
    """P(F > statistic), 1 for a negative statistic; df2 = inf (unknown to SciPy) is the chi-square limit."""
    infinite = np.isposinf(df2)
    finite_tail = scipy.special.fdtrc(df1, np.where(infinite, 1.0, df2), np.maximum(statistic, 0.0))
    return np.asarray(np.where(infinite, scipy.special.chdtrc(df1, df1 * np.maximum(statistic, 0.0)), finite_tail))
