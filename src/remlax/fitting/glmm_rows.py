"""Rows of a generalised linear mixed model in tiles, stacked over the data sets: the batch that is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..design.build import ModelRows
from ..design.rows import RowArray, RowMatrix
from ..engine.conditioning import SUSPICIOUS_LOSS
from ..engine.shapes import bucket, host_leaf
from ..errors import DesignError
from ..glmm.families import Family
from ..glmm.problem import Glmm, GlmmRows, GlmmStructure
from .checks import independent_columns
from .layout import SMALL_WORK, Layout
from .responses.response import GlmmResponse
from .units import constant_of

# rows of a tile that are tried; a tile costs about as much as this many rows more
TILES = tuple(range(4, 33, 2))
TILE_COST = 4


@dataclass(frozen=True)
class Tiles:
    """Where the rows of one data set go.

    Parameters
    ----------
    row : ndarray of int (R, T)
        Row of every cell; that of padding is 0.
    filled : ndarray of bool (R, T)
        False for padding.
    level : ndarray of int (T,)
        Level of the first factor; padded tiles have the last one.
    """

    row: np.ndarray
    filled: np.ndarray
    level: np.ndarray


def tile_shape(counts: Sequence[np.ndarray]) -> tuple[int, int]:
    """Rows and number of tiles, padded, that waste the least, from the numbers of rows by level of every data set."""
    shapes = [(height, bucket(max(int(np.sum(-(-count // height))) for count in counts), 8)) for height in TILES]
    return min(shapes, key=lambda shape: (shape[0] + TILE_COST) * shape[1])


def make_tiles(codes: np.ndarray, height: int, n_tiles: int) -> Tiles:
    """Sort the rows of one data set by level, and cut every level into tiles.

    Parameters
    ----------
    codes : ndarray of int (n,)
        Level of every row.
    height : int
        Rows R of a tile.
    n_tiles : int
        Tiles T with padding.
    """
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[starts, len(codes)])
    tiles_of = -(-sizes // height)
    within = np.arange(len(codes)) - np.repeat(starts, sizes)
    first = np.repeat(np.cumsum(tiles_of) - tiles_of, sizes)
    row, filled = np.zeros((height, n_tiles), np.int64), np.zeros((height, n_tiles), bool)
    cell = within % height, first + within // height
    row[cell], filled[cell] = order, True
    level = np.full(n_tiles, ordered[-1], np.int32)
    level[: int(tiles_of.sum())] = np.repeat(ordered[starts], tiles_of)
    return Tiles(row, filled, level)


@dataclass(frozen=True)
class TilesOfSets:
    """Tiles of every data set, or of one where all have the same groups, and the arrays that they make of rows."""

    each: tuple[Tiles, ...]
    n_sets: int

    def tiles(self, k: int) -> Tiles:
        return self.each[k if len(self.each) > 1 else 0]

    def aligned(self, n_levels: int) -> bool:
        """Whether tile t holds level t, in every data set."""
        levels = np.arange(n_levels)
        return all(
            len(tiles.level) >= n_levels
            and np.array_equal(tiles.level[:n_levels], levels)
            and not tiles.filled[:, n_levels:].any()
            for tiles in self.each
        )

    def of(self, column: RowArray, dtype: type = np.float64) -> np.ndarray:
        """One column as (K, R, T)."""
        if len(self.each) == 1:
            tiles = self.each[0]
            values: np.ndarray = np.asarray(column.values, dtype)
            stacked = values.reshape(-1, values.size if column.offsets is None else values.size // self.n_sets)
            cells = np.where(tiles.filled, stacked[:, tiles.row], np.zeros((), dtype))
            return np.broadcast_to(cells, (self.n_sets, *tiles.row.shape))
        out = np.zeros((self.n_sets, *self.each[0].row.shape), dtype)
        for k, tiles in enumerate(self.each):
            out[k][tiles.filled] = column.of(k)[tiles.row[tiles.filled]]
        return out


def glmm_structure(
    rows: ModelRows, layout: Layout, cells: TilesOfSets, n_fixed: int, family: Family, n_quad: int
) -> GlmmStructure:
    """Return the compile key, its sizes padded."""
    small = rows.n_sets * sum(f.n_levels for f in layout.factors) <= SMALL_WORK
    first, *rest = layout.factors
    n_levels = [bucket(first.n_levels, 64, 0.5) if small else bucket(first.n_levels, 4)]
    n_levels += [bucket(f.n_levels, 8, 2) for f in rest]
    padded = bucket(n_fixed, 4, 1) if small else bucket(n_fixed)
    if aligned := cells.aligned(first.n_levels):
        n_levels[0] = cells.each[0].row.shape[1]
    return GlmmStructure(layout.structure.theta_map, tuple(n_levels), padded, family, n_quad, aligned)


def glmm_batch(
    rows: ModelRows,
    layout: Layout,
    cells: TilesOfSets,
    structure: GlmmStructure,
    columns: tuple[RowMatrix, Sequence[RowMatrix], Sequence[np.ndarray]],
    inverse: np.ndarray,
    response: GlmmResponse,
) -> Glmm:
    """Put the rows of all data sets into tiles.

    Parameters
    ----------
    rows : ModelRows
    layout : Layout
    cells : TilesOfSets
    structure : GlmmStructure
    columns : tuple
        Fixed columns in the model, columns of every term inside in the layout's order, and the scales of every factor.
    inverse : ndarray (K, p, p)
        What rotates the fixed columns.
    response : GlmmResponse
    """
    x, terms, scales = columns
    n_sets, p = rows.n_sets, inverse.shape[1]
    shape = (n_sets, *cells.each[0].row.shape)
    rotated = np.zeros((n_sets, structure.n_fixed, *shape[1:]))
    if p:
        given = np.stack([cells.of(_row_array(c, rows)) for c in x.columns()], axis=1)
        rotated[:, :p] = (inverse.swapaxes(1, 2) @ given.reshape(n_sets, p, -1)).reshape(n_sets, p, *shape[1:])
    z = []
    for f in range(len(layout.factors)):
        own = [
            c for term, matrix in zip(layout.terms, terms, strict=True) if term.factor == f for c in matrix.columns()
        ]
        z.append(np.stack([cells.of(_row_array(c, rows)) / s for c, s in zip(own, scales[f], strict=True)], axis=1))
    codes = [rows.factor_rows[source] for source in layout.factor_source]
    products = GlmmRows(
        x=host_leaf(rotated),
        z=tuple(map(host_leaf, z)),
        y=host_leaf(cells.of(response.y)),
        weight=host_leaf(cells.of(response.weight)),
        offset=host_leaf(np.zeros(shape) if rows.offset is None else cells.of(rows.offset)),
        tile_level=host_leaf(np.stack([cells.tiles(k).level for k in range(n_sets)])),
        codes=tuple(host_leaf(cells.of(c, np.int32)) for c in codes[1:]),
        padded=host_leaf(np.tile(np.r_[np.zeros(p), np.ones(structure.n_fixed - p)], (n_sets, 1))),
        n_obs=host_leaf(np.diff(rows.offsets).astype(np.float64)),
        constant=host_leaf(response.constant),
    )
    return Glmm(structure, products)


def _row_array(column: np.ndarray, rows: ModelRows) -> RowArray:
    """Column of a matrix, which may be as long as one data set."""
    return RowArray(column, None if len(column) < rows.offsets[-1] else rows.offsets)


def make_cells(rows: ModelRows, layout: Layout) -> TilesOfSets:
    """Cut the rows of all data sets into tiles."""
    first = rows.factor_rows[layout.factor_source[0]]
    sets = [0] if first.offsets is None else range(rows.n_sets)
    height, n_tiles = tile_shape([np.bincount(first.of(k), minlength=1) for k in sets])
    return TilesOfSets(tuple(make_tiles(first.of(k), height, n_tiles) for k in sets), rows.n_sets)


def fixed_columns(rows: ModelRows, response: GlmmResponse) -> tuple[np.ndarray, np.ndarray]:
    """Which fixed columns are in the model, and what makes them orthogonal with unit root mean square, (K, p, p).

    Raises
    ------
    DesignError
    """
    keep = np.arange(len(rows.fixed.names))
    inverse = _cholesky_rotations(rows.x, rows)
    if inverse is None:
        keep = independent_columns(rows, rows.x)
        inverse = _qr_rotations(rows.x.select(keep.tolist()), rows)
    if response.family.name == "ordinal":
        # the thresholds are its intercepts
        keep = np.array([j for j in keep if rows.fixed.names[j] != "Intercept"], dtype=int)
        x = rows.x.select(keep.tolist())
        if any(constant_of(x.of(k)) is not None for k in _sets(x, rows)):
            raise DesignError("an ordinal response has thresholds in place of an intercept: leave '0 +' out")
        inverse = _qr_rotations(x.minus(centre_of(x, response.family)), rows)
    p = len(keep)
    return keep, np.array(np.broadcast_to(inverse, (rows.n_sets, p, p)))


def centre_of(x: RowMatrix, family: Family) -> np.ndarray:
    """Means (K, p) of the fixed columns where thresholds take them up; zero of other families."""
    n_sets, p = len(x.offsets) - 1, len(x.place)
    if family.name != "ordinal":
        return np.zeros((n_sets, p))
    return np.stack([x.of(k).mean(axis=0) for k in range(n_sets)])


def _sets(x: RowMatrix, rows: ModelRows) -> range:
    """Data sets whose fixed columns differ; one where none do."""
    return range(rows.n_sets if x.differs else 1)


def _cholesky_rotations(x: RowMatrix, rows: ModelRows) -> np.ndarray | None:
    """By Cholesky factors of the cross-products; None where these cannot tell whether the columns are independent."""
    grams = np.stack([own.T @ own for own in (x.of(k) for k in _sets(x, rows))])
    n = np.array([rows.n_rows(k) for k in _sets(x, rows)], dtype=float)
    size = np.sqrt(np.einsum("kii->ki", grams))
    if not (size > 0).all():
        return None
    try:
        factor = np.linalg.cholesky(grams / size[:, :, None] / size[:, None, :])
    except np.linalg.LinAlgError:
        return None
    inverse = np.linalg.inv(factor).swapaxes(1, 2)
    if np.max(np.linalg.norm(inverse, axis=1), initial=0.0) > SUSPICIOUS_LOSS:
        return None
    out: np.ndarray = inverse / size[:, :, None] * np.sqrt(n)[:, None, None]
    return out


def _qr_rotations(x: RowMatrix, rows: ModelRows) -> np.ndarray:
    """By QR of the rows."""
    p = len(x.place)
    out = np.zeros((len(_sets(x, rows)), p, p))
    for k in _sets(x, rows) if p else ():
        own = x.of(k)
        out[k] = np.linalg.inv(np.linalg.qr(own, mode="r")) * np.sqrt(len(own))
    return out
