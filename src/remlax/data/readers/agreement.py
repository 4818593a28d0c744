"""Agreement of data sets that are to be imputations of one original."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ...errors import DataError, DataWarning, shortened, warn
from ..imputed import ImputedData

RTOL = 1e-6  # Stata's float and a csv with seven digits


def check_agreement(data: ImputedData, where: str) -> None:
    """Raise where imputations do not have the same rows, or changed an observed cell.

    Raises DataError: the sets have different numbers of rows or different row names; an imputation lacks an observed
    cell, or holds another value in it.

    Warns
    -----
    DataWarning
        There is one imputation only.
    """
    sizes = {label: len(frame) for label, frame in zip(data.labels, data.frames, strict=True)}
    if len(set(sizes.values())) > 1:
        counts = shortened(f"{size} in imputation {label}" for label, size in sizes.items())
        raise DataError(
            f"the imputations of {where} have different numbers of rows ({counts}): read sets of one data set"
        )
    first = data.frames[0].index
    for label, frame in zip(data.labels, data.frames, strict=True):
        if not frame.index.equals(first):
            unknown = frame.index.difference(first, sort=False)
            example = (
                f"row {unknown.tolist()[0]!r} is not in imputation {data.labels[0]}"
                if len(unknown)
                else "ids are repeated"
            )
            raise DataError(f"imputation {label} of {where} has other row ids than the first: {example}")
    if data.K == 1:
        warn(f"{where} holds one imputation only: pooling needs two or more", DataWarning)
    if data.original is not None:
        _check_observed(data, data.original, where)


def _check_observed(data: ImputedData, original: pd.DataFrame, where: str) -> None:
    for name in original.columns:
        seen = original[name].notna().to_numpy()
        for label, frame in zip(data.labels, data.frames, strict=True):
            differ = seen & ~equal_cells(original[name], frame[name])
            if differ.any():
                row = int(np.flatnonzero(differ)[0])
                raise DataError(
                    f"column {name!r}: {int(differ.sum())} observed cells have another value in imputation {label} of "
                    f"{where} than in the original (first in row {row + 1}: {_shown(original[name].iloc[row])} became "
                    f"{_shown(frame[name].iloc[row])}): the rows are sorted differently, the cells were "
                    "overimputed, or the column is computed from imputed ones (make its cells missing in the "
                    "original); give the right original, or use check=False"
                )


def _shown(value: Any) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)


def equal_cells(left: pd.Series, right: pd.Series) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell cell by cell whether two columns hold the same up to seven digits; a missing cell equals nothing."""
    if pd.api.types.is_numeric_dtype(left.dtype) and pd.api.types.is_numeric_dtype(right.dtype):
        a = left.to_numpy(dtype=np.float64, na_value=np.nan)
        b = right.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.asarray(np.isclose(a, b, rtol=RTOL, atol=0.0), dtype=bool)
    seen = left.notna().to_numpy() & right.notna().to_numpy()
    a, b = (column.astype(object).where(seen, "").to_numpy() for column in (left, right))
    return np.asarray(seen & (a == b), dtype=bool)
