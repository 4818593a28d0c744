"""One generalised linear mixed model, K of them, and the pooled model: lme4's glmerMod and merTools' glmerModList."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..fitting.selection import Selection
from ..inference.coefficients import CoefficientInference, Ddf, GivenDf, Vcov
from ..inference.glmm import Use, glmm_fitted, glmm_inference
from ..tables.coefficients import fit_table, known_covariance, pooled_table
from ..tables.exponentiate import exponentiated
from ..tables.modes import Uncertainty
from ..tables.result_table import ResultTable
from ..tables.usable import OnFailure, choose_fits
from ..tables.varcorr import vcov_frame
from ..tables.variance import Scales
from .fit import LmerFit
from .glmer_rows import GlmerFitRows, PooledGlmerRows
from .glmer_tests import GlmerListTests, GlmerTests, PooledGlmerTests
from .glmer_words import GlmerFitListWords, GlmerFitWords, PooledGlmerWords
from .pooled import pool_selection
from .result import Effects


@dataclass(frozen=True, eq=False, repr=False)
class GlmerFit(GlmerFitRows, GlmerTests, GlmerFitWords):
    """A generalised linear mixed model fitted to one data set.

    Made by `glmer`, or taken from a `GlmerFitList`. What it has in common with `LmerFit` has the same name.
    """

    def _like(self, fits: Selection) -> GlmerFit:
        return GlmerFit(fits)

    def _within(
        self, ddf: Ddf | npt.ArrayLike = math.inf, vcov: Vcov = "model", cluster: str | None = None
    ) -> CoefficientInference:
        if vcov != "model" or cluster is not None:
            raise DataError("robust covariances are for linear mixed models: use use='hessian' or use='rx'")
        return glmm_inference(self.selection, ddf)

    # -- facts -------------------------------------------------------------------------------------------------------

    @property
    def family(self) -> str:
        """Distribution of the response."""
        return glmm_fitted(self.selection).family.name

    @property
    def link(self) -> str:
        """Link of its mean."""
        return glmm_fitted(self.selection).family.link

    @property
    def n_quad(self) -> int:
        """Points of adaptive Gauss-Hermite quadrature; 1 is the Laplace approximation."""
        return glmm_fitted(self.selection).structure.n_quad

    @property
    def dispersion(self) -> float:
        """Size of a negative binomial response (inf without overdispersion), shape of a gamma one; 1 for others."""
        fitted = glmm_fitted(self.selection)
        if fitted.family.name not in ("negative-binomial", "gamma"):
            return 1.0
        k = self.selection.k
        return math.inf if fitted.endless_size[k] else float(np.exp(fitted.shape[k, 0]))

    # -- criterion ---------------------------------------------------------------------------------------------------

    def criterion(self, theta: npt.ArrayLike | None = None, beta: npt.ArrayLike | None = None) -> float:
        """-2 log-likelihood with all constants.

        Parameters
        ----------
        theta : array_like (d,), optional
            Where to evaluate it, in lme4's order and scale; at the optimum by default.
        beta : array_like (p,), optional
            Coefficients in the order of `fixef`; at the optimum by default. Shape parameters are those of the fit.

        Raises
        ------
        DataError
            One of them has the wrong length or holds values that are not finite.
        """
        fitted, k = glmm_fitted(self.selection), self.selection.k
        if theta is None and beta is None:
            return float(fitted.criterion[k])
        at = _finite(theta, fitted.theta[k], "theta", "in lme4's order")
        return fitted.at(k, at, _finite(beta, fitted.beta[k], "beta", "in the order of fit.fixef()"))

    # -- tables ------------------------------------------------------------------------------------------------------

    def vcov(self, *, use: Use = "hessian") -> pd.DataFrame:  # type: ignore[override]
        """Covariance matrix of the fixed-effect coefficients, (p, p).

        Parameters
        ----------
        use : {"hessian", "rx"}, default "hessian"
            From the exact Hessian in all parameters, or given theta, as lme4's ``vcov(fit, use.hessian = FALSE)``.
        """
        found = glmm_inference(self.selection, use=use).vcov[0]
        return vcov_frame(known_covariance(found, self.selection.unknown_variance()), self._names)

    def tidy(  # type: ignore[override]
        self,
        effects: Effects = "fixed",
        *,
        conf_level: float = 0.95,
        ddf: Ddf | npt.ArrayLike = math.inf,
        scales: Scales = "sdcor",
        uncertainty: Uncertainty = "conditional",
        exponentiate: bool = False,
        use: Use = "hessian",
    ) -> ResultTable:
        """Estimates as a table, one row each.

        Parameters
        ----------
        effects, conf_level, scales, uncertainty
            As in `LmerFit.tidy`.
        ddf : float or array_like (p,), default inf
            Degrees of freedom; ``math.inf`` for z tests.
        exponentiate : bool, default False
            For ``fixed``: odds ratios (logit), rate or mean ratios (log). The standard error is by the delta method,
            the limits are those of the coefficient, exponentiated.
        use : {"hessian", "rx"}, default "hessian"
            As in `vcov`.
        """
        if effects != "fixed":
            return self._random(effects, conf_level, scales, uncertainty)
        table = fit_table(self.selection, glmm_inference(self.selection, ddf, use), conf_level)
        return self._coefficients(exponentiated(table, self.link) if exponentiate else table)


def _finite(given: npt.ArrayLike | None, default: np.ndarray, name: str, order: str) -> np.ndarray:
    """Read parameters of a criterion."""
    if given is None:
        return default
    try:
        values = np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        raise DataError(f"{name}={given!r} must hold {len(default)} finite numbers, {order}") from None
    if values.shape != default.shape or not np.isfinite(values).all():
        raise DataError(f"{name} must hold {len(default)} finite numbers, {order}; it has shape {values.shape}")
    return values


@dataclass(frozen=True, eq=False, repr=False)
class GlmerFitList(GlmerListTests, GlmerFitListWords):
    """K fits of one generalised linear mixed model, made by `glmer_list`; a sequence of `GlmerFit`."""

    _element: ClassVar[type[LmerFit]] = GlmerFit

    @overload
    def __getitem__(self, index: int) -> GlmerFit: ...
    @overload
    def __getitem__(self, index: slice) -> GlmerFitList: ...
    def __getitem__(self, index: int | slice) -> GlmerFit | GlmerFitList:
        found = super().__getitem__(index)
        assert isinstance(found, GlmerFit | GlmerFitList)
        return found

    def __iter__(self) -> Iterator[GlmerFit]:
        return (GlmerFit(one) for one in self.selection.each)

    def pool(  # type: ignore[override]
        self,
        dfcom: Ddf | npt.ArrayLike = math.inf,
        conf_level: float = 0.95,
        on_failure: OnFailure = "raise",
        *,
        use: Use = "hessian",
    ) -> PooledGlmer:
        """Pool the fits by Rubin's rules.

        Parameters
        ----------
        dfcom : "residual", float or array_like (p,), default inf
            Complete-data degrees of freedom; ``math.inf`` gives those of Rubin (1987), "residual" n minus the number of
            parameters, as mice has it.
        conf_level : float, default 0.95
        on_failure : {"raise", "warn", "drop"}, default "raise"
            As in `LmerFitList.pool`.
        use : {"hessian", "rx"}, default "hessian"
            Covariance matrix of the coefficients in each fit; see `GlmerFit.vcov`.

        Raises
        ------
        PoolingError
            Fewer than two fits, or a failed fit under ``on_failure="raise"``.

        References
        ----------
        Rubin, D. B. (1987). Multiple Imputation for Nonresponse in Surveys. Wiley, ch. 3.
        """
        used = choose_fits(self.selection, on_failure)
        found = pool_selection(used, glmm_inference(used, dfcom, use), conf_level)
        return PooledGlmer(found.selection, found.rubin, found.within)


@dataclass(frozen=True, eq=False, repr=False)
class PooledGlmer(PooledGlmerRows, PooledGlmerTests, PooledGlmerWords):
    """K generalised linear mixed models pooled by Rubin's rules; made by ``fits.pool()``."""

    def _like(self, fits: Selection) -> PooledGlmer:
        dfcom = self.rubin.dfcom if isinstance(self.within, GivenDf) else math.inf
        found = pool_selection(fits, glmm_inference(fits, dfcom), self.rubin.conf_level)
        return PooledGlmer(found.selection, found.rubin, found.within)

    @property
    def link(self) -> str:
        """Link of the mean of the response."""
        return glmm_fitted(self.selection).family.link

    def tidy(
        self,
        effects: Effects = "fixed",
        *,
        scales: Scales = "sdcor",
        uncertainty: Uncertainty = "conditional",
        exponentiate: bool = False,
    ) -> ResultTable:
        """Pooled estimates as a table, one row each.

        Parameters
        ----------
        effects, scales, uncertainty
            As in `PooledLmer.tidy`.
        exponentiate : bool, default False
            For ``fixed``: odds ratios (logit), rate or mean ratios (log), pooled before they are exponentiated.
        """
        if effects != "fixed":
            return self._random(effects, self.conf_level, scales, uncertainty)
        table = pooled_table(self._names, self.rubin)
        return self._coefficients(exponentiated(table, self.link) if exponentiate else table)
