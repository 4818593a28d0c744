"""Average marginal effects and comparisons, of one fit and pooled."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from ..inference.coefficients import CoefficientInference
from ..predict.glmm_prediction import GlmmLevel
from ..predict.marginal_effects import Averages, Comparison, Contrasts
from ..tables.result_table import ResultTable, result_table
from .result import ModelResult


class MarginalEffects(ModelResult):
    """What a variable does to the expected response, averaged over the rows of the data."""

    @abstractmethod
    def _inference(self) -> tuple[CoefficientInference, float]:
        """Inference about the coefficients, and the level of limits unless another is asked for."""

    def _averages(self, level: GlmmLevel, conf_level: float | None) -> Averages:
        within, own = self._inference()
        return Averages(self.selection, within, level, own if conf_level is None else conf_level)

    def slopes(self, variables: str | Sequence[str], *, conf_level: float | None = None) -> ResultTable:
        """Average marginal effects: derivatives of the expected response in variables, averaged over the rows.

        Parameters
        ----------
        variables : str or list of str
            Numeric variables of the fixed part.
        conf_level : float, optional
            0.95, or that of ``pool()``, unless given.

        Returns
        -------
        ResultTable
            ``term estimate std_error statistic df p_value conf_low conf_high``; pooled, ``riv lambda fmi ubar b t
            dfcom`` as well.

        Raises
        ------
        DataError
            A name is no variable of the fixed part, or is no number; the offset was given as an array.

        Notes
        -----
        The effect of an interaction or of a polynomial is averaged over the rows of the data of each fit. Random slopes
        have the mean zero and do not count. Pooled are the effects, by Rubin's rules. Derivatives in the variable are
        differences of fourth order.

        References
        ----------
        Arel-Bundock, V., Greifer, N. and Heiss, A. (2024). How to interpret statistical models using marginaleffects
        for R and Python. J. Stat. Softw. 111(9).

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + I(Days^2) + (1 | Subject)", rx.datasets.sleepstudy())
        >>> fit.slopes("Days")["estimate"].round(2).tolist()
        [10.47]
        """
        return result_table(self._marked(self._averages("population", conf_level).slopes(variables)))

    def comparisons(
        self, contrasts: Contrasts, *, comparison: Comparison = "difference", conf_level: float | None = None
    ) -> ResultTable:
        """Compare expected responses at two values of a variable, averaged over the rows.

        Parameters
        ----------
        contrasts : str, list of str, or dict
            Categorical variables, whose other categories are compared with the first; or a dict from variables to the
            two values, as in ``{"x": (0, 1)}``, which is the mean response at 1 against that at 0.
        comparison : {"difference", "ratio", "odds-ratio"}, default "difference"
            Difference of the mean responses, their ratio, or the ratio of the odds of mean probabilities. Ratios are
            pooled and tested on the logarithmic scale.
        conf_level : float, optional
            0.95, or that of ``pool()``, unless given.

        Returns
        -------
        ResultTable
            ``term contrast``, then the columns of `slopes`.

        Raises
        ------
        DataError
            As `slopes`; a value is no category; a numeric variable without values; a ratio of means that are not
            positive; odds of what is no probability.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("mathach ~ ses * female + (1 | schid)", rx.datasets.hsb())
        >>> fit.comparisons({"ses": (-1, 1)})[["contrast", "estimate"]].round(2).values.tolist()
        [['1 - -1', 4.72]]
        """
        return result_table(self._marked(self._averages("population", conf_level).comparisons(contrasts, comparison)))


class GlmerMarginal(MarginalEffects):
    """The same of generalised linear mixed models, at a level of the random effects."""

    def slopes(
        self, variables: str | Sequence[str], *, level: GlmmLevel = "average", conf_level: float | None = None
    ) -> ResultTable:
        """Average marginal effects: derivatives of the expected response in variables, averaged over the rows.

        Parameters
        ----------
        variables : str or list of str
            Numeric variables of the fixed part.
        level : {"average", "group", "population"}, list of str or formula, default "average"
            Random effects, as in `predict`: averaged over, at their conditional modes, or zero.
        conf_level : float, optional
            0.95, or that of ``pool()``, unless given.

        Returns
        -------
        ResultTable
            As `LmerFit.slopes`; of an ordinal response one row for every ``category``.

        Raises
        ------
        DataError
            As `LmerFit.slopes`.

        Notes
        -----
        Errors are by the delta method over theta, coefficients and thresholds; the modes, where they take part, move
        with these and have their conditional variance, as in `predict`. Pooled are the effects, by Rubin's rules.

        References
        ----------
        Arel-Bundock, V., Greifer, N. and Heiss, A. (2024). J. Stat. Softw. 111(9).

        Examples
        --------
        >>> import remlax as rx
        >>> data = rx.datasets.hsb().assign(high=lambda d: d["mathach"] > 15)
        >>> fit = rx.glmer("high ~ ses + (1 | schid)", data)
        >>> fit.slopes("ses")["term"].tolist()
        ['ses']
        """
        return result_table(self._marked(self._averages(level, conf_level).slopes(variables)))

    def comparisons(
        self,
        contrasts: Contrasts,
        *,
        comparison: Comparison = "difference",
        level: GlmmLevel = "average",
        conf_level: float | None = None,
    ) -> ResultTable:
        """Compare expected responses at two values of a variable, averaged over the rows.

        Parameters
        ----------
        contrasts, comparison
            As in `LmerFit.comparisons`.
        level, conf_level
            As in `slopes`.

        Returns
        -------
        ResultTable
            ``term contrast``, then the columns of `slopes`.

        Raises
        ------
        DataError
            As `LmerFit.comparisons`.

        Examples
        --------
        >>> import remlax as rx
        >>> data = rx.datasets.hsb().assign(high=lambda d: d["mathach"] > 15)
        >>> fit = rx.glmer("high ~ ses + female + (1 | schid)", data)
        >>> fit.comparisons({"female": (0, 1)}, comparison="odds-ratio")["contrast"].tolist()
        ['odds 1 / 0']
        """
        return result_table(self._marked(self._averages(level, conf_level).comparisons(contrasts, comparison)))
