"""Confidence limits that are made on the scale on which an estimate is nearest to normal."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..pooling.tails import t_quantile


def with_limits(table: pd.DataFrame, scale: np.ndarray, conf_level: float) -> pd.DataFrame:
    """Add limits, made on a scale for every row: log, logit, Fisher's z, or that of the estimate."""
    value, error = table["estimate"].to_numpy(), table["std_error"].to_numpy()
    half = t_quantile(conf_level, table["df"].to_numpy())
    with np.errstate(all="ignore"):
        slope = np.select(
            [scale == "log", scale == "logit", scale == "fisher"],
            [1 / value, 1 / (value * (1 - value)), 1 / (1 - value**2)],
            1.0,
        )
        moved = np.select(
            [scale == "log", scale == "logit", scale == "fisher"],
            [np.log(value), np.log(value / (1 - value)), np.arctanh(value)],
            value,
        )
        for name, sign in (("conf_low", -1.0), ("conf_high", 1.0)):
            at = moved + sign * half * error * slope
            back = np.select(
                [scale == "log", scale == "logit", scale == "fisher"],
                [np.exp(at), 1 / (1 + np.exp(-at)), np.tanh(at)],
                at,
            )
            table[name] = np.where(np.isfinite(error), back, np.nan)
    return table
