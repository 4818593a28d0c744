"""One fitted model: what lme4 calls a merMod."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..fitting.selection import Selection
from ..hints import Hints
from ..inference.coefficients import coefficient_inference
from ..tables.notes import redundancy_notes
from ..tables.printing import Summary
from ..tables.varcorr import level_counts, varcorr_frame, vcov_frame
from .convergence import OptSummary, opt_summary
from .fit_intervals import FitIntervals
from .fit_rows import FitRows
from .fit_tables import FitTables
from .measures import FitMeasures
from .report import FitReport
from .save import stack_tree
from .text import fit_text
from .toolkit import Toolkit

VcovKind = Literal["model", "kenward-roger", "CR0", "CR2"]


@dataclass(frozen=True, eq=False, repr=False)
class LmerFit(FitTables, FitMeasures, FitRows, FitReport, Toolkit, FitIntervals, Hints):
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
        return pd.Series(self.selection.beta[0], index=self._names, name="estimate")

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
        fits = self.selection
        if kind == "kenward-roger":
            within = coefficient_inference(fits, "kenward-roger", "model", cluster)
        else:
            within = coefficient_inference(fits, "satterthwaite", kind, cluster)
        return vcov_frame(within.vcov[0], self._names)

    def varcorr(self) -> pd.DataFrame:
        """Variances, covariances, SDs and correlations, as lme4's ``as.data.frame(VarCorr(fit))``.

        Returns
        -------
        pandas.DataFrame
            Columns ``group``, ``var1``, ``var2``, ``vcov``, ``sdcor``; the residual comes last. ``attrs["notes"]`` says
            which of them are not identified.
        """
        table = varcorr_frame(self.selection).drop(columns="imp").reset_index(drop=True)
        table.attrs["notes"] = redundancy_notes(self.selection)
        return table

    @property
    def sigma(self) -> float:
        """Residual standard deviation."""
        return float(self.selection.sigma[0])

    @property
    def theta(self) -> np.ndarray:
        """Relative covariance parameters in lme4's order and scale, (d,)."""
        return np.asarray(self.selection.theta[0])

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
        use_reml = self.selection.fitted.reml if reml is None else bool(reml)
        if theta is None and use_reml == self.selection.fitted.reml:
            return float(self.selection.fitted.criterion[self.selection.k])
        d = self.selection.fitted.theta_map.n_theta
        try:
            at = self.theta if theta is None else np.asarray(theta, dtype=float)
        except (TypeError, ValueError):
            raise DataError(f"theta={theta!r} must hold {d} finite numbers, in lme4's order") from None
        if at.shape != (d,) or not np.isfinite(at).all():
            raise DataError(f"theta must hold {d} finite numbers, in lme4's order; it has shape {at.shape}")
        return self.selection.fitted.deviance(self.selection.k, at, reml=use_reml)

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

    # -- facts ---------------------------------------------------------------------------------------------------

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
        return fit_text(self.selection, tests=True, correlations=True)

    def display(self) -> Summary:
        """Print the short form: random effects, groups, coefficients."""
        return fit_text(self.selection, tests=False, correlations=False)

    def __repr__(self) -> str:
        return str(fit_text(self.selection, tests=True, correlations=False))

    def _repr_html_(self) -> str:
        return fit_text(self.selection, tests=True, correlations=False)._repr_html_()

    # -- files ---------------------------------------------------------------------------------------------------

    def _content(self) -> tuple[str, dict[str, Any]]:
        return "LmerFit", {"stack": stack_tree(self.selection.fitted), "lane": self.selection.k}
