"""From row arrays to a stack of cross-products, with everything needed to go back to the user's units."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from ..core.batch import Stack
from ..core.stack import Conditioned, LaneRows, build_stack, condition_lane, map_threads
from ..design.build import ModelRows
from ..errors import DataError
from .checks import check_groups, check_magnitudes, independent_columns
from .layout import Layout, make_layout

# rows of a data set from which its cross-products are worth a thread
LONG = 30_000


@dataclass(frozen=True)
class Assembled:
    """A stack and the scales that conditioning took out.

    Parameters
    ----------
    rows : ModelRows
    layout : Layout
    stack : Stack
    keep : ndarray of int
        Fixed-effect columns in the model (aliased ones are left out).
    theta_scale : ndarray (d,)
        Internal theta = user's theta times this.
    z_scale : tuple of ndarray (q,)
        Root mean square of each random-effects column, per factor.
    inverse : ndarray (K, p, p)
        beta = ols + inverse @ gamma * y_scale.
    ols : ndarray (K, p)
    y_scale : ndarray (K,)
    """

    rows: ModelRows
    layout: Layout
    stack: Stack
    keep: np.ndarray
    theta_scale: np.ndarray
    z_scale: tuple[np.ndarray, ...]
    inverse: np.ndarray
    ols: np.ndarray
    y_scale: np.ndarray

    @property
    def fixed_names(self) -> list[str]:
        """Names of the coefficients in the model."""
        return [self.rows.fixed.names[j] for j in self.keep]


def assemble(rows: ModelRows, *, reml: bool) -> Assembled:
    """Stream the rows of all data sets into one stack.

    Raises
    ------
    DesignError, DataError, ModelSizeError
    """
    check_magnitudes(rows)
    check_groups(rows)
    layout = make_layout(rows, reml=reml)
    scales = _z_scales(rows, layout)
    keep = np.arange(len(rows.fixed.names))

    def condition(k: int, *, by_qr: bool = False) -> Conditioned | None:
        lane = lane_rows(rows, layout, scales, keep, k)
        return condition_lane(lane, layout.tables, layout.structure.q, by_qr=by_qr, threads=threads)

    # threads pay where each of the calls between which Python holds its lock takes long
    long = rows.offsets[-1] >= LONG * rows.n_lanes
    cores = (os.cpu_count() or 1) if long else 1
    threads = cores if rows.n_lanes == 1 else 1
    lanes = map_threads(condition, rows.n_lanes, cores)
    doubtful = [k for k, lane in enumerate(lanes) if lane is None]
    if doubtful:
        keep = independent_columns(rows)
        again = range(rows.n_lanes) if len(keep) < len(rows.fixed.names) else doubtful
        for k in again:
            lanes[k] = condition(k) or condition(k, by_qr=True)
    _check_residual(rows, lanes)
    stack = build_stack(lanes, layout.structure, layout.tables, layout.ancestors, layout.crossed)
    map_ = layout.structure.theta_map
    return Assembled(
        rows=rows,
        layout=layout,
        stack=stack,
        keep=keep,
        theta_scale=np.array([scales[f][i] for f, i in zip(map_.factor, map_.row, strict=True)]),
        z_scale=scales,
        inverse=np.stack([lane.rotation.inverse for lane in lanes]),
        ols=np.stack([lane.rotation.ols for lane in lanes]),
        y_scale=np.stack([lane.rotation.y_scale for lane in lanes]),
    )


def lane_rows(rows: ModelRows, layout: Layout, scales: tuple[np.ndarray, ...], keep: np.ndarray, k: int) -> LaneRows:
    """Gather the rows of one data set, random-effects columns scaled."""
    x = rows.x.lane(k)
    y = rows.y.lane(k)
    if rows.offset is not None:
        y = y - rows.offset.lane(k)
    shared = all(f.offsets is None for f in rows.factor_rows)
    part = slice(None) if shared else slice(rows.offsets[k], rows.offsets[k + 1])
    return LaneRows(
        x=x if len(keep) == x.shape[1] else x[:, keep],
        y=y,
        z=tuple(z_columns(rows, layout, k)),
        z_scale=scales,
        codes=tuple(codes[part] for codes in layout.table_codes),
        weights=None if rows.weights is None else rows.weights.lane(k),
    )


def z_columns(rows: ModelRows, layout: Layout, k: int) -> list[np.ndarray]:
    """Random-effects columns of one data set per factor, in elimination order and the user's units."""
    parts: list[list[np.ndarray]] = [[] for _ in layout.factors]
    for term in layout.terms:
        parts[term.factor].append(rows.terms[term.source].rows.lane(k))
    return [np.concatenate(p, axis=1) if len(p) > 1 else p[0] for p in parts]


def _z_scales(rows: ModelRows, layout: Layout) -> tuple[np.ndarray, ...]:
    """Root mean square of each random-effects column over all data sets.

    Raises
    ------
    DataError
        A column is zero everywhere.
    """
    out = [np.ones(q) for q in layout.structure.q]
    for term in layout.terms:
        values = rows.terms[term.source].rows.values
        rms = np.sqrt(np.einsum("ij,ij->j", values, values) / len(values))
        for name, size in zip(term.names, rms, strict=True):
            if not size > 0:
                raise DataError(f"the random-effects column {name!r} of ({name} | {term.group}) is zero in every row")
        out[term.factor][term.columns] = rms
    return tuple(out)


def _check_residual(rows: ModelRows, lanes: list[Conditioned]) -> None:
    """Refuse a response that the fixed part explains without remainder."""
    for k, lane in enumerate(lanes):
        y = rows.y.lane(k)
        squares = y * y if rows.weights is None else rows.weights.lane(k) * y * y
        if not float(lane.rotation.y_scale) > 1e-13 * float(np.sqrt(np.mean(squares))):
            where = f" in imputation {rows.labels[k]}" if rows.n_lanes > 1 else ""
            raise DataError(
                f"the fixed part explains the response {rows.formula.response!r} exactly{where}: there is no residual "
                "variance to estimate"
            )
