"""Likelihoods of generalised linear mixed models at parameters that all data sets share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..engine.batch import run
from ..errors import FitError
from ..fitting.glmm import GlmmFitted
from ..glmm.optimum import derivatives_at, deviance_at
from ..kernels.criterion import Derivatives

# Newton decrement, in units of deviance, at which the common optimum counts as found; and where no step helps
TOL, TOL_NOISE = 1e-8, 1e-5
MOST_STEPS, MOST_HALVINGS = 100, 30
# eigenvalue of the Hessian, over its largest, below which a direction counts as flat
FLAT = 1e-12
# diagonal entries of theta (of unit columns) that are looked at twice, and where the second look starts
NEAR_ZERO, FAR_FROM_ZERO = 1e-3, 0.3
NOT_FOUND = "the fit of all data sets at common parameters (D4) did not converge: use D3, or D2 with use='likelihood'"

Sum = Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]]


def glmm_loglik_at(fits: GlmmFitted, theta: np.ndarray, beta: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Log-likelihood of every data set (K,) at theta inside (d,), coefficients (p,) and shape parameters (s,)."""
    return np.asarray(-np.asarray(run(deviance_at, fits.model.batch, fits.parameters(theta, beta, shape))) / 2)


def glmm_stacked_loglik(fits: GlmmFitted, theta: np.ndarray) -> float:
    """Maximum over common parameters of the sum of the data sets' log-likelihoods (Chan & Meng 2022).

    Gradient and Hessian are the sums of the data sets'. The search starts at theta (d,), and the means of the others.

    Raises
    ------
    FitError
        The optimiser did not get there.
    """
    d = len(theta)
    # coordinates of the first data set: those of others are a matrix times them
    beta = fits.beta.mean(axis=0)
    common = np.linalg.solve(fits.model.inverse[0], beta)
    start = np.concatenate([theta, common, fits.shape.mean(axis=0) - fits.centre[0] @ beta])
    total = _sum_over_sets(fits)
    found, best = _newton(total, start)
    diagonal = np.flatnonzero(fits.theta_map.diagonal)
    if (np.abs(found[diagonal]) < NEAR_ZERO).any():
        # the sum is stationary at a zero diagonal whether or not that is its minimum
        again = found.copy()
        again[:d][diagonal] = np.maximum(np.abs(found[diagonal]), FAR_FROM_ZERO)
        best = min(best, _newton(total, again)[1])
    return -best / 2


def _sum_over_sets(fits: GlmmFitted) -> Sum:
    """-2 log L summed over the data sets with its derivatives in (theta, coefficients and shape of the first set)."""
    structure, inverse = fits.structure, fits.model.inverse
    d, p, padded, s = structure.theta_map.n_theta, inverse.shape[1], structure.n_fixed, structure.family.n_shape
    change = np.zeros((fits.n_sets, structure.n_parameters, d + p + s))
    change[:, :d, :d], change[:, d + padded :, d + p :] = np.eye(d), np.eye(s)
    change[:, d + padded :, d : d + p] = ((fits.centre[0] - fits.centre) @ inverse[0])[:, None]
    change[:, d : d + p, d : d + p] = np.linalg.solve(inverse, np.broadcast_to(inverse[0], inverse.shape))

    def total(at: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        found: Derivatives = run(derivatives_at, fits.model.batch, change @ at)
        grad = np.einsum("kai,ka->i", change, np.asarray(found.grad))
        hess = np.einsum("kai,kab,kbj->ij", change, np.asarray(found.hess), change)
        return float(np.sum(np.asarray(found.value))), grad, hess

    return total


def _newton(total: Sum, at: np.ndarray) -> tuple[np.ndarray, float]:
    """Newton's method with halved steps, downhill also where the curvature is negative: the minimum and its value."""
    value, grad, hess = total(at)
    for _ in range(MOST_STEPS):
        if not (np.isfinite(value) and np.isfinite(hess).all()):
            break
        size, axes = np.linalg.eigh(hess)
        along = axes.T @ grad
        step = -along / np.maximum(np.abs(size), FLAT * np.abs(size).max())
        decrement = -float(along @ step)
        if decrement <= TOL:
            return at, value
        for halving in range(MOST_HALVINGS):
            trial = at + axes @ (step * 0.5**halving)
            there = total(trial)
            if there[0] < value:
                break
        else:
            if decrement <= TOL_NOISE:
                return at, value
            break
        at, (value, grad, hess) = trial, there
    raise FitError(NOT_FOUND)
