"""P-values adjusted for several comparisons."""

from __future__ import annotations

from math import comb
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from ..errors import PoolingError
from ..shapes import Float
from ._checks import FloatArray, as_float, checks
from .tails import t_two_sided

Adjustment = Literal["none", "bonferroni", "holm", "sidak"]

# a power of 2, as Sobol points want; and nodes for the estimate of scale
DUNNETT_POINTS, SCALE_NODES = 2**11, 24
# share of a variance below which it follows from others
NOTHING_LEFT = 1e-12
TINY = 1e-300


def adjust_p_values(p_values: npt.ArrayLike, method: Adjustment = "holm") -> Float[FloatArray, "*batch n"]:
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
    checks.choice(method, Adjustment, "method=")
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
    order = np.argsort(p, axis=-1)  # NaN last
    steps = np.maximum(n - np.arange(p.shape[-1]), 1) * np.take_along_axis(p, order, axis=-1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(steps, axis=-1), 1.0), axis=-1)
    return adjusted


def tukey_p_value(statistic: npt.ArrayLike, n_means: int, df: npt.ArrayLike) -> FloatArray:
    """Tukey's p-value of pairwise differences between means, from their t statistics.

    P(Q > sqrt(2) |t|), Q the studentized range of `n_means` means with `df` degrees of freedom. It is exact for
    independent means of equal variance and df, and an approximation otherwise, as with pooled means.

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


def dunnett_p_value(statistic: npt.ArrayLike, correlation: npt.ArrayLike, df: npt.ArrayLike) -> FloatArray:
    """P-values of several comparisons with one reference, from their t statistics.

    P(max_j |T_j| > |t|), T multivariate t with the correlations of the estimates (Dunnett 1955): exact for estimates
    that are normal given one common estimate of scale, whatever the correlations are.

    Parameters
    ----------
    statistic : array_like (r,)
        t statistics.
    correlation : array_like (r, r)
        Correlations of the estimates; may be singular.
    df : float or array_like
        Degrees of freedom, inf allowed; each comparison is adjusted with its own.

    Returns
    -------
    array (r,)
        NaN where a statistic is NaN. By Genz and Bretz's (2002) transformation over fixed quasi-random points: correct
        to 1e-5 for up to four comparisons and 1e-4 for more, the same in every call, and never outside the p-value of
        one comparison and its Bonferroni adjustment.

    Raises
    ------
    PoolingError
        A matrix that is no correlation matrix of the statistics, or degrees of freedom that are not positive where the
        statistic is not NaN.

    References
    ----------
    Dunnett, C. W. (1955). JASA 50, 1096-1121.
    Genz, A. and Bretz, F. (2002). J. Comput. Graph. Stat. 11, 950-971.

    Examples
    --------
    >>> dunnett_p_value([2.0, 1.0], [[1.0, 0.5], [0.5, 1.0]], 10).round(4)
    array([0.1272, 0.5247])
    """
    t, nu = np.broadcast_arrays(as_float(statistic, "statistics", 1), as_float(df, "degrees of freedom", 0))
    known = np.flatnonzero(~np.isnan(t))
    rows = as_float(correlation, "correlations", 2)
    if t.ndim != 1 or rows.shape != (len(t), len(t)):
        raise PoolingError(f"{len(t)} comparisons need correlations of shape {(len(t),) * 2}, not {rows.shape}.")
    rows = rows[np.ix_(known, known)]
    if not (np.allclose(np.diag(rows), 1) and np.allclose(rows, rows.T) and (np.linalg.eigvalsh(rows) > -1e-8).all()):
        raise PoolingError("The correlations of the comparisons are not those of any estimates.")
    if not (nu[known] > 0).all():
        raise PoolingError("The degrees of freedom of a comparison must be positive.")
    p = np.full(t.shape, np.nan)
    if not len(known):
        return p
    points = scipy.stats.qmc.Sobol(max(len(known) - 1, 1), rng=np.random.default_rng(0)).random(DUNNETT_POINTS)
    root = _root(rows)
    for i in known:
        single = float(t_two_sided(t[i], nu[i]))
        scale, weight = _scales(nu[i])
        outside = 1 - _all_inside(np.abs(t[i]) * scale[:, None], root, points).mean(axis=1)
        p[i] = np.clip(weight @ outside, single, min(len(known) * single, 1.0))
    return p


def _scales(df: float) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of an integral over the distribution of sqrt(chi2 / df)."""
    if np.isinf(df):
        return np.ones(1), np.ones(1)
    low, high = np.sqrt(scipy.stats.chi2.ppf([1e-15, 1 - 1e-15], df))
    at, weight = np.polynomial.legendre.leggauss(SCALE_NODES)
    root = low + (high - low) * (at + 1) / 2
    density = weight * scipy.stats.chi.pdf(root, df)
    return root / np.sqrt(df), density / density.sum()


def _root(matrix: FloatArray) -> FloatArray:
    """Cholesky factor of a correlation matrix that may be singular: a column of zeros where nothing is left."""
    out = np.zeros_like(matrix)
    for j in range(len(matrix)):
        rest = matrix[j:, j] - out[j:, :j] @ out[j, :j]
        if rest[0] > NOTHING_LEFT:
            out[j:, j] = rest / np.sqrt(rest[0])
    return out


def _all_inside(limit: FloatArray, root: FloatArray, points: FloatArray) -> FloatArray:
    """P(|Z_j| <= limit for all j), Z normal with covariance root root', at limits (s, 1) given points (n, r - 1)."""
    shape = (len(limit), len(points))
    inside, normal = np.ones(shape), np.zeros((len(root), *shape))
    for j in range(len(root)):
        mean, size = np.tensordot(root[j, :j], normal[:j], axes=1), root[j, j]
        if size == 0:
            inside = np.where(np.abs(mean) <= limit, inside, 0.0)
            continue
        low, high = (scipy.special.ndtr((sign * limit - mean) / size) for sign in (-1.0, 1.0))
        inside = inside * (high - low)
        if j < len(root) - 1:
            normal[j] = scipy.special.ndtri(np.clip(low + points[:, j] * (high - low), TINY, 1 - 1e-16))
    return inside
