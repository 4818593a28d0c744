"""Estimates of a fitted data set in the units of its columns, and Rubin's rules, inside a compiled program.

Axes: K imputations, p coefficients, d entries of theta.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..shapes import Bool, Float
from . import inference
from .cross_products import Rotation
from .problem import Problem
from .restarts import on_boundary
from .small import small_eigh
from .theta import canonical_theta

# as in the fits of one list: eigenvalues of the information below this share of the largest carry none
EIGEN_TOL = 1e-10


class Estimates(NamedTuple):
    """Estimates of one data set, in the units of its columns: beta, variance, df (p,); Lambda sigma; sigma; singular.

    exact: V is so large that its inverse leaves nothing of the response or of a column of X: no residual variance.
    """

    beta: Float[Array, " p"]
    variance: Float[Array, " p"]
    df: Float[Array, " p"]
    roots: tuple[Float[Array, "_q _q"], ...]
    sigma: Float[Array, ""]
    singular: Bool[Array, ""]
    exact: Bool[Array, ""]


class Pooled(NamedTuple):
    """Rubin's rules for each coefficient by itself: all (p,)."""

    estimate: Float[Array, " p"]
    std_error: Float[Array, " p"]
    df: Float[Array, " p"]
    fmi: Float[Array, " p"]


def estimate(
    theta: Float[Array, " d"],
    rotation: Rotation,
    z_scale: tuple[Float[Array, " _q"], ...],
    problem: Problem[Any, Any],
    *,
    satterthwaite: bool,
) -> Estimates:
    """Estimates at theta (d,).

    Parameters
    ----------
    theta : Array (d,)
    rotation : Rotation
    z_scale : tuple of Array (q,)
        What the columns of Z were divided by, per factor.
    satterthwaite : bool
        Degrees of freedom by Satterthwaite (Giesbrecht & Burns 1985), or else n - p.

    Returns
    -------
    Estimates
    """
    theta_map, products = problem.structure.theta_map, problem.products
    theta = canonical_theta(theta, theta_map)
    if satterthwaite:
        solution, information = inference.solve_with_information(theta, problem)
    else:
        solution = inference.solve(theta, problem)
    sigma = solution.sigma * rotation.y_scale
    beta = rotation.ols + rotation.inverse @ solution.gamma * rotation.y_scale
    unscaled = jnp.einsum("ia,ab,ib->i", rotation.inverse, solution.unscaled_cov, rotation.inverse)
    df = jnp.full(beta.shape, products.n_obs - products.n_fixed)
    if satterthwaite:
        slopes = jnp.einsum("ia,abt,ib->it", rotation.inverse, information.d_cov, rotation.inverse)
        variance = unscaled * solution.sigma**2
        spread = jnp.einsum("is,st,it->i", slopes, twice_pseudo_inverse(information.hess), slopes)
        df = 2 * variance**2 / spread
    largest = jnp.max(jnp.diagonal(solution.unscaled_cov), initial=0.0)
    exact = (solution.sigma**2 < inference.LEAST_VARIANCE) | (largest > 1 / inference.LEAST_INFORMATION)
    lams = theta_map.factors(theta)
    return Estimates(
        beta=beta,
        variance=unscaled * sigma**2,
        df=df,
        roots=tuple(lam / scale[:, None] * sigma for lam, scale in zip(lams, z_scale, strict=True)),
        sigma=sigma,
        singular=on_boundary(theta[None], theta_map)[0],
        exact=exact,
    )


def twice_pseudo_inverse(hess: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """2 H^+ of a Hessian of the deviance, directions without information left out."""
    scale = jnp.sqrt(jnp.maximum(jnp.abs(jnp.diagonal(hess)), 1e-300))
    outer = scale[:, None] * scale[None, :]
    size, vectors = small_eigh(hess / outer)
    keep = size > EIGEN_TOL * size[-1]
    inverse = jnp.where(keep, 1.0 / jnp.where(keep, size, jnp.ones_like(size)), jnp.zeros_like(size))
    doubled: Array = 2 * (vectors * inverse[None, :]) @ vectors.T / outer
    return doubled


def rubin(estimates: Float[Array, "m p"], variances: Float[Array, "m p"], dfcom: Float[Array, " p"]) -> Pooled:
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
