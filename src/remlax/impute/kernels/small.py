"""Linear algebra of many small symmetric matrices, as vector operations over the batch.

LAPACK is called once per matrix, which for thousands of 3 x 3 matrices costs more than the arithmetic; and batched
calls can wait for each other for ever: see `kernels.small`, whose loops serve more than `UNROLLED` rows.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from ...kernels.small import factor_inverse, solve_lower

UNROLLED = 8


def whiten(a: Array) -> Array:
    """Inverse Cholesky factors R = L^-1 of a = L L' (..., d, d): R a R' = I and R'R = a^-1.

    By elimination on [a, I], one row at a time; NaN where a matrix is not positive definite.
    """
    d = a.shape[-1]
    if d > UNROLLED:
        return factor_inverse(a)[1]
    work: Array = jnp.concatenate([a, jnp.broadcast_to(jnp.eye(d, dtype=a.dtype), a.shape)], axis=-1)
    rows: list[Array] = []
    for j in range(d):
        row = work[..., :1, :] / jnp.sqrt(work[..., :1, j : j + 1])
        rows.append(row[..., d:])
        work = work[..., 1:, :] - row[..., j + 1 : d].mT * row
    inverse_factors: Array = jnp.concatenate(rows, axis=-2)
    return inverse_factors


def cholesky(a: Array) -> Array:
    """Lower Cholesky factors of a (..., d, d); NaN where a matrix is not positive definite."""
    d = a.shape[-1]
    if d > UNROLLED:
        return factor_inverse(a)[0]
    rows: list[Array] = []
    work = a
    for j in range(d):
        row = work[..., :1, :] / jnp.sqrt(work[..., :1, j : j + 1])
        rows.append(row)
        work = work[..., 1:, :] - row[..., j + 1 :].mT * row
    upper: Array = jnp.concatenate(rows, axis=-2)
    lower: Array = upper.mT
    return lower


def forward(factor: Array, right: Array) -> Array:
    """Solve L x = b for lower triangular L (..., d, d) and b (..., d, k)."""
    d = factor.shape[-1]
    if d > UNROLLED:
        return solve_lower(factor, right)
    rows: list[Array] = []
    for j in range(d):
        known = sum((factor[..., j : j + 1, i : i + 1] * rows[i] for i in range(j)), start=jnp.zeros((), right.dtype))
        rows.append((right[..., j : j + 1, :] - known) / factor[..., j : j + 1, j : j + 1])
    solution: Array = jnp.concatenate(rows, axis=-2)
    return solution


def inverse(a: Array) -> Array:
    """Inverses of symmetric positive definite matrices (..., d, d)."""
    root = whiten(a)
    product: Array = root.mT @ root
    return product


def kron(a: Array, b: Array) -> Array:
    """Kronecker products of a (..., r, r) and b (..., q, q): (..., r * q, r * q), a's index outside."""
    product = a[..., :, None, :, None] * b[..., None, :, None, :]
    size = a.shape[-1] * b.shape[-1]
    return product.reshape((*product.shape[:-4], size, size))
