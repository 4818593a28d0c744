"""Glmm: one data set of a generalised linear mixed model, its rows in tiles.

Rows are sorted by the level of the first factor, and every level is cut into tiles of R rows, which are padded with
rows of weight zero. Arrays of rows are (..., R, T) with the T tiles last, so that sums over a tile are sums of
contiguous vectors, and only T sums have to find their levels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..kernels.problem import Stackable
from ..kernels.theta import ThetaMap
from ..priors.penalty import CoefficientPenalty
from ..shapes import Float, Int
from .families import Family

# effects or sums of rows by level, per factor (q, levels)
Effects = tuple[Array, ...]


class Blocks(NamedTuple):
    """A symmetric matrix over the random effects: block diagonal in the first factor, dense in the others.

    first (q, q, levels); cross (q, levels, dense); dense (dense, dense). Effects of the other factors stand one factor
    after the other, the levels of each column together.
    """

    first: Float[Array, "*k q q levels"]
    cross: Float[Array, "*k q levels dense"]
    dense: Float[Array, "*k dense dense"]


@dataclass(frozen=True)
class GlmmStructure:
    """The static shape of a model: the compile key, shared by all data sets.

    Parameters
    ----------
    theta_map : ThetaMap
    n_levels : tuple of int
        Padded number of levels per factor; the first has the most effects.
    n_fixed : int
        Padded number p of fixed columns.
    family : Family
    n_quad : int, default 1
        Points of adaptive Gauss-Hermite quadrature per column; 1 is the Laplace approximation.
    aligned : bool, default False
        Tile t holds all rows of level t of the first factor, in every data set.
    """

    theta_map: ThetaMap
    n_levels: tuple[int, ...]
    n_fixed: int
    family: Family
    n_quad: int = 1
    aligned: bool = False

    @property
    def q(self) -> tuple[int, ...]:
        """Random-effect columns per factor."""
        return self.theta_map.q

    @property
    def n_factors(self) -> int:
        """Number of grouping factors."""
        return len(self.q)

    @property
    def n_dense(self) -> int:
        """Order of the dense block: effects of all factors but the first."""
        return sum(q * levels for q, levels in zip(self.q[1:], self.n_levels[1:], strict=True))

    @property
    def n_parameters(self) -> int:
        """Entries of theta, coefficients and shape parameters."""
        return self.theta_map.n_theta + self.n_fixed + self.family.n_shape

    def dense_parts(self) -> list[tuple[int, int, int]]:
        """Return (start, q, levels) of each factor in the dense block."""
        out, start = [], 0
        for q, levels in zip(self.q[1:], self.n_levels[1:], strict=True):
            out.append((start, q, levels))
            start += q * levels
        return out


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GlmmRows:
    """The rows of one data set (a leading axis of data sets when stacked).

    Parameters
    ----------
    x : Array (p, R, T)
        Fixed columns, orthogonal with unit root mean square; padded columns are zero.
    z : tuple of Array (q, R, T)
        Random-effects columns of every factor.
    y, weight, offset : Array (R, T)
        Response (a proportion for k of n, the code of its level if ordinal), weight (times n), offset.
    tile_level : Array of int (T,)
        Level of the first factor of every tile.
    codes : tuple of Array of int (R, T)
        Levels of the other factors.
    padded : Array (p,)
        1 for padded fixed columns, 0 for the others.
    n_obs : Array, scalar
        Rows that are not padding.
    constant : Array, scalar
        What -2 log L has that depends on no parameter.
    prior : CoefficientPenalty, optional
        What a prior on the coefficients adds to -2 log L.
    """

    x: Float[Array, "*k p rows tiles"]
    z: tuple[Float[Array, "*k _q rows tiles"], ...]
    y: Float[Array, "*k rows tiles"]
    weight: Float[Array, "*k rows tiles"]
    offset: Float[Array, "*k rows tiles"]
    tile_level: Int[Array, "*k tiles"]
    codes: tuple[Int[Array, "*k rows tiles"], ...]
    padded: Float[Array, "*k p"]
    n_obs: Float[Array, "*k"]
    constant: Float[Array, "*k"]
    prior: CoefficientPenalty | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Glmm(Stackable):
    """One data set: what every kernel of a generalised linear mixed model takes.

    Parameters
    ----------
    structure : GlmmStructure
    products : GlmmRows
    index
        Nothing: every data set has its own rows and groups.
    """

    structure: GlmmStructure = field(metadata={"static": True})
    products: GlmmRows
    index: Any = ()

    def split(self, parameters: Array) -> tuple[Array, Array, Array]:
        """Theta (d,), coefficients (p,) and shape parameters of the parameters."""
        d, p = self.structure.theta_map.n_theta, self.structure.n_fixed
        return parameters[:d], parameters[d : d + p], parameters[d + p :]

    def fixed_rows(self, beta: Float[Array, " p"]) -> Float[Array, "rows tiles"]:
        """X beta + offset."""
        return self.products.offset + jnp.einsum("p,prt->rt", beta, self.products.x)

    def rows_of(self, effects: Effects) -> Float[Array, "rows tiles"]:
        """Z b of effects b, per factor (q, levels)."""
        rows = self.products
        out = jnp.sum(rows.z[0] * self._at_tiles(effects[0])[:, None], axis=0)
        for z, codes, own in zip(rows.z[1:], rows.codes, effects[1:], strict=True):
            out = out + jnp.sum(z * own[:, codes], axis=0)
        return out

    def at_rows(self, factor: int, values: Float[Array, " levels"]) -> Float[Array, "_rows tiles"]:
        """Values of the levels of one factor at every row, (1, T) for the first factor."""
        return self._at_tiles(values)[None] if factor == 0 else values[self.products.codes[factor - 1]]

    def _at_tiles(self, values: Float[Array, "*c levels"]) -> Float[Array, "*c tiles"]:
        return values if self.structure.aligned else values[..., self.products.tile_level]

    def by_level(self, rows: Float[Array, "rows tiles"]) -> Effects:
        """Z'r of rows r, per factor (q, levels)."""
        return (self.first_levels(jnp.sum(self.products.z[0] * rows[None], axis=1)), *self._other_levels(rows))

    def _other_levels(self, rows: Float[Array, "rows tiles"]) -> list[Array]:
        """Z'r of all factors but the first."""
        given, levels = self.products, self.structure.n_levels
        return [
            _summed(z * rows[None], codes, n) for z, codes, n in zip(given.z[1:], given.codes, levels[1:], strict=True)
        ]

    def first_levels(self, tiles: Float[Array, "*c tiles"]) -> Float[Array, "*c levels"]:
        """Sums of tiles (..., T) over the levels of the first factor."""
        if self.structure.aligned:
            return tiles
        return _summed(tiles[..., None, :], self.products.tile_level[None], self.structure.n_levels[0])

    def weighted_squares(self, weight: Float[Array, "rows tiles"]) -> Blocks:
        """Z'WZ."""
        z = self.products.z[0]
        return self._squares(self.first_levels(jnp.sum(z[:, None] * (z * weight[None])[None], axis=2)), weight)

    def sums(
        self, score: Float[Array, "rows tiles"], weight: Float[Array, "rows tiles"], value: Float[Array, "rows tiles"]
    ) -> tuple[Effects, Blocks, Float[Array, " levels"]]:
        """Z's, Z'WZ, and the sums of v over the levels of the first factor, which are found for all at once."""
        z = self.products.z[0]
        q = z.shape[0]
        columns = jnp.concatenate(
            [value[None], z * score[None], (z[:, None] * z[None]).reshape(q * q, *score.shape) * weight[None]]
        )
        found = self.first_levels(jnp.sum(columns, axis=1))
        first, squares = found[1 : q + 1], found[q + 1 :].reshape(q, q, -1)
        return (first, *self._other_levels(score)), self._squares(squares, weight), found[0]

    def _squares(self, first: Float[Array, "q q levels"], weight: Float[Array, "rows tiles"]) -> Blocks:
        """Z'WZ with the blocks of the first factor."""
        rows, s = self.products, self.structure
        z = rows.z[0]
        if not s.n_dense:
            q, levels = z.shape[0], s.n_levels[0]
            return Blocks(first, jnp.zeros((q, levels, 0), z.dtype), jnp.zeros((0, 0), z.dtype))
        cross = [
            _pairs(z, rows.z[f] * weight[None], rows.tile_level[None], rows.codes[f - 1], s.n_levels[0], s.n_levels[f])
            for f in range(1, s.n_factors)
        ]
        return Blocks(first, jnp.concatenate(cross, axis=-1), self._dense_squares(weight))

    def _dense_squares(self, weight: Array) -> Array:
        rows, s = self.products, self.structure
        parts = s.dense_parts()
        grid: list[list[Array]] = [[] for _ in parts]
        for f, (_, q, n) in enumerate(parts):
            for g, (_, other_q, m) in enumerate(parts):
                left, right = rows.z[f + 1], rows.z[g + 1] * weight[None]
                if g < f:
                    block = grid[g][f].T
                elif g == f:
                    own = _summed(left[:, None] * right[None], rows.codes[f], n)
                    block = (
                        (own[:, :, :, None] * jnp.eye(n, dtype=own.dtype)[None, None])
                        .swapaxes(1, 2)
                        .reshape(q * n, q * n)
                    )
                else:
                    block = _pairs(left, right, rows.codes[f], rows.codes[g], n, m).reshape(q * n, other_q * m)
                grid[f].append(block)
        return jnp.concatenate([jnp.concatenate(line, axis=1) for line in grid])


def _summed(rows: Array, codes: Array, n: int) -> Array:
    """Sum rows (..., R, T) by their codes (R, T): (..., n)."""
    flat = rows.reshape(-1, rows.shape[-2] * rows.shape[-1])
    out = jax.ops.segment_sum(flat.T, codes.reshape(-1), n)
    return out.T.reshape(*rows.shape[:-2], n)


def _pairs(left: Array, right: Array, left_codes: Array, right_codes: Array, n: int, m: int) -> Array:
    """Sums of products of columns (q, R, T) and (r, R, T) by pairs of levels: (q, n, r m)."""
    q, r = left.shape[0], right.shape[0]
    summed = _summed(left[:, None] * right[None], left_codes * m + right_codes, n * m)
    return summed.reshape(q, r, n, m).swapaxes(1, 2).reshape(q, n, r * m)


def scaled(lams: tuple[Array, ...], squares: Blocks, structure: GlmmStructure) -> Blocks:
    """Lambda' S Lambda of a symmetric matrix S."""
    first = jnp.einsum("ki,kml,mj->ijl", lams[0], squares.first, lams[0])
    if not structure.n_dense:
        return squares._replace(first=first)
    cross = _times_dense(jnp.einsum("ki,kld->ild", lams[0], squares.cross), lams, structure)
    half = _times_dense(squares.dense, lams, structure)
    return Blocks(first, cross, _times_dense(half.T, lams, structure))


def _times_dense(rows: Array, lams: tuple[Array, ...], structure: GlmmStructure) -> Array:
    """Multiply (..., dense) by Lambda of the dense factors."""
    out = []
    for (start, q, levels), lam in zip(structure.dense_parts(), lams[1:], strict=True):
        part = rows[..., start : start + q * levels].reshape(*rows.shape[:-1], q, levels)
        out.append(jnp.einsum("...il,ij->...jl", part, lam).reshape(*rows.shape[:-1], q * levels))
    return jnp.concatenate(out, axis=-1)


def times(lams: tuple[Array, ...], effects: Effects) -> Effects:
    """Lambda u."""
    return tuple(lam @ own for lam, own in zip(lams, effects, strict=True))


def times_transposed(lams: tuple[Array, ...], effects: Effects) -> Effects:
    """Lambda' s."""
    return tuple(lam.T @ own for lam, own in zip(lams, effects, strict=True))


def flat_dense(effects: Effects, dtype: Any) -> Float[Array, " dense"]:
    """Effects of the dense factors as one vector."""
    parts = [own.reshape(-1) for own in effects[1:]]
    return jnp.concatenate(parts) if parts else jnp.zeros(0, dtype)


def unflat_dense(first: Array, dense: Array, structure: GlmmStructure) -> Effects:
    """Effects per factor from those of the first one and a vector of the others."""
    rest = [dense[start : start + q * levels].reshape(q, levels) for start, q, levels in structure.dense_parts()]
    return (first, *rest)


def zero_effects(structure: GlmmStructure, dtype: Any) -> Effects:
    """Effects that are all zero."""
    return tuple(jnp.zeros((q, n), dtype) for q, n in zip(structure.q, structure.n_levels, strict=True))


def theta_places(theta_map: ThetaMap) -> list[tuple[int, int, int]]:
    """Return (factor, row, column) of every entry of theta."""
    return list(zip(theta_map.factor, theta_map.row, theta_map.col, strict=True))


def theta_tangents(structure: GlmmStructure, dtype: Any) -> tuple[Float[Array, "parameters q q"], ...]:
    """Derivatives of Lambda of every factor in all parameters, (parameters, q, q)."""
    rest = structure.n_parameters - structure.theta_map.n_theta
    maps = structure.theta_map.maps()
    return tuple(jnp.asarray(np.concatenate([m, np.zeros((rest, *m.shape[1:]))]), dtype) for m in maps)
