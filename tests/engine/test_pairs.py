"""The index of crossed factors against products of whole indicator matrices, in NumPy alone."""

from __future__ import annotations

import numpy as np
import pytest

from remlax.engine.pairs import Meetings, find_cells, find_meetings, pair_count
from remlax.kernels.dense import CrossedStructure
from remlax.kernels.theta import ThetaMap


def z_of(codes: np.ndarray, columns: np.ndarray, levels: int) -> np.ndarray:
    """Z (n, levels * q), level by level."""
    n, q = columns.shape
    out = np.zeros((n, levels, q))
    out[np.arange(n), codes] = columns
    return out.reshape(n, -1)


def case(
    levels: tuple[int, ...], q: tuple[int, ...], codes: list[np.ndarray]
) -> tuple[CrossedStructure, Meetings, dict]:
    structure = CrossedStructure(ThetaMap(q, (), (), ()), levels, 1)
    first = tuple(find_cells(codes[0], c, m) for c, m in zip(codes[1:], levels[1:], strict=True))
    between = {
        (g, h): find_cells(codes[1 + g], codes[1 + h], levels[1 + h])
        for g in range(len(levels) - 1)
        for h in range(g + 1, len(levels) - 1)
    }
    index = find_meetings(structure, first, between)
    assert pair_count(first, q, levels[0]) <= len(index.index.pair_key)
    assert index.n_cells == tuple(len(cells.left) for cells in first)
    return structure, index, between


@pytest.mark.parametrize("full", [False, True])
def test_pairs_and_sources_give_the_dense_block(full: bool) -> None:
    """Z_2'Z_2 from its tables, and the products of what every first level has; padding adds nothing to either."""
    rng = np.random.default_rng(5)
    if full:  # 63 entries: the padding is a single one
        levels, q = (9, 7), (2, 1)
        codes = [np.repeat(np.arange(9), 7), np.tile(np.arange(7), 9)]
    else:
        levels, q = (12, 6, 4, 3), (1, 2, 2, 1)
        codes = [rng.integers(0, m, 40) for m in levels]
    structure, found, between = case(levels, q, codes)
    size, index = structure.n_dense, found.index
    z = [rng.normal(size=(len(codes[0]), width)) for width in q]
    wide = np.concatenate([z_of(c, part, m) for c, part, m in zip(codes[1:], z[1:], levels[1:], strict=True)], axis=1)
    keys = np.asarray(index.keys)

    def block(values: np.ndarray) -> np.ndarray:
        """Lower triangle from values at the keys; those outside hold nothing."""
        inside = keys < size * size
        out = np.zeros(size * size)
        out[keys[inside]] = values[inside]
        assert not values[~inside].any()
        return out.reshape(size, size)

    tables = [z_of(c, np.einsum("ni,nj->nij", part, part).reshape(len(c), -1), m).sum(0)
              for c, part, m in zip(codes[1:], z[1:], levels[1:], strict=True)]  # fmt: skip
    for (g, h), cells in sorted(between.items()):
        products = np.einsum("ni,nj->nij", z[1 + g], z[1 + h]).reshape(len(cells.codes), -1)
        tables.append(z_of(cells.codes, products, len(cells.left)).sum(0))
    base = np.zeros(len(keys))
    for table, (place, element) in zip(tables, found.base_source, strict=True):
        base[place] += table[element]
    np.testing.assert_allclose(block(base), np.tril(wide.T @ wide), atol=1e-12)

    # what a first level has in every dense column, and its entries in the order of the index
    own = np.einsum("nl,nd->ld", z_of(codes[0], np.ones((len(codes[0]), 1)), levels[0]), wide)
    n_entries = len(found.order)
    entry = np.zeros(len(index.entry_level))
    entry[:n_entries] = own[index.entry_level[:n_entries], index.entry_col[:n_entries]]
    assert n_entries < len(entry)
    assert (entry != 0).sum() == (own != 0).sum()
    sums = np.zeros(len(keys))
    np.add.at(sums, index.pair_key, entry[index.pair_left] * entry[index.pair_right])
    np.testing.assert_allclose(block(sums), np.tril(own.T @ own), atol=1e-12)
    for name in ("entry_level", "entry_col"):
        assert np.asarray(getattr(index, name)).max() < {"entry_level": levels[0], "entry_col": size}[name]
    assert (np.diff(index.pair_key) >= 0).all()
    assert (np.diff(keys) > 0).all()
    # the order of the entries in the tables: cell by cell, column by column
    tabled = np.concatenate([
        own[cells.left[:, None], start + cells.right[:, None] * width + np.arange(width)].ravel()
        for cells, (start, _, width) in zip(
            (find_cells(codes[0], c, m) for c, m in zip(codes[1:], levels[1:], strict=True)),
            structure.dense_slices(), strict=True,
        )
    ])  # fmt: skip
    np.testing.assert_array_equal(tabled[found.order], entry[:n_entries])
