"""SDs, correlations, variances and covariances as functions of (theta, log sigma), with their sampling covariances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fitting.selection import Selection
from ..kernels.restarts import BOUNDARY
from .satterthwaite import variance_covariance

# sqrt(1 - rho^2) below this: the conditional SD of one effect given the other is zero for lme4's isSingular
RHO_TOL = 1e-4


@dataclass(frozen=True, eq=False)
class VarianceParameters:
    """The r variance parameters of every data set, as in ``VarCorr``: per term SDs, then correlations; sigma."""

    pairs: tuple[tuple[int, int, int], ...]  # term and the two columns (equal for an SD); the residual has term -1
    sdcor: np.ndarray  # SDs and correlations, (K, r)
    vcov: np.ndarray  # variances and covariances, (K, r)
    boundary: np.ndarray  # (K, r): zero SDs, correlations of +-1, and what has no estimate next to them
    # derivatives of (log SD, atanh correlation, log sigma) in (theta inside, log sigma), (K, r, d + 1); 0 on the edge
    jacobian: np.ndarray
    cov_jacobian: np.ndarray  # derivatives of variances and covariances, (K, r, d + 1)
    cov_boundary: np.ndarray  # (K, r): variances and covariances without a standard error
    information: np.ndarray  # sampling covariance of (theta inside, log sigma), (K, d + 1, d + 1)
    lost: np.ndarray  # (K, r): SDs and correlations that are not identified, since random terms repeat each other
    cov_lost: np.ndarray  # the same of variances and covariances

    @property
    def is_sd(self) -> np.ndarray:
        """Boolean (r,): SDs, the residual's included."""
        return np.array([a == b for _, a, b in self.pairs])

    def scaled_variance(self) -> np.ndarray:
        """Sampling variances of (log SD, atanh correlation, log sigma), (K, r); NaN where one has none."""
        variance = np.einsum("kri,kij,krj->kr", self.jacobian, self.information, self.jacobian)
        return np.where(self.boundary | self.lost, np.nan, variance)

    def error(self) -> np.ndarray:
        """Standard errors of SDs and correlations, (K, r); NaN where one has none."""
        with np.errstate(invalid="ignore"):
            slope = np.where(self.is_sd, self.sdcor, 1 - self.sdcor**2)
            return np.asarray(slope * np.sqrt(self.scaled_variance()))

    def covariance_error(self) -> np.ndarray:
        """Standard errors of variances and covariances, (K, r); NaN where one has none."""
        # their squares could leave the range of double precision
        size = np.max(np.abs(self.cov_jacobian), axis=2, initial=0.0)
        relative = self.cov_jacobian / np.where(size > 0, size, 1.0)[:, :, None]
        error = np.sqrt(np.einsum("kri,kij,krj->kr", relative, self.information, relative)) * size
        return np.where(self.cov_boundary | self.cov_lost, np.nan, error)


def variance_parameters(fits: Selection) -> VarianceParameters:
    """Find the variance parameters of some data sets.

    The covariance of (theta, log sigma) is 2 H^-1 with H the Hessian of the unprofiled REML or ML deviance at its
    minimum, so that the delta method gives the covariance of any smooth function of them. Parameters on the boundary
    are left out: there a diagonal entry of theta is zero, the deviance is even in it, and the others do not feel it.
    """
    n, width = fits.n_sets, fits.fitted.theta.shape[1] + 1
    sigma = fits.sigma
    pairs: list[tuple[int, int, int]] = []
    columns: list[tuple[np.ndarray, ...]] = []
    for t, term in enumerate(fits.model.layout.terms):
        own = _Term.of(fits, t)
        for a, b in term.parameters:
            pairs.append((t, a, b))
            columns.append(_sd(own, a, sigma, width) if a == b else _correlation(own, a, b, sigma, width))
    if fits.fitted.has_sigma:
        pairs.append((-1, 0, 0))
        columns.append(_residual(sigma, n, width))
    sdcor, vcov, boundary, jacobian, cov_jacobian, cov_boundary = (
        np.stack(part, axis=1) for part in zip(*columns, strict=True)
    )
    lost, cov_lost = fits.fitted.redundancies.parameters(fits.index)
    boundary = boundary & ~lost  # what is not identified may be zero by chance
    covariance = variance_covariance(fits)
    return VarianceParameters(
        tuple(pairs), sdcor, vcov, boundary, jacobian, cov_jacobian, cov_boundary, covariance, lost, cov_lost
    )


@dataclass(frozen=True, eq=False)
class _Term:
    """One term: the user's effects are `outside` times those inside, whose relative covariance has a root Lambda.

    outside (q, q); effects (K, q, q): outside @ Lambda, whose rows are as long as the relative SDs; norm (K, q); unit
    (K, q): lengths for columns of unit root mean square; rho (K, q, q): correlations of the effects inside; theta, row,
    col (q (q + 1) / 2,): where the entries of Lambda stand; least: lower limit of the correlations.
    """

    outside: np.ndarray
    effects: np.ndarray
    norm: np.ndarray
    unit: np.ndarray
    rho: np.ndarray
    theta: np.ndarray
    row: np.ndarray
    col: np.ndarray
    least: float = -1.0  # lower limit of the correlations

    @classmethod
    def of(cls, fits: Selection, t: int) -> _Term:
        term = fits.model.layout.terms[t]
        outside = fits.model.units[term.factor].outside[term.columns, term.columns]
        lam = fits.fitted.inner_factor(t)[fits.index]
        effects = outside @ lam
        norm, inner = np.linalg.norm(effects, axis=2), np.linalg.norm(lam, axis=2)
        both = inner[:, :, None] * inner[:, None, :]
        rho = np.clip((lam @ lam.swapaxes(1, 2)) / np.where(both == 0, 1.0, both), -1.0, 1.0)
        col, row = np.triu_indices(term.q)
        theta = np.arange(fits.fitted.theta.shape[1])[term.theta]
        least = -1.0 if term.structure is None else term.structure.least(term.q)
        return cls(outside, effects, norm, norm / np.linalg.norm(outside, axis=1), rho, theta, row, col, least)

    def moved(self, a: int, direction: np.ndarray) -> np.ndarray:
        """Derivative (K, entries) of the inner product of effect a with a fixed direction (K, q)."""
        return np.asarray(self.outside[a, self.row] * direction[:, self.col])


def _sd(term: _Term, a: int, sigma: np.ndarray, width: int) -> tuple[np.ndarray, ...]:
    """One SD: values, variance, boundary, derivatives of log SD and of the variance."""
    zero = term.unit[:, a] < BOUNDARY
    norm = term.norm[:, a]
    variance = (sigma * norm) ** 2
    jacobian, cov_jacobian = np.zeros((len(sigma), width)), np.zeros((len(sigma), width))
    moved = term.moved(a, term.effects[:, a])
    cov_jacobian[:, term.theta] = 2 * sigma[:, None] ** 2 * moved
    cov_jacobian[:, -1] = 2 * variance
    jacobian[:, term.theta] = moved / np.where(zero, 1.0, norm**2)[:, None]
    jacobian[:, -1] = 1.0
    return sigma * norm, variance, zero, np.where(zero[:, None], 0.0, jacobian), cov_jacobian, zero


def _correlation(term: _Term, a: int, b: int, sigma: np.ndarray, width: int) -> tuple[np.ndarray, ...]:
    """One correlation: values, covariance, boundary, derivatives of atanh and of the covariance."""
    zero = (term.unit[:, (a, b)] < BOUNDARY).any(axis=1)
    edge = zero | (np.sqrt(1 - term.rho[:, a, b] ** 2) < RHO_TOL)
    edge |= term.rho[:, a, b] - term.least < RHO_TOL**2
    one, other = (term.effects[:, j] / np.where(zero, 1.0, term.norm[:, j])[:, None] for j in (a, b))
    rho = np.clip(np.einsum("kj,kj->k", one, other), -1.0, 1.0)
    # 1 - rho^2 from what is left of one without the other costs no digits near +-1
    left, right = one - rho[:, None] * other, other - rho[:, None] * one
    rest = np.where(edge, 1.0, np.einsum("kj,kj->k", left, left))
    jacobian, cov_jacobian = np.zeros((len(sigma), width)), np.zeros((len(sigma), width))
    for j, away, beside in ((a, right, b), (b, left, a)):
        jacobian[:, term.theta] += term.moved(j, away) / np.where(zero, 1.0, term.norm[:, j] * rest)[:, None]
        cov_jacobian[:, term.theta] += sigma[:, None] ** 2 * term.moved(j, term.effects[:, beside])
    covariance = sigma**2 * np.einsum("kj,kj->k", term.effects[:, a], term.effects[:, b])
    cov_jacobian[:, -1] = 2 * covariance
    return np.where(zero, np.nan, rho), covariance, edge, np.where(edge[:, None], 0.0, jacobian), cov_jacobian, edge


def _residual(sigma: np.ndarray, n: int, width: int) -> tuple[np.ndarray, ...]:
    jacobian = np.zeros((n, width))
    jacobian[:, -1] = 1.0
    never = np.zeros(n, dtype=bool)
    return sigma, sigma**2, never, jacobian, 2 * sigma[:, None] ** 2 * jacobian, never
