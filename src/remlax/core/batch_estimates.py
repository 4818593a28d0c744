"""From fitted lanes to coefficients, standard errors and degrees of freedom, and Rubin's rules: pure JAX.

Axes: m lanes, K imputations, p coefficients, d entries of theta.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from . import inference
from .batch_eigen import small_eigh
from .batch_queue import BOUNDARY, LaneFit, lanes_at_once
from .crossprod import Rotation
from .structure import Index, Structure, ThetaMap, Values

# as in the fits of one list: eigenvalues of the information below this share of the largest carry none
EIGEN_TOL = 1e-10


class LaneEstimates(NamedTuple):
    """Estimates of one lane, in the units of its columns: beta, variance, df (p,); Lambda sigma; sigma; singular.

    exact: V is so large that its inverse leaves nothing of the response or of a column of X: no residual variance.
    """

    beta: Array
    variance: Array
    df: Array
    roots: tuple[Array, ...]
    sigma: Array
    singular: Array
    exact: Array


class Pooled(NamedTuple):
    """Rubin's rules for each coefficient by itself: all (p,)."""

    estimate: Array
    std_error: Array
    df: Array
    fmi: Array


def estimate_lanes(
    fit: LaneFit,
    rotation: Rotation,
    z_scale: tuple[Array, ...],
    structure: Structure,
    index: Index,
    values: Values,
    *,
    satterthwaite: bool,
) -> LaneEstimates:
    """Estimates of every lane at its theta; every array has a leading lane axis.

    Parameters
    ----------
    fit : LaneFit
    rotation : Rotation
        Of every lane.
    z_scale : tuple of Array (m, q)
        What the columns of Z were divided by, per factor.
    satterthwaite : bool
        Degrees of freedom by Satterthwaite (Giesbrecht & Burns 1985), or else n - p.

    Returns
    -------
    LaneEstimates
    """

    def one(lane: tuple[Array, Rotation, tuple[Array, ...], Values]) -> LaneEstimates:
        theta, turn, scales, own = lane
        return _estimate(theta, turn, scales, structure, index, own, satterthwaite=satterthwaite)

    found: LaneEstimates = lax.map(one, (fit.theta, rotation, z_scale, values), batch_size=_even_share(values))
    return found


def _even_share(values: Values) -> int:
    """Largest divisor of the number of lanes that fits the cache: a remainder would compile everything again."""
    m, most = values.n_obs.shape[0], lanes_at_once(values)
    return next(size for size in range(most, 0, -1) if m % size == 0)


def _estimate(
    theta: Array,
    rotation: Rotation,
    z_scale: tuple[Array, ...],
    structure: Structure,
    index: Index,
    values: Values,
    *,
    satterthwaite: bool,
) -> LaneEstimates:
    theta = canonical(theta, structure.theta_map)
    if satterthwaite:
        solution, information = inference.solve_with_information(theta, structure, index, values)
    else:
        solution = inference.solve(theta, structure, index, values)
    sigma = solution.sigma * rotation.y_scale
    beta = rotation.ols + rotation.inverse @ solution.gamma * rotation.y_scale
    unscaled = jnp.einsum("ia,ab,ib->i", rotation.inverse, solution.unscaled_cov, rotation.inverse)
    df = jnp.full(beta.shape, values.n_obs - values.n_fixed)
    if satterthwaite:
        slopes = jnp.einsum("ia,abt,ib->it", rotation.inverse, information.d_cov, rotation.inverse)
        variance = unscaled * solution.sigma**2
        spread = jnp.einsum("is,st,it->i", slopes, twice_pseudo_inverse(information.hess), slopes)
        df = 2 * variance**2 / spread
    largest = jnp.max(jnp.diagonal(solution.unscaled_cov), initial=0.0)
    exact = (solution.sigma**2 < inference.LEAST_VARIANCE) | (largest > 1 / inference.LEAST_INFORMATION)
    lams = structure.theta_map.factors(theta)
    return LaneEstimates(
        beta=beta,
        variance=unscaled * sigma**2,
        df=df,
        roots=tuple(lam / scale[:, None] * sigma for lam, scale in zip(lams, z_scale, strict=True)),
        sigma=sigma,
        singular=jnp.any(jnp.abs(theta[np.flatnonzero(structure.theta_map.diagonal)]) < BOUNDARY),
        exact=exact,
    )


def twice_pseudo_inverse(hess: Array) -> Array:
    """2 H^+ of a Hessian of the deviance, directions without information left out."""
    scale = jnp.sqrt(jnp.maximum(jnp.abs(jnp.diagonal(hess)), 1e-300))
    outer = scale[:, None] * scale[None, :]
    size, vectors = small_eigh(hess / outer)
    keep = size > EIGEN_TOL * size[-1]
    inverse = jnp.where(keep, 1.0 / jnp.where(keep, size, jnp.ones_like(size)), jnp.zeros_like(size))
    doubled: Array = 2 * (vectors * inverse[None, :]) @ vectors.T / outer
    return doubled


def canonical(theta: Array, theta_map: ThetaMap) -> Array:
    """Make the diagonal of every Lambda non-negative; a zero pivot becomes a zero column."""
    out = theta
    for f, lam in enumerate(theta_map.factors(theta)):
        where, row, col = theta_map.entries(f)
        diagonal = jnp.diagonal(lam)
        turned = lam * jnp.where(diagonal < 0, -jnp.ones_like(diagonal), jnp.ones_like(diagonal))[None, :]
        below = jnp.sum(jnp.abs(jnp.tril(lam, -1)), axis=0)
        rotate = jnp.any((jnp.abs(diagonal) < 1e-7) & (below > 0))
        chosen = jnp.where(rotate, _lower_root(lam @ lam.T), turned)
        out = out.at[where].set(chosen[row, col])
    return out


def _lower_root(square: Array) -> Array:
    """Lower-triangular root of a positive semidefinite matrix (q, q); a zero pivot gives a zero column."""
    q = square.shape[0]
    floor = 1e-14 * jnp.maximum(jnp.max(jnp.diagonal(square)), 1e-300)
    root = jnp.zeros_like(square)
    for j in range(q):
        rest = square[:, j] - root @ root[j]
        positive = rest[j] > floor
        column = rest / jnp.sqrt(jnp.where(positive, rest[j], jnp.ones_like(rest[j])))
        column = jnp.where(positive, column, jnp.zeros_like(column))
        root = root.at[j:, j].set(column[j:])
    return root


def rubin(estimates: Array, variances: Array, dfcom: Array) -> Pooled:
    """Pool K estimates of p coefficients (Rubin 1987; Barnard & Rubin 1999); K = 1 is a single fit.

    Parameters
    ----------
    estimates, variances : Array (K, p)
    dfcom : Array (p,)
        Complete-data degrees of freedom.

    Returns
    -------
    Pooled
        For K = 1 the estimate itself with ``dfcom`` degrees of freedom, and no fraction of missing information.
    """
    m = estimates.shape[0]
    if m == 1:
        return Pooled(estimates[0], jnp.sqrt(variances[0]), dfcom, jnp.full_like(dfcom, jnp.nan))
    # deviations from the first imputation: identical imputations vary by exactly zero
    shifted = estimates - estimates[:1]
    mean = jnp.mean(shifted, axis=0)
    between = jnp.sum((shifted - mean[None]) ** 2, axis=0) / (m - 1)
    within = jnp.mean(variances, axis=0)
    extra = (1 + 1 / m) * between
    total = within + extra
    share, rest = extra / total, within / total
    observed = jnp.where(jnp.isinf(dfcom), 0.0, (1 + 2 / (dfcom + 1)) / dfcom / rest)
    df = 1 / (share**2 / (m - 1) + observed)
    return Pooled(estimates[0] + mean, jnp.sqrt(total), df, share + 2 / (df + 3) * rest)
