"""Minimise the ML deviance of one data set with one parameter held at a value.

The covariance of the random effects is C C' with C linear in the coordinates, so that an SD is a coordinate of its own
when its column comes first; sigma enters by its logarithm. The deviance is a function of D = C C' / sigma^2, so that an
SD of zero and a correlation of one are values like others.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular

from .covariance import marginal_of_covariance
from .criterion import Derivatives
from .optimize import Optimum, minimise
from .structure import Index, Structure, Values


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

    maps: tuple[Array, ...]
    start: Array
    free: Array
    square: Array
    row: Array
    target: Array
    hold_row: Array


def held_deviance(at: Array, held: Held, structure: Structure, index: Index, values: Values) -> Array:
    """ML deviance at coordinates (d + 1,), the coefficients at their best; constants are left out."""
    precision = jnp.exp(-2 * at[-1])
    coordinates = jnp.where(held.square > 0, at**2, at)[:-1]
    ds = []
    for part in held.maps:
        c = jnp.einsum("a,aij->ij", coordinates, part)
        ds.append(c @ c.T * precision)
    logdet, m = marginal_of_covariance(tuple(ds), structure, index, values)
    chol = jnp.linalg.cholesky(m, symmetrize_input=False)
    p = structure.n_fixed
    reach = solve_triangular(chol[:p, :p], held.row, lower=True)
    gap = held.target - reach @ chol[p, :p]
    r2 = chol[p, p] ** 2 + held.hold_row * gap**2 / (reach @ reach)
    out: Array = logdet + r2 * precision + 2 * values.n_obs * at[-1]
    return out


def minimise_held(held: Held, structure: Structure, index: Index, values: Values, max_iter: Array) -> Optimum:
    """Minimise over what is free.

    Returns
    -------
    Optimum
        ``theta`` holds the coordinates (d + 1,).
    """

    def evaluate(at: Array) -> Derivatives:
        def both(t: Array) -> tuple[Array, Array]:
            return jax.value_and_grad(held_deviance)(t, held, structure, index, values)

        (value, grad), push = jax.linearize(both, at)
        hess = jax.vmap(push)(jnp.eye(at.shape[0], dtype=at.dtype))[1]
        free = held.free
        masked = (hess + hess.T) / 2 * free[:, None] * free[None, :] + jnp.diag(1 - free)
        return Derivatives(value, grad * free, masked)

    return minimise(held.start, evaluate, max_iter)
