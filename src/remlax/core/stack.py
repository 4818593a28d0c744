"""Stream the rows of every data set into one stack of conditioned cross-products."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array

from . import crossprod
from .batch import Stack
from .crossprod import Conditioning, Raw, Rotation, Rows, Table
from .pairs import CrossedIndex
from .structure import Index, Structure, Values, host_leaf
from .structure import grid as grid

ROWS_PER_CHUNK = 65_536
# below this a column is close enough to aliased that the cross-products cannot tell: look at the rows
SUSPICIOUS_PIVOT = 1e-5
ALIASED_PIVOT = 1e-7


@dataclass(frozen=True)
class LaneRows:
    """Rows of one data set on the host: x (n, p), y (n,), z per factor (n, q), codes per table (n,), weights."""

    x: np.ndarray
    y: np.ndarray
    z: tuple[np.ndarray, ...]
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


_gram = jax.jit(crossprod.gram)
_condition = jax.jit(crossprod.condition)
_add_rows = partial(jax.jit, static_argnames=("tables",), donate_argnums=0)(crossprod.add_rows)
_finish = partial(jax.jit, static_argnames=("q", "tables"))(crossprod.finish)


def _chunks(lane: LaneRows, *, tables: bool) -> Iterator[Rows]:
    """Weighted, zero-padded chunks of rows; codes and Z only where asked for."""
    n = len(lane.y)
    size = grid(n, 64) if n <= ROWS_PER_CHUNK else ROWS_PER_CHUNK
    for start in range(0, n, size):
        part = slice(start, min(start + size, n))
        root = None if lane.weights is None else np.sqrt(lane.weights[part])

        def padded(a: np.ndarray, part: slice = part, root: np.ndarray | None = root) -> np.ndarray:
            out = np.zeros((size, *a.shape[1:]), np.float64)
            piece = a[part]
            out[: len(piece)] = piece if root is None else (piece.T * root).T
            return out

        codes = []
        for code in lane.codes if tables else ():
            whole = np.zeros(size, np.int32)
            whole[: part.stop - part.start] = code[part]
            codes.append(host_leaf(whole))
        z = tuple(host_leaf(padded(a)) for a in lane.z) if tables else ()
        yield Rows(host_leaf(padded(lane.x)), host_leaf(padded(lane.y)), z, tuple(codes))


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


def condition_lane(
    lane: LaneRows, tables: tuple[Table, ...], q: tuple[int, ...], *, by_qr: bool = False
) -> Conditioned | None:
    """Form the conditioned cross-products of one data set, its rows read twice in chunks.

    Parameters
    ----------
    by_qr : bool, default False
        Condition by QR of the rows. Otherwise None comes back where X'X cannot tell whether X has full rank.

    Returns
    -------
    Conditioned or None
    """
    p = lane.x.shape[1]
    with jax.enable_x64(True):
        if by_qr:
            first = _qr_conditioning(lane)
        else:
            total: Array | float = 0.0
            for rows in _chunks(lane, tables=False):
                total = total + _gram(rows.x, rows.y)
            first = _condition(total)
            # written so that NaN counts as doubtful
            if not float(first.pivot) > SUSPICIOUS_PIVOT:
                return None
        raw: Raw = crossprod.start_raw(tables, q, p + 1, np.dtype(np.float64))
        for rows in _chunks(lane, tables=True):
            raw = _add_rows(raw, rows, first, tables)
        ww, cubes, rotation = _finish(raw, first, np.float64(len(lane.y)), q, tables)
        host: Any = jax.tree.map(np.asarray, (ww, cubes, rotation))
    log_w = 0.0 if lane.weights is None else float(np.sum(np.log(lane.weights)))
    return Conditioned(host[0], host[1], host[2], len(lane.y), log_w)


def map_lanes(function: Callable[[int], Any], n_lanes: int) -> list[Any]:
    """Call a function for every lane on a pool of threads, in order."""
    threads = min(os.cpu_count() or 1, n_lanes)
    if threads == 1:
        return [function(k) for k in range(n_lanes)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, range(n_lanes)))


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
