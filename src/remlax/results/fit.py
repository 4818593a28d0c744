"""One fitted model: what lme4 calls a merMod."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ..core.optimize import STATUS_TEXT
from ..design.groups import GroupingFactor
from ..errors import DataError
from ..fitting.fit import Fitted
from ..fitting.satterthwaite import satterthwaite_df
from .printing import Summary, block, groups_line, p_value, random_effects_block, significant
from .tables import cor_frame, ran_pars, varcorr_frame

Effects = Literal["fixed", "ran_pars", "ran_vals", "ran_coefs"]


@dataclass(frozen=True)
class OptSummary:
    """How the optimisation of one data set went.

    Attributes
    ----------
    optimizer : str
    theta0, theta : ndarray (d,)
        Start and optimum, lme4's order and scale.
    criterion : float
        REML criterion or ML deviance.
    gradient_norm : float
        Largest absolute derivative at the optimum, over all coordinates of the scaled theta.
    decrement : float
        Newton decrement g'H^-1 g in units of deviance: how far above its minimum the quadratic model of the criterion
        stands. Converged means at most 1e-8.
    min_eigenvalue : float
        Smallest eigenvalue of the exact Hessian over its largest: not negative at a minimum.
    iterations, evaluations : int
    starts : int
        Starting points tried.
    status : str
        ``converged``, ``iteration limit``, ``saddle point`` or ``not finite``.
    """

    optimizer: str
    theta0: np.ndarray
    theta: np.ndarray
    criterion: float
    gradient_norm: float
    decrement: float
    min_eigenvalue: float
    iterations: int
    evaluations: int
    starts: int
    status: str


@dataclass(frozen=True, eq=False, repr=False)
class LmerFit:
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
        return pd.Series(self.fitted_stack.beta[self.lane], index=self._terms, name="estimate")

    def vcov(self) -> pd.DataFrame:
        """Covariance matrix of the fixed-effect coefficients, (p, p)."""
        return pd.DataFrame(self.fitted_stack.vcov[self.lane], index=self._terms, columns=self._terms)

    def ranef(self, *, cond_var: bool = False) -> dict[str, pd.DataFrame]:
        """Conditional modes of the random effects.

        Parameters
        ----------
        cond_var : bool, default False
            Put the conditional variances (levels, q, q) into ``attrs["cond_var"]`` of each frame, as lme4's
            ``postVar`` attribute holds them. They are conditional on beta and theta.

        Returns
        -------
        dict of pandas.DataFrame
            One per grouping factor, levels by columns. A level without rows has mode 0 and the prior variance.
        """
        out = {}
        for f, factor in self._factors_in_order():
            modes = self.fitted_stack.factor_modes[f]
            frame = pd.DataFrame(modes.modes[self.lane], index=factor.levels, columns=self._factor_columns(f))
            frame.index.name = factor.label
            if cond_var:
                frame.attrs["cond_var"] = modes.variances[self.lane]
            out[factor.label] = frame
        return out

    def varcorr(self) -> pd.DataFrame:
        """Variances, covariances, SDs and correlations, as lme4's ``as.data.frame(VarCorr(fit))``.

        Returns
        -------
        pandas.DataFrame
            Columns ``group``, ``var1``, ``var2``, ``vcov``, ``sdcor``; the residual comes last.
        """
        return varcorr_frame(self.fitted_stack, [self.lane]).drop(columns="imp").reset_index(drop=True)

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
        at = self.theta if theta is None else np.asarray(theta, dtype=float)
        d = self.fitted_stack.theta_map.n_theta
        if at.shape != (d,) or not np.isfinite(at).all():
            raise DataError(f"theta must hold {d} finite numbers, in lme4's order; it has shape {at.shape}")
        return self.fitted_stack.deviance(self.lane, at, reml=use_reml)

    @property
    def loglik(self) -> float:
        """Log-likelihood at the optimum (the REML one for a REML fit, as in lme4)."""
        return -self.criterion() / 2

    @property
    def n_parameters(self) -> int:
        """Fixed coefficients, theta and sigma together."""
        return len(self._terms) + self.fitted_stack.theta_map.n_theta + 1

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
    def formula(self) -> str:
        """The model formula."""
        return self.fitted_stack.model.rows.formula.text

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
        rows, layout = self.fitted_stack.model.rows, self.fitted_stack.model.layout
        out = {}
        for f, factor in self._factors_in_order():
            codes = rows.factor_rows[layout.factor_source[f]].lane(self.lane)
            out[factor.label] = int(np.count_nonzero(np.bincount(codes)))
        return out

    @property
    def is_singular(self) -> bool:
        """lme4's isSingular(tol = 1e-4): a diagonal entry of theta is below 1e-4."""
        return bool(self.fitted_stack.singular[self.lane])

    @property
    def converged(self) -> bool:
        """Whether the optimum is certified: Newton decrement at most 1e-8 and no negative curvature."""
        return bool(self.fitted_stack.converged[self.lane])

    @property
    def opt(self) -> OptSummary:
        """How the optimisation went."""
        stack, k = self.fitted_stack, self.lane
        hess = stack.opt.hess[k]
        size = np.linalg.eigvalsh(hess) if np.isfinite(hess).all() else np.array([np.nan])
        return OptSummary(
            optimizer=type(stack.optimizer).__name__,
            theta0=stack.theta_map.start() / stack.model.theta_scale,
            theta=self.theta,
            criterion=float(stack.criterion[k]),
            gradient_norm=float(np.max(np.abs(stack.opt.grad[k]))),
            decrement=float(stack.opt.decrement[k]),
            min_eigenvalue=float(size[0] / max(abs(size[-1]), np.finfo(float).tiny)),
            iterations=int(stack.opt.iterations[k]),
            evaluations=int(stack.opt.evaluations[k]),
            starts=int(stack.opt.starts[k]),
            status=STATUS_TEXT[int(stack.status[k])],
        )

    # -- rows ----------------------------------------------------------------------------------------------------

    def fitted(self) -> pd.Series[float]:
        """Fitted values X beta + Z b (+ offset), one per row in the model."""
        values = self.fitted_stack.fitted_values(self.lane)
        return pd.Series(values, index=self.fitted_stack.model.rows.index[self.lane], name="fitted")

    def residuals(self) -> pd.Series[float]:
        """Response minus fitted values."""
        rows = self.fitted_stack.model.rows
        values = rows.y.lane(self.lane) - self.fitted_stack.fitted_values(self.lane)
        return pd.Series(values, index=rows.index[self.lane], name="residual")

    # -- tables --------------------------------------------------------------------------------------------------

    def tidy(self, effects: Effects = "fixed", *, conf_level: float = 0.95) -> pd.DataFrame:
        """Estimates as a table, one row each, with broom.mixed's column names (underscores for dots).

        Parameters
        ----------
        effects : {"fixed", "ran_pars", "ran_vals", "ran_coefs"}, default "fixed"
            Coefficients with Satterthwaite degrees of freedom; SDs and correlations; conditional modes with their
            conditional SDs; coefficient plus mode per level.
        conf_level : float, default 0.95

        Returns
        -------
        pandas.DataFrame
        """
        if effects == "fixed":
            return self._tidy_fixed(conf_level)
        if effects == "ran_pars":
            return ran_pars(self.fitted_stack, self.lane)
        if effects == "ran_vals":
            return self._tidy_modes(conf_level)
        if effects == "ran_coefs":
            return self._tidy_coefs()
        raise DataError(f"effects={effects!r} is not known: use 'fixed', 'ran_pars', 'ran_vals' or 'ran_coefs'")

    def _tidy_fixed(self, conf_level: float) -> pd.DataFrame:
        estimate = self.fixef().to_numpy()
        error = np.sqrt(np.diag(self.fitted_stack.vcov[self.lane]))
        df = satterthwaite_df(self.fitted_stack, np.eye(len(estimate)))[self.lane]
        statistic = estimate / error
        half = stats.t.ppf((1 + conf_level) / 2, df) * error
        return pd.DataFrame(
            {
                "term": self._terms,
                "estimate": estimate,
                "std_error": error,
                "statistic": statistic,
                "df": df,
                "p_value": 2 * stats.t.sf(np.abs(statistic), df),
                "conf_low": estimate - half,
                "conf_high": estimate + half,
            }
        )

    def _tidy_modes(self, conf_level: float) -> pd.DataFrame:
        quantile = stats.norm.ppf((1 + conf_level) / 2)
        parts = []
        for group, frame in self.ranef(cond_var=True).items():
            error = np.sqrt(np.diagonal(frame.attrs["cond_var"], axis1=1, axis2=2))
            values = frame.to_numpy()
            parts.append(
                pd.DataFrame(
                    {
                        "group": group,
                        "level": np.repeat(frame.index.to_numpy(), frame.shape[1]),
                        "term": np.tile(frame.columns.to_numpy(), len(frame)),
                        "estimate": values.reshape(-1),
                        "std_error": error.reshape(-1),
                        "conf_low": (values - quantile * error).reshape(-1),
                        "conf_high": (values + quantile * error).reshape(-1),
                    }
                )
            )
        return pd.concat(parts, ignore_index=True)

    def _tidy_coefs(self) -> pd.DataFrame:
        coefficients = self.fixef()
        table = self._tidy_modes(0.95)[["group", "level", "term", "estimate"]]
        table["estimate"] += coefficients.reindex(table["term"]).fillna(0.0).to_numpy()
        return table

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
        return Summary("\n\n".join([*self._head(), self._fixed_block(full=True), *self._notes()]))

    def display(self) -> Summary:
        """Print the short form: random effects, groups, coefficients."""
        return Summary("\n\n".join([*self._head(), self._fixed_block(full=False), *self._notes()]))

    def _head(self) -> list[str]:
        how = "REML" if self.reml else "maximum likelihood"
        title = f"Linear mixed model fit by {how}\nFormula: {self.formula}"
        name = "REML criterion" if self.reml else "Deviance"
        dropped = self.fitted_stack.model.rows.n_dropped
        n = f"{self.nobs}" + (f" ({dropped} rows with missing cells left out)" if dropped else "")
        random = "Random effects:\n" + random_effects_block(self.varcorr())
        groups = groups_line(n, {k: str(v) for k, v in self.ngrps.items()})
        return [title, f"{name} at convergence: {self.criterion():.4f}", f"{random}\n{groups}"]

    def _fixed_block(self, *, full: bool) -> str:
        if not self._terms:
            return "No fixed effects"
        table = self._tidy_fixed(0.95)
        columns = {
            "": self._terms,
            "Estimate": significant(table["estimate"].to_numpy()),
            "Std. Error": significant(table["std_error"].to_numpy()),
        }
        if full:
            columns["df"] = [f"{v:.1f}" for v in table["df"]]
            columns["t"] = [f"{v:.3f}" for v in table["statistic"]]
            columns["p"] = [p_value(v) for v in table["p_value"]]
        text = "Fixed effects" + (" (Satterthwaite df):\n" if full else ":\n") + block(columns)
        if full and 1 < len(self._terms) <= 20:
            text += "\n\nCorrelation of fixed effects:\n" + cor_frame(self.vcov())
        return text

    def _notes(self) -> list[str]:
        notes = []
        if not self.converged:
            notes.append(f"NOT CONVERGED: {self.opt.status}; do not use these estimates")
        if self.is_singular:
            notes.append("singular fit: a variance is estimated as 0 or a correlation as +-1")
        return notes

    def __repr__(self) -> str:
        return str(self.display())

    def _repr_html_(self) -> str:
        return self.display()._repr_html_()

    # -- labels --------------------------------------------------------------------------------------------------

    @property
    def _terms(self) -> list[str]:
        return self.fitted_stack.model.fixed_names

    def _factors_in_order(self) -> list[tuple[int, GroupingFactor]]:
        """Grouping factors in lme4's order of terms, with their place in the elimination order."""
        layout = self.fitted_stack.model.layout
        seen = dict.fromkeys(term.factor for term in layout.terms)
        return [(f, layout.factors[f]) for f in seen]

    def _factor_columns(self, factor: int) -> list[str]:
        terms = [t for t in self.fitted_stack.model.layout.terms if t.factor == factor]
        return [name for term in sorted(terms, key=lambda t: t.start) for name in term.names]
