"""Pad the finished cross-products of every data set to one structure: the batch that is fitted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from ..kernels.cross_products import Table
from ..kernels.crossed import Crossed, CrossedProducts
from ..kernels.dense import CrossedStructure
from ..kernels.nested import Nested
from ..kernels.problem import CrossProducts, Structure
from .batch import Batch
from .conditioning import Conditioned
from .pairs import Meetings
from .shapes import host_leaf

Index = tuple[tuple[np.ndarray, ...], ...] | Meetings


def make_batch(finished: Conditioned, structure: Structure, tables: tuple[Table, ...], index: Index) -> Batch:
    """Pad finished cross-products, whose cubes stand in the order of the tables, to the structure.

    Parameters
    ----------
    finished : Conditioned
    structure : Structure
    tables : tuple of Table
    index : tuple or Meetings
        The index of `Nested`, or which levels of crossed factors meet.
    """
    if isinstance(index, Meetings):
        assert isinstance(structure, CrossedStructure)
        return _crossed(finished, structure, tables, index)
    products = _products(finished, structure, tables)[0]
    return Batch(Nested(structure, products, cast(Any, index)))  # NumPy arrays, as in the products


def _crossed(
    finished: Conditioned, structure: CrossedStructure, tables: tuple[Table, ...], meetings: Meetings
) -> Batch:
    """Sort the tables into entries, the dense base and its W columns."""
    products, cubes = _products(finished, structure, tables, eliminated=1)
    q, n_sets = structure.q, len(finished.n_obs)
    base = np.zeros((n_sets, len(meetings.index.keys)))
    entry = np.zeros((n_sets, meetings.index.entry_col.shape[0], q[0]))
    dense_w, entries, source, cells = [], [], iter(meetings.base_source), iter(meetings.n_cells)
    for table, cube in zip(tables, cubes, strict=True):
        by_level = cube.transpose(0, 3, 1, 2)
        if table.with_w and table.left > 0:
            width = q[table.left]
            position, element = next(source)
            base[:, position] = by_level[..., :width].reshape(n_sets, -1)[:, element]
            dense_w.append(by_level[..., width:].reshape(n_sets, -1, structure.n_fixed + 1))
        elif table.left == 0 and not table.with_w:
            entries.append(by_level[:, : next(cells)].swapaxes(2, 3).reshape(n_sets, -1, q[0]))
        elif not table.with_w:
            position, element = next(source)
            base[:, position] = by_level.reshape(n_sets, -1)[:, element]
    flat = np.concatenate(entries, axis=1)
    entry[:, : flat.shape[1]] = flat[:, meetings.order]
    with_block = CrossedProducts(
        **vars(products),
        entry=host_leaf(entry),
        base=host_leaf(base),
        dense_w=host_leaf(np.concatenate(dense_w, axis=1)),
    )
    return Batch(Crossed(structure, with_block, meetings.index))


def _products(
    finished: Conditioned, structure: Structure, tables: tuple[Table, ...], eliminated: int | None = None
) -> tuple[CrossProducts, tuple[np.ndarray, ...]]:
    """Products of the eliminated factors (all of them unless given), and all cubes, padded."""
    q, p = structure.q, finished.ww.shape[1] - 1
    padded = _pad_fixed(finished, structure.n_fixed, tables)
    constant_ml = -padded.log_w
    cubes = padded.cubes[: structure.n_factors if eliminated is None else eliminated]
    host: dict[str, Any] = {  # NumPy arrays stay on the host until a compiled program takes them
        "zz": tuple(np.ascontiguousarray(c[:, :, : q[f]]) for f, c in enumerate(cubes)),
        "zr": tuple(np.ascontiguousarray(c[:, :, q[f] :]) for f, c in enumerate(cubes)),
        "ww": padded.ww,
        "n_obs": padded.n_obs,
        "n_fixed": np.full(len(padded.n_obs), float(p)),
        "constant": constant_ml + np.asarray(padded.rotation.log_det),
        "constant_ml": constant_ml,
        "log_scale": 2 * np.log(np.asarray(padded.rotation.y_scale)),
    }
    return CrossProducts(**host), padded.cubes


def _pad_fixed(found: Conditioned, n_fixed: int, tables: tuple[Table, ...]) -> Conditioned:
    """Insert zero fixed columns with a unit diagonal before y: log 1 = 0 and beta = 0."""
    n_sets, p = len(found.ww), found.ww.shape[1] - 1
    extra = n_fixed - p
    if not extra:
        return found
    ww = np.zeros((n_sets, n_fixed + 1, n_fixed + 1))
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
