"""Satterthwaite degrees of freedom (Giesbrecht & Burns 1985, Biometrics 41:477; Kuznetsova et al. 2017, JSS 82(13))."""

from __future__ import annotations

import numpy as np

from .fit import Fitted

# eigenvalues of the information below this share of the largest carry no information (a boundary component)
EIGEN_TOL = 1e-10


def variance_covariance(fitted: Fitted) -> np.ndarray:
    """Asymptotic covariance of (theta, log sigma), 2 H^+, of every data set: (K, d + 1, d + 1).

    Components on the boundary have a zero derivative there; where the deviance is flat in them they are left out by
    the pseudo-inverse.
    """
    hess = fitted.information.hess
    finite = np.isfinite(hess).all(axis=(1, 2))
    out = np.full_like(hess, np.nan)
    scale = np.sqrt(np.maximum(np.abs(np.diagonal(hess[finite], axis1=1, axis2=2)), 1e-300))
    unit = hess[finite] / (scale[:, :, None] * scale[:, None, :])
    size, vectors = np.linalg.eigh(unit)
    keep = size > EIGEN_TOL * size[:, -1:]
    inverse = np.where(keep, 1.0 / np.where(keep, size, 1.0), 0.0)
    pinv = np.einsum("kia,ka,kja->kij", vectors, inverse, vectors)
    out[finite] = 2 * pinv / (scale[:, :, None] * scale[:, None, :])
    return out


def satterthwaite_df(fitted: Fitted, contrasts: np.ndarray) -> np.ndarray:
    """Degrees of freedom 2 (l'Cl)^2 / Var(l'Cl) of every contrast in every data set.

    Parameters
    ----------
    fitted : Fitted
    contrasts : ndarray (r, p)

    Returns
    -------
    ndarray (K, r)
    """
    variance = np.einsum("ri,kij,rj->kr", contrasts, fitted.vcov, contrasts)
    grad = np.einsum("ri,kijt,rj->krt", contrasts, fitted.information.d_cov, contrasts)
    spread = np.einsum("krs,kst,krt->kr", grad, variance_covariance(fitted), grad)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(2 * variance**2 / spread)
