"""Other starts for lanes whose first one failed, was a curved valley, or ended on the boundary.

D = Lambda Lambda' decides the criterion. Where the variance of an earlier column of Z is almost zero, D hardly changes
as a later row of Lambda turns, and Newton steps creep along an arc. With the columns in the opposite order the same D
has a large entry first, and nothing is left to turn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from .optimize import CONVERGED, MAX_ITER, SADDLE
from .structure import ThetaMap, Values

# a diagonal entry of theta below which a row that comes later may turn, for columns of Z of unit root mean square
VALLEY_BELOW = 0.03

Lanes = TypeVar("Lanes", Array, np.ndarray)


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


def in_valley(theta: Lanes, status: Lanes, theta_map: ThetaMap) -> Lanes:
    """Lanes (m,) that stopped at the limit of iterations, or where a row of Lambda can turn and D hardly change."""
    below = {(theta_map.factor[b], theta_map.col[b]) for b in np.flatnonzero(~theta_map.diagonal)}
    found: Lanes = (status == MAX_ITER) & bool(below)
    for a in np.flatnonzero(theta_map.diagonal):
        if (theta_map.factor[a], theta_map.col[a]) in below:
            found = found | (abs(theta[:, a]) < VALLEY_BELOW) & ((status == CONVERGED) | (status == SADDLE))
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


def turned_theta(theta: Lanes, theta_map: ThetaMap) -> Lanes:
    """Theta (m, d) of the same D with the columns in the opposite order: P Lambda rotated to lower triangular form."""
    xp = _module(theta)
    out = [theta[:, 0]] * theta_map.n_theta
    for f in range(len(theta_map.q)):
        places = {(int(r), int(c)): int(a) for a, r, c in zip(*theta_map.entries(f), strict=True)}
        order = opposite_order(theta_map, f).tolist()
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
    turned: Lanes = xp.stack(out, axis=1)
    return turned


def _module(array: Array | np.ndarray) -> Any:
    return jnp if isinstance(array, Array) else np


def _rotate(rows: list[dict[int, Any]], i: int, j: int) -> None:
    """Rotate columns i and j so that entry j of the first row vanishes (Golub & Van Loan, section 5.1.8)."""
    b = rows[0].pop(j)
    a = rows[0].get(i, 0.0 * b)
    xp = _module(b)
    length = xp.hypot(a, b)
    safe = xp.where(length > 0, length, 1.0)
    c, s = xp.where(length > 0, a / safe, 1.0), b / safe
    rows[0][i] = length
    for row in rows[1:]:
        if i in row or j in row:
            first, second = row.get(i, 0.0 * b), row.get(j, 0.0 * b)
            row[i], row[j] = c * first + s * second, c * second - s * first


def turned_values(values: Values, theta_map: ThetaMap) -> Values:
    """Cross-products of stacked lanes, nested factors, with the columns of Z in the opposite order."""
    order = [opposite_order(theta_map, f) for f in range(len(theta_map.q))]
    zz = tuple(a[:, o][:, :, o] for a, o in zip(values.zz, order, strict=True))
    zr = []
    for f, a in enumerate(values.zr):
        right, filled = np.arange(a.shape[2]), 0
        for o in order[f + 1 :]:
            right[filled : filled + len(o)] = filled + o
            filled += len(o)
        zr.append(a[:, order[f]][:, :, right])
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
