"""Variances that REML cannot see, because the fixed part takes away what they are about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..kernels.crossed import Crossed
from .assemble import Assembled
from .redundancy import Redundancy, entry_places

# share of a column that rounding leaves outside the span of others
OUTSIDE = 1e-10


def add_unseen(model: Assembled, each: list[Redundancy | None]) -> list[Redundancy | None]:
    """Add what REML cannot see of every data set to the directions that leave V as it is.

    It sees no variance of a column of Z that lies in the space of X in every group, as in ``y ~ factor(g) + (1 | g)``;
    and none can be told from the others where too few rows are left.
    """
    if not model.layout.structure.reml:
        return each
    d = model.layout.structure.theta_map.n_theta
    spare = np.diff(model.rows.offsets) - len(model.keep)
    # V, as REML sees it, has fewer entries than there are variances and covariances
    too_few = spare * (spare + 1) // 2 < d + 1
    unseen = _in_fixed_part(model) | too_few[:, None]
    if not unseen.any():
        return each
    return [_joined(found, entries) if entries.any() else found for found, entries in zip(each, unseen, strict=True)]


def _in_fixed_part(model: Assembled) -> np.ndarray:
    """Entries of phi that belong to columns of Z in the space of X, boolean (K, d + 1)."""
    layout, values = model.layout, model.batch.problem.products
    structure, out = layout.structure, np.zeros((model.rows.n_sets, layout.structure.theta_map.n_theta + 1), bool)
    for term in layout.terms:
        if layout.factors[term.factor].n_levels > len(model.keep):
            continue
        if not structure.n_dense or term.factor == 0:
            square = np.diagonal(np.asarray(values.zz[term.factor]), axis1=1, axis2=2).sum(axis=1)
            inside = np.asarray(values.zr[term.factor])[:, :, -1 - structure.n_fixed : -1] ** 2
            explained = inside.sum(axis=(2, 3))
        else:
            square, explained = _dense_squares(model, term.factor)
        hidden = (square - explained <= OUTSIDE * square)[:, term.columns]
        places = entry_places(term)
        for a in range(term.q):
            out[np.ix_(hidden[:, a], places[a])] = True
    return out


def _dense_squares(model: Assembled, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared length of the columns of a factor of the dense block, and of what X explains of them, each (K, q)."""
    problem = model.batch.problem
    assert isinstance(problem, Crossed)
    structure, values, index = problem.structure, problem.products, problem.index
    start, levels, q = structure.dense_slices()[factor - 1]
    at = np.arange(start, start + levels * q)
    diagonal = np.searchsorted(np.asarray(index.keys), at * (structure.n_dense + 1))
    square = np.asarray(values.base)[:, diagonal]
    explained = np.sum(np.asarray(values.dense_w)[:, at, :-1] ** 2, axis=2)
    shape = (len(square), levels, q)
    return square.reshape(shape).sum(axis=1), explained.reshape(shape).sum(axis=1)


def _joined(found: Redundancy | None, unseen: np.ndarray) -> Redundancy:
    """Add entries of phi to the directions of one data set."""
    own = found or Redundancy(np.eye(len(unseen)), np.zeros((len(unseen), 0)), 0, OUTSIDE)
    added = np.linalg.solve(own.root, np.eye(len(unseen))[:, unseen])
    added /= np.linalg.norm(added, axis=0)
    # the basis of the first directions stays in front
    left, size, _ = np.linalg.svd(added - own.null @ (own.null.T @ added), full_matrices=False)
    null = np.concatenate([own.null, left[:, size > OUTSIDE]], axis=1)
    return replace(own, null=null, tol=max(own.tol, OUTSIDE), unseen=tuple(np.flatnonzero(unseen).tolist()))
