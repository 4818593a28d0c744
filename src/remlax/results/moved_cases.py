"""What one fit, or the pooled model, predicts for cases moved to other groups."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..fitting.selection import Selection
from ..predict.draws import DrawsFrom
from ..predict.impact import impact_table, margins_table


class MovedCases:
    """Methods that `LmerFit` and `PooledLmer` share."""

    selection: Selection

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
