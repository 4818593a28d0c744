"""The pooled mixed model for repeated measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...errors import DataError
from ...fitting.selection import Selection
from ...inference.coefficients import GivenDf
from ...inference.mmrm.choice import mmrm_inference
from ...predict.mmrm_rows import mmrm_augment_table
from ...tables.coefficients import pooled_table
from ...tables.printing import Summary
from ...tables.result_table import ResultTable, result_table
from ..model_table import ModelParts
from ..pooled import PooledLmer, pool_selection
from ..text import Form
from .covariance import residual_covariance_frame, sd_and_correlation_table
from .fit import EFFECTS, NO_LEVELS
from .rows import MmrmResult
from .words import mmrm_pooled_parts, mmrm_pooled_report, mmrm_pooled_text, patient_counts


@dataclass(frozen=True, eq=False, repr=False)
class PooledMmrm(MmrmResult, PooledLmer):
    """K mixed models for repeated measures pooled by Rubin's rules; made by ``fits.pool()``."""

    _fitted_by = "rx.mmrm"

    def _like(self, fits: Selection) -> PooledMmrm:
        dfcom = self.rubin.dfcom if isinstance(self.within, GivenDf) else "satterthwaite"
        found = pool_selection(fits, mmrm_inference(fits, dfcom), self.rubin.conf_level)
        return PooledMmrm(found.selection, found.rubin, found.within)

    def residual_covariance(self) -> pd.DataFrame:
        """Mean of the covariance matrices of the visits over the fits, (T, T); see `MmrmFit.residual_covariance`."""
        return residual_covariance_frame(self.selection)

    def residual_correlation(self) -> pd.DataFrame:
        """Mean of the correlations of the visits over the fits; ``tidy("ran_pars")`` pools them by Rubin's rules."""
        return residual_covariance_frame(self.selection, correlation=True)

    def tidy(self, effects: str = "fixed") -> ResultTable:  # type: ignore[override]
        """Pooled estimates as a table, one row each.

        Parameters
        ----------
        effects : {"fixed", "ran_pars"}, default "fixed"
            Coefficients; or SDs and correlations of the visits, pooled as logarithms and as Fisher's z.

        Returns
        -------
        ResultTable
            The columns of `PooledLmer.tidy`; for ``ran_pars`` with ``mean``, the plain mean.
        """
        if effects not in EFFECTS:
            raise DataError(f"effects={effects!r}: {NO_LEVELS}")
        if effects == "ran_pars":
            return result_table(self._marked(sd_and_correlation_table(self.selection, self.conf_level)))
        return self._coefficients(pooled_table(self._names, self.rubin))

    def glance(self) -> pd.DataFrame:
        """One row of facts about the pooled model."""
        table = super().glance()
        table["sigma"] = float(np.mean(patient_counts(self.selection)))
        return table.rename(columns={"sigma": "n_patients"})

    def augment(self, *, per_imputation: bool = False) -> pd.DataFrame:
        """Data with fitted means and residuals, means over the imputations.

        Parameters
        ----------
        per_imputation : bool, default False
            Add fitted means and residuals of every imputation.

        Returns
        -------
        pandas.DataFrame
            As `MmrmFit.augment`, with the columns of the data that are the same in all imputations; ``std_error`` is
            the root of Rubin's total variance.

        Raises
        ------
        DataError
            The data sets have different rows.
        """
        return self._marked(mmrm_augment_table(self.selection, per_imputation=per_imputation))

    def _text(self, form: Form) -> Summary:
        return mmrm_pooled_text(self.selection, self.rubin, self.df_rule, form)

    def _report(self) -> str:
        return mmrm_pooled_report(self.selection, self.rubin, self.within, self.df_rule)

    def _report_parts(self) -> ModelParts:
        return mmrm_pooled_parts(self.selection, self.rubin, self.df_rule)
