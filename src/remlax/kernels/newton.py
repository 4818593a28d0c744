"""Newton's method, safeguarded, for one data set, and the verdict on where it ended.

theta is unconstrained: the criterion depends on Lambda Lambda' only, so an optimum on the boundary is an interior
stationary point. Convergence is judged by the Newton decrement g'H^-1 g, in units of deviance, and certified by a
positive semidefinite Hessian over all coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..shapes import Bool, Float, Int
from .criterion import BoundedCriterion, Criterion, Derivatives, ProfiledDeviance
from .problem import Problem

CONVERGED, MAX_ITER, NOT_FINITE, SADDLE, NO_RESIDUAL, NO_MAXIMUM = 0, 1, 2, 3, 4, 5
STATUS_TEXT = {
    CONVERGED: "converged",
    MAX_ITER: "iteration limit",
    NOT_FINITE: "not finite",
    SADDLE: "saddle point",
    NO_RESIDUAL: "no residual variance",
    NO_MAXIMUM: "no maximum",
}


@dataclass(frozen=True)
class Newton:
    """Safeguarded Newton with the exact Hessian.

    Parameters
    ----------
    max_iter : int, default 100
        Evaluations of criterion, gradient and Hessian per data set.
    """

    max_iter: int = 100


class NewtonState(NamedTuple):
    """Where the iteration stands."""

    theta: Float[Array, " d"]
    value: Float[Array, ""]
    grad: Float[Array, " d"]
    hess: Float[Array, "d d"]
    step: Float[Array, " d"]
    decrement: Float[Array, ""]
    positive: Bool[Array, ""]
    length: Float[Array, ""]
    evaluations: Int[Array, ""]
    iterations: Int[Array, ""]
    last: Bool[Array, ""]
    done: Bool[Array, ""]
    carry: Any


# from parameters and what the evaluation at the last accepted ones left: derivatives, and what this one leaves
Evaluate = Callable[[Array, Any], tuple[Derivatives, Any]]
# from the state at the start, and whether this is the start: the step to take instead of Newton's, the decrement there
# as far as it is known, and iterations that led there
Leap = Callable[[NewtonState, Array], tuple[Array, Array, Array]]


class Optimum(NamedTuple):
    """Where a data set ended, and the verdict; in a batch every field has a leading axis of data sets.

    theta (d,); value; grad (d,); hess (d, d); decrement, in units of deviance; evaluations of criterion, gradient and
    Hessian; iterations; status; starts: integers.

    hess is that of the last evaluation. Where the last step was taken without one, value is the quadratic model's, and
    grad and decrement are what quadratic convergence leaves of those before the step.
    """

    theta: Float[Array, "*k d"]
    value: Float[Array, "*k"]
    grad: Float[Array, "*k d"]
    hess: Float[Array, "*k d d"]
    decrement: Float[Array, "*k"]
    evaluations: Int[Array, "*k"]
    iterations: Int[Array, "*k"]
    status: Int[Array, "*k"]
    starts: Int[Array, "*k"]


DECREMENT_TOL = 1e-8
# at most this: one more exact step
POLISH_BELOW = 1e-7
# a decrement, and what is foreseen to be left of it, at which the last step is taken without looking where it ends; and
# how regular the Hessian has to be for that, by its least pivot over its largest
UNSEEN_BELOW, FORESEEN_BELOW, REGULAR = 1e-6, 1e-14, 1e-6
PIVOT_FLOOR = 1e-9
# the same in many dimensions where the Hessian is not positive definite
FAR_FLOOR = 1e-2
# entries of theta up to which tiny systems are solved by code without loops
WRITTEN_OUT = 8
NOISE = 1e-13


def modified_solve(
    hess: Float[Array, "d d"], grad: Float[Array, " d"]
) -> tuple[Float[Array, " d"], Float[Array, ""], Float[Array, ""]]:
    """Solve H step = -g with pivots made positive (Gill & Murray 1974): step, decrement, smallest raw pivot.

    Written out over the d x d entries where they are few: tiny batched LAPACK calls are slow on every device.
    """
    d = grad.shape[0]
    scale = jnp.maximum(jnp.max(jnp.abs(jnp.diagonal(hess))), jnp.asarray(1e-300, hess.dtype))
    if d > WRITTEN_OUT:
        return _modified_solve_by_columns(hess, grad, scale)
    lower: list[list[Array]] = [[] for _ in range(d)]
    pivots: list[Array] = []
    smallest = jnp.asarray(jnp.inf, hess.dtype)
    for j in range(d):
        raw = hess[j, j] - sum(lower[j][k] ** 2 * pivots[k] for k in range(j))
        smallest = jnp.minimum(smallest, raw / scale)
        pivots.append(jnp.maximum(jnp.abs(raw), PIVOT_FLOOR * scale))
        for i in range(j + 1, d):
            s = hess[i, j] - sum(lower[i][k] * lower[j][k] * pivots[k] for k in range(j))
            lower[i].append(s / pivots[j])
    forward: list[Array] = []
    for i in range(d):
        forward.append(-grad[i] - sum(lower[i][k] * forward[k] for k in range(i)))
    step: list[Array] = [jnp.zeros((), hess.dtype)] * d
    for i in reversed(range(d)):
        step[i] = forward[i] / pivots[i] - sum(lower[k][i] * step[k] for k in range(i + 1, d))
    out = jnp.stack(step)
    return out, -grad @ out, smallest


def _modified_solve_by_columns(hess: Array, grad: Array, scale: Array) -> tuple[Array, Array, Array]:
    """Do what modified_solve does in a loop over columns, which compiles in the same time for any d."""
    # far from a minimum small pivots say nothing either, and would make the step too long for any line search
    regular = jnp.asarray(PIVOT_FLOOR, hess.dtype)
    smallest = modified_factor(hess, scale, regular)[2]
    floor = jnp.where(smallest < -1e-7, jnp.asarray(FAR_FLOOR, hess.dtype), regular)
    lower, pivots, _ = modified_factor(hess, scale, floor)
    forward = jax.lax.fori_loop(0, len(grad), lambda i, b: b.at[i].add(-lower[i] @ b), -grad)
    step = back_substituted(lower, forward / pivots)
    return step, -grad @ step, smallest


def modified_factor(
    hess: Float[Array, "d d"], scale: Float[Array, ""], floor: Float[Array, ""]
) -> tuple[Float[Array, "d d"], Float[Array, " d"], Float[Array, ""]]:
    """Factor H = (I + L) D (I + L)' with pivots made positive: L, D, smallest raw pivot over ``scale``.

    Where many pivots are negative the factor would grow without bound: pivots are raised so that no entry of
    L D^(1/2) exceeds beta (Gill, Murray & Wright 1981, section 4.4.2.2), which leaves a positive definite H as it is.
    """
    later = jnp.arange(len(hess))
    off = jnp.max(jnp.abs(hess - jnp.diag(jnp.diagonal(hess))))
    beta2 = jnp.maximum(scale, off / len(later))

    def column(j: Array, state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        left, lower, pivots, smallest = state
        raw, below = left[j, j], jnp.where(later > j, left[:, j], 0)
        pivot = jnp.maximum(jnp.maximum(jnp.abs(raw), floor * scale), jnp.max(below * below) / beta2)
        return (
            left - jnp.outer(below, below) / pivot,
            lower.at[:, j].set(below / pivot),
            pivots.at[j].set(pivot),
            jnp.minimum(smallest, raw / scale),
        )

    start = (hess, jnp.zeros_like(hess), jnp.zeros_like(hess[0]), jnp.asarray(jnp.inf, hess.dtype))
    _, lower, pivots, smallest = jax.lax.fori_loop(0, len(later), column, start)
    return lower, pivots, smallest


def back_substituted(lower: Float[Array, "d d"], right: Float[Array, " d *r"]) -> Float[Array, " d *r"]:
    """Solve (I + L)' x = right for one right-hand side or several."""
    last = len(lower) - 1
    out: Array = jax.lax.fori_loop(0, last + 1, lambda i, b: b.at[last - i].add(-lower[:, last - i] @ b), right)
    return out


def _limit(step: Array, theta: Array) -> Array:
    """Keep a step from leaving the region where the quadratic model says anything."""
    reach = 2.0 * jnp.maximum(jnp.max(jnp.abs(theta)), 1.0)
    size = jnp.max(jnp.abs(step))
    return step * jnp.minimum(1.0, reach / jnp.where(size > 0, size, 1.0))


PROFILED = ProfiledDeviance()


def newton(
    theta: Float[Array, " d"], max_iter: Int[Array, ""], problem: Problem[Any, Any], criterion: Criterion = PROFILED
) -> Optimum:
    """Minimise a criterion from theta by Newton steps with backtracking.

    Parameters
    ----------
    theta : Array (d,)
        Start; an entry that is NaN asks for that of the criterion.
    max_iter : Array, integer scalar
        Evaluations allowed; a traced number, so that one compiled program serves every stage.
    problem : Problem
    criterion : Criterion, default the profiled deviance

    Returns
    -------
    Optimum
    """

    def evaluate(t: Array, carry: Any) -> tuple[Derivatives, Any]:
        return criterion.derivatives(t, problem), carry

    start = jnp.where(jnp.isnan(theta), criterion.start(problem), theta)
    return minimise(start, evaluate, max_iter, lower=lower_limits(criterion))[0]


def lower_limits(criterion: Criterion) -> tuple[float, ...] | None:
    """Least values of the parameters of a criterion that has some."""
    return criterion.lower if isinstance(criterion, BoundedCriterion) else None


def minimise(
    theta: Float[Array, " d"],
    evaluate: Evaluate,
    max_iter: Int[Array, ""],
    leap: Leap | None = None,
    carry: Any = (),
    *,
    look: bool = False,
    lower: tuple[float, ...] | None = None,
) -> tuple[Optimum, Any]:
    """Minimise a smooth function by Newton steps with backtracking, one evaluation per iteration.

    Parameters
    ----------
    theta : Array (d,)
        Start.
    evaluate : callable
        Value, gradient and Hessian, and a pytree that the next evaluation may start from.
    max_iter : Array, integer scalar
        Evaluations allowed.
    leap : callable, optional
        Another method, which makes the first step; Newton steps certify where it ends.
    carry : pytree, optional
        What the first evaluation starts from.
    look : bool, default False
        Evaluate where the last step ends as well, so that everything that is returned is of that point.
    lower : tuple of float (d,), optional
        Least values of the parameters. At an optimum those that are there have a gradient that is not negative, and
        the decrement and the signs of the curvature are those of the others.

    Returns
    -------
    Optimum
    pytree
        What the last accepted evaluation left.
    """

    def body(s: NewtonState) -> NewtonState:
        t = _inside(s.theta + s.length * s.step, lower)
        found, left = evaluate(t, s.carry)
        finite = jnp.isfinite(found.value) & jnp.all(jnp.isfinite(found.grad)) & jnp.all(jnp.isfinite(found.hess))
        # 1e-4: sufficient decrease; the noise term lets steps at rounding level pass
        wanted = s.value - 1e-4 * s.length * s.decrement + NOISE * jnp.abs(s.value)
        better = finite & (jnp.isinf(s.value) | (found.value <= wanted) | (s.last & (found.value <= s.value + 1e-8)))
        moved, stayed = _moved(s, t, found, look, lower)._replace(carry=left), _stayed(s, found.value, finite)
        if leap is not None:
            moved = _leapt(moved, jnp.isinf(s.value) & finite, leap)
        new: NewtonState = jax.tree.map(lambda a, b: jnp.where(better, a, b), moved, stayed)
        return new

    def going(s: NewtonState) -> Array:
        return ~s.done & (s.evaluations < max_iter)

    s = jax.lax.while_loop(going, body, _unknown(theta, carry))
    status = jnp.where(s.positive, CONVERGED, SADDLE)
    status = jnp.where(s.decrement <= DECREMENT_TOL, status, MAX_ITER)
    status = jnp.where(jnp.isfinite(s.value), status, NOT_FINITE)
    status, one = status.astype(jnp.int32), jnp.ones((), jnp.int32)
    iterations = s.evaluations if leap is None else s.iterations
    optimum = Optimum(s.theta, s.value, s.grad, s.hess, s.decrement, s.evaluations, iterations, status, one)
    return optimum, s.carry


def _unknown(theta: Array, carry: Any) -> NewtonState:
    """Return the state before the first evaluation, which accepts whatever is finite."""
    d, dtype = theta.shape[0], theta.dtype
    zero, no = jnp.zeros((), dtype), jnp.asarray(False)
    return NewtonState(
        theta=theta,
        value=jnp.asarray(jnp.inf, dtype),
        grad=jnp.zeros(d, dtype),
        hess=jnp.zeros((d, d), dtype),
        step=jnp.zeros(d, dtype),
        decrement=zero,
        positive=no,
        length=jnp.ones((), dtype),
        evaluations=jnp.zeros((), jnp.int32),
        iterations=jnp.zeros((), jnp.int32),
        last=no,
        done=no,
        carry=carry,
    )


def _inside(t: Array, lower: tuple[float, ...] | None) -> Array:
    """Keep parameters from going below their least values."""
    return t if lower is None else jnp.maximum(t, jnp.asarray(lower, t.dtype))


def _solve_inside(found: Derivatives, t: Array, lower: tuple[float, ...]) -> tuple[Array, Array, Array]:
    """Do what modified_solve does with the parameters held that are at their least values and would go below them."""
    at_end = t <= jnp.asarray(lower, t.dtype)
    held = at_end & (found.grad > 0)

    def solve(held: Array) -> tuple[Array, Array, Array]:
        scale = jnp.maximum(jnp.max(jnp.abs(jnp.diagonal(found.hess))), 1e-300)
        hess = jnp.where(held[:, None] | held[None, :], 0.0, found.hess) + jnp.diag(jnp.where(held, scale, 0.0))
        return modified_solve(hess, jnp.where(held, 0.0, found.grad))

    # a step that is cut off at an end need not lead downwards (Bertsekas 1982, SIAM J. Control Optim. 20:221)
    return solve(held | at_end & (solve(held)[0] < 0))


def _moved(s: NewtonState, t: Array, found: Derivatives, look: bool, lower: tuple[float, ...] | None) -> NewtonState:
    """Accept t, and say where to go from there."""
    if lower is None:
        step, decrement, smallest = modified_solve(found.hess, found.grad)
    else:
        step, decrement, smallest = _solve_inside(found, t, lower)
    # Newton's convergence is quadratic: a decrement is a constant times the square of the one before
    contraction = decrement / jnp.where(s.decrement > 0, s.decrement, jnp.asarray(1e-300, t.dtype))
    foreseen = decrement * contraction**2
    unseen = (decrement <= UNSEEN_BELOW) & (foreseen <= FORESEEN_BELOW) & (smallest > REGULAR) & jnp.isfinite(s.value)
    unseen = unseen & (not look)
    step = _limit(step, t)
    return NewtonState(
        theta=jnp.where(unseen, _inside(t + step, lower), t),
        value=jnp.where(unseen, found.value - decrement / 2, found.value),
        grad=jnp.where(unseen, found.grad * contraction, found.grad),
        hess=found.hess,
        step=step,
        decrement=jnp.maximum(jnp.where(unseen, foreseen, decrement), 0.0),
        positive=smallest > -1e-7,
        length=jnp.ones_like(s.length),
        evaluations=s.evaluations + 1,
        iterations=s.iterations,
        last=decrement <= POLISH_BELOW,
        done=s.last | unseen | (decrement <= 1e-16),
        carry=s.carry,
    )


def _leapt(s: NewtonState, first: Array, leap: Leap) -> NewtonState:
    """Let another method make the step from the start."""
    step, decrement, iterations = leap(s, first)
    return s._replace(
        step=jnp.where(first, step, s.step),
        decrement=jnp.where(first, decrement, s.decrement),
        iterations=jnp.where(first, iterations, s.iterations),
    )


def _stayed(s: NewtonState, value: Array, finite: Array) -> NewtonState:
    """Reject a step, and shorten it to the minimum of the parabola through value, slope and the rejected value."""
    slope = -s.decrement * s.length
    curvature = value - s.value - slope
    shrink = jnp.where(finite & (curvature > 0), jnp.clip(-slope / (2 * curvature), 0.1, 0.5), 0.2)
    return s._replace(
        length=s.length * shrink,
        evaluations=s.evaluations + 1,
        done=s.last | ~jnp.isfinite(s.value) | (s.length < 1e-10),
    )
