"""Predictions and draws of many data sets at once."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from .batch import Stack, run_chunks
from .draws import Draws, draw, predict_draws
from .placement import over_lanes
from .posterior import Rows, RowVariance, row_variance
from .programs import program
from .structure import Index, Structure, Values


@program("structure", "mesh")
def _row_variance_lanes(
    given: tuple[Array, Array, Rows], index: Index, values: Values, structure: Structure, mesh: Mesh | None = None
) -> RowVariance:
    def one(g: tuple[Array, Array, Rows], i: Index, v: Values) -> RowVariance:
        return row_variance(g[0], g[1], g[2], structure, i, v)

    return over_lanes(one, mesh)(given, index, values)


def row_variance_stack(stack: Stack, theta: np.ndarray, sigma: np.ndarray, rows: Rows) -> RowVariance:
    """Variance of the error of predictions of every lane; ``rows`` has a leading lane axis."""

    def program(given: tuple[np.ndarray, np.ndarray, Rows], part: Stack) -> RowVariance:
        return _row_variance_lanes(given, part.index, part.values, part.structure, mesh=part.mesh)

    return run_chunks(stack, (theta, sigma, rows), program, lapack=True)


def _key(raw: Array) -> Array:
    """Random key from two raw numbers, whatever generator the caller's session prefers."""
    out: Array = jax.random.wrap_key_data(raw, impl="threefry2x32")
    return out


@program("structure", "n_sims", "n_new", "joint", "mesh")
def _draw_lanes(
    given: tuple[Array, Array],
    index: Index,
    values: Values,
    structure: Structure,
    n_sims: int,
    n_new: tuple[int, ...],
    joint: bool,
    mesh: Mesh | None = None,
) -> Draws:
    def one(g: tuple[Array, Array], i: Index, v: Values) -> Draws:
        return draw(_key(g[0]), g[1], n_sims, n_new, structure, i, v, joint=joint)

    return over_lanes(one, mesh)(given, index, values)


def draw_stack(stack: Stack, keys: np.ndarray, theta: np.ndarray, n_sims: int, *, joint: bool = True) -> Draws:
    """Draws of every lane; ``keys`` (m, 2) holds one raw key per lane."""

    def program(given: tuple[np.ndarray, np.ndarray], part: Stack) -> Draws:
        none = (0,) * part.structure.n_factors
        return _draw_lanes(given, part.index, part.values, part.structure, n_sims, none, joint, mesh=part.mesh)

    return run_chunks(stack, (keys, theta), program, lapack=True)


class RowDraws(NamedTuple):
    """Draws of predictions, in units of the scaled response.

    parts (m, 2 + factors, S, R): x'gamma, z'b of every factor, residual. A residual is drawn for a row of weight 1.
    """

    parts: Array


@program("structure", "n_sims", "n_new", "joint", "mesh")
def _draw_rows_lanes(
    given: tuple[Array, Array, Array, Rows],
    index: Index,
    values: Values,
    structure: Structure,
    n_sims: int,
    n_new: tuple[int, ...],
    joint: bool,
    mesh: Mesh | None = None,
) -> RowDraws:
    def one(g: tuple[Array, Array, Array, Rows], i: Index, v: Values) -> RowDraws:
        key, key_rows, theta, rows = g
        found = draw(_key(key), theta, n_sims, n_new, structure, i, v, joint=joint)
        shape = (n_sims, rows.x.shape[0])
        noise = jax.random.normal(_key(key_rows), shape, theta.dtype)
        return RowDraws(jnp.concatenate([predict_draws(found, rows), (found.sigma[:, None] * noise)[None]]))

    return over_lanes(one, mesh)(given, index, values)


def draw_rows_stack(
    stack: Stack,
    keys: tuple[np.ndarray, np.ndarray],
    theta: np.ndarray,
    rows: Rows,
    n_sims: int,
    n_new: tuple[int, ...],
    *,
    joint: bool,
) -> RowDraws:
    """Draws of predictions of every lane.

    Parameters
    ----------
    keys : tuple of ndarray (m, 2)
        Raw keys per lane, of the estimates and of the residuals: the same first keys give the same coefficients and
        effects for other rows.
    """

    def program(given: tuple[np.ndarray, np.ndarray, np.ndarray, Rows], part: Stack) -> RowDraws:
        return _draw_rows_lanes(given, part.index, part.values, part.structure, n_sims, n_new, joint, mesh=part.mesh)

    return run_chunks(stack, (*keys, theta, rows), program, lapack=True)
