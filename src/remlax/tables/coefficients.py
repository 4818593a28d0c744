"""Coefficients as tables, and linear combinations of them, of one fit and pooled; NaN where there is no estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
import scipy

from ..fitting.selection import Selection
from ..inference.coefficients import CoefficientInference
from ..pooling import RubinPool, ScalarPool, pool_rubin, pool_scalars
from ..pooling import linear as linear_pool
from ..pooling.rubin import PooledColumns
from .checks import check_level
from .constraints import Linear
from .notes import fit_notes, mark

Pool = TypeVar("Pool", bound=PooledColumns)


def standard_errors(fit: Selection, within: CoefficientInference, contrasts: np.ndarray | None = None) -> np.ndarray:
    """Standard errors of contrasts (r, p), by default of the coefficients; NaN where their variance is not known."""
    rows = np.eye(fit.beta.shape[1]) if contrasts is None else contrasts
    error = np.sqrt(np.einsum("ri,ij,rj->r", rows, within.vcov[0], rows))
    return np.where(fit.unknown_variance(rows), np.nan, error)


def known_covariance(vcov: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Put NaN in rows and columns of a covariance matrix (p, p) where a variance is not known, (p,)."""
    return np.where(unknown[:, None] | unknown, np.nan, vcov)


def known_pool(pool: Pool, unknown: np.ndarray) -> Pool:
    """Put NaN in place of all but the estimates where the variance within imputations is not known, (r,)."""
    if not unknown.any():
        return pool
    names = [field.name for field in fields(PooledColumns) if field.name not in ("conf_level", "estimate", "dfcom")]
    lost: dict[str, Any] = {name: np.where(unknown, np.nan, getattr(pool, name)) for name in names}
    return replace(pool, **lost)


def fit_table(
    terms: Sequence[str],
    estimate: np.ndarray,
    error: np.ndarray,
    df: np.ndarray,
    conf_level: float,
    null: np.ndarray | float = 0.0,
) -> pd.DataFrame:
    """Estimates of one fit with t tests and limits."""
    check_level(conf_level)
    df = np.where(np.isnan(error), np.nan, df)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = (estimate - null) / error
    half = scipy.stats.t.ppf((1 + conf_level) / 2, df) * error
    return pd.DataFrame(
        {
            "term": list(terms),
            "estimate": estimate,
            "std_error": error,
            "statistic": statistic,
            "df": df,
            "p_value": 2 * scipy.stats.t.sf(np.abs(statistic), df),
            "conf_low": estimate - half,
            "conf_high": estimate + half,
        }
    )


def pooled_table(terms: Sequence[str], pool: RubinPool | ScalarPool) -> pd.DataFrame:
    """Pooled estimates with everything that Rubin's rules say about each."""
    ubar, b, t = (np.diag(part) if part.ndim == 2 else part for part in (pool.ubar, pool.b, pool.t))
    ubar, t, dfcom = (np.where(np.isnan(pool.std_error), np.nan, part) for part in (ubar, t, pool.dfcom))
    return pd.DataFrame(
        {
            "term": list(terms),
            "estimate": pool.estimate,
            "std_error": pool.std_error,
            "statistic": pool.statistic,
            "df": pool.df,
            "p_value": pool.p_value,
            "conf_low": pool.conf_low,
            "conf_high": pool.conf_high,
            "riv": pool.riv,
            "lambda": pool.lambda_,
            "fmi": pool.fmi,
            "ubar": ubar,
            "b": b,
            "t": t,
            "dfcom": dfcom,
        }
    )


class Combinations(Protocol):
    """What marginal means need to know about a model."""

    def table(self, matrix: np.ndarray, labels: Sequence[str], shift: np.ndarray | None = None) -> pd.DataFrame:
        """Table of the combinations (r, p), with a constant of each data set (K,) added; rows of NaN stay NaN."""
        ...

    def covariance(self, matrix: np.ndarray) -> np.ndarray:
        """Covariance (r, r) of the estimates of combinations without NaN."""
        ...


@dataclass(frozen=True, eq=False)
class FitCombinations:
    """Combinations of the coefficients of one fit."""

    fit: Selection
    within: CoefficientInference
    conf_level: float

    def table(self, matrix: np.ndarray, labels: Sequence[str], shift: np.ndarray | None = None) -> pd.DataFrame:
        """Table of the combinations (r, p)."""
        rows = _stand_in(matrix)
        error = standard_errors(self.fit, self.within, rows)
        estimate = rows @ self.fit.beta[0] + (0.0 if shift is None else shift[0])
        table = fit_table(labels, estimate, error, self.within.df(rows)[0], self.conf_level)
        table.attrs["notes"] = fit_notes(self.fit)
        return _blanked(table, matrix)

    def covariance(self, matrix: np.ndarray) -> np.ndarray:
        """Covariance of the estimates."""
        return np.asarray(matrix @ self.within.vcov[0] @ matrix.T)


@dataclass(frozen=True, eq=False)
class PooledCombinations:
    """Combinations of the coefficients of several fits, pooled."""

    fits: Selection
    within: CoefficientInference
    conf_level: float

    def table(self, matrix: np.ndarray, labels: Sequence[str], shift: np.ndarray | None = None) -> pd.DataFrame:
        """Table of the combinations (r, p)."""
        rows = _stand_in(matrix)
        estimates = self.fits.beta @ rows.T
        if shift is not None:
            estimates = estimates + shift[:, None]
        variances = np.einsum("ri,kij,rj->kr", rows, self.within.vcov, rows)
        pool = pool_scalars(estimates, variances, dfcom=self.within.df(rows).mean(axis=0), conf_level=self.conf_level)
        pool = known_pool(pool, self.fits.unknown_variance(rows))
        return _blanked(mark(pooled_table(labels, pool), self.fits), matrix)

    def covariance(self, matrix: np.ndarray) -> np.ndarray:
        """Total covariance of the estimates by Rubin's rules."""
        pool = pool_rubin(self.fits.beta, self.within.vcov)
        return np.asarray(matrix @ pool.t @ matrix.T)


def _stand_in(matrix: np.ndarray) -> np.ndarray:
    """Put the first coefficient where a row is NaN, which `_blanked` takes out again."""
    first = np.eye(1, matrix.shape[1])
    return np.where(np.isnan(matrix).any(axis=1)[:, None], first, matrix)


def _blanked(table: pd.DataFrame, matrix: np.ndarray) -> pd.DataFrame:
    table.loc[np.isnan(matrix).any(axis=1), table.columns[1:]] = np.nan
    return table


def fit_contrast(fit: Selection, within: CoefficientInference, linear: Linear, conf_level: float) -> pd.DataFrame:
    """Linear combinations of the coefficients of one fit; see ``LmerFit.contrast``."""
    error = standard_errors(fit, within, linear.matrix)
    df = within.df(linear.matrix)[0]
    return fit_table(linear.labels, linear.matrix @ fit.beta[0], error, df, conf_level, linear.null)


def pooled_contrast(fits: Selection, rubin: RubinPool, within: CoefficientInference, linear: Linear) -> pd.DataFrame:
    """Pooled linear combinations of the coefficients; see ``PooledLmer.contrast``."""
    dfcom = within.df(linear.matrix).mean(axis=0)
    pool = linear_pool(rubin, linear.matrix, linear.null, dfcom=dfcom)
    return pooled_table(linear.labels, known_pool(pool, fits.unknown_variance(linear.matrix)))
