"""Fit many data sets inside one compiled program: a queue, a few at a time, each with as many starts as it needs.

What ``fit.fit`` does on the host is done here on the device: data sets that failed, ended on the boundary or are
ill-conditioned are fitted again. So a simulation study needs no host step between its data and its estimates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..kernels.cross_products import Rotation
from ..kernels.estimates import Estimates, estimate
from ..kernels.newton import NOT_FINITE, Optimum
from ..kernels.problem import CrossProducts, Problem
from ..kernels.restarts import chosen, ill_conditioned, is_better, next_start, try_again
from ..kernels.small import small_eigh
from ..kernels.theta import reversed_theta
from .batch import CHUNK_BYTES, MAX_CHUNK
from .fit import fit_batch
from .shapes import power_of_two

T = TypeVar("T")


class _Queue(NamedTuple):
    """Where every data set stands; ``stage`` of the fits with reversed columns, ``there`` the theta in that order."""

    best: Optimum
    tries: Array
    stage: Array
    there: Array
    waiting: Array


# not ill-conditioned so far, with reversed columns, from there in their own order, done
OWN, REVERSED, BACK, DONE = range(4)


def sets_at_once(products: CrossProducts) -> int:
    """Data sets that the queue takes at a time: a power of two whose cross-products fit the cache."""
    n_sets = products.n_obs.shape[0]
    each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(products)) / n_sets
    fits = max(1, min(MAX_CHUNK, int(CHUNK_BYTES // max(each, 1.0)), n_sets))
    return power_of_two(fits)


def optimum_shape(problem: Problem[Any, Any]) -> Optimum:
    """Shapes and types of what `fit_queue` returns, without tracing it."""
    described: Callable[..., Any] = jax.ShapeDtypeStruct  # JAX gives it no types
    m, d = problem.products.n_obs.shape[0], problem.structure.theta_map.n_theta
    dtype = problem.products.ww.dtype
    number, whole = described((m,), dtype), described((m,), jnp.int32)
    theta, hess = described((m, d), dtype), described((m, d, d), dtype)
    return Optimum(theta, number, theta, hess, number, whole, whole, whole, whole)


def fit_queue(problem: Problem[Any, Any]) -> Optimum:
    """Fit every data set, again from other starts where it failed or ended on the boundary; pure JAX.

    Parameters
    ----------
    problem : Problem
        Every leaf of its products has a leading axis of data sets (m, ...); structure and index are shared.

    Returns
    -------
    Optimum
        ``evaluations`` counts those of all starts.
    """
    theta_map, products = problem.structure.theta_map, problem.products
    m, size = products.n_obs.shape[0], sets_at_once(products)
    reversible = problem.reversed() is not None
    start = _before(problem, OWN if reversible else DONE)

    def serve(queue: _Queue) -> _Queue:
        # data sets that are not there (m) are served as copies of the last one and written nowhere
        (slots,) = jnp.nonzero(queue.waiting, size=size, fill_value=m)
        slots = slots.astype(jnp.int32)
        sets = jnp.minimum(slots, m - 1)
        best, tries, stage, there, _ = jax.tree.map(lambda a: a[sets], queue)
        own = problem.filled(jax.tree.map(lambda a: a[sets], products), problem.index)
        starts = _starts(best, tries, problem)
        reverse = own.reversed()
        if reverse is not None:
            other = reversed_theta(jnp.where((stage == REVERSED)[:, None], best.theta, there), theta_map)
            starts = _where((stage == REVERSED) | (stage == BACK), other, starts)
            own = own.filled(_where(stage == REVERSED, reverse.products, own.products), own.index)
        optimum = fit_batch(starts, own)
        best = _where(stage == REVERSED, best, _better(best, tries, optimum))
        own_order = (stage == OWN) | (stage == DONE)
        tries = tries + own_order.astype(jnp.int32)
        reverse_next = (stage == OWN) & (tries == 1) & ill_conditioned(best.theta, best.status, theta_map)
        stage = jnp.where(own_order, jnp.where(reverse_next, REVERSED, DONE), stage + 1)
        waiting = reverse_next | (stage == BACK) | try_again(best, tries, theta_map)
        served = _Queue(best, tries, stage, optimum.theta, waiting)
        after: _Queue = jax.tree.map(lambda a, part: a.at[slots].set(part, mode="drop"), queue, served)
        return after

    done = lax.while_loop(lambda queue: jnp.any(queue.waiting), serve, start)
    return done.best


def _before(problem: Problem[Any, Any], stage: int) -> _Queue:
    """Return the queue before the first fit."""
    shape = optimum_shape(problem)
    nothing: Optimum = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    nothing = nothing._replace(
        theta=jnp.full_like(nothing.theta, jnp.nan),
        value=jnp.full_like(nothing.value, jnp.inf),
        status=jnp.full_like(nothing.status, NOT_FINITE),
    )
    usable = jnp.all(jnp.isfinite(problem.products.ww), axis=(1, 2))
    none = jnp.zeros_like(nothing.status)
    return _Queue(nothing, none, none + stage, nothing.theta, usable)


def _starts(best: Optimum, tries: Array, problem: Problem[Any, Any]) -> Array:
    """First the moment estimate (NaN), then what `next_start` says."""
    start = next_start(best, tries, jax.vmap(small_eigh)(best.hess), problem.structure.theta_map)
    return jnp.where((tries == 0)[:, None], jnp.full_like(start, jnp.nan), start)


def _better(best: Optimum, tries: Array, new: Optimum) -> Optimum:
    better = is_better(best, new) | (tries == 0)
    kept = _where(better, new._replace(hess=jnp.nan_to_num(new.hess)), best)
    return kept._replace(evaluations=best.evaluations + new.evaluations, starts=best.starts + 1)


def _where(which: Array, a: T, b: T) -> T:
    """Take data sets of one tree or the other."""
    tree: T = jax.tree.map(lambda one, other: chosen(which, one, other), a, b)
    return tree


def estimate_queue(
    optimum: Optimum,
    rotation: Rotation,
    z_scale: tuple[Array, ...],
    problem: Problem[Any, Any],
    *,
    satterthwaite: bool,
) -> Estimates:
    """Estimates of every data set at its theta; every array has a leading axis of data sets. See `estimate`."""

    def one(own: tuple[Array, Rotation, tuple[Array, ...], CrossProducts]) -> Estimates:
        theta, own_rotation, scales, products = own
        part = problem.filled(products, problem.index)
        return estimate(theta, own_rotation, scales, part, satterthwaite=satterthwaite)

    given = (optimum.theta, rotation, z_scale, problem.products)
    estimates: Estimates = lax.map(one, given, batch_size=_even_share(problem.products))
    return estimates


def _even_share(products: CrossProducts) -> int:
    """Largest divisor of the number of data sets that fits the cache: a remainder would compile everything again."""
    m, most = products.n_obs.shape[0], sets_at_once(products)
    return next(size for size in range(most, 0, -1) if m % size == 0)
