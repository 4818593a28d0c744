"""Conditional modes of the spherical random effects u, by Newton's method with halving."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..shapes import Bool, Float, Int
from .elimination import eliminate, plus_identity, solve
from .families import value_terms
from .problem import Effects, Glmm, scaled, times, times_transposed

# a step below this is the last one: its square is left
STEP_TOL = 1e-6
MAX_STEPS = 100
# rounding of the log-density that an accepted step may fall short by
NOISE = 1e-12


class ModeSearch(NamedTuple):
    """u per factor (q, levels), whether it was found, and evaluations of the rows."""

    effects: Effects
    found: Bool[Array, ""]
    evaluations: Int[Array, ""]


class _State(NamedTuple):
    effects: Effects
    value: Array
    step: Effects
    length: Array
    size: Array
    evaluations: Array


def conditional_modes(
    lams: tuple[Float[Array, "_q _q"], ...],
    fixed: Float[Array, "rows tiles"],
    shape: Float[Array, " shapes"],
    start: Effects,
    problem: Glmm,
) -> ModeSearch:
    """Maximise sum of log-densities - |u|^2 / 2, which is concave.

    Parameters
    ----------
    lams : tuple of Array (q, q)
        Lambda of every factor.
    fixed : Array (R, T)
        X beta + offset.
    shape : Array
    start : tuple of Array (q, levels)
    problem : Glmm

    Returns
    -------
    ModeSearch
        With one grouping factor every level halves its own steps.
    """
    alone = problem.structure.n_factors == 1

    def evaluate(effects: Effects) -> tuple[Array, Effects]:
        """Value, of every level where there is one factor, (1, levels) or (1, 1), and the Newton step."""
        rows, family = problem.products, problem.structure.family
        eta = fixed + problem.rows_of(times(lams, effects))
        value, d1, information = value_terms(family, rows.y, rows.weight, eta, shape)
        sums, own, values = problem.sums(d1, information, value)
        m = eliminate(plus_identity(scaled(lams, own, problem.structure)))
        score = times_transposed(lams, sums)
        step = solve(m, tuple(s - u for s, u in zip(score, effects, strict=True)), problem.structure)
        squares = [jnp.sum(u * u, axis=0, keepdims=True) for u in effects]
        if alone:
            return values[None] - squares[0] / 2, step
        return jnp.sum(values) - sum(jnp.sum(part) for part in squares) / 2, step

    def body(s: _State) -> _State:
        trial = tuple(u + s.length * step for u, step in zip(s.effects, s.step, strict=True))
        value, step = evaluate(trial)
        better = value >= s.value - NOISE * (1 + jnp.abs(s.value))  # NaN is not

        def kept(new: Array, old: Array) -> Array:
            return jnp.where(better, new, old)

        step = jax.tree.map(kept, step, s.step)
        length = jnp.where(better, 1.0, s.length / 2)
        size = jnp.max(jnp.stack([jnp.max(jnp.abs(length * part)) for part in step]))
        effects = jax.tree.map(kept, trial, s.effects)
        return _State(effects, kept(value, s.value), step, length, size, s.evaluations + 1)

    def going(s: _State) -> Array:
        return (s.size > STEP_TOL) & (s.evaluations < MAX_STEPS)

    dtype = fixed.dtype
    lowest = jnp.full((1, problem.structure.n_levels[0]) if alone else (), -jnp.inf, dtype)
    none = jax.tree.map(jnp.zeros_like, start)
    first = _State(start, lowest, none, jnp.ones_like(lowest), jnp.asarray(jnp.inf, dtype), jnp.zeros((), jnp.int32))
    end = lax.while_loop(going, body, first)
    effects = tuple(u + end.length * step for u, step in zip(end.effects, end.step, strict=True))
    return ModeSearch(effects, end.size <= STEP_TOL, end.evaluations)
