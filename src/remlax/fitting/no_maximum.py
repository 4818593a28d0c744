"""Fits of generalised linear mixed models that went outwards: is there a maximum of the likelihood at all?

Where the likelihood rises without end, Newton's steps walk outwards until its slope, which shrinks, passes for zero.
Such fits are found by their standard errors or their theta, and then judged exactly: by a linear programme for the
fixed part (`responses.separation`), and by -2 log L far out for the random part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..engine.batch import Batch, run
from ..glmm.optimum import deviance_at
from ..glmm.problem import GlmmRows, GlmmStructure
from ..kernels.newton import CONVERGED, Optimum
from ..priors.distributions import TOO_FEW_LEVELS
from ..priors.penalty import Penalty
from .responses.separation import find_separation

# standard errors of coefficients of columns of unit root mean square, and SDs of such random effects, that ordinary
# data have not
LARGE_ERROR, LARGE_SD = 2.0, 6.0
# SDs beyond which a maximum is one of the Laplace approximation alone: the likelihood is flat there
HOPELESS_SD = 20.0
# logarithm of a gamma shape, one over the squared coefficient of variation, that only rounding keeps finite
LARGE_LOG_SHAPE = float(np.log(1e10))
# factors on theta and on all coefficients where -2 log L is looked at again
FAR = (10.0, 100.0)


@dataclass(frozen=True)
class JudgedSets:
    """Data sets whose fits are judged.

    Parameters
    ----------
    batch : Batch
        Of generalised linear mixed models.
    names : tuple of str
        Of the p coefficients that have no prior.
    levels : tuple of str
        Categories of an ordinal response.
    labels : sequence
        Of the data sets, for sentences.
    rows : callable
        From the number of a data set to its fixed columns without a prior (n, p), response (n,) and weights (n,).
    penalty : Penalty, optional
        What a prior adds to -2 log L.
    """

    batch: Batch
    names: tuple[str, ...]
    levels: tuple[str, ...]
    labels: Sequence[object]
    rows: Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]
    penalty: Penalty | None = None

    @property
    def structure(self) -> GlmmStructure:
        """What is compiled."""
        return cast(GlmmStructure, cast(Any, self.batch.structure))

    def where(self, k: int) -> str:
        """One of the data sets as a sentence names it."""
        return f"in data set {self.labels[k]}" if self.batch.n_sets > 1 else "of the data"


def without_maximum(sets: JudgedSets, opt: Optimum, errors: np.ndarray) -> dict[int, str]:
    """Find the data sets without a maximum, with the reason in a sentence.

    Parameters
    ----------
    sets : JudgedSets
    opt : Optimum
        ``theta`` holds all parameters inside.
    errors : ndarray (K, p)
        Standard errors of the coefficients inside, and of the thresholds of an ordinal response.
    """
    d = sets.structure.theta_map.n_theta
    failed = np.asarray(opt.status) != CONVERGED
    sds = np.max(np.abs(np.nan_to_num(np.asarray(opt.theta)[:, :d])), axis=1, initial=0.0)
    wide = sds > LARGE_SD
    far = failed | ~(np.max(errors, axis=1, initial=0.0) < LARGE_ERROR)  # NaN is suspicious
    found = _exact(sets, np.asarray(opt.theta))
    suspects = np.flatnonzero(far | wide | _lacks_category(sets)).tolist()
    found |= {k: reason for k in suspects if k not in found and (reason := _separated(sets, k))}
    rest = np.array([k for k in np.flatnonzero(failed | wide).tolist() if k not in found], dtype=int)
    if len(rest):
        hopeless = (sds[rest] > HOPELESS_SD) & (failed[rest] | (sets.penalty is None))
        for k in rest[hopeless | _falls_without_end(sets, opt, rest)].tolist():
            found[k] = _endless_variance(sets, k, sds[k])
    return found


def _endless_variance(sets: JudgedSets, k: int, sd: float) -> str:
    if sets.penalty is not None:
        return f"the penalised likelihood {sets.where(k)} has no maximum: {TOO_FEW_LEVELS}"
    return (
        f"the random effects all but determine the outcome {sets.where(k)}: their variance goes to infinity (SD "
        f"{sd:.3g} on the scale of the linear predictor); use fewer random terms, or a prior of finite scale, as in "
        "cov_prior=rx.priors.Wishart(scale=10.0)"
    )


def _exact(sets: JudgedSets, parameters: np.ndarray) -> dict[int, str]:
    """Gamma responses that are explained without error, so that their shape goes to infinity."""
    if sets.structure.family.name != "gamma":
        return {}
    return {
        k: f"the model explains the response {sets.where(k)} exactly: its shape goes to infinity"
        for k in np.flatnonzero(~(parameters[:, -1] < LARGE_LOG_SHAPE)).tolist()
    }


def _lacks_category(sets: JudgedSets) -> np.ndarray:
    """Data sets (K,) in which a category of an ordinal response does not occur."""
    lacks = np.zeros(sets.batch.n_sets, bool)
    if sets.structure.family.name != "ordinal":
        return lacks
    rows = cast(GlmmRows, sets.batch.problem.products)
    y, counts = np.asarray(rows.y), np.asarray(rows.weight) > 0
    for code in range(sets.structure.family.n_shape + 1):
        lacks |= ~(counts & (y == code)).any(axis=(1, 2))
    return lacks


def _separated(sets: JudgedSets, k: int) -> str:
    found = find_separation(*sets.rows(k), sets.structure.family, sets.names, sets.labels[k], sets.levels)
    return "" if found is None else found.reason


def _falls_without_end(sets: JudgedSets, opt: Optimum, which: np.ndarray) -> np.ndarray:
    """Whether -2 log L is not higher far out, where all linear predictors are so many times as large, (len(which),)."""
    family = sets.structure.family
    here, value = np.asarray(opt.theta)[which], np.asarray(opt.value)[which]
    moved = np.arange(here.shape[1]) < here.shape[1] - (0 if family.name == "ordinal" else family.n_shape)
    part = sets.batch.take(which)
    out = np.zeros(len(which), bool)
    for factor in FAR:
        far = np.where(moved, factor * here, here)
        there = np.asarray(run(deviance_at, part, far, some=True))
        d, own = sets.structure.theta_map.n_theta, cast(GlmmRows, part.problem.products).prior
        if sets.penalty is not None:
            there = there + sets.penalty.value(far[:, :d])
        if own is not None:
            there = there + own.value(far[:, d : d + sets.structure.n_fixed])
        out |= there <= value + 1e-6
    return out
