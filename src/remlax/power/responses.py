"""Responses of a design: every replication has random numbers of its own, which designs of all sizes share."""

from __future__ import annotations

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
class ResponseLaw:
    """Distribution of the response of a design: y = mean + Z b + e.

    Parameters
    ----------
    mean : ndarray (n,)
        Fixed part and offset.
    effects : tuple of EffectLaw
    sigma : float
    error : Distribution
    """

    mean: np.ndarray
    effects: tuple[EffectLaw, ...]
    sigma: float
    error: Distribution = NORMAL

    def draw(self, seed: int, replications: range) -> np.ndarray:
        """Draw responses (R, n); each depends on the seed and the number of its replication, and on no other."""
        n = len(self.mean)
        shapes = [((int(part.codes.max()) + 1, part.z.shape[1]), part.distribution) for part in self.effects]
        shapes.append(((n, 1), self.error))
        drawn = [
            np.stack([_standard(_generator(seed, r, part), shape, law) for r in replications])
            for part, (shape, law) in enumerate(shapes)
        ]
        y = self.mean + self.sigma * drawn[-1][:, :, 0]
        for part, standard in zip(self.effects, drawn, strict=False):
            y += part.contribution(standard)
        return np.asarray(y)


def _generator(seed: int, replication: int, part: int) -> Generator:
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
