"""Starts after the first one, and which of two optima is kept: pure, over many data sets, with NumPy or JAX.

The covariance D = Lambda Lambda' decides the criterion. Where the variance of an earlier column of Z is almost zero, D
hardly changes as a later row of Lambda turns, and Newton steps creep along an arc. With the columns reversed the same D
has a large entry first, and nothing is left to turn.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from jax import Array

from ..shapes import Bool, Float
from .newton import CONVERGED, MAX_ITER, SADDLE, Optimum
from .theta import ThetaMap, Thetas, array_module

# size below which a diagonal entry of theta is on the boundary, for columns of Z of unit root mean square
BOUNDARY = 1e-4
# a diagonal entry of theta below which a row that comes later may turn and the criterion hardly change
NEARLY_ZERO = 0.03
# multiples of the unit start: near 0, far out, between
STARTS = (0.05, 10.0, 0.3)


class SearchedParameters(Protocol):
    """What starts need to know of the parameters of a search: theta, or what theta is a function of."""

    @property
    def n_theta(self) -> int:
        """Number d of parameters."""
        ...

    @property
    def diagonal(self) -> Bool[np.ndarray, " d"]:
        """Boolean mask of the parameters that end at zero, shape (d,)."""
        ...

    def start(self) -> Float[np.ndarray, " d"]:
        """Parameters of Lambda = I."""
        ...


def ill_conditioned(theta: Float[Thetas, "m d"], status: Thetas, theta_map: ThetaMap) -> Thetas:
    """Data sets (m,) that stopped at the limit of iterations, or where a row of Lambda can turn at almost no cost."""
    entries = list(zip(theta_map.factor, theta_map.row, theta_map.col, strict=True))
    below = {(f, c) for f, r, c in entries if r > c}
    pivots = np.array([a for a, (f, r, c) in enumerate(entries) if r == c and (f, c) in below], int)
    small = array_module(theta).any(abs(theta[:, pivots]) < NEARLY_ZERO, axis=1)
    which: Thetas = (status == MAX_ITER) & bool(below) | small & ((status == CONVERGED) | (status == SADDLE))
    return which


def on_boundary(theta: Float[Thetas, "m d"], theta_map: SearchedParameters) -> Thetas:
    """Data sets (m,) with a diagonal entry of theta that is all but zero."""
    xp = array_module(theta)
    which: Thetas = xp.any(xp.abs(theta[:, np.flatnonzero(theta_map.diagonal)]) < BOUNDARY, axis=1)
    return which


def try_again(best: Optimum, tries: Any, theta_map: SearchedParameters) -> Any:
    """Data sets (m,) that deserve another start: failed ones up to three, those on the boundary one."""
    again = best.status != CONVERGED
    if theta_map.n_theta > 1:
        again = again | ((tries == 1) & on_boundary(best.theta, theta_map))
    return again & (tries <= len(STARTS))


def next_start(best: Optimum, tries: Any, eigen: tuple[Any, Any], theta_map: SearchedParameters) -> Any:
    """Leave a saddle along its most negative curvature; otherwise start near 0, then far out, then between.

    Parameters
    ----------
    best : Optimum
        With a leading axis of data sets (m,).
    tries : array of int (m,)
        Starts so far, at least 1.
    eigen : tuple of array (m, d), (m, d, d)
        Eigenvalues, ascending, and eigenvectors of the Hessians.

    Returns
    -------
    array (m, d)
    """
    xp, (size, vectors) = array_module(best.theta), eigen
    unit = xp.asarray(theta_map.start(), best.theta.dtype)
    attempt = xp.maximum(tries - 1, 0)
    step = 0.2 * (attempt + 1).astype(unit.dtype)
    along_curvature = best.theta + step[:, None] * vectors[:, :, 0]
    other = unit[None] * xp.asarray(STARTS, unit.dtype)[attempt][:, None]
    saddle = (best.status == SADDLE) & (size[:, 0] < 0)
    return xp.where(saddle[:, None] & xp.isfinite(along_curvature), along_curvature, other)


def is_better(best: Optimum, other: Optimum) -> Any:
    """Whether another optimum is better (m,): converged before not converged, then lower by more than noise."""
    xp = array_module(best.value)
    old_ok, new_ok = best.status == CONVERGED, other.status == CONVERGED
    old = xp.where(xp.isfinite(best.value), best.value, xp.full_like(best.value, xp.inf))
    lower = other.value < old - 1e-11 * xp.maximum(1.0, xp.abs(other.value))
    return xp.where(old_ok == new_ok, lower, new_ok & (other.value < old + 1e-6))


def chosen(which: Array, one: Any, other: Any) -> Any:
    """Fields of one optimum where ``which`` (m,) says so, of the other elsewhere."""
    xp = array_module(which)
    return xp.where(which.reshape(-1, *[1] * (one.ndim - 1)), one, other)
