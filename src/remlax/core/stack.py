"""Stream the rows of every data set into one stack of conditioned cross-products.

All data sets are rotated by the conditioning of the first, which makes their columns nearly orthonormal, and each then
by its own cross-products; a data set for which the first rotation does not serve gets one of its own. So the rows of
many data sets are one long table, summed by data set and level.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from . import crossprod
from .batch import Stack
from .crossprod import Conditioning, Rotation, Table
from .pairs import CrossedIndex
from .structure import Index, Structure, Values, host_leaf
from .structure import grid as grid

# rows whose columns, products and sums stay in the cache; of a longer data set more at a time, for longer runs
ROWS_PER_CHUNK = 8_192
ROWS_PER_PIECE = 32_768
# rows worth a thread of their own
ROWS_PER_THREAD = 65_536
# below this a column is close enough to aliased that the cross-products cannot tell: look at the rows
SUSPICIOUS_PIVOT = 1e-5
ALIASED_PIVOT = 1e-7
# a data set's columns, rotated as the first one's, are nearly orthonormal and its residuals not much too large
CLOSE_PIVOT, CLOSE_RESIDUAL = 0.3, 0.03


@dataclass(frozen=True)
class StackRows:
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
    def n_lanes(self) -> int:
        """Number K of data sets."""
        return len(self.offsets) - 1

    def lane(self, k: int) -> StackRows:
        """Rows of data set k alone."""
        start, stop = self.offsets[k], self.offsets[k + 1]

        def part(column: np.ndarray) -> np.ndarray:
            return column[start:stop] if len(column) == self.offsets[-1] else column

        return StackRows(
            np.array([0, stop - start]),
            tuple(map(part, self.x)),
            part(self.y),
            tuple(tuple(map(part, columns)) for columns in self.z),
            self.z_scale,
            tuple(map(part, self.codes)),
            None if self.weights is None else part(self.weights),
        )


@dataclass(frozen=True)
class Conditioned:
    """Finished cross-products of K data sets, before padding.

    ww (K, w, w); cubes per table (K, q, r, size); rotation with a leading axis of data sets; n_obs, log_w (K,).
    """

    ww: np.ndarray
    cubes: tuple[np.ndarray, ...]
    rotation: Rotation
    n_obs: np.ndarray
    log_w: np.ndarray


def aliased_columns(x: np.ndarray) -> list[int]:
    """Find columns that earlier ones determine, as R's ``qr(tol = 1e-7)`` does: later columns go first.

    Parameters
    ----------
    x : ndarray (n, p)

    Returns
    -------
    list of int
    """
    norms = np.sqrt(np.einsum("ij,ij->j", x, x))
    keep = [j for j in range(x.shape[1]) if norms[j] > 0]
    scaled = x / np.where(norms > 0, norms, 1.0)
    while keep:
        diagonal = np.abs(np.diag(np.linalg.qr(scaled[:, keep], mode="r")))
        full = np.zeros(len(keep))
        full[: len(diagonal)] = diagonal
        bad = np.flatnonzero(full < ALIASED_PIVOT)
        if not len(bad):
            break
        keep.pop(int(bad[0]))
    return sorted(set(range(x.shape[1])) - set(keep))


def condition_rows(
    rows: StackRows, tables: tuple[Table, ...], q: tuple[int, ...], *, by_qr: bool = False, threads: int = 1
) -> Conditioned | None:
    """Form the conditioned cross-products of all data sets on the host.

    Parameters
    ----------
    by_qr : bool, default False
        Condition by QR of the rows where X'X cannot tell whether X has full rank. Otherwise None comes back.
    threads : int, default 1
        The rows are shared among so many threads.

    Returns
    -------
    Conditioned or None
    """
    first = _conditioning(rows.lane(0), by_qr=by_qr)
    if first is None:
        return None
    found, close = _conditioned(rows, first, tables, q, threads)
    # the first data set has its own conditioning already
    for k in (np.flatnonzero(~close[1:]) + 1).tolist():
        lane = rows.lane(k)
        first = _conditioning(lane, by_qr=by_qr)
        if first is None:
            return None
        own, _ = _conditioned(lane, first, tables, q, threads)
        for all_lanes, one in zip(_arrays(found), _arrays(own), strict=True):
            all_lanes[k] = one[0]
    return found


def _arrays(found: Conditioned) -> list[Any]:
    return [found.ww, *found.cubes, *found.rotation]


def _conditioned(
    rows: StackRows, first: Conditioning, tables: tuple[Table, ...], q: tuple[int, ...], threads: int
) -> tuple[Conditioned, np.ndarray]:
    """Cross-products of all data sets from one first rotation, and for which of them it serves (K,)."""
    raw_ww, raw = _accumulate(rows, first, tables, q, threads)
    n_obs = np.diff(rows.offsets).astype(np.float64)
    close = np.array([_factors(ww) for ww in raw_ww]) if not _factors(raw_ww) else np.ones(len(n_obs), bool)
    raw_ww[~close] = np.eye(raw_ww.shape[1])
    second = crossprod.condition(raw_ww, np)
    ww, turn, rotation = crossprod.second_rotation(raw_ww, first, second, n_obs, np)
    left = np.square(rotation.y_scale) * n_obs
    close &= (np.asarray(second.pivot) > CLOSE_PIVOT) & (left > CLOSE_RESIDUAL * raw_ww[:, -1, -1])
    cubes = tuple(_finished(cube, table, turn, rows.z_scale) for cube, table in zip(raw, tables, strict=True))
    return Conditioned(ww, cubes, rotation, n_obs, _log_weights(rows)), close


def _factors(ww: np.ndarray) -> bool:
    """Whether X'X has a Cholesky factor, of all data sets where there are several."""
    try:
        np.linalg.cholesky(ww[..., :-1, :-1])
    except np.linalg.LinAlgError:
        return False
    return True


def _log_weights(rows: StackRows) -> np.ndarray:
    """Sum of the logarithms of the weights (K,)."""
    if rows.weights is None:
        return np.zeros(rows.n_lanes)
    logs = np.log(rows.weights)
    if len(logs) < rows.offsets[-1]:
        return np.full(rows.n_lanes, np.sum(logs))
    return np.add.reduceat(logs, rows.offsets[:-1])


def _conditioning(lane: StackRows, *, by_qr: bool) -> Conditioning | None:
    """Condition by the cross-products of one data set; where they cannot tell, by QR or not at all."""
    gram = _gram_conditioning(lane)
    return gram if gram is not None or not by_qr else _qr_conditioning(lane)


def _gram_conditioning(lane: StackRows) -> Conditioning | None:
    """Condition by the cross-products; None where they cannot tell whether X has full rank."""
    w, n = len(lane.x) + 1, len(lane.y)
    total = np.zeros((w, w))
    for start in range(0, n, ROWS_PER_PIECE):
        part = slice(start, start + ROWS_PER_PIECE)
        columns = np.stack([column[part] for column in (*lane.x, lane.y)])
        total += columns @ (columns if lane.weights is None else columns * lane.weights[part]).T
    try:
        first = crossprod.condition(total, np)
    except np.linalg.LinAlgError:
        return None
    # written so that NaN counts as doubtful
    return first if float(first.pivot) > SUSPICIOUS_PIVOT else None


def _qr_conditioning(lane: StackRows) -> Conditioning:
    """Condition by Householder QR of the rows: for X so ill-conditioned that its cross-products are not enough."""
    root = np.ones(len(lane.y)) if lane.weights is None else np.sqrt(lane.weights)
    x, y = np.stack(lane.x, axis=1) * root[:, None], lane.y * root
    scale = np.sqrt(np.einsum("ij,ij->j", x, x))
    basis, r = np.linalg.qr(x / scale)
    inverse = np.linalg.inv(r) / scale[:, None]
    log_det = 2 * np.sum(np.log(np.abs(np.diag(r)) * scale))
    beta = inverse @ (basis.T @ y)
    return Conditioning(host_leaf(inverse), host_leaf(beta), host_leaf(log_det), host_leaf(1.0))


class _Chunk(NamedTuple):
    """Some whole data sets, or rows ``start`` to ``stop`` of one of them; ``n`` rows of each."""

    lane: int
    n_lanes: int
    start: int
    stop: int


class _Runs(NamedTuple):
    """How rows come to stand level by level: their order (None: they do), where levels begin, data set and level."""

    order: np.ndarray | None
    starts: np.ndarray
    lane: np.ndarray
    level: np.ndarray


class _Known(NamedTuple):
    """What a thread need not find again: runs of shared codes, and arrays to work in, by number of rows."""

    runs: dict[tuple[int, ...], _Runs]
    space: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]


def _chunks(offsets: np.ndarray) -> list[_Chunk]:
    """As many data sets at a time as make a chunk, or pieces of a long one."""
    out: list[_Chunk] = []
    lane, n_lanes = 0, len(offsets) - 1
    while lane < n_lanes:
        n = int(offsets[lane + 1] - offsets[lane])
        if n > ROWS_PER_CHUNK:
            out += [_Chunk(lane, 1, s, min(s + ROWS_PER_PIECE, n)) for s in range(0, n, ROWS_PER_PIECE)]
            lane += 1
        else:
            last = int(np.searchsorted(offsets, offsets[lane] + ROWS_PER_CHUNK, side="right")) - 1
            out.append(_Chunk(lane, last - lane, 0, n))
            lane = last
    return out


def _accumulate(
    rows: StackRows, first: Conditioning, tables: tuple[Table, ...], q: tuple[int, ...], threads: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """W'W (K, w, w) and the tables (K, q, r, size), chunk by chunk; threads take chunks that follow each other."""
    w, n_lanes = len(rows.x) + 1, rows.n_lanes

    def zeros() -> tuple[np.ndarray, list[np.ndarray]]:
        widths = [sum(q[g] for g in t.rights) + w * t.with_w for t in tables]
        cubes = [np.zeros((n_lanes, q[t.left], r, t.size)) for t, r in zip(tables, widths, strict=True)]
        return np.zeros((n_lanes, w, w)), cubes

    turn = np.zeros((w, w))
    turn[:-1, :-1], turn[-1, :-1], turn[-1, -1] = np.asarray(first.inverse).T, -np.asarray(first.beta), 1.0
    chunks = _chunks(rows.offsets)
    pieces = max(1, min(threads, int(rows.offsets[-1]) // ROWS_PER_THREAD, len(chunks)))
    ends = np.linspace(0, len(chunks), pieces + 1).astype(int)
    groups = [chunks[a:b] for a, b in itertools.pairwise(ends)]
    # threads may write into one array where no data set is shared among them
    apart = all(a[-1].lane < b[0].lane for a, b in itertools.pairwise(groups))
    out = [zeros()] * pieces if apart else [zeros() for _ in groups]

    def work(j: int) -> None:
        known = _Known({}, {})
        for chunk in groups[j]:
            _add_chunk(rows, chunk, turn, tables, out[j], known)

    map_threads(work, pieces, threads)
    for ww, cubes in [] if apart else out[1:]:
        out[0][0][:] += ww
        for total, cube in zip(out[0][1], cubes, strict=True):
            total += cube
    return out[0]


def _add_chunk(
    rows: StackRows,
    chunk: _Chunk,
    turn: np.ndarray,
    tables: tuple[Table, ...],
    out: tuple[np.ndarray, list[np.ndarray]],
    known: _Known,
) -> None:
    """Add one chunk of rows to W'W and to the tables."""
    begin = rows.offsets[chunk.lane] + chunk.start
    end = rows.offsets[chunk.lane + chunk.n_lanes] if chunk.n_lanes > 1 else begin - chunk.start + chunk.stop
    n = int(end - begin)

    def part(column: np.ndarray) -> np.ndarray:
        if len(column) == rows.offsets[-1]:
            return column[begin:end]
        return column[chunk.start : chunk.stop] if chunk.n_lanes == 1 else np.tile(column, chunk.n_lanes)

    z = [column for columns in rows.z for column in columns]
    if n not in known.space:
        known.space[n] = (np.empty((len(turn), n)), *np.empty((2, len(z) + len(turn), n)))
    given, columns, products = known.space[n]
    for to, column in zip(given, (*rows.x, rows.y), strict=True):
        to[:] = part(column)
    for to, column in zip(columns, z, strict=False):
        to[:] = part(column)
    wcols = np.matmul(turn, given, out=columns[len(z) :])
    weights = None if rows.weights is None else part(rows.weights)
    weighted = wcols if weights is None else np.multiply(wcols, weights, out=given)
    cuts = rows.offsets[chunk.lane : chunk.lane + chunk.n_lanes + 1] - begin
    for j in range(chunk.n_lanes):
        own = slice(max(cuts[j], 0), cuts[j + 1])
        out[0][chunk.lane + j] += wcols[:, own] @ weighted[:, own].T
    for t, (table, cube) in enumerate(zip(tables, out[1], strict=True)):
        key = (t, chunk.n_lanes, chunk.start, chunk.stop)
        if key not in known.runs or len(rows.codes[t]) == rows.offsets[-1]:
            known.runs[key] = _find_runs(part(rows.codes[t]), cuts, table.size)
        lanes = cube[chunk.lane : chunk.lane + chunk.n_lanes]
        _add_table(lanes, table, known.runs[key], columns, weights, products, tuple(map(len, rows.z)))


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
    """Add Z_left' [Z_right ... (W)] of a chunk of rows to a table (lanes, q, r, size); columns are [Z ... W] by row."""
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
            cube[runs.lane, i, :, runs.level] += sums.T


def _finished(raw: np.ndarray, table: Table, turn: np.ndarray, scales: tuple[np.ndarray, ...]) -> np.ndarray:
    """Turn W and scale Z in a table (K, q, r, size), in place."""
    rights = np.concatenate([scales[g] for g in table.rights])
    raw /= scales[table.left][:, None, None]
    raw[:, :, : len(rights)] /= rights[:, None]
    if table.with_w:
        raw[:, :, len(rights) :] = turn.swapaxes(1, 2)[:, None] @ raw[:, :, len(rights) :]
    return raw


def map_threads(function: Callable[[int], Any], n: int, threads: int) -> list[Any]:
    """Call a function for 0 .. n - 1 on a pool of threads, in order."""
    if min(threads, n) == 1:
        return [function(k) for k in range(n)]
    with ThreadPoolExecutor(min(threads, n)) as pool:
        return list(pool.map(function, range(n)))


def build_stack(
    found: Conditioned,
    structure: Structure,
    tables: tuple[Table, ...],
    ancestors: tuple[tuple[np.ndarray, ...], ...],
    crossed: CrossedIndex | None,
) -> Stack:
    """Pad finished cross-products to the structure.

    Parameters
    ----------
    found : Conditioned
    structure : Structure
    tables : tuple of Table
        In the order of the cubes.
    ancestors : tuple of tuple of ndarray
        Chain: the ancestor of every level (see ``Index``).
    crossed : CrossedIndex or None

    Returns
    -------
    Stack
    """
    q, p = structure.q, found.ww.shape[1] - 1
    found = _pad_fixed(found, structure.n_fixed, tables)
    constant_ml = -found.log_w
    n_eliminated = structure.n_factors if crossed is None else 1
    values = Values(
        zz=tuple(host_leaf(np.ascontiguousarray(c[:, :, : q[f]])) for f, c in enumerate(found.cubes[:n_eliminated])),
        zr=tuple(host_leaf(np.ascontiguousarray(c[:, :, q[f] :])) for f, c in enumerate(found.cubes[:n_eliminated])),
        ww=host_leaf(found.ww),
        n_obs=host_leaf(found.n_obs),
        n_fixed=host_leaf(np.full(len(found.n_obs), float(p))),
        constant=host_leaf(constant_ml + np.asarray(found.rotation.log_det)),
        constant_ml=host_leaf(constant_ml),
        log_scale=host_leaf(2 * np.log(np.asarray(found.rotation.y_scale))),
    )
    if crossed is None:
        return Stack(structure, Index(tuple(tuple(host_leaf(a) for a in row) for row in ancestors)), values)
    return Stack(structure, crossed.index, _crossed_values(values, found.cubes, structure, tables, crossed))


def _pad_fixed(found: Conditioned, n_fixed: int, tables: tuple[Table, ...]) -> Conditioned:
    """Insert zero fixed columns with a unit diagonal before y: log 1 = 0 and beta = 0."""
    n_lanes, p = len(found.ww), found.ww.shape[1] - 1
    extra = n_fixed - p
    if not extra:
        return found
    ww = np.zeros((n_lanes, n_fixed + 1, n_fixed + 1))
    old = np.r_[np.arange(p), n_fixed]
    ww[:, old[:, None], old] = found.ww
    ww[:, np.arange(p, n_fixed), np.arange(p, n_fixed)] = 1.0
    cubes = tuple(
        np.concatenate([c[:, :, :-1], np.zeros((*c.shape[:2], extra, c.shape[3])), c[:, :, -1:]], axis=2)
        if t.with_w
        else c
        for c, t in zip(found.cubes, tables, strict=True)
    )
    return replace(found, ww=ww, cubes=cubes)


def _crossed_values(
    values: Values,
    cubes: Sequence[np.ndarray],
    structure: Structure,
    tables: tuple[Table, ...],
    crossed: CrossedIndex,
) -> Values:
    """Sort the tables of a crossed model into entries, the dense base and its W columns."""
    k, q, n_lanes = structure.n_factors, structure.q, values.n_obs.shape[0]
    assert crossed.index.keys is not None  # a crossed index has its arrays
    assert crossed.index.entry_col is not None
    base = np.zeros((n_lanes, len(crossed.index.keys)))
    entry = np.zeros((n_lanes, crossed.index.entry_col.shape[0], q[0]))
    dense_w, entries, source, cells = [], [], iter(crossed.base_source), iter(crossed.n_cells)
    for table, cube in zip(tables, cubes, strict=True):
        by_level = cube.transpose(0, 3, 1, 2)
        if table.with_w and table.left > 0:
            width = q[table.left]
            position, element = next(source)
            base[:, position] = by_level[..., :width].reshape(n_lanes, -1)[:, element]
            dense_w.append(by_level[..., width:].reshape(n_lanes, -1, structure.n_fixed + 1))
        elif table.left == 0 and not table.with_w:
            entries.append(by_level[:, : next(cells)].swapaxes(2, 3).reshape(n_lanes, -1, q[0]))
        elif not table.with_w:
            position, element = next(source)
            base[:, position] = by_level.reshape(n_lanes, -1)[:, element]
    assert len(dense_w) == k - 1  # one table per dense factor
    found = np.concatenate(entries, axis=1)
    entry[:, : found.shape[1]] = found[:, crossed.order]
    return replace(
        values, entry=host_leaf(entry), base=host_leaf(base), dense_w=host_leaf(np.concatenate(dense_w, axis=1))
    )
