"""Methods for shares of variance and for Monte Carlo error, of one fit and of the pooled model."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from ..errors import DataError
from ..fitting.fit import Fitted
from ..inference.coefficients import CoefficientInference
from ..pooling import RubinPool
from .fit_print import fit_notes
from .marks import mark
from .monte_carlo import fixed_errors, ran_pars_errors
from .shares import ShareEstimates, fit_shares, icc_estimates, nakagawa_estimates, pooled_shares, reduction_estimates


class FitMeasures:
    """Methods of ``LmerFit`` about shares of variance."""

    fitted_stack: Fitted
    lane: int

    def icc(self, *, conf_level: float = 0.95) -> pd.DataFrame:
        """Intraclass correlation of every grouping factor; see `PooledLmer.icc`.

        Returns
        -------
        pandas.DataFrame
            ``group kind estimate std_error conf_low conf_high scale``. On the boundary there is no standard error.

        Examples
        --------
        >>> import remlax as rx
        >>> fit = rx.lmer("mathach ~ ses + (1 | schid)", rx.datasets.hsb())
        >>> fit.icc()[["kind", "estimate", "conf_low", "conf_high"]].round(3).values.tolist()
        [['adjusted', 0.114, 0.089, 0.145], ['unadjusted', 0.105, 0.082, 0.134]]
        """
        table = fit_shares(icc_estimates(self.fitted_stack, np.array([self.lane])), conf_level)
        table.attrs["notes"] = fit_notes(self.fitted_stack, self.lane)
        return table

    def r2(self, *, conf_level: float = 0.95, n_sims: int = 200, seed: int | None = None) -> pd.DataFrame:
        """Explained variance; see `PooledLmer.r2`.

        Returns
        -------
        pandas.DataFrame
            ``measure level estimate std_error conf_low conf_high scale``.
        """
        lanes = np.array([self.lane])
        reductions, notes = reduction_estimates(self.fitted_stack, lanes, n_sims, seed)
        parts = [nakagawa_estimates(self.fitted_stack, lanes), reductions]
        table = pd.concat([fit_shares(part, conf_level) for part in parts], ignore_index=True)
        table.attrs["notes"] = [*notes, *fit_notes(self.fitted_stack, self.lane)]
        return table


class PooledMeasures:
    """Methods of ``PooledLmer`` about shares of variance and Monte Carlo error."""

    fitted_stack: Fitted
    lanes: tuple[int, ...]
    dropped: tuple[int, ...]
    rubin: RubinPool
    within: CoefficientInference

    def icc(self) -> pd.DataFrame:
        """Intraclass correlation of every grouping factor, pooled on the logit scale.

        The variance t of a factor is that of its random intercept; with random slopes the mean over the rows of
        z'Sigma z. ``adjusted``: t over the sum of all factors' variances and sigma^2. ``unadjusted``: the variance of
        the fixed part counts in the sum, too. ``intercept`` (for factors with random slopes): from the intercepts
        alone, that is where all predictors with random slopes are 0, as mitml prints it. Factors whose terms repeat
        each other, so that their own variances are not identified, have NaN, and a row together (``g + h``).

        Returns
        -------
        pandas.DataFrame
            ``group kind estimate std_error conf_low conf_high scale df riv lambda fmi scaled_estimate scaled_se ubar b
            t n_used mean n_boundary``: ``scaled_estimate`` to ``t`` are logits, ``mean`` is the plain mean over the
            imputations. Imputations where the variance is 0 (``n_boundary``) enter the mean only.

        Warns
        -----
        PoolingWarning
            Imputations on the boundary, by name.

        Notes
        -----
        The variance of a logit within an imputation comes from the exact covariance of the coefficients and the
        variance parameters by the delta method. With weights, sigma^2 is that of an observation of weight 1.

        References
        ----------
        Nakagawa, S., Johnson, P. C. D. and Schielzeth, H. (2017). J. R. Soc. Interface 14, 20170213.

        Examples
        --------
        >>> import remlax as rx
        >>> pooled = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed()).pool()
        >>> pooled.icc()[["kind", "estimate", "conf_low", "conf_high", "mean"]].round(3).values.tolist()
        [['adjusted', 0.115, 0.09, 0.146, 0.115], ['unadjusted', 0.106, 0.083, 0.135, 0.106]]
        """
        table = self._shares(icc_estimates(self.fitted_stack, np.array(self.lanes)))
        return mark(table, self.fitted_stack, self.lanes, self.dropped)

    def r2(self, *, n_sims: int = 200, seed: int | None = None) -> pd.DataFrame:
        """Explained variance, pooled.

        ``marginal`` and ``conditional``: share of the variance of the response that the fixed part, and the fixed part
        with the random effects, account for (Nakagawa and Schielzeth; mitml's MVP is the first).
        ``raudenbush-bryk``: proportional reduction of the residual variance and of the intercept variance of each
        factor against the model without predictors; ``snijders-bosker``: that of their sum. The model without
        predictors (an intercept, and one random intercept per factor) is fitted inside.

        Parameters
        ----------
        n_sims : int, default 200
            Responses drawn from the model per imputation. Both models are refitted to them for the standard errors of
            the reductions of variance, which depend on two fits to the same data.
        seed : int, optional
            The same seed gives the same draws.

        Returns
        -------
        pandas.DataFrame
            ``measure level``, then the columns of `icc`. ``mean`` is what mitml's ``multilevelR2`` gives. Marginal and
            conditional R2 are pooled as Fisher's z of the root, reductions as logarithms of the ratio of variances.

        Raises
        ------
        DataError
            ``n_sims`` is less than 2.

        Warns
        -----
        PoolingWarning
            Imputations on the boundary, by name.

        References
        ----------
        Nakagawa, S. and Schielzeth, H. (2013). Methods Ecol. Evol. 4, 133-142.
        Johnson, P. C. D. (2014). Methods Ecol. Evol. 5, 944-946.
        Raudenbush, S. W. and Bryk, A. S. (2002). Hierarchical Linear Models, 2nd ed. Sage, ch. 4.
        Snijders, T. A. B. and Bosker, R. J. (2012). Multilevel Analysis, 2nd ed. Sage, ch. 7.
        Harel, O. (2009). J. Appl. Stat. 36, 1109-1118.

        Examples
        --------
        >>> import remlax as rx
        >>> pooled = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed()).pool()
        >>> pooled.r2(n_sims=20, seed=1)[["measure", "mean"]].round(3).values.tolist()[:3]
        [['marginal', 0.077], ['conditional', 0.183], ['raudenbush-bryk', 0.055]]
        """
        lanes = np.array(self.lanes)
        reductions, notes = reduction_estimates(self.fitted_stack, lanes, n_sims, seed)
        parts = [self._shares(part) for part in (nakagawa_estimates(self.fitted_stack, lanes), reductions)]
        table = pd.concat(parts, ignore_index=True)
        table.attrs = {"notes": [*(note for part in parts for note in part.attrs["notes"]), *notes]}
        return mark(table, self.fitted_stack, self.lanes, self.dropped)

    def _shares(self, found: ShareEstimates) -> pd.DataFrame:
        labels = [self.fitted_stack.model.rows.labels[k] for k in self.lanes]
        return pooled_shares(found, self.rubin.conf_level, labels)

    def mcerror(self, effects: Literal["fixed", "ran_pars"] = "fixed") -> pd.DataFrame:
        """Monte Carlo error of the pooled numbers: how much they would change with other imputations of the same data.

        Parameters
        ----------
        effects : {"fixed", "ran_pars"}, default "fixed"
            The tables that ``tidy`` gives.

        Returns
        -------
        pandas.DataFrame
            The rows and numbers of ``tidy(effects)``, each number replaced by its standard error of the jackknife over
            imputations. That of a pooled coefficient is sqrt(B / K). NaN where a number is not finite without one of
            the imputations.

        Raises
        ------
        PoolingError
            Fewer than three imputations.
        DataError
            Another kind of effects.

        References
        ----------
        White, I. R., Royston, P. and Wood, A. M. (2011). Stat. Med. 30, 377-399, sec. 7 (Stata's ``mcerror``).

        Examples
        --------
        >>> import remlax as rx
        >>> pooled = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed()).pool()
        >>> pooled.mcerror()[["term", "estimate", "std_error"]].round(4).values.tolist()
        [['Intercept', 0.001, 0.0003], ['ses', 0.0093, 0.002]]
        """
        if effects == "fixed":
            betas = self.fitted_stack.beta[list(self.lanes)]
            variances = np.diagonal(self.within.vcov, axis1=1, axis2=2)
            table = fixed_errors(
                self.fitted_stack.model.fixed_names, betas, variances, self.rubin.dfcom, self.rubin.conf_level
            )
        elif effects == "ran_pars":
            table = ran_pars_errors(self.fitted_stack, self.lanes, self.rubin.conf_level)
        else:
            raise DataError(f"effects={effects!r} is not known: use 'fixed' or 'ran_pars'")
        return mark(table, self.fitted_stack, self.lanes, self.dropped)
