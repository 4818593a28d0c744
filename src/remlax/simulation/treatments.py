"""What is done about missing values, for one replication, in JAX: nothing, leaving rows out, multiple imputation."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from ..impute.kernels import all_patterns, emb_impute
from ..impute.kernels.emb import quick_source
from ..impute.kernels.joint_chain import joint_impute
from ..impute.kernels.noise import fold_in, uniforms
from .pipeline import Columns, Completed


@dataclass(frozen=True)
class Whole:
    """The data before anything went missing."""

    sets: int = 1

    def complete(self, key: Array, columns: Columns) -> Completed:
        """Take all rows."""
        return Completed({}, jnp.zeros(1), columns.rows)


@dataclass(frozen=True)
class Listwise:
    """Rows in which every column of the model is observed."""

    columns: tuple[str, ...]
    sets: int = 1

    def complete(self, key: Array, columns: Columns) -> Completed:
        """Leave out incomplete rows."""
        rows = columns.rows
        for name in self.columns:
            if name in columns.mask:
                rows = rows & ~columns.mask[name]
        return Completed({}, jnp.zeros(1), rows)


@dataclass(frozen=True)
class EmbTreatment:
    """Multiple imputation by EM with bootstrap under a normal model of the rows.

    Attributes
    ----------
    sets
        Number of imputations.
    columns
        Columns of the imputation model.
    incomplete
        Those of them that may have missing cells.
    binary
        Columns of zeros and ones: an imputed cell is drawn as a category.
    tolerance, max_iter, ridge
        As of `remlax.impute.emb`.
    """

    sets: int
    columns: tuple[str, ...]
    incomplete: tuple[str, ...]
    binary: tuple[str, ...]
    tolerance: float
    max_iter: int
    ridge: float

    def complete(self, key: Array, columns: Columns) -> Completed:
        """Impute the incomplete columns K times."""
        x, missing = _targets(columns, self.columns)
        places = [self.columns.index(name) for name in self.incomplete]
        filled, _ = emb_impute(
            fold_in(key, 0),
            x,
            missing,
            all_patterns(len(self.columns), places),
            self.sets,
            tolerance=self.tolerance,
            max_iter=self.max_iter,
            ridge=self.ridge,
            source=quick_source(tuple(places)),
        )
        imputed = {name: filled[:, :, place] for name, place in zip(self.incomplete, places, strict=True)}
        for number, name in enumerate(name for name in self.incomplete if name in self.binary):
            uniform = uniforms(fold_in(key, number + 1), imputed[name].shape, x.dtype)
            drawn = jnp.where(jnp.isnan(imputed[name]), jnp.nan, (uniform < imputed[name]).astype(x.dtype))
            imputed[name] = jnp.where(columns.mask[name][None], drawn, columns.values[name][None])
        return Completed(imputed, jnp.zeros(self.sets), columns.rows)


@dataclass(frozen=True)
class JointTreatment:
    """Multiple imputation by a multilevel joint model: one chain per imputation.

    Attributes
    ----------
    sets, sweeps
        Number of imputations, and sweeps of each chain.
    targets
        Columns of rows that are modelled together.
    incomplete
        Those of them that may have missing cells.
    fixed, random
        Complete columns with fixed and with random coefficients, beside the intercepts.
    n_clusters
        Number of clusters.
    """

    sets: int
    sweeps: int
    targets: tuple[str, ...]
    incomplete: tuple[str, ...]
    fixed: tuple[str, ...]
    random: tuple[str, ...]
    n_clusters: int

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read."""
        return tuple(dict.fromkeys((*self.targets, *self.fixed, *self.random)))

    def complete(self, key: Array, columns: Columns) -> Completed:
        """Impute the incomplete columns K times."""
        y, missing = _targets(columns, self.targets)
        places = [self.targets.index(name) for name in self.incomplete]
        patterns = all_patterns(len(self.targets), places)
        patterns = jnp.concatenate([patterns, jnp.ones((1, len(self.targets)), bool)])  # rows of padding
        filled, _ = joint_impute(
            key,
            y,
            missing,
            _with_ones(columns, self.fixed),
            _with_ones(columns, self.random),
            columns.cluster,
            patterns,
            self.n_clusters,
            self.sets,
            self.sweeps,
        )
        imputed = {name: filled[:, :, place] for name, place in zip(self.incomplete, places, strict=True)}
        return Completed(imputed, jnp.zeros(self.sets), columns.rows)


def _targets(columns: Columns, names: tuple[str, ...]) -> tuple[Array, Array]:
    """Columns (n, r) of an imputation model and their missing cells; a row of padding has no observed cell."""
    gone = jnp.zeros_like(columns.rows)
    missing = [columns.mask.get(name, gone) | ~columns.rows for name in names]
    return jnp.stack([columns.values[name] for name in names], axis=1), jnp.stack(missing, axis=1)


def _with_ones(columns: Columns, names: tuple[str, ...]) -> Array:
    """Predictors (n, 1 + k): ones and the columns, standardised over the rows that exist."""
    weight = columns.rows.astype(jnp.result_type(float))
    total = jnp.sum(weight)
    out = [jnp.ones_like(weight)]
    for name in names:
        value = columns.values[name]
        centred = value - jnp.sum(value * weight) / total
        out.append(centred / jnp.sqrt(jnp.sum(weight * centred**2) / total))
    return jnp.stack(out, axis=1)
