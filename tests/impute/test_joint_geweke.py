"""The joint model's sampler leaves the prior alone: parameters from the prior and data from the model, then sweeps
that alternate with new data, must give the prior again (Geweke 2004 JASA 99:799-804)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from remlax.impute.kernels.draws import KnownCells, LatentBlocks
from remlax.impute.kernels.joint import Hyper, JointState, Tuning, sweep, sweep_noise
from remlax.impute.kernels.joint_chain import parameters
from remlax.impute.kernels.joint_data import JointPriors, JointSpec, reduce_rows

N, SWEEPS = 4000, 12
CLUSTERS, ROWS = 5, 3
MIXED = JointSpec(LatentBlocks((2,), ((2, 4),)), LatentBlocks((1,), ()))  # 3 levels, 4 ordered ones, one number
SPECIFIC = JointSpec(specific=True)


def covariance(rng: np.random.Generator, df: float, scale: np.ndarray, nominal: tuple[int, ...]) -> np.ndarray:
    """The prior law of a covariance whose leading blocks are fixed given what stands before them."""
    size, start = len(scale), 0
    cov = np.zeros((0, 0))
    for number, width in enumerate([*nominal, size - sum(nominal)]):
        own, before = slice(start, start + width), slice(0, start)
        inner = np.linalg.solve(scale[before, before], scale[before, own])
        block = scale[own, own] - scale[own, before] @ inner
        fixed = 0.5 + 0.5 * np.eye(width)
        residual = fixed if number < len(nominal) else np.atleast_2d(stats.invwishart(df, block).rvs(random_state=rng))
        if start:
            spread = np.linalg.cholesky(np.linalg.inv(scale[before, before]))
            coef = inner + spread @ rng.normal(size=(start, width)) @ np.linalg.cholesky(residual).T
            cross = cov @ coef
            cov = np.block([[cov, cross], [cross.T, residual + coef.T @ cross]])
        else:
            cov = residual
        start += width
    return cov


def categories(y: Any, blocks: LatentBlocks, cuts: tuple[Any, ...], missing: Any) -> Any:
    """Levels of the latents y (n, r); -1 where the cell is missing."""
    out, start = [], 0
    for width in blocks.nominal:
        own = y[:, start : start + width]
        level = jnp.where(jnp.max(own, axis=1) > 0.0, jnp.argmax(own, axis=1) + 1, 0)
        out.append(jnp.where(missing[:, start], -1, level))
        start += width
    for (column, _), cut in zip(blocks.ordinal, cuts, strict=True):
        level = jnp.sum(y[:, column][:, None] > cut[None], axis=1)
        out.append(jnp.where(missing[:, column], -1, level))
    return jnp.stack(out, axis=1).astype(jnp.int32) if out else jnp.zeros((len(y), 0), jnp.int32)


def sizes(spec: JointSpec) -> tuple[int, int, int, int, int]:
    """r, q, p, s, u of the two models."""
    return (2, 1, 2, 0, 1) if spec.specific else (4, 1, 2, 2, 1)


def make_cells(missing: np.ndarray, n_categories: int) -> KnownCells:
    observed, ids = np.unique(~missing, axis=0, return_inverse=True)
    return KnownCells(
        jnp.asarray(missing),
        jnp.zeros((len(missing), n_categories), jnp.int32),
        jnp.asarray(ids.reshape(-1)),
        jnp.asarray(observed, jnp.float64),
    )


def prior_state(rng: np.random.Generator, spec: JointSpec, priors: dict[str, Any]) -> JointState:
    r, q, p, s, u = sizes(spec)
    residual = covariance(rng, priors["residual_df"], priors["residual_scale"], spec.rows.nominal)[None]
    hyper = Hyper(np.float64(r + 9.0), residual[0])
    if spec.specific:
        a = r + 1.0 + rng.exponential(priors["df_mean"])
        scale = stats.wishart(priors["residual_df"], np.linalg.inv(priors["residual_scale"])).rvs(random_state=rng)
        residual = np.stack([stats.invwishart(a, scale).rvs(random_state=rng) for _ in range(CLUSTERS)])
        hyper = Hyper(np.float64(a), scale)
    order = [*range(r * q, r * q + s), *range(r * q)]
    psi = np.zeros((r * q + s, r * q + s))
    psi[np.ix_(order, order)] = covariance(rng, priors["random_df"], priors["random_scale"], spec.clusters.nominal)
    cuts = tuple(np.array([-0.5, rng.uniform(-0.5, 1.0), 1.0]) for _ in spec.rows.ordinal)
    step = np.float64(-0.5)
    return JointState(
        np.zeros((CLUSTERS * ROWS, r)),
        rng.normal(size=(p, r)),
        (rng.normal(size=(CLUSTERS, r * q + s)) @ np.linalg.cholesky(psi).T)[:, : r * q].reshape(CLUSTERS, r, q),
        residual,
        psi,
        np.zeros((CLUSTERS, s)),
        rng.normal(size=(u, s)),
        cuts,
        (),
        hyper,
        Tuning((step,) * len(cuts), (), step),
    )


@pytest.mark.slow
@pytest.mark.parametrize("spec", [MIXED, SPECIFIC], ids=["categories and clusters", "specific covariances"])
def test_sweeps_keep_the_prior(spec: JointSpec) -> None:
    r, q, p, s, u = sizes(spec)
    rng = np.random.default_rng(5)
    size = r * q + s
    law = {
        "residual_df": r + 12.0,
        "residual_scale": 6.0 * np.eye(r) if not spec.specific else 0.5 * np.eye(r),
        "random_df": size + 8.0,
        "random_scale": 3.0 * np.eye(size) + 0.5,
        "coef_precision": 1.0,
        "df_mean": 6.0,
    }
    x = np.column_stack([np.ones(CLUSTERS * ROWS), rng.normal(size=CLUSTERS * ROWS)])[:, :p]
    cluster = np.repeat(np.arange(CLUSTERS), ROWS)
    missing = rng.random((CLUSTERS * ROWS, r)) < 0.3
    missing2 = rng.random((CLUSTERS, s)) < 0.3
    for flags, blocks in ((missing, spec.rows), (missing2, spec.clusters)):
        start = 0
        for width in blocks.nominal:
            flags[:, start : start + width] = flags[:, start : start + 1]
            start += width
    states = [prior_state(rng, spec, law) for _ in range(N)]
    with jax.enable_x64(True):
        priors = JointPriors(**{name: jnp.asarray(value) for name, value in law.items()})
        upper = (
            jnp.zeros((CLUSTERS, s)),
            jnp.ones((CLUSTERS, u)),
            make_cells(missing2, len(spec.clusters.nominal)),
        )
        n_categories = len(spec.rows.nominal) + len(spec.rows.ordinal)
        base = reduce_rows(
            jnp.zeros((CLUSTERS * ROWS, r)),
            jnp.asarray(x),
            jnp.ones((CLUSTERS * ROWS, q)),
            jnp.asarray(cluster),
            jnp.ones(CLUSTERS * ROWS),
            jnp.arange(CLUSTERS * ROWS),
            make_cells(missing, n_categories),
            CLUSTERS,
            spec.specific,
            upper,
        )
        stacked = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *states)

        def new_data(key: Any, state: JointState) -> JointState:
            row_key, cluster_key = jax.random.split(key)
            root = jnp.linalg.cholesky(state.residual)
            root = root[base.cluster] if spec.specific else jnp.broadcast_to(root, (len(x), r, r))
            noise = jnp.einsum("nij,nj->ni", root, jax.random.normal(row_key, (len(x), r)))
            mean = base.x @ state.coef + jnp.einsum("nrq,nq->nr", state.random[base.cluster], base.z)
            y2 = state.y2
            if s:
                inside, below = state.psi[: r * q, : r * q], state.psi[: r * q, r * q :]
                gain = jnp.linalg.solve(inside, below)
                left = state.psi[r * q :, r * q :] - below.T @ gain
                own = jax.random.normal(cluster_key, (CLUSTERS, s)) @ jnp.linalg.cholesky(left).T
                y2 = base.x2 @ state.coef2 + state.random.reshape(CLUSTERS, r * q) @ gain + own
            return state._replace(y=mean + noise, y2=y2)

        def step(key: Any, state: JointState) -> JointState:
            keys = jax.random.split(key, 3)
            state = new_data(keys[0], state)
            data = base._replace(
                cells=base.cells._replace(category=categories(state.y, spec.rows, state.cuts, base.cells.missing)),
                cells2=base.cells2._replace(category=categories(state.y2, spec.clusters, (), base.cells2.missing)),
            )
            return sweep(keys[1], sweep_noise(keys[2], data), state, data, spec, priors, jnp.zeros(()))

        @jax.jit
        def run(state: JointState) -> tuple[Any, Any]:
            keys = jax.random.split(jax.random.key(8), (SWEEPS, N))
            last, _ = jax.lax.scan(lambda now, row: (jax.vmap(step)(row, now), None), state, keys)
            return parameter_rows(state), parameter_rows(last)

        def parameter_rows(state: JointState) -> Any:
            return jax.vmap(lambda one: parameters(one, spec))(state)

        before, after = (np.asarray(rows) for rows in run(stacked))
    free = np.ptp(before, axis=0) > 0.0
    assert np.isfinite(after).all()
    for transform in (np.asarray, np.square, lambda v: np.log1p(np.abs(v))):
        a, b = transform(before[:, free]), transform(after[:, free])
        z = (a.mean(axis=0) - b.mean(axis=0)) / np.sqrt((a.var(axis=0) + b.var(axis=0)) / N)
        assert np.abs(z).max() < 4.2, np.round(z, 1)
    # the parameters have moved: equality is not for want of steps
    assert np.abs(np.diag(np.corrcoef(before[:, free].T, after[:, free].T), int(free.sum()))).mean() < 0.5
