"""Variances of the errors of predictions as quadratic forms, with their derivatives: what the page makes limits of.

The variance of x'(beta-hat - beta) + z'(b-hat - b) is a quadratic form in (x, z), and so are its derivatives in the
variance parameters, of which Satterthwaite's degrees of freedom are made. Both are read off the variances that
`predict` computes of unit vectors and of their sums. Columns are centred before, so that large numbers do not cancel
in the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..fitting.assemble import z_columns
from ..fitting.glmm import GlmmFitted
from ..fitting.selection import Selection
from ..inference.satterthwaite import variance_covariance
from ..predict.newdata import FrameRows, PredictionRows
from ..predict.prediction import linear_predictor

# numbers in the page for the limits of chosen groups; beyond them a chosen group has none
MOST_NUMBERS = 60_000
DIGITS = 13


@dataclass(frozen=True, eq=False)
class ColumnBlock:
    """Columns that go together: those of X, or of the random terms of a factor.

    Parameters
    ----------
    constant : int
        Place of the column of ones, -1 without one.
    centre : ndarray (q,)
        Means of the columns, from which the others are counted; zeros without a constant.
    """

    constant: int
    centre: np.ndarray

    @classmethod
    def of(cls, columns: np.ndarray) -> ColumnBlock:
        """Block of columns (n, q)."""
        ones = np.flatnonzero((columns == 1.0).all(axis=0))
        if not len(ones):
            return cls(-1, np.zeros(columns.shape[1]))
        return cls(int(ones[0]), columns.mean(axis=0))

    def basis(self) -> np.ndarray:
        """Rows (q, q) in the columns' own units whose coordinates in the page are unit vectors."""
        out = np.eye(len(self.centre))
        if self.constant >= 0:
            out[self.constant] = self.centre
        return out

    def content(self) -> dict[str, Any]:
        """What goes into the page."""
        return {"constant": self.constant, "centre": self.centre.tolist()}


def limits_content(fits: Selection, dfcom: float | None) -> dict[str, Any]:
    """Quadratic forms of all blocks, and of every level where there are not too many.

    Parameters
    ----------
    dfcom : float, optional
        Complete-data degrees of freedom; Satterthwaite's unless given.
    """
    rows, layout, k = fits.rows, fits.model.layout, int(fits.index[0])
    z = z_columns(rows, layout, k)
    blocks = [ColumnBlock.of(rows.x.of(k)[:, fits.model.keep]), *(ColumnBlock.of(own) for own in z)]
    gaussian = not isinstance(fits.fitted, GlmmFitted)
    content: dict[str, Any] = {
        "dfcom": None if dfcom is None else "inf" if np.isinf(dfcom) else float(dfcom),
        "residual": (fits.fitted.sigma[fits.index] ** 2).tolist() if gaussian else None,
        "parameters": _short(np.nan_to_num(variance_covariance(fits))) if gaussian else None,
        "beta": fits.fitted.beta[fits.index].tolist(),
        "blocks": [],
        "levels": [],
    }
    for place, block in enumerate(blocks):
        basis = block.basis()
        n_levels = 0 if place == 0 else layout.factors[place - 1].n_levels
        forms = _forms(fits, blocks, place, basis, n_levels)
        content["blocks"].append(block.content() | {"forms": _short(forms)})
    numbers = content["blocks"][0]["forms"]
    for f, factor in enumerate(layout.factors):
        p, q = len(blocks[0].centre), len(blocks[1 + f].centre)
        size = factor.n_levels * (p * q + q * (q + 1) // 2) * len(numbers) * len(numbers[0])
        content["levels"].append(_levels(fits, blocks, f) if size <= MOST_NUMBERS else None)
    return content


def _levels(fits: Selection, blocks: list[ColumnBlock], f: int) -> dict[str, Any]:
    """Forms of (x, z) of every level of a factor without those of x alone, and its modes in every fit."""
    factor, bx, bz = fits.model.layout.factors[f], blocks[0].basis(), blocks[1 + f].basis()
    p, q, n = len(bx), len(bz), factor.n_levels
    level = np.repeat(np.arange(n), q)
    own = _values(fits, blocks, {1 + f: (np.tile(bz, (n, 1)), level)})
    scale = _scale(own[:, 0]).reshape(n, q)
    x_values = _values(fits, blocks, {0: (bx, np.zeros(p, int))})
    x_scale = _scale(x_values[:, 0])
    a, b = np.tril_indices(q, -1)
    sums = (bz * scale[:, :, None])[:, a] + (bz * scale[:, :, None])[:, b]
    both = _values(fits, blocks, {1 + f: (sums.reshape(-1, q), np.repeat(np.arange(n), len(a)))})
    i, c = np.divmod(np.arange(p * q), q)
    crossed = _values(
        fits,
        blocks,
        {
            0: (np.tile((bx * x_scale[:, None])[i], (n, 1)), np.zeros(n * p * q, int)),
            1 + f: ((bz * scale[:, :, None])[:, c].reshape(-1, q), np.repeat(np.arange(n), p * q)),
        },
    )
    own, both, crossed = (part.reshape(*part.shape[:2], n, -1) for part in (own, both, crossed))
    square = own * scale**2
    lower = (both - square[..., a] - square[..., b]) / (2 * scale[:, a] * scale[:, b])
    cross = (crossed - (x_values * x_scale**2)[:, :, None, i] - square[..., c]) / (2 * x_scale[i] * scale[:, c])
    triangle = np.zeros((*own.shape[:3], q, q))
    triangle[..., range(q), range(q)] = own
    triangle[..., a, b] = lower
    rows, columns = np.tril_indices(q)
    forms = np.concatenate([cross, triangle[..., rows, columns]], axis=3)
    modes = fits.fitted.factor_modes[f].modes[fits.index]
    return {"forms": _short(np.moveaxis(forms, 2, 0)), "modes": _short(np.moveaxis(modes, 1, 0))}


def _forms(fits: Selection, blocks: list[ColumnBlock], place: int, basis: np.ndarray, code: int) -> np.ndarray:
    """Lower triangles (K, 1 + r, q (q + 1) / 2), row by row, of the form of one block and of its derivatives."""
    q = len(basis)
    own = _values(fits, blocks, {place: (basis, np.full(q, code))})
    scale = _scale(own[:, 0])
    a, b = np.tril_indices(q, -1)
    scaled = basis * scale[:, None]
    both = _values(fits, blocks, {place: (scaled[a] + scaled[b], np.full(len(a), code))})
    square = own * scale**2
    triangle = np.zeros((*own.shape[:2], q, q))
    triangle[..., range(q), range(q)] = own
    triangle[..., a, b] = (both - square[..., a] - square[..., b]) / (2 * scale[a] * scale[b])
    rows, columns = np.tril_indices(q)
    return np.asarray(triangle[..., rows, columns])


def _scale(variances: np.ndarray) -> np.ndarray:
    """Factors that bring rows to a variance of about 1, from variances (K, R)."""
    mean = variances.mean(axis=0)
    return 1 / np.sqrt(np.where(mean > 0, mean, 1.0))


def _values(fits: Selection, blocks: list[ColumnBlock], at: dict[int, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Variance and its derivatives (K, 1 + r, R) of rows that are zero but in some blocks, with codes of levels."""
    n = len(next(iter(at.values()))[0])
    if not n:
        empty = linear_predictor(fits, _rows(blocks, {0: (blocks[0].basis()[:1], np.zeros(1, int))}))
        return np.zeros((fits.n_sets, 1 + empty.gradient.shape[2], 0))
    found = linear_predictor(fits, _rows(blocks, at))
    return np.concatenate([found.variance[:, None], np.moveaxis(found.gradient, 2, 1)], axis=1)


def _rows(blocks: list[ColumnBlock], at: dict[int, tuple[np.ndarray, np.ndarray]]) -> PredictionRows:
    n = len(next(iter(at.values()))[0])
    none = [(np.zeros((n, len(block.centre))), np.full(n, -1)) for block in blocks]
    each = [at.get(place, otherwise) for place, otherwise in enumerate(none)]
    frame = FrameRows(
        each[0][0], tuple(z for z, _ in each[1:]), tuple(codes for _, codes in each[1:]), np.zeros(n), np.ones(n)
    )
    return PredictionRows((frame,), pd.RangeIndex(n), tuple(("new",) for _ in blocks[1:]))


def _short(values: np.ndarray) -> Any:
    """Nested lists of numbers with as many digits as limits need."""
    flat = [float(f"{value:.{DIGITS}g}") for value in np.asarray(values, float).ravel()]
    return np.array(flat).reshape(np.shape(values)).tolist()
