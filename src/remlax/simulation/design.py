"""What a generator of multilevel data needs to know: groups, covariates, effects and their laws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..errors import SimulationError

INTERCEPT = "(Intercept)"


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
        least = {"normal": 0.0, "t": 2.0, "gamma": 0.0}
        if self.kind not in least:
            raise SimulationError(f"Unknown distribution {self.kind!r}: choose normal, t or gamma.")
        if self.kind != "normal" and not least[self.kind] < self.parameter < math.inf:
            raise SimulationError(
                f"Distribution {self.kind!r} needs a finite parameter above {least[self.kind]:g}, "
                f"got {self.parameter!r}."
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
        object.__setattr__(self, "weights", tuple(float(w) for w in self.weights))
        if self.low < 0 or not self.weights or min(self.weights) < 0 or not 0 < sum(self.weights) < math.inf:
            raise SimulationError(f"Drawn needs low >= 0 and weights >= 0, not all 0; got {self.low}, {self.weights}.")

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
        return cls(low, (1.0,) * (high - low + 1))

    @classmethod
    def poisson(cls, mean: float, low: int, high: int) -> Drawn:
        """Poisson with that mean before it is cut to low..high."""
        return cls(low, tuple(stats.poisson.pmf(np.arange(low, high + 1), mean)))


@dataclass(frozen=True)
class Factor:
    """A grouping factor.

    Parameters
    ----------
    name
        Its column.
    levels
        Number of levels; in each level of ``within``, if that is given.
    within
        Factor in which this one is nested. Two factors that are not nested are fully crossed: every
        combination of their levels has rows.
    assigned
        True: the rows are not laid out by this factor; each row draws one of its levels with equal
        probability (cross-classified data, such as pupils of schools living in neighbourhoods).

    Examples
    --------
    >>> Factor("class", 3, within="school")
    Factor(name='class', levels=3, within='school', assigned=False)
    """

    name: str
    levels: int | Drawn
    within: str | None = None
    assigned: bool = False


@dataclass(frozen=True)
class Covariate:
    """A covariate.

    Parameters
    ----------
    name
        Its column.
    level
        None: differs from row to row; a factor's name: constant in its levels.
    mean, sd
        Marginal mean and SD. For "binary", ``mean`` is the probability of a 1 and ``sd`` is not used.
    icc
        Share of the variance between the levels of factors, {factor: share}; what is left is the covariate's
        own level's. For "binary", of the variance of the latent normal variable behind it.
    kind
        "normal"; "binary": 0 or 1; "index": 0, 1, 2, ... within the innermost group, such as an occasion
        (mean, sd and icc are not used).

    Examples
    --------
    >>> Covariate("ses", icc={"school": 0.2}).sd
    1.0
    """

    name: str
    level: str | None = None
    mean: float = 0.0
    sd: float = 1.0
    icc: Mapping[str, float] = field(default_factory=dict)
    kind: Literal["normal", "binary", "index"] = "normal"


@dataclass(frozen=True)
class RandomTerm:
    """Random effects of one factor.

    Parameters
    ----------
    factor
        The grouping factor.
    sd
        SD of each effect, {term: SD}: "(Intercept)" (or "1"), a covariate, or a product such as "x:w".
    correlation
        The correlation of two effects, or the whole correlation matrix; 0 by default.
    distribution
        Law of the effects. For "gamma" the vector is a linear combination of independent gammas with the
        covariance asked for.

    Examples
    --------
    >>> RandomTerm("school", {"1": 0.5, "x": 0.2}, correlation=0.3).sd
    {'(Intercept)': 0.5, 'x': 0.2}
    """

    factor: str
    sd: Mapping[str, float]
    correlation: float | Sequence[Sequence[float]] = 0.0
    distribution: Distribution = field(default_factory=Distribution)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sd", _terms(self.sd))
        if not self.sd or any(not 0 <= sd < math.inf for sd in self.sd.values()):
            raise SimulationError(f"Random term of {self.factor!r}: SDs must be 0 or more, got {self.sd}.")
        matrix = self.correlation_matrix
        q = len(self.sd)
        if matrix.shape != (q, q) or (matrix != matrix.T).any() or (np.diag(matrix) != 1).any():
            raise SimulationError(
                f"Random term of {self.factor!r}: give a number or a symmetric {q} x {q} matrix "
                "with ones on the diagonal as correlation."
            )
        if np.linalg.eigvalsh(matrix)[0] < -1e-12:
            raise SimulationError(f"Random term of {self.factor!r}: the correlations contradict each other.")

    @property
    def correlation_matrix(self) -> NDArray[np.float64]:
        """(q, q) correlations."""
        if isinstance(self.correlation, Sequence):
            return np.asarray(self.correlation, dtype=np.float64)
        q = len(self.sd)
        return np.where(np.eye(q) > 0, 1.0, float(self.correlation))

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(q, q) covariance of one level's effects."""
        sd = np.array(list(self.sd.values()))
        matrix: NDArray[np.float64] = self.correlation_matrix * np.outer(sd, sd)
        return matrix


@dataclass(frozen=True)
class MultilevelDesign:
    """Multilevel data: y = X beta + Z b + e.

    Parameters
    ----------
    factors
        Grouping factors, parents before their children.
    size
        Rows in every cell of the layout (a cell is a combination of levels of all factors not ``assigned``).
    beta
        Fixed effects, {term: value}: "(Intercept)" (or "1"), covariates, products such as "x:w".
    random
        Random effects.
    sigma
        SD of the errors.
    covariates
        Covariates.
    error
        Law of the errors.
    response
        Column of y.

    Raises
    ------
    SimulationError
        A name is unknown or used twice, shares of variance add up to more than 1, or a number is out of
        range.

    Examples
    --------
    >>> design = MultilevelDesign(
    ...     factors=[Factor("school", 30)], size=10, beta={"1": 2.0, "x": 0.5},
    ...     random=[RandomTerm("school", {"1": 0.6})], sigma=1.0, covariates=[Covariate("x")])
    >>> design.n_rows
    300
    """

    factors: Sequence[Factor]
    size: int | Drawn
    beta: Mapping[str, float]
    random: Sequence[RandomTerm]
    sigma: float
    covariates: Sequence[Covariate] = ()
    error: Distribution = field(default_factory=Distribution)
    response: str = "y"

    def __post_init__(self) -> None:
        for name in ("factors", "random", "covariates"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "beta", _terms(self.beta))
        _check(self)

    @property
    def n_rows(self) -> int:
        """Rows of the arrays: all rows of a balanced design, the most there can be of a drawn one."""
        laid_out = (highest(factor.levels) for factor in self.factors if not factor.assigned)
        return math.prod(laid_out) * highest(self.size)


def highest(number: int | Drawn) -> int:
    """The largest value that a number of levels or rows can take."""
    return number.high if isinstance(number, Drawn) else number


def columns_of(term: str) -> tuple[str, ...]:
    """The columns whose product a term is; none for the intercept."""
    return () if term == INTERCEPT else tuple(term.split(":"))


def _terms(values: Mapping[str, float]) -> dict[str, float]:
    return {INTERCEPT if term == "1" else term: float(value) for term, value in values.items()}


def _check(design: MultilevelDesign) -> None:
    names = [factor.name for factor in design.factors]
    columns = [covariate.name for covariate in design.covariates]
    _no_twins([*names, *columns, design.response])
    _check_factors(design)
    for covariate in design.covariates:
        _check_covariate(covariate, names)
    for term in (*design.beta, *(term for part in design.random for term in part.sd)):
        for column in columns_of(term):
            _known(column, columns, f"Term {term!r}")
    for part in design.random:
        _known(part.factor, names, "A random term")
    if not 0 <= design.sigma < math.inf:
        raise SimulationError(f"sigma must be 0 or more, got {design.sigma}.")


def _check_factors(design: MultilevelDesign) -> None:
    earlier: list[str] = []
    for factor in design.factors:
        if factor.within is not None:
            _known(factor.within, earlier, f"Factor {factor.name!r}: within=")
        if factor.assigned and (factor.within is not None or isinstance(factor.levels, Drawn)):
            raise SimulationError(f"Factor {factor.name!r}: assigned levels can be neither nested nor drawn in number.")
        if not factor.assigned:
            earlier.append(factor.name)
    if any(highest(number) < 1 for number in (design.size, *(factor.levels for factor in design.factors))):
        raise SimulationError("Every factor needs a level and every cell a row: levels and size are 1 or more.")


def _check_covariate(covariate: Covariate, factors: Sequence[str]) -> None:
    label = f"Covariate {covariate.name!r}"
    for name in (*covariate.icc, *([covariate.level] if covariate.level else [])):
        _known(name, factors, label)
    if covariate.kind not in ("normal", "binary", "index"):
        raise SimulationError(f"{label}: unknown kind {covariate.kind!r}; choose normal, binary or index.")
    shares = list(covariate.icc.values())
    if any(share < 0 for share in shares) or sum(shares) > 1:
        raise SimulationError(f"{label}: shares of variance are 0 or more and add up to at most 1, got {shares}.")
    if covariate.kind == "binary" and not 0 < covariate.mean < 1:
        raise SimulationError(f"{label}: the probability of a 1, mean=, lies between 0 and 1, got {covariate.mean}.")
    if covariate.sd < 0:
        raise SimulationError(f"{label}: sd must be 0 or more, got {covariate.sd}.")
    if covariate.level in covariate.icc:
        raise SimulationError(f"{label} is constant in {covariate.level!r}: icc= names factors above that.")


def _known(name: str, known: Iterable[str], who: str) -> None:
    known = list(known)
    if name not in known:
        among = ", ".join(map(repr, known)) or "none"
        raise SimulationError(f"{who} names {name!r}, which is not among {among}.")


def _no_twins(names: Sequence[str]) -> None:
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise SimulationError(f"Column {', '.join(map(repr, twins))} is defined twice.")
