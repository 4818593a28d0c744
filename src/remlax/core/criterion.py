"""The profiled REML / ML deviance of theta, with exact gradient and Hessian, for one data set."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .crossed import crossed_derivatives
from .factor import marginal, small_apply, small_factor
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
    if structure.n_factors == 1:
        found = _one_factor(theta, structure, values, hessian=False)
        return found.value, found.grad
    if structure.crossed:
        found = _crossed(theta, structure, index, values, hessian=False)
        return found.value, found.grad
    return jax.value_and_grad(profiled_deviance)(theta, structure, index, values)


def value_grad_hess(theta: Array, structure: Structure, index: Index, values: Values) -> Derivatives:
    """Return the criterion with its exact gradient and Hessian.

    Analytic for one grouping factor and for the dense block of crossed ones; for nested factors the reverse-mode
    gradient is linearised once and pushed forward along each coordinate.
    """
    if structure.n_factors == 1:
        return _one_factor(theta, structure, values, hessian=True)
    if structure.crossed:
        return _crossed(theta, structure, index, values, hessian=True)

    def both(t: Array) -> tuple[Array, Array]:
        return jax.value_and_grad(profiled_deviance)(t, structure, index, values)

    (value, grad), push = jax.linearize(both, theta)
    hess = jax.vmap(push)(jnp.eye(theta.shape[0], dtype=theta.dtype))[1]
    return Derivatives(value, grad, (hess + hess.T) / 2)


def _crossed(theta: Array, structure: Structure, index: Index, values: Values, *, hessian: bool) -> Derivatives:
    n = degrees(structure, values)
    logdet, chol, grad, hess = crossed_derivatives(theta, structure, index, values, n, hessian=hessian)
    return Derivatives(assemble(logdet, chol, structure, values), grad, hess)


def _one_factor(theta: Array, structure: Structure, values: Values, *, hessian: bool) -> Derivatives:
    """Derivatives with respect to D = Lambda Lambda' from the forward pass, then the chain rule to theta."""
    (lam,) = structure.theta_map.factors(theta)
    zz, zr = values.zz[0], values.zr[0]
    n = degrees(structure, values)
    pinv, logdet = small_factor(zz, lam)
    solved = small_apply(pinv, zr)
    m = values.ww - jnp.einsum("kal,kbl->ab", zr, solved)
    chol, inverse = factor_inverse(m)
    value = assemble(logdet, chol, structure, values)

    # A = Z'V^-1 Z; B = Z'V^-1 [X y] in the coordinates where M is the identity, so that its last column is
    # e / sqrt(r2) with e = Z'V^-1 (y - X beta).
    w = chol.shape[0]
    a = zz - small_apply(zz, small_apply(pinv, zz))
    b = jnp.einsum("ial,ca->icl", zr - small_apply(zz, solved), inverse)
    weight = jnp.full(w, 1.0 if structure.reml else 0.0, chol.dtype).at[-1].set(n)
    c = jnp.einsum("ial,a,jal->ijl", b, weight, b)

    grad_d = jnp.sum(a - c, axis=2)
    _, row, col = structure.theta_map.entries(0)
    grad = 2 * (grad_d @ lam)[row, col]
    hess = _one_factor_hessian(structure, lam, a, b, c, grad_d, n) if hessian else jnp.zeros((0, 0), grad.dtype)
    return Derivatives(value, grad, hess)


def _one_factor_hessian(
    structure: Structure, lam: Array, a: Array, b: Array, c: Array, grad_d: Array, n: Array
) -> Array:
    """Second derivatives; the sums over levels are two Gram matrices, the rest is d x d work."""
    q, w = b.shape[0], b.shape[1]
    _, row, col = structure.theta_map.entries(0)
    unit = np.zeros((len(row), q, q))
    unit[np.arange(len(row)), row, col] = 1.0
    d_lam = jnp.asarray(unit, lam.dtype) @ lam.T
    d_d = d_lam + jnp.swapaxes(d_lam, 1, 2)

    a2, c2, b2 = a.reshape(q * q, -1), c.reshape(q * q, -1), b.reshape(q * w, -1)
    mixed = ((2 * c2 - a2) @ a2.T).reshape(q, q, q, q)
    d_m = jnp.einsum("aij,ixjy->axy", d_d, (b2 @ b2.T).reshape(q, w, q, w))
    weight = jnp.full((w, w), n).at[:-1, :-1].set(1.0 if structure.reml else 0.0)
    same_column = np.equal.outer(col, col)
    hess = (
        jnp.einsum("ijkl,ajk,bli->ab", mixed, d_d, d_d)
        - jnp.einsum("axy,xy,bxy->ab", d_m, weight, d_m)
        + 2 * jnp.where(same_column, grad_d[np.ix_(row, row)], jnp.zeros((), lam.dtype))
    )
    return (hess + hess.T) / 2
