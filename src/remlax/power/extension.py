"""A design frame with more, or fewer, levels of its grouping factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ..checks import Checks
from ..errors import DataError, SimulationError

checks = Checks(SimulationError)


def extended(frame: pd.DataFrame, sizes: Mapping[str, int], groups: Sequence[str], used: Sequence[str]) -> pd.DataFrame:
    """Give grouping columns so many levels, by copies of the rows of the levels that there are, in turn.

    Rows of the frame come first. The levels of a column that is nested in an extended one are new in every copy;
    columns of other factors, and covariates, are copied as they are.

    Parameters
    ----------
    frame : pandas.DataFrame
    sizes : mapping
        Numbers of levels.
    groups : sequence of str
        Columns of the grouping factors.
    used : sequence of str
        Columns that enter the model otherwise.

    Raises
    ------
    SimulationError, DataError
    """
    checks.known(sizes, groups, "n=", "grouping factors")
    both = [name for name in sizes if name in used]
    if both:
        raise DataError(f"n= names {both[0]!r}, which is a covariate of the model, too: its copies have no values")
    for name, size in sizes.items():
        frame = _with_levels(frame, name, size, [other for other in groups if other not in used])
    return frame


def _with_levels(frame: pd.DataFrame, name: str, size: int, groups: Sequence[str]) -> pd.DataFrame:
    codes = pd.factorize(frame[name])[0]
    n_levels = codes.max() + 1
    nested = {other: pd.factorize(frame[other])[0] for other in groups if _is_nested(frame, other, name)}
    parts = []
    for copy in range(-(-size // n_levels)):
        kept = codes + copy * n_levels < size
        labels = {name: codes + copy * n_levels}
        labels |= {other: own + copy * (own.max() + 1) for other, own in nested.items()}
        parts.append(frame.assign(**labels).loc[kept])
    out: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return out


def _is_nested(frame: pd.DataFrame, inner: str, outer: str) -> bool:
    """Whether every level of one column occurs in one level of the other only."""
    return inner != outer and bool(frame.groupby(inner, observed=True)[outer].nunique().eq(1).all())
