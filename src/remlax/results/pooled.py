"""The pooled model: what mice calls a mipo object, with everything around the coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..errors import DataError
from ..fitting.fit import Fitted
from ..inference.coefficients import CoefficientInference, GivenDf, coefficient_inference
from ..names import UnknownNames
from ..pooling import RubinPool, pool_rubin
from .files import stack_tree, within_tree
from .measures import PooledMeasures
from .pooled_inference import PooledInference
from .pooled_means import PooledMeans
from .pooled_print import pooled_text
from .pooled_rows import PooledRows
from .printing import Summary
from .report import PooledReport
from .tables import factor_columns, factors_in_order, varcorr_frame, without_effects
from .toolkit import Toolkit

OnFailure = Literal["raise", "warn", "drop"]


@dataclass(frozen=True, eq=False, repr=False)
class PooledLmer(PooledInference, PooledMeasures, PooledRows, PooledReport, Toolkit, PooledMeans, UnknownNames):
    """K fits pooled by Rubin's rules; made by ``fits.pool()``.

    Parameters
    ----------
    fitted_stack : Fitted
    lanes : tuple of int
        The data sets that were pooled.
    dropped : tuple of int
        Failed fits left out.
    rubin : RubinPool
        Pooled coefficients with all matrices.
    within : CoefficientInference
        Covariances of the coefficients in each fit, and degrees of freedom of tests about them.
    """

    fitted_stack: Fitted
    lanes: tuple[int, ...]
    dropped: tuple[int, ...]
    rubin: RubinPool
    within: CoefficientInference
    _called = "pooled"

    @property
    def _own_lanes(self) -> tuple[int, ...]:
        return self.lanes

    def _like(self, fitted: Fitted, lanes: tuple[int, ...]) -> PooledLmer:
        dfcom = self.rubin.dfcom if isinstance(self.within, GivenDf) else "satterthwaite"
        return pool_lanes(fitted, lanes, (), coefficient_inference(fitted, lanes, dfcom), self.rubin.conf_level)

    @property
    def n_imputations(self) -> int:
        """Number K of pooled fits."""
        return len(self.lanes)

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
        return np.asarray(self.fitted_stack.theta[list(self.lanes)].mean(axis=0))

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
            of_one = f"fits[0].confint({method!r})" if method in ("profile", "boot") else "fits[0].confint('profile')"
            raise DataError(f"a pooled model has Wald limits only: profiles are made of one fit, as in {of_one}")
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
        table = varcorr_frame(self.fitted_stack, self.lanes)
        per_fit = len(table) // len(self.lanes)
        out = table.iloc[:per_fit].drop(columns="imp").reset_index(drop=True)
        for name in ("vcov", "sdcor"):
            out[name] = table[name].to_numpy().reshape(len(self.lanes), per_fit).mean(axis=0)
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
        lanes, out = list(self.lanes), {}
        for f, factor in factors_in_order(self.fitted_stack):
            found, names = self.fitted_stack.factor_modes[f], factor_columns(self.fitted_stack, f)
            modes = found.modes[lanes]
            frame = pd.DataFrame(modes.mean(axis=0), index=pd.Index(factor.levels, name=factor.label), columns=names)
            if cond_var:
                within = found.variances[lanes].mean(axis=0)
                centred = modes - modes.mean(axis=0)
                between = np.einsum("kli,klj->lij", centred, centred) / (len(lanes) - 1)
                lost = self.fitted_stack.redundancies.effects(lanes, f)
                total = within + (1 + 1 / len(lanes)) * between
                for name, part in (("within", within), ("between", between), ("cond_var", total)):
                    frame.attrs[name] = without_effects(part, lost)
            out[factor.label] = self._marked(frame)
        return out

    # -- facts ---------------------------------------------------------------------------------------------------

    @cached_property
    def singular_imputations(self) -> list[object]:
        """Labels of the pooled data sets whose fit is singular."""
        return [self._label(k) for k in self.lanes if self.fitted_stack.singular[k]]

    @cached_property
    def failed_imputations(self) -> list[object]:
        """Labels of the data sets whose fit did not converge, pooled or left out."""
        return [self._label(k) for k in (*self.lanes, *self.dropped) if not self.fitted_stack.converged[k]]

    def _label(self, lane: int) -> object:
        return self.fitted_stack.model.rows.labels[lane]

    def glance(self) -> pd.DataFrame:
        """One row of facts about the pooled model."""
        rows, lanes = self.fitted_stack.model.rows, list(self.lanes)
        n = [rows.n_rows(k) for k in lanes]
        return self._marked(
            pd.DataFrame(
                {
                    "n_imputations": [self.n_imputations],
                    "nobs": float(np.mean(n)),
                    "sigma": float(np.mean(self.fitted_stack.sigma[lanes])),
                    "criterion": float(np.mean(self.fitted_stack.criterion[lanes])),
                    "reml": self.fitted_stack.reml,
                    "fmi_max": float(np.max(self.rubin.fmi, initial=0.0)),
                    "n_singular": len(self.singular_imputations),
                    "n_failed": len(self.failed_imputations),
                    "n_dropped": len(self.dropped),
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
        return pooled_text(
            self.fitted_stack, self.lanes, self.dropped, self.rubin, self.df_rule, self.varcorr(), full=full
        )

    def _content(self) -> tuple[str, dict[str, Any]]:
        return "PooledLmer", {
            "stack": stack_tree(self.fitted_stack),
            "lanes": list(self.lanes),
            "dropped": list(self.dropped),
            "within": within_tree(self.within),
            "dfcom": np.array(self.rubin.dfcom),
            "conf_level": float(self.conf_level),
        }

    def __repr__(self) -> str:
        return str(self.display())

    def _repr_html_(self) -> str:
        return self.display()._repr_html_()


def pool_lanes(
    fitted: Fitted, lanes: tuple[int, ...], dropped: tuple[int, ...], within: CoefficientInference, conf_level: float
) -> PooledLmer:
    """Pool some fits of a stack by Rubin's rules, with complete-data degrees of freedom averaged over them."""
    complete = within.df(np.eye(fitted.beta.shape[1])).mean(axis=0)
    rubin = pool_rubin(fitted.beta[list(lanes)], within.vcov, dfcom=complete, conf_level=conf_level)
    return PooledLmer(fitted, lanes, dropped, rubin, within)
