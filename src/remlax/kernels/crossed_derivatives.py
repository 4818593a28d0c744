"""Derivatives of the criterion of a crossed model, with the dense block inverted once.

With Q, R, M0 the parts that are left after the first factor is eliminated, log|V| = log|V_1| + log|Q| and
M = M0 - R'Q^-1 R. The criterion is linearised in those parts; they in turn are affine in what the first factor's levels
contribute and quadratic in the other factors' Lambda, so that one pass back through the list of pairs and one
contraction of the dense block leave functions of a few numbers per level, which are differentiated automatically.
What the dense algebra adds to the Hessian is written out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..shapes import Float
from .blocks import eliminate_levels
from .dense import CrossedParts, CrossedStructure, inverse_root, root_gram, scale_block, scale_parts, times_lambda
from .problem import Border, Expansion, Factors
from .theta import mapped_factors


class _Solved(NamedTuple):
    """The dense part at one theta.

    logdet: log|Q|; q_inv (n_dense, n_dense); x (n_dense, w): Q^-1 R; m (w, w): M; border: g at M; by_m (w, w):
    derivative of g in M.
    """

    logdet: Array
    q_inv: Array
    x: Array
    m: Array
    border: Border
    by_m: Array


class _Quadratic(NamedTuple):
    """Sum of the derivatives in block and right times Lambda'S Lambda and Lambda'R, as a function of Lambda.

    square: per pair f <= g of dense factors, (q_f, q_f, q_g, q_g); straight: per factor (q, q).
    """

    square: tuple[Array, ...]
    straight: tuple[Array, ...]


class _Movement(NamedTuple):
    """What the parts of a crossed model do along directions in theta (a).

    solved (a, n_dense, n_dense): Q^-1 dQ; through (a, n_dense, w): dQ Q^-1 R; right (a, n_dense, w); m (a, w, w).
    """

    solved: Array
    through: Array
    right: Array
    m: Array


def crossed_derivatives(
    theta: Float[Array, " d"],
    maps: tuple[Float[Array, "d _q _q"], ...],
    border_of: Callable[[Array], Border],
    zz: Float[Array, "q q levels"],
    after_first: Callable[[Array], CrossedParts],
    structure: CrossedStructure,
    *,
    hessian: bool,
    lower: bool = True,
) -> Expansion:
    """Value, gradient and Hessian of log|V| + g(M); see `Problem.expansion`.

    Parameters
    ----------
    zz : Array (q, q, L)
        Z'Z of every level of the first factor.
    after_first : callable
        What is left of the others once the first is eliminated, given the variances of its levels; affine.
    """
    first = structure.theta_map.entries(0)[0]
    rest = np.setdiff1d(np.arange(theta.shape[0]), first)
    order = np.argsort(np.concatenate([first, rest]))

    def blocks(inner: Array) -> tuple[Array, Array]:
        return eliminate_levels(zz, *mapped_factors(inner, (maps[0][first],)), lower=lower)

    def lambdas(outer: Array) -> Factors:
        return mapped_factors(outer, tuple(part[rest] for part in maps[1:]))

    lams = lambdas(theta[rest])
    (cond_var, logdet), push_blocks = jax.linearize(blocks, theta[first])
    raw, push_raw = jax.linearize(after_first, cond_var)
    at = _solve(scale_parts(raw, lams, structure), border_of)
    by, by_raw = _slopes(at, lams, structure)
    (by_cond_var,) = jax.linear_transpose(push_raw, cond_var)(by_raw)

    def of_first(inner: Array) -> Array:
        variances, log = blocks(inner)
        return log + jnp.sum(by_cond_var * variances)

    def of_rest(outer: Array, form: _Quadratic) -> Array:
        return _evaluate(form, lambdas(outer))

    form = _contract(raw, by, structure)
    grad = jnp.concatenate([jax.grad(of_first)(theta[first]), jax.grad(of_rest)(theta[rest], form)])[order]
    total = logdet + at.logdet
    if not hessian:
        none = jnp.zeros((0, 0), theta.dtype)
        return Expansion(total, at.m, at.border.value, grad, none, none)
    moved: CrossedParts = jax.vmap(lambda t: push_raw(push_blocks(t)[0]))(jnp.eye(len(first), dtype=theta.dtype))
    moved_forms = jax.vmap(lambda one: _contract(one, by, structure))(moved)
    cross = jax.vmap(jax.grad(of_rest), (None, 0))(theta[rest], moved_forms)
    by_first, by_rest = jax.hessian(of_first)(theta[first]), jax.hessian(of_rest)(theta[rest], form)
    tangents = _joined(
        _first_tangents(moved, lams, at, structure), _rest_tangents(raw, theta[rest], lambdas, at, structure)
    )
    curvature, d_m = _curvature(tangents, at)
    hess = (jnp.block([[by_first, cross], [cross.T, by_rest]]) + curvature)[np.ix_(order, order)]
    return Expansion(total, at.m, at.border.value, grad, (hess + hess.T) / 2, d_m[order])


def _solve(parts: CrossedParts, border_of: Callable[[Array], Border]) -> _Solved:
    root = inverse_root(parts.block)
    q_inv = root_gram(root)
    half = root @ parts.right
    m = parts.m - half.T @ half
    border = border_of(m)
    by_m = border.transform.T @ (border.slope[:, None] * border.transform)
    return _Solved(-2 * jnp.sum(jnp.log(jnp.diagonal(root))), q_inv, q_inv @ parts.right, m, border, by_m)


def _slopes(at: _Solved, lams: Factors, structure: CrossedStructure) -> tuple[CrossedParts, CrossedParts]:
    """Derivatives of the criterion in the parts, and in the parts before Lambda scales them."""
    by = CrossedParts(at.q_inv + at.x @ at.by_m @ at.x.T, -2 * at.x @ at.by_m, at.by_m)
    back = tuple(lam.T for lam in lams)
    return by, CrossedParts(scale_block(by.block, back, structure), times_lambda(by.right.T, back, structure).T, by.m)


def _contract(raw: CrossedParts, by: CrossedParts, structure: CrossedStructure) -> _Quadratic:
    """Contract the dense block with the criterion's derivatives in it, over all levels of every pair of factors."""
    slices = structure.dense_slices()
    square, straight = [], []
    for f, (start, levels, q) in enumerate(slices):
        rows = slice(start, start + levels * q)
        both = (part[rows].reshape(levels, q, -1) for part in (raw.right, by.right))
        straight.append(jnp.einsum("aiw,ajw->ij", *both))
        for other, n_other, width in slices[f:]:
            cols = slice(other, other + n_other * width)
            both = (part[rows, cols].reshape(levels, q, n_other, width) for part in (raw.block, by.block))
            # a pair of two factors stands for both of the block's triangles
            square.append(jnp.einsum("aibk,ajbm->ijkm", *both) * (1.0 if other == start else 2.0))
    return _Quadratic(tuple(square), tuple(straight))


def _evaluate(form: _Quadratic, lams: Factors) -> Array:
    pairs = [(left, right) for f, left in enumerate(lams) for right in lams[f:]]
    square = [jnp.einsum("ij,ijkm,km->", a, part, b) for part, (a, b) in zip(form.square, pairs, strict=True)]
    straight = [jnp.sum(part * lam) for part, lam in zip(form.straight, lams, strict=True)]
    return sum(square) + sum(straight)  # type: ignore[return-value]


def _first_tangents(moved: CrossedParts, lams: Factors, at: _Solved, structure: CrossedStructure) -> _Movement:
    """Along the first factor's entries of theta, which move the parts before Lambda scales them."""
    block = jax.vmap(lambda one: scale_block(one, lams, structure))(moved.block)
    right = jax.vmap(lambda one: times_lambda(one.T, lams, structure).T)(moved.right)
    return _Movement(at.q_inv @ block, block @ at.x, right, moved.m)


def _rest_tangents(
    raw: CrossedParts,
    outer: Array,
    lambdas: Callable[[Array], Factors],
    at: _Solved,
    structure: CrossedStructure,
) -> _Movement:
    """Along the other factors' entries of theta."""
    scaled, push = jax.linearize(lambda o: scale_parts(raw, lambdas(o), structure), outer)
    moved: CrossedParts = jax.vmap(push)(jnp.eye(outer.shape[0], dtype=outer.dtype))
    if structure.q[1:] != (1,):
        return _Movement(at.q_inv @ moved.block, moved.block @ at.x, moved.right, moved.m)
    # one scalar factor: Q = lambda^2 S + I, and Q^-1 dQ = 2 (I - Q^-1) / lambda takes no product. What is lost near
    # zero is of the order lambda^2 of what the block's first-order part contributes
    size, by_outer = jax.value_and_grad(lambda o: lambdas(o)[0][0, 0])(outer)
    far = jnp.abs(size) > 1e-8
    share = by_outer * jnp.where(far, 2.0 / jnp.where(far, size, 1.0), 0.0)
    solved = share[:, None, None] * (jnp.eye(structure.n_dense, dtype=outer.dtype) - at.q_inv)[None]
    through = share[:, None, None] * (scaled.block @ at.x - at.x)[None]
    return _Movement(solved, through, moved.right, moved.m)


def _joined(one: _Movement, other: _Movement) -> _Movement:
    both: _Movement = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), one, other)
    return both


def _curvature(tangents: _Movement, at: _Solved) -> tuple[Array, Array]:
    """Second derivatives of the criterion in its parts along tangents (a, a), and dM in the border's coordinates."""
    y = tangents.right - tangents.through
    x_y = jnp.einsum("mx,amy->axy", at.x, y)
    d_m = tangents.m - x_y - jnp.swapaxes(x_y, 1, 2) - jnp.einsum("mx,amy->axy", at.x, tangents.through)
    unit_d_m = jnp.einsum("ix,axy,jy->aij", at.border.transform, d_m, at.border.transform)
    curvature = (
        -jnp.einsum("aij,bji->ab", tangents.solved, tangents.solved)
        - 2 * jnp.einsum("amx,xy,bmy->ab", y, at.by_m, jnp.einsum("mk,bky->bmy", at.q_inv, y))
        - jnp.einsum("axy,xy,bxy->ab", unit_d_m, at.border.curvature, unit_d_m)
    )
    return curvature, unit_d_m
