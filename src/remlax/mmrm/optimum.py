"""Fit one data set by Newton steps over the covariance parameters, and describe where it ended."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..kernels.criterion import Derivatives
from ..kernels.newton import Optimum, minimise
from ..shapes import Float, Int
from .criterion import Coefficients, covariances, evaluate
from .problem import Mmrm, orders, pairs, places
from .structures import start


class MmrmEnd(NamedTuple):
    """One data set where its fit ended, in conditioned coordinates.

    gamma (p,): coefficients; cov (p, p) and moved (d, p, p): their covariance, and its derivatives in the covariance
    parameters; sigma (g, T, T): covariance matrices of the scaled response.
    """

    gamma: Float[Array, " p"]
    cov: Float[Array, "p p"]
    moved: Float[Array, "d p p"]
    sigma: Float[Array, "g T T"]


def fit(
    parameters: Float[Array, " d"], spread: Float[Array, ""], max_iter: Int[Array, ""], problem: Mmrm
) -> tuple[Optimum, MmrmEnd]:
    """Minimise the REML criterion or the ML deviance.

    Parameters
    ----------
    parameters : Array (d,)
        Start; an entry that is NaN asks for covariances of the least-squares residuals.
    spread : Array, scalar
        See `structures.start`.
    max_iter : Array, integer scalar
        Evaluations allowed.
    problem : Mmrm

    Returns
    -------
    Optimum
        ``theta`` holds the covariance parameters; everything is of the point where the fit ended.
    MmrmEnd
    """
    first = jnp.where(jnp.isnan(parameters), moment_start(spread, problem), parameters)

    def at(phi: Array, _: Any) -> tuple[Derivatives, Coefficients]:
        return evaluate(phi, problem)

    p, dtype = problem.structure.n_fixed, first.dtype
    carry = Coefficients(jnp.zeros(p, dtype), jnp.zeros((p, p), dtype), jnp.zeros((len(first), p, p), dtype))
    optimum, end = minimise(first, at, max_iter, None, carry, look=True)
    return optimum, MmrmEnd(end.gamma, end.cov, end.moved(), covariances(optimum.theta, problem))


def moment_start(spread: Float[Array, ""], problem: Mmrm) -> Float[Array, " d"]:
    """Start from covariances of the least-squares residuals, pair of visits by pair, in every group."""
    structure, seen = problem.structure, problem.index
    n, last = structure.n_visits, places(structure.n_fixed + 1)[-1, -1]
    first, second = pairs(n)
    together = problem.products.counts @ (seen[:, first] * seen[:, second])
    sums = jnp.sum(problem.products.moments[..., last], axis=1) / orders(n)[None]
    means = sums / jnp.maximum(together, 1.0)
    at = places(n)
    out = [start(means[g][at], together[g][at], spread, structure.covariance) for g in range(structure.n_groups)]
    return jnp.concatenate(out)
