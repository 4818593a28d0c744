"""Variances that REML cannot see, because the fixed part takes away what they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..kernels.crossed import Crossed
from .assemble import Assembled
from .redundancy import Redundancy, entry_places

# share of a column that rounding leaves outside the span of others
OUTSIDE = 1e-10
# share of a contrast's length that rounding leaves of what is orthogonal to it
ORTHOGONAL = 1e-6


def add_unseen(model: Assembled, each: list[Redundancy | None]) -> list[Redundancy | None]:
    """Add what REML cannot see of every data set to the directions that leave V as it is.

    It sees no variance of a column of Z that lies in the space of X in every group, as in ``y ~ factor(g) + (1 | g)``;
    and none can be told from the others where too few rows are left.
    """
    if not model.layout.structure.reml:
        return each
    spare = np.diff(model.rows.offsets) - len(model.keep)
    # V, as REML sees it, has fewer entries than there are variances and covariances
    too_few = spare * (spare + 1) // 2 < model.layout.n_parameters + 1
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
        else:
            square = _dense_squares(model, term.factor)
        explained = np.sum(_in_basis(model, term.factor) ** 2, axis=(1, 3))
        hidden = (square - explained <= OUTSIDE * square)[:, term.columns]
        places = entry_places(term)
        for a in range(term.q):
            out[np.ix_(hidden[:, a], places[a])] = True
    return out


def _in_basis(model: Assembled, factor: int) -> np.ndarray:
    """Products of the columns of a factor with the orthonormal basis of X, (K, levels, q, p)."""
    problem = model.batch.problem
    if not problem.structure.n_dense or factor == 0:
        return np.moveaxis(np.asarray(problem.products.zr[factor])[:, :, -1 - problem.structure.n_fixed : -1], 3, 1)
    assert isinstance(problem, Crossed)
    start, levels, q = problem.structure.dense_slices()[factor - 1]
    products = np.asarray(problem.products.dense_w)[:, start : start + levels * q, :-1]
    return products.reshape(len(products), levels, q, -1)


def _dense_squares(model: Assembled, factor: int) -> np.ndarray:
    """Squared length of the columns of a factor of the dense block, (K, q)."""
    problem = model.batch.problem
    assert isinstance(problem, Crossed)
    structure, values, index = problem.structure, problem.products, problem.index
    start, levels, q = structure.dense_slices()[factor - 1]
    at = np.arange(start, start + levels * q)
    diagonal = np.searchsorted(np.asarray(index.keys), at * (structure.n_dense + 1))
    square = np.asarray(values.base)[:, diagonal]
    return np.asarray(square.reshape(len(square), levels, q).sum(axis=1))


def depend_on_unseen(model: Assembled, unseen: Sequence[int], k: int, contrasts: np.ndarray) -> np.ndarray:
    """Tell which contrasts (r, p) of the coefficients have a variance that depends on what REML cannot see, (r,).

    Where a column z of Z is X b in every group, its variance s^2 adds s^2 b b' to the covariance of the coefficients.
    """
    layout = model.layout
    if not unseen or layout.structure.theta_map.n_theta in unseen:  # with the residual variance, nothing is known
        return np.full(len(contrasts), bool(unseen))
    rows, out = model.orthonormal(contrasts, k), np.zeros(len(contrasts), bool)
    length = np.linalg.norm(rows, axis=1)
    for term in layout.terms:
        hidden = [term.start + a for a, entry in enumerate(np.diag(entry_places(term))) if entry in unseen]
        if hidden:
            b = _in_basis(model, term.factor)[k][:, hidden, : rows.shape[1]].reshape(-1, rows.shape[1])
            most = np.abs(rows @ b.T).max(axis=1, initial=0.0)
            out |= most > ORTHOGONAL * length * np.linalg.norm(b, axis=1).max(initial=0.0)
    return out


def _joined(found: Redundancy | None, unseen: np.ndarray) -> Redundancy:
    """Add entries of phi to the directions of one data set."""
    own = found or Redundancy(np.eye(len(unseen)), np.zeros((len(unseen), 0)), 0, OUTSIDE)
    added = np.linalg.solve(own.root, np.eye(len(unseen))[:, unseen])
    added /= np.linalg.norm(added, axis=0)
    # the basis of the first directions stays in front
    left, size, _ = np.linalg.svd(added - own.null @ (own.null.T @ added), full_matrices=False)
    null = np.concatenate([own.null, left[:, size > OUTSIDE]], axis=1)
    return replace(own, null=null, tol=max(own.tol, OUTSIDE), unseen=tuple(np.flatnonzero(unseen).tolist()))
