"""Derivatives of the criterion of one factor, or of factors nested in each other, from one elimination.

With S = Z'Z of a factor's levels and R = Z'[Z of the coarser factors, W], both after the finer factors are gone, and
D = Lambda Lambda', the factor's elimination adds log|I + S D| and takes T = R'P R out of the coarser blocks and out of
M, P = D (I + S D)^-1. A second derivative of the whole sums those of log|I + S D| + tr(Theta T) over the factors,
along the tangents that arrive from finer factors and along the factor's own D. Theta, the criterion's derivative in T,
is never formed: see `_Sweep.weigh`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..shapes import Float
from .blocks import apply_levels, sum_by_level
from .problem import Border, Expansion

if TYPE_CHECKING:
    from .nested import Nested

# rows and columns of T's derivatives along n entries of theta: (n, rows, columns, L)
Change = Callable[[slice, slice], Array]


class Stage(NamedTuple):
    """One factor at its elimination: S (q, q, L), R (q, r, L), P (q, q, L) and U = P R (q, r, L)."""

    zz: Float[Array, "_q _q _levels"]
    zr: Float[Array, "_q _r _levels"]
    cond_var: Float[Array, "_q _q _levels"]
    solved: Float[Array, "_q _r _levels"]


class _Slopes(NamedTuple):
    """First derivatives at one factor.

    a (q, q, L): A = (I - S P) S; left (q, r, L): E = (I - S P) R; carried, weighed (q, r, L): E as `_Sweep.weigh`
    returns it; c (q, q, L): -E Theta E'.
    """

    a: Array
    left: Array
    carried: Array
    weighed: Array
    c: Array


class _LevelTangents(NamedTuple):
    """Derivatives of S (n, q, q, L) and of R (n, q, r, L) along n entries of theta, all of finer factors."""

    zz: Array
    zr: Array


def nested_derivatives(
    lams: tuple[Float[Array, "_q _q"], ...],
    maps: tuple[Float[Array, "d _q _q"], ...],
    logdet: Float[Array, ""],
    m: Float[Array, "w w"],
    border: Border,
    stages: list[Stage],
    problem: Nested,
    *,
    hessian: bool,
) -> Expansion:
    """Value, gradient and Hessian of log|V| + g(M); see `Problem.expansion`.

    Parameters
    ----------
    logdet : Array, scalar
        log|V|.
    m : Array (w, w)
        M.
    border : Border
        g at M.
    stages : list of Stage
        Of every factor, finest first.
    """
    sweep = _Sweep(stages, [_in_border(stage.solved, border) for stage in stages], border, problem)
    slopes = [sweep.slopes(f) for f in range(len(stages))]
    by_d = [jnp.sum(slope.a - slope.c, axis=2) for slope in slopes]
    terms = [2 * jnp.einsum("aij,ij->a", part, by @ lam) for part, by, lam in zip(maps, by_d, lams, strict=True)]
    grad = sum(terms[1:], start=terms[0])
    if not hessian:
        none = jnp.zeros((0, 0), grad.dtype)
        return Expansion(logdet, m, border.value, grad, none, none)
    return Expansion(logdet, m, border.value, grad, *_second_derivatives(lams, maps, by_d, slopes, sweep))


def _second_derivatives(
    lams: tuple[Array, ...], maps: tuple[Array, ...], by_d: list[Array], slopes: list[_Slopes], sweep: _Sweep
) -> tuple[Array, Array]:
    """Hessian (d, d), and derivatives of M in the border's coordinates (d, w, w)."""
    border = sweep.border
    # entries of theta by factor, finest first
    own = [sweep.problem.structure.theta_map.entries(f)[0] for f in range(len(slopes))]
    n, w, done = sum(map(len, own)), len(border.slope), 0
    parts: list[Array] = []
    changes: list[Array] = []
    arrived: list[_LevelTangents | None] = [None for _ in slopes]
    for f, slope in enumerate(slopes):
        directions, tangents = maps[f][own[f]], arrived[f]
        d_lam = directions @ lams[f].T
        d_d = d_lam + jnp.swapaxes(d_lam, 1, 2)
        twice = 2 * jnp.einsum("aik,ij,bjk->ab", directions, by_d[f], directions)
        parts.append(_placed(_own_curvature(slope, d_d) + twice, (done, done), n))
        changes.append(_placed(-_own_d_m(slope, d_d, w), (done,), n))
        moves = [_own_change(slope, d_d)]
        if tangents is not None:
            moved = tangents.zr - apply_levels(tangents.zz, sweep.solved[f][None])
            among, cross = sweep.curvature(f, moved, tangents.zz, slope)
            # what stands above the diagonal counts twice once the Hessian is made symmetric
            above = 2 * jnp.einsum("aij,bij->ab", cross, d_d)
            parts += [_placed(among, (0, 0), n), _placed(above, (0, done), n)]
            moves = [_arrived_change(moved, tangents.zr, sweep.solved[f]), *moves]
            changes.append(_placed(-jnp.sum(moves[0](slice(-w, None), slice(-w, None)), axis=3), (0,), n))
        sweep.pass_on(f, moves, arrived)
        done += len(own[f])
    d_m, order = sum(changes[1:], start=changes[0]), np.argsort(np.concatenate(own))
    hess = sum(parts, start=-jnp.einsum("axy,xy,bxy->ab", d_m, border.curvature, d_m))
    hess = (hess + hess.T) / 2
    if (np.diff(order) != 1).any():
        hess, d_m = hess[np.ix_(order, order)], d_m[order]
    return hess, d_m


def _placed(block: Array, start: tuple[int, ...], n: int) -> Array:
    """Put a block into zeros, n long in each of the first axes, from ``start`` on."""
    before = [(s, n - s - size, 0) for s, size in zip(start, block.shape, strict=False)]
    rest = [(0, 0, 0)] * (block.ndim - len(start))
    return lax.pad(block, jnp.zeros((), block.dtype), [*before, *rest])


@dataclass(frozen=True)
class _Sweep:
    """The elimination of all factors, ``solved`` in the border's coordinates of W."""

    stages: list[Stage]
    solved: list[Array]
    border: Border
    problem: Nested

    def slopes(self, f: int) -> _Slopes:
        zz, zr, cond_var, solved = self.stages[f]
        a = zz - apply_levels(zz, apply_levels(cond_var, zz))
        left = _in_border(zr - apply_levels(zz, solved), self.border)
        carried, weighed = self.weigh(f, left)
        return _Slopes(a, left, carried, weighed, apply_levels(carried, jnp.swapaxes(weighed, 0, 1)))

    def weigh(self, f: int, columns: Array) -> tuple[Array, Array]:
        """Carry columns x (..., q, r, L) through the elimination of the coarser factors: x J, and x J times weights.

        Theta is -J times a block-diagonal matrix times J': P of each coarser factor's level, and the border's slope.
        """
        carried, weighed, rest = [], [], columns
        for g, (start, stop) in self.problem.coarser(f):
            level = self.problem.index[f][g - f - 1]
            here, rest = rest[..., : stop - start, :], rest[..., stop - start :, :]
            rest = rest - apply_levels(here, _like(here, self.solved[g][:, :, level]))
            carried.append(here)
            weighed.append(apply_levels(here, _like(here, self.stages[g].cond_var[:, :, level])))
        weighed.append(rest * _like(rest, self.border.slope[:, None]))
        if not carried:
            return rest, weighed[0]
        return jnp.concatenate([*carried, rest], axis=-2), jnp.concatenate(weighed, axis=-2)

    def curvature(self, f: int, moved: Array, d_zz: Array, slopes: _Slopes) -> tuple[Array, Array]:
        """Second derivatives among n tangents that arrive, (n, n), and along each of them and D, (n, q, q).

        With H = dR - dS U, which is ``moved``: -tr(P dS P dS) + 2 tr(Theta H'P H), and the derivative of
        A + E Theta E' at a constant Theta.
        """
        zz, _, cond_var, _ = self.stages[f]
        carried, weighed = self.weigh(f, moved)
        through = apply_levels(cond_var[None], carried)
        square = apply_levels(cond_var[None], d_zz)
        among = -jnp.einsum("aijl,bjil->ab", square, square) - 2 * jnp.einsum("airl,birl->ab", weighed, through)
        shrink = jnp.eye(len(zz), dtype=zz.dtype)[:, :, None] - apply_levels(zz, cond_var)
        inner = apply_levels(d_zz, jnp.swapaxes(shrink, 0, 1)[None])
        inner = inner - 2 * apply_levels(weighed, jnp.swapaxes(slopes.carried, 0, 1)[None])
        return among, jnp.einsum("ijl,ajkl->aik", shrink, inner)

    def pass_on(self, f: int, changes: list[Change], arrived: list[_LevelTangents | None]) -> None:
        """Take the changes of T out of the coarser factors' S and R."""
        structure = self.problem.structure
        for g, (start, stop) in self.problem.coarser(f):
            parts = [change(slice(start, stop), slice(start, None)) for change in changes]
            both = jnp.concatenate(parts) if len(parts) > 1 else parts[0]
            n, q, columns, _ = both.shape
            level, n_levels = self.problem.index[f][g - f - 1], structure.n_levels[g]
            summed = sum_by_level(both.reshape(n * q, columns, -1), level, n_levels).reshape(n, q, columns, n_levels)
            new, known = _LevelTangents(-summed[:, :, :q], -summed[:, :, q:]), arrived[g]
            if known is not None:
                k = len(known.zz)
                new = _LevelTangents(new.zz.at[:k].add(known.zz), new.zr.at[:k].add(known.zr))
            arrived[g] = new


def _like(columns: Array, one: Array) -> Array:
    """Give an array the leading axes of columns (..., q, r, L), with length one."""
    return one.reshape((1,) * (columns.ndim - one.ndim) + one.shape)


def _in_border(columns: Array, border: Border) -> Array:
    """Columns (q, r, L) with W, which are the last ones, in the border's coordinates."""
    w = len(border.slope)
    own = jnp.einsum("ial,ca->icl", columns[:, -w:], border.transform)
    return own if columns.shape[1] == w else jnp.concatenate([columns[:, :-w], own], axis=1)


def _own_curvature(slopes: _Slopes, d_d: Array) -> Array:
    """Second derivatives along a factor's own D: the sum over levels is a Gram matrix, the rest is d x d work."""
    q = d_d.shape[1]
    a, c = slopes.a.reshape(q * q, -1), slopes.c.reshape(q * q, -1)
    mixed = ((2 * c - a) @ a.T).reshape(q, q, q, q)
    return jnp.einsum("ijkl,ajk,bli->ab", mixed, d_d, d_d)


def _own_d_m(slopes: _Slopes, d_d: Array, w: int) -> Array:
    """E'dD E of W, summed over levels."""
    q = d_d.shape[1]
    left = slopes.left[:, -w:].reshape(q * w, -1)
    return jnp.einsum("aij,ixjy->axy", d_d, (left @ left.T).reshape(q, w, q, w))


def _own_change(slopes: _Slopes, d_d: Array) -> Change:
    """Return E'dD E."""

    def change(rows: slice, columns: slice) -> Array:
        right = apply_levels(d_d[..., None], slopes.left[None, :, columns])
        return apply_levels(jnp.swapaxes(slopes.left[None, :, rows], 1, 2), right)

    return change


def _arrived_change(moved: Array, d_zr: Array, solved: Array) -> Change:
    """H'U + U'dR, the derivative of R'P R along dS and dR at a constant D."""

    def change(rows: slice, columns: slice) -> Array:
        first = apply_levels(jnp.swapaxes(moved[:, :, rows], 1, 2), solved[None, :, columns])
        return first + apply_levels(jnp.swapaxes(solved[None, :, rows], 1, 2), d_zr[:, :, columns])

    return change
