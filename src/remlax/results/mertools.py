"""merTools' functions about draws, levels, chosen cases and the whole fit."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..fitting.selection import Selection
from ..predict.draws import DrawOptions, DrawsFrom, sim_fixef_table, sim_ranef_table
from ..predict.impact import impact_table, margins_table
from ..predict.levels import quantile_levels, rank_table
from ..predict.observations import Subset, average_case, random_cases
from ..predict.residuals import residual_values
from .subsamples import sub_boot


class MerTools:
    """What `LmerFit` and `PooledLmer` have of merTools; pooled, all of it counts the imputations."""

    selection: Selection

    @abstractmethod
    def _like(self, fits: Selection) -> Any:
        """Make the same kind of result from other data sets."""

    def sim_fixef(self, *, n_sims: int = 1000, seed: int | None = None, conf_level: float = 0.95) -> pd.DataFrame:
        """Summarise draws of the coefficients (merTools: FEsim).

        Parameters
        ----------
        n_sims, seed, conf_level
            As in ``predict_interval``.

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
        Draws come from the joint posterior of coefficients, random effects and sigma given theta (R's arm::sim), pooled
        as in `predict_interval`.

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
        n_sims, seed, conf_level
            As in ``predict_interval``. All draws are held at once: levels times draws numbers.

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
        group, term : str, optional
            Grouping factor and random-effects column; the first by default.

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
        n_sims, seed, conf_level
            As in ``predict_interval``: draws for the standard errors and limits.

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
        options = DrawOptions(n_sims, seed, conf_level)
        return impact_table(self.selection, newdata, group, term, breaks, options)

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
            As in ``predict_interval``; ``residual=False`` is about the expected response.

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
        options = DrawOptions(n_sims, seed, conf_level, which="all", residual=residual, draws=draws)
        return margins_table(self.selection, newdata, group, terms, percentiles, options)

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
        each = []
        for fit in self.selection.each:
            size = float(np.sqrt(np.mean(residual_values(fit, "response") ** 2)))
            each.append(size / float(np.std(fit.rows.y.of(fit.k), ddof=1)) if scale else size)
        return float(np.mean(each))

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
        spread is no standard error of a variance component. Transforms (``scale(x)``, ``poly(x, 2)``) are those of all
        subsamples together; pooled subsamples have model-based standard errors.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> fit.sub_boot(lambda f: f.fixef(), n_boot=5, seed=1).columns.tolist()
        ['replicate', 'converged', 'singular', 'Intercept', 'Days']
        """
        return sub_boot(self, self._like, statistic, n, n_boot, seed)
