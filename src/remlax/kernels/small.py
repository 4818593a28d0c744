"""Factors and eigenvalues of many small matrices in XLA's own operations.

JAX hands `cholesky`, `triangular_solve` and `eigh` on the CPU to LAPACK handlers that split a batch over XLA's
thread pool and wait for the parts while they occupy a thread of that pool. As many of them at one time as the pool has
threads (two calls of one program that do not depend on each other, on two cores) wait for ever. These loops call
nothing outside XLA, and for matrices of this size are faster.
"""

from __future__ import annotations

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..shapes import Float


def factor_inverse(a: Float[Array, "*k p p"]) -> tuple[Float[Array, "*k p p"], Float[Array, "*k p p"]]:
    """Cholesky factor of each symmetric matrix in the last two axes, and its inverse.

    Parameters
    ----------
    a : Array (..., p, p)
        Symmetric; the lower triangle is read.

    Returns
    -------
    tuple of Array (..., p, p)
        L, lower triangular with a = L L', and its inverse. Not finite where a is not positive definite.

    Notes
    -----
    Outer-product form (Golub & Van Loan, Matrix Computations, 4th ed., section 4.2.5), carried through the identity
    in the same loop.

    Examples
    --------
    >>> factor, inverse = factor_inverse(jnp.array([[4.0, 2.0], [2.0, 5.0]]))
    >>> factor.tolist(), inverse.tolist()
    ([[2.0, 0.0], [1.0, 2.0]], [[0.5, 0.0], [-0.25, 0.5]])
    """
    out: tuple[Array, Array] = _factor_inverse(a)
    return out


# one function of a program, however often it is called
@jax.jit
def _factor_inverse(a: Array) -> tuple[Array, Array]:
    size = a.shape[-1]
    rows = jnp.arange(size)

    def column(j: Array, state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        left, right, factor, inverse = state
        below = jnp.where(rows >= j, lax.dynamic_index_in_dim(left, j, -1, keepdims=False), 0.0)
        below = below / jnp.sqrt(lax.dynamic_index_in_dim(below, j, -1))
        solved = lax.dynamic_index_in_dim(right, j, -2, keepdims=False)
        solved = solved / lax.dynamic_index_in_dim(below, j, -1)
        left = left - below[..., :, None] * below[..., None, :]
        right = right - below[..., :, None] * solved[..., None, :]
        factor = lax.dynamic_update_index_in_dim(factor, below, j, -1)
        return left, right, factor, lax.dynamic_update_index_in_dim(inverse, solved, j, -2)

    eye = jnp.broadcast_to(jnp.eye(size, dtype=a.dtype), a.shape)
    zero = jnp.zeros_like(a)
    _, _, factor, inverse = lax.fori_loop(0, size, column, (a, eye, zero, zero))
    return factor, inverse


def solve_lower(factor: Float[Array, "*k p p"], right: Float[Array, "*k p columns"]) -> Float[Array, "*k p columns"]:
    """Solve L x = b for lower triangular L (..., p, p) and b (..., p, k) by forward substitution.

    Examples
    --------
    >>> solve_lower(jnp.array([[2.0, 0.0], [1.0, 2.0]]), jnp.array([[2.0], [5.0]])).tolist()
    [[1.0], [2.0]]
    """
    below = jnp.arange(factor.shape[-1])

    def step(j: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        left, solved = state
        column = lax.dynamic_index_in_dim(factor, j, -1)
        row = lax.dynamic_index_in_dim(left, j, -2) / lax.dynamic_index_in_dim(column, j, -2)
        left = left - jnp.where((below > j)[:, None], column, 0.0) * row
        return left, lax.dynamic_update_index_in_dim(solved, row[..., 0, :], j, -2)

    solution: Array = lax.fori_loop(0, factor.shape[-1], step, (right, jnp.zeros_like(right)))[1]
    return solution


def least_eigenvalue_bound(a: Float[Array, "*k p p"]) -> Float[Array, "*k"]:
    """Lower bound 1 / tr(a^-1) of the least eigenvalue of each symmetric matrix, at most p times too small.

    NaN, or nothing above zero, where a is not positive definite.
    """
    _, inverse = factor_inverse(a)
    return 1.0 / jnp.sum(jnp.square(inverse), axis=(-2, -1))


SWEEPS = 10  # convergence is quadratic: matrices of this size are done after five or six


def small_eigh(a: Float[Array, "d d"]) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
    """Eigenvalues, ascending, and eigenvectors of one small symmetric matrix (d, d) by Jacobi's rotations.

    Source: Golub & Van Loan, Matrix Computations, 4th ed., algorithm 8.5.2.

    Examples
    --------
    >>> values, vectors = small_eigh(jnp.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> values.round(5).tolist()
    [1.0, 3.0]
    """
    d = a.shape[0]
    pairs = list(combinations(range(d), 2))
    if not pairs:
        return jnp.diagonal(a), jnp.ones_like(a)
    unit = np.eye(d)
    first, second = (jnp.asarray(np.array([unit[pair[k]] for pair in pairs]), a.dtype) for k in (0, 1))
    eye, one = jnp.eye(d, dtype=a.dtype), jnp.ones((), a.dtype)

    # one rotation as the body of a loop, its place given by unit vectors: a tenth of the program of all pairs unrolled
    def rotate(step: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        a, v = state
        p, q = first[step % len(pairs)], second[step % len(pairs)]
        at_p = a @ p
        off, gap = at_p @ q, (a @ q) @ q - at_p @ p
        tau = gap / (2 * jnp.where(off == 0, one, off))
        tangent = jnp.where(tau >= 0, one, -one) / (jnp.abs(tau) + jnp.sqrt(1 + tau * tau))
        tangent = jnp.where(off == 0, jnp.zeros_like(off), tangent)
        cos = 1 / jnp.sqrt(1 + tangent * tangent)
        pq = p[:, None] * q[None, :]
        rotation = eye + (cos - 1) * jnp.diag(p + q) + tangent * cos * (pq - pq.T)
        return rotation.T @ a @ rotation, v @ rotation

    done, vectors = lax.fori_loop(0, SWEEPS * len(pairs), rotate, ((a + a.T) / 2, eye))
    order = jnp.argsort(jnp.diagonal(done))
    return jnp.diagonal(done)[order], vectors[:, order]
