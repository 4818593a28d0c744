"""Estimated marginal means of the pooled model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..fitting.coefficients import CoefficientInference
from ..fitting.fit import Fitted
from ..pooling import RubinPool
from ..pooling import linear as linear_pool
from .coefficients import pooled_table
from .emmeans import At, EstimatedMeans, estimated_means
from .marks import mark


class PooledMeans:
    """Methods of ``PooledLmer`` about marginal means."""

    fitted_stack: Fitted
    lanes: tuple[int, ...]
    dropped: tuple[int, ...]
    rubin: RubinPool
    within: CoefficientInference

    def emmeans(
        self, specs: str | Sequence[str], *, by: str | Sequence[str] | None = None, at: At | None = None
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
            two; the mean of any other covariate over all imputations, so that all have one grid. Means are averaged
            over the grid with equal weights. Offsets do not count.

        Returns
        -------
        EstimatedMeans
            Its ``means`` are a table; ``differences(adjust=)`` compares them. Each row is pooled by Rubin's rules with
            its own complete-data degrees of freedom, by the rule of ``pool(dfcom=)``.

        Raises
        ------
        DataError
            A name is no variable of the fixed part, a category is not in the data, or a mean cannot be estimated.

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

        def table(matrix: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
            dfcom = self.within.df(matrix).mean(axis=0)
            found = pooled_table(labels, linear_pool(self.rubin, matrix, 0.0, dfcom=dfcom))
            return mark(found, self.fitted_stack, self.lanes, self.dropped)

        return estimated_means(self.fitted_stack, self.lanes, specs, by, at, table)
