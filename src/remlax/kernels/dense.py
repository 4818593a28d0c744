"""The dense block of a crossed model, and root and inverse of one large matrix, in products of its blocks.

The block is what is left of the other factors once the first is eliminated.

Products run at the full speed of every device. LAPACK's factorisations do not, and called for several data sets at a
time they can wait for ever (see ``small``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..shapes import Float
from .problem import Structure
from .small import factor_inverse

# orders up to which one loop over the columns is quickest, and up to which one loop over blocks of about that order is
LEAF, ONE_LEVEL = 36, 400
# orders of the blocks of a matrix, and of the blocks of such a block
OUTER, INNER = 160, 32
# orders up to which, or parts of a matrix down to which, it is not worth to leave out a product with zeros
WHOLE, PARTS = 144, 4


@jax.custom_jvp
def inverse_root(a: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Inverse of the Cholesky factor of a symmetric matrix (n, n), whose lower triangle is read.

    Returns
    -------
    Array (n, n)
        L^-1 with a = L L'. Not finite where a is not positive definite.

    Notes
    -----
    Right-looking blocked factor (Golub & Van Loan, Matrix Computations, 4th ed., section 4.2.6), which turns the
    columns that are done into those of the inverse: n^3 operations. Loops with one body each, since every block that is
    written out would be compiled for itself.

    Examples
    --------
    >>> inverse_root(jnp.array([[4.0, 2.0], [2.0, 5.0]])).tolist()
    [[0.5, 0.0], [-0.25, 0.5]]
    """
    return _blocked(a, (INNER,) if a.shape[0] <= ONE_LEVEL else (OUTER, INNER))


def _blocked(a: Array, orders: tuple[int, ...]) -> Array:
    """Inverse root by blocks of about the first of these orders, whose own roots are found by blocks of the next."""
    size = a.shape[0]
    if size <= LEAF or not orders:
        return factor_inverse(a)[1]
    steps = -(-size // orders[0])
    order = -(-size // steps)
    padded = jnp.eye(steps * order, dtype=a.dtype).at[:size, :size].set(a)
    place = jnp.arange(steps * order)

    # rows above hold the inverse, those below what is left of a and, in the columns that are done, of the identity
    def step(k: Array, whole: Array) -> Array:
        at = k * order
        root = _blocked(lax.dynamic_slice(whole, (at, at), (order, order)), orders[1:])
        row = root @ jnp.where(place < at, lax.dynamic_slice(whole, (at, 0), (order, len(place))), 0.0)
        row = lax.dynamic_update_slice(row, root, (0, at))
        own = (place >= at) & (place < at + order)

        def below(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
            whole, right = state
            other = lax.dynamic_slice(whole, (i * order, 0), (order, len(place)))
            left = lax.dynamic_slice(other, (0, at), (order, order)) @ root.T
            right = lax.dynamic_update_slice(right, left.T, (0, i * order))
            other = jnp.where(own, 0.0, other) - left @ right
            return lax.dynamic_update_slice(whole, other, (i * order, 0)), right

        whole = lax.dynamic_update_slice(whole, row, (at, 0))
        after: Array = lax.fori_loop(k + 1, steps, below, (whole, row))[0]
        return after

    done: Array = lax.fori_loop(0, steps, step, padded)
    return done[:size, :size]


@inverse_root.defjvp
def _inverse_root_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (a,), (d_a,) = primals, tangents
    root = inverse_root(a)
    both = root @ d_a @ root.T
    # L^-1 dL is the lower triangle, with half of the diagonal
    lower = jnp.tril(both, -1) + jnp.diag(jnp.diagonal(both) / 2)
    return root, -lower @ root


def root_gram(root: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """R'R of a lower triangular matrix (n, n): of L^-1 it is the inverse of L L'.

    Examples
    --------
    >>> root_gram(jnp.array([[1.0, 0.0], [2.0, 3.0]])).tolist()
    [[5.0, 6.0], [6.0, 9.0]]
    """
    return _gram(root, max(WHOLE, root.shape[0] // PARTS))


def _gram(root: Array, whole: int) -> Array:
    size = root.shape[0]
    if size <= whole:
        return root.T @ root
    half = (size + 1) // 2
    first, below, second = root[:half, :half], root[half:, :half], root[half:, half:]
    corner = second.T @ below
    top = jnp.concatenate([_gram(first, whole) + below.T @ below, corner.T], axis=1)
    return jnp.concatenate([top, jnp.concatenate([corner, _gram(second, whole)], axis=1)])


@jax.custom_jvp
def log_det_and_form(
    a: Float[Array, "n n"], right: Float[Array, "n w"]
) -> tuple[Float[Array, ""], Float[Array, "w w"]]:
    """log|a| and right' a^-1 right of a positive definite matrix (n, n) and columns (n, w).

    Examples
    --------
    >>> log_det, form = log_det_and_form(jnp.array([[1.0, 0.0], [0.0, 4.0]]), jnp.array([[1.0], [2.0]]))
    >>> round(float(log_det), 4), form.tolist()
    (1.3863, [[2.0]])
    """
    root = inverse_root(a)
    half = root @ right
    return -2 * jnp.sum(jnp.log(jnp.diagonal(root))), half.T @ half


@log_det_and_form.defjvp
def _log_det_and_form_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (a, right), (d_a, d_right) = primals, tangents
    root = inverse_root(a)
    inverse = root_gram(root)
    x = inverse @ right
    moved = x.T @ d_right
    out = -2 * jnp.sum(jnp.log(jnp.diagonal(root))), right.T @ x
    return out, (jnp.sum(inverse * d_a), moved + moved.T - x.T @ d_a @ x)


@dataclass(frozen=True)
class CrossedStructure(Structure):
    """Static shape of a model with crossed factors: the first is eliminated, the others form one dense block."""

    @property
    def n_dense(self) -> int:
        """Order of the dense block."""
        return sum(q * m for q, m in zip(self.q[1:], self.n_levels[1:], strict=True))

    @property
    def n_numbers(self) -> int:
        """Numbers in the arrays that an elimination passes through."""
        return 3 * self.n_dense**2 + self.n_levels[0] * self.q[0] * (self.q[0] + self.n_fixed + 1)

    def dense_slices(self) -> list[tuple[int, int, int]]:
        """Return (start, levels, q) of each factor inside the dense block."""
        out, start = [], 0
        for q, levels in zip(self.q[1:], self.n_levels[1:], strict=True):
            out.append((start, levels, q))
            start += q * levels
        return out


class CrossedParts(NamedTuple):
    """What is left of a crossed model once its first factor is eliminated.

    block (n_dense, n_dense): Z'Z of the other factors, or Lambda'Z'Z Lambda + I; right (n_dense, w): Z'W, or
    Lambda'Z'W; m (w, w): W'W.
    """

    block: Float[Array, "... dense dense"]
    right: Float[Array, "... dense w"]
    m: Float[Array, "... w w"]


def scale_parts(
    parts: CrossedParts, lams: tuple[Float[Array, "_q _q"], ...], structure: CrossedStructure
) -> CrossedParts:
    """Lambda'Z'Z Lambda + I and Lambda'Z'W of the dense factors."""
    block, right = scale_block(parts.block, lams, structure), times_lambda(parts.right.T, lams, structure).T
    return CrossedParts(block + jnp.eye(structure.n_dense, dtype=block.dtype), right, parts.m)


def scale_block(
    block: Float[Array, "... dense dense"], lams: tuple[Float[Array, "_q _q"], ...], structure: CrossedStructure
) -> Float[Array, "dense dense"]:
    """Lambda' S Lambda of a symmetric matrix (n_dense, n_dense)."""
    return times_lambda(times_lambda(block, lams, structure).T, lams, structure)


def times_lambda(
    rows: Float[Array, "rows dense"], lams: tuple[Float[Array, "_q _q"], ...], structure: CrossedStructure
) -> Float[Array, "rows dense"]:
    """Multiply rows (k, n_dense) by the block-diagonal Lambda of the dense factors."""
    out = []
    for (start, levels, q), lam in zip(structure.dense_slices(), lams, strict=True):
        part = rows[:, start : start + levels * q]
        if q == 1:
            out.append(part * lam[0, 0])
        else:
            out.append((part.reshape(-1, q) @ lam).reshape(part.shape))
    return jnp.concatenate(out, axis=1)
