"""Results: what a fit, a list of fits and the pooled model have in common."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..data.archive import write_archive
from ..fitting.selection import Selection
from ..inference.coefficients import CoefficientInference
from ..predict.draws import DrawOptions, DrawsFrom, IntervalMethod, Stat, Which, simulated_rows
from ..predict.known_terms import IgnoredTerms
from ..predict.newdata import Level, NewData, NewLevels, PredictionRows, include_level, read_newdata
from ..predict.prediction import Interval, predict_table
from ..predict.residuals import ResidualType, fitted_series, residual_series
from ..tables.checks import checks
from ..tables.coefficients import contrast_table
from ..tables.constraints import Constraints, Linear, read_constraints
from ..tables.hypotheses import WaldMethod, wald_test
from ..tables.modes import Uncertainty, modes_table, ranef_frames
from ..tables.notes import dropped_note, mark
from ..tables.printing import Summary
from ..tables.result_table import ResultTable, result_table
from ..tables.varcorr import mean_varcorr
from ..tables.variance import Scales, ran_pars_table
from .mertools import MerTools
from .model_table import ModelParts, ModelTable, one_model
from .text import Form

Effects = Literal["fixed", "ran_pars", "ran_vals", "ran_coefs"]


class Result:
    """Formula, names and file of whatever is made of fits of a batch."""

    selection: Selection

    @property
    def formula(self) -> str:
        """The model formula."""
        return self.selection.rows.formula.text

    @property
    def _names(self) -> list[str]:
        return self.selection.model.fixed_names

    def _content(self) -> tuple[str, dict[str, Any]]:
        """Kind and content of the file."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write this, with its fits, to a file, for `remlax.load`.

        Parameters
        ----------
        path : path-like
            An existing file is replaced, in one step.

        Raises
        ------
        FileFormatError
            The file cannot be written.
        DataError
            A column of the model is of a type that a file cannot keep.

        Warns
        -----
        DataWarning
            A column that the model does not use is of such a type, and left out.

        Notes
        -----
        The file holds the data, of all data sets that were fitted together.
        """
        write_archive(path, *self._content())


class ModelResult(Result, MerTools):
    """What `LmerFit` and `PooledLmer` do alike; pooled, all of it counts the imputations."""

    @property
    def _dfcom(self) -> float | None:
        """Complete-data degrees of freedom of predictions; None takes Satterthwaite's."""
        return None

    @abstractmethod
    def _text(self, form: Form) -> Summary:
        """Text of ``summary()``, of ``print()`` or of ``display()``."""

    @abstractmethod
    def _report(self) -> str:
        """Text of ``report()``."""

    @abstractmethod
    def _report_parts(self) -> ModelParts:
        """Numbers of the table for print."""

    def _marked(self, table: pd.DataFrame) -> pd.DataFrame:
        return mark(table, self.selection)

    def _coefficients(self, table: pd.DataFrame) -> ResultTable:
        table.attrs["notes"] = dropped_note(self.selection)
        return result_table(self._marked(table))

    def _random(self, effects: Effects, conf_level: float, scales: Scales, uncertainty: Uncertainty) -> ResultTable:
        checks.choice(effects, Effects, "effects=")
        if effects == "ran_pars":
            table = ran_pars_table(self.selection, conf_level, scales)
        else:
            table = modes_table(
                self.selection, conf_level, coefficients=effects == "ran_coefs", uncertainty=uncertainty
            )
        return result_table(self._marked(table))

    def _linear(
        self,
        given: Constraints,
        q0: npt.ArrayLike | None,
        names: Sequence[str] | None = None,
        *,
        joint: bool = False,
    ) -> Linear:
        model = self.selection.model
        terms, dropped = model.term_names, model.dropped_names
        linear = read_constraints(given, self._names, q0, names, terms=terms, dropped=dropped)
        model.check_digits(linear.matrix, joint=joint)
        return linear

    def _contrasted(self, within: CoefficientInference, linear: Linear, conf_level: float) -> ResultTable:
        return result_table(self._marked(contrast_table(self.selection, within, linear, conf_level)))

    def _tested(self, within: CoefficientInference, linear: Linear, method: WaldMethod = "D1") -> ResultTable:
        return result_table(self._marked(wald_test(self.selection, within, linear, method)))

    # -- estimates ---------------------------------------------------------------------------------------------------

    @property
    def theta(self) -> np.ndarray:
        """Relative covariance parameters in lme4's order and scale, (d,); pooled, their means over the fits."""
        return np.asarray(self.selection.theta.mean(axis=0))

    def fixef(self) -> pd.Series[float]:
        """Fixed-effect coefficients, indexed by term.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> fit.fixef().round(3).to_dict()
        {'Intercept': 251.405, 'Days': 10.467}
        """
        return pd.Series(self.selection.beta.mean(axis=0), index=self._names, name="estimate")

    def varcorr(self) -> pd.DataFrame:
        """Variances, covariances, SDs and correlations, as lme4's ``as.data.frame(VarCorr(fit))``.

        Returns
        -------
        pandas.DataFrame
            Columns ``group``, ``var1``, ``var2``, ``vcov``, ``sdcor``; the residual comes last. Pooled, ``vcov`` is the
            mean variance or covariance, as mitml prints, and ``sdcor`` the mean SD or correlation, as merTools prints.
            ``attrs["notes"]`` says which of them are not identified. Models with covariance structures have a column
            ``structure`` and no rows for correlations that are zero.
        """
        return self._marked(mean_varcorr(self.selection))

    def ranef(self, *, cond_var: bool = False) -> dict[str, pd.DataFrame]:
        """Conditional modes of the random effects; pooled, their means over the imputations.

        Parameters
        ----------
        cond_var : bool, default False
            Put the conditional variances (levels, q, q) into ``attrs["cond_var"]`` of each frame, as lme4's
            ``postVar`` attribute holds them: given beta and theta, and NaN where random terms repeat each other.
            Pooled it is the total variance W + (1 + 1/K) B, with its parts in ``attrs["within"]`` and
            ``attrs["between"]``.

        Returns
        -------
        dict of pandas.DataFrame
            One per grouping factor, levels by columns. A level without rows has mode 0 and the prior variance.
        """
        frames = ranef_frames(self.selection, cond_var=cond_var)
        return {label: self._marked(frame) for label, frame in frames.items()}

    # -- rows --------------------------------------------------------------------------------------------------------

    def fitted(self) -> pd.Series[float]:
        """Fitted values X beta + Z b (+ offset), one per row in the model; pooled, their means.

        Raises
        ------
        DataError
            Pooled data sets have different rows.
        """
        return fitted_series(self.selection)

    def residuals(self, type: ResidualType = "response") -> pd.Series[float]:  # noqa: A002 (R's name)
        """Residuals, one per row in the model; pooled, their means.

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
            An unknown type, or pooled data sets with different rows.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> round(float((fit.residuals("scaled") ** 2).mean()), 3)
        0.839
        """
        return residual_series(self.selection, type)

    def _rows(self, newdata: NewData, level: Level, re_formula: str | None, new_levels: NewLevels) -> PredictionRows:
        include = include_level(self.selection.fitted, level, re_formula)
        return read_newdata(self.selection, newdata, include, new_levels)

    def predict(
        self,
        newdata: NewData = None,
        *,
        level: Level = "group",
        re_formula: str | None = None,
        interval: Interval | None = None,
        conf_level: float = 0.95,
        new_levels: NewLevels = "error",
    ) -> pd.DataFrame:
        """Predict the response for new rows, or for the rows of the fit; pooled by Rubin's rules.

        Parameters
        ----------
        newdata : pandas.DataFrame, or (pooled) K of them, or ImputedData, optional
            Rows to predict, with the columns of the fixed part, of the random terms that take part and of offsets; one
            frame per imputation, with the same rows, where the columns are imputed.
        level : {"group", "population"}, list of str or formula, default "group"
            All random effects take part, none, those of the named grouping factors, or the terms of a formula such as
            ``"~(1 | g)"`` (``"~0"`` is the population).
        re_formula : str, optional
            The formula of ``level``, by lme4's name (``re.form``).
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
            ``estimate``; with an interval also ``std_error df conf_low conf_high``, and pooled ``riv lambda fmi``.
            Index as newdata's.

        Raises
        ------
        DataError, FormulaError
            A column is missing, a category or a level was not in the data of the fit, a cell is missing, or newdata
            holds another number of frames than there are fits.

        Warns
        -----
        ConvergenceWarning
            The fit did not converge.
        RankDeficientWarning
            The data of the fit do not determine the fixed part of a row, which is NaN: columns that others determine
            there stand in another relation in newdata, or no row of the data is in its combination of categories.

        Notes
        -----
        The standard error belongs to x'(beta-hat - beta) + z'(b-hat - b), coefficients and modes together: the inverse
        of Henderson's mixed-model equations, plus sigma^2 for a prediction interval. Degrees of freedom are
        Satterthwaite's for that variance. That theta is estimated does not enter the standard error.

        Pooled is the linear predictor, with that variance within an imputation (model-based, also where ``pool`` was
        asked for robust or Kenward-Roger covariances) and Barnard and Rubin's degrees of freedom, from Satterthwaite's
        averaged over the fits. Where ``pool`` was given another dfcom, that is used (the smallest, where it differs
        between coefficients).

        References
        ----------
        Henderson, C. R. (1975). Biometrics 31, 423-447. Giesbrecht, F. G. and Burns, J. C. (1985). Biometrics 41, 477.
        van Buuren, S. (2018). Flexible Imputation of Missing Data, 2nd ed. CRC Press, section 5.2.

        Examples
        --------
        >>> import pandas as pd
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> new = pd.DataFrame({"Days": [10, 10], "Subject": ["308", "new"]})
        >>> found = fit.predict(new, new_levels="draw", interval="confidence")
        >>> found[["estimate", "std_error"]].round(2).values.tolist()
        [[450.33, 15.85], [356.08, 67.59]]
        """
        rows = self._rows(newdata, level, re_formula, new_levels)
        return self._marked(predict_table(self.selection, rows, interval, conf_level, self._dfcom))

    def predict_interval(
        self,
        newdata: NewData = None,
        *,
        method: IntervalMethod = "simulate",
        level: Level = "group",
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
        """Intervals of predictions from draws of coefficients, effects and residuals (merTools: predictInterval).

        Parameters
        ----------
        newdata, level, re_formula, conf_level, new_levels
            As in `predict`; ``new_levels="draw"`` draws effects for the new levels.
        method : {"simulate", "analytic"}, default "simulate"
            Draws, or the formulas of `predict`, which know ``which="full"`` only.
        which : {"full", "fixed", "random", "all"}, default "full"
            Everything; x'beta and the offset; the random effects; or each of them in rows of its own, named by the
            column ``effect`` (``combined``, ``fixed`` and the grouping factors).
        stat : {"median", "mean"}, default "median"
            Centre of the draws that is reported as ``estimate``.
        n_sims : int, default 1000
            Draws (per imputation).
        seed : int, optional
            The same seed gives the same draws; those of coefficients and effects do not depend on newdata.
        residual : bool, default True
            Count the residual of one new observation (of weight 1 for new data).
        draws : {"joint", "separate"}, default "joint"
            Coefficients, effects and sigma from their joint posterior (R's arm::sim); or coefficients and effects apart
            at the estimated sigma, as merTools draws them, which counts twice what they share.
        return_draws : bool, default False
            The draws themselves rather than intervals.
        ignore_fixed_terms : str or list of str, optional
            Coefficients, or terms with several, that count as known, with their (pooled) estimate: the others are drawn
            given those. Only with ``draws="separate"``, as ``fix_intercept_variance``.
        fix_intercept_variance : bool, default False
            Take from the variance of the intercept what it shares with random intercepts, roughly: merTools' correction
            for groups that the fit knows (not for new ones).

        Returns
        -------
        pandas.DataFrame
            ``estimate conf_low conf_high`` (merTools: fit, lwr, upr); with ``which="all"`` also ``effect``. With
            ``return_draws=True`` a column for each draw (of each imputation), whose quantiles the limits are; with
            ``which="all"`` the effect is the first level of the index.

        Raises
        ------
        DataError, FormulaError
            As `predict`; an unknown name; fewer than two draws.

        Warns
        -----
        RankDeficientWarning
            As `predict`.

        Notes
        -----
        Pooled, the draws of all imputations are put together. Side by side they have the variance W + (K - 1)/K B, so
        the imputations' means are moved apart by sqrt((K + 1)/(K - 1)), which makes it Rubin's W + (1 + 1/K) B.
        merTools has no such function for a list of models.

        References
        ----------
        Knowles, J. E. and Frederick, C. (2020). merTools. R package version 0.5.2.
        Gelman, A. and Hill, J. (2007). Data Analysis Using Regression and Multilevel/Hierarchical Models, section 7.2.

        Examples
        --------
        >>> import remlax as rx
        >>> data = rx.datasets.hsb_imputed()
        >>> pooled = rx.lmer_list("mathach ~ ses + (1 | schid)", data).pool()
        >>> pooled.predict_interval(data[0].head(2), n_sims=200, seed=1).shape
        (2, 3)
        """
        options = DrawOptions(
            n_sims, seed, conf_level, which, stat, residual, draws, return_draws, ignore_fixed_terms,
            fix_intercept_variance,
        )  # fmt: skip
        if which == "fixed":
            level, re_formula = "population", None
        rows = self._rows(newdata, level, re_formula, new_levels)
        if options.analytic(method):
            kind: Interval = "prediction" if residual else "confidence"
            table = predict_table(self.selection, rows, kind, conf_level, self._dfcom)
            return self._marked(table[["estimate", "conf_low", "conf_high"]])
        return self._marked(simulated_rows(self.selection, rows, options))

    # -- printing ----------------------------------------------------------------------------------------------------

    def summary(self) -> Summary:
        """Print what lme4's summary() prints, in its order; pooled, with riv, fmi and the verdict on every fit.

        Returns
        -------
        Summary
            Text that shows itself at the prompt and in notebooks.
        """
        return self._text("summary")

    def display(self) -> Summary:
        """Print the short form: random effects, groups, coefficients (merTools: fastdisp)."""
        return self._text("display")

    def report(self) -> str:
        """Facts for a methods section, in one paragraph of plain text.

        Returns
        -------
        str
            Model, estimator, observations and groups, rows left out, degrees of freedom, failed and singular fits,
            software; pooled also the number of imputations, the pooling rule and fractions of missing information.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 | Subject)", rx.datasets.sleepstudy())
        >>> print(fit.report().split(". ")[1])
        The data have 180 observations in 18 groups of Subject
        """
        return self._report()

    def __repr__(self) -> str:
        return str(self._text("print"))

    def _repr_html_(self) -> str:
        return self._text("print")._repr_html_()

    def to_frame(
        self, *, labels: Mapping[str, str] | None = None, digits: int = 2, exponentiate: bool = False
    ) -> pd.DataFrame:
        """Table of the model as it is printed: texts, indexed by part and row.

        Parameters
        ----------
        labels : dict, optional
            Words for terms (``"sex[T.m]"``), variables (``"sex"``) and grouping factors.
        digits : int, default 2
            Least number of decimals; more are shown where the standard error has fewer than two significant digits.
        exponentiate : bool, default False
            Coefficients of a generalised model as odds ratios (logit), rate ratios or ratios of means (log), with
            standard errors by the delta method.

        Returns
        -------
        pandas.DataFrame
            Columns ``Estimate``, ``SE``, ``95% CI``, ``df``, ``t``, ``p``, of a pooled model also ``FMI`` (fraction of
            missing information), of a generalised model of one data set ``z`` in place of ``df`` and ``t``;
            ``attrs["notes"]`` holds the notes below the table.

        Raises
        ------
        DataError
            labels is not a dict of texts or has a name that the model does not have; digits is not a number from 0 to
            6; coefficients are no logarithms of ratios.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 | Subject)", rx.datasets.sleepstudy())
        >>> fit.to_frame().loc["Fixed effects", ["Estimate", "95% CI"]].values.tolist()
        [['251.41', '[231.23, 271.58]'], ['10.47', '[8.88, 12.06]']]
        """
        return self._table(labels, digits, None, exponentiate=exponentiate).to_frame()

    def to_markdown(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        digits: int = 2,
        title: str | None = None,
        exponentiate: bool = False,
    ) -> str:
        """Table of the model in Markdown; see `to_frame`."""
        return self._table(labels, digits, title, exponentiate=exponentiate).to_markdown()

    def to_html(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        digits: int = 2,
        title: str | None = None,
        exponentiate: bool = False,
    ) -> str:
        """Table of the model in HTML; see `to_frame`. Needs great_tables."""
        return self._table(labels, digits, title, exponentiate=exponentiate).to_html()

    def to_latex(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        digits: int = 2,
        title: str | None = None,
        exponentiate: bool = False,
        label: str | None = None,
    ) -> str:
        r"""Table of the model in LaTeX; see `to_frame` and `ModelTable.to_latex`. Needs great_tables.

        The preamble needs ``\usepackage{booktabs, caption, longtable, colortbl, array}``.
        """
        return self._table(labels, digits, title, exponentiate=exponentiate).to_latex(label=label)

    def _table(
        self, labels: Mapping[str, str] | None, digits: int, title: str | None, *, exponentiate: bool
    ) -> ModelTable:
        return one_model(self._report_parts(), labels, digits, title, exponentiate=exponentiate)
