"""The reference grid of marginal means: values of every variable, and the model-matrix rows of their combinations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..design.syntax import variables
from ..errors import DataError
from ..fitting.selection import Selection
from ..memory import check_room
from .checks import checks

At = Mapping[str, Any]
Weights = Literal["equal", "proportional"]

# a covariate with at most this many values takes all of them, as in R's emmeans (cov.keep)
KEEP_VALUES = 2


@dataclass(frozen=True, eq=False)
class Grid:
    """The means that are asked for, as averages over a reference grid.

    Parameters
    ----------
    wanted, by : tuple of str
        Variables whose values get means, and those within which they are compared.
    values : dict
        Values of every variable of the fixed part.
    cells : list of tuple
        Values of ``by`` and ``wanted``, one per mean.
    rows : ndarray (r, P)
        Averages of model-matrix rows, in all columns of the formula.
    weights : {"equal", "proportional"}
        How they are averaged.
    """

    wanted: tuple[str, ...]
    by: tuple[str, ...]
    values: dict[str, list[Any]]
    cells: list[tuple[Any, ...]]
    rows: np.ndarray
    weights: Weights

    @property
    def rest(self) -> dict[str, list[Any]]:
        """Values of the variables that are averaged over, or held."""
        return {name: own for name, own in self.values.items() if name not in (*self.wanted, *self.by)}

    @property
    def labels(self) -> list[str]:
        """What each mean is called within a level of ``by``."""
        return [" ".join(map(shown, cell[len(self.by) :])) for cell in self.cells]

    def keys(self) -> pd.DataFrame:
        """Columns of ``wanted`` and ``by``, one row per mean."""
        columns = dict(zip((*self.by, *self.wanted), zip(*self.cells, strict=True), strict=True))
        return pd.DataFrame({name: list(columns[name]) for name in (*self.wanted, *self.by)})


def make_grid(
    fits: Selection,
    specs: str | Sequence[str],
    by: str | Sequence[str] | None,
    at: At | None,
    weights: Weights,
) -> Grid:
    """Build the reference grid and average over it."""
    checks.choice(weights, Weights, "weights=")
    if at is not None and not isinstance(at, Mapping):
        raise DataError(f"at={at!r} must be a dict from variables of the fixed part to values, as in {{'x': [0, 1]}}")
    wanted, groups, fixed = _names(specs), _names(by), {} if at is None else at
    values = reference_values(fits, fixed)
    _check_names(wanted, groups, values, fixed)
    rest = [name for name in values if name not in (*wanted, *groups)]
    # by varies slowest, so that means that are compared stand together
    order = [*groups, *wanted]
    # a cell of the grid is a dict and a row of the model matrix
    size = math.prod(len(own) for own in values.values())
    numbers = size * (32 + 2 * len(fits.rows.fixed.names))
    check_room(numbers, f"{size} points of the grid", "give fewer values with at=")
    cells = list(product(*(values[name] for name in order)))
    others = list(product(*(values[name] for name in rest)))
    points = [dict(zip((*order, *rest), (*cell, *other), strict=True)) for cell in cells for other in others]
    x = _matrix(fits, points)
    share = np.ones(len(others))
    if weights == "proportional":
        pairs = {name for name in rest if len(values[name]) == KEEP_VALUES and name not in fixed}
        counted = [name for name in rest if name in pairs | fits.rows.fixed.categorical_variables]
        share = _frequencies(fits, rest, others, counted)
    rows = np.einsum("rgp,g->rp", x.reshape(len(cells), len(others), -1), share / share.sum())
    return Grid(wanted, groups, values, cells, rows, weights)


def _frequencies(
    fits: Selection, rest: Sequence[str], others: list[tuple[Any, ...]], counted: Sequence[str]
) -> np.ndarray:
    """How many rows of all data sets have the categories of each combination of the variables averaged over."""
    data = fits.rows.data
    assert data is not None  # every fit keeps its data
    if not counted:
        return np.ones(len(others))
    columns = [
        pd.concat([data.frames[k][name] for k in fits.which], ignore_index=True).astype(object) for name in counted
    ]
    sizes = pd.concat(columns, axis=1).value_counts().to_dict()
    found = [sizes.get(tuple(other[rest.index(name)] for name in counted), 0) for other in others]
    if not any(found):
        raise DataError(
            f"weights='proportional': no row of the data has the values of {', '.join(counted)} that at= gives"
        )
    return np.array(found, dtype=float)


def shown(value: object) -> str:
    """Write a value of the grid."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _check_names(wanted: tuple[str, ...], groups: tuple[str, ...], values: Mapping[str, list[Any]], at: At) -> None:
    """Refuse names that have no means to compare in the grid."""
    for name in (*wanted, *groups):
        if name not in values and ("~" in name or "|" in name):
            raise DataError(f"{name!r} is a formula: name variables, as in emmeans('a', by='b') for R's ~ a | b")
        if name not in values:
            raise DataError(
                f"{name!r} is no variable of the fixed part; there are {', '.join(values) or 'none'}: name one of them"
            )
    if not wanted or len({*wanted, *groups}) < len(wanted) + len(groups):
        raise DataError("name at least one variable for the means, and none of them twice")
    single = [name for name in (*wanted, *groups) if len(values[name]) < 2 and name not in at]
    if single:
        raise DataError(
            f"{single[0]!r} has one value only in the reference grid ({shown(values[single[0]][0])}): give values "
            f"with at={{{single[0]!r}: [...]}}"
        )


def _names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(given, str) or given is None:
        return () if given is None else (given,)
    if not isinstance(given, Sequence) or not all(isinstance(name, str) for name in given):
        raise DataError(f"{given!r} must be the name of a variable, or a list of names")
    return tuple(given)


def reference_values(fits: Selection, at: At) -> dict[str, list[Any]]:
    """Values of every variable of the fixed part in the reference grid.

    All categories of a factor; both values of a covariate that has two; otherwise the covariate's mean over the rows of
    all data sets, so that imputations share one grid.
    """
    rows = fits.rows
    assert rows.data is not None  # every fit keeps its data
    spec, frames = rows.fixed, [rows.data.frames[k] for k in fits.which]
    unknown = [name for name in at if name not in spec.variables]
    offsets = [*rows.formula.offset_trees, *([rows.given_offset] if isinstance(rows.given_offset, str) else [])]
    if unknown and unknown[0] in (name for part in offsets for name in variables(part)):
        raise DataError(f"at= names {unknown[0]!r}, which is in the offset: the means take the offset at its mean")
    if unknown:
        raise DataError(
            f"at= names {unknown[0]!r}, which is no variable of the fixed part; there are "
            f"{', '.join(spec.variables) or 'none'}"
        )
    out: dict[str, list[Any]] = {}
    for name in spec.variables:
        if name in at:
            given = at[name]
            values = [given] if isinstance(given, str) or np.ndim(given) == 0 else list(given)
            if not values:
                raise DataError(f"at={{{name!r}: ...}} has no value: give at least one")
            out[name] = values
            continue
        column = pd.concat([frame[name] for frame in frames], ignore_index=True)
        levels = pd.factorize(column, sort=True)[1]
        if name in spec.categorical_variables or len(levels) <= KEEP_VALUES:
            out[name] = list(levels)
        else:
            out[name] = [float(np.mean(column.to_numpy(dtype=float)))]
    return out


def _matrix(fits: Selection, points: list[dict[str, Any]]) -> np.ndarray:
    """Model-matrix rows of points of the grid, in all columns of the formula."""
    rows = fits.rows
    assert rows.data is not None  # every fit keeps its data
    frame = pd.DataFrame(points)
    for name in rows.fixed.categorical_variables:
        dtype = rows.data.frames[fits.which[0]][name].dtype
        if isinstance(dtype, pd.CategoricalDtype):
            known = set(dtype.categories)
            strange = [value for value in frame[name] if value not in known]
            if strange:
                raise DataError(
                    f"at= gives {name!r} the category {strange[0]!r}, which the data of the fit do not have"
                )
            frame[name] = frame[name].astype(dtype)
    return rows.fixed.build(frame)
