"""The sampler of three levels leaves the prior alone: parameters from the prior and data from the model, then sweeps
that alternate with new data, must give the prior again (Geweke 2004 JASA 99:799-804)."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_joint_geweke import categories, covariance, make_cells

from remlax.impute.kernels.draws import LatentBlocks
from remlax.impute.kernels.joint import Hyper, JointState, Tuning, sweep_noise
from remlax.impute.kernels.joint_chain import parameters
from remlax.impute.kernels.joint_data import JointData, JointPriors, JointSpec, reduce_rows
from remlax.impute.kernels.nested import NestedState, TopData, nested_sweep, reduce_top, top_parameters
from remlax.impute.kernels.small import cholesky, inverse

N, SWEEPS = 4000, 12
TOP, CLUSTERS, ROWS = 4, 8, 2  # top clusters, clusters, rows in each cluster


class Case(NamedTuple):
    """Targets of each level, of `size` model columns; random slopes of clusters, other ones of top clusters."""

    blocks: LatentBlocks
    size: int

    @property
    def lower(self) -> int:
        """Random effects of a cluster."""
        return self.size * Q

    @property
    def effects(self) -> int:
        """Random effects of a top cluster, with those on the targets of clusters."""
        return self.size * Q3 + self.size


Q, Q3, P, U = 2, 1, 2, 1
NUMBERS = Case(LatentBlocks((1,), ()), 2)  # a binary column and a number
CATEGORIES = Case(LatentBlocks((2,), ((2, 4),)), 3)  # three levels, and four ordered ones


def with_latents_first(rng: np.random.Generator, law: dict[str, Any], effects: int, case: Case) -> np.ndarray:
    """A covariance of random effects and cluster-level residuals, of which the first has its scale fixed."""
    order = [*range(effects, effects + case.size), *range(effects)]
    cov = np.zeros_like(law["random_scale"])
    cov[np.ix_(order, order)] = covariance(rng, law["random_df"], law["random_scale"], case.blocks.nominal)
    return cov


def prior_state(rng: np.random.Generator, law: dict[str, Any], law3: dict[str, Any], case: Case) -> NestedState:
    size, lower = case.size, case.lower
    residual = covariance(rng, law["residual_df"], law["residual_scale"], case.blocks.nominal)
    psi, psi3 = with_latents_first(rng, law, lower, case), with_latents_first(rng, law3, case.effects, case)
    b = rng.normal(size=(CLUSTERS, len(psi))) @ np.linalg.cholesky(psi).T
    a = rng.normal(size=(TOP, len(psi3))) @ np.linalg.cholesky(psi3).T
    cuts = [tuple(np.array([-0.5, rng.uniform(-0.5, 1.0), 1.0]) for _ in case.blocks.ordinal) for _ in range(3)]
    steps = (np.float64(-0.5),) * len(case.blocks.ordinal)
    joint = JointState(
        np.zeros((CLUSTERS * ROWS, size)),
        rng.normal(size=(P, size)),
        b[:, :lower].reshape(CLUSTERS, size, Q),
        residual[None],
        psi,
        np.zeros((CLUSTERS, size)),
        rng.normal(size=(U, size)),
        cuts[0],
        cuts[1],
        Hyper(np.float64(size + 9.0), residual),
        Tuning(steps, steps, np.float64(0.0)),
    )
    effects, means = a[:, : size * Q3].reshape(TOP, size, Q3), a[:, size * Q3 : case.effects]
    return NestedState(joint, effects, means, psi3, np.zeros((TOP, size)), rng.normal(size=(U, size)), cuts[2], steps)


def below(key: Any, psi: Any, effects: Any) -> Any:
    """Residuals of targets given the random effects of their clusters."""
    n = effects.shape[1]
    gain = inverse(psi[:n, :n]) @ psi[:n, n:]
    root = cholesky(psi[n:, n:] - psi[n:, :n] @ gain)
    return effects @ gain + jax.random.normal(key, (effects.shape[0], psi.shape[0] - n)) @ root.T


def new_data(key: Any, state: NestedState, data: JointData, top: TopData) -> NestedState:
    keys, joint = jax.random.split(key, 3), state.joint
    own = jnp.concatenate([state.effects.reshape(TOP, -1), state.means], axis=1)
    y3 = top.x @ state.coef + below(keys[0], state.psi, own)
    y2 = data.x2 @ joint.coef2 + state.means[top.parent] + below(keys[1], joint.psi, joint.random.reshape(CLUSTERS, -1))
    noise = jax.random.normal(keys[2], joint.y.shape) @ cholesky(joint.residual[0]).T
    y = data.x @ joint.coef + jnp.einsum("nrq,nq->nr", joint.random[data.cluster], data.z)
    y = y + jnp.einsum("nrq,nq->nr", state.effects[top.parent[data.cluster]], top.z)
    return state._replace(joint=joint._replace(y=y + noise, y2=y2), y=y3)


@pytest.mark.slow
@pytest.mark.parametrize("case", [NUMBERS, CATEGORIES], ids=["binary and continuous", "nominal and ordinal"])
def test_sweeps_of_three_levels_keep_the_prior(case: Case) -> None:
    rng = np.random.default_rng(6)
    size, blocks, spec = case.size, case.blocks, JointSpec(case.blocks, case.blocks, False, case.blocks)
    law = {
        "residual_df": size + 12.0,
        "residual_scale": 6.0 * np.eye(size) + 1.0,
        "random_df": case.lower + size + 8.0,
        "random_scale": 3.0 * np.eye(case.lower + size) + 0.5,
        "coef_precision": 1.0,
        "df_mean": 6.0,
    }
    top_size = case.effects + size
    law3 = {**law, "random_df": top_size + 9.0, "random_scale": 4.0 * np.eye(top_size) + 1.0}
    n = CLUSTERS * ROWS
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    z = np.column_stack([np.ones(n), rng.normal(size=n)])
    cluster = np.repeat(np.arange(CLUSTERS), ROWS)
    parent = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    flags = [rng.random((count, size)) < 0.3 for count in (n, CLUSTERS, TOP)]
    for own in flags:
        own[:, : blocks.nominal[0]] = own[:, :1]
    n_categories = len(blocks.nominal) + len(blocks.ordinal)
    states = [prior_state(rng, law, law3, case) for _ in range(N)]
    with jax.enable_x64(True):
        priors, priors3 = (JointPriors(**{k: jnp.asarray(v) for k, v in own.items()}) for own in (law, law3))
        cells = [make_cells(own, n_categories) for own in flags]
        rows = (jnp.zeros((n, size)), jnp.asarray(x), jnp.asarray(z), jnp.asarray(cluster), jnp.ones(n))
        active = jnp.arange(n)
        upper = (jnp.zeros((CLUSTERS, size)), jnp.ones((CLUSTERS, U)), cells[1])
        base = reduce_rows(*rows, active, cells[0], CLUSTERS, False, upper)
        own = (jnp.zeros((TOP, size)), jnp.ones((TOP, U)), cells[2])
        above = reduce_top(base, rows, jnp.asarray(x[:, 1:]), active, jnp.asarray(parent), own, priors3)
        stacked = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *states)

        def known(y: Any, cells: Any, cuts: Any) -> Any:
            return cells._replace(category=categories(y, blocks, cuts, cells.missing))

        def step(key: Any, state: NestedState) -> NestedState:
            keys = jax.random.split(key, 3)
            state = new_data(keys[0], state, base, above)
            joint = state.joint
            lower, middle = known(joint.y, base.cells, joint.cuts), known(joint.y2, base.cells2, joint.cuts2)
            data = base._replace(cells=lower, cells2=middle)
            top = above._replace(cells=known(state.y, above.cells, state.cuts))
            noise = sweep_noise(keys[2], data)
            return nested_sweep(keys[1], noise, state, data, top, spec, priors, jnp.zeros(()))

        def row(state: NestedState) -> Any:
            own = (parameters(state.joint, spec), top_parameters(state), jnp.square(state.means).reshape(-1))
            return jnp.concatenate([*own, jnp.square(state.effects).reshape(-1)])

        @jax.jit
        def run(state: NestedState) -> tuple[Any, Any]:
            keys = jax.random.split(jax.random.key(9), (SWEEPS, N))
            last, _ = jax.lax.scan(lambda now, own: (jax.vmap(step)(own, now), None), state, keys)
            return jax.vmap(row)(state), jax.vmap(row)(last)

        before, after = (np.asarray(rows) for rows in run(stacked))
    free = np.ptp(before, axis=0) > 0.0
    assert np.isfinite(after).all()
    for transform in (np.asarray, np.square, lambda v: np.log1p(np.abs(v))):
        a, b = transform(before[:, free]), transform(after[:, free])
        gap = (a.mean(axis=0) - b.mean(axis=0)) / np.sqrt((a.var(axis=0) + b.var(axis=0)) / N)
        assert np.abs(gap).max() < 4.2, np.round(gap, 1)
    # the parameters have moved: equality is not for want of steps
    assert np.abs(np.diag(np.corrcoef(before[:, free].T, after[:, free].T), int(free.sum()))).mean() < 0.5
