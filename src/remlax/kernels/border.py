"""How a criterion log|V| + g(M) depends on M = [X y]'V^-1[X y]: g to second order, and what comes of it in theta."""

from __future__ import annotations

from typing import NamedTuple

from jax import Array

from ..shapes import Float


class Border(NamedTuple):
    """A function g of M at one M, to second order, in coordinates that make it simple.

    With dm = T dM T' and T the transform: dg = sum_i slope_i dm_ii, and d2g = -sum_ij curvature_ij dm_ij^2 along a
    straight line of M.

    value scalar; transform (w, w); slope (w,); curvature (w, w).
    """

    value: Float[Array, ""]
    transform: Float[Array, "w w"]
    slope: Float[Array, " w"]
    curvature: Float[Array, "w w"]


class Expansion(NamedTuple):
    """log|V| + g(M) at one theta, with its derivatives.

    value scalar; border_value scalar: g(M) alone; grad (d,); hess (d, d); d_m (d, w, w): derivatives of M in the
    coordinates of ``Border``. The last two are empty where no Hessian was asked for.
    """

    value: Float[Array, ""]
    border_value: Float[Array, ""]
    grad: Float[Array, " d"]
    hess: Float[Array, "_d _d"]
    d_m: Float[Array, " ..."]
