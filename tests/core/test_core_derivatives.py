"""Exact gradients and Hessians against automatic differentiation and finite differences."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_oracle import STRUCTURES, draw, model

from remlax.core.batch import Stack
from remlax.core.criterion import profiled_deviance, value_and_grad, value_grad_hess

CASES = ["intercept", "slope", "uncorrelated", "three columns", "nested slopes", "crossed slopes", "nested and crossed"]


def one_lane(name: str, *, reml: bool) -> tuple[Stack, np.ndarray]:
    assembled = model(STRUCTURES[name], [draw(11)], reml=reml)
    d = assembled.layout.structure.theta_map.n_theta
    theta = assembled.layout.structure.theta_map.start() * 0.6 + 0.2 * np.random.default_rng(d).normal(size=d)
    lane = jax.tree.map(lambda a: a[0], assembled.stack.values)
    return Stack(assembled.stack.structure, assembled.stack.index, lane), theta


@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize("name", CASES)
def test_derivatives_equal_finite_differences(name: str, reml: bool) -> None:
    stack, theta = one_lane(name, reml=reml)
    arguments = (stack.structure, stack.index, stack.values)
    with jax.enable_x64(True):
        gradient = jax.jit(lambda t: value_and_grad(t, *arguments))
        found = jax.jit(lambda t: value_grad_hess(t, *arguments))(jnp.asarray(theta))
        step = 1e-5
        slopes, bends = [], []
        for a in range(len(theta)):
            e = np.zeros(len(theta))
            e[a] = step
            up, down = gradient(theta + e), gradient(theta - e)
            slopes.append((up[0] - down[0]) / (2 * step))
            bends.append((up[1] - down[1]) / (2 * step))
        value, grad = gradient(theta)
    size = max(1.0, float(np.max(np.abs(found.hess))))
    assert float(found.value) == pytest.approx(float(value), rel=1e-13)
    np.testing.assert_allclose(found.grad, grad, rtol=1e-10, atol=1e-11 * size)
    # central differences: truncation step^2, rounding 1e-16 |value| / step
    np.testing.assert_allclose(grad, slopes, rtol=1e-6, atol=1e-7 * size)
    np.testing.assert_allclose(found.hess, bends, rtol=1e-6, atol=1e-7 * size)


@pytest.mark.parametrize("name", ["slope", "three columns"])
def test_analytic_derivatives_equal_automatic_ones(name: str) -> None:
    stack, theta = one_lane(name, reml=True)
    criterion = partial(profiled_deviance, structure=stack.structure, index=stack.index, values=stack.values)
    with jax.enable_x64(True):
        found = jax.jit(lambda t: value_grad_hess(t, stack.structure, stack.index, stack.values))(jnp.asarray(theta))
        grad = jax.jit(jax.grad(criterion))(jnp.asarray(theta))
        hess = jax.jit(jax.jacfwd(jax.grad(criterion)))(jnp.asarray(theta))
    np.testing.assert_allclose(found.grad, grad, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.hess, hess, rtol=1e-9, atol=1e-9)
