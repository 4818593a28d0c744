"""Moments of all data sets: rows in conditioned coordinates, summed pattern by pattern in products of matrices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...design.build import ModelRows
from ...engine.batch import n_cores
from ...engine.rows import map_threads
from ...memory import check_room
from ...mmrm.problem import pairs, places
from .visits import Visits

# numbers of the rows that are worked on at once
BLOCK_NUMBERS = 2**20


@dataclass(frozen=True, eq=False)
class RowRotation:
    """What takes the columns of every data set to conditioned coordinates.

    turn (p, p): what centres the fixed columns, if anything; inverse (K, p, p) and ols (K, p) of those; y_scale (K,).
    """

    turn: np.ndarray | None
    inverse: np.ndarray
    ols: np.ndarray
    y_scale: np.ndarray


def sum_moments(
    rows: ModelRows, visits: Visits, keep: np.ndarray, by: RowRotation, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sum the moments of all data sets.

    Parameters
    ----------
    rows : ModelRows
    visits : Visits
    keep : ndarray of int (p,)
        Fixed columns in the model.
    by : RowRotation
    width : int
        Columns w of [X y] with padding, which stands before y.

    Returns
    -------
    moments : ndarray (K, g, m, P, Q)
        See `mmrm.problem.Moments`.
    counts : ndarray (K, g, m)

    Raises
    ------
    ModelSizeError
    """
    n_sets, n_visits, n_patterns = rows.n_sets, len(visits.names), len(visits.masks)
    shape = (n_sets, visits.n_groups, n_patterns, len(pairs(n_visits)[0]), len(pairs(width)[0]))
    what = f"the moments of {n_patterns} patterns of {n_visits} visits and {len(keep)} coefficients"
    several = f" in {n_sets} data sets" if n_sets > 1 else ""
    check_room(2 * int(np.prod(shape, dtype=float)), what + several, "use fewer coefficients, or fit fewer data sets")
    moments, counts = np.zeros(shape), np.zeros(shape[:3])
    np.add.at(counts, (visits.data_set, visits.group, visits.pattern), 1.0)
    each = max(1, int(BLOCK_NUMBERS * n_sets // max(1, rows.offsets[-1] * width)))
    blocks = [slice(first, min(first + each, n_sets)) for first in range(0, n_sets, each)]
    map_threads(lambda i: _add_block(moments, rows, visits, keep, by, blocks[i]), len(blocks), n_cores())
    return moments, counts


def _add_block(
    moments: np.ndarray, rows: ModelRows, visits: Visits, keep: np.ndarray, by: RowRotation, sets: slice
) -> None:
    """Sum the moments of some data sets that follow each other."""
    first = rows.offsets[sets.start]
    conditioned = _conditioned(rows, keep, by, sets)
    patients = np.arange(visits.offsets[sets.start], visits.offsets[sets.stop])
    width, n = _width(moments), len(keep) + 1
    column = np.r_[np.arange(n - 1), width - 1]
    a, b = pairs(n)
    at_columns = places(width)[column[a], column[b]]
    for g in range(visits.n_groups):
        for m, mask in enumerate(visits.masks):
            own = patients[(visits.pattern[patients] == m) & (visits.group[patients] == g)]
            if not len(own):
                continue
            seen = np.flatnonzero(mask)
            at = visits.order[visits.start[own][:, None] + np.arange(len(seen))] - first
            sums = _products(conditioned[at], visits.data_set[own] - sets.start, sets.stop - sets.start)
            i, j = pairs(len(seen))
            both = np.take(sums, _place(i, a, j, b, n, len(seen)), axis=1)
            other = i != j
            both[:, other] += np.take(sums, _place(j[other], a, i[other], b, n, len(seen)), axis=1)
            at_visits = places(len(mask))[seen[i], seen[j]]
            moments[sets, g, m, at_visits[:, None], at_columns] = both


def _place(i: np.ndarray, a: np.ndarray, j: np.ndarray, b: np.ndarray, n: int, t: int) -> np.ndarray:
    """Where the sums over [i, a] and [j, b] stand, of t visits and n columns: (visit pairs, column pairs)."""
    return np.asarray((i[:, None] * n + a) * (t * n) + j[:, None] * n + b)


def _width(moments: np.ndarray) -> int:
    """Columns from pairs of columns."""
    return int((np.sqrt(8 * moments.shape[-1] + 1) - 1) / 2)


def _products(values: np.ndarray, data_set: np.ndarray, n_sets: int) -> np.ndarray:
    """Sums over the patients of every data set of products of their rows: (patients, t, w) to (K, t w t w)."""
    n, t, w = values.shape
    flat = values.reshape(n, t * w)
    ends = np.cumsum(np.bincount(data_set, minlength=n_sets))
    out = np.empty((n_sets, t * w, t * w))
    for k, (end, own) in enumerate(zip(ends, np.diff(ends, prepend=0), strict=True)):
        # the product of a matrix with itself costs half of what other products cost
        part = flat[end - own : end]
        np.matmul(part.T, part, out=out[k])
    return out.reshape(n_sets, -1)


def _conditioned(rows: ModelRows, keep: np.ndarray, by: RowRotation, sets: slice) -> np.ndarray:
    """Rows (n, p + 1) of [X y] of some data sets in conditioned coordinates, times the roots of their weights."""
    first, p = rows.offsets[sets.start], len(keep)
    out = np.empty((rows.offsets[sets.stop] - first, p + 1))
    for k in range(sets.start, sets.stop):
        x, y = rows.x.of(k)[:, keep], rows.y.of(k)
        if by.turn is not None:
            x = x @ by.turn
        if rows.offset is not None:
            y = y - rows.offset.of(k)
        own = out[rows.offsets[k] - first : rows.offsets[k + 1] - first]
        own[:, :p] = x @ by.inverse[k]
        own[:, p] = (y - x @ by.ols[k]) / by.y_scale[k]
        if rows.weights is not None:
            own *= np.sqrt(rows.weights.of(k))[:, None]
    return out
