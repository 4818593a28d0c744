"""Estimated marginal means and intervals of one fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..fitting.selection import Selection
from ..inference.coefficients import Ddf, Vcov, coefficient_inference
from ..tables.coefficients import FitCombinations
from ..tables.confint import ConfintMethod, Profile, boot_limits, make_profiles, wald_limits
from ..tables.emmeans import EstimatedMeans, Scale, estimated_means
from ..tables.reference_grid import At, Weights


class FitIntervals:
    """Methods of ``LmerFit`` that go beyond one row of ``tidy``."""

    selection: Selection

    def emmeans(
        self,
        specs: str | Sequence[str],
        *,
        by: str | Sequence[str] | None = None,
        at: At | None = None,
        weights: Weights = "equal",
        type: Scale = "model",  # noqa: A002
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
            two; the mean of any other covariate. An offset stands at its mean.
        weights : {"equal", "proportional"}, default "equal"
            How the combinations of the variables averaged over count: all the same, or as many rows as the data have of
            their categories, as R's emmeans does it under that name. Prior weights do not count.
        type : {"model", "response"}, default "model"
            ``"response"``: means of a transformed response, such as ``log(y)`` or ``-1000 / y``, on the scale of y:
            estimates and limits transformed back, standard errors by the delta method.
        conf_level : float, default 0.95
        ddf, vcov, cluster
            As in `tidy`.

        Returns
        -------
        EstimatedMeans
            Its ``means`` are a table; ``differences(adjust=)`` compares them. NaN for a mean that the data do not
            determine, such as that of an empty cell.

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
        Lenth, R. V. (2022). emmeans. R package version 1.8.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("mathach ~ ses + female + (1 | schid)", rx.datasets.hsb())
        >>> fit.emmeans("female").means[["female", "estimate"]].round(2).values.tolist()
        [[0.0, 13.28], [1.0, 12.09]]
        """
        within = coefficient_inference(self.selection, ddf, vcov, cluster)
        combos = FitCombinations(self.selection, within, conf_level)
        return estimated_means(self.selection, specs, by, at, weights, type, combos)

    def confint(
        self,
        method: ConfintMethod = "wald",
        *,
        conf_level: float = 0.95,
        ddf: Ddf | npt.ArrayLike = "satterthwaite",
        n_sims: int = 1000,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Confidence limits of all parameters: SDs, correlations, sigma and coefficients.

        Parameters
        ----------
        method : {"wald", "profile", "boot"}, default "wald"
            ``wald``: from standard errors, on the log scale for SDs and Fisher's z for correlations (NaN on the
            boundary). ``profile``: where the ML deviance has risen by the quantile of chi-square (lme4's default).
            ``boot``: percentiles over refits to responses drawn from the fit. What is not identified has no limits of
            any kind.
        conf_level : float, default 0.95
        ddf : {"satterthwaite", "kenward-roger", "residual"}, float or array_like (p,), default "satterthwaite"
            For ``wald``: degrees of freedom of the coefficients.
        n_sims : int, default 1000
            For ``boot``: refits.
        seed : int, optional
            For ``boot``: the same seed gives the same limits.

        Returns
        -------
        pandas.DataFrame
            ``effect group term estimate conf_low conf_high``. The estimates of ``profile`` are those of maximum
            likelihood, also for a REML fit, as in lme4. ``boot`` adds ``n_defined``, the refits in which the parameter
            has a value (a correlation beside a zero SD has none); ``attrs`` holds ``n_sims``, ``n_failed``,
            ``n_singular`` and ``seed``.

        Raises
        ------
        DataError
            An unknown method, a level outside (0, 1), or a fit that did not converge.

        Warns
        -----
        ConvergenceWarning
            Limits that a profile did not reach; refits that failed.

        References
        ----------
        Bates, D., Maechler, M., Bolker, B. and Walker, S. (2015). J. Stat. Softw. 67(1), sec. 5.1.
        Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application. Cambridge, ch. 5.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
        >>> fit.confint("profile").set_index("term").loc["Days", ["conf_low", "conf_high"]].round(2).tolist()
        [7.36, 13.58]
        """
        if method == "wald":
            return wald_limits(self.selection, conf_level, ddf)
        if method == "profile":
            return self.profile(conf_level=conf_level).confint()
        if method == "boot":
            return boot_limits(self.selection, conf_level, n_sims, seed)
        raise DataError(f"method={method!r} is not known: use 'wald', 'profile' or 'boot'")

    def profile(self, *, conf_level: float = 0.95) -> Profile:
        """Profile the likelihood over every parameter.

        Parameters
        ----------
        conf_level : float, default 0.95
            Level around whose limits the values lie most densely.

        Returns
        -------
        Profile
            Its ``table`` holds values and zeta to draw; ``confint()`` gives limits.

        References
        ----------
        Bates, D., Maechler, M., Bolker, B. and Walker, S. (2015). J. Stat. Softw. 67(1), sec. 5.1.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("Yield ~ 1 + (1 | Batch)", rx.datasets.dyestuff())
        >>> fit.profile().confint(0.9)[["term", "conf_low", "conf_high"]].round(1).values.tolist()
        [['sd__Intercept', 16.8, 72.9], ['sd__Observation', 39.7, 64.1], ['Intercept', 1494.8, 1560.2]]
        """
        return make_profiles(self.selection, conf_level)[0]
