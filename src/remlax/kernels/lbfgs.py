"""LBFGS: jaxopt's L-BFGS in preconditioned coordinates, for one data set. jaxopt is imported here alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..errors import others_quiet
from ..shapes import Float, Int
from .criterion import Criterion, Derivatives
from .newton import NOISE, PROFILED, NewtonState, Optimum, back_substituted, lower_limits, minimise, modified_factor
from .problem import Problem

HISTORY = 5
# smallest pivot of the start Hessian with unit diagonal that is believed: a smaller one would make the first steps long
BELIEVED = 1e-3


def load_jaxopt() -> ModuleType:
    """Import jaxopt when it is asked for: it takes a third of a second, and Newton does not need it."""
    with others_quiet("JAXopt", DeprecationWarning):
        # jaxopt announces at import that it is no longer developed; docs/ says why it is used
        return import_module("jaxopt")


@dataclass(frozen=True)
class LBFGS:
    """jaxopt's L-BFGS in the coordinates of the exact Hessian at the start, certified by exact Newton steps.

    Parameters
    ----------
    max_iter : int, default 8
        L-BFGS iterations per data set; one that needs more, as on the boundary, is finished by Newton steps.
    tol : float, default 1e-3
        Gradient norm in the preconditioned coordinates at which L-BFGS ends; its square approximates the Newton
        decrement.
    """

    max_iter: int = 8
    tol: float = 1e-3

    def __post_init__(self) -> None:
        load_jaxopt()  # here, in the user's thread: warning filters are not safe in others


def preconditioner(hess: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """Return C with C C' = H^-1, small and negative pivots of H made positive; upper triangular."""
    diagonal = jnp.abs(jnp.diagonal(hess))
    unit = jnp.sqrt(jnp.maximum(diagonal, 1e-9 * jnp.max(diagonal) + 1e-300))
    one = jnp.ones((), hess.dtype)
    lower, pivots, _ = modified_factor(hess / unit[:, None] / unit[None, :], one, BELIEVED * one)
    return back_substituted(lower, jnp.diag(1 / jnp.sqrt(pivots))) / unit[:, None]


def lbfgs(
    theta: Float[Array, " d"],
    max_iter: Int[Array, ""],
    problem: Problem[Any, Any],
    options: LBFGS,
    criterion: Criterion = PROFILED,
) -> Optimum:
    """Minimise by jaxopt L-BFGS over phi in theta = theta0 + C phi, so that its first step is a Newton step.

    L-BFGS takes unit steps and ends before one that would raise the criterion; exact Newton steps certify the end.

    Parameters
    ----------
    theta : Array (d,)
        Start; an entry that is NaN asks for that of the criterion.
    max_iter : Array, integer scalar
        Evaluations with a Hessian allowed.
    problem : Problem
    options : LBFGS
    criterion : Criterion, default the profiled deviance

    Returns
    -------
    Optimum
        ``iterations`` are those of L-BFGS, ``evaluations`` those with a Hessian.
    """

    def evaluate(t: Array, carry: Any) -> tuple[Derivatives, Any]:
        return criterion.derivatives(t, problem), carry

    def leap(s: NewtonState, first: Array) -> tuple[Array, Array, Array]:
        return run_jaxopt(s, first, lambda t: criterion.value_and_grad(t, problem), options)

    start = jnp.where(jnp.isnan(theta), criterion.start(problem), theta)
    return minimise(start, evaluate, max_iter, leap, lower=lower_limits(criterion))[0]


def run_jaxopt(
    s: NewtonState, first: Array, value_and_grad: Callable[[Array], tuple[Array, Array]], options: LBFGS
) -> tuple[Array, Array, Array]:
    """Step (d,) to where L-BFGS ends, the decrement as it is there by its own coordinates, and iterations."""
    root = preconditioner(s.hess)
    # the Newton step from here has a limited length; so has the first step of L-BFGS
    full = root @ (root.T @ s.grad)
    size, allowed = jnp.max(jnp.abs(full)), jnp.max(jnp.abs(s.step))
    root = root * jnp.sqrt(jnp.minimum(1.0, allowed / jnp.where(size > 0, size, 1.0)))

    def fun(phi: Array) -> tuple[Array, Array]:
        value, grad = value_and_grad(s.theta + root @ phi)
        return value - s.value, root.T @ grad

    solver = load_jaxopt().LBFGS(fun, value_and_grad=True, stepsize=1.0, history_size=HISTORY)
    zero = jnp.zeros_like(s.theta)
    # jaxopt's own start would evaluate fun where it is known
    described = jax.eval_shape(solver.init_state, zero)
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), described)
    grad = root.T @ s.grad
    start = nothing._replace(grad=grad, error=jnp.sqrt(grad @ grad), gamma=jnp.ones_like(nothing.gamma))

    def going(state: tuple[Array, Any, Array]) -> Array:
        _, own, falls = state
        on: Array = first & falls & (own.error > options.tol) & (own.iter_num < options.max_iter)
        return on

    def body(state: tuple[Array, Any, Array]) -> tuple[Array, Any, Array]:
        phi, own, _ = state
        there, new = solver.update(phi, own)
        falls = jnp.isfinite(new.error) & (new.value <= own.value + NOISE * jnp.abs(s.value))
        kept: tuple[Array, Any] = jax.tree.map(lambda a, b: jnp.where(falls, a, b), (there, new), (phi, own))
        return *kept, falls

    phi, end, _ = jax.lax.while_loop(going, body, (zero, start, jnp.asarray(True)))
    moved = end.iter_num > 0
    step = jnp.where(moved, root @ phi, s.step)
    return step, jnp.where(moved, end.error**2, s.decrement), end.iter_num.astype(jnp.int32)
