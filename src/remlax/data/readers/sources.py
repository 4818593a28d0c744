"""Objects of Python libraries, lists, dicts and arrays to sets of data frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from ...errors import DataError, ImputationWarning, warn
from ..checks import Label
from .layouts import Sets

# What was measured of each: 50 rows, half of y missing, m = 5, and two-level data with an intraclass correlation of 0.3
TRAITS = {
    "scikit-learn's imputer": "draws cells without drawing the parameters of its model",
    "statsmodels' MICEData": "takes values from 20 donors unless told otherwise, which biases slopes in small samples",
    "miceforest": "draws cells from trees fitted once",
}


def _warn(library: str) -> None:
    warn(
        f"{library} {TRAITS[library]}, and knows no clusters: standard errors and intraclass correlations come out too "
        "small. Prefer remlax.impute.",
        ImputationWarning,
    )


def from_object(source: Any, original: pd.DataFrame | None, m: int | None) -> Sets | None:
    """Take imputations from what another Python library made; None if the object is of no known kind."""
    if callable(getattr(source, "complete_data", None)):
        return _miceforest(source)
    if callable(getattr(source, "next_sample", None)):
        return _statsmodels(source, m)
    if isinstance(source, np.ndarray):
        if source.ndim != 3:
            raise DataError(f"the array has {source.ndim} axes: give (imputations, rows, columns)")
        return Sets({k: _framed(part, original, f"imputation {k}") for k, part in enumerate(source, start=1)}, None)
    return None


def from_items(items: Iterable[tuple[Label, Any]], original: pd.DataFrame | None) -> dict[Label, pd.DataFrame]:
    """Turn the items of a list or dict (data frames, arrays, fitted scikit-learn imputers) into data frames."""
    frames: dict[Label, pd.DataFrame] = {}
    warned = False
    for label, item in items:
        where = f"imputation {label}"
        if callable(getattr(item, "transform", None)) and hasattr(item, "fit"):
            if original is None:
                raise DataError(f"{where} is an imputer: give the incomplete data it was fitted to as original=")
            if not warned:
                _warn("scikit-learn's imputer")
                warned = True
            item = item.transform(original)
        if callable(getattr(item, "to_pandas", None)):
            item = item.to_pandas()
        frames[label] = _framed(item, original, where) if isinstance(item, np.ndarray) else item
    return frames


def _framed(values: np.ndarray[Any, Any], original: pd.DataFrame | None, where: str) -> pd.DataFrame:
    """Give an array the names and the types of the original's columns."""
    if original is None:
        raise DataError(f"{where} is an array without column names: give the incomplete data as original=")
    if values.shape != original.shape:
        raise DataError(f"{where} is an array of {values.shape} but the original has {original.shape}: give equal ones")
    return pd.DataFrame(values, columns=original.columns, index=original.index)


def _miceforest(kernel: Any) -> Sets:
    _warn("miceforest")
    count = int(getattr(kernel, "num_datasets", 0) or kernel.dataset_count())
    return Sets({k + 1: kernel.complete_data(dataset=k) for k in range(count)}, None)


def _statsmodels(source: Any, m: int | None) -> Sets:
    if m is None:
        raise DataError("a MICEData holds one imputation at a time: say how many to draw using m=")
    _warn("statsmodels' MICEData")
    return Sets({k: source.next_sample().copy() for k in range(1, m + 1)}, None)
