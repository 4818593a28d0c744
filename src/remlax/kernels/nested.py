"""Nested: one grouping factor, or factors each of which is nested in the next, eliminated one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..shapes import Float, Int
from .blocks import apply_levels, eliminate_levels, eliminate_near, level_roots, sum_by_level
from .nested_derivatives import Stage, nested_derivatives
from .posterior import Elimination
from .problem import Border, CrossProducts, Expansion, Problem, Structure, own_effects, repeat_zy
from .theta import mapped_factors, reversed_columns

if TYPE_CHECKING:
    from .posterior import RowMoments, Rows

Eliminate = Callable[[Array, int], tuple[Array, Array]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Nested(Problem[Structure, CrossProducts]):
    """A data set with one grouping factor, or with several of which each is nested in the next.

    Parameters
    ----------
    structure : Structure
    products : CrossProducts
    index : tuple of tuple of integer Array
        ``index[f][g - f - 1][l]`` is the level of factor g that holds level l of factor f; empty for one factor.
    """

    structure: Structure = field(metadata={"static": True})
    products: CrossProducts
    index: tuple[tuple[Array, ...], ...] = ()

    def marginal(
        self, lams: tuple[Float[Array, "_q _q"], ...], *, lower: bool = True
    ) -> tuple[Float[Array, ""], Float[Array, "w w"]]:
        """Eliminate the factors, finest first; see `Problem`."""
        return self._eliminated(lambda zz, f: eliminate_levels(zz, lams[f], lower=lower))[1:]

    def marginal_near(
        self, lams: tuple[Float[Array, "_q _q"], ...], es: tuple[Float[Array, "_q _q"], ...]
    ) -> tuple[Float[Array, ""], Float[Array, "w w"]]:
        """See `Problem`."""
        return self._eliminated(lambda zz, f: eliminate_near(zz, lams[f], es[f]))[1:]

    def _eliminated(self, eliminate: Eliminate) -> tuple[list[Stage], Array, Array]:
        """Every factor at its elimination, log|V| and M."""
        zz, zr = list(self.products.zz), list(self.products.zr)
        w = self.structure.n_fixed + 1
        m, total = self.products.ww, jnp.zeros((), self.products.ww.dtype)
        stages: list[Stage] = []
        for f in range(self.structure.n_factors):
            cond_var, logdet = eliminate(zz[f], f)
            total = total + logdet
            solved = apply_levels(cond_var, zr[f])
            stages.append(Stage(zz[f], zr[f], cond_var, solved))
            self._update(zz, zr, f, solved)
            m = m - jnp.einsum("kal,kbl->ab", zr[f][:, -w:], solved[:, -w:])
        return stages, total, m

    def _update(self, zz: list[Array], zr: list[Array], f: int, solved: Array) -> None:
        """Take an eliminated factor out of the coarser ones, each level out of the level that holds it."""
        for g, (start, stop) in self.coarser(f):
            update = apply_levels(jnp.swapaxes(zr[f][:, start:stop], 0, 1), solved[:, start:])
            summed = sum_by_level(update, self.index[f][g - f - 1], self.structure.n_levels[g])
            q = stop - start
            zz[g], zr[g] = zz[g] - summed[:, :q], zr[g] - summed[:, q:]

    def coarser(self, f: int) -> list[tuple[int, tuple[int, int]]]:
        """Coarser factors, and where their columns begin and end in ``zr[f]``."""
        edges = accumulate(self.structure.q[f + 1 :], initial=0)
        return list(zip(range(f + 1, self.structure.n_factors), pairwise(edges), strict=True))

    def expansion(
        self,
        theta: Float[Array, " d"],
        maps: tuple[Float[Array, "d _q _q"], ...],
        border_of: Callable[[Array], Border],
        *,
        hessian: bool,
        lower: bool = True,
    ) -> Expansion:
        """See `nested_derivatives`."""
        lams = mapped_factors(theta, maps)
        stages, logdet, m = self._eliminated(lambda zz, f: eliminate_levels(zz, lams[f], lower=lower))
        return nested_derivatives(lams, maps, logdet, m, border_of(m), stages, self, hessian=hessian)

    def column_sums(self) -> list[tuple[Float[Array, "_q _levels"], Float[Array, "_q _levels"]]]:
        """See `Problem`."""
        both = zip(self.products.zz, self.products.zr, strict=True)
        return [(jnp.diagonal(zz, axis1=0, axis2=1).T, zr[:, -1]) for zz, zr in both]

    def random_parts(self) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Z'W (q, w, levels) and Z'Z (q, q, levels) per factor."""
        w = self.structure.n_fixed + 1
        return tuple(part[:, -w:] for part in self.products.zr), self.products.zz

    def with_random_parts(self, zw: tuple[Array, ...], zz: tuple[Array, ...]) -> Self:
        """See `Problem`."""
        w = self.structure.n_fixed + 1
        zr = tuple(part.at[:, -w:].set(columns) for part, columns in zip(self.products.zr, zw, strict=True))
        return replace(self, products=replace(self.products, zr=zr, zz=zz))

    def by_level(self, by_zw: tuple[Array, ...]) -> tuple[Float[Array, "_levels _q w"], ...]:
        """See `Problem`."""
        return tuple(jnp.moveaxis(part, 2, 0) for part in by_zw)

    def squares_by_level(self, by_zz: tuple[Array, ...]) -> tuple[Float[Array, "_levels _q _q"], ...]:
        """See `Problem`."""
        return tuple(jnp.moveaxis(part + jnp.swapaxes(part, 0, 1), 2, 0) / 2 for part in by_zz)

    def eliminate(self, theta: Float[Array, " d"]) -> Elimination:
        """See `Problem`."""
        zz, zr = list(self.products.zz), list(self.products.zr)
        halves: list[Array] = []
        solved: list[Array] = []
        for f, lam in enumerate(self.structure.theta_map.factors(theta)):
            halves.append(level_roots(zz[f], lam))
            solved.append(jnp.einsum("kil,kjl,jrl->irl", halves[f], halves[f], zr[f]))
            self._update(zz, zr, f, solved[f])
        return Elimination(tuple(halves), tuple(solved))

    def through(self, rows: Rows, found: Elimination, out: RowMoments) -> RowMoments:
        """See `Problem`."""
        waiting: list[list[tuple[Array, Array]]] = [[(c, z)] for c, z in zip(rows.codes, rows.z, strict=True)]
        for f in range(self.structure.n_factors):
            half, solved = jnp.moveaxis(found.half[f], 2, 0), jnp.moveaxis(found.solved[f], 2, 0)
            seen = [(codes, jnp.einsum("rki,ri->rk", half[codes], z)) for codes, z in waiting[f]]
            for a, (left_codes, left) in enumerate(seen):
                for b, (right_codes, right) in enumerate(seen[: a + 1]):
                    both = jnp.where(left_codes == right_codes, jnp.sum(left * right, axis=1), 0.0)
                    out = out._replace(variance=out.variance + (1.0 if a == b else 2.0) * both)
            coarser = self.coarser(f)
            last = coarser[-1][1][1] if coarser else 0
            for codes, z in waiting[f]:
                pushed = -jnp.einsum("ric,ri->rc", solved[codes], z)
                for g, (start, stop) in coarser:
                    waiting[g].append((self.index[f][g - f - 1][codes], pushed[:, start:stop]))
                out = out._replace(fixed=out.fixed + pushed[:, last:-1])
        return out

    def draw_effects(
        self,
        found: Elimination,
        weight: Float[Array, "sims w"],
        scale: Float[Array, " sims"],
        noise: tuple[Float[Array, "sims _q _levels"], ...],
    ) -> tuple[Float[Array, "sims _q _levels"], ...]:
        """Draw the coarsest factor first."""
        own = own_effects(found, weight, scale, noise)
        for f in range(self.structure.n_factors - 2, -1, -1):
            for g, (start, stop) in self.coarser(f):
                coarse = own[g][:, :, self.index[f][g - f - 1]]
                own[f] = own[f] - jnp.einsum("iql,sql->sil", found.solved[f][:, start:stop], coarse)
        return tuple(own)

    def row_entries(
        self, codes: Int[np.ndarray, " rows"], z: Float[np.ndarray, "rows q"]
    ) -> tuple[Int[np.ndarray, " entries"], Int[np.ndarray, " entries"]]:
        """None are needed."""
        return np.zeros(0, np.int32), np.zeros(0, np.int32)

    def with_zy(self, zy: Sequence[np.ndarray]) -> CrossProducts:
        """See `Problem`."""
        zr = tuple(repeat_zy(part, own) for part, own in zip(self.products.zr, zy, strict=True))
        return replace(self.repeated(len(zy[0])), zr=zr)

    def reversed(self) -> Self:
        """See `Problem`."""
        theta_map = self.structure.theta_map
        order = [reversed_columns(theta_map, f) for f in range(self.structure.n_factors)]
        zz = tuple(a[:, o][:, :, o] for a, o in zip(self.products.zz, order, strict=True))
        zr = []
        for f, a in enumerate(self.products.zr):
            right = np.arange(a.shape[2])
            for g, (start, stop) in self.coarser(f):
                right[start:stop] = start + order[g]
            zr.append(a[:, order[f]][:, :, right])
        return replace(self, products=replace(self.products, zz=zz, zr=tuple(zr)))
