"""Likelihoods of several data sets at parameters that they share, of mixed models for repeated measures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from ...engine.batch import Batch, run
from ...engine.joint_fit import optimised
from ...engine.shapes import host_leaf
from ...errors import FitError
from ...fitting.mmrm.fit import MmrmFitted
from ...kernels.newton import CONVERGED, Newton
from ...mmrm.criterion import deviance_given
from ...mmrm.optimum import fit
from ...mmrm.problem import Moments, pairs, places
from ..common_basis import CommonBasis
from ..glmm_likelihood import NOT_FOUND


def mmrm_loglik_at_means(fits: MmrmFitted) -> np.ndarray:
    """Log-likelihood of every data set (K,) at the means of coefficients and covariance matrices, which D3 asks for."""
    model, p = fits.model, len(fits.model.keep)
    gamma = np.zeros((fits.n_sets, fits.structure.n_fixed))
    shift = (fits.beta.mean(axis=0) - model.ols)[:, :, None]
    gamma[:, :p] = np.linalg.solve(model.inverse, shift)[:, :, 0] / model.y_scale[:, None]
    sigma = fits.sigmas.mean(axis=0) / (model.y_scale**2)[:, None, None, None]
    return np.asarray(-np.asarray(run(deviance_given, model.batch, sigma, gamma)) / 2)


def mmrm_stacked_loglik(fits: MmrmFitted) -> float:
    """Maximum over common parameters of the sum of the data sets' log-likelihoods (Chan & Meng 2022).

    It is that of the data sets stacked, every patient of every imputation a patient of his own: the moments add up.

    Raises
    ------
    FitError
        The optimiser did not get there.
    """
    problem, basis = fits.model.batch.problem, CommonBasis.of(fits.model)
    given, width, p = problem.products, fits.structure.n_fixed + 1, len(fits.model.keep)
    used = np.append(np.arange(p), width - 1)
    each = np.asarray(given.moments)[..., places(width)[np.ix_(used, used)]]
    total = np.zeros((*each.shape[1:-2], len(pairs(width)[0])))
    a, b = pairs(p + 1)
    total[..., places(width)[used[a], used[b]]] = basis.sum(each)[..., a, b]
    constant = host_leaf(np.sum(np.asarray(given.constant_ml), keepdims=True))
    products = Moments(
        moments=host_leaf(total[None]),
        counts=host_leaf(np.sum(np.asarray(given.counts), axis=0, keepdims=True)),
        padded=host_leaf(np.asarray(given.padded)[:1]),
        n_obs=host_leaf(np.sum(np.asarray(given.n_obs), keepdims=True)),
        n_fixed=host_leaf(np.asarray(given.n_fixed)[:1]),
        constant=constant,
        constant_ml=constant,
        log_scale=host_leaf(np.full(1, 2 * np.log(basis.scale))),
    )
    batch = Batch(cast(Any, replace(problem, products=products))).with_reml(False)
    found = optimised(batch, Newton(), cast(Any, fit))[0]
    if found.status[0] != CONVERGED:
        raise FitError(NOT_FOUND)
    return -float(found.value[0]) / 2
