"""Estimated marginal means of the pooled model."""

from __future__ import annotations

from collections.abc import Sequence

from ..fitting.selection import Selection
from ..inference.coefficients import CoefficientInference
from ..pooling import RubinPool
from ..tables.coefficients import PooledCombinations
from ..tables.emmeans import EstimatedMeans, Scale, estimated_means
from ..tables.reference_grid import At, Weights


class PooledMeans:
    """Methods of ``PooledLmer`` about marginal means."""

    selection: Selection
    rubin: RubinPool
    within: CoefficientInference

    def emmeans(
        self,
        specs: str | Sequence[str],
        *,
        by: str | Sequence[str] | None = None,
        at: At | None = None,
        weights: Weights = "equal",
        type: Scale = "model",  # noqa: A002
    ) -> EstimatedMeans:
        """Estimated marginal means, pooled at every point of one reference grid.

        Parameters
        ----------
        specs : str or sequence of str
            Factors whose (combinations of) levels get a mean.
        by : str or sequence of str, optional
            Factors within whose levels means are compared.
        at : dict, optional
            Values of variables in the grid. By default: all categories of a factor; both values of a covariate that has
            two; the mean of any other covariate over all imputations, so that all have one grid. An offset stands at
            its mean, that of each imputation.
        weights : {"equal", "proportional"}, default "equal"
            How the combinations of the variables averaged over count: all the same, or as many rows as the data of all
            imputations together have of their categories, as R's emmeans does it under that name (for one data set).
            Prior weights do not count.
        type : {"model", "response"}, default "model"
            ``"response"``: means of a transformed response, such as ``log(y)`` or ``-1000 / y``, on the scale of y:
            estimates and limits transformed back after pooling, standard errors by the delta method.

        Returns
        -------
        EstimatedMeans
            Its ``means`` are a table; ``differences(adjust=)`` compares them. Each row is pooled by Rubin's rules with
            its own complete-data degrees of freedom, by the rule of ``pool(dfcom=)``. NaN for a mean that the data do
            not determine, such as that of an empty cell.

        Raises
        ------
        DataError
            A name is no variable of the fixed part, or a category is not in the data; ``type="response"`` where the
            way back from the response is not known.

        Warns
        -----
        RankDeficientWarning
            A mean cannot be estimated; the message names it.

        References
        ----------
        Searle, S. R., Speed, F. M. and Milliken, G. A. (1980). Am. Stat. 34, 216-221.
        Rubin, D. B. (1987). Multiple Imputation for Nonresponse in Surveys. Wiley, ch. 3.

        Examples
        --------
        >>> import remlax as rx
        >>> fits = rx.lmer_list("mathach ~ minority + ses + (1 | schid)", rx.datasets.hsb_imputed())
        >>> found = fits.pool().emmeans("minority")
        >>> found.means[["minority", "estimate"]].round(2).values.tolist()
        [[0.0, 13.43], [1.0, 10.66]]
        >>> found.differences()[["contrast", "estimate"]].round(2).values.tolist()
        [['0 - 1', 2.77]]
        """
        combos = PooledCombinations(self.selection, self.within, self.rubin.conf_level)
        return estimated_means(self.selection, specs, by, at, weights, type, combos)
