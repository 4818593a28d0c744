"""Estimates of M plausible values and their sampling covariances to one, by Rubin's rules or as agencies do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..pooling.rubin import barnard_rubin_df, ratio
from ..pooling.tails import t_quantile, t_two_sided

Combine = Literal["rubin", "pisa", "naep"]
WORDS = {
    "rubin": "Rubin's rules",
    "pisa": "PISA's rule (mean of the sampling variances, normal limits)",
    "naep": "NAEP's rule (sampling variance of the first, normal limits)",
}


@dataclass(frozen=True, eq=False)
class Combined:
    """Combined estimates: estimate (P,), covariance (P, P), its sampling and imputation parts, and df (P,)."""

    estimate: np.ndarray
    covariance: np.ndarray
    sampling: np.ndarray
    between: np.ndarray
    df: np.ndarray

    @property
    def std_error(self) -> np.ndarray:
        """Standard errors (P,)."""
        return np.sqrt(np.diag(self.covariance))

    def tests(self, conf_level: float) -> dict[str, np.ndarray]:
        """Statistic, p-value and limits, (P,) each."""
        error = self.std_error
        statistic = ratio(self.estimate, error, np.nan)
        half = t_quantile(conf_level, self.df) * error
        return {
            "df": self.df,
            "statistic": statistic,
            "p_value": t_two_sided(statistic, self.df),
            "conf_low": self.estimate - half,
            "conf_high": self.estimate + half,
        }


def combine(estimates: np.ndarray, covariances: np.ndarray, rule: Combine, df: float) -> Combined:
    """Combine estimates (M, P) and sampling covariances (M, P, P): U + (1 + 1 / M) B.

    Parameters
    ----------
    rule : {"rubin", "pisa", "naep"}
        U is the mean of the sampling covariances, or that of the first plausible value (NAEP). Degrees of freedom are
        Barnard and Rubin's, or infinite.
    df : float
        Degrees of freedom of the design.
    """
    m = len(estimates)
    estimate = estimates.mean(axis=0)
    sampling = covariances[0] if rule == "naep" else covariances.mean(axis=0)
    centred = estimates - estimate
    between = centred.T @ centred / (m - 1) if m > 1 else np.zeros_like(sampling)
    total = sampling + (1 + 1 / m) * between
    if rule != "rubin":
        own_df = np.full(len(estimate), np.inf)
    elif m == 1:
        own_df = np.full(len(estimate), df)
    else:
        within, whole = np.diag(sampling), np.diag(total)
        extra = (1 + 1 / m) * np.diag(between)
        dfcom = np.full(len(estimate), df)
        own_df = barnard_rubin_df(m, ratio(extra, whole, 0.0), ratio(within, whole, 1.0), dfcom)
    return Combined(estimate, total, sampling, between, own_df)
