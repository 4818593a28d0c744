"""The criterion of structured terms: another one's value and derivatives in theta, by the chain rule in psi."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ...shapes import Float
from ..criterion import Criterion, Derivatives, expansion
from ..newton import PROFILED
from ..problem import Problem, degrees
from .parameters import ParameterMap


@dataclass(frozen=True)
class StructuredCriterion:
    """A criterion of theta as one of psi.

    Parameters
    ----------
    parameters : ParameterMap
    base : Criterion, default the profiled deviance
    """

    parameters: ParameterMap
    base: Criterion = PROFILED

    @property
    def lower(self) -> tuple[float, ...]:
        """Least value of every parameter."""
        return self.parameters.lower

    def start(self, problem: Problem[Any, Any]) -> Float[Array, " d"]:
        """Start of the other criterion, without correlations."""
        return self.parameters.from_theta(self.base.start(problem))

    def value_and_grad(
        self, at: Float[Array, " d"], problem: Problem[Any, Any]
    ) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        """Value and gradient in psi (d,)."""
        theta, pull = jax.vjp(self.parameters.theta, at)
        value, grad = self.base.value_and_grad(theta, problem)
        return value, pull(grad)[0]

    def derivatives(self, at: Float[Array, " d"], problem: Problem[Any, Any]) -> Derivatives:
        """Value, gradient and Hessian in psi."""
        theta, jacobian = self.parameters.theta(at), jax.jacfwd(self.parameters.theta)(at)
        found = self.base.derivatives(theta, problem)
        return Derivatives(found.value, found.grad @ jacobian, _hessian(self.parameters, at, jacobian, found))


def by_chain_rule(parameters: ParameterMap, at: Array, value: Array, grad: Array, hess: Array) -> Derivatives:
    """Derivatives in psi and other parameters behind it (n,), of those in theta and the others (m,), (m, m)."""
    psi, d = at[: parameters.n_theta], parameters.terms[-1].theta[1]
    own = jax.jacfwd(parameters.theta)(psi)
    jacobian = jax.scipy.linalg.block_diag(own, jnp.eye(len(at) - len(psi), dtype=at.dtype))
    bent: Array = jax.hessian(lambda psi: parameters.theta(psi) @ grad[:d])(psi)
    turned = (jacobian.T @ hess @ jacobian).at[: len(psi), : len(psi)].add(bent)
    return Derivatives(value, grad @ jacobian, turned)


def _hessian(parameters: ParameterMap, at: Array, jacobian: Array, found: Derivatives) -> Array:
    """J'HJ, and the gradient times the second derivatives of theta."""
    bent: Array = jax.hessian(lambda psi: parameters.theta(psi) @ found.grad)(at)
    return jacobian.T @ found.hess @ jacobian + bent


class StructuredInformation(NamedTuple):
    """Second derivatives of the unprofiled deviance in (psi, log sigma), and derivatives of (theta, log sigma) in them.

    hess (d + 1, d + 1); jacobian (t + 1, d + 1).
    """

    hess: Float[Array, "n n"]
    jacobian: Float[Array, "m n"]


def structured_information(
    psi: Float[Array, " d"], problem: Problem[Any, Any], parameters: ParameterMap
) -> StructuredInformation:
    """Differentiate the unprofiled REML or ML deviance as `kernels.inference.solve_with_information` does, in psi."""
    theta, jacobian = parameters.theta(psi), jax.jacfwd(parameters.theta)(psi)
    whole = expansion(theta, problem, hessian=True)
    p, n = problem.structure.n_fixed, degrees(problem)
    slope = whole.d_m[:, p, p] @ jacobian
    by_psi = _hessian(parameters, psi, jacobian, Derivatives(whole.value, whole.grad, whole.hess))
    by_psi = by_psi + n * slope[:, None] * slope[None, :]
    cross, corner = -2 * n * slope, 4 * n * jnp.ones((1, 1), psi.dtype)
    hess = jnp.block([[by_psi, cross[:, None]], [cross[None, :], corner]])
    with_sigma = jnp.zeros((len(theta) + 1, len(psi) + 1), psi.dtype).at[:-1, :-1].set(jacobian).at[-1, -1].set(1.0)
    return StructuredInformation(hess, with_sigma)
