"""Moderated variances: residual variances of many responses shrunk towards a common one (Smyth 2004)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

# variances below this share of their median are raised to it, as limma does: their logarithm would rule all
LEAST_OF_MEDIAN = 1e-5


class VariancePrior(NamedTuple):
    """The prior sigma^2 ~ s2 df / chi^2(df) of every response.

    s2 (): its variance; df () or (G,): its degrees of freedom, of each response where outliers have fewer;
    infinite where all responses have one variance.
    """

    s2: float
    df: np.ndarray


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
        return VariancePrior(float(s2[0]), np.array(0.0))
    e = np.log(s2) - scipy.special.digamma(df / 2) + np.log(df / 2)
    spread = float(np.var(e, ddof=1) - np.mean(scipy.special.polygamma(1, df / 2)))
    if spread <= 0:
        return VariancePrior(float(np.mean(s2)), np.array(np.inf))
    half = inverse_trigamma(spread)
    location = float(np.exp(np.mean(e) + scipy.special.digamma(half) - np.log(half)))
    return VariancePrior(location, np.array(2 * half))


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
    d0 = np.where(np.isinf(prior.df), 0.0, prior.df)
    with np.errstate(invalid="ignore"):
        post = (d0 * prior.s2 + df * s2) / (d0 + df)
    return np.asarray(np.where(np.isinf(prior.df) & ~np.isnan(s2), prior.s2, post))
