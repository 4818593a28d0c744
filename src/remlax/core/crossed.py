"""Derivatives of the criterion of a crossed model, with the dense block inverted once.

With Q, R, M0 the parts that are left after the first factor is eliminated, log|V| = log|V_1| + log|Q| and
M = M0 - R'Q^-1 R. The parts depend on theta through sparse sums, which are differentiated automatically; what the dense
algebra adds to the Hessian is written out, since differentiating a Cholesky factor costs several times its own work.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import cho_solve

from .factor import CrossedParts, eliminate_first, scale_dense
from .small import factor_inverse
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
    # only the first factor's entries of theta move the sums over pairs, which are the costly part
    first = structure.theta_map.entries(0)[0]
    rest = np.setdiff1d(np.arange(theta.shape[0]), first)

    def eliminated(inner: Array) -> CrossedParts:
        return eliminate_first(theta.at[first].set(inner), structure, index, values)

    def scaled(raw: CrossedParts, outer: Array) -> CrossedParts:
        return scale_dense(theta.at[rest].set(outer), raw, structure)

    raw, push_raw = jax.linearize(eliminated, theta[first])
    parts, push_scaled = jax.linearize(scaled, raw, theta[rest])
    q_chol = jnp.linalg.cholesky(parts.block, symmetrize_input=False)
    q_inv = cho_solve((q_chol, True), jnp.eye(structure.n_dense, dtype=theta.dtype))
    x = q_inv @ parts.right
    chol, inverse = factor_inverse(parts.m - parts.right.T @ x)
    logdet = parts.logdet + 2 * jnp.sum(jnp.log(jnp.diagonal(q_chol)))

    w = chol.shape[0]
    weight = jnp.full(w, 1.0 if structure.reml else 0.0, chol.dtype).at[-1].set(n)
    by_m = inverse.T @ (weight[:, None] * inverse)
    # the criterion to first order in its parts: its gradient in theta is exact, and its Hessian is what the curvature
    # of the parts in theta contributes
    by_block, by_right = q_inv + x @ by_m @ x.T, -2 * x @ by_m

    def linear(raw: CrossedParts, outer: Array) -> Array:
        at = scaled(raw, outer)
        return at.logdet + jnp.sum(by_block * at.block) + jnp.sum(by_right * at.right) + jnp.sum(by_m * at.m)

    def slopes(inner: Array) -> tuple[Array, Array]:
        found: tuple[Array, Array] = jax.grad(lambda i, o: linear(eliminated(i), o), (0, 1))(inner, theta[rest])
        return found

    order = np.argsort(np.concatenate([first, rest]))
    if not hessian:
        return logdet, chol, jnp.concatenate(slopes(theta[first]))[order], jnp.zeros((0, 0), theta.dtype)
    grad, push_slopes = jax.linearize(slopes, theta[first])
    unit_first, unit_rest = (jnp.eye(len(part), dtype=theta.dtype) for part in (first, rest))
    by_first, cross = jax.vmap(push_slopes)(unit_first)
    by_rest = jax.hessian(lambda o: linear(raw, o))(theta[rest])
    inner = jnp.block([[by_first, cross], [cross.T, by_rest]])

    still = jax.tree.map(jnp.zeros_like, raw)
    moved_first = jax.vmap(lambda t: push_scaled(push_raw(t), jnp.zeros_like(theta[rest])))(unit_first)
    moved_rest = jax.vmap(lambda t: push_scaled(still, t))(unit_rest)
    moved: CrossedParts = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), moved_first, moved_rest)
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
    hess = (inner + outer)[np.ix_(order, order)]
    return logdet, chol, jnp.concatenate(grad)[order], (hess + hess.T) / 2
