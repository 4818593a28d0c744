"""Pad the finished cross-products of every data set to one structure: the stack that is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .batch import Stack
from .conditioning import Conditioned
from .crossprod import Table
from .pairs import CrossedIndex
from .structure import Index, Structure, Values, host_leaf


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
