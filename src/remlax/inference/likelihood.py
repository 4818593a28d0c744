"""Likelihoods of several data sets: at each one's own maximum, at given common parameters, at the best common ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy

from ..engine.batch import run
from ..errors import DataError, FitError
from ..fitting.checks import refuse_prior
from ..fitting.fit import Fitted, fit_assembled
from ..fitting.glmm import GlmmFitted
from ..fitting.mmrm.fit import MmrmFitted
from ..fitting.selection import Selection
from ..kernels.criterion import LOG_2PI
from ..kernels.inference import Bordered, bordered_derivatives
from ..kernels.newton import Optimum
from ..kernels.theta import lower_root
from .common_basis import CommonBasis
from .glmm_likelihood import FAR_FROM_ZERO, NEAR_ZERO, NOT_FOUND, glmm_loglik_at, glmm_stacked_loglik
from .mmrm.likelihood import mmrm_loglik_at_means, mmrm_stacked_loglik

# gradient norm at which the common optimum counts as found, in coordinates of unit curvature: its square is the
# deviance still to go
COMMON_TOL = 1e-4


@dataclass(frozen=True, eq=False)
class Common:
    """Parameters that all data sets share: beta (p,) and sigma in the user's units, theta (d,) inside."""

    beta: np.ndarray
    theta: np.ndarray
    sigma: float


NO_STRUCTURES = (
    "D3 and D4 need common covariance matrices of all imputations, which are not available for random terms with a "
    "covariance structure: use method='D1' for coefficients, or method='D2' with use='likelihood'"
)


def maximum_likelihood(fits: Selection) -> Fitted:
    """Fit some data sets of a batch by maximum likelihood; fits that were made so are taken as they are.

    The rows of the model are still those of the whole batch and may not be read.

    Raises
    ------
    DataError
        The fits have a prior.
    """
    refuse_prior(fits.model.prior_arguments, "tests of likelihood ratios compare maximised likelihoods")
    if isinstance(fits.fitted, GlmmFitted | MmrmFitted):
        return fits.fitted.by_maximum_likelihood(fits.index)
    model = fits.model
    structure = replace(model.layout.structure, reml=False)
    part = model.of_sets(fits.index)
    part = replace(part, layout=replace(model.layout, structure=structure), batch=part.batch.with_reml(False))
    if fits.fitted.reml:
        return fit_assembled(part, fits.fitted.optimizer)
    arrays = {name: value[fits.index] for name, value in vars(fits.fitted).items() if isinstance(value, np.ndarray)}
    opt = Optimum(*(part[fits.index] for part in fits.fitted.opt))
    return Fitted(model=part, optimizer=fits.fitted.optimizer, opt=opt, **arrays)


def mean_parameters(fits: Fitted) -> Common:
    """Means over the data sets of coefficients, covariance matrices of the terms and sigma^2, as mitml takes them."""
    if fits.model.layout.parameters is not None:
        raise DataError(NO_STRUCTURES)
    sigma = float(np.sqrt(np.mean(fits.sigma**2)))
    theta = np.zeros(fits.theta.shape[1])
    for t, term in enumerate(fits.model.layout.terms):
        col, row = np.triu_indices(term.q)
        lam = fits.inner_factor(t) * fits.sigma[:, None, None]
        theta[term.theta] = lower_root((lam @ lam.swapaxes(1, 2)).mean(axis=0))[row, col] / sigma
    return Common(fits.beta.mean(axis=0), theta, sigma)


def loglik_at_means(fits: Fitted) -> np.ndarray:
    """Log-likelihood of every data set at the means of the parameters, (K,), which D3 asks for."""
    if isinstance(fits, MmrmFitted):
        return mmrm_loglik_at_means(fits)
    at = mean_parameters(fits)
    if isinstance(fits, GlmmFitted):
        return glmm_loglik_at(fits, at.theta, at.beta, fits.shape.mean(axis=0))
    return loglik_at(fits, at)


def loglik_at(fits: Fitted, at: Common) -> np.ndarray:
    """Log-likelihood of every data set at common parameters, (K,)."""
    model, products = fits.model, fits.model.batch.problem.products
    log_det, _, m, _ = _bordered(fits, at.theta)
    gamma = np.linalg.solve(model.inverse, (at.beta - model.ols)[:, :, None])[:, :, 0] / model.y_scale[:, None]
    v = np.concatenate([-gamma, np.ones((len(gamma), 1))], axis=1)
    quadratic = np.einsum("ki,kij,kj->k", v, m, v) * model.y_scale**2
    n = np.asarray(products.n_obs)
    deviance = log_det + quadratic / at.sigma**2 + n * (LOG_2PI + 2 * np.log(at.sigma))
    return np.asarray(-(deviance + np.asarray(products.constant_ml)) / 2)


def _bordered(fits: Fitted, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """log|V| and its derivatives, M (K, p + 1, p + 1) and its derivatives at one theta; one program for REML and ML."""
    at = np.broadcast_to(theta, fits.theta.shape)
    parts: Bordered = run(bordered_derivatives, fits.model.batch.with_reml(True), at)
    m, d_m = np.asarray(parts.m), np.asarray(parts.d_m)
    # without padded columns
    keep = np.append(np.arange(fits.beta.shape[1]), m.shape[-1] - 1)
    rows, columns = keep[:, None], keep[None, :]
    return np.asarray(parts.log_det), np.asarray(parts.d_log_det), m[..., rows, columns], d_m[..., rows, columns]


def stacked_loglik(fits: Fitted) -> float:
    """Maximum over common parameters of the SUM of the data sets' log-likelihoods.

    It is the maximised log-likelihood of the stacked data in which every level of every imputation is a level of its
    own (Chan & Meng 2022). beta and sigma are profiled out of the summed cross-products, which leaves a problem in
    theta.

    Raises
    ------
    FitError
        The optimiser did not get there.
    """
    if isinstance(fits, MmrmFitted):
        return mmrm_stacked_loglik(fits)
    if isinstance(fits, GlmmFitted):
        return glmm_stacked_loglik(fits, mean_parameters(fits).theta)
    model, products, p = fits.model, fits.model.batch.problem.products, fits.beta.shape[1]
    basis, n = CommonBasis.of(model), float(np.sum(products.n_obs))
    constant = float(np.sum(products.constant_ml)) + n * (1 + LOG_2PI - np.log(n) + 2 * np.log(basis.scale))

    def deviance(theta: np.ndarray) -> tuple[float, np.ndarray]:
        log_det, d_log_det, m, d_m = _bordered(fits, theta)
        m, d_m = basis.sum(m), basis.sum(d_m)
        gamma = np.linalg.solve(m[:p, :p], m[:p, p])
        v = np.append(-gamma, 1.0)
        r2 = float(v @ m @ v)
        slope = d_log_det.sum(axis=0) + n * np.einsum("i,aij,j->a", v, d_m, v) / r2
        return float(np.sum(log_det)) + n * float(np.log(r2)) + constant, slope

    curvature = np.asarray(fits.opt.hess).sum(axis=0)
    start = mean_parameters(fits).theta
    theta, best = _minimize(deviance, start, curvature)
    diagonal = fits.theta_map.diagonal
    if (np.abs(theta[diagonal]) < NEAR_ZERO).any():
        # the sum is stationary at a zero diagonal whether or not that is its minimum
        again = np.where(diagonal, np.maximum(np.abs(theta), FAR_FROM_ZERO), theta)
        best = min(best, _minimize(deviance, again, curvature)[1])
    return -best / 2


def _minimize(
    deviance: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, curvature: np.ndarray
) -> tuple[np.ndarray, float]:
    """BFGS in coordinates where the curvature (d, d) is about the identity: the minimum and its value."""
    size, vectors = np.linalg.eigh(curvature)
    size = np.abs(size)
    axes = vectors / np.sqrt(np.maximum(size, 1e-6 * size.max()))
    first = deviance(start)[0]

    def shifted(phi: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = deviance(start + axes @ phi)
        return value - first, slope @ axes

    optimum = scipy.optimize.minimize(shifted, np.zeros(len(start)), jac=True, method="BFGS", options={"gtol": 1e-5})
    if not (np.isfinite(optimum.fun) and np.linalg.norm(optimum.jac) < COMMON_TOL):
        raise FitError(NOT_FOUND)
    return start + axes @ optimum.x, first + float(optimum.fun)
