"""From columns of R replications to estimates in one compiled program: impute, cross-products, R x K fits, pooling."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh, PartitionSpec

from ..engine.conditioning import ALIASED_PIVOT
from ..engine.programs import float64, prepare_aside, program, shape_of
from ..engine.queue import estimate_queue, fit_queue, optimum_shape
from ..fitting.units import CONSTANT, FAR
from ..kernels.cross_products import Rotation
from ..kernels.dense import CrossedStructure
from ..kernels.estimates import Estimates, Pooled, rubin
from ..kernels.nested import Nested
from ..kernels.newton import CONVERGED, Optimum
from ..kernels.problem import Problem
from ..kernels.row_products import FinishedRows, RowProducts, finished_rows, row_products
from .array_model import ArrayModel, Groups, ModelShape
from .crossed_rows import CrossedGroups, crossed, crossed_products

# scales and means of the columns of Z, per factor
Units = tuple[tuple[Array, ...], tuple[Array, ...]]


class ReplicationColumns(NamedTuple):
    """Columns of one replication: values (n,) by name, which cells are missing, which rows exist (above zero).

    cluster (n,): level of every row in the grouping factor that an imputation model uses.
    """

    values: Mapping[str, Array]
    mask: Mapping[str, Array]
    rows: Array
    cluster: Array


class Completed(NamedTuple):
    """What a treatment of missing values makes of a replication.

    imputed: (K, n) columns that differ between the K data sets, perhaps none; n_sets (K,): any array of that length;
    rows (n,): those that are analysed.
    """

    imputed: Mapping[str, Array]
    n_sets: Array
    rows: Array


class Treatment(Protocol):
    """How missing values are dealt with: pure JAX, hashable."""

    @property
    def sets(self) -> int:
        """Number K of completed data sets."""
        ...

    def complete(self, key: Array, columns: ReplicationColumns) -> Completed:
        """Complete one replication."""
        ...


class AnalysisOptions(NamedTuple):
    """Static choices: Satterthwaite's df; one number of df for all instead of them; replications treated at a time."""

    satterthwaite: bool
    dfcom: float | None
    at_once: int


class Analysis(NamedTuple):
    """What is done with every replication, on which compiled code depends; hashable."""

    model: ArrayModel
    treatment: Treatment
    options: AnalysisOptions


class Findings(NamedTuple):
    """Findings of R replications.

    pooled: (R, p); parameters (R, r): means over the imputations of SDs, correlations and the residual SD (or size,
    shape, thresholds); evaluations (R,): the most of any fit; unusable, unconverged, exact (without residual variance),
    singular, endless (without a maximum), poisson (of infinite size) (R,): how many of the K fits were so;
    reasons (R,): why the first is endless.
    """

    pooled: Pooled
    parameters: Array
    evaluations: Array
    unusable: Array
    unconverged: Array
    exact: Array
    singular: Array
    endless: Any = ()
    poisson: Any = ()
    reasons: Any = ()


def analyse(keys: Array, columns: ReplicationColumns, groups: Groups, analysis: Analysis) -> Findings:
    """Analyse R replications: every array of ``columns`` has a leading axis R.

    Three compiled programs: what depends on the rows and on the treatment; fits and estimates, which methods share.
    """
    for_data_sets, for_estimates = _static(analysis)
    data_sets = _data_sets(keys, columns, groups, **for_data_sets)
    found: Findings = _estimates(_fits(data_sets.problem), data_sets, **for_estimates)
    return found


def _static(analysis: Analysis) -> tuple[dict[str, Any], dict[str, Any]]:
    """Static arguments of `_data_sets` and of `_estimates`: no more than they depend on."""
    model, treatment, options = analysis
    for_data_sets = {"model": model, "treatment": treatment, "at_once": options.at_once}
    return for_data_sets, {"model": model.shape, "sets": treatment.sets, "options": options}


def compile_ahead(keys: Array, columns: ReplicationColumns, groups: Groups, analysis: Analysis) -> list[Future[Any]]:
    """Begin to compile the programs of `analyse` in other threads, side by side; XLA compiles without Python's lock.

    Of the arguments only shapes count.
    """
    for_data_sets, for_estimates = _static(analysis)
    with float64():
        data_sets = jax.eval_shape(functools.partial(_data_sets, **for_data_sets), keys, columns, groups)
    optimum = optimum_shape(data_sets.problem)
    return [
        prepare_aside(0.0, _fits, *jax.tree.map(shape_of, (data_sets.problem,))),
        prepare_aside(0.0, _data_sets, *jax.tree.map(shape_of, (keys, columns, groups)), **for_data_sets),
        prepare_aside(0.0, _estimates, *jax.tree.map(shape_of, (optimum, data_sets)), **for_estimates),
    ]


@program("analysis", "devices")
def analyse_on(
    keys: Array,
    columns: ReplicationColumns,
    groups: Groups,
    *,
    analysis: Analysis,
    devices: tuple[jax.Device, ...],
) -> Findings:
    """Analyse R replications, a multiple of the number of devices, each device its share of them.

    The devices run for themselves: none waits for the slowest fit of another.
    """
    found: Findings = on_devices(functools.partial(analyse, analysis=analysis), devices)(keys, columns, groups)
    return found


def on_devices(function: Callable[..., Any], devices: tuple[jax.Device, ...]) -> Callable[..., Any]:
    """Share the replications of a function of (keys, columns, groups) among devices."""
    mesh = Mesh(np.array(devices), ("replications",))
    spec: Callable[..., PartitionSpec] = PartitionSpec  # JAX gives it no types
    own, whole = spec("replications"), spec()
    shared: Callable[..., Any] = jax.shard_map(
        function, mesh=mesh, in_specs=(own, own, whole), out_specs=own, check_vma=False
    )
    return shared


class DataSets(NamedTuple):
    """R x K data sets, their axes joined: cross-products, way back to the user's units and least pivot of each.

    scales: per factor (R K, q), what divides the columns of Z; means: per factor (R K, q), what is subtracted before.
    """

    problem: Problem[Any, Any]
    rotation: Rotation
    pivot: Array
    scales: tuple[Array, ...]
    means: tuple[Array, ...]


@program("model", "treatment", "at_once")
def _data_sets(
    keys: Array, columns: ReplicationColumns, groups: Groups, *, model: ArrayModel, treatment: Treatment, at_once: int
) -> DataSets:
    """Impute and form cross-products."""

    def of_replication(own: tuple[Array, ReplicationColumns]) -> tuple[RowProducts, Units]:
        products, units = _products(*own, groups, model, treatment)
        return products, jax.tree.map(lambda a: jnp.broadcast_to(a, (treatment.sets, *a.shape)), units)

    found = lax.map(of_replication, (keys, columns), batch_size=at_once)
    flat: tuple[RowProducts, Units] = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), found)
    products, (scales, means) = flat
    structure, levels = model.shape.structure, groups.levels
    if isinstance(levels, CrossedGroups):
        problem: Problem[Any, Any] = crossed(cast(CrossedStructure, structure), products.products, levels)
    else:
        problem = Nested(structure, products.products, levels)
    return DataSets(
        problem,
        products.rotation,
        products.pivot,
        scales,
        means,
    )


@program()
def _fits(problem: Problem[Any, Any]) -> Optimum:
    """Fit R x K data sets."""
    return fit_queue(problem)


@program("model", "sets", "options")
def _estimates(
    optimum: Optimum, data_sets: DataSets, *, model: ModelShape, sets: int, options: AnalysisOptions
) -> Findings:
    """Estimate and pool R x K data sets that have been fitted."""
    found = estimate_queue(
        optimum,
        data_sets.rotation,
        data_sets.scales,
        data_sets.problem,
        satterthwaite=options.satterthwaite and options.dfcom is None,
    )
    parameters = _parameters(found, data_sets.means, model)
    by_set: tuple[Optimum, Estimates, Array, Array] = jax.tree.map(
        lambda a: a.reshape(-1, sets, *a.shape[1:]), (optimum, found, parameters, data_sets.pivot)
    )
    return _pool(*by_set, options)


def _products(
    key: Array, columns: ReplicationColumns, groups: Groups, model: ArrayModel, treatment: Treatment
) -> tuple[RowProducts, Units]:
    """Cross-products of the K completed data sets of one replication, and the scales and means of the columns of Z."""
    columns = columns._replace(rows=columns.rows > 0)
    completed = treatment.complete(key, columns)
    shared, present = columns.values, completed.rows

    scales, means = random_units(completed, shared, model)

    def one(imputed: Mapping[str, Array]) -> RowProducts:
        own = {**shared, **imputed}
        z = inner_columns(model.random_of(own), scales, means)
        x = model.fixed_of(own)
        mean = far_means(x, present, model.constants)
        finished = finished_rows(
            x - mean[None], model.response_of(own), z, present, groups.codes, model.shape.structure, model.layout
        )
        found = _products_of(finished, model, groups)
        back, rotation = not_centred(mean, model.constants), found.rotation
        rotation = rotation._replace(inverse=back @ rotation.inverse, ols=back @ rotation.ols)
        return found._replace(rotation=rotation)

    products: RowProducts = jax.vmap(lambda imputed, _: one(imputed))(completed.imputed, completed.n_sets)
    return products, (scales, means)


def _products_of(found: FinishedRows, model: ArrayModel, groups: Groups) -> RowProducts:
    """Products of nested or of crossed factors."""
    structure, levels = model.shape.structure, groups.levels
    if not isinstance(levels, CrossedGroups):
        return row_products(found, structure)
    own = cast(CrossedStructure, structure)
    products = crossed_products(found, own, model.layout.tables, model.shape.n_cells, levels)
    return RowProducts(products, found.rotation, found.pivot)


def random_units(completed: Completed, shared: Mapping[str, Array], model: ArrayModel) -> Units:
    """Scales and means of the columns of Z, the same for the K data sets of a replication."""
    present = completed.rows

    def far(imputed: Mapping[str, Array], _: Array) -> tuple[Array, ...]:
        z = model.random_of({**shared, **imputed})
        return tuple(far_means(part, present, ones) for part, ones in zip(z, model.shape.constants, strict=True))

    def random(imputed: Mapping[str, Array], _: Array) -> tuple[Array, ...]:
        columns = model.random_of({**shared, **imputed})
        z = [part - mean[None] for part, mean in zip(columns, means, strict=True)]
        return tuple(jnp.sum(jnp.where(present[:, None], part, 0.0) ** 2, axis=0) for part in z)

    # any constants serve: those of all K data sets are the same, as the scales are
    means = tuple(jnp.mean(part, axis=0) for part in jax.vmap(far)(completed.imputed, completed.n_sets))
    squares = jax.vmap(random)(completed.imputed, completed.n_sets)
    rows = jnp.sum(present.astype(squares[0].dtype))
    scales = tuple(jnp.sqrt(jnp.mean(part, axis=0) / rows) for part in squares)
    return tuple(jnp.where(scale > 0, scale, jnp.ones_like(scale)) for scale in scales), means


def inner_columns(z: tuple[Array, ...], scales: tuple[Array, ...], means: tuple[Array, ...]) -> tuple[Array, ...]:
    """Columns of Z (n, q) per factor without their means and divided by their scales."""
    parts = zip(z, scales, means, strict=True)
    return tuple((part - mean[None]) / scale[None] for part, scale, mean in parts)


def far_means(columns: Array, present: Array, constants: tuple[int, ...]) -> Array:
    """Means (k,) of columns (n, k) that are far from zero and have a column of ones; 0 for the others.

    An unstructured term and the fixed part are the same model when a constant is taken from such columns (`units`).
    """
    if max(constants, default=-1) < 0:
        return jnp.zeros(columns.shape[1], columns.dtype)
    n = jnp.sum(present.astype(columns.dtype))
    mean = jnp.sum(jnp.where(present[:, None], columns, 0.0), axis=0) / n
    sd = jnp.sqrt(jnp.sum(jnp.where(present[:, None], columns - mean[None], 0.0) ** 2, axis=0) / n)
    size = jnp.abs(mean)
    is_far = (size > FAR * sd) & (sd > CONSTANT * size) & (np.array(constants) >= 0)
    return jnp.where(is_far, mean, jnp.zeros_like(mean))


def not_centred(means: Array, constants: tuple[int, ...]) -> Array:
    """Matrix (k, k) from effects of columns without their means (k,) to those of the columns."""
    k = len(constants)
    ones = np.zeros((k, k))
    for column, one in enumerate(constants):
        if one >= 0:
            ones[one, column] = 1.0
    return jnp.eye(k, dtype=means.dtype) - jnp.asarray(ones, means.dtype) * means[None]


def _parameters(found: Estimates, means: tuple[Array, ...], model: ModelShape) -> Array:
    """SDs, correlations and the residual SD of every data set, (m, r)."""
    return jnp.stack([*random_parameters(found.roots, means, model), found.sigma], axis=1)


def random_parameters(roots: tuple[Array, ...], means: tuple[Array, ...], model: ModelShape) -> list[Array]:
    """SDs and correlations, (m,) each, from roots of the covariances of the columns without their means (m, q, q)."""

    def outside(root: Array, mean: Array, ones: tuple[int, ...]) -> Array:
        turned = not_centred(mean, ones) @ root
        return turned @ turned.T

    covariance = [
        jax.vmap(functools.partial(outside, ones=ones))(root, mean)
        for root, mean, ones in zip(roots, means, model.constants, strict=True)
    ]
    out = []
    for f, i, j in model.pairs:
        own = covariance[f]
        if i == j:
            out.append(jnp.sqrt(own[:, i, i]))
        else:
            out.append(own[:, i, j] / jnp.sqrt(own[:, i, i] * own[:, j, j]))
    return out


def _pool(optimum: Optimum, found: Estimates, parameters: Array, pivots: Array, options: AnalysisOptions) -> Findings:
    dfcom = jnp.mean(found.df, axis=1)
    if options.dfcom is not None:
        dfcom = jnp.full_like(dfcom, options.dfcom)
    usable = jnp.isfinite(found.sigma) & jnp.all(jnp.isfinite(found.beta), axis=2) & (pivots > ALIASED_PIVOT)
    unconverged = optimum.status != CONVERGED
    exact = usable & found.exact
    pooled: Pooled = jax.vmap(rubin)(found.beta, found.variance, dfcom)
    complete = jnp.all(usable, axis=1)[:, None]
    pooled = jax.tree.map(lambda a: jnp.where(complete, a, jnp.full_like(a, jnp.nan)), pooled)

    def count(which: Array) -> Array:
        return jnp.sum(which.astype(jnp.int32), axis=1)

    return Findings(
        pooled=pooled,
        parameters=jnp.where(complete, jnp.nanmean(parameters, axis=1), jnp.full_like(parameters[:, 0], jnp.nan)),
        evaluations=jnp.max(optimum.evaluations, axis=1),
        unusable=count(~usable),
        unconverged=count(usable & unconverged & ~exact),
        exact=count(exact),
        singular=count(usable & ~unconverged & ~exact & found.singular),
    )
