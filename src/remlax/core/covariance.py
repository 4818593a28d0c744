"""log|V| and M = [X y]'V^-1[X y] near one D, the relative covariance of the random effects, to second order.

V = I + Z D Z' is linear in D, and so log|V| and M have derivatives of every order in D also where D is singular, as it
is on the boundary; in the factor Lambda with D = Lambda Lambda' they have none there that say anything about D. At
D = Lambda Lambda' + E everything is a polynomial in E whose value and first and second derivatives at E = 0 are exact:
no factorization is differentiated.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from .dense import inverse_root
from .factor import after_first, small_factor, times_lambda, turn_dense
from .structure import Index, Structure, Values


def eliminated(zz: Array, lam: Array, e: Array) -> tuple[Array, Array]:
    """Eliminate one block-diagonal factor: D (I + Z'Z D)^-1 of every level, and the sum of log|I + Z'Z D|.

    With P that of Lambda Lambda', G = I - Z'Z P and A = G Z'Z it is P + G'(E - E A E) G, and the sum grows by
    tr(A E) - tr(A E A E) / 2.

    Parameters
    ----------
    zz : Array (q, q, L)
    lam, e : Array (q, q)

    Returns
    -------
    pinv : Array (q, q, L)
    logdet : Array, scalar
    """
    pinv, logdet = small_factor(zz, lam)
    g = jnp.eye(zz.shape[0], dtype=zz.dtype)[:, :, None] - jnp.einsum("ikl,kjl->ijl", zz, pinv)
    a_e = jnp.einsum("ikl,kml,mj->ijl", g, zz, e)
    e_a_e = jnp.einsum("ik,kjl->ijl", e, a_e)
    pinv = pinv + jnp.einsum("kil,kml,mjl->ijl", g, e[:, :, None] - e_a_e, g)
    return pinv, logdet + jnp.einsum("iil->", a_e) - jnp.einsum("ijl,jil->", a_e, a_e) / 2


def marginal_near(
    lams: tuple[Array, ...], es: tuple[Array, ...], structure: Structure, index: Index, values: Values
) -> tuple[Array, Array]:
    """Compute log|V| and M at D = Lambda Lambda' + E for one data set, to second order in E.

    Parameters
    ----------
    lams, es : tuple of Array (q, q)
        Lambda and E of each factor, in elimination order.

    Returns
    -------
    logdet : Array, scalar
    m : Array (p + 1, p + 1)
    """
    return (_crossed if structure.crossed else _chain)(lams, es, structure, index, values)


def _chain(
    lams: tuple[Array, ...], es: tuple[Array, ...], structure: Structure, index: Index, values: Values
) -> tuple[Array, Array]:
    """Eliminate nested factors, finest first; see ``factor._marginal_chain``."""
    zz, zr = list(values.zz), list(values.zr)
    w = structure.n_fixed + 1
    m, total = values.ww, jnp.zeros((), values.ww.dtype)
    for f, (lam, e) in enumerate(zip(lams, es, strict=True)):
        pinv, logdet = eliminated(zz[f], lam, e)
        total = total + logdet
        solved = jnp.einsum("ijl,jrl->irl", pinv, zr[f])
        start = 0
        for g in range(f + 1, structure.n_factors):
            q = structure.q[g]
            update = jnp.einsum("kal,kbl->lab", zr[f][:, start : start + q], solved[:, start:])
            summed = jax.ops.segment_sum(update, index.ancestors[f][g - f - 1], structure.n_levels[g])
            summed = jnp.moveaxis(summed, 0, 2)
            zz[g], zr[g] = zz[g] - summed[:, :q], zr[g] - summed[:, q:]
            start += q
        m = m - jnp.einsum("kal,kbl->ab", zr[f][:, -w:], solved[:, -w:])
    return total, m


def _crossed(
    lams: tuple[Array, ...], es: tuple[Array, ...], structure: Structure, index: Index, values: Values
) -> tuple[Array, Array]:
    """Eliminate the first factor, then the dense block S of the others: log|I + S D| and R'D (I + S D)^-1 R.

    With N = I + S D at E = 0 and x = N^-1 (I + S D) - I, log|N| + tr x - tr x^2 / 2 and (I - x + x^2) N^-1.
    """
    pinv, logdet = eliminated(values.zz[0], lams[0], es[0])
    block, right, m = after_first(pinv, structure, index, values)
    eye = jnp.eye(structure.n_dense, dtype=block.dtype)
    still = lax.stop_gradient(block)
    root = inverse_root(turn_dense(still, lams[1:], structure) + eye)
    half = times_lambda(root, tuple(lam.T for lam in lams[1:]), structure)
    inverse = eye - still @ half.T @ half
    d = tuple(lam @ lam.T + e for lam, e in zip(lams[1:], es[1:], strict=True))
    x = inverse @ (eye + times_lambda(block, d, structure)) - eye
    x_x = x @ x
    known = inverse @ right
    known = known - x @ known + x_x @ known
    logdet = logdet - 2 * jnp.sum(jnp.log(jnp.diagonal(root))) + jnp.trace(x) - jnp.trace(x_x) / 2
    return logdet, m - right.T @ times_lambda(known.T, d, structure).T
