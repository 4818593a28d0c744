"""Diagonal: one response under a model with one variance beside the residual's, where its covariance is diagonal.

With X taken away by a projection Q, V = Q + theta^2 Q Z Z' Q has the eigenvectors of Z'QZ for all responses alike, so
that the criterion and its derivatives are sums over the eigenvalues. No matrix depends on the response (Kang et al.
2008, Genetics 178:1709; Lippert et al. 2011, Nat. Methods 8:833).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..kernels.criterion import Derivatives
from ..kernels.problem import Stackable, Structure
from ..shapes import Float

# as in `moment_start`
LEAST_START = 0.1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DiagonalProducts:
    """What one response adds (a leading axis of responses when stacked).

    Parameters
    ----------
    squares : Array (e,)
        Its squares along the eigenvectors at theta = 0; 0 where the eigenvalue is.
    ww : Array (1, 1)
        Sum of its squares in all other directions.
    n_obs : Array, scalar
        n - p under REML, n under ML.
    constant : Array, scalar
        What the criterion has that does not depend on theta.
    """

    squares: Float[Array, "*k e"]
    ww: Float[Array, "*k 1 1"]
    n_obs: Float[Array, "*k"]
    constant: Float[Array, "*k"]


class Eigenvalues(NamedTuple):
    """Eigenvalues of Z'QZ (e,), and those that the determinant has: the same under REML, of Z'Z under ML."""

    projected: Float[Array, " e"]
    determinant: Float[Array, " e"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Diagonal(Stackable):
    """One response; what all share is the index."""

    structure: Structure = field(metadata={"static": True})
    products: DiagonalProducts
    index: Eigenvalues


@dataclass(frozen=True)
class DiagonalDeviance:
    """The profiled REML or ML deviance as a criterion of theta (1,)."""

    def start(self, problem: Diagonal) -> Float[Array, " 1"]:
        """Moment estimate: a square c of eigenvalue s has the mean sigma^2 (1 + theta^2 s)."""
        own, values = problem.products, problem.index.projected
        there = jnp.where(values > 0, jnp.ones_like(values), jnp.zeros_like(values))
        squares = there * own.squares
        # sigma^2 is at most that of least squares
        sigma2 = (jnp.sum(squares) + own.ww[0, 0]) / own.n_obs
        used = jnp.sum(there)
        within = own.ww[0, 0] / jnp.maximum(own.n_obs - used, 1.0)
        sigma2 = jnp.where(own.n_obs > used, jnp.minimum(within, sigma2), sigma2)
        ratio = jnp.sum(values * (squares / sigma2 - there)) / jnp.sum(values * values)
        return jnp.sqrt(jnp.maximum(ratio, LEAST_START**2))[None]

    def derivatives(self, at: Float[Array, " 1"], problem: Diagonal) -> Derivatives:
        """Value, gradient and Hessian."""
        own, theta = problem.products, at[0]
        t = theta * theta
        share = 1.0 / (1.0 + t * problem.index.projected)
        slope, log_share = problem.index.projected * share, problem.index.determinant
        log_slope = log_share / (1.0 + t * log_share)
        squares = own.squares * share
        r2 = own.ww[0, 0] + jnp.sum(squares)
        first = -jnp.sum(squares * slope) / r2
        second = 2 * jnp.sum(squares * slope * slope) / r2
        by_t = jnp.sum(log_slope) + own.n_obs * first
        by_tt = own.n_obs * (second - first * first) - jnp.sum(log_slope * log_slope)
        value = jnp.sum(jnp.log1p(t * log_share)) + own.n_obs * jnp.log(r2) + own.constant
        hess = 2 * by_t + 4 * t * by_tt
        return Derivatives(value, (2 * theta * by_t)[None], hess[None, None])

    def value_and_grad(self, at: Float[Array, " 1"], problem: Diagonal) -> tuple[Array, Array]:
        """Value and gradient."""
        found = self.derivatives(at, problem)
        return found.value, found.grad
