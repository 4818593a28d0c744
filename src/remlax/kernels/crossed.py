"""Crossed: grouping factors of which the first is eliminated and the others form one dense block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..shapes import Float, Int
from .blocks import apply_levels, eliminate_levels, eliminate_near, level_roots
from .crossed_derivatives import crossed_derivatives
from .dense import (
    CrossedParts,
    CrossedStructure,
    inverse_root,
    log_det_and_form,
    scale_block,
    scale_parts,
    times_lambda,
)
from .posterior import DenseElimination, Elimination
from .problem import Border, CrossProducts, Expansion, Problem, own_effects, repeat_zy

if TYPE_CHECKING:
    from .posterior import RowMoments, Rows


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CrossedIndex:
    """Integer arrays that say which levels of crossed factors meet.

    Parameters
    ----------
    entry_level, entry_col : Array (E,)
        Entry e is the block Z_1' Z_c of a level of the first factor and a dense column c.
    pair_left, pair_right, pair_key : Array (P,)
        The pairs of entries that meet in one level, and the entry of the dense block (an index into ``keys``) that they
        update.
    keys : Array (U,)
        Flat positions, in the lower triangle of the dense block, that are not always zero.
    """

    entry_level: Int[Array, " entries"]
    entry_col: Int[Array, " entries"]
    pair_left: Int[Array, " pairs"]
    pair_right: Int[Array, " pairs"]
    pair_key: Int[Array, " pairs"]
    keys: Int[Array, " keys"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CrossedProducts(CrossProducts):
    """Cross-products of a crossed model; ``zz`` and ``zr`` hold those of the first factor.

    Parameters
    ----------
    entry : Array (E, q)
        Z_1'Z_c for every entry of the index.
    base : Array (U,)
        The dense Z_2'Z_2 at the index's ``keys``.
    dense_w : Array (n_dense, w)
        Z_2'W.
    """

    entry: Float[Array, "*k entries q"]
    base: Float[Array, "*k keys"]
    dense_w: Float[Array, "*k dense w"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Crossed(Problem[CrossedStructure, CrossedProducts]):
    """A data set whose grouping factors are not nested in each other.

    Parameters
    ----------
    structure : CrossedStructure
    products : CrossedProducts
    index : CrossedIndex
    """

    structure: CrossedStructure = field(metadata={"static": True})
    products: CrossedProducts
    index: CrossedIndex

    def after_first(self, cond_var: Float[Array, "q q levels"]) -> CrossedParts:
        """Take the first factor out of the others, over a list of pairs of entries.

        Parameters
        ----------
        cond_var : Array (q, q, L)
            Of the first factor (see `eliminate_levels`); what comes back is affine in it.
        """
        products, index = self.products, self.index
        solved = apply_levels(cond_var, products.zr[0])
        m = products.ww - jnp.einsum("kal,kbl->ab", products.zr[0], solved)

        entry = products.entry
        met = jnp.einsum("ijl->lij", cond_var)[index.entry_level]
        through = jnp.einsum("eij,ej->ei", met, entry)
        pairs = jnp.sum(entry[index.pair_left] * through[index.pair_right], axis=1)
        summed = jax.ops.segment_sum(pairs, index.pair_key, products.base.shape[0], indices_are_sorted=True)
        size = self.structure.n_dense
        lower = jnp.zeros(size * size, entry.dtype).at[index.keys].set(products.base - summed, mode="drop")
        block = lower.reshape(size, size)

        rhs = jnp.einsum("ei,iwe->ew", entry, solved[:, :, index.entry_level])
        dense_w = products.dense_w - jax.ops.segment_sum(rhs, index.entry_col, size)
        return CrossedParts(block + jnp.tril(block, -1).T, dense_w, m)

    def marginal(
        self, lams: tuple[Float[Array, "_q _q"], ...], *, lower: bool = True
    ) -> tuple[Float[Array, ""], Float[Array, "w w"]]:
        """See `Problem`."""
        cond_var, eliminated = eliminate_levels(self.products.zz[0], lams[0], lower=lower)
        parts = scale_parts(self.after_first(cond_var), lams[1:], self.structure)
        logdet, explained = log_det_and_form(parts.block, parts.right)
        return eliminated + logdet, parts.m - explained

    def marginal_near(
        self, lams: tuple[Float[Array, "_q _q"], ...], es: tuple[Float[Array, "_q _q"], ...]
    ) -> tuple[Float[Array, ""], Float[Array, "w w"]]:
        """Eliminate the first factor, then the dense block S of the others: log|I + S D| and R'D (I + S D)^-1 R.

        With N = I + S D at E = 0 and x = N^-1 (I + S D) - I, log|N| + tr x - tr x^2 / 2 and (I - x + x^2) N^-1.
        """
        structure = self.structure
        cond_var, logdet = eliminate_near(self.products.zz[0], lams[0], es[0])
        block, right, m = self.after_first(cond_var)
        eye = jnp.eye(structure.n_dense, dtype=block.dtype)
        still = lax.stop_gradient(block)
        root = inverse_root(scale_block(still, lams[1:], structure) + eye)
        half = times_lambda(root, tuple(lam.T for lam in lams[1:]), structure)
        inverse = eye - still @ half.T @ half
        d = tuple(lam @ lam.T + e for lam, e in zip(lams[1:], es[1:], strict=True))
        x = inverse @ (eye + times_lambda(block, d, structure)) - eye
        x_x = x @ x
        known = inverse @ right
        known = known - x @ known + x_x @ known
        logdet = logdet - 2 * jnp.sum(jnp.log(jnp.diagonal(root))) + jnp.trace(x) - jnp.trace(x_x) / 2
        return logdet, m - right.T @ times_lambda(known.T, d, structure).T

    def expansion(
        self,
        theta: Float[Array, " d"],
        maps: tuple[Float[Array, "d _q _q"], ...],
        border_of: Callable[[Array], Border],
        *,
        hessian: bool,
        lower: bool = True,
    ) -> Expansion:
        """See `crossed_derivatives`."""
        return crossed_derivatives(
            theta,
            maps,
            border_of,
            self.products.zz[0],
            self.after_first,
            self.structure,
            hessian=hessian,
            lower=lower,
        )

    def column_sums(self) -> list[tuple[Float[Array, "_q _levels"], Float[Array, "_q _levels"]]]:
        """See `Problem`."""
        products, keys, size = self.products, self.index.keys, self.structure.n_dense
        out = [(jnp.diagonal(products.zz[0], axis1=0, axis2=1).T, products.zr[0][:, -1])]
        square = products.base[jnp.searchsorted(keys, jnp.arange(size, dtype=keys.dtype) * (size + 1))]
        for start, levels, q in self.structure.dense_slices():
            part = slice(start, start + levels * q)
            out.append((square[part].reshape(levels, q).T, products.dense_w[part, -1].reshape(levels, q).T))
        return out

    def random_parts(self) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Z'W of the first factor (q, w, levels) and of the block (n_dense, w); Z'Z and the block at its keys."""
        products = self.products
        return (*products.zr, products.dense_w), (*products.zz, products.base)

    def with_random_parts(self, zw: tuple[Array, ...], zz: tuple[Array, ...]) -> Self:
        """See `Problem`."""
        products = replace(self.products, zr=zw[:1], dense_w=zw[1], zz=zz[:1], base=zz[1])
        return replace(self, products=products)

    def by_level(self, by_zw: tuple[Array, ...]) -> tuple[Float[Array, "_levels _q w"], ...]:
        """See `Problem`."""
        first, dense = by_zw
        slices = self.structure.dense_slices()
        others = (dense[start : start + levels * q].reshape(levels, q, -1) for start, levels, q in slices)
        return (jnp.moveaxis(first, 2, 0), *others)

    def squares_by_level(self, by_zz: tuple[Array, ...]) -> tuple[Float[Array, "_levels _q _q"], ...]:
        """See `Problem`."""
        keys, size = self.index.keys, self.structure.n_dense
        out = [jnp.moveaxis(by_zz[0] + jnp.swapaxes(by_zz[0], 0, 1), 2, 0) / 2]
        for start, levels, q in self.structure.dense_slices():
            first = start + jnp.arange(levels, dtype=keys.dtype)[:, None, None] * q
            row = first + jnp.arange(q, dtype=keys.dtype)[None, :, None]
            col = first + jnp.arange(q, dtype=keys.dtype)[None, None, :]
            flat = jnp.maximum(row, col) * size + jnp.minimum(row, col)
            square = by_zz[1][jnp.searchsorted(keys, flat.reshape(-1))].reshape(levels, q, q)
            # an off-diagonal key stands for two entries of the symmetric block
            out.append(jnp.where((row == col), square, square / 2))
        return tuple(out)

    def eliminate(self, theta: Float[Array, " d"]) -> Elimination:
        """See `Problem`."""
        lams, products = self.structure.theta_map.factors(theta), self.products
        half = level_roots(products.zz[0], lams[0])
        solved = jnp.einsum("kil,kjl,jwl->iwl", half, half, products.zr[0])
        cond_var, _ = eliminate_levels(products.zz[0], lams[0])
        parts = scale_parts(self.after_first(cond_var), lams[1:], self.structure)
        root = inverse_root(parts.block)
        dense_half = times_lambda(root, tuple(lam.T for lam in lams[1:]), self.structure)
        return DenseElimination((half,), (solved,), dense_half, root @ parts.right)

    def through(self, rows: Rows, found: Elimination, out: RowMoments) -> RowMoments:
        """See `Problem`."""
        assert isinstance(found, DenseElimination)  # what `eliminate` returns
        half = jnp.moveaxis(found.half[0], 2, 0)[rows.codes[0]]
        seen = jnp.einsum("rki,ri->rk", half, rows.z[0])
        out = out._replace(variance=out.variance + jnp.sum(seen**2, axis=1))
        known = jnp.einsum("ric,ri->rc", jnp.moveaxis(found.solved[0], 2, 0)[rows.codes[0]], rows.z[0])
        spread = jnp.einsum("rki,rk->ri", half, seen)

        n_rows, entry = rows.x.shape[0], self.products.entry
        dense = jnp.zeros((n_rows, self.structure.n_dense), rows.x.dtype)
        for (start, _, q), codes, z in zip(self.structure.dense_slices(), rows.codes[1:], rows.z[1:], strict=True):
            columns = start + codes[:, None] * q + jnp.arange(q, dtype=codes.dtype)[None]
            dense = dense.at[jnp.arange(n_rows)[:, None], columns].add(z)
        pushed = jnp.sum(entry[rows.pair_entry] * spread.at[rows.pair_row].get(mode="fill", fill_value=0.0), axis=1)
        dense = dense.at[rows.pair_row, self.index.entry_col[rows.pair_entry]].add(-pushed, mode="drop")
        seen = dense @ found.dense_half.T
        return out._replace(
            fixed=out.fixed - (known + seen @ found.dense_w)[:, :-1],
            variance=out.variance + jnp.sum(seen**2, axis=1),
        )

    def draw_effects(
        self,
        found: Elimination,
        weight: Float[Array, "sims w"],
        scale: Float[Array, " sims"],
        noise: tuple[Float[Array, "sims _q _levels"], ...],
    ) -> tuple[Float[Array, "sims _q _levels"], ...]:
        """Draw the dense factors first."""
        assert isinstance(found, DenseElimination)  # what `eliminate` returns
        (own,) = own_effects(found, weight, scale, noise[:1])
        flat = jnp.concatenate([jnp.swapaxes(e, 1, 2).reshape(len(weight), -1) for e in noise[1:]], axis=1)
        dense = (weight @ found.dense_w.T + scale[:, None] * flat) @ found.dense_half
        entry, level, col = self.products.entry, self.index.entry_level, self.index.entry_col

        def met(one: Array) -> Array:
            return jax.ops.segment_sum(entry * one[col][:, None], level, self.structure.n_levels[0])

        # one draw at a time: the list of entries is too long to hold for all
        sums = lax.map(met, dense)
        spread = jnp.einsum("kil,kjl->ijl", found.half[0], found.half[0])
        out = [own - jnp.einsum("ijl,slj->sil", spread, sums)]
        for start, levels, q in self.structure.dense_slices():
            out.append(jnp.swapaxes(dense[:, start : start + levels * q].reshape(-1, levels, q), 1, 2))
        return tuple(out)

    def row_entries(
        self, codes: Int[np.ndarray, " rows"], z: Float[np.ndarray, "rows q"]
    ) -> tuple[Int[np.ndarray, " entries"], Int[np.ndarray, " entries"]]:
        """Entries of each row's level of the first factor."""
        level = np.asarray(self.index.entry_level)
        used = np.flatnonzero(z.any(axis=1))
        first = np.searchsorted(level, codes[used], side="left")
        count = np.searchsorted(level, codes[used], side="right") - first
        entry = np.repeat(first - np.concatenate([[0], np.cumsum(count)[:-1]]), count) + np.arange(count.sum())
        return np.repeat(used, count).astype(np.int32), entry.astype(np.int32)

    def with_zy(self, zy: Sequence[np.ndarray]) -> CrossedProducts:
        """See `Problem`."""
        n = len(zy[0])
        dense_w = np.repeat(np.asarray(self.products.dense_w)[None], n, axis=0)
        for (start, _, q), own in zip(self.structure.dense_slices(), zy[1:], strict=True):
            dense_w[:, start : start + own.shape[1] * q, -1] = own.reshape(n, -1)
        zr = (repeat_zy(self.products.zr[0], zy[0]),)
        return replace(self.repeated(n), zr=zr, dense_w=cast(Array, dense_w))

    def reversed(self) -> None:
        """No: the dense block has no order that would help."""
