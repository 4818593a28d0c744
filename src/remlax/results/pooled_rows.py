"""What the pooled model says about rows: fitted values, residuals, predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..fitting.selection import Selection
from ..inference.coefficients import CoefficientInference
from ..pooling import RubinPool
from ..predict.draws import DrawsFrom, IntervalMethod, Stat, Which, analytic, interval_name, simulated_rows
from ..predict.known_terms import IgnoredTerms
from ..predict.newdata import Level, NewData, NewLevels, include_level, read_newdata, rows_of_fit
from ..predict.prediction import Interval, common_dfcom, estimates, predict_pooled
from ..predict.residuals import ResidualType, augment_pooled, residual_values
from ..tables.notes import mark


class PooledRows:
    """Methods of ``PooledLmer`` that answer for rows."""

    selection: Selection
    rubin: RubinPool
    within: CoefficientInference

    def fitted(self) -> pd.Series[float]:
        """Mean over the imputations of the fitted values X beta + Z b (+ offset), one per row.

        Raises
        ------
        DataError
            The data sets have different rows.
        """
        rows = rows_of_fit(self.selection, include_level(self.selection.fitted, "group"))
        return pd.Series(estimates(self.selection, rows).mean(axis=0), index=rows.index, name="fitted")

    def residuals(self, type: ResidualType = "response") -> pd.Series[float]:  # noqa: A002 (R's name)
        """Mean over the imputations of the residuals, one per row.

        Parameters
        ----------
        type : {"response", "pearson", "scaled", "marginal"}, default "response"
            As `LmerFit.residuals`.

        Raises
        ------
        DataError
            The type is not known, or the data sets have different rows.
        """
        rows = rows_of_fit(self.selection, include_level(self.selection.fitted, "group"))
        each = np.stack([residual_values(self.selection.one(k), type) for k in self.selection.which])
        return pd.Series(each.mean(axis=0), index=rows.index, name="residual")

    def augment(self, *, per_imputation: bool = False) -> pd.DataFrame:
        """Data of the model with pooled fitted values, residuals and influence, one row each.

        Parameters
        ----------
        per_imputation : bool, default False
            Add ``fitted_1``, ..., ``residual_1``, ... with the values of every imputation.

        Returns
        -------
        pandas.DataFrame
            The model's data columns that are the same in all imputations, then the columns of `LmerFit.augment`:
            means over the imputations, and for ``std_error`` the root of the total variance by Rubin's rules.

        Raises
        ------
        DataError
            The data sets have different rows, or a column of one of these names.
        """
        dfcom = common_dfcom(self.within, self.rubin.dfcom)
        return self._rows(augment_pooled(self.selection, dfcom, per_imputation=per_imputation))

    def predict(
        self,
        newdata: NewData = None,
        *,
        level: Level = "group",
        interval: Interval | None = None,
        conf_level: float = 0.95,
        new_levels: NewLevels = "error",
    ) -> pd.DataFrame:
        """Predict the response for new rows, or for the rows of the fits, pooled by Rubin's rules.

        Parameters
        ----------
        newdata : pandas.DataFrame, or K of them, or ImputedData, optional
            Rows to predict; where they are imputed themselves, one frame per imputation with the same rows.
        level : {"group", "population"} or list of str, default "group"
            All random effects take part, none, or those of the named grouping factors.
        interval : {"confidence", "prediction"}, optional
            Interval for the expected response, or for one new observation (of weight 1 for new data).
        conf_level : float, default 0.95
        new_levels : {"error", "mean", "draw"}, default "error"
            What to do with a level of a grouping factor that the fits have not seen: refuse it; predict the population
            mean; predict the mean and add the variance of its random effects to the intervals. Except for "error", rows
            without the grouping column are of one new level.

        Returns
        -------
        pandas.DataFrame
            ``estimate``; with an interval also ``std_error``, ``df``, ``conf_low``, ``conf_high``, ``riv``,
            ``lambda``, ``fmi``.

        Raises
        ------
        DataError, FormulaError
            A column is missing, a category or a level was not in the data of the fits, a cell is missing, or newdata
            holds another number of frames than there are fits.

        Warns
        -----
        RankDeficientWarning
            The data of the fits do not determine the fixed part of a row, which is NaN: columns that others determine
            there stand in another relation in newdata, or no row of the data is in its combination of categories.

        Notes
        -----
        The linear predictor is pooled: its variance within an imputation is that of `LmerFit.predict`, coefficients and
        modes together (model-based, also where ``pool`` was asked for robust or Kenward-Roger covariances), plus
        sigma^2 for a prediction interval; the degrees of freedom are Barnard and Rubin's with the
        complete-data degrees of freedom of that variance, Satterthwaite's averaged over the fits. Where ``pool`` was
        given another dfcom, that is used (the smallest, where it differs between coefficients).

        References
        ----------
        Rubin, D. B. (1987). Multiple Imputation for Nonresponse in Surveys. Wiley, ch. 3.
        van Buuren, S. (2018). Flexible Imputation of Missing Data, 2nd ed. CRC Press, section 5.2.

        Examples
        --------
        >>> import pandas as pd
        >>> import remlax as rx
        >>> pooled = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed()).pool()
        >>> new = pd.DataFrame({"ses": [0.0, 1.0], "schid": ["1224", "1224"]})
        >>> pooled.predict(new, interval="confidence").round(3)[["estimate", "std_error"]].values.tolist()
        [[11.062, 0.812], [13.446, 0.827]]
        """
        include = include_level(self.selection.fitted, level)
        rows = read_newdata(self.selection, newdata, include, new_levels)
        dfcom = common_dfcom(self.within, self.rubin.dfcom)
        return self._rows(predict_pooled(self.selection, rows, interval, conf_level, dfcom))

    def predict_interval(
        self,
        newdata: NewData = None,
        *,
        method: IntervalMethod = "simulate",
        level: Level = "group",
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
        """Intervals of predictions from draws of coefficients, random effects and residuals of every imputation.

        Parameters
        ----------
        newdata : pandas.DataFrame, or K of them, or ImputedData, optional
            As in `predict`.
        method : {"simulate", "analytic"}, default "simulate"
            Draws, or the formulas of `predict`, which know ``which="full"`` only.
        level : {"group", "population"} or list of str, default "group"
            As in `predict`.
        which : {"full", "fixed", "random", "all"}, default "full"
            Everything; x'beta and the offset; the random effects; or each of them in rows of its own, named by the
            column ``effect`` (``combined``, ``fixed`` and the grouping factors).
        stat : {"median", "mean"}, default "median"
            Centre of the draws that is reported as ``estimate``.
        n_sims : int, default 1000
            Draws per imputation.
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
            Coefficients, or terms with several, that count as known, with their pooled estimate: the others are drawn
            given those. Only with ``draws="separate"``, as ``fix_intercept_variance``.
        fix_intercept_variance : bool, default False
            Take from the variance of the intercept what it shares with random intercepts, roughly: merTools' correction
            for groups that the fit knows (not for new ones).

        Returns
        -------
        pandas.DataFrame
            ``estimate``, ``conf_low``, ``conf_high``; with ``which="all"`` also ``effect``.
            With ``return_draws=True`` a column for each draw of each imputation, whose quantiles the limits are; with
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
        The draws of all imputations are put together. Side by side they have the variance W + (K - 1)/K B, so the
        imputations' means are moved apart by sqrt((K + 1)/(K - 1)), which makes it Rubin's W + (1 + 1/K) B. merTools
        has no such function for a list of models.

        Examples
        --------
        >>> import remlax as rx
        >>> data = rx.datasets.hsb_imputed()
        >>> pooled = rx.lmer_list("mathach ~ ses + (1 | schid)", data).pool()
        >>> pooled.predict_interval(data[0].head(2), n_sims=200, seed=1).shape
        (2, 3)
        """
        include = include_level(self.selection.fitted, level)
        if which == "fixed":
            include = include_level(self.selection.fitted, "population")
        rows = read_newdata(self.selection, newdata, include, new_levels)
        correct = {
            "ignore_fixed_terms": ignore_fixed_terms is not None,
            "fix_intercept_variance": fix_intercept_variance,
        }
        if analytic(method, which, return_draws=return_draws, **correct):
            dfcom = common_dfcom(self.within, self.rubin.dfcom)
            interval = interval_name(residual)
            table = predict_pooled(self.selection, rows, interval, conf_level, dfcom)
            return self._rows(table[["estimate", "conf_low", "conf_high"]])
        table = simulated_rows(
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
        return self._rows(table)

    def _rows(self, table: pd.DataFrame) -> pd.DataFrame:
        return mark(table, self.selection)
