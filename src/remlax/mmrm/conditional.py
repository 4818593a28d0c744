"""Coefficients given covariance parameters, without derivatives."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..kernels.small import factor_inverse
from ..shapes import Float
from .criterion import columns_of, covariances, inverses, packed
from .problem import Mmrm


class Conditional(NamedTuple):
    """Coefficients of one data set at some covariance parameters, in conditioned coordinates.

    gamma (p,); root (p, p): its transpose times itself is their covariance; sigma (g, T, T).
    """

    gamma: Float[Array, " p"]
    root: Float[Array, "p p"]
    sigma: Float[Array, "g T T"]


def conditional(phi: Float[Array, " d"], problem: Mmrm) -> Conditional:
    """Generalised least squares at given covariance parameters."""
    given, p = problem.products, problem.structure.n_fixed
    sigma = covariances(phi, problem)
    m = columns_of(jnp.einsum("gmp,gmpq->q", packed(inverses(sigma, problem).a), given.moments), p + 1)
    m = m.at[np.arange(p), np.arange(p)].add(given.padded)
    chol, inverse = factor_inverse(m)
    root = inverse[:p, :p]
    return Conditional(root.T @ chol[p, :p], root, sigma)
