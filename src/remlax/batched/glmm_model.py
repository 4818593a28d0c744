"""A generalised linear mixed model made ready for arrays: its response, its shape, and where its rows go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..design.tree import Node
from ..engine.shapes import host_leaf
from ..errors import SimulationError
from ..fitting.glmm_rows import Tiles, TilesOfSets, make_tiles, tile_shape
from ..fitting.responses.nodes import check_nodes
from ..fitting.responses.response import read_response
from ..glmm.families import Family
from ..glmm.problem import GlmmStructure
from ..simulation.design import MultilevelDesign
from .array_columns import check_expression, evaluate_expression
from .array_model import ArrayModel, Reading, counted, read_template

INTERCEPT = "Intercept"


@dataclass(frozen=True)
class GlmmModel(ArrayModel):
    """What compiled code depends on; of an ordinal response without the intercept.

    Attributes
    ----------
    failures
        Expression of the failures beside the successes; None where every row is one response.
    levels
        Categories of an ordinal response.
    glmm
        Shape of every data set, without padding but for a model without fixed columns.
    """

    failures: Node | None
    levels: tuple[str, ...]
    glmm: GlmmStructure

    @property
    def family(self) -> Family:
        """Distribution and link."""
        return self.glmm.family

    def response_of(self, columns: Mapping[str, jax.Array]) -> jax.Array:
        """(n,) response of one data set; of successes and failures the successes."""
        y: jax.Array = evaluate_expression(self.response, columns)
        return y

    def offset_of(self, columns: Mapping[str, jax.Array]) -> jax.Array:
        """(n,) sum of the offsets of one data set."""
        total = jnp.zeros_like(self.response_of(columns))
        for offset in self.offsets:
            total = total + evaluate_expression(offset, columns)
        return total

    def numbers_of(self, columns: Mapping[str, jax.Array], present: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(n,) response as the kernels read it, and weights; these are NaN where a row is no response of the family."""
        y = self.response_of(columns)
        weight = jnp.ones_like(y)
        whole = (y >= 0) & (y == jnp.round(y))
        if self.failures is not None:
            rest = evaluate_expression(self.failures, columns)
            weight = y + rest
            valid = whole & (rest >= 0) & (rest == jnp.round(rest)) & (weight > 0)
            y = y / jnp.where(weight > 0, weight, jnp.ones_like(weight))
        elif self.family.name == "gamma":
            valid = y > 0
        else:
            most = {"binomial": 1, "ordinal": self.family.n_shape}.get(self.family.name, np.inf)
            valid = whole & (y <= most)
        zero, bad = jnp.zeros_like(y), jnp.any(present & ~valid)
        return jnp.where(present, y, zero), jnp.where(present, jnp.where(bad, jnp.nan, weight), zero)


class TiledRows(NamedTuple):
    """Which row stands in which cell (R, T) and whether one does, level of every tile (T,), levels of other factors."""

    row: jax.Array
    filled: jax.Array
    tile_level: jax.Array
    codes: tuple[jax.Array, ...]


def read_glmm(design: MultilevelDesign, formula: str, family: Family, n_quad: int) -> tuple[GlmmModel, TiledRows]:
    """Evaluate a formula on one data set of a design, and keep what all data sets share.

    Raises
    ------
    SimulationError
        As of `read_model`; or an ordinal response without categories.
    RemlaxError
        As of `remlax.glmer`: the formula cannot be read, the response is not one of the family, or the model is not
        identified.
    """
    reading = read_template(design, formula, reml=False, any_response=True)
    if reading.model.shape.n_cells:
        raise SimulationError(
            "The grouping factors of the model are crossed: batched methods fit generalised models of one factor or of "
            "factors nested in each other; analyse others by a function of yours that calls remlax.glmer."
        )
    response = read_response(reading.rows, family)
    if family.name == "ordinal" and reading.rows.levels is None:
        raise SimulationError(
            f"{reading.rows.formula.response!r} has no categories: family='ordinal' needs a response drawn by "
            "Outcome('ordinal', thresholds=...)."
        )
    check_nodes(n_quad, reading.layout.structure.q[0], [factor.label for factor in reading.layout.factors])
    model = reading.model
    kept = [i for i, name in enumerate(model.names) if family.name != "ordinal" or name != INTERCEPT]
    constants = model.constants if len(kept) == len(model.names) else (-1,) * len(kept)
    tiles = _tiles(reading)
    failures = counted(reading.rows.formula.response_tree)[1:]
    for node in failures:
        check_expression(node)
    own: dict[str, Any] = {field.name: getattr(model, field.name) for field in fields(model)}
    own |= {
        "names": tuple(model.names[i] for i in kept),
        "parameters": (*model.parameters[:-1], *response.shape_names),
        "fixed": tuple(model.fixed[i] for i in kept),
        "constants": constants,
        "failures": failures[0] if failures else None,
        "levels": response.levels if family.name == "ordinal" else (),
        "glmm": _structure(reading, len(kept), response.family, n_quad, tiles),
    }
    others = tuple(
        host_leaf(np.where(tiles.filled, factor.codes[tiles.row], 0).astype(np.int32))
        for factor in reading.layout.factors[1:]
    )
    row, filled, level = map(host_leaf, (tiles.row.astype(np.int32), tiles.filled, tiles.level))
    return GlmmModel(**own), TiledRows(row, filled, level, others)


def _tiles(reading: Reading) -> Tiles:
    """Rows by the levels of the first factor, which are the same in all data sets."""
    codes = reading.layout.factors[0].codes
    counts = np.bincount(codes)
    height, _ = tile_shape([counts])
    return make_tiles(codes, height, int(np.sum(-(-counts // height))))


def _structure(reading: Reading, p: int, family: Family, n_quad: int, tiles: Tiles) -> GlmmStructure:
    layout = reading.layout
    levels = tuple(factor.n_levels for factor in layout.factors)
    aligned = TilesOfSets((tiles,), 1).aligned(levels[0])
    return GlmmStructure(layout.structure.theta_map, levels, max(p, 1), family, n_quad, aligned)
