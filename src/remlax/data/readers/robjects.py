"""Objects of R packages, as rdata converts them, to imputations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ...errors import DataError, FileFormatError
from ..checks import Label
from .files import plain_types, truth_as_numbers
from .layouts import Sets


def split_object(found: Mapping[Any, Any], where: str) -> Sets:
    """Take the imputations out of a mids, amelia or mitml object, or out of a list of data frames.

    Raises FileFormatError: it is none of these, or lacks a part.
    """
    parts = {str(name): part for name, part in found.items()}
    try:
        if {"data", "imp", "where"} <= parts.keys():
            return _mids(parts)
        if {"imputations", "missMatrix"} <= parts.keys():
            return _amelia(parts)
        if {"data", "replacement.mat", "index.mat"} <= parts.keys():
            return _mitml(parts)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise FileFormatError(
            f"the R object in {where} lacks a part, or has one of another shape ({type(error).__name__}: {error}): "
            "in R, save the completed data instead"
        ) from error
    if parts and all(isinstance(part, pd.DataFrame) for part in parts.values()):
        # mice's complete(m, "all") names its sets "1", "2", ...
        labels = [int(name) if name.isdigit() else name for name in parts]
        return Sets(dict(zip(labels, (part.reset_index(drop=True) for part in parts.values()), strict=True)), None)
    raise FileFormatError(
        f"{where} holds an R object with the parts {', '.join(list(parts)[:8])}: it is no mids, amelia or mitml object "
        "and no list of data frames"
    )


def _mids(parts: dict[str, Any]) -> Sets:
    """Fill in what mice drew: `imp` has a frame per variable, rows = its cells in `where`, columns = imputations."""
    original = plain_types(parts["data"].reset_index(drop=True))
    gaps = np.asarray(parts["where"], dtype=bool)
    drawn = {str(name): cells for name, cells in parts["imp"].items()}
    rows = {name: np.flatnonzero(gaps[:, j]) for j, name in enumerate(original.columns) if gaps[:, j].any()}
    original = original.assign(**{name: _as_drawn(original[name], drawn[name]) for name in rows})
    imputed: dict[Label, pd.DataFrame] = {
        k + 1: original.assign(**{name: _filled(original[name], rows[name], drawn[name].iloc[:, k]) for name in rows})
        for k in range(int(np.asarray(parts["m"])[0]))
    }
    return Sets(imputed, original)


def _as_drawn(column: pd.Series[Any], drawn: pd.DataFrame) -> pd.Series[Any]:
    """Truth values as 0/1 where numbers were drawn for them: so R makes one column of the two."""
    truth = pd.api.types.is_bool_dtype
    return truth_as_numbers(column) if truth(column.dtype) and not all(map(truth, drawn.dtypes)) else column


def _filled(column: pd.Series[Any], rows: np.ndarray[Any, Any], values: pd.Series[Any]) -> pd.Series[Any]:
    if len(rows) != len(values):
        raise ValueError(f"{len(values)} values for {len(rows)} cells of {column.name!r}")
    result = column.copy()
    numbers = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    kept: Any = values.astype("Float64").to_numpy(np.float64, na_value=np.nan) if numbers else values.astype(object)
    result.iloc[rows] = np.asarray(kept)
    return result


def _amelia(parts: dict[str, Any]) -> Sets:
    """Take the imputations; one that Amelia gave up is no data frame and is left out."""
    frames = {str(name): part for name, part in parts["imputations"].items() if isinstance(part, pd.DataFrame)}
    imputed: dict[Label, pd.DataFrame] = {
        int(name.removeprefix("imp")): plain_types(frame.reset_index(drop=True)) for name, frame in frames.items()
    }
    first = next(iter(imputed.values()))
    gaps = pd.DataFrame(np.asarray(parts["missMatrix"], dtype=bool), columns=first.columns)
    return Sets(imputed, first.mask(gaps))


def _mitml(parts: dict[str, Any]) -> Sets:
    """Put replacements into their cells (row and column counted from 1); rows go back to the user's order."""
    original = plain_types(parts["data"])
    cells = np.asarray(parts["index.mat"], dtype=np.intp) - 1
    values = np.asarray(parts["replacement.mat"], dtype=np.float64)
    names = pd.to_numeric(pd.Series(original.index), errors="coerce").to_numpy()
    # mitml sorts by cluster, and the names of the rows say where they stood
    order = np.argsort(names) if np.array_equal(np.sort(names), np.arange(1, len(names) + 1)) else np.arange(len(names))
    drawn_in = [str(original.columns[position]) for position in np.unique(cells[:, 1])]
    original = original.assign(**{name: _as_drawn(original[name], pd.DataFrame(values)) for name in drawn_in})
    imputed: dict[Label, pd.DataFrame] = {}
    for k in range(values.shape[1]):
        frame = original.copy(deep=False)
        for position in np.unique(cells[:, 1]):
            own = cells[:, 1] == position
            column = original.iloc[:, position]
            drawn = pd.Series(values[own, k])
            if isinstance(column.dtype, pd.CategoricalDtype):
                drawn = pd.Series(column.cat.categories[drawn.astype(int) - 1].to_numpy())
            frame[column.name] = _filled(column, cells[own, 0], drawn)
        imputed[k + 1] = frame.iloc[order].reset_index(drop=True)
    return Sets(imputed, original.iloc[order].reset_index(drop=True))
