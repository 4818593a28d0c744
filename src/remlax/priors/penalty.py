"""What a prior adds to a criterion: -2 log density of the relative factors Lambda, exactly differentiated.

A term's Lambda inside is that of the user's columns but for a matrix T from the left, and the densities depend on
Lambda Lambda' alone: log|T Lambda Lambda' T'| differs from log|Lambda Lambda'| by a constant, and traces take T along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..kernels.criterion import Criterion, Derivatives
from ..kernels.newton import PROFILED
from ..kernels.problem import Problem
from ..kernels.theta import ThetaMap, Thetas, array_module
from ..shapes import Float

Matrix = tuple[tuple[float, ...], ...]
Number = TypeVar("Number", Array, np.ndarray)


@dataclass(frozen=True)
class TermPenalty:
    """-2 log density of one term's Lambda, of which S = Lambda Lambda' in the user's columns, without constants.

    Parameters
    ----------
    factor : int
        Grouping factor, in elimination order.
    start, q : int
        First column in the factor, and number of columns.
    log, sd, trace, inverse : float
        Factors of log|S| / 2, of the SD of a term of one column, of tr S, and of tr S^-1.
    outside, inside : tuple of tuple
        Matrices (q, q) from Lambda inside to the user's, and back.
    """

    factor: int
    start: int
    q: int
    log: float
    sd: float = 0.0
    trace: float = 0.0
    inverse: float = 0.0
    outside: Matrix = ()
    inside: Matrix = ()

    @classmethod
    def of(
        cls,
        place: tuple[int, int, int],
        factors: tuple[float, float, float, float],
        outside: np.ndarray,
        inside: np.ndarray,
    ) -> TermPenalty:
        """Penalty of a term at (factor, start, q); matrices are kept where they matter, as programs depend on them."""
        if not any(factors[1:]):
            return cls(*place, *factors)
        return cls(*place, *factors, *(tuple(map(tuple, matrix.tolist())) for matrix in (outside, inside)))

    def value(self, lam: Thetas) -> Thetas:
        """Penalty of Lambda inside (..., q, q)."""
        xp = array_module(lam)
        out = self.log * xp.sum(xp.log(xp.abs(xp.diagonal(lam, axis1=-2, axis2=-1))), axis=-1)
        if self.sd or self.trace:
            user = np.array(self.outside) @ lam
            out = out + self.sd * xp.abs(user[..., 0, 0]) + self.trace * xp.sum(user * user, axis=(-2, -1))
        if self.inverse:
            root = _solved(lam, np.array(self.inside))
            out = out + self.inverse * sum(xp.sum(row * row, axis=-1) for row in root)
        return cast(Thetas, out)

    def reversed(self) -> TermPenalty:
        """The same for columns inside in the opposite order."""
        outside = tuple(row[::-1] for row in self.outside)
        return TermPenalty(
            self.factor, self.start, self.q, self.log, self.sd, self.trace, self.inverse, outside, self.inside[::-1]
        )


def _solved(lam: Thetas, right: np.ndarray) -> list[Any]:
    """Rows (..., q) of Lambda^-1 times a matrix (q, q), by forward substitution."""
    rows: list[Any] = []
    for i, own in enumerate(right):
        left = own - sum(lam[..., i, j, None] * row for j, row in enumerate(rows))
        rows.append(left / lam[..., i, i, None])
    return rows


@dataclass(frozen=True)
class Penalty:
    """-2 log density of theta inside under priors on the terms.

    Parameters
    ----------
    theta_map : ThetaMap
    terms : tuple of TermPenalty
    """

    theta_map: ThetaMap
    terms: tuple[TermPenalty, ...]

    def value(self, theta: Float[Thetas, "*k d"]) -> Thetas:
        """Penalty of theta (..., d), with JAX or NumPy."""
        lams = [self._factor(theta, f) for f in range(len(self.theta_map.q))]
        parts: Sequence[Any] = [term.value(_block(lams[term.factor], term)) for term in self.terms]
        return cast(Thetas, sum(parts))

    def _factor(self, theta: Any, factor: int) -> Any:
        xp, (where, row, col) = array_module(theta), self.theta_map.entries(factor)
        q = self.theta_map.q[factor]
        one = np.zeros((len(where), q, q))
        one[np.arange(len(where)), row, col] = 1.0
        return xp.einsum("...a,aij->...ij", theta[..., where], one)

    def derivatives(self, theta: Float[Array, " d"]) -> Derivatives:
        """Value, gradient and Hessian at theta (d,)."""
        value, grad = jax.value_and_grad(self.value)(theta)
        return Derivatives(value, grad, jax.hessian(self.value)(theta))

    def reversed(self) -> Penalty:
        """The same for columns inside in the opposite order."""
        return Penalty(self.theta_map, tuple(term.reversed() for term in self.terms))


def _block(lam: Any, term: TermPenalty) -> Any:
    own = slice(term.start, term.start + term.q)
    return lam[..., own, own]


@dataclass(frozen=True)
class PenalisedDeviance:
    """A criterion of theta and the penalty of a prior.

    Parameters
    ----------
    penalty : Penalty
    base : Criterion, default the profiled deviance
    """

    penalty: Penalty
    base: Criterion = PROFILED

    def start(self, problem: Problem[Any, Any]) -> Float[Array, " d"]:
        """Start of the other criterion, which is not on the boundary."""
        return self.base.start(problem)

    def value_and_grad(
        self, at: Float[Array, " d"], problem: Problem[Any, Any]
    ) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        """Value and gradient (d,)."""
        value, grad = self.base.value_and_grad(at, problem)
        more, slope = jax.value_and_grad(self.penalty.value)(at)
        return value + more, grad + slope

    def derivatives(self, at: Float[Array, " d"], problem: Problem[Any, Any]) -> Derivatives:
        """Value, gradient and Hessian."""
        return added(self.base.derivatives(at, problem), self.penalty.derivatives(at))

    def reversed(self) -> PenalisedDeviance:
        """The same for columns of Z in the opposite order."""
        return PenalisedDeviance(self.penalty.reversed(), self.base)


def added(found: Derivatives, more: Derivatives, first: int = 0) -> Derivatives:
    """Derivatives in all parameters, and those of a penalty of some, which begin at a place."""
    own = slice(first, first + len(more.grad))
    return Derivatives(
        found.value + more.value, found.grad.at[own].add(more.grad), found.hess.at[own, own].add(more.hess)
    )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CoefficientPenalty:
    """-2 log density of coefficients inside under a normal or t prior, without constants.

    Parameters
    ----------
    rows : Array (r, p)
        What takes the coefficients inside to those of the user that have a prior, over their scales.
    df : float, optional
        Degrees of freedom of a t prior.
    """

    rows: Float[Array, "*k r p"]
    df: float | None = field(default=None, metadata={"static": True})

    def value(self, gamma: Float[Thetas, "*k p"]) -> Thetas:
        """Penalty of coefficients (..., p), with JAX or NumPy."""
        xp = array_module(gamma)
        squares = xp.sum(xp.einsum("...rp,...p->...r", self.rows, gamma) ** 2, axis=-1)
        if self.df is None:
            return cast(Thetas, squares)
        return cast(Thetas, (self.df + self.rows.shape[-2]) * xp.log1p(squares / self.df))

    def derivatives(self, gamma: Float[Array, " p"]) -> Derivatives:
        """Value, gradient and Hessian at coefficients (p,)."""
        value, grad = jax.value_and_grad(self.value)(gamma)
        return Derivatives(value, grad, jax.hessian(self.value)(gamma))


def penalty_hessian(theta: Float[Array, " d"], problem: Any, penalty: Penalty) -> Float[Array, "d d"]:
    """Hessian of a penalty at theta, as the engine maps it over data sets."""
    del problem
    return jnp.asarray(jax.hessian(penalty.value)(theta))
