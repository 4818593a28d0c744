"""What a mixed model for repeated measures and its pooled form do alike, and what has no sense there: refused."""

from __future__ import annotations

from typing import Any, NoReturn

import pandas as pd

from ...errors import DataError
from ...predict.mmrm_rows import MmrmLevel, MmrmResidualType, mmrm_predict_table, mmrm_residual_series
from ...predict.newdata import NewData
from ...predict.prediction import Interval
from ..result import ModelResult

NO_EFFECTS = "a mixed model for repeated measures has no random effects"
COVARIANCES = "use residual_covariance(), residual_correlation() or tidy('ran_pars') for the covariance of the visits"


def _refuse(name: str, reason: str) -> NoReturn:
    raise DataError(f"{name}: {reason}")


class MmrmResult(ModelResult):
    """Rows of mixed models for repeated measures; methods of models with random effects are refused."""

    def fitted(self) -> pd.Series[float]:
        """Fitted means X beta (+ offset), one per row in the model; pooled, their means.

        Raises
        ------
        DataError
            Pooled data sets have different rows.
        """
        return super().fitted()

    def residuals(  # type: ignore[override]
        self,
        type: MmrmResidualType = "response",  # noqa: A002 (R's name)
    ) -> pd.Series[float]:
        """Residuals, one per row in the model; pooled, their means.

        Parameters
        ----------
        type : {"response", "pearson", "normalized"}, default "response"
            Response minus fitted mean; that over the SD of the visit; or all residuals of a patient times the inverse
            of the Cholesky factor of their covariance matrix, uncorrelated with variance 1 where the model holds.

        Raises
        ------
        DataError
            An unknown type, or pooled data sets with different rows.
        """
        return mmrm_residual_series(self.selection, type)

    def predict(  # type: ignore[override]
        self,
        newdata: NewData = None,
        *,
        level: MmrmLevel = "population",
        interval: Interval | None = None,
        conf_level: float = 0.95,
    ) -> pd.DataFrame:
        """Predict means for new rows, or for the rows of the fit; pooled by Rubin's rules.

        Parameters
        ----------
        newdata : pandas.DataFrame, or (pooled) K of them, or ImputedData, optional
            Rows to predict, with the columns of the fixed part; those of visits (and groups) for prediction intervals,
            and of patients too for ``level="patient"``.
        level : {"population", "patient"}, default "population"
            Means X beta; or means given the observed visits of the patient in the data of the fit, which for an
            observed visit are the observation itself.
        interval : {"confidence", "prediction"}, optional
            Interval for the mean, or for one observation of weight 1.
        conf_level : float, default 0.95

        Returns
        -------
        pandas.DataFrame
            ``estimate``; with an interval also ``std_error df conf_low conf_high``, and pooled ``riv lambda fmi``.
            Degrees of freedom are Satterthwaite's. That the covariance matrix is estimated does not enter the standard
            error.

        Raises
        ------
        DataError, FormulaError
            A column is missing, or a category, a visit or a patient was not in the data of the fit.

        Examples
        --------
        >>> import remlax as rx
        >>> data = rx.datasets.sleepstudy().query("Days < 4")
        >>> fit = rx.mmrm("Reaction ~ Days + us(Days | Subject)", data.query("Days < 3 or Subject != '308'"))
        >>> last = data.query("Days == 3 and Subject == '308'")
        >>> [round(float(fit.predict(last, level=level)["estimate"].iloc[0])) for level in ("population", "patient")]
        [274, 260]
        """
        return self._marked(mmrm_predict_table(self.selection, newdata, level, interval, conf_level, self._dfcom))

    @property
    def theta(self) -> NoReturn:
        """Refused: there are no relative covariance factors."""
        _refuse("theta", f"{NO_EFFECTS}; {COVARIANCES}")

    def varcorr(self) -> NoReturn:
        """Refused: see `residual_covariance`."""
        _refuse("varcorr()", f"{NO_EFFECTS}; {COVARIANCES}")

    def ranef(self, *, cond_var: bool = False) -> NoReturn:
        """Refused: there are no random effects."""
        _refuse("ranef()", NO_EFFECTS)

    def icc(self, **_: Any) -> NoReturn:
        """Refused: see `residual_correlation`."""
        _refuse("icc()", f"{NO_EFFECTS}; residual_correlation() has the correlations of the visits")

    def r2(self, **_: Any) -> NoReturn:
        """Refused: it compares variances of random effects."""
        _refuse("r2()", f"{NO_EFFECTS}, and every visit may have its own variance")

    def sim_ranef(self, group: str | None = None, **_: Any) -> NoReturn:
        """Refused: there are no random effects."""
        _refuse("sim_ranef()", NO_EFFECTS)

    def expected_rank(self, group: Any = None, term: Any = None) -> NoReturn:
        """Refused: there are no random effects."""
        _refuse("expected_rank()", NO_EFFECTS)

    def re_quantile(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: there are no random effects."""
        _refuse("re_quantile()", NO_EFFECTS)

    def re_impact(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: there are no random effects."""
        _refuse("re_impact()", NO_EFFECTS)

    def re_margins(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: there are no random effects."""
        _refuse("re_margins()", NO_EFFECTS)

    def predict_interval(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: its draws are of random effects."""
        _refuse("predict_interval()", f"{NO_EFFECTS} to draw: use predict(interval=...)")

    def sub_boot(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: subsamples of groups are of models with random effects."""
        _refuse("sub_boot()", f"{NO_EFFECTS}, of which it draws groups")

    def rmse(self, *, scale: bool = False) -> NoReturn:
        """Refused: every visit may have its own variance."""
        _refuse("rmse()", f"every visit may have its own variance: {COVARIANCES}")
