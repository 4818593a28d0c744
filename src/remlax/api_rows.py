"""Rows of a model's data frame before a formula is evaluated: which are complete, and what is odd about them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import pandas as pd

from .data import ImputedData
from .data.checks import check_frame, frame_array, n_missing
from .data.coerce import stacked
from .design.build import ModelRows, RowInput, require_model_columns
from .design.formula import MixedFormula
from .design.terms import idle_powers
from .errors import (
    DataError,
    DataWarning,
    DroppedRowsWarning,
    FormulaWarning,
    TwoValuedResponseWarning,
    shortened,
    warn,
)


def complete_rows(
    data: pd.DataFrame, formula: MixedFormula, weights: RowInput, offset: RowInput, function: str = "rx.lmer"
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Leave out rows with missing cells and say how many; the mask is None where nothing is missing."""
    if _holds_frames(data):
        raise DataError(f"data holds several data sets: use {function}_list(formula, data), or give one DataFrame")
    check_frame(data, "data")
    columns = require_model_columns(formula, data, weights, offset)
    numbers, several = stacked(data, columns), function if function == "rx.lmer_many" else f"{function}_list"
    if numbers is not None:
        warn(
            f"column {numbers!r} numbers imputations: {function} takes all rows for one data set, and standard errors "
            f"will be too small; use {several}(formula, rx.read_imputations(data)), or the rows of one "
            "imputation",
            DataWarning,
        )
    if not any(n_missing(frame_array(data, cast(int, data.columns.get_loc(name)))) for name in columns):
        return data, None
    kept = data[columns].notna().all(axis=1).to_numpy()
    if not kept.any():
        raise DataError(f"every row has a missing cell in one of {shortened(columns)}: nothing is left to fit")
    worst = data[columns].isna().sum()
    detail = shortened(f"{name} {n}" for name, n in worst.items() if n)
    warn(f"{int((~kept).sum())} of {len(kept)} rows have missing cells and are left out ({detail})", DroppedRowsWarning)
    return data.loc[kept], kept


def _holds_frames(data: object) -> bool:
    """Tell whether this is a list, dict or ImputedData of data frames, which is for lmer_list or glmer_list."""
    members = data.values() if isinstance(data, dict) else data
    known = isinstance(data, dict | list | tuple | ImputedData)
    return known and any(isinstance(member, pd.DataFrame) for member in cast(Iterable[object], members))


def warn_formula(parsed: MixedFormula) -> None:
    """Warn of powers among the terms, which are the column itself."""
    sides = (parsed.fixed_tree, *(term.lhs_tree for term in parsed.random))
    idle = [power for side in sides for power in idle_powers(side)]
    if idle:
        warn(
            f"{idle[0]} among the terms is the column itself, as in R; for the power write I({idle[0]})", FormulaWarning
        )


def warn_two_values(rows: ModelRows) -> None:
    """Say that a response of two values, in all data sets alike, is taken for a number."""
    values = rows.y.values
    for part in (values[:1000], values):  # most responses have three values among the first rows
        low, high = part.min(), part.max()
        if not ((part == low) | (part == high)).all():
            return
    warn(
        f"the response {rows.formula.response!r} has two values ({low:g} and {high:g}) and is fitted as a number, by a "
        "linear probability model: for a logistic mixed model use rx.glmer or rx.glmer_list",
        TwoValuedResponseWarning,
    )


def kept_rows(given: RowInput, kept: np.ndarray | None) -> RowInput:
    """Take the rows that are kept from an array of weights or offsets."""
    if given is None or isinstance(given, str) or kept is None:
        return given
    values = np.asarray(given)
    return values[kept] if values.shape == kept.shape else given
