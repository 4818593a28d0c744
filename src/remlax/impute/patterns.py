"""Missing cells: flags, fractions, the table of missing-data patterns, and cells made missing at random."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..data import ImputedData
from ..errors import ImputationError
from .arguments import checks

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class PatternIndex:
    """Distinct rows observed (S, p) of a table of observed-cell flags, pattern of each row (n,), rows per pattern (S,).

    The fully observed pattern, if any, comes first, then patterns by rising number of missing cells.
    """

    observed: BoolArray
    row_pattern: IntArray
    counts: IntArray


def index_patterns(observed: BoolArray) -> PatternIndex:
    """Find the distinct missing-data patterns of an (n, p) table of observed-cell flags."""
    inverse = np.zeros(len(observed), np.intp)
    # numbers of 32 columns sort as their rows do, and much faster
    for start in range(0, observed.shape[1], 32):
        part = observed[:, start : start + 32]
        word = part @ (1 << np.arange(part.shape[1])[::-1])
        inverse = np.unique((inverse << 32) + word, return_inverse=True)[1]
    first, counts = np.unique(inverse, return_index=True, return_counts=True)[1:]
    distinct = observed[first]
    # np.unique sorts False before True; reversed within equal counts, columns on the left go missing last.
    order = np.lexsort((-np.arange(len(distinct)), (~distinct).sum(axis=1)))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return PatternIndex(distinct[order], rank[inverse], counts[order])


def _check_frame(data: object) -> None:
    if not isinstance(data, pd.DataFrame):
        if isinstance(data, ImputedData):
            raise ImputationError("an ImputedData is complete: give the incomplete data, which are data.original")
        raise ImputationError(f"the data are a {type(data).__name__}, not a pandas DataFrame: convert them first")


def check_columns(data: pd.DataFrame, columns: Sequence[str], role: str) -> list[str]:
    """Return the named columns as a list, or raise an ImputationError that names the absent ones."""
    _check_frame(data)
    if isinstance(columns, str):
        columns = [columns]
    if isinstance(columns, pd.DataFrame | bytes) or not isinstance(columns, Iterable):
        raise ImputationError(f"{role} is {columns!r}: give a list of column names")
    columns = list(columns)
    strange = [c for c in columns if not isinstance(c, Hashable)]
    if strange:
        raise ImputationError(f"{role} has {strange[0]!r}, not the name of a column (text)")
    absent = [c for c in columns if c not in data.columns]
    if absent:
        raise ImputationError(
            f"{role} names {', '.join(map(repr, absent))}, not among the columns of the data "
            f"({', '.join(map(str, data.columns))})."
        )
    return columns


def missing_flags(data: pd.DataFrame, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Flag the missing cells of a data frame.

    Parameters
    ----------
    data
        The data frame, n rows.
    columns
        The columns to look at; default all.

    Returns
    -------
    pandas.DataFrame
        (n, p) True where the cell is missing, with the index and the column names of `data`.

    Raises
    ------
    ImputationError
        If a name in `columns` is not a column of `data`.

    Examples
    --------
    >>> missing_flags(pd.DataFrame({"a": [1.0, None], "b": [1, 2]})).sum().tolist()
    [1, 0]
    """
    _check_frame(data)
    return data[check_columns(data, list(data.columns) if columns is None else columns, "columns=")].isna()


def fraction_missing(data: pd.DataFrame, columns: Sequence[str] | None = None) -> pd.Series[float]:
    """Fraction of missing cells in every column (Amelia's "fraction missing", a number in [0, 1]).

    Arguments and errors are those of `missing_flags`.

    Returns
    -------
    pandas.Series
        One number per column, named `fraction_missing`.

    Examples
    --------
    >>> fraction_missing(pd.DataFrame({"a": [1.0, None], "b": [1, 2]}))["a"]
    np.float64(0.5)
    """
    return missing_flags(data, columns).mean().rename("fraction_missing")


def pattern_table(data: pd.DataFrame, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Table of missing-data patterns, as mice's `md.pattern` prints it.

    Arguments and errors are those of `missing_flags`.

    Returns
    -------
    pandas.DataFrame
        One row per pattern: for every column 1 (observed) or 0 (missing), then `n_rows` (rows with that
        pattern) and `n_missing` (columns missing in it). Complete rows come first, then patterns by rising
        `n_missing`; columns by rising number of missing cells.

    Examples
    --------
    >>> frame = pd.DataFrame({"a": [1.0, None, None], "b": [1.0, 2.0, 3.0]})
    >>> pattern_table(frame)
       b  a  n_rows  n_missing
    0  1  1       1          0
    1  1  0       2          1
    """
    flags = missing_flags(data, columns)
    flags = flags[flags.sum().sort_values(kind="stable").index]
    index = index_patterns(~flags.to_numpy())
    table = pd.DataFrame(index.observed.astype(int), columns=flags.columns)
    return table.assign(n_rows=index.counts, n_missing=(~index.observed).sum(axis=1))


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
    checks.seed(seed, 63)
    chances = dict(prob) if isinstance(prob, Mapping) else dict.fromkeys(data.columns, prob)
    for chance in chances.values():
        checks.number(chance, "prob=")
    names = check_columns(data, list(chances) if columns is None else columns, "columns=")
    without = [c for c in names if c not in chances]
    if without:
        raise ImputationError(f"prob= gives no probability for the columns {without}.")
    result = data.copy()
    for name in names:
        chance = float(chances[name])
        if not 0.0 <= chance <= 1.0:
            raise ImputationError(f"The probability for column {name!r} is {chance}; give a number in [0, 1].")
        rng = np.random.default_rng([seed, list(data.columns).index(name)])
        blank = rng.random(len(data)) < chance
        column = result[name]
        result[name] = (column.astype("boolean") if column.dtype == np.bool_ else column).mask(blank)
    return result
