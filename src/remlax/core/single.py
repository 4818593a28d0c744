"""Derivatives of the criterion of a model with one grouping factor, all of them from one pass over the levels.

With A = Z'V^-1 Z and B = Z'V^-1 [X y] per level, the criterion log|V| + g(M) is differentiated by D = Lambda Lambda'
first and by theta then.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from .border import Border, Expansion
from .factor import small_apply, small_factor
from .structure import Values


def single_derivatives(
    lam: Array,
    directions: Array,
    border_of: Callable[[Array], Border],
    values: Values,
    *,
    hessian: bool,
    lower: bool = True,
) -> Expansion:
    """Value, gradient and Hessian of log|V| + g(M).

    Parameters
    ----------
    lam : Array (q, q)
    directions : Array (d, q, q)
        Lambda is the sum of theta's entries times these.
    border_of : callable
        g to second order at M.
    hessian : bool
        False gives an empty Hessian.
    lower : bool, default True
        Lambda is lower triangular.
    """
    zz, zr = values.zz[0], values.zr[0]
    pinv, logdet = small_factor(zz, lam, lower=lower)
    solved = small_apply(pinv, zr)
    border = border_of(values.ww - jnp.einsum("kal,kbl->ab", zr, solved))

    # in the coordinates of the border; for the profiled deviance the last column is Z'V^-1 (y - X beta) / sqrt(r2)
    a = zz - small_apply(zz, small_apply(pinv, zz))
    b = jnp.einsum("ial,ca->icl", zr - small_apply(zz, solved), border.turn)
    c = jnp.einsum("ial,a,jal->ijl", b, border.weight, b)

    grad_d = jnp.sum(a - c, axis=2)
    grad = 2 * jnp.einsum("aij,ij->a", directions, grad_d @ lam)
    if not hessian:
        none = jnp.zeros((0, 0), grad.dtype)
        return Expansion(logdet + border.value, border.value, grad, none, none)
    d_lam = directions @ lam.T
    d_d = d_lam + jnp.swapaxes(d_lam, 1, 2)
    # the sums over levels are two Gram matrices, the rest is d x d work
    q, w = b.shape[0], b.shape[1]
    a2, c2, b2 = a.reshape(q * q, -1), c.reshape(q * q, -1), b.reshape(q * w, -1)
    mixed = ((2 * c2 - a2) @ a2.T).reshape(q, q, q, q)
    d_m = -jnp.einsum("aij,ixjy->axy", d_d, (b2 @ b2.T).reshape(q, w, q, w))
    hess = (
        jnp.einsum("ijkl,ajk,bli->ab", mixed, d_d, d_d)
        - jnp.einsum("axy,xy,bxy->ab", d_m, border.bend, d_m)
        + 2 * jnp.einsum("aik,ij,bjk->ab", directions, grad_d, directions)
    )
    return Expansion(logdet + border.value, border.value, grad, (hess + hess.T) / 2, d_m)
