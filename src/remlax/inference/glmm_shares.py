"""Residual variances of generalised linear mixed models on the scale of the link, and shares of variance with them.

Nakagawa, S., Johnson, P. C. D. and Schielzeth, H. (2017). J. R. Soc. Interface 14, 20170213.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.special import polygamma

from ..fitting.assemble import inner_columns
from ..fitting.glmm import GlmmFitted
from ..fitting.selection import Selection
from .glmm import glmm_fitted
from .variance_shares import VarianceShares, variance_shares

# variances of the latent response given its linear predictor
LATENT = {"logit": np.pi**2 / 3, "probit": 1.0, "cloglog": np.pi**2 / 6}


def shares_of_variance(fits: Selection) -> VarianceShares:
    """Split the variance of the response, or of what the link makes of it, of some data sets."""
    found = variance_shares(fits)
    return found if fits.fitted.has_sigma else _with_residual(found, fits)


def _with_residual(found: VarianceShares, fits: Selection) -> VarianceShares:
    """Put the residual variance that family and link make in place of sigma^2 = 1."""
    fitted, d_random, d_intercept = glmm_fitted(fits), found.d_random.copy(), found.d_intercept.copy()
    d_random[:, :, -1], d_intercept[:, :, -1] = 0.0, 0.0
    residual, slope = np.zeros_like(found.residual), np.zeros_like(found.d_residual)
    if fitted.family.link in LATENT:
        residual[:], method = LATENT[fitted.family.link], "latent response"
    else:
        method = "trigamma"
        for i, k in enumerate(fits.which):
            residual[i], slope[i] = _trigamma(fitted, k)
    return replace(
        found,
        residual=residual,
        d_random=d_random,
        d_intercept=d_intercept,
        d_residual=slope,
        covariance=np.stack([_covariance(fitted, k) for k in fits.which]),
        method=method,
    )


def _covariance(fitted: GlmmFitted, k: int) -> np.ndarray:
    """Covariance of (beta, theta inside, log size or shape) of one data set."""
    d, p = fitted.theta_map.n_theta, len(fitted.model.keep)
    to_user = np.zeros((p + d + 1, len(fitted.joint[k])))
    to_user[:p, d : d + p], to_user[p : p + d, :d] = fitted.model.inverse[k], np.eye(d)
    if fitted.family.link not in LATENT and fitted.family.n_shape:
        to_user[-1, d + p] = 1.0
    return np.asarray(to_user @ fitted.joint[k] @ to_user.T)


class _MeanResponse(NamedTuple):
    """Mean of exp(x'beta + offset + z'Sigma z / 2) over the rows, and its derivatives (s,)."""

    value: float
    slope: np.ndarray


def _mean_response(fitted: GlmmFitted, k: int) -> _MeanResponse:
    model, rows = fitted.model, fitted.model.rows
    x = rows.x.of(k)[:, model.keep]
    p, d = x.shape[1], fitted.theta_map.n_theta
    half, moved = np.zeros(len(x)), np.zeros((len(x), p + d + 1))
    moved[:, :p] = x
    z = inner_columns(model, k)
    for t, term in enumerate(model.layout.terms):
        columns = z[term.factor][:, term.columns]
        spread = columns @ fitted.inner_factor(t)[k]
        half += np.sum(spread**2, axis=1) / 2
        col, row = np.triu_indices(term.q)
        moved[:, p + np.arange(d)[term.theta]] = columns[:, row] * spread[:, col]
    offset = 0.0 if rows.offset is None else rows.offset.of(k)
    mean = np.exp(x @ fitted.beta[k] + offset + half)
    return _MeanResponse(float(mean.mean()), mean @ moved / len(x))


def _trigamma(fitted: GlmmFitted, k: int) -> tuple[float, np.ndarray]:
    """Residual variance trigamma(nu) of the logarithm of the response, and its derivatives (s,)."""
    size = float(np.exp(fitted.shape[k, 0])) if fitted.family.n_shape else np.inf
    last = np.zeros(len(fitted.model.keep) + fitted.theta_map.n_theta + 1)
    last[-1] = 1.0
    if fitted.family.name == "gamma":
        nu, slope = size, size * last
    else:
        mean = _mean_response(fitted, k)
        nu = 1 / (1 / mean.value + 1 / size)
        slope = (nu / mean.value) ** 2 * mean.slope + nu**2 / size * last
    return float(polygamma(1, nu)), np.asarray(polygamma(2, nu) * slope)
