"""Cross-products of a data set whose layout of rows is static: inside a compiled program, without a host step.

The steps are those of ``cross_products``; since the layout is known, sums over the rows of a level are sums over an
axis wherever the rows of every level stand together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..shapes import Bool, Float, Int
from .cross_products import Conditioning, Raw, Rotation, Table, condition, finish, nested_products
from .problem import CrossProducts, Structure


@dataclass(frozen=True)
class RowLayout:
    """Static layout of the rows of every data set.

    Parameters
    ----------
    tables : tuple of Table
    block : tuple of int
        For each table, the rows of every level where these stand together, level by level; 0 where they do not.
    """

    tables: tuple[Table, ...]
    block: tuple[int, ...]


class RowProducts(NamedTuple):
    """Cross-products of one data set, its way back to the user's units, and its smallest pivot (see Conditioning)."""

    products: CrossProducts
    rotation: Rotation
    pivot: Float[Array, ""]


class FinishedRows(NamedTuple):
    """Conditioned cross-products of one data set: W'W, one cube (q, r, levels) per table; see `RowProducts`."""

    ww: Float[Array, "w w"]
    cubes: tuple[Array, ...]
    rotation: Rotation
    n_obs: Float[Array, ""]
    pivot: Float[Array, ""]


def finished_rows(
    x: Float[Array, "n p"],
    y: Float[Array, " n"],
    z: tuple[Float[Array, "n _q"], ...],
    present: Bool[Array, " n"],
    codes: tuple[Int[Array, " n"], ...],
    structure: Structure,
    layout: RowLayout,
) -> FinishedRows:
    """Form the conditioned cross-products of one data set.

    Parameters
    ----------
    x : Array (n, p)
    y : Array (n,)
    z : tuple of Array (n, q)
        One per factor, in elimination order; columns scaled.
    present : Array of bool (n,)
        Rows that count; what stands in the others is ignored, even if it is not a number.
    codes : tuple of integer Array (n,)
        Level of every row in each table.
    structure : Structure
        Exact number of fixed columns: no padding.
    layout : RowLayout

    Returns
    -------
    FinishedRows
    """
    zero = jnp.zeros((), y.dtype)
    x, z = (jax.tree.map(lambda a: jnp.where(present[:, None], a, zero), part) for part in (x, z))
    y = jnp.where(present, y, zero)
    n_obs = jnp.sum(present.astype(y.dtype))
    first = condition(_gram(jnp.concatenate([x, y[:, None]], axis=1)))
    raw = _raw(x, y, z, first, codes, structure, layout)
    ww, cubes, rotation = finish(raw, first, n_obs, structure.q, layout.tables)
    return FinishedRows(ww, cubes, rotation, n_obs, first.pivot)


def row_products(found: FinishedRows, structure: Structure) -> RowProducts:
    """Products of nested factors; the structure has their exact numbers of levels."""
    zero = jnp.zeros((), found.ww.dtype)
    products = nested_products(found.ww, found.cubes, found.rotation, found.n_obs, zero, structure)
    return RowProducts(products, found.rotation, found.pivot)


def _raw(
    x: Array,
    y: Array,
    z: tuple[Array, ...],
    first: Conditioning,
    codes: tuple[Array, ...],
    structure: Structure,
    layout: RowLayout,
) -> Raw:
    rotated, fitted = _times(x, first.inverse), _times(x, first.beta[:, None])[:, 0]
    wcols = jnp.concatenate([rotated, (y - fitted)[:, None]], axis=1)
    out = []
    for table, block, code in zip(layout.tables, layout.block, codes, strict=True):
        left = z[table.left]
        right = jnp.concatenate([z[g] for g in table.rights] + [wcols] * table.with_w, axis=1)
        if block:
            out.append(_block_sums(left, right, (table.size, block)))
        else:
            products = (left[:, :, None] * right[:, None, :]).reshape(left.shape[0], -1)
            out.append(jax.ops.segment_sum(products, code, table.size))
    return Raw(_gram(wcols), tuple(out))


# products of columns up to which each has a sum of its own: a fused pass over two columns each is five times faster
# than products of many thin matrices, but takes longer to compile
SUMS_UP_TO = 36


def _gram(columns: Array) -> Array:
    """Cross-products of the columns of (n, w)."""
    w = columns.shape[1]
    if w * w > SUMS_UP_TO:
        return columns.T @ columns
    sums = {(i, j): jnp.sum(columns[:, i] * columns[:, j]) for i in range(w) for j in range(i + 1)}
    return jnp.stack([sums[max(i, j), min(i, j)] for i in range(w) for j in range(w)]).reshape(w, w)


def _times(columns: Array, matrix: Array) -> Array:
    """(n, p) times (p, k)."""
    p, k = matrix.shape
    if p * k > SUMS_UP_TO or p == 0:
        return columns @ matrix
    parts = [sum((columns[:, i] * matrix[i, j] for i in range(1, p)), columns[:, 0] * matrix[0, j]) for j in range(k)]
    return jnp.stack(parts, axis=1)


def _block_sums(left: Array, right: Array, shape: tuple[int, int]) -> Array:
    """Products of the columns of two matrices summed over the rows of every level: (levels, columns)."""
    if left.shape[1] * right.shape[1] > SUMS_UP_TO:
        cube = jnp.einsum("lci,lcr->lir", left.reshape(*shape, -1), right.reshape(*shape, -1))
        return cube.reshape(shape[0], -1)
    sums = [
        jnp.sum((left[:, i] * right[:, j]).reshape(shape), axis=1)
        for i in range(left.shape[1])
        for j in range(right.shape[1])
    ]
    return jnp.stack(sums, axis=1)
