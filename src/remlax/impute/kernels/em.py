"""Expectation-maximisation for the multivariate normal, on weighted cross-products of missing-data patterns.

Everything here is written for one data set and one set of row weights. The rows are touched once, to build
one cross-product per pattern; an iteration then costs O(S p^3) whatever the number of rows.

Axes: n rows, p columns, S patterns, k rows with cell priors.

Source: Dempster, Laird & Rubin (1977) JRSS B 39:1-38; Schafer (1997) Analysis of Incomplete Multivariate
Data, section 5.3; convergence rule and starting values of Honaker, King & Blackwell (2011) J Stat Softw
45(7).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ...kernels.small import factor_inverse, least_eigenvalue_bound


class CellPriors(NamedTuple):
    """Normal priors on single missing cells: rows (k,), means (k, p), precisions (k, p), 0 = no prior."""

    rows: Array
    mean: Array
    precision: Array


class EmSettings(NamedTuple):
    """Traced settings: absolute tolerance per parameter, most iterations, ridge in units of rows."""

    tolerance: Array
    max_iter: Array
    ridge: Array


class EmFit(NamedTuple):
    """Mean (p,), covariance (p, p), iterations made, whether they converged, and a bound of the least eigenvalue.

    The bound is 1 / tr(cov^-1): at most p times smaller than the least eigenvalue.
    """

    mean: Array
    cov: Array
    iterations: Array
    converged: Array
    min_eigenvalue: Array


def is_regular(fit: EmFit) -> Array:
    """Whether the covariance is invertible: its least eigenvalue above rounding error (False if it is NaN)."""
    return jnp.greater(fit.min_eigenvalue, 100.0 * np.finfo(fit.cov.dtype).eps)


class Regressions(NamedTuple):
    """Missing on observed columns, per pattern.

    coef (S, p+1, p+1) maps [1, x with zeros] to [1, expected x]; cov (S, p, p) is the residual covariance
    of the missing columns, zero elsewhere.
    """

    coef: Array
    cov: Array


def pattern_moments(x0: Array, weights: Array, onehot: Array) -> Array:
    """Return T_s = sum of w_i [1, x_i][1, x_i]' over the rows of pattern s, (S, p+1, p+1).

    x0 (n, p) has zeros in its missing cells; onehot (n, S) says which pattern a row has.
    """
    rows = jnp.concatenate([jnp.ones_like(x0[:, :1]), x0], axis=1)
    products = rows[:, :, None] * rows[:, None, :]
    # a matrix product, not a scatter: with the data shared by the imputations it is one matmul, and deterministic
    return jnp.einsum("ns,nij->sij", onehot * weights[:, None], products)


def pattern_regressions(mean: Array, cov: Array, observed: Array) -> Regressions:
    """Regress the missing on the observed columns of every pattern, observed (S, p) being 1.0 or 0.0.

    S_oo stays p x p, with an identity in the missing positions, so that one batched Cholesky serves all
    patterns.
    """
    size = mean.shape[0]
    missing = 1.0 - observed
    eye = jnp.eye(size, dtype=mean.dtype)[None]
    both = observed[:, :, None] * observed[:, None, :]
    _, inverse = factor_inverse(cov[None] * both + eye * missing[:, None, :])
    cross = cov[None] * observed[:, :, None] * missing[:, None, :]
    half = inverse @ cross
    slopes = inverse.mT @ half
    resid = cov[None] * missing[:, :, None] * missing[:, None, :] - half.mT @ half
    intercept = mean[None] * missing - jnp.einsum("i,sij->sj", mean, slopes)
    body = jnp.concatenate([intercept[:, None, :], slopes + eye * observed[:, None, :]], axis=1)
    first = jnp.zeros_like(body[:, :, :1]).at[:, 0].set(1.0)
    return Regressions(jnp.concatenate([first, body], axis=2), resid)


def condition_on_priors(mean: Array, cov: Array, prior_mean: Array, precision: Array) -> tuple[Array, Array]:
    """Update predictive means (k, p) and covariances (k, p, p) of missing cells by their normal priors.

    (C^-1 + D)^-1 in the form C - C d (I + d C d)^-1 d C with d = sqrt(D): C is zero in observed cells.
    """
    scale = jnp.sqrt(precision)
    scaled = scale[:, :, None] * cov
    inner = jnp.eye(mean.shape[1], dtype=mean.dtype)[None] + scaled * scale[:, None, :]
    _, inverse = factor_inverse(inner)
    half = inverse @ scaled
    surprise = jnp.einsum("kij,kj->ki", inverse, scale * (prior_mean - mean))
    return mean + jnp.einsum("kji,kj->ki", half, surprise), cov - half.mT @ half


def _prior_moments(x0: Array, weights: Array, regs: Regressions, ids: Array, priors: CellPriors) -> Array:
    """Weighted expected cross-products of the rows with cell priors, (p+1, p+1)."""
    rows = jnp.concatenate([jnp.ones_like(x0[:, :1]), x0], axis=1)[priors.rows]
    ids = ids[priors.rows]
    expected = jnp.einsum("ki,kij->kj", rows, regs.coef[ids])
    mean, cov = condition_on_priors(expected[:, 1:], regs.cov[ids], priors.mean, priors.precision)
    full = jnp.concatenate([expected[:, :1], mean], axis=1)
    weight = weights[priors.rows]
    moments = jnp.einsum("k,ki,kj->ij", weight, full, full)
    return moments.at[1:, 1:].add(jnp.einsum("k,kij->ij", weight, cov))


def starting_values(moments: Array, observed: Array) -> tuple[Array, Array]:
    """Mean and covariance of the complete rows if they are enough and regular, else zero and the identity."""
    size = observed.shape[1]
    complete = jnp.all(observed > 0.0, axis=1).astype(moments.dtype)
    total = jnp.einsum("s,sij->ij", complete, moments)
    count = total[0, 0]
    mean = total[0, 1:] / jnp.maximum(count, 1.0)
    cov = (total[1:, 1:] - count * mean[:, None] * mean[None, :]) / jnp.maximum(count - 1.0, 1.0)
    usable = (count > size) & (least_eigenvalue_bound(cov) > 10.0 * np.finfo(cov.dtype).eps)
    eye = jnp.eye(size, dtype=cov.dtype)
    return jnp.where(usable, mean, 0.0), jnp.where(usable, cov, eye)


def em_step(
    mean: Array,
    cov: Array,
    moments: Array,
    observed: Array,
    ridge: Array,
    prior_rows: tuple[Array, Array, Array, CellPriors] | None = None,
) -> tuple[Array, Array]:
    """One EM iteration from `moments` (S, p+1, p+1); prior_rows = (x0, weights, ids, priors) adds rows with
    priors.

    The ridge e shrinks correlations by n/(n+e) and leaves means and variances alone.
    """
    regs = pattern_regressions(mean, cov, observed)
    total = jnp.einsum("sij,sik,skl->jl", regs.coef, moments, regs.coef)
    total = total.at[1:, 1:].add(jnp.einsum("s,sij->ij", moments[:, 0, 0], regs.cov))
    if prior_rows is not None:
        x0, weights, ids, priors = prior_rows
        total = total + _prior_moments(x0, weights, regs, ids, priors)
    count = total[0, 0]
    new_mean = total[0, 1:] / count
    scatter = total[1:, 1:] - count * new_mean[:, None] * new_mean[None, :]
    variances = jnp.diag(jnp.diag(scatter)) / count
    return new_mean, (scatter + ridge * variances) / (count + ridge)


def fit_em(
    moments: Array,
    observed: Array,
    settings: EmSettings,
    prior_rows: tuple[Array, Array, Array, CellPriors] | None = None,
) -> EmFit:
    """Run EM until no mean and no element of the covariance moves by more than the tolerance.

    moments (S, p+1, p+1) from `pattern_moments`, without the rows that `prior_rows` adds. A sample without
    missing cells gets its mean and covariance (divisor n - 1) and no iteration.
    """
    start = starting_values(moments, observed)

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        return (state[2] > 0) & (state[3] < settings.max_iter)

    def step(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        mean, cov, _, done = state
        new_mean, new_cov = em_step(mean, cov, moments, observed, settings.ridge, prior_rows)
        moved = jnp.sum(jnp.abs(new_mean - mean) > settings.tolerance)
        moved = moved + jnp.sum(jnp.triu(jnp.abs(new_cov - cov)) > settings.tolerance)
        return new_mean, new_cov, moved.astype(jnp.int32), done + 1

    incomplete = jnp.any(observed < 1.0, axis=1)
    n_incomplete = jnp.sum(jnp.where(incomplete, moments[:, 0, 0], 0.0))
    if prior_rows is not None:
        n_incomplete = n_incomplete + jnp.sum(prior_rows[1][prior_rows[3].rows])
    first = (n_incomplete > 0.0).astype(jnp.int32)
    zero = jnp.zeros((), jnp.int32)
    mean, cov, moved, done = lax.while_loop(unfinished, step, (*start, first, zero))
    return EmFit(mean, cov, done, moved == 0, least_eigenvalue_bound(cov))
