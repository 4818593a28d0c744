"""Eliminate the random effects: log|V| and M = [X y]'V^-1[X y] at one theta, for one data set.

V = I + Z Lambda Lambda' Z'. Symbols follow Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1).
Small q x q blocks are written out as elementwise operations over levels (the last axis): batched LAPACK calls
on tiny matrices are slow on every device.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular

from .dense import log_det_and_form
from .structure import Index, Structure, Values

UNROLL_UP_TO = 6


def small_factor(zz: Array, lam: Array, *, lower: bool = True) -> tuple[Array, Array]:
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
    pinv : Array (q, q, L)
        Lambda (Lambda'Z'Z Lambda + I)^-1 Lambda' of every level.
    logdet : Array, scalar
        Sum over levels of log|Lambda'Z'Z Lambda + I|.
    """
    if lam.shape[0] <= UNROLL_UP_TO:
        return _small_factor_unrolled(zz, lam, lower=lower)
    blocks = jnp.moveaxis(zz, 2, 0)
    q = lam.shape[0]
    inner = jnp.einsum("ki,lkm,mj->lij", lam, blocks, lam) + jnp.eye(q, dtype=zz.dtype)[None]
    chol = jnp.linalg.cholesky(inner, symmetrize_input=False)
    half = solve_triangular(chol, jnp.broadcast_to(lam.T[None], chol.shape), lower=True)
    logdet = 2 * jnp.sum(jnp.log(jnp.diagonal(chol, axis1=1, axis2=2)))
    return jnp.einsum("lki,lkj->ijl", half, half), logdet


def _small_factor_unrolled(zz: Array, lam: Array, *, lower: bool) -> tuple[Array, Array]:
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
    pinv = [[sum(half[k][i] * half[k][j] for k in idx) for j in idx] for i in idx]
    return jnp.stack([jnp.stack(row) for row in pinv]), logdet  # type: ignore[return-value]


def small_apply(blocks: Array, columns: Array) -> Array:
    """Multiply (q, q, L) blocks into (q, r, L) columns, level by level."""
    q = blocks.shape[0]
    if q > UNROLL_UP_TO:
        return jnp.einsum("ijl,jrl->irl", blocks, columns)
    return jnp.stack([sum(blocks[i, j][None] * columns[j] for j in range(q)) for i in range(q)])


# elements of an indicator matrix up to which a product with it is quicker than adding one by one
INDICATOR_UP_TO = 2**19


def sum_by_level(blocks: Array, parents: Array, n_levels: int) -> Array:
    """Sum (a, b, L) blocks over the levels that have the same parent: (a, b, n_levels).

    A product with the indicator matrix, shared by all lanes, where that is small; else a segment sum.
    """
    if parents.shape[0] * n_levels <= INDICATOR_UP_TO:
        levels = jnp.arange(n_levels, dtype=parents.dtype)
        return blocks @ (parents[:, None] == levels[None, :]).astype(blocks.dtype)
    summed = jax.ops.segment_sum(jnp.moveaxis(blocks, 2, 0), parents, n_levels)
    return jnp.moveaxis(summed, 0, 2)


def marginal(theta: Array, structure: Structure, index: Index, values: Values) -> tuple[Array, Array]:
    """Compute log|V| and M = [X y]'V^-1[X y] for one data set.

    Parameters
    ----------
    theta : Array (d,)
    structure, index, values
        The model's shape and one data set's cross-products.

    Returns
    -------
    logdet : Array, scalar
    m : Array (p + 1, p + 1)
    """
    return marginal_of_factors(structure.theta_map.factors(theta), structure, index, values)


def marginal_of_factors(
    lams: tuple[Array, ...], structure: Structure, index: Index, values: Values, *, lower: bool = True
) -> tuple[Array, Array]:
    """Compute log|V| and M from Lambda of each factor, (q, q) in elimination order; see `small_factor`."""
    if structure.crossed:
        pinv, eliminated = small_factor(values.zz[0], lams[0], lower=lower)
        parts = scale_dense(after_first(pinv, structure, index, values), lams[1:], structure)
        logdet, explained = log_det_and_form(parts.block, parts.right)
        return eliminated + logdet, parts.m - explained
    return _marginal_chain(lams, structure, index, values, lower=lower)


def _marginal_chain(
    lams: tuple[Array, ...], structure: Structure, index: Index, values: Values, *, lower: bool
) -> tuple[Array, Array]:
    """Eliminate nested factors, finest first; each update is a segment sum into the ancestor's block."""
    zz, zr = list(values.zz), list(values.zr)
    w = structure.n_fixed + 1
    m, total = values.ww, jnp.zeros((), values.ww.dtype)
    for f, lam in enumerate(lams):
        pinv, logdet = small_factor(zz[f], lam, lower=lower)
        total = total + logdet
        solved = small_apply(pinv, zr[f])
        start = 0
        for g in range(f + 1, structure.n_factors):
            q = structure.q[g]
            left, right = zr[f][:, start : start + q], solved[:, start:]
            update = jnp.einsum("kal,kbl->abl", left, right)
            summed = sum_by_level(update, index.ancestors[f][g - f - 1], structure.n_levels[g])
            zz[g], zr[g] = zz[g] - summed[:, :q], zr[g] - summed[:, q:]
            start += q
        m = m - jnp.einsum("kal,kbl->ab", zr[f][:, -w:], solved[:, -w:])
    return total, m


class CrossedParts(NamedTuple):
    """What is left of a crossed model once its first factor is eliminated.

    block (n_dense, n_dense): Z'Z of the other factors, or Lambda'Z'Z Lambda + I; right (n_dense, w): Z'W, or
    Lambda'Z'W; m (w, w): W'W.
    """

    block: Array
    right: Array
    m: Array


def after_first(pinv: Array, structure: Structure, index: Index, values: Values) -> CrossedParts:
    """Take the first factor of a crossed model out of the others, over a list of pairs of entries.

    Parameters
    ----------
    pinv : Array (q, q, L)
        Of the first factor (see ``small_factor``); what comes back is affine in it.
    """
    assert index.keys is not None  # for the type checker: a crossed Index has its arrays
    assert index.entry_level is not None
    assert index.entry_col is not None
    assert index.pair_key is not None
    assert values.entry is not None
    assert values.base is not None
    assert values.dense_w is not None
    solved = small_apply(pinv, values.zr[0])
    m = values.ww - jnp.einsum("kal,kbl->ab", values.zr[0], solved)

    entry = values.entry
    met = jnp.einsum("ijl->lij", pinv)[index.entry_level]
    through = jnp.einsum("eij,ej->ei", met, entry)
    pairs = jnp.sum(entry[index.pair_left] * through[index.pair_right], axis=1)
    summed = jax.ops.segment_sum(pairs, index.pair_key, values.base.shape[0], indices_are_sorted=True)
    size = structure.n_dense
    lower = jnp.zeros(size * size, entry.dtype).at[index.keys].set(values.base - summed, mode="drop")
    block = lower.reshape(size, size)

    rhs = jnp.einsum("ei,iwe->ew", entry, solved[:, :, index.entry_level])
    dense_w = values.dense_w - jax.ops.segment_sum(rhs, index.entry_col, size)
    return CrossedParts(block + jnp.tril(block, -1).T, dense_w, m)


def scale_dense(parts: CrossedParts, lams: tuple[Array, ...], structure: Structure) -> CrossedParts:
    """Lambda'Z'Z Lambda + I and Lambda'Z'W of the dense factors."""
    block, right = turn_dense(parts.block, lams, structure), times_lambda(parts.right.T, lams, structure).T
    return CrossedParts(block + jnp.eye(structure.n_dense, dtype=block.dtype), right, parts.m)


def turn_dense(block: Array, lams: tuple[Array, ...], structure: Structure) -> Array:
    """Lambda' S Lambda of a symmetric matrix (n_dense, n_dense)."""
    return times_lambda(times_lambda(block, lams, structure).T, lams, structure)


def times_lambda(rows: Array, lams: tuple[Array, ...], structure: Structure) -> Array:
    """Multiply rows (k, n_dense) by the block-diagonal Lambda of the dense factors."""
    out = []
    for (start, levels, q), lam in zip(structure.dense_slices(), lams, strict=True):
        part = rows[:, start : start + levels * q]
        if q == 1:
            out.append(part * lam[0, 0])
        else:
            out.append((part.reshape(-1, q) @ lam).reshape(part.shape))
    return jnp.concatenate(out, axis=1)
