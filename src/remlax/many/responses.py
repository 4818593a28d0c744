"""Reading many responses: columns of a frame or of an array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from ..data.checks import other_order
from ..errors import DataError, shortened


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses side by side.

    Parameters
    ----------
    names : pandas.Index (G,)
    values : ndarray (n, G)
        Numbers; NaN where a cell is missing. Shares memory with what the caller gave where it can.
    """

    names: pd.Index
    values: np.ndarray

    def block(self, which: slice | np.ndarray, kept: np.ndarray | None) -> np.ndarray:
        """Some responses as rows (m, n) of double precision, at the rows of the data that are in the model."""
        part = self.values[:, which] if kept is None else self.values[kept][:, which]
        return np.ascontiguousarray(part.T, dtype=np.float64)


def read_responses(
    given: object, names: Sequence[object] | None, index: pd.Index, what: str = "responses="
) -> Responses:
    """Check responses and what they are called.

    Parameters
    ----------
    given : DataFrame (n, G) or array_like (n, G)
    names : sequence, optional
    index : pandas.Index
        Rows of the data.
    what : str
        The argument.

    Raises
    ------
    DataError
    """
    if isinstance(given, pd.Series):
        given = given.to_frame()
    if isinstance(given, pd.DataFrame):
        if other_order(given.index, index):
            raise DataError(f"the rows of {what} stand in another order than those of the data: sort both by index")
        found: pd.Index = given.columns
        values = _frame_values(given, what)
    else:
        values = _array_values(given, what)
        found = pd.RangeIndex(values.shape[1] if values.ndim == 2 else 0)
    if values.ndim != 2 or not values.shape[1]:
        raise DataError(
            f"{what} has the shape {values.shape}: it needs a row for each of the {len(index)} rows of the data, "
            "and a column for each response"
        )
    if len(values) != len(index):
        turned = f": each stands in a column, so transpose {what[:-1]}" if values.shape[1] == len(index) else ""
        raise DataError(f"{what} has {len(values)} rows for {len(index)} rows of the data{turned}")
    return Responses(_names(names, found), values)


def _frame_values(frame: pd.DataFrame, what: str) -> np.ndarray:
    other = [name for name, dtype in zip(frame.columns, frame.dtypes, strict=True) if not _is_real(dtype)]
    if other:
        raise DataError(
            f"{what} must hold numbers: {shortened(map(repr, other))} {'is' if len(other) == 1 else 'are'} of "
            f"another type ({frame[other[0]].dtype if frame.columns.is_unique else 'not numeric'})"
        )
    kinds = set(frame.dtypes)
    if len(kinds) == 1 and isinstance(frame.dtypes.iloc[0], np.dtype):
        return frame.to_numpy()
    return frame.to_numpy(dtype=np.float64, na_value=np.nan)


def _is_real(dtype: Any) -> bool:
    return pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)


def _array_values(given: object, what: str) -> np.ndarray:
    try:
        values = np.asarray(given)
    except ValueError:
        raise DataError(f"{what} must be a DataFrame, or an array of numbers with a column per response") from None
    if values.dtype.kind not in "fiub":
        raise DataError(
            f"{what} is an array of type {values.dtype}: give a DataFrame or an array of numbers with a row for each "
            "row of the data and a column for each response"
        )
    return values


def _names(given: Sequence[object] | None, found: pd.Index) -> pd.Index:
    if given is not None:
        if isinstance(given, str):
            raise DataError(f"names={given!r} must be a list of texts, one for each response")
        names: pd.Index = pd.Index(cast(Any, list(given)))
        if len(names) != len(found):
            raise DataError(f"names= has {len(names)} names for {len(found)} responses: give one each")
        found = names
    if isinstance(found, pd.MultiIndex):
        raise DataError("the columns of responses= have several levels: join them to one name for each response")
    if found.has_duplicates:
        twice = found[found.duplicated()].unique()
        raise DataError(f"two responses have one name: {shortened(map(repr, twice))}; rename them, or give names=")
    return found
