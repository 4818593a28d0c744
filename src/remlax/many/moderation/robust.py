"""The prior of moderated variances where some responses are outliers (Phipson et al. 2016)."""

from __future__ import annotations

import numpy as np
import scipy

from .prior import VariancePrior, fit_prior

# shares of the smallest and the largest log variances that are Winsorized
LOW, HIGH = 0.05, 0.1
# variances below this share of their median are raised to it, as limma does
LEAST_ROBUST = 1e-12
# a tail probability below this is taken from the series of its logarithm
TINY_TAIL = 1e-200
NODES, WEIGHTS = np.polynomial.legendre.leggauss(128)


def fit_prior_robustly(s2: np.ndarray, df: np.ndarray) -> VariancePrior:
    """Estimate the prior from Winsorized moments of log s^2, as limma's fitFDistRobustly.

    A response whose variance is larger than the prior allows is an outlier in some degree, and gets fewer prior
    degrees of freedom: its variance is shrunk less.

    Parameters
    ----------
    s2, df : ndarray (G,)
        Residual variances and their degrees of freedom, positive; at least one.

    References
    ----------
    Phipson, B., Lee, S., Majewski, I. J., Alexander, W. S. and Smyth, G. K. (2016). Ann. Appl. Stat. 10, 946-963.
    """
    plain, n = fit_prior(s2, df), len(s2)
    if n <= 2 or max(LOW, HIGH) < 1 / n:
        return plain
    s2 = np.maximum(s2, LEAST_ROBUST * np.median(s2))
    d = float(df.max())
    z = np.log(_at_common_df(s2, df, d, plain))
    middle = scipy.stats.trim_mean(z, HIGH)
    winsorized = np.clip(z - middle, *np.quantile(z - middle, [LOW, 1 - HIGH]))
    spread = winsorized.var(ddof=1)

    def excess(share: float) -> float:
        return float(np.log(spread / _winsorized_moments(d, share)[1]))

    # d0 as d0 / (1 + d0), from the estimate without regard to outliers, which is too small, to no upper bound
    low = 1.0 if np.isinf(plain.df) else float(plain.df / (1 + plain.df))
    if excess(1.0) <= 0:
        share = 1.0
    elif low == 1.0:
        return plain
    else:
        share = low if excess(low) >= 0 else float(scipy.optimize.brentq(excess, low, 1.0, xtol=1e-13, rtol=1e-13))
    location = middle + winsorized.mean() - _winsorized_moments(d, share)[0]
    d0 = np.inf if share == 1.0 else share / (1 - share)
    return VariancePrior(float(np.exp(location)), _df_of_outliers(np.exp(z - location), d, d0))


def _at_common_df(s2: np.ndarray, df: np.ndarray, d: float, plain: VariancePrior) -> np.ndarray:
    """Variances with d degrees of freedom that are as far out in their distribution as the given ones."""
    out = s2.copy()
    d0 = float(plain.df)
    for i in np.flatnonzero(df < d - 1e-14):
        f = s2[i] / plain.s2
        upper = np.exp(log_f_upper(f, df[i], d0))
        lower = _f_cdf(f, df[i], d0)
        out[i] = plain.s2 * (_f_quantile(upper, d, d0, upper=True) if upper < lower else _f_quantile(lower, d, d0))
    return out


def _winsorized_moments(d: float, share: float) -> tuple[float, float]:
    """Mean and variance of the Winsorized logarithm of F(d, d0), d0 / (1 + d0) = share."""
    d0 = np.inf if share == 1.0 else share / (1 - share)
    ends = np.array([_f_quantile(LOW, d, d0), _f_quantile(HIGH, d, d0, upper=True)])
    first, last = ends / (1 + ends)
    nodes = first + (last - first) * (NODES + 1) / 2
    x = nodes / (1 - nodes)
    density = scipy.stats.f.pdf(x, d, d0) if np.isfinite(d0) else scipy.stats.chi2.pdf(x * d, d) * d
    mass = WEIGHTS / 2 * (last - first) * density / (1 - nodes) ** 2
    tails, log_ends = np.array([LOW, HIGH]), np.log(ends)
    mean = float(mass @ np.log(x) + tails @ log_ends)
    return mean, float(mass @ (np.log(x) - mean) ** 2 + tails @ (log_ends - mean) ** 2)


def _df_of_outliers(f: np.ndarray, d: float, d0: float) -> np.ndarray:
    """Prior degrees of freedom of every response from its variance over that of the prior."""
    n, log_tail = len(f), log_f_upper(f, d, d0)
    expected = np.log(n - scipy.stats.rankdata(f) + 0.5) - np.log(n)
    inside = np.minimum(log_tail - expected, 0.0)  # log of the probability to be no outlier
    out = np.full(n, d0)
    if not (inside < 0).any():
        return out
    order = np.argsort(log_tail, kind="stable")
    if np.isinf(d0):
        outlying = inside < 0
        out[outlying] = np.exp(inside[outlying]) * n * d
        out[order] = np.maximum.accumulate(out[order])
        return out
    # with these the largest variance would be a median one
    least = np.log(0.5) / log_tail.min() * d0
    least *= np.log(0.5) / log_f_upper(f.max(), d, least)
    out = np.exp(inside) * d0 - np.expm1(inside) * least
    # no fewer for a variance that is less extreme
    ordered = out[order]
    means = np.cumsum(ordered) / np.arange(1, n + 1)
    first = int(np.argmin(means))
    ordered[: first + 1] = means[first]
    out[order] = np.maximum.accumulate(ordered)
    return np.asarray(out)


def _f_cdf(x: np.ndarray | float, d1: float, d2: float) -> np.ndarray:
    return np.asarray(scipy.stats.f.cdf(x, d1, d2) if np.isfinite(d2) else scipy.stats.chi2.cdf(x * d1, d1))


def _f_quantile(p: np.ndarray | float, d1: float, d2: float, *, upper: bool = False) -> float:
    law, unit = (scipy.stats.f(d1, d2), 1.0) if np.isfinite(d2) else (scipy.stats.chi2(d1), d1)
    return float(law.isf(p) if upper else law.ppf(p)) / unit


def log_f_upper(x: np.ndarray | float, d1: float, d2: float) -> np.ndarray:
    """Logarithm of the upper tail of F(d1, d2), without underflow where d2 is finite."""
    if np.isinf(d2):
        return np.asarray(scipy.stats.chi2.logsf(x * d1, d1), dtype=np.float64)
    at, a, b = d2 / (d2 + d1 * np.asarray(x)), d2 / 2, d1 / 2
    plain = scipy.special.betainc(a, b, at)
    with np.errstate(divide="ignore"):
        series = a * np.log(at) + b * np.log1p(-at) - np.log(a) - scipy.special.betaln(a, b)
        tail = np.log(plain)
        series += np.log(scipy.special.hyp2f1(a + b, 1.0, a + 1, np.where(plain < TINY_TAIL, at, 0.5)))
    return np.asarray(np.where(plain < TINY_TAIL, series, tail))
