"""ModeratedMany: tables of many responses with moderated variances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...errors import DataError
from ...names import UnknownNames
from ...tables.constraints import Constraints
from ...tables.printing import Summary
from ...tables.result_table import ResultTable
from ..estimates import ResponseFits
from ..tables import failed, long_table, statuses, t_tests
from .prior import VariancePrior, fit_prior, squeezed
from .robust import fit_prior_robustly

if TYPE_CHECKING:
    from ..base import ManyTests

ResidualDf = Literal["satterthwaite", "residual"]


@dataclass(frozen=True, eq=False)
class ModeratedFits(ResponseFits):
    """Fits whose coefficients are tested with moderated variances.

    Parameters
    ----------
    prior : VariancePrior
    s2_post : ndarray (G,)
    df_total : ndarray (G,) or None
        Degrees of freedom of all tests; those of the prior added to Satterthwaite's unless given.
    """

    prior: VariancePrior
    s2_post: np.ndarray
    df_total: np.ndarray | None

    def combinations(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `ResponseFits.combinations`."""
        estimate, variance, df = super().combinations(matrix)
        total = df + self.prior.df[:, None]
        if self.df_total is not None:
            total = np.broadcast_to(self.df_total[:, None], df.shape)
        return estimate, variance * (self.s2_post / self.sigma**2)[:, None], total


@dataclass(frozen=True, eq=False, repr=False)
class ModeratedMany(UnknownNames):
    """Many responses with moderated residual variances; made by `LmerMany.moderate`.

    Parameters
    ----------
    many : ManyTests
    fits : tuple of ModeratedFits
        One for each imputation of the design.
    df : {"satterthwaite", "residual"}
        Degrees of freedom to which those of the prior are added.
    robust : bool
        Whether outliers have a prior with fewer degrees of freedom.
    """

    many: ManyTests
    fits: tuple[ModeratedFits, ...]
    df: ResidualDf
    robust: bool

    @property
    def s2_prior(self) -> float:
        """Variance s0^2 of the prior; the mean over imputations."""
        return float(np.mean([fit.prior.s2 for fit in self.fits]))

    @property
    def df_prior(self) -> float | pd.Series:
        """Degrees of freedom d0 of the prior, infinite where all responses share one variance; means over imputations.

        With ``robust=True`` those of every response (G,).
        """
        each = np.mean([fit.prior.df for fit in self.fits], axis=0)
        return self._series(each, "df_prior") if self.robust else float(np.nanmax(each))

    @property
    def s2_post(self) -> pd.Series:
        """Posterior variances (d0 s0^2 + d s^2) / (d0 + d), d = n - p (G,); means over imputations."""
        return self._series(np.mean([fit.s2_post for fit in self.fits], axis=0), "s2_post")

    @property
    def df_residual(self) -> pd.Series:
        """Residual degrees of freedom n - p of every response."""
        return self._series(_residual_df(self.fits[0]), "df_residual")

    @property
    def df_total(self) -> pd.Series:
        """Degrees of freedom n - p with those of the prior, at most the sum of all n - p, as limma has them."""
        return self._series(np.mean([_total_df(fit, fit.prior) for fit in self.fits], axis=0), "df_total")

    def variances(self) -> pd.DataFrame:
        """Residual variances before and after, beside the average of the response.

        Returns
        -------
        pandas.DataFrame
            ``average sigma2 df_residual s2_prior df_prior s2_post status``, a row per response; means over imputations.
            `remlax.plot.mean_variance` draws it.
        """
        columns = {
            "average": self._series(self.fits[0].average, "average"),
            "sigma2": self._series(np.mean([fit.sigma**2 for fit in self.fits], axis=0), "sigma2"),
            "df_residual": self.df_residual,
            "s2_prior": self.s2_prior,
            "df_prior": self._series(np.mean([fit.prior.df for fit in self.fits], axis=0), "df_prior"),
            "s2_post": self.s2_post,
            "status": statuses(self.fits),
        }
        return pd.DataFrame(columns, index=self._index)

    def tidy(self, effects: Literal["fixed"] = "fixed") -> ResultTable:
        """Coefficients of all responses with moderated t tests, as `LmerMany.tidy` has them.

        ``std_error`` is that of the fit times the ratio of posterior to estimated residual SD; ``df`` has d0 added.
        With imputed data these are the errors and complete-data degrees of freedom that Rubin's rules pool.
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

    @property
    def _index(self) -> pd.Index:
        return self.many.names.rename("response")

    def _series(self, values: np.ndarray, name: str) -> pd.Series:
        return pd.Series(np.where(failed(self.fits), np.nan, values), index=self._index, name=name)

    def _table(self, matrix: np.ndarray, labels: Sequence[str], null: np.ndarray | float) -> ResultTable:
        table = long_table(self.many.names, labels, t_tests(self.fits, matrix, null), self.fits)
        table.attrs["notes"] = [self._said(), *table.attrs["notes"]]
        return table

    def _said(self) -> str:
        what = "Satterthwaite's" if self.df == "satterthwaite" else "n - p"
        d0 = np.mean([fit.prior.df for fit in self.fits], axis=0)
        most, outliers = np.nanmax(d0), int((d0 < np.nanmax(d0)).sum())
        fewer = f" (fewer for {outliers} outlying responses)" if self.robust else ""
        return (
            f"moderated variances: prior {self.s2_prior:.4g} with {most:.4g} degrees of freedom{fewer}, which are "
            f"added to {what}"
        )

    def __repr__(self) -> str:
        return str(Summary(f"{len(self.many)} responses of {self.many.formula}\n{self._said()}"))


def _residual_df(fit: ResponseFits) -> np.ndarray:
    """N - p of every response, NaN where there is no fit."""
    return np.where(fit.converged, (fit.n_obs - fit.rank).astype(np.float64), np.nan)


def _total_df(fit: ResponseFits, prior: VariancePrior) -> np.ndarray:
    own = _residual_df(fit)
    return np.asarray(np.minimum(own + prior.df, np.nansum(own)))


def moderated(many: ManyTests, df: ResidualDf, *, robust: bool) -> ModeratedMany:
    """Estimate the prior of every imputation from all responses that have fits."""
    used = ~failed(many.fits)
    if not used.any():
        raise DataError("no response has a fit: there are no variances to moderate")
    return ModeratedMany(many, tuple(_moderated(fit, used, df, robust=robust) for fit in many.fits), df, robust)


def _moderated(fit: ResponseFits, used: np.ndarray, df: ResidualDf, *, robust: bool) -> ModeratedFits:
    s2, own = np.where(used, fit.sigma**2, np.nan), _residual_df(fit)
    found = (fit_prior_robustly if robust else fit_prior)(s2[used], own[used])
    prior = VariancePrior(found.s2, np.full(len(s2), np.nan))
    prior.df[used] = found.df
    total = _total_df(fit, prior) if df == "residual" else None
    return ModeratedFits(**fit.tree(), prior=prior, s2_post=squeezed(s2, own, prior), df_total=total)
