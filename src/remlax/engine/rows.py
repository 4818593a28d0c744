"""Rows of many data sets, summed chunk by chunk into cross-products by data set and by level.

A chunk is some whole short data sets or a piece of a long one, sized so that its columns, their products and their sums
stay in the cache. Rows that do not stand level by level are brought into that order, or each run of them is a sum of
its own, whichever costs less.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..kernels.cross_products import Conditioning, Table

# rows whose columns, products and sums stay in the cache; of a longer data set more at a time, for longer runs
ROWS_PER_CHUNK = 8_192
ROWS_PER_PIECE = 32_768
# rows worth a thread of their own
ROWS_PER_THREAD = 65_536


@dataclass(frozen=True)
class HostColumns:
    """Rows of K data sets on the host, a column at a time.

    A column is as long as all data sets together or, where all share it, as one of them.

    Parameters
    ----------
    offsets : ndarray of int (K + 1,)
        First row of each data set.
    x, y
        Columns of X; the response.
    z : tuple of tuple of ndarray
        Columns of Z per factor.
    z_scale : tuple of ndarray (q,)
        What divides the columns of Z.
    codes : tuple of ndarray of int
        Level of each row, per table.
    weights : ndarray, optional
    """

    offsets: np.ndarray
    x: tuple[np.ndarray, ...]
    y: np.ndarray
    z: tuple[tuple[np.ndarray, ...], ...]
    z_scale: tuple[np.ndarray, ...]
    codes: tuple[np.ndarray, ...]
    weights: np.ndarray | None = None

    @property
    def n_sets(self) -> int:
        """Number K of data sets."""
        return len(self.offsets) - 1

    def one(self, k: int) -> HostColumns:
        """Rows of data set k alone."""
        start, stop = self.offsets[k], self.offsets[k + 1]

        def part(column: np.ndarray) -> np.ndarray:
            return column[start:stop] if len(column) == self.offsets[-1] else column

        return HostColumns(
            np.array([0, stop - start]),
            tuple(map(part, self.x)),
            part(self.y),
            tuple(tuple(map(part, columns)) for columns in self.z),
            self.z_scale,
            tuple(map(part, self.codes)),
            None if self.weights is None else part(self.weights),
        )


class _Chunk(NamedTuple):
    """Some whole data sets, or rows ``start`` to ``stop`` of one of them; ``n`` rows of each."""

    first: int
    n_sets: int
    start: int
    stop: int


class _Runs(NamedTuple):
    """How rows come to stand level by level: their order (None: they do), where levels begin, data set and level."""

    order: np.ndarray | None
    starts: np.ndarray
    data_set: np.ndarray
    level: np.ndarray


class _Known(NamedTuple):
    """What a thread need not find again: runs of shared codes, and arrays to work in, by number of rows."""

    runs: dict[tuple[int, ...], _Runs]
    space: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]


def _chunks(offsets: np.ndarray) -> list[_Chunk]:
    """As many data sets at a time as make a chunk, or pieces of a long one."""
    out: list[_Chunk] = []
    k, n_sets = 0, len(offsets) - 1
    while k < n_sets:
        n = int(offsets[k + 1] - offsets[k])
        if n > ROWS_PER_CHUNK:
            out += [_Chunk(k, 1, s, min(s + ROWS_PER_PIECE, n)) for s in range(0, n, ROWS_PER_PIECE)]
            k += 1
        else:
            last = int(np.searchsorted(offsets, offsets[k] + ROWS_PER_CHUNK, side="right")) - 1
            out.append(_Chunk(k, last - k, 0, n))
            k = last
    return out


def accumulate(
    rows: HostColumns, first: Conditioning, tables: tuple[Table, ...], q: tuple[int, ...], threads: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """W'W (K, w, w) and the tables (K, q, r, size), chunk by chunk; threads take chunks that follow each other."""
    w, n_sets = len(rows.x) + 1, rows.n_sets

    def zeros() -> tuple[np.ndarray, list[np.ndarray]]:
        widths = [sum(q[g] for g in t.rights) + w * t.with_w for t in tables]
        cubes = [np.zeros((n_sets, q[t.left], r, t.size)) for t, r in zip(tables, widths, strict=True)]
        return np.zeros((n_sets, w, w)), cubes

    transform = np.zeros((w, w))
    transform[:-1, :-1], transform[-1, :-1], transform[-1, -1] = (
        np.asarray(first.inverse).T,
        -np.asarray(first.beta),
        1.0,
    )
    chunks = _chunks(rows.offsets)
    pieces = max(1, min(threads, int(rows.offsets[-1]) // ROWS_PER_THREAD, len(chunks)))
    ends = np.linspace(0, len(chunks), pieces + 1).astype(int)
    groups = [chunks[a:b] for a, b in itertools.pairwise(ends)]
    # threads may write into one array where no data set is shared among them
    apart = all(a[-1].first < b[0].first for a, b in itertools.pairwise(groups))
    out = [zeros()] * pieces if apart else [zeros() for _ in groups]

    def work(j: int) -> None:
        known = _Known({}, {})
        for chunk in groups[j]:
            _add_chunk(rows, chunk, transform, tables, out[j], known)

    map_threads(work, pieces, threads)
    for ww, cubes in [] if apart else out[1:]:
        out[0][0][:] += ww
        for total, cube in zip(out[0][1], cubes, strict=True):
            total += cube
    return out[0]


def _add_chunk(
    rows: HostColumns,
    chunk: _Chunk,
    transform: np.ndarray,
    tables: tuple[Table, ...],
    out: tuple[np.ndarray, list[np.ndarray]],
    known: _Known,
) -> None:
    """Add one chunk of rows to W'W and to the tables."""
    begin = rows.offsets[chunk.first] + chunk.start
    end = rows.offsets[chunk.first + chunk.n_sets] if chunk.n_sets > 1 else begin - chunk.start + chunk.stop
    n = int(end - begin)

    def part(column: np.ndarray) -> np.ndarray:
        if len(column) == rows.offsets[-1]:
            return column[begin:end]
        return column[chunk.start : chunk.stop] if chunk.n_sets == 1 else np.tile(column, chunk.n_sets)

    z = [column for columns in rows.z for column in columns]
    if n not in known.space:
        known.space[n] = (np.empty((len(transform), n)), *np.empty((2, len(z) + len(transform), n)))
    given, columns, products = known.space[n]
    for to, column in zip(given, (*rows.x, rows.y), strict=True):
        to[:] = part(column)
    for to, column in zip(columns, z, strict=False):
        to[:] = part(column)
    wcols = np.matmul(transform, given, out=columns[len(z) :])
    weights = None if rows.weights is None else part(rows.weights)
    weighted = wcols if weights is None else np.multiply(wcols, weights, out=given)
    cuts = rows.offsets[chunk.first : chunk.first + chunk.n_sets + 1] - begin
    for j in range(chunk.n_sets):
        own = slice(max(cuts[j], 0), cuts[j + 1])
        out[0][chunk.first + j] += wcols[:, own] @ weighted[:, own].T
    for t, (table, cube) in enumerate(zip(tables, out[1], strict=True)):
        key = (t, chunk.n_sets, chunk.start, chunk.stop)
        if key not in known.runs or len(rows.codes[t]) == rows.offsets[-1]:
            known.runs[key] = _find_runs(part(rows.codes[t]), cuts, table.size)
        own_sets = cube[chunk.first : chunk.first + chunk.n_sets]
        _add_table(own_sets, table, known.runs[key], columns, weights, products, tuple(map(len, rows.z)))


def _find_runs(codes: np.ndarray, cuts: np.ndarray, size: int) -> _Runs:
    """Bring the rows of each level of each data set together."""
    flat = codes
    if len(cuts) > 2:
        flat = codes + size * np.repeat(np.arange(len(cuts) - 1), np.diff(cuts))
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    labels, order = flat[starts], None
    increasing = bool((labels[1:] > labels[:-1]).all())
    if not increasing and (4 * len(starts) > len(flat) or len(np.unique(labels)) < len(labels)):
        order = _order(flat)
        ordered = flat[order]
        starts = np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])
        labels = ordered[starts]
    return _Runs(order, starts, labels // size, labels % size)


def _order(labels: np.ndarray) -> np.ndarray:
    """Sort; NumPy sorts 16-bit integers by counting, so larger ones are sorted by their halves."""
    most = int(labels.max())
    if most >= 2**32:
        return np.argsort(labels, kind="stable")
    order = np.argsort(labels.astype(np.uint16), kind="stable")
    if most < 2**16:
        return order
    return order[np.argsort((labels >> 16).astype(np.uint16)[order], kind="stable")]


def _add_table(
    cube: np.ndarray,
    table: Table,
    runs: _Runs,
    columns: np.ndarray,
    weights: np.ndarray | None,
    products: np.ndarray,
    q: tuple[int, ...],
) -> None:
    """Add Z_left' [Z_right ... (W)] of a chunk of rows to a table (sets, q, r, size); columns are [Z ... W] by row."""
    first = np.cumsum([0, *q]).tolist()
    rights = [slice(first[g], first[g + 1]) for g in table.rights] + [slice(first[-1], None)] * table.with_w
    if runs.order is not None:
        columns = np.take(columns, runs.order, axis=1)
        weights = None if weights is None else weights[runs.order]
    for i in range(q[table.left]):
        left = columns[first[table.left] + i]
        left = left if weights is None else left * weights
        filled = 0
        for right in rights:
            part = columns[right]
            np.multiply(part, left, out=products[filled : filled + len(part)])
            filled += len(part)
        sums = np.add.reduceat(products[:filled], runs.starts, axis=1)
        if len(cube) == 1:
            cube[0, i, :, runs.level] += sums.T
        else:
            cube[runs.data_set, i, :, runs.level] += sums.T


def map_threads(function: Callable[[int], Any], n: int, threads: int) -> list[Any]:
    """Call a function for 0 .. n - 1 on a pool of threads, in order."""
    if min(threads, n) == 1:
        return [function(k) for k in range(n)]
    with ThreadPoolExecutor(min(threads, n)) as pool:
        return list(pool.map(function, range(n)))
