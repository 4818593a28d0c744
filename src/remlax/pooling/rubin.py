"""Rubin's rules for m estimates of p parameters and their covariances, with batch axes before them, if any."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from ..errors import PoolingError
from ..shapes import Float
from ._checks import FloatArray, as_float, check_dfcom, check_variances, checks, read_estimates
from .tails import t_quantile, t_two_sided


@dataclass(frozen=True, eq=False)
class PooledColumns:
    """What Rubin's rules say about each parameter by itself; arrays of shape (..., p).

    Attributes
    ----------
    conf_level : float
        Confidence level of `conf_low` and `conf_high`.
    estimate, std_error : array
        Mean of the estimates, and the square root of the total variance.
    riv, lambda_, fmi : array
        Relative increase in variance; share of the total variance due to missing data (the column `lambda` of
        tables); fraction of missing information, with the small-sample term 2 / (df + 3).
    df, df_rubin1987, dfcom : array
        Degrees of freedom used (Barnard and Rubin 1999); those of Rubin (1987), which take the complete-data
        degrees of freedom as infinite; and the complete-data degrees of freedom themselves.
    statistic, p_value : array
        (estimate - q0) / std_error and its two-sided p-value; NaN where the total variance is zero.
    conf_low, conf_high : array
        Limits estimate -+ t_{df} std_error.
    relative_efficiency : array
        1 / (1 + fmi / m) (Rubin 1987, p. 114).
    """

    conf_level: float
    estimate: Float[FloatArray, "*batch p"]
    std_error: Float[FloatArray, "*batch p"]
    riv: Float[FloatArray, "*batch p"]
    lambda_: Float[FloatArray, "*batch p"]
    fmi: Float[FloatArray, "*batch p"]
    df: Float[FloatArray, "*batch p"]
    df_rubin1987: Float[FloatArray, "*batch p"]
    dfcom: Float[FloatArray, "*batch p"]
    statistic: Float[FloatArray, "*batch p"]
    p_value: Float[FloatArray, "*batch p"]
    conf_low: Float[FloatArray, "*batch p"]
    conf_high: Float[FloatArray, "*batch p"]
    relative_efficiency: Float[FloatArray, "*batch p"]


@dataclass(frozen=True, eq=False)
class ScalarPool(PooledColumns):
    """Pooled parameters of which only the variances are known: `PooledColumns`, and their parts.

    Attributes
    ----------
    m : int
        Number of imputations.
    ubar, b, t : array, shape (..., p)
        Within, between and total variance.
    """

    m: int
    ubar: Float[FloatArray, "*batch p"]
    b: Float[FloatArray, "*batch p"]
    t: Float[FloatArray, "*batch p"]


@dataclass(frozen=True, eq=False)
class RubinPool(PooledColumns):
    """Pooled parameters as in `ScalarPool`, ``ubar``, ``b`` and ``t`` being covariance matrices (..., p, p)."""

    m: int
    ubar: Float[FloatArray, "*batch p p"]
    b: Float[FloatArray, "*batch p p"]
    t: Float[FloatArray, "*batch p p"]


def pool_rubin(
    estimates: npt.ArrayLike, covariances: npt.ArrayLike, *, dfcom: npt.ArrayLike = inf, conf_level: float = 0.95
) -> RubinPool:
    """Pool m estimates of p parameters and their covariance matrices.

    With estimates q_k and covariances U_k: ubar = mean U_k, b = sum (q_k - qbar)(q_k - qbar)' / (m - 1),
    t = ubar + (1 + 1/m) b. The degrees of freedom are those of Barnard and Rubin (1999, eq. 3-5).

    Parameters
    ----------
    estimates : array_like, shape (..., m, p)
        Estimates of each imputation.
    covariances : array_like, shape (..., m, p, p)
        Their covariance matrices.
    dfcom : float or array_like, shape (..., p), default inf
        Complete-data degrees of freedom; inf gives the degrees of freedom of Rubin (1987).
    conf_level : float, default 0.95
        Level of the confidence limits.

    Raises
    ------
    PoolingError
        Fewer than two imputations, shapes that do not fit, values that are not finite (the message names the
        imputation), a negative variance, or degrees of freedom that are not positive.

    Notes
    -----
    With identical imputations b = 0, riv = lambda = 0 and df is Barnard and Rubin's observed-data value
    dfcom (dfcom + 1) / (dfcom + 3), a little below dfcom. A parameter whose within variance is zero has
    lambda = 1; with dfcom finite its df is 0 and its limits are infinite.

    References
    ----------
    Rubin, D. B. (1987). Multiple Imputation for Nonresponse in Surveys. Wiley, ch. 3.
    Barnard, J. and Rubin, D. B. (1999). Biometrika 86, 948-955.

    Examples
    --------
    >>> import numpy as np
    >>> pool = pool_rubin([[1.0], [2.0], [3.0]], np.full((3, 1, 1), 4.0))
    >>> pool.t.item(), pool.riv.item()
    (5.333333333333333, 0.3333333333333333)
    """
    q, u = read_estimates(estimates, covariances, "covariances")
    m = q.shape[-2]
    checks.level(conf_level)
    check_variances(np.diagonal(u, axis1=-2, axis2=-1), -2)
    qbar, deviations = center(q)
    ubar = u.mean(axis=-3)
    b = deviations.mT @ deviations / (m - 1)
    return _rubin_pool(m, qbar, ubar, b, check_dfcom(dfcom, qbar.shape), conf_level, np.zeros(()))


def pool_scalars(
    estimates: npt.ArrayLike, variances: npt.ArrayLike, *, dfcom: npt.ArrayLike = inf, conf_level: float = 0.95
) -> ScalarPool:
    """Pool m estimates of p parameters of which only the variances are needed, at a cost linear in p.

    The columns equal those of `pool_rubin` with these variances on the diagonals.

    Parameters
    ----------
    estimates, variances : array_like, shape (..., m, p)
        Estimates of each imputation, and their variances.
    dfcom, conf_level
        As for `pool_rubin`.

    Raises
    ------
    PoolingError
        As `pool_rubin`.

    Examples
    --------
    >>> pool_scalars([[1.0], [2.0], [3.0]], [[4.0], [4.0], [4.0]]).t.item()
    5.333333333333333
    """
    q, u = read_estimates(estimates, variances, "variances")
    m = q.shape[-2]
    checks.level(conf_level)
    check_variances(u, -2)
    qbar, deviations = center(q)
    ubar = u.mean(axis=-2)
    b = (deviations**2).sum(axis=-2) / (m - 1)
    pooled = columns(m, qbar, ubar, b, check_dfcom(dfcom, qbar.shape), conf_level)
    return ScalarPool(**vars(pooled), m=m, ubar=ubar, b=b, t=ubar + (1.0 + 1.0 / m) * b)


def linear(pool: RubinPool, L: npt.ArrayLike, q0: npt.ArrayLike = 0.0, *, dfcom: npt.ArrayLike = inf) -> RubinPool:
    """Pooled linear combinations L q, each row with its own degrees of freedom.

    Rubin's rules commute with linear maps: the covariances become L ubar L', L b L' and L t L'.

    Parameters
    ----------
    pool : RubinPool
        What `pool_rubin` returned.
    L : array_like, shape (r, p)
        One row per combination.
    q0 : float or array_like, shape (r,), default 0
        Values under the null hypothesis; they enter the statistic and the p-value only.
    dfcom : float or array_like, shape (..., r), default inf
        Complete-data degrees of freedom of each combination (not those of the parameters).

    Returns
    -------
    RubinPool
        With p replaced by r; the confidence level is that of `pool`.

    Raises
    ------
    PoolingError
        L or q0 has the wrong shape or holds values that are not finite, or dfcom is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> pool = pool_rubin([[1.0, 2.0], [2.0, 2.0]], np.stack([np.eye(2)] * 2))
    >>> linear(pool, [[1.0, -1.0]]).estimate
    array([-0.5])
    """
    matrix = as_float(L, "contrast matrix L", 2)
    p = pool.estimate.shape[-1]
    if matrix.ndim != 2 or matrix.shape[1] != p:
        raise PoolingError(f"The contrast matrix L has the shape {matrix.shape}; it needs 2 axes and {p} columns.")
    null = as_float(q0, "null values q0", 0)
    if null.shape not in ((), (1,), (len(matrix),)):
        raise PoolingError(f"q0 has the shape {null.shape}; one number or {len(matrix)} numbers are needed.")
    if not (np.isfinite(matrix).all() and np.isfinite(null).all()):
        raise PoolingError("The contrast matrix L and the null values q0 must hold finite numbers only.")
    estimate = pool.estimate @ matrix.T
    ubar = matrix @ pool.ubar @ matrix.T
    b = matrix @ pool.b @ matrix.T
    return _rubin_pool(pool.m, estimate, ubar, b, check_dfcom(dfcom, estimate.shape), pool.conf_level, null)


def center(
    values: Float[FloatArray, "*batch m p"],
) -> tuple[Float[FloatArray, "*batch p"], Float[FloatArray, "*batch m p"]]:
    """Mean over the imputations (axis -2) and the deviations from it.

    Both are taken from the first imputation, so that identical imputations give deviations of exactly zero.
    """
    first = values[..., :1, :]
    shifted = values - first
    mean = shifted.mean(axis=-2, keepdims=True)
    return (first + mean)[..., 0, :], shifted - mean


def columns(
    m: int | npt.NDArray[np.int64],
    estimate: Float[FloatArray, "*batch p"],
    ubar: Float[FloatArray, "*batch p"],
    b: Float[FloatArray, "*batch p"],
    dfcom: Float[FloatArray, "*batch p"],
    conf_level: float,
    q0: FloatArray | float = 0.0,
) -> PooledColumns:
    """Apply Rubin's rules to each parameter by itself, from its within and between variance (..., p)."""
    extra = (1.0 + 1.0 / m) * b
    t = ubar + extra
    lambda_ = ratio(extra, t, 0.0)
    # ubar / t rather than 1 - lambda: exact when nearly all the variance lies between the imputations
    within_share = ratio(ubar, t, 1.0)
    df = barnard_rubin_df(m, lambda_, within_share, dfcom)
    fmi = lambda_ + 2.0 / (df + 3.0) * within_share
    std_error = np.sqrt(t)
    # where t = 0 the limits are the estimate itself, also when df = 0 makes the quantile infinite
    half_width = np.where(t == 0, 0.0, t_quantile(conf_level, df) * np.where(t == 0, 1.0, std_error))
    statistic = ratio(estimate - q0, std_error, np.nan)
    return PooledColumns(
        conf_level=conf_level,
        estimate=estimate,
        std_error=std_error,
        riv=ratio(extra, ubar, np.where(extra > 0, inf, 0.0)),
        lambda_=lambda_,
        fmi=fmi,
        df=df,
        df_rubin1987=barnard_rubin_df(m, lambda_, within_share, np.full_like(dfcom, inf)),
        dfcom=dfcom,
        statistic=statistic,
        p_value=t_two_sided(statistic, df),
        conf_low=estimate - half_width,
        conf_high=estimate + half_width,
        relative_efficiency=1.0 / (1.0 + fmi / m),
    )


def barnard_rubin_df(
    m: int | npt.NDArray[np.int64], lambda_: FloatArray, within_share: FloatArray, dfcom: FloatArray
) -> FloatArray:
    """Degrees of freedom 1 / (1 / nu_old + 1 / nu_obs), in reciprocals so that no limit divides by zero.

    nu_old = (m - 1) / lambda^2 (Rubin 1987) and nu_obs = (1 - lambda) dfcom (dfcom + 1) / (dfcom + 3) (Barnard and
    Rubin 1999); `within_share` is 1 - lambda.
    """
    return ratio(1.0, lambda_**2 / (m - 1) + observed_reciprocal(within_share, dfcom), inf)


def observed_reciprocal(within_share: FloatArray, dfcom: FloatArray) -> FloatArray:
    """1 / nu_obs of Barnard and Rubin (1999), 0 at dfcom = inf whatever the share of the within variance."""
    # (dfcom + 3) / (dfcom (dfcom + 1)), written so that it vanishes at infinity
    complete = (1.0 + 2.0 / (dfcom + 1.0)) / dfcom
    return np.where(np.isposinf(dfcom), 0.0, ratio(complete, within_share, inf))


def ratio(numerator: FloatArray | float, denominator: FloatArray, otherwise: FloatArray | float) -> FloatArray:
    """`numerator / denominator`, and `otherwise` where the denominator is zero; an overflow is its limit."""
    zero = denominator == 0
    with np.errstate(over="ignore"):
        quotient = numerator / np.where(zero, 1.0, denominator)
    return np.asarray(np.where(zero, otherwise, quotient))


def _rubin_pool(
    m: int, estimate: FloatArray, ubar: FloatArray, b: FloatArray, dfcom: FloatArray, conf_level: float, q0: FloatArray
) -> RubinPool:
    """Assemble a RubinPool from the covariances."""
    # a combination that does not vary has a variance of zero up to rounding, never below
    within, between = (np.maximum(np.diagonal(a, axis1=-2, axis2=-1), 0.0) for a in (ubar, b))
    pooled = columns(m, estimate, within, between, dfcom, conf_level, q0)
    return RubinPool(**vars(pooled), m=m, ubar=ubar, b=b, t=ubar + (1.0 + 1.0 / m) * b)
