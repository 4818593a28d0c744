"""Selection: some of the fits of a batch, which is what a fit, a list of fits and a pooled model are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..design.build import ModelRows
from .assemble import Assembled
from .fit import Fitted


@dataclass(frozen=True, eq=False)
class Selection:
    """Fits to some data sets of a batch, in order.

    Parameters
    ----------
    fitted : Fitted
        All fits of the batch.
    which : tuple of int
        Indices of the data sets.
    dropped : tuple of int
        Indices of the failed fits that were left out of them.
    """

    fitted: Fitted
    which: tuple[int, ...]
    dropped: tuple[int, ...] = ()

    @classmethod
    def all_of(cls, fitted: Fitted) -> Selection:
        """Every fit of a batch."""
        return cls(fitted, tuple(range(fitted.n_sets)))

    def one(self, k: int) -> Selection:
        """Select the fit of one data set of the batch."""
        return Selection(self.fitted, (int(k),))

    def take(self, which: Iterable[int], dropped: Iterable[int] = ()) -> Selection:
        """Select other fits of the batch."""
        return Selection(self.fitted, tuple(int(k) for k in which), tuple(dropped))

    @property
    def each(self) -> list[Selection]:
        """The fits one by one."""
        return [self.one(k) for k in self.which]

    @property
    def k(self) -> int:
        """Index of the only data set."""
        (k,) = self.which
        return k

    @property
    def index(self) -> np.ndarray:
        """Indices of the data sets, (K,)."""
        return np.array(self.which, dtype=int)

    @property
    def n_sets(self) -> int:
        """Number K of data sets."""
        return len(self.which)

    @property
    def model(self) -> Assembled:
        """The model that was fitted, to all data sets of the batch."""
        return self.fitted.model

    @property
    def rows(self) -> ModelRows:
        """What the model read from the data."""
        return self.fitted.model.rows

    @property
    def formula(self) -> str:
        """The model formula."""
        return self.rows.formula.text

    @property
    def n_rows(self) -> list[int]:
        """Rows of every data set."""
        return [self.rows.n_rows(k) for k in self.which]

    # -- estimates -----------------------------------------------------------------------------------------------

    @property
    def beta(self) -> np.ndarray:
        """Coefficients, (K, p)."""
        return np.asarray(self.fitted.beta[self.index])

    @property
    def vcov(self) -> np.ndarray:
        """Model-based covariance matrices of the coefficients, (K, p, p)."""
        return np.asarray(self.fitted.vcov[self.index])

    @property
    def theta(self) -> np.ndarray:
        """Relative covariance parameters in lme4's order and scale, (K, d)."""
        return np.asarray(self.fitted.theta[self.index])

    @property
    def inner(self) -> np.ndarray:
        """Relative covariance parameters of the columns inside, (K, d)."""
        return np.asarray(self.fitted.inner[self.index])

    @property
    def sigma(self) -> np.ndarray:
        """Residual SDs, (K,)."""
        return np.asarray(self.fitted.sigma[self.index])

    def unknown_variance(self, contrasts: np.ndarray | None = None) -> np.ndarray:
        """Tell which contrasts (r, p), by default the coefficients, have in a data set no identified variance, (r,)."""
        return self.fitted.unknown_variance(self.which, contrasts)

    # -- labels --------------------------------------------------------------------------------------------------

    def named(self, which: Iterable[int]) -> list[object]:
        """Labels of some data sets of the batch."""
        return [self.rows.labels[k] for k in which]

    @property
    def labels(self) -> list[object]:
        """Labels of the data sets."""
        return self.named(self.which)

    @property
    def singular(self) -> list[object]:
        """Labels of the data sets whose fit is singular."""
        return self.named(k for k in self.which if self.fitted.singular[k])

    @property
    def failed(self) -> list[object]:
        """Labels of the data sets whose fit did not converge, selected or left out."""
        converged = self.fitted.converged
        return self.named(k for k in (*self.which, *self.dropped) if not converged[k])

    @property
    def left_out(self) -> list[object]:
        """Labels of the failed fits that were left out."""
        return self.named(self.dropped)
