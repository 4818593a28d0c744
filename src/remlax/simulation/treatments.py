"""What is done about missing values, for one replication, in JAX: nothing, leaving rows out, multiple imputation."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from ..impute.kernels import all_patterns, emb_impute
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
        x = jnp.stack([columns.values[name] for name in self.columns], axis=1)
        gone = jnp.zeros_like(columns.rows)
        # a row of padding has no observed cell and so no part in the imputation model
        missing = jnp.stack([columns.mask.get(name, gone) | ~columns.rows for name in self.columns], axis=1)
        places = [self.columns.index(name) for name in self.incomplete]
        draw, cells = jax.random.split(key)
        filled, _ = emb_impute(
            draw,
            x,
            missing,
            all_patterns(len(self.columns), places),
            self.sets,
            tolerance=self.tolerance,
            max_iter=self.max_iter,
            ridge=self.ridge,
        )
        imputed = {name: filled[:, :, place] for name, place in zip(self.incomplete, places, strict=True)}
        for number, name in enumerate(name for name in self.incomplete if name in self.binary):
            uniform = jax.random.uniform(jax.random.fold_in(cells, number), imputed[name].shape, x.dtype)
            drawn = jnp.where(jnp.isnan(imputed[name]), jnp.nan, (uniform < imputed[name]).astype(x.dtype))
            imputed[name] = jnp.where(columns.mask[name][None], drawn, columns.values[name][None])
        return Completed(imputed, jnp.zeros(self.sets), columns.rows)
