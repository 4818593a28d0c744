"""What a generator of multilevel data needs to know: groups, covariates, effects and their laws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import Checks
from ..errors import SimulationError
from .covariates import ROUNDING, Covariate, effect_columns
from .fingerprint import LATER
from .laws import Distribution, Drawn
from .outcomes import TRIALS, Outcome

checks = Checks(SimulationError)

INTERCEPT = "(Intercept)"


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

    def __post_init__(self) -> None:
        label = f"Factor {checks.text(self.name, 'the name of a factor')!r}"
        _check_count(self.levels, f"{label}: levels=")
        if self.within is not None:
            checks.text(self.within, f"{label}: within=")
        if self.within == self.name:
            raise SimulationError(f"{label} cannot be nested in itself: within= names another factor.")
        checks.flag(self.assigned, f"{label}: assigned=")
        if self.assigned and (self.within is not None or isinstance(self.levels, Drawn)):
            raise SimulationError(f"{label}: assigned levels can be neither nested nor drawn in number.")


@dataclass(frozen=True)
class RandomTerm:
    """Random effects of one factor.

    Parameters
    ----------
    factor
        The grouping factor.
    sd
        SD of each effect, {term: SD}: "1" (or "Intercept", "(Intercept)"), a covariate, or a product such as "x:w".
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
        label = f"Random term of {checks.text(self.factor, 'the factor of a random term')!r}"
        object.__setattr__(self, "sd", _terms(self.sd, f"{label}: sd="))
        if not self.sd or any(sd < 0 for sd in self.sd.values()):
            raise SimulationError(f"{label}: SDs must be 0 or more, got {self.sd}.")
        checks.a(self.distribution, Distribution, f"{label}: distribution=", "Distribution('t', 5) or the like")
        q = len(self.sd)
        try:
            matrix = self.correlation_matrix
        except (TypeError, ValueError):
            matrix = np.empty((0, 0))
        if matrix.shape != (q, q) or (matrix != matrix.T).any() or (np.diag(matrix) != 1).any():
            raise SimulationError(
                f"{label}: give a number or a symmetric {q} x {q} matrix with ones on the diagonal as correlation, "
                f"not {self.correlation!r}."
            )
        if np.linalg.eigvalsh(matrix)[0] < -1e-12:
            raise SimulationError(f"{label}: the correlations {self.correlation!r} contradict each other.")

    @property
    def correlation_matrix(self) -> NDArray[np.float64]:
        """(q, q) correlations."""
        given: Any = self.correlation
        if np.ndim(given) > 0:
            return np.asarray(given, dtype=np.float64)
        return np.where(np.eye(len(self.sd)) > 0, 1.0, float(given))

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(q, q) covariance of one level's effects."""
        sd = np.array(list(self.sd.values()))
        matrix: NDArray[np.float64] = self.correlation_matrix * np.outer(sd, sd)
        return matrix


@dataclass(frozen=True)
class MultilevelDesign:
    """Multilevel data: y = X beta + Z b + e, or an outcome that is not Gaussian, given X beta + Z b.

    Parameters
    ----------
    factors
        Grouping factors, parents before their children.
    size
        Rows in every cell of the layout (a cell is a combination of levels of all factors not ``assigned``).
    beta
        Fixed effects, {term: value}: "1" (or "Intercept", "(Intercept)"), covariates, products such as "x:w".
    random
        Random effects.
    sigma
        SD of the errors; left out where there is an ``outcome`` or ``error_covariance``.
    covariates
        Covariates.
    error
        Law of the errors.
    response
        Column of y.
    outcome
        Distribution of a binary outcome, a count, a positive amount or ordered categories; None: Gaussian.
    error_covariance
        Covariance matrix (size, size) of the errors of a cell's rows, in their order, in the place of sigma: visits of
        a patient, as `remlax.mmrm` models them. The errors are normal.

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
    >>> from remlax.simulation.outcomes import Outcome
    >>> counts = MultilevelDesign(
    ...     [Factor("school", 30)], 10, {"1": 0.5}, [RandomTerm("school", {"1": 0.6})], outcome=Outcome("poisson"))
    >>> counts.outcome.link
    'log'
    """

    factors: Sequence[Factor]
    size: int | Drawn
    beta: Mapping[str, float]
    random: Sequence[RandomTerm]
    sigma: float | None = None
    covariates: Sequence[Covariate] = ()
    error: Distribution = field(default_factory=Distribution)
    response: str = "y"
    outcome: Outcome | None = field(default=None, metadata=LATER)
    error_covariance: Sequence[Sequence[float]] | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        for name, kind in (("factors", Factor), ("random", RandomTerm), ("covariates", Covariate)):
            members = checks.listed(getattr(self, name), f"{name}=", f"{kind.__name__}(...)")
            for member in members:
                checks.a(member, kind, f"a member of {name}", f"{kind.__name__}(...)")
            object.__setattr__(self, name, tuple(members))
        object.__setattr__(self, "beta", _terms(self.beta, "beta="))
        if self.error_covariance is not None:
            object.__setattr__(self, "error_covariance", _error_covariance(self))
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


def _terms(values: Mapping[str, float], what: str) -> dict[str, float]:
    given = checks.mapping(values, what, "{'1': 1.0, 'x': 0.5}")
    return {
        INTERCEPT if term in ("1", "Intercept") else term: checks.number(value, f"{what} of {term!r}")
        for term, value in given.items()
    }


def _error_covariance(design: MultilevelDesign) -> tuple[tuple[float, ...], ...]:
    """Checked covariance matrix of the errors of a cell's rows, as what can be hashed."""
    if isinstance(design.size, Drawn):
        raise SimulationError("error_covariance= needs cells of one size=: rows that went missing are for ampute=.")
    size = checks.whole(design.size, "size=, the number of rows of every cell,")
    try:
        matrix = np.asarray(design.error_covariance, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty((0, 0))
    if matrix.shape != (size, size) or not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, rtol=1e-12):
        raise SimulationError(
            f"error_covariance= must be a symmetric {size} x {size} matrix of numbers, with a row and a column for "
            f"every row of a cell, not {design.error_covariance!r}."
        )
    if np.linalg.eigvalsh(matrix)[0] < -1e-12 * np.abs(matrix).max():
        raise SimulationError(f"error_covariance= is no covariance matrix: {design.error_covariance!r}.")
    return tuple(tuple(map(float, row)) for row in matrix)


def _check_count(number: object, what: str) -> None:
    if not isinstance(number, Drawn):
        checks.whole(number, what)
    elif number.high < 1:
        raise SimulationError(f"{what} must be 1 or more now and then, got {number!r}.")


def _check(design: MultilevelDesign) -> None:
    names = [factor.name for factor in design.factors]
    columns = [covariate.name for covariate in design.covariates]
    dummies = [name for covariate in design.covariates for name in covariate.dummies]
    own = [checks.text(design.response, "response="), *_check_outcome(design)]
    _no_twins([*names, *columns, *dummies, *own], "Column")
    _no_twins([f"{term} of {part.factor}" for part in design.random for term in part.sd], "The random effect")
    _check_count(design.size, "size=, the number of rows of every cell,")
    for i, factor in enumerate(design.factors):
        if factor.within is not None:
            earlier = [other.name for other in design.factors[:i] if not other.assigned]
            checks.known([factor.within], earlier, f"Factor {factor.name!r}: within=", "factors before it")
    for covariate in design.covariates:
        _check_covariate(covariate, design)
        _check_turns(covariate, design)
    for term in (*design.beta, *(term for part in design.random for term in part.sd)):
        for covariate in design.covariates:
            if covariate.levels and covariate.name in columns_of(term):
                named = ", ".join(map(repr, covariate.dummies))
                raise SimulationError(f"Term {term!r}: {covariate.name!r} has levels; name their effects, {named}.")
        checks.known(columns_of(term), effect_columns(design.covariates), f"Term {term!r}", "covariates")
    checks.known([part.factor for part in design.random], names, "A random term")


def _check_outcome(design: MultilevelDesign) -> list[str]:
    """Check what the response is given the linear predictor; columns that stand beside it."""
    checks.a(design.error, Distribution, "error=", "Distribution('t', 5) or the like")
    outcome = design.outcome
    if design.error_covariance is not None:
        if outcome is not None or design.sigma is not None or design.error != Distribution():
            raise SimulationError("error_covariance= is of normal errors: leave out sigma=, error= and outcome=.")
        return []
    if outcome is None:
        if design.sigma is None:
            raise SimulationError("A Gaussian response needs sigma=, the SD of its errors; others have an outcome=.")
        checks.number(design.sigma, "sigma=", 0)
        return []
    checks.a(outcome, Outcome, "outcome=", "Outcome('binomial') or the like")
    if design.sigma is not None or design.error != Distribution():
        raise SimulationError(f"An outcome of family {outcome.family!r} has no errors: leave out sigma= and error=.")
    if outcome.family == "ordinal" and INTERCEPT in design.beta:
        raise SimulationError("An ordinal outcome has thresholds in the place of an intercept: leave it out of beta=.")
    return [] if outcome.trials is None else [TRIALS]


def _check_covariate(covariate: Covariate, design: MultilevelDesign) -> None:
    label = f"Covariate {covariate.name!r}"
    parents = {factor.name: factor.within for factor in design.factors}
    checks.known([*covariate.icc, *([covariate.level] if covariate.level else [])], parents, label)
    if covariate.level is None:
        return
    above, name = [], parents[covariate.level]
    while name is not None:
        above.append(name)
        name = parents[name]
    for name in covariate.icc:
        if name not in above:
            raise SimulationError(
                f"{label} is constant in {covariate.level!r}: icc= names factors above that, and {name!r} is none."
            )


def _check_turns(covariate: Covariate, design: MultilevelDesign) -> None:
    """Refuse a covariate that takes turns and never gets round to its last value."""
    label = f"Covariate {covariate.name!r} of kind {covariate.kind!r}"
    if covariate.kind == "index" and highest(design.size) == 1:
        raise SimulationError(
            f"{label} is 0 in every row, since every cell of the layout has one: give a larger size=."
        )
    if covariate.kind != "balanced":
        return
    where = "rows that take turns" if covariate.level is None else f"levels of {covariate.level!r}"
    turns = _n_turns(covariate, design)
    if covariate.levels and turns < len(covariate.levels):
        raise SimulationError(f"{label} cannot deal {len(covariate.levels)} levels to {turns} {where}.")
    if not covariate.levels and turns * covariate.mean < 1 - ROUNDING:
        raise SimulationError(
            f"{label} is 0 everywhere: the share mean={covariate.mean:g} of {turns} {where} is less than one of them."
        )


def _n_turns(covariate: Covariate, design: MultilevelDesign) -> int:
    """How many units a balanced covariate is dealt to in turn, at most."""
    factors = {factor.name: factor for factor in design.factors}
    totals: dict[str, int] = {}
    for name, factor in factors.items():
        totals[name] = highest(factor.levels) * (1 if factor.within is None else totals[factor.within])
    if covariate.level is not None:
        return totals[covariate.level]
    parents = {factor.within for factor in design.factors}
    leaves = [name for name, factor in factors.items() if not factor.assigned and name not in parents]
    if len(leaves) < 2:
        return design.n_rows
    return highest(design.size) + sum(totals[name] - 1 for name in leaves)


def _no_twins(names: Sequence[str], what: str) -> None:
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise SimulationError(f"{what} {', '.join(map(repr, twins))} is defined twice.")
