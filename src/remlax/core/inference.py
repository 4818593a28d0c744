"""What follows from a fitted theta, for one data set: coefficients, their covariance, conditional modes.

Conditional modes and variances come from derivatives of the criterion's own parts, so that one line of algebra serves
every structure: with v = (-beta, 1), d(v'Mv)/d(Z'y) = -2 b by the envelope theorem, and
d log|Lambda'Z'Z Lambda + I| / d(Z'Z) = Lambda (Lambda'Z'Z Lambda + I)^-1 Lambda'.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .criterion import assemble, degrees, expansion, value_grad_hess
from .factor import marginal
from .small import factor_inverse
from .structure import Index, Structure, Values

# M = [X y]'V^-1[X y] is left by a subtraction. Least sigma^2 over the residual variance of least squares, and least
# share of X'V^-1 X in any direction of X'X: the relative error of standard errors is about 1e-15 over the latter
LEAST_VARIANCE, LEAST_INFORMATION = 1e-9, 1e-10


class Solution(NamedTuple):
    """Estimates at one theta, in the conditioned coordinates of ``Values``.

    gamma (p,): coefficients; unscaled_cov (p, p): (X'V^-1 X)^-1; r2: penalised residual sum of squares;
    log_l2, log_rx2: log|L|^2 and log|RX|^2; value: criterion; finite: all of them are finite.
    """

    gamma: Array
    unscaled_cov: Array
    r2: Array
    sigma: Array
    log_l2: Array
    log_rx2: Array
    value: Array


def solve(theta: Array, structure: Structure, index: Index, values: Values) -> Solution:
    """Solve the penalised least-squares problem at theta."""
    logdet, m = marginal(theta, structure, index, values)
    return _solution(logdet, factor_inverse(m), structure, values)


def _solution(logdet: Array, factors: tuple[Array, Array], structure: Structure, values: Values) -> Solution:
    """Estimates from the Cholesky factor of M and its inverse."""
    chol, whole = factors
    p = chol.shape[0] - 1
    inverse = whole[:p, :p]
    r2 = chol[p, p] ** 2
    return Solution(
        gamma=inverse.T @ chol[p, :p],
        unscaled_cov=inverse.T @ inverse,
        r2=r2,
        sigma=jnp.sqrt(r2 / degrees(structure, values)),
        log_l2=logdet,
        log_rx2=2 * jnp.sum(jnp.log(jnp.diagonal(chol)[:p])),
        value=assemble(logdet, chol, structure, values),
    )


class Modes(NamedTuple):
    """Conditional modes of each factor (levels, q) and their variances over sigma^2 (levels, q, q)."""

    modes: tuple[Array, ...]
    variances: tuple[Array, ...]


def conditional_modes(theta: Array, gamma: Array, structure: Structure, index: Index, values: Values) -> Modes:
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

    def parts(zy: tuple[Array, ...], zz: tuple[Array, ...]) -> tuple[Array, Array]:
        shifted = _with_parts(values, zy, zz, structure)
        logdet, m = marginal(theta, structure, index, shifted)
        return logdet, v @ m @ v

    zy, zz = _parts_of(values, structure)
    _, pull = jax.vjp(parts, zy, zz)
    one, zero = jnp.ones((), gamma.dtype), jnp.zeros((), gamma.dtype)
    _, by_zz = pull((one, zero))
    by_zy, _ = pull((zero, one))
    if structure.crossed:
        return _crossed_modes(by_zy, by_zz, structure, index)
    return Modes(
        tuple(-0.5 * g.T for g in by_zy),
        tuple(jnp.moveaxis(g + jnp.swapaxes(g, 0, 1), 2, 0) / 2 for g in by_zz),
    )


def _parts_of(values: Values, structure: Structure) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    zy = tuple(part[:, -1] for part in values.zr)
    if not structure.crossed:
        return zy, values.zz
    assert values.dense_w is not None  # a crossed model has its dense part
    assert values.base is not None
    return (*zy, values.dense_w[:, -1]), (*values.zz, values.base)


def _with_parts(values: Values, zy: tuple[Array, ...], zz: tuple[Array, ...], structure: Structure) -> Values:
    k = len(values.zr)
    zr = tuple(part.at[:, -1].set(col) for part, col in zip(values.zr, zy[:k], strict=True))
    out = replace(values, zr=zr, zz=zz[:k])
    if structure.crossed:
        assert values.dense_w is not None  # a crossed model has its dense part
        out = replace(out, dense_w=values.dense_w.at[:, -1].set(zy[k]), base=zz[k])
    return out


def _crossed_modes(by_zy: tuple[Array, ...], by_zz: tuple[Array, ...], structure: Structure, index: Index) -> Modes:
    """Cut the dense block's derivatives into levels."""
    assert index.keys is not None  # a crossed Index has its keys
    modes = [-0.5 * by_zy[0].T]
    variances = [jnp.moveaxis(by_zz[0] + jnp.swapaxes(by_zz[0], 0, 1), 2, 0) / 2]
    size = structure.n_dense
    for start, levels, q in structure.dense_slices():
        modes.append(-0.5 * by_zy[1][start : start + levels * q].reshape(levels, q))
        first = start + jnp.arange(levels, dtype=index.keys.dtype)[:, None, None] * q
        row = first + jnp.arange(q, dtype=index.keys.dtype)[None, :, None]
        col = first + jnp.arange(q, dtype=index.keys.dtype)[None, None, :]
        flat = jnp.maximum(row, col) * size + jnp.minimum(row, col)
        found = by_zz[1][jnp.searchsorted(index.keys, flat.reshape(-1))].reshape(levels, q, q)
        # an off-diagonal key stands for two entries of the symmetric block
        variances.append(jnp.where((row == col), found, found / 2))
    return Modes(tuple(modes), tuple(variances))


class VarianceInformation(NamedTuple):
    """Second derivatives of the unprofiled deviance and first derivatives of vcov(beta) in (theta, log sigma).

    hess (d + 1, d + 1); d_cov (p, p, d + 1): derivatives of sigma^2 (X'V^-1 X)^-1, conditioned coordinates.
    """

    hess: Array
    d_cov: Array


def variance_information(theta: Array, structure: Structure, index: Index, values: Values) -> VarianceInformation:
    """Differentiate the unprofiled REML or ML deviance (Kuznetsova, Brockhoff & Christensen 2017, section 3.1).

    At sigma^2 = r2 / N, where profiling puts it, the unprofiled Hessian is the profiled one with sigma put back:
    its blocks are H + N s s', -2 N s and 4 N, with s the gradient of log r2.

    Parameters
    ----------
    theta : Array (d,)

    Returns
    -------
    VarianceInformation
        At theta and the sigma that maximises the likelihood given theta.
    """
    if structure.n_factors == 1:
        return solve_with_information(theta, structure, index, values)[1]

    def bordered(t: Array) -> Array:
        return marginal(t, structure, index, values)[1]

    m, push = jax.linearize(bordered, theta)
    d_m = jax.vmap(push)(jnp.eye(theta.shape[0], dtype=theta.dtype))
    n, p = degrees(structure, values), structure.n_fixed
    chol, whole = factor_inverse(m)
    inverse = whole[:p, :p]
    cov, r2 = inverse.T @ inverse, chol[p, p] ** 2
    v = jnp.concatenate([-inverse.T @ chol[p, :p], jnp.ones(1, m.dtype)])
    slope = jnp.einsum("x,axy,y->a", v, d_m, v) / r2

    profiled = value_grad_hess(theta, structure, index, values).hess
    d_cov = -jnp.einsum("ij,ajk,kl->ila", cov, d_m[:, :p, :p], cov)
    return _information(profiled, slope, d_cov, cov, r2, n)


def _information(profiled: Array, slope: Array, d_cov: Array, cov: Array, r2: Array, n: Array) -> VarianceInformation:
    """Put sigma back: ``profiled`` Hessian, slope of log r2 (d,), derivatives of the unscaled ``cov`` (p, p, d)."""
    by_theta = profiled + n * slope[:, None] * slope[None, :]
    cross = -2 * n * slope
    hess = jnp.block([[by_theta, cross[:, None]], [cross[None, :], 4 * n * jnp.ones((1, 1), cov.dtype)]])
    return VarianceInformation(hess, jnp.concatenate([d_cov, 2 * cov[:, :, None]], axis=2) * (r2 / n))


def solve_with_information(
    theta: Array, structure: Structure, index: Index, values: Values
) -> tuple[Solution, VarianceInformation]:
    """`solve` and `variance_information` together: for one grouping factor from a single evaluation.

    M = L L' and (-gamma, 1) L = (0, ..., 0, L_pp), so that with d_m = L^-1 dM L^-T the slope of log r2 is its last
    entry, and the derivative of (X'V^-1 X)^-1 = G'G is -G' d_m G with G the inverse of X's part of L.
    """
    if structure.n_factors > 1:
        return solve(theta, structure, index, values), variance_information(theta, structure, index, values)
    logdet, m = marginal(theta, structure, index, values)  # XLA sees that the expansion begins with the same
    factors = factor_inverse(m)
    solution = _solution(logdet, factors, structure, values)
    found = expansion(theta, structure, index, values, hessian=True)
    p, n = structure.n_fixed, degrees(structure, values)
    inverse = factors[1][:p, :p]
    d_cov = -jnp.einsum("ki,akl,lj->ija", inverse, found.d_m[:, :p, :p], inverse)
    return solution, _information(found.hess, found.d_m[:, p, p], d_cov, solution.unscaled_cov, solution.r2, n)


class Bordered(NamedTuple):
    """log|V| and M = [X y]'V^-1[X y] at one theta, with their derivatives.

    log_det scalar; m (w, w); d_log_det (d,); d_m (d, w, w), conditioned coordinates.
    """

    log_det: Array
    m: Array
    d_log_det: Array
    d_m: Array


def bordered_derivatives(theta: Array, structure: Structure, index: Index, values: Values) -> Bordered:
    """Differentiate what the deviance at any coefficients and any sigma is made of, forwards.

    With v = (-gamma, 1) that deviance is log|V| + v'Mv / sigma^2 + n log(2 pi sigma^2).
    """

    def parts(t: Array) -> tuple[Array, Array]:
        return marginal(t, structure, index, values)

    (log_det, m), push = jax.linearize(parts, theta)
    d_log_det, d_m = jax.vmap(push)(jnp.eye(theta.shape[0], dtype=theta.dtype))
    return Bordered(log_det, m, d_log_det, d_m)


def prediction_variances(
    theta: Array, select: tuple[Array, ...], structure: Structure, index: Index, values: Values
) -> tuple[Array, ...]:
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
    w = structure.n_fixed + 1
    solution = solve(theta, structure, index, values)
    given = conditional_modes(theta, solution.gamma, structure, index, values).variances

    def trace(zw: tuple[Array, ...]) -> Array:
        k = len(values.zr)
        zr = tuple(part.at[:, -w:].set(cols) for part, cols in zip(values.zr, zw, strict=False))
        shifted = replace(values, zr=zr)
        if structure.crossed:
            shifted = replace(shifted, dense_w=zw[k])
        return jnp.trace(marginal(theta, structure, index, shifted)[1])

    parts = tuple(part[:, -w:] for part in values.zr)
    if structure.crossed:
        assert values.dense_w is not None  # a crossed model has its dense part
        parts = (*parts, values.dense_w)
    grads = jax.grad(trace)(parts)
    moved = [jnp.moveaxis(-0.5 * g, 2, 0) for g in grads[: len(values.zr)]]
    for start, levels, q in structure.dense_slices() if structure.crossed else ():
        moved.append(-0.5 * grads[-1][start : start + levels * q].reshape(levels, q, w))
    out = []
    for variance, shift, chosen in zip(given, moved, select, strict=True):
        rows = chosen[None] - shift[:, :, :-1]
        out.append(variance + jnp.einsum("lip,pr,ljr->lij", rows, solution.unscaled_cov, rows))
    return tuple(out)
