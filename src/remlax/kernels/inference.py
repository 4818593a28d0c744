"""Coefficients, their covariance (Kenward and Roger's as well) and conditional modes of one data set at a theta.

Conditional modes and variances come from derivatives of the criterion's own parts, so that one line of algebra serves
every structure: with v = (-beta, 1), d(v'Mv)/d(Z'y) = -2 b by the envelope theorem, and
d log|Lambda'Z'Z Lambda + I| / d(Z'Z) = Lambda (Lambda'Z'Z Lambda + I)^-1 Lambda'.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..shapes import Float
from .criterion import assemble, expansion, marginal
from .problem import ConditionalModes, Problem, degrees
from .small import factor_inverse

# M = [X y]'V^-1[X y] is left by a subtraction. Least sigma^2 over the residual variance of least squares, and least
# share of X'V^-1 X in any direction of X'X: the relative error of standard errors is about 1e-15 over the latter
LEAST_VARIANCE, LEAST_INFORMATION = 1e-9, 1e-10


class Solution(NamedTuple):
    """Estimates at one theta, in the conditioned coordinates of `CrossProducts`.

    gamma (p,): coefficients; unscaled_cov (p, p): (X'V^-1 X)^-1; r2: penalised residual sum of squares;
    sigma; log_l2, log_rx2: log|L|^2 and log|RX|^2; value: criterion.
    """

    gamma: Float[Array, " p"]
    unscaled_cov: Float[Array, "p p"]
    r2: Float[Array, ""]
    sigma: Float[Array, ""]
    log_l2: Float[Array, ""]
    log_rx2: Float[Array, ""]
    value: Float[Array, ""]


def solve(theta: Float[Array, " d"], problem: Problem[Any, Any]) -> Solution:
    """Solve the penalised least-squares problem at theta."""
    logdet, m = marginal(theta, problem)
    return _solution(logdet, factor_inverse(m), problem)


def _solution(logdet: Array, factors: tuple[Array, Array], problem: Problem[Any, Any]) -> Solution:
    """Estimates from the Cholesky factor of M and its inverse."""
    chol, whole = factors
    p = chol.shape[0] - 1
    inverse = whole[:p, :p]
    r2 = chol[p, p] ** 2
    return Solution(
        gamma=inverse.T @ chol[p, :p],
        unscaled_cov=inverse.T @ inverse,
        r2=r2,
        sigma=jnp.sqrt(r2 / degrees(problem)),
        log_l2=logdet,
        log_rx2=2 * jnp.sum(jnp.log(jnp.diagonal(chol)[:p])),
        value=assemble(logdet, chol, problem),
    )


def conditional_modes(
    theta: Float[Array, " d"], gamma: Float[Array, " p"], problem: Problem[Any, Any]
) -> ConditionalModes:
    """Conditional modes and variances of the random effects given beta and theta (Bates et al. 2015, eq. 58).

    A level without rows has mode 0 and its prior variance.

    Parameters
    ----------
    theta : Array (d,)
    gamma : Array (p,)
        Coefficients in the conditioned coordinates.

    Returns
    -------
    Modes
        In units of the scaled response and scaled Z columns; the caller scales back.
    """
    v = jnp.concatenate([-gamma, jnp.ones(1, gamma.dtype)])
    zw, zz = problem.random_parts()

    def parts(zy: tuple[Array, ...], squares: tuple[Array, ...]) -> tuple[Array, Array]:
        columns = tuple(part.at[:, -1:].set(column) for part, column in zip(zw, zy, strict=True))
        logdet, m = marginal(theta, problem.with_random_parts(columns, squares))
        return logdet, v @ m @ v

    _, pull = jax.vjp(parts, tuple(part[:, -1:] for part in zw), zz)
    one, zero = jnp.ones((), gamma.dtype), jnp.zeros((), gamma.dtype)
    _, by_zz = pull((one, zero))
    by_zy, _ = pull((zero, one))
    return ConditionalModes(
        tuple(-0.5 * part[:, :, 0] for part in problem.by_level(by_zy)),
        problem.squares_by_level(by_zz),
    )


class VarianceInformation(NamedTuple):
    """Second derivatives of the unprofiled deviance and first derivatives of vcov(beta) in (theta, log sigma).

    hess (d + 1, d + 1); d_cov (p, p, d + 1): derivatives of sigma^2 (X'V^-1 X)^-1, conditioned coordinates.
    """

    hess: Float[Array, "d+1 d+1"]
    d_cov: Float[Array, "p p d+1"]


def solve_with_information(
    theta: Float[Array, " d"], problem: Problem[Any, Any]
) -> tuple[Solution, VarianceInformation]:
    """`solve`, and derivatives of the unprofiled REML or ML deviance (Kuznetsova, Brockhoff & Christensen 2017, 3.1).

    At sigma^2 = r2 / N, where profiling puts it, the unprofiled Hessian is the profiled one with sigma put back:
    its blocks are H + N s s', -2 N s and 4 N, with s the gradient of log r2.

    M = L L' and (-gamma, 1) L = (0, ..., 0, L_pp), so that with d_m = L^-1 dM L^-T the slope of log r2 is its last
    entry, and the derivative of (X'V^-1 X)^-1 = G'G is -G' d_m G with G the inverse of X's part of L.

    Parameters
    ----------
    theta : Array (d,)

    Returns
    -------
    Solution, VarianceInformation
        At theta and the sigma that maximises the likelihood given theta.
    """
    whole = expansion(theta, problem, hessian=True)
    factors = factor_inverse(whole.m)  # XLA sees that the expansion holds the same
    solution = _solution(whole.logdet, factors, problem)
    p, n = problem.structure.n_fixed, degrees(problem)
    inverse, slope, cov = factors[1][:p, :p], whole.d_m[:, p, p], solution.unscaled_cov
    d_cov = -jnp.einsum("ki,akl,lj->ija", inverse, whole.d_m[:, :p, :p], inverse)
    by_theta = whole.hess + n * slope[:, None] * slope[None, :]
    cross = -2 * n * slope
    hess = jnp.block([[by_theta, cross[:, None]], [cross[None, :], 4 * n * jnp.ones((1, 1), cov.dtype)]])
    d_cov = jnp.concatenate([d_cov, 2 * cov[:, :, None]], axis=2) * (solution.r2 / n)
    return solution, VarianceInformation(hess, d_cov)


def variance_information(theta: Float[Array, " d"], problem: Problem[Any, Any]) -> VarianceInformation:
    """Return the second part of `solve_with_information` alone."""
    return solve_with_information(theta, problem)[1]


class Bordered(NamedTuple):
    """log|V| and M = [X y]'V^-1[X y] at one theta, with their derivatives.

    log_det scalar; m (w, w); d_log_det (d,); d_m (d, w, w), conditioned coordinates.
    """

    log_det: Float[Array, ""]
    m: Float[Array, "w w"]
    d_log_det: Float[Array, " d"]
    d_m: Float[Array, "d w w"]


def bordered_derivatives(theta: Float[Array, " d"], problem: Problem[Any, Any]) -> Bordered:
    """Differentiate what the deviance at any coefficients and any sigma is made of, forwards.

    With v = (-gamma, 1) that deviance is log|V| + v'Mv / sigma^2 + n log(2 pi sigma^2).
    """
    (log_det, m), push = jax.linearize(lambda t: marginal(t, problem), theta)
    d_log_det, d_m = jax.vmap(push)(jnp.eye(theta.shape[0], dtype=theta.dtype))
    return Bordered(log_det, m, d_log_det, d_m)


def prediction_variances(
    theta: Float[Array, " d"], select: tuple[Float[Array, "_q p"], ...], problem: Problem[Any, Any]
) -> tuple[Float[Array, "_levels _q _q"], ...]:
    """Variances over sigma^2 of the errors b-hat - b + S (gamma-hat - gamma) of every level, (levels, q, q) per factor.

    With S = 0 this is Henderson's prediction error variance (Henderson 1975, Biometrics 31:423); with rows of S that
    pick coefficients it is the variance of coefficient + mode. Given gamma the error of b-hat has the conditional
    variance; gamma-hat moves b-hat by -P Z'X, which is half the derivative of tr M in Z'X.

    Parameters
    ----------
    theta : Array (d,)
    select : tuple of Array (q, p)
        S of each factor, conditioned coordinates.

    Returns
    -------
    tuple of Array (levels, q, q)
    """
    solution = solve(theta, problem)
    given = conditional_modes(theta, solution.gamma, problem).variances
    zw, zz = problem.random_parts()

    def trace(columns: tuple[Array, ...]) -> Array:
        return jnp.trace(marginal(theta, problem.with_random_parts(columns, zz))[1])

    out = []
    for variance, slope, chosen in zip(given, problem.by_level(jax.grad(trace)(zw)), select, strict=True):
        rows = chosen[None] + 0.5 * slope[:, :, :-1]
        out.append(variance + jnp.einsum("lip,pr,ljr->lij", rows, solution.unscaled_cov, rows))
    return tuple(out)


class KenwardRogerParts(NamedTuple):
    """Pieces of the adjustment of Kenward and Roger, conditioned coordinates, relative to sigma^2.

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

    Notes
    -----
    V is linear in the variances and covariances of the random effects and in sigma^2. The matrices
    P_i = -X'V^-1 V_i V^-1 X and Q_ij = X'V^-1 V_i V^-1 V_j V^-1 X and the traces tr(V^-1 V_i V^-1 V_j) of Kenward &
    Roger (1997, Biometrics 53:983) are then first and second derivatives of X'V^-1 X and of log|V|, and no n x n matrix
    is formed. The tangent of sigma^2 is exchanged for that of a common scale of V, which spans the same space and adds
    nothing to the adjustment.
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
    (curvature, curvature_xx), ((_, xx), (slope, slope_xx)) = jax.jacfwd(first, has_aux=True)(zero)
    curvature_xx = jnp.moveaxis(curvature_xx, 3, 1)
    _, half = factor_inverse(xx)
    cov = half.T @ half
    scaled = jnp.einsum("ij,ajk->aik", cov, slope_xx)
    by_entry = -curvature - jnp.einsum("ij,abji->ab", cov, curvature_xx) + jnp.einsum("aij,bji->ab", scaled, scaled)
    by_scale = slope + jnp.einsum("aii->a", scaled)
    corner = (problem.products.n_obs - problem.products.n_fixed)[None, None]
    information = jnp.block([[corner, by_scale[None]], [by_scale[:, None], (by_entry + by_entry.T) / 2]])
    moved = jnp.concatenate([-cov[None], jnp.einsum("aij,jk->aik", scaled, cov)])
    return KenwardRogerParts(cov, moved, information, curvature_xx)
