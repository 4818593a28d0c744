"""Columns of parameters that were pooled on a transformed scale."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..pooling import PooledColumns, TransformedPool


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
