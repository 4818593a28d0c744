"""Conditional covariances of the random effects given all parameters, which M^-1 holds."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from ..shapes import Float
from .elimination import solve
from .laplace import at_modes
from .problem import Effects, Glmm, times, times_transposed, zero_effects


def covariance_times(parameters: Float[Array, " parameters"], given: Effects, problem: Glmm) -> Effects:
    """Lambda M^-1 Lambda' c of vectors c over the random effects.

    Parameters
    ----------
    parameters : Array
    given : tuple of Array (J, q, levels)
        J vectors, per factor.
    problem : Glmm
    """
    point = at_modes(parameters, zero_effects(problem.structure, parameters.dtype), problem)

    def one(c: Effects) -> Effects:
        return times(point.lams, solve(point.weights, times_transposed(point.lams, c), problem.structure))

    out: Effects = jax.vmap(one)(tuple(map(jnp.asarray, given)))
    return out
