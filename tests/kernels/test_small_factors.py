"""Factors of small matrices against LAPACK."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from remlax.impute.kernels.draws import inverse_wishart
from remlax.impute.kernels.small import cholesky, forward, inverse, whiten
from remlax.kernels.small import factor_inverse, least_eigenvalue_bound, solve_lower


def matrices() -> np.ndarray:
    root = np.random.default_rng(0).normal(size=(3, 5, 9, 7))
    return np.swapaxes(root, -1, -2) @ root


def test_factor_and_inverse_equal_lapack() -> None:
    a = matrices()
    with jax.enable_x64(True):
        factor, inverse = map(np.asarray, factor_inverse(jnp.asarray(a)))
    expected = np.linalg.cholesky(a)
    np.testing.assert_allclose(factor, expected, atol=1e-12)
    np.testing.assert_allclose(inverse, np.linalg.inv(expected), atol=1e-12)


def test_bound_lies_within_a_factor_p_below_the_least_eigenvalue() -> None:
    a = matrices()
    with jax.enable_x64(True):
        bound = np.asarray(least_eigenvalue_bound(jnp.asarray(a)))
    least = np.linalg.eigvalsh(a)[..., 0]
    assert (bound <= least).all()
    assert (bound >= least / 7).all()


def test_indefinite_and_singular_matrices_are_not_finite() -> None:
    with jax.enable_x64(True):
        for a in (np.diag([1.0, -1.0, 1.0]), np.zeros((2, 2)), np.ones((3, 3))):
            assert not float(least_eigenvalue_bound(jnp.asarray(a))) > 1e-14
            assert not np.isfinite(np.asarray(factor_inverse(jnp.asarray(a))[1])).all()


def test_forward_substitution_solves() -> None:
    rng = np.random.default_rng(1)
    factor = np.tril(rng.normal(size=(4, 6, 6))) + 3 * np.eye(6)
    right = rng.normal(size=(4, 6, 2))
    with jax.enable_x64(True):
        solution = np.asarray(solve_lower(jnp.asarray(factor), jnp.asarray(right)))
    np.testing.assert_allclose(factor @ solution, right, atol=1e-12)


def test_kernels_of_imputation_call_no_lapack() -> None:
    def everything(key: jax.Array, a: jax.Array) -> tuple[jax.Array, ...]:
        drawn = inverse_wishart(key, a, jnp.asarray(20.0))
        return drawn, whiten(a), cholesky(a), inverse(a), forward(cholesky(a), a)

    for size in (3, 12):
        many = jnp.broadcast_to(jnp.eye(size), (5, size, size))
        keys = jax.random.split(jax.random.key(0), 5)
        assert "lapack" not in jax.jit(jax.vmap(everything)).lower(keys, many).as_text()


def test_unrolled_and_looped_kernels_equal_lapack() -> None:
    for size in (3, 12):
        root = np.random.default_rng(size).normal(size=(4, 2 * size, size))
        a = root.mT @ root
        lower = np.linalg.cholesky(a)
        with jax.enable_x64(True):
            np.testing.assert_allclose(cholesky(jnp.asarray(a)), lower, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(whiten(jnp.asarray(a)), np.linalg.inv(lower), rtol=1e-9, atol=1e-12)
            solved = forward(jnp.asarray(lower), jnp.asarray(a))
        np.testing.assert_allclose(solved, lower.mT, rtol=1e-9, atol=1e-12)
