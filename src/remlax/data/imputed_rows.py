"""Rows of imputed data sets: a function of each, and several below each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from ..errors import DataError, shortened
from .checks import Label, conform

Sets = dict[Label, pd.DataFrame]


def map_sets(
    fn: Callable[[pd.DataFrame], pd.DataFrame], sets: Sets, original: pd.DataFrame | None
) -> tuple[Sets, pd.DataFrame | None]:
    """Call a user's function with every imputation and the original.

    Raises DataError: it raised: names the data set; the error of the function is its cause.
    """
    mapped = {label: _applied(fn, frame, f"imputation {label}") for label, frame in sets.items()}
    if original is None:
        return mapped, None
    advice = "; let its missing cells pass, or leave it out using data.with_original(None).map(...)"
    return mapped, _applied(fn, original, f"the incomplete original (.original){advice}")


def _applied(fn: Callable[[pd.DataFrame], pd.DataFrame], frame: pd.DataFrame, where: str) -> pd.DataFrame:
    try:
        return fn(frame.copy(deep=False))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200].removesuffix(": ")
        raise DataError(f"the function given to map() raised for {where} ({reason})") from error


def bind_sets(parts: Sequence[Sets], originals: Sequence[pd.DataFrame | None]) -> tuple[Sets, pd.DataFrame | None]:
    """Put the rows of all parts below each other, imputation by imputation, and the originals.

    Raises DataError: a part has other imputations than the first; some have an original and some have none; rows that
    cannot be put below each other.
    """
    _check_parts([tuple(part) for part in parts], originals)
    sets = {label: _bind_rows([part[label] for part in parts], f"imputation {label}") for label in parts[0]}
    before = [original for original in originals if original is not None]
    return sets, _bind_rows(before, "the original") if before else None


def _check_parts(labels: Sequence[tuple[Label, ...]], originals: Sequence[pd.DataFrame | None]) -> None:
    first = labels[0]
    for number, other in enumerate(labels[1:], start=2):
        if len(other) != len(first):
            raise DataError(
                f"part {number} has {len(other)} imputations but part 1 has {len(first)}: impute all parts equally "
                f"often, or give part[:{min(len(other), len(first))}] of each"
            )
        if other != first:
            raise DataError(
                f"the imputations of part {number} are called {_named(other)} but those of part 1 {_named(first)}: "
                "name them alike, as in ImputedData.from_frames(dict(zip(labels, part)))"
            )
    has = [original is not None for original in originals]
    if any(has) and not all(has):
        raise DataError(
            f"part {has.index(False) + 1} has no original but part {has.index(True) + 1} has one: add it using "
            "with_original(), or leave it out everywhere using with_original(None)"
        )


def _bind_rows(frames: Sequence[pd.DataFrame], where: str) -> pd.DataFrame:
    """Rows that are just counted from 0 are counted on; other row labels stay."""
    names = [f"{where} of part {number}" for number in range(1, len(frames) + 1)]
    fitting = [frames[0], *(conform(f, frames[0], n, names[0]) for f, n in zip(frames[1:], names[1:], strict=True))]
    counted = all(frame.index.equals(pd.RangeIndex(len(frame))) for frame in frames)
    if not counted:
        _check_labels([frame.index for frame in frames], names)
    return pd.concat(fitting, ignore_index=counted)


def _check_labels(indexes: Sequence[pd.Index[Any]], names: Sequence[str]) -> None:
    if indexes[0].append(list(indexes[1:])).is_unique:
        return
    for i, index in enumerate(indexes):
        for j in range(i):
            both = index.isin(indexes[j])
            if both.any():
                raise DataError(
                    f"row {index[both].tolist()[0]!r} is in {names[j]} and in {names[i]}: give each row a label of "
                    "its own, or count them anew using part.map(lambda frame: frame.reset_index(drop=True))"
                )


def _named(labels: Sequence[Label]) -> str:
    return shortened([repr(label) for label in labels])
