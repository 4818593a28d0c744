"""Other starts for lanes whose first one failed, was a curved valley, or ended on the boundary.

D = Lambda Lambda' decides the criterion. Where the variance of an earlier column of Z is almost zero, D hardly changes
as a later row of Lambda turns, and Newton steps creep along an arc. With the columns in the opposite order the same D
has a large entry first, and nothing is left to turn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .optimize import CONVERGED, MAX_ITER, SADDLE
from .structure import ThetaMap, Values, host_leaf

# a diagonal entry of theta below which a row that comes later may turn, for columns of Z of unit root mean square
VALLEY_BELOW = 0.03


@dataclass(frozen=True)
class BatchFit:
    """Optimum of every lane.

    theta (m, d); value (m,); grad (m, d); hess (m, d, d); decrement (m,), in units of deviance;
    evaluations, iterations, status, starts (m,): integers.
    """

    theta: np.ndarray
    value: np.ndarray
    grad: np.ndarray
    hess: np.ndarray
    decrement: np.ndarray
    evaluations: np.ndarray
    iterations: np.ndarray
    status: np.ndarray
    starts: np.ndarray


def in_valley(theta: np.ndarray, status: np.ndarray, theta_map: ThetaMap) -> np.ndarray:
    """Lanes (m,) that stopped at the limit of iterations, or where a row of Lambda can turn and D hardly change."""
    turns: np.ndarray = np.zeros(len(theta), bool)
    below = [a for a in range(theta_map.n_theta) if theta_map.row[a] > theta_map.col[a]]
    for a in np.flatnonzero(theta_map.diagonal):
        size = np.abs(theta[:, a])
        if any((theta_map.factor[b], theta_map.col[b]) == (theta_map.factor[a], theta_map.col[a]) for b in below):
            turns |= size < VALLEY_BELOW
    found: np.ndarray = turns & np.isin(status, (CONVERGED, SADDLE)) | (status == MAX_ITER) & bool(below)
    return found


def opposite_order(theta_map: ThetaMap, factor: int) -> np.ndarray:
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


def turned_theta(theta: np.ndarray, theta_map: ThetaMap) -> np.ndarray:
    """Theta (m, d) of the same D with the columns in the opposite order."""
    out = np.empty_like(theta)
    for f, q in enumerate(theta_map.q):
        where, row, col = theta_map.entries(f)
        lam = np.zeros((len(theta), q, q))
        lam[:, row, col] = theta[:, where]
        # P Lambda = L Q' with L lower triangular
        upper = np.asarray(np.linalg.qr(lam[:, opposite_order(theta_map, f)].swapaxes(1, 2), mode="r"))
        sign = np.where(np.diagonal(upper, axis1=1, axis2=2) < 0, -1.0, 1.0)
        out[:, where] = (upper * sign[:, :, None])[:, col, row]
    return out


def turned_values(values: Values, theta_map: ThetaMap) -> Values:
    """Cross-products of stacked lanes, nested factors, with the columns of Z in the opposite order."""
    order = [opposite_order(theta_map, f) for f in range(len(theta_map.q))]
    zz = tuple(host_leaf(np.asarray(a)[:, o][:, :, o]) for a, o in zip(values.zz, order, strict=True))
    zr = []
    for f, a in enumerate(values.zr):
        right, filled = np.arange(a.shape[2]), 0
        for o in order[f + 1 :]:
            right[filled : filled + len(o)] = filled + o
            filled += len(o)
        zr.append(host_leaf(np.asarray(a)[:, order[f]][:, :, right]))
    return replace(values, zz=zz, zr=tuple(zr))


def other_start(best: BatchFit, which: np.ndarray, start: np.ndarray, attempt: int) -> np.ndarray:
    """Leave a saddle along its most negative curvature; otherwise start near 0, then far out."""
    theta = np.where(np.isfinite(best.theta[which]), best.theta[which], start[None])
    out = np.empty_like(theta)
    for row, lane in enumerate(which):
        size, vectors = np.linalg.eigh(np.nan_to_num(best.hess[lane]))
        if best.status[lane] == SADDLE and size[0] < 0:
            out[row] = theta[row] + 0.2 * (attempt + 1) * vectors[:, 0]
        else:
            out[row] = start * (0.05, 10.0, 0.3)[attempt]
    return out


def take_better(best: BatchFit, which: np.ndarray, other: BatchFit) -> BatchFit:
    """Keep the new result where it is better: converged before not converged, then lower by more than noise."""
    old_ok, new_ok = best.status[which] == CONVERGED, other.status == CONVERGED
    old = np.where(np.isfinite(best.value[which]), best.value[which], np.inf)
    lower = other.value < old - 1e-9 * np.maximum(1.0, np.abs(other.value)) * 1e-2
    better = np.where(old_ok == new_ok, lower, new_ok & (other.value < old + 1e-6))
    out = {}
    for name in BatchFit.__dataclass_fields__:
        merged = getattr(best, name).copy()
        merged[which[better]] = getattr(other, name)[better]
        out[name] = merged
    out["evaluations"][which] = best.evaluations[which] + other.evaluations
    out["starts"][which] = best.starts[which] + 1
    return BatchFit(**out)
