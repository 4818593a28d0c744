"""Imputation compatible with a mixed model for an outcome: its terms may be products and squares of targets.

The joint model describes the covariates, a univariate mixed model the outcome given them. A missing covariate is
proposed from the joint model and accepted by the outcome's likelihood.

Axes: n rows, p and q columns of the outcome's fixed and random part, M monomials of the K targets in them.

Source: Bartlett, Seaman, White & Carpenter (2015) Stat Methods Med 24:462-487; Goldstein, Carpenter & Browne (2014)
JRSS A 177:553-564.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .draws import KnownCells, inverse_wishart
from .joint import JointState, SweepNoise, draw_coefficients, residual_scatter, sweep
from .joint_data import JointData, JointPriors, JointSpec, reduce_rows
from .noise import normals, uniforms


class Monomials(NamedTuple):
    """Static: target columns (K) of the joint model, and the powers (M, K) of each monomial in them."""

    columns: tuple[int, ...]
    powers: tuple[tuple[int, ...], ...]


class OutcomeArrays(NamedTuple):
    """The outcome's model: y (n,) standardised, missing (n,), fixed (n, p, M) and random (n, q, M) coefficients of
    the monomials, targets (n, K), rows (k,) of the joint model's active rows (n or more: none), cluster (n,), priors.
    """

    y: Array
    missing: Array
    fixed: Array
    random: Array
    targets: Array
    rows: Array
    cluster: Array
    priors: JointPriors


class CompatibleState(NamedTuple):
    """State of a chain: covariates, outcome (n,), coef (p, 1), random (J, 1, q), residual (1, 1, 1), psi (q, q)."""

    joint: JointState
    outcome: Array
    coef: Array
    random: Array
    residual: Array
    psi: Array


def start_outcome(key: Array, joint: JointState, outcome: OutcomeArrays) -> CompatibleState:
    """Start of the outcome's model: missing cells are noise."""
    n_clusters, dtype = joint.random.shape[0], outcome.y.dtype
    p, q = outcome.fixed.shape[1], outcome.random.shape[1]
    noise = jax.random.normal(key, outcome.y.shape, dtype)
    return CompatibleState(
        joint,
        jnp.where(outcome.missing, noise, outcome.y),
        jnp.zeros((p, 1), dtype),
        jnp.zeros((n_clusters, 1, q), dtype),
        jnp.ones((1, 1, 1), dtype),
        0.3 * jnp.eye(q, dtype=dtype),
    )


def outcome_design(y: Array, outcome: OutcomeArrays, terms: Monomials) -> tuple[Array, Array]:
    """Fixed (n, p) and random (n, q) columns at the active rows' targets y (k, r)."""
    values = outcome.targets.at[outcome.rows].set(y[:, jnp.asarray(terms.columns)], mode="drop")
    columns = []
    for powers in terms.powers:
        product = jnp.ones_like(outcome.y)
        for k, power in enumerate(powers):
            for _ in range(power):
                product = product * values[:, k]
        columns.append(product)
    monomials = jnp.stack(columns, axis=1)
    fixed = jnp.einsum("npm,nm->np", outcome.fixed, monomials)
    return fixed, jnp.einsum("nqm,nm->nq", outcome.random, monomials)


def draw_outcome_model(
    key: Array, state: CompatibleState, x: Array, z: Array, outcome: OutcomeArrays
) -> tuple[Array, Array, Array, Array]:
    """Draw coefficients, random effects, residual variance and Psi of the outcome given the covariates."""
    n_clusters, q = state.random.shape[0], z.shape[1]
    dtype, priors = z.dtype, outcome.priors
    none = jnp.zeros((0, 1), dtype)
    empty = KnownCells(none > 0.0, jnp.zeros((0, 0), jnp.int32), jnp.zeros((0,), jnp.int32), jnp.ones((1, 1), dtype))
    upper = (jnp.zeros((n_clusters, 0), dtype), jnp.ones((n_clusters, 1), dtype), empty)
    nobody, weight = jnp.zeros((0,), jnp.int32), jnp.ones_like(state.outcome)
    data = reduce_rows(state.outcome[:, None], x, z, outcome.cluster, weight, nobody, empty, n_clusters, False, upper)
    keys = jax.random.split(key, 4)
    noise = normals(keys[0], (n_clusters, q), dtype)
    coef, random = draw_coefficients(
        keys[1], noise, data, data.frozen, state.residual, jnp.zeros_like(noise), state.psi, priors.coef_precision
    )
    scatter = residual_scatter(data, data.frozen, coef, random)[0]
    residual = inverse_wishart(keys[2], priors.residual_scale + scatter, priors.residual_df + x.shape[0])
    effects = random[:, 0]
    psi = inverse_wishart(keys[3], priors.random_scale + effects.mT @ effects, priors.random_df + n_clusters)
    return coef, random, residual[None], psi


def outcome_mean(x: Array, z: Array, coef: Array, random: Array, cluster: Array) -> Array:
    """Expected outcome (n,)."""
    return x @ coef[:, 0] + jnp.sum(z * random[:, 0][cluster], axis=1)


def compatible_sweep(
    key: Array,
    noise: SweepNoise,
    state: CompatibleState,
    data: JointData,
    outcome: OutcomeArrays,
    spec: JointSpec,
    terms: Monomials,
    priors: JointPriors,
    gain: Array,
) -> CompatibleState:
    """One sweep over both models; missing covariates by a Metropolis step per row."""
    keys = jax.random.split(key, 4)
    old = state.joint.y
    joint = sweep(keys[0], noise, state.joint, data, spec, priors, gain)
    x, z = outcome_design(old, outcome, terms)
    coef, random, residual, psi = draw_outcome_model(keys[1], state, x, z, outcome)
    before = outcome_mean(x, z, coef, random, outcome.cluster)
    new_x, new_z = outcome_design(joint.y, outcome, terms)
    after = outcome_mean(new_x, new_z, coef, random, outcome.cluster)
    variance = residual[0, 0, 0]
    gained = 0.5 * (jnp.square(state.outcome - before) - jnp.square(state.outcome - after)) / variance
    # a missing outcome says nothing about its row: it is integrated out, and drawn below
    gained = jnp.where(outcome.missing, 0.0, gained)
    accept = jnp.log(uniforms(keys[2], gained.shape, gained.dtype)) < gained
    mean = jnp.where(accept, after, before)
    drawn = mean + jnp.sqrt(variance) * normals(keys[3], mean.shape, mean.dtype)
    taken = accept.at[outcome.rows].get(mode="fill", fill_value=False)
    joint = joint._replace(y=jnp.where(taken[:, None], joint.y, old))
    return CompatibleState(joint, jnp.where(outcome.missing, drawn, state.outcome), coef, random, residual, psi)


def outcome_parameters(state: CompatibleState) -> Array:
    """Coefficients (p), residual variance, lower triangle of Psi."""
    q = state.psi.shape[0]
    return jnp.concatenate([state.coef[:, 0], state.residual[0, 0], state.psi[jnp.tril_indices(q)]])
