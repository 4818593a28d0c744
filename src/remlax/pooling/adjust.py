"""P-values adjusted for several comparisons."""

from __future__ import annotations

from math import comb
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from remlax.errors import PoolingError
from remlax.pooling._checks import FloatArray, as_float
from remlax.pooling._tails import t_two_sided

Adjustment = Literal["none", "bonferroni", "holm", "sidak"]


def adjust_p_values(p_values: npt.ArrayLike, method: Adjustment = "holm") -> FloatArray:
    """Adjust the p-values of a family of tests.

    Parameters
    ----------
    p_values : array_like, shape (..., n)
        P-values; a family lies along the last axis. NaN stays NaN and does not count as a test.
    method : {"none", "bonferroni", "holm", "sidak"}, default "holm"
        Holm's step-down procedure holds under any dependence and is never less powerful than Bonferroni's;
        Sidak's 1 - (1 - p)^n assumes independent tests.

    Returns
    -------
    array, shape (..., n)

    Raises
    ------
    PoolingError
        A p-value outside [0, 1], no axis, or an unknown method.

    References
    ----------
    Holm, S. (1979). Scandinavian Journal of Statistics 6, 65-70.
    Sidak, Z. (1967). JASA 62, 626-633.

    Examples
    --------
    >>> adjust_p_values([0.01, 0.04, 0.03], "holm")
    array([0.03, 0.06, 0.06])
    """
    p = as_float(p_values, "p-values", 1)
    if ((p < 0) | (p > 1)).any():
        raise PoolingError("P-values must lie between 0 and 1.")
    n = (~np.isnan(p)).sum(axis=-1, keepdims=True)
    if method == "none":
        return p.copy()
    if method == "bonferroni":
        return np.asarray(np.minimum(p * n, 1.0))
    if method == "sidak":
        # a p-value of 1 has the logarithm of zero, and the adjusted value 1
        with np.errstate(divide="ignore"):
            return np.asarray(-np.expm1(n * np.log1p(-p)))
    if method == "holm":
        order = np.argsort(p, axis=-1)  # NaN last
        steps = np.maximum(n - np.arange(p.shape[-1]), 1) * np.take_along_axis(p, order, axis=-1)
        adjusted = np.empty_like(p)
        np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(steps, axis=-1), 1.0), axis=-1)
        return adjusted
    raise PoolingError(f'The method must be "none", "bonferroni", "holm" or "sidak"; it is {method!r}.')


def tukey_p_value(statistic: npt.ArrayLike, n_means: int, df: npt.ArrayLike) -> FloatArray:
    """Tukey's p-value of pairwise differences between means, from their t statistics.

    P(Q > sqrt(2) |t|), Q the studentized range of `n_means` means with `df` degrees of freedom. It is
    exact for independent means of equal variance and df, and an approximation otherwise, as with pooled
    means.

    Parameters
    ----------
    statistic : float or array_like
        t statistics of the differences.
    n_means : int
        Number of means compared with each other (not of differences), at least 2.
    df : float or array_like
        Degrees of freedom, inf allowed; broadcast against `statistic`.

    Returns
    -------
    array
        NaN where a statistic is NaN. Correct to about 1e-12, and never outside the p-value of one comparison
        and its Bonferroni adjustment.

    Raises
    ------
    PoolingError
        n_means < 2, or degrees of freedom that are not positive where the statistic is not NaN.

    References
    ----------
    Tukey, J. W. (1953). The problem of multiple comparisons. Princeton University.

    Examples
    --------
    >>> round(float(tukey_p_value(2.0, 2, 10)), 6)
    0.073388
    """
    if n_means < 2:
        raise PoolingError(f"Pairwise comparisons need at least two means; there are {n_means}.")
    t, nu = np.broadcast_arrays(as_float(statistic, "statistics", 0), as_float(df, "degrees of freedom", 0))
    known = ~np.isnan(t)
    if not (nu[known] > 0).all():
        raise PoolingError("The degrees of freedom of a comparison must be positive.")
    single = t_two_sided(t, nu)
    p = np.full(t.shape, np.nan)
    p[known] = scipy.stats.studentized_range.sf(np.sqrt(2.0) * np.abs(t[known]), n_means, nu[known])
    # SciPy's upper tail is 1 - cdf below about 1e-12; the exact one lies between these two bounds
    return np.asarray(np.clip(p, single, np.minimum(comb(n_means, 2) * single, 1.0)))
