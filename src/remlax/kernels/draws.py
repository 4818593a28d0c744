"""Draws of coefficients, random effects and residual SD, and of predictions, for one data set."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..shapes import Float, UInt
from .inference import conditional_modes, solve
from .posterior import Rows
from .problem import Problem, Structure


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
        jax.random.normal(keys[0], (n_sims, structure.n_fixed), dtype),
        tuple(jax.random.normal(k, (n_sims, q, m), dtype) for k, (q, m, _) in zip(keys[1::2], shapes, strict=True)),
        tuple(jax.random.normal(k, (n_sims, q, n), dtype) for k, (q, _, n) in zip(keys[2::2], shapes, strict=True)),
    )


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
    noise = jax.random.normal(_wrapped(key_rows), (n_sims, rows.x.shape[0]), theta.dtype)
    return RowDraws(jnp.concatenate([predict_draws(draws, rows), (draws.sigma[:, None] * noise)[None]]))
