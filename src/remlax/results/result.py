"""Results: what a fit, a list of fits and the pooled model have in common."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from ..data.archive import write_archive
from ..fitting.selection import Selection
from ..predict.draws import (
    DrawsFrom,
    IntervalMethod,
    Stat,
    Which,
    analytic,
    interval_name,
    sim_fixef_table,
    sim_ranef_table,
    simulated_rows,
)
from ..predict.impact import impact_table, margins_table
from ..predict.known_terms import IgnoredTerms
from ..predict.levels import quantile_levels, rank_table
from ..predict.newdata import Level, NewData, NewLevels, PredictionRows, include_level, read_newdata
from ..predict.observations import Subset, average_case, random_cases
from ..predict.prediction import Interval
from .mertools import rmse, sub_boot
from .model_table import ModelParts, ModelTable, one_model


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

    @property
    def _dropped(self) -> list[str]:
        return self.selection.model.dropped_names

    @property
    def _term_names(self) -> dict[str, list[str]]:
        return self.selection.model.term_names

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

        See Also
        --------
        remlax.load
        """
        write_archive(path, *self._content())


class ModelResult(Result):
    """What `LmerFit` and `PooledLmer` do alike; pooled, all of it counts the imputations."""

    @abstractmethod
    def _like(self, fits: Selection) -> Any:
        """Make the same kind of result from other data sets."""

    @abstractmethod
    def _predicted(self, rows: PredictionRows, interval: Interval | None, conf_level: float) -> pd.DataFrame:
        """Table of predictions."""

    def _of_rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Say in a table what readers must know of the fits behind it."""
        return table

    @abstractmethod
    def _report_parts(self) -> ModelParts:
        """Numbers of the table for print."""

    # -- rows --------------------------------------------------------------------------------------------------------

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
            Rows to predict: the columns of the fixed part, of the random terms that take part and of offsets; where
            they are imputed themselves, one frame per imputation with the same rows.
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
            ``estimate``; with an interval also ``std_error``, ``df``, ``conf_low``, ``conf_high``, and pooled ``riv``,
            ``lambda``, ``fmi``. Index as newdata's.

        Raises
        ------
        DataError, FormulaError
            A column is missing, a category or a level was not in the data of the fit, a cell is missing, or newdata
            holds another number of frames than there are fits.

        Warns
        -----
        RankDeficientWarning
            The data of the fit do not determine the fixed part of a row, which is NaN: columns that others determine
            there stand in another relation in newdata, or no row of the data is in its combination of categories.

        Notes
        -----
        The standard error belongs to x'(beta-hat - beta) + z'(b-hat - b), coefficients and modes together: the inverse
        of Henderson's mixed-model equations (Henderson 1975, Biometrics 31:423), plus sigma^2 for a prediction
        interval. Degrees of freedom are Satterthwaite's for that variance (Giesbrecht & Burns 1985, Biometrics 41:477).
        That theta is estimated does not enter the standard error.

        Pooled is the linear predictor, with that variance within an imputation (model-based, also where ``pool`` was
        asked for robust or Kenward-Roger covariances) and Barnard and Rubin's degrees of freedom, from Satterthwaite's
        averaged over the fits. Where ``pool`` was given another dfcom, that is used (the smallest, where it differs
        between coefficients).

        References
        ----------
        Rubin, D. B. (1987). Multiple Imputation for Nonresponse in Surveys. Wiley, ch. 3.
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
        >>> pooled = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed()).pool()
        >>> new = pd.DataFrame({"ses": [0.0, 1.0], "schid": ["1224", "1224"]})
        >>> pooled.predict(new, interval="confidence").round(3)[["estimate", "std_error"]].values.tolist()
        [[10.988, 0.825], [13.387, 0.837]]
        """
        rows = read_newdata(
            self.selection, newdata, include_level(self.selection.fitted, level, re_formula), new_levels
        )
        return self._predicted(rows, interval, conf_level)

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
        newdata : pandas.DataFrame, or (pooled) K of them, or ImputedData, optional
            As in `predict`.
        method : {"simulate", "analytic"}, default "simulate"
            Draws, or the formulas of `predict`, which know ``which="full"`` only.
        level, re_formula
            As in `predict`.
        which : {"full", "fixed", "random", "all"}, default "full"
            Everything; x'beta and the offset; the random effects; or each of them in rows of its own, named by the
            column ``effect`` (``combined``, ``fixed`` and the grouping factors).
        stat : {"median", "mean"}, default "median"
            Centre of the draws that is reported as ``estimate``.
        n_sims : int, default 1000
            Draws (per imputation).
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
            Coefficients, or terms with several, that count as known, with their (pooled) estimate: the others are drawn
            given those. Only with ``draws="separate"``, as ``fix_intercept_variance``.
        fix_intercept_variance : bool, default False
            Take from the variance of the intercept what it shares with random intercepts, roughly: merTools' correction
            for groups that the fit knows (not for new ones).

        Returns
        -------
        pandas.DataFrame
            ``estimate``, ``conf_low``, ``conf_high`` (merTools: fit, lwr, upr); with ``which="all"`` also ``effect``.
            With ``return_draws=True`` a column for each draw (of each imputation), whose quantiles the limits are; with
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
        given = ("population", None) if which == "fixed" else (level, re_formula)
        include = include_level(self.selection.fitted, *given)
        rows = read_newdata(self.selection, newdata, include, new_levels)
        correct = {
            "ignore_fixed_terms": ignore_fixed_terms is not None,
            "fix_intercept_variance": fix_intercept_variance,
        }
        if analytic(method, which, return_draws=return_draws, **correct):
            table = self._predicted(rows, interval_name(residual), conf_level)
            return table[["estimate", "conf_low", "conf_high"]]
        return self._of_rows(
            simulated_rows(
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
        )

    # -- simulated estimates -----------------------------------------------------------------------------------------

    def sim_fixef(self, *, n_sims: int = 1000, seed: int | None = None, conf_level: float = 0.95) -> pd.DataFrame:
        """Summarise draws of the coefficients (merTools: FEsim).

        Parameters
        ----------
        n_sims : int, default 1000
            Draws (per imputation).
        seed : int, optional
            The same seed gives the same draws.
        conf_level : float, default 0.95

        Returns
        -------
        pandas.DataFrame
            ``term mean median sd conf_low conf_high``: the limits are quantiles of the draws.

        Raises
        ------
        DataError
            Fewer than two draws, or a level outside (0, 1).

        Notes
        -----
        Draws come from the joint posterior of coefficients, random effects and sigma given theta (R's arm::sim; Gelman
        and Hill 2007, section 7.2). Pooled: the draws of all imputations together, the imputations' means moved apart
        so that the variance is Rubin's.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> fit.sim_fixef(n_sims=200, seed=1)["term"].tolist()
        ['Intercept', 'Days']
        """
        return sim_fixef_table(self.selection, n_sims, seed, conf_level)

    def sim_ranef(
        self, group: str | None = None, *, n_sims: int = 1000, seed: int | None = None, conf_level: float = 0.95
    ) -> pd.DataFrame:
        """Summarise draws of the random effects (merTools: REsim).

        Parameters
        ----------
        group : str, optional
            One grouping factor; all by default.
        n_sims : int, default 1000
            Draws (per imputation). All are held at once: levels times draws numbers.
        seed : int, optional
        conf_level : float, default 0.95

        Returns
        -------
        pandas.DataFrame
            ``group level term mean median sd conf_low conf_high``. Unlike the conditional SD of `ranef`, ``sd`` counts
            that the coefficients are estimated.

        Raises
        ------
        DataError
            No such grouping factor; fewer than two draws.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> fit.sim_ranef(n_sims=200, seed=1).shape
        (36, 8)
        """
        return sim_ranef_table(self.selection, group, n_sims, seed, conf_level)

    # -- levels ------------------------------------------------------------------------------------------------------

    def expected_rank(self, group: str | None = None, term: str | Sequence[str] | None = None) -> pd.DataFrame:
        """Rank the levels of grouping factors, counting how uncertain their effects are (merTools: expectedRank).

        Parameters
        ----------
        group : str, optional
            One grouping factor; all by default.
        term : str or list of str, optional
            Random-effects columns; all by default.

        Returns
        -------
        pandas.DataFrame
            ``group level term estimate std_error expected_rank percentile``. The rank is 1 + the sum over the other
            levels of the probability that this one is higher, from 1 to L; the percentile is 100 (rank - 0.5) / L.
            Pooled: the mean of the imputations' expected ranks, beside the pooled mode and its total standard error.

        Raises
        ------
        DataError
            No such grouping factor or term.

        References
        ----------
        Lingsma, H. F. et al. (2010). Comparing and ranking hospitals based on outcome. QJM 103, 99-108.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> fit.expected_rank(term="Days").head(1)[["level", "expected_rank", "percentile"]].round(1).values.tolist()
        [['308', 17.2, 92.7]]
        """
        return rank_table(self.selection, group, term)

    def re_quantile(
        self, probs: float | Sequence[float] = 0.5, group: str | None = None, term: str | None = None
    ) -> pd.Series[str]:
        """Find the levels at quantiles of the conditional modes (merTools: REquantile).

        Parameters
        ----------
        probs : float or list of float, default 0.5
            Between 0 and 1.
        group : str, optional
            Grouping factor; the first by default.
        term : str, optional
            Random-effects column; the first by default.

        Returns
        -------
        pandas.Series of str
            Level names, indexed by prob: the floor(prob L)-th of the L sorted modes, at least the first.

        Raises
        ------
        DataError
            A prob outside [0, 1]; no such grouping factor or term.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> fit.re_quantile([0.1, 0.5, 0.9]).tolist()
        ['309', '308', '331']
        """
        return quantile_levels(self.selection, probs, group, term)

    def re_impact(
        self,
        newdata: pd.DataFrame,
        *,
        group: str | None = None,
        term: str | None = None,
        breaks: int = 3,
        n_sims: int = 1000,
        seed: int | None = None,
        conf_level: float = 0.95,
    ) -> pd.DataFrame:
        """Move chosen cases through the distribution of group effects (merTools: REimpact).

        Parameters
        ----------
        newdata : pandas.DataFrame (C rows)
            The cases.
        group : str, optional
            Grouping factor; the first by default.
        term : str, optional
            Random-effects column by whose expected ranks the levels are put into bins; the first by default.
        breaks : int, default 3
            Bins of equal width between the lowest and the highest percentile (in whole numbers, as merTools has it).
        n_sims : int, default 1000
            Draws (per imputation) for the standard errors and limits.
        seed : int, optional
        conf_level : float, default 0.95

        Returns
        -------
        pandas.DataFrame
            ``case bin percentile_low percentile_high n_levels estimate std_error conf_low conf_high``: the expected
            response of the case, averaged over the levels of the bin with weights 1 / standard error of its prediction.

        Raises
        ------
        DataError
            newdata is no data frame with cases, or lacks a column; no such grouping factor or term.

        Warns
        -----
        RankDeficientWarning
            As `predict`.

        Notes
        -----
        merTools' ``AvgFitSE`` is another quantity: the squared standard error of the weighted mean if the levels were a
        sample of independent numbers. Here ``std_error`` is that of the average given what the data say about
        coefficients and effects together.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> fit.re_impact(fit.average_obs(), seed=1)[["bin", "estimate"]].round(1).values.tolist()
        [[1.0, 268.5], [2.0, 297.8], [3.0, 324.3]]
        """
        return impact_table(
            self.selection,
            newdata,
            group=group,
            term=term,
            breaks=breaks,
            n_sims=n_sims,
            seed=seed,
            conf_level=conf_level,
        )

    def re_margins(
        self,
        newdata: pd.DataFrame,
        *,
        group: str | None = None,
        terms: str | Sequence[str] | None = None,
        percentiles: Sequence[float] = (12.5, 37.5, 62.5, 87.5),
        n_sims: int = 1000,
        seed: int | None = None,
        conf_level: float = 0.95,
        residual: bool = False,
        draws: DrawsFrom = "joint",
    ) -> pd.DataFrame:
        """Predict for chosen cases in typical levels (merTools: REmargins).

        Parameters
        ----------
        newdata : pandas.DataFrame (C rows)
            The cases.
        group : str, optional
            Grouping factor; the first by default.
        terms : str or list of str, optional
            Random-effects columns by whose expected ranks the levels are found; all of the factor by default.
        percentiles : list of float, default (12.5, 37.5, 62.5, 87.5)
            The level nearest to each is taken. merTools' ``breaks=4`` takes 1, 26, 51 and 76.
        n_sims, seed, conf_level, residual, draws
            As in `predict_interval`; ``residual=False`` is about the expected response.

        Returns
        -------
        pandas.DataFrame
            ``case term percentile level effect estimate conf_low conf_high``, long: ``effect`` is ``combined``,
            ``fixed`` or a grouping factor, as in ``predict_interval(which="all")``.

        Raises
        ------
        DataError
            As `re_impact`; a percentile outside [0, 100].

        Warns
        -----
        RankDeficientWarning
            As `predict`.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> table = fit.re_margins(fit.average_obs(), terms="Days", percentiles=[10, 90], seed=1)
        >>> table[table["effect"] == "combined"]["level"].tolist()
        ['309', '337']
        """
        return margins_table(
            self.selection,
            newdata,
            group=group,
            terms=terms,
            percentiles=percentiles,
            n_sims=n_sims,
            seed=seed,
            conf_level=conf_level,
            residual=residual,
            draws=draws,
        )

    # -- observations ------------------------------------------------------------------------------------------------

    def average_obs(self, subset: Subset = None) -> pd.DataFrame:
        """Make the average case (merTools: averageObs).

        Parameters
        ----------
        subset : dict, optional
            Values of some variables, for instance ``{"female": 1}``: the average over the rows that have them.

        Returns
        -------
        pandas.DataFrame (1 row)
            The model's variables: means of numbers, most frequent categories, and for every grouping factor the level
            at the median of its first effect. Over all imputations.

        Raises
        ------
        DataError
            A name is no variable of the model, or no row has the values.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> fit.average_obs().round(1).values.tolist()
        [[298.5, 4.5, '308']]
        """
        return average_case(self.selection, subset)

    def draw_obs(self, n: int = 1, *, subset: Subset = None, seed: int | None = None) -> pd.DataFrame:
        """Draw rows of the data at random, without replacement (merTools: draw).

        Parameters
        ----------
        n : int, default 1
        subset : dict, optional
            Values of some variables that the rows must have.
        seed : int, optional

        Returns
        -------
        pandas.DataFrame (n rows)
            The model's variables, each row from a random imputation.

        Raises
        ------
        DataError
            As `average_obs`; more rows than there are.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> fit.draw_obs(2, subset={"Subject": "308"}, seed=1).shape
        (2, 3)
        """
        return random_cases(self.selection, n, subset, seed)

    # -- the fit itself ----------------------------------------------------------------------------------------------

    def rmse(self, *, scale: bool = False) -> float:
        """Root mean squared residual (merTools: RMSE.merMod); pooled: the mean over the imputations.

        Parameters
        ----------
        scale : bool, default False
            In SDs of the response.

        Examples
        --------
        >>> import remlax as rx
        >>> round(rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy()).rmse(), 3)
        23.438
        """
        return rmse(self.selection, scale=scale)

    def sub_boot(
        self, statistic: Callable[[Any], Any], *, n: int | None = None, n_boot: int = 100, seed: int | None = None
    ) -> pd.DataFrame:
        """Refit to subsamples of the rows and compute a statistic of each refit (merTools: subBoot).

        Parameters
        ----------
        statistic : callable
            Takes a `LmerFit` (a `PooledLmer` where this is one) and returns a number, a vector, a Series or a dict of
            numbers, for instance ``lambda fit: fit.theta``.
        n : int, optional
            Rows per subsample, drawn with replacement; as many as there are by default. The same rows of every
            imputation.
        n_boot : int, default 100
            Subsamples; all are fitted in one batch.
        seed : int, optional

        Returns
        -------
        pandas.DataFrame
            ``replicate`` (0 is the fit itself), ``converged``, ``singular`` (any of the imputations), and the
            statistic's columns.

        Raises
        ------
        DataError
            The numbers are not whole and positive; the data sets have different rows; a subsample does not identify the
            model; the statistic returns no numbers.

        Notes
        -----
        Rows are drawn one by one, as merTools draws them: groups keep their number of levels only roughly, and the
        spread is no standard error of a variance component. Every subsample is fitted with the
        transforms (``scale(x)``, ``poly(x, 2)``) of all of them together; pooled subsamples have model-based standard
        errors.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> fit.sub_boot(lambda f: f.fixef(), n_boot=5, seed=1).columns.tolist()
        ['replicate', 'converged', 'singular', 'Intercept', 'Days']
        """
        return sub_boot(self, self._like, statistic, n, n_boot, seed)

    # -- tables for print --------------------------------------------------------------------------------------------

    def to_frame(self, *, labels: Mapping[str, str] | None = None, digits: int = 2) -> pd.DataFrame:
        """Table of the model as it is printed: texts, indexed by part and row.

        Parameters
        ----------
        labels : dict, optional
            Words for terms (``"sex[T.m]"``), variables (``"sex"``) and grouping factors.
        digits : int, default 2
            Least number of decimals; more are shown where the standard error has fewer than two significant digits.

        Returns
        -------
        pandas.DataFrame
            Columns ``Estimate``, ``SE``, ``95% CI``, ``df``, ``t``, ``p``, of a pooled model also ``FMI`` (fraction of
            missing information); ``attrs["notes"]`` holds the notes below the table.

        Raises
        ------
        DataError
            labels is not a dict of texts or has a name that the model does not have, or digits is not a number from 0
            to 6.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 | Subject)", rx.datasets.sleepstudy())
        >>> fit.to_frame().loc["Fixed effects", ["Estimate", "95% CI"]].values.tolist()
        [['251.41', '[231.23, 271.58]'], ['10.47', '[8.88, 12.06]']]
        """
        return one_model(self._report_parts(), labels, digits, None).to_frame()

    def to_markdown(self, *, labels: Mapping[str, str] | None = None, digits: int = 2, title: str | None = None) -> str:
        """Table of the model in Markdown; see `to_frame`."""
        return self._table(labels, digits, title).to_markdown()

    def to_html(self, *, labels: Mapping[str, str] | None = None, digits: int = 2, title: str | None = None) -> str:
        """Table of the model in HTML; see `to_frame`. Needs great_tables."""
        return self._table(labels, digits, title).to_html()

    def to_latex(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        digits: int = 2,
        title: str | None = None,
        label: str | None = None,
    ) -> str:
        r"""Table of the model in LaTeX; see `to_frame` and `ModelTable.to_latex`. Needs great_tables.

        The preamble needs ``\usepackage{booktabs, caption, longtable, colortbl, array}``.
        """
        return self._table(labels, digits, title).to_latex(label=label)

    def _table(self, labels: Mapping[str, str] | None, digits: int, title: str | None) -> ModelTable:
        return one_model(self._report_parts(), labels, digits, title)
