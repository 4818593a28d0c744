"""Is there a residual variance? Where it goes to zero the criterion has no minimum, or none that digits can tell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..engine.fit import solve_batch
from ..kernels.inference import LEAST_INFORMATION, LEAST_VARIANCE, Solution
from .assemble import Assembled

# theta, for columns of Z of unit root mean square, that stands for infinity
FAR = 1e4
RATIOS = 10.0 ** -np.arange(0.0, 3.5, 0.5)


def too_few_digits(solution: Solution) -> np.ndarray:
    """Whether V is so large that its inverse leaves nothing of the response or of a column of X, boolean (K,)."""
    largest = np.max(np.diagonal(np.asarray(solution.unscaled_cov), axis1=1, axis2=2), axis=1, initial=0.0)
    return np.asarray((np.asarray(solution.sigma) ** 2 < LEAST_VARIANCE) | (largest > 1 / LEAST_INFORMATION))


def falls_without_end(model: Assembled, theta: np.ndarray, lowest: np.ndarray) -> np.ndarray:
    """Find data sets whose criterion is lower towards infinite theta than at the optimum found, boolean (K,).

    Only where fixed and random effects together are as many as the rows can they explain every response exactly. Then
    REML has a finite limit there, which depends on the ratios of theta, and ML none.
    """
    out = np.zeros(model.rows.n_sets, bool)
    if not _may_explain_all(model):
        return out
    for far in _far_away(model, theta):
        value = np.asarray(solve_batch(model.batch, far).value)
        out |= np.isfinite(value) & (value < lowest - 1e-6)
    return out


def _may_explain_all(model: Assembled) -> bool:
    rows = model.rows
    effects = sum(len(term.names) * rows.factors[term.factor].n_levels for term in rows.terms)
    return len(model.keep) + effects >= int(np.diff(rows.offsets).min())


def _far_away(model: Assembled, theta: np.ndarray) -> Iterator[np.ndarray]:
    """Move the SDs of each term far out, alone and with those of the other terms at some ratios."""
    if model.layout.parameters is not None:  # a structure need not let several rows of a level be alike
        yield theta * (FAR / np.maximum(np.abs(theta).max(axis=1, keepdims=True), 1.0))
    diagonal = model.layout.structure.theta_map.diagonal
    for term in model.layout.terms:
        own = np.zeros(len(diagonal), bool)
        own[term.theta] = True
        yield np.where(own, FAR * diagonal, theta)
        if len(model.layout.terms) > 1:
            for ratio in RATIOS:
                yield np.broadcast_to(np.where(own, FAR, FAR * ratio) * diagonal, theta.shape)
