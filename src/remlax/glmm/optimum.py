"""Fit one data set by joint Newton steps over (theta, beta, shape), and describe where it ended."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..kernels.criterion import Derivatives
from ..kernels.newton import Optimum, minimise
from ..shapes import Float, Int
from .elimination import inverse_blocks, solve
from .laplace import Point, at_modes, laplace_derivatives
from .problem import Effects, Glmm, times_transposed, zero_effects
from .start import start


class _Prediction(NamedTuple):
    """Parameters that were evaluated last, the modes u there, and their derivatives (parameters, q, levels)."""

    at: Array
    effects: Effects
    moved: Effects

    def modes(self, parameters: Array) -> Effects:
        """Modes at other parameters, to first order."""
        step = parameters - self.at
        return tuple(u + jnp.einsum("a,aij->ij", step, d) for u, d in zip(self.effects, self.moved, strict=True))


def newton(
    parameters: Float[Array, " parameters"], spread: Float[Array, ""], max_iter: Int[Array, ""], problem: Glmm
) -> Optimum:
    """Minimise -2 log L; every search for modes begins where the last one predicts them.

    Parameters
    ----------
    parameters : Array
        Start; an entry that is NaN asks for `start`.
    spread : Array, scalar
        Factor on the theta of `start`.
    max_iter : Array, integer scalar
        Evaluations allowed.
    problem : Glmm

    Returns
    -------
    Optimum
        ``theta`` holds all parameters.
    """
    d = problem.structure.theta_map.n_theta
    own = start(problem)
    own = own.at[:d].multiply(spread)
    first = jnp.where(jnp.isnan(parameters), own, parameters)

    def evaluate(at: Array, carry: Any) -> tuple[Derivatives, Any]:
        point = at_modes(at, carry.modes(at), problem)
        found, moved = laplace_derivatives(point, at, problem)
        return found, _Prediction(at, point.effects, moved)

    zero = zero_effects(problem.structure, first.dtype)
    still = tuple(jnp.zeros((len(first), *u.shape), u.dtype) for u in zero)
    return minimise(first, evaluate, max_iter, carry=_Prediction(first, zero, still))


class Description(NamedTuple):
    """One data set at its optimum.

    value, grad, hess: of -2 log L; modes b = Lambda u per factor (q, levels) and their variances given the parameters
    (q, q, levels); moved: derivatives of b in the parameters (parameters, q, levels); unscaled: the matrix of the
    coefficients from the weighted least squares of the mode search, (p, p), whose inverse square root lme4 calls RX.
    """

    value: Array
    grad: Array
    hess: Array
    modes: Effects
    variances: Effects
    moved: Effects
    unscaled: Array


def describe(parameters: Float[Array, " parameters"], problem: Glmm) -> Description:
    """Evaluate one data set where its fit ended."""
    point = at_modes(parameters, zero_effects(problem.structure, parameters.dtype), problem)
    found, moved = laplace_derivatives(point, parameters, problem)
    theta_map = problem.structure.theta_map
    d_lams = _entries(point.effects, theta_map.n_theta, problem)
    turned = tuple(
        jnp.einsum("ij,ajl->ail", lam, du) + own for lam, du, own in zip(point.lams, moved, d_lams, strict=True)
    )
    modes = tuple(lam @ u for lam, u in zip(point.lams, point.effects, strict=True))
    return Description(*found, modes, _variances(point, problem), turned, _fixed_information(point, problem))


def _entries(effects: Effects, n_theta: int, problem: Glmm) -> Effects:
    """dLambda/dtheta_a u of every parameter and factor, (parameters, q, levels)."""
    map_, n = problem.structure.theta_map, problem.structure.n_parameters
    out = [jnp.zeros((n, *u.shape), u.dtype) for u in effects]
    for a in range(n_theta):
        f = map_.factor[a]
        out[f] = out[f].at[a, map_.row[a]].set(effects[f][map_.col[a]])
    return tuple(out)


def _variances(point: Point, problem: Glmm) -> Effects:
    """Lambda M^-1 Lambda' of every level."""
    inverse = inverse_blocks(point.weights)
    blocks = [inverse.first]
    for start_, q, levels in problem.structure.dense_parts():
        own = inverse.dense[start_ : start_ + q * levels, start_ : start_ + q * levels]
        blocks.append(jnp.einsum("iljl->ijl", own.reshape(q, levels, q, levels)))
    return tuple(jnp.einsum("ik,kml,jm->ijl", lam, block, lam) for lam, block in zip(point.lams, blocks, strict=True))


def _fixed_information(point: Point, problem: Glmm) -> Array:
    """X'WX - X'WZ Lambda M^-1 Lambda'Z'WX."""
    rows, weight = problem.products, point.terms.weight
    columns: Effects = jax.vmap(lambda x: times_transposed(point.lams, problem.by_level(weight * x)))(rows.x)
    solved: Effects = jax.vmap(lambda right: solve(point.weights, right, problem.structure))(columns)
    through = sum(jnp.einsum("aij,bij->ab", left, right) for left, right in zip(columns, solved, strict=True))
    x = rows.x.reshape(rows.x.shape[0], -1)
    return (x * weight.reshape(-1)) @ x.T - through + jnp.diag(rows.padded)
