"""Variances that REML cannot see, because the fixed part takes away what they are about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from .assemble import Assembled, z_columns
from .redundancy import Redundancy, entry_places

# share of a column that rounding leaves outside the span of others
OUTSIDE = 1e-10


def hidden_lanes(model: Assembled) -> list[int]:
    """Data sets in which the fixed part may take away all that a random term is about, or nearly all rows."""
    if not model.layout.structure.reml:
        return []
    if min(factor.n_levels for factor in model.layout.factors) <= len(model.keep):
        return list(range(model.rows.n_lanes))
    return [k for k in range(model.rows.n_lanes) if too_few_rows(model, k)]


def too_few_rows(model: Assembled, lane: int) -> bool:
    """Tell whether V, as REML sees it, has fewer entries than there are variances and covariances."""
    spare = model.rows.n_rows(lane) - len(model.keep)
    return spare * (spare + 1) // 2 < model.layout.structure.theta_map.n_theta + 1


def with_unseen(model: Assembled, lane: int, found: Redundancy | None) -> Redundancy | None:
    """Add what REML cannot see of one data set to the directions that leave V as it is.

    It sees no variance of a column of Z that lies in the space of X in every group, as in ``y ~ factor(g) + (1 | g)``;
    and none can be told from the others where too few rows are left.
    """
    d = model.layout.structure.theta_map.n_theta
    unseen = np.ones(d + 1, bool) if too_few_rows(model, lane) else _unseen(model, lane)
    if not unseen.any():
        return found
    own = found or Redundancy(np.eye(d + 1), np.zeros((d + 1, 0)), 0, OUTSIDE)
    added = np.linalg.solve(own.root, np.eye(d + 1)[:, unseen])
    added /= np.linalg.norm(added, axis=0)
    # the basis of the first directions stays in front
    left, size, _ = np.linalg.svd(added - own.null @ (own.null.T @ added), full_matrices=False)
    null = np.concatenate([own.null, left[:, size > OUTSIDE]], axis=1)
    return replace(own, null=null, tol=max(own.tol, OUTSIDE), unseen=tuple(np.flatnonzero(unseen).tolist()))


def _unseen(model: Assembled, lane: int) -> np.ndarray:
    """Entries of phi that belong to columns of Z in the space of X, boolean (d + 1,)."""
    rows, layout = model.rows, model.layout
    root = np.ones(rows.n_rows(lane)) if rows.weights is None else np.sqrt(rows.weights.lane(lane))
    x, columns = rows.x.lane(lane)[:, model.keep], z_columns(rows, layout, lane)
    out = np.zeros(layout.structure.theta_map.n_theta + 1, bool)
    for term in layout.terms:
        if layout.factors[term.factor].n_levels > len(model.keep):
            continue
        codes = rows.factor_rows[layout.factor_source[term.factor]].lane(lane)
        places = entry_places(term)
        for a in range(term.q):
            z = root * columns[term.factor][:, term.start + a]
            # one group is enough for most columns that are not
            inside = True
            for use in (codes == codes[0], np.ones(len(codes), bool)):
                inside = inside and _inside(z[use], (root[:, None] * x)[use] @ model.inverse[lane], codes[use])
            if inside:
                out[places[a]] = True
    return out


def _inside(z: np.ndarray, basis: np.ndarray, codes: np.ndarray) -> bool:
    """Tell whether a column of Z (n,) lies in a space with an orthonormal basis (n, p) in all groups of its rows."""
    groups = sparse.csr_array((z, codes, np.arange(len(codes) + 1)))
    left = z @ z - np.sum((groups.T @ basis) ** 2)
    return bool(left <= OUTSIDE * (z @ z))
