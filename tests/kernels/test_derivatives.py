"""Exact gradients and Hessians against automatic differentiation, and against differences of n x n algebra."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dense_model import DenseTerm, dense, lower
from random_models import assembled, dense_at, random_frame, random_model
from remlax.kernels.criterion import profiled_deviance, value_and_grad, value_grad_hess
from remlax.kernels.cross_products import cross_products
from remlax.kernels.nested import Nested
from remlax.kernels.problem import Structure
from remlax.kernels.theta import ThetaMap


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def differences(f: Callable[[np.ndarray], np.ndarray | float], theta: np.ndarray, h: float) -> np.ndarray:
    """Fourth-order central differences of f along every coordinate."""
    out = []
    for e in h * np.eye(len(theta)):
        near = np.asarray(f(theta + e)) - np.asarray(f(theta - e))
        far = np.asarray(f(theta + 2 * e)) - np.asarray(f(theta - 2 * e))
        out.append((8 * near - far) / (12 * h))
    return np.array(out)


def some_theta(d: int, diagonal: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(d)
    return np.where(diagonal, rng.uniform(0.3, 1.2, d), 0.3 * rng.normal(size=d))


@pytest.mark.parametrize(
    ("structure", "reml"),
    [
        ("(1 | g)", True),
        ("(1 | g) + (0 + x | g)", False),
        ("(1 | b/a)", True),
        ("(1 + x | g) + (1 + x | h)", True),
        ("(1 | b/a) + (1 | h)", False),
        ("(1 + x | b/a)", True),
        pytest.param("(1 + x | b/a)", False, marks=pytest.mark.slow),
        ("(1 | g) + (1 | h)", True),
        pytest.param("(1 + x | g) + (1 + x | h)", False, marks=pytest.mark.slow),
    ],
)
def test_derivatives_of_structures(structure, reml):
    """Gradient against differences of the n x n criterion, Hessian against differences of that gradient."""
    frame = random_frame(3, 60, levels=8)
    written_out = random_model(structure, frame)
    model = assembled(written_out.formula, [frame], reml=reml, weights="w")
    problem, layout = model.batch.one(0), model.layout
    theta = some_theta(problem.structure.theta_map.n_theta, problem.structure.theta_map.diagonal)

    def criterion(t: np.ndarray) -> float:
        answer = dense_at(written_out, layout, t / model.theta_scale, weighted=True)
        return answer.reml if reml else answer.ml

    exact = jax.jit(lambda t: value_grad_hess(t, problem))
    found = exact(theta)
    assert float(found.value) == pytest.approx(criterion(theta), rel=1e-10)
    size = float(np.max(np.abs(found.hess)))
    # fourth-order differences of numbers known to 1e-14 of their size
    np.testing.assert_allclose(found.grad, differences(criterion, theta, 1e-3), rtol=1e-7, atol=1e-8 * size)
    np.testing.assert_allclose(
        found.hess, differences(lambda t: exact(t).grad, theta, 1e-3), rtol=1e-7, atol=1e-8 * size
    )
    if structure == "(1 | b/a)":  # what an optimiser without Hessians calls
        value, grad = jax.jit(lambda t: value_and_grad(t, problem))(theta)
        assert float(value) == pytest.approx(float(found.value), rel=1e-14)
        np.testing.assert_allclose(grad, found.grad, rtol=1e-10)


def one_factor(q: int, reml: bool) -> tuple[Nested, DenseTerm, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(q)
    n, levels = 40 * q, 12
    codes = rng.integers(0, levels, n)
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    z = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
    y = x @ [1.0, 2.0] + np.einsum("nq,nq->n", z, rng.normal(size=(levels, q))[codes]) + rng.normal(size=n)
    col, row = np.triu_indices(q)
    theta_map = ThetaMap((q,), (0,) * len(row), tuple(map(int, row)), tuple(map(int, col)))
    structure = Structure(theta_map, (levels,), 2, reml=reml)
    products, _ = cross_products(*(jnp.asarray(a) for a in (x, y)), (jnp.asarray(z),), (jnp.asarray(codes),), structure)
    return Nested(structure, products), DenseTerm(z, codes, levels), x, y


@pytest.mark.parametrize(
    ("q", "reml"),
    [(1, True), (2, True), (2, False), (3, True), (5, True), (8, True)],
)
def test_one_factor_against_differences(q, reml):
    problem, term, x, y = one_factor(q, reml)
    theta = some_theta(problem.structure.theta_map.n_theta, problem.structure.theta_map.diagonal)

    def criterion(t: np.ndarray) -> float:
        answer = dense(x, y, [term], [lower(t, q)])
        return answer.reml if reml else answer.ml

    exact = jax.jit(lambda t: value_grad_hess(t, problem))
    found = exact(theta)
    assert float(found.value) == pytest.approx(criterion(theta), rel=1e-10)
    size = float(np.max(np.abs(found.hess)))
    # a few coordinates of many: every difference costs four n x n factorizations
    some = np.linspace(0, len(theta) - 1, min(6, len(theta))).astype(int)
    partial = np.zeros((len(some), len(theta)))
    partial[np.arange(len(some)), some] = 1.0
    slopes = differences(lambda s: criterion(theta + s @ partial), np.zeros(len(some)), 1e-3)
    np.testing.assert_allclose(found.grad[some], slopes, rtol=1e-7, atol=1e-8 * size)
    bends = differences(lambda t: exact(t).grad, theta, 1e-3)
    np.testing.assert_allclose(found.hess, bends, rtol=1e-7, atol=1e-8 * size)


@pytest.mark.parametrize("q", [1, 2, *(pytest.param(q, marks=pytest.mark.slow) for q in (3, 5, 8))])
def test_one_factor_against_automatic_differentiation(q):
    problem, *_ = one_factor(q, reml=True)

    def criterion(t: jax.Array) -> jax.Array:
        return profiled_deviance(t, problem)

    exact = jax.jit(lambda t: value_grad_hess(t, problem))
    pair = jax.jit(lambda t: value_and_grad(t, problem))
    slope, bend = jax.jit(jax.grad(criterion)), jax.jit(jax.hessian(criterion))
    inside = some_theta(problem.structure.theta_map.n_theta, problem.structure.theta_map.diagonal)
    on_the_boundary = np.where(problem.structure.theta_map.diagonal, 0.0, inside)
    for theta in (inside, on_the_boundary):
        found = exact(theta)
        size = float(np.max(np.abs(found.hess)))
        np.testing.assert_allclose(found.grad, slope(theta), rtol=1e-10, atol=1e-12 * size)
        np.testing.assert_allclose(found.hess, bend(theta), rtol=1e-10, atol=1e-12 * size)
        value, grad = pair(theta)
        assert float(value) == pytest.approx(float(found.value), rel=1e-14)
        np.testing.assert_allclose(grad, found.grad, rtol=1e-12, atol=1e-13 * size)
