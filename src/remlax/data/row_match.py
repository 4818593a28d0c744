"""Row matching: are the rows of several data sets the same units in the same order?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .checks import Label, column_array, column_kind, same_values

# without the original: cells of a grouping column that imputation may have changed
IMPUTED_GROUPS = 0.25
# without the original: values of one imputed column that may be found again in other rows by chance
CHANCE = 5
_MIX = np.uint64(0x9E3779B97F4A7C15)


def rows_differ(
    frames: Sequence[pd.DataFrame],
    labels: Sequence[Label],
    groups: Sequence[str] = (),
    original: pd.DataFrame | None = None,
) -> str:
    """Say in which way the rows of data frames of equal length are not the same units in the same order.

    Imputation changes cells, not rows. Rows are told apart by the columns that are the same in all data sets: where
    these identify every row, nothing else is looked at. Otherwise the rows differ where

    - a grouping column does not agree row by row: with the original, in any observed cell; without it, in more than a
      quarter of the rows, for a grouping column may have been imputed, too;
    - rows that are not the same in one data set as in the reference (the original's complete rows, or those of the
      first data set) are found in other places there, whole or by one of their columns. Columns computed within an
      imputation, such as standardised ones, and imputed cells are not found again. Row labels that name the rows, that
      is, do more than count them, are believed.

    The data frames have the same columns and are called ``labels``; ``groups`` are the columns of grouping factors, and
    the original, where known, has the same rows. Returns the reason, in words; empty where no difference is found.
    """
    first = frames[0]
    names = [c for c in first.columns if not column_kind(first[c]).startswith("Python objects")]
    still = [c for c in names if all(same_values(first[c], frame[c]) for frame in frames[1:])]
    if any(first[c].is_unique for c in still) or (still and not first[still].duplicated().any()):
        return ""
    known = original is not None and len(original) == len(first)
    reference, where = first, f"imputation {labels[0]}"
    if original is not None and known:
        reference, where = original, "the original"
    named = first.index.is_unique and not _counts(first.index)
    base = _mixed([_keys(first[c]) for c in still], len(first))
    keys = {c: _keys(reference[c]) for c in names if c not in still}
    moving = {c: (key, reference[c].notna().to_numpy()) for c, key in keys.items() if np.ptp(key) > 0}
    for frame, label in zip(frames if known else frames[1:], labels if known else labels[1:], strict=True):
        pairs = {c: (key, _keys(frame[c]), seen) for c, (key, seen) in moving.items()}
        for column in groups:
            if column in pairs:
                one, other, seen = pairs[column]
                changed = int(np.count_nonzero(seen & (one != other)))
                if changed > (0 if known else IMPUTED_GROUPS * len(first)):
                    return f"{column!r} of imputation {label} is not that of {where} in {changed} of {len(first)} rows"
        if not named and (moved := _moved(pairs, base, 1 if known else CHANCE)):
            rows, places = ("row", "stands in another place") if moved == 1 else ("rows", "stand in other places")
            return f"{moved} {rows} of imputation {label} {places} in {where}"
    return ""


def _moved(pairs: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]], base: np.ndarray, least: int) -> int:
    """Rows that are found in other places, by all columns or by one of them: most of those that are not the same."""
    tries = [(one, other, seen, least) for one, other, seen in pairs.values()]
    if len(pairs) > 1:
        whole = [_mixed([pair[i] for pair in pairs.values()], len(base)) for i in (0, 1)]
        seen = np.logical_and.reduce([pair[2] for pair in pairs.values()])
        # rows that are all different are not found again by chance
        distinct = all(len(np.unique(base + keys * _MIX)) == len(base) for keys in whole)
        tries.insert(0, (whole[0], whole[1], seen, 1 if distinct else CHANCE))
    for one, other, seen, enough in tries:
        found, changed = _found(base + one * _MIX, base + other * _MIX, seen)
        if found >= enough and 2 * found >= changed:
            return found
    return 0


def _found(one: np.ndarray, other: np.ndarray, seen: np.ndarray) -> tuple[int, int]:
    """How many changed rows of ``other`` are the only rows of their kind, in both sets; how many rows are changed."""
    changed = seen & (one != other)
    n_changed = int(np.count_nonzero(changed))
    if n_changed >= max(CHANCE, len(one) / 4) and np.array_equal(np.sort(one[changed]), np.sort(other[changed])):
        return n_changed, n_changed  # the same rows, in another order, whether or not some are alike
    both = np.intersect1d(one[changed], other[changed])
    for keys in (one[seen], other):
        if len(both):
            values, counts = np.unique(keys[np.isin(keys, both)], return_counts=True)
            both = np.intersect1d(both, values[counts == 1])
    return len(both), n_changed


def _counts(index: pd.Index) -> bool:
    """Tell whether row labels are consecutive whole numbers."""
    return pd.api.types.is_integer_dtype(index.dtype) and bool((np.diff(index.to_numpy()) == 1).all())


def _mixed(keys: Sequence[np.ndarray], n: int) -> np.ndarray:
    """One number per row from those of several columns."""
    out = np.zeros(n, np.uint64)
    for key in keys:
        out = out * _MIX + key
    return out


def _keys(column: pd.Series) -> np.ndarray:
    """One number per cell, the same for equal values of any storage."""
    array = column_array(column)
    if pd.api.types.is_numeric_dtype(array.dtype) and not pd.api.types.is_complex_dtype(array.dtype):
        # 0.0 is added to make one zero of two
        numbers = np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan)) + 0.0
        return pd.util.hash_array(numbers)
    if isinstance(array, np.ndarray) and array.dtype != object:
        return pd.util.hash_array(array)
    return pd.util.hash_array(np.asarray(column.astype(object)))
