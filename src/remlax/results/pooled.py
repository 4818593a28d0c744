"""The pooled model: what mice calls a mipo object, with everything around the coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..fitting.selection import Selection
from ..hints import Hints
from ..inference.coefficients import CoefficientInference, Ddf, GivenDf, Vcov, coefficient_inference
from ..pooling import RubinPool, pool_rubin
from ..tables.printing import Summary
from ..tables.usable import OnFailure, choose_fits
from ..tables.varcorr import factor_columns, factors_in_order, varcorr_frame, without_effects
from .measures import PooledMeasures
from .pooled_inference import PooledInference
from .pooled_means import PooledMeans
from .pooled_rows import PooledRows
from .report import PooledReport
from .save import stack_tree, within_tree
from .text import pooled_text
from .toolkit import Toolkit

_COMPARE = "not pooled: fits.glance() has one per data set; rx.anova(fits, smaller_fits, method='D4') compares models"
# what only single fits have
_NOT_POOLED = {
    **dict.fromkeys(("aic", "bic", "loglik", "llf", "deviance", "remlcrit", "criterion"), _COMPARE),
    **dict.fromkeys(("sigma", "scale"), "pooled.glance()['sigma'], or pooled.tidy('ran_pars') with limits"),
    "confint": "pooled.confint() for the coefficients, pooled.tidy('ran_pars') for SDs and correlations",
    "nobs": "pooled.glance()['nobs']",
    "ngrps": "fits[0].ngrps",
    "converged": "fits.convergence()",
    "issingular": "fits.convergence()",
}


@dataclass(frozen=True, eq=False, repr=False)
class PooledLmer(PooledInference, PooledMeasures, PooledRows, PooledReport, Toolkit, PooledMeans, Hints):
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
    _own_hints = _NOT_POOLED

    def _like(self, fits: Selection) -> PooledLmer:
        dfcom = self.rubin.dfcom if isinstance(self.within, GivenDf) else "satterthwaite"
        return pool_selection(fits, coefficient_inference(fits, dfcom), self.rubin.conf_level)

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
    def theta(self) -> np.ndarray:
        """Mean over the fits of the relative covariance parameters, in lme4's order and scale, (d,)."""
        return np.asarray(self.selection.theta.mean(axis=0))

    # -- fixed effects -------------------------------------------------------------------------------------------

    def fixef(self) -> pd.Series[float]:
        """Pooled coefficients, indexed by term."""
        return pd.Series(self.rubin.estimate, index=self._names, name="estimate")

    def vcov(self, component: Literal["total", "within", "between"] = "total") -> pd.DataFrame:
        """Covariance matrix of the pooled coefficients: T = ubar + (1 + 1/K) b, or one of its parts.

        Parameters
        ----------
        component : {"total", "within", "between"}, default "total"
        """
        parts = {"total": self.rubin.t, "within": self.rubin.ubar, "between": self.rubin.b}
        if component not in parts:
            raise DataError(f"component={component!r} is not known: use 'total', 'within' or 'between'")
        return self._marked(pd.DataFrame(parts[component], index=self._names, columns=self._names))

    def confint(self) -> pd.DataFrame:
        """Confidence limits of the coefficients: term by ``conf_low``, ``conf_high``."""
        limits = {"conf_low": self.rubin.conf_low, "conf_high": self.rubin.conf_high}
        return self._marked(pd.DataFrame(limits, index=pd.Index(self._names, name="term")))

    # -- random effects ------------------------------------------------------------------------------------------

    def varcorr(self) -> pd.DataFrame:
        """Mean variance components over the fits.

        Returns
        -------
        pandas.DataFrame
            ``group``, ``var1``, ``var2``, ``vcov`` (mean variance or covariance, as mitml prints), ``sdcor`` (mean SD
            or correlation, as merTools prints); the residual comes last.
        """
        table = varcorr_frame(self.selection)
        per_fit = len(table) // self.selection.n_sets
        out = table.iloc[:per_fit].drop(columns="imp").reset_index(drop=True)
        for name in ("vcov", "sdcor"):
            out[name] = table[name].to_numpy().reshape(self.selection.n_sets, per_fit).mean(axis=0)
        return self._marked(out)

    def ranef(self, *, cond_var: bool = False) -> dict[str, pd.DataFrame]:
        """Pooled conditional modes: the mean over the imputations, per level.

        Parameters
        ----------
        cond_var : bool, default False
            Put the total variance W + (1 + 1/K) B of every level, (levels, q, q), into ``attrs["cond_var"]``, with its
            parts in ``attrs["within"]`` and ``attrs["between"]``.

        Returns
        -------
        dict of pandas.DataFrame
            One per grouping factor, levels by columns.
        """
        fits, out = self.selection, {}
        for f, factor in factors_in_order(fits.fitted):
            found, names = fits.fitted.factor_modes[f], factor_columns(fits.fitted, f)
            modes = found.modes[fits.index]
            frame = pd.DataFrame(modes.mean(axis=0), index=pd.Index(factor.levels, name=factor.label), columns=names)
            if cond_var:
                within = found.variances[fits.index].mean(axis=0)
                centred = modes - modes.mean(axis=0)
                between = np.einsum("kli,klj->lij", centred, centred) / (fits.n_sets - 1)
                lost = fits.fitted.redundancies.effects(fits.index, f)
                total = within + (1 + 1 / fits.n_sets) * between
                for name, part in (("within", within), ("between", between), ("cond_var", total)):
                    frame.attrs[name] = without_effects(part, lost)
            out[factor.label] = self._marked(frame)
        return out

    # -- facts ---------------------------------------------------------------------------------------------------

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
        return self._marked(
            pd.DataFrame(
                {
                    "n_imputations": [self.n_imputations],
                    "nobs": float(np.mean(fits.n_rows)),
                    "sigma": float(np.mean(fits.sigma)),
                    "criterion": float(np.mean(fits.fitted.criterion[fits.index])),
                    "reml": fits.fitted.reml,
                    "fmi_max": float(np.max(self.rubin.fmi, initial=0.0)),
                    "n_singular": len(self.singular_imputations),
                    "n_failed": len(self.failed_imputations),
                    "n_dropped": len(fits.dropped),
                }
            )
        )

    # -- printing ------------------------------------------------------------------------------------------------

    def summary(self) -> Summary:
        """Print the pooled model in lme4's block order, with riv, fmi and the verdict on every fit."""
        return self._text(full=True)

    def display(self) -> Summary:
        """Print the short form (merTools: fastdisp)."""
        return self._text(full=False)

    def _text(self, *, full: bool) -> Summary:
        return pooled_text(self.selection, self.rubin, self.df_rule, self.varcorr(), full=full)

    def _content(self) -> tuple[str, dict[str, Any]]:
        return "PooledLmer", {
            "stack": stack_tree(self.selection.fitted),
            "lanes": list(self.selection.which),
            "dropped": list(self.selection.dropped),
            "within": within_tree(self.within),
            "dfcom": np.array(self.rubin.dfcom),
            "conf_level": float(self.conf_level),
        }

    def __repr__(self) -> str:
        return str(self.display())

    def _repr_html_(self) -> str:
        return self.display()._repr_html_()


def pool_selection(fits: Selection, within: CoefficientInference, conf_level: float) -> PooledLmer:
    """Pool some fits of a stack by Rubin's rules, with complete-data degrees of freedom averaged over them."""
    complete = within.df(np.eye(fits.fitted.beta.shape[1])).mean(axis=0)
    rubin = pool_rubin(fits.beta, within.vcov, dfcom=complete, conf_level=conf_level)
    return PooledLmer(fits, rubin, within)


def pool_fits(
    fits: Selection,
    dfcom: Ddf | npt.ArrayLike,
    conf_level: float,
    on_failure: OnFailure,
    vcov: Vcov = "model",
    cluster: str | None = None,
) -> PooledLmer:
    """Choose the fits to pool, find their complete-data degrees of freedom, and pool."""
    used = choose_fits(fits, on_failure)
    return pool_selection(used, coefficient_inference(used, dfcom, vcov, cluster), conf_level)
