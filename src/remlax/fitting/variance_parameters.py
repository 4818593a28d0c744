"""SDs, correlations, variances and covariances as functions of (theta, log sigma), with their sampling covariances."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..kernels.restarts import BOUNDARY
from .fit import Fitted
from .satterthwaite import variance_covariance

# sqrt(1 - rho^2) below this: the conditional SD of one effect given the other is zero for lme4's isSingular
RHO_TOL = 1e-4


@dataclass(frozen=True, eq=False)
class VarianceParameters:
    """The r variance parameters of every data set, in the order of ``VarCorr``: per term SDs, then correlations; sigma.

    Parameters
    ----------
    pairs : tuple of (int, int, int)
        Term and the two columns (equal for an SD); the residual has term -1.
    sdcor, vcov : ndarray (K, r)
        SDs and correlations; variances and covariances.
    boundary : ndarray of bool (K, r)
        Zero SDs, correlations of +-1, and what has no estimate next to them.
    jacobian : ndarray (K, r, d + 1)
        Derivatives of (log SD, atanh correlation, log sigma) in (theta, log sigma); zero where ``boundary``.
    cov_jacobian : ndarray (K, r, d + 1)
        Derivatives of variances and covariances.
    cov_boundary : ndarray of bool (K, r)
        Variances and covariances without a standard error.
    information : ndarray (K, d + 1, d + 1)
        Sampling covariance of (theta, log sigma).
    lost, cov_lost : ndarray of bool (K, r)
        SDs and correlations, and variances and covariances, that are not identified: random terms repeat each other.
    """

    pairs: tuple[tuple[int, int, int], ...]
    sdcor: np.ndarray
    vcov: np.ndarray
    boundary: np.ndarray
    jacobian: np.ndarray
    cov_jacobian: np.ndarray
    cov_boundary: np.ndarray
    information: np.ndarray
    lost: np.ndarray
    cov_lost: np.ndarray

    @property
    def is_sd(self) -> np.ndarray:
        """Boolean (r,): SDs, the residual's included."""
        return np.array([a == b for _, a, b in self.pairs])

    def scaled_variance(self) -> np.ndarray:
        """Sampling variances of (log SD, atanh correlation, log sigma), (K, r); NaN where one has none."""
        found = np.einsum("kri,kij,krj->kr", self.jacobian, self.information, self.jacobian)
        return np.where(self.boundary | self.lost, np.nan, found)

    def covariance_variance(self) -> np.ndarray:
        """Sampling variances of variances and covariances, (K, r); NaN where one has none."""
        found = np.einsum("kri,kij,krj->kr", self.cov_jacobian, self.information, self.cov_jacobian)
        return np.where(self.cov_boundary | self.cov_lost, np.nan, found)


def variance_parameters(fitted: Fitted, lanes: np.ndarray) -> VarianceParameters:
    """Read the variance parameters of some data sets off a stack.

    The covariance of (theta, log sigma) is 2 H^-1 with H the Hessian of the unprofiled REML or ML deviance at its
    minimum, so that the delta method gives the covariance of any smooth function of them. Parameters on the boundary
    are left out: there a diagonal entry of theta is zero, the deviance is even in it, and the others do not feel it.
    """
    n, width = len(lanes), fitted.theta.shape[1] + 1
    sigma = fitted.sigma[lanes]
    pairs: list[tuple[int, int, int]] = []
    columns: list[tuple[np.ndarray, ...]] = []
    for t, term in enumerate(fitted.model.layout.terms):
        lam = fitted.relative_factor(t)[lanes]
        norm = np.sqrt(np.einsum("kij,kij->ki", lam, lam))
        where = np.zeros((term.q, term.q), dtype=int)
        col, row = np.triu_indices(term.q)
        where[row, col] = np.arange(width - 1)[term.theta]
        for a in range(term.q):
            pairs.append((t, a, a))
            columns.append(_sd(lam, norm, where, a, sigma, width))
        for a, b in combinations(range(term.q), 2):
            pairs.append((t, a, b))
            columns.append(_correlation(lam, norm, where, (a, b), sigma, width))
    pairs.append((-1, 0, 0))
    columns.append(_residual(sigma, n, width))
    sdcor, vcov, boundary, jacobian, cov_jacobian, cov_boundary = (
        np.stack(part, axis=1) for part in zip(*columns, strict=True)
    )
    lost, cov_lost = fitted.redundancies.parameters(lanes)
    return VarianceParameters(
        tuple(pairs),
        sdcor,
        vcov,
        # what is not identified may be zero by chance
        boundary & ~lost,
        jacobian,
        cov_jacobian,
        cov_boundary,
        variance_covariance(fitted, lanes),
        lost,
        cov_lost,
    )


def _sd(
    lam: np.ndarray, norm: np.ndarray, where: np.ndarray, a: int, sigma: np.ndarray, width: int
) -> tuple[np.ndarray, ...]:
    """One SD: values, variance, boundary, derivatives of log SD and of the variance."""
    zero = norm[:, a] < BOUNDARY
    jacobian = np.zeros((len(sigma), width))
    jacobian[:, where[a, : a + 1]] = lam[:, a, : a + 1]
    variance = (sigma * norm[:, a]) ** 2
    cov_jacobian = 2 * sigma[:, None] ** 2 * jacobian
    cov_jacobian[:, -1] = 2 * variance
    jacobian /= np.where(zero, 1.0, norm[:, a] ** 2)[:, None]
    jacobian[:, -1] = 1.0
    return sigma * norm[:, a], variance, zero, np.where(zero[:, None], 0.0, jacobian), cov_jacobian, zero


def _correlation(
    lam: np.ndarray, norm: np.ndarray, where: np.ndarray, pair: tuple[int, int], sigma: np.ndarray, width: int
) -> tuple[np.ndarray, ...]:
    """One correlation: values, covariance, boundary, derivatives of atanh and of the covariance."""
    a, b = pair
    zero = (norm[:, pair] < BOUNDARY).any(axis=1)
    product = np.where(zero, 1.0, norm[:, a] * norm[:, b])
    rho = np.clip(np.einsum("kj,kj->k", lam[:, a], lam[:, b]) / product, -1.0, 1.0)
    edge = zero | (np.sqrt(1 - rho**2) < RHO_TOL)
    jacobian, cov_jacobian = np.zeros((len(sigma), width)), np.zeros((len(sigma), width))
    for this, other in ((a, b), (b, a)):
        part = slice(0, this + 1)
        at = where[this, part]
        length = np.where(zero, 1.0, norm[:, this] ** 2)[:, None]
        jacobian[:, at] = lam[:, other, part] / product[:, None] - rho[:, None] * lam[:, this, part] / length
        cov_jacobian[:, at] = sigma[:, None] ** 2 * lam[:, other, part]
    covariance = sigma**2 * np.einsum("kj,kj->k", lam[:, a], lam[:, b])
    cov_jacobian[:, -1] = 2 * covariance
    jacobian /= np.where(edge, 1.0, 1 - rho**2)[:, None]
    return np.where(zero, np.nan, rho), covariance, edge, np.where(edge[:, None], 0.0, jacobian), cov_jacobian, edge


def _residual(sigma: np.ndarray, n: int, width: int) -> tuple[np.ndarray, ...]:
    jacobian = np.zeros((n, width))
    jacobian[:, -1] = 1.0
    never = np.zeros(n, dtype=bool)
    return sigma, sigma**2, never, jacobian, 2 * sigma[:, None] ** 2 * jacobian, never
