"""Coverage of pooled 95% intervals over 2,000 replications, K = 10, 30% of the responses missing at random.

The design is fixed: 40 groups of 10 rows, a predictor x of the rows and a predictor w of the groups. Responses are
drawn from y = 1 + 0.5 x + 0.5 w + u + e with SD(u) = 0.5 and SD(e) = 1 and go missing with a probability that depends
on x and w. They are imputed by draws from the posterior predictive distribution of the model (Gibbs sampler, flat
priors on beta and SD(u)). All 20,000 imputed data sets are fitted in one stack.
"""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from remlax.errors import PoolingWarning
from remlax.fitting.fit import Fitted
from remlax.fitting.refit import refit_to
from remlax.fitting.selection import Selection
from remlax.inference.satterthwaite import satterthwaite_df
from remlax.inference.variance_parameters import variance_parameters
from remlax.pooling import LOG, pool_rubin, pool_transformed

pytestmark = pytest.mark.slow

R, K, J, N = 2000, 10, 40, 10
BETA, TAU, SIGMA = np.array([1.0, 0.5, 0.5]), 0.5, 1.0
FORMULA = "y ~ x + w + (1 | g)"
Z95 = 1.959963984540054


def design() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(J), N)
    w = rng.normal(size=J)[g]
    x = 0.4 * w + 0.5 * rng.normal(size=J)[g] + rng.normal(size=J * N)
    return pd.DataFrame({"g": g, "x": x, "w": w})


def columns(frame: pd.DataFrame) -> np.ndarray:
    return np.column_stack([np.ones(len(frame)), frame["x"], frame["w"]])


def incomplete(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Responses (R, n) and which of them are observed."""
    rng = np.random.default_rng(2)
    u = TAU * rng.normal(size=(R, J))
    y = columns(frame) @ BETA + u[:, frame["g"]] + SIGMA * rng.normal(size=(R, J * N))
    chance = 1 / (1 + np.exp(1.0 - 0.7 * frame["x"].to_numpy() - 0.5 * frame["w"].to_numpy()))
    return y, rng.uniform(size=y.shape) > chance


def impute(frame: pd.DataFrame, y: np.ndarray, seen: np.ndarray, burn: int = 60, thin: int = 25) -> np.ndarray:
    """K posterior predictive draws of the missing responses, (R, K, n): one chain per replication."""
    rng = np.random.default_rng(3)
    x, g, z = columns(frame), frame["g"].to_numpy(), pd.get_dummies(frame["g"]).to_numpy(dtype=float)
    m = seen.astype(float)
    per_group, n_seen = m @ z, m.sum(axis=1)
    root = np.linalg.cholesky(np.linalg.inv(np.einsum("rn,ni,nj->rij", m, x, x, optimize=True)))
    u, sigma2, tau2 = np.zeros((R, J)), np.ones(R), np.full(R, 0.25)
    out = np.empty((R, K, len(g)))
    for step in range(1, burn + K * thin + 1):
        half = np.einsum("rij,rj->ri", root.swapaxes(1, 2), (m * (y - u[:, g])) @ x)
        noise = np.sqrt(sigma2)[:, None] * rng.normal(size=half.shape)
        beta = np.einsum("rij,rj->ri", root, half + noise)
        fixed = beta @ x.T
        precision = per_group / sigma2[:, None] + 1 / tau2[:, None]
        mean = ((m * (y - fixed)) @ z) / sigma2[:, None] / precision
        u = mean + rng.normal(size=mean.shape) / np.sqrt(precision)
        residual = m * (y - fixed - u[:, g])
        sigma2 = (residual**2).sum(axis=1) / (2 * rng.gamma(n_seen / 2))
        tau2 = (u**2).sum(axis=1) / (2 * rng.gamma((J - 1) / 2, size=R))
        if step > burn and (step - burn) % thin == 0:
            drawn = fixed + u[:, g] + np.sqrt(sigma2)[:, None] * rng.normal(size=y.shape)
            out[:, (step - burn) // thin - 1] = np.where(seen, y, drawn)
    return out


@cache
def simulated() -> tuple[pd.DataFrame, np.ndarray, Fitted, float]:
    """Design, imputed responses (R, K, n), all fits in one stack, share of missing responses."""
    frame = design()
    y, seen = incomplete(frame)
    completed = impute(frame, y, seen)
    one = rx.lmer(FORMULA, frame.assign(y=completed[0, 0]))
    fits = refit_to(one.selection.one(0), completed.reshape(R * K, -1))
    return frame, completed, fits, float(1 - seen.mean())


def within(low: np.ndarray, high: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Coverage of intervals (R, p)."""
    return ((low <= truth) & (truth <= high)).mean(axis=0)


def pooled_coefficients(fits: Fitted):
    p = len(BETA)
    dfcom = satterthwaite_df(Selection.all_of(fits), np.eye(p)).reshape(R, K, p).mean(axis=1)
    return pool_rubin(fits.beta.reshape(R, K, p), fits.vcov.reshape(R, K, p, p), dfcom=dfcom)


def pooled_sds(fits: Fitted):
    found = variance_parameters(Selection.all_of(fits))
    sd, variance = found.sdcor.reshape(R, K, -1), found.scaled_variance().reshape(R, K, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PoolingWarning)
        return sd, pool_transformed(sd, variance, LOG)


def test_the_stack_is_what_the_public_functions_do():
    frame, completed, fits, missing = simulated()
    assert 0.28 < missing < 0.34
    assert fits.converged.all()
    pool, (_, sds) = pooled_coefficients(fits), pooled_sds(fits)
    for r in (0, 777):
        pooled = rx.lmer_list(FORMULA, [frame.assign(y=y) for y in completed[r]]).pool()
        table = pooled.tidy()
        assert_allclose(
            table[["conf_low", "conf_high"]],
            np.column_stack([pool.conf_low, pool.conf_high])[r].reshape(2, 3).T,
            rtol=1e-6,
        )
        assert_allclose(pooled.tidy("ran_pars")["conf_low"], sds.conf_low[r], rtol=1e-6)


def test_coefficients_of_both_levels():
    _, _, fits, _ = simulated()
    pool = pooled_coefficients(fits)
    covered = within(pool.conf_low, pool.conf_high, BETA)
    print("coverage of Intercept, x, w:", covered)
    assert (np.abs(covered - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / R)).all()
    # the intervals say how far the estimates are from the truth, neither more nor less
    assert_allclose(np.sqrt((pool.std_error**2).mean(axis=0)), pool.estimate.std(axis=0), rtol=0.05)
    bias = np.abs(pool.estimate.mean(axis=0) - BETA)
    assert (bias < 3 * pool.estimate.std(axis=0) / np.sqrt(R)).all()


def test_variance_components_beside_the_sd_across_imputations():
    _, _, fits, _ = simulated()
    sd, pool = pooled_sds(fits)
    truth = np.array([TAU, SIGMA])
    known = np.isfinite(pool.conf_low).all(axis=1)
    assert known.mean() > 0.995
    covered = within(pool.conf_low[known], pool.conf_high[known], truth)
    mean, spread = sd.mean(axis=1), sd.std(axis=1, ddof=1)
    naive = within(mean - Z95 * spread, mean + Z95 * spread, truth)
    print("coverage of SD(u), SD(e):", covered, "of mean +- 1.96 SD across imputations:", naive)
    assert (covered > 0.92).all()
    assert (covered < 0.98).all()
    assert (naive < 0.8).all()
