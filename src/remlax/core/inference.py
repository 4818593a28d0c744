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
from jax.scipy.linalg import solve_triangular

from .criterion import assemble, degrees
from .factor import marginal
from .structure import Index, Structure, Values


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
    chol = jnp.linalg.cholesky(m, symmetrize_input=False)
    p = m.shape[0] - 1
    inverse = solve_triangular(chol[:p, :p], jnp.eye(p, dtype=m.dtype), lower=True)
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


def variance_information(
    theta: Array, sigma: Array, structure: Structure, index: Index, values: Values
) -> VarianceInformation:
    """Differentiate the unprofiled REML or ML deviance (Kuznetsova, Brockhoff & Christensen 2017, section 3.1).

    Parameters
    ----------
    theta : Array (d,)
    sigma : Array, scalar
        Residual SD in units of the scaled response.

    Returns
    -------
    VarianceInformation
    """
    n, p = degrees(structure, values), structure.n_fixed

    def pieces(par: Array) -> tuple[Array, Array]:
        logdet, m = marginal(par[:-1], structure, index, values)
        chol = jnp.linalg.cholesky(m, symmetrize_input=False)
        pivots = jnp.log(jnp.diagonal(chol))
        fixed = 2 * jnp.sum(pivots[:-1]) if structure.reml else jnp.zeros((), m.dtype)
        r2 = jnp.exp(2 * pivots[-1])
        deviance = logdet + fixed + r2 * jnp.exp(-2 * par[-1]) + 2 * n * par[-1]
        inverse = solve_triangular(chol[:p, :p], jnp.eye(p, dtype=m.dtype), lower=True)
        return deviance, jnp.exp(2 * par[-1]) * (inverse.T @ inverse)

    par = jnp.concatenate([theta, jnp.log(sigma)[None]])
    hess = jax.jacfwd(jax.grad(lambda x: pieces(x)[0]))(par)
    d_cov = jax.jacfwd(lambda x: pieces(x)[1])(par)
    return VarianceInformation((hess + hess.T) / 2, d_cov)
