"""Root and inverse of a large matrix against LAPACK and differences, and what crossed programs call."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.engine.batch import mapped
from remlax.kernels import criterion
from remlax.kernels.dense import inverse_root, log_det_and_form, root_gram
from remlax.kernels.inference import conditional_modes, solve, variance_information
from remlax.kernels.newton import newton


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def positive(n: int, seed: int = 0, condition: float = 10.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(n, n)))[0]
    return (basis * np.geomspace(1.0, condition, n)) @ basis.T


@pytest.mark.parametrize("n", [1, 7, 155])
def test_root_and_gram_equal_lapack(n: int) -> None:
    a = positive(n)
    root = np.asarray(jax.jit(inverse_root)(jnp.asarray(a)))
    np.testing.assert_allclose(root, np.linalg.inv(np.linalg.cholesky(a)), rtol=0, atol=1e-13)
    np.testing.assert_allclose(root_gram(jnp.asarray(root)), np.linalg.inv(a), rtol=0, atol=1e-13)


def test_only_the_lower_triangle_is_read_and_an_indefinite_matrix_is_not_finite() -> None:
    a = positive(80)
    root = inverse_root(jnp.asarray(np.tril(a) + np.triu(np.full_like(a, 7.0), 1)))
    np.testing.assert_allclose(root, np.linalg.inv(np.linalg.cholesky(a)), rtol=0, atol=1e-13)
    assert not np.isfinite(np.asarray(inverse_root(jnp.asarray(a - 2 * np.eye(80))))).all()


def test_log_determinant_and_form_of_an_ill_conditioned_matrix() -> None:
    a = positive(120, condition=1e8)
    right = a @ np.random.default_rng(1).normal(size=(120, 3))
    log_det, form = log_det_and_form(jnp.asarray(a), jnp.asarray(right))
    # the least eigenvalue is known to 1e-16 times the condition
    assert float(log_det) == pytest.approx(np.linalg.slogdet(a)[1], abs=1e-7)
    np.testing.assert_allclose(form, right.T @ np.linalg.solve(a, right), rtol=1e-10)


@pytest.mark.slow
def test_derivatives_equal_differences() -> None:
    a, d_a, right = positive(45), positive(45, 1), np.random.default_rng(2).normal(size=(45, 2))

    def along(t: jax.Array) -> tuple[jax.Array, ...]:
        m = jnp.asarray(a) + t * d_a
        columns = right * (1 + t)
        return inverse_root(m), *log_det_and_form(m, columns)

    h, zero = 1e-5, jnp.asarray(0.0)
    first, second = jax.jacfwd(along)(zero), jax.jacfwd(jax.jacfwd(along))(zero)
    for f, g, low, high in zip(first, second, along(-h), along(+h), strict=True):
        np.testing.assert_allclose(f, (high - low) / (2 * h), rtol=1e-6, atol=1e-8)
        assert np.isfinite(np.asarray(g)).all()
    slopes = jax.jacfwd(along)
    for g, low, high in zip(second, slopes(-h), slopes(+h), strict=True):
        np.testing.assert_allclose(g, (high - low) / (2 * h), rtol=1e-6, atol=1e-8)


def ratings(seed: int, spread: float) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    s, d = rng.integers(0, 90, 600), rng.integers(0, 50, 600)
    y = spread * (rng.normal(size=90)[s] + rng.normal(size=50)[d]) + rng.normal(size=600)
    return pd.DataFrame({"y": y, "s": s, "d": d})


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.3, 30.0])
def test_the_unseen_last_step_ends_at_the_optimum(spread: float) -> None:
    fit = rx.lmer("y ~ 1 + (1 | s) + (1 | d)", ratings(1, spread))
    own = fit.selection.fitted
    problem = own.model.batch.one(0)
    at = jnp.asarray(own.theta[0] * own.model.theta_scale)
    there = jax.jit(lambda t: criterion.value_grad_hess(t, problem))(at)
    step = np.linalg.solve(there.hess, -there.grad)
    assert float(-there.grad @ step) < 1e-13
    np.testing.assert_allclose(step, 0.0, atol=1e-7 * np.abs(own.theta[0]).min())
    assert own.criterion[0] == pytest.approx(float(there.value), abs=1e-9)
    assert fit.opt.decrement < 1e-14


def test_fits_of_crossed_models_call_no_lapack() -> None:
    batch = rx.lmer_list("y ~ 1 + (1 | s) + (1 | d)", [ratings(k, 1.0) for k in range(3)]).selection.model.batch
    theta, gamma = np.ones((3, 2)), np.zeros((3, batch.structure.n_fixed))
    for kernel, arguments in (
        (newton, (theta, np.full(3, 9, np.int32))),
        (solve, (theta,)),
        (conditional_modes, (theta, gamma)),
        (variance_information, (theta,)),
    ):
        assert "lapack" not in mapped(kernel).lower(arguments, batch.problem).as_text()
