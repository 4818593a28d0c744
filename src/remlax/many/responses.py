"""Reading many responses: columns of a frame, of an array or a sparse matrix, of an AnnData, or of blocks of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
import scipy

from ..data.checks import other_order
from ..errors import DataError, about, shortened

# kinds of dtypes
NUMBERS = "fiub"


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses side by side.

    Parameters
    ----------
    names : pandas.Index (G,)
    values : ndarray (n, G) or scipy.sparse array
        Numbers; NaN where a cell is missing. Shares memory with what the caller gave where it can.
    """

    names: pd.Index
    values: Any

    def __len__(self) -> int:
        return len(self.names)

    def block(self, which: slice | np.ndarray, kept: np.ndarray | None) -> np.ndarray:
        """Some responses as rows (m, n) of double precision, at the rows of the data that are in the model."""
        part: Any = self.values[:, which]
        if scipy.sparse.issparse(part):
            part = cast(Any, part).toarray()
        return np.ascontiguousarray((part if kept is None else part[kept]).T, dtype=np.float64)

    def pieces(self, size: int) -> Iterator[Responses]:
        """At most so many of them at a time."""
        for first in range(0, len(self), size):
            part = slice(first, first + size)
            yield Responses(self.names[part], self.values[:, part])


def listed(names: object) -> list[object] | None:
    """Names of responses as a list.

    Raises
    ------
    DataError
    """
    if isinstance(names, str) or not isinstance(names, Iterable | None):
        raise DataError(f"names={names!r} must be a list of texts, one for each response")
    return None if names is None else list(names)


def is_annotated(given: object) -> bool:
    """Whether this is like an AnnData: a matrix X with names of its columns and a frame about its rows."""
    return all(hasattr(given, name) for name in ("X", "var_names", "obs"))


def read_responses(
    given: object, names: Sequence[object] | None, index: pd.Index, what: str = "responses="
) -> Responses:
    """Check responses and what they are called.

    Parameters
    ----------
    given : DataFrame (n, G), array_like (n, G), scipy.sparse matrix (n, G) or AnnData
    names : sequence, optional
    index : pandas.Index
        Rows of the data.
    what : str
        The argument.

    Raises
    ------
    DataError
    """
    if is_annotated(given):
        annotated = cast(Any, given)
        _check_rows(annotated.obs.index, index, what)
        names = annotated.var_names if names is None else names
        given = annotated.X
    if isinstance(given, pd.Series):
        given = given.to_frame()
    if isinstance(given, pd.DataFrame):
        _check_rows(given.index, index, what)
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
    if values.shape[0] != len(index):
        turned = f": each stands in a column, so transpose {what[:-1]}" if values.shape[1] == len(index) else ""
        raise DataError(f"{what} has {values.shape[0]} rows for {len(index)} rows of the data{turned}")
    return Responses(_names(names, found), values)


def read_blocks(blocks: Iterable[object], names: Sequence[object] | None, index: pd.Index) -> Iterator[Responses]:
    """Check responses block by block; numbers go on from the block before.

    Raises
    ------
    DataError
        As `read_responses`, or there are more or fewer names than responses, or a name comes twice.
    """
    known = None if names is None else _names(names, pd.RangeIndex(len(cast(Any, names))))
    done, seen = 0, set[object]()
    for number, block in enumerate(blocks, start=1):
        with about(f"block {number}"):
            found = read_responses(block, None, index)
            part = found.names
            if known is not None:
                part = known[done : done + len(found)]
                if len(part) < len(found):
                    raise DataError(f"names= has {len(known)} names, and there are more responses: give one each")
            elif isinstance(part, pd.RangeIndex):
                part = part + done
            twice = part[part.isin(seen)]
            if len(twice):
                raise DataError(f"a response of another block is called {twice[0]!r} too; rename one, or give names=")
        seen |= set(part)
        done += len(part)
        yield Responses(part, found.values)
    if known is not None and done < len(known):
        raise DataError(f"names= has {len(known)} names for {done} responses: give one each")


def _check_rows(given: pd.Index, index: pd.Index, what: str) -> None:
    if other_order(given, index):
        raise DataError(f"the rows of {what} stand in another order than those of the data: sort both by index")
    # rows that are numbered from 0 have no labels of their own
    numbered = any(isinstance(one, pd.RangeIndex) and one.start == 0 and one.step == 1 for one in (given, index))
    if numbered or len(given) != len(index) or not (given.is_unique and index.is_unique):
        return
    known = given.isin(index)
    if known.any() and not known.all():
        raise DataError(
            f"{what} has rows that are not among those of the data, although others are ({int((~known).sum())} of "
            f"{len(given)}, the first {given[~known][0]!r}): take the same rows of both"
        )


def _frame_values(frame: pd.DataFrame, what: str) -> np.ndarray:
    other = [name for name, dtype in zip(frame.columns, frame.dtypes, strict=True) if not _is_real(dtype)]
    if other:
        raise DataError(
            f"{what} must hold numbers: {shortened(map(repr, other))} {'is' if len(other) == 1 else 'are'} of "
            f"another type ({frame[other[0]].dtype if frame.columns.is_unique else 'not numeric'}); make them numbers, "
            "as astype(float) does, or leave them out"
        )
    kinds = set(frame.dtypes)
    if len(kinds) == 1 and isinstance(frame.dtypes.iloc[0], np.dtype):
        return frame.to_numpy()
    return frame.to_numpy(dtype=np.float64, na_value=np.nan)


def _is_real(dtype: Any) -> bool:
    return pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)


def _array_values(given: object, what: str) -> Any:
    if scipy.sparse.issparse(given):
        values: Any = scipy.sparse.csc_array(cast(Any, given))  # blocks are columns
    elif isinstance(given, np.ma.MaskedArray) and given.dtype.kind in NUMBERS:
        values = np.ma.filled(np.ma.asarray(given, dtype=np.float64), np.nan)
    else:
        if isinstance(given, list | tuple) and any(np.ndim(block) == 2 for block in given):
            raise DataError(f"{what} is a list of blocks: give an iterator of them, iter(blocks), or join them")
        values = np.asarray(given)
    if values.dtype.kind not in NUMBERS:
        names = "; of columns of the data give data[names]" if values.dtype.kind in "UT" and values.ndim < 2 else ""
        raise DataError(
            f"{what} holds values of type {values.dtype}: give numbers, as a DataFrame, array or scipy.sparse matrix "
            f"with a row for each row of the data and a column for each response{names}"
        )
    return values


def _names(given: Sequence[object] | None, found: pd.Index) -> pd.Index:
    if given is not None:
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
