"""Long layout of mice: imputations below each other, numbered by one column."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..errors import DataError, shortened
from .checks import Label, check_frame, other_order

IMP, ID = ".imp", ".id"


def read_long(frame: pd.DataFrame, imp: str, id: str | None) -> tuple[dict[Label, pd.DataFrame], pd.DataFrame | None]:
    """Check that a frame is long and split it; raises DataError as `split_long`, and where `imp` is not a column."""
    check_frame(frame, "the long frame")
    if imp not in frame.columns:
        raise DataError(
            f"the long frame has no column {imp!r} that numbers the imputations; its columns are "
            f"{shortened([repr(name) for name in frame.columns])}: name the column with imp="
        )
    return split_long(frame, imp, id, f"column {imp!r}")


def split_long(
    frame: pd.DataFrame, imp: str, id: str | None, where: str
) -> tuple[dict[Label, pd.DataFrame], pd.DataFrame | None]:
    """Split a long frame by label, and set 0 aside; numeric labels (also when written as text) are sorted.

    Raises DataError: ``where``, the column, has missing cells; there is nothing but an original.
    """
    lacking = int(frame[imp].isna().sum())
    if lacking:
        raise DataError(f"{where} has {lacking} missing cells: say which imputation each row is of")
    id = id if id in frame.columns else None
    numbers = pd.to_numeric(frame[imp].astype(object), errors="coerce")
    numeric = bool(numbers.notna().all() and (numbers % 1 == 0).all())
    labels = numbers.astype(np.int64) if numeric else frame[imp].astype(object)
    groups = labels.groupby(labels, sort=numeric).indices
    values = frame.drop(columns=[imp] if id is None else [imp, id])
    sets: dict[Label, pd.DataFrame] = {}
    order = pd.Index([])
    for label, rows in groups.items():
        part = values.iloc[rows]
        if id is None:
            sets[_plain(label)] = part.reset_index(drop=True)
            continue
        names = pd.Index(frame[id].iloc[rows]).rename(None)
        part = part.set_axis(names, axis="index")
        if not sets:
            order = names
        elif other_order(names, order):
            part = part.loc[order]
        sets[_plain(label)] = part.reset_index(drop=True) if _counts_rows(part.index) else part
    original = sets.pop(0, None)
    if not sets:
        raise DataError(f"{where} is 0 in every row: there is an original but no imputation of it")
    return sets, original


def _plain(label: Label) -> Label:
    return label.item() if isinstance(label, np.generic) else label


def _counts_rows(names: pd.Index) -> bool:
    return pd.api.types.is_numeric_dtype(names.dtype) and bool((names.to_numpy() == np.arange(1, len(names) + 1)).all())


def stack_long(sets: Mapping[Label, pd.DataFrame], original: pd.DataFrame | None = None) -> pd.DataFrame:
    """Put the original, where there is one, and data sets below each other, label and row name of each row in front.

    Raises DataError: a label or a column has a name that the layout needs.
    """
    if 0 in sets:
        raise DataError("an imputation has the label 0, which the long layout keeps for the original")
    if original is not None:
        sets = {0: original, **sets}
    taken = [name for name in (IMP, ID) if name in next(iter(sets.values())).columns]
    if taken:
        raise DataError(f"a variable is called {taken[0]!r}, which the long layout needs: rename it")
    parts = []
    for label, frame in sets.items():
        counted = frame.index.equals(pd.RangeIndex(len(frame)))
        names = pd.RangeIndex(1, len(frame) + 1) if counted else frame.index
        front = pd.DataFrame({IMP: [label] * len(frame), ID: names})
        parts.append(pd.concat([front, frame.reset_index(drop=True)], axis="columns"))
    return pd.concat(parts, ignore_index=True)
