"""Minimise the ML deviance of one data set with one parameter held at a value.

The covariance of the random effects is C C' with C linear in the coordinates, so that an SD is a coordinate of its own
when its column comes first; sigma enters by its logarithm. The deviance is a function of D = C C' / sigma^2, so that an
SD of zero and a correlation of one are values like others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..shapes import Float, Int
from .criterion import Derivatives
from .newton import Optimum, minimise
from .problem import Border, Expansion, Problem
from .small import factor_inverse
from .theta import mapped_factors


class Held(NamedTuple):
    """One data set's model with something held.

    Parameters
    ----------
    maps : tuple of Array (d, q, q)
        Per factor, in elimination order: C is the sum of coordinates times these.
    start : Array (d + 1,)
        Coordinates of C, then log sigma; what is held has its value here.
    free : Array (d + 1,)
        1 where a coordinate is free, 0 where it is held.
    square : Array (d + 1,)
        1 where the square of the coordinate enters: SDs that must not change sign, since a correlation is held.
    row : Array (p,)
        Linear combination of the coefficients, conditioned coordinates; not zero.
    target : Array, scalar
        Its value where ``hold_row`` is 1.
    hold_row : Array, scalar
        1 holds the linear combination, 0 leaves it free.
    """

    maps: tuple[Float[Array, "c _q _q"], ...]
    start: Float[Array, " c+1"]
    free: Float[Array, " c+1"]
    square: Float[Array, " c+1"]
    row: Float[Array, " p"]
    target: Float[Array, ""]
    hold_row: Array


def _border(m: Array, held: Held, precision: Array) -> Border:
    """Return the residual sum of squares over sigma^2, the coefficients at their best given what is held."""
    p = m.shape[0] - 1
    chol, inverse = factor_inverse(m)
    reach = inverse[:p, :p] @ held.row
    length = jnp.sqrt(reach @ reach)
    along = reach / length
    shift = held.hold_row * (held.target - reach @ chol[p, :p]) / length
    r2 = chol[p, p] ** 2 + shift**2
    gamma = inverse[:p, :p].T @ (chol[p, :p] + shift * along)
    # coordinates of the coefficients without the held direction, then the residual
    across = inverse[:p] - held.hold_row * jnp.outer(along, along @ inverse[:p])
    last = jnp.append(-gamma, 1.0) / jnp.sqrt(r2)
    n = r2 * precision
    curvature = jnp.zeros_like(m).at[p, :p].set(n).at[:p, p].set(n)
    return Border(n, jnp.concatenate([across, last[None]]), jnp.zeros(p + 1, m.dtype).at[p].set(n), curvature)


def held_deviance(at: Float[Array, " coordinates"], held: Held, problem: Problem[Any, Any]) -> Float[Array, ""]:
    """ML deviance at coordinates (d + 1,), the coefficients at their best; constants are left out."""
    entries = jnp.where(held.square > 0, at**2, at)[:-1]
    logdet, m = problem.marginal(mapped_factors(entries * jnp.exp(-at[-1]), held.maps), lower=False)
    out: Array = logdet + _border(m, held, jnp.exp(-2 * at[-1])).value + 2 * problem.products.n_obs * at[-1]
    return out


def held_derivatives(at: Float[Array, " coordinates"], held: Held, problem: Problem[Any, Any]) -> Derivatives:
    """`held_deviance` with its gradient (d + 1,) and Hessian, also in what is held."""
    squared, shrink, precision = held.square[:-1] > 0, jnp.exp(-at[-1]), jnp.exp(-2 * at[-1])
    theta = jnp.where(squared, at[:-1] ** 2, at[:-1]) * shrink

    def border(m: Array) -> Border:
        return _border(m, held, precision)

    whole = problem.expansion(theta, held.maps, border, hessian=True, lower=False)
    return _by_coordinates(
        whole, at, theta, jnp.where(squared, 2 * at[:-1], 1.0) * shrink, held, problem.products.n_obs
    )


def _by_coordinates(found: Expansion, at: Array, theta: Array, slope: Array, held: Held, n_obs: Array) -> Derivatives:
    """From (theta, log sigma) to coordinates and log sigma; theta shrinks as sigma grows."""
    rest, d_rest = found.border_value, found.d_m[:, -1, -1] * found.border_value
    by_sigma = 2 * n_obs - 2 * rest - found.grad @ theta
    grad = jnp.append(found.grad * slope, by_sigma)
    shape = jnp.concatenate([jnp.diag(slope), -theta[:, None]], axis=1)
    # what the curvature in theta and rss does not hold: that of theta itself, and sigma^-2 beside rss
    beside = -2 * shape.T @ d_rest - jnp.append(found.grad * slope, 0.0)
    bent = found.grad * jnp.where(held.square[:-1] > 0, 2.0, 0.0) * jnp.exp(-at[-1])
    hess = shape.T @ found.hess @ shape + jnp.diag(jnp.append(bent, found.grad @ theta + 4 * rest))
    hess = hess.at[-1].add(beside).at[:, -1].add(beside)
    return Derivatives(found.value + 2 * n_obs * at[-1], grad, hess)


def minimise_held(held: Held, max_iter: Int[Array, ""], problem: Problem[Any, Any]) -> Optimum:
    """Minimise over what is free.

    Returns
    -------
    Optimum
        ``theta`` holds the coordinates (d + 1,).
    """

    def evaluate(at: Array, carry: Any) -> tuple[Derivatives, Any]:
        value, grad, hess = held_derivatives(at, held, problem)
        free = held.free
        return Derivatives(value, grad * free, hess * free[:, None] * free[None, :] + jnp.diag(1 - free)), carry

    return minimise(held.start, evaluate, max_iter)[0]
