"""RowArray and RowMatrix: row data that may be shared by all data sets or differ between them; numbers as given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError


@dataclass(frozen=True)
class RowArray:
    """Values per row: one copy for all data sets, or stacked below each other.

    Parameters
    ----------
    values : ndarray (n, ...) or (n_1 + ... + n_K, ...)
    offsets : ndarray of int, (K + 1,), or None
        Where each data set begins; None where all share ``values``.
    """

    values: np.ndarray
    offsets: np.ndarray | None

    def of(self, k: int) -> np.ndarray:
        """Rows of data set k."""
        if self.offsets is None:
            return self.values
        return self.values[self.offsets[k] : self.offsets[k + 1]]

    def of_sets(self, which: Sequence[int]) -> RowArray:
        """Rows of some data sets."""
        if self.offsets is None:
            return self
        parts = [self.of(k) for k in which]
        return RowArray(np.concatenate(parts), np.cumsum([0, *map(len, parts)]))

    def minus(self, other: RowArray) -> np.ndarray:
        """Difference, stacked where one of the two is; rows that are shared are those of every data set."""
        return self._combined(other, np.subtract)

    def times(self, other: RowArray) -> np.ndarray:
        """Product, stacked where one of the two is."""
        return self._combined(other, np.multiply)

    def _combined(self, other: RowArray, operation: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        a, b = self.values, other.values
        # a stacked array is whole copies of the rows of a shared one
        n = min(len(a), len(b))
        return operation(a.reshape(-1, n), b.reshape(-1, n)).reshape(-1)


@dataclass(frozen=True)
class RowMatrix:
    """Columns per row, each of them shared by all data sets or stacked.

    Parameters
    ----------
    shared : ndarray (n, a), Fortran-ordered
        Columns that all data sets share.
    own : tuple of ndarray (n_1 + ... + n_K,)
        Columns that differ, stacked; not to be written to, for the response and other terms may hold them as well.
    place : tuple of (bool, int)
        For every column of the matrix, whether it is one of ``own``, and which.
    offsets : ndarray of int, (K + 1,)
        Where each data set begins.
    """

    shared: np.ndarray
    own: tuple[np.ndarray, ...]
    place: tuple[tuple[bool, int], ...]
    offsets: np.ndarray

    @classmethod
    def of_all(cls, values: np.ndarray, offsets: np.ndarray) -> RowMatrix:
        """Matrix (n, p) that all data sets share."""
        place = tuple((False, j) for j in range(values.shape[1]))
        return cls(values, (), place, offsets)

    def columns(self) -> list[np.ndarray]:
        """Columns, each as long as one data set or as all together."""
        return [self.own[j] if own else self.shared[:, j] for own, j in self.place]

    def of(self, k: int) -> np.ndarray:
        """Matrix of data set k, (n_k, p)."""
        if not self.place:
            return np.empty((self.offsets[k + 1] - self.offsets[k], 0))
        if self.place == tuple((False, j) for j in range(len(self.place))):
            return self.shared[:, : len(self.place)]  # a view will do
        part = slice(self.offsets[k], self.offsets[k + 1])
        return np.stack([self.own[j][part] if own else self.shared[:, j] for own, j in self.place]).T

    def select(self, which: list[int]) -> RowMatrix:
        """Some of the columns; memory is shared."""
        return RowMatrix(self.shared, self.own, tuple(self.place[j] for j in which), self.offsets)

    def minus(self, centre: np.ndarray) -> RowMatrix:
        """Columns less a number (K, p) each; of columns that all data sets share that of the first."""
        if not centre.any():
            return self
        shared, own = np.array(self.shared), list(self.own)
        for j, (differs, at) in enumerate(self.place):
            if differs:
                own[at] = own[at] - np.repeat(centre[:, j], np.diff(self.offsets))
            else:
                shared[:, at] -= centre[0, j]
        return RowMatrix(shared, tuple(own), self.place, self.offsets)

    @property
    def differs(self) -> bool:
        """Whether any column differs between data sets."""
        return any(own for own, _ in self.place)

    @property
    def values(self) -> np.ndarray:
        """Matrix of all data sets below each other, or of one where they share all columns."""
        if not self.differs:
            return self.of(0)
        out = np.empty((self.offsets[-1], len(self.place)), order="F")
        for to, column in zip(out.T, self.columns(), strict=True):
            to.reshape(-1, len(column))[:] = column
        return out


def given_numbers(given: object, what: str) -> np.ndarray:
    """Numbers that a caller gave, one a row; raises DataError for anything else."""
    try:
        # dates and complex numbers would become numbers by a silent conversion
        dtype = np.asarray(given).dtype
        values = None if dtype.kind in "mMc" else np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{what} must be numbers, a column name, or one array per data set") from None
    if values is None:
        advice = "" if dtype.kind == "c" else ": turn them into numbers first (days since a date, for example)"
        raise DataError(f"{what} has values of type {dtype}, not real numbers{advice}")
    if values.ndim != 1:
        raise DataError(f"{what} must be one-dimensional, not of shape {values.shape}")
    if not np.isfinite(values).all():
        raise DataError(f"{what} has {int((~np.isfinite(values)).sum())} missing or infinite values")
    return values
