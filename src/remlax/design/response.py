"""Responses that are more than one number per row: counts of successes and failures, and categories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .functions import Array, Categorical, NamedColumns, RFunction, Value, level_name, numeric, vector


@dataclass(frozen=True)
class ResponseLevels:
    """Categories of a response: names in their order, and whether that order means something."""

    names: tuple[str, ...]
    ordered: bool


def _cbind(successes: Value, failures: Value) -> Value:
    return NamedColumns({"1": vector(successes), "2": vector(failures)})


# functions for the left side of the formula of a generalised linear mixed model
RESPONSES = {"cbind": RFunction(_cbind)}


def response_values(value: Array | Categorical | NamedColumns) -> tuple[np.ndarray, ResponseLevels | None]:
    """Numbers of a response, and what its categories are.

    Parameters
    ----------
    value : ndarray (n,), Categorical or NamedColumns
        What the left side of a formula is worth.

    Returns
    -------
    values : ndarray (n,) or (n, columns)
        Numbers, truth values as 0 and 1; codes of categories, from 0; several columns side by side.
    levels : ResponseLevels or None
        Of categories.
    """
    if isinstance(value, Categorical):
        names = tuple(map(level_name, value.levels))
        return value.codes.astype(np.float64), ResponseLevels(names, value.contrast == "contr.poly")
    if isinstance(value, NamedColumns):
        return np.stack(list(value.parts.values()), axis=1), None
    return np.array(numeric(value), dtype=np.float64), None  # a copy: the caller's frame stays its own
