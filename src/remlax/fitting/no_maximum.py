"""Fits of generalised linear mixed models that went outwards: is there a maximum of the likelihood at all?

Where the likelihood rises without end, Newton's steps walk outwards until its slope, which shrinks, passes for zero.
Such fits are found by their standard errors or their theta, and then judged exactly: by a linear programme for the
fixed part (`responses.separation`), and by -2 log L far out for the random part.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from ..engine.batch import run
from ..glmm.optimum import deviance_at
from ..glmm.problem import GlmmStructure
from ..kernels.newton import CONVERGED, Optimum
from .assemble import Assembled
from .responses.response import GlmmResponse
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


def without_maximum(model: Assembled, response: GlmmResponse, opt: Optimum, errors: np.ndarray) -> dict[int, str]:
    """Find the data sets without a maximum, with the reason in a sentence.

    Parameters
    ----------
    model : Assembled
    response : GlmmResponse
    opt : Optimum
        ``theta`` holds all parameters inside.
    errors : ndarray (K, p)
        Standard errors of the coefficients inside, and of the thresholds of an ordinal response.
    """
    d = model.layout.structure.theta_map.n_theta
    failed = np.asarray(opt.status) != CONVERGED
    sds = np.max(np.abs(np.nan_to_num(np.asarray(opt.theta)[:, :d])), axis=1, initial=0.0)
    wide = sds > LARGE_SD
    far = failed | ~(np.max(errors, axis=1, initial=0.0) < LARGE_ERROR)  # NaN is suspicious
    found = _exact(model, response, np.asarray(opt.theta))
    suspects = np.flatnonzero(far | wide | _lacks_category(model, response)).tolist()
    found |= {k: reason for k in suspects if k not in found and (reason := _separated(model, response, k))}
    rest = np.array([k for k in np.flatnonzero(failed | wide).tolist() if k not in found], dtype=int)
    if len(rest):
        for k in rest[(sds[rest] > HOPELESS_SD) | _falls_without_end(model, opt, rest)].tolist():
            found[k] = (
                f"the random effects all but determine the outcome {_where(model, k)}: their variance goes to "
                f"infinity (SD {sds[k]:.3g} on the scale of the linear predictor); use fewer random terms, or a "
                "penalised fit (blme::bglmer)"
            )
    return found


def _exact(model: Assembled, response: GlmmResponse, parameters: np.ndarray) -> dict[int, str]:
    """Gamma responses that are explained without error, so that their shape goes to infinity."""
    if response.family.name != "gamma":
        return {}
    return {
        k: f"the model explains the response {_where(model, k)} exactly: its shape goes to infinity"
        for k in np.flatnonzero(~(parameters[:, -1] < LARGE_LOG_SHAPE)).tolist()
    }


def _lacks_category(model: Assembled, response: GlmmResponse) -> np.ndarray:
    """Data sets (K,) in which a category of an ordinal response does not occur."""
    n_sets = model.rows.n_sets
    if response.family.name != "ordinal":
        return np.zeros(n_sets, bool)
    return np.array([len(np.unique(response.y.of(k))) < len(response.levels) for k in range(n_sets)])


def _where(model: Assembled, k: int) -> str:
    return f"in data set {model.rows.labels[k]}" if model.rows.n_sets > 1 else "of the data"


def _separated(model: Assembled, response: GlmmResponse, k: int) -> str:
    rows = model.rows
    found = find_separation(
        rows.x.of(k)[:, model.keep],
        response.y.of(k),
        response.weight.of(k),
        response.family,
        tuple(model.fixed_names),
        rows.labels[k],
        response.levels,
    )
    return "" if found is None else found.reason


def _falls_without_end(model: Assembled, opt: Optimum, which: np.ndarray) -> np.ndarray:
    """Whether -2 log L is not higher far out, where all linear predictors are so many times as large, (len(which),)."""
    structure = cast(GlmmStructure, model.batch.structure)
    here, value = np.asarray(opt.theta)[which], np.asarray(opt.value)[which]
    n_shape = structure.family.n_shape
    moved = np.arange(here.shape[1]) < here.shape[1] - (0 if structure.family.name == "ordinal" else n_shape)
    part = model.batch.take(which)
    out = np.zeros(len(which), bool)
    for factor in FAR:
        there = np.asarray(run(deviance_at, part, np.where(moved, factor * here, here), some=True))
        out |= there <= value + 1e-6
    return out
