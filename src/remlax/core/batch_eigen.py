"""Eigenvalues of many small symmetric matrices in XLA's own operations: see ``small`` for why not by LAPACK."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

SWEEPS = 10  # convergence is quadratic: matrices of this size are done after five or six


def small_eigh(a: Array) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and eigenvectors of one small symmetric matrix (d, d) by Jacobi's rotations.

    Source: Golub & Van Loan, Matrix Computations, 4th ed., algorithm 8.5.2.

    Examples
    --------
    >>> values, vectors = small_eigh(jnp.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> values.round(5).tolist()
    [1.0, 3.0]
    """
    d = a.shape[0]

    def rotate(a: Array, v: Array, p: int, q: int) -> tuple[Array, Array]:
        off, one = a[p, q], jnp.ones((), a.dtype)
        tau = (a[q, q] - a[p, p]) / (2 * jnp.where(off == 0, one, off))
        tangent = jnp.where(tau >= 0, one, -one) / (jnp.abs(tau) + jnp.sqrt(1 + tau * tau))
        tangent = jnp.where(off == 0, jnp.zeros_like(off), tangent)
        cos = 1 / jnp.sqrt(1 + tangent * tangent)
        turn = jnp.stack([jnp.stack([cos, tangent * cos]), jnp.stack([-tangent * cos, cos])])
        pair = jnp.array([p, q])
        a = a.at[:, pair].set(a[:, pair] @ turn)
        a = a.at[pair].set(turn.T @ a[pair])
        return a, v.at[:, pair].set(v[:, pair] @ turn)

    def sweep(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        for p in range(d):
            for q in range(p + 1, d):
                state = rotate(*state, p, q)
        return state

    start = ((a + a.T) / 2, jnp.eye(d, dtype=a.dtype))
    done, vectors = lax.fori_loop(0, SWEEPS, sweep, start)
    order = jnp.argsort(jnp.diagonal(done))
    return jnp.diagonal(done)[order], vectors[:, order]
