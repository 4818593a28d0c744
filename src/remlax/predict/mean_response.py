"""Expected response at a linear predictor, conditional or averaged over random effects, and its derivatives."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..fitting.responses.distribution import MeanTerms, inverse_link, link_of
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
    below = _mean(link, shape - eta[:, None], None if spread is None else spread[:, None])
    n_cuts = len(shape)

    def between(cumulative: np.ndarray, last: float) -> np.ndarray:
        return np.diff(cumulative, axis=1, prepend=0.0, append=last)

    d_shape = np.zeros((len(eta), n_cuts + 1, n_cuts))
    cut = np.arange(n_cuts)
    d_shape[:, cut, cut] = below.d1
    d_shape[:, cut + 1, cut] = -below.d1
    value = np.maximum(between(below.mean, 1.0), 0.0)
    return MeanResponse(value, -between(below.d1, 0.0), between(below.d2, 0.0), d_shape)


def on_link(link: str, found: MeanResponse) -> MeanResponse:
    """Link of expected responses (R, 1), and its derivatives."""
    eta = link_of(link, found.value)
    slope = inverse_link(link, eta).d1
    return MeanResponse(eta, found.d_eta / slope, found.d_spread / slope, found.d_shape / slope[..., None])


def linear(eta: np.ndarray, shape: np.ndarray) -> MeanResponse:
    """The linear predictor itself as a quantity."""
    one = np.ones((len(eta), 1))
    return MeanResponse(eta[:, None], one, np.zeros_like(one), np.zeros((len(eta), 1, len(shape))))
