"""Minimise the ML deviance of one data set with an SD, a correlation or a coefficient held at a value.

Coordinates are the logarithms of the SDs and atanh of the correlations, so that what is held is one of them. Some of
their values belong to no covariance matrix: the deviance, which rises without bound towards these, is not finite there.
A coefficient is held by taking its direction out of the columns and out of the response.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..kernels.criterion import Derivatives
from ..kernels.newton import Optimum, minimise
from ..kernels.small import factor_inverse
from ..shapes import Float, Int
from .criterion import columns_of, covariances, evaluate
from .parameters import covariance_of_scaled
from .problem import Mmrm, MmrmStructure, pairs


@dataclass(frozen=True)
class ScaledStructure(MmrmStructure):
    """A structure whose parameters are log SDs and atanh correlations."""

    def sigma(self, phi: Float[Array, " d"]) -> Float[Array, "T T"]:
        """Covariance matrix of one group at its parameters."""
        return covariance_of_scaled(phi, self.covariance, self.n_visits)


class HeldVisits(NamedTuple):
    """One model with something held.

    Parameters
    ----------
    start : Array (d,)
        Coordinates; what is held has its value here.
    free : Array (d,)
        1 where a coordinate is free, 0 where it is held.
    row : Array (p,)
        Linear combination of the coefficients, conditioned coordinates; not zero.
    target : Array, scalar
        Its value where ``hold_row`` is 1.
    hold_row : Array, scalar
        1 holds the linear combination, 0 leaves it free.
    """

    start: Float[Array, " d"]
    free: Float[Array, " d"]
    row: Float[Array, " p"]
    target: Float[Array, ""]
    hold_row: Array


def minimise_held(held: HeldVisits, max_iter: Int[Array, ""], problem: Mmrm) -> tuple[Optimum, Float[Array, " p"]]:
    """Minimise over what is free.

    Returns
    -------
    Optimum
        ``theta`` holds the coordinates (d,).
    Array (p,)
        Coefficients, conditioned coordinates.
    """
    whole, turn = _without(held, problem)
    p, free = problem.structure.n_fixed, held.free

    def at(psi: Array, _: Any) -> tuple[Derivatives, Array]:
        (value, grad, hess), found = evaluate(psi, whole)
        # patients who lack visits say nothing of the whole matrix
        positive = jnp.all(jnp.isfinite(factor_inverse(covariances(psi, whole))[0]))
        value = jnp.where(positive, value, jnp.nan)
        hess = hess * jnp.outer(free, free) + jnp.diag(1 - free)
        return Derivatives(value, grad * free, hess), turn[:p, :p] @ found.gamma - turn[:p, p]

    return minimise(held.start, at, max_iter, None, jnp.zeros(p, held.start.dtype), look=True)


def _without(held: HeldVisits, problem: Mmrm) -> tuple[Mmrm, Array]:
    """The problem in other columns [X y] T, the first one padded where a linear combination is held; T (w, w).

    A reflection takes that combination to the first column, which leaves X with its value for the response.
    """
    structure, given = problem.structure, problem.products
    p, hold = structure.n_fixed, held.hold_row
    length = jnp.linalg.norm(held.row)
    normal = held.row.at[0].add(jnp.where(held.row[0] < 0, -length, length))
    reflection = jnp.eye(p, dtype=normal.dtype) - 2 * jnp.outer(normal, normal) / (normal @ normal)
    turn = jnp.eye(p + 1, dtype=normal.dtype).at[:p, :p].set(reflection.at[:, 0].multiply(1 - hold))
    turn = turn.at[:p, p].set(-hold * held.target * held.row / length**2)
    first, second = pairs(p + 1)
    turned = (turn.T @ columns_of(given.moments, p + 1) @ turn)[..., first, second]
    own = ScaledStructure(structure.covariance, structure.n_visits, p, structure.n_groups, reml=False)
    products = replace(given, moments=turned, padded=given.padded.at[0].add(hold))
    return replace(problem, structure=own, products=products), turn
