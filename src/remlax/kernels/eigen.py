"""Eigenvalues of many small symmetric matrices in XLA's own operations: see ``small`` for why not by LAPACK."""

from __future__ import annotations

from itertools import combinations

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..shapes import Float

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
        turn = eye + (cos - 1) * jnp.diag(p + q) + tangent * cos * (pq - pq.T)
        return turn.T @ a @ turn, v @ turn

    done, vectors = lax.fori_loop(0, SWEEPS * len(pairs), rotate, ((a + a.T) / 2, eye))
    order = jnp.argsort(jnp.diagonal(done))
    return jnp.diagonal(done)[order], vectors[:, order]
