"""Cross-products of a data set with crossed factors, inside a compiled program."""

from __future__ import annotations

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array

from ..engine.pairs import Meetings
from ..engine.shapes import host_leaf
from ..kernels.cross_products import Table, nested_products
from ..kernels.crossed import Crossed, CrossedIndex, CrossedProducts
from ..kernels.dense import CrossedStructure
from ..kernels.problem import CrossProducts, Structure
from ..kernels.row_products import FinishedRows


class CrossedGroups(NamedTuple):
    """Which levels meet, and where tables of cross-products go: `Meetings` as arrays.

    where: index of `Crossed`; order (E,): places of the entries in the tables of the first factor; sources: for each
    table of the dense block, positions in the keys and elements of the table.
    """

    where: CrossedIndex
    order: Array
    sources: tuple[tuple[Array, Array], ...]

    @classmethod
    def of(cls, meetings: Meetings) -> CrossedGroups:
        """Take the arrays."""
        sources = tuple((host_leaf(to), host_leaf(of)) for to, of in meetings.base_source)
        return cls(jax.tree.map(host_leaf, meetings.index), host_leaf(meetings.order), sources)


def crossed_products(
    found: FinishedRows,
    structure: CrossedStructure,
    tables: tuple[Table, ...],
    n_cells: tuple[int, ...],
    groups: CrossedGroups,
) -> CrossedProducts:
    """Sort finished tables into entries, the dense base and its W columns.

    Parameters
    ----------
    found : FinishedRows
    structure : CrossedStructure
    tables : tuple of Table
        Of `make_layout`, in its order.
    n_cells : tuple of int
        Cells of the first factor with each other factor.
    groups : CrossedGroups
    """
    q, dtype = structure.q, found.ww.dtype
    base, index = jnp.zeros(groups.where.keys.shape, dtype), groups.where
    dense_w: list[Array] = []
    entries: list[Array] = []
    sources, cells = iter(groups.sources), iter(n_cells)
    for table, cube in zip(tables, found.cubes, strict=True):
        by_level = jnp.moveaxis(cube, 2, 0)
        if table.left == 0:
            if not table.with_w:
                part = by_level[: next(cells)]
                entries.append(jnp.swapaxes(part, 1, 2).reshape(-1, q[0]))
            continue
        to, of = next(sources)
        width = q[table.left]
        elements = by_level[:, :, :width] if table.with_w else by_level
        base = base.at[to].set(elements.reshape(-1)[of])
        if table.with_w:
            dense_w.append(by_level[:, :, width:].reshape(-1, structure.n_fixed + 1))
    flat = jnp.concatenate(entries)[groups.order]
    entry = jnp.zeros((index.entry_col.shape[0], q[0]), dtype).at[: flat.shape[0]].set(flat)
    eliminated = nested_products(
        found.ww, found.cubes[:1], found.rotation, found.n_obs, jnp.zeros((), dtype), cast(Structure, structure)
    )
    return CrossedProducts(**vars(eliminated), entry=entry, base=base, dense_w=jnp.concatenate(dense_w))


def crossed(structure: CrossedStructure, products: CrossProducts, groups: CrossedGroups) -> Crossed:
    """Stacked data sets."""
    return Crossed(structure, cast(CrossedProducts, products), groups.where)
