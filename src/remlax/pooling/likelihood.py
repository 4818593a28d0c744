"""Likelihood-ratio tests of multiply imputed fits: D3 and D4, from maximum-likelihood fits."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import PoolingError, PoolingWarning, warn
from ._checks import FloatArray, as_float, check_components, check_finite, checks
from .multiparameter import PooledTest, check_statistics, large_sample_df, large_sample_test, squared_inflation

Ariv = Literal["default", "positive"]


def d3(statistics: npt.ArrayLike, pooled_statistics: npt.ArrayLike, k: int, *, ariv: Ariv = "default") -> PooledTest:
    """Pooled likelihood-ratio test of Meng and Rubin (D3), from maximum-likelihood fits.

    With dl = mean of `statistics` and dt = mean of `pooled_statistics`: r = (m + 1) / (k (m - 1)) (dl - dt)
    and D3 = dt / (k (1 + r)), referred to F(k, v) with v of Li, Raghunathan and Rubin (1991) at this r.

    Parameters
    ----------
    statistics : array_like, shape (..., m)
        2 (l1 - l0) of each imputation, at its own maximum-likelihood estimates of the two models.
    pooled_statistics : array_like, shape (..., m)
        2 (l1 - l0) of each imputation, both likelihoods at parameters averaged over the imputations.
        The test depends on what is averaged (coefficients, covariance matrices and residual variance).
    k : int
        Difference in the number of parameters.
    ariv : {"default", "positive"}
        "positive" replaces a negative r by 0.

    Raises
    ------
    PoolingError
        Fewer than two imputations, k < 1, shapes that differ, values that are not finite, or statistics at
        own estimates below -1e-4.

    Warns
    -----
    PoolingWarning
        r <= -1 leaves no statistic (NaN); ariv="positive" gives one.

    References
    ----------
    Meng, X.-L. and Rubin, D. B. (1992). Biometrika 79, 103-111.

    Examples
    --------
    >>> test = d3([4.0, 5.0, 6.0], [4.0, 4.5, 5.0], 1)
    >>> float(test.riv), float(test.statistic)
    (1.0, 2.25)
    """
    own = check_statistics(statistics, "likelihood-ratio statistics")
    common = as_float(pooled_statistics, "likelihood-ratio statistics at pooled parameters", 1)
    check_components(k)
    if own.shape != common.shape:
        raise PoolingError(f"The statistics have the shape {own.shape} at own and {common.shape} at pooled parameters.")
    check_finite(common, "likelihood-ratio statistics at pooled parameters", -1)
    m = own.shape[-1]
    r = _truncate((m + 1.0) / (k * (m - 1.0)) * (own - common).mean(axis=-1), ariv)
    return _likelihood_test("D3", common.mean(axis=-1), k, r, large_sample_df(m, k, r))


def d4(
    loglik: npt.ArrayLike,
    loglik0: npt.ArrayLike,
    stacked_loglik: npt.ArrayLike,
    stacked_loglik0: npt.ArrayLike,
    k: int,
    *,
    robust: bool = False,
    n_parameters: int | None = None,
    ariv: Ariv = "default",
) -> PooledTest:
    """Pooled likelihood-ratio test from stacked data (D4), from maximum-likelihood fits.

    With dbar = mean 2 (l1_k - l0_k) and dhat = 2 (L1 - L0) / m, where L1 and L0 are the maximised
    log-likelihoods of all m data sets at common parameters (each cluster of each imputation being its own):
    r = (m + 1) / (k (m - 1)) (dbar - dhat), D4 = dhat / (k (1 + r)), referred to F(k, k (m - 1) (1 + 1/r)^2).
    The robust version takes r from the larger model alone, over its h parameters:
    r = (m + 1) / (h (m - 1)) 2 (mean l1_k - L1 / m), with h (m - 1) (1 + 1/r)^2 degrees of freedom.

    Parameters
    ----------
    loglik, loglik0 : array_like, shape (..., m)
        Maximised log-likelihoods of the larger and the smaller model in each imputation.
    stacked_loglik, stacked_loglik0 : float or array_like, shape (...)
        Maximised log-likelihoods of the two models on the stacked data: the SUM over the imputations at
        common parameters, as a fit of the stacked data reports it. It is divided by m here.
    k : int
        Difference in the number of parameters.
    robust : bool, default False
        Use the robust version.
    n_parameters : int, optional
        Number of parameters h of the larger model, variances included; needed by the robust version.
    ariv : {"default", "positive"}
        "positive" replaces a negative r by 0.

    Raises
    ------
    PoolingError
        Fewer than two imputations, k < 1, shapes that differ, values that are not finite, a larger model that
        fits worse than the smaller one, or robust=True without n_parameters >= k.

    Warns
    -----
    PoolingWarning
        r <= -1 leaves no statistic (NaN); ariv="positive" gives one.

    References
    ----------
    Chan, K. W. and Meng, X.-L. (2022). Multiple improvements of multiple imputation likelihood ratio tests.
    Statistica Sinica 32, 1489-1514.

    Examples
    --------
    >>> test = d4([-10.0, -12.0], [-13.0, -14.0], -22.5, -27.0, 1)
    >>> float(test.riv), float(test.statistic)
    (1.5, 1.8)
    """
    larger = as_float(loglik, "log-likelihoods", 1)
    smaller = as_float(loglik0, "log-likelihoods of the smaller model", 1)
    if larger.shape != smaller.shape:
        raise PoolingError(f"The log-likelihoods of the two models have the shapes {larger.shape} and {smaller.shape}.")
    own = check_statistics(2.0 * (larger - smaller), "likelihood-ratio statistics")
    check_components(k)
    m = own.shape[-1]
    stacked = as_float(stacked_loglik, "stacked log-likelihood", 0)
    stacked0 = as_float(stacked_loglik0, "stacked log-likelihood of the smaller model", 0)
    if not (stacked.shape == stacked0.shape == own.shape[:-1]):
        raise PoolingError(
            f"The stacked log-likelihoods have the shapes {stacked.shape} and {stacked0.shape}; "
            f"log-likelihoods of shape {own.shape} need {own.shape[:-1]}."
        )
    if not (np.isfinite(stacked).all() and np.isfinite(stacked0).all()):
        raise PoolingError("A log-likelihood of the stacked data is NaN or infinite: that fit failed.")
    dhat = 2.0 * (stacked - stacked0) / m
    if robust:
        if n_parameters is None or n_parameters < k:
            raise PoolingError(
                "The robust D4 needs n_parameters, the number of parameters of the larger model (at least "
                f"k = {k}); it is {n_parameters}."
            )
        gap = 2.0 * (larger.mean(axis=-1) - stacked / m)
        h = n_parameters
    else:
        gap = own.mean(axis=-1) - dhat
        h = k
    r = _truncate((m + 1.0) / (h * (m - 1.0)) * gap, ariv)
    df2 = h * (m - 1.0) * squared_inflation(r)
    return _likelihood_test("D4 (robust)" if robust else "D4", dhat, k, r, df2)


def _truncate(r: FloatArray, ariv: Ariv) -> FloatArray:
    """Apply the choice for a negative relative increase in variance."""
    checks.choice(ariv, Ariv, "ariv=")
    return np.maximum(r, 0.0) if ariv == "positive" else np.asarray(r)


def _likelihood_test(method: str, pooled: FloatArray, k: int, r: FloatArray, df2: FloatArray) -> PooledTest:
    valid = r > -1
    statistic = np.where(valid, pooled / (k * np.where(valid, 1.0 + r, 1.0)), np.nan)
    note = "The relative increase in variance is negative." if (r < 0).any() else ""
    if not valid.all():
        note = (
            f"{method}: the relative increase in variance is -1 or less, so that there is no statistic; "
            'use more imputations or ariv="positive".'
        )
        warn(note, PoolingWarning)
    return large_sample_test(method, statistic, k, df2, r, note)
