"""Coding of terms: the columns that a right side makes, and their names."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .functions import Array, Categorical, ContrastMatrix, NamedColumns, level_name

# Where a column's numbers come from within one factor: the numbers themselves (None), one of several columns
# (its key), the indicator of a level (its position) or weights by level.
Selector: TypeAlias = "str | int | NDArray[np.float64] | None"
Block: TypeAlias = "dict[str, Selector]"  # the columns of one factor, by what is appended to its name
Finished: TypeAlias = "Array | Categorical | NamedColumns"
Plan: TypeAlias = "tuple[tuple[tuple[int, Selector], ...], ...]"  # per column: the factors multiplied


class Shape(NamedTuple):
    """What decides which columns a factor makes: the keys of several columns, or levels and contrast; else numeric."""

    keys: tuple[str, ...] | None = None
    levels: tuple[str, ...] | None = None
    contrast: str | ContrastMatrix = ""


def shape_of(value: Finished) -> Shape:
    if isinstance(value, NamedColumns):
        return Shape(keys=tuple(map(str, value.parts)))
    if isinstance(value, Categorical):
        return Shape(levels=tuple(level_name(level) for level in value.levels), contrast=value.contrast)
    return Shape()


class Coding(NamedTuple):
    """The columns of a right side: names, what each is made of, and the position of its term (-1: the intercept)."""

    names: tuple[str, ...]
    plan: Plan
    owners: tuple[int, ...]


# bounded: refits of one formula, as in a bootstrap, ask the same question each time
@lru_cache(maxsize=128)
def code_terms(
    intercept: bool, terms: tuple[tuple[int, ...], ...], labels: tuple[str, ...], shapes: tuple[Shape, ...]
) -> Coding:
    """Find which columns the terms (positions of their factors) make.

    Where there are categories the rank of the others decides, and formulaic says which; numbers make their products.
    """
    if any(shape.levels is not None for shape in shapes):
        from .categorical_terms import code_with_categories  # formulaic takes a quarter of the time of import

        return code_with_categories(intercept, terms, labels, shapes)
    names, owners = ["Intercept"] * intercept, [-1] * intercept
    plan: list[tuple[tuple[int, Selector], ...]] = [()] * intercept
    for position, term in enumerate(terms):
        blocks = [[(labels[i] + end, (i, key)) for end, key in numeric_block(shapes[i]).items()] for i in term]
        # the first factor runs fastest, in R as in formulaic
        for parts in itertools.product(*reversed(blocks)):
            names.append(":".join(name for name, _ in parts[::-1]))
            plan.append(tuple(part for _, part in parts[::-1]))
            owners.append(position)
    return Coding(tuple(names), tuple(plan), tuple(owners))


def numeric_block(shape: Shape) -> Block:
    """The columns that a factor without categories makes, alone."""
    return {"": None} if shape.keys is None else {f"[{key}]": key for key in shape.keys}
