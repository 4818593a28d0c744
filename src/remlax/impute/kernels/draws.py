"""Random draws of the joint model's Gibbs sampler: covariance matrices, truncated normals, cells of rows.

Axes: n rows, r columns, S missing-data patterns.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import log_ndtr, ndtr, ndtri

from .em import pattern_regressions
from .noise import normals, uniforms
from .small import UNROLLED, cholesky, forward, inverse, whiten


class LatentBlocks(NamedTuple):
    """Static: which columns are latent normals of categorical variables.

    nominal holds the widths (levels - 1) of the nominal variables, whose latents are the leading columns;
    ordinal holds (column, number of levels >= 3) of the ordinal ones.
    """

    nominal: tuple[int, ...] = ()
    ordinal: tuple[tuple[int, int], ...] = ()

    @property
    def nominal_columns(self) -> list[slice]:
        """Columns of each nominal variable."""
        ends = accumulate(self.nominal)
        return [slice(end - width, end) for end, width in zip(ends, self.nominal, strict=True)]


class KnownCells(NamedTuple):
    """What is known about the cells of n rows.

    missing (n, r) True where a column is to be drawn freely (a missing number, the latents of a missing
    category); category (n, V) observed level of every nominal, then of every ordinal variable, -1 = missing;
    ids (n,) pattern of each row; observed (S, r) the patterns as 1.0 and 0.0.
    """

    missing: Array
    category: Array
    ids: Array
    observed: Array


def inverse_wishart(key: Array, scale: Array, df: Array) -> Array:
    """Draw from the inverse Wishart with density |S|^-((df + d + 1) / 2) exp(-tr(scale S^-1) / 2), (d, d)."""
    d = scale.shape[-1]
    normal_key, chi_key = jax.random.split(key)
    freedom = df - jnp.arange(d, dtype=scale.dtype)
    chi = jnp.sqrt(2.0 * jax.random.gamma(chi_key, 0.5 * freedom, dtype=scale.dtype))
    bartlett = jnp.tril(normals(normal_key, (d, d), scale.dtype), -1) + jnp.diag(chi)
    half = forward(bartlett, cholesky(scale).mT)
    return half.mT @ half


def latent_covariance(width: int, dtype: np.dtype) -> Array:
    """Residual covariance of one nominal variable's latents: 1 on the diagonal and 0.5 off it (as in jomo)."""
    return jnp.asarray(0.5 * np.eye(width) + 0.5, dtype)


def draw_covariance(key: Array, scatter: Array, df: Array, nominal: tuple[int, ...]) -> Array:
    """Draw a covariance matrix (d, d) given prior scale + cross-products and prior df + count.

    Without latents an inverse Wishart. Otherwise each nominal variable's latents, given those of the variables
    before it, keep their fixed residual covariance (this sets their scale), and what follows them is inverse
    Wishart given them: the conditional laws into which an inverse Wishart factorises, with coefficients drawn
    in turn.
    """
    sizes, start = [*nominal, scatter.shape[0] - sum(nominal)], 0
    cov = jnp.zeros((0, 0), scatter.dtype)
    for number, width in enumerate(sizes):
        if width == 0:
            continue
        own = slice(start, start + width)
        fixed = number < len(nominal)
        coef_key, cov_key = jax.random.split(jax.random.fold_in(key, number))
        block = scatter[own, own]
        if start:
            before = scatter[:start, :start]
            root = whiten(before)
            half = root @ scatter[:start, own]
            block = block - half.mT @ half
        residual = latent_covariance(width, scatter.dtype) if fixed else inverse_wishart(cov_key, block, df)
        if not start:
            cov = residual
        else:
            noise = jax.random.normal(coef_key, (start, width), scatter.dtype)
            coef = root.mT @ (half + noise @ cholesky(residual).mT)
            cross = cov @ coef
            corner = residual + coef.mT @ cross
            cov = jnp.block([[cov, cross], [cross.mT, 0.5 * (corner + corner.mT)]])
        start += width
    return cov


def truncated_normal(key: Array, mean: Array, sd: Array, low: Array, high: Array) -> Array:
    """Draw normals (n,) limited to (low, high) by inversion, in the tail where the limits lie."""
    a, b = (low - mean) / sd, (high - mean) / sd
    flip = a > 0.0
    lower, upper = jnp.where(flip, -b, a), jnp.where(flip, -a, b)
    p_low, p_high = ndtr(lower), ndtr(upper)
    u = uniforms(key, mean.shape, mean.dtype)
    z = jnp.clip(ndtri(p_low + u * (p_high - p_low)), lower, upper)
    # beyond 37 standard deviations all mass is next to the limit
    z = jnp.where(p_high > 0.0, z, upper)
    return mean + sd * jnp.where(flip, -z, z)


def _conditional(y: Array, mean: Array, precision: Array, column: int) -> tuple[Array, Array]:
    """Mean (n,) and SD of one column given the others."""
    resid = y - mean
    weight = precision[:, column] / precision[column, column]
    return y[:, column] - resid @ weight, 1.0 / jnp.sqrt(precision[column, column])


def _nominal_limits(block: Array, category: Array, position: int) -> tuple[Array, Array]:
    """Limits of one of a nominal variable's latents (n, width): the largest and positive one is the level's."""
    width = block.shape[1]
    infinite = jnp.full(category.shape, jnp.inf, block.dtype)
    others = jnp.full(category.shape, 0.0, block.dtype)
    for k in range(width):
        if k != position:
            others = jnp.maximum(others, block[:, k])
    own = category == position + 1
    winner = jnp.take_along_axis(block, jnp.clip(category - 1, 0, width - 1)[:, None], axis=1)[:, 0]
    ceiling = jnp.where(category == 0, 0.0, winner)
    return jnp.where(own, others, -infinite), jnp.where(own, infinite, ceiling)


def ordinal_limits(category: Array, cuts: Array) -> tuple[Array, Array]:
    """Limits (n,) of an ordinal variable's latent: level k lies between the cut points k and k + 1."""
    ends = jnp.full((1,), jnp.inf, cuts.dtype)
    table = jnp.concatenate([-ends, cuts, ends])
    level = jnp.maximum(category, 0)
    return table[level], table[level + 1]


def log_interval(mean: Array, sd: Array, low: Array, high: Array) -> Array:
    """Log probability (n,) of a normal between two limits."""
    a, b = (low - mean) / sd, (high - mean) / sd
    flip = a > 0.0
    lower, upper = jnp.where(flip, -b, a), jnp.where(flip, -a, b)
    return log_ndtr(upper) + jnp.log1p(-jnp.exp(jnp.minimum(log_ndtr(lower) - log_ndtr(upper), -1e-300)))


def draw_cuts(key: Array, cuts: Array, step: Array, mean: Array, sd: Array, category: Array) -> tuple[Array, Array]:
    """Metropolis step for the inner cut points of an ordinal variable, the latent integrated out.

    The first and last of cuts (L - 1,) are fixed (they set origin and scale); the gaps between, as shares of
    the whole, move on the log-ratio scale. The prior is flat over increasing cut points. Returns the cut points
    and the probability of acceptance.

    Source: Cowles (1996) Stat Comput 6:101-111 (cut points and latents updated together).
    """
    whole = cuts[-1] - cuts[0]
    share = jnp.diff(cuts) / whole
    noise_key, accept_key = jax.random.split(key)
    moved = jnp.log(share[:-1] / share[-1]) + step * jax.random.normal(noise_key, share[:-1].shape, cuts.dtype)
    ratio = jnp.exp(jnp.concatenate([moved, jnp.zeros((1,), cuts.dtype)]))
    new_share = ratio / jnp.sum(ratio)
    inner = cuts[0] + whole * jnp.cumsum(new_share)[:-1]
    new = jnp.concatenate([cuts[:1], inner, cuts[-1:]])

    def target(at: Array, shares: Array) -> Array:
        low, high = ordinal_limits(category, at)
        chance = log_interval(mean, sd, low, high)
        # the Jacobian of log ratios to shares is the product of the shares
        return jnp.sum(jnp.where(category >= 0, chance, 0.0)) + jnp.sum(jnp.log(shares))

    gain = target(new, new_share) - target(cuts, share)
    gain = jnp.where(jnp.isnan(gain), -jnp.inf, gain)
    accept = jnp.log(jax.random.uniform(accept_key, (), cuts.dtype)) < gain
    return jnp.where(accept, new, cuts), jnp.exp(jnp.minimum(gain, 0.0))


def draw_latents(
    key: Array,
    y: Array,
    mean: Array,
    cov: Array,
    cells: KnownCells,
    blocks: LatentBlocks,
    cuts: tuple[Array, ...],
    steps: tuple[Array, ...],
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """Draw the latents of observed categories, column by column given all others; and the cut points.

    Returns y, cut points and probabilities of acceptance.
    """
    precision = inverse(cov)

    def drawn(column: int, category: Array, centre: Array, sd: Array, limits: tuple[Array, Array]) -> Array:
        values = truncated_normal(jax.random.fold_in(key, column), centre, sd, *limits)
        return y.at[:, column].set(jnp.where(category >= 0, values, y[:, column]))

    for number, own in enumerate(blocks.nominal_columns):
        category = cells.category[:, number]
        for column in range(own.start, own.stop):
            centre, sd = _conditional(y, mean, precision, column)
            y = drawn(column, category, centre, sd, _nominal_limits(y[:, own], category, column - own.start))
    new_cuts, accepted = [], []
    for number, (column, _) in enumerate(blocks.ordinal):
        category = cells.category[:, len(blocks.nominal) + number]
        centre, sd = _conditional(y, mean, precision, column)
        inner, chance = cuts[number], jnp.ones((), y.dtype)
        if inner.shape[0] > 2:
            cut_key = jax.random.fold_in(key, y.shape[1] + column)
            inner, chance = draw_cuts(cut_key, inner, steps[number], centre, sd, category)
        y = drawn(column, category, centre, sd, ordinal_limits(category, inner))
        new_cuts.append(inner)
        accepted.append(chance)
    return y, tuple(new_cuts), tuple(accepted)


def draw_missing(noise: Array, y: Array, mean: Array, cov: Array, cells: KnownCells) -> Array:
    """Draw the missing cells of every row jointly given its other cells, (n, r); cov is (1, r, r) or (n, r, r).

    noise (n, r) is standard normal.
    """
    resid = jnp.where(cells.missing, 0.0, y - mean)
    if cov.shape[0] == 1:
        # one regression for each pattern
        regs = pattern_regressions(jnp.zeros_like(mean[0]), cov[0], cells.observed)
        eye = jnp.eye(y.shape[1], dtype=y.dtype)[None]
        factor = cholesky(regs.cov + eye * cells.observed[:, None, :])
        drawn = mean + pick(resid, regs.coef[:, 1:, 1:], cells.ids) + pick(noise, factor.mT, cells.ids)
    else:
        drawn = mean + _row_residuals(resid, noise, cov, cells.missing)
    return jnp.where(cells.missing, drawn, y)


def pick(rows: Array, tables: Array, ids: Array) -> Array:
    """Multiply each of the rows (n, r) by its pattern's matrix, tables (S, r, r)."""
    r = rows.shape[1]
    if r > UNROLLED:
        return jnp.einsum("ni,nij->nj", rows, tables[ids])
    # gathers of single numbers join one loop with the arithmetic; a gather of matrices is several times slower
    columns = [
        sum((rows[:, i] * tables[:, i, j][ids] for i in range(1, r)), rows[:, 0] * tables[:, 0, j][ids])
        for j in range(r)
    ]
    return jnp.stack(columns, axis=1)


def _row_residuals(resid: Array, noise: Array, cov: Array, missing: Array) -> Array:
    """Draw residuals of missing cells, each row with its own covariance (n, r, r)."""
    eye = jnp.eye(resid.shape[1], dtype=resid.dtype)[None]
    free = missing.astype(resid.dtype)
    both = (1.0 - free)[:, :, None] * (1.0 - free)[:, None, :]
    root = whiten(cov * both + eye * free[:, None, :])
    cross = cov * (1.0 - free)[:, :, None] * free[:, None, :]
    half = root @ cross
    left = cov * free[:, :, None] * free[:, None, :] - half.mT @ half + eye * (1.0 - free)[:, None, :]
    return (half.mT @ (root @ resid[:, :, None]) + cholesky(left) @ noise[:, :, None])[:, :, 0]
