"""Models of the sizes that people bring: crossed ratings, many rows, many groups, many columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from dense_model import DenseTerm, dense
from remlax.errors import ModelSizeError
from remlax.fitting import layout

pytestmark = pytest.mark.slow


def ratings(n: int, students: int, lecturers: int, seed: int) -> pd.DataFrame:
    """Lecture ratings by students of lecturers, in the proportions of lme4's InstEval."""
    rng = np.random.default_rng(seed)
    s = np.concatenate([np.arange(students), rng.integers(0, students, n - students)])
    d = np.concatenate([np.arange(lecturers), rng.integers(0, lecturers, n - lecturers)])
    service = rng.integers(0, 2, n)
    y = 3.3 - 0.1 * service + 0.33 * rng.normal(size=students)[s] + 0.5 * rng.normal(size=lecturers)[d]
    y = y + 1.18 * rng.normal(size=n)
    return pd.DataFrame({"y": y, "service": service, "s": s, "d": d})


def test_crossed_ratings_at_a_twentieth_of_insteval():
    data = ratings(3671, 149, 56, 1)
    fit = rx.lmer("y ~ service + (1 | s) + (1 | d)", data)
    x = np.column_stack([np.ones(len(data)), data["service"]])
    ones = np.ones((len(data), 1))
    terms = [DenseTerm(ones, data["s"].to_numpy(), 149), DenseTerm(ones, data["d"].to_numpy(), 56)]

    def at(theta: np.ndarray):
        return dense(x, data["y"].to_numpy(), terms, [np.array([[t]]) for t in theta])

    for theta in (fit.theta, np.array([1.0, 0.1]), np.array([0.0, 0.7])):
        answer = at(theta)
        assert fit.criterion(theta, reml=True) == pytest.approx(answer.reml, rel=1e-9)
        assert fit.criterion(theta, reml=False) == pytest.approx(answer.ml, rel=1e-9)
    answer = at(fit.theta)
    np.testing.assert_allclose(fit.fixef(), answer.beta, rtol=1e-9)
    np.testing.assert_allclose(fit.vcov(), answer.vcov_reml, rtol=1e-8)
    modes = fit.ranef(cond_var=True)
    for name, mode, variance in zip("sd", answer.modes, answer.variances_over_sigma2, strict=True):
        np.testing.assert_allclose(modes[name].to_numpy(), mode, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(modes[name].attrs["cond_var"], variance * fit.sigma**2, rtol=1e-7)
    # the optimum: no neighbour is lower
    for step in 1e-3 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]):
        assert at(fit.theta + step).reml > answer.reml


def test_twenty_data_sets_of_100_000_rows():
    rng = np.random.default_rng(2)
    g = rng.integers(0, 2000, 100_000)
    x = rng.normal(size=100_000)
    u = rng.normal(size=(2000, 2)) * [0.7, 0.3]
    base = pd.DataFrame({"x": x, "g": g})
    mean = 1 + 0.5 * x + u[g, 0] + u[g, 1] * x
    frames = [base.assign(y=mean + rng.normal(size=len(g))) for _ in range(20)]
    fits = rx.lmer_list("y ~ x + (1 + x | g)", frames)
    assert fits.convergence()["converged"].all()
    one = rx.lmer("y ~ x + (1 + x | g)", frames[7])
    assert fits[7].criterion() == pytest.approx(one.criterion(), rel=1e-12)
    np.testing.assert_allclose(fits[7].fixef(), one.fixef(), rtol=1e-9)
    np.testing.assert_allclose(fits.varcorr()["sdcor"].to_numpy().reshape(20, 4)[:, 3], 1.0, atol=0.02)


def test_a_million_groups():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(1_000_000), 2)
    y = rng.normal(size=1_000_000)[g] + rng.normal(size=len(g))
    fit = rx.lmer("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": g}))
    # balanced: the REML estimates are the ANOVA estimates
    pairs = y.reshape(-1, 2)
    within = np.sum((pairs - pairs.mean(axis=1, keepdims=True)) ** 2) / len(pairs)
    between = 2 * np.var(pairs.mean(axis=1), ddof=1)
    assert fit.sigma**2 == pytest.approx(within, rel=1e-8)
    assert (fit.theta[0] * fit.sigma) ** 2 == pytest.approx((between - within) / 2, rel=1e-7)
    assert fit.fixef()["Intercept"] == pytest.approx(y.mean(), abs=1e-12)
    assert fit.ngrps == {"g": 1_000_000}


@pytest.mark.parametrize("columns", [0, 200])
def test_fixed_parts_of_no_and_of_200_columns(columns: int):
    rng = np.random.default_rng(4)
    n, g = 900, rng.integers(0, 30, 900)
    x = rng.normal(size=(n, columns))
    y = x @ rng.normal(size=columns) + rng.normal(size=30)[g] + rng.normal(size=n)
    names = [f"x{j}" for j in range(columns)]
    data = pd.DataFrame(x, columns=names).assign(y=y, g=g)
    fit = rx.lmer(f"y ~ {' + '.join(['0', *names])} + (1 | g)", data)
    assert fit.converged
    answer = dense(x, y, [DenseTerm(np.ones((n, 1)), g, 30)], [np.array([[fit.theta[0]]])])
    assert fit.criterion() == pytest.approx(answer.reml, rel=1e-9)
    np.testing.assert_allclose(fit.fixef().to_numpy(dtype=float), answer.beta, rtol=1e-7, atol=1e-9)


def test_a_dense_block_that_does_not_fit_is_refused_before_it_is_allocated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layout, "available_bytes", lambda: 10_000)
    with pytest.raises(ModelSizeError, match=r"'d' form a dense block of 64 columns, which needs about .* of memory"):
        rx.lmer("y ~ 1 + (1 | s) + (1 | d)", ratings(3671, 149, 56, 1))


def test_fifty_random_terms():
    rng = np.random.default_rng(6)
    g = np.repeat(np.arange(30), 80)
    x = rng.normal(size=(len(g), 50))
    y = rng.normal(size=len(g)) + np.sum(0.5 * rng.normal(size=(30, 50))[g] * x, axis=1)
    data = pd.DataFrame({f"x{j}": x[:, j] for j in range(50)}).assign(y=y, g=g)
    fit = rx.lmer("y ~ 1 + " + " + ".join(f"(0 + x{j} | g)" for j in range(50)), data)
    assert fit.converged
    ones = np.ones((len(g), 1))

    def at(theta: np.ndarray):
        return dense(ones, y, [DenseTerm(x, g, 30)], [np.diag(theta)])

    answer = at(fit.theta)
    assert fit.criterion(fit.theta, reml=True) == pytest.approx(answer.reml, rel=1e-9)
    np.testing.assert_allclose(fit.fixef(), answer.beta, rtol=1e-8)
    np.testing.assert_allclose(fit.vcov(), answer.vcov_reml, rtol=1e-8)
    for j in (0, 24, 49):
        assert at(fit.theta + 1e-3 * np.eye(50)[j]).reml > answer.reml
        assert at(fit.theta - 1e-3 * np.eye(50)[j]).reml > answer.reml
