"""Blocks of one grouping factor: elimination, products and sums over its levels, which are the last axis.

Symbols follow Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1). Small q x q blocks are written out as
elementwise operations over levels: batched LAPACK calls on tiny matrices are slow on every device.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..shapes import Float, Int

UNROLL_UP_TO = 6


def eliminate_levels(
    zz: Float[Array, "q q levels"], lam: Float[Array, "q q"], *, lower: bool = True
) -> tuple[Float[Array, "q q levels"], Float[Array, ""]]:
    """Eliminate one block-diagonal factor.

    Parameters
    ----------
    zz : Array (q, q, L)
        Z_l'Z_l of every level.
    lam : Array (q, q)
        Relative covariance factor.
    lower : bool, default True
        It is lower triangular; False: any square root of the covariance.

    Returns
    -------
    cond_var : Array (q, q, L)
        Lambda (Lambda'Z'Z Lambda + I)^-1 Lambda' of every level.
    logdet : Array, scalar
        Sum over levels of log|Lambda'Z'Z Lambda + I|.
    """
    if lam.shape[0] <= UNROLL_UP_TO:
        return _eliminate_unrolled(zz, lam, lower=lower)
    blocks = jnp.moveaxis(zz, 2, 0)
    q = lam.shape[0]
    inner = jnp.einsum("ki,lkm,mj->lij", lam, blocks, lam) + jnp.eye(q, dtype=zz.dtype)[None]
    chol = jnp.linalg.cholesky(inner, symmetrize_input=False)
    half = lax.linalg.triangular_solve(chol, jnp.broadcast_to(lam.T[None], chol.shape), left_side=True, lower=True)
    logdet = 2 * jnp.sum(jnp.log(jnp.diagonal(chol, axis1=1, axis2=2)))
    return jnp.einsum("lki,lkj->ijl", half, half), logdet


def _eliminate_unrolled(zz: Array, lam: Array, *, lower: bool) -> tuple[Array, Array]:
    q = lam.shape[0]
    idx = range(q)
    filled = [range(j if lower else 0, q) for j in idx]
    zl = [[sum(zz[i, k] * lam[k, j] for k in filled[j]) for j in idx] for i in idx]
    inner = [[sum(lam[k, i] * zl[k][j] for k in filled[i]) for j in range(i + 1)] for i in idx]
    chol: list[list[Array]] = [[] for _ in idx]
    for i in idx:
        for j in range(i + 1):
            s = inner[i][j] + (1.0 if i == j else 0.0) - sum(chol[i][k] * chol[j][k] for k in range(j))
            chol[i].append(jnp.sqrt(s) if i == j else s / chol[j][j])
    logdet = 2 * sum(jnp.sum(jnp.log(chol[i][i])) for i in idx)
    # half = chol^-1 Lambda': row i of half by forward substitution
    half: list[list[Array]] = []
    for i in idx:
        row = []
        for j in idx:
            top = lam[j, i] if j in filled[i] else jnp.zeros((), lam.dtype)
            row.append((top - sum(chol[i][k] * half[k][j] for k in range(i))) / chol[i][i])
        half.append(row)
    cond_var = [[sum(half[k][i] * half[k][j] for k in idx) for j in idx] for i in idx]
    return jnp.stack([jnp.stack(row) for row in cond_var]), logdet  # type: ignore[return-value]


def apply_levels(
    blocks: Float[Array, "*#n a b #levels"], columns: Float[Array, "*#n b c #levels"]
) -> Float[Array, "... a c _levels"]:
    """Multiply (..., a, b, L) blocks into (..., b, c, L) columns, level by level; axes of length one are repeated.

    Products with the levels as the batch of a `dot_general` would take three times as long to compile and to run.
    """
    left, right = blocks[..., :, :, None, :], columns[..., None, :, :, :]
    inner = blocks.shape[-2]
    if inner > UNROLL_UP_TO:
        return jnp.sum(left * right, axis=-3)
    out: Array = sum(left[..., j, :, :] * right[..., j, :, :] for j in range(inner))  # type: ignore[assignment]
    return out


# elements of an indicator matrix up to which a product with it is quicker than adding one by one
INDICATOR_UP_TO = 2**19


def sum_by_level(
    blocks: Float[Array, "a b levels"], parents: Int[Array, " levels"], n_levels: int
) -> Float[Array, "a b coarse"]:
    """Sum (a, b, L) blocks over the levels that have the same parent: (a, b, n_levels).

    A product with the indicator matrix, shared by all data sets, where that is small; else a segment sum.
    """
    if parents.shape[0] * n_levels <= INDICATOR_UP_TO:
        levels = jnp.arange(n_levels, dtype=parents.dtype)
        return blocks @ (parents[:, None] == levels[None, :]).astype(blocks.dtype)
    summed = jax.ops.segment_sum(jnp.moveaxis(blocks, 2, 0), parents, n_levels)
    return jnp.moveaxis(summed, 0, 2)


def eliminate_near(
    zz: Float[Array, "q q levels"], lam: Float[Array, "q q"], e: Float[Array, "q q"]
) -> tuple[Float[Array, "q q levels"], Float[Array, ""]]:
    """Eliminate one block-diagonal factor near D = Lambda Lambda', at D + E.

    V = I + Z D Z' is linear in D, and so log|V| and M have derivatives of every order in D also where D is singular, as
    it is on the boundary; in Lambda they have none there that say anything about D. At D + E everything is a polynomial
    in E whose value and first and second derivatives at E = 0 are exact: no factorization is differentiated.

    With P that of Lambda Lambda', G = I - Z'Z P and A = G Z'Z it is P + G'(E - E A E) G, and the sum grows by
    tr(A E) - tr(A E A E) / 2.

    Parameters
    ----------
    zz : Array (q, q, L)
    lam, e : Array (q, q)

    Returns
    -------
    cond_var : Array (q, q, L)
        D (I + Z'Z D)^-1 of every level.
    logdet : Array, scalar
        Sum over levels of log|I + Z'Z D|.
    """
    cond_var, logdet = eliminate_levels(zz, lam)
    g = jnp.eye(zz.shape[0], dtype=zz.dtype)[:, :, None] - jnp.einsum("ikl,kjl->ijl", zz, cond_var)
    a_e = jnp.einsum("ikl,kml,mj->ijl", g, zz, e)
    e_a_e = jnp.einsum("ik,kjl->ijl", e, a_e)
    cond_var = cond_var + jnp.einsum("kil,kml,mjl->ijl", g, e[:, :, None] - e_a_e, g)
    return cond_var, logdet + jnp.einsum("iil->", a_e) - jnp.einsum("ijl,jil->", a_e, a_e) / 2


def level_roots(zz: Float[Array, "q q levels"], lam: Float[Array, "q q"]) -> Float[Array, "q q levels"]:
    """chol(Lambda'Z'Z Lambda + I)^-1 Lambda' of every level, (q, q, L)."""
    inner = jnp.einsum("ki,kml,mj->lij", lam, zz, lam) + jnp.eye(lam.shape[0], dtype=zz.dtype)[None]
    chol = jnp.linalg.cholesky(inner, symmetrize_input=False)
    half = lax.linalg.triangular_solve(chol, jnp.broadcast_to(lam.T[None], chol.shape), left_side=True, lower=True)
    return jnp.moveaxis(half, 0, 2)
