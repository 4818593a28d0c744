"""ModeratedMany: tables of many responses with moderated variances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..names import UnknownNames
from ..tables.constraints import Constraints
from ..tables.printing import Summary
from ..tables.result_table import ResultTable
from .moderation import fit_prior, squeezed
from .tables import failed, long_table, with_tests

if TYPE_CHECKING:
    from .base import ManyTests

ResidualDf = Literal["satterthwaite", "residual"]


@dataclass(frozen=True, eq=False, repr=False)
class ModeratedMany(UnknownNames):
    """Many responses with moderated residual variances; made by `LmerMany.moderate`.

    Parameters
    ----------
    many : ManyTests
    s2_prior, df_prior : float
        Prior variance and its degrees of freedom d0; infinite where all responses share one variance.
    s2_post : Series (G,)
        Posterior variances (d0 s0^2 + d s^2) / (d0 + d), d = n - p.
    df : {"satterthwaite", "residual"}
        Degrees of freedom to which d0 is added.
    """

    many: ManyTests
    s2_prior: float
    df_prior: float
    s2_post: pd.Series
    df: ResidualDf

    @property
    def df_residual(self) -> pd.Series:
        """Residual degrees of freedom n - p of every response."""
        own = np.where(failed(self.many.fits), np.nan, _residual_df(self.many))
        return pd.Series(own, index=self.s2_post.index, name="df_residual")

    @property
    def df_total(self) -> pd.Series:
        """Degrees of freedom n - p with those of the prior, at most the sum of all n - p, as limma has them."""
        own = self.df_residual
        return (own + self.df_prior).clip(upper=own.sum()).rename("df_total")

    def tidy(self, effects: Literal["fixed"] = "fixed") -> ResultTable:
        """Coefficients of all responses with moderated t tests, as `LmerMany.tidy` has them.

        ``std_error`` is that of the fit times the ratio of posterior to estimated residual SD; ``df`` has d0 added.
        """
        if effects != "fixed":
            raise DataError(f"effects={effects!r}: moderated are the tests of coefficients, 'fixed'")
        return self._table(np.eye(len(self.many.terms)), self.many.terms, 0.0)

    def contrast(
        self, L: Constraints, names: Sequence[str] | None = None, *, q0: npt.ArrayLike | None = None
    ) -> ResultTable:
        """Linear combinations of the coefficients with moderated t tests; see `LmerMany.contrast`."""
        linear = self.many._linear(L, q0, names)
        return self._table(linear.matrix, linear.labels, linear.null)

    def _table(self, matrix: np.ndarray, labels: Sequence[str], null: np.ndarray | float) -> ResultTable:
        (fit,) = self.many.fits
        estimate, variance, df = fit.combinations(matrix)
        error = np.sqrt(variance) * (np.sqrt(self.s2_post.to_numpy()) / fit.sigma)[:, None]
        total = df + self.df_prior
        if self.df == "residual":
            total = np.broadcast_to(self.df_total.to_numpy()[:, None], df.shape)
        columns = with_tests(estimate, error, total, failed(self.many.fits), null)
        table = long_table(self.many.names, labels, columns, self.many.fits)
        table.attrs["notes"] = [self._said(), *table.attrs["notes"]]
        return table

    def _said(self) -> str:
        what = "Satterthwaite's" if self.df == "satterthwaite" else "n - p"
        return (
            f"moderated variances: prior {self.s2_prior:.4g} with {self.df_prior:.4g} degrees of freedom, which are "
            f"added to {what}"
        )

    def __repr__(self) -> str:
        return str(Summary(f"{len(self.many)} responses of {self.many.formula}\n{self._said()}"))


def _residual_df(many: ManyTests) -> np.ndarray:
    (fit,) = many.fits
    return np.asarray(fit.n_obs - fit.rank, dtype=np.float64)


def moderated(many: ManyTests, df: ResidualDf) -> ModeratedMany:
    """Estimate the prior from all responses that have a fit."""
    (fit,) = many.fits
    used = ~failed(many.fits)
    if not used.any():
        raise DataError("no response has a fit: there are no variances to moderate")
    s2, own = np.where(used, fit.sigma**2, np.nan), _residual_df(many)
    prior = fit_prior(s2[used], own[used])
    post = pd.Series(squeezed(s2, own, prior), index=many.names.rename("response"), name="s2_post")
    return ModeratedMany(many, prior.s2, prior.df, post, df)
