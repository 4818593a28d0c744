"""Which columns the terms of a right side make, and what they are called: formulaic's coding, asked about one row."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from formulaic import Formula
from formulaic.materializers.types import FactorValues
from formulaic.parser.types import Factor as Variable
from formulaic.parser.types import Term
from formulaic.transforms.contrasts import Contrasts, HelmertContrasts, PolyContrasts, SumContrasts
from numpy.typing import NDArray

from .rcalls import Array, Categorical, Columns, ContrastMatrix, level_name

# Where a column's numbers come from within one factor: the numbers themselves (None), one of several columns
# (its key), the indicator of a level (its position) or weights by level.
Selector: TypeAlias = "str | int | NDArray[np.float64] | None"
_Block: TypeAlias = "dict[str, Selector]"  # the columns of one factor, by what is appended to its name
Finished: TypeAlias = "Array | Categorical | Columns"
Plan: TypeAlias = "tuple[tuple[tuple[int, Selector], ...], ...]"  # per column: the factors multiplied


class Shape(NamedTuple):
    """What decides which columns a factor makes: the keys of several columns, or levels and contrast; else numeric."""

    keys: tuple[str, ...] | None = None
    levels: tuple[str, ...] | None = None
    contrast: str | ContrastMatrix = ""


def shape_of(value: Finished) -> Shape:
    if isinstance(value, Columns):
        return Shape(keys=tuple(map(str, value.parts)))
    if isinstance(value, Categorical):
        return Shape(levels=tuple(level_name(level) for level in value.levels), contrast=value.contrast)
    return Shape()


def _block(shape: Shape, reduced: bool) -> _Block:
    """The columns that a factor makes, alone; `reduced` leaves out what the intercept already says."""
    if shape.keys is not None:
        return {f"[{key}]": key for key in shape.keys}
    if shape.levels is None:
        return {"": None}
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


class RightSide(NamedTuple):
    """The columns of a right side: names, what each is made of, and the position of its term (-1: the intercept)."""

    names: tuple[str, ...]
    plan: Plan
    owners: tuple[int, ...]


# bounded: refits of one formula, as in a bootstrap, ask the same question each time
@lru_cache(maxsize=128)
def structure(
    intercept: bool, terms: tuple[tuple[int, ...], ...], labels: tuple[str, ...], shapes: tuple[Shape, ...]
) -> RightSide:
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
    return RightSide(tuple(names), tuple(plan), tuple(owners))


def _one_row(shape: Shape) -> FactorValues[Any]:
    """One row of a finished factor, in the form in which formulaic takes values that it need not evaluate."""
    if shape.levels is None:
        row = dict.fromkeys(_block(shape, reduced=False), np.ones(1))
        return FactorValues(row, kind="numerical", format="{name}{field}")

    def encode(values: Any, *, reduced_rank: bool, **_: Any) -> FactorValues[Any]:
        row = dict.fromkeys(_block(shape, reduced_rank), np.ones(1))
        return FactorValues(row, kind="categorical", format="{name}{field}", spans_intercept=not reduced_rank)

    return FactorValues(np.ones(1), kind="categorical", spans_intercept=True, encoder=encode)
