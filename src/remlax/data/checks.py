"""Checks of data frames that are to be imputations of one another."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd

from ..errors import DataError, shortened

Label = Hashable
ColumnArray: TypeAlias = "np.ndarray | pd.api.extensions.ExtensionArray"


def check_frame(frame: object, where: str) -> pd.DataFrame:
    """Return `frame`, called ``where`` in messages, if it is a DataFrame with rows and unique text column names.

    Raises DataError: not a DataFrame, no rows or columns, column names duplicated or not text.
    """
    if not isinstance(frame, pd.DataFrame):
        kind = f"{type(frame).__module__}.{type(frame).__qualname__}".removeprefix("builtins.")
        how = ".to_pandas()" if hasattr(frame, "to_pandas") else "pandas.DataFrame(...)"
        raise DataError(f"{where} is a {kind}, not a pandas DataFrame: convert it with {how} first")
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        raise DataError(f"{where} is empty ({frame.shape[0]} rows, {frame.shape[1]} columns): leave it out or fill it")
    if not frame.columns.is_unique:
        name = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"{where} has more than one column named {name!r}: rename or drop all but one")
    not_text = [name for name in frame.columns if not isinstance(name, str)]
    if not_text:
        raise DataError(f"{where} has the column name {not_text[0]!r}, which is not text: rename the column")
    return frame


def check_frames(frames: Sequence[object], names: Sequence[str]) -> tuple[pd.DataFrame, ...]:
    """Check frames one by one and against the first; return them with its column order and category order.

    Raises DataError: also where columns, column types or sets of categories differ between the frames.
    """
    first = check_frame(frames[0], names[0])
    types = _types(first)
    # equal categories may come in another order, and objects may hold anything: these are looked at one by one
    plain = not any(isinstance(t, pd.CategoricalDtype) or pd.api.types.is_object_dtype(t) for t in types)
    conformed = [first.copy(deep=False)]
    for frame, name in zip(frames[1:], names[1:], strict=True):
        # columns that are those of the first have been looked at
        known = isinstance(frame, pd.DataFrame) and len(frame) > 0 and frame.columns.equals(first.columns)
        checked = cast(pd.DataFrame, frame) if known else check_frame(frame, name)
        same = known and plain and _types(checked) == types
        conformed.append(checked.copy(deep=False) if same else conform(checked, first, name, names[0]))
    return tuple(conformed)


def _types(frame: pd.DataFrame) -> list[Any]:
    """Types of the columns; a Series of them costs twenty times as much, which K frames feel."""
    take = getattr(getattr(frame, "_mgr", None), "get_dtypes", None)
    return list(frame.dtypes if take is None else take())


def conform(frame: pd.DataFrame, first: pd.DataFrame, name: str, first_name: str) -> pd.DataFrame:
    """Return a shallow copy of `frame` with the columns, and the order of categories, of `first`."""
    if not frame.columns.equals(first.columns):
        _check_same_columns(frame, first, name, first_name)
        frame = frame[list(first.columns)]
    frame = frame.copy(deep=False)
    for column, dtype, wanted in zip(first.columns, frame.dtypes, first.dtypes, strict=True):
        if isinstance(wanted, pd.CategoricalDtype) and isinstance(dtype, pd.CategoricalDtype):
            if _check_categories(column, dtype, wanted, name, first_name):
                frame[column] = frame[column].cat.set_categories(wanted.categories)
        elif dtype != wanted or pd.api.types.is_object_dtype(dtype):
            kinds = column_kind(frame[column]), column_kind(first[column])
            if kinds[0] != kinds[1]:
                raise DataError(
                    f"column {column!r} holds {kinds[0]} in {name} but {kinds[1]} in {first_name}: "
                    "give it one type everywhere"
                )
    return frame


def conform_original(original: pd.DataFrame, first: pd.DataFrame, first_name: str, n_rows: int | None) -> pd.DataFrame:
    """Return the incomplete original as `conform` does; ``n_rows`` is None where the imputations have several."""
    check_frame(original, "the original")
    if n_rows is not None and len(original) != n_rows:
        raise DataError(
            f"the original has {len(original)} rows but the imputations have {n_rows}: "
            "give the same rows in the same order, or none using with_original(None)"
        )
    return conform(original, first, "the original", first_name)


def _check_same_columns(frame: pd.DataFrame, first: pd.DataFrame, name: str, first_name: str) -> None:
    lacking = first.columns.difference(frame.columns, sort=False)
    extra = frame.columns.difference(first.columns, sort=False)
    for columns, has, lacks in ((lacking, first_name, name), (extra, name, first_name)):
        if len(columns):
            raise DataError(
                f"{lacks} lacks {'the column' if len(columns) == 1 else 'the columns'} {_listed(columns)} "
                f"that {has} has: give all data sets the same columns"
            )


def _check_categories(
    column: str, dtype: pd.CategoricalDtype, wanted: pd.CategoricalDtype, name: str, first_name: str
) -> bool:
    """Return whether the same categories come in another order; raise where the types are not the same."""
    if bool(dtype.ordered) != bool(wanted.ordered):
        words = {True: "an ordered factor", False: "an unordered factor"}
        raise DataError(
            f"column {column!r} is {words[bool(dtype.ordered)]} in {name} but "
            f"{words[bool(wanted.ordered)]} in {first_name}: give it one type everywhere"
        )
    if dtype.categories.equals(wanted.categories):
        return False
    if set(dtype.categories) == set(wanted.categories) and not wanted.ordered:
        return True
    order = " in this order" if wanted.ordered else ""
    raise DataError(
        f"column {column!r} has the categories {_listed(dtype.categories)} in {name} but "
        f"{_listed(wanted.categories)} in {first_name}: give it one pandas.CategoricalDtype "
        f"with all categories{order} everywhere"
    )


def column_kind(column: pd.Series) -> str:
    """Name what a column holds: integers and floats are one kind, strings of any storage another."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "categories"
    if pd.api.types.is_bool_dtype(dtype):
        return "truth values"
    if pd.api.types.is_numeric_dtype(dtype):
        return "numbers"
    if pd.api.types.is_object_dtype(dtype):
        held = pd.api.types.infer_dtype(column, skipna=True)
        words = {"string": "text", "boolean": "truth values", "empty": "missing cells only"}
        return words.get(held, f"Python objects ({held})")
    return "text" if pd.api.types.is_string_dtype(dtype) else f"values of type {dtype}"


def column_array(column: pd.Series) -> ColumnArray:
    """Values of a column without its row labels: a NumPy array where it is one, else what pandas keeps."""
    return column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array


def frame_array(frame: pd.DataFrame, position: int) -> ColumnArray:
    """Values of one column of a frame, to be read only; a Series of it costs ten times as much, which K frames feel."""
    take = getattr(frame, "_get_column_array", None)
    return column_array(frame.iloc[:, position]) if take is None else cast(ColumnArray, take(position))


def other_order(index: pd.Index, first: pd.Index) -> bool:
    """Tell whether the same unique row labels stand in another order."""
    same = index.equals(first) or len(index) != len(first) or not (index.is_unique and first.is_unique)
    return not same and bool(index.isin(first).all())


def same_values(left: pd.Series, right: pd.Series) -> bool:
    """Tell whether two conformed columns of equal length hold the same values; missing equals missing."""
    return same_arrays(column_array(left), column_array(right))


def same_arrays(left: ColumnArray, right: ColumnArray) -> bool:
    """Tell the same of the arrays of two columns."""
    if _is_number(left.dtype) and _is_number(right.dtype):
        return _same_numbers(_as_floats(left), _as_floats(right))
    if left.dtype == right.dtype:
        one, other = (pd.arrays.NumpyExtensionArray(a) if isinstance(a, np.ndarray) else a for a in (left, right))
        return bool(cast(Any, one).equals(other))
    return bool(pd.Series(left).astype(object).equals(pd.Series(right).astype(object)))


def _is_number(dtype: Any) -> bool:
    kind = dtype.kind if isinstance(dtype, np.dtype) else ""
    return kind in "biufc" if kind else pd.api.types.is_numeric_dtype(dtype)


def _as_floats(array: ColumnArray) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else array.to_numpy(dtype=np.float64, na_value=np.nan)


def _same_numbers(left: np.ndarray, right: np.ndarray) -> bool:
    if left.__array_interface__ == right.__array_interface__:
        return True  # the same memory: imputations that share a column need no look at it
    differ = left != right
    if not differ.any():
        return True
    return bool(np.isnan(left[differ]).all() and np.isnan(right[differ]).all())


def sum_of_squares(array: np.ndarray) -> float:
    """Sum of squares; BLAS would start threads for it."""
    return float(np.einsum("i,i->", array, array))


def missing_cells(arrays: Sequence[ColumnArray], labels: Sequence[Label]) -> list[str]:
    """Say per imputation how many cells of a column are missing, e.g. ``["12 in imputation 3"]``."""
    counts = map(n_missing, arrays)
    return [f"{n} in imputation {label}" for n, label in zip(counts, labels, strict=True) if n]


def refuse_missing(cells: Mapping[str, Sequence[str]]) -> None:
    """Raise if any column of a model has missing cells, as `missing_cells` says them."""
    problems = [f"{name!r} ({shortened(counts)})" for name, counts in cells.items() if counts]
    if problems:
        raise DataError(
            f"missing cells in variables of the model: {shortened(problems)}: "
            "impute these variables too, or leave them out of the model"
        )


def n_missing(array: ColumnArray) -> int:
    """Count the missing cells of a column."""
    if isinstance(array, np.ndarray):
        if array.dtype.kind == "f":
            # a sum of squares is NaN where a cell is, and is found in less time
            return int(np.count_nonzero(np.isnan(array))) if np.isnan(sum_of_squares(array)) else 0
        if array.dtype.kind in "biu":
            return 0
    return int(np.count_nonzero(pd.isna(array)))


def _listed(names: pd.Index) -> str:
    return shortened([repr(name) for name in names])
