"""EM, bootstrap and draws against Amelia, dense formulas and known distributions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from remlax.impute.columns import plan_columns
from remlax.impute.emb_run import EmOptions, impute_table
from remlax.impute.kernels import all_patterns, emb_impute
from remlax.impute.kernels.em import (
    EmSettings,
    condition_on_priors,
    em_step,
    fit_em,
    pattern_moments,
    pattern_regressions,
)
from remlax.impute.kernels.emb import Bounds, bootstrap_weights, draw_rows, prepare, quick_source
from remlax.impute.kernels.noise import fold_in
from remlax.impute.patterns import index_patterns
from remlax.impute.priors import CellPrior, prior_table

Arrays = Any


@pytest.fixture(autouse=True)
def _x64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def amelia(reference: Path) -> dict[str, Any]:
    return json.loads((reference / "impute" / "amelia_em.json").read_text())


@pytest.fixture(scope="module")
def tables(reference: Path, hsb: pd.DataFrame) -> dict[str, pd.DataFrame]:
    mar = pd.read_csv(reference / "impute" / "amelia_mar.csv")
    sparse = pd.read_csv(reference / "impute" / "amelia_sparse.csv")
    return {
        "hsb": hsb.drop(columns=["schid", "meanses"]),
        "mar": mar.assign(d=np.log(mar["d"] + 1.0)),
        "sparse": sparse,
    }


def options(tolerance: float, **changes: Any) -> EmOptions:
    given = {"m": 1, "max_iter": 1000, "ridge": 0.0, "bootstrap": False, "seed": 0}
    return EmOptions(tolerance=tolerance, **{**given, **changes})


def same_as_amelia(drawn: Any, expected: dict[str, Any], table: pd.DataFrame, atol: float = 1e-11) -> None:
    scale = table.std().to_numpy()
    np.testing.assert_allclose((drawn.means[0] - expected["mean"]) / scale, 0.0, atol=atol)
    difference = (drawn.covariances[0] - expected["cov"]) / np.outer(scale, scale)
    np.testing.assert_allclose(difference, 0.0, atol=atol)


@pytest.mark.parametrize("name", ["hsb", "mar", "sparse"])
@pytest.mark.parametrize("which", [0, 1])
def test_mean_covariance_iterations_equal_amelia(
    amelia: dict[str, Any], tables: dict[str, pd.DataFrame], name: str, which: int
) -> None:
    expected = amelia[name][which]
    table = tables[name][expected["columns"]]
    drawn = impute_table(table.to_numpy(float), options(expected["tolerance"]), 0)
    same_as_amelia(drawn, expected, table)
    assert int(drawn.iterations[0]) == expected["iterations"]


def test_cell_priors_equal_amelia(amelia: dict[str, Any], tables: dict[str, pd.DataFrame]) -> None:
    expected = amelia["mar_priors"]
    table = tables["mar"]
    codes = plan_columns(table, list(table.columns))
    priors = [
        CellPrior.normal(table.columns[int(column) - 1], mean, sd, row=int(row) - 1 if row else None)
        for row, column, mean, sd in expected["priors"]
    ]
    known = prior_table(priors, codes, table.isna().to_numpy())
    drawn = impute_table(table.to_numpy(float), options(expected["tolerance"]), 0, priors=known)
    # Amelia puts the prior means into the cells before it takes its starting values: the same fixed point
    # by another path, and both as far from it as the tolerance of 1e-10 lets them
    same_as_amelia(drawn, expected, table, atol=2e-9)


def small(n: int = 60, p: int = 4, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) @ np.linalg.cholesky(0.5 + 0.5 * np.eye(p)).T + np.arange(p)
    missing = rng.random((n, p)) < 0.25
    missing[:, 0] = False
    return x, missing


def prepared(x: np.ndarray, missing: np.ndarray) -> tuple[Any, Any]:
    index = index_patterns(~missing)
    arrays = map(jnp.asarray, (x, missing, ~index.observed, index.row_pattern))
    return prepare(*arrays)[0], index


def settings(tolerance: float = 1e-10, ridge: float = 0.0) -> EmSettings:
    return EmSettings(jnp.asarray(tolerance), jnp.asarray(2000, jnp.int32), jnp.asarray(ridge))


def observed_loglik(x: np.ndarray, missing: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> float:
    total = 0.0
    for row, gap in zip(x, missing, strict=True):
        keep = ~gap
        total += stats.multivariate_normal.logpdf(row[keep], mean[keep], cov[np.ix_(keep, keep)])
    return total


def test_fixed_point_maximises_the_observed_likelihood() -> None:
    x, missing = small()
    data, _ = prepared(x, missing)
    ones = jnp.ones(len(x))
    moments = pattern_moments(data.x0, ones, data.onehot)
    fit = jax.jit(fit_em)(moments, data.observed, settings(1e-12))
    z = np.asarray(data.x0)
    mean, cov = np.asarray(fit.mean), np.asarray(fit.cov)
    at = observed_loglik(z, missing, mean, cov)
    for i in range(4):
        for step in (1e-4, -1e-4):
            moved = mean.copy()
            moved[i] += step
            assert observed_loglik(z, missing, moved, cov) < at
            for j in range(i + 1):
                other = cov.copy()
                other[i, j] += step
                other[j, i] = other[i, j]
                assert observed_loglik(z, missing, mean, other) < at


def test_every_iteration_raises_the_likelihood() -> None:
    x, missing = small(seed=8)
    data, _ = prepared(x, missing)
    moments = pattern_moments(data.x0, jnp.ones(len(x)), data.onehot)
    mean, cov = jnp.zeros(4), jnp.eye(4)
    values, step = [], jax.jit(em_step)
    for _ in range(6):
        values.append(observed_loglik(np.asarray(data.x0), missing, np.asarray(mean), np.asarray(cov)))
        mean, cov = step(mean, cov, moments, data.observed, jnp.asarray(0.0))
    assert np.all(np.diff(values) > 0)


def test_pattern_regressions_by_dense_blocks() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, 5))
    cov, mean = a @ a.T + np.eye(5), rng.normal(size=5)
    observed = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]], float)
    regs = pattern_regressions(jnp.asarray(mean), jnp.asarray(cov), jnp.asarray(observed))
    x = rng.normal(size=5)
    for s, flags in enumerate(observed.astype(bool)):
        o, m = np.flatnonzero(flags), np.flatnonzero(~flags)
        slopes = np.linalg.solve(cov[np.ix_(o, o)], cov[np.ix_(o, m)])
        expected = x * flags
        expected[m] = mean[m] + (x[o] - mean[o]) @ slopes
        full = np.concatenate([[1.0], x * flags])
        np.testing.assert_allclose(full @ np.asarray(regs.coef[s]), np.concatenate([[1.0], expected]), atol=1e-12)
        resid = np.zeros((5, 5))
        resid[np.ix_(m, m)] = cov[np.ix_(m, m)] - cov[np.ix_(m, o)] @ slopes
        np.testing.assert_allclose(np.asarray(regs.cov[s]), resid, atol=1e-12)


def test_priors_by_inverses() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(3, 3))
    cov, mean, prior = a @ a.T, rng.normal(size=3), rng.normal(size=3)
    precision = np.array([2.0, 0.0, 0.3])
    got_mean, got_cov = condition_on_priors(*(jnp.asarray(v)[None] for v in (mean, cov, prior, precision)))
    want_cov = np.linalg.inv(np.linalg.inv(cov) + np.diag(precision))
    np.testing.assert_allclose(np.asarray(got_cov[0]), want_cov, atol=1e-12)
    want = want_cov @ (np.linalg.solve(cov, mean) + precision * prior)
    np.testing.assert_allclose(np.asarray(got_mean[0]), want, atol=1e-12)


@pytest.mark.parametrize("ridge", [0.5, 7.0, 40.0])
@pytest.mark.parametrize("n", [40, 400])
def test_ridge_shrinks_correlations_only(ridge: float, n: int) -> None:
    # Amelia casts its ridge to a whole number, shrinks variances, and below n = 100 forgets its steps
    x, missing = small(n=n)
    data, _ = prepared(x, missing)
    moments = pattern_moments(data.x0, jnp.ones(n), data.onehot)
    step = jax.jit(em_step)
    plain_mean, plain = step(jnp.zeros(4), jnp.eye(4), moments, data.observed, jnp.asarray(0.0))
    mean, shrunk = step(jnp.zeros(4), jnp.eye(4), moments, data.observed, jnp.asarray(ridge))
    np.testing.assert_allclose(np.asarray(mean), np.asarray(plain_mean), rtol=1e-12)
    np.testing.assert_allclose(np.diag(shrunk), np.diag(plain), rtol=1e-12)
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(np.asarray(shrunk)[off], np.asarray(plain)[off] * n / (n + ridge), rtol=1e-12)


def test_bootstrap_is_multinomial_over_usable_rows() -> None:
    x, missing = small(n=30)
    missing[4] = True
    data, _ = prepared(x, missing)
    keys = jax.vmap(lambda k: jax.random.fold_in(jax.random.key(5), k))(jnp.arange(4000))
    weights = np.asarray(jax.vmap(lambda key: bootstrap_weights(key, data))(keys))
    assert (weights.sum(axis=1) == 29).all()
    assert (weights[:, 4] == 0).all()
    rest = np.delete(weights, 4, axis=1)
    np.testing.assert_allclose(rest.mean(axis=0), 1.0, atol=5 / np.sqrt(4000))
    # counts of one cell are Binomial(29, 1/29)
    frequency = np.bincount(rest.astype(int).ravel(), minlength=4)[:4] / rest.size
    np.testing.assert_allclose(frequency, stats.binom.pmf(np.arange(4), 29, 1 / 29), atol=0.006)


def test_bootstrap_leaves_no_column_empty() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    missing = np.zeros((20, 3), bool)
    missing[1:, 2] = True  # one observed cell: a plain bootstrap misses it with probability 0.36
    data, _ = prepared(x, missing)
    keys = jax.vmap(lambda k: jax.random.fold_in(jax.random.key(1), k))(jnp.arange(300))
    weights = np.asarray(jax.vmap(lambda key: bootstrap_weights(key, data))(keys))
    assert (weights[:, 0] > 0).all()


def one_pattern(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
    cov = np.array([[1.0, 0.6, 0.3], [0.6, 1.5, 0.5], [0.3, 0.5, 0.8]])
    mean = np.array([0.5, -1.0, 2.0])
    observed = np.array([[1.0, 0.0, 0.0]])
    regs = pattern_regressions(jnp.asarray(mean), jnp.asarray(cov), jnp.asarray(observed))
    rows = np.tile([1.7, 0.0, 0.0], (n, 1))
    return mean, cov, rows, (regs, jnp.asarray(observed))


def test_draws_have_the_conditional_mean_and_covariance() -> None:
    n = 60_000
    mean, cov, rows, (regs, observed) = one_pattern(n)
    ids = jnp.zeros(n, jnp.int64)
    drawn = np.asarray(draw_rows(jax.random.key(0), jnp.asarray(rows), ids, regs, observed))
    assert (drawn[:, 0] == 1.7).all()
    slopes = cov[1:, 0] / cov[0, 0]
    want = cov[1:, 1:] - np.outer(slopes, cov[0, 1:])
    se = np.sqrt(np.diag(want) / n)
    np.testing.assert_array_less(np.abs(drawn[:, 1:].mean(axis=0) - (mean[1:] + slopes * 1.2)), 4 * se)
    np.testing.assert_allclose(np.cov(drawn[:, 1:].T), want, atol=0.03)


def test_bounded_draws_are_truncated_normal() -> None:
    n = 20_000
    mean, _, rows, (regs, observed) = one_pattern(n)
    low, high = np.array([-np.inf, -1.0, -np.inf]), np.array([np.inf, 0.5, np.inf])
    ids = jnp.zeros(n, jnp.int64)
    bounds = Bounds(jnp.asarray(low), jnp.asarray(high))
    drawn = np.asarray(draw_rows(jax.random.key(2), jnp.asarray(rows), ids, regs, observed, bounds))[:, 1]
    centre, sd = mean[1] + 0.6 * 1.2, np.sqrt(1.5 - 0.36)
    law = stats.truncnorm((-1.0 - centre) / sd, (0.5 - centre) / sd, centre, sd)
    assert stats.kstest(drawn, law.cdf).pvalue > 0.001
    assert stats.kstest(drawn, stats.norm(centre, sd).cdf).pvalue < 1e-6


def test_unreachable_bounds_end_at_the_bound() -> None:
    _, _, rows, (regs, observed) = one_pattern(50)
    bounds = Bounds(jnp.asarray([-np.inf, 60.0, -np.inf]), jnp.asarray([np.inf, 61.0, np.inf]))
    drawn = draw_rows(jax.random.key(2), jnp.asarray(rows), jnp.zeros(50, jnp.int64), regs, observed, bounds)
    assert (np.asarray(drawn)[:, 1] == 60.0).all()


impute_twice = jax.jit(lambda key, x, missing, patterns: emb_impute(key, x, missing, patterns, 2)[0])


def impute_alone(x: Arrays, missing: np.ndarray, patterns: Arrays, key: int = 0) -> Arrays:
    """Two imputations of one data set."""
    return impute_twice(jax.random.fold_in(jax.random.key(0), key), x, jnp.asarray(missing), patterns)


@pytest.mark.slow
def test_kernel_maps_over_data_sets_and_lanes() -> None:
    sets = [small(n=40, seed=s) for s in range(3)]
    x = jnp.asarray(np.stack([s[0] for s in sets]))
    missing = jnp.asarray(np.stack([s[1] for s in sets]))
    keys = jax.vmap(lambda k: jax.random.fold_in(jax.random.key(0), k))(jnp.arange(3))
    patterns = all_patterns(4, [1, 2, 3])
    mapped = jax.jit(jax.vmap(lambda k, a, g: emb_impute(k, a, g, patterns, 4)))
    completed, fit = mapped(keys, x, missing)
    assert completed.shape == (3, 4, 40, 4)
    assert np.isfinite(np.asarray(completed)).all()
    for r in range(2):
        # its own pattern table, alone, and fewer imputations: the same numbers
        own = jnp.asarray(np.resize(~index_patterns(~np.asarray(missing[r])).observed, (8, 4)))
        alone = impute_alone(x[r], missing[r], own, r)
        np.testing.assert_allclose(np.asarray(completed[r, :2]), np.asarray(alone), rtol=1e-9, atol=1e-10)
        seen = ~np.asarray(missing[r])
        assert (np.asarray(completed[r])[:, seen] == np.asarray(x[r])[seen]).all()
    assert (np.asarray(fit.iterations) > 2).all()


def test_row_outside_the_pattern_table_is_nan() -> None:
    x, missing = small(n=40)
    completed = impute_alone(jnp.asarray(x), missing, jnp.tile(all_patterns(4, [1, 2]), (2, 1)))
    lost = missing[:, 3]
    assert np.isnan(np.asarray(completed)[:, lost, 3]).all()
    assert np.isfinite(np.asarray(completed)[:, ~lost]).all()


def test_float32_stays_float32() -> None:
    x, missing = small(n=40)
    with jax.enable_x64(False):
        completed = impute_alone(jnp.asarray(x, jnp.float32), missing, all_patterns(4, [1, 2, 3]))
        assert completed.dtype == jnp.float32
        assert np.isfinite(np.asarray(completed)).all()


@pytest.mark.slow
def test_lanes_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    x, missing = small()
    table = np.where(missing, np.nan, x)
    together = impute_table(table, options(1e-4, m=5, bootstrap=True), 0)
    monkeypatch.setattr("remlax.impute.emb_run.BATCH_BYTES", 0)
    single = impute_table(table, options(1e-4, m=5, bootstrap=True), 0)
    np.testing.assert_allclose(together.values, single.values, rtol=1e-10)
    assert len(np.unique(together.values[:, 0, 1:].round(9), axis=0)) == 5


@pytest.mark.slow
def test_imputation_is_proper() -> None:
    """FIMD section 3.2's design: 95 % intervals from m = 5 cover; plain conditional draws cover less."""
    n, m, runs = 50, 5, 1000
    rng = np.random.default_rng(11)
    x = rng.normal(size=(runs, n))
    y = 5.49 - 0.29 * x + 0.86 * rng.normal(size=(runs, n))
    missing = np.zeros((runs, n, 2), bool)
    missing[:, :, 1] = rng.random((runs, n)) < 0.5
    keys = jax.vmap(lambda k: jax.random.fold_in(jax.random.key(8), k))(jnp.arange(runs))
    patterns = all_patterns(2, [1])
    impute = jax.jit(jax.vmap(lambda k, a, g: emb_impute(k, a, g, patterns, m)[0]))
    completed = np.asarray(impute(keys, jnp.asarray(np.stack([x, y], axis=-1)), jnp.asarray(missing)))
    a, b = completed[..., 0], completed[..., 1]
    ac, bc = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    sxx = (ac**2).sum(-1)
    slope = (ac * bc).sum(-1) / sxx
    within = ((bc - slope[..., None] * ac) ** 2).sum(-1) / (n - 2) / sxx
    q, ubar, between = slope.mean(1), within.mean(1), slope.var(1, ddof=1)
    total = ubar + (1 + 1 / m) * between
    share = (1 + 1 / m) * between / total
    old, obs = (m - 1) / share**2, (n - 1) / (n + 1) * (n - 2) * (1 - share)
    half = stats.t.ppf(0.975, old * obs / (old + obs)) * np.sqrt(total)
    coverage = np.mean(np.abs(q + 0.29) < half)
    assert abs(q.mean() + 0.29) < 4 * q.std() / np.sqrt(runs)
    # published for its univariate cousin norm.boot: 0.941; for draws without parameter uncertainty 0.908
    assert abs(coverage - 0.945) < 0.02


def test_program_calls_no_lapack() -> None:
    # batched LAPACK calls wait for threads that others of their kind occupy: two at a time on two cores hang for ever
    x, missing = small()
    patterns = all_patterns(4, [1, 2, 3])
    program = jax.jit(lambda key, x, missing: emb_impute(key, x, missing, patterns, m=3))
    assert "lapack" not in program.lower(jax.random.key(0), jnp.asarray(x), jnp.asarray(missing)).as_text()
    solve = jax.jit(jnp.linalg.cholesky).lower(jnp.eye(3)[None])
    assert "lapack" in solve.as_text()  # so that the word would be seen


def test_keys_of_imputations_are_those_of_jax() -> None:
    keys = jax.random.split(jax.random.key(3), 5)
    numbers = np.arange(5)
    ours = jax.jit(jax.vmap(fold_in))(keys, numbers)
    theirs = jax.vmap(jax.random.fold_in)(keys, numbers)
    assert jnp.array_equal(jax.random.key_data(ours), jax.random.key_data(theirs))
    other = jax.random.key(1, impl="rbg")
    assert jnp.array_equal(jax.random.key_data(fold_in(other, 2)), jax.random.key_data(jax.random.fold_in(other, 2)))


def test_quick_draws_have_their_laws() -> None:
    """Row numbers are uniform, normals standard, and independent of each other; other columns are left alone."""
    source = quick_source((2, 0))
    keys = jax.random.split(jax.random.key(8), 400)
    rows = np.asarray(jax.jit(jax.vmap(lambda key: source.rows(key, 50, jnp.int32(7))))(keys))
    noise = np.asarray(jax.jit(jax.vmap(lambda key: source.noise(key, jnp.ones((50, 3)))))(keys))
    assert stats.chisquare(np.bincount(rows.ravel(), minlength=7)).pvalue > 1e-4
    assert rows.max() == 6
    assert noise.dtype == np.float64
    assert not noise[:, :, 1].any()
    drawn = np.stack([noise[:, :, 0].ravel(), noise[:, :, 2].ravel()])
    for column in drawn:
        assert stats.kstest(column, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(drawn)[0, 1]) < 4 / np.sqrt(drawn.shape[1])
