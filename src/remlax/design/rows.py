"""Row data that may be shared by all data sets or differ between them."""

from __future__ import annotations

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
