"""Which levels of crossed factors meet: index arrays computed once on the host, shared by all data sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from jax import Array

from ..kernels.crossed import CrossedIndex
from ..kernels.dense import CrossedStructure
from .shapes import bucket, host_leaf


@dataclass(frozen=True)
class Cells:
    """The distinct pairs of levels of two factors that occur in the data.

    left, right (C,): levels; codes (n,): the cell of every row.
    """

    left: np.ndarray
    right: np.ndarray
    codes: np.ndarray


def find_cells(left: np.ndarray, right: np.ndarray, n_right: int) -> Cells:
    """Number the distinct (left, right) pairs of levels."""
    keys, codes = np.unique(left.astype(np.int64) * n_right + right, return_inverse=True)
    return Cells(keys // n_right, keys % n_right, codes.reshape(-1).astype(np.int32))


@dataclass(frozen=True)
class Meetings:
    """Index arrays of a crossed model and where each table of cross-products goes.

    Parameters
    ----------
    index : CrossedIndex
        Its lists end in padding: entries without a value, pairs of such entries, keys outside the block.
    order : ndarray of int (E,)
        Position of every entry in the tables of the dense factors, flattened as (cell, column), one after the other.
    n_cells : tuple of int
        Cells of the eliminated factor with each dense factor.
    base_source : tuple of (ndarray, ndarray)
        For each table of the dense block, in the order of the tables: positions in ``keys`` and the (flat) elements of
        the table that go there.
    """

    index: CrossedIndex
    order: np.ndarray
    n_cells: tuple[int, ...]
    base_source: tuple[tuple[np.ndarray, np.ndarray], ...]


def pair_count(cells: tuple[Cells, ...], q: tuple[int, ...], n_levels: int) -> int:
    """Count the pairs of entries that update the dense block, without building them."""
    per_level = np.zeros(n_levels, np.int64)
    for part, width in zip(cells, q[1:], strict=True):
        per_level += width * np.bincount(part.left, minlength=n_levels)
    return int(np.sum(per_level * (per_level + 1) // 2))


def find_meetings(
    structure: CrossedStructure, first: tuple[Cells, ...], dense: dict[tuple[int, int], Cells]
) -> Meetings:
    """Build the pair list of the Schur complement.

    Parameters
    ----------
    structure : CrossedStructure
    first : tuple of Cells
        Cells of the eliminated factor with each dense factor.
    dense : dict
        Cells of dense factors (g, h), g < h, numbered from 0 among the dense factors.

    Returns
    -------
    Meetings
    """
    slices = structure.dense_slices()
    size = structure.n_dense
    level, col = [], []
    for (start, _, q), cells in zip(slices, first, strict=True):
        level.append(np.repeat(cells.left, q))
        col.append((start + cells.right[:, None] * q + np.arange(q)).reshape(-1))
    entry_level, entry_col = np.concatenate(level), np.concatenate(col)
    order = np.lexsort((entry_col, entry_level))
    entry_level, entry_col = entry_level[order], entry_col[order]

    # within a level the entries are sorted by column, so left >= right gives the lower triangle
    counts = np.bincount(entry_level, minlength=structure.n_levels[0])
    ends = np.cumsum(counts)[entry_level]
    reps = ends - np.arange(len(entry_level))
    right = np.repeat(np.arange(len(entry_level)), reps)
    offset = np.arange(len(right)) - np.repeat(np.cumsum(reps) - reps, reps)
    left = right + offset
    pair_flat = entry_col[left] * size + entry_col[right]

    base_flat, elements = _base_positions(structure, dense)
    # a flag per element of the block is less than the block itself, and far quicker than sorting the pairs
    occurs = np.zeros(size * size, bool)
    for flat in (pair_flat, *base_flat):
        occurs[flat] = True
    keys = np.flatnonzero(occurs)
    number = np.cumsum(occurs, dtype=np.int32) - 1
    key = number[pair_flat]
    # to rows of a sparse matrix, which sorts by counting
    by_key = scipy.sparse.csr_array(
        (np.ones(len(key), bool), (key, np.arange(len(key)))), (len(keys), len(key))
    ).indices
    # at least one entry is padding, for the padded pairs to point at; lists that are sorted stay so
    n_entries, n_pairs, n_keys = padded_size(len(entry_level) + 1), padded_size(len(key)), padded_size(len(keys))
    spare = n_entries - 1
    index = CrossedIndex(
        entry_level=_padded(entry_level, n_entries, structure.n_levels[0] - 1),
        entry_col=_padded(entry_col, n_entries, size - 1),
        pair_left=_padded(left[by_key], n_pairs, spare),
        pair_right=_padded(right[by_key], n_pairs, spare),
        pair_key=_padded(key[by_key], n_pairs, n_keys - 1),
        keys=host_leaf(np.concatenate([keys, size * size + np.arange(n_keys - len(keys))])),
    )
    sources = tuple((number[f], e) for f, e in zip(base_flat, elements, strict=True))
    return Meetings(index, order, tuple(len(cells.left) for cells in first), sources)


def padded_size(n: int) -> int:
    """Length of a list of n cells, entries, pairs or keys with its padding."""
    return bucket(n, 64, 4)


def _padded(values: np.ndarray, size: int, fill: int) -> Array:
    out = np.full(size, fill, np.int32)
    out[: len(values)] = values
    return host_leaf(out)


def _base_positions(
    structure: CrossedStructure, dense: dict[tuple[int, int], Cells]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Flat positions in the dense block, and elements of the tables, of Z_2'Z_2's lower triangle."""
    slices, size = structure.dense_slices(), structure.n_dense
    flats, elements = [], []
    for start, levels, q in slices:
        first = start + np.arange(levels)[:, None, None] * q
        row, col = first + np.arange(q)[None, :, None], first + np.arange(q)[None, None, :]
        lower = np.broadcast_to(row >= col, (levels, q, q)).reshape(-1)
        flats.append((row * size + col).reshape(-1)[lower])
        elements.append(np.flatnonzero(lower))
    for (g, h), cells in sorted(dense.items()):
        (start_g, _, q_g), (start_h, _, q_h) = slices[g], slices[h]
        # factor h comes later in the block: its columns are the rows of the lower triangle
        col = (start_g + cells.left * q_g)[:, None, None] + np.arange(q_g)[None, :, None]
        row = (start_h + cells.right * q_h)[:, None, None] + np.arange(q_h)[None, None, :]
        flats.append((row * size + col).reshape(-1))
        elements.append(np.arange(len(cells.left) * q_g * q_h))
    return flats, elements
