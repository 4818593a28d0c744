"""From columns of R replications to pooled generalised linear mixed models: impute, tile, R x K fits, verdicts, pool.

Data sets are made in one compiled program and optimised as those of `remlax.glmer_list`; the verdict on fits that went
outwards is that of `fitting.no_maximum`, on the host and for those fits alone.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..engine.batch import Batch, run_later
from ..engine.conditioning import ALIASED_PIVOT
from ..engine.joint_fit import optimised
from ..engine.placement import device_mesh
from ..engine.programs import float64, prepare_aside, program, shape_of
from ..engine.shapes import host_leaf
from ..fitting.glmm import endless_size, inverse_information
from ..fitting.no_maximum import JudgedSets, without_maximum
from ..glmm.optimum import optimum_alone
from ..glmm.problem import Glmm, GlmmRows
from ..kernels.cross_products import condition
from ..kernels.estimates import Pooled, rubin
from ..kernels.newton import CONVERGED, Newton, Optimum
from ..kernels.restarts import on_boundary
from ..kernels.theta import canonical_theta
from ..progress import unseen
from .array_model import ModelShape
from .glmm_model import GlmmModel, TiledRows
from .pipeline import (
    Analysis,
    Completed,
    Findings,
    ReplicationColumns,
    Treatment,
    Units,
    far_means,
    inner_columns,
    not_centred,
    on_devices,
    random_parameters,
    random_units,
)


class GlmmSets(NamedTuple):
    """R x K data sets, their axes joined.

    rows: with a leading axis of data sets, but for what all share; back (m, p, p): coefficients from those inside;
    centre (m, p): what was taken from the columns of an ordinal response, whose thresholds take it up, or zero; pivot
    (m,): the least of the fixed columns; scales, means: per factor (m, q), of the columns of Z.
    """

    rows: GlmmRows
    back: Array
    centre: Array
    pivot: Array
    scales: tuple[Array, ...]
    means: tuple[Array, ...]


class _Fits(NamedTuple):
    """R x K fits (m, ...): optima inside, the user's coefficients, their variances, shape parameters, and verdicts."""

    optimum: Optimum
    beta: np.ndarray
    variance: np.ndarray
    shape: np.ndarray
    usable: np.ndarray
    singular: np.ndarray
    poisson: np.ndarray
    endless: Mapping[int, str]


def analyse_glmm(
    keys: Array, columns: ReplicationColumns, tiles: TiledRows, analysis: Analysis, devices: tuple[jax.Device, ...] = ()
) -> Findings:
    """Analyse R replications, a multiple of the number of devices: every array of ``columns`` has a leading axis R."""
    model = cast(GlmmModel, analysis.model)
    make = functools.partial(_on_devices, devices=devices) if devices else _data_sets
    sets = jax.tree.map(np.asarray, make(keys, columns, tiles, **_static(analysis)))
    mesh = device_mesh(devices) if devices else None
    batch = Batch(cast(Any, Glmm(model.glmm, _with_groups(sets.rows, tiles))), mesh)
    with unseen():
        optimum, _ = optimised(batch, Newton(), optimum_alone)
        fits = _described(batch, sets, optimum, model, analysis.treatment.sets)
    return _pool(sets, fits, model, analysis)


def compile_glmm_ahead(
    keys: Array, columns: ReplicationColumns, tiles: TiledRows, analysis: Analysis
) -> list[Future[Any]]:
    """Begin to compile the programs of `analyse_glmm` in other threads; of the arguments only shapes count."""
    model, static = cast(GlmmModel, analysis.model), _static(analysis)
    with float64():
        sets = jax.eval_shape(functools.partial(_data_sets, **static), keys, columns, tiles)
        rows = jax.tree.map(lambda leaf: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape), sets.rows)
        batch = Batch(cast(Any, Glmm(model.glmm, _with_groups(rows, tiles))))
        m, d = batch.n_sets, model.glmm.n_parameters
        run_later(optimum_alone, batch, np.zeros((m, d)), np.ones(m), np.ones(m, np.int32))
    return [prepare_aside(0.0, _data_sets, *jax.tree.map(shape_of, (keys, columns, tiles)), **static)]


def _static(analysis: Analysis) -> dict[str, Any]:
    return {"model": analysis.model, "treatment": analysis.treatment, "at_once": analysis.options.at_once}


def _with_groups(rows: GlmmRows, tiles: TiledRows) -> GlmmRows:
    """The rows of m data sets together with the groups that they share."""
    m = rows.n_obs.shape[0]
    level, *codes = (
        host_leaf(np.broadcast_to(np.asarray(part), (m, *part.shape))) for part in (tiles.tile_level, *tiles.codes)
    )
    return replace(rows, tile_level=level, codes=tuple(codes))


@program("model", "treatment", "at_once")
def _data_sets(
    keys: Array, columns: ReplicationColumns, tiles: TiledRows, *, model: GlmmModel, treatment: Treatment, at_once: int
) -> GlmmSets:
    """Impute, rotate the fixed columns, and put rows into tiles."""

    def of_replication(own: tuple[Array, ReplicationColumns]) -> GlmmSets:
        key, given = own
        given = given._replace(rows=given.rows > 0)
        completed = treatment.complete(key, given)
        units = random_units(completed, given.values, model)

        def one(imputed: Mapping[str, Array], _: Array) -> GlmmSets:
            return _data_set({**given.values, **imputed}, completed, units, tiles, model)

        made: GlmmSets = jax.vmap(one)(completed.imputed, completed.n_sets)
        return made

    found = lax.map(of_replication, (keys, columns), batch_size=at_once)
    flat: GlmmSets = jax.tree.map(lambda a: a.reshape(a.shape[0] * a.shape[1], *a.shape[2:]), found)
    return flat


@program("model", "treatment", "at_once", "devices")
def _on_devices(
    keys: Array,
    columns: ReplicationColumns,
    tiles: TiledRows,
    *,
    model: GlmmModel,
    treatment: Treatment,
    at_once: int,
    devices: tuple[jax.Device, ...],
) -> GlmmSets:
    """Do what `_data_sets` does, each device for its share of the replications."""
    share = functools.partial(_data_sets, model=model, treatment=treatment, at_once=at_once)
    found: GlmmSets = on_devices(share, devices)(keys, columns, tiles)
    return found


def _data_set(
    own: Mapping[str, Array], completed: Completed, units: Units, tiles: TiledRows, model: GlmmModel
) -> GlmmSets:
    """One completed data set."""
    present, (scales, means) = completed.rows, units
    y, weight = model.numbers_of(own, present)
    zero = jnp.zeros((), y.dtype)

    def cells(column: Array) -> Array:
        return jnp.where(tiles.filled, jnp.where(present, column, zero)[tiles.row], zero)

    x, ordinal = model.fixed_of(own), model.family.name == "ordinal"
    n_obs = jnp.sum(present.astype(y.dtype))
    far = far_means(x, present, model.constants)
    mean = jnp.sum(jnp.where(present[:, None], x, zero), axis=0) / n_obs if ordinal else far
    x = jnp.where(present[:, None], x - mean[None], zero)
    inverse, pivot = _rotation(x, present, n_obs, ordinal=ordinal)
    rotated, p = x @ inverse, x.shape[1]
    padded = np.arange(model.glmm.n_fixed) >= p
    fixed = [cells(rotated[:, j]) if j < p else jnp.zeros(tiles.row.shape, y.dtype) for j in range(len(padded))]
    z = inner_columns(model.random_of(own), scales, means)
    nothing = cast(Any, ())
    rows = GlmmRows(
        x=jnp.stack(fixed),
        z=tuple(jnp.stack([cells(part[:, j]) for j in range(part.shape[1])]) for part in z),
        y=cells(y),
        weight=cells(weight),
        offset=cells(model.offset_of(own)),
        tile_level=nothing,
        codes=(),
        padded=jnp.asarray(padded, y.dtype),
        n_obs=n_obs,
        constant=zero,
    )
    back, centre = not_centred(far, model.constants) @ inverse, mean if ordinal else jnp.zeros_like(mean)
    return GlmmSets(rows, back, centre, pivot, scales, means)


def _rotation(x: Array, present: Array, n_obs: Array, *, ordinal: bool) -> tuple[Array, Array]:
    """What makes the fixed columns (n, p) orthogonal with unit root mean square, and the least pivot among them.

    Two rotations, the second of columns that are nearly orthonormal. The thresholds of an ordinal response take part as
    the column of ones that they stand for.
    """
    none, p = jnp.zeros_like(x[:, :0]), x.shape[1]

    def conditioned(columns: Array) -> tuple[Array, Array]:
        whole = jnp.concatenate([columns, present[:, None].astype(x.dtype)], axis=1)
        found = condition(whole.T @ whole)
        return found.inverse, found.pivot

    pivot = conditioned(jnp.concatenate([present[:, None].astype(x.dtype) if ordinal else none, x], axis=1))[1]
    if not p:
        return jnp.zeros((0, 0), x.dtype), pivot
    first, _ = conditioned(x)
    second, _ = conditioned(x @ first)
    return first @ second * jnp.sqrt(n_obs), pivot


def _described(batch: Batch, sets: GlmmSets, optimum: Optimum, model: GlmmModel, n_imputations: int) -> _Fits:
    """Variances in the user's units, and verdicts."""
    structure, p = model.glmm, len(model.names)
    theta_map, d = structure.theta_map, structure.theta_map.n_theta
    used = np.r_[np.arange(d + p), np.arange(d + structure.n_fixed, structure.n_parameters)]
    parameters = np.asarray(optimum.theta)
    joint = inverse_information(np.asarray(optimum.hess)[:, used][:, :, used] / 2, d)
    back = np.asarray(sets.back)
    variance = np.einsum("mia,mab,mib->mi", back, joint[:, d : d + p, d : d + p], back)
    own = np.einsum("mii->mi", joint)[:, d : None if model.family.name == "ordinal" else d + p]
    errors = np.sqrt(np.where(own >= 0, own, np.nan))
    shape = parameters[:, d + structure.n_fixed :]
    beta = np.einsum("mij,mj->mi", back, parameters[:, d : d + p])
    moved = shape + np.sum(np.asarray(sets.centre) * beta, axis=1, keepdims=True)
    readable = (np.asarray(sets.pivot) > ALIASED_PIVOT) & np.isfinite(np.asarray(sets.rows.weight)).all(axis=(1, 2))
    endless = _judged(batch, back, optimum, errors, np.flatnonzero(readable), model, n_imputations)
    usable = readable & np.isfinite(np.asarray(optimum.value)) & np.isfinite(parameters).all(axis=1)
    usable[list(endless)] = False
    singular = on_boundary(canonical_theta(parameters[:, :d], theta_map), theta_map)
    poisson = endless_size(model.family, shape)
    # a mean over replications has no room for an infinite size
    outside = moved if model.family.name == "ordinal" else np.where(poisson[:, None], np.nan, np.exp(shape))
    return _Fits(optimum, beta, variance, outside, usable, singular, poisson, endless)


def _judged(
    batch: Batch,
    back: np.ndarray,
    optimum: Optimum,
    errors: np.ndarray,
    which: np.ndarray,
    model: GlmmModel,
    n_imputations: int,
) -> dict[int, str]:
    """Data sets without a maximum, of those that can be read, with the reason."""
    if not len(which):
        return {}
    part, own = batch, optimum
    if len(which) < batch.n_sets:
        part, own = batch.take(which), jax.tree.map(lambda leaf: np.asarray(leaf)[which], optimum)
    rows, p = cast(GlmmRows, part.problem.products), len(model.names)

    def rows_of(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        inside = np.asarray(rows.x[k])[:p].reshape(p, -1).T
        x = np.linalg.solve(back[which[k]].T, inside.T).T if p else inside
        return x, np.asarray(rows.y[k]).reshape(-1), np.asarray(rows.weight[k]).reshape(-1)

    sets = JudgedSets(part, model.names, model.levels, (which % n_imputations + 1).tolist(), rows_of)
    return {int(which[k]): reason for k, reason in without_maximum(sets, own, errors[which]).items()}


def _pool(sets: GlmmSets, fits: _Fits, model: GlmmModel, analysis: Analysis) -> Findings:
    k, options = analysis.treatment.sets, analysis.options
    d, p = model.glmm.theta_map.n_theta, len(model.names)
    parameters = np.asarray(fits.optimum.theta)
    beta = fits.beta
    residual = np.asarray(sets.rows.n_obs) - p - d - model.family.n_shape
    dfcom = residual.reshape(-1, k).mean(axis=1) if options.dfcom is None else np.full(len(beta) // k, options.dfcom)
    pooled, means = _pooled(
        (parameters[:, :d], beta, fits.variance, fits.shape, sets.scales, sets.means),
        dfcom,
        fits.usable.reshape(-1, k).all(axis=1),
        model=model.shape,
        sets=k,
    )
    endless = np.isin(np.arange(len(beta)), list(fits.endless))
    unconverged = fits.usable & (np.asarray(fits.optimum.status) != CONVERGED)

    def count(which: np.ndarray) -> Array:
        return host_leaf(which.reshape(-1, k).sum(axis=1))

    reasons = np.full(len(beta) // k, "", dtype=object)
    for lane in sorted(fits.endless, reverse=True):
        reasons[lane // k] = fits.endless[lane]
    return Findings(
        pooled=pooled,
        parameters=means,
        evaluations=host_leaf(np.asarray(fits.optimum.evaluations).reshape(-1, k).max(axis=1)),
        unusable=count(~fits.usable & ~endless),
        unconverged=count(unconverged),
        exact=count(np.zeros(len(beta), bool)),
        singular=count(fits.usable & ~unconverged & fits.singular),
        endless=count(endless),
        poisson=count(fits.usable & ~unconverged & fits.poisson),
        reasons=reasons,
    )


@program("model", "sets")
def _pooled(found: Any, dfcom: Array, complete: Array, *, model: ModelShape, sets: int) -> tuple[Pooled, Array]:
    """Pool coefficients (m, p), and take means of SDs, correlations and shape parameters."""
    theta, beta, variance, shape, scales, means = found
    lams = jax.vmap(model.structure.theta_map.factors)(theta)
    roots = tuple(lam / scale[:, :, None] for lam, scale in zip(lams, scales, strict=True))
    random = jnp.stack(random_parameters(roots, means, model), axis=1)
    by_set = jax.tree.map(lambda a: a.reshape(len(a) // sets, sets, *a.shape[1:]), (beta, variance, random, shape))
    every = jnp.broadcast_to(dfcom[:, None], (len(dfcom), beta.shape[1]))
    pooled: Pooled = jax.vmap(rubin)(by_set[0], by_set[1], every)
    parameters = jnp.concatenate([jnp.nanmean(by_set[2], axis=1), jnp.mean(by_set[3], axis=1)], axis=1)

    def kept(a: Array) -> Array:
        return jnp.where(complete[:, None], a, jnp.full_like(a, jnp.nan))

    return jax.tree.map(kept, pooled), kept(parameters)
