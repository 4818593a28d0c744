"""What Kenward and Roger's method needs to know about one data set, from derivatives in the covariance parameters.

V is linear in the variances and covariances of the random effects and in sigma^2. The matrices P_i = -X'V^-1 V_i V^-1 X
and Q_ij = X'V^-1 V_i V^-1 V_j V^-1 X and the traces tr(V^-1 V_i V^-1 V_j) of Kenward & Roger (1997, Biometrics 53:983)
are then first and second derivatives of X'V^-1 X and of log|V|, and no n x n matrix is formed. The tangent of sigma^2
is exchanged for that of a common scale of V, which spans the same space and adds nothing to the adjustment.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..shapes import Float
from .problem import Problem
from .small import factor_inverse


class KenwardRogerParts(NamedTuple):
    """Pieces of the adjustment, conditioned coordinates, relative to sigma^2.

    cov (p, p): Phi = (X'V^-1 X)^-1; moved (r + 1, p, p): Phi P_i Phi of the scale and of every entry of theta's
    covariance; information (r + 1, r + 1): twice the expected REML information; second (r, r, p, p): second derivatives
    of X'V^-1 X, Q_ij + Q_ji.
    """

    cov: Float[Array, "p p"]
    moved: Float[Array, "pieces p p"]
    information: Float[Array, "pieces pieces"]
    second: Float[Array, "_pieces _pieces p p"]


def kenward_roger_parts(theta: Float[Array, " d"], problem: Problem[Any, Any]) -> KenwardRogerParts:
    """Differentiate log|V| and X'V^-1 X twice in the variances and covariances of the random effects.

    Parameters
    ----------
    theta : Array (d,)

    Returns
    -------
    KenwardRogerParts
    """
    theta_map, p = problem.structure.theta_map, problem.structure.n_fixed
    lams = theta_map.factors(theta)

    def parts(step: Array) -> tuple[Array, Array]:
        es = []
        for f, lam in enumerate(lams):
            where, row, col = theta_map.entries(f)
            half = jnp.zeros_like(lam).at[row, col].set(step[where])
            es.append(half + jnp.tril(half, -1).T)
        logdet, m = problem.marginal_near(lams, tuple(es))
        return logdet, m[:p, :p]

    def first(step: Array) -> tuple[tuple[Array, Array], tuple[tuple[Array, Array], tuple[Array, Array]]]:
        value, push = jax.linearize(parts, step)
        slope = jax.vmap(push)(jnp.eye(step.shape[0], dtype=step.dtype))
        return slope, (value, slope)

    zero = jnp.zeros_like(theta)
    # forward over forward: columns of the second derivatives stand in the last axis
    (bend, bend_xx), ((_, xx), (slope, slope_xx)) = jax.jacfwd(first, has_aux=True)(zero)
    bend_xx = jnp.moveaxis(bend_xx, 3, 1)
    _, half = factor_inverse(xx)
    cov = half.T @ half
    turned = jnp.einsum("ij,ajk->aik", cov, slope_xx)
    by_entry = -bend - jnp.einsum("ij,abji->ab", cov, bend_xx) + jnp.einsum("aij,bji->ab", turned, turned)
    by_scale = slope + jnp.einsum("aii->a", turned)
    corner = (problem.products.n_obs - problem.products.n_fixed)[None, None]
    information = jnp.block([[corner, by_scale[None]], [by_scale[:, None], (by_entry + by_entry.T) / 2]])
    moved = jnp.concatenate([-cov[None], jnp.einsum("aij,jk->aik", turned, cov)])
    return KenwardRogerParts(cov, moved, information, bend_xx)
