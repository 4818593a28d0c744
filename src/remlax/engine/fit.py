"""Fit every data set of a batch: all together first, then those that failed, alone, from other starts."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..kernels.criterion import LOG_2PI, Criterion, OrderedCriterion
from ..kernels.inference import Solution, solve
from ..kernels.lbfgs import LBFGS, lbfgs
from ..kernels.newton import PROFILED, Newton, Optimum, newton
from ..kernels.problem import Problem
from ..kernels.restarts import (
    STARTS,
    chosen,
    ill_conditioned,
    is_better,
    next_start,
    try_again,
)
from ..kernels.structured.parameters import ParameterMap
from ..kernels.theta import reversed_theta
from .batch import Batch, mapped, run
from .shapes import host_leaf


def fit_batch(theta: Array, problem: Problem[Any, Any], max_iter: int = 100) -> Optimum:
    """Fit a batch of data sets by Newton's method: pure JAX, to be called inside one's own ``jax.jit``.

    Parameters
    ----------
    theta : Array (K, d)
        Starts; NaN asks for the moment estimate.
    problem : Problem
        Every leaf of its products has a leading axis of data sets; structure and index are shared.
    max_iter : int, default 100
        Evaluations of criterion, gradient and Hessian per data set.

    Returns
    -------
    Optimum
        Every leaf with a leading axis of data sets; ``status`` 0 means converged.
    """
    limit = jnp.full(theta.shape[0], max_iter, jnp.int32)
    optimum: Optimum = mapped(newton)((theta, limit), problem, (("criterion", PROFILED),))
    return optimum


def _fit_once(
    batch: Batch, theta: np.ndarray, optimizer: LBFGS | Newton, criterion: Criterion, *, some: bool = False
) -> Optimum:
    if isinstance(optimizer, Newton):
        limit = np.full(batch.n_sets, optimizer.max_iter, np.int32)
        return run(newton, batch, theta, limit, some=some, criterion=criterion)
    limit = np.full(batch.n_sets, Newton().max_iter, np.int32)
    return run(lbfgs, batch, theta, limit, some=some, options=optimizer, criterion=criterion)


def fit(
    batch: Batch,
    optimizer: LBFGS | Newton,
    criterion: Criterion = PROFILED,
    parameters: ParameterMap | None = None,
) -> Optimum:
    """Optimise every data set; run those that failed, and those on the boundary, again from other starts.

    Parameters
    ----------
    batch : Batch
    optimizer : LBFGS or Newton
    criterion : Criterion, default the profiled deviance
    parameters : ParameterMap, optional
        What the criterion takes, theta unless given.

    Returns
    -------
    Optimum
        On the host, with a leading axis of data sets.
    """
    searched = batch.structure.theta_map if parameters is None else parameters
    # NaN asks for the start of the criterion for each data set
    best = _fit_once(batch, np.full((batch.n_sets, searched.n_theta), np.nan), optimizer, criterion)
    if parameters is None:
        best = _by_reversed_columns(batch, best, criterion)
    else:
        every = np.arange(batch.n_sets)
        for start in parameters.more_starts():
            other = _fit_once(batch, np.tile(start, (batch.n_sets, 1)), Newton(), criterion)
            best = take_better(best, every, other)
    for tries in range(1, len(STARTS) + 1):
        which = np.flatnonzero(try_again(best, tries, searched))
        if len(which):
            which = which[np.isfinite(np.asarray(batch.problem.products.ww)[which]).all(axis=(1, 2))]
        if not len(which):
            break
        part = _rows(best, which)
        eigen = np.linalg.eigh(np.nan_to_num(part.hess))
        start = next_start(part, np.full(len(which), tries), eigen, searched)
        other = _fit_once(batch.take(which), start, Newton(), criterion, some=True)
        best = take_better(best, which, other)
    return best


def _by_reversed_columns(batch: Batch, best: Optimum, criterion: Criterion) -> Optimum:
    """Fit data sets that are ill-conditioned with the columns of Z reversed, and go on from there."""
    theta_map = batch.structure.theta_map
    which = np.flatnonzero(ill_conditioned(np.asarray(best.theta), np.asarray(best.status), theta_map))
    if not len(which):
        return best
    part = batch.take(which)
    reverse = part.problem.reversed()
    if reverse is None:
        return best
    start = reversed_theta(np.asarray(best.theta)[which], theta_map)
    theirs = criterion.reversed() if isinstance(criterion, OrderedCriterion) else criterion
    there = _fit_once(part.with_products(reverse.products), start, Newton(), theirs, some=True)
    other = _fit_once(part, reversed_theta(np.asarray(there.theta), theta_map), Newton(), criterion, some=True)
    return take_better(best, which, other)


def _rows(optimum: Optimum, which: np.ndarray) -> Optimum:
    return Optimum(*(host_leaf(np.asarray(part)[which]) for part in optimum))


def take_better(best: Optimum, which: np.ndarray, other: Optimum) -> Optimum:
    """Keep the new optima of data sets ``which`` where they are better."""
    old = _rows(best, which)
    with np.errstate(invalid="ignore"):  # both may be infinite
        better = is_better(old, other)
    kept = Optimum(*(chosen(better, new, before) for new, before in zip(other, old, strict=True)))
    kept = kept._replace(evaluations=old.evaluations + other.evaluations, starts=old.starts + 1)
    out = [np.array(part) for part in best]
    for whole, part in zip(out, kept, strict=True):
        whole[which] = part
    return Optimum(*map(host_leaf, out))


def solve_batch(batch: Batch, theta: np.ndarray) -> Solution:
    """Solve every data set at its theta (K, d); arrays on the host. One program serves REML and ML."""
    solution = run(solve, batch.with_reml(True), theta)
    if batch.structure.reml:
        return solution
    return ml_solution(solution, batch)


def ml_solution(solution: Solution, batch: Batch) -> Solution:
    """Residual SD and deviance of ML from the solution under REML at the same theta."""
    products, r2 = batch.problem.products, np.asarray(solution.r2)
    n = np.asarray(products.n_obs)
    constant = np.asarray(products.constant_ml) + n * (1 + LOG_2PI - np.log(n) + np.asarray(products.log_scale))
    value = np.asarray(solution.log_l2) + n * np.log(r2) + constant
    return solution._replace(sigma=host_leaf(np.sqrt(r2 / n)), value=host_leaf(value))
