"""Separation: whether the likelihood of the fixed part rises without end in some direction, decided exactly.

Along a direction delta the log-density of a row rises or stays as it is where a'delta >= 0, and falls without end
otherwise: a = x for a one of a binary response, -x for a zero of it or of a count; k of n with 0 < k < n and positive
counts need x'delta = 0 (Albert & Anderson 1984, Biometrika 71). A row of an ordinal response stands between two
thresholds, which move too. Since the marginal likelihood averages over the random effects, which such a direction does
not touch, it rises as well. Whether there is a direction with some a'delta > 0 is a linear programme (Konis 2007, DPhil
thesis, Oxford).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...errors import shortened
from ...glmm.families import Family

# share of its length below which a direction counts as one that rows do not see
NULL = 1e-9
# coefficients this small beside the largest one do not move
STILL = 1e-6


@dataclass(frozen=True)
class Separation:
    """A data set whose likelihood has no maximum.

    Parameters
    ----------
    columns : tuple of str
        Coefficients, and thresholds of an ordinal response, that go to infinity.
    reason : str
        A sentence for the caller.
    """

    columns: tuple[str, ...]
    reason: str


def find_separation(
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    family: Family,
    names: tuple[str, ...],
    label: object,
    levels: tuple[str, ...] = (),
) -> Separation | None:
    """Find out whether a combination of the fixed columns separates the outcome of a data set.

    Parameters
    ----------
    x : ndarray (n, p)
        Fixed columns.
    y : ndarray (n,)
        Response as in `GlmmResponse`: a proportion, a count or the code of a category.
    weight : ndarray (n,)
        Rows of weight zero are left out.
    family : Family
    names : tuple of str
        Of the p columns.
    label : object
        The data set, for the sentence.
    levels : tuple of str, optional
        Categories of an ordinal response.

    Returns
    -------
    Separation or None
        None where the likelihood has a maximum over the coefficients, whatever the variances; always for a gamma
        response.

    Examples
    --------
    >>> x = np.column_stack([np.ones(4), [1.0, 2.0, 3.0, 4.0]])
    >>> y = np.array([0.0, 0.0, 1.0, 1.0])
    >>> found = find_separation(x, y, np.ones(4), Family("binomial", "logit"), ("(Intercept)", "x"), 3)
    >>> found.columns
    ('(Intercept)', 'x')
    """
    x, y = x[weight > 0], y[weight > 0]
    if family.name == "gamma" or not len(y) or not (x.shape[1] or family.name == "ordinal"):
        return None
    if family.name == "ordinal":
        absent = [name for code, name in enumerate(levels) if not (y == code).any()]
        if absent and len(absent) < len(levels) - 1:
            reason = f"no row of data set {label} has the response {shortened(map(repr, absent))}"
            return Separation((), f"{reason}: no maximum of the likelihood exists")
        names = (*names, *(f"{a}|{b}" for a, b in pairwise(levels)))
        rising, level = _between_thresholds(x, y, family.n_shape), np.empty((0, len(names)))
    elif family.name == "binomial":
        rising, level = np.concatenate([x[y == 1], -x[y == 0]]), x[(y > 0) & (y < 1)]
    else:
        rising, level = -x[y == 0], x[y > 0]
    moving = _moving(np.unique(rising, axis=0), np.unique(level, axis=0))
    if not moving.any():
        return None
    columns = tuple(name for name, moves in zip(names, moving, strict=True) if moves)
    if (y == y[0]).all():
        return Separation(columns, f"the response is constant in data set {label}: no maximum of the likelihood exists")
    return Separation(
        columns,
        f"a linear predictor separates the outcome in data set {label}: estimates go to infinity "
        f"({shortened(columns)}); under a prior they are finite: fixef_prior='normal'",
    )


def _between_thresholds(x: np.ndarray, y: np.ndarray, n_thresholds: int) -> np.ndarray:
    """Rows over (coefficients, thresholds): the upper threshold less x'beta, and x'beta less the lower one."""
    code, above = y.astype(np.int64), np.eye(n_thresholds)
    not_last, not_first = code < n_thresholds, code > 0
    upper = np.concatenate([-x[not_last], above[code[not_last]]], axis=1)
    lower = np.concatenate([x[not_first], -above[code[not_first] - 1]], axis=1)
    return np.concatenate([upper, lower])


def _moving(rising: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Coefficients (p,) that differ from zero in some direction with rising @ d >= 0, level @ d = 0 and not all zero.

    In coordinates in which the columns are orthonormal times the root of the number m of rows, a direction d has
    |rows @ d|^2 = m |d|^2 and no row above sqrt(m) |d|. If none is negative, they sum to sqrt(m) |d| or more: the
    maximum over the unit cube is at least 1, or 0 where there is no such direction, and rounding cannot blur that.
    """
    n_columns = rising.shape[1]
    none = np.zeros(n_columns, dtype=bool)
    every = np.concatenate([rising, level])
    size = np.max(np.abs(every), axis=0, initial=0.0)
    used = size > 0
    if not len(rising) or not used.any():
        return none
    u, s, vt = np.linalg.svd(every[:, used] / size[used], full_matrices=False)
    kept = s > s[0] * max(every.shape) * np.finfo(float).eps
    u, effects = u[:, kept], (vt[kept] / s[kept, None]).T  # of the coordinates on coefficients times size
    free = _unseen(u[len(rising) :])
    rows = np.sqrt(len(every)) * (u[: len(rising)] @ free)
    if not rows.shape[1]:
        return none
    total, effects = rows.sum(axis=0), effects @ free
    direction = _farthest(total, rows)
    if total @ direction < 0.5:
        return none
    reach = np.abs(effects @ direction)
    still = STILL * reach.max()
    for j in np.flatnonzero(reach <= still):  # in this direction, but perhaps not in every one
        reach[j] = max(abs(effects[j] @ _farthest(sign * effects[j], rows)) for sign in (1, -1))
    none[used] = reach > still
    return none


def _unseen(rows: np.ndarray) -> np.ndarray:
    """Orthonormal directions (p, free) with rows @ direction = 0."""
    _, s, vt = np.linalg.svd(np.linalg.qr(rows, mode="r"), full_matrices=True)
    return np.asarray(vt[int(np.sum(s > NULL)) :].T)


def _farthest(objective: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Direction d with rows @ d >= 0 and coordinates between -1 and 1 whose objective'd is the highest."""
    # half a second to import, and needed for doubtful fits only
    from scipy.optimize import linprog

    scaled = objective / (np.linalg.norm(objective) or 1.0)  # tolerances of the solver are absolute
    found = linprog(-scaled, A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=(-1, 1), method="highs")
    return np.zeros_like(objective) if found.x is None else np.asarray(found.x)
