"""Adaptive Gauss-Hermite quadrature of -2 log L with one grouping factor, with exact gradient and Hessian.

In every level, with u its modes, M = L L', K = L^-T and f(u) its log-density less |u|^2 / 2, nodes z_k and weights w_k
of the standard normal distribution are taken at u_k = u + K z_k (Pinheiro & Bates 1995, J. Comput. Graph. Stat. 4):

    D = D_Laplace - 2 sum log S,    S = sum_k exp(a_k),    a_k = f(u_k) - f(u) + |z_k|^2 / 2 + log w_k

Derivatives follow from L = D + t'g as in ``laplace``, those of log S being moments over the nodes, E, with weights
p_k = exp(a_k) / S. Along a tangent u_k moves by u_a + K_a z_k and eta by A_a + Z N_a z_k, N = Lambda K: linear in z_k,
so that rows enter second derivatives by E[l''], E[l'' z] and E[l'' z z'] only, and no array has rows times nodes.
K_ab enters by <R, K_ab>, R = E[s_k z_k'] with s_k the gradient of f at u_k: with log|M| it makes a function of M,

    h(M) = log|M| - 2 <R, K(M)>,    C = dh/dM,

whose derivatives are those of the Cholesky factor: with F = L^-1 dM K and P(F) its lower triangle with half of the
diagonal, dL = L P(F) and dK = -K P(F)'.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..kernels.blocks import apply_levels
from ..kernels.criterion import Derivatives
from ..shapes import Float
from .elimination import whitened
from .families import log_density, value_terms
from .laplace import (
    Movement,
    Point,
    ShapeTerms,
    adjoint,
    by_shape,
    curvatures,
    d_blocks,
    deviance,
    padding,
    tangents_of,
)
from .problem import Blocks, Effects, Glmm, theta_places, theta_tangents


class NodeGrid(NamedTuple):
    """Nodes z (nodes, q) of the standard normal distribution; log_scale (nodes,): |z|^2 / 2 + log w."""

    z: Float[Array, "nodes q"]
    log_scale: Float[Array, " nodes"]


def node_grid(n_quad: int, q: int, dtype: np.dtype) -> NodeGrid:
    """Products of n_quad nodes a column, exact for polynomials of degree 2 n_quad - 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n_quad)
    log_scale = nodes * nodes / 2 + np.log(weights) - np.log(2 * np.pi) / 2
    z = np.array(list(product(nodes, repeat=q)))
    whole = np.sum(np.array(list(product(log_scale, repeat=q))), axis=1)
    return NodeGrid(jnp.asarray(z, dtype), jnp.asarray(whole, dtype))


class _Nodes(NamedTuple):
    """Where the nodes of a data set stand.

    root (q, q, levels): K; reach (q, R, T): Z Lambda K by row; p (nodes, levels): their weights in the integral;
    log_sum (levels,): log S.
    """

    grid: NodeGrid
    root: Array
    reach: Array
    p: Array
    log_sum: Array


def _nodes_of(point: Point, parameters: Array, problem: Glmm) -> _Nodes:
    s, rows, shape = problem.structure, problem.products, problem.split(parameters)[2]
    points = node_grid(s.n_quad, s.q[0], point.eta.dtype)
    root = jnp.swapaxes(point.weights.first, 0, 1)
    reach = _rows_of(jnp.einsum("ri,ijl->jrl", point.lams[0], root), problem)

    def log_term(node: NodeGrid) -> Array:
        eta = point.eta + jnp.einsum("jrt,j->rt", reach, node.z)
        gain = log_density(s.family, rows.y, rows.weight, eta, shape) - point.terms.value
        step = _away(root, node.z)
        squares = jnp.sum(step * (point.effects[0] + step / 2), axis=0)
        return problem.first_levels(jnp.sum(gain, axis=0)) - squares + node.log_scale

    logs = lax.map(log_term, points)
    log_sum = jax.nn.logsumexp(logs, axis=0)
    return _Nodes(points, root, reach, jnp.exp(logs - log_sum[None]), log_sum)


def _away(root: Array, z: Array) -> Array:
    """K z of every level, (q, levels)."""
    return jnp.einsum("ijl,j->il", root, z)


def quadrature_deviance(point: Point, parameters: Float[Array, " parameters"], problem: Glmm) -> Float[Array, ""]:
    """Return -2 log L; infinite where the modes were not found."""
    return deviance(point, parameters, problem) - 2 * jnp.sum(_nodes_of(point, parameters, problem).log_sum)


def _rows_of(effects: Float[Array, "n q levels"], problem: Glmm) -> Float[Array, "n rows tiles"]:
    """Z b of several sets of effects."""
    out: Array = jax.vmap(lambda own: problem.rows_of((own,)))(effects)
    return out


class _Turns(NamedTuple):
    """How M moves with every parameter, (parameters, q, q, levels): F; lower: P(F); root: dK; reach: N."""

    white: Array
    lower: Array
    root: Array
    reach: Array


def _turns(nodes: _Nodes, point: Point, d_m: Blocks, problem: Glmm) -> _Turns:
    q, n = problem.structure.q[0], problem.structure.n_parameters
    white = jax.vmap(whitened, in_axes=(None, 0))(point.weights, d_m).reshape(n, q, q, -1)
    lower = white * jnp.asarray(_half_lower(q), white.dtype)[None, :, :, None]
    root = -apply_levels(nodes.root[None], jnp.swapaxes(lower, 1, 2))
    reach = jnp.einsum("ri,aijl->arjl", point.lams[0], root)
    reach = reach + jnp.einsum("ari,ijl->arjl", theta_tangents(problem.structure, white.dtype)[0], nodes.root)
    return _Turns(white, lower, root, reach)


def _half_lower(q: int) -> np.ndarray:
    """What a symmetric matrix is multiplied by to leave its lower triangle with half of the diagonal."""
    return np.tril(np.ones((q, q))) - np.eye(q) / 2


class _Moments(NamedTuple):
    """Moments over the nodes with zeta = (1, z): sums over rows by level, or by row (R, T).

    first (parameters, levels): E[a_a]; squares (parameters, parameters): sum over levels of E[a_a a_b];
    scores (q, 1 + q, levels): E[Z'l' zeta']; second (pairs, R, T): E[l'' zeta_i zeta_j] of the pairs i <= j;
    shape_scores (shapes, 1 + q, R, T): E[dl'/dpsi zeta']; shapes (shapes, shapes): E[d2l/dpsi dpsi'].
    """

    first: Array
    squares: Array
    scores: Array
    second: Array
    shape_scores: Array
    shapes: Array


def _moments(nodes: _Nodes, turns: _Turns, tangents: Movement, point: Point, shape: Array, problem: Glmm) -> _Moments:
    s, rows = problem.structure, problem.products
    q, family = s.q[0], s.family
    places = theta_places(s.theta_map)
    columns = jnp.concatenate([rows.z[0], rows.x])
    first, other = _pairs(1 + q)

    def at_node(total: _Moments, node: tuple[Array, Array]) -> tuple[_Moments, None]:
        z, p = node
        zeta, own = jnp.concatenate([jnp.ones_like(z[:1]), z]), problem.at_rows(0, p)
        # a node without weight has derivatives that may not be finite
        eta = jnp.where(own > 0, point.eta + jnp.einsum("jrt,j->rt", nodes.reach, z), point.eta)
        _, d1, minus_d2 = value_terms(family, rows.y, rows.weight, eta, shape)
        sums = problem.first_levels(jnp.sum(columns * d1[None], axis=1))
        effects = point.effects[0] + _away(nodes.root, z)
        direct = [jnp.stack([sums[r] * effects[c] for _, r, c in places]), sums[q:]]
        total_shapes, shape_scores = total.shapes, total.shape_scores
        if family.n_shape:
            value, moved = _shape_derivatives(problem, eta, shape)
            direct.append(problem.first_levels(jnp.sum(value, axis=1)))
            shape_scores = shape_scores + zeta[None, :, None, None] * (own[None] * moved)[:, None]
            total_shapes = total_shapes + _shape_curvature(problem, eta, shape, own)
        score = point.lams[0].T @ sums[:q] - effects
        step = tangents.effects[0] + jnp.einsum("aijl,j->ail", turns.root, z)
        slopes = jnp.concatenate(direct) + jnp.sum(score[None] * step, axis=1)
        weighted = p[None] * slopes
        return _Moments(
            total.first + weighted,
            total.squares + weighted @ slopes.T,
            total.scores + (p[None] * sums[:q])[:, None] * zeta[None, :, None],
            total.second - (zeta[first] * zeta[other])[:, None, None] * (own * minus_d2)[None],
            shape_scores,
            total_shapes,
        ), None

    return lax.scan(at_node, _no_moments(problem), (nodes.grid.z, nodes.p))[0]


def _no_moments(problem: Glmm) -> _Moments:
    s, rows = problem.structure, problem.products
    q, n, n_shape, levels, pairs = s.q[0], s.n_parameters, s.family.n_shape, s.n_levels[0], len(_pairs(1 + s.q[0])[0])
    sizes = (
        (n, levels),
        (n, n),
        (q, 1 + q, levels),
        (pairs, *rows.y.shape),
        (n_shape, 1 + q, *rows.y.shape),
        (n_shape, n_shape),
    )
    return _Moments(*(jnp.zeros(size, rows.y.dtype) for size in sizes))


def _pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs i <= j of n entries, those of the first entry first."""
    first, other = np.triu_indices(n)
    return first, other


def _shape_derivatives(problem: Glmm, eta: Array, shape: Array) -> tuple[Array, Array]:
    """Derivatives of l and l' in every shape parameter, (shapes, R, T)."""
    rows, family = problem.products, problem.structure.family

    def along(unit: Array) -> tuple[Array, Array]:
        terms = jax.jvp(lambda at: value_terms(family, rows.y, rows.weight, eta, at)[:2], (shape,), (unit,))[1]
        return terms[0], terms[1]

    out: tuple[Array, Array] = jax.vmap(along)(jnp.eye(family.n_shape, dtype=shape.dtype))
    return out


def _shape_curvature(problem: Glmm, eta: Array, shape: Array, p: Array) -> Array:
    """Second derivatives of sum p l in the shape parameters, (shapes, shapes)."""
    rows, family = problem.products, problem.structure.family

    def total(at: Array) -> Array:
        return jnp.sum(p * log_density(family, rows.y, rows.weight, eta, at))

    out: Array = jax.hessian(total)(shape)
    return out


def quadrature_derivatives(
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
    nodes = _nodes_of(point, parameters, problem)
    turns = _turns(nodes, point, d_blocks(point, shapes, tangents, problem), problem)
    moments = _moments(nodes, turns, tangents, point, problem.split(parameters)[2], problem)
    value = deviance(point, parameters, problem) - 2 * jnp.sum(nodes.log_sum)
    held = padding(parameters, problem)
    # a node moves with its modes, so that these are derivatives in all
    grad = jnp.einsum("aiil->a", turns.white) - 2 * jnp.sum(moments.first, axis=1) + held * parameters
    hess = _of_nodes(moments, nodes, turns, tangents, problem) + jnp.diag(held)
    hess = hess + _of_matrices(moments, nodes, turns, tangents, shapes, point, problem)
    return Derivatives(value, grad, (hess + hess.T) / 2), tangents.effects


def _of_nodes(
    moments: _Moments, nodes: _Nodes, turns: _Turns, tangents: Movement, problem: Glmm
) -> Float[Array, "parameters parameters"]:
    """Second derivatives of -2 log S at fixed K_ab, up to their symmetric part."""
    s, eta, reach = problem.structure, tangents.eta, turns.reach
    q, n = s.q[0], s.n_parameters

    def by_levels(many: Array) -> Array:
        """Z'r of rows (..., R, T) with two axes before them."""
        out: Array = jax.vmap(jax.vmap(lambda r: problem.by_level(r)[0]))(many)
        return out

    rows = (eta * moments.second[0][None]).reshape(n, -1) @ eta.reshape(n, -1).T
    pushed = by_levels(eta[None] * moments.second[1 : 1 + q, None])
    moved = jnp.einsum("jarl,brjl->ab", pushed, reach)
    squares = jax.vmap(lambda w: problem.weighted_squares(w).first)(moments.second[1 + q :])
    first, other = _pairs(q)
    twice = jnp.asarray(np.where(first == other, 1.0, 2.0), eta.dtype)
    turned = jnp.sum(squares[None] * jnp.moveaxis(reach[:, :, first], 2, 1)[:, :, :, None], axis=2)
    rows = rows + jnp.einsum("amrl,brml->ab", turned * twice[None, :, None, None], reach[:, :, other])
    # eta is bilinear in Lambda and u_k, u_k moves by steps of (1, z)
    steps = jnp.concatenate([tangents.effects[0][:, :, None], turns.root], axis=2)
    lines = [jnp.einsum("ml,bml->b", moments.scores[r], steps[:, c]) for _, r, c in theta_places(s.theta_map)]
    moved = moved.at[: len(lines)].add(jnp.stack(lines))
    if s.family.n_shape:
        mixed = moments.shape_scores[:, 0].reshape(s.family.n_shape, -1) @ eta.reshape(n, -1).T
        mixed = mixed + jnp.einsum("kjrl,arjl->ka", by_levels(moments.shape_scores[:, 1:]), reach)
        at = n - s.family.n_shape
        moved = moved.at[at:].add(mixed)
        rows = rows.at[at:, at:].add(moments.shapes)
    spread = moments.squares - moments.first @ moments.first.T
    turned = jnp.sum(steps[:, :, :, None] * _squares_of(nodes)[None, None], axis=2)
    apart = jnp.einsum("aiml,biml->ab", turned, steps)
    return -2 * (rows + moved + moved.T + spread - apart)


def _squares_of(nodes: _Nodes) -> Float[Array, "m m levels"]:
    """E[zeta zeta']."""
    z = nodes.grid.z
    zeta = jnp.concatenate([jnp.ones_like(z[:, :1]), z], axis=1)
    return jnp.einsum("kij,kl->ijl", zeta[:, :, None] * zeta[:, None], nodes.p)


def _of_matrices(
    moments: _Moments,
    nodes: _Nodes,
    turns: _Turns,
    tangents: Movement,
    shapes: ShapeTerms,
    point: Point,
    problem: Glmm,
) -> Float[Array, "parameters parameters"]:
    """Second derivatives of h(M) + t'g."""
    s, squares = problem.structure, _squares_of(nodes)
    placed = jnp.concatenate([point.effects[0][:, None], nodes.root], axis=1)
    scores = jnp.einsum("ri,rml->iml", point.lams[0], moments.scores)
    scores = scores - jnp.sum(placed[:, :, None] * squares[None], axis=1)
    turned = apply_levels(jnp.swapaxes(nodes.root, 0, 1), scores[:, 1:])
    half = jnp.swapaxes(turned, 0, 1) * jnp.asarray(_half_lower(s.q[0]), turned.dtype)[:, :, None]
    both = half + jnp.swapaxes(half, 0, 1)
    inner = both + jnp.eye(s.q[0], dtype=both.dtype)[:, :, None]
    by_m = apply_levels(apply_levels(nodes.root, inner), jnp.swapaxes(nodes.root, 0, 1))
    blocks = Blocks(by_m, point.squares.cross, point.squares.dense)
    rows = adjoint(point, blocks, 0.0, (-2 * scores[:, 0],), problem)
    white = turns.white.reshape(s.n_parameters, -1)
    lower = turns.lower
    left = jnp.swapaxes(apply_levels(turned[None], lower), 1, 2) + apply_levels(both[None], lower) / 2
    bent = left.reshape(white.shape) @ lower.reshape(white.shape).T
    return curvatures(point, shapes, rows, tangents, problem) - white @ white.T - 2 * (bent + bent.T)
