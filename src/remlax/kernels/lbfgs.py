"""LBFGS: jaxopt's L-BFGS in preconditioned coordinates, for one data set. jaxopt is imported here alone."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import jax.numpy as jnp
from jax import Array

from ..errors import others_quiet
from ..shapes import Float, Int
from .criterion import Criterion
from .newton import PROFILED, Optimum
from .problem import Problem


def load_jaxopt() -> ModuleType:
    """Import jaxopt when it is asked for: it takes a third of a second, and Newton does not need it."""
    with others_quiet("JAXopt", DeprecationWarning):
        # jaxopt announces at import that it is no longer developed; docs/ says why it is used
        return import_module("jaxopt")


@dataclass(frozen=True)
class LBFGS:
    """jaxopt's L-BFGS in preconditioned coordinates, finished by exact Newton steps.

    Parameters
    ----------
    max_iter : int, default 100
        L-BFGS iterations per data set.
    tol : float, default 1e-5
        Gradient norm in the preconditioned coordinates at which L-BFGS hands over to Newton steps; its square
        approximates the Newton decrement.
    """

    max_iter: int = 100
    tol: float = 1e-5

    def __post_init__(self) -> None:
        load_jaxopt()  # here, in the user's thread: warning filters are not safe in others


def preconditioner(hess: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """Return C with C C' = H^-1 after the eigenvalues of H are floored."""
    size, vectors = jnp.linalg.eigh(hess)
    floor = 1e-3 * jnp.max(jnp.abs(size)) + 1e-300
    return jnp.asarray(vectors / jnp.sqrt(jnp.maximum(jnp.abs(size), floor))[None, :])


def lbfgs(
    start: Optimum, problem: Problem[Any, Any], options: LBFGS, criterion: Criterion = PROFILED
) -> tuple[Float[Array, " d"], Int[Array, ""]]:
    """Minimise by jaxopt L-BFGS over phi in theta = theta0 + C phi, so that its first step is a Newton step.

    Parameters
    ----------
    start : Optimum
        A few Newton steps from the cold start; its Hessian is the preconditioner.

    Returns
    -------
    theta : Array (d,)
    iterations : Array, integer scalar
    """
    root = preconditioner(start.hess)

    def fun(phi: Array) -> tuple[Array, Array]:
        value, grad = criterion.value_and_grad(start.theta + root @ phi, problem)
        return value - start.value, grad @ root

    solver = load_jaxopt().LBFGS(
        fun,
        value_and_grad=True,
        maxiter=options.max_iter,
        tol=options.tol,
        linesearch="backtracking",
        linesearch_init="max",
        maxls=15,
        implicit_diff=False,
        history_size=5,
    )
    phi, state = solver.run(jnp.zeros_like(start.theta))
    theta = start.theta + root @ phi
    return jnp.where(jnp.all(jnp.isfinite(theta)), theta, start.theta), state.iter_num
