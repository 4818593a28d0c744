"""Multi-parameter tests of multiply imputed fits from estimates and chi-square statistics: D1 and D2.

Axes: m imputations, k tested components; every function takes leading batch axes before them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from ..errors import PoolingError, PoolingWarning, warn
from ..shapes import Float
from ._checks import (
    FloatArray,
    as_float,
    check_components,
    check_count,
    check_dfcom,
    check_finite,
    name_imputations,
    read_estimates,
)
from .rubin import center, observed_reciprocal, ratio
from .tails import f_upper


@dataclass(frozen=True, eq=False)
class PooledTest:
    """A pooled test; the arrays have the shape of the batch, () for one test."""

    method: str  # "D1", "D2", "D3", "D4" or "D4 (robust)"
    statistic: Float[FloatArray, "*batch"]  # on the scale of F
    df1: int  # number of tested components k
    df2: Float[FloatArray, "*batch"]  # inf where the imputations agree and the sample is taken as large
    p_value: Float[FloatArray, "*batch"]
    riv: Float[FloatArray, "*batch"]  # average relative increase in variance of the tested components
    dfcom: Float[FloatArray, "*batch"]  # complete-data degrees of freedom used (D1); inf for large-sample tests
    note: str = ""  # departures from the plain rule, in sentences


def d1(
    estimates: npt.ArrayLike, covariances: npt.ArrayLike, q0: npt.ArrayLike = 0.0, *, dfcom: npt.ArrayLike = inf
) -> PooledTest:
    """Pooled Wald test of k components (D1).

    r = (1 + 1/m) tr(b ubar^-1) / k and D1 = (qbar - q0)' ubar^-1 (qbar - q0) / (k (1 + r)), referred to F(k, v). With
    dfcom = inf, v is that of Li, Raghunathan and Rubin (1991); with dfcom finite that of Reiter (2007).

    Parameters
    ----------
    estimates : array_like, shape (..., m, k)
        Estimates of the tested components, or of k linear combinations, in each imputation.
    covariances : array_like, shape (..., m, k, k)
        Their covariance matrices.
    q0 : float or array_like, shape (k,), default 0
        Values under the null hypothesis.
    dfcom : float or array_like, shape (...), default inf
        Complete-data degrees of freedom of the test.

    Raises
    ------
    PoolingError
        Fewer than two imputations, shapes that do not fit, values that are not finite, linearly dependent
        components, or degrees of freedom that are not positive.

    Warns
    -----
    PoolingWarning
        Reiter's approximation does not exist: k (m - 1) <= 4 with k > 1, or dfcom is too small for it. The
        degrees of freedom are then 1 / (1 / v + 1 / nu_obs) with v of Li, Raghunathan and Rubin and
        nu_obs = dfcom (dfcom + 1) / (dfcom + 3) / (1 + r). For k = 1 and m <= 5 this is exactly the t test of
        Barnard and Rubin (1999), and there is no warning. `note` says so in each case.

    References
    ----------
    Li, K. H., Raghunathan, T. E. and Rubin, D. B. (1991). JASA 86, 1065-1073.
    Reiter, J. P. (2007). Biometrika 94, 502-508.

    Examples
    --------
    >>> import numpy as np
    >>> test = d1([[1.0, 2.0], [2.0, 2.0], [3.0, 2.0]], np.stack([np.eye(2)] * 3))
    >>> float(test.riv), test.df1
    (0.6666666666666666, 2)
    """
    q, u = read_estimates(estimates, covariances, "covariances")
    m, k = q.shape[-2:]
    check_components(k)
    qbar, deviations = center(q)
    b = deviations.mT @ deviations / (m - 1)
    difference = qbar - _null_values(q0, k)
    whitened, b_white = _whiten(u.mean(axis=-3), difference, b)
    r = (1.0 + 1.0 / m) * np.trace(b_white, axis1=-2, axis2=-1) / k
    statistic = (whitened**2).sum(axis=-1) / (k * (1.0 + r))
    nu_com = check_dfcom(dfcom, r.shape)
    df2, note, grave = _d1_df(m, k, r, nu_com)
    if grave:
        warn(note, PoolingWarning)
    p_value = f_upper(statistic, k, df2)
    return PooledTest("D1", np.asarray(statistic), k, np.asarray(df2), p_value, np.asarray(r), nu_com, note)


def d2(statistics: npt.ArrayLike, k: int) -> PooledTest:
    """Pool m chi-square statistics, Wald or likelihood ratio (D2).

    r = (1 + 1/m) var(sqrt(d_k)), D2 = (dbar / k - (m + 1) / (m - 1) r) / (1 + r), referred to
    F(k, k^(-3/m) (m - 1) (1 + 1/r)^2). The least powerful of the four: use it when nothing else is known.

    Parameters
    ----------
    statistics : array_like, shape (..., m)
        Chi-square statistics of the imputations. Values between -1e-4 and 0, which rounding produces in
        likelihood ratios, count as 0.
    k : int
        Their degrees of freedom.

    Returns
    -------
    PooledTest
        A negative statistic has the p-value 1, and a note.

    Raises
    ------
    PoolingError
        Fewer than two imputations, k < 1, values that are not finite, or a statistic below -1e-4.

    References
    ----------
    Li, K. H., Meng, X.-L., Raghunathan, T. E. and Rubin, D. B. (1991). Statistica Sinica 1, 65-92.

    Examples
    --------
    >>> test = d2([4.0, 4.0, 4.0], 2)
    >>> float(test.statistic), float(test.df2)
    (2.0, inf)
    """
    d = check_statistics(statistics, "chi-square statistics")
    check_components(k)
    m = d.shape[-1]
    note = "" if (d >= 0).all() else "Statistics below zero by rounding count as 0."
    d = np.maximum(d, 0.0)
    roots = np.sqrt(d)
    # from the first one, so that equal statistics give r = 0 exactly
    r = (1.0 + 1.0 / m) * np.var(roots - roots[..., :1], axis=-1, ddof=1)
    statistic = (d.mean(axis=-1) / k - (m + 1.0) / (m - 1.0) * r) / (1.0 + r)
    df2 = k ** (-3.0 / m) * (m - 1.0) * squared_inflation(r)
    return large_sample_test("D2", statistic, k, df2, r, note)


def wald_statistics(
    estimates: npt.ArrayLike, covariances: npt.ArrayLike, q0: npt.ArrayLike = 0.0
) -> Float[FloatArray, "*batch m"]:
    """Wald chi-square statistic (q - q0)' U^-1 (q - q0) of each imputation, as `d2` takes them.

    Parameters
    ----------
    estimates : array_like, shape (..., m, k)
        Estimates of the tested components.
    covariances : array_like, shape (..., m, k, k)
        Their covariance matrices.
    q0 : float or array_like, shape (k,), default 0
        Values under the null hypothesis.

    Returns
    -------
    array, shape (..., m)

    Raises
    ------
    PoolingError
        Shapes that do not fit, values that are not finite, or linearly dependent components.

    Examples
    --------
    >>> wald_statistics([[1.0], [2.0]], [[[1.0]], [[2.0]]])
    array([1., 2.])
    """
    q, u = read_estimates(estimates, covariances, "covariances", several=False)
    whitened, _ = _whiten(u, q - _null_values(q0, q.shape[-1]), u)
    return np.asarray((whitened**2).sum(axis=-1))


def check_statistics(values: npt.ArrayLike, what: str) -> FloatArray:
    """Check statistics (..., m) that cannot be negative but for rounding."""
    d = as_float(values, what, 1)
    check_count(d.shape[-1])
    check_finite(d, what, -1)
    negative = d < -1e-4
    if negative.any():
        raise PoolingError(
            f"The {what} of {name_imputations(negative, -1)} (counted from 1) are negative: the models are not "
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


def _null_values(q0: npt.ArrayLike, k: int) -> FloatArray:
    """Check the values under the null hypothesis."""
    null = as_float(q0, "null values q0", 0)
    if null.shape not in ((), (1,), (k,)) or not np.isfinite(null).all():
        raise PoolingError(f"q0 must be one finite number or {k} of them; it is {np.array2string(null)}.")
    return null


def _whiten(within: FloatArray, difference: FloatArray, between: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Express a vector and a covariance in units of the Cholesky factor of `within`."""
    k = within.shape[-1]
    variances = np.diagonal(within, axis1=-2, axis2=-1)
    # correlations: the check for dependence must not see the units of the components
    scale = np.sqrt(np.where(variances > 0, variances, 1.0))
    outer = scale[..., :, None] * scale[..., None, :]
    smallest = np.linalg.eigvalsh(within / outer)[..., 0]
    if (variances <= 0).any() or (smallest <= 10 * k * np.finfo(float).eps).any():
        raise PoolingError(
            "The covariance matrix of the tested components is singular: a component has no variance, or the "
            "constraints are linearly dependent. Leave out the redundant ones."
        )
    factor = np.linalg.cholesky(within / outer)
    vector = np.linalg.solve(factor, (difference / scale)[..., None])[..., 0]
    half = np.linalg.solve(factor, between / outer)
    return np.asarray(vector), np.asarray(np.linalg.solve(factor, half.mT))


def _reiter_df(t: int, r: FloatArray, w: FloatArray) -> FloatArray:
    """Reiter (2007) for t > 4; w = dfcom (dfcom + 1) / (dfcom + 3); NaN where c2 <= 0."""
    a = r * t / (t - 2.0)
    c0 = 1.0 / (t - 4.0)
    c1 = w - 2.0 * (1.0 + a)
    c2 = np.where(w - 4.0 * (1.0 + a) > 0, w - 4.0 * (1.0 + a), np.nan)
    terms = (
        a**2 * c1 / ((1.0 + a) ** 2 * c2)
        + 8.0 * a**2 * c1 / ((1.0 + a) * c2**2)
        + 4.0 * a**2 / ((1.0 + a) * c2)
        + 4.0 * a**2 / (c2 * c1)
        + 16.0 * a**2 * c1 / c2**3
        + 8.0 * a**2 / c2**2
    )
    return np.asarray(4.0 + 1.0 / (1.0 / c2 + c0 * terms))


def _d1_df(m: int, k: int, r: FloatArray, dfcom: FloatArray) -> tuple[FloatArray, str, bool]:
    """Denominator degrees of freedom of D1, a note, and whether the note deserves a warning."""
    large = large_sample_df(m, k, r)
    finite = np.isfinite(dfcom)
    if not finite.any():
        return large, "", False
    combined = ratio(1.0, 1.0 / large + observed_reciprocal(1.0 / (1.0 + r), dfcom), inf)
    t = k * (m - 1)
    if t <= 4:
        note = (
            f"Reiter's (2007) degrees of freedom need k (m - 1) > 4, with k coefficients and m = {m}; those of "
            "Barnard and Rubin (1999) with the average relative increase in variance are used."
        )
        return np.where(finite, combined, large), note, k > 1
    small = np.where(finite, dfcom, 1.0)
    reiter = _reiter_df(t, r, small * (small + 1.0) / (small + 3.0))
    missing = finite & np.isnan(reiter)
    df2 = np.where(finite, np.where(missing, combined, reiter), large)
    if not missing.any():
        return df2, "", False
    note = (
        "dfcom is too small for Reiter's (2007) degrees of freedom at this relative increase in variance; "
        "those of Barnard and Rubin (1999) with the average relative increase in variance are used."
    )
    return df2, note, True
