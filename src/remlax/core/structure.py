"""What all lanes share (structure, index arrays) and what differs by lane (values)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import Array


def host_leaf(values: npt.ArrayLike) -> Array:
    """Hold a NumPy array where a jax Array is declared: it stays on the host until a compiled program takes it."""
    return cast(Array, np.asarray(values))


def grid(n: int, least: int = 1, steps: int = 2) -> int:
    """Round up to a geometric grid of ``steps`` sizes per octave, so that shapes are rarely new.

    Parameters
    ----------
    n : int
    least : int, default 1
        Smallest size.
    steps : int, default 2
        Sizes per octave, a power of two; more of them waste less work on padding.
    """
    if n <= least:
        return least
    unit = max(1, 2 ** int(np.ceil(np.log2(n))) // (2 * steps))
    return int(-(-n // unit) * unit)


@dataclass(frozen=True)
class ThetaMap:
    """Map from theta to the relative covariance factors Lambda, one per grouping factor.

    Entry ``a`` of theta stands at ``(row[a], col[a])`` of the lower-triangular
    ``Lambda`` of grouping factor ``factor[a]``. Factors are numbered in elimination
    order; theta itself is in lme4's order (terms by decreasing number of levels,
    each term's lower triangle column by column).

    Parameters
    ----------
    q : tuple of int
        Number of random-effect columns of each factor.
    factor, row, col : tuple of int, length d
    """

    q: tuple[int, ...]
    factor: tuple[int, ...]
    row: tuple[int, ...]
    col: tuple[int, ...]

    @property
    def n_theta(self) -> int:
        """Length d of theta."""
        return len(self.row)

    @property
    def diagonal(self) -> np.ndarray:
        """Boolean mask of the entries of theta on a diagonal of Lambda, shape (d,)."""
        return np.equal(self.row, self.col)

    def start(self) -> np.ndarray:
        """lme4's start: Lambda is the identity."""
        return self.diagonal.astype(np.float64)

    def entries(self, factor: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return positions in theta, rows and columns of one factor's entries."""
        where = np.flatnonzero(np.asarray(self.factor) == factor)
        return where, np.asarray(self.row)[where], np.asarray(self.col)[where]

    def factors(self, theta: Array) -> tuple[Array, ...]:
        """Build Lambda of every factor from theta, each (q, q)."""
        out = []
        for f, q in enumerate(self.q):
            where, row, col = self.entries(f)
            out.append(jnp.zeros((q, q), theta.dtype).at[row, col].set(theta[where]))
        return tuple(out)


@dataclass(frozen=True)
class Structure:
    """The static shape of a model: the compile key, shared by all lanes.

    Parameters
    ----------
    theta_map : ThetaMap
    n_levels : tuple of int
        Padded number of levels per factor, in elimination order.
    n_fixed : int
        Padded number p of fixed columns.
    crossed : bool
        False: every factor is nested in the next and all are eliminated one after the other.
        True: the first factor is eliminated, the others form one dense block.
    reml : bool
        REML (True) or maximum likelihood.
    """

    theta_map: ThetaMap
    n_levels: tuple[int, ...]
    n_fixed: int
    crossed: bool = False
    reml: bool = True

    @property
    def q(self) -> tuple[int, ...]:
        """Random-effect columns per factor."""
        return self.theta_map.q

    @property
    def n_factors(self) -> int:
        """Number of grouping factors."""
        return len(self.q)

    @property
    def n_dense(self) -> int:
        """Order of the dense block (0 for a chain)."""
        return sum(q * m for q, m in zip(self.q[1:], self.n_levels[1:], strict=True)) if self.crossed else 0

    def dense_slices(self) -> list[tuple[int, int, int]]:
        """Return (start, levels, q) of each factor inside the dense block."""
        out, start = [], 0
        for q, levels in zip(self.q[1:], self.n_levels[1:], strict=True):
            out.append((start, levels, q))
            start += q * levels
        return out


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Index:
    """Integer arrays that say which levels meet; the same for all lanes when the groups are.

    Parameters
    ----------
    ancestors : tuple of tuple of Array
        Chain: ``ancestors[f][g - f - 1][l]`` is the level of factor g that holds level l of factor f.
    entry_level, entry_col : Array (E,)
        Crossed: entry e is the block Z_1' Z_c of a level of the first factor and a dense column c.
    pair_left, pair_right, pair_key : Array (P,)
        Crossed: the pairs of entries that meet in one level, and the entry of the dense block
        (an index into ``keys``) that they update.
    keys : Array (U,)
        Crossed: flat positions, in the lower triangle of the dense block, that are not always zero.
    """

    ancestors: tuple[tuple[Array, ...], ...] = ()
    entry_level: Array | None = None
    entry_col: Array | None = None
    pair_left: Array | None = None
    pair_right: Array | None = None
    pair_key: Array | None = None
    keys: Array | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Values:
    """Conditioned cross-products of one data set (a leading lane axis when stacked).

    X is rotated to an orthonormal basis, y replaced by its scaled least-squares residual and each column of Z
    divided by its root mean square; w = p + 1 columns W = [X y].

    Parameters
    ----------
    zz : tuple of Array
        Z_f'Z_f per level, (q, q, levels); for a crossed model the first factor only.
    zr : tuple of Array
        Z_f'[Z_g ... W] per level, (q, r, levels), g the coarser factors of a chain.
    ww : Array (w, w)
        W'W with a unit diagonal in padded columns.
    entry : Array (E, q) or None
        Crossed: Z_1'Z_c for every entry.
    base : Array (U,) or None
        Crossed: the dense Z_2'Z_2 at ``Index.keys``.
    dense_w : Array (n_dense, w) or None
        Crossed: Z_2'W.
    n_obs, n_fixed : Array, scalar
        Rows and fixed columns as numbers (padding does not count).
    constant : Array, scalar
        What conditioning took out of the criterion: -sum(log w) + 2 log|R| for REML.
    constant_ml : Array, scalar
        The same for ML: -sum(log w).
    log_scale : Array, scalar
        log of the square of the scale taken out of y.
    """

    zz: tuple[Array, ...]
    zr: tuple[Array, ...]
    ww: Array
    n_obs: Array
    n_fixed: Array
    constant: Array
    constant_ml: Array
    log_scale: Array
    entry: Array | None = None
    base: Array | None = None
    dense_w: Array | None = None
