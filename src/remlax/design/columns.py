"""Columns of a pandas frame as plain values: numbers, truth values or categories."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from ..data.checks import frame_array, sum_of_squares
from ..errors import DataError, FormulaError, shortened
from .functions import Array, Categorical
from .tokens import nearest

# codings of patsy, which stand where a column might
_CODINGS = {
    "Sum": "; for sum contrasts write C(f, contr.sum)",
    "Helmert": "; for Helmert contrasts write C(f, contr.helmert)",
    "Poly": "; for polynomial contrasts write C(f, contr.poly)",
    "Treatment": "; treatment contrasts are the default, relevel(f, ref='b') gives another base level",
    "np": "; functions are written as log(x), exp(x), I(x^2)",
}


def require_columns(names: Iterable[str], frame: pd.DataFrame, what: str = "formula") -> None:
    """Check that every name is a column.

    Parameters
    ----------
    names : iterable of str
        Column names that a formula uses.
    frame : DataFrame
        The data.
    what : str, default "formula"
        Where the names stand, for the message.

    Raises
    ------
    FormulaError
        Names the first missing column and the columns whose names are nearest.
    DataError
        If a name belongs to several columns.
    """
    for name in names:
        _position(frame, name, what)


def _position(frame: pd.DataFrame, name: str, what: str) -> int:
    try:
        position = frame.columns.get_loc(name)
    except KeyError:
        known = [column for column in frame.columns if isinstance(column, str)]
        hint = _CODINGS.get(name) or nearest(name, known) or f"; the columns are {_some(known)}"
        raise FormulaError(f"{name!r} in the {what} is not a column of the data{hint}") from None
    if not isinstance(position, int):
        raise DataError(f"the data have several columns called {name!r}; rename or drop all but one")
    return position


def _some(names: list[str], most: int = 10) -> str:
    return shortened(map(repr, names), most) or "none"


def read_column(frame: pd.DataFrame, name: str, what: str) -> Array | Categorical:
    """Read one complete column.

    Parameters
    ----------
    frame : DataFrame
        The data, n rows.
    name : str
        Column to read.
    what : str
        Where the name stands, for messages.

    Returns
    -------
    ndarray (n,) or Categorical
        float64 for numbers of any dtype, bool for truth values; strings and categories become a Categorical
        without its unused categories (strings sorted; an ordered Categorical carries ``contr.poly``).

    Raises
    ------
    FormulaError
        If there is no such column.
    DataError
        For missing or infinite cells, and for dates and other things that are neither numbers nor categories.
    """
    position = _position(frame, name, what)
    values = frame_array(frame, position)
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        return _numbers(values.astype(np.float64, copy=False), frame.index, name, what)
    series = frame.iloc[:, position]
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _categorical(series, name, what)
    if types.is_bool_dtype(dtype):
        _refuse_missing(series, name, what)
        return series.to_numpy(dtype=np.bool_)
    if types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype):
        return _numbers(series.to_numpy(dtype=np.float64, na_value=np.nan), frame.index, name, what)
    if types.is_string_dtype(dtype) or types.is_object_dtype(dtype):
        return _objects(series, name, what)
    advice = ""
    if types.is_datetime64_any_dtype(dtype) or types.is_timedelta64_dtype(dtype) or "period" in str(dtype):
        advice = ": turn it into a number first (days since a date, for example) or into strings"
    raise DataError(f"column {name!r} in the {what} is of type {dtype}, neither numbers nor categories{advice}")


def _numbers(values: Array, index: pd.Index[Any], name: str, what: str) -> Array:
    # squares may overflow
    if not np.isfinite(sum_of_squares(values)) and not np.isfinite(values).all():
        for kind, test in (("missing", np.isnan), ("infinite", np.isinf)):
            _refuse_cells(test(values), kind, index, name, what)
    return values


def _categorical(series: pd.Series[Any], name: str, what: str) -> Array | Categorical:
    _refuse_missing(series, name, what)
    categories = series.cat.categories
    codes = series.cat.codes.to_numpy().astype(np.intp)
    used = np.flatnonzero(np.bincount(codes, minlength=len(categories)))
    if used.size < len(categories):
        renumber = np.zeros(len(categories), dtype=np.intp)
        renumber[used] = np.arange(used.size)
        codes = renumber[codes]
    contrast = "contr.poly" if series.cat.ordered else "contr.treatment"
    return Categorical(codes, tuple(categories[int(k)] for k in used), contrast)


def _objects(series: pd.Series[Any], name: str, what: str) -> Array | Categorical:
    _refuse_missing(series, name, what)
    try:
        codes, levels = pd.factorize(series)
    except TypeError:
        kinds = {type(value).__name__ for value in series}
        raise _no_categories(name, what, kinds) from None
    kinds = {type(level).__name__ for level in levels}
    if kinds <= {"bool", "bool_"} and kinds:
        return np.asarray(levels, dtype=np.bool_)[codes]
    if not kinds <= {"str", "str_"}:
        raise _no_categories(name, what, kinds)
    order = np.argsort(np.asarray(levels, dtype=object), kind="stable")
    return Categorical(np.argsort(order)[codes], tuple(levels[k] for k in order))


def _no_categories(name: str, what: str, kinds: set[str]) -> DataError:
    return DataError(
        f"column {name!r} in the {what} holds Python objects of type {', '.join(sorted(kinds))}; "
        "make it numeric (pandas.to_numeric) or turn every cell into a string"
    )


def _refuse_missing(series: pd.Series[Any], name: str, what: str) -> None:
    _refuse_cells(series.isna().to_numpy(), "missing", series.index, name, what)


def _refuse_cells(bad: np.ndarray, kind: str, index: pd.Index[Any], name: str, what: str) -> None:
    at = np.flatnonzero(bad)
    if at.size:
        cells = f"{at.size} {kind} cell{'s' if at.size > 1 else ''}"
        raise DataError(f"column {name!r} in the {what} has {cells} (the first at row {index[at[0]]!r})")
