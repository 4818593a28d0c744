"""Problem: one data set as a criterion reads it, its structure and its cross-products.

What all data sets of a batch share (structure, index arrays) and what differs between them (cross-products) are fields
of their own, so that a batch is the same class with a leading axis of data sets in its products.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..shapes import Float, Int
from .theta import ThetaMap


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

    logdet scalar: log|V|; m (w, w): M; border_value scalar: g(M); grad (d,); hess (d, d); d_m (d, w, w): derivatives of
    M in the coordinates of ``Border``. The last two are empty where no Hessian was asked for.
    """

    logdet: Float[Array, ""]
    m: Float[Array, "w w"]
    border_value: Float[Array, ""]
    grad: Float[Array, " d"]
    hess: Float[Array, "_d _d"]
    d_m: Float[Array, " ..."]

    @property
    def value(self) -> Float[Array, ""]:
        """log|V| + g(M)."""
        return self.logdet + self.border_value


if TYPE_CHECKING:
    from .posterior import Elimination, RowMoments, Rows


@dataclass(frozen=True)
class Structure:
    """The static shape of a model: the compile key, shared by all data sets.

    As it stands, every grouping factor is nested in the next; `CrossedStructure` has the other shape.

    Parameters
    ----------
    theta_map : ThetaMap
    n_levels : tuple of int
        Padded number of levels per factor, in elimination order.
    n_fixed : int
        Padded number p of fixed columns.
    reml : bool
        REML (True) or maximum likelihood.
    """

    theta_map: ThetaMap
    n_levels: tuple[int, ...]
    n_fixed: int
    reml: bool = True

    @property
    def q(self) -> tuple[int, ...]:
        """Random-effect columns per factor."""
        return self.theta_map.q

    @property
    def n_factors(self) -> int:
        """Number of grouping factors."""
        return len(self.q)

    @property
    def n_dense(self) -> int:
        """Order of the dense block: none."""
        return 0

    @property
    def n_numbers(self) -> int:
        """Numbers in the arrays that an elimination passes through."""
        w = self.n_fixed + 1
        blocks = enumerate(zip(self.n_levels, self.q, strict=True))
        return 2 * sum(levels * q * (sum(self.q[f:]) + w) for f, (levels, q) in blocks)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CrossProducts:
    """Conditioned cross-products of one data set (a leading axis of data sets when stacked).

    X is rotated to an orthonormal basis, y replaced by its scaled least-squares residual and each column of Z
    divided by its root mean square; w = p + 1 columns W = [X y].

    Parameters
    ----------
    zz : tuple of Array
        Z_f'Z_f per level of every eliminated factor, (q, q, levels).
    zr : tuple of Array
        Z_f'[Z_g ... W] per level, (q, r, levels), g the coarser factors in which f is nested.
    ww : Array (w, w)
        W'W with a unit diagonal in padded columns.
    n_obs, n_fixed : Array, scalar
        Rows and fixed columns as numbers (padding does not count).
    constant : Array, scalar
        What conditioning took out of the criterion: -sum(log w) + 2 log|R| for REML.
    constant_ml : Array, scalar
        The same for ML: -sum(log w).
    log_scale : Array, scalar
        log of the square of the scale taken out of y.
    """

    zz: tuple[Float[Array, "*k _q _q _levels"], ...]
    zr: tuple[Float[Array, "*k _q _r _levels"], ...]
    ww: Float[Array, "*k w w"]
    n_obs: Float[Array, "*k"]
    n_fixed: Float[Array, "*k"]
    constant: Float[Array, "*k"]
    constant_ml: Float[Array, "*k"]
    log_scale: Float[Array, "*k"]


class ConditionalModes(NamedTuple):
    """Conditional modes of each factor (levels, q) and their variances over sigma^2 (levels, q, q)."""

    modes: tuple[Float[Array, "_levels _q"], ...]
    variances: tuple[Float[Array, "_levels _q _q"], ...]


S = TypeVar("S", bound=Structure)
P = TypeVar("P", bound=CrossProducts)
Factors = tuple[Array, ...]


class Stackable:
    """One data set as a dataclass of its static ``structure``, its ``products``, and the ``index`` that all share.

    A batch is the same class with a leading axis of data sets in the products.
    """

    @property
    def axes(self) -> Self:
        """Mapped axes, as ``jax.vmap(in_axes=)`` takes them: products have a leading axis, the index has none."""
        return self.filled(0, None)

    def filled(self, products: Any, index: Any) -> Self:
        """Stand-ins for the products and for the index, as trees of axes or of shardings are written."""
        out: Self = replace(cast(Any, self), products=products, index=index)
        return out

    def with_reml(self, reml: bool) -> Self:
        """Return the same problem under REML or ML."""
        own = cast(Any, self)
        out: Self = replace(own, structure=replace(own.structure, reml=reml))
        return out


@dataclass(frozen=True)
class Problem(Stackable, ABC, Generic[S, P]):
    """One data set: what every kernel takes.

    The algebra that depends on how the grouping factors stand to each other is a method here; `Nested` and `Crossed`
    have it.

    Parameters
    ----------
    structure : Structure
        Static.
    products : CrossProducts
    index
        Integer arrays that say which levels meet; the same for all data sets of a batch.
    """

    structure: S
    products: P
    index: Any

    def repeated(self, n: int) -> P:
        """Products of one data set n times, none copied; on the host."""
        once = jax.tree.map(np.asarray, self.products)
        many: P = jax.tree.map(lambda a: np.broadcast_to(a, (n, *a.shape)), once)
        return many

    @abstractmethod
    def marginal(
        self, lams: tuple[Float[Array, "_q _q"], ...], *, lower: bool = True
    ) -> tuple[Float[Array, ""], Float[Array, "w w"]]:
        """Compute log|V|, a scalar, and M = [X y]'V^-1[X y], (p + 1, p + 1), from Lambda of each factor (q, q).

        V = I + Z Lambda Lambda' Z'. ``lower=False`` takes any square roots of the covariances.
        """

    @abstractmethod
    def marginal_near(
        self, lams: tuple[Float[Array, "_q _q"], ...], es: tuple[Float[Array, "_q _q"], ...]
    ) -> tuple[Float[Array, ""], Float[Array, "w w"]]:
        """Compute log|V| and M at D = Lambda Lambda' + E, exact to second order in E; see `blocks.eliminate_near`."""

    @abstractmethod
    def expansion(
        self,
        theta: Float[Array, " d"],
        maps: tuple[Float[Array, "d _q _q"], ...],
        border_of: Callable[[Array], Border],
        *,
        hessian: bool,
        lower: bool = True,
    ) -> Expansion:
        """Compute log|V| + g(M) with its gradient and, where asked for, its Hessian in theta.

        Parameters
        ----------
        theta : Array (d,)
        maps : tuple of Array (d, q, q)
            Lambda of each factor is the sum of theta's entries times these, each factor's own entries alone.
        border_of : callable
            g to second order at M.
        hessian : bool
            False leaves the Hessian empty.
        lower : bool, default True
            Every Lambda is lower triangular.
        """

    @abstractmethod
    def column_sums(self) -> list[tuple[Float[Array, "_q _levels"], Float[Array, "_q _levels"]]]:
        """Z'z and z'y of every random-effects column and level: a pair of (q, levels) per factor."""

    @abstractmethod
    def random_parts(self) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Z'W and Z'Z of the products, as `with_random_parts` takes them back; W in the columns at the end."""

    @abstractmethod
    def with_random_parts(self, zw: tuple[Array, ...], zz: tuple[Array, ...]) -> Self:
        """Put other Z'W and Z'Z into the products."""

    @abstractmethod
    def by_level(self, by_zw: tuple[Array, ...]) -> tuple[Float[Array, "_levels _q w"], ...]:
        """Cut derivatives in Z'W, shaped as `random_parts` returns it, into levels: (levels, q, w) per factor."""

    @abstractmethod
    def squares_by_level(self, by_zz: tuple[Array, ...]) -> tuple[Float[Array, "_levels _q _q"], ...]:
        """Cut derivatives in Z'Z into levels, made symmetric: (levels, q, q) per factor."""

    @abstractmethod
    def eliminate(self, theta: Float[Array, " d"]) -> Elimination:
        """Eliminate the random effects as `marginal` does, and keep what going back needs."""

    @abstractmethod
    def through(self, rows: Rows, found: Elimination, out: RowMoments) -> RowMoments:
        """Carry predictions x'gamma + z'b through the elimination of b."""

    @abstractmethod
    def draw_effects(
        self,
        found: Elimination,
        weight: Float[Array, "sims w"],
        scale: Float[Array, " sims"],
        noise: tuple[Float[Array, "sims _q _levels"], ...],
    ) -> tuple[Float[Array, "sims _q _levels"], ...]:
        """Draw the effects given gamma: per factor (S, q, levels).

        Parameters
        ----------
        found : Elimination
        weight : Array (S, w)
            (-gamma, 1).
        scale : Array (S,)
            Residual SD.
        noise : tuple of Array (S, q, levels)
            Standard normal.
        """

    @abstractmethod
    def row_entries(
        self, codes: Int[np.ndarray, " rows"], z: Float[np.ndarray, "rows q"]
    ) -> tuple[Int[np.ndarray, " entries"], Int[np.ndarray, " entries"]]:
        """Which rows to predict need which entries of the products, beside those of their own levels; on the host.

        Parameters
        ----------
        codes : ndarray of int (R,)
            Level in the first factor.
        z : ndarray (R, q)
            Columns of the first factor; a row of zeros needs none.

        Returns
        -------
        rows, entries : ndarray of int (E,)
        """

    @abstractmethod
    def with_zy(self, zy: Sequence[np.ndarray]) -> P:
        """Products of one data set repeated with other Z'y, per factor (m, levels, q), on the host.

        What does not hold y is shared.
        """

    @abstractmethod
    def reversed(self) -> Self | None:
        """Return stacked problems with the columns of Z reversed within every term; None where that is no help."""


def degrees(problem: Problem[Any, Any]) -> Float[Array, "*k"]:
    """N = n - p under REML, n under ML."""
    products = problem.products
    n: Array = products.n_obs - products.n_fixed if problem.structure.reml else products.n_obs
    return n


def repeat_zy(zr: Array, zy: np.ndarray) -> Array:
    """Copies of Z'[... y] (q, r, levels), each with other Z'y: (m, levels, q), perhaps of fewer levels; on the host."""
    whole = np.repeat(np.asarray(zr)[None], len(zy), axis=0)
    whole[:, :, -1, : zy.shape[1]] = zy.swapaxes(1, 2)
    return cast(Array, whole)


def own_effects(found: Elimination, weight: Array, scale: Array, noise: tuple[Array, ...]) -> list[Array]:
    """Draws of the effects of eliminated factors, what the other factors take from them not taken off yet."""
    return [
        jnp.einsum("iwl,sw->sil", solved[:, -weight.shape[1] :], weight)
        + scale[:, None, None] * jnp.einsum("kil,skl->sil", half, e)
        for solved, half, e in zip(found.solved, found.half, noise, strict=False)
    ]
