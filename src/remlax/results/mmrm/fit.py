"""One mixed model for repeated measures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...errors import DataError
from ...fitting.selection import Selection
from ...inference.coefficients import CoefficientInference, Vcov
from ...inference.mmrm.choice import MmrmDdf, mmrm_fitted, mmrm_inference
from ...predict.mmrm_rows import mmrm_augment_table
from ...tables.checks import checks
from ...tables.coefficients import fit_table
from ...tables.confint import ConfintMethod, confint_tables
from ...tables.printing import Summary
from ...tables.result_table import ResultTable, result_table
from ...tables.varcorr import vcov_frame
from ..convergence import OptSummary, opt_summary
from ..fit import LmerFit
from ..model_table import ModelParts
from ..text import Form
from .covariance import residual_covariance_frame, sas_table, sd_and_correlation_table
from .rows import COVARIANCES, MmrmResult
from .words import mmrm_fit_parts, mmrm_fit_report, mmrm_fit_text, patient_counts

EFFECTS = ("fixed", "ran_pars")
NO_LEVELS = "a mixed model for repeated measures has 'fixed' (coefficients) and 'ran_pars' (SDs and correlations)"


@dataclass(frozen=True, eq=False, repr=False)
class MmrmFit(MmrmResult, LmerFit):
    """A mixed model for repeated measures fitted to one data set.

    Made by `mmrm`, or taken from a `MmrmFitList`. What it has in common with `LmerFit` has the same name: `contrast`,
    `test`, `emmeans` and others, whose ``ddf`` may be ``"kenward-roger-second"`` here as in `tidy`.
    """

    _fitted_by = "rx.mmrm"

    def _like(self, fits: Selection) -> MmrmFit:
        return MmrmFit(fits)

    def _within(
        self, ddf: MmrmDdf | npt.ArrayLike, vcov: Vcov = "model", cluster: str | None = None
    ) -> CoefficientInference:
        return mmrm_inference(self.selection, ddf, vcov, cluster)

    # -- facts -------------------------------------------------------------------------------------------------------

    @property
    def structure(self) -> str:
        """Covariance structure, as the formula names it."""
        return mmrm_fitted(self.selection).covariance_term.structure

    @property
    def visits(self) -> list[str]:
        """Visits in their order."""
        return list(mmrm_fitted(self.selection).visits.names)

    @property
    def ngrps(self) -> dict[str, int]:
        """Patients in this data set."""
        return {mmrm_fitted(self.selection).covariance_term.patient: patient_counts(self.selection)[0]}

    @property
    def sigma(self) -> NoReturn:
        """Refused: every visit may have its own variance."""
        raise DataError(f"sigma: every visit may have its own variance; {COVARIANCES}")

    @property
    def is_singular(self) -> bool:
        """Whether visits determine each other (least eigenvalue of their correlations below 1e-6), or are unseen."""
        return bool(self.selection.fitted.singular[self.selection.k])

    @property
    def opt(self) -> OptSummary:
        """How the optimisation went; ``theta`` holds the unconstrained covariance parameters of the scaled response."""
        found = opt_summary(self.selection)
        return replace(found, theta0=np.full_like(found.theta, np.nan))

    # -- criterion ---------------------------------------------------------------------------------------------------

    def criterion(self, theta: npt.ArrayLike | None = None, reml: bool | None = None) -> float:
        """REML criterion or ML deviance at the optimum, with all constants (-2 log L).

        Raises
        ------
        DataError
            Another place or the other criterion is asked for.
        """
        if theta is not None or reml is not None:
            raise DataError("criterion() of a mixed model for repeated measures is at its optimum: give no argument")
        return float(self.selection.fitted.criterion[self.selection.k])

    @property
    def n_parameters(self) -> int:
        """Coefficients and covariance parameters together."""
        return self.selection.fitted.n_parameters(self.selection.k)

    @property
    def _n_counted(self) -> int:
        """Parameters that AIC and BIC count."""
        fitted = mmrm_fitted(self.selection)
        return fitted.structure.n_parameters if self.reml else self.n_parameters

    @property
    def aic(self) -> float:
        """Akaike's information criterion as SAS PROC MIXED has it.

        Under REML it counts the covariance parameters alone (nlme adds the coefficients, 2 p), under maximum likelihood
        all.
        """
        return self.criterion() + 2 * self._n_counted

    @property
    def bic(self) -> float:
        """Schwarz's criterion with the parameters of `aic` and the logarithm of the number of patients, as SAS."""
        return self.criterion() + float(np.log(patient_counts(self.selection)[0])) * self._n_counted

    # -- covariance of the visits ------------------------------------------------------------------------------------

    def residual_covariance(self) -> pd.DataFrame:
        """Covariance matrix of the visits, (T, T); of several groups one below the other, (groups T, T).

        Examples
        --------
        >>> import remlax as rx
        >>> data = rx.datasets.sleepstudy().query("Days < 3")
        >>> rx.mmrm("Reaction ~ Days + ar1(Days | Subject)", data).residual_covariance().shape
        (3, 3)
        """
        return residual_covariance_frame(self.selection)

    def residual_correlation(self) -> pd.DataFrame:
        """Correlations of the visits, in the shape of `residual_covariance`."""
        return residual_covariance_frame(self.selection, correlation=True)

    def covariance_parameters(self) -> pd.DataFrame:
        """Covariance parameters in the form in which SAS PROC MIXED prints them.

        Returns
        -------
        pandas.DataFrame
            ``group term estimate std_error``: variances, and covariances (us, cs, toep) or correlations. Standard
            errors are from the observed information.
        """
        return self._marked(sas_table(self.selection))

    # -- tables ------------------------------------------------------------------------------------------------------

    def glance(self) -> pd.DataFrame:
        """One row of facts: criterion, log-likelihood, AIC, BIC, rows and patients, convergence, singularity."""
        row: dict[str, Any] = {"nobs": self.nobs, "n_patients": patient_counts(self.selection)[0]}
        row |= {"structure": self.structure, "loglik": self.loglik, "criterion": self.criterion()}
        row |= {"aic": self.aic, "bic": self.bic, "reml": self.reml, "converged": self.converged}
        return pd.DataFrame([row | {"singular": self.is_singular, "status": self.opt.status}])

    def vcov(
        self, *, vcov: Vcov = "model", cluster: str | None = None, ddf: MmrmDdf | npt.ArrayLike = "satterthwaite"
    ) -> pd.DataFrame:
        """Covariance matrix of the coefficients, (p, p).

        Parameters
        ----------
        vcov, cluster, ddf
            As in `tidy`: the model's covariance, an empirical one, or an adjusted one.
        """
        return vcov_frame(self._within(ddf, vcov, cluster).vcov[0], self._names)

    def tidy(  # type: ignore[override]
        self,
        effects: str = "fixed",
        *,
        conf_level: float = 0.95,
        ddf: MmrmDdf | npt.ArrayLike = "satterthwaite",
        vcov: Vcov = "model",
        cluster: str | None = None,
    ) -> ResultTable:
        """Estimates as a table, one row each.

        Parameters
        ----------
        effects : {"fixed", "ran_pars"}, default "fixed"
            Coefficients; or SDs and correlations of the visits, whose limits come from the log and Fisher-z scales.
        conf_level : float, default 0.95
        ddf : {"satterthwaite", "kenward-roger", "kenward-roger-second", "residual"}, float or array_like (p,)
            Degrees of freedom of the coefficients. Kenward-Roger's come with an adjusted covariance: without second
            derivatives of the covariance matrix, which does not depend on its parameters (SAS's
            ``ddfm=kr(linear)``, the mmrm package's "Kenward-Roger-Linear"), or with those in SAS's parameters
            (``ddfm=kr``). Both use the observed information.
        vcov : {"model", "CR0", "CR2"}, default "model"
            Covariance of the model, or empirical ones over patients: Liang and Zeger's (CR0), or with Bell and
            McCaffrey's correction (CR2).
        cluster : str, optional
            Clusters of an empirical covariance, by default the patients.

        Returns
        -------
        ResultTable

        References
        ----------
        Kenward, M. G. and Roger, J. H. (1997). Biometrics 53, 983-997.
        Giesbrecht, F. G. and Burns, J. C. (1985). Biometrics 41, 477-486.
        """
        if effects not in EFFECTS:
            raise DataError(f"effects={effects!r}: {NO_LEVELS}")
        if effects == "ran_pars":
            return result_table(self._marked(sd_and_correlation_table(self.selection, conf_level)))
        checks.level(conf_level)
        return self._coefficients(fit_table(self.selection, self._within(ddf, vcov, cluster), conf_level))

    def confint(
        self,
        method: ConfintMethod = "wald",
        *,
        conf_level: float = 0.95,
        ddf: MmrmDdf | npt.ArrayLike = "satterthwaite",
        n_sims: int = 1000,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Confidence limits of all parameters: SDs and correlations of the visits, and coefficients.

        Parameters
        ----------
        method : {"wald", "profile", "boot"}, default "wald"
            ``wald``: from standard errors, on the log scale for SDs and Fisher's z for correlations. ``profile``: where
            the ML deviance has risen by the quantile of chi-square. ``boot``: percentiles over refits to responses
            drawn from the fit, visits that were not observed staying so.
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
            likelihood, also for a REML fit, as of `lmer`. ``boot`` adds what `LmerFit.confint` says.

        Raises
        ------
        DataError
            An unknown method, a level outside (0, 1), a fit that did not converge, or a profile of a singular one.

        Warns
        -----
        ConvergenceWarning
            Limits that a profile did not reach; refits that failed.

        Examples
        --------
        >>> import remlax as rx
        >>> data = rx.datasets.sleepstudy().query("Days < 3")
        >>> fit = rx.mmrm("Reaction ~ Days + ar1h(Days | Subject)", data)
        >>> fit.confint("profile").set_index("term").loc["cor", ["conf_low", "conf_high"]].round(2).tolist()
        [0.55, 0.88]
        """
        if method != "wald":
            return self._marked(confint_tables(self.selection, method, conf_level, "satterthwaite", n_sims, seed)[0])
        columns = ["effect", "group", "term", "estimate", "conf_low", "conf_high"]
        random = self.tidy("ran_pars", conf_level=conf_level).assign(effect="ran_pars")
        fixed = self.tidy(conf_level=conf_level, ddf=ddf).assign(effect="fixed", group="")
        return self._marked(pd.concat([pd.DataFrame(part)[columns] for part in (random, fixed)], ignore_index=True))

    def augment(self) -> pd.DataFrame:
        """Data of the model with fitted means and residuals, one row for each observed visit.

        Returns
        -------
        pandas.DataFrame
            The columns of the data that the model uses, then ``fitted`` (X beta + offset) with its ``std_error``, and
            the three types of `residuals`: ``residual``, ``pearson_residual`` and ``normalized_residual``. Leverages
            and Cook's distances are of models with one residual variance.

        Raises
        ------
        DataError
            The data have a column of one of these names.

        Examples
        --------
        >>> import remlax as rx
        >>> data = rx.datasets.sleepstudy().query("Days < 3")
        >>> rx.mmrm("Reaction ~ Days + ar1(Days | Subject)", data).augment().columns[3:].tolist()
        ['fitted', 'std_error', 'residual', 'pearson_residual', 'normalized_residual']
        """
        return mmrm_augment_table(self.selection)

    def _text(self, form: Form) -> Summary:
        return mmrm_fit_text(self.selection, form)

    def _report(self) -> str:
        return mmrm_fit_report(self.selection)

    def _report_parts(self) -> ModelParts:
        return mmrm_fit_parts(self.selection)
