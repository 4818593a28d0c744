"""Optimise theta for one data set: jaxopt L-BFGS, preconditioned, and a safeguarded Newton method.

theta is unconstrained: the criterion depends on Lambda Lambda' only, so an optimum on the boundary is an interior
stationary point. Convergence is judged by the Newton decrement g'H^-1 g, in units of deviance, and certified by a
positive semidefinite Hessian over all coordinates. jaxopt is imported here alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..errors import others_quiet
from . import criterion
from .structure import Index, Structure, Values

CONVERGED, MAX_ITER, NOT_FINITE, SADDLE, NO_RESIDUAL = 0, 1, 2, 3, 4
STATUS_TEXT = {
    CONVERGED: "converged",
    MAX_ITER: "iteration limit",
    NOT_FINITE: "not finite",
    SADDLE: "saddle point",
    NO_RESIDUAL: "no residual variance",
}


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
    """One lane of the Newton iteration."""

    theta: Array
    value: Array
    grad: Array
    hess: Array
    step: Array
    decrement: Array
    positive: Array
    length: Array
    evaluations: Array
    last: Array
    done: Array


class Optimum(NamedTuple):
    """Where one lane ended: theta (d,) and the verdict.

    hess is that of the last evaluation. Where the last step was taken without one, value is the quadratic model's, and
    grad and decrement are what quadratic convergence leaves of those before the step.
    """

    theta: Array
    value: Array
    grad: Array
    hess: Array
    decrement: Array
    evaluations: Array
    status: Array


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


def modified_solve(hess: Array, grad: Array) -> tuple[Array, Array, Array]:
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
    """Do what modified_solve does in a loop over columns, which compiles in the same time for any d.

    Where many pivots are negative the factor would grow without bound: pivots are raised so that no entry of
    L D^(1/2) exceeds beta (Gill, Murray & Wright 1981, section 4.4.2.2), which leaves a positive definite H as it is.
    """
    later = jnp.arange(grad.shape[0])
    off = jnp.max(jnp.abs(hess - jnp.diag(jnp.diagonal(hess))))
    beta2 = jnp.maximum(scale, off / len(later))
    start = (hess, jnp.zeros_like(hess), jnp.zeros_like(grad), jnp.asarray(jnp.inf, hess.dtype))

    def factors(floor: Array) -> tuple[Array, Array, Array, Array]:
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

        found: tuple[Array, Array, Array, Array] = jax.lax.fori_loop(0, len(later), column, start)
        return found

    # far from a minimum small pivots say nothing either, and would make the step too long for any line search
    regular = jnp.asarray(PIVOT_FLOOR, hess.dtype)
    smallest = factors(regular)[3]
    _, lower, pivots, _ = factors(jnp.where(smallest < -1e-7, jnp.asarray(FAR_FLOOR, hess.dtype), regular))
    last = len(later) - 1
    forward = jax.lax.fori_loop(0, len(later), lambda i, b: b.at[i].add(-lower[i] @ b), -grad)
    step = jax.lax.fori_loop(0, len(later), lambda i, b: b.at[last - i].add(-lower[:, last - i] @ b), forward / pivots)
    return step, -grad @ step, smallest


def moment_start(structure: Structure, index: Index, values: Values) -> Array:
    """Estimate theta from sums of squares of Z'y, one column at a time: a start near the optimum for most data.

    y is the least-squares residual with unit variance, so that for a column z of Z with sums g = z'z and s = z'y per
    level, E s^2 = g + tau^2 (g^2 - g) up to the other terms (a Hartley-Rao-type moment equation). First all levels
    count alike, then each by the inverse of what the first tau^2 says of the variance of (s / z'z)^2.

    Returns
    -------
    Array (d,)
        Lambda is diagonal; every entry is at least 0.1, so that no start lies on the boundary.
    """
    sums = _column_sums(structure, index, values)
    map_ = structure.theta_map
    tau2 = []
    for a in np.flatnonzero(map_.diagonal):
        g, s = (part[map_.row[a]] for part in sums[map_.factor[a]])
        equal = _moment_ratio(g, s, jnp.ones_like(g))
        tau2.append(_moment_ratio(g, s, 1.0 / (1.0 + equal * jnp.maximum(g - 1.0, 0.0)) ** 2))
    found = jnp.stack(tau2)
    # never less than a third for the residual: columns that overlap claim the same variance twice
    rest = jnp.maximum(1.0 - jnp.sum(found), 0.3)
    diagonal = jnp.maximum(jnp.sqrt(found / rest), 0.1)
    return jnp.zeros(map_.n_theta, found.dtype).at[np.flatnonzero(map_.diagonal)].set(diagonal)


def _moment_ratio(g: Array, s: Array, weight: Array) -> Array:
    """tau^2 from sums of squares g and sums of products s of every level, at least 0."""
    least = 1e-3 * jnp.sum(weight * g)
    return jnp.clip(jnp.sum(weight * (s * s - g)) / jnp.maximum(jnp.sum(weight * (g * g - g)), least), 0.0, 1e6)


def _column_sums(structure: Structure, index: Index, values: Values) -> list[tuple[Array, Array]]:
    """Z'z and z'y of every random-effects column and level: a pair of (q, L) per factor."""
    out = [(jnp.diagonal(zz, axis1=0, axis2=1).T, zr[:, -1]) for zz, zr in zip(values.zz, values.zr, strict=True)]
    if structure.crossed:
        assert index.keys is not None  # for the type checker: a crossed model has its dense part
        assert values.base is not None
        assert values.dense_w is not None
        size = structure.n_dense
        flat = jnp.arange(size, dtype=index.keys.dtype) * (size + 1)
        square = values.base[jnp.searchsorted(index.keys, flat)]
        for start, levels, q in structure.dense_slices():
            part = slice(start, start + levels * q)
            out.append((square[part].reshape(levels, q).T, values.dense_w[part, -1].reshape(levels, q).T))
    return out


def _limit(step: Array, theta: Array) -> Array:
    """Keep a step from leaving the region where the quadratic model says anything."""
    reach = 2.0 * jnp.maximum(jnp.max(jnp.abs(theta)), 1.0)
    size = jnp.max(jnp.abs(step))
    return step * jnp.minimum(1.0, reach / jnp.where(size > 0, size, 1.0))


def newton(theta: Array, structure: Structure, index: Index, values: Values, max_iter: Array) -> Optimum:
    """Minimise the criterion from theta by Newton steps with backtracking.

    Parameters
    ----------
    theta : Array (d,)
        Start; an entry that is NaN asks for the moment estimate.
    max_iter : Array, integer scalar
        Evaluations allowed; a traced number, so that one compiled program serves every stage.

    Returns
    -------
    Optimum
    """

    def evaluate(t: Array) -> criterion.Derivatives:
        return criterion.value_grad_hess(t, structure, index, values)

    return minimise(jnp.where(jnp.isnan(theta), moment_start(structure, index, values), theta), evaluate, max_iter)


def minimise(theta: Array, evaluate: Callable[[Array], criterion.Derivatives], max_iter: Array) -> Optimum:
    """Minimise a smooth function by Newton steps with backtracking, one evaluation per iteration.

    Parameters
    ----------
    theta : Array (d,)
        Start.
    evaluate : callable
        Value, gradient and Hessian.
    max_iter : Array, integer scalar
        Evaluations allowed.

    Returns
    -------
    Optimum
    """

    def body(s: NewtonState) -> NewtonState:
        t = s.theta + s.length * s.step
        found = evaluate(t)
        finite = jnp.isfinite(found.value) & jnp.all(jnp.isfinite(found.grad)) & jnp.all(jnp.isfinite(found.hess))
        # 1e-4: sufficient decrease; the noise term lets steps at rounding level pass
        wanted = s.value - 1e-4 * s.length * s.decrement + NOISE * jnp.abs(s.value)
        better = finite & (jnp.isinf(s.value) | (found.value <= wanted) | (s.last & (found.value <= s.value + 1e-8)))
        moved, stayed = _moved(s, t, found), _stayed(s, found.value, finite)
        new: NewtonState = jax.tree.map(lambda a, b: jnp.where(better, a, b), moved, stayed)
        return new

    def going(s: NewtonState) -> Array:
        return ~s.done & (s.evaluations < max_iter)

    s = jax.lax.while_loop(going, body, _unknown(theta))
    status = jnp.where(s.positive, CONVERGED, SADDLE)
    status = jnp.where(s.decrement <= DECREMENT_TOL, status, MAX_ITER)
    status = jnp.where(jnp.isfinite(s.value), status, NOT_FINITE)
    return Optimum(s.theta, s.value, s.grad, s.hess, s.decrement, s.evaluations, status.astype(jnp.int32))


def _unknown(theta: Array) -> NewtonState:
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
        last=no,
        done=no,
    )


def _moved(s: NewtonState, t: Array, found: criterion.Derivatives) -> NewtonState:
    """Accept t, and say where to go from there."""
    step, decrement, smallest = modified_solve(found.hess, found.grad)
    # Newton's convergence is quadratic: a decrement is a constant times the square of the one before
    contraction = decrement / jnp.where(s.decrement > 0, s.decrement, jnp.asarray(1e-300, t.dtype))
    foreseen = decrement * contraction**2
    unseen = (decrement <= UNSEEN_BELOW) & (foreseen <= FORESEEN_BELOW) & (smallest > REGULAR) & jnp.isfinite(s.value)
    step = _limit(step, t)
    return NewtonState(
        theta=jnp.where(unseen, t + step, t),
        value=jnp.where(unseen, found.value - decrement / 2, found.value),
        grad=jnp.where(unseen, found.grad * contraction, found.grad),
        hess=found.hess,
        step=step,
        decrement=jnp.maximum(jnp.where(unseen, foreseen, decrement), 0.0),
        positive=smallest > -1e-7,
        length=jnp.ones_like(s.length),
        evaluations=s.evaluations + 1,
        last=decrement <= POLISH_BELOW,
        done=s.last | unseen | (decrement <= 1e-16),
    )


def _stayed(s: NewtonState, value: Array, finite: Array) -> NewtonState:
    """Reject a step, and shorten it to the minimum of the parabola through value, slope and the rejected value."""
    slope = -s.decrement * s.length
    bend = value - s.value - slope
    shrink = jnp.where(finite & (bend > 0), jnp.clip(-slope / (2 * bend), 0.1, 0.5), 0.2)
    return s._replace(
        length=s.length * shrink,
        evaluations=s.evaluations + 1,
        done=s.last | ~jnp.isfinite(s.value) | (s.length < 1e-10),
    )


def preconditioner(hess: Array) -> Array:
    """Return C with C C' = H^-1 after the eigenvalues of H are floored."""
    size, vectors = jnp.linalg.eigh(hess)
    floor = 1e-3 * jnp.max(jnp.abs(size)) + 1e-300
    return jnp.asarray(vectors / jnp.sqrt(jnp.maximum(jnp.abs(size), floor))[None, :])


def lbfgs(start: Optimum, structure: Structure, index: Index, values: Values, options: LBFGS) -> tuple[Array, Array]:
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
    turn = preconditioner(start.hess)

    def fun(phi: Array) -> tuple[Array, Array]:
        value, grad = criterion.value_and_grad(start.theta + turn @ phi, structure, index, values)
        return value - start.value, grad @ turn

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
    theta = start.theta + turn @ phi
    return jnp.where(jnp.all(jnp.isfinite(theta)), theta, start.theta), state.iter_num
