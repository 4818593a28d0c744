"""Covariance parameters as they are reported: SDs and correlations, and those that SAS PROC MIXED prints."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..shapes import Float
from .criterion import parameters
from .problem import Mmrm
from .structures import CORRELATIONS, HETEROGENEOUS, kind_of_correlations

# structures that are linear in SAS's parameters
LINEAR = frozenset(("us", "cs", "toep", "diag"))


class Reported(NamedTuple):
    """Parameters of every group, of the scaled response, and their derivatives in phi.

    scaled (g, r): logarithms of SDs, then atanh of correlations; sas (g, r).
    """

    scaled: Float[Array, "g r"]
    d_scaled: Float[Array, "g r e"]
    sas: Float[Array, "g r"]
    d_sas: Float[Array, "g r e"]


def n_sds(structure: str, n_visits: int) -> int:
    """Number of different SDs."""
    return n_visits if structure == "us" or structure in HETEROGENEOUS else 1


def distinct_correlations(structure: str, n_visits: int) -> list[tuple[int, int]]:
    """Visits whose correlation is a parameter."""
    kind = kind_of_correlations(structure)
    if kind == "us":
        return [(t, s) for t in range(n_visits) for s in range(t + 1, n_visits)]
    lagged = [(0, k) for k in range(1, n_visits)]
    neighbours = [(t, t + 1) for t in range(n_visits - 1)]
    return {"cs": [(0, 1)], "ar1": [(0, 1)], "toep": lagged, "ante1": neighbours, "diag": []}[kind]


def scaled_parameters(sigma: Float[Array, "T T"], structure: str) -> Float[Array, " r"]:
    """Logarithms of the SDs, then atanh of the correlations."""
    variance = jnp.diagonal(sigma)
    log_sd = jnp.log(variance[: n_sds(structure, len(sigma))]) / 2
    return jnp.append(log_sd, jnp.arctanh(_correlations(sigma, structure)))


def covariance_of_scaled(scaled: Float[Array, " r"], structure: str, n_visits: int) -> Float[Array, "T T"]:
    """Covariance matrix from what `scaled_parameters` gives; not positive definite for some correlations."""
    n, kind, at = n_sds(structure, n_visits), kind_of_correlations(structure), np.arange(n_visits)
    sd = jnp.broadcast_to(jnp.exp(scaled[:n]), (n_visits,))
    if kind not in ("us", "cs", "toep"):
        return jnp.outer(sd, sd) * CORRELATIONS[kind](scaled[n:], n_visits)
    place = np.zeros((n_visits, n_visits), int)
    if kind == "us":
        first, second = _pairs(structure, n_visits).T
        place[first, second] = place[second, first] = np.arange(len(first))
    elif kind == "toep":
        place = np.maximum(np.abs(at[:, None] - at) - 1, 0)
    correlation = jnp.where(np.eye(n_visits, dtype=bool), 1.0, jnp.tanh(scaled[n:])[place])
    return jnp.outer(sd, sd) * correlation


def sas_parameters(sigma: Float[Array, "T T"], structure: str) -> Float[Array, " r"]:
    """Variances, then covariances (us, cs, toep) or correlations; of cs what is not common comes first."""
    variance, at = jnp.diagonal(sigma)[: n_sds(structure, len(sigma))], _pairs(structure, len(sigma))
    if structure == "cs":
        return jnp.stack([sigma[0, 0] - sigma[0, 1], sigma[0, 1]])
    if structure in LINEAR:
        return jnp.append(variance, sigma[at[:, 0], at[:, 1]])
    return jnp.append(variance, _correlations(sigma, structure))


def jacobians(phi: Float[Array, " d"], problem: Mmrm) -> Float[Array, "g T T e"]:
    """Derivatives of the covariance matrix of every group in its parameters."""
    out: Array = jax.vmap(jax.jacfwd(problem.structure.sigma))(parameters(phi, problem))
    return out


def powers_of_scale(structure: str, n_visits: int) -> np.ndarray:
    """Power of the unit of the response in each of SAS's parameters, (r,)."""
    n, others = n_sds(structure, n_visits), len(distinct_correlations(structure, n_visits))
    return np.concatenate([np.full(n, 2.0), np.full(others, 2.0 if structure in LINEAR else 0.0)])


def _pairs(structure: str, n_visits: int) -> np.ndarray:
    return np.array(distinct_correlations(structure, n_visits), int).reshape(-1, 2)


def _correlations(sigma: Array, structure: str) -> Array:
    at, variance = _pairs(structure, len(sigma)), jnp.diagonal(sigma)
    return sigma[at[:, 0], at[:, 1]] / jnp.sqrt(variance[at[:, 0]] * variance[at[:, 1]])


def reported(phi: Float[Array, " d"], problem: Mmrm) -> Reported:
    """Parameters as they are reported."""
    structure, own = problem.structure, parameters(phi, problem)

    def scaled(part: Array) -> Array:
        return scaled_parameters(structure.sigma(part), structure.covariance)

    def sas(part: Array) -> Array:
        return sas_parameters(structure.sigma(part), structure.covariance)

    return Reported(*(jax.vmap(f)(own) for f in (scaled, jax.jacfwd(scaled), sas, jax.jacfwd(sas))))
