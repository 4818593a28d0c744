"""Moderated variances: residual variances of many responses shrunk towards a common one (Smyth 2004)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

# variances below this share of their median are raised to it, as limma does: their logarithm would rule all
LEAST_OF_MEDIAN = 1e-5


class VariancePrior(NamedTuple):
    """The prior sigma^2 ~ s2 df / chi^2(df); df may be infinite: all responses have one variance."""

    s2: float
    df: float


def fit_prior(s2: np.ndarray, df: np.ndarray) -> VariancePrior:
    """Estimate the prior by the first two moments of log s^2 (Smyth 2004, section 6.2), as limma's fitFDist.

    Parameters
    ----------
    s2, df : ndarray (G,)
        Residual variances and their degrees of freedom, positive; at least one.

    References
    ----------
    Smyth, G. K. (2004). Stat. Appl. Genet. Mol. Biol. 3, 3.
    """
    s2 = np.maximum(s2, LEAST_OF_MEDIAN * np.median(s2))
    if len(s2) == 1:
        return VariancePrior(float(s2[0]), 0.0)
    e = np.log(s2) - scipy.special.digamma(df / 2) + np.log(df / 2)
    spread = float(np.var(e, ddof=1) - np.mean(scipy.special.polygamma(1, df / 2)))
    if spread <= 0:
        return VariancePrior(float(np.mean(s2)), np.inf)
    half = inverse_trigamma(spread)
    return VariancePrior(float(np.exp(np.mean(e) + scipy.special.digamma(half) - np.log(half))), 2 * half)


def inverse_trigamma(value: float) -> float:
    """Solve trigamma(x) = value by Newton's method on 1 / trigamma, which is nearly linear (Smyth 2004, appendix)."""
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(scipy.special.polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(scipy.special.polygamma(2, x))
        x += step
        if -step / x < 1e-12:
            break
    return x


def squeezed(s2: np.ndarray, df: np.ndarray, prior: VariancePrior) -> np.ndarray:
    """Posterior variances (d0 s0^2 + d s^2) / (d0 + d)."""
    if np.isinf(prior.df):
        return np.where(np.isnan(s2), np.nan, prior.s2)
    return np.asarray((prior.df * prior.s2 + df * s2) / (prior.df + df))
