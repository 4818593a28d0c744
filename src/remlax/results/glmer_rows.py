"""Rows of generalised linear mixed models: what `GlmerFit` and `PooledGlmer` do alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..fitting.responses.distribution import inverse_link
from ..inference.coefficients import CoefficientInference
from ..inference.glmm import glmm_fitted, glmm_inference
from ..predict.draws import DrawOptions, DrawsFrom, Stat, Which, sim_fixef_table, sim_ranef_table, simulated_rows
from ..predict.glmm_prediction import GlmmLevel, PredictionScale, expected_rows, glmm_predict_table
from ..predict.glmm_residuals import (
    GlmmResidualType,
    glmm_augment_table,
    glmm_fitted_series,
    glmm_residual_series,
)
from ..predict.newdata import Level, NewData, NewLevels
from ..tables.checks import checks
from ..tables.coefficients import Combinations
from ..tables.emmeans import EstimatedMeans, Scale, estimated_means
from ..tables.exponentiate import require_ratios
from ..tables.reference_grid import At, Weights
from .fit import LmerFit
from .marginal import GlmerMarginal


class GlmerRows(GlmerMarginal):
    """Predictions, residuals and draws of generalised linear mixed models; pooled, they count the imputations."""

    @property
    def _dfcom(self) -> float:
        given = super()._dfcom
        return math.inf if given is None else given

    def _inverse(self, eta: np.ndarray) -> np.ndarray:
        return inverse_link(glmm_fitted(self.selection).family.link, eta).mean

    def fitted(self) -> pd.Series[float]:
        """Fitted means given the conditional modes, one per row in the model; pooled, their means.

        Of an ordinal response they are the probabilities of the observed categories, as clmm has them.

        Raises
        ------
        DataError
            Pooled data sets have different rows.
        """
        return glmm_fitted_series(self.selection)

    def residuals(  # type: ignore[override]
        self,
        type: GlmmResidualType = "deviance",  # noqa: A002 (R's name)
        *,
        seed: int | None = None,
    ) -> pd.Series[float]:
        """Residuals given the conditional modes, one per row in the model; pooled, their means.

        Parameters
        ----------
        type : {"response", "pearson", "deviance", "quantile"}, default "deviance"
            Response (a proportion for k of n) minus fitted mean; that over its standard deviation; signed root of the
            deviance of the row; or randomised quantile residuals, which are standard normal where the model holds: the
            normal quantile of a number drawn between the distribution function just below the response and at it.
            The last are of one fit, and the only ones of an ordinal response.
        seed : int, optional
            For ``"quantile"``: the same seed gives the same residuals.

        Returns
        -------
        pandas.Series (n,)

        Raises
        ------
        DataError
            An unknown type, one that the response does not have, or pooled data sets with different rows.

        References
        ----------
        Dunn, P. K. and Smyth, G. K. (1996). Randomized quantile residuals. J. Comput. Graph. Stat. 5, 236-244.

        Examples
        --------
        >>> import remlax as rx
        >>> data = rx.datasets.hsb().assign(high=lambda d: d["mathach"] > 15)
        >>> fit = rx.glmer("high ~ ses + (1 | schid)", data)
        >>> round(float(fit.residuals("quantile", seed=1).std()), 1)
        1.0
        """
        return glmm_residual_series(self.selection, type, seed)

    def predict(  # type: ignore[override]
        self,
        newdata: NewData = None,
        *,
        level: GlmmLevel = "group",
        re_formula: str | None = None,
        scale: PredictionScale = "response",
        interval: Literal["confidence"] | None = None,
        conf_level: float = 0.95,
        new_levels: NewLevels = "error",
    ) -> pd.DataFrame:
        """Predict the expected response for new rows, or for the rows of the fit; pooled by Rubin's rules.

        Parameters
        ----------
        newdata, re_formula, conf_level, new_levels
            As in `LmerFit.predict`.
        level : {"group", "population", "average"}, list of str or formula, default "group"
            All random effects take part; none, which is a group whose effects are zero; or the expected response is
            averaged over the distribution of the random effects, and the rows need no groups. Names of grouping factors
            and formulas are as in `LmerFit.predict`.
        scale : {"response", "link"}, default "response"
            The mean (of one trial, of an ordinal response the probabilities), or its link.
        interval : {"confidence"}, optional
            Interval for the expected response.

        Returns
        -------
        pandas.DataFrame
            ``estimate``; with an interval also ``std_error df conf_low conf_high``, and pooled ``riv lambda fmi``.
            Index as newdata's. Of an ordinal response each row has a row for every ``category``.

        Raises
        ------
        DataError, FormulaError
            As `LmerFit.predict`; ``interval="prediction"``, for which there is `rx.simulate`.

        Warns
        -----
        RankDeficientWarning
            As `LmerFit.predict`.

        Notes
        -----
        Limits are symmetric on the scale of the link, on which several fits are pooled, and transformed back; those of
        probabilities of categories are symmetric on the logit scale and pooled as they are. The variance counts that
        all parameters are estimated, by the delta method with the covariance of the Hessian, that the modes move with
        them, and the conditional variance of the modes (Kass and Steffey 1989). ``new_levels="draw"`` adds the variance
        of the random effects of new groups on that scale.

        Averages over the random effects are one-dimensional integrals over N(0, z'Sigma z): in closed form for the log
        and the probit link, else with 30 Gauss-Hermite nodes.

        References
        ----------
        Kass, R. E. and Steffey, D. (1989). JASA 84, 717-726.
        Zeger, S. L., Liang, K.-Y. and Albert, P. S. (1988). Biometrics 44, 1049-1060.

        Examples
        --------
        >>> import pandas as pd
        >>> import remlax as rx
        >>> data = rx.datasets.hsb().assign(high=lambda d: d["mathach"] > 15)
        >>> fit = rx.glmer("high ~ ses + (1 | schid)", data)
        >>> found = fit.predict(pd.DataFrame({"ses": [-1.0, 1.0]}), level="average", interval="confidence")
        >>> found.columns.tolist()
        ['estimate', 'std_error', 'df', 'conf_low', 'conf_high']
        """
        expected = expected_rows(self.selection, newdata, level, re_formula, new_levels)
        table = glmm_predict_table(self.selection, expected, scale, interval, conf_level, self._dfcom)
        return self._marked(table)

    def predict_interval(  # type: ignore[override]
        self,
        newdata: NewData = None,
        *,
        level: Level = "group",
        re_formula: str | None = None,
        scale: PredictionScale = "response",
        which: Which = "full",
        stat: Stat = "median",
        n_sims: int = 1000,
        seed: int | None = None,
        conf_level: float = 0.95,
        new_levels: NewLevels = "error",
        draws: DrawsFrom = "joint",
        return_draws: bool = False,
    ) -> pd.DataFrame:
        """Intervals of the expected response from draws of coefficients and random effects (merTools: predictInterval).

        Parameters
        ----------
        newdata, level, re_formula, which, stat, n_sims, seed, conf_level, new_levels, return_draws
            As in `LmerFit.predict_interval`.
        scale : {"response", "link"}, default "response"
            merTools' ``type="probability"`` and ``"linear.prediction"``.
        draws : {"joint", "separate"}, default "joint"
            All parameters from a normal distribution with the covariance of the Hessian, and random effects given them;
            or coefficients and random effects apart, as merTools draws them.

        Returns
        -------
        pandas.DataFrame
            As `LmerFit.predict_interval`.

        Raises
        ------
        DataError, FormulaError
            As `predict`; the response scale of an ordinal response, for which `predict` has intervals.

        Notes
        -----
        merTools adds a residual with an SD of 1 on the scale of the link unless told not to; a generalised linear mixed
        model has none there, and these are intervals of the expected response. New responses: `rx.simulate`.

        Examples
        --------
        >>> import remlax as rx
        >>> data = rx.datasets.hsb().assign(high=lambda d: d["mathach"] > 15)
        >>> fit = rx.glmer("high ~ ses + (1 | schid)", data)
        >>> fit.predict_interval(data.head(2), n_sims=200, seed=1).shape
        (2, 3)
        """
        checks.choice(scale, PredictionScale, "scale=")
        if scale == "response" and glmm_fitted(self.selection).family.name == "ordinal":
            raise DataError("an ordinal response has several probabilities: use predict(interval=), or scale='link'")
        inverse = self._inverse if scale == "response" else None
        options = DrawOptions(
            n_sims, seed, conf_level, which, stat, residual=False, draws=draws, return_draws=return_draws,
            inverse=inverse,
        )  # fmt: skip
        if which == "fixed":
            level, re_formula = "population", None
        return self._marked(simulated_rows(self.selection, self._rows(newdata, level, re_formula, new_levels), options))

    def sim_fixef(
        self, *, n_sims: int = 1000, seed: int | None = None, conf_level: float = 0.95, exponentiate: bool = False
    ) -> pd.DataFrame:
        """Summarise draws of the coefficients (merTools: FEsim).

        Parameters
        ----------
        n_sims, seed, conf_level
            As in `predict_interval`.
        exponentiate : bool, default False
            Odds ratios (logit), rate or mean ratios (log): merTools' ``oddsRatio=TRUE``.

        Returns
        -------
        pandas.DataFrame
            ``term mean median sd conf_low conf_high``: the limits are quantiles of the draws.

        Raises
        ------
        DataError
            Fewer than two draws, a level outside (0, 1), or a link whose coefficients are no logarithms.
        """
        self._check_ratios(exponentiate)
        return sim_fixef_table(self.selection, n_sims, seed, conf_level, exponentiate=exponentiate)

    def sim_ranef(
        self,
        group: str | None = None,
        *,
        n_sims: int = 1000,
        seed: int | None = None,
        conf_level: float = 0.95,
        exponentiate: bool = False,
    ) -> pd.DataFrame:
        """Summarise draws of the random effects (merTools: REsim).

        Parameters
        ----------
        group : str, optional
            One grouping factor; all by default.
        n_sims, seed, conf_level, exponentiate
            As in `sim_fixef`.

        Returns
        -------
        pandas.DataFrame
            ``group level term mean median sd conf_low conf_high``. Unlike the conditional SD of `ranef`, ``sd`` counts
            that the parameters are estimated.

        Raises
        ------
        DataError
            No such grouping factor; as `sim_fixef`.
        """
        self._check_ratios(exponentiate)
        return sim_ranef_table(self.selection, group, n_sims, seed, conf_level, exponentiate=exponentiate)

    def _check_ratios(self, exponentiate: bool) -> None:
        if exponentiate:
            require_ratios(glmm_fitted(self.selection).family.link)

    def rmse(self, *, scale: bool = False) -> float:
        """Refused: the spread of a residual depends on its mean."""
        raise DataError(
            "rmse() is of linear mixed models, whose residuals have one SD: use residuals('pearson') or "
            "residuals('deviance')"
        )

    def sub_boot(
        self, statistic: Callable[[Any], Any], *, n: int | None = None, n_boot: int = 100, seed: int | None = None
    ) -> pd.DataFrame:
        """Refused: refits of generalised linear mixed models are to other responses."""
        raise DataError("sub_boot() is of linear mixed models: use rx.bootstrap(fit), which draws responses")


class GlmerFitRows(GlmerRows, LmerFit):
    """What is of one fit."""

    def _inference(self) -> tuple[CoefficientInference, float]:
        return glmm_inference(self.selection), 0.95

    def emmeans(  # type: ignore[override]
        self,
        specs: str | Sequence[str],
        *,
        by: str | Sequence[str] | None = None,
        at: At | None = None,
        weights: Weights = "equal",
        type: Scale = "model",  # noqa: A002
        conf_level: float = 0.95,
        ddf: float | npt.ArrayLike = math.inf,
    ) -> EstimatedMeans:
        """Estimated marginal means over a reference grid, as R's emmeans.

        Parameters
        ----------
        specs, by, at, weights, conf_level
            As in `LmerFit.emmeans`.
        type : {"model", "response"}, default "model"
            The scale of the link, or means transformed back from it, of a group whose random effects are zero; their
            ``differences()`` are ratios of odds (logit) or of means (log).
        ddf : float or array_like (p,), default inf
            Degrees of freedom; ``math.inf`` for z tests.

        Returns
        -------
        EstimatedMeans

        Raises
        ------
        DataError
            As `LmerFit.emmeans`; ``type="response"`` of an ordinal response.
        """
        combos = Combinations(self.selection, glmm_inference(self.selection, ddf), conf_level)
        return estimated_means(combos, specs, by, at, weights, type)

    def augment(self) -> pd.DataFrame:
        """Data with fitted values and residuals.

        Returns
        -------
        pandas.DataFrame
            The model's columns, ``fitted``, ``linear_predictor`` with its ``std_error`` as in `predict`, and but for
            ordinal responses ``residual``, ``pearson_residual`` and ``deviance_residual``. Leverages and Cook's
            distances are of linear mixed models.

        Examples
        --------
        >>> import remlax as rx
        >>> data = rx.datasets.hsb().assign(high=lambda d: d["mathach"] > 15)
        >>> rx.glmer("high ~ ses + (1 | schid)", data).augment().columns[:3].tolist()
        ['high', 'ses', 'schid']
        """
        return glmm_augment_table(self.selection)


class PooledGlmerRows(GlmerRows):
    """What is of the pooled model."""

    def augment(self, *, per_imputation: bool = False) -> pd.DataFrame:
        """Data with fitted values and residuals, means over the imputations.

        Parameters
        ----------
        per_imputation : bool, default False
            Add fitted values and residuals of every imputation.

        Returns
        -------
        pandas.DataFrame
            As `GlmerFit.augment`, with the columns of the data that are the same in all imputations; ``std_error`` is
            the root of Rubin's total variance.

        Raises
        ------
        DataError
            The data sets have different rows.
        """
        return glmm_augment_table(self.selection, per_imputation=per_imputation)
