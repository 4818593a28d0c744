"""The profiled REML / ML deviance of theta, with exact gradient and Hessian, for one data set."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .border import Border, Expansion
from .crossed import crossed_derivatives
from .factor import marginal
from .single import single_derivatives
from .small import factor_inverse
from .structure import Index, Structure, Values

LOG_2PI = math.log(2 * math.pi)


class Derivatives(NamedTuple):
    """Criterion, gradient (d,) and Hessian (d, d) at one theta."""

    value: Array
    grad: Array
    hess: Array


def degrees(structure: Structure, values: Values) -> Array:
    """N = n - p under REML, n under ML."""
    return values.n_obs - values.n_fixed if structure.reml else values.n_obs


def constant(structure: Structure, values: Values) -> Array:
    """Return what does not depend on theta: constants of the density and of the conditioning."""
    n = degrees(structure, values)
    taken_out = values.constant if structure.reml else values.constant_ml
    return taken_out + n * (1 + LOG_2PI - jnp.log(n) + values.log_scale)


def assemble(logdet: Array, chol: Array, structure: Structure, values: Values) -> Array:
    """Put log|V| and chol(M) together: log|L|^2 + log|RX|^2 + N log r2, and the constant."""
    pivots = jnp.log(jnp.diagonal(chol))
    fixed = 2 * jnp.sum(pivots[:-1]) if structure.reml else 0.0
    return logdet + fixed + degrees(structure, values) * 2 * pivots[-1] + constant(structure, values)


def profiled_deviance(theta: Array, structure: Structure, index: Index, values: Values) -> Array:
    """Profiled REML or ML deviance at theta (Bates et al. 2015, eqs 34 and 41).

    Parameters
    ----------
    theta : Array (d,)
        In the scaled units of ``values`` (see ``crossprod``).
    structure, index, values
        The model's shape and one data set's cross-products.

    Returns
    -------
    Array, scalar
    """
    logdet, m = marginal(theta, structure, index, values)
    return assemble(logdet, factor_inverse(m)[0], structure, values)


def reml_criterion(theta: Array, structure: Structure, index: Index, values: Values) -> Array:
    """REML criterion at theta, whatever ``structure.reml`` says (Bates et al. 2015, eq. 41).

    Parameters
    ----------
    theta : Array (d,)
        In the scaled units of ``values`` (see ``cross_products``).
    structure, index, values
        The model's shape and one data set's cross-products.

    Returns
    -------
    Array, scalar

    Examples
    --------
    `remlax.core` has an example of all functions together.
    """
    return profiled_deviance(theta, replace(structure, reml=True), index, values)


def value_and_grad(theta: Array, structure: Structure, index: Index, values: Values) -> tuple[Array, Array]:
    """Return the criterion and its exact gradient; analytic for one factor, reverse mode for several."""
    if structure.n_factors == 1 or structure.crossed:
        found = expansion(theta, structure, index, values, hessian=False)
        return found.value, found.grad
    return jax.value_and_grad(profiled_deviance)(theta, structure, index, values)


def value_grad_hess(theta: Array, structure: Structure, index: Index, values: Values) -> Derivatives:
    """Return the criterion with its exact gradient and Hessian.

    Analytic for one grouping factor and for the dense block of crossed ones; for nested factors the reverse-mode
    gradient is linearised once and pushed forward along each coordinate.
    """
    if structure.n_factors == 1 or structure.crossed:
        found = expansion(theta, structure, index, values, hessian=True)
        return Derivatives(found.value, found.grad, found.hess)

    def both(t: Array) -> tuple[Array, Array]:
        return jax.value_and_grad(profiled_deviance)(t, structure, index, values)

    (value, grad), push = jax.linearize(both, theta)
    hess = jax.vmap(push)(jnp.eye(theta.shape[0], dtype=theta.dtype))[1]
    return Derivatives(value, grad, (hess + hess.T) / 2)


def expansion(theta: Array, structure: Structure, index: Index, values: Values, *, hessian: bool) -> Expansion:
    def border(m: Array) -> Border:
        return _profiled_border(m, structure, values)

    map_ = structure.theta_map
    if structure.crossed:
        return crossed_derivatives(theta, map_.factors, border, structure, index, values, hessian=hessian)
    (lam,) = map_.factors(theta)
    _, row, col = map_.entries(0)
    unit = np.zeros((len(row), *lam.shape))
    unit[np.arange(len(row)), row, col] = 1.0
    return single_derivatives(lam, jnp.asarray(unit, lam.dtype), border, values, hessian=hessian)


def _profiled_border(m: Array, structure: Structure, values: Values) -> Border:
    """Return log|RX|^2 + N log r2 (the first under REML only) where M is the identity, and the constant."""
    chol, inverse = factor_inverse(m)
    n, w = degrees(structure, values), m.shape[0]
    fixed = 1.0 if structure.reml else 0.0
    return Border(
        value=assemble(jnp.zeros((), m.dtype), chol, structure, values),
        turn=inverse,
        weight=jnp.full(w, fixed, m.dtype).at[-1].set(n),
        bend=jnp.full((w, w), n).at[:-1, :-1].set(fixed),
    )
