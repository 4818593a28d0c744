"""A design of multilevel data from a formula and its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..checks import Checks
from ..design.formula import MixedFormula, parse_formula
from ..design.model_matrix import model_matrix
from ..design.tree import Call, Expression, Name
from ..errors import SimulationError
from .covariates import Covariate, effect_columns
from .design import Factor, MultilevelDesign, RandomTerm
from .laws import Distribution, Drawn
from .outcomes import TRIALS, Outcome

checks = Checks(SimulationError)

Values = Mapping[str, float] | Sequence[float]


def design_from_formula(
    formula: str,
    *,
    beta: Values,
    sd: Mapping[str, Values],
    sigma: float | None = None,
    factors: Sequence[Factor],
    size: int | Drawn,
    covariates: Sequence[Covariate] = (),
    correlation: Mapping[str, float | Sequence[Sequence[float]]] | None = None,
    distribution: Mapping[str, Distribution] | None = None,
    error: Distribution | None = None,
    outcome: Outcome | None = None,
) -> MultilevelDesign:
    """Describe multilevel data by a formula and its parameters.

    Parameters
    ----------
    formula
        Such as ``"y ~ x * w + (1 + x | g)"``: covariates and their products; with trials
        ``"cbind(y, trials - y) ~ x + (1 | g)"``.
    beta
        Fixed effects, by term or in the order of the coefficients; "Intercept" names the intercept, which an ordinal
        outcome does not have.
    sd
        {grouping factor: SDs of its random effects}, by term or in order.
    sigma, factors, size, covariates, error, outcome
        As of `MultilevelDesign`.
    correlation, distribution
        By grouping factor, as of `RandomTerm`.

    Raises
    ------
    SimulationError
        Parameters do not match the terms of the formula, or a term is not a product of covariates.
    FormulaError
        The formula cannot be read.

    Examples
    --------
    >>> design = design_from_formula(
    ...     "y ~ x + (1 + x | g)", beta=[1.0, 0.5], sd={"g": [0.6, 0.3]}, correlation={"g": 0.2}, sigma=1.0,
    ...     factors=[Factor("g", 30)], size=10, covariates=[Covariate("x")])
    >>> design.beta, design.random[0].sd
    ({'(Intercept)': 1.0, 'x': 0.5}, {'(Intercept)': 0.6, 'x': 0.3})
    """
    parsed = parse_formula(formula, counts=True)
    if parsed.offsets:
        raise SimulationError("A design has no offset: leave it out of the formula.")
    for covariate in checks.listed(covariates, "covariates=", "Covariate(...)"):
        checks.a(covariate, Covariate, "a member of covariates", "Covariate(...)")
    known = effect_columns(covariates)
    frame = _example(covariates)
    groups = [term.group[-1] if len(term.group) == 1 else term.group_label for term in parsed.random]
    options = {"sd": sd, "correlation": correlation or {}, "distribution": distribution or {}}
    for what, given in options.items():
        checks.known(checks.mapping(given, f"{what}=", "{'g': ...}"), groups, f"{what}=")
    random = []
    for name, term in zip(groups, parsed.random, strict=True):
        if name not in sd:
            raise SimulationError(f"sd= has no entry for the grouping factor {name!r}.")
        random.append(
            RandomTerm(
                name,
                _named(sd[name], _terms(term.lhs_tree, frame, known), f"sd= of {name!r}"),
                (correlation or {}).get(name, 0.0),
                (distribution or {}).get(name, Distribution()),
            )
        )
    fixed = _terms(parsed.fixed_tree, frame, known)
    if isinstance(outcome, Outcome) and outcome.family == "ordinal":
        fixed = [name for name in fixed if name != "Intercept"]
    return MultilevelDesign(
        factors,
        size,
        _named(beta, fixed, "beta="),
        random,
        sigma,
        covariates,
        Distribution() if error is None else error,
        _response(parsed),
        outcome,
    )


def _response(parsed: MixedFormula) -> str:
    """Column of the response; of successes and failures that of the successes."""
    match parsed.response_tree:
        case Call("cbind", (Name(successes), failures), _) if failures.text == f"{TRIALS} - {successes}":
            return successes
        case Call("cbind"):
            raise SimulationError(
                f"A design draws successes, and has their number of trials in the column {TRIALS!r}: write "
                f"cbind(y, {TRIALS} - y)."
            )
    return parsed.response


def _example(covariates: Sequence[Covariate]) -> pd.DataFrame:
    """A few rows with every level of every covariate."""
    n = max([7, *(len(covariate.levels) for covariate in covariates)])
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {
        c.name: pd.Categorical.from_codes(np.arange(n) % len(c.levels), pd.Index(c.levels))
        if c.levels
        else rng.normal(size=n)
        for c in covariates
    }
    return pd.DataFrame(columns, index=range(n))


def _terms(rhs: Expression, frame: pd.DataFrame, known: Sequence[str]) -> list[str]:
    names = list(model_matrix(rhs, frame).names)
    for name in names:
        if name != "Intercept" and not set(name.split(":")) <= set(known):
            raise SimulationError(f"The term {name!r} of the formula is not a covariate or a product of covariates.")
    return names


def _named(values: Values, terms: Sequence[str], what: str) -> dict[str, float]:
    """Parameters by term, in the order of the formula, the intercept as "1"."""
    if not isinstance(values, Mapping):
        values = checks.listed(values, what, "numbers, one per term")
    given = dict(values) if isinstance(values, Mapping) else dict(zip(terms, values, strict=False))
    if len(values) != len(terms) or set(given) != set(terms):
        named = list(values) if isinstance(values, Mapping) else f"{len(values)} numbers"
        raise SimulationError(f"{what} has {named}; the terms are {', '.join(map(repr, terms))}.")
    return {"1" if term == "Intercept" else term: given[term] for term in terms}
