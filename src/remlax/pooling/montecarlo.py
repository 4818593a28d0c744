"""How much of a pooled number is noise of the imputations, and how many imputations are enough."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt
import scipy

from ..errors import PoolingError
from ..shapes import Float, Int
from ._checks import FloatArray, as_float, check_count, check_dfcom, checks, read_estimates
from .rubin import pool_scalars


@dataclass(frozen=True, eq=False)
class MonteCarloError:
    """Jackknife Monte Carlo errors of pooled quantities; arrays of shape (..., p).

    Each attribute is the Monte Carlo standard error of the quantity of that name in `PooledColumns`.
    """

    estimate: Float[FloatArray, "*batch p"]
    std_error: Float[FloatArray, "*batch p"]
    df: Float[FloatArray, "*batch p"]
    statistic: Float[FloatArray, "*batch p"]
    p_value: Float[FloatArray, "*batch p"]
    conf_low: Float[FloatArray, "*batch p"]
    conf_high: Float[FloatArray, "*batch p"]
    riv: Float[FloatArray, "*batch p"]
    lambda_: Float[FloatArray, "*batch p"]
    fmi: Float[FloatArray, "*batch p"]


def jackknife_error(
    estimates: npt.ArrayLike, variances: npt.ArrayLike, *, dfcom: npt.ArrayLike = inf, conf_level: float = 0.95
) -> MonteCarloError:
    """Monte Carlo error of every pooled quantity, by leaving out one imputation at a time.

    The standard error of the mean of the m jackknife pseudo-values m s - (m - 1) s_(-k), which is sqrt((m - 1) / m sum
    (s_(-k) - mean s_(-k))^2); Stata's `mi estimate, mcerror`. For the pooled estimate it equals sqrt(b / m) exactly.

    Parameters
    ----------
    estimates, variances : array_like, shape (..., m, p)
        Estimates of each imputation, and their variances.
    dfcom : float or array_like, shape (..., p), default inf
        Complete-data degrees of freedom, the same for every subset of imputations.
    conf_level : float, default 0.95
        Level of the confidence limits.

    Returns
    -------
    MonteCarloError
        NaN where a quantity is undefined or infinite in some subset (df when the imputations left agree).

    Raises
    ------
    PoolingError
        Fewer than three imputations, or anything `pool_scalars` refuses.

    References
    ----------
    White, I. R., Royston, P. and Wood, A. M. (2011). Statistics in Medicine 30, 377-399, sec. 7.
    Royston, P., Carlin, J. B. and White, I. R. (2009). Stata Journal 9, 252-264.

    Examples
    --------
    >>> error = jackknife_error([[1.0], [2.0], [3.0]], [[4.0], [4.0], [4.0]])
    >>> round(float(error.estimate[0]), 12) == round((1 / 3) ** 0.5, 12)
    True
    """
    q, u = read_estimates(estimates, variances, "variances")
    m, p = q.shape[-2:]
    if m < 3:
        raise PoolingError("The jackknife over imputations needs at least three of them, and there are two.")
    rest = np.array([[i for i in range(m) if i != k] for k in range(m)])
    # every subset has the same dfcom: one more axis before the parameters
    nu_com = check_dfcom(dfcom, (*q.shape[:-2], p))[..., None, :]
    pool = pool_scalars(q[..., rest, :], u[..., rest, :], dfcom=nu_com, conf_level=conf_level)
    names = MonteCarloError.__dataclass_fields__
    return MonteCarloError(**{name: jackknife_spread(getattr(pool, name)) for name in names})


def mean_error(b: npt.ArrayLike, m: int) -> FloatArray:
    """Monte Carlo standard error sqrt(b / m) of a pooled estimate.

    Parameters
    ----------
    b : array_like
        Between-imputation variance.
    m : int
        Number of imputations.

    Returns
    -------
    array
        Of the shape of `b`.

    Raises
    ------
    PoolingError
        Fewer than two imputations, or a negative variance.

    Examples
    --------
    >>> float(mean_error(4.0, 16))
    0.5
    """
    check_count(m)
    between = as_float(b, "between-imputation variance", 0)
    if (between < 0).any():
        raise PoolingError("The between-imputation variance is negative.")
    return np.sqrt(between / m)


@dataclass(frozen=True, eq=False)
class ImputationsNeeded:
    """Answer of `how_many_imputations`.

    Attributes
    ----------
    m : int
        Number of imputations that serves every coefficient.
    by_coefficient : array of int
        Number for each coefficient.
    fmi, fmi_upper : array
        Fraction of missing information in the pilot, and its upper confidence limit.
    m_pilot : int
        Imputations of the pilot.
    cv, conf_level : float
        What was asked for.
    """

    m: int
    by_coefficient: Int[npt.NDArray[np.int64], "*p"]
    fmi: Float[FloatArray, "*p"]
    fmi_upper: Float[FloatArray, "*p"]
    m_pilot: int
    cv: float
    conf_level: float


def how_many_imputations(
    fmi: npt.ArrayLike, m_pilot: int, *, cv: float = 0.05, conf_level: float = 0.95
) -> ImputationsNeeded:
    """Number of imputations for standard errors that would hardly change if the data were imputed again.

    Two stages: the fraction of missing information of a pilot analysis has the upper confidence limit g with
    logit g = logit fmi + z sqrt(2 / m_pilot); then m = 1 + (g / cv)^2 / 2, rounded up.

    Parameters
    ----------
    fmi : float or array_like
        Fraction of missing information of each coefficient, in [0, 1], from a pilot of `m_pilot` imputations.
    m_pilot : int
        Number of imputations of the pilot; von Hippel advises about 20.
    cv : float, default 0.05
        Coefficient of variation of the standard error over repeated imputation that is accepted.
    conf_level : float, default 0.95
        Level of the two-sided interval whose upper limit is used.

    Returns
    -------
    ImputationsNeeded
        Never fewer than two imputations.

    Raises
    ------
    PoolingError
        fmi outside [0, 1] or empty, m_pilot < 2, cv <= 0, or conf_level outside (0, 1).

    References
    ----------
    von Hippel, P. T. (2020). How many imputations do you need? A two-stage calculation using a quadratic
    rule. Sociological Methods & Research 49, 699-718.

    Examples
    --------
    >>> how_many_imputations(0.3, 20).m
    41
    """
    gamma = as_float(fmi, "fractions of missing information", 0)
    if gamma.size == 0 or not ((gamma >= 0) & (gamma <= 1)).all():
        raise PoolingError("The fractions of missing information must lie between 0 and 1.")
    check_count(m_pilot)
    checks.level(conf_level)
    checks.positive(cv, "cv=")
    z = -scipy.special.ndtri((1.0 - conf_level) / 2.0)
    upper = np.asarray(scipy.special.expit(scipy.special.logit(gamma) + z * np.sqrt(2.0 / m_pilot)))
    needed = np.maximum(np.ceil(1.0 + 0.5 * (upper / cv) ** 2), 2.0).astype(np.int64)
    return ImputationsNeeded(int(needed.max()), np.asarray(needed), gamma, upper, m_pilot, cv, conf_level)


def jackknife_spread(leave_one_out: Float[FloatArray, "*batch m p"]) -> Float[FloatArray, "*batch p"]:
    """Jackknife standard error of quantities from their values without each imputation.

    Parameters
    ----------
    leave_one_out : array, shape (..., m, p)

    Returns
    -------
    array, shape (..., p)
        NaN where a quantity is not finite without one of the imputations.

    Raises
    ------
    PoolingError
        Fewer than two imputations.

    Examples
    --------
    >>> float(jackknife_spread(np.array([[1.0], [2.0], [3.0]]))[0] ** 2)
    1.3333333333333333
    """
    if np.ndim(leave_one_out) < 2 or np.shape(leave_one_out)[-2] < 2:
        raise PoolingError(
            f"A jackknife needs values without each of two or more imputations; the shape is {np.shape(leave_one_out)}."
        )
    finite = np.asarray(np.isfinite(leave_one_out).all(axis=-2, keepdims=True))
    safe = np.where(finite, leave_one_out, 0.0)
    m = safe.shape[-2]
    error = np.sqrt((m - 1) * np.var(safe, axis=-2))
    return np.where(finite[..., 0, :], error, np.nan)
