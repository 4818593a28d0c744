"""Which linear combinations of the fixed part's columns the data determine, where some columns follow from others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .assemble import Assembled
from .nesting import coordinates

# of the size of a combination: as much of a column decides whether others determine it (`aliased_columns`)
SHARE = 1e-7


@dataclass(frozen=True, eq=False)
class RowSpace:
    """The space of the fixed part's rows in all P columns of the formula.

    Parameters
    ----------
    keep, dropped : ndarray of int (p,), (P - p,)
        Columns in the model, and those that they determine.
    weights : ndarray (p, P - p)
        What the dropped columns are of the kept ones, all columns at a root mean square of one.
    size : ndarray (P,)
        Root mean squares of the columns, 1 for one of zeros.
    """

    keep: np.ndarray
    dropped: np.ndarray
    weights: np.ndarray
    size: np.ndarray

    def missed(self, whole: np.ndarray) -> np.ndarray:
        """By how much combinations (r, P) miss the space, (r, P - p); 0 where that is rounding."""
        scaled = whole / self.size
        kept, own = scaled[:, self.keep], scaled[:, self.dropped]
        largest = np.abs(self.weights).max(axis=0, initial=1.0)
        allowed = SHARE * largest * np.abs(scaled).max(axis=1, keepdims=True, initial=0.0)
        gap = kept @ self.weights - own
        return np.asarray(np.where(np.abs(gap) > allowed, gap, 0.0))

    def reduced(self, whole: np.ndarray) -> np.ndarray:
        """Combinations (r, P) as those of the coefficients in the model, (r, p); NaN where they are not estimable."""
        lost = np.asarray(self.missed(whole).any(axis=1))
        return np.where(lost[:, None], np.nan, whole[:, self.keep])

    def part(self, whole: np.ndarray) -> np.ndarray:
        """Find the estimable combinations of rows (r, P), as (s, p) with s <= r: the rows themselves if all are."""
        scaled = whole / np.abs(whole / self.size).max(axis=1, keepdims=True)
        missed = self.missed(scaled)
        if not missed.any():
            return whole[:, self.keep]
        missed = missed[:, missed.any(axis=0)]
        vectors, values, _ = np.linalg.svd(missed / np.abs(missed).max(axis=0))
        rank = int((values > SHARE * values[0]).sum())
        return np.asarray(vectors[:, rank:].T @ scaled[:, self.keep])


def row_space(model: Assembled, lane: int) -> RowSpace:
    """Find the row space of the fixed part; that of one data set is that of all, or they could not be fitted."""
    p = len(model.rows.fixed.names)
    dropped = np.setdiff1d(np.arange(p), model.keep)
    if not len(dropped):
        return RowSpace(model.keep, dropped, np.zeros((p, 0)), np.ones(p))
    x = model.rows.x.lane(lane)
    size = np.sqrt(np.einsum("ij,ij->j", x, x) / len(x))
    size[size == 0] = 1.0
    weights = coordinates(x[:, dropped] / size[dropped], x[:, model.keep] / size[model.keep])
    return RowSpace(model.keep, dropped, weights, size)
