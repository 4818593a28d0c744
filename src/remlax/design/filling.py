"""Filling of model matrices: columns as products of finished factors, written straight into the result."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .coding import Finished, Plan, Selector
from .functions import Array, Categorical, NamedColumns


def fill(
    n: int,
    values: list[Finished],
    plan: Plan,
    names: tuple[str, ...],
    what: str,
) -> NDArray[np.float64]:
    """Matrix (n, p) with the columns that a plan makes of the values of factors."""
    out = np.empty((n, len(plan)), order="F")
    for j, pieces in enumerate(plan):
        column = out[:, j]
        if not pieces:
            column[:] = 1.0
            continue
        first = _select(values[pieces[0][0]], pieces[0][1])
        _by_part(column, first)[:] = first
        with np.errstate(over="ignore", invalid="ignore"):  # reported just below, by name
            for slot, selector in pieces[1:]:
                part = _select(values[slot], selector)
                _by_part(column, part)[:] *= part
        if len(pieces) > 1 and not np.isfinite(column).all():
            raise DataError(f"{names[j]!r} in the {what} overflows: the product of its columns is not finite")
    return out


def fill_column(n: int, values: list[Finished], pieces: tuple[Any, ...], name: str, what: str) -> Array:
    """One column of `fill`; where it is an array of that length already, that array."""
    if len(pieces) == 1:
        column = _select(values[pieces[0][0]], pieces[0][1])
        if column.dtype == np.float64 and len(column) == n:
            return column
    return fill(n, values, (pieces,), (name,), what)[:, 0]


def _by_part(column: Array, part: Array) -> Array:
    """Look at a column of all data sets as one row for each, where the part is of values that all share."""
    return column if len(part) == len(column) else column.reshape(-1, len(part))


def _select(value: Finished, selector: Selector) -> Array:
    if isinstance(value, NamedColumns):
        return value.parts[str(selector)]
    if isinstance(value, Categorical):
        return selector[value.codes] if isinstance(selector, np.ndarray) else np.asarray(value.codes == selector)
    return value
