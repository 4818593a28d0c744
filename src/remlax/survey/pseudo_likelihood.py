"""Pseudo-likelihood of a data set of nested factors whose units have sampling weights.

Weights are conditional on the units above: the likelihood of a unit, integrated over its effects, counts as often as
its weight says within the next unit (Rabe-Hesketh & Skrondal 2006, J. R. Stat. Soc. A 169:805, eq. 3). With Omega the
product of the weights of a level and of those above it, -2 log of the pseudo-likelihood is

    sum_l Omega_l log|I + S_l D| + M_yy-type terms / sigma^2 + n log(2 pi sigma^2),

and products with the square roots of the weights in them pass through the elimination of `Nested` unchanged: only the
determinants have to be weighted. The weights of outermost units have mean 1, which changes no estimate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..kernels.blocks import eliminate_levels
from ..kernels.criterion import LOG_2PI, Derivatives, moment_start, profiled_deviance
from ..kernels.nested import Nested
from ..kernels.nested_derivatives import Stage
from ..kernels.problem import CrossProducts, Problem, Structure
from ..shapes import Float


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WeightedProducts(CrossProducts):
    """Cross-products with sampling weights.

    Below, c are the conditional weights of levels and nu_f(i) the weight of row i within its level of factor f.

    Parameters
    ----------
    zz : tuple of Array
        Z_f'Z_f per level, rows weighted by nu_f.
    zr : tuple of Array
        Z_f'Z_g with rows weighted by nu_f, times the square root of the product of c from f up to below g; Z_f'W times
        the square root of Omega_f.
    ww : Array (w, w)
        W'W, rows weighted by the product of all their weights, whose sum is ``n_obs``.
    level_weight : tuple of Array (levels,)
        Omega of every factor.
    """

    level_weight: tuple[Float[Array, "*k _levels"], ...] = ()


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WeightedNested(Nested):
    """`Nested` with sampling weights. Its derivatives come from `PseudoDeviance`.

    Parameters
    ----------
    structure : Structure
    products : WeightedProducts
    index
    """

    structure: Structure = field(metadata={"static": True})
    products: WeightedProducts
    index: tuple[tuple[Array, ...], ...] = ()

    def levels_eliminated(self, lams: tuple[Array, ...]) -> tuple[list[Stage], list[Array], Array]:
        """Every factor at its elimination, log|I + S D| of its levels (L,), and M."""
        logdets: list[Array] = []

        def eliminate(zz: Array, f: int) -> tuple[Array, Array]:
            def one(level: Array) -> tuple[Array, Array]:
                return eliminate_levels(level[:, :, None], lams[f])

            cond_var, logdet = jax.vmap(one, in_axes=2, out_axes=(2, 0))(zz)
            logdets.append(logdet)
            return cond_var[..., 0], jnp.sum(self.products.level_weight[f] * logdet)

        stages, _, m = self._eliminated(eliminate)
        return stages, logdets, m

    def marginal(self, lams: tuple[Float[Array, "_q _q"], ...], *, lower: bool = True) -> tuple[Array, Array]:
        """Compute the weighted log|V| and M; ``lams`` are lower triangular."""
        _, logdets, m = self.levels_eliminated(lams)
        weights = self.products.level_weight
        parts = [jnp.sum(weight * logdet) for weight, logdet in zip(weights, logdets, strict=True)]
        return sum(parts[1:], start=parts[0]), m


@dataclass(frozen=True)
class PseudoDeviance:
    """-2 log pseudo-likelihood, profiled over coefficients and sigma, as a criterion of theta."""

    def start(self, problem: Problem[Any, Any]) -> Float[Array, " d"]:
        """Moment estimate of theta."""
        return moment_start(problem)

    def value_and_grad(self, at: Array, problem: Problem[Any, Any]) -> tuple[Array, Array]:
        """Value and gradient (d,)."""
        value, grad = jax.value_and_grad(profiled_deviance)(at, problem)
        return value, grad

    def derivatives(self, at: Array, problem: Problem[Any, Any]) -> Derivatives:
        """Value, gradient and Hessian."""

        def slope(theta: Array) -> tuple[Array, tuple[Array, Array]]:
            value, grad = self.value_and_grad(theta, problem)
            return grad, (value, grad)

        hess, (value, grad) = jax.jacfwd(slope, has_aux=True)(at)
        return Derivatives(value, grad, hess)


class UnitRows(NamedTuple):
    """What the rows of every outermost unit say beside the products: W'W (w, w, J) and sum of weights (J,)."""

    ww: Float[Array, "w w units"]
    n_obs: Float[Array, " units"]


def unit_deviances(parameters: Float[Array, " s"], units: UnitRows, problem: WeightedNested) -> Float[Array, " units"]:
    """-2 log pseudo-likelihood of every outermost unit, times its weight, at (gamma, theta, log sigma)."""
    p, d = problem.structure.n_fixed, problem.structure.theta_map.n_theta
    gamma, theta, log_sigma = parameters[:p], parameters[p : p + d], parameters[-1]
    v = jnp.concatenate([-gamma, jnp.ones(1, gamma.dtype)])
    squares = jnp.einsum("a,abj,b->j", v, units.ww, v)
    logdet = jnp.zeros_like(squares)
    stages, logdets, _ = problem.levels_eliminated(problem.structure.theta_map.factors(theta))
    last = problem.structure.n_factors - 1
    for f, (stage, own) in enumerate(zip(stages, logdets, strict=True)):
        residual = jnp.einsum("qwl,w->ql", stage.zr[:, -len(v) :], v)
        taken = jnp.einsum("ql,qrl,rl->l", residual, stage.cond_var, residual)
        both = jnp.stack([problem.products.level_weight[f] * own, taken])
        if f < last:
            both = jax.ops.segment_sum(both.T, problem.index[f][last - f - 1], len(logdet)).T
        logdet, squares = logdet + both[0], squares - both[1]
    variance = jnp.exp(2 * log_sigma)
    out: Array = logdet + squares / variance + units.n_obs * (LOG_2PI + 2 * log_sigma)
    return out


class PseudoInformation(NamedTuple):
    """Scores (J, s) and minus the Hessian (s, s) of the log pseudo-likelihood in (gamma, theta, log sigma)."""

    scores: Float[Array, "units s"]
    information: Float[Array, "s s"]


def pseudo_information(parameters: Float[Array, " s"], units: UnitRows, problem: WeightedNested) -> PseudoInformation:
    """Scores of the outermost units and observed information, for the sandwich (Binder 1983, Int. Stat. Rev. 51:279).

    Parameters
    ----------
    parameters : Array (s,)
        (gamma, theta, log sigma), in conditioned coordinates.
    units : UnitRows
    problem : WeightedNested
    """

    def scores(at: Array) -> Array:
        by_parameter: Array = jax.jacfwd(unit_deviances)(at, units, problem)
        return -by_parameter / 2

    def total(at: Array) -> Array:
        return jnp.sum(unit_deviances(at, units, problem)) / 2

    return PseudoInformation(scores(parameters), jax.hessian(total)(parameters))


def pseudo_modes(
    theta: Float[Array, " d"], gamma: Float[Array, " p"], problem: WeightedNested
) -> tuple[Float[Array, "_q _levels"], ...]:
    """Modes of the effects at the estimates, per factor (q, levels)."""
    v = jnp.concatenate([-gamma, jnp.ones(1, gamma.dtype)])
    found = problem.eliminate(theta)
    scaled = [jnp.einsum("iwl,w->il", solved[:, -len(v) :], v) for solved in found.solved]
    for f in range(problem.structure.n_factors - 2, -1, -1):
        for g, (start, stop) in problem.coarser(f):
            coarse = scaled[g][:, problem.index[f][g - f - 1]]
            scaled[f] = scaled[f] - jnp.einsum("iql,ql->il", found.solved[f][:, start:stop], coarse)
    weights = problem.products.level_weight
    roots = [jnp.where(weight > 0, jnp.sqrt(weight), 1.0) for weight in weights]
    return tuple(effect / root[None] for effect, root in zip(scaled, roots, strict=True))
