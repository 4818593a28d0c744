"""Rows that the data of a fit say nothing about: NaN, and a warning that names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..errors import RankDeficientWarning, warn
from ..fitting.estimable import Ties

# rows that a message names, and columns that it gives as reasons
MOST, REASONS = 5, 3


@dataclass(frozen=True, eq=False)
class Undetermined:
    """Rows of new data outside the row space of the fixed part.

    rows (R,): which; ties and broken (R, d): what they break; where: the imputations in which they do, for messages.
    """

    rows: np.ndarray
    ties: Ties
    broken: np.ndarray
    where: str

    def message(self, index: pd.Index) -> str:
        """Name the rows, and what the data of the fit do not tell apart."""
        left, parts = self.rows.copy(), list[str]()
        for j in np.flatnonzero(self.broken.any(axis=0))[:REASONS]:
            here = left & self.broken[:, j]
            if here.any():
                of = "" if parts else f" of newdata{self.where}"
                parts.append(f"for {named_rows(index[here])}{of}, where {self.ties.clause(j)}")
            left &= ~here
        if left.any():
            parts.append(f"for {named_rows(index[left])}")
        return f"no prediction (NaN) {', and '.join(parts)}: the fixed part is rank deficient"

    @property
    def why(self) -> str:
        """What is wrong with the first row."""
        return self.ties.clause(int(np.argmax(self.broken[np.argmax(self.rows)])))


def named_rows(labels: pd.Index) -> str:
    """Name rows by their labels, the first few of many."""
    found = list(dict.fromkeys(labels))
    shown = ", ".join(map(repr, found[:MOST])) + (f", ... ({len(found)} in all)" if found[MOST:] else "")
    return f"row{'s' if len(found) > 1 else ''} {shown}"


def undetermined_rows(ties: Ties, each: Sequence[np.ndarray], labels: Sequence[str]) -> Undetermined | None:
    """Find the rows that are not estimable, from what they break (R, d) in each frame, which has a label."""
    if not len(ties.dropped):
        return None
    broken = np.any(each, axis=0)
    where = next((label for one, label in zip(each, labels, strict=True) if one.any()), "")
    return Undetermined(broken.any(axis=1), ties, broken, where) if broken.any() else None


def warn_undetermined(found: Undetermined | None, index: pd.Index) -> None:
    """Say which rows have no prediction."""
    if found is not None:
        warn(found.message(index), RankDeficientWarning)


def blank(table: pd.DataFrame, found: Undetermined | None) -> pd.DataFrame:
    """Replace the numbers of rows that have no prediction by NaN."""
    if found is not None:
        table.iloc[found.rows] = np.nan
    return table
