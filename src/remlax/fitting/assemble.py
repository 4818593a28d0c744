"""From row arrays to a stack of cross-products, with everything needed to go back to the user's units."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..design.build import ModelRows
from ..design.rows import RowArray
from ..engine.batch import Batch
from ..engine.conditioning import Conditioned, condition_rows
from ..engine.rows import HostColumns
from ..errors import DataError
from .checks import check_groups, check_magnitudes, independent_columns
from .estimable import Ties, find_ties
from .layout import Layout, make_layout

# rows of a data set from which a thread for each core pays
LONG = 30_000
# range of a response relative to its mean below which it is rounding error to a large part
FEW_DIGITS = 1e-11
# size of a coefficient beyond which its variance overflows
COEFFICIENT = 1e140


@dataclass(frozen=True)
class Assembled:
    """A stack and the scales that conditioning took out.

    Parameters
    ----------
    rows : ModelRows
    layout : Layout
    batch : Batch
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
    batch: Batch
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

    @property
    def term_names(self) -> dict[str, list[str]]:
        """Coefficients in the model of every term of the fixed part that has some."""
        kept, names = set(self.keep.tolist()), self.rows.fixed.names
        found = {term: [names[j] for j in at if j in kept] for term, at in self.rows.fixed.term_columns.items()}
        return {term: own for term, own in found.items() if own}

    @cached_property
    def ties(self) -> Ties:
        """How the columns left out follow from the others.

        Every data set has the rank of all together (`independent_columns`), so that all have one row space.
        """
        full = len(self.keep) == len(self.rows.fixed.names)
        return find_ties(np.zeros((0, 0)) if full else self.rows.x.values, self.keep, self.rows.fixed.names)


# columns that cannot be divided by their size are found by what comes of it
@np.errstate(all="ignore")
def assemble(rows: ModelRows, *, reml: bool, keep: np.ndarray | None = None) -> Assembled:
    """Stream the rows of all data sets into one stack.

    Parameters
    ----------
    rows : ModelRows
    reml : bool
    keep : ndarray of int, optional
        Columns of the fixed part in the model, where it is known that they are independent in every data set.

    Raises
    ------
    DesignError, DataError, ModelSizeError
    """
    check_magnitudes(rows)
    check_groups(rows)
    layout = make_layout(rows, reml=reml)
    scales = _z_scales(rows, layout)
    known = keep is not None
    keep = np.arange(len(rows.fixed.names)) if keep is None else keep
    found = _conditioned(rows, layout, scales, keep)
    if found is None:
        keep = keep if known else independent_columns(rows)
        found = _conditioned(rows, layout, scales, keep, by_qr=True)
    return _assembled(rows, layout, scales, keep, found)


def assemble_as(model: Assembled, rows: ModelRows) -> Assembled:
    """Stream other rows of the same columns and groups into a stack like that of a model.

    Raises
    ------
    DataError
    """
    check_magnitudes(rows)
    found = _conditioned(rows, model.layout, model.z_scale, model.keep)
    if found is None:
        found = _conditioned(rows, model.layout, model.z_scale, model.keep, by_qr=True)
    return _assembled(rows, model.layout, model.z_scale, model.keep, found)


def _conditioned(
    rows: ModelRows, layout: Layout, scales: tuple[np.ndarray, ...], keep: np.ndarray, *, by_qr: bool = False
) -> Conditioned | None:
    """Cross-products in well-conditioned coordinates; None where that needs QR."""
    # threads pay where each of the calls between which Python holds its lock takes long
    threads = (os.cpu_count() or 1) if rows.offsets[-1] >= LONG * rows.n_lanes else 1
    named = host_columns(rows, layout, scales, keep)
    return condition_rows(named, layout.tables, layout.structure.q, by_qr=by_qr, threads=threads)


def _assembled(
    rows: ModelRows, layout: Layout, scales: tuple[np.ndarray, ...], keep: np.ndarray, found: Conditioned | None
) -> Assembled:
    assert found is not None  # QR always conditions
    _check_residual(rows, found)
    _check_units(rows, keep, found)
    map_ = layout.structure.theta_map
    return Assembled(
        rows=rows,
        layout=layout,
        batch=layout.assembly.batch(found, layout.tables),
        keep=keep,
        theta_scale=np.array([scales[f][i] for f, i in zip(map_.factor, map_.row, strict=True)]),
        z_scale=scales,
        inverse=np.asarray(found.rotation.inverse),
        ols=np.asarray(found.rotation.ols),
        y_scale=np.asarray(found.rotation.y_scale),
    )


def host_columns(rows: ModelRows, layout: Layout, scales: tuple[np.ndarray, ...], keep: np.ndarray) -> HostColumns:
    """Name the columns of all data sets; nothing is copied unless there is an offset."""
    z: list[list[np.ndarray]] = [[] for _ in layout.factors]
    for term in layout.terms:
        z[term.factor] += rows.terms[term.source].rows.columns()
    x = rows.x.columns()
    return HostColumns(
        offsets=rows.offsets,
        x=tuple(x[j] for j in keep),
        y=rows.y.values if rows.offset is None else rows.y.minus(rows.offset),
        z=tuple(map(tuple, z)),
        z_scale=scales,
        codes=layout.table_codes,
        weights=None if rows.weights is None else rows.weights.values,
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
        columns = rows.terms[term.source].rows.columns()
        # BLAS would start threads for this
        rms = [np.sqrt(np.einsum("i,i->", column, column) / len(column)) for column in columns]
        for name, size in zip(term.names, rms, strict=True):
            if not size > 0:
                raise DataError(f"the random-effects column {name!r} of ({name} | {term.group}) is zero in every row")
        out[term.factor][term.columns] = rms
    return tuple(out)


def _check_residual(rows: ModelRows, found: Conditioned) -> None:
    """Refuse a response that the fixed part explains without remainder."""
    squares = rows.y.values**2
    if rows.weights is not None:
        squares = RowArray(squares, rows.y.offsets).times(rows.weights)
    shared = len(squares) < rows.offsets[-1]
    totals = np.sum(squares) if shared else np.add.reduceat(squares, rows.offsets[:-1])
    sizes = np.sqrt(totals / np.diff(rows.offsets))
    for k in np.flatnonzero(~(np.asarray(found.rotation.y_scale) > 1e-13 * sizes)):
        where = f" in imputation {rows.labels[k]}" if rows.n_lanes > 1 else ""
        y = rows.y.lane(int(k))
        spread, middle = float(np.ptp(y)), float(np.mean(y))
        if 0 < spread < FEW_DIGITS * abs(middle):
            raise DataError(
                f"the response {rows.formula.response!r} has a mean of {middle:.3g} and a range of {spread:.3g}{where}"
                ", for which double precision has too few digits: subtract a constant before they are lost"
            )
        raise DataError(
            f"the fixed part explains the response {rows.formula.response!r} exactly{where}: there is no residual "
            "variance to estimate"
        )


def _check_units(rows: ModelRows, keep: np.ndarray, found: Conditioned) -> None:
    """Refuse units of response and columns that together take variances of coefficients out of double precision."""
    rotation = found.rotation
    size = np.abs(np.einsum("kii->ki", rotation.inverse)) * np.asarray(rotation.y_scale)[:, None]
    for k, j in np.argwhere((size > COEFFICIENT) | (size < 1 / COEFFICIENT)).tolist():
        where = f" in imputation {rows.labels[k]}" if rows.n_lanes > 1 else ""
        raise DataError(
            f"the coefficient of {rows.fixed.names[keep[j]]!r} is of the order of {size[k, j]:.0e}{where}, which "
            f"double precision cannot square: change its unit, or that of the response {rows.formula.response!r}"
        )
