"""Grouping factors: rows to levels, which factor is nested in which, and the order of elimination."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..errors import DataError


@dataclass(frozen=True)
class GroupingFactor:
    """One grouping factor over the union of all data sets.

    Parameters
    ----------
    label : str
        As lme4 prints it, ``a`` or ``a:b``.
    levels : ndarray of str
        Names of the levels that occur, in the order of the factor.
    codes : ndarray of int32, (n,)
        Level of every row of the stacked data sets (of one data set where the groups are shared).
    """

    label: str
    levels: np.ndarray
    codes: np.ndarray

    @property
    def n_levels(self) -> int:
        """Number of levels that occur."""
        return len(self.levels)

    def nested_in(self, other: GroupingFactor) -> bool:
        """Tell whether every level of this factor lies in one level of the other."""
        parent = self.parents(other)
        return bool(np.array_equal(parent[self.codes], other.codes))

    def parents(self, other: GroupingFactor) -> np.ndarray:
        """Return a level of the other factor that each level of this one meets."""
        parent = np.zeros(self.n_levels, np.int32)
        parent[self.codes] = other.codes
        return parent


def _column_levels(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Codes and level names of one column, levels in R's order; unused levels are dropped."""
    if isinstance(column.dtype, pd.StringDtype):
        codes, found = column.array.factorize()
        names = found.tolist()
        order = sorted(range(len(names)), key=names.__getitem__)
        return np.argsort(order)[codes], [names[k] for k in order]
    if isinstance(column.dtype, pd.CategoricalDtype):
        raw = column.cat.codes.to_numpy()
        used, codes = np.unique(raw, return_inverse=True)
        _refuse_infinite(column.cat.categories[used], column.name)
        return codes.reshape(-1), level_names(column.cat.categories[used])
    try:
        codes, uniques = pd.factorize(column, sort=True)
    except TypeError:
        kinds = ", ".join(sorted({type(value).__name__ for value in column}))
        raise DataError(
            f"the grouping column {column.name!r} holds Python objects of type {kinds}, which have no order: turn "
            "every cell into a string"
        ) from None
    _refuse_infinite(pd.Index(uniques), column.name)
    return codes, level_names(pd.Index(uniques))


def _refuse_infinite(levels: pd.Index, name: object) -> None:
    if levels.dtype.kind in "fO" and any(isinstance(v, float) and np.isinf(v) for v in levels):
        raise DataError(f"the grouping column {name!r} has infinite cells: give these rows a level, or leave them out")


def level_names(values: pd.Index) -> list[str]:
    """Print levels as R does."""
    if pd.api.types.is_integer_dtype(values.dtype):
        return list(map(str, values.tolist()))
    return [value if isinstance(value, str) else level_name(value) for value in values.tolist()]


def level_name(value: object) -> str:
    """Print a level as R does: 1.0 as 1."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def grouping_factor(frame: pd.DataFrame, columns: tuple[str, ...], label: str) -> GroupingFactor:
    """Factorize one grouping expression (the interaction of its columns) once for all data sets."""
    codes, names = _column_levels(frame[columns[0]])
    codes = codes.astype(np.int64, copy=False)
    for column in columns[1:]:
        more, more_names = _column_levels(frame[column])
        used, codes = np.unique(codes * len(more_names) + more, return_inverse=True)
        codes = codes.reshape(-1)
        names = [f"{names[k // len(more_names)]}:{more_names[k % len(more_names)]}" for k in used]
    if len(set(names)) < len(names):
        twice = names[int(np.argmax(pd.Index(names).duplicated()))]
        raise DataError(f"two levels of the grouping factor {label!r} are both written {twice!r}: rename one of them")
    return GroupingFactor(label, np.asarray(names, dtype=object), codes.astype(np.int32))


def elimination_order(factors: list[GroupingFactor], widths: list[int]) -> tuple[list[int], bool]:
    """Order factors for elimination, most columns first, and say whether they form no chain.

    Returns
    -------
    order : list of int
    crossed : bool
        False where every factor is nested in the next.
    """
    finest = sorted(range(len(factors)), key=lambda i: -factors[i].n_levels)
    chain = all(factors[a].nested_in(factors[b]) for i, a in enumerate(finest) for b in finest[i + 1 :])
    if chain:
        return finest, False
    return sorted(range(len(factors)), key=lambda i: -factors[i].n_levels * widths[i]), True
