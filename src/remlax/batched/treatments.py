"""What is done about missing values, for one replication, in JAX: nothing, leaving rows out, multiple imputation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from ..impute.kernels import all_patterns, emb_impute
from ..impute.kernels.emb import quick_source
from ..impute.kernels.joint_chain import joint_impute
from ..impute.kernels.nested_impute import joint_impute_nested
from ..impute.kernels.noise import fold_in, uniforms
from .array_columns import Product, product_columns, product_names
from .imputation_terms import Split
from .pipeline import Completed, ReplicationColumns


@dataclass(frozen=True)
class Whole:
    """The data before anything went missing."""

    sets: int = 1

    def complete(self, key: Array, columns: ReplicationColumns) -> Completed:
        """Take all rows."""
        return Completed({}, jnp.zeros(1), columns.rows)


@dataclass(frozen=True)
class Listwise:
    """Rows in which every column of the model is observed."""

    columns: tuple[str, ...]
    sets: int = 1

    def complete(self, key: Array, columns: ReplicationColumns) -> Completed:
        """Leave out incomplete rows."""
        rows = columns.rows
        for name in self.columns:
            if name in columns.mask:
                rows = rows & ~columns.mask[name]
        return Completed({}, jnp.zeros(1), rows)


@dataclass(frozen=True)
class EmbTreatment:
    """Multiple imputation by EM with bootstrap under a normal model of the rows.

    ``numbers`` enter the model as they are; of these ``incomplete`` may have missing cells, and cells of ``binary``
    ones (zeros and ones) are drawn as categories. ``terms`` are products and indicators of complete columns. The rest
    is as of `remlax.impute.emb`.
    """

    sets: int
    numbers: tuple[str, ...]
    incomplete: tuple[str, ...]
    terms: tuple[Product, ...]
    split: Split | None
    binary: tuple[str, ...]
    tolerance: float
    max_iter: int
    ridge: float

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read."""
        return _read(self.numbers, self.terms, self.split)

    def complete(self, key: Array, columns: ReplicationColumns) -> Completed:
        """Impute the incomplete columns K times."""
        places = [self.numbers.index(name) for name in self.incomplete]

        def fill(key: Array, columns: ReplicationColumns) -> Array:
            x, missing = _targets(columns, self.numbers)
            if self.terms:
                more = product_columns(self.terms, columns.values, x[:, 0])
                x = jnp.concatenate([x, more], axis=1)
                missing = jnp.concatenate([missing, jnp.broadcast_to(~columns.rows[:, None], more.shape)], axis=1)
            filled, _ = emb_impute(
                key,
                x,
                missing,
                all_patterns(x.shape[1], places),
                self.sets,
                tolerance=self.tolerance,
                max_iter=self.max_iter,
                ridge=self.ridge,
                source=quick_source(tuple(places)),
            )
            return filled

        filled = _by_values(self.split, fill, fold_in(key, 0), columns)
        imputed = {name: filled[:, :, place] for name, place in zip(self.incomplete, places, strict=True)}
        for number, name in enumerate(name for name in self.incomplete if name in self.binary):
            uniform = uniforms(fold_in(key, number + 1), imputed[name].shape, filled.dtype)
            drawn = jnp.where(jnp.isnan(imputed[name]), jnp.nan, (uniform < imputed[name]).astype(filled.dtype))
            imputed[name] = jnp.where(columns.mask[name][None], drawn, columns.values[name][None])
        return Completed(imputed, jnp.zeros(self.sets), columns.rows)


@dataclass(frozen=True)
class JointTreatment:
    """Multiple imputation by a multilevel joint model: one chain of ``sweeps`` per imputation.

    ``targets`` are modelled together, of which ``incomplete`` may have missing cells; ``fixed`` and ``random`` are
    terms of complete columns, beside the intercepts. ``n_top`` clusters hold the same number each of the others (0: no
    third level).
    """

    sets: int
    sweeps: int
    targets: tuple[str, ...]
    incomplete: tuple[str, ...]
    fixed: tuple[Product, ...]
    random: tuple[Product, ...]
    n_clusters: int
    split: Split | None = None
    n_top: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read."""
        return _read(self.targets, (*self.fixed, *self.random), self.split)

    def complete(self, key: Array, columns: ReplicationColumns) -> Completed:
        """Impute the incomplete columns K times."""
        places = [self.targets.index(name) for name in self.incomplete]
        patterns = all_patterns(len(self.targets), places)
        patterns = jnp.concatenate([patterns, jnp.ones((1, len(self.targets)), bool)])  # rows of padding

        def fill(key: Array, columns: ReplicationColumns) -> Array:
            sides = (_with_ones(columns, self.fixed), _with_ones(columns, self.random))
            rows = (key, *_targets(columns, self.targets), *sides, columns.cluster)
            if self.n_top:
                parent = jnp.arange(self.n_clusters, dtype=jnp.int32) // (self.n_clusters // self.n_top)
                return joint_impute_nested(*rows, parent, patterns, self.n_top, self.sets, self.sweeps)[0]
            return joint_impute(*rows, patterns, self.n_clusters, self.sets, self.sweeps)[0]

        filled = _by_values(self.split, fill, key, columns)
        imputed = {name: filled[:, :, place] for name, place in zip(self.incomplete, places, strict=True)}
        return Completed(imputed, jnp.zeros(self.sets), columns.rows)


def _targets(columns: ReplicationColumns, names: tuple[str, ...]) -> tuple[Array, Array]:
    """Columns (n, r) of an imputation model and their missing cells; a row of padding has no observed cell."""
    gone = jnp.zeros_like(columns.rows)
    missing = [columns.mask.get(name, gone) | ~columns.rows for name in names]
    return jnp.stack([columns.values[name] for name in names], axis=1), jnp.stack(missing, axis=1)


def _with_ones(columns: ReplicationColumns, products: tuple[Product, ...]) -> Array:
    """Predictors (n, 1 + k): ones and the products, standardised over the rows that exist."""
    weight = columns.rows.astype(jnp.result_type(float))
    total = jnp.sum(weight)
    out = [jnp.ones_like(weight)]
    for value in product_columns(products, columns.values, weight).T:
        centred = value - jnp.sum(value * weight) / total
        out.append(centred / jnp.sqrt(jnp.sum(weight * centred**2) / total))
    return jnp.stack(out, axis=1)


def _read(names: tuple[str, ...], products: tuple[Product, ...], split: Split | None) -> tuple[str, ...]:
    own = () if split is None else (split.column,)
    return tuple(dict.fromkeys((*names, *product_names(products), *own)))


def _by_values(
    split: Split | None, fill: Callable[[Array, ReplicationColumns], Array], key: Array, columns: ReplicationColumns
) -> Array:
    """Completed columns (m, n, r): of all rows at once, or of the rows with each value of a column by themselves."""
    if split is None:
        return fill(key, columns)
    own = columns.values[split.column]

    def one(number: Array, value: Array) -> Array:
        return fill(fold_in(key, number), columns._replace(rows=columns.rows & (own == value)))

    values = jnp.asarray(split.values, own.dtype)
    parts = jax.vmap(one)(jnp.arange(len(split.values), dtype=jnp.int32), values)
    # a row of no value is padding, and whichever it gets
    return jnp.take_along_axis(parts, jnp.argmax(own[None] == values[:, None], axis=0)[None, None, :, None], axis=0)[0]
