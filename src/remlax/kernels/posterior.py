"""Coefficients and random effects together, for one data set: their joint covariance, predictions and draws.

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

from ..shapes import Float, Int, UInt
from .inference import conditional_modes, solve
from .problem import Problem, Structure


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


class Draws(NamedTuple):
    """Draws of everything that is estimated, S of them, in conditioned coordinates.

    gamma (S, p); effects: per factor (S, q, L + new levels); sigma (S,).
    """

    gamma: Float[Array, "sims p"]
    effects: tuple[Float[Array, "sims _q _levels"], ...]
    sigma: Float[Array, " sims"]


class Noise(NamedTuple):
    """Standard normal numbers behind the draws: gamma (S, p), effects per factor (S, q, L), new levels (S, q, N)."""

    gamma: Array
    effects: tuple[Array, ...]
    new: tuple[Array, ...]


def _noise(key: Array, n_sims: int, n_new: tuple[int, ...], structure: Structure, dtype: jnp.dtype) -> Noise:
    keys = jax.random.split(key, 2 * structure.n_factors + 1)
    shapes = list(zip(structure.q, structure.n_levels, n_new, strict=True))
    return Noise(
        _normal(keys[0], (n_sims, structure.n_fixed), dtype),
        tuple(_normal(k, (n_sims, q, m), dtype) for k, (q, m, _) in zip(keys[1::2], shapes, strict=True)),
        tuple(_normal(k, (n_sims, q, n), dtype) for k, (q, _, n) in zip(keys[2::2], shapes, strict=True)),
    )


def _normal(key: Array, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    """Draw with the last axis outermost: padding at its end changes no other number."""
    return jnp.moveaxis(jax.random.normal(key, (shape[-1], *shape[:-1]), dtype), 0, -1)


def _wrapped(raw: Array) -> Array:
    key: Array = jax.random.wrap_key_data(raw, impl="threefry2x32")
    return key


def draw(
    key: UInt[Array, " 2"],
    theta: Float[Array, " d"],
    problem: Problem[Any, Any],
    *,
    n_sims: int,
    joint: bool,
    n_new: tuple[int, ...] | None = None,
) -> Draws:
    """Draw sigma, gamma and the random effects given theta.

    Parameters
    ----------
    key : Array (2,)
        Raw random key; the generator is Threefry, whatever the caller's session prefers.
    theta : Array (d,)
    n_sims : int
    n_new : tuple of int, optional
        New levels per factor; they stand behind the known ones. None unless given.
    joint : bool
        True: everything from its joint posterior under a flat prior on beta and Jeffreys' on sigma (Gelman & Hill 2007,
        section 7.2; R's arm::sim). False: gamma and each level's effects apart, at the estimated sigma, as R's
        merTools::predictInterval draws them; that counts what coefficients and effects share twice.

    Returns
    -------
    Draws
    """
    solution = solve(theta, problem)
    key_sigma, key_rest = jax.random.split(_wrapped(key))
    none = (0,) * problem.structure.n_factors
    noise = _noise(key_rest, n_sims, n_new or none, problem.structure, theta.dtype)
    degrees = problem.products.n_obs - problem.products.n_fixed
    chi2 = 2 * jax.random.gamma(key_sigma, degrees / 2, (n_sims,), theta.dtype)
    # the residual sum of squares over a chi-square, as the posterior of sigma^2 has it
    sigma = jnp.sqrt(solution.r2 / chi2)
    scale = sigma if joint else jnp.broadcast_to(solution.sigma, sigma.shape)
    root = jnp.linalg.cholesky(solution.unscaled_cov, symmetrize_input=False)
    gamma = solution.gamma[None] + scale[:, None] * (noise.gamma @ root.T)
    if joint:
        weight = jnp.concatenate([-gamma, jnp.ones((n_sims, 1), gamma.dtype)], axis=1)
        effects = problem.draw_effects(problem.eliminate(theta), weight, scale, noise.effects)
    else:
        effects = _separate_effects(noise, solution.gamma, scale, theta, problem)
    lams = problem.structure.theta_map.factors(theta)
    new = [scale[:, None, None] * jnp.einsum("ij,sjl->sil", lam, e) for lam, e in zip(lams, noise.new, strict=True)]
    both = tuple(jnp.concatenate(pair, axis=2) for pair in zip(effects, new, strict=True))
    return Draws(gamma, both, sigma)


def _separate_effects(
    noise: Noise, gamma: Array, scale: Array, theta: Array, problem: Problem[Any, Any]
) -> tuple[Array, ...]:
    found = conditional_modes(theta, gamma, problem)
    out = []
    for modes, variances, e in zip(found.modes, found.variances, noise.effects, strict=True):
        size, vectors = jnp.linalg.eigh(variances)
        root = vectors * jnp.sqrt(jnp.maximum(size, 0.0))[:, None, :]
        out.append(modes.T[None] + scale[:, None, None] * jnp.einsum("lij,sjl->sil", root, e))
    return tuple(out)


def predict_draws(draws: Draws, rows: Rows) -> Float[Array, "parts sims rows"]:
    """Return x'gamma and z'b of every factor for every draw, (1 + factors, S, R)."""
    parts = [draws.gamma @ rows.x.T]
    for effects, z, codes, z_new, codes_new in zip(
        draws.effects, rows.z, rows.codes, rows.z_new, rows.codes_new, strict=True
    ):
        known = jnp.einsum("sir,ri->sr", effects[:, :, codes], z)
        parts.append(known + jnp.einsum("sir,ri->sr", effects[:, :, codes_new], z_new))
    return jnp.stack(parts)


class RowDraws(NamedTuple):
    """Draws of predictions, in units of the scaled response.

    parts (2 + factors, S, R): x'gamma, z'b of every factor, residual. A residual is drawn for a row of weight 1.
    """

    parts: Float[Array, "parts sims rows"]


def draw_rows(
    key: UInt[Array, " 2"],
    key_rows: UInt[Array, " 2"],
    theta: Float[Array, " d"],
    rows: Rows,
    problem: Problem[Any, Any],
    *,
    n_sims: int,
    n_new: tuple[int, ...],
    joint: bool,
) -> RowDraws:
    """Draw predictions; see `draw`.

    Parameters
    ----------
    key, key_rows : Array (2,)
        Raw keys of the estimates and of the residuals: the same first key gives the same coefficients and effects for
        other rows.
    """
    draws = draw(key, theta, problem, n_sims=n_sims, joint=joint, n_new=n_new)
    noise = _normal(_wrapped(key_rows), (n_sims, rows.x.shape[0]), theta.dtype)
    return RowDraws(jnp.concatenate([predict_draws(draws, rows), (draws.sigma[:, None] * noise)[None]]))
