"""Imputation models of batched methods: terms of complete columns, and what the analysis model has beyond them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..design.congenial import as_terms
from ..design.model_matrix import model_matrix
from ..design.syntax import variables
from ..engine.conditioning import aliased_columns
from ..errors import SimulationError
from ..simulation.design import MultilevelDesign
from ..simulation.outcomes import TRIALS
from .array_columns import Product, array_products, categories_of

EXAMPLE_ROWS = 400


class Split(NamedTuple):
    """A column in whose values rows are imputed by themselves, and its values on arrays."""

    column: str
    values: tuple[float, ...]


def example_frame(design: MultilevelDesign) -> pd.DataFrame:
    """Rows with the columns of a design and all levels, but not its layout: enough to see which columns others give."""
    rng = np.random.default_rng(0)
    categories = categories_of(design)
    columns: dict[str, Any] = {}
    for c in design.covariates:
        codes = rng.permutation(np.arange(EXAMPLE_ROWS) % max(len(categories.get(c.name, ())), 1))
        if c.levels:
            columns[c.name] = pd.Categorical.from_codes(codes, pd.Index(c.levels))
        else:
            columns[c.name] = codes if c.name in categories else rng.normal(c.mean, c.sd or 1.0, EXAMPLE_ROWS)
    groups = {factor.name: np.arange(EXAMPLE_ROWS) % 20 for factor in design.factors}
    beside = {} if design.outcome is None or design.outcome.trials is None else {TRIALS: design.outcome.trials}
    return pd.DataFrame(groups | columns | {design.response: rng.normal(size=EXAMPLE_ROWS)} | beside)


def without_trials(design: MultilevelDesign, columns: Sequence[str]) -> list[str]:
    """Columns of an analysis model that an imputation model may have: the number of trials is the same in all rows."""
    return [name for name in columns if name != TRIALS or design.outcome is None]


def check_outcome(design: MultilevelDesign, imputed: Collection[str], method: str) -> None:
    """Refuse to impute an outcome that is not Gaussian by a normal model."""
    if design.outcome is not None and design.response in imputed:
        raise SimulationError(
            f"Column {design.response!r} is a {design.outcome.family} outcome with missing cells, and {method} imputes "
            "continuous columns: leave such rows out by CompleteCases, or impute them in a function of yours."
        )


def term_products(
    design: MultilevelDesign, terms: Sequence[str], incomplete: Mapping[str, object], what: str, known: Sequence[str]
) -> tuple[Product, ...]:
    """Columns of terms on arrays, without the intercept: of ``"time"``, ``"time:arm"``, ``"I(time^2)"``, ``"arm"``.

    ``incomplete`` columns are refused, ``known`` ones are those of the data, and messages call the argument ``what``.

    Raises
    ------
    SimulationError
        A column is not there or incomplete, or terms determine each other.
    FormulaError
        A term cannot be read.
    """
    for term in terms:
        if term not in known and ("|" in term or "~" in term):
            raise SimulationError(f"{what} has {term!r}: give columns or terms of them, as ['x', 'w', 'x:w'].")
    terms = as_terms(terms, known)
    for term in terms:
        if not variables(term):
            raise SimulationError(f"{what} has {term!r}, which names no column.")
        for name in variables(term):
            if name not in known:
                raise SimulationError(f"{what} names {name!r}; the data have {', '.join(map(repr, known))}.")
            if name in incomplete:
                raise SimulationError(f"{what} names {name!r}, which is incomplete: name complete columns.")
    if not terms:
        return ()
    matrix = model_matrix(" + ".join(("1", *terms)), example_frame(design), what=what)
    twice = aliased_columns(matrix.values)
    if twice:
        raise SimulationError(
            f"{what}: the column {matrix.names[twice[0]]!r} is a linear combination of other columns: leave it out."
        )
    products = array_products(matrix.spec, categories_of(design))
    return tuple(product for product in products if product)


def split_of(design: MultilevelDesign, by: str | None, incomplete: Mapping[str, object]) -> Split | None:
    """Values of the column that ``by=`` names; a SimulationError if it has no levels or may have missing cells."""
    if by is None:
        return None
    kinds = {c.name: c for c in design.covariates}
    categories = categories_of(design)
    if by not in kinds or by not in categories or kinds[by].kind == "index":
        able = [name for name in categories if kinds[name].kind != "index"]
        there = f"the design has {', '.join(map(repr, able))}" if able else "the design has none"
        raise SimulationError(f"by= names {by!r}: give a covariate that is binary, balanced or categorical; {there}.")
    if by in incomplete:
        raise SimulationError(f"by= names {by!r}, which is incomplete: rows are split by a complete column.")
    return Split(by, tuple(categories[by].values()))
