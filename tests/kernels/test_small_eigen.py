"""Eigenvalues of small matrices by Jacobi's rotations against LAPACK."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from remlax.kernels.small import small_eigh


@pytest.mark.parametrize("d", [1, 2, 5])
def test_eigenvalues_and_vectors_equal_lapack(d: int) -> None:
    a = np.random.default_rng(d).normal(size=(50, d, d))
    a = a + a.swapaxes(1, 2)
    a[0], a[1], a[2] = 0.0, np.eye(d), np.ones((d, d))
    a[3] = np.diag(10.0 ** -np.arange(0, 4 * d, 4))
    with jax.enable_x64(True):
        values, vectors = jax.jit(jax.vmap(small_eigh))(a)
        text = jax.jit(jax.vmap(small_eigh)).lower(a).as_text()
    values, vectors = np.asarray(values), np.asarray(vectors)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(a), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(np.einsum("kij,kj,klj->kil", vectors, values, vectors), a, atol=1e-12)
    np.testing.assert_allclose(vectors.mT @ vectors, np.broadcast_to(np.eye(d), a.shape), atol=1e-13)
    assert "lapack" not in text
