"""Newton steps against NumPy: both codes of the modified solve."""

from __future__ import annotations

from itertools import pairwise

import jax
import numpy as np
import pytest

from remlax.kernels import newton


@pytest.mark.parametrize("d", [1, 3, 12])
def test_step_of_a_positive_definite_hessian_is_numpys(d, monkeypatch):
    rng = np.random.default_rng(d)
    root, grad = rng.normal(size=(d, d + 2)), rng.normal(size=d)
    hess = root @ root.T
    for written_out in (0, 20):
        monkeypatch.setattr(newton, "WRITTEN_OUT", written_out)
        with jax.enable_x64(True):
            step, decrement, smallest = newton.modified_solve(jax.numpy.asarray(hess), jax.numpy.asarray(grad))
        np.testing.assert_allclose(step, np.linalg.solve(hess, -grad), rtol=1e-10)
        assert decrement == pytest.approx(grad @ np.linalg.solve(hess, grad), rel=1e-10)
        # pivots are ratios of leading minors
        minors = [1.0, *(np.linalg.det(hess[:k, :k]) for k in range(1, d + 1))]
        least = min(b / a for a, b in pairwise(minors))
        assert smallest == pytest.approx(least / np.max(np.diag(hess)), rel=1e-8)


def test_step_of_an_indefinite_hessian_is_that_of_the_matrix_made_positive(monkeypatch):
    rng = np.random.default_rng(5)
    hess, grad = rng.normal(size=(10, 10)), rng.normal(size=10)
    hess = hess + hess.T
    scale = np.max(np.abs(np.diag(hess)))
    # every negative pivot, found by a dense Schur complement, is turned round by its diagonal entry
    positive, least = hess.copy(), np.inf
    for j in range(10):
        pivot = positive[j, j] - positive[j, :j] @ np.linalg.solve(positive[:j, :j], positive[:j, j])
        least = min(least, pivot)
        positive[j, j] += 2 * max(-pivot, 0.0)
    assert least < 0 < np.linalg.eigvalsh(positive).min()
    expected = np.linalg.solve(positive, -grad)
    monkeypatch.setattr(newton, "WRITTEN_OUT", 20)
    with jax.enable_x64(True):
        step, decrement, smallest = newton.modified_solve(jax.numpy.asarray(hess), jax.numpy.asarray(grad))
    np.testing.assert_allclose(step, expected, rtol=1e-9)
    assert decrement == pytest.approx(-grad @ expected, rel=1e-9)
    assert smallest == pytest.approx(least / scale, rel=1e-9)


@pytest.mark.parametrize("d", [10, 55])
def test_many_dimensions_add_a_bounded_diagonal_to_an_indefinite_hessian(d):
    """Turning pivots round alone lets the factor of 55 columns grow to 1e10 and more."""
    rng = np.random.default_rng(d)
    hess = rng.normal(size=(d, d))
    hess = hess + hess.T
    with jax.enable_x64(True):
        steps, decrements, smallest = jax.vmap(newton.modified_solve, in_axes=(None, 0))(
            jax.numpy.asarray(hess), jax.numpy.asarray(np.eye(d))
        )
    solved = -np.linalg.inv(np.asarray(steps))
    added = solved - hess
    size = np.abs(hess).max()
    np.testing.assert_allclose(added, np.diag(np.diag(added)), atol=1e-9 * size)
    assert np.diag(added).min() > -1e-9 * size
    assert np.linalg.eigvalsh(solved).min() > 0
    # Gill, Murray & Wright (1981), section 4.4.2.2: the largest possible change
    gamma, xi = np.abs(np.diag(hess)).max(), np.abs(hess - np.diag(np.diag(hess))).max()
    beta = np.sqrt(max(gamma, xi / d))
    bound = (xi / beta + (d - 1) * beta) ** 2 + 2 * (gamma + (d - 1) * beta**2) + newton.FAR_FLOOR * gamma
    assert np.diag(added).max() < bound
    assert np.all(np.asarray(smallest) < 0)
    assert np.all(np.asarray(decrements) > 0)
