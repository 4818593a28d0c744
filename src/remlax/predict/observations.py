"""Cases to predict for: the average one, random ones, one moved to another group, one with other values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from ..data.checks import check_frame
from ..design.build import needed_columns
from ..design.syntax import category_columns
from ..errors import DataError, shortened
from ..fitting.fit import Fitted
from ..fitting.selection import Selection
from ..memory import check_room
from ..tables.checks import fresh_seed
from ..tables.constraints import MANY
from ..tables.varcorr import factors_in_order
from .levels import choose_effect, quantile_levels

Subset = Mapping[str, object] | None


def model_columns(fitted: Fitted) -> list[str]:
    """Data columns that the model reads."""
    rows = fitted.model.rows
    given = (g if isinstance(g, str) else None for g in (rows.given_weights, rows.given_offset))
    return needed_columns(rows.formula, *given)


def model_frames(fits: Selection, subset: Subset = None) -> list[pd.DataFrame]:
    """The model's columns of every data set, rows where the subset's columns have its values."""
    if subset is not None and not isinstance(subset, Mapping):
        raise DataError(f"subset={subset!r} must be a dict from variables of the model to values, as in {{'x': 1}}")
    data = fits.rows.data
    assert data is not None  # every fit keeps its data
    columns = model_columns(fits.fitted)
    frames = [data.frames[k][columns] for k in fits.which]
    for name, value in (subset or {}).items():
        if name not in columns:
            raise DataError(
                f"subset names {name!r}, which is no variable of the model; they are {shortened(columns, MANY)}"
            )
        frames = [frame[frame[name] == value] for frame in frames]
    if not sum(map(len, frames)):
        raise DataError(f"no row of the data has {', '.join(f'{k} = {v!r}' for k, v in (subset or {}).items())}")
    return frames


def average_case(fits: Selection, subset: Subset) -> pd.DataFrame:
    """One row: means of numbers, most frequent categories, levels at the median effect; see ``LmerFit.average_obs``."""
    frames = model_frames(fits, subset)
    out = {}
    for name in frames[0].columns:
        column = pd.concat([frame[name] for frame in frames], ignore_index=True)
        if used_as_number(fits.fitted, column):
            out[name] = pd.Series([column.mean()])
        else:
            out[name] = pd.Series(column.mode().iloc[:1].to_numpy(), dtype=column.dtype)
    case = pd.DataFrame(out)
    for _, factor in factors_in_order(fits.fitted):
        columns = group_columns(fits.fitted, factor.label)
        if not any(name in (subset or {}) for name in columns):
            middle = quantile_levels(fits, 0.5, factor.label, None).iloc[0]
            case = move_to_levels(fits.fitted, case, factor.label, [middle])
    return case


def used_as_number(fitted: Fitted, column: pd.Series[Any]) -> bool:
    """Tell whether a variable of the model is a number in it, rather than truth values or categories."""
    formula = fitted.model.rows.formula
    numeric = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    parts = [formula.fixed_tree, *(term.lhs_tree for term in formula.random)]
    return numeric and not any(column.name in category_columns(part) for part in parts)


def random_cases(fits: Selection, n: int, subset: Subset, seed: int | None) -> pd.DataFrame:
    """Rows drawn without replacement from the data, of a random imputation each; see ``LmerFit.draw_obs``."""
    frames = model_frames(fits, subset)
    fewest = min(map(len, frames))
    if not (isinstance(n, int | np.integer) and 1 <= n <= fewest):
        raise DataError(f"n={n!r} must be a whole number from 1 to {fewest}, the number of rows")
    random = np.random.default_rng(fresh_seed(seed))
    rows = random.choice(fewest, size=n, replace=False)
    which = random.integers(len(frames), size=n)
    out: pd.DataFrame = pd.concat([frames[k].iloc[[row]] for k, row in zip(which, rows, strict=True)])
    return out


def group_columns(fitted: Fitted, label: str) -> tuple[str, ...]:
    """Data columns whose interaction is a grouping factor."""
    return next(t.group for t in fitted.model.rows.formula.random if t.group_label == label)


def move_to_levels(fitted: Fitted, case: pd.DataFrame, group: str | None, levels: Sequence[object]) -> pd.DataFrame:
    """Repeat cases, one block per level, with the grouping columns that the level has in the data, (L * C rows)."""
    effect = choose_effect(fitted, group, None)
    rows, layout = fitted.model.rows, fitted.model.layout
    assert rows.data is not None  # every fit keeps its data
    codes = rows.factor_rows[layout.factor_source[effect.factor]]
    position = {name: i for i, name in enumerate(effect.levels)}
    wanted = np.array([position[level] for level in levels])
    where = _first_rows(codes.values, len(effect.levels))[wanted]
    columns = group_columns(fitted, effect.group)
    frames = rows.data.frames if codes.offsets is not None else rows.data.frames[:1]
    out = case.iloc[np.tile(np.arange(len(case)), len(levels))].reset_index(drop=True)
    for name in columns:
        column = frames[0][name] if len(frames) == 1 else pd.concat([frame[name] for frame in frames])
        out[name] = column.iloc[np.repeat(where, len(case))].reset_index(drop=True)
    return out


def _first_rows(codes: np.ndarray, n_levels: int) -> np.ndarray:
    """First row of every level."""
    first = np.zeros(n_levels, int)
    found, at = np.unique(codes, return_index=True)
    first[found] = at
    return first


def wiggle(data: pd.DataFrame, values: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Repeat cases with every combination of other values of some variables.

    Parameters
    ----------
    data : pandas.DataFrame (C rows)
        The cases.
    values : mapping of str to sequence
        Values of each variable, for instance ``{"age": [8, 11, 14], "sex": ["f", "m"]}``.

    Returns
    -------
    pandas.DataFrame
        One block of C rows per combination; the first variable changes fastest.

    Raises
    ------
    DataError
        A variable is no column of the data, has no values, or a value is no category of a categorical column.

    Examples
    --------
    >>> import pandas as pd
    >>> import remlax as rx
    >>> rx.wiggle(pd.DataFrame({"ses": [0.0], "female": [1]}), {"ses": [-1.0, 1.0]})
       ses  female
    0 -1.0       1
    1  1.0       1
    """
    check_frame(data, "data")
    if not isinstance(values, Mapping):
        raise DataError(f"values must be a dict from columns to lists of values, not a {type(values).__name__}")
    for name, given in values.items():
        if name not in data.columns:
            raise DataError(f"values names {name!r}, which is no column of the data: {shortened(data, MANY)}")
        if isinstance(given, str) or not len(given):
            raise DataError(f"the values of {name!r} must be a list with at least one value")
        dtype = data[name].dtype
        if isinstance(dtype, pd.CategoricalDtype):
            unseen = [v for v in given if v not in dtype.categories]
            if unseen:
                known = shortened(map(repr, dtype.categories))
                raise DataError(f"{unseen[0]!r} is no category of {name!r}; they are {known}")
    blocks = math.prod(len(given) for given in values.values())
    what = f"{blocks} combinations of {len(data)} rows"
    check_room(blocks * len(data) * max(data.shape[1], 1), what, "give fewer values")
    combinations = [each[::-1] for each in product(*(values[name] for name in reversed(list(values))))]
    out = data.iloc[np.tile(np.arange(len(data)), len(combinations))].reset_index(drop=True)
    for i, name in enumerate(values):
        column = np.repeat(np.array([c[i] for c in combinations], dtype=object), len(data))
        categorical = isinstance(data[name].dtype, pd.CategoricalDtype)
        out[name] = pd.Series(column, dtype=data[name].dtype) if categorical else pd.Series(column).infer_objects()
    return out
