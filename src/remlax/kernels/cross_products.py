"""Cross-products of one data set, conditioned: the n rows are read twice here and never again.

Cross-products square the condition number, so X is rotated to an orthonormal basis (Cholesky QR, twice:
Yamamoto, Nakatsukasa, Yanagisawa & Fukaya 2015, Electron. Trans. Numer. Anal. 44) and y replaced by its scaled
least-squares residual before they are formed. The steps take a chunk of rows each, so that a long data set
streams through a fixed amount of memory.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..shapes import Float, Int
from .problem import CrossProducts, Structure
from .small import factor_inverse


class Table(NamedTuple):
    """One table of cross-products: Z_left' [Z_right ... (W)] summed over the levels of a code column."""

    left: int
    rights: tuple[int, ...]
    with_w: bool
    size: int


class Conditioning(NamedTuple):
    """Rotation of X and the least-squares coefficients: W = [X inverse, y - X beta].

    ``pivot`` is the smallest length of a column after the columns before it are projected out, relative to its own.
    """

    inverse: Float[Array, "... p p"]
    beta: Float[Array, "... p"]
    log_det: Float[Array, " ..."]
    pivot: Float[Array, " ..."]


class Raw(NamedTuple):
    """Accumulated cross-products before the second rotation."""

    ww: Array
    tables: tuple[Array, ...]


class RowChunk(NamedTuple):
    """A chunk of rows of one data set, already multiplied by the square roots of the weights.

    x (n, p); y (n,); z: one (n, q) array per factor; codes: one integer (n,) array per table.
    Rows of zeros are exact padding.
    """

    x: Array
    y: Array
    z: tuple[Array, ...]
    codes: tuple[Array, ...]


class Rotation(NamedTuple):
    """X = (orthonormal basis) R; beta = R^-1 (gamma * y_scale) + ols."""

    inverse: Float[Array, "... p p"]
    ols: Float[Array, "... p"]
    log_det: Float[Array, " ..."]
    y_scale: Float[Array, " ..."]


def nested_tables(structure: Structure) -> tuple[Table, ...]:
    """Return the tables that nested factors need, one per factor."""
    return tuple(
        Table(f, tuple(range(f, structure.n_factors)), True, structure.n_levels[f]) for f in range(structure.n_factors)
    )


def gram(x: Float[Array, "n p"], y: Float[Array, " n"]) -> Float[Array, "p+1 p+1"]:
    """[X y]'[X y] of a chunk of rows."""
    both = jnp.concatenate([x, y[:, None]], axis=1)
    return both.T @ both


def condition(total: Any, xp: ModuleType = jnp) -> Conditioning:
    """Find the rotation and the least-squares coefficients from [X y]'[X y], with JAX or NumPy (``xp``).

    With NumPy there may be leading axes of data sets.
    """
    p = total.shape[-1] - 1
    scale = xp.sqrt(xp.diagonal(total, axis1=-2, axis2=-1)[..., :p])
    chol, lower = _factor(total[..., :p, :p] / (scale[..., :, None] * scale[..., None, :]), xp)
    inverse = xp.swapaxes(lower, -1, -2) / scale[..., :, None]
    beta = _times(inverse, _times(xp.swapaxes(inverse, -1, -2), total[..., :p, p]))
    pivots = xp.diagonal(chol, axis1=-2, axis2=-1)
    return Conditioning(inverse, beta, 2 * xp.sum(xp.log(pivots * scale), axis=-1), xp.min(pivots, -1, initial=1.0))


def _factor(a: Any, xp: ModuleType) -> tuple[Any, Any]:
    """Cholesky factor and its inverse; with JAX without LAPACK, see ``small``."""
    if xp is np:
        chol = np.linalg.cholesky(a)
        return chol, np.linalg.inv(chol)
    return factor_inverse(a) if a.shape[-1] else (a, a)


def _times(matrix: Any, vector: Any) -> Any:
    """Matrices times vectors, with leading axes of data sets or without."""
    return matrix @ vector if vector.ndim == 1 else (matrix @ vector[..., None])[..., 0]


def second_rotation(
    raw_ww: Any, first: Conditioning, second: Conditioning, n_obs: Any, xp: ModuleType = jnp
) -> tuple[Any, Any, Rotation]:
    """Rotate a second time and scale y, with JAX or NumPy (``xp``); with NumPy there may be axes of data sets.

    Parameters
    ----------
    raw_ww : array (w, w)
        W'W after the first rotation.
    first, second : Conditioning
        The first rotation, and that of ``raw_ww``.

    Returns
    -------
    ww : array (w, w)
        W'W.
    transform : array (w, w)
        W = (W after the first rotation) transform.
    rotation : Rotation
    """
    p = raw_ww.shape[-1] - 1
    squares = raw_ww[..., p, p]
    # a response that is explained exactly may leave nothing, or a little less
    least = 1e-30 * squares + np.finfo(raw_ww.dtype).tiny
    explained = xp.sum(second.beta * raw_ww[..., :p, p], axis=-1)
    y_scale = xp.sqrt(xp.maximum(squares - explained, least) / n_obs)
    last = xp.concatenate([-second.beta, xp.ones_like(squares)[..., None]], axis=-1) / y_scale[..., None]
    upper = xp.concatenate([second.inverse, xp.zeros_like(raw_ww[..., :1, :p])], axis=-2)
    transform = xp.concatenate([upper, last[..., None]], axis=-1)
    rotation = Rotation(
        first.inverse @ second.inverse,
        first.beta + _times(first.inverse, second.beta),
        first.log_det + second.log_det,
        y_scale,
    )
    return xp.swapaxes(transform, -1, -2) @ raw_ww @ transform, transform, rotation


def start_raw(tables: tuple[Table, ...], q: tuple[int, ...], w: int, dtype: jnp.dtype) -> Raw:
    """Zero accumulators."""
    widths = [sum(q[g] for g in t.rights) + (w if t.with_w else 0) for t in tables]
    return Raw(
        jnp.zeros((w, w), dtype),
        tuple(jnp.zeros((t.size, q[t.left] * k), dtype) for t, k in zip(tables, widths, strict=True)),
    )


def add_rows(raw: Raw, rows: RowChunk, conditioning: Conditioning, tables: tuple[Table, ...]) -> Raw:
    """Add one chunk of rows to the cross-products."""
    wcols = jnp.concatenate([rows.x @ conditioning.inverse, (rows.y - rows.x @ conditioning.beta)[:, None]], axis=1)
    out = []
    for table, old, codes in zip(tables, raw.tables, rows.codes, strict=True):
        left = rows.z[table.left]
        right = jnp.concatenate([rows.z[g] for g in table.rights] + [wcols] * table.with_w, axis=1)
        products = (left[:, :, None] * right[:, None, :]).reshape(left.shape[0], -1)
        out.append(old + jax.ops.segment_sum(products, codes, table.size))
    return Raw(raw.ww + wcols.T @ wcols, tuple(out))


def finish(
    raw: Raw, first: Conditioning, n_obs: Array, q: tuple[int, ...], tables: tuple[Table, ...]
) -> tuple[Array, tuple[Array, ...], Rotation]:
    """Rotate a second time and scale y: return W'W, the tables as (q, r, size), and the rotation."""
    ww, transform, rotation = second_rotation(raw.ww, first, condition(raw.ww), n_obs)
    out = []
    for table, data in zip(tables, raw.tables, strict=True):
        cube = jnp.moveaxis(data.reshape(table.size, q[table.left], -1), 0, 2)
        if table.with_w:
            split = cube.shape[1] - len(transform)
            cube = jnp.concatenate([cube[:, :split], jnp.einsum("iwl,wv->ivl", cube[:, split:], transform)], axis=1)
        out.append(cube)
    return ww, tuple(out), rotation


def cross_products(
    x: Float[Array, "n p"],
    y: Float[Array, " n"],
    z: tuple[Float[Array, "n _q"], ...],
    codes: tuple[Int[Array, " n"], ...],
    structure: Structure,
    weights: Array | None = None,
) -> tuple[CrossProducts, Rotation]:
    """Form the conditioned cross-products of one data set with one or several nested factors.

    Parameters
    ----------
    x : Array (n, p)
        Fixed-effect columns, of full rank.
    y : Array (n,)
        Response (minus any offset).
    z : tuple of Array (n, q)
        Random-effect columns of each factor, finest factor first.
    codes : tuple of integer Array (n,)
        Level of every row in each factor, ``0 .. n_levels - 1``.
    structure : Structure
        ``n_levels`` may exceed the levels that occur; ``n_fixed`` is p.
    weights : Array (n,), optional
        Precision weights; a row of weight 0 is padding and does not count.

    Returns
    -------
    products : CrossProducts
        Of a `Nested` problem, the input of ``profiled_deviance`` and ``fit_batch``.
    rotation : Rotation
        Takes estimates back to the columns of ``x``.
    """
    n_obs = jnp.asarray(x.shape[0], y.dtype)
    log_w = jnp.zeros((), y.dtype)
    if weights is not None:
        n_obs = jnp.sum(weights > 0).astype(y.dtype)
        log_w = jnp.sum(jnp.where(weights > 0, jnp.log(jnp.where(weights > 0, weights, 1.0)), 0.0))
        root = jnp.sqrt(weights)
        x, y, z = x * root[:, None], y * root, tuple(part * root[:, None] for part in z)
    rows = RowChunk(x, y, z, codes)
    tables = nested_tables(structure)
    first = condition(gram(x, y))
    raw = add_rows(start_raw(tables, structure.q, x.shape[1] + 1, y.dtype), rows, first, tables)
    ww, cubes, rotation = finish(raw, first, n_obs, structure.q, tables)
    return nested_products(ww, cubes, rotation, n_obs, log_w, structure), rotation


def nested_products(
    ww: Float[Array, "w w"],
    cubes: tuple[Array, ...],
    rotation: Rotation,
    n_obs: Float[Array, ""],
    log_w: Float[Array, ""],
    structure: Structure,
) -> CrossProducts:
    """Put finished tables of nested factors into the form that the criterion reads."""
    q = structure.q
    return CrossProducts(
        zz=tuple(c[:, : q[f]] for f, c in enumerate(cubes)),
        zr=tuple(c[:, q[f] :] for f, c in enumerate(cubes)),
        ww=ww,
        n_obs=n_obs,
        n_fixed=jnp.asarray(rotation.ols.shape[0], ww.dtype),
        constant=rotation.log_det - log_w,
        constant_ml=-log_w,
        log_scale=2 * jnp.log(rotation.y_scale),
    )
