"""LaplaceFactor: M = Lambda' Z'WZ Lambda + I and its factor G, with M = G G'.

The first factor is eliminated level by level; what is left of the others is one dense block.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..kernels.blocks import UNROLL_UP_TO
from ..kernels.dense import inverse_root, root_gram
from ..kernels.small import factor_inverse
from ..shapes import Float
from .problem import Blocks, Effects, GlmmStructure, flat_dense, unflat_dense


class LaplaceFactor(NamedTuple):
    """G^-1 in blocks.

    first (q, q, levels): inverse Cholesky factors L^-1 of the levels; cross (q, levels, dense): K = L^-1 C;
    dense (dense, dense): inverse Cholesky factor of what is left; logdet: log|M|.
    """

    first: Float[Array, "q q levels"]
    cross: Float[Array, "q levels dense"]
    dense: Float[Array, "dense dense"]
    logdet: Float[Array, ""]


def plus_identity(blocks: Blocks) -> Blocks:
    """Add the identity."""
    first = blocks.first + jnp.eye(blocks.first.shape[0], dtype=blocks.first.dtype)[:, :, None]
    return Blocks(first, blocks.cross, blocks.dense + jnp.eye(blocks.dense.shape[0], dtype=first.dtype))


def eliminate(m: Blocks) -> LaplaceFactor:
    """Factor M."""
    first = level_roots(m.first)
    logdet = -2 * jnp.sum(jnp.log(jnp.einsum("iil->il", first)))
    if not m.dense.shape[0]:
        return LaplaceFactor(first, m.cross, m.dense, logdet)
    cross = jnp.einsum("ijl,jld->ild", first, m.cross)
    flat = cross.reshape(-1, cross.shape[-1])
    dense = inverse_root(m.dense - flat.T @ flat)
    return LaplaceFactor(first, cross, dense, logdet - 2 * jnp.sum(jnp.log(jnp.diagonal(dense))))


def level_roots(m: Float[Array, "q q levels"]) -> Float[Array, "q q levels"]:
    """Inverse Cholesky factor of the symmetric matrix of every level; written out where it is small."""
    q = m.shape[0]
    if q > UNROLL_UP_TO:
        return jnp.moveaxis(factor_inverse(jnp.moveaxis(m, 2, 0))[1], 0, 2)
    root: list[list[Array]] = []
    inverse: list[list[Array]] = []
    for i in range(q):
        row: list[Array] = []
        for j in range(i):
            row.append((m[i, j] - sum(row[k] * root[j][k] for k in range(j))) / root[j][j])
        pivot = 1 / jnp.sqrt(m[i, i] - sum(entry * entry for entry in row))
        own = [-pivot * sum(row[k] * inverse[k][j] for k in range(j, i)) for j in range(i)]
        root.append([*row, 1 / pivot])
        inverse.append([*own, pivot])
    zero = jnp.zeros_like(m[0, 0])
    return jnp.stack([jnp.stack(row + [zero] * (q - len(row))) for row in inverse])


def solve(found: LaplaceFactor, right: Effects, structure: GlmmStructure) -> Effects:
    """Solve M x = r."""
    first = jnp.einsum("ijl,jl->il", found.first, right[0])
    if not structure.n_dense:
        return (jnp.einsum("jil,jl->il", found.first, first),)
    rest = flat_dense(right, first.dtype) - jnp.einsum("ild,il->d", found.cross, first)
    rest = (found.dense @ rest) @ found.dense
    first = first - jnp.einsum("ild,d->il", found.cross, rest)
    return unflat_dense(jnp.einsum("jil,jl->il", found.first, first), rest, structure)


def whitened(found: LaplaceFactor, d_m: Blocks) -> Float[Array, " entries"]:
    """G^-1 dM G^-T as a vector whose inner products are tr(M^-1 dM_a M^-1 dM_b)."""
    own = jnp.einsum("ikl,kml,jml->ijl", found.first, d_m.first, found.first)
    if not found.dense.shape[0]:
        return own.reshape(-1)
    left = jnp.einsum("ijl,jld->ild", found.first, d_m.cross) - jnp.einsum("ijl,jld->ild", own, found.cross)
    both = jnp.einsum("ild,ile->de", found.cross, left)
    twice = jnp.einsum("ild,ijl,jle->de", found.cross, own, found.cross)
    dense = found.dense @ (d_m.dense - both - both.T - twice) @ found.dense.T
    below = left.reshape(-1, left.shape[-1]) @ found.dense.T
    return jnp.concatenate([own.reshape(-1), jnp.sqrt(2.0) * below.reshape(-1), dense.reshape(-1)])


def inverse_blocks(found: LaplaceFactor) -> Blocks:
    """M^-1 where M has its blocks."""
    own = jnp.einsum("kil,kjl->ijl", found.first, found.first)
    if not found.dense.shape[0]:
        return Blocks(own, found.cross, found.dense)
    dense = root_gram(found.dense)
    pushed = jnp.einsum("kil,kld->ild", found.first, found.cross)
    cross = -pushed @ dense
    return Blocks(own - jnp.einsum("ild,jld->ijl", cross, pushed), cross, dense)
