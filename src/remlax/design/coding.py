"""Shapes of factors, and the coding of terms: the columns that a right side makes."""

from __future__ import annotations

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


def numeric_block(shape: Shape) -> Block:
    """The columns that a factor without categories makes, alone."""
    return {"": None} if shape.keys is None else {f"[{key}]": key for key in shape.keys}
