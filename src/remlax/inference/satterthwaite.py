"""Satterthwaite degrees of freedom (Giesbrecht & Burns 1985, Biometrics 41:477; Kuznetsova et al. 2017, JSS 82(13))."""

from __future__ import annotations

import numpy as np

from ..fitting.find_redundancy import congruence
from ..fitting.redundancy import Redundancy
from ..fitting.selection import Selection
from ..kernels.estimates import EIGEN_TOL
from ..kernels.restarts import BOUNDARY
from ..kernels.structured.parameters import ParameterMap

# length of what a direction without units has outside of those that theta can go
WITHIN = 1e-6
# lmerTest's get_Fstat_ddf: rows whose df agree to this are taken to have one common df
SAME_DF = 1e-8


def scaled_pinv(matrices: np.ndarray) -> np.ndarray:
    """Pseudo-inverse of symmetric matrices (K, d, d), brought to a unit diagonal first; NaN where not finite."""
    finite = np.isfinite(matrices).all(axis=(1, 2))
    out = np.full_like(matrices, np.nan)
    diagonal = np.abs(np.diagonal(matrices[finite], axis1=1, axis2=2))
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    unit = matrices[finite] / (scale[:, :, None] * scale[:, None, :])
    size, vectors = np.linalg.eigh(unit)
    keep = size > EIGEN_TOL * size[:, -1:]
    inverse = np.where(keep, 1.0 / np.where(keep, size, 1.0), 0.0)
    out[finite] = np.einsum("kia,ka,kja->kij", vectors, inverse, vectors) / (scale[:, :, None] * scale[:, None, :])
    return out


def variance_covariance(fits: Selection) -> np.ndarray:
    """Asymptotic covariance of (theta inside, log sigma), 2 H^+, of every data set: (K, d + 1, d + 1).

    Components on the boundary have a zero derivative there; where the deviance is flat in them they are left out by
    the pseudo-inverse. Directions that the design leaves undetermined are left out as well: what they change has no
    variance.
    """
    if fits.model.layout.parameters is not None:
        return _structured_covariance(fits, fits.model.layout.parameters)
    hess = np.asarray(fits.fitted.information.hess)[fits.index]
    out = 2 * scaled_pinv(hess)
    for i, k in enumerate(fits.index):
        redundancies = fits.fitted.redundancies.each[k]
        if redundancies is not None and (of_terms := redundancies.of_terms) is not None:
            basis = _determined_basis(fits.one(k), of_terms)
            out[i] = 2 * basis @ scaled_pinv((basis.T @ hess[i] @ basis)[None])[0] @ basis.T
    return out


def _structured_covariance(fits: Selection, parameters: ParameterMap) -> np.ndarray:
    """Asymptotic covariance where theta is a function of psi, of lower rank; SDs that end at zero have none there."""
    found = fits.fitted.structured_information
    hess, jacobian = (np.asarray(part)[fits.index] for part in (found.hess, found.jacobian))
    psi = fits.fitted.psi[fits.index]
    free = np.pad((psi >= BOUNDARY) | np.isinf(parameters.lower), ((0, 0), (0, 1)), constant_values=True)
    covariance = 2 * scaled_pinv(hess * free[:, :, None] * free[:, None, :])
    return np.asarray(jacobian @ covariance @ jacobian.swapaxes(1, 2))


def _determined_basis(fit: Selection, redundancy: Redundancy) -> np.ndarray:
    """Basis (d + 1, d + 1 - k) of the directions of (theta inside, log sigma) beside those that leave V as it is."""
    moves, inside = _moves(fit)
    null, _ = np.linalg.qr(inside @ redundancy.root @ redundancy.null)
    left, size, right = np.linalg.svd(moves)
    reached = size > BOUNDARY
    left, size, right = left[:, reached], size[reached], right[reached]
    # at a zero pivot of Lambda some directions of phi are out of reach
    outside = np.linalg.svd(null - left @ (left.T @ null))
    within = null @ outside[2][np.append(outside[1], np.zeros(null.shape[1]))[: null.shape[1]] < WITHIN].T
    tied = right.T @ ((left.T @ within) / size[:, None])
    return np.asarray(np.linalg.qr(tied, mode="complete")[0][:, tied.shape[1] :])


def _moves(fit: Selection) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of phi inside over sigma^2 in (theta inside, log sigma), and phi inside as a function of phi."""
    d = fit.fitted.theta.shape[1]
    moves, inside = np.zeros((d + 1, d + 1)), np.eye(d + 1)
    moves[-1, -1] = 2.0
    for t, term in enumerate(fit.model.layout.terms):
        units = fit.model.units[term.factor].inside[term.columns, term.columns]
        inside[term.theta, term.theta] = congruence(units)
        lam = fit.fitted.inner_factor(t)[fit.k]
        col, row = np.triu_indices(term.q)
        moves[term.theta, -1] = 2 * (lam @ lam.T)[row, col]
        for entry, (i, j) in enumerate(zip(row, col, strict=True), start=term.theta.start):
            change = np.zeros((term.q, term.q))
            change[i] = lam[:, j]
            moves[term.theta, entry] = (change + change.T)[row, col]
    return moves, inside


def satterthwaite_df(fits: Selection, contrasts: np.ndarray) -> np.ndarray:
    """Degrees of freedom 2 (l'Cl)^2 / Var(l'Cl), (K, r), of contrasts (r, p), or of each data set's own, (K, r, p)."""
    rows = np.broadcast_to(contrasts, (fits.n_sets, *contrasts.shape[-2:]))
    variance = np.einsum("kri,kij,krj->kr", rows, fits.vcov, rows)
    grad = np.einsum("kri,kijt,krj->krt", rows, np.asarray(fits.fitted.information.d_cov)[fits.index], rows)
    return matched_df(variance, grad, variance_covariance(fits))


def matched_df(variance: np.ndarray, grad: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """Degrees of freedom 2 v^2 / (g'Ag) of variances v (K, r) with derivatives g (K, r, t), A (K, t, t)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = grad / variance[:, :, None]  # squares of variances could leave the range of double precision
        return np.asarray(2 / np.einsum("krs,kst,krt->kr", relative, cov, relative))


def satterthwaite_joint_df(fits: Selection, contrasts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrees of freedom of the F test that contrasts (q, p) are zero, in every data set.

    The eigenvectors of L C L' give uncorrelated contrasts, each with its own df; the F statistic is referred to the F
    distribution whose mean is that of the sum of squared t (Kuznetsova et al. 2017, 3.2).

    Returns
    -------
    df1 : ndarray of int (K,)
        Rank of L C L'.
    df2 : ndarray (K,)
    """
    variance = np.einsum("ri,kij,sj->krs", contrasts, fits.vcov, contrasts)
    size, vectors = np.linalg.eigh(variance)
    positive = size > np.finfo(float).eps * size[:, -1:]
    rows = np.einsum("krm,ri->kmi", vectors, contrasts)
    by_row = satterthwaite_df(fits, rows)
    df2 = np.array([joint_df(nu[use]) for nu, use in zip(by_row, positive, strict=True)])
    return positive.sum(axis=1), df2


def joint_df(by_row: np.ndarray) -> float:
    """Denominator df of an F test from those of its uncorrelated rows (q,)."""
    if len(by_row) == 1 or np.all(np.abs(np.diff(by_row)) < SAME_DF):
        return float(by_row.mean())
    if not (by_row > 2).all():
        return 2.0 if np.isfinite(by_row).all() else float("nan")
    mean = np.sum(by_row / (by_row - 2))
    return float(2 * mean / (mean - len(by_row)))
