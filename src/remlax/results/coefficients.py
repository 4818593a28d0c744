"""Tables of coefficients and of their linear combinations, of one fit and pooled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy

from ..pooling import RubinPool, ScalarPool
from .checks import check_level


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
            "dfcom": pool.dfcom,
        }
    )
