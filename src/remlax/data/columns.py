"""Imputed data sets, their columns, row labels and names as texts, numbers and arrays, for files; and back, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, DataWarning, shortened, warn
from .imputed import ImputedData

Tree = dict[str, Any]


def label_tree(value: object, where: str) -> list[Any]:
    """Write a label or a cell with its type, so that 1, 1.0, True and "1" come back as they were.

    Raises DataError: it is neither text, number, truth value, missing nor a tuple of these.
    """
    if value is None:
        return ["none"]
    if value is pd.NA:
        return ["na"]
    if isinstance(value, tuple):
        return ["tuple", [label_tree(v, where) for v in value]]
    for name, kinds in (("bool", (bool, np.bool_)), ("int", (int, np.integer)), ("float", (float, np.floating))):
        if isinstance(value, kinds):
            return [name, value.item() if isinstance(value, np.generic) else value]
    if isinstance(value, str):
        return ["str", value]
    raise DataError(f"{where}: a {type(value).__name__} cannot be kept in a file; make it text or a number")


def label_from_tree(tree: Sequence[Any]) -> Any:
    """Read a label again."""
    kind = tree[0]
    if kind == "tuple":
        return tuple(label_from_tree(v) for v in tree[1])
    return {"none": None, "na": pd.NA}[kind] if kind in ("none", "na") else _TYPES[kind](tree[1])


_TYPES = {"bool": bool, "int": int, "float": float, "str": str}


def column_tree(column: pd.Series[Any] | pd.Index[Any], where: str) -> Tree:
    """Write the values of a column, called ``where`` in messages, e.g. ``"column 'x'"``.

    Raises DataError: it is of a type that a file cannot keep.
    """
    dtype: Any = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        codes = pd.Categorical(column).codes
        categories = column_tree(dtype.categories, where)
        return {"type": "category", "codes": codes, "categories": categories, "ordered": bool(dtype.ordered)}
    if isinstance(dtype, pd.StringDtype):
        codes, uniques = pd.factorize(column)
        kind = "string" if dtype.na_value is pd.NA else "str"
        return {"type": kind, "codes": codes, "values": [str(v) for v in uniques]}
    if isinstance(dtype, pd.DatetimeTZDtype):
        times: Any = pd.DatetimeIndex(column).tz_convert("UTC").tz_localize(None)
        return {"type": "datetime", "values": times.to_numpy(), "tz": str(dtype.tz)}
    if isinstance(dtype, np.dtype) and dtype.kind in "biufmM":
        return {"type": "numpy", "values": column.to_numpy()}
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        return {"type": "object", "values": [label_tree(v, where) for v in column]}
    if str(dtype) in _MASKED:
        numbers = column.to_numpy(dtype=_MASKED[str(dtype)], na_value=0)
        return {"type": "masked", "dtype": str(dtype), "values": numbers, "missing": np.asarray(column.isna())}
    raise DataError(f"{where}: values of type {dtype} cannot be kept in a file; make them numbers, text or categories")


_MASKED = {f"{name}{size}": f"{name.lower()}{size}" for name in ("Int", "UInt") for size in (8, 16, 32, 64)}
_MASKED |= {"Float32": "float32", "Float64": "float64", "boolean": "bool"}


def column_from_tree(tree: Tree) -> Any:
    """Read a column again, as an array that a Series or an Index can be made of."""
    kind = tree["type"]
    if kind == "category":
        categories = pd.Index(column_from_tree(tree["categories"]))
        return pd.Categorical.from_codes(tree["codes"], categories=categories, ordered=tree["ordered"])
    if kind in ("string", "str"):
        texts = np.array([*tree["values"], None], dtype=object)[tree["codes"]]
        return pd.array(texts, dtype=pd.StringDtype(na_value=pd.NA if kind == "string" else np.nan))
    if kind == "datetime":
        return pd.DatetimeIndex(tree["values"]).tz_localize("UTC").tz_convert(tree["tz"]).array
    if kind == "object":
        out = np.empty(len(tree["values"]), dtype=object)
        out[:] = [label_from_tree(v) for v in tree["values"]]
        return out
    if kind == "masked":
        values: Any = pd.array(tree["values"], dtype=tree["dtype"])
        values[tree["missing"]] = pd.NA
        return values
    return tree["values"]


def index_tree(index: pd.Index[Any]) -> Tree:
    """Write row labels."""
    names = [label_tree(name, "the name of the rows") for name in index.names]
    if isinstance(index, pd.RangeIndex):
        return {"type": "range", "range": [index.start, index.stop, index.step], "names": names}
    levels = [index.get_level_values(i) for i in range(index.nlevels)]
    return {"type": "levels", "levels": [column_tree(level, "the row labels") for level in levels], "names": names}


def index_from_tree(tree: Tree) -> pd.Index[Any]:
    """Read row labels again."""
    names = [label_from_tree(name) for name in tree["names"]]
    if tree["type"] == "range":
        start, stop, step = tree["range"]
        return pd.RangeIndex(start, stop, step, name=names[0])
    levels = [pd.Index(column_from_tree(level)) for level in tree["levels"]]
    return pd.MultiIndex.from_arrays(levels, names=names) if len(levels) > 1 else levels[0].rename(names[0])


def imputed_tree(data: ImputedData, needed: Sequence[str]) -> Tree:
    """Write all data sets, with their labels and row labels; a column that all sets share is kept once.

    Raises DataError: a label or a column that is needed is of a type that a file cannot keep.

    Warns
    -----
    DataWarning
        Other such columns, by name: they are left out.
    """
    first = data.frames[0]
    same_rows = all(frame.index.identical(first.index) for frame in data.frames)
    columns, left_out = [], []
    for name in data.columns:
        try:
            columns.append([name, _column(data, name)])
        except DataError as error:
            if name in needed:
                raise
            left_out.append(str(error))
    if left_out:
        warn(f"columns that the model does not use are left out of the file: {shortened(left_out)}", DataWarning)
    return {
        "labels": [label_tree(label, "the labels of the data sets") for label in data.labels],
        "index": [index_tree(frame.index) for frame in (data.frames[:1] if same_rows else data.frames)],
        "columns": columns,
    }


def _column(data: ImputedData, name: str) -> list[Tree]:
    frames = data.frames
    same_type = all(frame[name].dtype == frames[0][name].dtype for frame in frames)
    shared = data.aligned and name not in data.varying and same_type
    return [column_tree(frame[name], f"column {name!r}") for frame in (frames[:1] if shared else frames)]


def imputed_from_tree(tree: Tree) -> ImputedData:
    """Read the data sets again."""
    labels = tuple(label_from_tree(label) for label in tree["labels"])
    indexes = [index_from_tree(index) for index in tree["index"]]
    columns: dict[str, list[Any]] = {name: [column_from_tree(one) for one in each] for name, each in tree["columns"]}
    frames = []
    for k in range(len(labels)):
        index = indexes[k if len(indexes) > 1 else 0]
        values = {name: each[k if len(each) > 1 else 0] for name, each in columns.items()}
        frames.append(pd.DataFrame(values, index=index, copy=False))
    return ImputedData(tuple(frames), labels)
