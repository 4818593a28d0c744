"""Coefficients and random effects together, for one data set: their joint covariance, and predictions.

The covariance of (beta-hat - beta, b-hat - b) is the inverse of Henderson's mixed-model equations (Henderson 1975,
Biometrics 31:423). It is never formed: eliminating the factors, finest first, says how every random effect depends on
the coarser ones and on beta. A prediction x'beta + z'b is carried through that elimination; a draw goes back through
it. Levels that never met in the data need nothing special.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..shapes import Float, Int
from .inference import solve
from .problem import Problem


@dataclass(frozen=True)
class Elimination:
    """How every random effect depends on coarser ones and on W = [X y].

    half : tuple of Array (q, q, L)
        half'half = Lambda (Lambda'Z'Z Lambda + I)^-1 Lambda' of every eliminated level, given the coarser factors.
    solved : tuple of Array (q, r, L)
        half'half Z'[Z of the coarser factors, W]; of a crossed model W only.
    """

    half: tuple[Float[Array, "_q _q _levels"], ...]
    solved: tuple[Float[Array, "_q _r _levels"], ...]


@dataclass(frozen=True)
class DenseElimination(Elimination):
    """The same with a dense block.

    dense_half : Array (n, n)
        The same root for the block.
    dense_w : Array (n, w)
        dense_half times the block's W columns.
    """

    dense_half: Float[Array, "dense dense"]
    dense_w: Float[Array, "dense w"]


class Rows(NamedTuple):
    """Rows to predict, in the conditioned coordinates of `CrossProducts`.

    x : Array (R, p)
    z, z_new : tuple of Array (R, q)
        Per factor: columns that meet a level of the data, and columns that meet a new level; zero elsewhere.
    codes, codes_new : tuple of integer Array (R,)
        The levels; 0 where z or z_new is zero.
    pair_row, pair_entry : integer Array (E,)
        Crossed: which row needs which entry of the products; row R is padding.
    """

    x: Float[Array, "rows p"]
    z: tuple[Float[Array, "rows _q"], ...]
    codes: tuple[Int[Array, " rows"], ...]
    z_new: tuple[Float[Array, "rows _q"], ...]
    codes_new: tuple[Int[Array, " rows"], ...]
    pair_row: Int[Array, " entries"]
    pair_entry: Int[Array, " entries"]


class RowMoments(NamedTuple):
    """A prediction after elimination of the random effects.

    fixed : Array (R, p)
        What is left to multiply gamma: x - X'V^-1 Z D z.
    variance : Array (R,)
        Variance of z'b given gamma, over sigma^2.
    """

    fixed: Float[Array, "rows p"]
    variance: Float[Array, " rows"]


def row_moments(rows: Rows, theta: Float[Array, " d"], problem: Problem[Any, Any]) -> RowMoments:
    """Carry predictions x'gamma + z'b through the elimination of b."""
    variance = jnp.zeros(rows.x.shape[0], rows.x.dtype)
    for lam, z in zip(problem.structure.theta_map.factors(theta), rows.z_new, strict=True):
        variance = variance + jnp.sum((z @ lam) ** 2, axis=1)
    return problem.through(rows, problem.eliminate(theta), RowMoments(rows.x, variance))


class RowVariance(NamedTuple):
    """Variance of predictions and its derivatives.

    variance (R,): of the error of the linear predictor, in units of the scaled response; gradient (R, d + 1): its
    derivatives in (theta, log sigma).
    """

    variance: Float[Array, " rows"]
    gradient: Float[Array, "rows d+1"]


def row_variance(
    theta: Float[Array, " d"], sigma: Float[Array, ""], rows: Rows, problem: Problem[Any, Any]
) -> RowVariance:
    """Variance of the error of predictions, Var(x'(beta-hat - beta) + z'(b-hat - b)).

    Parameters
    ----------
    theta : Array (d,)
    sigma : Array, scalar
        Residual SD in units of the scaled response.
    rows : Rows

    Returns
    -------
    RowVariance
    """

    def variance(t: Array) -> tuple[Array, Array]:
        moments = row_moments(rows, t, problem)
        cov = solve(t, problem).unscaled_cov
        total = jnp.einsum("ri,ij,rj->r", moments.fixed, cov, moments.fixed) + moments.variance
        return total, total

    gradient, total = jax.jacfwd(variance, has_aux=True)(theta)
    # the variance is sigma^2 times this, so that its derivative in log sigma is twice itself
    both = jnp.concatenate([gradient, 2 * total[:, None]], axis=1)
    return RowVariance(sigma**2 * total, sigma**2 * both)
