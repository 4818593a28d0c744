"""Factors of small matrices against LAPACK."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from remlax.core.small import factor_inverse, least_eigenvalue_bound


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
