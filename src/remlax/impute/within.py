"""Imputation within the levels of a column: rows split, seeds derived, completed rows put back in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from remlax.data import ImputedData
from remlax.data.checks import Label
from remlax.errors import ImputationError

from .columns import check_values
from .patterns import check_columns


@dataclass(frozen=True)
class LevelRows:
    """One level of the column: its name in messages, positions of its rows (k,), these rows, and a seed of its own."""

    name: str
    rows: npt.NDArray[np.intp]
    frame: pd.DataFrame
    seed: int


def check_by(data: pd.DataFrame, by: object) -> None:
    """Refuse what is not the name of a column."""
    if by is None:
        return
    if not isinstance(by, str):
        raise ImputationError(f"by={by!r}: give the name of one column, such as by='arm'")
    check_columns(data, [by], "by=")
    check_values(data[by])


def split_rows(data: pd.DataFrame, by: str, used: Sequence[str], seed: int) -> list[LevelRows]:
    """Split the data by the levels of a column, of which none may have fewer rows than the model has columns.

    Raises
    ------
    ImputationError
        The column is incomplete, has one value only, or too few rows with one of its values; or the imputation model
        has it.
    """
    if by in used:
        raise ImputationError(
            f"by={by!r} is in the imputation model as well: every level gets a model of its own, in which the column "
            "has one value; take it out of the model"
        )
    n_missing = int(data[by].isna().sum())
    if n_missing:
        raise ImputationError(f"by={by!r} has {n_missing} missing cells: drop those rows, or say which level they have")
    codes, names = _codes(data[by])
    if len(names) < 2:
        raise ImputationError(f"by={by!r} has one value only: leave out by=")
    counts = np.bincount(codes, minlength=len(names))
    least = int(counts.argmin())
    if counts[least] <= len(used):
        raise ImputationError(
            f"by={by!r} leaves {counts[least]} rows with {by} = {names[least]}, too few for an imputation model of "
            f"{len(used)} columns: merge levels, or impute all rows together with {by!r} in the model"
        )
    # the seed of a level has nothing to do with those of the imputations of one call, seed + k
    seeds = [int(np.random.SeedSequence([seed, k]).generate_state(1, np.uint64)[0] >> 1) for k in range(len(names))]
    where = [np.flatnonzero(codes == k) for k in range(len(names))]
    frames = [data.iloc[rows].set_axis(pd.RangeIndex(len(rows))) for rows in where]
    return [
        LevelRows(f"{by} = {name}", rows, frame, own)
        for name, rows, frame, own in zip(names, where, frames, seeds, strict=True)
    ]


def _codes(column: pd.Series) -> tuple[npt.NDArray[np.intp], list[object]]:
    """Levels in their order, those that cannot be sorted as they appear."""
    try:
        codes, names = pd.factorize(column, sort=True)
    except TypeError:
        codes, names = pd.factorize(column)
    return codes, list(names)


def bind_rows(
    levels: Sequence[LevelRows], parts: Sequence[ImputedData | None], original: pd.DataFrame
) -> dict[Label, pd.DataFrame]:
    """Put the completed rows of all levels back in the order of the original.

    A level that was complete (None) is the same in all imputations; one that failed in a level is left out.
    """
    labels = [part.labels for part in parts if part is not None]
    common = [label for label in labels[0] if all(label in other for other in labels)]
    bound = []
    for level, part in zip(levels, parts, strict=True):
        sets = dict.fromkeys(common, level.frame) if part is None else dict(part.iter())
        placed = {label: sets[label].set_axis(pd.Index(level.rows)) for label in common}
        bound.append(ImputedData.from_frames(placed))
    whole = ImputedData.concat(bound)
    return {label: frame.sort_index().set_axis(original.index) for label, frame in whole.iter()}
