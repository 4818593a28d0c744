"""Tables, tests and limits of one fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..inference.coefficients import CoefficientInference, Ddf, Vcov, coefficient_inference
from .coefficients import fit_table
from .constraints import Constraints, read_constraints
from .fit_print import fit_notes
from .modes import Uncertainty, fit_modes
from .redundancy_words import dropped_note
from .result import Result
from .result_table import result_table
from .tables import factor_columns, factors_in_order, without_effects
from .variance import Scales, fit_ran_pars
from .wald import fit_test

Effects = Literal["fixed", "ran_pars", "ran_vals", "ran_coefs"]


class FitTables(Result):
    """Methods of ``LmerFit`` that estimate and test."""

    lane: int

    def ranef(self, *, cond_var: bool = False) -> dict[str, pd.DataFrame]:
        """Conditional modes of the random effects.

        Parameters
        ----------
        cond_var : bool, default False
            Put the conditional variances (levels, q, q) into ``attrs["cond_var"]`` of each frame, as lme4's
            ``postVar`` attribute holds them. They are conditional on beta and theta, and NaN where random terms repeat
            each other.

        Returns
        -------
        dict of pandas.DataFrame
            One per grouping factor, levels by columns. A level without rows has mode 0 and the prior variance.
        """
        out = {}
        for f, factor in factors_in_order(self.fitted_stack):
            modes = self.fitted_stack.factor_modes[f]
            frame = pd.DataFrame(
                modes.modes[self.lane], index=factor.levels, columns=factor_columns(self.fitted_stack, f)
            )
            frame.index.name = factor.label
            if cond_var:
                lost = self.fitted_stack.redundancies.effects([self.lane], f)
                frame.attrs["cond_var"] = without_effects(modes.variances[self.lane], lost)
            out[factor.label] = frame
        return out

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
    ) -> pd.DataFrame:
        """Estimates as a table, one row each, with broom.mixed's column names (underscores for dots).

        Parameters
        ----------
        effects : {"fixed", "ran_pars", "ran_vals", "ran_coefs"}, default "fixed"
            Coefficients; SDs and correlations; conditional modes; coefficient plus mode per level.
        conf_level : float, default 0.95
        ddf : {"satterthwaite", "kenward-roger", "residual"}, float or array_like (p,), default "satterthwaite"
            Degrees of freedom of the coefficients; ``math.inf`` for z tests. Kenward-Roger's come with an adjusted
            covariance.
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
        pandas.DataFrame
            ``attrs["notes"]`` says what is special about the fit.

        References
        ----------
        Bell, R. M. and McCaffrey, D. F. (2002). Survey Methodology 28, 169-181.
        Kenward, M. G. and Roger, J. H. (1997). Biometrics 53, 983-997.
        Pustejovsky, J. E. and Tipton, E. (2018). J. Bus. Econ. Stat. 36, 672-683.
        Henderson, C. R. (1975). Biometrics 31, 423-447.
        """
        stack, lane = self.fitted_stack, self.lane
        if effects == "fixed":
            table = self._tidy_fixed(conf_level, self._within(ddf, vcov, cluster))
        elif effects == "ran_pars":
            table = fit_ran_pars(stack, lane, conf_level, scales)
        elif effects in ("ran_vals", "ran_coefs"):
            table = fit_modes(stack, lane, conf_level, coefficients=effects == "ran_coefs", uncertainty=uncertainty)
        else:
            raise DataError(f"effects={effects!r} is not known: use 'fixed', 'ran_pars', 'ran_vals' or 'ran_coefs'")
        return self._noted(table)

    def _noted(self, table: pd.DataFrame) -> pd.DataFrame:
        notes = fit_notes(self.fitted_stack, self.lane)
        table.attrs["notes"] = [*notes, *table.attrs.get("notes", [])]
        return result_table(table)

    def _within(self, ddf: Ddf | npt.ArrayLike, vcov: Vcov, cluster: str | None) -> CoefficientInference:
        return coefficient_inference(self.fitted_stack, (self.lane,), ddf, vcov, cluster)

    def _tidy_fixed(self, conf_level: float, within: CoefficientInference) -> pd.DataFrame:
        df = within.df(np.eye(len(self._names)))[0]
        error = np.sqrt(np.diag(within.vcov[0]))
        table = fit_table(self._names, self.fitted_stack.beta[self.lane], error, df, conf_level)
        table.attrs["notes"] = dropped_note(self.fitted_stack)
        return table

    def contrast(
        self,
        L: Constraints,
        names: Sequence[str] | None = None,
        *,
        conf_level: float = 0.95,
        ddf: Ddf | npt.ArrayLike = "satterthwaite",
        vcov: Vcov = "model",
        cluster: str | None = None,
    ) -> pd.DataFrame:
        """Linear combinations of the coefficients; see `PooledLmer.contrast`, and `tidy` for the options.

        Returns
        -------
        pandas.DataFrame
            The columns of ``tidy("fixed")``.
        """
        linear = read_constraints(L, self._names, None, names, terms=self._term_names, dropped=self._dropped)
        self.fitted_stack.model.check_digits(linear.matrix)
        within = self._within(ddf, vcov, cluster)
        estimate = linear.matrix @ self.fitted_stack.beta[self.lane]
        error = np.sqrt(np.einsum("ri,ij,rj->r", linear.matrix, within.vcov[0], linear.matrix))
        return self._noted(
            fit_table(linear.labels, estimate, error, within.df(linear.matrix)[0], conf_level, linear.null)
        )

    def test(
        self,
        constraints: Constraints,
        q0: npt.ArrayLike | None = None,
        *,
        ddf: Ddf | npt.ArrayLike = "satterthwaite",
        vcov: Vcov = "model",
        cluster: str | None = None,
    ) -> pd.DataFrame:
        """F test of linear hypotheses about the coefficients.

        Parameters
        ----------
        constraints : str, list of str, array_like (r, p), or DataFrame
            ``"a = b"``, ``["a", "b"]`` (both are 0), a term such as ``"f"`` or ``"f:x"`` for all its coefficients, or a
            matrix L; see `PooledLmer.test`.
        q0 : float or array_like (r,), optional
            Values under the hypothesis, 0 by default.
        ddf : {"satterthwaite", "kenward-roger", "residual"}, float or array_like (p,), default "satterthwaite"
            Denominator degrees of freedom; Satterthwaite's are those of lmerTest's ``contest``. Kenward-Roger's F is
            scaled as pbkrtest's.
        vcov, cluster
            Covariance of the coefficients, as in `tidy`. A robust one is tested as Hotelling's T^2 with approximate
            degrees of freedom (Pustejovsky and Tipton 2018, their HTZ).

        Returns
        -------
        pandas.DataFrame
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
        linear = read_constraints(constraints, self._names, q0, terms=self._term_names, dropped=self._dropped)
        self.fitted_stack.model.check_digits(linear.matrix, joint=True)
        return self._noted(fit_test(self.fitted_stack.beta[self.lane], within, linear))
