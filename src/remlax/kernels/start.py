"""Moment estimate of theta: where a fit starts."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..shapes import Float
from .problem import Problem


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
    sums, map_ = problem.column_sums(), problem.structure.theta_map
    tau2 = []
    for a in np.flatnonzero(map_.diagonal):
        g, s = (part[map_.row[a]] for part in sums[map_.factor[a]])
        equal = _moment_ratio(g, s, jnp.ones_like(g))
        tau2.append(_moment_ratio(g, s, 1.0 / (1.0 + equal * jnp.maximum(g - 1.0, 0.0)) ** 2))
    ratios = jnp.stack(tau2)
    # never less than a third for the residual: columns that overlap claim the same variance twice
    rest = jnp.maximum(1.0 - jnp.sum(ratios), 0.3)
    diagonal = jnp.maximum(jnp.sqrt(ratios / rest), 0.1)
    return jnp.zeros(map_.n_theta, ratios.dtype).at[np.flatnonzero(map_.diagonal)].set(diagonal)


def _moment_ratio(g: Array, s: Array, weight: Array) -> Array:
    """tau^2 from sums of squares g and sums of products s of every level, at least 0."""
    least = 1e-3 * jnp.sum(weight * g)
    return jnp.clip(jnp.sum(weight * (s * s - g)) / jnp.maximum(jnp.sum(weight * (g * g - g)), least), 0.0, 1e6)
