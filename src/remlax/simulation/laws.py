"""Laws of random effects and errors, and numbers of levels or rows that are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from ..errors import SimulationError
from . import checks


@dataclass(frozen=True)
class Distribution:
    """Law of random effects or errors, always scaled to mean 0 and variance 1 before SDs are applied.

    Parameters
    ----------
    kind
        "normal"; "t": Student's t with ``parameter`` degrees of freedom (> 2), heavy-tailed, kurtosis
        3 + 6 / (df - 4) for df > 4, for the vector of one level's effects the multivariate t; "gamma": gamma
        with shape ``parameter``, right-skewed, skewness 2 / sqrt(shape).
    parameter
        Degrees of freedom, or shape.

    Raises
    ------
    SimulationError
        The kind is unknown or its parameter is out of range.

    Examples
    --------
    >>> Distribution("t", 5)
    Distribution(kind='t', parameter=5)
    """

    kind: Literal["normal", "t", "gamma"] = "normal"
    parameter: float = math.inf

    def __post_init__(self) -> None:
        checks.one_of(self.kind, ("normal", "t", "gamma"), "distribution")
        if self.kind == "normal":
            return
        least = 2.0 if self.kind == "t" else 0.0
        number = isinstance(self.parameter, int | float | np.number) and not isinstance(self.parameter, bool)
        if not number or not least < self.parameter < math.inf:
            raise SimulationError(
                f"Distribution {self.kind!r} needs a finite parameter above {least:g}, got {self.parameter!r}."
            )


@dataclass(frozen=True)
class Drawn:
    """A number drawn anew for every group: of its rows, or of the groups nested in it.

    Parameters
    ----------
    low
        Smallest number, at least 0.
    weights
        Relative probabilities of low, low + 1, ...; their number bounds the arrays (absent rows are padding).

    Raises
    ------
    SimulationError
        A number is negative, or no weight is positive.

    Examples
    --------
    >>> Drawn.uniform(5, 7).mean
    6.0
    """

    low: int
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        checks.whole(self.low, "Drawn: low=", 0)
        given = checks.listed(self.weights, "Drawn: weights=", "numbers")
        weights = tuple(checks.number(w, "Drawn: a weight", 0) for w in given)
        if not sum(weights):
            raise SimulationError(f"Drawn needs a weight above 0, got weights={self.weights!r}.")
        object.__setattr__(self, "weights", weights)

    @property
    def high(self) -> int:
        """Largest number that can be drawn."""
        return self.low + len(self.weights) - 1

    @property
    def mean(self) -> float:
        """Expected number."""
        return float(np.average(np.arange(self.low, self.high + 1), weights=self.weights))

    @classmethod
    def uniform(cls, low: int, high: int) -> Drawn:
        """Every number from low to high with the same probability."""
        return cls(low, (1.0,) * len(_range(low, high)))

    @classmethod
    def poisson(cls, mean: float, low: int, high: int) -> Drawn:
        """Poisson with that mean before it is cut to low..high."""
        checks.number(mean, "Drawn.poisson: mean=", 0)
        return cls(low, tuple(stats.poisson.pmf(np.asarray(_range(low, high)), mean)))


def _range(low: int, high: int) -> range:
    checks.whole(low, "Drawn: low=", 0)
    return range(low, checks.whole(high, f"Drawn: high= after low={low}", low) + 1)
