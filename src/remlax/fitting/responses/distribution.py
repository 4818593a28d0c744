"""Responses given their means, on the host: inverse links, variances, deviances, distribution functions and draws."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from ...glmm.families import Family

# beyond this a complementary log-log model has probabilities of 0 and 1 to all digits
MOST = 300.0


class MeanTerms(NamedTuple):
    """Inverse link and its first two derivatives in the linear predictor, of the shape of the linear predictor."""

    mean: np.ndarray
    d1: np.ndarray
    d2: np.ndarray


def inverse_link(link: str, eta: np.ndarray) -> MeanTerms:
    """Mean at a linear predictor."""
    if link == "log":
        mean = np.exp(eta)
        return MeanTerms(mean, mean, mean)
    if link == "probit":
        density = np.exp(-(eta**2) / 2) / math.sqrt(2 * math.pi)
        return MeanTerms(special.ndtr(eta), density, -eta * density)
    if link == "cloglog":
        rate = np.exp(np.minimum(eta, MOST))
        slope = rate * np.exp(-rate)
        return MeanTerms(-np.expm1(-rate), slope, slope * (1 - rate))
    mean = special.expit(eta)
    slope = mean * special.expit(-eta)
    return MeanTerms(mean, slope, slope * (1 - 2 * mean))


def between_cuts(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Probabilities of categories (n, s + 1) from those of being below and above each of the s thresholds, (n, s)."""
    ends = np.zeros((len(below), 1))
    lower, upper = np.concatenate([ends, below], axis=1), np.concatenate([below, ends + 1], axis=1)
    # in the upper half of the scale differences of what lies above lose fewer digits
    after, before = np.concatenate([above, ends], axis=1), np.concatenate([ends + 1, above], axis=1)
    return np.asarray(np.maximum(np.where(lower < 0.5, upper - lower, before - after), 0.0))


@dataclass(frozen=True)
class RowDistribution:
    """Distribution of the rows of one data set given their means.

    Parameters
    ----------
    family : Family
    shape : ndarray (s,)
        Log size, log shape, or thresholds.
    weight : ndarray (n,)
        Prior weights times trials.
    trials : ndarray (n,) or None
        Trials of a binomial response whose response is a proportion; None where each row is one trial.
    """

    family: Family
    shape: np.ndarray
    weight: np.ndarray
    trials: np.ndarray | None

    @property
    def dispersion(self) -> float:
        """Size of a negative binomial response, shape of a gamma one; 1 for others."""
        return float(np.exp(self.shape[0])) if self.family.name in ("negative-binomial", "gamma") else 1.0

    def probabilities(self, eta: np.ndarray) -> np.ndarray:
        """Probabilities of the categories of an ordinal response, (n, categories)."""
        below = inverse_link(self.family.link, self.shape - eta[:, None]).mean
        above = inverse_link(self.family.link, eta[:, None] - self.shape).mean
        return between_cuts(below, above)

    def variance(self, mean: np.ndarray) -> np.ndarray:
        """Variance of a response of weight 1."""
        if self.family.name == "binomial":
            return np.asarray(mean * (1 - mean))
        if self.family.name == "negative-binomial":
            return np.asarray(mean + mean**2 / self.dispersion)
        return np.asarray(mean**2 / self.dispersion if self.family.name == "gamma" else mean)

    def deviance(self, y: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Twice the log-likelihood that is lost against a model with a mean of y, of rows of weight 1."""
        name, size = self.family.name, self.dispersion
        if name == "binomial":
            lost = special.xlogy(y, y / mean) + special.xlogy(1 - y, (1 - y) / (1 - mean))
        elif name == "poisson":
            lost = special.xlogy(y, y / mean) - (y - mean)
        elif name == "gamma":
            lost = size * ((y - mean) / mean - np.log(y / mean))
        else:
            lost = special.xlogy(y, y / mean) - (y + size) * np.log((y + size) / (mean + size))
        return np.asarray(np.maximum(2 * lost, 0.0))

    def limits(self, y: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distribution function just below y, and at y; the mean of an ordinal response is its linear predictor."""
        name, size = self.family.name, self.dispersion
        if name == "ordinal":
            ends = np.full((len(y), 1), np.inf)
            cuts = np.concatenate([-ends, np.tile(self.shape, (len(y), 1)), ends], axis=1) - mean[:, None]
            cdf = special.expit(cuts) if self.family.link == "logit" else special.ndtr(cuts)
            code = y.astype(np.int64)
            rows = np.arange(len(y))
            return cdf[rows, code], cdf[rows, code + 1]
        if name == "gamma":
            at = special.gammainc(size, size * y / mean)
            return at, at
        count = y if name != "binomial" else self._successes(y)

        def cdf_of(k: np.ndarray) -> np.ndarray:
            inside = np.maximum(k, 0.0)
            if name == "poisson":
                out = special.pdtr(inside, mean)
            elif name == "negative-binomial":
                out = special.betainc(size, inside + 1, size / (size + mean))
            else:
                out = special.bdtr(inside, self._n(y), mean)
            return np.where(k < 0, 0.0, out)

        return cdf_of(count - 1), cdf_of(count)

    def _n(self, y: np.ndarray) -> np.ndarray:
        return np.ones(len(y), np.int64) if self.trials is None else np.round(self.trials).astype(np.int64)

    def _successes(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(np.round(y * self._n(y)))

    def draw(self, mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One response of every row; of the mean of an ordinal one, which is its linear predictor, a category.

        A binomial response is the proportion of successes.
        """
        name, size = self.family.name, self.dispersion
        if name == "binomial":
            n = self._n(mean)
            return np.asarray(rng.binomial(n, mean) / n)
        if name == "poisson":
            return rng.poisson(mean).astype(float)
        if name == "gamma":
            return rng.gamma(size, mean / size)
        if name == "negative-binomial":
            return rng.poisson(rng.gamma(size, mean / size)).astype(float)
        latent = rng.logistic(size=len(mean)) if self.family.link == "logit" else rng.standard_normal(len(mean))
        return np.searchsorted(self.shape, mean + latent, side="right").astype(float)
