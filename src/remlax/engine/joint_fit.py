"""Fit every data set of a batch over all parameters together; those that failed again, alone, from other starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import numpy as np

from ..glmm.optimum import fit
from ..glmm.problem import GlmmStructure
from ..kernels.lbfgs import LBFGS
from ..kernels.newton import CONVERGED, Newton, Optimum
from ..kernels.restarts import chosen, is_better
from ..kernels.structured.parameters import ParameterMap
from ..priors.penalty import Penalty
from .batch import Batch, run

# factors on the theta of the start, for fits that failed
SPREADS = (0.2, 3.0, 0.05)
# what an SD may be below zero, and a correlation beyond its limit, by rounding error
TURNED = 1e-9
# an optimum, and what there is beside it: a Description or nothing
Ends = tuple[Optimum, Any]


def optimised(
    batch: Batch,
    optimizer: LBFGS | Newton,
    kernel: Callable[..., Ends] = fit,
    *,
    penalty: Penalty | None = None,
    structured: ParameterMap | None = None,
) -> Ends:
    """Optimise all data sets jointly, those that failed again from other starts; ``kernel`` takes what `fit` does.

    Where theta is structured, all data sets start at large correlations as well.
    """
    static: dict[str, Any] = {} if penalty is None else {"penalty": penalty}
    first = np.full((batch.n_sets, cast(GlmmStructure, batch.structure).n_parameters), np.nan)
    if structured is not None:
        static["structured"] = structured
        first = first[:, : first.shape[1] - structured.theta_map.n_theta + structured.n_theta]
    if isinstance(optimizer, LBFGS):
        static["options"] = optimizer
    best = _fit_once(batch, optimizer, first, 1.0, kernel, static)
    if structured is not None:
        every = np.arange(batch.n_sets)
        for place in structured.more_starts():
            start = first.copy()
            start[:, : len(place)] = place
            best = _take_better(best, every, _fit_once(batch, optimizer, start, 1.0, kernel, static))
        best = _folded(best, structured, batch, kernel, static)
    for spread in SPREADS:
        which = np.flatnonzero(np.asarray(best[0].status) != CONVERGED)
        if not len(which):
            break
        other = _fit_once(batch.take(which), optimizer, first[which], spread, kernel, static, some=True)
        best = _take_better(best, which, other)
    return best


def _fit_once(
    batch: Batch,
    optimizer: LBFGS | Newton,
    start: np.ndarray,
    spread: float,
    kernel: Callable[..., Ends],
    static: Mapping[str, Any],
    *,
    some: bool = False,
) -> Ends:
    newton = optimizer if isinstance(optimizer, Newton) else Newton()
    arguments = start, np.full(batch.n_sets, spread), np.full(batch.n_sets, newton.max_iter, np.int32)
    return run(kernel, batch, *arguments, some=some, **static)


def _folded(
    best: Ends, structured: ParameterMap, batch: Batch, kernel: Callable[..., Ends], static: Mapping[str, Any]
) -> Ends:
    """Optima with SDs that are not negative and correlations between their limits, by a step from there."""
    start = np.array(best[0].theta)
    start[:, : structured.n_theta] = structured.canonical(start[:, : structured.n_theta])
    which = np.flatnonzero(np.max(np.abs(start - np.asarray(best[0].theta)), axis=1) > TURNED)
    if not len(which):
        return best
    other = _fit_once(batch.take(which), Newton(), start[which], 1.0, kernel, static, some=True)
    return _put(best, which, other)


def _put(best: Ends, which: np.ndarray, other: Ends) -> Ends:
    def put(whole: np.ndarray, part: np.ndarray) -> np.ndarray:
        out = np.array(whole)
        out[which] = part
        return out

    out: Ends = jax.tree.map(put, best, other)
    return out


def _take_better(best: Ends, which: np.ndarray, other: Ends) -> Ends:
    old: Ends = jax.tree.map(lambda part: np.asarray(part)[which], best)
    with np.errstate(invalid="ignore"):  # both may be infinite
        better = is_better(old[0], other[0])
    kept: Ends = jax.tree.map(lambda new, before: chosen(better, new, before), other, old)
    kept = kept[0]._replace(evaluations=old[0].evaluations + other[0].evaluations, starts=old[0].starts + 1), kept[1]
    return _put(best, which, kept)
