"""Columns inside the fit: centred and scaled, with the way back to the user's columns, effects and theta.

An unstructured term is equivariant: Z b = (Z T)(T^-1 b), so that (1 + x | g) is the same model whatever constant is
taken from x, with T^-1 Lambda, made triangular again, for Lambda. Far from zero the user's columns are all but
collinear, and their cross-products would not tell the slope from the intercept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from ..data.checks import sum_of_squares
from ..design.rows import RowMatrix
from ..kernels.structured.parameters import CovarianceStructure

# a column whose mean is more than this many SDs from zero is centred
FAR = 10.0
# an SD below this share of the mean is rounding error
CONSTANT = 1e-12
# residual of a combination of columns that is the constant
IS_ONE = 1e-10
# columns that are nearer to collinear than this, once centred, are made orthogonal
NEARLY_COLLINEAR = 0.05
# pivot of a triangular root, relative to its row, that is zero
ZERO_PIVOT = 1e-14


@dataclass(frozen=True, eq=False)
class Units:
    """The random-effects columns of one grouping factor inside: Z turn / scale.

    Parameters
    ----------
    scale : ndarray (q,)
    turn : ndarray (q, q), optional
        Block diagonal by term; None leaves the columns where they are.
    """

    scale: np.ndarray
    turn: np.ndarray | None = None

    @property
    def outside(self) -> np.ndarray:
        """Matrix (q, q) from effects inside to the user's."""
        return np.asarray((np.eye(len(self.scale)) if self.turn is None else self.turn) / self.scale)

    @property
    def inside(self) -> np.ndarray:
        """Matrix (q, q) from the user's effects to those inside."""
        back = np.eye(len(self.scale)) if self.turn is None else np.linalg.inv(self.turn)
        return np.asarray(self.scale[:, None] * back)

    def columns(self, z: np.ndarray) -> np.ndarray:
        """Columns (n, q) inside from the user's."""
        return np.asarray((z if self.turn is None else z @ self.turn) / self.scale)

    def effects(self, b: np.ndarray) -> np.ndarray:
        """Effects (..., q) of the user's columns from those inside."""
        b = b / self.scale
        return b if self.turn is None else np.asarray(b @ self.turn.T)

    def variances(self, v: np.ndarray) -> np.ndarray:
        """Covariance matrices (..., q, q) of the user's effects from those inside."""
        v = v / (self.scale[:, None] * self.scale[None, :])
        return v if self.turn is None else np.asarray(self.turn @ v @ self.turn.T)


def random_units(
    terms: Sequence[RowMatrix], squares: Sequence[np.ndarray], structures: Sequence[CovarianceStructure | None]
) -> tuple[list[RowMatrix], Units]:
    """Centre and scale the columns of one grouping factor, so that covariance structures stay what they are.

    Parameters
    ----------
    terms : sequence of RowMatrix
        Columns of its terms.
    squares : sequence of ndarray (q,)
        Their mean squares.
    structures : sequence of CovarianceStructure or None
        Columns of a term that has one are not centred, and have one scale where they have one SD.

    Returns
    -------
    columns : list of RowMatrix
        Columns of its terms inside, not yet divided by the scale.
    units : Units
    """
    free = [structure is None for structure in structures]
    turns = [_turn(matrix, square) if own else None for matrix, square, own in zip(terms, squares, free, strict=True)]
    one_sd = [structure is not None and structure.hom for structure in structures]
    squares = [
        np.full_like(square, square.mean()) if own else square for square, own in zip(squares, one_sd, strict=True)
    ]
    if all(turn is None for turn in turns):
        return list(terms), Units(np.sqrt(np.concatenate(squares)))
    columns = [matrix if turn is None else turned(matrix, turn) for matrix, turn in zip(terms, turns, strict=True)]
    blocks = [np.eye(len(square)) if turn is None else turn for turn, square in zip(turns, squares, strict=True)]
    sizes = [
        square if turn is None else mean_squares(matrix)
        for matrix, square, turn in zip(columns, squares, turns, strict=True)
    ]
    scale = np.sqrt(np.concatenate(sizes))
    return columns, Units(scale, scipy.linalg.block_diag(*blocks))


def _turn(matrix: RowMatrix, square: np.ndarray) -> np.ndarray | None:
    """What centres the columns of a term; polynomials of what was far from zero are made orthogonal as well."""
    if len(square) == 1:
        return None
    turn = centring(matrix, square)[0]
    if turn is None or len(square) == 2:
        return turn
    again = _orthogonal(matrix.of(0) @ turn)
    return turn if again is None else turn @ again


def centring(matrix: RowMatrix, square: np.ndarray) -> tuple[np.ndarray | None, float]:
    """Find what takes the means from columns that are far from zero, where the others hold the constant.

    Parameters
    ----------
    matrix : RowMatrix
    square : ndarray (q,)
        Mean squares of its columns.

    Returns
    -------
    turn : ndarray (q, q) or None
        The centred columns are those of the matrix times this; None where there is nothing to do.
    noise : float
        Rounding error of the centred columns, relative to their SD.
    """
    columns = matrix.columns()
    mean = np.array([np.add.reduce(column) / len(column) for column in columns])
    far, noise = np.zeros(len(columns), dtype=bool), 0.0
    for j in np.flatnonzero(square * FAR**2 < mean**2 * (FAR**2 + 1)):
        sd = float(np.std(columns[j]))
        if sd > CONSTANT * abs(mean[j]):
            far[j], noise = True, max(noise, float(np.finfo(float).eps * abs(mean[j]) / sd))
    if not far.any():
        return None, 0.0
    one = constant_of(matrix.select(np.flatnonzero(~far).tolist()).of(0))
    if one is None:
        return None, 0.0
    turn = np.eye(len(columns))
    turn[np.ix_(~far, far)] = -np.outer(one, mean[far])
    return turn, noise


def mean_squares(matrix: RowMatrix) -> np.ndarray:
    """Mean square of every column over all data sets."""
    return np.array([sum_of_squares(column) / len(column) for column in matrix.columns()])


def turned(matrix: RowMatrix, turn: np.ndarray) -> RowMatrix:
    """Columns of the matrix times turn; those that stay are shared with it."""
    columns, own, place = matrix.columns(), list(matrix.own), list(matrix.place)
    for j, by in enumerate(turn.T):
        if by[j] == 1 and np.count_nonzero(by) == 1:
            continue
        total = np.zeros(matrix.offsets[-1])
        # its own column first: what is subtracted from it then costs no digit
        for i in sorted(np.flatnonzero(by).tolist(), key=lambda i: i != j):
            total.reshape(-1, len(columns[i]))[:] += by[i] * columns[i]
        place[j] = (True, len(own))
        own.append(total)
    return RowMatrix(matrix.shared, tuple(own), tuple(place), matrix.offsets)


def turned_term(matrix: RowMatrix, unit: Units, columns: slice) -> RowMatrix:
    """Columns inside of one term, not yet divided by the scale."""
    return matrix if unit.turn is None else turned(matrix, unit.turn[columns, columns])


def constant_of(columns: np.ndarray) -> np.ndarray | None:
    """Coefficients (q,) that make the columns (n, q) a constant one; None where there are none."""
    if not columns.shape[1]:
        return None
    out = np.zeros(columns.shape[1])
    alone = np.flatnonzero((np.ptp(columns, axis=0) == 0) & (columns[0] != 0))
    if len(alone):
        out[alone[0]] = 1 / columns[0, alone[0]]
        return out
    out = np.linalg.lstsq(columns, np.ones(len(columns)), rcond=None)[0]
    return out if np.max(np.abs(columns @ out - 1)) < IS_ONE else None


def _orthogonal(columns: np.ndarray) -> np.ndarray | None:
    """Find what makes nearly collinear columns (n, q) orthogonal; None for others and for dependent ones."""
    size = np.linalg.norm(columns, axis=0)
    r = np.linalg.qr(columns / size, mode="r")
    pivots = np.abs(np.diag(r))
    if len(r) < len(size) or pivots.min() > NEARLY_COLLINEAR or pivots.min() < CONSTANT:
        return None
    return np.asarray(np.linalg.inv(r / np.diag(r)[:, None]) / size[:, None])


def triangular(root: np.ndarray) -> np.ndarray:
    """Lower-triangular matrices L (K, q, q) with L L' = M M', diagonal not negative, of M (K, q, q).

    By orthogonalising the rows of M, so that it costs no digits where M M' would; a row that those above determine
    gets a zero pivot and a column of zeros.
    """
    out, basis = np.zeros_like(root), np.zeros_like(root)
    for j in range(root.shape[1]):
        left = root[:, j].copy()
        for _ in range(2):  # twice is enough
            for i in range(j):
                along = np.einsum("kc,kc->k", left, basis[:, i])
                out[:, j, i] += along
                left -= along[:, None] * basis[:, i]
        size = np.linalg.norm(left, axis=1)
        # written so that NaN stays
        size = np.where(size <= ZERO_PIVOT * np.linalg.norm(root[:, j], axis=1), 0.0, size)
        out[:, j, j] = size
        basis[:, j] = left / np.where(size == 0, np.inf, size)[:, None]
    return out
