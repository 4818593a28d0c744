"""Draws of coefficients, random effects and residual SD, and of predictions, for one data set."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .inference import conditional_modes, solve
from .posterior import Elimination, Rows, eliminate
from .structure import Index, Structure, Values


class Draws(NamedTuple):
    """Draws of everything that is estimated, S of them, in conditioned coordinates.

    gamma (S, p); effects: per factor (S, q, L + new levels); sigma (S,).
    """

    gamma: Array
    effects: tuple[Array, ...]
    sigma: Array


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


def draw(
    key: Array,
    theta: Array,
    n_sims: int,
    n_new: tuple[int, ...],
    structure: Structure,
    index: Index,
    values: Values,
    *,
    joint: bool,
) -> Draws:
    """Draw sigma, gamma and the random effects given theta.

    Parameters
    ----------
    key : Array
        Random key.
    theta : Array (d,)
    n_sims : int
    n_new : tuple of int
        New levels per factor; they stand behind the known ones.
    joint : bool
        True: everything from its joint posterior under a flat prior on beta and Jeffreys' on sigma (Gelman & Hill 2007,
        section 7.2; R's arm::sim). False: gamma and each level's effects apart, at the estimated sigma, as R's
        merTools::predictInterval draws them; that counts what coefficients and effects share twice.

    Returns
    -------
    Draws
    """
    solution = solve(theta, structure, index, values)
    key_sigma, key_rest = jax.random.split(key)
    noise = _noise(key_rest, n_sims, n_new, structure, theta.dtype)
    degrees = values.n_obs - values.n_fixed
    chi2 = 2 * jax.random.gamma(key_sigma, degrees / 2, (n_sims,), theta.dtype)
    # the residual sum of squares over a chi-square, as the posterior of sigma^2 has it
    sigma = jnp.sqrt(solution.r2 / chi2)
    scale = sigma if joint else jnp.broadcast_to(solution.sigma, sigma.shape)
    root = jnp.linalg.cholesky(solution.unscaled_cov, symmetrize_input=False)
    gamma = solution.gamma[None] + scale[:, None] * (noise.gamma @ root.T)
    if joint:
        effects = _joint_effects(noise, gamma, scale, theta, structure, index, values)
    else:
        effects = _separate_effects(noise, solution.gamma, scale, theta, structure, index, values)
    lams = structure.theta_map.factors(theta)
    new = [scale[:, None, None] * jnp.einsum("ij,sjl->sil", lam, e) for lam, e in zip(lams, noise.new, strict=True)]
    both = tuple(jnp.concatenate(pair, axis=2) for pair in zip(effects, new, strict=True))
    return Draws(gamma, both, sigma)


def _separate_effects(
    noise: Noise, gamma: Array, scale: Array, theta: Array, structure: Structure, index: Index, values: Values
) -> list[Array]:
    found = conditional_modes(theta, gamma, structure, index, values)
    out = []
    for modes, variances, e in zip(found.modes, found.variances, noise.effects, strict=True):
        size, vectors = jnp.linalg.eigh(variances)
        root = vectors * jnp.sqrt(jnp.maximum(size, 0.0))[:, None, :]
        out.append(modes.T[None] + scale[:, None, None] * jnp.einsum("lij,sjl->sil", root, e))
    return out


def _joint_effects(
    noise: Noise, gamma: Array, scale: Array, theta: Array, structure: Structure, index: Index, values: Values
) -> list[Array]:
    """Draw the effects given gamma, coarsest factor first."""
    found = eliminate(theta, structure, index, values)
    weight = jnp.concatenate([-gamma, jnp.ones((gamma.shape[0], 1), gamma.dtype)], axis=1)
    own = [
        jnp.einsum("iwl,sw->sil", solved[:, -weight.shape[1] :], weight)
        + scale[:, None, None] * jnp.einsum("kil,skl->sil", half, e)
        for solved, half, e in zip(found.solved, found.half, noise.effects[: len(found.half)], strict=True)
    ]
    if structure.crossed:
        return _joint_crossed(own[0], noise, weight, scale, found, structure, index, values)
    for f in range(structure.n_factors - 2, -1, -1):
        start = 0
        for g in range(f + 1, structure.n_factors):
            q = structure.q[g]
            coarse = own[g][:, :, index.ancestors[f][g - f - 1]]
            own[f] = own[f] - jnp.einsum("iql,sql->sil", found.solved[f][:, start : start + q], coarse)
            start += q
    return own


def _joint_crossed(
    own: Array,
    noise: Noise,
    weight: Array,
    scale: Array,
    found: Elimination,
    structure: Structure,
    index: Index,
    values: Values,
) -> list[Array]:
    assert index.entry_level is not None  # for the type checker: a crossed model has all these
    assert index.entry_col is not None
    assert values.entry is not None
    assert found.dense_half is not None
    assert found.dense_w is not None
    n_sims = weight.shape[0]
    flat = jnp.concatenate([jnp.swapaxes(e, 1, 2).reshape(n_sims, -1) for e in noise.effects[1:]], axis=1)
    dense = (weight @ found.dense_w.T + scale[:, None] * flat) @ found.dense_half
    entry, level, col = values.entry, index.entry_level, index.entry_col

    def met(one: Array) -> Array:
        return jax.ops.segment_sum(entry * one[col][:, None], level, structure.n_levels[0])

    # one draw at a time: the list of entries is too long to hold for all
    sums = jax.lax.map(met, dense)
    spread = jnp.einsum("kil,kjl->ijl", found.half[0], found.half[0])
    out = [own - jnp.einsum("ijl,slj->sil", spread, sums)]
    for start, levels, q in structure.dense_slices():
        out.append(jnp.swapaxes(dense[:, start : start + levels * q].reshape(n_sims, levels, q), 1, 2))
    return out


def predict_draws(draws: Draws, rows: Rows) -> Array:
    """Return x'gamma and z'b of every factor for every draw, (1 + factors, S, R)."""
    parts = [draws.gamma @ rows.x.T]
    for effects, z, codes, z_new, codes_new in zip(
        draws.effects, rows.z, rows.codes, rows.z_new, rows.codes_new, strict=True
    ):
        known = jnp.einsum("sir,ri->sr", effects[:, :, codes], z)
        parts.append(known + jnp.einsum("sir,ri->sr", effects[:, :, codes_new], z_new))
    return jnp.stack(parts)
