"""Coefficients as tables, and linear combinations of them, of one fit and pooled; NaN where there is no estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from ..fitting.selection import Selection
from ..inference.coefficients import CoefficientInference
from ..pooling import PooledColumns, RubinPool, ScalarPool, TransformedPool, pool_rubin, pool_scalars
from ..pooling.tails import t_quantile, t_two_sided
from .checks import checks
from .constraints import Linear

Pool = TypeVar("Pool", bound=PooledColumns)


def standard_errors(fit: Selection, within: CoefficientInference) -> np.ndarray:
    """Standard errors of the coefficients of one fit; NaN where their variance is not known."""
    return np.where(fit.unknown_variance(), np.nan, np.sqrt(np.diagonal(within.vcov[0])))


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


# what Rubin's rules say about each parameter, as tables name it
RUBIN = ("riv", "lambda", "fmi", "ubar", "b", "t", "dfcom")


def estimate_columns(
    estimates: np.ndarray, variances: np.ndarray, df: np.ndarray | float, conf_level: float
) -> dict[str, np.ndarray]:
    """Estimates (K, r) with t tests and limits: of one data set as they are, of several pooled by Rubin's rules.

    ``df`` holds complete-data degrees of freedom.
    """
    if len(estimates) > 1:
        return pool_columns(pool_scalars(estimates, variances, dfcom=df, conf_level=conf_level))
    checks.level(conf_level)
    estimate, error = estimates[0], np.sqrt(variances[0])
    df = np.where(np.isnan(error), np.nan, df)
    half = t_quantile(conf_level, df) * error
    statistic, p_value = _test(estimate, error, df)
    columns = {"estimate": estimate, "std_error": error, "statistic": statistic, "df": df, "p_value": p_value}
    return {**columns, "conf_low": estimate - half, "conf_high": estimate + half}


def total_variance(estimates: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Total variance by Rubin's rules of estimates (K, r) with variances (K, r); of a single fit its own."""
    k = len(estimates)
    return np.asarray(variances.mean(axis=0) + (1 + 1 / k) * (estimates.var(axis=0, ddof=1) if k > 1 else 0.0))


def _test(distance: np.ndarray, error: np.ndarray, df: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Statistic and p-value of distances from the values to test against."""
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = distance / error
    return statistic, t_two_sided(statistic, df)


def pool_columns(pool: RubinPool | ScalarPool) -> dict[str, np.ndarray]:
    """Pooled estimates with everything that Rubin's rules say about each."""
    names = ("estimate", "std_error", "statistic", "df", "p_value", "conf_low", "conf_high", *RUBIN)
    columns = {name: _diagonal(getattr(pool, "lambda_" if name == "lambda" else name)).copy() for name in names}
    lost = np.isnan(pool.std_error)
    return columns | {name: np.where(lost, np.nan, columns[name]) for name in ("ubar", "t", "dfcom")}


def transformed_columns(pooled: TransformedPool) -> pd.DataFrame:
    """What is known of parameters that were pooled on a transformed scale, one row each."""
    z = pooled.transformed
    return pd.DataFrame(
        {
            "estimate": pooled.estimate,
            "std_error": pooled.std_error,
            "conf_low": pooled.conf_low,
            "conf_high": pooled.conf_high,
            "scale": pooled.scale,
            **rubin_columns(z),
            "scaled_estimate": z.estimate,
            "scaled_se": z.std_error,
            "ubar": pooled.ubar,
            "b": pooled.b,
            "t": pooled.t,
            "n_used": pooled.m_used,
        }
    )


def rubin_columns(z: PooledColumns) -> dict[str, np.ndarray]:
    """What Rubin's rules say about each parameter."""
    return {"df": z.df, "riv": z.riv, "lambda": z.lambda_, "fmi": z.fmi}


def _diagonal(values: np.ndarray) -> np.ndarray:
    return np.diag(values) if values.ndim == 2 else values


@dataclass(frozen=True, eq=False)
class Combinations:
    """Combinations of the coefficients of one fit, or of several, pooled; NaN where their variance is not known."""

    fits: Selection
    within: CoefficientInference
    conf_level: float

    def table(self, matrix: np.ndarray, labels: Sequence[str], shift: np.ndarray | None = None) -> pd.DataFrame:
        """Table of the combinations (r, p), with a constant of each data set (K,) added; rows of NaN stay NaN."""
        undetermined = np.isnan(matrix).any(axis=1)
        # the first coefficient stands in for them
        rows = np.where(undetermined[:, None], np.eye(1, matrix.shape[1]), matrix)
        estimates = self.fits.beta @ rows.T + (0.0 if shift is None else shift[:, None])
        variances = np.einsum("ri,kij,rj->kr", rows, self.within.vcov, rows)
        columns = estimate_columns(estimates, variances, self.within.df(rows).mean(axis=0), self.conf_level)
        unknown = self.fits.unknown_variance(rows) | undetermined
        if unknown.any():
            for name, column in columns.items():
                columns[name] = np.where(undetermined if name in ("estimate", "b") else unknown, np.nan, column)
        return pd.DataFrame({"term": list(labels), **columns}, copy=False)

    def covariance(self, matrix: np.ndarray) -> np.ndarray:
        """Covariance (r, r) of the estimates of combinations without NaN, of several fits the total one."""
        vcov = self.within.vcov
        total = vcov[0] if len(vcov) == 1 else pool_rubin(self.fits.beta, vcov).t
        return np.asarray(matrix @ total @ matrix.T)


def contrast_table(fits: Selection, within: CoefficientInference, linear: Linear, conf_level: float) -> pd.DataFrame:
    """Linear combinations of the coefficients with tests; see ``PooledLmer.contrast``."""
    table = Combinations(fits, within, conf_level).table(linear.matrix, linear.labels)
    if linear.null.any():
        estimate, error, df = (table[name].to_numpy() for name in ("estimate", "std_error", "df"))
        table["statistic"], table["p_value"] = _test(estimate - linear.null, error, df)
    return table


def fit_table(fit: Selection, within: CoefficientInference, conf_level: float) -> pd.DataFrame:
    """Coefficients of one fit with tests and limits."""
    names = fit.model.fixed_names
    return Combinations(fit, within, conf_level).table(np.eye(len(names)), names)


def pooled_table(terms: Sequence[str], pool: RubinPool) -> pd.DataFrame:
    """Pooled coefficients with everything that Rubin's rules say about each."""
    return pd.DataFrame({"term": list(terms), **pool_columns(pool)}, copy=False)
