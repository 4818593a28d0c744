"""Row data that may be shared by all data sets or differ between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


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

    def lane(self, k: int) -> np.ndarray:
        """Rows of data set k."""
        if self.offsets is None:
            return self.values
        return self.values[self.offsets[k] : self.offsets[k + 1]]

    def columns(self) -> list[np.ndarray]:
        """Columns of a matrix, each of them shared or stacked."""
        return list(self.values.T)

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
