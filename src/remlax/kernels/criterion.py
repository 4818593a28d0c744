"""Criterion: the profiled REML or ML deviance of theta, with exact gradient and Hessian, for one data set."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..shapes import Float
from .problem import Border, Expansion, Problem, degrees
from .small import factor_inverse

LOG_2PI = math.log(2 * math.pi)


class Derivatives(NamedTuple):
    """Criterion, gradient (d,) and Hessian (d, d) at one theta."""

    value: Float[Array, ""]
    grad: Float[Array, " parameters"]
    hess: Float[Array, "parameters parameters"]


class Criterion(Hashable, Protocol):
    """What the engine minimises over the parameters of every data set; part of the compile key."""

    def start(self, problem: Problem[Any, Any]) -> Array:
        """Parameters to start from, (d,)."""
        ...

    def value_and_grad(self, at: Array, problem: Problem[Any, Any]) -> tuple[Array, Array]:
        """Value and gradient (d,)."""
        ...

    def derivatives(self, at: Array, problem: Problem[Any, Any]) -> Derivatives:
        """Value, gradient and Hessian."""
        ...


@runtime_checkable
class BoundedCriterion(Protocol):
    """A criterion of parameters that end somewhere."""

    @property
    def lower(self) -> tuple[float, ...]:
        """Least value of every parameter, minus infinity where it has none, (d,)."""
        ...


@dataclass(frozen=True)
class ProfiledDeviance:
    """The profiled REML or ML deviance, as the structure says, as a criterion of theta."""

    def start(self, problem: Problem[Any, Any]) -> Float[Array, " d"]:
        """Moment estimate of theta."""
        return moment_start(problem)

    def value_and_grad(
        self, at: Float[Array, " d"], problem: Problem[Any, Any]
    ) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        """See `value_and_grad`."""
        return value_and_grad(at, problem)

    def derivatives(self, at: Float[Array, " d"], problem: Problem[Any, Any]) -> Derivatives:
        """See `value_grad_hess`."""
        return value_grad_hess(at, problem)


def constant(problem: Problem[Any, Any]) -> Float[Array, ""]:
    """Return what does not depend on theta: constants of the density and of the conditioning."""
    products, n = problem.products, degrees(problem)
    taken_out: Array = products.constant if problem.structure.reml else products.constant_ml
    out: Array = taken_out + n * (1 + LOG_2PI - jnp.log(n) + products.log_scale)
    return out


def assemble(logdet: Float[Array, ""], chol: Float[Array, "w w"], problem: Problem[Any, Any]) -> Float[Array, ""]:
    """Put log|V| and chol(M) together: log|L|^2 + log|RX|^2 + N log r2, and the constant."""
    pivots = jnp.log(jnp.diagonal(chol))
    fixed = 2 * jnp.sum(pivots[:-1]) if problem.structure.reml else 0.0
    return logdet + fixed + degrees(problem) * 2 * pivots[-1] + constant(problem)


def marginal(theta: Float[Array, " d"], problem: Problem[Any, Any]) -> tuple[Float[Array, ""], Float[Array, "w w"]]:
    """Compute log|V|, a scalar, and M = [X y]'V^-1[X y], (p + 1, p + 1), at theta (d,)."""
    return problem.marginal(problem.structure.theta_map.factors(theta))


def profiled_deviance(theta: Float[Array, " d"], problem: Problem[Any, Any]) -> Float[Array, ""]:
    """Profiled REML or ML deviance at theta (Bates et al. 2015, eqs 34 and 41).

    Parameters
    ----------
    theta : Array (d,)
        In the scaled units of the products (see ``cross_products``).
    problem : Problem
        One data set.

    Returns
    -------
    Array, scalar
    """
    logdet, m = marginal(theta, problem)
    return assemble(logdet, factor_inverse(m)[0], problem)


def reml_criterion(theta: Float[Array, " d"], problem: Problem[Any, Any]) -> Float[Array, ""]:
    """REML criterion at theta, whatever ``structure.reml`` says (Bates et al. 2015, eq. 41).

    Parameters
    ----------
    theta : Array (d,)
        In the scaled units of the products (see ``cross_products``).
    problem : Problem
        One data set.

    Returns
    -------
    Array, scalar

    Examples
    --------
    `remlax.core` has an example of all functions together.
    """
    return profiled_deviance(theta, problem.with_reml(True))


def value_and_grad(
    theta: Float[Array, " d"], problem: Problem[Any, Any]
) -> tuple[Float[Array, ""], Float[Array, " d"]]:
    """Return the criterion and its exact gradient."""
    both = expansion(theta, problem, hessian=False)
    return both.value, both.grad


def value_grad_hess(theta: Float[Array, " d"], problem: Problem[Any, Any]) -> Derivatives:
    """Return the criterion with its exact gradient and Hessian; see `Problem.expansion` of its kind."""
    whole = expansion(theta, problem, hessian=True)
    return Derivatives(whole.value, whole.grad, whole.hess)


def expansion(theta: Float[Array, " d"], problem: Problem[Any, Any], *, hessian: bool) -> Expansion:
    """Criterion with its derivatives, and those of M."""

    def border(m: Array) -> Border:
        return _profiled_border(m, problem)

    maps = tuple(jnp.asarray(part, theta.dtype) for part in problem.structure.theta_map.maps())
    return problem.expansion(theta, maps, border, hessian=hessian)


def _profiled_border(m: Array, problem: Problem[Any, Any]) -> Border:
    """Return log|RX|^2 + N log r2 (the first under REML only) where M is the identity, and the constant."""
    chol, inverse = factor_inverse(m)
    n, w = degrees(problem), m.shape[0]
    fixed = 1.0 if problem.structure.reml else 0.0
    return Border(
        value=assemble(jnp.zeros((), m.dtype), chol, problem),
        transform=inverse,
        slope=jnp.full(w, fixed, m.dtype).at[-1].set(n),
        curvature=jnp.full((w, w), n).at[:-1, :-1].set(fixed),
    )


def moment_start(problem: Problem[Any, Any]) -> Float[Array, " d"]:
    """Estimate theta from sums of squares of Z'y, one column at a time: a start near the optimum for most data.

    y is the least-squares residual with unit variance, so that for a column z of Z with sums g = z'z and s = z'y per
    level, E s^2 = g + tau^2 (g^2 - g) up to the other terms (a Hartley-Rao-type moment equation). First all levels
    count alike, then each by the inverse of what the first tau^2 says of the variance of (s / z'z)^2.

    Returns
    -------
    Array (d,)
        Lambda is diagonal; every entry is at least 0.1, so that no start lies on the boundary.
    """
    map_, tau2 = problem.structure.theta_map, []
    for g, s in problem.column_sums():
        equal = _moment_ratio(g, s, jnp.ones_like(g))
        tau2.append(_moment_ratio(g, s, 1.0 / (1.0 + equal[:, None] * jnp.maximum(g - 1.0, 0.0)) ** 2))
    # in theta's order
    first = np.cumsum((0, *map_.q))
    places = [int(first[map_.factor[a]]) + map_.row[a] for a in np.flatnonzero(map_.diagonal)]
    ratios = jnp.concatenate(tau2)[np.array(places)]
    # never less than a third for the residual: columns that overlap claim the same variance twice
    rest = jnp.maximum(1.0 - jnp.sum(ratios), 0.3)
    diagonal = jnp.maximum(jnp.sqrt(ratios / rest), 0.1)
    return jnp.zeros(map_.n_theta, ratios.dtype).at[np.flatnonzero(map_.diagonal)].set(diagonal)


def _moment_ratio(g: Array, s: Array, weight: Array) -> Array:
    """tau^2 of every column from sums of squares g and sums of products s of every level, (q, L); at least 0."""
    size, above, spread = jnp.sum(weight[None] * jnp.stack([g, s * s - g, g * g - g]), axis=2)
    return jnp.clip(above / jnp.maximum(spread, 1e-3 * size), 0.0, 1e6)
