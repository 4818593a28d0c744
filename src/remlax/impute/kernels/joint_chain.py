"""Chains of the joint model's sampler: starts, runs with a record, and whole imputations over arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from .draws import KnownCells, LatentBlocks, latent_covariance
from .emb import match_patterns
from .joint import Hyper, JointState, SweepNoise, Tuning, sweep, sweep_noise
from .joint_data import JointData, JointPriors, JointSpec, reduce_rows

START_STREAM, SWEEP_STREAM, NOISE_STREAM, OUTCOME_STREAM, TOP_STREAM, MATCH_STREAM = 0, 1, 2, 3, 4, 5
State = TypeVar("State")


def default_priors(r: int, n_random: int, s: int, dtype: jnp.dtype) -> JointPriors:
    """Least informative proper priors of pan and jomo: identity scales, df equal to the dimension, flat B."""
    size = n_random + s

    def number(value: float) -> Array:
        return jnp.asarray(value, dtype)

    scales = jnp.eye(r, dtype=dtype), jnp.eye(size, dtype=dtype)
    return JointPriors(number(r), scales[0], number(size), scales[1], number(0.0), number(50.0))


def start_latents(y: Array, cells: KnownCells, blocks: LatentBlocks, cuts: tuple[Array, ...]) -> Array:
    """Put the latents of observed categories where they are admissible."""
    for number, own in enumerate(blocks.nominal_columns):
        category = cells.category[:, number][:, None]
        levels = jnp.arange(1, own.stop - own.start + 1, dtype=category.dtype)[None]
        inside = jnp.where(category == levels, 1.0, -0.5).astype(y.dtype)
        y = y.at[:, own].set(jnp.where(category >= 0, inside, y[:, own]))
    for number, (column, _) in enumerate(blocks.ordinal):
        category, own_cuts = cells.category[:, len(blocks.nominal) + number], cuts[number]
        edges = jnp.concatenate([own_cuts[:1] - 1.0, own_cuts, own_cuts[-1:] + 1.0])
        middle = 0.5 * (edges[:-1] + edges[1:])[jnp.maximum(category, 0)]
        y = y.at[:, column].set(jnp.where(category >= 0, middle, y[:, column]))
    return y


def start_covariance(size: int, blocks: LatentBlocks, factor: Array) -> Array:
    cov = factor * jnp.eye(size, dtype=factor.dtype)
    for own in blocks.nominal_columns:
        cov = cov.at[own, own].set(latent_covariance(own.stop - own.start, factor.dtype))
    return cov


def start_chain(
    key: Array, data: JointData, spec: JointSpec, cuts: tuple[Array, ...], cuts2: tuple[Array, ...]
) -> JointState:
    """Overdispersed start of one chain: missing cells are noise, covariances differ by factors up to 3."""
    dtype, (n_clusters, s) = data.y.dtype, data.y2.shape
    r, q, p, u = data.y.shape[1], data.z.shape[1], data.x.shape[1], data.x2.shape[1]
    keys = jax.random.split(jax.random.fold_in(key, START_STREAM), 4)
    y = jnp.where(data.cells.missing, jax.random.normal(keys[0], data.y.shape, dtype), data.y)
    y2 = jnp.where(data.cells2.missing, jax.random.normal(keys[1], data.y2.shape, dtype), data.y2)
    factors = jnp.exp(jax.random.uniform(keys[2], (2,), dtype, minval=-1.0, maxval=1.0))
    groups = data.xx.shape[0]
    residual = start_covariance(r, spec.rows, factors[0])
    psi = start_covariance(s, spec.clusters, factors[1])
    psi = jnp.zeros((r * q + s, r * q + s), dtype).at[r * q :, r * q :].set(psi)
    psi = psi.at[: r * q, : r * q].set(0.3 * factors[1] * jnp.eye(r * q, dtype=dtype))
    step = jnp.asarray(-2.0, dtype)
    df = jnp.asarray(r + 9.0, dtype)
    return JointState(
        start_latents(y, data.cells, spec.rows, cuts),
        jnp.zeros((p, r), dtype),
        jnp.zeros((n_clusters, r, q), dtype),
        jnp.broadcast_to(residual, (groups, r, r)),
        psi,
        start_latents(y2, data.cells2, spec.clusters, cuts2),
        jnp.zeros((u, s), dtype),
        cuts,
        cuts2,
        Hyper(df, residual * (df - r - 1.0)),
        Tuning((step,) * len(cuts), (step,) * len(cuts2), step + 1.0),
    )


def parameters(state: JointState, spec: JointSpec) -> Array:
    """All parameters in one vector (P,).

    B (target by target), cluster-level coefficients (same), lower triangles of the residual covariance (the mean
    over the clusters where they have their own) and of Psi (row by row), cut points, and a and the lower triangle
    of A where clusters have their own residual covariance.
    """
    parts = [state.coef.mT.reshape(-1), state.coef2.mT.reshape(-1)]
    parts.extend(cov[jnp.tril_indices(cov.shape[0])] for cov in (jnp.mean(state.residual, axis=0), state.psi))
    parts.extend(state.cuts + state.cuts2)
    if spec.specific:
        parts.extend([state.hyper.df[None], state.hyper.scale[jnp.tril_indices(state.hyper.scale.shape[0])]])
    return jnp.concatenate(parts)


def run_chain(
    key: Array,
    state: State,
    data: JointData,
    first: Array,
    count: Array,
    burn: Array,
    room: int,
    move: Callable[[Array, SweepNoise, State, Array], State],
    row: Callable[[State], Array],
) -> tuple[State, Array]:
    """Make `count` sweeps, numbered from `first`; record the parameters after each, (room, P).

    ``move(key, noise, state, gain)`` makes a sweep and ``row(state)`` gives its parameters. Sweeps numbered below
    `burn` adapt the Metropolis steps. Sweep k depends on the key and on k alone.
    """
    sweep_key, noise_key = (jax.random.fold_in(key, stream) for stream in (SWEEP_STREAM, NOISE_STREAM))

    def step(number: Array, carry: tuple[State, Array, SweepNoise]) -> tuple[State, Array, SweepNoise]:
        old, kept, noise = carry
        at = (number + 1).astype(data.y.dtype)
        gain = jnp.where(number < burn, 2.0 * at**-0.6, 0.0)
        new = move(jax.random.fold_in(sweep_key, number), noise, old, gain)
        following = sweep_noise(jax.random.fold_in(noise_key, number + 1), data)
        return new, kept.at[(number - first) % room].set(row(new)), following

    record = jnp.zeros((room, row(state).shape[0]), data.y.dtype)
    noise = sweep_noise(jax.random.fold_in(noise_key, first), data)
    last, record, _ = lax.fori_loop(first, first + count, step, (state, record, noise))
    return last, record


def joint_impute(
    key: Array,
    y: Array,
    missing: Array,
    x: Array,
    z: Array,
    cluster: Array,
    patterns: Array,
    n_clusters: int,
    m: int,
    sweeps: int,
    *,
    priors: JointPriors | None = None,
    active: Array | None = None,
) -> tuple[Array, Array]:
    """Impute one two-level data set m times by the joint model; pure, so that jit and vmap apply.

    Parameters
    ----------
    key
        A JAX random key. Imputation k uses `fold_in(key, k)`: the first imputations do not depend on m.
    y
        (n, r) continuous targets; whatever stands in a missing cell is ignored.
    missing
        (n, r) logical, True where the cell is missing. Rows without an observed target do not count.
    x, z
        (n, p) predictors and (n, q) columns of the random part, complete, each with its column of ones.
    cluster
        (n,) cluster of each row, 0 to n_clusters - 1. A cluster without rows does no harm.
    patterns
        (S, r) logical, every pattern of missing cells that a row may have; see `all_patterns`.
    n_clusters, m, sweeps
        Numbers of clusters, of imputations (one chain each), and of sweeps of each chain.
    priors
        On the scale of the standardised targets; default as `default_priors`.
    active
        (k,) positions of the rows that may have a missing cell; default all. Rows outside it must be complete.

    Returns
    -------
    tuple
        Completed targets (m, n, r), and the parameters of the last sweep (m, P) on the standardised scale, in the
        order of `parameters`.

    Examples
    --------
    >>> from remlax.impute.kernels import all_patterns
    >>> y = jax.random.normal(jax.random.key(1), (20, 2))
    >>> missing = jnp.zeros((20, 2), bool).at[:5, 0].set(True)
    >>> ones, cluster = jnp.ones((20, 1)), jnp.arange(20) // 5
    >>> completed, _ = joint_impute(
    ...     jax.random.key(0), y, missing, ones, ones, cluster, all_patterns(2, [0]), 4, m=3, sweeps=50
    ... )
    >>> completed.shape
    (3, 20, 2)
    """
    standard, centre, scale = standardised(y, missing)
    rows = jnp.arange(y.shape[0]) if active is None else active
    cells = row_cells(missing[rows], patterns, y.dtype)
    weight = jnp.any(jnp.logical_not(missing), axis=1).astype(y.dtype)
    spec = JointSpec()
    data = reduce_rows(standard, x, z, cluster, weight, rows, cells, n_clusters, False, no_targets(n_clusters, y.dtype))
    law = default_priors(y.shape[1], y.shape[1] * z.shape[1], 0, y.dtype) if priors is None else priors
    zero, end = jnp.zeros((), jnp.int32), jnp.asarray(sweeps, jnp.int32)

    def one(number: Array) -> tuple[Array, Array]:
        own = jax.random.fold_in(key, number)
        start = start_chain(own, data, spec, (), ())
        state, record = run_chain(
            own, start, data, zero, end, end, 1,
            lambda key, noise, state, gain: sweep(key, noise, state, data, spec, law, gain),
            lambda state: parameters(state, spec),
        )  # fmt: skip
        completed = y.at[rows].set(state.y * scale[None] + centre[None])
        return jnp.where(missing, completed, y), record[0]

    return jax.vmap(one)(jnp.arange(m))


def standardised(y: Array, missing: Array) -> tuple[Array, Array, Array]:
    """Targets (n, r) less means and divided by SDs of the observed cells, zero where missing; means and SDs (r,)."""
    seen = jnp.logical_not(missing)
    count = jnp.maximum(jnp.sum(seen, axis=0), 2).astype(y.dtype)
    centre = jnp.sum(jnp.where(seen, y, 0.0), axis=0) / count
    centred = jnp.where(seen, y - centre[None], 0.0)
    scale = jnp.sqrt(jnp.sum(centred * centred, axis=0) / (count - 1.0))
    return centred / scale[None], centre, scale


def no_targets(n_clusters: int, dtype: jnp.dtype) -> tuple[Array, Array, KnownCells]:
    """Targets, predictors and cells of clusters that have none."""
    nothing = jnp.zeros((n_clusters, 0), dtype)
    return nothing, nothing, row_cells(nothing > 0.0, jnp.zeros((1, 0), bool), dtype)


def row_cells(missing: Array, patterns: Array, dtype: jnp.dtype) -> KnownCells:
    """Cells of rows with continuous targets only: missing (k, r), patterns (S, r), True = missing."""
    ids = jnp.maximum(match_patterns(missing, patterns), 0)
    return KnownCells(missing, jnp.zeros((missing.shape[0], 0), jnp.int32), ids, 1.0 - patterns.astype(dtype))
