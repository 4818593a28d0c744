"""One fitted model: what lme4 calls a merMod."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..fitting.selection import Selection
from ..inference.coefficients import CoefficientInference, Ddf, Vcov, coefficient_inference
from ..names import UnknownNames
from ..predict.residuals import augment_table
from ..tables.coefficients import Combinations, fit_table, known_covariance
from ..tables.confint import ConfintMethod, Profile, confint_tables, make_profiles
from ..tables.constraints import Constraints
from ..tables.emmeans import EstimatedMeans, Scale, estimated_means
from ..tables.modes import Uncertainty
from ..tables.printing import Summary
from ..tables.reference_grid import At, Weights
from ..tables.result_table import ResultTable
from ..tables.shares import icc_table, r2_table
from ..tables.varcorr import level_counts, vcov_frame
from ..tables.variance import Scales
from .convergence import OptSummary, opt_summary
from .marginal import MarginalEffects
from .model_table import ModelParts
from .report import fit_parts, fit_report
from .result import Effects
from .save import stack_tree
from .text import Form, fit_text


@dataclass(frozen=True, eq=False, repr=False)
class LmerFit(MarginalEffects, UnknownNames):
    """A linear mixed model fitted to one data set.

    Made by `lmer`, or taken from an `LmerFitList`.

    Parameters
    ----------
    selection : Selection
        The one fit of a batch that this is.
    """

    selection: Selection

    def _like(self, fits: Selection) -> LmerFit:
        return LmerFit(fits)

    def _within(self, ddf: Ddf | npt.ArrayLike, vcov: Vcov, cluster: str | None) -> CoefficientInference:
        return coefficient_inference(self.selection, ddf, vcov, cluster)

    def _inference(self) -> tuple[CoefficientInference, float]:
        return coefficient_inference(self.selection, "satterthwaite"), 0.95

    # -- estimates ---------------------------------------------------------------------------------------------------

    def vcov(
        self,
        *,
        vcov: Vcov = "model",
        cluster: str | None = None,
        ddf: Ddf | npt.ArrayLike = "satterthwaite",
    ) -> pd.DataFrame:
        """Covariance matrix of the fixed-effect coefficients, (p, p).

        Parameters
        ----------
        vcov, cluster, ddf
            As in `tidy`: the model's covariance, a cluster-robust one, or with ``ddf="kenward-roger"`` an adjusted one.
        """
        found = self._within(ddf, vcov, cluster).vcov[0]
        return vcov_frame(known_covariance(found, self.selection.unknown_variance()), self._names)

    @property
    def sigma(self) -> float:
        """Residual standard deviation."""
        return float(self.selection.sigma[0])

    # -- criterion ---------------------------------------------------------------------------------------------------

    def criterion(self, theta: npt.ArrayLike | None = None, reml: bool | None = None) -> float:
        """REML criterion or ML deviance; with a prior (``cov_prior=``) without the penalty.

        Parameters
        ----------
        theta : array_like (d,), optional
            Where to evaluate it, in lme4's order and scale; at the optimum by default.
        reml : bool, optional
            Which of the two; the one that was optimised by default.

        Raises
        ------
        DataError
            theta has the wrong length or holds values that are not finite.
        """
        fitted, k = self.selection.fitted, self.selection.k
        use_reml = fitted.reml if reml is None else bool(reml)
        if theta is None and use_reml == fitted.reml:
            return float(fitted.criterion[k])
        d = fitted.theta_map.n_theta
        try:
            at = self.theta if theta is None else np.asarray(theta, dtype=float)
        except (TypeError, ValueError):
            raise DataError(f"theta={theta!r} must hold {d} finite numbers, in lme4's order") from None
        if at.shape != (d,) or not np.isfinite(at).all():
            raise DataError(f"theta must hold {d} finite numbers, in lme4's order; it has shape {at.shape}")
        return fitted.deviance(k, at, reml=use_reml)

    @property
    def loglik(self) -> float:
        """Log-likelihood at the optimum (the REML one for a REML fit, as in lme4)."""
        return -self.criterion() / 2

    @property
    def n_parameters(self) -> int:
        """Fixed coefficients, theta and sigma together; without those that random terms repeat."""
        return self.selection.fitted.n_parameters(self.selection.k)

    @property
    def aic(self) -> float:
        """Akaike's information criterion."""
        return self.criterion() + 2 * self.n_parameters

    @property
    def bic(self) -> float:
        """Schwarz's criterion, with log(nobs) as in lme4."""
        return self.criterion() + float(np.log(self.nobs)) * self.n_parameters

    # -- facts -------------------------------------------------------------------------------------------------------

    @property
    def reml(self) -> bool:
        """Whether REML was used."""
        return self.selection.fitted.reml

    @property
    def nobs(self) -> int:
        """Rows in the model."""
        return self.selection.n_rows[0]

    @property
    def ngrps(self) -> dict[str, int]:
        """Levels of each grouping factor that occur in this data set."""
        return level_counts(self.selection)

    @property
    def is_singular(self) -> bool:
        """lme4's isSingular(tol = 1e-4), for random-effects columns scaled to unit root mean square."""
        return bool(self.selection.fitted.singular[self.selection.k])

    @property
    def converged(self) -> bool:
        """Whether the optimum is certified: Newton decrement at most 1e-8 and no negative curvature."""
        return bool(self.selection.fitted.converged[self.selection.k])

    @property
    def opt(self) -> OptSummary:
        """How the optimisation went."""
        return opt_summary(self.selection)

    # -- tables ------------------------------------------------------------------------------------------------------

    def glance(self) -> pd.DataFrame:
        """One row of facts: criterion, log-likelihood, AIC, BIC, sigma, n, convergence, singularity."""
        row = {name: getattr(self, name) for name in ("nobs", "sigma", "loglik")}
        row |= {"criterion": self.criterion(), "aic": self.aic, "bic": self.bic}
        row |= {"df_residual": self.nobs - self.n_parameters, "reml": self.reml, "converged": self.converged}
        return pd.DataFrame([row | {"singular": self.is_singular, "status": self.opt.status}])

    def tidy(
        self,
        effects: Effects = "fixed",
        *,
        conf_level: float = 0.95,
        ddf: Ddf | npt.ArrayLike = "satterthwaite",
        scales: Scales = "sdcor",
        uncertainty: Uncertainty = "conditional",
        vcov: Vcov = "model",
        cluster: str | None = None,
    ) -> ResultTable:
        """Estimates as a table, one row each, with broom.mixed's column names (underscores for dots).

        Parameters
        ----------
        effects : {"fixed", "ran_pars", "ran_vals", "ran_coefs"}, default "fixed"
            Coefficients; SDs and correlations; conditional modes; coefficient plus mode per level.
        conf_level : float, default 0.95
        ddf : {"satterthwaite", "kenward-roger", "residual"}, float or array_like (p,), default "satterthwaite"
            (Complete-data) degrees of freedom of the coefficients; ``math.inf`` for z tests. Kenward-Roger's come with
            an adjusted covariance.
        scales : {"sdcor", "vcov"}, default "sdcor"
            For ``ran_pars``: SDs and correlations, or variances and covariances. Standard errors come from the exact
            Hessian of the unprofiled deviance by the delta method, limits from the log and Fisher-z scales. On the
            boundary, and where a parameter is not identified, both are NaN.
        uncertainty : {"conditional", "prediction"}, default "conditional"
            For ``ran_vals``: the conditional variance given beta and theta (lme4's ``condVar``), or Henderson's
            prediction error variance, which adds the uncertainty of beta. That of ``ran_coefs`` always counts beta,
            its covariance with the modes included.
        vcov : {"model", "CR0", "CR2"}, default "model"
            For ``fixed``: standard errors of the model, or cluster-robust ones: Liang and Zeger's (CR0), or with Bell
            and McCaffrey's correction (CR2); their df are Satterthwaite's for the sandwich (Bell and McCaffrey).
        cluster : str, optional
            Clusters of a robust covariance: a grouping factor or a column of the data; the outermost grouping factor by
            default.

        Returns
        -------
        ResultTable
            ``attrs["notes"]`` says what is special about the fit.

        References
        ----------
        Bell, R. M. and McCaffrey, D. F. (2002). Survey Methodology 28, 169-181.
        Kenward, M. G. and Roger, J. H. (1997). Biometrics 53, 983-997.
        Pustejovsky, J. E. and Tipton, E. (2018). J. Bus. Econ. Stat. 36, 672-683.
        Henderson, C. R. (1975). Biometrics 31, 423-447.
        """
        if effects == "fixed":
            return self._coefficients(fit_table(self.selection, self._within(ddf, vcov, cluster), conf_level))
        return self._random(effects, conf_level, scales, uncertainty)

    def confint(
        self,
        method: ConfintMethod = "wald",
        *,
        conf_level: float = 0.95,
        ddf: Ddf | npt.ArrayLike = "satterthwaite",
        n_sims: int = 1000,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Confidence limits of all parameters: SDs, correlations, sigma and coefficients.

        Parameters
        ----------
        method : {"wald", "profile", "boot"}, default "wald"
            ``wald``: from standard errors, on the log scale for SDs and Fisher's z for correlations (NaN on the
            boundary). ``profile``: where the ML deviance has risen by the quantile of chi-square (lme4's default).
            ``boot``: percentiles over refits to responses drawn from the fit. What is not identified has no limits of
            any kind.
        conf_level : float, default 0.95
        ddf : str, float or array_like (p,), default "satterthwaite"
            For ``wald``: as in `tidy`.
        n_sims : int, default 1000
            For ``boot``: refits.
        seed : int, optional
            For ``boot``: the same seed gives the same limits.

        Returns
        -------
        pandas.DataFrame
            ``effect group term estimate conf_low conf_high``. The estimates of ``profile`` are those of maximum
            likelihood, also for a REML fit, as in lme4. ``boot`` adds ``n_defined``, the refits in which the parameter
            has a value (a correlation beside a zero SD has none); ``attrs`` holds ``n_sims``, ``n_failed``,
            ``n_singular`` and ``seed``.

        Raises
        ------
        DataError
            An unknown method, a level outside (0, 1), or a fit that did not converge.

        Warns
        -----
        ConvergenceWarning
            Limits that a profile did not reach; refits that failed.

        References
        ----------
        Bates, D., Maechler, M., Bolker, B. and Walker, S. (2015). J. Stat. Softw. 67(1), sec. 5.1.
        Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application. Cambridge, ch. 5.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> fit.confint("profile").set_index("term").loc["Days", ["conf_low", "conf_high"]].round(2).tolist()
        [7.36, 13.58]
        """
        return confint_tables(self.selection, method, conf_level, ddf, n_sims, seed)[0]

    def profile(self, *, conf_level: float = 0.95) -> Profile:
        """Profile the likelihood over every parameter.

        Parameters
        ----------
        conf_level : float, default 0.95
            Level around whose limits the values lie most densely.

        Returns
        -------
        Profile
            Its ``table`` holds values and zeta to draw; ``confint()`` gives limits (source: as there).

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Yield ~ 1 + (1 | Batch)", rx.datasets.dyestuff())
        >>> fit.profile().confint(0.9)[["term", "conf_low", "conf_high"]].round(1).values.tolist()
        [['sd__Intercept', 16.7, 72.9], ['sd__Observation', 39.7, 64.1], ['Intercept', 1494.8, 1560.2]]
        """
        return make_profiles(self.selection, conf_level)[0]

    # -- contrasts, tests and means ----------------------------------------------------------------------------------

    def contrast(
        self,
        L: Constraints,
        names: Sequence[str] | None = None,
        *,
        conf_level: float = 0.95,
        ddf: Ddf | npt.ArrayLike = "satterthwaite",
        vcov: Vcov = "model",
        cluster: str | None = None,
    ) -> ResultTable:
        """Linear combinations of the coefficients; see `PooledLmer.contrast`, and `tidy` for the options.

        Returns
        -------
        ResultTable
            The columns of ``tidy("fixed")``.
        """
        linear = self._linear(L, None, names)
        return self._contrasted(self._within(ddf, vcov, cluster), linear, conf_level)

    def test(
        self,
        constraints: Constraints,
        q0: npt.ArrayLike | None = None,
        *,
        ddf: Ddf | npt.ArrayLike = "satterthwaite",
        vcov: Vcov = "model",
        cluster: str | None = None,
    ) -> ResultTable:
        """F test of linear hypotheses about the coefficients.

        Parameters
        ----------
        constraints, q0
            As in `PooledLmer.test`.
        ddf : {"satterthwaite", "kenward-roger", "residual"}, float or array_like (p,), default "satterthwaite"
            Denominator degrees of freedom; Satterthwaite's are those of lmerTest's ``contest``. Kenward-Roger's F is
            scaled as pbkrtest's.
        vcov, cluster
            Covariance of the coefficients, as in `tidy`. A robust one is tested as Hotelling's T^2 with approximate
            degrees of freedom (Pustejovsky and Tipton 2018, their HTZ).

        Returns
        -------
        ResultTable
            One row: ``hypothesis statistic df1 df2 p_value method``.

        Raises
        ------
        FormulaError, DataError
            The hypotheses cannot be read, or depend on each other.

        References
        ----------
        Kuznetsova, A., Brockhoff, P. B. and Christensen, R. H. B. (2017). J. Stat. Softw. 82(13), sec. 3.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> fit.test("Days")[["statistic", "df2"]].round(2).values.tolist()
        [[45.85, 17.0]]
        """
        within = self._within(ddf, vcov, cluster)
        return self._tested(within, self._linear(constraints, q0, joint=True))

    def emmeans(
        self,
        specs: str | Sequence[str],
        *,
        by: str | Sequence[str] | None = None,
        at: At | None = None,
        weights: Weights = "equal",
        type: Scale = "model",  # noqa: A002
        conf_level: float = 0.95,
        ddf: Ddf | npt.ArrayLike = "satterthwaite",
        vcov: Vcov = "model",
        cluster: str | None = None,
    ) -> EstimatedMeans:
        """Estimated marginal means over a reference grid, as R's emmeans.

        Parameters
        ----------
        specs : str or sequence of str
            Factors whose (combinations of) levels get a mean.
        by : str or sequence of str, optional
            Factors within whose levels means are compared.
        at : dict, optional
            Values of variables in the grid. By default: all categories of a factor; both values of a covariate that has
            two; the mean of any other covariate. An offset stands at its mean.
        weights : {"equal", "proportional"}, default "equal"
            How the combinations of the variables averaged over count: all the same, or as many rows as the data have of
            their categories, as R's emmeans does it under that name. Prior weights do not count.
        type : {"model", "response"}, default "model"
            ``"response"``: means of a transformed response, such as ``log(y)`` or ``-1000 / y``, on the scale of y:
            estimates and limits transformed back, standard errors by the delta method.
        conf_level : float, default 0.95
        ddf, vcov, cluster
            As in `tidy`.

        Returns
        -------
        EstimatedMeans
            Its ``means`` are a table; ``differences(adjust=)`` compares them. NaN for a mean that the data do not
            determine, such as that of an empty cell.

        Raises
        ------
        DataError
            A name is no variable of the fixed part, or a category is not in the data; ``type="response"`` where the
            way back from the response is not known.

        Warns
        -----
        RankDeficientWarning
            A mean cannot be estimated; the message names it.

        References
        ----------
        Searle, S. R., Speed, F. M. and Milliken, G. A. (1980). Am. Stat. 34, 216-221.
        Lenth, R. V. (2022). emmeans. R package version 1.8.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("mathach ~ ses + female + (1 | schid)", rx.datasets.hsb())
        >>> fit.emmeans("female").means[["female", "estimate"]].round(2).values.tolist()
        [[0.0, 13.28], [1.0, 12.09]]
        """
        combos = Combinations(self.selection, self._within(ddf, vcov, cluster), conf_level)
        return estimated_means(combos, specs, by, at, weights, type)

    # -- shares of variance ------------------------------------------------------------------------------------------

    def icc(self, *, conf_level: float = 0.95) -> pd.DataFrame:
        """Intraclass correlation of every grouping factor; see `PooledLmer.icc`.

        Returns
        -------
        pandas.DataFrame
            ``group kind estimate std_error conf_low conf_high scale``. On the boundary there is no standard error.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("mathach ~ ses + (1 | schid)", rx.datasets.hsb())
        >>> fit.icc()[["kind", "estimate", "conf_low", "conf_high"]].round(3).values.tolist()
        [['adjusted', 0.114, 0.089, 0.145], ['unadjusted', 0.105, 0.082, 0.134]]
        """
        return self._marked(icc_table(self.selection, conf_level))

    def r2(self, *, conf_level: float = 0.95, n_sims: int = 200, seed: int | None = None) -> pd.DataFrame:
        """Explained variance; see `PooledLmer.r2`.

        Returns
        -------
        pandas.DataFrame
            ``measure level estimate std_error conf_low conf_high scale``.
        """
        return self._marked(r2_table(self.selection, conf_level, n_sims, seed))

    # -- rows, printing and files -----------------------------------------------------------------------------------

    def augment(self) -> pd.DataFrame:
        """Data of the model with fitted values, residuals and influence, one row each.

        Returns
        -------
        pandas.DataFrame
            The columns of the data that the model uses, then ``fitted``; ``fixed`` (X beta + offset); ``residual``;
            ``scaled_residual``; ``std_error`` of the fitted value, coefficients and modes together; ``hat``, the
            leverage; ``cooks_d``, Cook's distance. Names are broom.mixed's without the dot.

        Raises
        ------
        DataError
            The data have a column of one of these names.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> fit.augment()[["Days", "fitted", "hat"]].round(3).head(2).values.tolist()
        [[0.0, 253.664, 0.229], [1.0, 273.33, 0.17]]
        """
        return augment_table(self.selection)

    def _text(self, form: Form) -> Summary:
        return fit_text(self.selection, form)

    def _report(self) -> str:
        return fit_report(self.selection)

    def _report_parts(self) -> ModelParts:
        return fit_parts(self.selection)

    def _content(self) -> tuple[str, dict[str, Any]]:
        return type(self).__name__, {"stack": stack_tree(self.selection.fitted), "lane": self.selection.k}
