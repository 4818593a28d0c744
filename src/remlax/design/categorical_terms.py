"""Terms with categories: the columns that they make, which formulaic is asked about one row."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from formulaic import Formula
from formulaic.materializers.types import FactorValues
from formulaic.parser.types import Factor as Variable
from formulaic.parser.types import Term
from formulaic.transforms.contrasts import Contrasts, HelmertContrasts, PolyContrasts, SumContrasts

from .coding import Block, Coding, Selector, Shape, numeric_block
from .functions import ContrastMatrix


def code_with_categories(
    intercept: bool, terms: tuple[tuple[int, ...], ...], labels: tuple[str, ...], shapes: tuple[Shape, ...]
) -> Coding:
    """Ask formulaic, about one row, which columns the terms (positions of their factors) make."""
    slots = {name: slot for slot, name in enumerate(labels)}
    context = {name: _one_row(shape) for name, shape in zip(labels, shapes, strict=True)}
    constant = [Term([Variable("1", eval_method="literal")])] if intercept else []
    products = [Term([Variable(labels[i]) for i in term]) for term in terms]
    matrix = Formula([*constant, *products]).get_model_matrix(pd.DataFrame(index=[0]), context=context)
    names: list[str] = []
    plan: list[tuple[tuple[int, Selector], ...]] = []
    owners: list[int] = []
    position = {frozenset(labels[i] for i in term): t for t, term in enumerate(terms)}
    for term in matrix.model_spec.structure:
        names.extend(term.columns)
        owners += [position.get(frozenset(factor.expr for factor in term.term.factors), -1)] * len(term.columns)
        for scoped in term.scoped_terms:
            factors = [(slots[part.factor.expr], part.reduced) for part in scoped.factors]
            blocks = [[(slot, s) for s in _block(shapes[slot], reduced).values()] for slot, reduced in factors]
            # the first factor runs fastest, in R as in formulaic
            plan.extend(pieces[::-1] for pieces in itertools.product(*reversed(blocks)))
    return Coding(tuple(names), tuple(plan), tuple(owners))


def _one_row(shape: Shape) -> FactorValues[Any]:
    """One row of a finished factor, in the form in which formulaic takes values that it need not evaluate."""
    if shape.levels is None:
        row = dict.fromkeys(_block(shape, reduced=False), np.ones(1))
        return FactorValues(row, kind="numerical", format="{name}{field}")

    def encode(values: Any, *, reduced_rank: bool, **_: Any) -> FactorValues[Any]:
        row = dict.fromkeys(_block(shape, reduced_rank), np.ones(1))
        return FactorValues(row, kind="categorical", format="{name}{field}", spans_intercept=not reduced_rank)

    return FactorValues(np.ones(1), kind="categorical", spans_intercept=True, encoder=encode)


def _block(shape: Shape, reduced: bool) -> Block:
    """The columns that a factor makes, alone; `reduced` leaves out what the intercept already says."""
    if shape.levels is None:
        return numeric_block(shape)
    names = list(shape.levels)
    if not reduced:
        return {f"[{name}]": k for k, name in enumerate(names)}
    if isinstance(shape.contrast, ContrastMatrix):
        own = np.array(shape.contrast.rows, dtype=np.float64)
        return {f"[{column}]": own[:, k] for k, column in enumerate(shape.contrast.names)}
    contrasts, form = _CODINGS.get(shape.contrast, (None, "[T.{}]"))
    if contrasts is None:
        return {form.format(name): k for k, name in enumerate(names) if k}
    weights = np.asarray(contrasts.get_coding_matrix(names, reduced_rank=True), dtype=np.float64)
    columns = contrasts.get_coding_column_names(names, reduced_rank=True)
    return {form.format(column): weights[:, k] for k, column in enumerate(columns)}


_CODINGS: dict[str, tuple[Contrasts, str]] = {
    "contr.sum": (SumContrasts(), "[S.{}]"),
    "contr.helmert": (HelmertContrasts(), "[H.{}]"),
    "contr.poly": (PolyContrasts(), "{}"),
}
