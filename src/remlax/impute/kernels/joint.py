"""Gibbs sampler of the multilevel joint model, for one data set and one chain.

Rows: y_i = B'x_i + b_j z_i + e_i with e_i ~ N(0, S) or N(0, S_j); clusters: w_j = C'v_j + u_j with
(vec b_j, u_j) ~ N(0, Psi). Categorical variables are latent normals. Axes: see `joint_data`.

The fixed coefficients B are drawn with the random effects integrated out, and b given B: coefficients of
cluster-level predictors mix as fast as any other. Only sums over rows enter, except for the rows with a cell to
draw.

Source: Schafer & Yucel (2002) J Comput Graph Stat 11:437-457; Goldstein, Carpenter, Kenward & Levin (2009) Stat
Modelling 9:173-197 (latent normals, cluster-level targets); Yucel (2011) Stat Modelling 11:351-370 (specific
residual covariances).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import gammaln

from .draws import draw_covariance, draw_latents, draw_missing, inverse_wishart
from .joint_data import JointData, JointPriors, JointSpec, RowSums, sum_rows
from .noise import normals
from .small import cholesky, inverse, kron, whiten


class Hyper(NamedTuple):
    """Law of specific residual covariances, S_j ~ IW(a, A): df a (), scale A (r, r)."""

    df: Array
    scale: Array


class Tuning(NamedTuple):
    """Metropolis step sizes: of the ordinal variables' cut points on both levels, and of the df a."""

    cuts: tuple[Array, ...]
    cuts2: tuple[Array, ...]
    df: Array


class JointState(NamedTuple):
    """State of one chain.

    y (k, r) active rows, coef (p, r), random (J, r, q), residual (G, r, r), psi (D, D), y2 (J, s), coef2 (u, s),
    cut points of the ordinal variables of both levels, hyper, tuning.
    """

    y: Array
    coef: Array
    random: Array
    residual: Array
    psi: Array
    y2: Array
    coef2: Array
    cuts: tuple[Array, ...]
    cuts2: tuple[Array, ...]
    hyper: Hyper
    tuning: Tuning


class SweepNoise(NamedTuple):
    """Standard normals of one sweep: of the rows (k, r) and of the random effects (J, r * q)."""

    rows: Array
    random: Array


def sweep_noise(key: Array, data: JointData) -> SweepNoise:
    """Draw the long vectors of normals that a sweep needs.

    They are made ahead, outside the sweep, since XLA would compute them anew in every operation that uses them.
    """
    (k, r), (n_clusters, q) = data.y.shape, data.zz.shape[:2]
    drawn = normals(key, (k * r + n_clusters * r * q,), data.y.dtype)
    return SweepNoise(drawn[: k * r].reshape(k, r), drawn[k * r :].reshape(n_clusters, r * q))


def normal_given(noise: Array, root: Array, information: Array) -> Array:
    """Draw N(Q^-1 h, Q^-1) with Q^-1 = root' root (..., d, d), h = information (..., d), from standard normals."""
    return jnp.einsum("...ji,...j->...i", root, jnp.einsum("...ij,...j->...i", root, information) + noise)


def given_upper(psi: Array, upper: Array, n_random: int) -> tuple[Array, Array]:
    """Mean (J, r * q) and covariance of the random effects given the cluster-level residuals (J, s)."""
    if upper.shape[1] == 0:
        return jnp.zeros((upper.shape[0], n_random), psi.dtype), psi
    gain = psi[:n_random, n_random:] @ inverse(psi[n_random:, n_random:])
    cov = psi[:n_random, :n_random] - gain @ psi[n_random:, :n_random]
    return upper @ gain.mT, 0.5 * (cov + cov.mT)


def draw_coefficients(
    key: Array,
    noise: Array,
    data: JointData,
    sums: RowSums,
    residual: Array,
    mean: Array,
    cov: Array,
    prior: Array,
) -> tuple[Array, Array]:
    """Draw (B, b) jointly: B (p, r) with b integrated out, then b (J, r, q) given B.

    b_j ~ N(mean_j, cov) a priori: mean (J, r * q). noise (J, r * q) is standard normal.
    """
    (p, r), q, n_clusters = sums.xy.shape[1:], data.zz.shape[1], data.zz.shape[0]
    weight = inverse(residual)
    prior_inverse = inverse(cov)
    precision = kron(jnp.broadcast_to(weight, (n_clusters, r, r)), data.zz) + prior_inverse[None]
    root = whiten(precision)
    information = jnp.einsum("jqk,jkl->jlq", sums.zy, jnp.broadcast_to(weight, (n_clusters, r, r)))
    information = information.reshape(n_clusters, r * q) + mean @ prior_inverse
    # precision of B: sum P (x) X'X less what the random effects may explain
    spread = (root.mT @ root).reshape(n_clusters, r, q, r, q)
    spread = _between(weight, spread)
    explained = (spread.reshape(r * r, n_clusters * q * q) @ data.zxzx).reshape(r, r, p, p)
    total = jnp.einsum("gkl,gab->kalb", weight, data.xx) - explained.transpose(0, 2, 1, 3)
    total = total.reshape(r * p, r * p) + prior * jnp.eye(r * p, dtype=total.dtype)
    centre = jnp.einsum("jki,jk->ji", root, jnp.einsum("jki,ji->jk", root, information)).reshape(n_clusters, r, q)
    right = jnp.einsum("gak,gkl->la", sums.xy, weight) - _project(weight, centre, data.zx)
    coef = normal_given(normals(key, (r * p,), right.dtype), whiten(total), right.reshape(r * p)).reshape(r, p).mT
    shift = jnp.einsum("jqa,al->jql", data.zx, coef)
    shift = jnp.einsum("jqk,jkl->jlq", shift, jnp.broadcast_to(weight, (n_clusters, r, r)))
    random = normal_given(noise, root, information - shift.reshape(n_clusters, r * q))
    return coef, random.reshape(n_clusters, r, q)


def _between(weight: Array, spread: Array) -> Array:
    """(P (x) I) V_j (P (x) I) for spread V_j (J, r, q, r, q), ordered (r, r, J, q, q)."""
    if weight.shape[0] == 1:
        return jnp.einsum("ik,jkcld,lm->imjcd", weight[0], spread, weight[0])
    return jnp.einsum("jik,jkcld,jlm->imjcd", weight, spread, weight)


def _project(weight: Array, centre: Array, zx: Array) -> Array:
    """Sum of P_j centre_j Z'X over the clusters, (r, p)."""
    if weight.shape[0] == 1:
        return weight[0] @ jnp.einsum("jkq,jqa->ka", centre, zx)
    return jnp.einsum("jik,jkq,jqa->ia", weight, centre, zx)


def residual_scatter(data: JointData, sums: RowSums, coef: Array, random: Array) -> Array:
    """Cross-products of the residuals, (G, r, r)."""
    fixed = jnp.einsum("gak,al->gkl", sums.xy, coef)
    both = jnp.einsum("ak,gab,bl->gkl", coef, data.xx, coef)
    left = sums.zy - jnp.einsum("jqa,ak->jqk", data.zx, coef)
    cross = jnp.einsum("jkq,jql->jkl", random, left)
    own = jnp.einsum("jkq,jqc,jlc->jkl", random, data.zz, random)
    clusters = own - cross - cross.mT
    if data.xx.shape[0] == 1:
        clusters = jnp.sum(clusters, axis=0, keepdims=True)
    scatter = sums.yy - fixed - fixed.mT + both + clusters
    return 0.5 * (scatter + scatter.mT)


def upper_given_effects(psi: Array, effects: Array) -> tuple[Array, Array]:
    """Mean (J, s) and covariance of the cluster-level residuals given the random effects (J, r * q)."""
    n_random = effects.shape[1]
    gain = inverse(psi[:n_random, :n_random]) @ psi[:n_random, n_random:]
    cov = psi[n_random:, n_random:] - psi[n_random:, :n_random] @ gain
    cov = 0.5 * (cov + cov.mT)
    return effects @ gain, cov


def draw_upper(
    key: Array, state: JointState, data: JointData, spec: JointSpec, prior: Array
) -> tuple[Array, Array, tuple[Array, ...], tuple[Array, ...]]:
    """Draw the cluster-level coefficients, latents, cut points and missing cells given the random effects."""
    n_clusters, s = state.y2.shape
    offset, cov = upper_given_effects(state.psi, state.random.reshape(n_clusters, -1))
    weight = inverse(cov)
    u = data.x2.shape[1]
    precision = kron(weight, data.x2x2) + prior * jnp.eye(s * u, dtype=cov.dtype)
    right = weight @ ((state.y2 - offset).mT @ data.x2)
    coef_key, latent_key, cell_key = jax.random.split(key, 3)
    noise = normals(coef_key, (s * u,), right.dtype)
    coef = normal_given(noise, whiten(precision), right.reshape(s * u)).reshape(s, u).mT
    mean = data.x2 @ coef + offset
    return coef, *draw_upper_cells(latent_key, cell_key, state, mean, cov, data, spec)


def draw_upper_cells(
    latent_key: Array, cell_key: Array, state: JointState, mean: Array, cov: Array, data: JointData, spec: JointSpec
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """Draw the cluster-level latents, cut points and missing cells around their mean (J, s)."""
    steps = tuple(jnp.exp(step) for step in state.tuning.cuts2)
    y2, cuts, accepted = draw_latents(latent_key, state.y2, mean, cov, data.cells2, spec.clusters, state.cuts2, steps)
    noise = normals(cell_key, y2.shape, y2.dtype)
    return draw_missing(noise, y2, mean, cov[None], data.cells2), cuts, accepted


def draw_psi(key: Array, state: JointState, data: JointData, spec: JointSpec, priors: JointPriors) -> Array:
    """Draw the covariance of random effects and cluster-level residuals, (D, D)."""
    n_clusters = state.y2.shape[0]
    effects = jnp.concatenate([state.random.reshape(n_clusters, -1), state.y2 - data.x2 @ state.coef2], axis=1)
    scatter = priors.random_scale + effects.mT @ effects
    n_random, size = effects.shape[1] - state.y2.shape[1], effects.shape[1]
    # the cluster-level latents come first, since their scale is fixed
    order = [*range(n_random, size), *range(n_random)] if spec.clusters.nominal else list(range(size))
    back = sorted(range(size), key=lambda position: order[position])
    moved = scatter[jnp.asarray(order)[:, None], jnp.asarray(order)[None]]
    psi = draw_covariance(key, moved, priors.random_df + n_clusters, spec.clusters.nominal)
    return psi[jnp.asarray(back)[:, None], jnp.asarray(back)[None]]


def draw_residual(
    key: Array, state: JointState, data: JointData, sums: RowSums, spec: JointSpec, priors: JointPriors
) -> tuple[Array, Hyper, Array]:
    """Draw the residual covariance(s), (G, r, r); the law of specific ones; its probability of acceptance."""
    scatter = residual_scatter(data, sums, state.coef, state.random)
    if not spec.specific:
        df = priors.residual_df + sums.n_rows[0]
        residual = draw_covariance(key, priors.residual_scale + scatter[0], df, spec.rows.nominal)
        return residual[None], state.hyper, jnp.ones((), df.dtype)
    own_key, hyper_key = jax.random.split(key)
    keys = jax.random.split(own_key, scatter.shape[0])
    residual = jax.vmap(inverse_wishart)(keys, state.hyper.scale[None] + scatter, state.hyper.df + sums.n_rows)
    hyper, chance = draw_hyper(hyper_key, residual, state, priors)
    return residual, hyper, chance


def draw_hyper(key: Array, residual: Array, state: JointState, priors: JointPriors) -> tuple[Hyper, Array]:
    """Draw (a, A): a Metropolis step along A / a = constant, on the scale log(a - r - 1), then A by Gibbs."""
    scale_key, step_key, accept_key = jax.random.split(key, 3)
    n_clusters, r = residual.shape[0], residual.shape[1]
    weight = inverse(residual)
    old, scale = state.hyper
    rate = priors.residual_scale + jnp.sum(weight, axis=0)
    trace = jnp.sum(rate * scale)
    logdet = 2.0 * jnp.sum(jnp.log(jnp.diag(cholesky(scale))))
    logdets = 2.0 * jnp.sum(jnp.log(jnp.diagonal(cholesky(weight), axis1=1, axis2=2)))

    def target(a: Array) -> Array:
        stretch, excess = a / old, a - (r + 1.0)
        logdet_scale = logdet + r * jnp.log(stretch)
        halves = 0.5 * (a - jnp.arange(r, dtype=a.dtype))
        constant = 0.5 * a * (logdet_scale - r * math.log(2.0)) - jnp.sum(gammaln(halves))
        prior = 0.5 * (priors.residual_df - (r + 1.0)) * logdet_scale - excess / priors.df_mean
        # Jacobians: of A = (a / old) scale, and of the logarithm
        jacobian = 0.5 * r * (r + 1) * jnp.log(stretch) + jnp.log(excess)
        return n_clusters * constant + 0.5 * a * logdets - 0.5 * stretch * trace + prior + jacobian

    move = jnp.exp(state.tuning.df) * jax.random.normal(step_key, (), old.dtype)
    new = (old - (r + 1.0)) * jnp.exp(move) + (r + 1.0)
    gain = target(new) - target(old)
    accept = jnp.log(jax.random.uniform(accept_key, (), old.dtype)) < gain
    df = jnp.where(accept, new, old)
    # a Wishart is the inverse of an inverse Wishart
    scale = inverse(inverse_wishart(scale_key, rate, priors.residual_df + n_clusters * df))
    return Hyper(df, scale), jnp.exp(jnp.minimum(gain, 0.0))


def row_means(coef: Array, random: Array, data: JointData) -> Array:
    """Expected targets of the active rows, (k, r)."""
    return data.x @ coef + jnp.einsum("krq,kq->kr", random[data.cluster], data.z)


def sweep(
    key: Array,
    noise: SweepNoise,
    state: JointState,
    data: JointData,
    spec: JointSpec,
    priors: JointPriors,
    gain: Array,
) -> JointState:
    """One sweep over all unknowns; gain (> 0 during burn-in only) adapts the Metropolis steps.

    noise comes from `sweep_noise` with another key.
    """
    keys = jax.random.split(key, 5)
    n_clusters = data.zz.shape[0]
    active = sum_rows(state.y, data.x, data.z, data.cluster, data.weight, n_clusters, spec.specific)
    sums = jax.tree.map(jnp.add, active, data.frozen)
    upper = state.y2 - data.x2 @ state.coef2
    mean, cov = given_upper(state.psi, upper, state.psi.shape[0] - upper.shape[1])
    coef, random = draw_coefficients(
        keys[0], noise.random, data, sums, state.residual, mean, cov, priors.coef_precision
    )
    state = state._replace(coef=coef, random=random)
    accepted2: tuple[Array, ...] = ()
    if upper.shape[1]:
        coef2, y2, cuts2, accepted2 = draw_upper(keys[1], state, data, spec, priors.coef_precision)
        state = state._replace(coef2=coef2, y2=y2, cuts2=cuts2)
    state = state._replace(psi=draw_psi(keys[2], state, data, spec, priors))
    residual, hyper, chance = draw_residual(keys[3], state, data, sums, spec, priors)
    y, means = state.y, row_means(coef, random, data)
    cuts, accepted = state.cuts, accepted2[:0]
    if spec.rows.nominal or spec.rows.ordinal:
        steps = tuple(jnp.exp(step) for step in state.tuning.cuts)
        y, cuts, accepted = draw_latents(keys[4], y, means, residual[0], data.cells, spec.rows, state.cuts, steps)
    row_cov = residual[data.cluster] if spec.specific else residual
    y = draw_missing(noise.rows, y, means, row_cov, data.cells)
    tuning = Tuning(
        tuple(step + gain * (rate - 0.3) for step, rate in zip(state.tuning.cuts, accepted, strict=True)),
        tuple(step + gain * (rate - 0.3) for step, rate in zip(state.tuning.cuts2, accepted2, strict=True)),
        state.tuning.df + gain * (chance - 0.4),
    )
    return state._replace(y=y, residual=residual, cuts=cuts, hyper=hyper, tuning=tuning)
