"""Coercion of what is given for a list of data sets, and the names that an ImputedData is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
from pandas.api.typing import DataFrameGroupBy

from ..errors import DataError
from ..names import UnknownNames

# columns by which mice, Stata, SAS and SPSS number imputations; a plain "imp" may be anything
NUMBERS = (".imp", "_mi_m", "_Imputation_", "Imputation_")


class FrameNames(UnknownNames):
    """A collection of data frames that says how to ask each of them."""

    _called = "data"
    _element = pd.DataFrame
    _each = "data[0].{0} of one data set, or data.map(lambda frame: ...) to change them all"


def as_list(frames: Iterable[pd.DataFrame]) -> list[pd.DataFrame]:
    """Make a list of what is given for several data frames.

    Raises DataError: one data frame, a file, the result of an imputation, or nothing that can be gone through.
    """
    if isinstance(frames, pd.DataFrame) or hasattr(frames, "to_pandas"):
        raise DataError(
            "one data frame was given where several are needed: put it in a list, or use rx.read_imputations(frame) or "
            "ImputedData.from_long(frame, imp=...) if it holds all imputations below each other"
        )
    if isinstance(frames, DataFrameGroupBy):
        raise DataError("a groupby was given: give dict(list(groupby)), whose keys become the labels")
    held = getattr(frames, "data", None)
    if isinstance(held, FrameNames):
        raise DataError(f"a {type(frames).__name__} was given: its imputations are its attribute .data")
    if isinstance(frames, str | os.PathLike):
        raise DataError(
            f"a list or dict of DataFrames is needed, not a {type(frames).__name__}: the formula comes first, and a "
            "file is read by rx.read_imputations(file)"
        )
    if not isinstance(frames, Iterable):
        raise DataError(f"a list or dict of DataFrames is needed, not a {type(frames).__name__}")
    return list(frames)


Kind = TypeVar("Kind", bound="FrameNames")


def as_parts(parts: Iterable[Kind], kind: type[Kind]) -> list[Kind]:
    """Make a list of what is given for several imputed data sets.

    Raises DataError: there is none; an element, or what is given for the list, is something else.
    """
    listed = isinstance(parts, Iterable) and not isinstance(parts, str | Mapping | pd.DataFrame | kind)
    given = list(parts) if listed else []
    if not given:
        raise DataError(f"concat() needs a list of at least one ImputedData, as in [a, b], not {_described(parts)}")
    for number, part in enumerate(given, start=1):
        if not isinstance(part, kind):
            raise DataError(
                f"part {number} is {_described(part)}, not an ImputedData: make one by ImputedData.from_frames(), or "
                "give the .data of an imputation result"
            )
    return given


def _described(given: object) -> str:
    name = type(given).__name__
    return "an empty list" if name == "list" and not given else f"{'an' if name[0] in 'AEIOUaeio' else 'a'} {name}"


def refuse_original(frames: Sequence[object], names: Sequence[str], columns: pd.Index | None = None) -> None:
    """Refuse the incomplete original of mice or Stata, set 0, among several data sets, which may have common columns.

    Raises DataError: names the data set.
    """
    numbers = [number for number in (".imp", "_mi_m") if columns is None or number in columns]
    if not numbers or len(frames) < 2:
        return
    for frame, name in zip(frames, names, strict=True):
        if not isinstance(frame, pd.DataFrame) or frame.empty:
            continue
        for number in numbers:
            if number in frame.columns and np.all(frame[number] == 0):
                raise DataError(
                    f"{name} is the incomplete original ({number!r} is 0 in it): leave it out, or give the whole frame "
                    "to rx.read_imputations, which keeps it apart"
                )


def stacked(frame: pd.DataFrame, used: Iterable[str]) -> str | None:
    """Name the column by which imputations are stacked in a frame, unless the model uses it."""
    numbers = [name for name in NUMBERS if name in frame.columns and name not in set(used)]
    return next((name for name in numbers if len(frame[name].unique()) > 1), None)
