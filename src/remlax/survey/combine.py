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
class CombinedEstimates:
    """Combined estimates (P,), their standard errors and degrees of freedom."""

    estimate: np.ndarray
    std_error: np.ndarray
    df: np.ndarray

    def limits(self, conf_level: float) -> dict[str, np.ndarray]:
        """Confidence limits, (P,) each."""
        half = t_quantile(conf_level, self.df) * self.std_error
        return {"conf_low": self.estimate - half, "conf_high": self.estimate + half}

    def tests(self, conf_level: float) -> dict[str, np.ndarray]:
        """Degrees of freedom, statistic, p-value and limits, (P,) each."""
        statistic = ratio(self.estimate, self.std_error, np.nan)
        p_value = t_two_sided(statistic, self.df)
        return {"df": self.df, "statistic": statistic, "p_value": p_value, **self.limits(conf_level)}


@dataclass(frozen=True, eq=False)
class Combined(CombinedEstimates):
    """The same with the covariance (P, P) and its part between the plausible values."""

    covariance: np.ndarray
    between: np.ndarray


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
    each = combine_each(estimates, np.diagonal(covariances, axis1=1, axis2=2), rule, df)
    centred = estimates - each.estimate
    between = centred.T @ centred / (m - 1) if m > 1 else np.zeros_like(covariances[0])
    covariance = _sampling(covariances, rule) + (1 + 1 / m) * between
    return Combined(each.estimate, each.std_error, each.df, covariance, between)


def combine_each(estimates: np.ndarray, variances: np.ndarray, rule: Combine, df: float) -> CombinedEstimates:
    """Combine estimates (M, P) and their sampling variances (M, P), each alone."""
    m, estimate = len(estimates), estimates.mean(axis=0)
    sampling = _sampling(variances, rule)
    extra = (1 + 1 / m) * estimates.var(axis=0, ddof=1) if m > 1 else np.zeros_like(sampling)
    total, design = sampling + extra, np.full(len(estimate), df)
    if rule != "rubin":
        own_df = np.full(len(estimate), np.inf)
    elif m == 1:
        own_df = design
    else:
        own_df = barnard_rubin_df(m, ratio(extra, total, 0.0), ratio(sampling, total, 1.0), design)
    return CombinedEstimates(estimate, np.sqrt(total), own_df)


def _sampling(each: np.ndarray, rule: Combine) -> np.ndarray:
    return np.asarray(each[0] if rule == "naep" else each.mean(axis=0))
