"""Tests, limits and facts of generalised linear mixed models, where they differ from those of linear ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..inference.coefficients import Ddf
from ..inference.glmm import Use, glmm_fitted, glmm_inference
from ..inference.glmm_checks import dispersion_table, zeros_table
from ..tables.checks import checks, fresh_seed
from ..tables.confint import NO_PROFILE, ConfintMethod, confint_tables
from ..tables.constraints import Constraints
from ..tables.result_table import ResultTable
from ..tables.shares import icc_table, r2_table
from .fit import LmerFit
from .fits import LmerFitList
from .pooled import PooledLmer


class GlmerTests(LmerFit):
    """Tests and limits of one fit: Wald z by default."""

    def contrast(  # type: ignore[override]
        self,
        L: Constraints,
        names: Sequence[str] | None = None,
        *,
        conf_level: float = 0.95,
        ddf: Ddf | npt.ArrayLike = math.inf,
        use: Use = "hessian",
    ) -> ResultTable:
        """Linear combinations of the coefficients, on the scale of the link; see `PooledLmer.contrast`.

        Parameters
        ----------
        L, names
            As in `PooledLmer.contrast`.
        conf_level : float, default 0.95
        ddf, use
            As in `GlmerFit.tidy`.

        Returns
        -------
        ResultTable
            The columns of ``tidy("fixed")``.
        """
        linear = self._linear(L, None, names)
        return self._contrasted(glmm_inference(self.selection, ddf, use), linear, conf_level)

    def test(  # type: ignore[override]
        self,
        constraints: Constraints,
        q0: npt.ArrayLike | None = None,
        *,
        ddf: Ddf | npt.ArrayLike = math.inf,
        use: Use = "hessian",
    ) -> ResultTable:
        """Wald test of linear hypotheses about the coefficients.

        Parameters
        ----------
        constraints, q0
            As in `PooledLmer.test`.
        ddf, use
            As in `GlmerFit.tidy`.

        Returns
        -------
        ResultTable
            One row: ``hypothesis statistic df1 df2 p_value method``. With ``df2`` infinite, ``statistic`` times
            ``df1`` is the Wald statistic, which is referred to chi-square with ``df1`` degrees of freedom.

        Raises
        ------
        FormulaError, DataError
            The hypotheses cannot be read, or depend on each other.
        """
        linear = self._linear(constraints, q0, joint=True)
        return self._tested(glmm_inference(self.selection, ddf, use), linear)

    def confint(
        self,
        method: ConfintMethod = "wald",
        *,
        conf_level: float = 0.95,
        ddf: Ddf | npt.ArrayLike = math.inf,
        n_sims: int = 1000,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Confidence limits of all parameters: SDs, correlations, shape parameters and coefficients.

        Parameters
        ----------
        method : {"wald", "boot"}, default "wald"
            ``wald``: from standard errors, on the log scale for SDs, sizes and shapes, and Fisher's z for correlations
            (NaN on the boundary). ``boot``: percentiles over refits to responses drawn from the fit.
        conf_level : float, default 0.95
        ddf : float or array_like (p,), default inf
            For ``wald``: degrees of freedom of the coefficients; ``math.inf`` for the normal distribution.
        n_sims, seed
            For ``boot``, as in `LmerFit.confint`.

        Returns
        -------
        pandas.DataFrame
            As of `LmerFit.confint`.

        Raises
        ------
        DataError
            An unknown method or ``"profile"``, a level outside (0, 1), or a fit that did not converge.
        """
        _refuse_profile(method)
        return confint_tables(self.selection, method, conf_level, ddf, n_sims, seed)[0]

    def profile(self, *, conf_level: float = 0.95) -> NoReturn:
        """Raise an error: profiles are for linear mixed models.

        Raises
        ------
        DataError
        """
        raise DataError(NO_PROFILE)

    def check_dispersion(self, *, n_sims: int = 500, seed: int | None = None) -> pd.DataFrame:
        """Does the response vary more than the family allows.

        Parameters
        ----------
        n_sims : int, default 500
            Responses drawn from the fit, with new random effects.
        seed : int, optional
            The same seed gives the same p-value.

        Returns
        -------
        pandas.DataFrame
            One row: ``statistic`` (Pearson's sum of squares, given the conditional modes); ``df`` (rows less
            parameters); ``dispersion`` (their ratio); ``expected`` (mean ratio of the draws); ``p_value`` (share of
            draws with a sum as large).

        Raises
        ------
        DataError
            0/1 and ordinal responses, in which overdispersion cannot be seen.

        Notes
        -----
        The ratio is below 1 where the modes follow the data, so that the draws say what it should be: each draw has
        modes of its own, at the estimates of the parameters. Where a size or a shape is estimated, it has followed the
        data as well, and the p-value is too large.

        References
        ----------
        Bolker, B. M. et al. (2009). Trends Ecol. Evol. 24, 127-135.
        Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application. Cambridge, ch. 4.

        Examples
        --------
        >>> import remlax as rx
        >>> data = rx.datasets.sleepstudy().assign(n=lambda d: (d["Reaction"] // 50).astype(int))
        >>> fit = rx.glmer("n ~ Days + (1 | Subject)", data, "poisson")
        >>> fit.check_dispersion(n_sims=50, seed=1)["df"].tolist()
        [177]
        """
        checks.whole(n_sims, "n_sims=", 2)
        return self._marked(dispersion_table(self.selection, n_sims, fresh_seed(seed)))

    def check_zeros(self, *, n_sims: int = 500, seed: int | None = None) -> pd.DataFrame:
        """Are there more zeros, or fewer, than the model expects.

        Parameters
        ----------
        n_sims : int, default 500
            Responses drawn from the fit, with new random effects.
        seed : int, optional
            The same seed gives the same numbers.

        Returns
        -------
        pandas.DataFrame
            One row: ``observed`` zeros, ``expected`` ones (mean over the draws), their ``ratio``, and ``p_value``
            (twice the smaller share of draws with as many or as few).

        Raises
        ------
        DataError
            0/1, ordinal and gamma responses.

        Notes
        -----
        The draws are at the estimates, which have followed the data: the p-value is too large.

        Examples
        --------
        >>> import remlax as rx
        >>> data = rx.datasets.sleepstudy().assign(n=lambda d: (d["Reaction"] // 50).astype(int))
        >>> fit = rx.glmer("n ~ Days + (1 | Subject)", data, "poisson")
        >>> fit.check_zeros(n_sims=50, seed=1)["observed"].tolist()
        [0]
        """
        checks.whole(n_sims, "n_sims=", 2)
        return self._marked(zeros_table(self.selection, n_sims, fresh_seed(seed)))

    def glance(self) -> pd.DataFrame:
        """One row of facts: family, link, log-likelihood, AIC, BIC, n, convergence, singularity."""
        fitted = glmm_fitted(self.selection)
        row = {"nobs": self.nobs, "family": fitted.family.name, "link": fitted.family.link}
        row |= {"n_quad": fitted.structure.n_quad, "loglik": self.loglik, "criterion": self.criterion()}
        row |= {"aic": self.aic, "bic": self.bic, "df_residual": self.nobs - self.n_parameters}
        row |= {"converged": self.converged, "singular": self.is_singular, "status": self.opt.status}
        return pd.DataFrame([row])

    def icc(self, *, conf_level: float = 0.95) -> pd.DataFrame:
        """Intraclass correlation of every grouping factor; see `PooledGlmer.icc`.

        Returns
        -------
        pandas.DataFrame
            ``group kind method estimate std_error conf_low conf_high scale``.

        Examples
        --------
        >>> import math
        >>> import remlax as rx
        >>> data = rx.datasets.hsb().assign(high=lambda d: d["mathach"] > 15)
        >>> fit = rx.glmer("high ~ ses + (1 | schid)", data)
        >>> variance = fit.varcorr()["vcov"][0]
        >>> bool(abs(fit.icc()["estimate"][0] - variance / (variance + math.pi**2 / 3)) < 1e-12)
        True
        """
        return self._marked(icc_table(self.selection, conf_level))

    def r2(self, *, conf_level: float = 0.95) -> pd.DataFrame:  # type: ignore[override]
        """Explained variance; see `PooledGlmer.r2`.

        Returns
        -------
        pandas.DataFrame
            ``measure level method estimate std_error conf_low conf_high scale``.
        """
        return self._marked(r2_table(self.selection, conf_level, 0, None))


class GlmerListTests(LmerFitList):
    """Limits of every fit."""

    def confint(
        self,
        method: ConfintMethod = "wald",
        *,
        conf_level: float = 0.95,
        ddf: Ddf | npt.ArrayLike = math.inf,
        n_sims: int = 1000,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Confidence limits of all parameters of every fit; see `GlmerFit.confint`.

        Returns
        -------
        pandas.DataFrame
            ``imp effect group term estimate conf_low conf_high``.
        """
        _refuse_profile(method)
        return super().confint(method, conf_level=conf_level, ddf=ddf, n_sims=n_sims, seed=seed)


class PooledGlmerTests(PooledLmer):
    """Shares of variance and facts of the pooled model."""

    def icc(self) -> pd.DataFrame:
        """Intraclass correlation of every grouping factor, pooled.

        As `PooledLmer.icc`, with the variance that the family and the link put in place of the residual variance.

        Returns
        -------
        pandas.DataFrame
            ``group kind method``, then the columns of `PooledLmer.icc`. ``method`` says what the residual variance is.

        Notes
        -----
        Binomial and ordinal responses: of the latent response, whose residual variance is pi^2/3 (logit), 1 (probit) or
        pi^2/6 (cloglog). Logarithmic links: of the logarithm of the response, whose residual variance is trigamma(nu)
        with 1/nu = 1/lambda (Poisson), 1/lambda + 1/size (negative binomial) or nu = shape (gamma); lambda is the mean
        response, the mean over the rows of exp(x'beta + offset + z'Sigma z / 2).

        Variances within an imputation are by the delta method, from the joint covariance of all parameters.

        References
        ----------
        Nakagawa, S., Johnson, P. C. D. and Schielzeth, H. (2017). J. R. Soc. Interface 14, 20170213.
        """
        return super().icc()

    def r2(self) -> pd.DataFrame:  # type: ignore[override]
        """Explained variance, pooled: the share that the fixed part, or it with the random effects, accounts for.

        Returns
        -------
        pandas.DataFrame
            ``measure level method``, then the columns of `icc`: ``marginal`` and ``conditional`` R2 with the residual
            variance of `icc`, pooled as Fisher's z of the root.

        References
        ----------
        Nakagawa, S., Johnson, P. C. D. and Schielzeth, H. (2017). J. R. Soc. Interface 14, 20170213.
        """
        return self._marked(r2_table(self.selection, self.conf_level, 0, None))

    def glance(self) -> pd.DataFrame:
        """One row of facts about the pooled model."""
        fits, fitted = self.selection, glmm_fitted(self.selection)
        row = {
            "n_imputations": self.n_imputations,
            "nobs": float(np.mean(fits.n_rows)),
            "family": fitted.family.name,
            "link": fitted.family.link,
            "n_quad": fitted.structure.n_quad,
            "criterion": float(np.mean(fitted.criterion[fits.index])),
            "fmi_max": float(np.nanmax(self.rubin.fmi, initial=0.0)),
            "n_singular": len(fits.singular),
            "n_failed": len(fits.failed),
            "n_dropped": len(fits.dropped),
        }
        return self._marked(pd.DataFrame([row]))


def _refuse_profile(method: object) -> None:
    if method == "profile":
        raise DataError(NO_PROFILE)
