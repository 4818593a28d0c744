"""What the data determine: a row of the fixed part outside the row space of their matrix has no expected response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

# share of what varies in tied columns: ten times what makes a column a combination of others (`aliased_columns`)
ESTIMABLE_TOL = 1e-6
# share of a column in a tie that is rounding error, relative to the largest share and to the largest gap in the data
NOISE, SLACKS = 1e-12, 1e4
# rounding errors of a number that the columns of a row are known to
ROUNDING = 16 * np.finfo(float).eps


@dataclass(frozen=True, eq=False)
class Ties:
    """Columns of the fixed part that are combinations of those in the model.

    Parameters
    ----------
    names : tuple of str
        All columns (P).
    keep, dropped : ndarray of int (p,), (d,)
        Columns in the model, and the others.
    size : ndarray (P,)
        Root mean square of each column; 1 for a column of zeros.
    weights : ndarray (p, d)
        The columns dropped as combinations of those kept, all divided by their size.
    empty : ndarray of bool (d,)
        Columns dropped that are zero in every row.
    slack : ndarray (d,)
        Largest gap of a row of the data themselves.
    inverse : ndarray (p, p)
        What makes the columns kept, divided by their size, orthogonal and of mean square 1.
    """

    names: tuple[str, ...]
    keep: np.ndarray
    dropped: np.ndarray
    size: np.ndarray
    weights: np.ndarray
    empty: np.ndarray
    slack: np.ndarray
    inverse: np.ndarray

    @cached_property
    def shares(self) -> np.ndarray:
        """Root mean square of what each kept column brings into those dropped, (p, d), that no other kept one has.

        0 where that is rounding. The least of a tie is what varies in it, wherever the zero of its columns is.
        """
        shares = np.abs(self.weights) / np.linalg.norm(self.inverse, axis=1)[:, None]
        most = shares.max(axis=0, initial=0.0)
        noise = np.minimum(np.maximum(NOISE * most, SLACKS * self.slack), most)
        return np.where(shares >= noise, shares, 0.0)

    def missed(self, rows: np.ndarray) -> np.ndarray:
        """By how much rows (R, P) miss what the kept columns make of those dropped, (R, d); 0 where that is rounding.

        A row, or another linear combination of the coefficients, is estimable where nothing is missed. The unit of a
        column does not matter, nor which of the tied columns are in the model.
        """
        scaled = rows / self.size
        kept, own = scaled[:, self.keep], scaled[:, self.dropped]
        gap = own - kept @ self.weights
        rounding = ROUNDING * (np.abs(own) + np.abs(kept) @ np.abs(self.weights))
        # 1 and more far from the data
        length = 1 + np.linalg.norm(kept @ self.inverse, axis=1, keepdims=True)
        varies = np.where(self.shares > 0, self.shares, np.inf).min(axis=0, initial=np.inf)
        unit = np.maximum(ESTIMABLE_TOL * np.where(self.empty, 0.0, varies), 2 * self.slack)
        allowed = np.where(self.empty, 0.0, np.maximum(unit * length, rounding))
        return np.asarray(np.where(np.abs(gap) > allowed, gap, 0.0))

    def broken(self, rows: np.ndarray) -> np.ndarray:
        """Which rows (R, P) do not have a column (d) as the others make it: (R, d)."""
        return np.asarray(self.missed(rows) != 0)

    def reduced(self, rows: np.ndarray) -> np.ndarray:
        """Rows (R, P) as combinations of the coefficients in the model, (R, p); NaN where they are not estimable."""
        return np.where(np.any(self.broken(rows), axis=1, keepdims=True), np.nan, rows[:, self.keep])

    def estimable_part(self, rows: np.ndarray) -> np.ndarray:
        """Find the estimable combinations of rows (R, P), as (s, p) with s <= R: the rows themselves if all are."""
        scaled = rows / np.abs(rows / self.size).max(axis=1, keepdims=True)
        missed = self.missed(scaled)
        if not missed.any():
            return rows[:, self.keep]
        missed = missed[:, missed.any(axis=0)]
        vectors, values, _ = np.linalg.svd(missed / np.abs(missed).max(axis=0))
        rank = int((values > ESTIMABLE_TOL * values[0]).sum())
        return np.asarray(vectors[:, rank:].T @ scaled[:, self.keep])

    def clause(self, j: int) -> str:
        """Say what is wrong with column j of those dropped, in rows that break it."""
        name, others = self.names[self.dropped[j]], np.flatnonzero(self.shares[:, j])
        if self.empty[j]:
            return f"{name!r} is not 0, as it is in all data of the fit"
        made = _listed([self.names[i] for i in self.keep[others]])
        return f"{name!r} is not what {made} make{'s' if len(others) == 1 else ''} it in the data of the fit"


def find_ties(x: np.ndarray, keep: np.ndarray, names: Sequence[str]) -> Ties:
    """Find how the columns of x (n, P) that are not kept follow from those that are."""
    dropped, p = np.setdiff1d(np.arange(len(names)), keep), len(names)
    if not len(dropped):
        none = np.zeros(0)
        return Ties(tuple(names), keep, dropped, np.ones(p), np.zeros((p, 0)), none.astype(bool), none, np.eye(p))
    rms = np.sqrt(np.einsum("ij,ij->j", x, x) / len(x))
    size = np.where(rms > 0, rms, 1.0)
    kept, own = x[:, keep] / size[keep], x[:, dropped] / size[dropped]
    basis, triangle = np.linalg.qr(kept)
    weights = np.linalg.solve(triangle, basis.T @ own)
    slack = np.abs(own - kept @ weights).max(axis=0)
    inverse = np.linalg.inv(triangle) * np.sqrt(len(x))
    return Ties(tuple(names), keep, dropped, size, weights, rms[dropped] == 0, slack, inverse)


def _listed(names: Sequence[str], most: int = 4) -> str:
    shown = [repr(name) for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
