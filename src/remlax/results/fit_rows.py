"""What one fit says about rows: fitted values, residuals, predictions."""

from __future__ import annotations

import pandas as pd

from ..fitting.selection import Selection
from ..predict.draws import DrawsFrom, IntervalMethod, Stat, Which, analytic, interval_name, simulated_rows
from ..predict.known_terms import IgnoredTerms
from ..predict.newdata import NewLevels, include_formula, include_level, read_newdata
from ..predict.prediction import Interval, predict_one
from ..predict.residuals import ResidualType, augment_one, residual_values


class FitRows:
    """Methods of ``LmerFit`` that answer for rows."""

    selection: Selection

    def fitted(self) -> pd.Series[float]:
        """Fitted values X beta + Z b (+ offset), one per row in the model."""
        values = self.selection.fitted.fitted_values(self.selection.k)
        return pd.Series(values, index=self.selection.rows.index[self.selection.k], name="fitted")

    def residuals(self, type: ResidualType = "response") -> pd.Series[float]:  # noqa: A002 (R's name)
        """Residuals, one per row in the model.

        Parameters
        ----------
        type : {"response", "pearson", "scaled", "marginal"}, default "response"
            Response minus fitted value; that times the root of the prior weight; that over sigma; response minus the
            fixed part only.

        Returns
        -------
        pandas.Series (n,)

        Raises
        ------
        DataError
            The type is not known.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> round(float((fit.residuals("scaled") ** 2).mean()), 3)
        0.839
        """
        values = residual_values(self.selection, type)
        return pd.Series(values, index=self.selection.rows.index[self.selection.k], name="residual")

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
        return augment_one(self.selection)

    def predict(
        self,
        newdata: pd.DataFrame | None = None,
        *,
        re_formula: str | None = None,
        interval: Interval | None = None,
        conf_level: float = 0.95,
        new_levels: NewLevels = "error",
    ) -> pd.DataFrame:
        """Predict the response for new rows, or for the rows of the fit.

        Parameters
        ----------
        newdata : pandas.DataFrame, optional
            Needs the columns of the fixed part, of the random terms that take part and of offsets; not the response.
        re_formula : str, optional
            Random terms that take part, as lme4's re.form: all of them by default, ``"NA"`` or ``"~0"`` for none (the
            population), or a formula such as ``"~(1 | g)"``.
        interval : {"confidence", "prediction"}, optional
            Interval for the expected response, or for one new observation (of weight 1 for new data).
        conf_level : float, default 0.95
        new_levels : {"error", "mean", "draw"}, default "error"
            What to do with a level of a grouping factor that the fit has not seen: refuse it; predict the population
            mean; predict the mean and add the variance of its random effects to the intervals. Except for "error", rows
            without the grouping column are of one new level.

        Returns
        -------
        pandas.DataFrame
            ``estimate``; with an interval also ``std_error``, ``df``, ``conf_low``, ``conf_high``. Index as newdata's.

        Raises
        ------
        DataError, FormulaError
            A column is missing, a category or a level was not in the data of the fit, a cell is missing.

        Warns
        -----
        RankDeficientWarning
            The data of the fit do not determine the fixed part of a row, which is NaN: columns that others determine
            there stand in another relation in newdata, or no row of the data is in its combination of categories.

        Notes
        -----
        The standard error belongs to x'(beta-hat - beta) + z'(b-hat - b), coefficients and modes together: the inverse
        of Henderson's mixed-model equations (Henderson 1975, Biometrics 31:423). Degrees of freedom are Satterthwaite's
        for that variance (Giesbrecht & Burns 1985, Biometrics 41:477). That theta is estimated does not enter the
        standard error.

        Examples
        --------
        >>> import pandas as pd
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> new = pd.DataFrame({"Days": [10, 10], "Subject": ["308", "new"]})
        >>> found = fit.predict(new, new_levels="draw", interval="confidence")
        >>> found[["estimate", "std_error"]].round(2).values.tolist()
        [[450.33, 15.16], [356.08, 68.13]]
        """
        include = include_formula(self.selection.fitted, re_formula)
        rows = read_newdata(self.selection, newdata, include, new_levels)
        return predict_one(self.selection, rows, interval, conf_level)

    def predict_interval(
        self,
        newdata: pd.DataFrame | None = None,
        *,
        method: IntervalMethod = "simulate",
        re_formula: str | None = None,
        which: Which = "full",
        stat: Stat = "median",
        n_sims: int = 1000,
        seed: int | None = None,
        conf_level: float = 0.95,
        residual: bool = True,
        new_levels: NewLevels = "error",
        draws: DrawsFrom = "joint",
        return_draws: bool = False,
        ignore_fixed_terms: IgnoredTerms = None,
        fix_intercept_variance: bool = False,
    ) -> pd.DataFrame:
        """Intervals of predictions from draws of coefficients, random effects and residuals (predictInterval).

        Parameters
        ----------
        newdata : pandas.DataFrame, optional
            As in `predict`.
        method : {"simulate", "analytic"}, default "simulate"
            Draws, or the formulas of `predict`, which know ``which="full"`` only.
        re_formula : str, optional
            As in `predict`.
        which : {"full", "fixed", "random", "all"}, default "full"
            Everything; x'beta and the offset; the random effects; or each of them in rows of its own, named by the
            column ``effect`` (``combined``, ``fixed`` and the grouping factors).
        stat : {"median", "mean"}, default "median"
            Centre of the draws that is reported as ``estimate``.
        n_sims : int, default 1000
            Draws.
        seed : int, optional
            The same seed gives the same draws; those of coefficients and effects do not depend on newdata.
        conf_level : float, default 0.95
        residual : bool, default True
            Count the residual of one new observation (of weight 1 for new data).
        new_levels : {"error", "mean", "draw"}, default "error"
            As in `predict`; ``"draw"`` draws effects for the new levels.
        draws : {"joint", "separate"}, default "joint"
            Coefficients, effects and sigma from their joint posterior (R's arm::sim); or coefficients and effects apart
            at the estimated sigma, as merTools draws them, which counts twice what they share.
        return_draws : bool, default False
            The draws themselves rather than intervals.
        ignore_fixed_terms : str or list of str, optional
            Coefficients, or terms with several, that count as known: the others are drawn given those. Only with
            ``draws="separate"``, as ``fix_intercept_variance``.
        fix_intercept_variance : bool, default False
            Take from the variance of the intercept what it shares with random intercepts, roughly: merTools' correction
            for groups that the fit knows (not for new ones).

        Returns
        -------
        pandas.DataFrame
            ``estimate``, ``conf_low``, ``conf_high`` (merTools: fit, lwr, upr); with ``which="all"`` also ``effect``.
            With ``return_draws=True`` a column for each draw, 1 to n_sims, whose quantiles the limits are; with
            ``which="all"`` the effect is the first level of the index.

        Raises
        ------
        DataError, FormulaError
            As `predict`; an unknown name; fewer than two draws.

        Warns
        -----
        RankDeficientWarning
            As `predict`.

        References
        ----------
        Knowles, J. E. and Frederick, C. (2020). merTools. R package version 0.5.2.
        Gelman, A. and Hill, J. (2007). Data Analysis Using Regression and Multilevel/Hierarchical Models, section 7.2.

        Examples
        --------
        >>> import remlax as rx
        >>> data = rx.datasets.sleepstudy()
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", data)
        >>> fit.predict_interval(data.head(3), n_sims=500, seed=1).shape
        (3, 3)
        """
        include = include_formula(self.selection.fitted, re_formula)
        if which == "fixed":
            include = include_level(self.selection.fitted, "population")
        rows = read_newdata(self.selection, newdata, include, new_levels)
        correct = {
            "ignore_fixed_terms": ignore_fixed_terms is not None,
            "fix_intercept_variance": fix_intercept_variance,
        }
        if analytic(method, which, return_draws=return_draws, **correct):
            table = predict_one(self.selection, rows, interval_name(residual), conf_level)
            return table[["estimate", "conf_low", "conf_high"]]
        return simulated_rows(
            self.selection,
            rows,
            which=which,
            stat=stat,
            n_sims=n_sims,
            seed=seed,
            conf_level=conf_level,
            residual=residual,
            draws=draws,
            return_draws=return_draws,
            ignore_fixed_terms=ignore_fixed_terms,
            fix_intercept_variance=fix_intercept_variance,
        )
