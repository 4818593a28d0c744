"""What Kenward and Roger's (1997) adjusted covariance needs of one data set."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from ..kernels.small import factor_inverse
from ..shapes import Float
from .criterion import columns_of, covariances, inverses, packed, parameters
from .parameters import LINEAR, sas_parameters
from .problem import Mmrm


def curvature_of_fixed(
    phi: Float[Array, " d"], weights: Float[Array, "d d"], problem: Mmrm, *, second: bool = False
) -> Float[Array, "p p"]:
    """Sum over covariance parameters of W_ij (Q_ij - R_ij / 4), in conditioned coordinates.

    Q_ij = X'V^-1 V_i V^-1 V_j V^-1 X and R_ij = X'V^-1 V_ij V^-1 X with V_i, V_ij derivatives of V. The sum of Q does
    not depend on the parameters that are chosen, that of R does: it is of SAS's.

    Parameters
    ----------
    phi : Array (d,)
    weights : Array (d, d)
        Covariance W of the covariance parameters.
    problem : Mmrm
    second : bool, default False
        Whether R is counted.
    """
    structure, own = problem.structure, parameters(phi, problem)
    g, e = structure.n_groups, structure.n_each
    within = jnp.einsum("gihj,gh->gij", weights.reshape(g, e, g, e), jnp.eye(g, dtype=weights.dtype))
    a = inverses(covariances(phi, problem), problem).a
    jac = jnp.moveaxis(jax.vmap(jax.jacfwd(structure.sigma))(own), -1, 1)
    left = jnp.einsum("gmts,gisu->gmitu", a, jac)
    right = jnp.einsum("gij,gjtu->gitu", within, jac)
    middle = jnp.einsum("gmitu,gmus,gisv,gmvw->gmtw", left, a, right, a)
    if second and structure.covariance not in LINEAR:
        middle = middle - a @ jax.vmap(_curved, in_axes=(0, 0, None))(own, within, problem)[:, None] @ a / 4
    p = structure.n_fixed
    return columns_of(jnp.einsum("gmp,gmpq->q", packed(middle), problem.products.moments), p + 1)[:p, :p]


def _curved(own: Array, weights: Array, problem: Mmrm) -> Array:
    """Sum of W_ij times the second derivatives of Sigma in SAS's parameters, (T, T).

    By the chain rule that in phi, less the first derivatives in SAS's parameters times their curvature in phi.
    """
    structure = problem.structure

    def natural(phi: Array) -> Array:
        return sas_parameters(structure.sigma(phi), structure.covariance)

    def curvature(of: Callable[[Array], Array]) -> Array:
        return jnp.einsum("...ij,ij->...", jax.jacfwd(jax.jacfwd(of))(own), weights)

    d_natural = jax.jacfwd(natural)(own)
    inverse = factor_inverse(d_natural.T @ d_natural)[1]
    moved = inverse.T @ (inverse @ (d_natural.T @ curvature(natural)))
    out: Array = curvature(structure.sigma) - jax.jacfwd(structure.sigma)(own) @ moved
    return out
