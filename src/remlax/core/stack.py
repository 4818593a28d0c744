"""Stream the rows of every data set into one stack of conditioned cross-products."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from scipy import sparse

from . import crossprod
from .batch import Stack
from .crossprod import Conditioning, Rotation, Table
from .pairs import CrossedIndex
from .structure import Index, Structure, Values, host_leaf
from .structure import grid as grid

ROWS_PER_CHUNK = 65_536
# below this a column is close enough to aliased that the cross-products cannot tell: look at the rows
SUSPICIOUS_PIVOT = 1e-5
ALIASED_PIVOT = 1e-7


@dataclass(frozen=True)
class LaneRows:
    """Rows of one data set on the host.

    x (n, p); y (n,); z per factor (n, q) with the scales (q,) that divide it; codes per table (n,); weights (n,).
    """

    x: np.ndarray
    y: np.ndarray
    z: tuple[np.ndarray, ...]
    z_scale: tuple[np.ndarray, ...]
    codes: tuple[np.ndarray, ...]
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class Conditioned:
    """Finished cross-products of one data set, before padding."""

    ww: np.ndarray
    cubes: tuple[np.ndarray, ...]
    rotation: Rotation
    n_obs: int
    log_w: float


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


def condition_lane(
    lane: LaneRows, tables: tuple[Table, ...], q: tuple[int, ...], *, by_qr: bool = False, threads: int = 1
) -> Conditioned | None:
    """Form the conditioned cross-products of one data set on the host, its rows read twice.

    Z is sparse with one entry per row and column, so that Z'[Z W] is a sparse product per column of Z.

    Parameters
    ----------
    by_qr : bool, default False
        Condition by QR of the rows. Otherwise None comes back where X'X cannot tell whether X has full rank.
    threads : int, default 1
        The rows are shared among so many threads.

    Returns
    -------
    Conditioned or None
    """
    first = _qr_conditioning(lane) if by_qr else _gram_conditioning(lane)
    if first is None:
        return None
    spans = _spans(len(lane.y), threads)
    parts = map_threads(lambda k: _accumulate(lane, spans[k], first, tables, q), len(spans), threads)
    raw_ww = sum(part[0] for part in parts)
    raw = [sum(cubes[1:], start=cubes[0]) for cubes in zip(*(part[1] for part in parts), strict=True)]
    ww, turn, rotation = crossprod.second_rotation(raw_ww, first, float(len(lane.y)), np)
    cubes = tuple(_finished(cube, table, turn, lane.z_scale) for cube, table in zip(raw, tables, strict=True))
    log_w = 0.0 if lane.weights is None else float(np.sum(np.log(lane.weights)))
    return Conditioned(ww, cubes, rotation, len(lane.y), log_w)


def _gram_conditioning(lane: LaneRows) -> Conditioning | None:
    """Condition by the cross-products; None where they cannot tell whether X has full rank."""
    x, y = lane.x, lane.y
    p = x.shape[1]
    total = np.empty((p + 1, p + 1))
    if lane.weights is None:
        total[:p, :p], total[:p, p], total[p, p] = x.T @ x, x.T @ y, y @ y
    else:
        weighted = x * lane.weights[:, None]
        total[:p, :p], total[:p, p], total[p, p] = weighted.T @ x, weighted.T @ y, (lane.weights * y) @ y
    total[p, :p] = total[:p, p]
    try:
        first = crossprod.condition(total, np)
    except np.linalg.LinAlgError:
        return None
    # written so that NaN counts as doubtful
    return first if float(first.pivot) > SUSPICIOUS_PIVOT else None


def _qr_conditioning(lane: LaneRows) -> Conditioning:
    """Condition by Householder QR of the rows: for X so ill-conditioned that its cross-products are not enough."""
    root = np.ones(len(lane.y)) if lane.weights is None else np.sqrt(lane.weights)
    x, y = lane.x * root[:, None], lane.y * root
    scale = np.sqrt(np.einsum("ij,ij->j", x, x))
    basis, r = np.linalg.qr(x / scale)
    inverse = np.linalg.inv(r) / scale[:, None]
    log_det = 2 * np.sum(np.log(np.abs(np.diag(r)) * scale))
    beta = inverse @ (basis.T @ y)
    return Conditioning(host_leaf(inverse), host_leaf(beta), host_leaf(log_det), host_leaf(1.0))


def _spans(n: int, threads: int) -> list[slice]:
    """Share n rows among threads, in pieces worth a thread."""
    pieces = max(1, min(threads, n // ROWS_PER_CHUNK))
    ends = np.linspace(0, n, pieces + 1).astype(int)
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]


def _accumulate(
    lane: LaneRows, span: slice, first: Conditioning, tables: tuple[Table, ...], q: tuple[int, ...]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """W'W and the tables (q, size, r) of a span of rows, chunk by chunk."""
    inverse, beta = np.asarray(first.inverse), np.asarray(first.beta)
    w = len(beta) + 1
    ww = np.zeros((w, w))
    cubes: list[np.ndarray] = []
    # every chunk makes a table of its own: no fewer rows than levels
    size = max(ROWS_PER_CHUNK, *(table.size for table in tables))
    pointer = np.arange(min(size, span.stop - span.start) + 1, dtype=np.int32)
    for start in range(span.start, span.stop, size):
        part = slice(start, min(start + size, span.stop))
        n = part.stop - part.start
        x, weights = lane.x[part], None if lane.weights is None else lane.weights[part]
        wcols = np.empty((n, w))
        np.matmul(x, inverse, out=wcols[:, :-1])
        wcols[:, -1] = lane.y[part] - x @ beta
        ww += wcols.T @ (wcols if weights is None else wcols * weights[:, None])
        for t, (table, codes) in enumerate(zip(tables, lane.codes, strict=True)):
            found = np.empty((q[table.left], table.size, sum(q[g] for g in table.rights) + w * table.with_w))
            columns = [lane.z[g][part] for g in table.rights] + [wcols] * table.with_w
            right = np.concatenate(columns, axis=1, out=np.empty((n, found.shape[2])))
            for i in range(q[table.left]):
                entries = lane.z[table.left][part, i]
                z_i = (entries if weights is None else entries * weights, codes[part], pointer[: n + 1])
                found[i] = sparse.csc_array(z_i, shape=(table.size, n)) @ right
            if start == span.start:
                cubes.append(found)
            else:
                cubes[t] += found
    return ww, cubes


def _finished(raw: np.ndarray, table: Table, turn: np.ndarray, scales: tuple[np.ndarray, ...]) -> np.ndarray:
    """Turn W and scale Z in a table (q, size, r); return it as (q, r, size)."""
    raw /= scales[table.left][:, None, None]
    rights = np.concatenate([scales[g] for g in table.rights])
    raw[:, :, : len(rights)] /= rights
    if table.with_w:
        raw[:, :, len(rights) :] = raw[:, :, len(rights) :] @ turn
    return np.ascontiguousarray(raw.swapaxes(1, 2))


def map_threads(function: Callable[[int], Any], n: int, threads: int) -> list[Any]:
    """Call a function for 0 .. n - 1 on a pool of threads, in order."""
    if min(threads, n) == 1:
        return [function(k) for k in range(n)]
    with ThreadPoolExecutor(min(threads, n)) as pool:
        return list(pool.map(function, range(n)))


def _pad_fixed(lane: Conditioned, n_fixed: int, tables: tuple[Table, ...]) -> Conditioned:
    """Insert zero fixed columns with a unit diagonal before y: log 1 = 0 and beta = 0."""
    p = lane.ww.shape[0] - 1
    extra = n_fixed - p
    if not extra:
        return lane
    ww = np.zeros((n_fixed + 1, n_fixed + 1))
    old = np.r_[np.arange(p), n_fixed]
    ww[np.ix_(old, old)] = lane.ww
    ww[np.arange(p, n_fixed), np.arange(p, n_fixed)] = 1.0
    cubes = tuple(
        np.concatenate([c[:, :-1], np.zeros((c.shape[0], extra, c.shape[2])), c[:, -1:]], axis=1) if t.with_w else c
        for c, t in zip(lane.cubes, tables, strict=True)
    )
    return replace(lane, ww=ww, cubes=cubes)


def build_stack(
    lanes: Sequence[Conditioned],
    structure: Structure,
    tables: tuple[Table, ...],
    ancestors: tuple[tuple[np.ndarray, ...], ...],
    crossed: CrossedIndex | None,
) -> Stack:
    """Pad finished lanes to the structure and stack them.

    Parameters
    ----------
    lanes : sequence of Conditioned
    structure : Structure
    tables : tuple of Table
        In the order of the lanes' cubes.
    ancestors : tuple of tuple of ndarray
        Chain: the ancestor of every level (see ``Index``).
    crossed : CrossedIndex or None

    Returns
    -------
    Stack
    """
    values = [
        _lane_values(_pad_fixed(lane, structure.n_fixed, tables), structure, tables, crossed, lane.ww.shape[0] - 1)
        for lane in lanes
    ]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *values)
    index = Index(tuple(tuple(host_leaf(a) for a in row) for row in ancestors)) if crossed is None else crossed.index
    return Stack(structure, index, stacked)


def _lane_values(
    lane: Conditioned, structure: Structure, tables: tuple[Table, ...], crossed: CrossedIndex | None, p: int
) -> Values:
    q = structure.q
    constant_ml = -lane.log_w
    values = Values(
        zz=tuple(host_leaf(c[:, : q[f]]) for f, c in enumerate(lane.cubes[: structure.n_factors])),
        zr=tuple(host_leaf(c[:, q[f] :]) for f, c in enumerate(lane.cubes[: structure.n_factors])),
        ww=host_leaf(lane.ww),
        n_obs=host_leaf(float(lane.n_obs)),
        n_fixed=host_leaf(float(p)),
        constant=host_leaf(constant_ml + float(lane.rotation.log_det)),
        constant_ml=host_leaf(constant_ml),
        log_scale=host_leaf(2 * np.log(float(lane.rotation.y_scale))),
    )
    if crossed is None:
        return values
    return _crossed_values(values, lane, structure, tables, crossed)


def _crossed_values(
    values: Values, lane: Conditioned, structure: Structure, tables: tuple[Table, ...], crossed: CrossedIndex
) -> Values:
    """Sort the tables of a crossed model into entries, the dense base and its W columns."""
    k, q = structure.n_factors, structure.q
    assert crossed.index.keys is not None  # a crossed index has its arrays
    assert crossed.index.entry_col is not None
    base = np.zeros(len(crossed.index.keys))
    entry = np.zeros((crossed.index.entry_col.shape[0], q[0]))
    dense_w, entries, source, cells = [], [], iter(crossed.base_source), iter(crossed.n_cells)
    for table, cube in zip(tables, lane.cubes, strict=True):
        by_level = np.moveaxis(cube, 2, 0)
        if table.with_w and table.left > 0:
            width = q[table.left]
            position, element = next(source)
            base[position] = by_level[:, :, :width].reshape(-1)[element]
            dense_w.append(by_level[:, :, width:].reshape(-1, structure.n_fixed + 1))
        elif table.left == 0 and not table.with_w:
            entries.append(np.swapaxes(by_level[: next(cells)], 1, 2).reshape(-1, q[0]))
        elif not table.with_w:
            position, element = next(source)
            base[position] = by_level.reshape(-1)[element]
    assert len(dense_w) == k - 1  # one table per dense factor
    found = np.concatenate(entries)
    entry[: len(found)] = found[crossed.order]
    return replace(
        values,
        zz=values.zz[:1],
        zr=values.zr[:1],
        entry=host_leaf(entry),
        base=host_leaf(base),
        dense_w=host_leaf(np.concatenate(dense_w)),
    )
