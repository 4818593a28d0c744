"""Derivatives of the criterion of a crossed model, with the dense block inverted once.

With Q, R, M0 the parts that are left after the first factor is eliminated, log|V| = log|V_1| + log|Q| and
M = M0 - R'Q^-1 R. The parts depend on theta through sparse sums, which are differentiated automatically; what the dense
algebra adds to the Hessian is written out, since differentiating a Cholesky factor costs several times its own work.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import cho_solve, solve_triangular

from .factor import CrossedParts, crossed_parts
from .structure import Index, Structure, Values


def crossed_derivatives(
    theta: Array, structure: Structure, index: Index, values: Values, n: Array, *, hessian: bool
) -> tuple[Array, Array, Array, Array]:
    """Return log|V|, chol(M), and gradient and Hessian of log|V| + log|RX|^2 + n log r2.

    Parameters
    ----------
    theta : Array (d,)
    n : Array, scalar
        n - p under REML, n under ML.
    hessian : bool
        False gives an empty Hessian.
    """

    def parts_at(t: Array) -> CrossedParts:
        return crossed_parts(t, structure, index, values)

    parts, push = jax.linearize(parts_at, theta)
    q_chol = jnp.linalg.cholesky(parts.block, symmetrize_input=False)
    q_inv = cho_solve((q_chol, True), jnp.eye(structure.n_dense, dtype=theta.dtype))
    x = q_inv @ parts.right
    chol = jnp.linalg.cholesky(parts.m - parts.right.T @ x, symmetrize_input=False)
    logdet = parts.logdet + 2 * jnp.sum(jnp.log(jnp.diagonal(q_chol)))

    w = chol.shape[0]
    inverse = solve_triangular(chol, jnp.eye(w, dtype=chol.dtype), lower=True)
    weight = jnp.full(w, 1.0 if structure.reml else 0.0, chol.dtype).at[-1].set(n)
    by_m = inverse.T @ (weight[:, None] * inverse)
    # the criterion to first order in its parts: its gradient in theta is exact, and its Hessian is what the curvature
    # of the parts in theta contributes
    by_block, by_right = q_inv + x @ by_m @ x.T, -2 * x @ by_m

    def linear(t: Array) -> Array:
        at = parts_at(t)
        return at.logdet + jnp.sum(by_block * at.block) + jnp.sum(by_right * at.right) + jnp.sum(by_m * at.m)

    if not hessian:
        return logdet, chol, jax.grad(linear)(theta), jnp.zeros((0, 0), theta.dtype)
    grad, push_grad = jax.linearize(jax.grad(linear), theta)
    unit = jnp.eye(theta.shape[0], dtype=theta.dtype)
    inner = jax.vmap(push_grad)(unit)

    moved: CrossedParts = jax.vmap(push)(unit)
    turned = q_inv[None] @ moved.block
    y = moved.right - moved.block @ x
    x_y = jnp.einsum("mx,amy->axy", x, y)
    x_q_x = jnp.einsum("mx,amy->axy", x, moved.block @ x)
    d_m = moved.m - x_y - jnp.swapaxes(x_y, 1, 2) - x_q_x
    unit_d_m = jnp.einsum("ix,axy,jy->aij", inverse, d_m, inverse)
    bend = jnp.full((w, w), n).at[:-1, :-1].set(1.0 if structure.reml else 0.0)
    outer = (
        -jnp.einsum("aij,bji->ab", turned, turned)
        - 2 * jnp.einsum("amx,xy,bmy->ab", y, by_m, jnp.einsum("mk,bky->bmy", q_inv, y))
        - jnp.einsum("axy,xy,bxy->ab", unit_d_m, bend, unit_d_m)
    )
    hess = inner + outer
    return logdet, chol, grad, (hess + hess.T) / 2
