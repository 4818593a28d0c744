"""Convergence of Markov chains: potential scale reduction, effective sample size, autocorrelation.

Axes: m chains, T sweeps, P parameters.

Source: Gelman, Carlin, Stern, Dunson, Vehtari & Rubin (2013) Bayesian Data Analysis, sections 11.4 and 11.5;
Geyer (1992) Stat Sci 7:473-483 (initial monotone sequence).
"""

from __future__ import annotations

import numpy as np

from .columns import FloatArray


def split_rhat(draws: FloatArray) -> FloatArray:
    """Potential scale reduction (P,) of draws (m, T, P), every chain cut into two halves; NaN if constant."""
    half = draws.shape[1] // 2
    if half < 2:
        return np.full(draws.shape[2], np.nan)
    parts = np.concatenate([draws[:, :half], draws[:, -half:]])
    within = parts.var(axis=1, ddof=1).mean(axis=0)
    between = parts.mean(axis=1).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rhat: FloatArray = np.sqrt((half - 1) / half + between / within)
    return rhat


def autocovariance(draws: FloatArray) -> FloatArray:
    """Autocovariances (T, P), lags 0 to T - 1, each the mean over the chains of draws (m, T, P)."""
    length = draws.shape[1]
    size = 1 << (2 * length - 1).bit_length()
    centred = draws - draws.mean(axis=1, keepdims=True)
    total = np.zeros((length, draws.shape[2]))
    for chain in centred:
        spectrum = np.fft.rfft(chain, size, axis=0)
        total += np.fft.irfft(np.abs(spectrum) ** 2, size, axis=0)[:length] / length
    return total / len(draws)


def effective_size(draws: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Effective number of independent draws, and lag-1 autocorrelation, (P,) each; NaN if constant."""
    m, length, n_parameters = draws.shape
    if length < 4:
        return np.full(n_parameters, np.nan), np.full(n_parameters, np.nan)
    covariance = autocovariance(draws)
    within = covariance[0] * length / (length - 1.0)
    between = draws.mean(axis=1).var(axis=0, ddof=1) if m > 1 else 0.0
    total = within * (length - 1.0) / length + between
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = 1.0 - (within - covariance) / total
        lag_one = covariance[1] / covariance[0]
    correlation[0] = 1.0
    pairs = correlation[: 2 * (length // 2)].reshape(-1, 2, n_parameters).sum(axis=1)
    # sums of neighbours are positive and decrease for a reversible chain; what follows the first negative is noise
    pairs = np.minimum.accumulate(pairs, axis=0)
    time = -1.0 + 2.0 * np.where(pairs > 0.0, pairs, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        size = m * length / np.maximum(time, 1.0 / np.log10(m * length))
    return np.where(within > 0.0, size, np.nan), lag_one
