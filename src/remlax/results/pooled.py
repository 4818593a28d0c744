"""The pooled model: what mice calls a mipo object, with everything around the coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..fitting.selection import Selection
from ..inference.coefficients import CoefficientInference, GivenDf, coefficient_inference
from ..names import UnknownNames
from ..pooling import RubinPool, pool_rubin
from ..predict.residuals import augment_table
from ..tables.checks import checks
from ..tables.coefficients import Combinations, known_covariance, known_pool, pooled_table
from ..tables.constraints import Constraints
from ..tables.emmeans import EstimatedMeans, Scale, estimated_means
from ..tables.hypotheses import WaldMethod
from ..tables.modes import Uncertainty
from ..tables.monte_carlo import ErrorsOf, monte_carlo_errors
from ..tables.printing import Summary
from ..tables.reference_grid import At, Weights
from ..tables.result_table import ResultTable
from ..tables.shares import icc_table, r2_table
from ..tables.varcorr import vcov_frame
from ..tables.variance import Scales
from .marginal import MarginalEffects
from .model_table import ModelParts
from .report import pooled_parts, pooled_report
from .result import Effects
from .save import stack_tree, within_tree
from .text import Form, pooled_text

Component = Literal["total", "within", "between"]


@dataclass(frozen=True, eq=False, repr=False)
class PooledLmer(MarginalEffects, UnknownNames):
    """K fits pooled by Rubin's rules; made by ``fits.pool()``.

    Parameters
    ----------
    selection : Selection
        The fits of a batch that were pooled, and which failed ones were left out.
    rubin : RubinPool
        Pooled coefficients with all matrices.
    within : CoefficientInference
        Covariances of the coefficients in each fit, and degrees of freedom of tests about them.
    """

    selection: Selection
    rubin: RubinPool
    within: CoefficientInference
    _called = "pooled"

    def _like(self, fits: Selection) -> PooledLmer:
        dfcom = self.rubin.dfcom if isinstance(self.within, GivenDf) else "satterthwaite"
        return pool_selection(fits, coefficient_inference(fits, dfcom), self.rubin.conf_level)

    def _inference(self) -> tuple[CoefficientInference, float]:
        return self.within, self.conf_level

    @property
    def n_imputations(self) -> int:
        """Number K of pooled fits."""
        return self.selection.n_sets

    @property
    def df_rule(self) -> str:
        """How the degrees of freedom were found."""
        rule = self.within.rule
        return rule if rule.endswith("1987") else f"{rule}, then Barnard-Rubin"

    @property
    def conf_level(self) -> float:
        """Level of the confidence limits."""
        return self.rubin.conf_level

    @property
    def _dfcom(self) -> float | None:
        """The smallest where ``pool`` was given them."""
        return float(np.min(self.rubin.dfcom, initial=np.inf)) if isinstance(self.within, GivenDf) else None

    # -- estimates ---------------------------------------------------------------------------------------------------

    def vcov(self, component: Component = "total") -> pd.DataFrame:
        """Covariance matrix of the pooled coefficients: T = ubar + (1 + 1/K) b, or one of its parts.

        Parameters
        ----------
        component : {"total", "within", "between"}, default "total"
        """
        checks.choice(component, Component, "component=")
        parts = {"total": self.rubin.t, "within": self.rubin.ubar, "between": self.rubin.b}
        lost = np.isnan(self.rubin.std_error) & (component != "between")
        return self._marked(vcov_frame(known_covariance(parts[component], lost), self._names))

    def confint(self, method: Literal["wald"] = "wald") -> pd.DataFrame:
        """Confidence limits of the coefficients: term by ``conf_low``, ``conf_high``.

        Parameters
        ----------
        method : {"wald"}, default "wald"
            Profiles and refits are made of one fit: ``fits[0].confint("profile")``.

        Raises
        ------
        DataError
            Another method.
        """
        if method != "wald":
            own = method if method in ("profile", "boot") else "profile"
            raise DataError(
                f"method={method!r} is not known: a pooled model has 'wald' limits only; others are of one fit, as in "
                f"fits[0].confint({own!r})"
            )
        limits = {"conf_low": self.rubin.conf_low, "conf_high": self.rubin.conf_high}
        return self._marked(pd.DataFrame(limits, index=pd.Index(self._names, name="term")))

    def tidy(
        self, effects: Effects = "fixed", *, scales: Scales = "sdcor", uncertainty: Uncertainty = "conditional"
    ) -> ResultTable:
        """Pooled estimates as a table, one row each.

        Parameters
        ----------
        effects, scales, uncertainty
            As in `LmerFit.tidy`.

        Returns
        -------
        ResultTable
            ``fixed``: ``term estimate std_error statistic df p_value conf_low conf_high riv lambda fmi ubar b t
            dfcom``.

            ``ran_pars``: ``group term estimate std_error conf_low conf_high scale df riv lambda fmi scaled_estimate
            scaled_se ubar b t n_used mean_sd mean_variance mean_cor mean_cov n_boundary``. SDs are pooled as logarithms
            and correlations as Fisher's z by Rubin's rules, covariances as they are; ``scaled_estimate`` to ``t`` are
            on that scale, ``estimate`` and the limits are transformed back, ``std_error`` is that of the delta method.
            ``mean_sd`` is the plain mean that merTools prints, ``mean_variance`` the one that mitml prints. Estimates
            on the boundary (``n_boundary`` of them) enter the means only.

            ``ran_vals``, ``ran_coefs``: ``group level term estimate std_error conf_low conf_high df riv lambda fmi ubar
            b t n_present``: within, between and total variance per level; a level without rows in a data set has mode 0
            and the prior variance there, ``n_present`` counts the data sets where it has rows.

            ``attrs`` names the imputations that are singular, failed or left out.

        Warns
        -----
        PoolingWarning
            Variance parameters on the boundary, and SDs so near 0 that their logarithms say nothing, by name and
            imputation.

        References
        ----------
        Rubin, D. B. (1987). Multiple Imputation for Nonresponse in Surveys. Wiley, ch. 3.
        van Buuren, S. (2018). Flexible Imputation of Missing Data, 2nd ed., sec. 5.2. Chapman & Hall/CRC.

        Examples
        --------
        >>> import remlax as rx
        >>> fits = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed())
        >>> fits.pool().tidy("ran_pars")[["term", "estimate", "std_error"]].round(2).values.tolist()
        [['sd__Intercept', 2.19, 0.15], ['sd__Observation', 6.08, 0.05]]
        """
        if effects == "fixed":
            return self._coefficients(pooled_table(self._names, self.rubin))
        return self._random(effects, self.conf_level, scales, uncertainty)

    def mcerror(self, effects: ErrorsOf = "fixed") -> pd.DataFrame:
        """Monte Carlo error of the pooled numbers: how much they would change with other imputations of the same data.

        Parameters
        ----------
        effects : {"fixed", "ran_pars"}, default "fixed"
            The tables that ``tidy`` gives.

        Returns
        -------
        pandas.DataFrame
            The rows and numbers of ``tidy(effects)``, each number replaced by its standard error of the jackknife over
            imputations. That of a pooled coefficient is sqrt(B / K). NaN where a number is not finite without one of
            the imputations.

        Raises
        ------
        PoolingError
            Fewer than three imputations.
        DataError
            Another kind of effects.

        References
        ----------
        White, I. R., Royston, P. and Wood, A. M. (2011). Stat. Med. 30, 377-399, sec. 7 (Stata's ``mcerror``).

        Examples
        --------
        >>> import remlax as rx
        >>> pooled = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed()).pool()
        >>> pooled.mcerror()[["term", "estimate", "std_error"]].round(4).values.tolist()
        [['Intercept', 0.001, 0.0003], ['ses', 0.0093, 0.002]]
        """
        return self._marked(monte_carlo_errors(self.selection, self.within, self.rubin, effects))

    # -- contrasts, tests and means ----------------------------------------------------------------------------------

    def contrast(
        self, L: Constraints, names: Sequence[str] | None = None, *, q0: npt.ArrayLike | None = None
    ) -> ResultTable:
        """Pooled linear combinations of the coefficients, each with its own degrees of freedom.

        Parameters
        ----------
        L : str, list or dict of str, array_like (r, p), or DataFrame
            ``"a - b"``, ``{"difference": "a - b"}``, or a matrix with one column per coefficient (matched by name where
            it is a DataFrame, whose index names the rows).
        names : sequence of str, optional
            One per combination.
        q0 : float or array_like (r,), optional
            Values under the null hypothesis of ``statistic`` and ``p_value``; 0 by default.

        Returns
        -------
        ResultTable
            The columns of ``tidy("fixed")``.

        Raises
        ------
        FormulaError
            L cannot be read.

        Examples
        --------
        >>> import remlax as rx
        >>> fits = rx.lmer_list("mathach ~ minority + female + (1 | schid)", rx.datasets.hsb_imputed())
        >>> fits.pool().contrast({"gap": "minority - female"})["estimate"].round(2).tolist()
        [-2.16]
        """
        return self._contrasted(self.within, self._linear(L, q0, names), self.conf_level)

    def test(
        self, constraints: Constraints, q0: npt.ArrayLike | None = None, *, method: WaldMethod = "D1"
    ) -> ResultTable:
        """Test linear hypotheses about the coefficients jointly.

        Parameters
        ----------
        constraints : str, list of str, array_like (r, p), or DataFrame
            ``"minority = female"``, ``["ses", "meanses"]`` (both are 0), ``"2*a - b = 1"``, a term such as ``"f"`` or
            ``"f:x"`` for all its coefficients, or a matrix L.
        q0 : float or array_like (r,), optional
            Values under the hypothesis, 0 by default.
        method : {"D1", "D2"}, default "D1"
            D1 pools the estimates and their covariances; with finite complete-data degrees of freedom (those of the F
            test in each fit, averaged) its denominator df are Reiter's. D2 pools the Wald statistics of the fits. With
            ``dfcom="kenward-roger"`` both use the adjusted covariances, and D1 the df, but neither the factor by which
            Kenward and Roger multiply the F statistic of one fit: no pooled form of it is known.

        Returns
        -------
        ResultTable
            One row: ``hypothesis statistic df1 df2 p_value riv dfcom method note``.

        Raises
        ------
        FormulaError, DataError
            The hypotheses cannot be read, or depend on each other.

        References
        ----------
        Li, K. H., Raghunathan, T. E. and Rubin, D. B. (1991). JASA 86, 1065-1073.
        Reiter, J. P. (2007). Biometrika 94, 502-508.

        Examples
        --------
        >>> import remlax as rx
        >>> fits = rx.lmer_list("mathach ~ minority + female + (1 | schid)", rx.datasets.hsb_imputed())
        >>> fits.pool().test("minority = female")[["df1", "method"]].values.tolist()
        [[1, 'D1']]
        """
        return self._tested(self.within, self._linear(constraints, q0, joint=True), method)

    def emmeans(
        self,
        specs: str | Sequence[str],
        *,
        by: str | Sequence[str] | None = None,
        at: At | None = None,
        weights: Weights = "equal",
        type: Scale = "model",  # noqa: A002
    ) -> EstimatedMeans:
        """Estimated marginal means, pooled at every point of one reference grid.

        Parameters
        ----------
        specs, by, at, weights, type
            As in `LmerFit.emmeans`. Means of covariates and proportions of categories are those of all imputations
            together, so that all have one grid; an offset stands at the mean of each imputation. Means of a transformed
            response are transformed back after pooling.

        Returns
        -------
        EstimatedMeans
            As `LmerFit.emmeans`; each row is pooled by Rubin's rules with its own complete-data degrees of freedom, by
            the rule of ``pool(dfcom=)``.

        Raises
        ------
        DataError
            As `LmerFit.emmeans`.

        Warns
        -----
        RankDeficientWarning
            A mean cannot be estimated; the message names it.

        Examples
        --------
        >>> import remlax as rx
        >>> fits = rx.lmer_list("mathach ~ minority + ses + (1 | schid)", rx.datasets.hsb_imputed())
        >>> found = fits.pool().emmeans("minority")
        >>> found.means[["minority", "estimate"]].round(2).values.tolist()
        [[0.0, 13.43], [1.0, 10.66]]
        >>> found.differences()[["contrast", "estimate"]].round(2).values.tolist()
        [['0 - 1', 2.77]]
        """
        combos = Combinations(self.selection, self.within, self.conf_level)
        return estimated_means(combos, specs, by, at, weights, type)

    # -- shares of variance ------------------------------------------------------------------------------------------

    def icc(self) -> pd.DataFrame:
        """Intraclass correlation of every grouping factor, pooled on the logit scale.

        The variance t of a factor is that of its random intercept; with random slopes the mean over the rows of
        z'Sigma z. ``adjusted``: t over the sum of all factors' variances and sigma^2. ``unadjusted``: the variance of
        the fixed part counts in the sum, too. ``intercept`` (for factors with random slopes): from the intercepts
        alone, that is where all predictors with random slopes are 0, as mitml prints it. Factors whose terms repeat
        each other, so that their own variances are not identified, have NaN, and a row together (``g + h``).

        Returns
        -------
        pandas.DataFrame
            ``group kind estimate std_error conf_low conf_high scale df riv lambda fmi scaled_estimate scaled_se ubar b
            t n_used mean n_boundary``: ``scaled_estimate`` to ``t`` are logits, ``mean`` is the plain mean over the
            imputations. Imputations where the variance is 0 (``n_boundary``) enter the mean only.

        Warns
        -----
        PoolingWarning
            Imputations on the boundary, by name.

        Notes
        -----
        The variance of a logit within an imputation comes from the exact covariance of the coefficients and the
        variance parameters by the delta method. With weights, sigma^2 is that of an observation of weight 1.

        References
        ----------
        Nakagawa, S., Johnson, P. C. D. and Schielzeth, H. (2017). J. R. Soc. Interface 14, 20170213.

        Examples
        --------
        >>> import remlax as rx
        >>> pooled = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed()).pool()
        >>> pooled.icc()[["kind", "estimate", "conf_low", "conf_high", "mean"]].round(3).values.tolist()
        [['adjusted', 0.115, 0.09, 0.146, 0.115], ['unadjusted', 0.106, 0.083, 0.135, 0.106]]
        """
        return self._marked(icc_table(self.selection, self.conf_level))

    def r2(self, *, n_sims: int = 200, seed: int | None = None) -> pd.DataFrame:
        """Explained variance, pooled.

        ``marginal`` and ``conditional``: share of the variance of the response that the fixed part, and the fixed part
        with the random effects, account for (Nakagawa and Schielzeth; mitml's MVP is the first).
        ``raudenbush-bryk``: proportional reduction of the residual variance and of the intercept variance of each
        factor against the model without predictors; ``snijders-bosker``: that of their sum. The model without
        predictors (an intercept, and one random intercept per factor) is fitted inside.

        Parameters
        ----------
        n_sims : int, default 200
            Responses drawn from the model per imputation. Both models are refitted to them for the standard errors of
            the reductions of variance, which depend on two fits to the same data. 0 leaves the reductions out:
            marginal and conditional R2 need no simulation.
        seed : int, optional
            The same seed gives the same draws.

        Returns
        -------
        pandas.DataFrame
            ``measure level``, then the columns of `icc`. ``mean`` is what mitml's ``multilevelR2`` gives. Marginal and
            conditional R2 are pooled as Fisher's z of the root, reductions as logarithms of the ratio of variances.

        Raises
        ------
        DataError
            ``n_sims`` is neither 0 nor at least 2.

        Warns
        -----
        PoolingWarning
            Imputations on the boundary, by name.

        References
        ----------
        Nakagawa, S. and Schielzeth, H. (2013). Methods Ecol. Evol. 4, 133-142.
        Johnson, P. C. D. (2014). Methods Ecol. Evol. 5, 944-946.
        Raudenbush, S. W. and Bryk, A. S. (2002). Hierarchical Linear Models, 2nd ed. Sage, ch. 4.
        Snijders, T. A. B. and Bosker, R. J. (2012). Multilevel Analysis, 2nd ed. Sage, ch. 7.
        Harel, O. (2009). J. Appl. Stat. 36, 1109-1118.

        Examples
        --------
        >>> import remlax as rx
        >>> pooled = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed()).pool()
        >>> pooled.r2(n_sims=20, seed=1)[["measure", "mean"]].round(3).values.tolist()[:3]
        [['marginal', 0.077], ['conditional', 0.183], ['raudenbush-bryk', 0.055]]
        """
        return self._marked(r2_table(self.selection, self.conf_level, n_sims, seed))

    # -- rows --------------------------------------------------------------------------------------------------------

    def augment(self, *, per_imputation: bool = False) -> pd.DataFrame:
        """Data of the model with pooled fitted values, residuals and influence, one row each.

        Parameters
        ----------
        per_imputation : bool, default False
            Add ``fitted_1``, ..., ``residual_1``, ... with the values of every imputation.

        Returns
        -------
        pandas.DataFrame
            The model's data columns that are the same in all imputations, then the columns of `LmerFit.augment`:
            means over the imputations, and for ``std_error`` the root of the total variance by Rubin's rules.

        Raises
        ------
        DataError
            The data sets have different rows, or a column of one of these names.
        """
        return self._marked(augment_table(self.selection, per_imputation=per_imputation))

    # -- facts -------------------------------------------------------------------------------------------------------

    @property
    def singular_imputations(self) -> list[object]:
        """Labels of the pooled data sets whose fit is singular."""
        return self.selection.singular

    @property
    def failed_imputations(self) -> list[object]:
        """Labels of the data sets whose fit did not converge, pooled or left out."""
        return self.selection.failed

    def glance(self) -> pd.DataFrame:
        """One row of facts about the pooled model."""
        fits = self.selection
        row = {
            "n_imputations": self.n_imputations,
            "nobs": float(np.mean(fits.n_rows)),
            "sigma": float(np.mean(fits.sigma)),
            "criterion": float(np.mean(fits.fitted.criterion[fits.index])),
            "reml": fits.fitted.reml,
            "fmi_max": float(np.nanmax(self.rubin.fmi, initial=0.0)),
            "n_singular": len(fits.singular),
            "n_failed": len(fits.failed),
            "n_dropped": len(fits.dropped),
        }
        return self._marked(pd.DataFrame([row]))

    # -- printing and files ------------------------------------------------------------------------------------------

    def _text(self, form: Form) -> Summary:
        return pooled_text(self.selection, self.rubin, self.df_rule, form)

    def _report(self) -> str:
        return pooled_report(self.selection, self.rubin, self.within, self.df_rule)

    def _report_parts(self) -> ModelParts:
        return pooled_parts(self.selection, self.rubin, self.df_rule)

    def _content(self) -> tuple[str, dict[str, Any]]:
        return type(self).__name__, {
            "stack": stack_tree(self.selection.fitted),
            "lanes": list(self.selection.which),
            "dropped": list(self.selection.dropped),
            "within": within_tree(self.within),
            "dfcom": np.array(self.rubin.dfcom),
            "conf_level": float(self.conf_level),
        }


def pool_selection(fits: Selection, within: CoefficientInference, conf_level: float) -> PooledLmer:
    """Pool fits by Rubin's rules, with complete-data degrees of freedom averaged over them."""
    complete = within.df(np.eye(fits.fitted.beta.shape[1])).mean(axis=0)
    rubin = pool_rubin(fits.beta, within.vcov, dfcom=complete, conf_level=conf_level)
    return PooledLmer(fits, known_pool(rubin, fits.unknown_variance()), within)
