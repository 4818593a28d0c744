"""REML criterion or ML deviance of the covariance parameters, with exact gradient and Hessian: no patients, no rows.

With A_m the inverse of the rows and columns of Sigma that pattern m has, zeros elsewhere, and M = sum A_m : S_m,

    criterion = sum n_m log|Sigma_m| + log|M_xx| + (M_yy - M_yx M_xx^-1 M_xy) + (n - p) log 2 pi

(without the second term and with n for ML). Derivatives are taken in the entries of Sigma and carried to phi by the
chain rule, so that a structure is nothing but its Sigma(phi).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..kernels.criterion import LOG_2PI, Derivatives
from ..kernels.small import factor_inverse
from ..shapes import Float
from .problem import Mmrm, orders, pairs, places


class Inverses(NamedTuple):
    """Sigma of every group and pattern: a (g, m, T, T), zero outside the pattern; logdet (g, m)."""

    a: Float[Array, "g m T T"]
    logdet: Float[Array, "g m"]


class Coefficients(NamedTuple):
    """Coefficients and their covariance at some covariance parameters, in conditioned coordinates.

    gamma (p,); cov (p, p): M_xx^-1; turned (d, p, p): derivatives of M_xx times cov.
    """

    gamma: Float[Array, " p"]
    cov: Float[Array, "p p"]
    turned: Float[Array, "d p p"]

    def moved(self) -> Float[Array, "d p p"]:
        """Derivatives of cov."""
        return -jnp.einsum("ij,djk->dik", self.cov, self.turned)


def parameters(phi: Float[Array, " d"], problem: Mmrm) -> Float[Array, "g e"]:
    """Parameters of every group."""
    structure = problem.structure
    return phi.reshape(structure.n_groups, structure.n_each)


def covariances(phi: Float[Array, " d"], problem: Mmrm) -> Float[Array, "g T T"]:
    """Sigma of every group."""
    return jax.vmap(problem.structure.sigma)(parameters(phi, problem))


def inverses(sigma: Float[Array, "g T T"], problem: Mmrm) -> Inverses:
    """Invert Sigma pattern by pattern."""
    seen = problem.index
    both = (seen[:, :, None] * seen[:, None, :])[None]
    absent = jax.vmap(jnp.diag)(1 - seen)[None]
    factor, inverse = factor_inverse(sigma[:, None] * both + absent)
    logdet = 2 * jnp.sum(jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)), axis=-1)
    return Inverses(jnp.swapaxes(inverse, -1, -2) @ inverse * both, logdet)


def packed(a: Float[Array, "*c T T"]) -> Float[Array, "*c P"]:
    """Entries of symmetric matrices by pairs of visits."""
    first, second = pairs(a.shape[-1])
    return a[..., first, second]


def columns_of(by_pair: Float[Array, "*c Q"], width: int) -> Float[Array, "*c w w"]:
    """Symmetric matrices over the columns [X y]."""
    return by_pair[..., places(width)]


def evaluate(phi: Float[Array, " d"], problem: Mmrm) -> tuple[Derivatives, Coefficients]:
    """Criterion, gradient and Hessian in phi, and the coefficients there."""
    structure, given = problem.structure, problem.products
    own = parameters(phi, problem)
    jac = jnp.moveaxis(jax.vmap(jax.jacfwd(structure.sigma))(own), -1, 1)
    found = inverses(covariances(phi, problem), problem)
    p = structure.n_fixed
    m = columns_of(jnp.einsum("gmp,gmpq->q", packed(found.a), given.moments), p + 1)
    m = m.at[np.arange(p), np.arange(p)].add(given.padded)
    chol, inverse = factor_inverse(m)
    root = inverse[:p, :p]
    cov, gamma = root.T @ root, root.T @ chol[p, :p]
    value = jnp.sum(given.counts * found.logdet) + _border_value(chol, problem)
    slope = _slope(cov, gamma, reml=structure.reml)
    slopes, kernels = _in_sigma(found, slope, problem)
    left = jnp.einsum("gmts,gdsu->gmdtu", found.a, jac)
    moved_m = -jnp.einsum(
        "gmdp,gmpq->gdq", packed(jnp.einsum("gmdtu,gmus->gmdts", left, found.a)), given.moments
    ).reshape(structure.n_parameters, -1)
    curved = jnp.einsum("gmdtu,gmus->gdts", left, kernels)
    own_blocks = jnp.einsum("gdts,gets->gde", curved + jnp.swapaxes(curved, -1, -2), jac)
    own_blocks = own_blocks + _second(own, slopes, problem)
    d_m = columns_of(moved_m, p + 1)
    turned = (d_m[:, :p, :p].reshape(-1, p) @ cov).reshape(-1, p, p)
    residual = (d_m[:, :p, p] - d_m[:, :p, :p] @ gamma) @ root.T
    hess = _on_diagonal(own_blocks) - _border_curvature(turned, residual, reml=structure.reml)
    grad = jnp.einsum("gdts,gts->gd", jac, slopes).reshape(-1)
    return Derivatives(value, grad, (hess + hess.T) / 2), Coefficients(gamma, cov, turned)


def deviance_given(sigma: Float[Array, "g T T"], gamma: Float[Array, " p"], problem: Mmrm) -> Float[Array, ""]:
    """-2 log L at given covariance matrices of the scaled response and coefficients, in conditioned coordinates."""
    given = problem.products
    found, weights = inverses(sigma, problem), jnp.append(-gamma, 1.0)
    m = columns_of(jnp.einsum("gmp,gmpq->q", packed(found.a), given.moments), len(weights))
    constants = given.constant_ml + given.n_obs * (LOG_2PI + given.log_scale)
    out: Array = jnp.sum(given.counts * found.logdet) + weights @ m @ weights + constants
    return out


def _border_value(chol: Array, problem: Mmrm) -> Array:
    """log|M_xx| (REML), the residual sum of squares, and what does not depend on phi."""
    given, reml = problem.products, problem.structure.reml
    n = given.n_obs - given.n_fixed if reml else given.n_obs
    fixed = 2 * jnp.sum(jnp.log(jnp.diagonal(chol)[:-1])) + given.constant if reml else given.constant_ml
    return fixed + chol[-1, -1] ** 2 + n * (LOG_2PI + given.log_scale)


def _slope(cov: Array, gamma: Array, *, reml: bool) -> Array:
    """Derivative of what depends on M, (w, w)."""
    out = jnp.outer(weights := jnp.append(-gamma, 1.0), weights)
    return out.at[:-1, :-1].add(cov) if reml else out


def _in_sigma(found: Inverses, slope: Array, problem: Mmrm) -> tuple[Array, Array]:
    """Derivative (g, T, T) in the entries of Sigma, and matrices F (g, m, T, T) of its own derivatives.

    In a direction J of Sigma, M held, it changes by the sum over patterns of A J F and its transpose.
    """
    given, n_visits = problem.products, problem.structure.n_visits
    by_pair = jnp.einsum("gmpq,q->gmp", given.moments, slope[pairs(len(slope))] * orders(len(slope)))
    b = (by_pair / orders(n_visits)[None, None])[..., places(n_visits)]
    own, counts = found.a @ b @ found.a, given.counts[..., None, None]
    return jnp.sum(counts * found.a - own, axis=1), own - counts * found.a / 2


def _second(own: Array, slopes: Array, problem: Mmrm) -> Array:
    """Second derivatives of Sigma(phi), weighted with the derivative in its entries, (g, e, e)."""

    def weighted(phi: Array, weight: Array) -> Array:
        return jnp.sum(weight * problem.structure.sigma(phi))

    out: Array = jax.vmap(jax.hessian(weighted))(own, slopes)
    return out


def _on_diagonal(blocks: Array) -> Array:
    """Block-diagonal matrix of (g, e, e)."""
    g, e, _ = blocks.shape
    return jnp.einsum("gij,gh->gihj", blocks, jnp.eye(g, dtype=blocks.dtype)).reshape(g * e, g * e)


def _border_curvature(turned: Array, residual: Array, *, reml: bool) -> Array:
    """What the curvature in M takes from the Hessian: tr(dM Phi dM Phi) under REML and 2 (dM c)'Phi (dM c)."""
    out = 2 * residual @ residual.T
    if not reml:
        return out
    d = len(turned)
    return out + turned.reshape(d, -1) @ jnp.swapaxes(turned, 1, 2).reshape(d, -1).T
