"""Coordinates that all data sets share, for likelihoods at common parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fitting.assemble import Assembled


@dataclass(frozen=True, eq=False)
class CommonBasis:
    """Coordinates in which the coefficients of all data sets are the same numbers.

    In the coordinates of data set k, X is an orthonormal basis times R_k and y is what least squares left of it;
    ``change`` (K, w, w) takes (-gamma, 1) of the common basis there. ``scale`` is the unit of y in the common basis.
    """

    change: np.ndarray
    scale: float

    @classmethod
    def of(cls, model: Assembled) -> CommonBasis:
        """Take the basis of the first data set, the mean least-squares coefficients and the typical scale of y."""
        n_sets, p = model.ols.shape
        scale = float(np.sqrt(np.mean(model.y_scale**2)))
        change = np.zeros((n_sets, p + 1, p + 1))
        change[:, :p, :p] = np.linalg.solve(model.inverse, np.broadcast_to(model.inverse[0], model.inverse.shape))
        shift = (model.ols - model.ols.mean(axis=0))[:, :, None]
        change[:, :p, p] = np.linalg.solve(model.inverse, shift)[:, :, 0] / scale
        change[:, p, p] = model.y_scale / scale
        return cls(change, scale)

    def sum(self, m: np.ndarray) -> np.ndarray:
        """Sum matrices (K, ..., w, w) of the data sets' coordinates in the common basis."""
        return np.asarray(np.einsum("kai,k...ab,kbj->...ij", self.change, m, self.change))
