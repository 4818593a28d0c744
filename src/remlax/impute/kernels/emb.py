"""EMB: bootstrap, EM and one draw per imputation, for one data set; `emb_impute` maps it over imputations.

Axes: m imputations, n rows, p columns, S patterns, k rows to draw.

Source: Honaker & King (2010) AJPS 54:561-581 (the bootstrap takes the place of the parameter draw).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ...engine.programs import program
from ...kernels.small import factor_inverse
from .em import (
    CellPriors,
    EmFit,
    EmSettings,
    Regressions,
    condition_on_priors,
    fit_em,
    is_regular,
    pattern_moments,
    pattern_regressions,
)
from .noise import fold_in, normals, random_words

MAX_REDRAWS = 100
BOOTSTRAP_STREAM, DRAW_STREAM = 0, 1


class Bounds(NamedTuple):
    """Lowest and highest admissible value per column, each (p,), infinite where free."""

    low: Array
    high: Array


class IncompleteRows(NamedTuple):
    """Data x (n, p), missing (n, p), patterns (S, p), pattern of each row ids (n,), rows to complete targets (k,)."""

    x: Array
    missing: Array
    patterns: Array
    ids: Array
    targets: Array


class EmbDraw(NamedTuple):
    """Completed rows (k, p) in units of the data, standardised EM fit, centres and scales (p,)."""

    rows: Array
    fit: EmFit
    centre: Array
    scale: Array


class EmbData(NamedTuple):
    """One data set, ready for EM.

    x0 (n, p) standardised with zeros in missing cells; onehot (n, S) pattern of each row; observed (S, p)
    as 1.0 and 0.0; usable (n,) 1.0 for rows with an observed cell.
    """

    x0: Array
    onehot: Array
    observed: Array
    usable: Array


def match_patterns(missing: Array, patterns: Array) -> Array:
    """Position (n,) of every row's pattern in the table (S, p), -1 where it is not there."""
    gaps, table = missing.astype(jnp.float32), patterns.astype(jnp.float32)
    # a row has a pattern when its missing and its observed cells agree in all p places
    agree = gaps @ table.T + (1.0 - gaps) @ (1.0 - table).T
    found = agree > missing.shape[1] - 0.5
    return jnp.where(jnp.any(found, axis=1), jnp.argmax(found, axis=1), -1)


def prepare(x: Array, missing: Array, patterns: Array, ids: Array) -> tuple[EmbData, Array, Array]:
    """Standardise x (n, p) by its observed cells; also return the centres and scales, (p,) each.

    ids (n,) is the pattern of each row; rows with -1, and rows without an observed cell, do not count.
    """
    seen = jnp.logical_not(missing)
    weight = seen.astype(x.dtype)
    count = jnp.sum(weight, axis=0)
    centre = jnp.sum(jnp.where(seen, x, 0.0), axis=0) / jnp.maximum(count, 1.0)
    x0 = jnp.where(seen, x - centre[None], 0.0)
    scale = jnp.sqrt(jnp.sum(x0 * x0, axis=0) / jnp.maximum(count - 1.0, 1.0))
    scale = jnp.where(scale > 0.0, scale, 1.0)
    onehot = (ids[:, None] == jnp.arange(patterns.shape[0], dtype=ids.dtype)[None]).astype(x.dtype)
    usable = (jnp.any(seen, axis=1) & (ids >= 0)).astype(x.dtype)
    return EmbData(x0 / scale[None], onehot, 1.0 - patterns.astype(x.dtype), usable), centre, scale


class Source(NamedTuple):
    """Where random numbers come from.

    rows: (key, n, size) -> (n,) whole numbers below ``size``; noise: (key, rows (k, p)) -> standard normals (k, p),
    of which those of columns without missing cells are not looked at.
    """

    rows: Callable[[Array, int, Array], Array]
    noise: Callable[[Array, Array], Array]


EXACT = Source(
    lambda key, n, size: jax.random.randint(key, (n,), 0, size),
    lambda key, rows: jax.random.normal(key, rows.shape, rows.dtype),
)


def quick_source(incomplete: tuple[int, ...]) -> Source:
    """Numbers for simulation studies, at a fifth of the time: see ``noise``.

    Row numbers come from 32 random bits each (a row is off its probability by less than n / 2^32), normals by
    inversion in single precision, for the columns at the places ``incomplete`` alone.
    """

    def rows(key: Array, n: int, size: Array) -> Array:
        scaled = random_words(key, (n,)).astype(jnp.uint64) * size.astype(jnp.uint64)
        return (scaled >> np.uint64(32)).astype(jnp.int32)

    def noise(key: Array, rows: Array) -> Array:
        drawn = normals(key, (len(incomplete), rows.shape[0]), rows.dtype)
        places = {place: number for number, place in enumerate(incomplete)}
        columns = [drawn[places[j]] if j in places else jnp.zeros_like(rows[:, j]) for j in range(rows.shape[1])]
        return jnp.stack(columns, axis=1)

    return Source(rows, noise)


def bootstrap_weights(key: Array, data: EmbData, source: Source = EXACT) -> Array:
    """How often a sample with replacement of the usable rows takes each row, (n,).

    Drawn again, up to 100 times, while some column would be left without an observed cell.
    """
    n = data.x0.shape[0]
    order = jnp.argsort(1.0 - data.usable, stable=True)
    size = jnp.sum(data.usable).astype(jnp.int32)
    counted = (jnp.arange(n, dtype=jnp.int32) < size).astype(data.x0.dtype)
    row_observed = data.onehot @ data.observed

    def draw(attempt: Array) -> Array:
        picks = source.rows(fold_in(key, attempt), n, size)
        return jnp.zeros((n,), data.x0.dtype).at[order[picks]].add(counted)

    def has_empty_column(state: tuple[Array, Array]) -> Array:
        return jnp.any(state[0] @ row_observed == 0.0) & (state[1] < MAX_REDRAWS)

    def redraw(state: tuple[Array, Array]) -> tuple[Array, Array]:
        return draw(state[1]), state[1] + 1

    # no weights at all leave every column empty, so the loop makes the first draw as well
    nothing = (jnp.zeros_like(data.usable), jnp.zeros((), jnp.int32))
    weights, _ = lax.while_loop(has_empty_column, redraw, nothing)
    return weights


def draw_rows(
    key: Array,
    rows: Array,
    ids: Array,
    regs: Regressions,
    observed: Array,
    bounds: Bounds | None = None,
    priors: tuple[Array, Array] | None = None,
    source: Source = EXACT,
) -> Array:
    """Draw the missing cells of rows (k, p), patterns ids (k,); observed cells come back as they are.

    priors are means and precisions (k, p). With bounds a row is drawn again, up to 100 times, until all its
    missing cells lie inside; what is still outside then is set to the bound.
    """
    full = jnp.concatenate([jnp.ones_like(rows[:, :1]), rows], axis=1)
    mean = jnp.einsum("ki,kij->kj", full, regs.coef[ids])[:, 1:]
    seen = observed[ids]
    if priors is None:
        factor = factor_inverse(regs.cov + _diagonal(observed))[0][ids]
    else:
        mean, cov = condition_on_priors(mean, regs.cov[ids], *priors)
        factor, _ = factor_inverse(cov + _diagonal(seen))

    def draw(attempt: Array) -> Array:
        noise = source.noise(fold_in(key, attempt), mean) * (1.0 - seen)
        return jnp.where(seen > 0.0, rows, mean + jnp.einsum("kij,kj->ki", factor, noise))

    first = jnp.zeros((), jnp.int32)
    if bounds is None:
        return draw(first)

    def outside(x: Array) -> Array:
        beyond = (x < bounds.low[None]) | (x > bounds.high[None])
        return jnp.any(beyond & (seen == 0.0), axis=1)

    def some_outside(state: tuple[Array, Array, Array]) -> Array:
        return jnp.any(state[1]) & (state[2] < MAX_REDRAWS)

    def redraw(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        last = jnp.where(state[1][:, None], draw(state[2]), state[0])
        return last, outside(last), state[2] + 1

    last, _, _ = lax.while_loop(some_outside, redraw, (rows, jnp.any(seen == 0.0, axis=1), first))
    return jnp.where(seen > 0.0, rows, jnp.clip(last, bounds.low[None], bounds.high[None]))


def _diagonal(values: Array) -> Array:
    return values[:, :, None] * jnp.eye(values.shape[1], dtype=values.dtype)[None]


def emb_draw(
    key: Array,
    table: IncompleteRows,
    settings: EmSettings,
    bootstrap: bool,
    bounds: Bounds | None = None,
    priors: CellPriors | None = None,
    source: Source = EXACT,
) -> EmbDraw:
    """Impute one data set once; bounds and priors in units of x."""
    x, missing, patterns, ids, targets = table
    data, centre, scale = prepare(x, missing, patterns, ids)
    weights = data.usable
    if bootstrap:
        weights = bootstrap_weights(fold_in(key, BOOTSTRAP_STREAM), data, source)
    ids, known = jnp.maximum(ids, 0), ids >= 0
    prior_rows, row_priors, counted = None, None, weights
    if priors is not None:
        mean = (priors.mean - centre[None]) / scale[None]
        precision = priors.precision * jnp.square(scale)[None]
        prior_rows = (data.x0, weights, ids, CellPriors(priors.rows, mean, precision))
        counted = weights.at[priors.rows].set(0.0)
        blank = jnp.zeros_like(data.x0)
        row_priors = (blank.at[priors.rows].set(mean)[targets], blank.at[priors.rows].set(precision)[targets])
    if bounds is not None:
        bounds = Bounds((bounds.low - centre) / scale, (bounds.high - centre) / scale)
    fit = fit_em(pattern_moments(data.x0, counted, data.onehot), data.observed, settings, prior_rows)
    regs = pattern_regressions(fit.mean, fit.cov, data.observed)
    draw_key = fold_in(key, DRAW_STREAM)
    drawn = draw_rows(draw_key, data.x0[targets], ids[targets], regs, data.observed, bounds, row_priors, source)
    values = jnp.where(known[targets][:, None] & is_regular(fit), drawn * scale[None] + centre[None], jnp.nan)
    return EmbDraw(jnp.where(missing[targets], values, x[targets]), fit, centre, scale)


@program("bootstrap")
def emb_draws(
    keys: Array,
    table: IncompleteRows,
    settings: EmSettings,
    bounds: Bounds | None,
    priors: CellPriors | None,
    *,
    bootstrap: bool,
) -> EmbDraw:
    """Map `emb_draw` over keys (m,); x of the table is (n, p), or (m, n, p): one per imputation."""

    def one(key: Array, x: Array) -> EmbDraw:
        return emb_draw(key, table._replace(x=x), settings, bootstrap, bounds, priors)

    return jax.vmap(one, in_axes=(0, None if table.x.ndim == 2 else 0))(keys, table.x)


def emb_impute(
    key: Array,
    x: Array,
    missing: Array,
    patterns: Array,
    m: int,
    *,
    tolerance: float = 1e-4,
    max_iter: int = 1000,
    ridge: float = 0.0,
    bootstrap: bool = True,
    source: Source = EXACT,
) -> tuple[Array, EmFit]:
    """Impute one data set m times by EMB; pure, so that jit and vmap (over key, x and missing) apply.

    Parameters
    ----------
    key
        A JAX random key. Imputation k uses `fold_in(key, k)`: the first imputations do not depend on m.
    x
        (n, p) data; whatever stands in a missing cell is ignored.
    missing
        (n, p) logical, True where the cell is missing.
    patterns
        (S, p) logical, every pattern of missing cells that a row may have (True = missing). One table for all
        simulated data sets keeps the shapes equal: see `all_patterns`. A row whose pattern is not listed
        comes back as NaN.
    m
        Number of imputations.
    tolerance
        EM stops when no mean and no covariance, standardised, moves by more than this.
    max_iter
        Most EM iterations.
    ridge
        Pseudo-rows that shrink the correlations, 0 = none.
    bootstrap
        False uses the data as they are in every imputation: a test of EM, not a proper imputation.
    source
        Where random numbers come from.

    Returns
    -------
    tuple
        Completed data (m, n, p), and an EmFit with a leading axis m on the standardised scale. An imputation without
        an invertible covariance (`is_regular` in `kernels.em`) failed, and its imputed cells are NaN.

    Examples
    --------
    >>> x = jnp.array([[1.0, 2.0], [2.0, 0.0], [3.0, 3.0], [4.0, 5.0], [5.0, 5.0]])
    >>> missing = jnp.zeros((5, 2), bool).at[1, 1].set(True)
    >>> completed, fit = emb_impute(jax.random.key(0), x, missing, all_patterns(2, [1]), m=3)
    >>> completed.shape
    (3, 5, 2)
    """
    settings = EmSettings(
        jnp.asarray(tolerance, x.dtype), jnp.asarray(max_iter, jnp.int32), jnp.asarray(ridge, x.dtype)
    )
    table = IncompleteRows(x, missing, patterns, match_patterns(missing, patterns), jnp.arange(x.shape[0]))

    def one(number: Array) -> EmbDraw:
        return emb_draw(fold_in(key, number), table, settings, bootstrap, source=source)

    draw = jax.vmap(one)(jnp.arange(m))
    return draw.rows, draw.fit


def all_patterns(p: int, incomplete: list[int]) -> Array:
    """Every missing-data pattern of p columns of which only those at the positions `incomplete` have gaps.

    Returns (2^len(incomplete), p) logical, True = missing, complete rows first.

    Examples
    --------
    >>> all_patterns(3, [0, 2]).shape
    (4, 3)
    """
    number = jnp.arange(2 ** len(incomplete))
    table = jnp.zeros((len(number), p), bool)
    for bit, column in enumerate(incomplete):
        table = table.at[:, column].set((number // 2**bit) % 2 == 1)
    return table
