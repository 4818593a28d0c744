"""A design split into its shape, for which code is compiled, and its numbers, which may change freely."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from .covariates import Covariate
from .design import MultilevelDesign, columns_of, highest
from .laws import Drawn
from .outcomes import OutcomeShape, outcome_numbers, outcome_shape


class FactorShape(NamedTuple):
    """A grouping factor without its drawn numbers."""

    name: str
    most: int  # levels per parent level, at most
    parent: int  # place of the parent, -1 for none
    assigned: bool
    drawn: bool


class CovariateShape(NamedTuple):
    """A covariate without its numbers."""

    name: str
    kind: str
    level: int  # place of the factor, -1 for rows
    above: tuple[int, ...]
    levels: tuple[str, ...] = ()
    dummies: tuple[str, ...] = ()


class RandomShape(NamedTuple):
    """A random term without its numbers."""

    factor: int
    terms: tuple[tuple[str, ...], ...]
    kind: str


class DesignShape(NamedTuple):
    """What compiled code depends on."""

    factors: tuple[FactorShape, ...]
    size: int
    size_drawn: bool
    covariates: tuple[CovariateShape, ...]
    fixed: tuple[tuple[str, ...], ...]
    random: tuple[RandomShape, ...]
    error: str
    response: str
    outcome: OutcomeShape | None
    errors_correlated: bool


class Values(NamedTuple):
    """Numbers that may change without a new compilation."""

    counts: tuple[jax.Array, ...]  # log probabilities of 0..most levels, per factor drawn; last: rows
    # mean, sd, root shares: above..., own; then, of categories, limits of the latent variable
    covariates: tuple[jax.Array, ...]
    beta: tuple[jax.Array, ...]
    roots: tuple[jax.Array, ...]  # (q, q) with root root' = covariance of the effects
    laws: tuple[jax.Array, ...]  # parameter of each term's law; last: the errors'
    sigma: jax.Array
    outcome: jax.Array  # size, shape or thresholds, then trials; empty without an outcome
    error_root: jax.Array  # (size, size) root of the covariance of a cell's errors; empty where they have one SD


def structure_of(design: MultilevelDesign) -> DesignShape:
    """The part of a design that compiled code is made for."""
    place = {factor.name: i for i, factor in enumerate(design.factors)} | {None: -1}
    return DesignShape(
        factors=tuple(
            FactorShape(f.name, highest(f.levels), place[f.within], f.assigned, isinstance(f.levels, Drawn))
            for f in design.factors
        ),
        size=highest(design.size),
        size_drawn=isinstance(design.size, Drawn),
        covariates=tuple(
            CovariateShape(
                c.name, c.kind, place[c.level], tuple(place[name] for name in c.icc), tuple(c.levels), c.dummies
            )
            for c in design.covariates
        ),
        fixed=tuple(columns_of(term) for term in design.beta),
        random=tuple(
            RandomShape(place[r.factor], tuple(columns_of(term) for term in r.sd), r.distribution.kind)
            for r in design.random
        ),
        error=design.error.kind,
        response=design.response,
        outcome=None if design.outcome is None else outcome_shape(design.outcome),
        errors_correlated=design.error_covariance is not None,
    )


def values_of(design: MultilevelDesign) -> Values:
    """The part of a design that is handed to compiled code, in JAX's default float."""
    dtype = jnp.result_type(float)
    # NumPy's: JAX compiles a program to make an array of its own
    array: Callable[[Any], Any] = partial(np.asarray, dtype=dtype)
    numbers = (*(factor.levels for factor in design.factors), design.size)
    covariates = []
    for c in design.covariates:
        shares = [*c.icc.values(), max(0.0, 1 - math.fsum(c.icc.values()))]
        covariates.append(array([c.mean, c.sd, *map(math.sqrt, shares), *_limits(c)]))
    laws = [*(term.distribution for term in design.random), design.error]
    return Values(
        counts=tuple(array(_log_weights(number)) for number in numbers if isinstance(number, Drawn)),
        covariates=tuple(covariates),
        beta=tuple(array(value) for value in design.beta.values()),
        roots=tuple(array(_root(term.covariance)) for term in design.random),
        laws=tuple(array(1.0 if law.kind == "normal" else law.parameter) for law in laws),
        sigma=array(0.0 if design.sigma is None else design.sigma),
        outcome=array(outcome_numbers(design.outcome)),
        error_root=array(() if design.error_covariance is None else _root(np.array(design.error_covariance))),
    )


def _limits(covariate: Covariate) -> list[float]:
    """Where the latent variable of a categorical covariate goes over to the next level."""
    if covariate.kind != "categorical":
        return []
    number = len(covariate.levels)
    shares = covariate.probabilities or [1 / number] * number
    return [float(limit) for limit in ndtri(np.cumsum(shares)[:-1])]


def _log_weights(number: Drawn) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        logs: NDArray[np.float64] = np.log(np.array([0.0] * number.low + list(number.weights)))
    return logs


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Symmetric root: exists for singular covariances too (an SD of 0, a correlation of 1)."""
    values, vectors = np.linalg.eigh(covariance)
    root: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root


Codes = NDArray[np.int32] | None


class DesignRows(NamedTuple):
    """Rows of a design, before anything is drawn."""

    codes: tuple[Codes, ...]  # per factor; None if assigned
    within: tuple[Codes, ...]  # number of the level within its parent
    levels: tuple[int, ...]
    cell: NDArray[np.int32]
    position: NDArray[np.int32]  # of the row in its cell
    turn: Codes  # number of the row among those that take turns; None: rows in their order


def layout_of(shape: DesignShape) -> DesignRows:
    """Rows of the design: every cell of the crossed and nested factors, ``size`` times."""
    codes: list[Codes] = []
    index: list[Codes] = []
    levels: list[int] = []
    cells = 1
    for f in shape.factors:
        if f.assigned:
            codes.append(None)
            index.append(None)
            levels.append(f.most)
            continue
        codes, index = _repeated(codes, f.most), _repeated(index, f.most)
        own = np.tile(np.arange(f.most, dtype=np.int32), cells)
        above = codes[f.parent] if f.parent >= 0 else None
        codes.append(own if above is None else (above * f.most + own).astype(np.int32))
        index.append(own)
        levels.append(f.most * (levels[f.parent] if f.parent >= 0 else 1))
        cells *= f.most
    return DesignRows(
        codes=tuple(_repeated(codes, shape.size)),
        within=tuple(_repeated(index, shape.size)),
        levels=tuple(levels),
        cell=np.repeat(np.arange(cells, dtype=np.int32), shape.size),
        position=(position := np.tile(np.arange(shape.size, dtype=np.int32), cells)),
        turn=_turn(shape, codes, position),
    )


def _repeated(codes: list[Codes], times: int) -> list[Codes]:
    return [None if code is None else np.repeat(code, times) for code in codes]


def _turn(shape: DesignShape, codes: list[Codes], position: NDArray[np.int32]) -> Codes:
    """Of crossed factors a Latin square: rows take turns within every level of each factor."""
    parents = {f.parent for f in shape.factors}
    leaves = [code for i, code in enumerate(codes) if code is not None and i not in parents]
    if len(leaves) < 2:
        return None
    return position + sum(np.repeat(code, shape.size) for code in leaves)
