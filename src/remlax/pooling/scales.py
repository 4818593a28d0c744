"""Pooling on the scale where an estimate is nearest to normal: log, Fisher z, logit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt
import scipy

from ..errors import PoolingError, PoolingWarning, warn
from ..shapes import Bool, Float, Int
from ._checks import FloatArray, check_dfcom, check_variances, checks, name_imputations, read_estimates
from .rubin import PooledColumns, columns


@dataclass(frozen=True)
class Scale:
    """A monotone transformation of a parameter."""

    name: str  # in tables
    forward: Callable[[FloatArray], FloatArray]  # to the transformed scale
    inverse: Callable[[FloatArray], FloatArray]  # back to the natural scale
    # of ``forward`` at x, var(forward(x)) = derivative(x)^2 var(x), and of ``inverse`` at a transformed value
    derivative: Callable[[FloatArray], FloatArray]
    inverse_derivative: Callable[[FloatArray], FloatArray]
    low: float  # closed range of the natural scale, whose ends lie at infinity on the transformed one
    high: float


def _sech_squared(z: FloatArray) -> FloatArray:
    return np.asarray(1.0 / np.cosh(np.clip(z, -350.0, 350.0)) ** 2)


def _exp(z: FloatArray) -> FloatArray:
    # an upper limit beyond the floats is infinite, which is no accident
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(z))


#: Standard deviations, variances and their ratios (Stata's lns parameters).
LOG = Scale("log", np.log, _exp, np.reciprocal, _exp, 0.0, inf)
#: Correlations: Fisher's z = atanh(r) (Stata's atr parameters; Schafer 1997, ch. 4).
FISHER_Z = Scale("fisher_z", np.arctanh, np.tanh, lambda r: 1.0 / (1.0 - r**2), _sech_squared, -1.0, 1.0)
#: Shares such as the intraclass correlation.
LOGIT = Scale(
    "logit",
    lambda share: scipy.special.logit(share),
    lambda z: scipy.special.expit(z),
    lambda share: 1.0 / (share * (1.0 - share)),
    lambda z: scipy.special.expit(z) * scipy.special.expit(-z),
    0.0,
    1.0,
)
#: Shares of explained variance: Fisher's z of the multiple correlation, z = atanh(sqrt(R2)) (Harel 2009).
R_SQUARED = Scale(
    "fisher_z_of_r",
    lambda share: np.arctanh(np.sqrt(share)),
    lambda z: np.tanh(np.maximum(z, 0.0)) ** 2,
    lambda share: 0.5 / (np.sqrt(share) * (1.0 - share)),
    lambda z: 2.0 * np.tanh(z) * _sech_squared(z),
    0.0,
    1.0,
)
#: Thresholds, as they are.
IDENTITY = Scale("identity", np.positive, np.positive, np.ones_like, np.ones_like, -inf, inf)
#: Proportional reductions of a variance, 1 - s1 / s0, from -inf to 1: the logarithm of the ratio, with its sign.
REDUCTION = Scale(
    "log_ratio",
    lambda x: -np.log1p(-x),
    lambda z: -np.expm1(-z),
    lambda x: 1.0 / (1.0 - x),
    lambda z: np.exp(-z),
    -inf,
    1.0,
)


@dataclass(frozen=True, eq=False)
class TransformedPool:
    """Parameters pooled on a transformed scale; NaN where fewer than two imputations are left."""

    scale: str
    m: int  # imputations handed in
    m_used: Int[npt.NDArray[np.int64], "*batch p"]  # imputations behind the pooled numbers
    excluded: Bool[npt.NDArray[np.bool_], "*batch m p"]  # on the boundary, undefined, or without a variance
    # plain mean over every imputation that has a value (as merTools and mitml print), not the estimate (Jensen)
    mean: Float[FloatArray, "*batch p"]
    estimate: Float[FloatArray, "*batch p"]  # transformed back, as are the limits
    std_error: Float[FloatArray, "*batch p"]  # on the natural scale, by the delta method
    conf_low: Float[FloatArray, "*batch p"]
    conf_high: Float[FloatArray, "*batch p"]
    transformed: PooledColumns  # Rubin's rules on the transformed scale
    ubar: Float[FloatArray, "*batch p"]  # within, between and total variance there
    b: Float[FloatArray, "*batch p"]
    t: Float[FloatArray, "*batch p"]


def pool_transformed(
    values: npt.ArrayLike,
    variances: npt.ArrayLike,
    scale: Scale,
    *,
    dfcom: npt.ArrayLike = inf,
    conf_level: float = 0.95,
    names: Sequence[str] | None = None,
) -> TransformedPool:
    """Pool standard deviations, correlations or shares by Rubin's rules on a transformed scale.

    The estimate and the limits are back-transformed; the standard error is that of the transformed scale
    times the derivative of the back-transformation at the pooled estimate (delta method).

    Parameters
    ----------
    values : array_like, shape (..., m, p)
        Estimates on the natural scale; NaN where undefined (a correlation with a zero standard deviation).
    variances : array_like, shape (..., m, p)
        Their variances ON THE TRANSFORMED SCALE; NaN where there is none (a fit on the boundary).
    scale : Scale
        `LOG`, `FISHER_Z` or `LOGIT`.
    dfcom : float or array_like, shape (..., p), default inf
        Complete-data degrees of freedom.
    conf_level : float, default 0.95
        Level of the confidence limits.
    names : sequence of str, optional
        Names of the p parameters, for the warning.

    Raises
    ------
    PoolingError
        Fewer than two imputations, shapes that do not fit, values outside the range of the scale, infinite or
        negative variances, or degrees of freedom that are not positive.

    Warns
    -----
    PoolingWarning
        A value lies on the boundary (SD = 0, correlation = +-1), where the transformed scale is infinite, is
        NaN, or has no variance. It is left out of the pooled numbers, whose count of imputations falls
        (`m_used`), and kept in `mean`; the message says which parameter and which imputations.

    References
    ----------
    van Buuren, S. (2018). Flexible Imputation of Missing Data, 2nd ed., sec. 5.2.2. Chapman & Hall/CRC.
    Schafer, J. L. (1997). Analysis of Incomplete Multivariate Data, ch. 4. Chapman & Hall.

    Examples
    --------
    >>> pooled = pool_transformed([[1.0], [4.0]], [[0.1], [0.1]], LOG)
    >>> float(pooled.estimate[0]), float(pooled.mean[0])
    (2.0, 2.5)
    """
    x, u = read_estimates(values, variances, "variances", name="values", finite=False)
    m = x.shape[-2]
    checks.level(conf_level)
    check_variances(u, -2)
    _check_range(x, u, scale)
    used = (x > scale.low) & (x < scale.high) & np.isfinite(u)
    if not used.all():
        warn(_describe(used, names), PoolingWarning)
    # any interior value stands in for those left out; their weight is zero
    phi = scale.forward(np.where(used, x, 0.5))
    m_used, qbar, ubar, b = _masked_moments(phi, np.where(used, u, 0.0), used)
    count = np.maximum(m_used, 2)  # with fewer every number is NaN
    pooled = columns(count, qbar, ubar, b, check_dfcom(dfcom, qbar.shape), conf_level)
    return TransformedPool(
        scale=scale.name,
        m=m,
        m_used=m_used,
        excluded=~used,
        mean=_mean_of_known(x),
        estimate=scale.inverse(pooled.estimate),
        std_error=scale.inverse_derivative(pooled.estimate) * pooled.std_error,
        conf_low=scale.inverse(pooled.conf_low),
        conf_high=scale.inverse(pooled.conf_high),
        transformed=pooled,
        ubar=ubar,
        b=b,
        t=ubar + (1.0 + 1.0 / count) * b,
    )


def _check_range(x: FloatArray, u: FloatArray, scale: Scale) -> None:
    """Refuse values that the scale cannot hold, and infinite ones."""
    outside = (x < scale.low) | (x > scale.high) | np.isinf(x)
    if outside.any():
        raise PoolingError(
            f"The scale {scale.name!r} holds values from {scale.low:g} to {scale.high:g}; those of "
            f"{name_imputations(outside, -2)} (counted from 1) lie outside or are infinite."
        )
    infinite = np.isinf(u)
    if infinite.any():
        raise PoolingError(
            f"The variances of {name_imputations(infinite, -2)} (counted from 1) are infinite; hand in NaN for a "
            "value without a variance."
        )


def _masked_moments(
    phi: FloatArray, u: FloatArray, used: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], FloatArray, FloatArray, FloatArray]:
    """Count, mean, within and between variance over the imputations used; NaN with fewer than two."""
    m_used = used.sum(axis=-2, dtype=np.int64)
    enough = m_used >= 2
    count = np.where(enough, m_used, 2)
    # deviations from the first value used, so that identical imputations give b = 0 exactly
    first = np.take_along_axis(phi, used.argmax(axis=-2)[..., None, :], axis=-2)
    shifted = np.where(used, phi - first, 0.0)
    mean = shifted.sum(axis=-2) / count
    b = np.where(used, shifted - mean[..., None, :], 0.0)
    b = (b**2).sum(axis=-2) / (count - 1)
    qbar = first[..., 0, :] + mean
    return m_used, *(np.where(enough, a, np.nan) for a in (qbar, u.sum(axis=-2) / count, b))


def _mean_of_known(x: FloatArray) -> FloatArray:
    """Mean over the imputations that have a value; NaN where none has."""
    known = ~np.isnan(x)
    count = known.sum(axis=-2)
    total = np.where(known, x, 0.0).sum(axis=-2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _describe(used: npt.NDArray[np.bool_], names: Sequence[str] | None) -> str:
    """Say which values are left out."""
    m, p = used.shape[-2:]
    labels = [f"parameter {j + 1}" for j in range(p)] if names is None else list(names)
    parts = []
    for j in range(p):
        left_out = ~used[..., j]
        if not left_out.any():
            continue
        if used.ndim == 2:
            parts.append(f"{labels[j]}: {left_out.sum()} of {m} ({name_imputations(left_out, 0)})")
        else:
            parts.append(f"{labels[j]}: {left_out.sum()} of {left_out.size} values")
    return (
        "Values on the boundary of the parameter space or without a variance are left out of the pooled "
        f"estimate, standard error and limits, and kept in the plain mean. Left out: {'; '.join(parts)}."
    )
