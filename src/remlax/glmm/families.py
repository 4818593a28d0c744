"""Family: the log-density of one response given its linear predictor, and its derivatives.

Every density is log-concave in the linear predictor eta, so that the conditional modes are unique.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import gammaln, log_ndtr, ndtr

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
# beyond this a complementary log-log model has probabilities of 0 and 1 to all digits
CLOGLOG_LIMIT = 300.0
# sizes from which Stirling's series has all digits
STIRLING_FROM = 200.0
MOST_LOG_SIZE = 14.0


@dataclass(frozen=True)
class Family:
    """Distribution of the response and link of its mean; part of the compile key.

    Parameters
    ----------
    name : str
        "binomial", "poisson", "negative-binomial", "gamma" or "ordinal".
    link : str
        "logit", "probit", "cloglog" or "log".
    expected : bool, default False
        Weights of the Laplace approximation are the expected information (lme4) or the observed one, -l'' (TMB).
        They are the same for canonical links.
    n_shape : int, default 0
        Number of shape parameters: log size, log shape, or the thresholds of an ordinal response.
    """

    name: str
    link: str
    expected: bool = False
    n_shape: int = 0

    @property
    def canonical(self) -> bool:
        """Whether expected and observed information agree whatever the data."""
        return (self.name, self.link) in {("binomial", "logit"), ("poisson", "log")}


class RowTerms(NamedTuple):
    """Log-density of every row and its derivatives in eta, times the weight of the row.

    value, d1, d2, d3: l, l', l'', l'''; weight, weight1, weight2: W and its derivatives.
    """

    value: Array
    d1: Array
    d2: Array
    d3: Array
    weight: Array
    weight1: Array
    weight2: Array


def log_density(family: Family, y: Array, weight: Array, eta: Array, shape: Array) -> Array:
    """Weight times the log-density of every row without what depends on neither eta nor shape."""
    return weight * _DENSITIES[family.name](family, y, eta, shape)


def _binomial(family: Family, y: Array, eta: Array, shape: Array) -> Array:
    if family.link == "logit":
        return y * eta - jax.nn.softplus(eta)
    if family.link == "probit":
        return y * log_ndtr(eta) + (1 - y) * log_ndtr(-eta)
    rate = jnp.exp(jnp.minimum(eta, CLOGLOG_LIMIT))
    return y * jnp.log(-jnp.expm1(-rate)) - (1 - y) * rate


def _poisson(family: Family, y: Array, eta: Array, shape: Array) -> Array:
    return y * eta - jnp.exp(eta)


def _negative_binomial(family: Family, y: Array, eta: Array, shape: Array) -> Array:
    # beyond this the density is Poisson's to all digits that its derivative in the size has
    log_size = jnp.minimum(shape[0], MOST_LOG_SIZE)
    size = jnp.exp(log_size)
    # log(mu / (size + mu)) and log(size / (size + mu)) without a difference of large numbers
    of_shape = _log_rising(size, y)
    return of_shape - size * jax.nn.softplus(eta - log_size) - y * jax.nn.softplus(log_size - eta)


def _log_rising(size: Array, y: Array) -> Array:
    """Log Gamma(size + y) - log Gamma(size), by the difference of Stirling's series where Gamma is large."""
    large = size > STIRLING_FROM
    safe = jnp.where(large, size, STIRLING_FROM)

    def series(x: Array) -> Array:
        return (1 / 12 - (1 / 360 - 1 / 1260 / x**2) / x**2) / x

    total = safe + y
    stirling = (total - 0.5) * jnp.log1p(y / safe) + y * (jnp.log(safe) - 1) + series(total) - series(safe)
    small = jnp.where(large, STIRLING_FROM, size)
    return jnp.where(large, stirling, gammaln(y + small) - gammaln(small))


def _gamma(family: Family, y: Array, eta: Array, shape: Array) -> Array:
    alpha = jnp.exp(shape[0])
    return alpha * (shape[0] - eta + jnp.log(jnp.where(y > 0, y, 1.0)) - y * jnp.exp(-eta)) - gammaln(alpha)


def _ordinal(family: Family, y: Array, eta: Array, shape: Array) -> Array:
    level, last = y.astype(jnp.int32), family.n_shape
    above = shape[jnp.minimum(level, last - 1)] - eta
    below = shape[jnp.maximum(level - 1, 0)] - eta
    lowest, highest = level == 0, level == last
    # ends of the scale are given finite stand-ins, so that no derivative is infinity times zero
    upper, lower = jnp.where(highest, below + 1.0, above), jnp.where(lowest, above - 1.0, below)
    between = _log_between(family.link, lower, upper)
    return jnp.where(lowest, _log_cdf(family.link, upper), jnp.where(highest, _log_cdf(family.link, -lower), between))


def _log_cdf(link: str, x: Array) -> Array:
    return -jax.nn.softplus(-x) if link == "logit" else log_ndtr(x)


def _log_between(link: str, lower: Array, upper: Array) -> Array:
    """log(F(upper) - F(lower)) of a symmetric distribution; NaN where the thresholds are out of order."""
    if link == "logit":
        return _log_cdf(link, upper) + _log_cdf(link, -lower) + jnp.log(-jnp.expm1(lower - upper))
    # in the tail on the left of zero nothing cancels
    flip = lower > 0
    low, high = jnp.where(flip, -upper, lower), jnp.where(flip, -lower, upper)
    large, small = log_ndtr(high), log_ndtr(low)
    return large + jnp.log(-jnp.expm1(small - large))


_DENSITIES: dict[str, Callable[[Family, Array, Array, Array], Array]] = {
    "binomial": _binomial,
    "poisson": _poisson,
    "negative-binomial": _negative_binomial,
    "gamma": _gamma,
    "ordinal": _ordinal,
}


def expected_information(family: Family, eta: Array) -> Array:
    """mu'(eta)^2 / V(mu) of a binomial response of one trial with a link that is not canonical."""
    if family.link == "probit":
        return jnp.exp(-eta * eta - 2 * HALF_LOG_2PI - log_ndtr(eta) - log_ndtr(-eta))
    rate = jnp.exp(jnp.minimum(eta, CLOGLOG_LIMIT))
    # exp(2 eta) / expm1(rate), which overflows
    return jnp.exp(2 * eta - rate) / -jnp.expm1(-rate)


def mean(family: Family, eta: Array, shape: Array) -> Array:
    """Mean of the response of one trial; for an ordinal one the probabilities, with a last axis of categories."""
    if family.name == "ordinal":
        below = _cdf(family.link, shape - eta[..., None])
        return jnp.diff(below, axis=-1, prepend=0.0, append=1.0)
    if family.link == "log":
        return jnp.exp(eta)
    if family.link == "cloglog":
        return -jnp.expm1(-jnp.exp(eta))
    return _cdf(family.link, eta)


def _cdf(link: str, x: Array) -> Array:
    return jax.nn.sigmoid(x) if link == "logit" else ndtr(x)


def derivatives(function: Callable[[Array], Array], at: Array, n: int) -> list[Array]:
    """Value and n derivatives of an elementwise function."""

    def next_of(f: Callable[[Array], Array]) -> Callable[[Array], Array]:
        return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]

    out = []
    for _ in range(n + 1):
        out.append(function(at))
        function = next_of(function)
    return out


def value_terms(family: Family, y: Array, weight: Array, eta: Array, shape: Array) -> tuple[Array, Array, Array]:
    """l, l' and -l'' of every row: what a search for the modes reads."""
    if family.canonical:
        mu = mean(family, eta, shape)
        slope = mu if family.name == "poisson" else mu * (1 - mu)
        return log_density(family, y, weight, eta, shape), weight * (y - mu), weight * slope
    value, d1, d2 = derivatives(lambda e: log_density(family, y, weight, e, shape), eta, 2)
    return value, d1, -d2


def row_terms(family: Family, y: Array, weight: Array, eta: Array, shape: Array) -> RowTerms:
    """Return what gradient and Hessian of a Laplace approximation read."""
    if family.canonical:
        value, d1, w = value_terms(family, y, weight, eta, shape)
        if family.name == "poisson":
            return RowTerms(value, d1, -w, -w, w, w, w)
        mu = mean(family, eta, shape)
        w1 = w * (1 - 2 * mu)
        return RowTerms(value, d1, -w, -w1, w, w1, w * (1 - 6 * mu * (1 - mu)))

    def density(e: Array) -> Array:
        return log_density(family, y, weight, e, shape)

    if family.expected:
        value, d1, d2, d3 = derivatives(density, eta, 3)
        w, w1, w2 = derivatives(lambda e: weight * expected_information(family, e), eta, 2)
    else:
        value, d1, d2, d3, d4 = derivatives(density, eta, 4)
        w, w1, w2 = -d2, -d3, -d4
    return RowTerms(value, d1, d2, d3, w, w1, w2)
