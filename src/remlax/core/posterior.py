"""Coefficients and random effects together, for one data set: their joint covariance, and predictions.

The covariance of (beta-hat - beta, b-hat - b) is the inverse of Henderson's mixed-model equations (Henderson 1975,
Biometrics 31:423). It is never formed: eliminating the factors, finest first, says how every random effect depends on
the coarser ones and on beta. A prediction x'beta + z'b is carried through that elimination; a draw goes back through
it. Levels that never met in the data need nothing special.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular

from .dense import inverse_root
from .factor import after_first, scale_dense, small_factor, times_lambda
from .inference import solve
from .structure import Index, Structure, Values


class Elimination(NamedTuple):
    """How every random effect depends on coarser ones and on W = [X y].

    half : tuple of Array (q, q, L)
        half'half = Lambda (Lambda'Z'Z Lambda + I)^-1 Lambda' of every eliminated level, given the coarser factors.
    solved : tuple of Array (q, r, L)
        half'half Z'[Z of the coarser factors, W]; of a crossed model W only.
    dense_half : Array (n, n) or None
        Crossed: the same root for the dense block.
    dense_w : Array (n, w) or None
        Crossed: dense_half times the block's W columns.
    """

    half: tuple[Array, ...]
    solved: tuple[Array, ...]
    dense_half: Array | None
    dense_w: Array | None


class Rows(NamedTuple):
    """Rows to predict, in the conditioned coordinates of ``Values``.

    x : Array (R, p)
    z, z_new : tuple of Array (R, q)
        Per factor: columns that meet a level of the data, and columns that meet a new level; zero elsewhere.
    codes, codes_new : tuple of integer Array (R,)
        The levels; 0 where z or z_new is zero.
    pair_row, pair_entry : integer Array (E,)
        Crossed: which row needs which entry of ``Values.entry``; row R is padding.
    """

    x: Array
    z: tuple[Array, ...]
    codes: tuple[Array, ...]
    z_new: tuple[Array, ...]
    codes_new: tuple[Array, ...]
    pair_row: Array
    pair_entry: Array


def _roots(zz: Array, lam: Array) -> Array:
    """chol(Lambda'Z'Z Lambda + I)^-1 Lambda' of every level, (q, q, L)."""
    inner = jnp.einsum("ki,kml,mj->lij", lam, zz, lam) + jnp.eye(lam.shape[0], dtype=zz.dtype)[None]
    chol = jnp.linalg.cholesky(inner, symmetrize_input=False)
    half = solve_triangular(chol, jnp.broadcast_to(lam.T[None], chol.shape), lower=True)
    return jnp.moveaxis(half, 0, 2)


def eliminate(theta: Array, structure: Structure, index: Index, values: Values) -> Elimination:
    """Eliminate the random effects as ``factor.marginal`` does, and keep what going back needs."""
    if structure.crossed:
        return _eliminate_crossed(theta, structure, index, values)
    lams = structure.theta_map.factors(theta)
    zz, zr = list(values.zz), list(values.zr)
    halves: list[Array] = []
    solved: list[Array] = []
    for f, lam in enumerate(lams):
        halves.append(_roots(zz[f], lam))
        solved.append(jnp.einsum("kil,kjl,jrl->irl", halves[f], halves[f], zr[f]))
        start = 0
        for g in range(f + 1, structure.n_factors):
            q = structure.q[g]
            update = jnp.einsum("kal,kbl->lab", zr[f][:, start : start + q], solved[f][:, start:])
            summed = jax.ops.segment_sum(update, index.ancestors[f][g - f - 1], structure.n_levels[g])
            summed = jnp.moveaxis(summed, 0, 2)
            zz[g], zr[g] = zz[g] - summed[:, :q], zr[g] - summed[:, q:]
            start += q
    return Elimination(tuple(halves), tuple(solved), None, None)


def _eliminate_crossed(theta: Array, structure: Structure, index: Index, values: Values) -> Elimination:
    lams = structure.theta_map.factors(theta)
    half = _roots(values.zz[0], lams[0])
    solved = jnp.einsum("kil,kjl,jwl->iwl", half, half, values.zr[0])
    pinv, _ = small_factor(values.zz[0], lams[0])
    parts = scale_dense(after_first(pinv, structure, index, values), lams[1:], structure)
    root = inverse_root(parts.block)
    dense_half = times_lambda(root, tuple(lam.T for lam in lams[1:]), structure)
    return Elimination((half,), (solved,), dense_half, root @ parts.right)


class RowMoments(NamedTuple):
    """A prediction after elimination of the random effects.

    fixed : Array (R, p)
        What is left to multiply gamma: x - X'V^-1 Z D z.
    variance : Array (R,)
        Variance of z'b given gamma, over sigma^2.
    """

    fixed: Array
    variance: Array


def row_moments(rows: Rows, theta: Array, structure: Structure, index: Index, values: Values) -> RowMoments:
    """Carry predictions x'gamma + z'b through the elimination of b."""
    lams = structure.theta_map.factors(theta)
    variance = jnp.zeros(rows.x.shape[0], rows.x.dtype)
    for lam, z in zip(lams, rows.z_new, strict=True):
        variance = variance + jnp.sum((z @ lam) ** 2, axis=1)
    out = RowMoments(rows.x, variance)
    found = eliminate(theta, structure, index, values)
    if structure.crossed:
        return _through_crossed(out, rows, found, structure, index, values)
    return _through_chain(out, rows, found, structure, index)


def _through_chain(out: RowMoments, rows: Rows, found: Elimination, structure: Structure, index: Index) -> RowMoments:
    waiting: list[list[tuple[Array, Array]]] = [[(c, z)] for c, z in zip(rows.codes, rows.z, strict=True)]
    for f in range(structure.n_factors):
        half, solved = jnp.moveaxis(found.half[f], 2, 0), jnp.moveaxis(found.solved[f], 2, 0)
        seen = [(codes, jnp.einsum("rki,ri->rk", half[codes], z)) for codes, z in waiting[f]]
        for a, (left_codes, left) in enumerate(seen):
            for b, (right_codes, right) in enumerate(seen[: a + 1]):
                both = jnp.where(left_codes == right_codes, jnp.sum(left * right, axis=1), 0.0)
                out = out._replace(variance=out.variance + (1.0 if a == b else 2.0) * both)
        for codes, z in waiting[f]:
            pushed = -jnp.einsum("ric,ri->rc", solved[codes], z)
            start = 0
            for g in range(f + 1, structure.n_factors):
                parents = index.ancestors[f][g - f - 1][codes]
                waiting[g].append((parents, pushed[:, start : start + structure.q[g]]))
                start += structure.q[g]
            out = out._replace(fixed=out.fixed + pushed[:, start:-1])
    return out


def _through_crossed(
    out: RowMoments, rows: Rows, found: Elimination, structure: Structure, index: Index, values: Values
) -> RowMoments:
    assert index.entry_col is not None  # for the type checker: a crossed model has all these
    assert values.entry is not None
    assert found.dense_half is not None
    assert found.dense_w is not None
    n_rows = rows.x.shape[0]
    half = jnp.moveaxis(found.half[0], 2, 0)[rows.codes[0]]
    seen = jnp.einsum("rki,ri->rk", half, rows.z[0])
    out = out._replace(variance=out.variance + jnp.sum(seen**2, axis=1))
    known = jnp.einsum("ric,ri->rc", jnp.moveaxis(found.solved[0], 2, 0)[rows.codes[0]], rows.z[0])
    spread = jnp.einsum("rki,rk->ri", half, seen)

    dense = jnp.zeros((n_rows, structure.n_dense), rows.x.dtype)
    for (start, _, q), codes, z in zip(structure.dense_slices(), rows.codes[1:], rows.z[1:], strict=True):
        columns = start + codes[:, None] * q + jnp.arange(q, dtype=codes.dtype)[None]
        dense = dense.at[jnp.arange(n_rows)[:, None], columns].add(z)
    pushed = jnp.sum(values.entry[rows.pair_entry] * spread.at[rows.pair_row].get(mode="fill", fill_value=0.0), axis=1)
    dense = dense.at[rows.pair_row, index.entry_col[rows.pair_entry]].add(-pushed, mode="drop")
    seen = dense @ found.dense_half.T
    return RowMoments(
        out.fixed - (known + seen @ found.dense_w)[:, :-1],
        out.variance + jnp.sum(seen**2, axis=1),
    )


class RowVariance(NamedTuple):
    """Variance of predictions and its derivatives.

    variance (R,): of the error of the linear predictor, in units of the scaled response; gradient (R, d + 1): its
    derivatives in (theta, log sigma).
    """

    variance: Array
    gradient: Array


def row_variance(
    theta: Array, sigma: Array, rows: Rows, structure: Structure, index: Index, values: Values
) -> RowVariance:
    """Variance of the error of predictions, Var(x'(beta-hat - beta) + z'(b-hat - b)).

    Parameters
    ----------
    theta : Array (d,)
    sigma : Array, scalar
        Residual SD in units of the scaled response.
    rows : Rows

    Returns
    -------
    RowVariance
    """

    def variance(t: Array) -> tuple[Array, Array]:
        moments = row_moments(rows, t, structure, index, values)
        cov = solve(t, structure, index, values).unscaled_cov
        total = jnp.einsum("ri,ij,rj->r", moments.fixed, cov, moments.fixed) + moments.variance
        return total, total

    gradient, total = jax.jacfwd(variance, has_aux=True)(theta)
    # the variance is sigma^2 times this, so that its derivative in log sigma is twice itself
    both = jnp.concatenate([gradient, 2 * total[:, None]], axis=1)
    return RowVariance(sigma**2 * total, sigma**2 * both)
