"""L-BFGS of jaxopt against SciPy on functions of a few coordinates, and against Newton on mixed models."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jax import Array
from scipy import optimize

import remlax as rx
from remlax.kernels.criterion import Derivatives
from remlax.kernels.lbfgs import BELIEVED, lbfgs, preconditioner
from remlax.kernels.newton import CONVERGED, NOT_FINITE, Optimum

DEFAULT = rx.LBFGS()
ROWS = np.random.default_rng(4).normal(size=(12, 3))


@dataclass(frozen=True)
class Smooth:
    """Sum of log cosh(row'x - b) over twelve rows, b the problem; not a number far out."""

    def start(self, problem: Array) -> Array:
        return jnp.full(3, 0.9)

    def value(self, at: Array, problem: Array) -> Array:
        inside = jnp.all(jnp.abs(at) < 20)
        return jnp.where(inside, jnp.sum(jnp.logaddexp(*(sign * (ROWS @ at - problem) for sign in (1, -1)))), jnp.nan)

    def value_and_grad(self, at: Array, problem: Any) -> tuple[Array, Array]:
        both: tuple[Array, Array] = jax.value_and_grad(self.value)(at, problem)
        return both

    def derivatives(self, at: Array, problem: Any) -> Derivatives:
        return Derivatives(*self.value_and_grad(at, problem), jax.hessian(self.value)(at, problem))


def minimum(b: np.ndarray) -> np.ndarray:
    def value(at: np.ndarray) -> float:
        return float(np.sum(np.logaddexp(ROWS @ at - b, b - ROWS @ at)))

    return np.asarray(optimize.minimize(value, np.zeros(3), method="BFGS", options={"gtol": 1e-9}).x)


@cache
def program(options: rx.LBFGS) -> Any:
    def one(own: Array) -> Optimum:
        return lbfgs(jnp.full(3, jnp.nan), jnp.asarray(100), own, options, Smooth())  # type: ignore[arg-type]

    return jax.jit(jax.vmap(one))


def minimised(b: np.ndarray, options: rx.LBFGS = DEFAULT) -> Optimum:
    """All rows of b (6, 12) as data sets of one program, each from the criterion's start."""
    with jax.enable_x64(True):
        found: Optimum = jax.tree.map(np.asarray, program(options)(jnp.asarray(b)))
    return found


def test_jaxopt_minimises_and_newton_certifies() -> None:
    b = np.random.default_rng(5).normal(size=(6, 12))
    found = minimised(b)
    np.testing.assert_allclose(found.theta, [minimum(own) for own in b], atol=1e-6)
    assert (found.status == CONVERGED).all()
    assert (found.decrement < 1e-12).all()
    # a Hessian at the start, one where L-BFGS ends and one after a step from there
    assert (found.evaluations == 3).all()
    assert (found.iterations >= 2).all()
    assert (found.iterations <= DEFAULT.max_iter).all()


def test_few_iterations_are_finished_by_newton() -> None:
    b = np.random.default_rng(5).normal(size=(6, 12))
    found, whole = minimised(b, rx.LBFGS(max_iter=1)), minimised(b)
    np.testing.assert_allclose(found.theta, whole.theta, atol=1e-8)
    assert (found.iterations == 1).all()
    assert found.evaluations.sum() > whole.evaluations.sum()


def test_steps_that_rise_or_leave_the_domain_are_left_to_newton() -> None:
    # far from the minimum the function is all but linear, and a Newton step is much too long
    b = np.random.default_rng(6).normal(size=(6, 12)) * 5
    found = minimised(b)
    np.testing.assert_allclose(found.theta, [minimum(own) for own in b], atol=1e-5)
    assert (found.status == CONVERGED).all()
    assert (found.iterations == 1).any()


def test_a_failed_data_set_changes_no_other() -> None:
    b = np.random.default_rng(7).normal(size=(6, 12))
    broken = b.copy()
    broken[2] = np.nan
    found, whole = minimised(broken), minimised(b)
    others = [0, 1, 3, 4, 5]
    for ours, theirs in zip(found, whole, strict=True):
        np.testing.assert_array_equal(np.asarray(ours)[others], np.asarray(theirs)[others])
    assert found.status[2] == NOT_FINITE


@pytest.mark.parametrize("d", [1, 4, 12])
def test_preconditioner_is_a_root_of_the_inverse(d: int) -> None:
    rng = np.random.default_rng(d)
    root = rng.normal(size=(d, 3 * d)) * np.exp(rng.normal(size=d) * 2)[:, None]
    with jax.enable_x64(True):
        found = np.asarray(preconditioner(jnp.asarray(root @ root.T)))
    np.testing.assert_allclose(found.T @ root @ root.T @ found, np.eye(d), atol=1e-8)
    np.testing.assert_array_equal(found, np.triu(found))


def test_preconditioner_of_an_indefinite_hessian_is_bounded() -> None:
    hess = np.diag([1.0, -2.0, 0.0]) + 1e-8
    with jax.enable_x64(True):
        found = np.asarray(preconditioner(jnp.asarray(hess)))
    inverse = found @ found.T
    np.testing.assert_allclose(np.diag(inverse)[:2], [1.0, 0.5], rtol=1e-6)
    assert np.diag(inverse)[2] <= 1.001 / (BELIEVED * 2e-9)


def test_boundary_fits_are_those_of_newton() -> None:
    rng = np.random.default_rng(3)
    frames = []
    for k in range(12):
        g, x = np.repeat(np.arange(20), 6), rng.normal(size=120)
        u = rng.normal(size=(20, 2)) * [(0.7, 0.4), (0.7, 0.0), (0.0, 0.0)][k % 3]
        frames.append(pd.DataFrame({"y": x + u[g, 0] + u[g, 1] * x + rng.normal(size=120), "x": x, "g": g}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rx.SingularFitWarning)
        newton, other = (rx.lmer_list("y ~ x + (1 + x | g)", frames, optimizer=o()) for o in (rx.Newton, rx.LBFGS))
    assert 0 < newton.convergence()["singular"].sum() < 12
    assert other.convergence()["converged"].all()
    for a, b in zip(newton, other, strict=True):
        assert b.criterion() == pytest.approx(a.criterion(), rel=1e-9)
        # the criterion is even in an entry that is 0 at the optimum: it comes out as a small number, not as 0
        largest = max(float(np.abs(a.theta).max()), 1e-4) if a.is_singular else 0.01
        np.testing.assert_allclose(b.theta, a.theta, rtol=1e-6, atol=1e-6 * largest)
