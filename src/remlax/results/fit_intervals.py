"""Estimated marginal means and intervals of one fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..fitting.coefficients import Ddf, Vcov, coefficient_inference
from ..fitting.fit import Fitted
from .coefficients import fit_table
from .emmeans import At, EstimatedMeans, estimated_means


class FitIntervals:
    """Methods of ``LmerFit`` that go beyond one row of ``tidy``."""

    fitted_stack: Fitted
    lane: int

    def emmeans(
        self,
        specs: str | Sequence[str],
        *,
        by: str | Sequence[str] | None = None,
        at: At | None = None,
        conf_level: float = 0.95,
        ddf: Ddf | npt.ArrayLike = "satterthwaite",
        vcov: Vcov = "model",
        cluster: str | None = None,
    ) -> EstimatedMeans:
        """Estimated marginal means over a reference grid, as R's emmeans.

        Parameters
        ----------
        specs : str or sequence of str
            Factors whose (combinations of) levels get a mean.
        by : str or sequence of str, optional
            Factors within whose levels means are compared.
        at : dict, optional
            Values of variables in the grid. By default: all categories of a factor; both values of a covariate that has
            two; the mean of any other covariate. Means are averaged over the grid with equal weights. Offsets do not
            count.
        conf_level : float, default 0.95
        ddf, vcov, cluster
            As in `tidy`.

        Returns
        -------
        EstimatedMeans
            Its ``means`` are a table; ``differences(adjust=)`` compares them.

        Raises
        ------
        DataError
            A name is no variable of the fixed part, a category is not in the data, or a mean cannot be estimated.

        References
        ----------
        Searle, S. R., Speed, F. M. and Milliken, G. A. (1980). Am. Stat. 34, 216-221.
        Lenth, R. V. (2022). emmeans. R package version 1.8.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("mathach ~ ses + female + (1 | schid)", rx.datasets.hsb())
        >>> fit.emmeans("female").means[["female", "estimate"]].round(2).values.tolist()
        [[0.0, 13.28], [1.0, 12.09]]
        """
        within = coefficient_inference(self.fitted_stack, (self.lane,), ddf, vcov, cluster)
        beta = self.fitted_stack.beta[self.lane]

        def table(matrix: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
            error = np.sqrt(np.einsum("ri,ij,rj->r", matrix, within.vcov[0], matrix))
            return fit_table(labels, matrix @ beta, error, within.df(matrix)[0], conf_level)

        return estimated_means(self.fitted_stack, (self.lane,), specs, by, at, table)
