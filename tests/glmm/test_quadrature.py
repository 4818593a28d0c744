"""Adaptive Gauss-Hermite quadrature against plain integration, differences, the Laplace approximation and lme4."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from remlax.errors import DesignError
from remlax.fitting.responses.nodes import check_nodes
from remlax.glmm.families import Family
from remlax.glmm.laplace import at_modes, laplace_derivatives
from remlax.glmm.problem import Glmm, GlmmRows, GlmmStructure, zero_effects
from remlax.glmm.quadrature import node_grid, quadrature_derivatives, quadrature_deviance
from remlax.kernels.theta import ThetaMap

REFERENCE = Path(__file__).resolve().parent.parent / "reference" / "next"
LOGIT = Family("binomial", "logit")
FAMILIES = {
    "logit": LOGIT,
    "probit, expected": Family("binomial", "probit", expected=True),
    "cloglog": Family("binomial", "cloglog"),
    "poisson": Family("poisson", "log"),
    "negative binomial": Family("negative-binomial", "log", n_shape=1),
    "gamma": Family("gamma", "log", n_shape=1),
    "ordinal": Family("ordinal", "logit", n_shape=2),
}


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def one_term(q: int) -> ThetaMap:
    """Theta of one term of q columns."""
    col, row = zip(*((j, i) for j in range(q) for i in range(j, q)), strict=True)
    return ThetaMap((q,), (0,) * len(row), row, col)


def problem_of(
    y: np.ndarray,
    x: np.ndarray,
    z: np.ndarray,
    level: np.ndarray,
    family: Family,
    *,
    weight: np.ndarray | None = None,
    constant: float = 0.0,
    n_quad: int = 1,
) -> Glmm:
    """One data set with one grouping factor, every level one tile; z (n, q)."""
    sizes, q = np.bincount(level), z.shape[1]
    place = np.concatenate([np.arange(size) for size in sizes])
    order = np.argsort(level, kind="stable")

    def tiled(column: np.ndarray) -> jax.Array:
        out = np.zeros((sizes.max(), len(sizes)))
        out[place, level[order]] = column[order]
        return jnp.asarray(out)

    rows = GlmmRows(
        x=jnp.stack([tiled(column) for column in x.T]),
        z=(jnp.stack([tiled(column) for column in z.T]),),
        y=tiled(y),
        weight=tiled(np.ones(len(y)) if weight is None else weight),
        offset=tiled(np.zeros(len(y))),
        tile_level=jnp.arange(len(sizes), dtype=jnp.int32),
        codes=(),
        padded=jnp.zeros(x.shape[1]),
        n_obs=jnp.asarray(float(len(y))),
        constant=jnp.asarray(constant),
    )
    return Glmm(GlmmStructure(one_term(q), (len(sizes),), x.shape[1], family, n_quad), rows)


class Drawn:
    """A small data set with responses of a family, and parameters to look at it."""

    def __init__(self, family: Family, q: int, sizes: tuple[int, ...] = (3, 4, 2, 3)) -> None:
        rng = np.random.default_rng(7)
        n = sum(sizes)
        self.family, self.level = family, np.repeat(np.arange(len(sizes)), sizes)
        self.x = np.column_stack([np.ones(n), rng.normal(size=n)])[:, family.name == "ordinal" :]
        self.z = np.column_stack([np.ones(n), self.x[:, -1], rng.normal(size=n)])[:, :q]
        ordinal = np.tile([0, 2, 1, 1], n)[:n]
        counts = rng.poisson(1.5, size=n)
        of_family = {"binomial": counts > 1, "gamma": rng.gamma(2.0, size=n), "ordinal": ordinal}
        self.y = np.asarray(of_family.get(family.name, counts), float)
        self.theta = {1: np.array([0.8]), 2: np.array([0.8, -0.3, 0.5]), 3: np.array([0.7, 0.2, -0.3, 0.5, 0.1, 0.4])}[
            q
        ]
        self.beta = np.array([0.3, -0.4])[-self.x.shape[1] :]
        self.shape = {0: np.zeros(0), 1: np.array([0.4]), 2: np.array([-0.5, 0.9])}[family.n_shape]
        self.at = np.concatenate([self.theta, self.beta, self.shape])

    def problem(self, n_quad: int) -> Glmm:
        return problem_of(self.y, self.x, self.z, self.level, self.family, n_quad=n_quad)

    def log_density(self, eta: np.ndarray) -> np.ndarray:
        """Written with SciPy's distributions; without what depends on no parameter."""
        y, family = self.y[:, None], self.family
        if family.name == "poisson":
            return stats.poisson.logpmf(y, np.exp(eta)) + special.gammaln(y + 1)
        if family.name == "negative-binomial":
            size = np.exp(self.shape[0])
            return stats.nbinom.logpmf(y, size, size / (size + np.exp(eta))) + special.gammaln(y + 1)
        if family.name == "gamma":
            alpha = np.exp(self.shape[0])
            return stats.gamma.logpdf(y, alpha, scale=np.exp(eta) / alpha) + np.log(y)
        if family.name == "ordinal":
            ends = np.concatenate([[-np.inf], self.shape, [np.inf]])
            code = self.y.astype(int)[:, None]
            return np.log(special.expit(ends[code + 1] - eta) - special.expit(ends[code] - eta))
        log_p = {"logit": special.log_expit, "probit": special.log_ndtr}
        if family.link == "cloglog":
            return np.where(y > 0, np.log(-np.expm1(-np.exp(eta))), -np.exp(eta))
        return log_p[family.link](np.where(y > 0, eta, -eta))

    def integral(self, reach: float = 9.0, points: int = 181) -> float:
        """-2 log L by the trapezoid rule over the random effects, whose error is far below rounding."""
        q = self.z.shape[1]
        one = np.linspace(-reach, reach, points)
        u = np.array(list(product(one, repeat=q)))
        lam = np.zeros((q, q))
        lam[one_term(q).row, one_term(q).col] = self.theta
        eta = (self.x @ self.beta)[:, None] + self.z @ lam @ u.T
        rows = self.log_density(eta)
        prior = stats.norm.logpdf(u).sum(axis=1) + q * np.log(one[1] - one[0])
        return sum(-2 * special.logsumexp(rows[self.level == g].sum(axis=0) + prior) for g in np.unique(self.level))


@cache
def compiled_for(structure: GlmmStructure, laplace: bool) -> Callable[[np.ndarray, GlmmRows], tuple]:
    def found(at: jax.Array, rows: GlmmRows) -> tuple:
        problem = Glmm(structure, rows)
        point = at_modes(at, zero_effects(structure, at.dtype), problem)
        return (laplace_derivatives if laplace else quadrature_derivatives)(point, at, problem)[0]

    return jax.jit(found)


def derivatives(at: np.ndarray, problem: Glmm, *, laplace: bool = False) -> tuple:
    return compiled_for(problem.structure, laplace)(jnp.asarray(at), problem.products)


@cache
def compiled_value(structure: GlmmStructure) -> Callable[[jax.Array, GlmmRows], jax.Array]:
    def deviance(at: jax.Array, rows: GlmmRows) -> jax.Array:
        problem = Glmm(structure, rows)
        return quadrature_deviance(at_modes(at, zero_effects(structure, at.dtype), problem), at, problem)

    return jax.jit(deviance)


def value(at: np.ndarray, problem: Glmm) -> jax.Array:
    return compiled_value(problem.structure)(jnp.asarray(at), problem.products)


def differences(f: Callable[[np.ndarray], np.ndarray], at: np.ndarray, h: float) -> np.ndarray:
    """Fourth-order central differences of f along every coordinate."""
    out = []
    for e in h * np.eye(len(at)):
        near = np.asarray(f(at + e)) - np.asarray(f(at - e))
        far = np.asarray(f(at + 2 * e)) - np.asarray(f(at - 2 * e))
        out.append((8 * near - far) / (12 * h))
    return np.array(out)


CASES = [(name, 1) for name in FAMILIES] + [("logit", 2), ("probit, expected", 2), ("logit", 3)]
# the others cover what these do
SLOW = {("poisson", 1), ("probit, expected", 1), ("cloglog", 1), ("negative binomial", 1), ("gamma", 1), ("logit", 2)}


@pytest.mark.parametrize(
    ("name", "q"), [pytest.param(*case, marks=pytest.mark.slow) if case in SLOW else case for case in CASES]
)
def test_derivatives_are_those_of_the_value(name, q):
    """Few nodes, so that the derivatives of their places matter."""
    case = Drawn(FAMILIES[name], q)
    problem = case.problem({1: 5, 2: 3, 3: 2}[q])
    found = derivatives(case.at, problem)
    size = float(np.max(np.abs(found.hess)))
    assert float(found.value) == pytest.approx(float(value(case.at, problem)), rel=1e-13)
    by_value = differences(lambda at: derivatives(at, problem).value, case.at, 1e-3)
    by_grad = differences(lambda at: derivatives(at, problem).grad, case.at, 1e-3)
    np.testing.assert_allclose(found.grad, by_value, rtol=1e-7, atol=1e-9 * size)
    np.testing.assert_allclose(found.hess, by_grad, rtol=1e-7, atol=1e-9 * size)


@pytest.mark.parametrize("name", ["logit", pytest.param("ordinal", marks=pytest.mark.slow)])
def test_one_node_is_the_laplace_approximation(name):
    case = Drawn(FAMILIES[name], 1)
    problem = case.problem(1)
    for mine, other in zip(derivatives(case.at, problem), derivatives(case.at, problem, laplace=True), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("name", "q"), [(name, 1) for name in FAMILIES] + [("logit", 2), ("poisson", 2)])
def test_many_nodes_give_the_integral(name, q):
    """Against the trapezoid rule over plus and minus nine SDs, with densities of SciPy."""
    case = Drawn(FAMILIES[name], q)
    found = value(case.at, case.problem(49 if q == 1 else 25))
    assert float(found) == pytest.approx(case.integral(), rel=1e-9)


def test_an_even_number_of_nodes_leaves_out_the_mode():
    """Nodes of four points at 0.742 and 2.334, by hand."""
    case = Drawn(LOGIT, 1)
    roots = np.sqrt([3 - np.sqrt(6), 3 + np.sqrt(6)])
    found = node_grid(4, 1, np.dtype(float))
    np.testing.assert_allclose(found.z[:, 0], [-roots[1], -roots[0], roots[0], roots[1]], rtol=1e-14)
    weights = np.exp(found.log_scale - np.sum(found.z**2, axis=1) / 2)
    np.testing.assert_allclose(weights[2:], [(3 + np.sqrt(6)) / 12, (3 - np.sqrt(6)) / 12], rtol=1e-13)
    assert float(value(case.at, case.problem(4))) == pytest.approx(case.integral(), rel=1e-4)


def test_far_nodes_that_overflow_have_no_weight():
    """Levels of zero counts under a variance so large that a node's mean is infinite."""
    case = Drawn(FAMILIES["poisson"], 1)
    case.y = np.zeros_like(case.y)
    at = np.concatenate([[500.0], case.beta])
    found = derivatives(at, case.problem(5))
    assert all(np.isfinite(part).all() for part in found)


def cbpp() -> tuple[dict, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fits of the reference, X, levels, number of trials and number of cases."""
    with gzip.open(REFERENCE / "glmm_cbpp_links.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    number = {name: np.array([float(row[name]) for row in rows]) for name in ("herd", "period", "incidence", "size")}
    x = np.column_stack([np.ones(len(rows))] + [number["period"] == p for p in (2, 3, 4)]).astype(float)
    reference = json.loads((REFERENCE / "glmm_cbpp_links.json").read_text())
    return reference, x, number["herd"].astype(int) - 1, number["size"], number["incidence"]


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_deviances_of_cbpp(link):
    """At optimum and other points with 1, 9 and 25 nodes: numbers of R that agree with lme4's to 1e-9."""
    reference, x, level, size, cases = cbpp()
    log_choose = special.gammaln(size + 1) - special.gammaln(cases + 1) - special.gammaln(size - cases + 1)
    family, constant = Family("binomial", link, expected=True), -2 * float(np.sum(log_choose))
    fits = [fit for fit in reference["fits"] if fit["link"] == link and fit["weights"] is None]
    assert sorted(fit["n_quad"] for fit in fits) == [1, 9, 25]
    z = np.ones((len(size), 1))
    for fit in fits:
        problem = problem_of(cases / size, x, z, level, family, weight=size, constant=constant, n_quad=fit["n_quad"])
        for point in fit["deviance_at"]:
            at = np.array([*point["theta"], *point["beta"]], float)
            assert float(value(at, problem)) == pytest.approx(point["deviance"], rel=1e-9), point["label"]


def test_optimum_of_cbpp():
    """Gradient zero and covariance matrix of the reference's optimum with 9 nodes."""
    reference, x, level, size, cases = cbpp()
    (fit,) = [f for f in reference["fits"] if f["link"] == "logit" and f["n_quad"] == 9]
    problem = problem_of(cases / size, x, np.ones((len(size), 1)), level, LOGIT, weight=size, n_quad=9)
    found = derivatives(np.array([*fit["theta"].values(), *fit["fixef"].values()]), problem)
    covariance = 2 * np.linalg.inv(found.hess)
    step = covariance @ found.grad / 2
    assert np.max(np.abs(step) / np.sqrt(np.diag(covariance))) < 1e-7
    np.testing.assert_allclose(covariance[1:, 1:], fit["vcov_hessian"]["matrix"], rtol=1e-7)


def test_refusals():
    check_nodes(1, 2, ["herd", "year"])
    check_nodes(25, 2, ["herd"])
    with pytest.raises(DesignError, match=r"one grouping factor: this model has 2 \(herd, year\); use n_quad=1, or"):
        check_nodes(2, 1, ["herd", "year"])
    with pytest.raises(
        DesignError, match=r"n_quad=9 with 3 random-effects columns takes 729 points a level; .* n_quad=8"
    ):
        check_nodes(9, 3, ["herd"])
    with pytest.raises(DesignError, match="from 1 to 100, not 0"):
        check_nodes(0, 1, ["herd"])
