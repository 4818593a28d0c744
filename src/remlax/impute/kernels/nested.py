"""Gibbs sampler of the joint model with clusters in clusters (classes in schools), for one data set and one chain.

Rows: y_i = B'x_i + a_k z3_i + b_j z_i + e_i; clusters: w_j = C'v_j + c_k + u_j with (vec b_j, u_j) ~ N(0, Psi);
top clusters: t_k = D'v3_k + v_k with (vec a_k, c_k, v_k) ~ N(0, Psi3). Without the a, c and v it is the model of
`joint`, whose draws are used wherever one level meets the next.

B is drawn with a and b integrated out, a given B with b integrated out, then b; so coefficients of cluster-level and
top-level predictors mix as fast as any other.

Axes: those of `joint_data`, and K top clusters, q3 columns of their random part, s3 targets, u3 predictors,
D3 = r * q3 + s + s3.

Source: Schafer & Yucel (2002) J Comput Graph Stat 11:437-457; Yucel (2008) Phil Trans R Soc A 366:2389-2403.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .draws import KnownCells, draw_latents, draw_missing
from .joint import (
    JointState,
    SweepNoise,
    draw_coefficients,
    draw_psi,
    draw_residual,
    draw_upper,
    draw_upper_cells,
    given_upper,
    normal_given,
    row_means,
    upper_given_effects,
)
from .joint_chain import start_covariance, start_latents
from .joint_data import JointData, JointPriors, JointSpec, RowSums, reduce_rows, sum_clusters, sum_rows
from .noise import normals
from .small import inverse, kron, whiten


class TopData(NamedTuple):
    """What the sampler knows of the top clusters.

    parent (J,) top cluster of each cluster; z (k, q3) random part of the active rows; zb (J, q3, q), zx (K, q3, p) and
    zz (K, q3, q3) sums of products over all rows; frozen (K, q3, r) those with the targets of rows that are not active;
    y (K, s3), x (K, u3), xx (u3, u3) and cells of the top-level targets; clusters are the rows of a two-level model of
    their own, whose targets are the cluster-level ones; priors, of which those of random effects are used.
    """

    parent: Array
    z: Array
    zb: Array
    zx: Array
    zz: Array
    frozen: Array
    y: Array
    x: Array
    xx: Array
    cells: KnownCells
    clusters: JointData
    priors: JointPriors


class NestedState(NamedTuple):
    """State of one chain: that of rows and clusters, effects (K, r, q3), means (K, s) of the cluster-level targets,
    psi (D3, D3), top-level targets y (K, s3), their coef (u3, s3), cut points and step sizes.
    """

    joint: JointState
    effects: Array
    means: Array
    psi: Array
    y: Array
    coef: Array
    cuts: tuple[Array, ...]
    steps: tuple[Array, ...]


def reduce_top(
    data: JointData,
    rows: tuple[Array, Array, Array, Array, Array],
    z: Array,
    active: Array,
    parent: Array,
    own: tuple[Array, Array, KnownCells],
    priors: JointPriors,
) -> TopData:
    """Reduce n rows (y, x, z of the clusters, cluster, weight) and z (n, q3) to sums; see `reduce_rows`.

    own = (y, x, cells) are the top clusters'.
    """
    y, x, z2, cluster, weight = rows
    n_clusters, n_top = data.y2.shape[0], own[0].shape[0]
    heavy = weight.at[active].set(0.0)[:, None]
    top, zw = parent[cluster], z * weight[:, None]
    known = jnp.where(heavy > 0.0, y, 0.0)
    nothing = jnp.zeros((0, data.y2.shape[1]), y.dtype)
    empty = KnownCells(
        nothing > 0.0, jnp.zeros((0, 0), jnp.int32), jnp.zeros((0,), jnp.int32), jnp.ones((1, nothing.shape[1]))
    )
    ones, nobody = jnp.ones((n_clusters, 1), y.dtype), jnp.zeros((0,), jnp.int32)
    below = (jnp.zeros((n_top, 0), y.dtype), jnp.ones((n_top, 1), y.dtype), empty)
    clusters = reduce_rows(data.y2, data.x2, ones, parent, ones[:, 0], nobody, empty, n_top, False, below)
    return TopData(
        parent,
        z[active],
        sum_clusters(zw[:, :, None] * z2[:, None, :], cluster, n_clusters),
        sum_clusters(zw[:, :, None] * x[:, None, :], top, n_top),
        sum_clusters(zw[:, :, None] * z[:, None, :], top, n_top),
        sum_clusters((z * heavy)[:, :, None] * known[:, None, :], top, n_top),
        own[0],
        own[1],
        own[1].mT @ own[1],
        own[2],
        clusters,
        priors,
    )


def _outer(weight: Array, products: Array) -> Array:
    """Kronecker products of weight (r, r) and products (..., a, b): (..., r * a, r * b)."""
    both = jnp.einsum("kl,...ab->...kalb", weight, products)
    rows, columns = products.shape[-2:]
    return both.reshape(*products.shape[:-2], weight.shape[0] * rows, weight.shape[1] * columns)


def start_nested(key: Array, joint: JointState, top: TopData, spec: JointSpec, cuts: tuple[Array, ...]) -> NestedState:
    """Start of the top clusters: missing cells are noise, their covariance is as small or large as that of clusters."""
    (n_top, s3), s, dtype = top.y.shape, joint.y2.shape[1], joint.y.dtype
    r, q3 = joint.y.shape[1], top.z.shape[1]
    cell_key, factor_key = jax.random.split(key)
    y = jnp.where(top.cells.missing, jax.random.normal(cell_key, top.y.shape, dtype), top.y)
    factor = jnp.exp(jax.random.uniform(factor_key, (), dtype, minval=-1.0, maxval=1.0))
    n_effects = r * q3 + s
    psi = jnp.zeros((n_effects + s3, n_effects + s3), dtype)
    psi = psi.at[:n_effects, :n_effects].set(0.3 * factor * jnp.eye(n_effects, dtype=dtype))
    psi = psi.at[n_effects:, n_effects:].set(start_covariance(s3, spec.top, factor))
    return NestedState(
        joint,
        jnp.zeros((n_top, r, q3), dtype),
        jnp.zeros((n_top, s), dtype),
        psi,
        start_latents(y, top.cells, spec.top, cuts),
        jnp.zeros((top.x.shape[1], s3), dtype),
        cuts,
        (jnp.asarray(-2.0, dtype),) * len(cuts),
    )


def draw_effects(
    key: Array,
    noise: Array,
    state: NestedState,
    data: JointData,
    top: TopData,
    sums: RowSums,
    zy: Array,
    prior: Array,
) -> tuple[Array, Array, Array]:
    """Draw (B, a, b) jointly: B (p, r), a (K, r, q3), b (J, r, q); zy (K, q3, r) are sums of z3 and targets."""
    joint, n_top = state.joint, state.y.shape[0]
    (p, r), (n_clusters, q), q3 = joint.coef.shape, data.zz.shape[:2], top.z.shape[1]
    upper = joint.y2 - data.x2 @ joint.coef2 - state.means[top.parent]
    mean, cov = given_upper(joint.psi, upper, r * q)
    above = jnp.concatenate([state.means, state.y - top.x @ state.coef], axis=1)
    mean3, cov3 = given_upper(state.psi, above, r * q3)
    weight, law, law3 = inverse(joint.residual[0]), inverse(cov), inverse(cov3)
    # b integrated out: what clusters say of B and a
    root = whiten(_outer(weight, data.zz) + law[None])
    right_b = jnp.einsum("jqk,kl->jlq", sums.zy, weight).reshape(n_clusters, r * q) + mean @ law
    of_x, of_z = _outer(weight, data.zx), _outer(weight, top.zb.mT)
    half_x, half_z, half = root @ of_x, root @ of_z, jnp.einsum("jab,jb->ja", root, right_b)
    flat = half_x.reshape(-1, r * p)
    q_xx = kron(weight, data.xx[0]) - flat.mT @ flat + prior * jnp.eye(r * p, dtype=flat.dtype)
    q_zx = _outer(weight, top.zx) - sum_clusters(half_z.mT @ half_x, top.parent, n_top)
    q_zz = _outer(weight, top.zz) + law3[None] - sum_clusters(half_z.mT @ half_z, top.parent, n_top)
    right_x = jnp.einsum("ak,kl->la", sums.xy[0], weight).reshape(r * p) - half.reshape(-1) @ flat
    right_z = jnp.einsum("cqk,kl->clq", zy, weight).reshape(n_top, r * q3) + mean3 @ law3
    right_z = right_z - sum_clusters(jnp.einsum("jia,ji->ja", half_z, half), top.parent, n_top)
    # a integrated out: what top clusters say of B
    root3 = whiten(q_zz)
    flat3 = (root3 @ q_zx).reshape(-1, r * p)
    left = jnp.einsum("cab,cb->ca", root3, right_z).reshape(-1)
    coef_key, top_key = jax.random.split(key)
    own_noise = normals(coef_key, (r * p,), flat.dtype)
    vector = normal_given(own_noise, whiten(q_xx - flat3.mT @ flat3), right_x - left @ flat3)
    top_noise = normals(top_key, (n_top, r * q3), flat.dtype)
    effects = normal_given(top_noise, root3, right_z - q_zx @ vector)
    explained = of_x @ vector + jnp.einsum("jia,ja->ji", of_z, effects[top.parent])
    random = normal_given(noise, root, right_b - explained)
    return vector.reshape(r, p).mT, effects.reshape(n_top, r, q3), random.reshape(n_clusters, r, q)


def without_top(sums: RowSums, zy: Array, top: TopData, effects: Array) -> RowSums:
    """Cross-products of the targets less the effects a (K, r, q3) of the top clusters."""
    cross = jnp.einsum("crq,cql->rl", effects, zy)
    own = jnp.einsum("crq,cqd,cld->rl", effects, top.zz, effects)
    xy = jnp.einsum("cqa,crq->ar", top.zx, effects)
    z_effects = jnp.einsum("jcq,jrc->jqr", top.zb, effects[top.parent])
    yy = sums.yy + (own - cross - cross.mT)[None]
    return sums._replace(yy=yy, xy=sums.xy - xy[None], zy=sums.zy - z_effects)


def draw_clusters(
    key: Array, state: NestedState, data: JointData, top: TopData, spec: JointSpec, prior: Array
) -> tuple[NestedState, tuple[Array, ...]]:
    """Draw the cluster-level coefficients with c integrated out, c, latents, cut points and missing cells."""
    joint, (n_top, s) = state.joint, state.means.shape
    keys = jax.random.split(key, 4)
    offset, cov = upper_given_effects(joint.psi, joint.random.reshape(joint.random.shape[0], -1))
    n_effects, size = state.effects.shape[1] * state.effects.shape[2], state.psi.shape[0]
    # c first, as the random effects of the clusters' own model
    order = jnp.asarray([*range(n_effects, n_effects + s), *range(n_effects), *range(n_effects + s, size)])
    others = jnp.concatenate([state.effects.reshape(n_top, -1), state.y - top.x @ state.coef], axis=1)
    mean, law = given_upper(state.psi[order[:, None], order[None]], others, s)
    rows, ones = top.clusters, jnp.ones((joint.y2.shape[0], 1), joint.y2.dtype)
    sums = sum_rows(joint.y2 - offset, data.x2, ones, top.parent, ones[:, 0], n_top, False)
    noise = normals(keys[0], (n_top, s), joint.y2.dtype)
    coef2, drawn = draw_coefficients(keys[1], noise, rows, sums, cov[None], mean, law, prior)
    means = drawn[:, :, 0]
    centre = data.x2 @ coef2 + offset + means[top.parent]
    y2, cuts2, accepted = draw_upper_cells(keys[2], keys[3], joint, centre, cov, data, spec)
    return state._replace(joint=joint._replace(coef2=coef2, y2=y2, cuts2=cuts2), means=means), accepted


def as_clusters(
    state: NestedState, data: JointData, top: TopData, spec: JointSpec
) -> tuple[JointState, JointData, JointSpec]:
    """Top clusters in the place of the clusters, with a and c as their random effects."""
    effects = jnp.concatenate([state.effects.reshape(state.y.shape[0], -1), state.means], axis=1)
    joint = state.joint._replace(
        random=effects[:, :, None],
        psi=state.psi,
        y2=state.y,
        coef2=state.coef,
        cuts2=state.cuts,
        tuning=state.joint.tuning._replace(cuts2=state.steps),
    )
    return joint, data._replace(x2=top.x, x2x2=top.xx, cells2=top.cells), spec._replace(clusters=spec.top)


def draw_top(
    key: Array, state: NestedState, data: JointData, top: TopData, spec: JointSpec, prior: Array
) -> tuple[NestedState, tuple[Array, ...]]:
    """Draw the top-level coefficients, latents, cut points and missing cells, then Psi3."""
    keys = jax.random.split(key)
    accepted: tuple[Array, ...] = ()
    if state.y.shape[1]:
        coef, y, cuts, accepted = draw_upper(keys[0], *as_clusters(state, data, top, spec), prior)
        state = state._replace(coef=coef, y=y, cuts=cuts)
    psi = draw_psi(keys[1], *as_clusters(state, data, top, spec), top.priors)
    return state._replace(psi=psi), accepted


def nested_sweep(
    key: Array,
    noise: SweepNoise,
    state: NestedState,
    data: JointData,
    top: TopData,
    spec: JointSpec,
    priors: JointPriors,
    gain: Array,
) -> NestedState:
    """One sweep over all unknowns of the three levels; see `joint.sweep`."""
    keys = jax.random.split(key, 6)
    n_clusters, n_top, old = data.zz.shape[0], state.y.shape[0], state.joint
    active = sum_rows(old.y, data.x, data.z, data.cluster, data.weight, n_clusters, False)
    sums = jax.tree.map(jnp.add, active, data.frozen)
    parent, weighted = top.parent[data.cluster], old.y * data.weight[:, None]
    zy = top.frozen + sum_clusters(top.z[:, :, None] * weighted[:, None, :], parent, n_top)
    prior = priors.coef_precision
    coef, effects, random = draw_effects(keys[0], noise.random, state, data, top, sums, zy, prior)
    state = state._replace(joint=old._replace(coef=coef, random=random), effects=effects)
    accepted2: tuple[Array, ...] = ()
    if old.y2.shape[1]:
        state, accepted2 = draw_clusters(keys[1], state, data, top, spec, prior)
    state, accepted3 = draw_top(keys[2], state, data, top, spec, prior)
    joint = state.joint
    own = joint._replace(y2=joint.y2 - state.means[top.parent])
    psi = draw_psi(keys[3], own, data, spec, priors)
    residual, _, _ = draw_residual(keys[4], joint, data, without_top(sums, zy, top, effects), spec, priors)
    means = row_means(coef, random, data) + jnp.einsum("krq,kq->kr", effects[parent], top.z)
    y, cuts, accepted = joint.y, joint.cuts, accepted2[:0]
    if spec.rows.nominal or spec.rows.ordinal:
        steps = tuple(jnp.exp(step) for step in joint.tuning.cuts)
        y, cuts, accepted = draw_latents(keys[5], y, means, residual[0], data.cells, spec.rows, cuts, steps)
    y = draw_missing(noise.rows, y, means, residual, data.cells)
    tuning = joint.tuning._replace(
        cuts=_adapted(joint.tuning.cuts, accepted, gain), cuts2=_adapted(joint.tuning.cuts2, accepted2, gain)
    )
    joint = joint._replace(y=y, psi=psi, residual=residual, cuts=cuts, tuning=tuning)
    return state._replace(joint=joint, steps=_adapted(state.steps, accepted3, gain))


def _adapted(steps: tuple[Array, ...], accepted: tuple[Array, ...], gain: Array) -> tuple[Array, ...]:
    return tuple(step + gain * (rate - 0.3) for step, rate in zip(steps, accepted, strict=True))


def top_parameters(state: NestedState) -> Array:
    """Coefficients of the top-level targets (target by target), lower triangle of Psi3, cut points."""
    psi = state.psi[jnp.tril_indices(state.psi.shape[0])]
    return jnp.concatenate([state.coef.mT.reshape(-1), psi, *state.cuts])
