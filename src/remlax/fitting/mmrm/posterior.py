"""Draws of the parameters of one fit: covariance parameters from a normal distribution, coefficients given them."""

from __future__ import annotations

import numpy as np

from ...engine.batch import run
from ...mmrm.conditional import conditional
from .fit import MmrmFitted


def draw_parameters(fitted: MmrmFitted, covariance_z: np.ndarray, beta_z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw coefficients (K, p) and covariance matrices (K, g, T, T) around the estimates of one data set.

    The unconstrained covariance parameters are normal, with the inverse of half the Hessian of the criterion as their
    covariance: a normal approximation to their posterior distribution under a flat prior. Coefficients follow given
    them, as they do under a flat prior.

    Parameters
    ----------
    fitted : MmrmFitted
        One data set, fitted.
    covariance_z : ndarray (K, d)
        Standard normal draws of the covariance parameters.
    beta_z : ndarray (K, p)
        Standard normal draws of the coefficients.
    """
    model, p = fitted.model, len(fitted.model.keep)
    # criterion = -2 log L: half its Hessian is the information
    factor = np.linalg.cholesky(np.asarray(fitted.opt.hess)[0] / 2)
    phi = fitted.theta[0] + np.linalg.solve(factor.T, covariance_z.T).T
    found = run(conditional, model.batch, phi, which=np.zeros(len(phi), int))
    away = np.einsum("kji,kj->ki", np.asarray(found.root)[:, :p, :p], beta_z)
    gamma = np.asarray(found.gamma)[:, :p] + away
    scale = float(model.y_scale[0])
    return model.ols[0] + gamma @ model.inverse[0].T * scale, np.asarray(found.sigma) * scale**2
