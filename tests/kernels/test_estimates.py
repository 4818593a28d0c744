"""What compiled programs compute of a data set's estimates is what the results of a list of fits compute with NumPy."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from remlax.inference.satterthwaite import scaled_pinv
from remlax.kernels.estimates import rubin, twice_pseudo_inverse
from remlax.pooling import pool_rubin


def test_pseudo_inverse_is_that_of_a_list_of_fits() -> None:
    rng = np.random.default_rng(1)
    root = rng.normal(size=(40, 4, 4)) * 10.0 ** rng.uniform(-3, 3, size=(40, 1, 4))
    hess = root.swapaxes(1, 2) @ root
    hess[10:20, 2] = hess[10:20, :, 2] = 0.0  # a component on the boundary
    hess[10:20, 2, 2] = 1e-3
    flat = rng.normal(size=(10, 4, 2))
    hess[20:30] = flat @ flat.swapaxes(1, 2)  # two directions without information
    with jax.enable_x64(True):
        ours = np.asarray(jax.vmap(twice_pseudo_inverse)(hess))
    expected = 2 * scaled_pinv(hess)
    scale = np.sqrt(np.maximum(np.abs(np.diagonal(expected, axis1=1, axis2=2)), 1e-300))
    outer = scale[:, :, None] * scale[:, None, :]
    np.testing.assert_allclose(ours / outer, expected / outer, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("m", [2, 7])
def test_rubins_rules_are_those_of_pooling(m: int) -> None:
    rng = np.random.default_rng(m)
    estimates, variances = rng.normal(5.0, 1.0, (m, 5)), rng.uniform(0.1, 2.0, (m, 5))
    estimates[:, 3] = 5.0  # identical imputations
    estimates[:, 4] = 1e8 + 1e-3 * rng.normal(size=m)
    dfcom = np.array([3.0, 40.0, np.inf, 12.0, 1e5])
    with jax.enable_x64(True):
        ours = rubin(estimates, variances, dfcom)
    pooled = pool_rubin(estimates, np.stack([np.diag(row) for row in variances]), dfcom=dfcom)
    for name in ("estimate", "std_error", "df", "fmi"):
        np.testing.assert_allclose(getattr(ours, name), getattr(pooled, name), rtol=1e-12, atol=1e-15, err_msg=name)


def test_a_row_of_zeros_has_an_inverse_of_zeros() -> None:
    rng = np.random.default_rng(8)
    root = rng.normal(size=(50, 4, 4)) * np.array([1e2, 1.0, 1e-2, 1.0])[:, None]
    whole = root @ root.swapaxes(1, 2)
    padded = np.zeros((50, 5, 5))
    keep = np.array([0, 1, 3, 4])
    padded[:, keep[:, None], keep] = whole
    found = scaled_pinv(padded)
    wanted = np.zeros((50, 5, 5))
    wanted[:, keep[:, None], keep] = np.linalg.inv(whole)
    size = np.sqrt(np.einsum("kii->ki", wanted) + (np.arange(5) == 2))
    # rounding of the eigenvectors is relative to what the matrix is in units of its diagonal
    np.testing.assert_allclose((found - wanted) / (size[:, :, None] * size[:, None, :]), 0.0, atol=1e-6)
