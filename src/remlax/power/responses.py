"""Responses of a design: every replication has random numbers of its own, which designs of all sizes share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from ..simulation.laws import Distribution

NORMAL = Distribution()


@dataclass(frozen=True, eq=False)
class EffectLaw:
    """Random effects of one term.

    Parameters
    ----------
    codes : ndarray of int (n,)
        Level of every row, in order of appearance: a larger design begins with the levels of a smaller one.
    z : ndarray (n, q)
    root : ndarray (q, q)
        root root' is the covariance of one level's effects.
    distribution : Distribution
    """

    codes: np.ndarray
    z: np.ndarray
    root: np.ndarray
    distribution: Distribution = NORMAL

    def contribution(self, standard: np.ndarray) -> np.ndarray:
        """Z b (R, n) from standardised effects (R, levels, q)."""
        effects = standard @ self.root.T
        parts = [effects[:, self.codes, j] * column for j, column in enumerate(self.z.T)]
        return np.asarray(np.sum(parts, axis=0))


@dataclass(frozen=True, eq=False)
class Law(ABC):
    """Distribution of the response of a design, whose linear predictor is mean + Z b.

    Every replication depends on the seed and its number, and on no other.

    Parameters
    ----------
    mean : ndarray (n,)
        Fixed part and offset.
    effects : tuple of EffectLaw
    """

    mean: np.ndarray
    effects: tuple[EffectLaw, ...]

    @abstractmethod
    def draw(self, seed: int, replications: range, without: np.ndarray | float = 0.0) -> np.ndarray:
        """Draw responses (R, n), with something (n,) taken from their linear predictors."""

    def predictor(self, seed: int, replications: range) -> np.ndarray:
        """Linear predictors (R, n)."""
        eta = np.tile(self.mean, (len(replications), 1))
        for at, part in enumerate(self.effects):
            shape = int(part.codes.max()) + 1, part.z.shape[1]
            drawn = [_standard(generator(seed, r, at), shape, part.distribution) for r in replications]
            eta += part.contribution(np.stack(drawn))
        return eta

    def standard(self, seed: int, replications: range, of: Callable[[Generator], np.ndarray]) -> np.ndarray:
        """What rows draw beside the random effects, (R, ...)."""
        return np.stack([of(generator(seed, r, len(self.effects))) for r in replications])


@dataclass(frozen=True, eq=False)
class ResponseLaw(Law):
    """The law of y = mean + Z b + e.

    Parameters
    ----------
    sigma : float
    error : Distribution
    """

    sigma: float
    error: Distribution = NORMAL

    def draw(self, seed: int, replications: range, without: np.ndarray | float = 0.0) -> np.ndarray:
        """See `Law`."""
        n = len(self.mean)
        errors = self.standard(seed, replications, lambda rng: _standard(rng, (n, 1), self.error)[:, 0])
        return np.asarray(self.predictor(seed, replications) - without + self.sigma * errors)


def generator(seed: int, replication: int, part: int) -> Generator:
    """Random numbers of a part of a replication."""
    return Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(replication, part))))


def _standard(rng: Generator, shape: tuple[int, int], law: Distribution) -> np.ndarray:
    """Independent vectors (levels, q) with mean 0 and identity covariance; those of the first levels stay with more.

    The multivariate t has one chi-square for each level.
    """
    if law.kind == "gamma":
        return np.asarray((rng.standard_gamma(law.parameter, shape) - law.parameter) / np.sqrt(law.parameter))
    if law.kind == "normal":
        return rng.standard_normal(shape)
    (scale,) = rng.spawn(1)
    half_chi2 = scale.standard_gamma(law.parameter / 2, shape[0])
    return np.asarray(rng.standard_normal(shape) * np.sqrt((law.parameter / 2 - 1) / half_chi2)[:, None])
