"""Derivatives of the criterion of a crossed model, with the dense block inverted once.

With Q, R, M0 the parts that are left after the first factor is eliminated, log|V| = log|V_1| + log|Q| and
M = M0 - R'Q^-1 R. The parts depend on theta through sparse sums, which are differentiated automatically; what the dense
algebra adds to the Hessian is written out, since differentiating a Cholesky factor costs several times its own work.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import cho_solve

from .border import Border, Expansion
from .factor import CrossedParts, eliminate_first, scale_dense
from .structure import Index, Structure, Values


def crossed_derivatives(
    theta: Array,
    factors: Callable[[Array], tuple[Array, ...]],
    border_of: Callable[[Array], Border],
    structure: Structure,
    index: Index,
    values: Values,
    *,
    hessian: bool,
    lower: bool = True,
) -> Expansion:
    """Value, gradient and Hessian of log|V| + g(M).

    Parameters
    ----------
    theta : Array (d,)
    factors : callable
        Lambda of each factor from theta, each from its own entries as ``structure.theta_map`` has them.
    border_of : callable
        g to second order at M.
    hessian : bool
        False gives an empty Hessian.
    lower : bool, default True
        Every Lambda is lower triangular.
    """
    # only the first factor's entries of theta move the sums over pairs, which are the costly part
    first = structure.theta_map.entries(0)[0]
    rest = np.setdiff1d(np.arange(theta.shape[0]), first)

    def eliminated(inner: Array) -> CrossedParts:
        lam = factors(theta.at[first].set(inner))[0]
        return eliminate_first(lam, structure, index, values, lower=lower)

    def scaled(raw: CrossedParts, outer: Array) -> CrossedParts:
        return scale_dense(factors(theta.at[rest].set(outer)), raw, structure)

    raw, push_raw = jax.linearize(eliminated, theta[first])
    parts, push_scaled = jax.linearize(scaled, raw, theta[rest])
    q_chol = jnp.linalg.cholesky(parts.block, symmetrize_input=False)
    q_inv = cho_solve((q_chol, True), jnp.eye(structure.n_dense, dtype=theta.dtype))
    x = q_inv @ parts.right
    border = border_of(parts.m - parts.right.T @ x)
    value = parts.logdet + 2 * jnp.sum(jnp.log(jnp.diagonal(q_chol))) + border.value

    turn = border.turn
    by_m = turn.T @ (border.weight[:, None] * turn)
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
        none = jnp.zeros((0, 0), theta.dtype)
        return Expansion(value, border.value, jnp.concatenate(slopes(theta[first]))[order], none, none)
    grad, push_slopes = jax.linearize(slopes, theta[first])
    unit_first, unit_rest = (jnp.eye(len(part), dtype=theta.dtype) for part in (first, rest))
    by_first, cross = jax.vmap(push_slopes)(unit_first)
    by_rest = jax.hessian(lambda o: linear(raw, o))(theta[rest])
    inner = jnp.block([[by_first, cross], [cross.T, by_rest]])

    still = jax.tree.map(jnp.zeros_like, raw)
    moved_first = jax.vmap(lambda t: push_scaled(push_raw(t), jnp.zeros_like(theta[rest])))(unit_first)
    moved_rest = jax.vmap(lambda t: push_scaled(still, t))(unit_rest)
    moved: CrossedParts = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), moved_first, moved_rest)
    outer, d_m = _dense_hessian(moved, q_inv, x, border)
    hess = (inner + outer)[np.ix_(order, order)]
    return Expansion(value, border.value, jnp.concatenate(grad)[order], (hess + hess.T) / 2, d_m[order])


def _dense_hessian(moved: CrossedParts, q_inv: Array, x: Array, border: Border) -> tuple[Array, Array]:
    """Second derivatives of log|Q| + g(M0 - R'Q^-1 R) along moving Q, R and M0, and first ones of M.

    Parameters
    ----------
    moved : CrossedParts
        Derivatives of Q, R and M0, (d, ...).
    q_inv : Array (n_dense, n_dense)
    x : Array (n_dense, w)
        Q^-1 R.

    Returns
    -------
    hess : Array (d, d)
    d_m : Array (d, w, w)
        In the coordinates of the border.
    """
    turn = border.turn
    turned = q_inv[None] @ moved.block
    y = moved.right - moved.block @ x
    x_y = jnp.einsum("mx,amy->axy", x, y)
    x_q_x = jnp.einsum("mx,amy->axy", x, moved.block @ x)
    d_m = moved.m - x_y - jnp.swapaxes(x_y, 1, 2) - x_q_x
    unit_d_m = jnp.einsum("ix,axy,jy->aij", turn, d_m, turn)
    by_m = turn.T @ (border.weight[:, None] * turn)
    hess = (
        -jnp.einsum("aij,bji->ab", turned, turned)
        - 2 * jnp.einsum("amx,xy,bmy->ab", y, by_m, jnp.einsum("mk,bky->bmy", q_inv, y))
        - jnp.einsum("axy,xy,bxy->ab", unit_d_m, border.bend, unit_d_m)
    )
    return hess, unit_d_m
