"""One fitted model: what lme4 calls a merMod."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..fitting.fit import Fitted
from ..inference.coefficients import coefficient_inference
from ..names import UnknownNames
from .files import stack_tree
from .fit_intervals import FitIntervals
from .fit_print import fit_text
from .fit_rows import FitRows
from .fit_tables import FitTables
from .measures import FitMeasures
from .opt import OptSummary, opt_summary
from .printing import Summary
from .redundancy_words import redundancy_notes
from .report import FitReport
from .tables import level_counts, varcorr_frame, vcov_frame
from .toolkit import Toolkit

VcovKind = Literal["model", "kenward-roger", "CR0", "CR2"]


@dataclass(frozen=True, eq=False, repr=False)
class LmerFit(FitTables, FitMeasures, FitRows, FitReport, Toolkit, FitIntervals, UnknownNames):
    """A linear mixed model fitted to one data set.

    Made by `lmer`, or taken from an `LmerFitList`.

    Parameters
    ----------
    fitted_stack : Fitted
        The stack that this fit is a lane of.
    lane : int
    """

    fitted_stack: Fitted
    lane: int

    @property
    def _own_lanes(self) -> tuple[int, ...]:
        return (self.lane,)

    def _like(self, fitted: Fitted, lanes: tuple[int, ...]) -> LmerFit:
        return LmerFit(fitted, lanes[0])

    # -- estimates ---------------------------------------------------------------------------------------------

    def fixef(self) -> pd.Series[float]:
        """Fixed-effect coefficients, indexed by term.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> fit.fixef().round(3).to_dict()
        {'Intercept': 251.405, 'Days': 10.467}
        """
        return pd.Series(self.fitted_stack.beta[self.lane], index=self._names, name="estimate")

    def vcov(self, kind: VcovKind = "model", *, cluster: str | None = None) -> pd.DataFrame:
        """Covariance matrix of the fixed-effect coefficients, (p, p).

        Parameters
        ----------
        kind : {"model", "kenward-roger", "CR0", "CR2"}, default "model"
            The model's, Kenward and Roger's adjusted one, or a cluster-robust one; see `tidy`.
        cluster : str, optional
            Clusters of a robust covariance.

        Raises
        ------
        DataError
            As `tidy`.
        """
        stack, lanes = self.fitted_stack, (self.lane,)
        if kind == "kenward-roger":
            within = coefficient_inference(stack, lanes, "kenward-roger", "model", cluster)
        else:
            within = coefficient_inference(stack, lanes, "satterthwaite", kind, cluster)
        return vcov_frame(within.vcov[0], self._names)

    def varcorr(self) -> pd.DataFrame:
        """Variances, covariances, SDs and correlations, as lme4's ``as.data.frame(VarCorr(fit))``.

        Returns
        -------
        pandas.DataFrame
            Columns ``group``, ``var1``, ``var2``, ``vcov``, ``sdcor``; the residual comes last. ``attrs["notes"]`` says
            which of them are not identified.
        """
        table = varcorr_frame(self.fitted_stack, [self.lane]).drop(columns="imp").reset_index(drop=True)
        table.attrs["notes"] = redundancy_notes(self.fitted_stack, [self.lane])
        return table

    @property
    def sigma(self) -> float:
        """Residual standard deviation."""
        return float(self.fitted_stack.sigma[self.lane])

    @property
    def theta(self) -> np.ndarray:
        """Relative covariance parameters in lme4's order and scale, (d,)."""
        return np.array(self.fitted_stack.theta[self.lane])

    # -- criterion ---------------------------------------------------------------------------------------------

    def criterion(self, theta: npt.ArrayLike | None = None, reml: bool | None = None) -> float:
        """REML criterion or ML deviance.

        Parameters
        ----------
        theta : array_like (d,), optional
            Where to evaluate it, in lme4's order and scale; at the optimum by default.
        reml : bool, optional
            Which of the two; the one that was optimised by default.

        Returns
        -------
        float

        Raises
        ------
        DataError
            theta has the wrong length or holds values that are not finite.
        """
        use_reml = self.fitted_stack.reml if reml is None else bool(reml)
        if theta is None and use_reml == self.fitted_stack.reml:
            return float(self.fitted_stack.criterion[self.lane])
        d = self.fitted_stack.theta_map.n_theta
        try:
            at = self.theta if theta is None else np.asarray(theta, dtype=float)
        except (TypeError, ValueError):
            raise DataError(f"theta={theta!r} must hold {d} finite numbers, in lme4's order") from None
        if at.shape != (d,) or not np.isfinite(at).all():
            raise DataError(f"theta must hold {d} finite numbers, in lme4's order; it has shape {at.shape}")
        return self.fitted_stack.deviance(self.lane, at, reml=use_reml)

    @property
    def loglik(self) -> float:
        """Log-likelihood at the optimum (the REML one for a REML fit, as in lme4)."""
        return -self.criterion() / 2

    @property
    def n_parameters(self) -> int:
        """Fixed coefficients, theta and sigma together; without those that random terms repeat."""
        return self.fitted_stack.n_parameters(self.lane)

    @property
    def aic(self) -> float:
        """Akaike's information criterion."""
        return self.criterion() + 2 * self.n_parameters

    @property
    def bic(self) -> float:
        """Schwarz's criterion, with log(nobs) as in lme4."""
        return self.criterion() + float(np.log(self.nobs)) * self.n_parameters

    # -- facts ---------------------------------------------------------------------------------------------------

    @property
    def reml(self) -> bool:
        """Whether REML was used."""
        return self.fitted_stack.reml

    @property
    def nobs(self) -> int:
        """Rows in the model."""
        return self.fitted_stack.model.rows.n_rows(self.lane)

    @property
    def ngrps(self) -> dict[str, int]:
        """Levels of each grouping factor that occur in this data set."""
        return level_counts(self.fitted_stack, self.lane)

    @property
    def is_singular(self) -> bool:
        """lme4's isSingular(tol = 1e-4), for random-effects columns scaled to unit root mean square."""
        return bool(self.fitted_stack.singular[self.lane])

    @property
    def converged(self) -> bool:
        """Whether the optimum is certified: Newton decrement at most 1e-8 and no negative curvature."""
        return bool(self.fitted_stack.converged[self.lane])

    @property
    def opt(self) -> OptSummary:
        """How the optimisation went."""
        return opt_summary(self.fitted_stack, self.lane)

    # -- tables --------------------------------------------------------------------------------------------------

    def glance(self) -> pd.DataFrame:
        """One row of facts: criterion, log-likelihood, AIC, BIC, sigma, n, convergence, singularity."""
        return pd.DataFrame(
            {
                "nobs": [self.nobs],
                "sigma": self.sigma,
                "loglik": self.loglik,
                "criterion": self.criterion(),
                "aic": self.aic,
                "bic": self.bic,
                "df_residual": self.nobs - self.n_parameters,
                "reml": self.reml,
                "converged": self.converged,
                "singular": self.is_singular,
                "status": self.opt.status,
            }
        )

    # -- printing ------------------------------------------------------------------------------------------------

    def summary(self) -> Summary:
        """Print what lme4's summary() prints, in its order.

        Returns
        -------
        Summary
            Text that shows itself at the prompt and in notebooks.
        """
        return fit_text(self.fitted_stack, self.lane, tests=True, correlations=True)

    def display(self) -> Summary:
        """Print the short form: random effects, groups, coefficients."""
        return fit_text(self.fitted_stack, self.lane, tests=False, correlations=False)

    def __repr__(self) -> str:
        return str(fit_text(self.fitted_stack, self.lane, tests=True, correlations=False))

    def _repr_html_(self) -> str:
        return fit_text(self.fitted_stack, self.lane, tests=True, correlations=False)._repr_html_()

    # -- files ---------------------------------------------------------------------------------------------------

    def _content(self) -> tuple[str, dict[str, Any]]:
        return "LmerFit", {"stack": stack_tree(self.fitted_stack), "lane": self.lane}
