"""Contrasts and tests of the pooled model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..inference.coefficients import CoefficientInference
from ..pooling import RubinPool
from ..pooling import linear as linear_pool
from .coefficients import pooled_table
from .constraints import Constraints, read_constraints
from .fit_tables import Effects
from .marks import mark
from .modes import Uncertainty, pooled_modes
from .redundancy_words import dropped_note
from .result import Result
from .result_table import result_table
from .variance import Scales, pooled_ran_pars
from .wald import WaldMethod, hypothesis, pooled_wald, test_frame


class PooledInference(Result):
    """Methods of ``PooledLmer`` that estimate and test."""

    lanes: tuple[int, ...]
    dropped: tuple[int, ...]
    rubin: RubinPool
    within: CoefficientInference

    def _marked(self, table: pd.DataFrame) -> pd.DataFrame:
        return mark(table, self.fitted_stack, self.lanes, self.dropped)

    def tidy(
        self, effects: Effects = "fixed", *, scales: Scales = "sdcor", uncertainty: Uncertainty = "conditional"
    ) -> pd.DataFrame:
        """Pooled estimates as a table, one row each.

        Parameters
        ----------
        effects : {"fixed", "ran_pars", "ran_vals", "ran_coefs"}, default "fixed"
            Coefficients; variance parameters; conditional modes; coefficient plus mode per level.
        scales : {"sdcor", "vcov"}, default "sdcor"
            For ``ran_pars``: SDs and correlations, or variances and covariances.
        uncertainty : {"conditional", "prediction"}, default "conditional"
            For ``ran_vals``: variances given beta (lme4's ``condVar``), or with its uncertainty (Henderson 1975). That
            of ``ran_coefs`` always counts beta, its covariance with the modes included.

        Returns
        -------
        pandas.DataFrame
            ``fixed``: ``term estimate std_error statistic df p_value conf_low conf_high riv lambda fmi ubar b t
            dfcom``.

            ``ran_pars``: ``group term estimate std_error conf_low conf_high scale df riv lambda fmi scaled_estimate
            scaled_se ubar b t n_used mean_sd mean_variance mean_cor mean_cov n_boundary``. SDs are pooled as logarithms
            and correlations as Fisher's z by Rubin's rules, covariances as they are; ``scaled_estimate`` to ``t`` are
            on that scale, ``estimate`` and the limits are transformed back, ``std_error`` is that of the delta method.
            ``mean_sd`` is the plain mean that merTools prints, ``mean_variance`` the one that mitml prints. Estimates
            on the boundary (``n_boundary`` of them) enter the means only.

            ``ran_vals``, ``ran_coefs``: ``group level term estimate std_error conf_low conf_high df riv lambda fmi ubar
            b t n_present``: within, between and total variance per level; a level without rows in a data set has mode 0
            and the prior variance there, ``n_present`` counts the data sets where it has rows.

            ``attrs`` names the imputations that are singular, failed or left out.

        Warns
        -----
        PoolingWarning
            Variance parameters on the boundary, and SDs so near 0 that their logarithms say nothing, by name and
            imputation.

        References
        ----------
        Rubin, D. B. (1987). Multiple Imputation for Nonresponse in Surveys. Wiley, ch. 3.
        van Buuren, S. (2018). Flexible Imputation of Missing Data, 2nd ed., sec. 5.2. Chapman & Hall/CRC.

        Examples
        --------
        >>> import remlax as rx
        >>> fits = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed())
        >>> fits.pool().tidy("ran_pars")[["term", "estimate", "std_error"]].round(2).values.tolist()
        [['sd__Intercept', 2.15, 0.15], ['sd__Observation', 6.09, 0.06]]
        """
        stack, lanes, level = self.fitted_stack, self.lanes, self.rubin.conf_level
        if effects == "fixed":
            table = pooled_table(self._names, self.rubin)
            table.attrs["notes"] = dropped_note(stack)
        elif effects == "ran_pars":
            table = pooled_ran_pars(stack, lanes, level, scales)
        elif effects in ("ran_vals", "ran_coefs"):
            table = pooled_modes(stack, lanes, level, coefficients=effects == "ran_coefs", uncertainty=uncertainty)
        else:
            raise DataError(f"effects={effects!r} is not known: use 'fixed', 'ran_pars', 'ran_vals' or 'ran_coefs'")
        return result_table(self._marked(table))

    def contrast(
        self, L: Constraints, names: Sequence[str] | None = None, *, q0: npt.ArrayLike | None = None
    ) -> pd.DataFrame:
        """Pooled linear combinations of the coefficients, each with its own degrees of freedom.

        Parameters
        ----------
        L : str, list or dict of str, array_like (r, p), or DataFrame
            ``"a - b"``, ``{"difference": "a - b"}``, or a matrix with one column per coefficient (matched by name where
            it is a DataFrame, whose index names the rows).
        names : sequence of str, optional
            One per combination.
        q0 : float or array_like (r,), optional
            Values under the null hypothesis of ``statistic`` and ``p_value``; 0 by default.

        Returns
        -------
        pandas.DataFrame
            The columns of ``tidy("fixed")``.

        Raises
        ------
        FormulaError
            L cannot be read.

        References
        ----------
        Rubin, D. B. (1987). Multiple Imputation for Nonresponse in Surveys. Wiley, ch. 3.

        Examples
        --------
        >>> import remlax as rx
        >>> fits = rx.lmer_list("mathach ~ minority + female + (1 | schid)", rx.datasets.hsb_imputed())
        >>> fits.pool().contrast({"gap": "minority - female"})["estimate"].round(2).tolist()
        [-2.16]
        """
        linear = read_constraints(L, self._names, q0, names, terms=self._term_names, dropped=self._dropped)
        self.fitted_stack.model.check_digits(linear.matrix)
        dfcom = self.within.df(linear.matrix).mean(axis=0)
        table = pooled_table(linear.labels, linear_pool(self.rubin, linear.matrix, linear.null, dfcom=dfcom))
        return result_table(self._marked(table))

    def test(
        self, constraints: Constraints, q0: npt.ArrayLike | None = None, *, method: WaldMethod = "D1"
    ) -> pd.DataFrame:
        """Test linear hypotheses about the coefficients jointly.

        Parameters
        ----------
        constraints : str, list of str, array_like (r, p), or DataFrame
            ``"minority = female"``, ``["ses", "meanses"]`` (both are 0), ``"2*a - b = 1"``, a term such as ``"f"`` or
            ``"f:x"`` for all its coefficients, or a matrix L.
        q0 : float or array_like (r,), optional
            Values under the hypothesis, 0 by default.
        method : {"D1", "D2"}, default "D1"
            D1 pools the estimates and their covariances; with finite complete-data degrees of freedom (those of the F
            test in each fit, averaged) its denominator df are Reiter's. D2 pools the Wald statistics of the fits. With
            ``dfcom="kenward-roger"`` both use the adjusted covariances, and D1 the df, but neither the factor by which
            Kenward and Roger multiply the F statistic of one fit: no pooled form of it is known.

        Returns
        -------
        pandas.DataFrame
            One row: ``hypothesis statistic df1 df2 p_value riv dfcom method note``.

        Raises
        ------
        FormulaError, DataError
            The hypotheses cannot be read, or depend on each other.

        References
        ----------
        Li, K. H., Raghunathan, T. E. and Rubin, D. B. (1991). JASA 86, 1065-1073.
        Reiter, J. P. (2007). Biometrika 94, 502-508.

        Examples
        --------
        >>> import remlax as rx
        >>> fits = rx.lmer_list("mathach ~ minority + female + (1 | schid)", rx.datasets.hsb_imputed())
        >>> fits.pool().test("minority = female")[["df1", "method"]].values.tolist()
        [[1, 'D1']]
        """
        linear = read_constraints(constraints, self._names, q0, terms=self._term_names, dropped=self._dropped)
        self.fitted_stack.model.check_digits(linear.matrix, joint=True)
        found = pooled_wald(self.fitted_stack.beta[list(self.lanes)], self.within, linear, method)
        return result_table(self._marked(test_frame(found, hypothesis(linear))))
