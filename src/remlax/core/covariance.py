"""log|V| and M = [X y]'V^-1[X y] as smooth functions of D, the relative covariance of the random effects.

V = I + Z D Z' is linear in D, and so what follows has derivatives of every order in D also where D is singular, as it
is on the boundary; a function of the factor Lambda with D = Lambda Lambda' has none there that say anything about D.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from .structure import Index, Structure, Values


def eliminated(zz: Array, d: Array) -> tuple[Array, Array]:
    """Eliminate one block-diagonal factor: D (I + Z'Z D)^-1 of every level, and the sum of log|I + Z'Z D|.

    Parameters
    ----------
    zz : Array (q, q, L)
    d : Array (q, q)

    Returns
    -------
    pinv : Array (q, q, L)
    logdet : Array, scalar
    """
    q = d.shape[0]
    if q == 1:
        inner = 1.0 + zz * d[:, :, None]
        return d[:, :, None] / inner, jnp.sum(jnp.log(inner))
    inner = jnp.eye(q, dtype=d.dtype)[None] + jnp.einsum("ikl,kj->lij", zz, d)
    # D (I + Z'Z D)^-1 is the transpose of (I + D Z'Z)^-1 D
    pinv = jnp.linalg.solve(jnp.swapaxes(inner, 1, 2), jnp.broadcast_to(d[None], inner.shape))
    return jnp.moveaxis(pinv, 0, 2), jnp.sum(jnp.linalg.slogdet(inner)[1])


def marginal_of_covariance(
    ds: tuple[Array, ...], structure: Structure, index: Index, values: Values
) -> tuple[Array, Array]:
    """Compute log|V| and M for one data set.

    Parameters
    ----------
    ds : tuple of Array (q, q)
        D of each factor, in elimination order.

    Returns
    -------
    logdet : Array, scalar
    m : Array (p + 1, p + 1)
    """
    return (_crossed if structure.crossed else _chain)(ds, structure, index, values)


def _chain(ds: tuple[Array, ...], structure: Structure, index: Index, values: Values) -> tuple[Array, Array]:
    """Eliminate nested factors, finest first; see ``factor._marginal_chain``."""
    zz, zr = list(values.zz), list(values.zr)
    w = structure.n_fixed + 1
    m, total = values.ww, jnp.zeros((), values.ww.dtype)
    for f, d in enumerate(ds):
        pinv, logdet = eliminated(zz[f], d)
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


def _crossed(ds: tuple[Array, ...], structure: Structure, index: Index, values: Values) -> tuple[Array, Array]:
    """Eliminate the first factor, then the dense block S of the others: log|I + S D| and R'D (I + S D)^-1 R."""
    assert index.keys is not None  # for the type checker: a crossed model has all these
    assert index.entry_level is not None
    assert index.entry_col is not None
    assert index.pair_key is not None
    assert values.entry is not None
    assert values.base is not None
    assert values.dense_w is not None
    pinv, logdet = eliminated(values.zz[0], ds[0])
    solved = jnp.einsum("ijl,jrl->irl", pinv, values.zr[0])
    m = values.ww - jnp.einsum("kal,kbl->ab", values.zr[0], solved)
    entry, size = values.entry, structure.n_dense
    through = jnp.einsum("eij,ej->ei", jnp.moveaxis(pinv, 2, 0)[index.entry_level], entry)
    pairs = jnp.sum(entry[index.pair_left] * through[index.pair_right], axis=1)
    summed = jax.ops.segment_sum(pairs, index.pair_key, values.base.shape[0], indices_are_sorted=True)
    lower = jnp.zeros(size * size, entry.dtype).at[index.keys].set(values.base - summed, mode="drop")
    block = lower.reshape(size, size)
    block = block + jnp.tril(block, -1).T
    rhs = jnp.einsum("ei,iwe->ew", entry, solved[:, :, index.entry_level])
    right = values.dense_w - jax.ops.segment_sum(rhs, index.entry_col, size)
    inner = jnp.eye(size, dtype=entry.dtype) + _times_blocks(block, ds[1:], structure)
    known = jnp.linalg.solve(inner, right)
    return logdet + jnp.linalg.slogdet(inner)[1], m - right.T @ _times_blocks(known.T, ds[1:], structure).T


def _times_blocks(rows: Array, ds: tuple[Array, ...], structure: Structure) -> Array:
    """Multiply rows (k, n_dense) by the block-diagonal D of the dense factors."""
    out = []
    for (start, levels, q), d in zip(structure.dense_slices(), ds, strict=True):
        part = rows[:, start : start + levels * q]
        out.append((part.reshape(-1, q) @ d).reshape(part.shape))
    return jnp.concatenate(out, axis=1)
