"""The dense block of a crossed model: what is left of its other factors once the first is eliminated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..shapes import Float
from .problem import Structure


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
