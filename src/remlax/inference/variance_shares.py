"""Variances of the fixed part, of each grouping factor and of the residual, as functions of all parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fitting.assemble import inner_columns
from ..fitting.find_redundancy import congruence
from ..fitting.layout import TermLayout
from ..fitting.selection import Selection
from ..fitting.units import Units
from .satterthwaite import variance_covariance


@dataclass(frozen=True, eq=False)
class VarianceShares:
    """Variance components of the response of K data sets, with their derivatives.

    The components are those of the fixed part, of every grouping factor (in lme4's order), of every factor's intercept
    alone, and of the residual. The variance of a factor with random slopes is the mean over the rows of z'Sigma z
    (Johnson 2014).
    """

    labels: tuple[str, ...]  # g grouping factors
    has_slopes: np.ndarray  # (g,)
    has_intercept: np.ndarray
    fixed: np.ndarray  # (K,)
    random: np.ndarray  # whole factors, (K, g)
    intercept: np.ndarray  # their intercepts
    residual: np.ndarray  # (K,)
    # derivatives in (beta, theta inside, log sigma), s = p + d + 1: (K, s) or (K, g, s). Generalised models have the
    # logarithm of their shape parameter, or nothing, in place of log sigma
    d_fixed: np.ndarray
    d_random: np.ndarray
    d_intercept: np.ndarray
    d_residual: np.ndarray
    covariance: np.ndarray  # of (beta, theta inside, log sigma), (K, s, s)
    # linear functions of the entries of the covariance matrices and sigma^2, (K, g, d + 1)
    random_phi: np.ndarray
    intercept_phi: np.ndarray
    method: str = ""  # what the residual variance of a generalised model is

    def variance_of(self, jacobian: np.ndarray) -> np.ndarray:
        """Sampling variances (K, r) of functions with derivatives (K, r, s)."""
        return np.asarray(np.einsum("kri,kij,krj->kr", jacobian, self.covariance, jacobian))


def _intercept_moments(term: TermLayout, units: Units) -> np.ndarray:
    """What the square of the user's intercept is in the columns inside, (q, q); zeros where the term has none."""
    if "Intercept" not in term.names:
        return np.zeros((term.q, term.q))
    row_of_one = units.outside[term.columns, term.columns][term.names.index("Intercept")]
    return np.outer(row_of_one, row_of_one)


def variance_shares(fits: Selection) -> VarianceShares:
    """Split the variance of the response of some data sets.

    The variance of the fixed part is that of x'beta over the rows (divisor n - 1); an offset does not count.

    References
    ----------
    Nakagawa, S. and Schielzeth, H. (2013). Methods Ecol. Evol. 4, 133-142.
    Johnson, P. C. D. (2014). Methods Ecol. Evol. 5, 944-946.
    """
    model, n_sets, p = fits.model, fits.n_sets, fits.fitted.beta.shape[1]
    factors = list(dict.fromkeys(term.factor for term in model.layout.terms))
    n_theta = fits.fitted.theta.shape[1]
    width = p + n_theta + 1
    fixed, d_fixed = np.zeros(n_sets), np.zeros((n_sets, width))
    random, intercept = np.zeros((n_sets, len(factors))), np.zeros((n_sets, len(factors)))
    d_random, d_intercept = (np.zeros((n_sets, len(factors), width)) for _ in range(2))
    phi_random, phi_intercept = (np.zeros((n_sets, len(factors), n_theta + 1)) for _ in range(2))
    sigma2 = fits.sigma**2
    for i, k in enumerate(fits.index):
        fixed[i], d_fixed[i, :p] = _fixed_variance(fits.one(k))
        z = inner_columns(model, int(k))
        for t, term in enumerate(model.layout.terms):
            g, columns, units = factors.index(term.factor), z[term.factor][:, term.columns], model.units[term.factor]
            lam = fits.fitted.inner_factor(t)[k]
            col, row = np.triu_indices(term.q)
            at = p + np.arange(n_theta)[term.theta]
            first = _intercept_moments(term, units)
            change = congruence(units.inside[term.columns, term.columns])
            for moments, value, slope, phi in (
                (columns.T @ columns / len(columns), random, d_random, phi_random),
                (first, intercept, d_intercept, phi_intercept),
            ):
                product = moments @ lam
                value[i, g] += sigma2[i] * float(np.sum(lam * product))
                slope[i, g, at] += 2 * sigma2[i] * product[row, col]
                phi[i, g, term.theta] = (np.where(row == col, 1, 2) * moments[row, col]) @ change
    d_random[:, :, -1], d_intercept[:, :, -1] = 2 * random, 2 * intercept
    d_residual = np.zeros((n_sets, width))
    d_residual[:, -1] = 2 * sigma2
    covariance = np.zeros((n_sets, width, width))
    covariance[:, :p, :p] = fits.vcov
    covariance[:, p:, p:] = variance_covariance(fits)
    names = [[name for t in model.layout.terms if t.factor == f for name in t.names] for f in factors]
    return VarianceShares(
        tuple(model.layout.factors[f].label for f in factors),
        np.array([any(name != "Intercept" for name in own) for own in names]),
        np.array(["Intercept" in own for own in names]),
        *(fixed, random, intercept, sigma2),
        *(d_fixed, d_random, d_intercept, d_residual),
        *(covariance, phi_random, phi_intercept),
    )


def _fixed_variance(fit: Selection) -> tuple[float, np.ndarray]:
    """Variance of x'beta over the rows and its derivative in beta."""
    x = fit.rows.x.of(fit.k)[:, fit.model.keep]
    centred = x - x.mean(axis=0)
    deviation = centred @ fit.fitted.beta[fit.k]
    n = len(x) - 1
    return float(deviation @ deviation / n), 2 * centred.T @ deviation / n
