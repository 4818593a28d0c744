"""Contrast matrices of the caller's own, and contrasts by name, for factors of the fixed part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import DataError, FormulaError
from .rcalls import CONTRASTS, Categorical, ContrastMatrix, level_name
from .syntax import parse
from .terms import label

Contrasts = Mapping[str, npt.ArrayLike | pd.DataFrame | str]


@dataclass(frozen=True)
class OwnContrasts:
    """A contrast matrix: rows by level, in the order of ``levels`` (None: that of the factor's), and column names."""

    names: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]
    levels: tuple[str, ...] | None = None

    def ordered(self, levels: tuple[str, ...], factor: str) -> ContrastMatrix:
        """Bring the rows into the order of a factor's levels.

        Raises
        ------
        DataError
            A level has no row or a row no level; or the columns do not tell the levels apart.
        """
        said = f"contrasts= of {factor!r}"
        if self.levels is None:
            if len(self.rows) != len(levels):
                raise DataError(
                    f"{said} has {len(self.rows)} rows; it needs {len(levels)}, one for each level, in the order "
                    f"{_listed(levels)}"
                )
            rows = self.rows
        else:
            strange = [name for name in self.levels if name not in levels]
            missing = [name for name in levels if name not in self.levels]
            if strange or missing:
                what = f"no row for {missing[0]!r}" if missing else f"a row for {strange[0]!r}, which is no level"
                raise DataError(f"{said} has {what}; the levels in the data are {_listed(levels)}")
            rows = tuple(self.rows[self.levels.index(name)] for name in levels)
        if len(self.names) != len(levels) - 1:
            raise DataError(
                f"{said} has {_columns(len(self.names))}; {len(levels)} levels need {_columns(len(levels) - 1)}"
            )
        matrix = np.array(rows, dtype=float).reshape(len(levels), -1)
        whole = np.column_stack([np.ones(len(matrix)), matrix / np.maximum(np.abs(matrix).max(axis=0), 1e-300)])
        if (rank := int(np.linalg.matrix_rank(whole))) < len(levels):
            raise DataError(
                f"the columns of {said} do not tell the levels apart: together with the intercept they have the rank "
                f"{rank}, and {len(levels)} levels need {len(levels)}"
            )
        return ContrastMatrix(self.names, rows)


GivenContrasts = Mapping[str, OwnContrasts | str]


def read_contrasts(given: Contrasts | None) -> dict[str, OwnContrasts | str]:
    """Read what the caller gave.

    Raises
    ------
    DataError
        It is no dict; or an entry is neither a matrix of finite numbers nor the name of contrasts.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise DataError("contrasts= is a dict from a factor of the formula to a matrix, such as {'f': matrix}")
    return {_key(name): _read(value, name) for name, value in given.items()}


def _key(name: object) -> str:
    """Write an expression as the formula has it."""
    try:
        return label(parse(str(name)))
    except FormulaError:
        return str(name)  # a column whose name R would not read


def _read(value: Any, factor: object) -> OwnContrasts | str:
    said = f"contrasts= of {factor!r}"
    if isinstance(value, str):
        if value not in CONTRASTS:
            raise DataError(f"{said} is {value!r}: give a matrix, or one of {_listed(CONTRASTS)}")
        return value
    if isinstance(value, pd.Series):
        value = value.to_frame("1" if value.name is None else value.name)
    try:
        numbers = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise DataError(f"{said} must be a matrix of numbers, a row for each level") from None
    matrix = numbers[:, None] if numbers.ndim == 1 else numbers
    if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
        raise DataError(
            f"{said} must be a matrix of finite numbers, a row for each level; its shape is {numbers.shape}"
        )
    rows = tuple(map(tuple, matrix.tolist()))
    if not isinstance(value, pd.DataFrame):
        return OwnContrasts(tuple(str(k + 1) for k in range(matrix.shape[1])), rows)
    levels, names = tuple(map(level_name, value.index)), tuple(map(str, value.columns))
    for what, labels in (("row", levels), ("column", names)):
        if len(set(labels)) < len(labels):
            raise DataError(f"{said} has several {what}s called {max(labels, key=labels.count)!r}")
    return OwnContrasts(names, rows, levels)


def contrasts_tree(given: GivenContrasts) -> dict[str, Any]:
    """Write contrasts as texts and lists of numbers, for files."""
    return {name: own if isinstance(own, str) else vars(own) for name, own in given.items()}


def contrasts_from_tree(tree: Mapping[str, Any]) -> dict[str, OwnContrasts | str]:
    """Read them again."""
    return {name: own if isinstance(own, str) else _from_tree(own) for name, own in tree.items()}


def _from_tree(own: Mapping[str, Any]) -> OwnContrasts:
    levels = own["levels"]
    return OwnContrasts(
        tuple(own["names"]), tuple(tuple(row) for row in own["rows"]), None if levels is None else tuple(levels)
    )


def with_contrasts(factor: Categorical, name: str, given: GivenContrasts) -> Categorical:
    """Give a factor the contrasts that the caller has for it.

    Raises
    ------
    DataError
        They do not fit its levels.
    """
    own = given.get(name)
    if own is None:
        return factor
    if isinstance(own, str):
        return replace(factor, contrast=own)
    return replace(factor, contrast=own.ordered(tuple(map(level_name, factor.levels)), name))


def check_names(given: GivenContrasts, factors: list[str], what: str) -> None:
    """Refuse contrasts of what is no factor.

    Raises
    ------
    DataError
    """
    unknown = [name for name in given if name not in factors]
    if unknown:
        raise DataError(
            f"contrasts= names {unknown[0]!r}, which is no categorical variable of the {what}; there are "
            f"{_listed(factors) or 'none'} (numbers become categories as factor(x))"
        )


def _columns(n: int) -> str:
    return f"{n} column{'' if n == 1 else 's'}"


def _listed(names: tuple[str, ...] | list[str], most: int = 10) -> str:
    return ", ".join(map(repr, names[:most])) + (", ..." if names[most:] else "")
