"""The pooled model: what mice calls a mipo object, with everything around the coefficients."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..core.optimize import STATUS_TEXT
from ..errors import ConvergenceWarning, DataError, PoolingError
from ..fitting.fit import Fitted
from ..fitting.satterthwaite import satterthwaite_df
from ..pooling import RubinPool, pool_rubin
from .printing import Summary, block, groups_line, p_value, random_effects_block, significant, span
from .tables import varcorr_frame

DfCom = Literal["satterthwaite", "residual"]
OnFailure = Literal["raise", "warn", "drop"]
RULES = {
    "satterthwaite": "Satterthwaite df of the fits, then Barnard-Rubin",
    "residual": "residual df n - p, then Barnard-Rubin",
}


@dataclass(frozen=True, eq=False, repr=False)
class PooledLmer:
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
    df_rule : str
        How the degrees of freedom were found.
    """

    fitted_stack: Fitted
    lanes: tuple[int, ...]
    dropped: tuple[int, ...]
    rubin: RubinPool
    df_rule: str

    @property
    def n_imputations(self) -> int:
        """Number K of pooled fits."""
        return len(self.lanes)

    @property
    def conf_level(self) -> float:
        """Level of the confidence limits."""
        return self.rubin.conf_level

    @property
    def formula(self) -> str:
        """The model formula."""
        return self.fitted_stack.model.rows.formula.text

    @property
    def _terms(self) -> list[str]:
        return self.fitted_stack.model.fixed_names

    # -- fixed effects -------------------------------------------------------------------------------------------

    def fixef(self) -> pd.Series[float]:
        """Pooled coefficients, indexed by term."""
        return pd.Series(self.rubin.estimate, index=self._terms, name="estimate")

    def vcov(self, component: Literal["total", "within", "between"] = "total") -> pd.DataFrame:
        """Covariance matrix of the pooled coefficients: T = ubar + (1 + 1/K) b, or one of its parts.

        Parameters
        ----------
        component : {"total", "within", "between"}, default "total"
        """
        parts = {"total": self.rubin.t, "within": self.rubin.ubar, "between": self.rubin.b}
        if component not in parts:
            raise DataError(f"component={component!r} is not known: use 'total', 'within' or 'between'")
        return pd.DataFrame(parts[component], index=self._terms, columns=self._terms)

    def confint(self) -> pd.DataFrame:
        """Confidence limits of the coefficients: term by ``conf_low``, ``conf_high``."""
        return pd.DataFrame(
            {"conf_low": self.rubin.conf_low, "conf_high": self.rubin.conf_high},
            index=pd.Index(self._terms, name="term"),
        )

    def tidy(self, effects: Literal["fixed"] = "fixed") -> pd.DataFrame:
        """Pooled coefficients as a table.

        Returns
        -------
        pandas.DataFrame
            Columns ``term estimate std_error statistic df p_value conf_low conf_high riv lambda fmi ubar b t dfcom``;
            ``attrs`` names the imputations that are singular, failed or left out.
        """
        if effects != "fixed":
            raise DataError(f"effects={effects!r} is not known: use 'fixed'")
        r = self.rubin
        table = pd.DataFrame(
            {
                "term": self._terms,
                "estimate": r.estimate,
                "std_error": r.std_error,
                "statistic": r.statistic,
                "df": r.df,
                "p_value": r.p_value,
                "conf_low": r.conf_low,
                "conf_high": r.conf_high,
                "riv": r.riv,
                "lambda": r.lambda_,
                "fmi": r.fmi,
                "ubar": np.diag(r.ubar),
                "b": np.diag(r.b),
                "t": np.diag(r.t),
                "dfcom": r.dfcom,
            }
        )
        return self._marked(table)

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
        lanes, layout = list(self.lanes), self.fitted_stack.model.layout
        out = {}
        for f in dict.fromkeys(term.factor for term in layout.terms):
            found, factor = self.fitted_stack.factor_modes[f], layout.factors[f]
            names = [
                n for t in sorted((t for t in layout.terms if t.factor == f), key=lambda t: t.start) for n in t.names
            ]
            modes = found.modes[lanes]
            frame = pd.DataFrame(modes.mean(axis=0), index=pd.Index(factor.levels, name=factor.label), columns=names)
            if cond_var:
                within = found.variances[lanes].mean(axis=0)
                centred = modes - modes.mean(axis=0)
                between = np.einsum("kli,klj->lij", centred, centred) / (len(lanes) - 1)
                frame.attrs["within"], frame.attrs["between"] = within, between
                frame.attrs["cond_var"] = within + (1 + 1 / len(lanes)) * between
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

    def _marked(self, table: pd.DataFrame) -> pd.DataFrame:
        """Name singular, failed and left-out imputations in a table's attrs."""
        table.attrs["n_imputations"] = self.n_imputations
        table.attrs["singular_imputations"] = list(self.singular_imputations)
        table.attrs["failed_imputations"] = list(self.failed_imputations)
        table.attrs["dropped_imputations"] = [self._label(k) for k in self.dropped]
        return table

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
        return Summary("\n\n".join([*self._head(), self._fixed_block(full=True), self._verdict(full=True)]))

    def display(self) -> Summary:
        """Print the short form (merTools: fastdisp)."""
        return Summary("\n\n".join([*self._head(), self._fixed_block(full=False), self._verdict(full=False)]))

    def _head(self) -> list[str]:
        stack, lanes = self.fitted_stack, list(self.lanes)
        how = "REML" if stack.reml else "maximum likelihood"
        low, high = stack.criterion[lanes].min(), stack.criterion[lanes].max()
        name = "REML criterion" if stack.reml else "Deviance"
        n = span(np.array([stack.model.rows.n_rows(k) for k in lanes]))
        random = "Random effects (means over the fits):\n" + random_effects_block(self.varcorr())
        return [
            f"Linear mixed model fit by {how} to {self.n_imputations} imputed data sets, pooled by Rubin's rules\n"
            f"Formula: {self.formula}",
            f"{name} at convergence: {low:.2f} to {high:.2f}",
            f"{random}\n{groups_line(n, self._ngrps())}",
        ]

    def _ngrps(self) -> dict[str, str]:
        rows, layout = self.fitted_stack.model.rows, self.fitted_stack.model.layout
        out = {}
        for f in dict.fromkeys(term.factor for term in layout.terms):
            codes = rows.factor_rows[layout.factor_source[f]]
            lanes = self.lanes if codes.offsets is not None else self.lanes[:1]
            out[layout.factors[f].label] = span(np.array([np.count_nonzero(np.bincount(codes.lane(k))) for k in lanes]))
        return out

    def _fixed_block(self, *, full: bool) -> str:
        if not self._terms:
            return "No fixed effects"
        r = self.rubin
        columns = {
            "": self._terms,
            "Estimate": significant(r.estimate),
            "Std. Error": significant(r.std_error),
        }
        if full:
            columns["df"] = ["inf" if np.isinf(v) else f"{v:.1f}" for v in r.df]
            columns["t"] = [f"{v:.3f}" for v in r.statistic]
            columns["p"] = [p_value(v) for v in r.p_value]
            columns["riv"] = [f"{v:.3f}" for v in r.riv]
            columns["fmi"] = [f"{v:.3f}" for v in r.fmi]
        return "Fixed effects" + (f" ({self.df_rule}):\n" if full else ":\n") + block(columns)

    def _verdict(self, *, full: bool) -> str:
        stack = self.fitted_stack
        lines = []
        good = [k for k in self.lanes if stack.converged[k]]
        lines.append(f"Imputations: {self.n_imputations} pooled, {len(good)} converged")
        if self.dropped:
            lines.append("left out because they failed: " + ", ".join(str(self._label(k)) for k in self.dropped))
        lines.extend(
            f"imputation {self._label(k)}: {STATUS_TEXT[int(stack.status[k])]}"
            for k in self.lanes
            if not stack.converged[k]
        )
        if self.singular_imputations:
            lines.append("singular fits: imputation " + ", ".join(map(str, self.singular_imputations)))
        elif full:
            lines.append("no singular fit")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self.display())

    def _repr_html_(self) -> str:
        return self.display()._repr_html_()


def pool_fits(
    fitted: Fitted,
    lanes: tuple[int, ...],
    dfcom: DfCom | npt.ArrayLike,
    conf_level: float,
    on_failure: OnFailure,
) -> PooledLmer:
    """Choose the fits to pool, find their complete-data degrees of freedom, and pool."""
    used, dropped = _choose(fitted, lanes, on_failure)
    if len(used) < 2:
        raise PoolingError(
            f"pooling needs at least two fits; there {'is one' if len(used) == 1 else 'are none'}: "
            "a single fit has its own tidy() and summary()"
        )
    index, p = list(used), fitted.beta.shape[1]
    if isinstance(dfcom, str):
        if dfcom not in RULES:
            raise PoolingError(
                f"dfcom={dfcom!r} is not known: use 'satterthwaite', 'residual', a number, or one per coefficient"
            )
        rule = RULES[dfcom]
        if dfcom == "residual":
            n = float(np.mean([fitted.model.rows.n_rows(k) for k in used]))
            values = np.full(p, n - p)
        else:
            values = satterthwaite_df(fitted, np.eye(p))[index].mean(axis=0)
    else:
        values = (
            np.broadcast_to(np.asarray(dfcom, dtype=float), (p,)) if np.ndim(dfcom) == 0 else np.asarray(dfcom, float)
        )
        rule = "df of Rubin 1987" if np.isposinf(values).all() else "given complete-data df, then Barnard-Rubin"
    rubin = pool_rubin(fitted.beta[index], fitted.vcov[index], dfcom=values, conf_level=conf_level)
    return PooledLmer(fitted, used, dropped, rubin, rule)


def _choose(fitted: Fitted, lanes: tuple[int, ...], on_failure: OnFailure) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if on_failure not in ("raise", "warn", "drop"):
        raise PoolingError(f"on_failure={on_failure!r} is not known: use 'raise', 'warn' or 'drop'")
    failed = [k for k in lanes if not fitted.converged[k]]
    if not failed:
        return lanes, ()
    names = ", ".join(f"{fitted.model.rows.labels[k]} ({STATUS_TEXT[int(fitted.status[k])]})" for k in failed)
    if on_failure == "raise":
        raise PoolingError(
            f"the fit failed in imputation {names}: look at fits.convergence(), or use on_failure='drop' or 'warn'"
        )
    usable = [k for k in failed if on_failure == "warn" and np.isfinite(fitted.vcov[k]).all()]
    left_out = [k for k in failed if k not in usable]
    what = f"pooling leaves out {len(left_out)} failed fits" if left_out else "pooling fits that did not converge"
    warnings.warn(f"{what}: imputation {names}", ConvergenceWarning, stacklevel=4)
    return tuple(k for k in lanes if k not in left_out), tuple(left_out)
