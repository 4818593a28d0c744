"""The Laplace deviance against dense matrices and brute force, its derivatives against finite differences."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
import scipy
from problems import make_problem, make_rows, parameters

from remlax.glmm.families import Family
from remlax.glmm.optimum import derivatives_at
from remlax.glmm.problem import Glmm

LOGIT = Family("binomial", "logit")
CASES = {
    "slope": (LOGIT, (2,), (6,)),
    "cloglog": (Family("binomial", "cloglog", expected=True), (1,), (6,)),
    "crossed": (Family("poisson", "log"), (2, 1), (6, 4)),
    "size": (Family("negative-binomial", "log", n_shape=1), (1,), (6,)),
    "thresholds": (Family("ordinal", "logit", n_shape=3), (1,), (6,)),
}


@pytest.fixture(scope="module", autouse=True)
def _x64() -> Any:
    with jax.enable_x64(True):
        yield


def evaluate(problem: Glmm) -> Any:
    return jax.jit(lambda at: derivatives_at(at, problem))


def dense_deviance(
    family: Family, rows: Any, theta_at: np.ndarray, beta: np.ndarray, shape: np.ndarray, map_: Any
) -> float:
    """-2 log L by a dense search for the modes and finite differences of the log-density, no constants."""
    y, x, z, codes = rows
    lams = []
    for f, q in enumerate(map_.q):
        lam = np.zeros((q, q))
        where, row, col = map_.entries(f)
        lam[row, col] = theta_at[where]
        lams.append(lam)
    columns = []
    for part, code, lam in zip(z, codes, lams, strict=True):
        turned = part @ lam
        for j in range(part.shape[1]):
            block = np.zeros((len(y), int(code.max()) + 1))
            block[np.arange(len(y)), code] = turned[:, j]
            columns.append(block)
    a = np.concatenate(columns, axis=1)

    def density(eta: np.ndarray) -> np.ndarray:
        if family.name == "binomial" and family.link == "logit":
            return scipy.stats.bernoulli.logpmf(y, scipy.special.expit(eta))
        if family.name == "binomial":
            return scipy.stats.bernoulli.logpmf(y, -np.expm1(-np.exp(eta)))
        if family.name == "poisson":
            return scipy.stats.poisson.logpmf(y, np.exp(eta)) + scipy.special.gammaln(y + 1)
        if family.name == "negative-binomial":
            size = np.exp(shape[0])
            return scipy.stats.nbinom.logpmf(y, size, size / (size + np.exp(eta))) + scipy.special.gammaln(y + 1)
        ends = np.r_[-np.inf, shape, np.inf]
        level = y.astype(int)
        return np.log(scipy.special.expit(ends[level + 1] - eta) - scipy.special.expit(ends[level] - eta))

    def slopes(eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        h = 1e-3
        up, down, up2, down2 = density(eta + h), density(eta - h), density(eta + 2 * h), density(eta - 2 * h)
        first = (8 * (up - down) - (up2 - down2)) / (12 * h)
        return first, (16 * (up + down) - (up2 + down2) - 30 * density(eta)) / (12 * h * h)

    u = np.zeros(a.shape[1])
    for _ in range(40):
        first, second = slopes(x @ beta + a @ u)
        u = u + np.linalg.solve(a.T * -second @ a + np.eye(len(u)), a.T @ first - u)
    eta = x @ beta + a @ u
    weight = -slopes(eta)[1]
    if family.expected:
        mean, rate = -np.expm1(-np.exp(eta)), np.exp(eta - np.exp(eta))
        weight = rate**2 / (mean * (1 - mean))
    logdet = np.linalg.slogdet(a.T * weight @ a + np.eye(len(u)))[1]
    return float(-2 * density(eta).sum() + u @ u + logdet)


# these compile for long, and their parts are compared in test_quadrature as well
SLOW = ("cloglog", "thresholds")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CASES])
def test_deviance_and_derivatives(name: str) -> None:
    family, q, levels = CASES[name]
    rows = make_rows(family, q, levels)
    problem = make_problem(family, rows)
    at, run = parameters(problem), evaluate(problem)
    found = run(at)
    d, p = problem.structure.theta_map.n_theta, problem.structure.n_fixed
    dense = dense_deviance(family, rows, at[:d], at[d : d + p], at[d + p :], problem.structure.theta_map)
    # the dense search differentiates numerically
    assert float(found.value) == pytest.approx(dense, rel=1e-7)

    h, eye = 1e-4, np.eye(len(at))
    near = {k: [run(at + k * h * e) for e in eye] for k in (-2, -1, 1, 2)}
    for part, whole in (("value", found.grad), ("grad", found.hess)):
        up, down, up2, down2 = (np.array([getattr(one, part) for one in near[k]]) for k in (1, -1, 2, -2))
        numeric = (8 * (up - down) - (up2 - down2)) / (12 * h)
        np.testing.assert_allclose(np.asarray(whole), numeric, rtol=1e-8, atol=1e-8)


def test_padding_and_the_order_of_rows_change_nothing() -> None:
    rows = make_rows(LOGIT, (2,), (6,))
    problem = make_problem(LOGIT, rows)
    at = parameters(problem)
    found = evaluate(problem)(at)
    order = np.random.default_rng(0).permutation(len(rows[0]))
    y, x, z, codes = rows
    shuffled = (y[order], x[order], [part[order] for part in z], [part[order] for part in codes])
    padded = make_problem(LOGIT, shuffled, height=8, extra=2)
    again = evaluate(padded)(np.r_[at[:3], at[3:], 0.0, 0.0])
    np.testing.assert_allclose(float(again.value), float(found.value), rtol=1e-13)
    np.testing.assert_allclose(np.asarray(again.grad)[: len(at)], np.asarray(found.grad), atol=1e-11)
    np.testing.assert_allclose(np.asarray(again.hess)[: len(at), : len(at)], np.asarray(found.hess), atol=1e-10)


def test_k_of_n_is_n_rows() -> None:
    rng = np.random.default_rng(4)
    code, trials = np.repeat(np.arange(6), 3), rng.integers(1, 6, 18)
    successes = rng.binomial(trials, 0.4)
    x = np.column_stack([np.ones(18), rng.normal(size=18)])
    together = (successes / trials, x, [x[:, :1]], [code])
    row = np.repeat(np.arange(18), trials)
    first = np.concatenate([np.arange(n) < k for n, k in zip(trials, successes, strict=True)]).astype(float)
    apart = (first, x[row], [x[row][:, :1]], [code[row]])
    one = make_problem(LOGIT, together, weight=trials.astype(float))
    at = parameters(one)
    a, b = evaluate(one)(at), evaluate(make_problem(LOGIT, apart))(at)
    np.testing.assert_allclose(float(a.value), float(b.value), rtol=1e-13)
    np.testing.assert_allclose(np.asarray(a.hess), np.asarray(b.hess), rtol=1e-10, atol=1e-10)


def test_the_laplace_approximation_of_a_gaussian_integral_is_exact() -> None:
    """With counts so large that the log-density is a parabola, Laplace and quadrature agree."""
    y, code = np.array([1e6, 1.1e6, 0.9e6, 1.05e6]), np.array([0, 0, 1, 1])
    x = np.ones((4, 1))
    problem = make_problem(Family("poisson", "log"), (y, x, [x], [code]))
    at = np.array([0.3, 13.8])
    value = float(evaluate(problem)(at).value)
    total = 0.0
    for level in (0, 1):
        own = y[code == level]
        mode = scipy.optimize.brentq(lambda u, own=own: 0.3 * np.sum(own - np.exp(13.8 + 0.3 * u)) - u, -3, 3)

        def log_joint(u: float, own: np.ndarray = own) -> float:
            eta = 13.8 + 0.3 * u
            return float(np.sum(own * eta - np.exp(eta)) - u * u / 2 - np.log(2 * np.pi) / 2)

        top = log_joint(mode)
        width = 12 / (0.3 * np.sqrt(np.sum(own)))
        area = scipy.integrate.quad(
            lambda u, top=top: np.exp(log_joint(u) - top), mode - width, mode + width, epsabs=0
        )[0]
        total += -2 * (top + np.log(area))
    assert value == pytest.approx(total, abs=1e-5)
