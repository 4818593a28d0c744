"""Many data sets at once: the only room where ``jax.vmap`` meets the lanes.

Lanes run in chunks about the size of the cache, on as many threads as there are cores; a failed lane is run again
alone from other starts. Nothing a lane does changes its neighbours.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from ..progress import progress
from . import batch_restarts as restarts
from . import inference, optimize
from .batch_restarts import BatchFit as BatchFit
from .criterion import LOG_2PI
from .factor import UNROLL_UP_TO
from .optimize import CONVERGED, LBFGS, Newton, Optimum
from .placement import over_lanes, place
from .programs import float64, program
from .structure import Index, Structure, Values, grid, host_leaf

# bytes of cross-products per chunk of lanes: about the L2 cache of one core
CHUNK_BYTES = 2**20
MAX_CHUNK = 512
# the same for an accelerator: enough lanes to fill it, temporaries (about six times as much) well inside its memory
DEVICE_CHUNK_BYTES = 2**29
MAX_DEVICE_CHUNK = 2**15
T = TypeVar("T")
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Stack:
    """Cross-products of m data sets with one structure.

    Parameters
    ----------
    structure : Structure
    index : Index
        Built over the union of the lanes' levels; a block that a lane lacks is zero there.
    values : Values
        Every leaf has a leading lane axis (m, ...).
    mesh : Mesh, optional
        Devices that share the lanes; None is JAX's default device.
    """

    structure: Structure
    index: Index
    values: Values
    mesh: Mesh | None = None

    @property
    def n_lanes(self) -> int:
        """Number m of data sets."""
        return int(self.values.n_obs.shape[0])

    def lanes(self, which: np.ndarray) -> Stack:
        """Take some lanes."""
        return replace(self, values=jax.tree.map(lambda a: a[which], self.values))


@program("structure", "mesh")
def _newton_lanes(
    theta: Array, index: Index, values: Values, max_iter: Array, structure: Structure, mesh: Mesh | None = None
) -> Optimum:
    def one(t: Array, i: Index, v: Values) -> Optimum:
        return optimize.newton(t, structure, i, v, max_iter)

    return over_lanes(one, mesh)(theta, index, values)


@program("structure", "options", "mesh")
def _lbfgs_lanes(
    start: Optimum, index: Index, values: Values, structure: Structure, options: LBFGS, mesh: Mesh | None = None
) -> tuple[Array, Array]:
    def one(s: Optimum, i: Index, v: Values) -> tuple[Array, Array]:
        return optimize.lbfgs(s, structure, i, v, options)

    return over_lanes(one, mesh)(start, index, values)


@program("structure", "mesh")
def _solve_lanes(
    theta: Array, index: Index, values: Values, structure: Structure, mesh: Mesh | None = None
) -> inference.Solution:
    def one(t: Array, i: Index, v: Values) -> inference.Solution:
        return inference.solve(t, structure, i, v)

    return over_lanes(one, mesh)(theta, index, values)


@program("structure", "mesh")
def _modes_lanes(
    theta_gamma: tuple[Array, Array], index: Index, values: Values, structure: Structure, mesh: Mesh | None = None
) -> inference.Modes:
    def one(tg: tuple[Array, Array], i: Index, v: Values) -> inference.Modes:
        return inference.conditional_modes(tg[0], tg[1], structure, i, v)

    return over_lanes(one, mesh)(theta_gamma, index, values)


@program("structure", "mesh")
def _information_lanes(
    theta: Array, index: Index, values: Values, structure: Structure, mesh: Mesh | None = None
) -> inference.VarianceInformation:
    def one(t: Array, i: Index, v: Values) -> inference.VarianceInformation:
        return inference.variance_information(t, structure, i, v)

    return over_lanes(one, mesh)(theta, index, values)


@program("structure", "mesh")
def _prediction_lanes(
    theta_select: tuple[Array, tuple[Array, ...]],
    index: Index,
    values: Values,
    structure: Structure,
    mesh: Mesh | None = None,
) -> tuple[Array, ...]:
    def one(ts: tuple[Array, tuple[Array, ...]], i: Index, v: Values) -> tuple[Array, ...]:
        return inference.prediction_variances(ts[0], ts[1], structure, i, v)

    return over_lanes(one, mesh)(theta_select, index, values)


def fit_batch(theta: Array, structure: Structure, index: Index, values: Values, max_iter: int = 100) -> Optimum:
    """Fit a stack of data sets by Newton's method: pure JAX, to be called inside one's own ``jax.jit``.

    Parameters
    ----------
    theta : Array (m, d)
        Starts; NaN asks for the moment estimate.
    structure, index
        Shared by all lanes.
    values : Values
        Stacked: every leaf with a leading lane axis.

    Returns
    -------
    Optimum
        Every leaf with a leading lane axis; ``status`` 0 means converged.
    """
    found: Optimum = _newton_lanes(theta, index, values, jnp.asarray(max_iter), structure)
    return found


def chunk_size(stack: Stack, threads: int, n_runs: int | None = None, *, some: bool = False) -> int:
    """Lanes per chunk: a number of a coarse grid that fits the cache and gives every thread as much work.

    ``n_runs`` is the number of runs where it is not that of the lanes. On a mesh every device gets such a number.
    ``some``: these are some lanes of a list, another number each time, so that only powers of two are taken.
    """
    devices = 1 if stack.mesh is None else stack.mesh.size
    room, most = (CHUNK_BYTES, MAX_CHUNK) if _platform(stack) == "cpu" else (DEVICE_CHUNK_BYTES, MAX_DEVICE_CHUNK)
    per_lane = sum(leaf.nbytes for leaf in jax.tree.leaves(stack.values)) / stack.n_lanes
    if stack.structure.crossed:
        per_lane = max(per_lane, 8.0 * stack.structure.n_dense**2)
    fits = max(1, min(most, int(room // max(per_lane, 1.0))))
    runs = -(-(stack.n_lanes if n_runs is None else n_runs) // devices)
    # a second thread is worth its start from about a quarter of a chunk of work
    share = runs if 4 * per_lane * runs < room else -(-runs // threads)
    most_lanes = 1 << (fits.bit_length() - 1)
    if share > most_lanes:
        rounds = -(-share // most_lanes)
        share = -(-share // rounds)
    return devices * min(most_lanes, 1 << (share - 1).bit_length() if some else grid(share, steps=4))


def _platform(stack: Stack) -> str:
    return jax.default_backend() if stack.mesh is None else str(stack.mesh.devices.flat[0].platform)


def run_chunks(
    stack: Stack,
    per_lane: Any,
    program: Callable[[Any, Stack], T],
    which: np.ndarray | None = None,
    *,
    lapack: bool = False,
    some: bool = False,
) -> T:
    """Run a program over chunks of lanes on a pool of threads and join the results on the host.

    ``per_lane`` is a pytree of arrays with a leading lane axis, or an axis of runs with lanes ``which`` (a lane may run
    several times). Every chunk has the same number of lanes (the last is filled with copies of its first), so that
    one compiled program serves all. Several devices share every chunk; then one thread feeds them. ``lapack`` says that
    the program calls LAPACK on batches, as every program of a term with many columns does: chunks of these must not run
    at one time, for the calls wait for each other for ever (see core/small.py).
    """
    several = stack.mesh is not None and stack.mesh.size > 1
    threads = (os.cpu_count() or 1) if _platform(stack) == "cpu" and not several else 1
    lanes = np.arange(stack.n_lanes) if which is None else which
    size = chunk_size(stack, threads, len(lanes), some=some)
    pieces = [np.arange(i, min(i + size, len(lanes))) for i in range(0, len(lanes), size)]
    alone = lapack or max(stack.structure.q) > UNROLL_UP_TO
    if alone:
        threads = 1

    def run(piece: np.ndarray) -> T:
        filled = np.concatenate([piece, np.repeat(piece[:1], size - len(piece))])
        # and no other thread of the process runs one at that time
        with float64(), _ONE_AT_A_TIME if alone else nullcontext():
            part = stack.lanes(lanes[filled])
            arguments = jax.tree.map(lambda a: np.asarray(a)[filled], per_lane)
            (arguments, values), index = place(stack.mesh, (arguments, part.values), part.index)
            out = program(arguments, replace(part, values=values, index=index))
            on_host: T = jax.tree.map(lambda a: np.asarray(a)[: len(piece)], out)
            return on_host

    if len(pieces) == 1:
        results = [run(pieces[0])]
    else:
        results = []
        with progress(len(lanes), "fit") as tell, ThreadPoolExecutor(threads) as pool:
            waiting = [pool.submit(run, piece) for piece in pieces]
            try:
                for piece, future in zip(pieces, waiting, strict=True):
                    results.append(future.result())
                    tell(len(piece))
            finally:
                for future in waiting:  # after Ctrl-C none of them begins
                    future.cancel()
    joined: T = jax.tree.map(lambda *parts: np.concatenate(parts), *results)
    return joined


def _fit_once(stack: Stack, theta: np.ndarray, optimizer: LBFGS | Newton, *, some: bool = False) -> BatchFit:
    def program(t: np.ndarray, part: Stack) -> tuple[Optimum, Array, Array]:
        if isinstance(optimizer, Newton):
            found = _newton_lanes(t, part.index, part.values, np.int32(optimizer.max_iter), part.structure, part.mesh)
            return found, found.evaluations, found.evaluations
        start = _newton_lanes(t, part.index, part.values, np.int32(WARM_STEPS), part.structure, part.mesh)
        middle, iterations = _lbfgs_lanes(start, part.index, part.values, part.structure, optimizer, part.mesh)
        found = _newton_lanes(middle, part.index, part.values, np.int32(optimizer.max_iter), part.structure, part.mesh)
        return found, start.evaluations + found.evaluations, iterations

    # L-BFGS's preconditioner is an eigendecomposition per lane
    o, evaluations, iterations = run_chunks(stack, theta, program, lapack=isinstance(optimizer, LBFGS), some=some)
    starts = np.ones(stack.n_lanes, np.int64)
    found = (o.theta, o.value, o.grad, o.hess, o.decrement, evaluations, iterations, o.status, starts)
    return BatchFit(*map(np.asarray, found))


# exact Newton steps before L-BFGS takes over; their last Hessian is its preconditioner
WARM_STEPS = 5


def fit_stack(stack: Stack, optimizer: LBFGS | Newton, near_zero: np.ndarray) -> BatchFit:
    """Optimise every lane; run failed lanes, and lanes on the boundary, again from other starts.

    Parameters
    ----------
    stack : Stack
    optimizer : LBFGS or Newton
    near_zero : ndarray (d,)
        Size below which a diagonal entry of theta counts as being on the boundary.

    Returns
    -------
    BatchFit
    """
    theta_map = stack.structure.theta_map
    # NaN asks for the moment estimate of each lane
    best = _fit_once(stack, np.full((stack.n_lanes, theta_map.n_theta), np.nan), optimizer)
    if not stack.structure.crossed:
        best = _out_of_valleys(stack, best)
    for attempt in range(3):
        failed = (best.status != CONVERGED) & np.isfinite(stack.values.ww).all(axis=(1, 2))
        again = failed.copy()
        if attempt == 0 and theta_map.n_theta > 1:
            diagonal = theta_map.diagonal
            again |= (np.abs(best.theta[:, diagonal]) < near_zero[diagonal]).any(axis=1)
        which = np.flatnonzero(again)
        if not len(which):
            break
        start = restarts.other_start(best, which, theta_map.start(), attempt)
        other = _fit_once(stack.lanes(which), start, Newton(), some=True)
        best = restarts.take_better(best, which, other)
    return best


def _out_of_valleys(stack: Stack, best: BatchFit) -> BatchFit:
    """Fit lanes whose way was a curved valley with the columns of Z in the opposite order, and go on from there."""
    theta_map = stack.structure.theta_map
    which = np.flatnonzero(restarts.in_valley(best.theta, best.status, theta_map))
    if not len(which):
        return best
    part = stack.lanes(which)
    turned = replace(part, values=restarts.turned_values(part.values, theta_map))
    found = _fit_once(turned, restarts.turned_theta(best.theta[which], theta_map), Newton(), some=True)
    other = _fit_once(part, restarts.turned_theta(found.theta, theta_map), Newton(), some=True)
    return restarts.take_better(best, which, other)


def solve_stack(stack: Stack, theta: np.ndarray) -> inference.Solution:
    """Solve every lane at its theta (m, d); arrays on the host. One program serves REML and ML."""

    def program(t: np.ndarray, part: Stack) -> inference.Solution:
        return _solve_lanes(t, part.index, part.values, replace(part.structure, reml=True), mesh=part.mesh)

    found: inference.Solution = run_chunks(stack, theta, program)
    if stack.structure.reml:
        return found
    values, r2 = stack.values, np.asarray(found.r2)
    n = np.asarray(values.n_obs)
    constant = np.asarray(values.constant_ml) + n * (1 + LOG_2PI - np.log(n) + np.asarray(values.log_scale))
    value = np.asarray(found.log_l2) + n * np.log(r2) + constant
    return found._replace(sigma=host_leaf(np.sqrt(r2 / n)), value=host_leaf(value))


def modes_stack(stack: Stack, theta: np.ndarray, gamma: np.ndarray) -> inference.Modes:
    """Conditional modes and variances of every lane; arrays on the host."""

    def program(tg: tuple[np.ndarray, np.ndarray], part: Stack) -> inference.Modes:
        structure = replace(part.structure, reml=True)  # the modes depend on theta and beta only
        return _modes_lanes(tg, part.index, part.values, structure, mesh=part.mesh)

    return run_chunks(stack, (theta, gamma), program)


def prediction_stack(stack: Stack, theta: np.ndarray, select: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Variances of the errors of modes plus chosen coefficients (m, q, p) of every lane; arrays on the host."""

    def program(ts: tuple[np.ndarray, tuple[np.ndarray, ...]], part: Stack) -> tuple[Array, ...]:
        return _prediction_lanes(ts, part.index, part.values, part.structure, mesh=part.mesh)

    return tuple(map(np.asarray, run_chunks(stack, (theta, select), program)))


def information_stack(stack: Stack, theta: np.ndarray) -> inference.VarianceInformation:
    """Information about (theta, log sigma) of every lane; arrays on the host."""

    def program(t: np.ndarray, part: Stack) -> inference.VarianceInformation:
        return _information_lanes(t, part.index, part.values, part.structure, mesh=part.mesh)

    return run_chunks(stack, theta, program)


def deviance_stack(stack: Stack, theta: np.ndarray) -> np.ndarray:
    """Criterion of every lane at its theta (m, d)."""
    return np.asarray(solve_stack(stack, theta).value)
