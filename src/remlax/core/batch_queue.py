"""Fit many lanes inside one compiled program: a queue of lanes, a few at a time, each with as many starts as it needs.

What ``batch.fit_stack`` does on the host is done here on the device: lanes that failed, ended on the boundary or came
through a curved valley are fitted again. So a simulation study needs no host step between its data and its estimates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .batch import CHUNK_BYTES, MAX_CHUNK, fit_batch
from .batch_eigen import small_eigh
from .batch_restarts import in_valley, turned_theta, turned_values
from .optimize import CONVERGED, NOT_FINITE, SADDLE, Optimum
from .structure import Index, Structure, Values

# size below which a diagonal entry of theta is on the boundary, for columns of Z of unit root mean square
BOUNDARY = 1e-4
STARTS = (0.05, 10.0, 0.3)

T = TypeVar("T")


class LaneFit(NamedTuple):
    """Where every lane ended: theta (m, d); value, evaluations, status (m,); hess (m, d, d)."""

    theta: Array
    value: Array
    hess: Array
    evaluations: Array
    status: Array


class _Queue(NamedTuple):
    """Where every lane stands; ``way`` is the next or last way out of a valley: a state, ``aside`` the theta there."""

    best: LaneFit
    tries: Array
    way: Array
    aside: Array
    waiting: Array


# ways out of a valley: none yet, with the columns in the opposite order, from there in their own order, done
OWN, TURNED, BACK, DONE = range(4)


def lanes_at_once(values: Values) -> int:
    """Lanes that the queue takes at a time: a power of two whose cross-products fit the cache."""
    n_lanes = values.n_obs.shape[0]
    per_lane = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(values)) / n_lanes
    fits = max(1, min(MAX_CHUNK, int(CHUNK_BYTES // max(per_lane, 1.0)), n_lanes))
    return 1 << (fits.bit_length() - 1)


def lane_fit_shape(structure: Structure, values: Values) -> LaneFit:
    """Shapes and types of what `fit_queue` returns, without tracing it."""
    m, d, dtype = values.n_obs.shape[0], structure.theta_map.n_theta, values.ww.dtype
    described: Callable[..., Any] = jax.ShapeDtypeStruct  # JAX gives it no types
    lane, whole = described((m,), dtype), described((m,), jnp.int32)
    return LaneFit(described((m, d), dtype), lane, described((m, d, d), dtype), whole, whole)


def fit_queue(structure: Structure, index: Index, values: Values) -> LaneFit:
    """Fit every lane, again from other starts where it failed or ended on the boundary; pure JAX.

    Parameters
    ----------
    structure, index
        Shared by all lanes.
    values : Values
        Stacked: every leaf with a leading lane axis (m, ...).

    Returns
    -------
    LaneFit
    """
    m, d = values.n_obs.shape[0], structure.theta_map.n_theta
    dtype = values.ww.dtype
    size = lanes_at_once(values)
    nothing = LaneFit(
        theta=jnp.full((m, d), jnp.nan, dtype),
        value=jnp.full(m, jnp.inf, dtype),
        hess=jnp.zeros((m, d, d), dtype),
        evaluations=jnp.zeros(m, jnp.int32),
        status=jnp.full(m, NOT_FINITE, jnp.int32),
    )
    finite = jnp.all(jnp.isfinite(values.ww), axis=(1, 2))
    none = jnp.zeros(m, jnp.int32)
    start = _Queue(nothing, none, none + (DONE if structure.crossed else OWN), nothing.theta, finite)

    def serve(queue: _Queue) -> _Queue:
        # lanes that are not there (m) are served as copies of the last one and written nowhere
        (slots,) = jnp.nonzero(queue.waiting, size=size, fill_value=m)
        slots = slots.astype(jnp.int32)
        lanes = jnp.minimum(slots, m - 1)
        best, tries, way, aside, _ = jax.tree.map(lambda a: a[lanes], queue)
        own = jax.tree.map(lambda a: a[lanes], values)
        starts = _starts(best, tries, structure)
        if not structure.crossed:
            other = turned_theta(jnp.where((way == TURNED)[:, None], best.theta, aside), structure.theta_map)
            starts = _where((way == TURNED) | (way == BACK), other, starts)
            own = _where(way == TURNED, turned_values(own, structure.theta_map), own)
        found = fit_batch(starts, structure, index, own)
        best = _where(way == TURNED, best, _better(best, tries, found))
        own_order = (way == OWN) | (way == DONE)
        tries = tries + own_order.astype(jnp.int32)
        valley = (way == OWN) & (tries == 1) & in_valley(best.theta, best.status, structure.theta_map)
        way = jnp.where(own_order, jnp.where(valley, TURNED, DONE), way + 1)
        waiting = valley | (way == BACK) | _once_more(best, tries, structure)
        served = _Queue(best, tries, way, found.theta, waiting)
        after: _Queue = jax.tree.map(lambda a, part: a.at[slots].set(part, mode="drop"), queue, served)
        return after

    done = lax.while_loop(lambda queue: jnp.any(queue.waiting), serve, start)
    return done.best


def _once_more(best: LaneFit, tries: Array, structure: Structure) -> Array:
    """Lanes that deserve another start: failed ones up to three, those on the boundary one."""
    again = best.status != CONVERGED
    if structure.theta_map.n_theta > 1:
        diagonal = jnp.abs(best.theta[:, np.flatnonzero(structure.theta_map.diagonal)])
        again = again | ((tries == 1) & jnp.any(diagonal < BOUNDARY, axis=1))
    return again & (tries <= len(STARTS))


def _starts(best: LaneFit, tries: Array, structure: Structure) -> Array:
    """First the moment estimate (NaN); then along the worst curvature of a saddle, or near 0, far out, between."""
    unit = jnp.asarray(structure.theta_map.start(), best.theta.dtype)
    attempt = jnp.maximum(tries - 1, 0)
    size, vectors = jax.vmap(small_eigh)(best.hess)
    step = 0.2 * (attempt + 1).astype(unit.dtype)
    aside = best.theta + step[:, None] * vectors[:, :, 0]
    other = unit[None] * jnp.asarray(STARTS, unit.dtype)[attempt][:, None]
    saddle = (best.status == SADDLE) & (size[:, 0] < 0)
    start = jnp.where(saddle[:, None] & jnp.isfinite(aside), aside, other)
    return jnp.where((tries == 0)[:, None], jnp.full_like(start, jnp.nan), start)


def _better(best: LaneFit, tries: Array, found: Optimum) -> LaneFit:
    """Keep the new optimum where it is better: converged before not converged, then lower by more than noise."""
    old_ok, new_ok = best.status == CONVERGED, found.status == CONVERGED
    old = jnp.where(jnp.isfinite(best.value), best.value, jnp.full_like(best.value, jnp.inf))
    lower = found.value < old - 1e-11 * jnp.maximum(1.0, jnp.abs(found.value))
    better = jnp.where(old_ok == new_ok, lower, new_ok & (found.value < old + 1e-6)) | (tries == 0)
    new = LaneFit(found.theta, found.value, jnp.nan_to_num(found.hess), found.evaluations, found.status)

    return _where(better, new, best)._replace(evaluations=best.evaluations + found.evaluations)


def _where(which: Array, a: T, b: T) -> T:
    """Take lanes of one tree or the other."""

    def choose(one: Array, other: Array) -> Array:
        return jnp.where(which.reshape(-1, *[1] * (one.ndim - 1)), one, other)

    chosen: T = jax.tree.map(choose, a, b)
    return chosen
