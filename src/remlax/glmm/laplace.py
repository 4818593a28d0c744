"""The Laplace approximation of -2 log L over (theta, beta, shape), with exact gradient and Hessian.

With u the modes at phi = (theta, beta, shape), M = Lambda'Z'WZ Lambda + I and g = Lambda'Z'l' - u, zero at the modes,

    D = -2 sum l + |u|^2 + log|M|,        L = D + t'g,        t = Mo^-1 (dD/du),

Mo the matrix of the observed information. L does not change with u, so that dD/dphi is the derivative of L at fixed
u, and the Hessian of D that of L along the tangents (e_a, du/dphi_a) (implicit function theorem; Kristensen et al. 2016
J. Stat. Softw. 70(5), section 2). log|M| enters L's second derivatives by tr(M^-1 d2M) - tr(M^-1 dM M^-1 dM).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..kernels.criterion import Derivatives
from ..shapes import Float
from .elimination import LaplaceFactor, eliminate, inverse_blocks, plus_identity, solve, whitened
from .families import RowTerms, row_terms
from .modes import ModeSearch, conditional_modes
from .problem import (
    Blocks,
    Effects,
    Glmm,
    scaled,
    theta_places,
    theta_tangents,
    times,
    times_transposed,
)


class Point(NamedTuple):
    """One data set at its modes.

    lams: Lambda per factor; effects: modes u; eta (R, T); terms: derivatives of the log-density; score: Z'l'; squares:
    Z'WZ; weights: M eliminated; observed: the same of the observed information; found: whether the modes were.
    """

    lams: tuple[Array, ...]
    effects: Effects
    eta: Array
    terms: RowTerms
    score: Effects
    squares: Blocks
    weights: LaplaceFactor
    observed: LaplaceFactor
    found: Array


def at_modes(parameters: Float[Array, " parameters"], start: Effects, problem: Glmm) -> Point:
    """Find the modes and what everything else reads there."""
    theta, beta, shape = problem.split(parameters)
    lams = problem.structure.theta_map.factors(theta)
    modes: ModeSearch = conditional_modes(lams, problem.fixed_rows(beta), shape, start, problem)
    return point_at(parameters, modes.effects, modes.found, problem)


def point_at(parameters: Float[Array, " parameters"], effects: Effects, found: Array, problem: Glmm) -> Point:
    """Evaluate the rows at given modes."""
    theta, beta, shape = problem.split(parameters)
    structure, rows = problem.structure, problem.products
    lams = structure.theta_map.factors(theta)
    eta = problem.fixed_rows(beta) + problem.rows_of(times(lams, effects))
    terms = row_terms(structure.family, rows.y, rows.weight, eta, shape)
    score, squares, _ = problem.sums(terms.d1, terms.weight, terms.value)
    weights = observed = eliminate(plus_identity(scaled(lams, squares, structure)))
    if structure.family.expected and not structure.family.canonical:
        own = problem.weighted_squares(-terms.d2)
        observed = eliminate(plus_identity(scaled(lams, own, structure)))
    return Point(lams, effects, eta, terms, score, squares, weights, observed, found)


def deviance(point: Point, parameters: Float[Array, " parameters"], problem: Glmm) -> Float[Array, ""]:
    """Return -2 log L at the modes; infinite where they were not found."""
    beta = problem.split(parameters)[1]
    squares = sum(jnp.sum(u * u) for u in point.effects)
    # a padded coefficient is held at zero
    held = jnp.sum(problem.products.padded * beta * beta)
    value = -2 * jnp.sum(point.terms.value) + squares + point.weights.logdet + problem.products.constant + held
    return jnp.where(point.found, value, jnp.inf)


class Movement(NamedTuple):
    """What moves with every parameter: eta at fixed u (P, R, T), u (P, q, levels) per factor, eta in all (P, R, T)."""

    fixed_u: Array
    effects: Effects
    eta: Array


def laplace_derivatives(
    point: Point, parameters: Float[Array, " parameters"], problem: Glmm
) -> tuple[Derivatives, Effects]:
    """Value, gradient and Hessian, and the derivatives of the modes u in all parameters.

    Returns
    -------
    derivatives : Derivatives
    effects : tuple of Array (parameters, q, levels)
    """
    shapes = by_shape(parameters, point, problem)
    tangents = tangents_of(point, shapes, problem)
    rows = adjoint(point, inverse_blocks(point.weights), -2.0, None, problem)
    value = deviance(point, parameters, problem)
    grad = _gradient(point, shapes, rows, tangents, problem) + padding(parameters, problem) * parameters
    moved = sum(jnp.einsum("aij,bij->ab", u, u) for u in tangents.effects)
    white = jax.vmap(whitened, in_axes=(None, 0))(point.weights, d_blocks(point, shapes, tangents, problem))
    hess = curvatures(point, shapes, rows, tangents, problem) + 2 * moved - white @ white.T
    hess = hess + jnp.diag(padding(parameters, problem))
    return Derivatives(value, grad, (hess + hess.T) / 2), tangents.effects


def padding(parameters: Array, problem: Glmm) -> Array:
    """Twice the indicator of padded coefficients."""
    d, p = problem.structure.theta_map.n_theta, problem.structure.n_fixed
    return jnp.zeros_like(parameters).at[d : d + p].set(2 * problem.products.padded)


class Adjoint(NamedTuple):
    """What L reads beside the log-density, by row (R, T).

    C is dD/dM, which is M^-1 of the Laplace approximation. h: z'Lambda C Lambda'z; tau: z'Lambda t; d_h, d_tau: their
    derivatives in the entries of theta at fixed u; block: C at the row's own levels, by pairs of columns; t per factor;
    by_eta: dL/deta; density: the factor of the log-density in L.
    """

    h: Array
    tau: Array
    d_h: list[Array]
    d_tau: list[Array]
    block: dict[tuple[int, int, int, int], Array]
    t: Effects
    by_eta: Array
    density: float


def adjoint(point: Point, by_m: Blocks, density: float, by_u: Effects | None, problem: Glmm) -> Adjoint:
    """Rows of L, from dD/dM, the factor of the log-density and what else of dD/du does not pass through M."""
    s, rows, terms = problem.structure, problem.products, point.terms
    columns = [(f, i) for f, q in enumerate(s.q) for i in range(q)]
    block = {}
    for at, (f, i) in enumerate(columns):
        for g, j in columns[: at + 1]:
            block[f, i, g, j] = block[g, j, f, i] = _local(by_m, (f, i), (g, j), problem)
    turned = {(f, i): jnp.einsum("r,rnt->nt", point.lams[f][:, i], rows.z[f]) for f, i in columns}
    pushed = {(f, i): sum(block[f, i, g, j] * turned[g, j] for g, j in columns) for f, i in columns}
    h: Array = sum(turned[column] * pushed[column] for column in columns)  # type: ignore[assignment]
    right = times_transposed(point.lams, problem.by_level(terms.weight1 * h))
    if by_u is not None:
        right = jax.tree.map(jnp.add, right, by_u)
    t = solve(point.observed, right, s)
    tau = problem.rows_of(times(point.lams, t))
    places = theta_places(s.theta_map)
    d_h = [2 * rows.z[f][r] * pushed[f, c] for f, r, c in places]
    d_tau = [rows.z[f][r] * problem.at_rows(f, t[f][c]) for f, r, c in places]
    by_eta = density * terms.d1 + terms.weight1 * h + terms.d2 * tau
    return Adjoint(h, tau, d_h, d_tau, block, t, by_eta, density)


def _local(by_m: Blocks, a: tuple[int, int], b: tuple[int, int], problem: Glmm) -> Array:
    """Entry of C for column a of a factor and column b of the same or an earlier factor, at every row."""
    (f, i), (g, j) = a, b
    if f == 0:
        return problem.at_rows(0, by_m.first[i, j])
    rows, parts = problem.products, problem.structure.dense_parts()
    start, _, levels = parts[f - 1]
    own = start + i * levels + rows.codes[f - 1]
    if g == 0:
        return by_m.cross[j][rows.tile_level[None], own]
    start, _, levels = parts[g - 1]
    return by_m.dense[own, start + j * levels + rows.codes[g - 1]]


class ShapeTerms(NamedTuple):
    """First derivatives of `RowTerms` in every shape parameter, and second ones of l, l' and W in all pairs."""

    first: list[RowTerms]
    second: list[list[tuple[Array, Array, Array]]]


def by_shape(parameters: Array, point: Point, problem: Glmm) -> ShapeTerms:
    """Return derivatives in the shape parameters at the modes."""
    family, rows, shape = problem.structure.family, problem.products, problem.split(parameters)[2]

    def terms(at: Array) -> RowTerms:
        return row_terms(family, rows.y, rows.weight, point.eta, at)

    def moved(k: int, at: Array) -> RowTerms:
        unit = jnp.zeros_like(at).at[k].set(1.0)
        out: RowTerms = jax.jvp(terms, (at,), (unit,))[1]
        return out

    first = [moved(k, shape) for k in range(family.n_shape)]
    second = []
    for k in range(family.n_shape):
        line = []
        for j in range(k + 1):
            unit = jnp.zeros_like(shape).at[j].set(1.0)
            both: RowTerms = jax.jvp(lambda at, k=k: moved(k, at), (shape,), (unit,))[1]
            line.append((both.value, both.d1, both.weight))
        second.append(line)
    return ShapeTerms(first, second)


def tangents_of(point: Point, shapes: ShapeTerms, problem: Glmm) -> Movement:
    """How the modes and eta move with every parameter."""
    s, rows, terms = problem.structure, problem.products, point.terms
    places = theta_places(s.theta_map)
    by_theta = [rows.z[f][r] * problem.at_rows(f, point.effects[f][c]) for f, r, c in places]
    none = jnp.zeros_like(rows.y)
    fixed_u = jnp.concatenate([jnp.stack(by_theta), rows.x, *([none[None]] * s.family.n_shape)])
    scores = terms.d2[None] * fixed_u
    for k, moved in enumerate(shapes.first):
        scores = scores.at[s.theta_map.n_theta + s.n_fixed + k].add(moved.d1)
    right = list(jax.vmap(lambda r: times_transposed(point.lams, problem.by_level(r)))(scores))
    own = point.score
    for a, (f, r, c) in enumerate(places):
        right[f] = right[f].at[a, c].add(own[f][r])
    effects: Effects = jax.vmap(lambda one: solve(point.observed, one, s))(tuple(right))
    moved_eta = fixed_u + jax.vmap(lambda u: problem.rows_of(times(point.lams, u)))(effects)
    return Movement(fixed_u, effects, moved_eta)


def _gradient(
    point: Point, shapes: ShapeTerms, rows: Adjoint, tangents: Movement, problem: Glmm
) -> Float[Array, " parameters"]:
    terms, score = point.terms, point.score
    extra = [
        jnp.sum(terms.weight * d_h) + score[f][r] @ rows.t[f][c]
        for d_h, (f, r, c) in zip(rows.d_h, theta_places(problem.structure.theta_map), strict=True)
    ]
    extra += [jnp.zeros_like(extra[0])] * problem.structure.n_fixed
    extra += [jnp.sum(rows.density * own.value + own.weight * rows.h + own.d1 * rows.tau) for own in shapes.first]
    out: Array = jnp.einsum("prt,rt->p", tangents.fixed_u, rows.by_eta) + jnp.stack(extra)
    return out


def curvatures(
    point: Point, shapes: ShapeTerms, rows: Adjoint, tangents: Movement, problem: Glmm
) -> Float[Array, "parameters parameters"]:
    """Second derivatives along the tangents of L at fixed C and without |u|^2, up to their symmetric part."""
    terms, n = point.terms, problem.structure.n_parameters
    eta = tangents.eta.reshape(n, -1)
    curvature = rows.density * terms.d2 + terms.weight2 * rows.h + terms.d3 * rows.tau
    # what else moves with theta and with shape parameters, times eta
    beside = [terms.weight1 * d_h + terms.d2 * d_tau for d_h, d_tau in zip(rows.d_h, rows.d_tau, strict=True)]
    beside += [rows.density * own.d1 + own.weight1 * rows.h + own.d2 * rows.tau for own in shapes.first]
    d = problem.structure.theta_map.n_theta
    places = np.r_[np.arange(d), np.arange(d + problem.structure.n_fixed, n)]
    half = (eta * (curvature / 2).reshape(1, -1)) @ eta.T
    half = half.at[places].add(jnp.stack(beside).reshape(len(places), -1) @ eta.T)
    # eta is bilinear in Lambda and u
    slopes = problem.by_level(rows.by_eta)
    lines = [tangents.effects[f][:, c] @ slopes[f][r] for f, r, c in theta_places(problem.structure.theta_map)]
    bent = jnp.zeros((n, n), eta.dtype).at[: len(lines)].set(jnp.stack(lines))
    half = half + bent + _second(point, shapes, rows, problem)
    return half + half.T


def d_blocks(point: Point, shapes: ShapeTerms, tangents: Movement, problem: Glmm) -> Blocks:
    """Derivatives of M in every parameter."""
    s = problem.structure
    weights = point.terms.weight1[None] * tangents.eta
    for k, moved in enumerate(shapes.first):
        weights = weights.at[s.theta_map.n_theta + s.n_fixed + k].add(moved.weight)

    def one(weight: Array, d_lams: tuple[Array, ...]) -> Blocks:
        both = (point.lams, point.squares), (d_lams, problem.weighted_squares(weight))
        out: Blocks = jax.jvp(lambda lams, squares: scaled(lams, squares, s), *both)[1]
        return out

    out: Blocks = jax.vmap(one)(weights, theta_tangents(s, weights.dtype))
    return out


def _second(point: Point, shapes: ShapeTerms, rows: Adjoint, problem: Glmm) -> Float[Array, "parameters parameters"]:
    """Half of the second derivatives that do not pass through eta: of h in theta, and those of shape parameters."""
    s, places = problem.structure, theta_places(problem.structure.theta_map)
    out = jnp.zeros((s.n_parameters, s.n_parameters), rows.h.dtype)
    for a, (f, r, c) in enumerate(places):
        left = point.terms.weight * problem.products.z[f][r]
        for b, (g, k, e) in enumerate(places[: a + 1]):
            value = jnp.sum(left * problem.products.z[g][k] * rows.block[f, c, g, e])
            out = out.at[a, b].set(value).at[b, a].set(value)
    shift = s.theta_map.n_theta + s.n_fixed
    for k, line in enumerate(shapes.second):
        for j, (value, d1, weight) in enumerate(line):
            both = jnp.sum(rows.density * value + weight * rows.h + d1 * rows.tau) / 2
            out = out.at[shift + k, shift + j].set(both).at[shift + j, shift + k].set(both)
        own = shapes.first[k]
        for a in range(len(places)):
            out = out.at[shift + k, a].set(jnp.sum(own.weight * rows.d_h[a] + own.d1 * rows.d_tau[a]))
    return out
