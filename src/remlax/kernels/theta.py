"""ThetaMap: theta, the factors Lambda that it fills, its canonical form, and the columns of Z in reversed order."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..shapes import Bool, Float, Int

# of theta and of many theta, on the host or on a device
Thetas = TypeVar("Thetas", Array, np.ndarray)


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
    def diagonal(self) -> Bool[np.ndarray, " d"]:
        """Boolean mask of the entries of theta on a diagonal of Lambda, shape (d,)."""
        return np.equal(self.row, self.col)

    def start(self) -> Float[np.ndarray, " d"]:
        """lme4's start: Lambda is the identity."""
        return self.diagonal.astype(np.float64)

    def entries(
        self, factor: int
    ) -> tuple[Int[np.ndarray, " entries"], Int[np.ndarray, " entries"], Int[np.ndarray, " entries"]]:
        """Return positions in theta, rows and columns of one factor's entries."""
        where = np.flatnonzero(np.asarray(self.factor) == factor)
        return where, np.asarray(self.row)[where], np.asarray(self.col)[where]

    def maps(self) -> tuple[Float[np.ndarray, "d _q _q"], ...]:
        """Lambda of every factor as a linear map: the sum of theta's entries times these, each (d, q, q)."""
        out = []
        for f, q in enumerate(self.q):
            where, row, col = self.entries(f)
            one = np.zeros((self.n_theta, q, q))
            one[where, row, col] = 1.0
            out.append(one)
        return tuple(out)

    def factors(self, theta: Float[Array, " d"]) -> tuple[Float[Array, "_q _q"], ...]:
        """Build Lambda of every factor from theta, each (q, q)."""
        out = []
        for f, q in enumerate(self.q):
            where, row, col = self.entries(f)
            out.append(jnp.zeros((q, q), theta.dtype).at[row, col].set(theta[where]))
        return tuple(out)


def mapped_factors(
    theta: Float[Array, " d"], maps: tuple[Float[Array, "d _q _q"], ...]
) -> tuple[Float[Array, "_q _q"], ...]:
    """Lambda of every factor, (q, q): the sum of theta's entries times its map (d, q, q)."""
    return tuple(jnp.einsum("a,aij->ij", theta, part) for part in maps)


def array_module(array: Array | np.ndarray) -> ModuleType:
    """NumPy for arrays of the host, jax.numpy for the others."""
    return np if isinstance(array, np.ndarray) else jnp


def canonical_theta(theta: Float[Thetas, "*k d"], theta_map: ThetaMap) -> Float[Thetas, "*k d"]:
    """Make the diagonal of every Lambda non-negative; a zero pivot becomes a zero column.

    The criterion depends on Lambda Lambda' only, so columns may change sign, and where a pivot is zero the columns
    may be rotated into each other.

    Parameters
    ----------
    theta : array (..., d)
        With JAX or NumPy.

    Returns
    -------
    array (..., d)
    """
    xp, entries = array_module(theta), list(zip(theta_map.factor, theta_map.row, theta_map.col, strict=True))
    diagonal = {(f, c): a for a, (f, r, c) in enumerate(entries) if r == c}
    pivot = theta[..., np.array([diagonal[f, c] for f, _, c in entries])]
    out: Thetas = theta * xp.where(pivot < 0, -xp.ones_like(pivot), xp.ones_like(pivot))
    for f, q in enumerate(theta_map.q):
        below = np.array([a for a, (g, r, c) in enumerate(entries) if g == f and r > c], int)
        rotate = xp.any((xp.abs(pivot[..., below]) < 1e-7) & (xp.abs(theta[..., below]) > 0), axis=-1)
        if not below.size or (xp is np and not rotate.any()):
            continue
        place = {(r, c): a for a, (g, r, c) in enumerate(entries) if g == f}
        none = xp.zeros_like(theta[..., 0])
        rows = [[theta[..., place[i, j]] if (i, j) in place else none for j in range(q)] for i in range(q)]
        lam = xp.stack([xp.stack(row, -1) for row in rows], -2)
        root = lower_root(lam @ xp.swapaxes(lam, -1, -2))
        turned = [root[..., r, c] if g == f else out[..., a] for a, (g, r, c) in enumerate(entries)]
        out = xp.where(rotate[..., None], xp.stack(turned, axis=-1), out)
    return out


def lower_root(square: Float[Thetas, "*k q q"]) -> Float[Thetas, "*k q q"]:
    """Lower-triangular root of positive semidefinite matrices (..., q, q); a zero pivot gives a zero column."""
    xp = array_module(square)
    q = square.shape[-1]
    floor = 1e-14 * xp.maximum(xp.max(xp.diagonal(square, axis1=-2, axis2=-1), axis=-1), 1e-300)
    columns: list[Any] = []
    for j in range(q):
        rest = square[..., :, j]
        for column in columns:
            rest = rest - column * column[..., j : j + 1]
        positive = (rest[..., j] > floor)[..., None]
        pivot = xp.where(positive, rest[..., j : j + 1], xp.ones_like(rest[..., :1]))
        kept = positive & (np.arange(q) >= j)
        columns.append(xp.where(kept, rest / xp.sqrt(pivot), xp.zeros_like(rest)))
    root: Thetas = xp.stack(columns, axis=-1)
    return root


def reversed_columns(theta_map: ThetaMap, factor: int) -> Int[np.ndarray, " q"]:
    """Columns of a factor in the opposite order within every term: a permutation (q,) that undoes itself."""
    _, rows, cols = theta_map.entries(factor)
    term = np.arange(theta_map.q[factor])
    for row, col in zip(rows, cols, strict=True):
        term[row] = min(term[row], term[col])
    out = np.arange(len(term))
    for t in np.unique(term):
        (own,) = np.nonzero(term == t)
        out[own] = own[::-1]
    return out


def reversed_theta(theta: Float[Thetas, "m d"], theta_map: ThetaMap) -> Float[Thetas, "m d"]:
    """Theta (m, d) of the same covariance with the columns reversed: P Lambda rotated to lower triangular form."""
    xp = array_module(theta)
    out = [theta[:, 0]] * theta_map.n_theta
    for f in range(len(theta_map.q)):
        places = {(int(r), int(c)): int(a) for a, r, c in zip(*theta_map.entries(f), strict=True)}
        order = reversed_columns(theta_map, f).tolist()
        lam = [{c: theta[:, a] for (r, c), a in places.items() if r == row} for row in order]
        for i in range(len(lam)):
            for j in [c for c in lam[i] if c > i]:
                _rotate(lam[i:], i, j)
            sign = xp.where(lam[i][i] < 0, -1.0, 1.0)
            for row in lam[i:]:
                if i in row:
                    row[i] = row[i] * sign
        for (r, c), a in places.items():
            out[a] = lam[r][c]
    theta_there: Thetas = xp.stack(out, axis=1)
    return theta_there


def _rotate(rows: list[dict[int, Any]], i: int, j: int) -> None:
    """Rotate columns i and j so that entry j of the first row vanishes (Golub & Van Loan, section 5.1.8)."""
    b = rows[0].pop(j)
    a = rows[0].get(i, 0.0 * b)
    xp = array_module(b)
    length = xp.hypot(a, b)
    safe = xp.where(length > 0, length, 1.0)
    c, s = xp.where(length > 0, a / safe, 1.0), b / safe
    rows[0][i] = length
    for row in rows[1:]:
        if i in row or j in row:
            first, second = row.get(i, 0.0 * b), row.get(j, 0.0 * b)
            row[i], row[j] = c * first + s * second, c * second - s * first
