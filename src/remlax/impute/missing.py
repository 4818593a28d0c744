"""Make cells missing completely at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from remlax.errors import ImputationError

from .arguments import check_number, check_seed
from .patterns import check_columns


def add_missing(
    data: pd.DataFrame,
    prob: float | Mapping[str, float],
    columns: Sequence[str] | None = None,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Blank cells completely at random, each with the same probability (the vignette's `add_NA`).

    Parameters
    ----------
    data
        The data frame; left as it is.
    prob
        Probability that a cell is blanked, in [0, 1]; or one probability for each named column.
    columns
        Columns to blank cells in; default all columns, or those that `prob` names.
    seed
        Seed. A column's cells depend on the seed and on the column's position alone, so they stay
        the same when other columns join or leave `columns`.

    Returns
    -------
    pandas.DataFrame
        A copy with missing cells; cells that were missing stay missing. Integer columns with new missing
        cells become float64 and logical ones "boolean", since NumPy's types know no missing value.

    Raises
    ------
    ImputationError
        If a column does not exist, or a probability lies outside [0, 1].

    Examples
    --------
    >>> frame = pd.DataFrame({"id": range(1000), "x": 1.0})
    >>> int(add_missing(frame, 0.05, ["x"], seed=1)["x"].isna().sum())
    60
    """
    check_columns(data, [], "columns=")
    check_seed(seed)
    for chance in prob.values() if isinstance(prob, Mapping) else [prob]:
        check_number("prob", chance)
    if isinstance(prob, Mapping):
        names = check_columns(data, list(prob) if columns is None else columns, "columns=")
        without = [c for c in names if c not in prob]
        if without:
            raise ImputationError(f"prob= gives no probability for the columns {without}.")
        chances = {c: float(prob[c]) for c in names}
    else:
        names = check_columns(data, list(data.columns) if columns is None else columns, "columns=")
        chances = dict.fromkeys(names, float(prob))
    result = data.copy()
    for name, chance in chances.items():
        if not 0.0 <= chance <= 1.0:
            raise ImputationError(f"The probability for column {name!r} is {chance}; give a number in [0, 1].")
        rng = np.random.default_rng([seed, list(data.columns).index(name)])
        blank = rng.random(len(data)) < chance
        column = result[name]
        if column.dtype == np.bool_:
            column = column.astype("boolean")
        result[name] = column.mask(blank)
    return result
