"""Expected response at a linear predictor, conditional or averaged over random effects, and its derivatives."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from ..fitting.responses.distribution import MOST, MeanTerms, between_cuts, inverse_link
from ..glmm.families import Family

# nodes of the Gauss-Hermite rule of an average over random effects
N_NODES = 30


class MeanResponse(NamedTuple):
    """Expected responses of R rows: C = 1 mean, or the probabilities of the C categories of an ordinal response.

    value, d_eta, d_spread (R, C): the expected response, its derivatives in the linear predictor and in the variance
    of the random effects that it is averaged over; d_shape (R, C, s): in the thresholds of an ordinal response.
    """

    value: np.ndarray
    d_eta: np.ndarray
    d_spread: np.ndarray
    d_shape: np.ndarray


def averaged(link: str, eta: np.ndarray, spread: np.ndarray) -> MeanTerms:
    """E h(eta + sqrt(v) N) of the inverse link h, and its derivatives in eta and in v.

    The derivative in v is E h''/2, as the density of a normal variable solves the heat equation.

    Parameters
    ----------
    link : str
    eta, spread : ndarray of one shape
        Linear predictor and variance v of the random effects.
    """
    if link == "log":
        mean = np.exp(eta + spread / 2)
        return MeanTerms(mean, mean, mean / 2)
    if link == "probit":
        size = np.sqrt(1 + spread)
        own = inverse_link("probit", eta / size)
        return MeanTerms(own.mean, own.d1 / size, -own.d1 * eta / (2 * size**3))
    nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
    weights = weights / math.sqrt(2 * math.pi)
    at = inverse_link(link, eta[..., None] + np.sqrt(spread)[..., None] * nodes)
    return MeanTerms(at.mean @ weights, at.d1 @ weights, at.d2 @ weights / 2)


def mean_response(family: Family, eta: np.ndarray, shape: np.ndarray, spread: np.ndarray | None) -> MeanResponse:
    """Expected responses and their derivatives.

    Parameters
    ----------
    family : Family
    eta : ndarray (R,)
        Linear predictor.
    shape : ndarray (s,)
        Shape parameters of the fit.
    spread : ndarray (R,) or None
        Variance of the random effects to average over; None for the mean given the linear predictor.
    """
    if family.name == "ordinal":
        return _categories(family.link, eta, shape, spread)
    found = _mean(family.link, eta, spread)
    value, d_eta, d_spread = (part[:, None] for part in found)
    return MeanResponse(value, d_eta, d_spread, np.zeros((len(eta), 1, len(shape))))


def _mean(link: str, eta: np.ndarray, spread: np.ndarray | None) -> MeanTerms:
    if spread is None:
        return inverse_link(link, eta)
    return averaged(link, eta, np.broadcast_to(spread, eta.shape))


def _categories(link: str, eta: np.ndarray, shape: np.ndarray, spread: np.ndarray | None) -> MeanResponse:
    """Probabilities of categories: differences of those of all categories up to each."""
    every = None if spread is None else spread[:, None]
    below, above = _mean(link, shape - eta[:, None], every), _mean(link, eta[:, None] - shape, every)
    n_cuts = len(shape)

    def between(cumulative: np.ndarray, last: float) -> np.ndarray:
        return np.diff(cumulative, axis=1, prepend=0.0, append=last)

    d_shape = np.zeros((len(eta), n_cuts + 1, n_cuts))
    cut = np.arange(n_cuts)
    d_shape[:, cut, cut] = below.d1
    d_shape[:, cut + 1, cut] = -below.d1
    return MeanResponse(between_cuts(below.mean, above.mean), -between(below.d1, 0.0), between(below.d2, 0.0), d_shape)


def averaged_on_link(link: str, eta: np.ndarray, spread: np.ndarray) -> MeanTerms:
    """Link of E h(eta + sqrt(v) N), and its derivatives in eta and in v; finite where the mean rounds to 0 or 1.

    Parameters
    ----------
    link : str
    eta, spread : ndarray (R,)
        Linear predictor and variance v of the random effects.
    """
    if link == "log":
        return MeanTerms(eta + spread / 2, np.ones_like(eta), np.full_like(eta, 0.5))
    if link == "probit":
        size = np.sqrt(1 + spread)
        return MeanTerms(eta / size, 1 / size, -eta / (2 * size**3))
    # logit: of the smaller of the two probabilities; cloglog: of no event, whose logarithm is minus the rate
    sign = np.where(eta > 0, -1.0, 1.0) if link == "logit" else np.ones_like(eta)
    nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
    at = sign[:, None] * (eta[:, None] + np.sqrt(spread)[:, None] * nodes)
    if link == "cloglog":
        return _cloglog_average(at, weights / math.sqrt(2 * math.pi))
    logs = special.log_expit(at) + np.log(weights / math.sqrt(2 * math.pi))
    log_mean = special.logsumexp(logs, axis=1)
    share, rest = np.exp(logs - log_mean[:, None]), -np.expm1(log_mean)
    d1 = np.sum(share * special.expit(-at), axis=1)
    d2 = np.sum(share * special.expit(-at) * (1 - 2 * special.expit(at)), axis=1)
    return MeanTerms(sign * (log_mean - np.log(rest)), d1 / rest, sign * d2 / (2 * rest))


def _cloglog_average(at: np.ndarray, weights: np.ndarray) -> MeanTerms:
    """Link of the mean of a complementary log-log model, from its linear predictors at the nodes (R, nodes)."""
    rate = np.exp(np.minimum(at, MOST))
    none = special.logsumexp(-rate, axis=1, b=weights)
    mean = -np.expm1(-rate) @ weights
    # few events: their probability; most of them: that of none
    few = none > -0.5
    total = np.where(few, -np.log1p(-np.where(few, mean, 0.0)), -none)
    share = np.exp(-rate - none[:, None]) * weights * rate
    return MeanTerms(np.log(total), np.sum(share, axis=1) / total, np.sum(share * (1 - rate), axis=1) / (2 * total))


def average_link(link: str, eta: np.ndarray, shape: np.ndarray, spread: np.ndarray) -> MeanResponse:
    """The link of expected responses that are averaged over random effects as a quantity."""
    value, d_eta, d_spread = (part[:, None] for part in averaged_on_link(link, eta, spread))
    return MeanResponse(value, d_eta, d_spread, np.zeros((len(eta), 1, len(shape))))


def linear(eta: np.ndarray, shape: np.ndarray) -> MeanResponse:
    """The linear predictor itself as a quantity."""
    one = np.ones((len(eta), 1))
    return MeanResponse(eta[:, None], one, np.zeros_like(one), np.zeros((len(eta), 1, len(shape))))
