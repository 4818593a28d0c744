"""Fit one data set by joint Newton steps over (theta, beta, shape), and describe where it ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..kernels.criterion import Derivatives
from ..kernels.lbfgs import LBFGS, run_jaxopt
from ..kernels.newton import NewtonState, Optimum, minimise
from ..kernels.structured.criterion import by_chain_rule
from ..kernels.structured.parameters import ParameterMap
from ..priors.penalty import Penalty, added
from ..shapes import Float, Int
from .elimination import inverse_blocks, solve
from .laplace import Point, at_modes, deviance, laplace_derivatives, point_at
from .problem import Effects, Glmm, times_transposed, zero_effects
from .quadrature import quadrature_derivatives, quadrature_deviance
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


class Description(NamedTuple):
    """One data set where its fit ended.

    modes: b = Lambda u per factor (q, levels); variances (q, q, levels): of b given the parameters; moved
    (parameters, q, levels): derivatives of b; information (p, p): inverse of the covariance of the coefficients given
    theta, as the weighted least squares of the mode search has it (lme4's RX'RX), with the prior of the coefficients.
    """

    modes: Effects
    variances: Effects
    moved: Effects
    information: Array


def fit(
    parameters: Float[Array, " parameters"],
    spread: Float[Array, ""],
    max_iter: Int[Array, ""],
    problem: Glmm,
    options: LBFGS | None = None,
    penalty: Penalty | None = None,
    structured: ParameterMap | None = None,
) -> tuple[Optimum, Description]:
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
    options : LBFGS, optional
        jaxopt's L-BFGS makes the first step, and Newton steps certify where it ends.
    penalty : Penalty, optional
        What a prior on theta adds to -2 log L.
    structured : ParameterMap, optional
        What takes the place of theta in the parameters, where theta is a function of it.

    Returns
    -------
    Optimum
        ``theta`` holds all parameters; everything is of the point where the fit ended.
    Description
    """
    d = problem.structure.theta_map.n_theta
    own = start(problem)
    own = own.at[:d].multiply(spread)
    if structured is not None:
        own = jnp.concatenate([structured.from_theta(own[:d]), own[d:]])
    first = jnp.where(jnp.isnan(parameters), own, parameters)

    def by_search(at: Array, inside: Array, found: Derivatives) -> Any:
        penalised = _penalised(inside, found, problem, penalty)
        return penalised if structured is None else by_chain_rule(structured, at, *penalised)

    def evaluate(at: Array, carry: Any) -> tuple[Derivatives, Any]:
        inside = _inside(at, structured)
        point = at_modes(inside, carry.modes(inside), problem)
        found, moved = _derivatives(point, inside, problem)
        return by_search(at, inside, found), _Prediction(inside, point.effects, moved)

    def value_and_grad(at: Array) -> tuple[Array, Array]:
        inside = _inside(at, structured)
        found = by_search(at, inside, derivatives_at(inside, problem))
        return found.value, found.grad

    def leap(s: NewtonState, at_start: Array) -> tuple[Array, Array, Array]:
        assert options is not None
        return run_jaxopt(s, at_start, value_and_grad, options)

    zero = zero_effects(problem.structure, first.dtype)
    begin = _inside(first, structured)
    carry = _Prediction(begin, zero, tuple(jnp.zeros((len(begin), *u.shape), u.dtype) for u in zero))
    lower = None if structured is None else structured.lower + (-np.inf,) * (len(begin) - d)
    optimum, end = minimise(first, evaluate, max_iter, None if options is None else leap, carry, look=True, lower=lower)
    return optimum, _describe(end, problem)


def _inside(at: Array, structured: ParameterMap | None) -> Array:
    """Theta, coefficients and shape parameters where a search is."""
    if structured is None:
        return at
    return jnp.concatenate([structured.theta(at[: structured.n_theta]), at[structured.n_theta :]])


def _penalised(at: Array, found: Derivatives, problem: Glmm, penalty: Penalty | None) -> Any:
    """Derivatives of -2 log L and those of the priors."""
    d, own = problem.structure.theta_map.n_theta, problem.products.prior
    if penalty is not None:
        found = added(found, penalty.derivatives(at[:d]))
    return found if own is None else added(found, own.derivatives(problem.split(at)[1]), d)


def optimum_alone(
    parameters: Float[Array, " parameters"], spread: Float[Array, ""], max_iter: Int[Array, ""], problem: Glmm
) -> tuple[Optimum, tuple[()]]:
    """Fit as `fit` does, without a description of where the fit ended."""
    return fit(parameters, spread, max_iter, problem)[0], ()


def deviance_at(parameters: Float[Array, " parameters"], problem: Glmm) -> Float[Array, ""]:
    """-2 log L at any parameters."""
    point = at_modes(parameters, zero_effects(problem.structure, parameters.dtype), problem)
    own = deviance if problem.structure.n_quad == 1 else quadrature_deviance
    return own(point, parameters, problem)


def derivatives_at(parameters: Float[Array, " parameters"], problem: Glmm) -> Derivatives:
    """-2 log L at any parameters, with its gradient and Hessian."""
    point = at_modes(parameters, zero_effects(problem.structure, parameters.dtype), problem)
    return _derivatives(point, parameters, problem)[0]


def predictor_at(
    y: Float[Array, "rows tiles"], parameters: Float[Array, " parameters"], problem: Glmm
) -> Float[Array, "rows tiles"]:
    """Linear predictor of every row at the modes that another response has."""
    of_response = replace(problem, products=replace(problem.products, y=y))
    return at_modes(parameters, zero_effects(problem.structure, parameters.dtype), of_response).eta


def _derivatives(point: Point, parameters: Array, problem: Glmm) -> tuple[Derivatives, Effects]:
    own = laplace_derivatives if problem.structure.n_quad == 1 else quadrature_derivatives
    return own(point, parameters, problem)


def _describe(end: _Prediction, problem: Glmm) -> Description:
    point = point_at(end.at, end.effects, jnp.asarray(True), problem)
    d_lams = _entries(point.effects, problem.structure.theta_map.n_theta, problem)
    moved = tuple(
        jnp.einsum("ij,ajl->ail", lam, du) + own for lam, du, own in zip(point.lams, end.moved, d_lams, strict=True)
    )
    modes = tuple(lam @ u for lam, u in zip(point.lams, point.effects, strict=True))
    return Description(
        modes, _variances(point, problem), moved, _fixed_information(point, problem.split(end.at)[1], problem)
    )


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


def _fixed_information(point: Point, beta: Array, problem: Glmm) -> Array:
    """X'WX - X'WZ Lambda M^-1 Lambda'Z'WX."""
    rows, weight = problem.products, point.terms.weight
    columns: Effects = jax.vmap(lambda x: times_transposed(point.lams, problem.by_level(weight * x)))(rows.x)
    solved: Effects = jax.vmap(lambda right: solve(point.weights, right, problem.structure))(columns)
    through = sum(jnp.einsum("aij,bij->ab", left, right) for left, right in zip(columns, solved, strict=True))
    x = rows.x.reshape(rows.x.shape[0], -1)
    out = (x * weight.reshape(1, -1)) @ x.T - through + jnp.diag(rows.padded)
    return out if rows.prior is None else out + rows.prior.derivatives(beta).hess / 2
