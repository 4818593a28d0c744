"""Fits of a model with one variance beside the residual's to responses that share all rows: see `diagonal`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..engine.batch import Batch
from ..engine.fit import fit
from ..engine.shapes import bucket, host_leaf
from ..fitting.assemble import Assembled
from ..fitting.find_redundancy import find_redundancies
from ..fitting.refit import ResponseProducts
from ..inference.satterthwaite import scaled_pinv
from ..kernels.criterion import LOG_2PI
from ..kernels.inference import LEAST_INFORMATION, LEAST_VARIANCE
from ..kernels.newton import NO_RESIDUAL, NOT_FINITE, Newton, Optimum
from ..kernels.problem import Structure
from ..kernels.restarts import on_boundary
from .diagonal import Diagonal, DiagonalDeviance, DiagonalProducts, Eigenvalues
from .estimates import ResponseFits

# levels up to which all eigenvectors are worth their time
MOST_LEVELS = 1024
# eigenvalues below the first share of the largest are zero; between the two rounding decides about them
ZERO, DOUBTFUL = 1e-13, 1e-6
# eigenvalues that a program has at least
LEAST_SIZE = 16
DEVIANCE = DiagonalDeviance()


@dataclass(frozen=True, eq=False)
class OneVariance:
    """What responses to one design with a single variance share, in the coordinates of its cross-products.

    Parameters
    ----------
    model : Assembled
    squares : ndarray (levels,)
        Z'Z, which is diagonal.
    zx : ndarray (p, levels)
        Z'X.
    values : ndarray (levels,)
        Eigenvalues of Z'QZ, Q the projection that takes X away.
    vectors : ndarray (levels, levels)
    """

    model: Assembled
    squares: np.ndarray
    zx: np.ndarray
    values: np.ndarray
    vectors: np.ndarray

    @property
    def degrees(self) -> float:
        """Degrees of freedom: n - p under REML, n under ML."""
        n, p = self.model.rows.n_rows(0), len(self.model.keep)
        return float(n - p if self.model.layout.structure.reml else n)

    def fit(self, found: ResponseProducts) -> ResponseFits:
        """Fit all responses (m,), whose products with the design are known."""
        zy = found.zy[0][:, :, 0]
        along = zy @ self.vectors
        used = self.values > 0
        squares = np.where(used, along**2 / np.where(used, self.values, 1.0), 0.0)
        rest = np.maximum(found.wy[:, -1] - squares.sum(axis=1), 0.0)
        own = self.model.batch.one(0).products
        reml, n = self.model.layout.structure.reml, self.degrees
        constant = float(own.constant if reml else own.constant_ml) + n * (1 + LOG_2PI - np.log(n))
        # programs serve again for other numbers of levels: an eigenvalue of zero without a square adds nothing
        extra = bucket(len(self.values), LEAST_SIZE) - len(self.values)
        products = DiagonalProducts(
            squares=host_leaf(np.pad(squares, ((0, 0), (0, extra)))),
            ww=host_leaf(rest[:, None, None]),
            n_obs=host_leaf(np.full(len(zy), n)),
            constant=host_leaf(constant + n * 2 * np.log(found.scale)),
        )
        structure = Structure(self.model.layout.structure.theta_map, (products.squares.shape[1],), 0, reml)
        both = (self.values, self.values if reml else self.squares)
        index = Eigenvalues(*(host_leaf(np.pad(values, (0, extra))) for values in both))
        batch = Batch(cast(Any, Diagonal(structure, products, index)))
        return self._solved(fit(batch, Newton(), cast(Any, DEVIANCE)), found, squares, rest, products)

    def _solved(
        self,
        opt: Optimum,
        found: ResponseProducts,
        squares: np.ndarray,
        rest: np.ndarray,
        products: DiagonalProducts,
    ) -> ResponseFits:
        """Express the optima in the user's units, with derivatives as in `solve_with_information`."""
        theta, n, p = np.abs(np.asarray(opt.theta)[:, 0]), self.degrees, len(self.zx)
        t = (theta**2)[:, None]
        share = 1 / (1 + t * self.values)
        explained = squares * share
        r2 = rest + explained.sum(axis=1)
        cov, gamma, d_cov = self._coefficients(theta, found)
        sigma2 = r2 / n
        # of log r2 in t = theta^2, then of the criterion
        slope = -(explained * (share * self.values)).sum(axis=1) / r2
        curvature = 2 * (explained * (share * self.values) ** 2).sum(axis=1) / r2 - slope**2
        log_share = self.values if self.model.layout.structure.reml else self.squares
        log_slope = log_share / (1 + t * log_share)
        by_t = log_slope.sum(axis=1) + n * slope
        by_tt = n * curvature - (log_slope**2).sum(axis=1)
        slope = 2 * theta * slope  # in theta
        hess = np.empty((len(theta), 2, 2))
        hess[:, 0, 0] = 2 * by_t + 4 * t[:, 0] * by_tt + n * slope**2
        hess[:, 0, 1] = hess[:, 1, 0] = -2 * n * slope
        hess[:, 1, 1] = 4 * n
        inverse, scale = self.model.inverse[0], found.scale
        unit = (sigma2 * scale**2)[:, None, None]
        derivatives = np.stack([inverse @ d_cov @ inverse.T, 2 * (inverse @ cov @ inverse.T)], axis=3)
        fits = ResponseFits.none(len(theta), p, 1)
        fits.beta[:] = (found.gamma + gamma * scale[:, None]) @ inverse.T
        fits.d_cov[:] = derivatives * unit[..., None]
        fits.vcov[:] = fits.d_cov[..., 1] / 2
        fits.spread[:] = 2 * scaled_pinv(hess)
        fits.theta[:] = self.model.outer_theta(theta[:, None])
        fits.sigma[:] = np.sqrt(sigma2) * scale
        fits.criterion[:] = np.log1p(t * log_share).sum(axis=1) + n * np.log(r2) + products.constant
        fits.gradient[:] = np.abs(np.asarray(opt.grad)[:, 0])
        fits.decrement[:], fits.evaluations[:], fits.starts[:] = opt.decrement, opt.evaluations, opt.starts
        fits.n_obs[:], fits.rank[:] = self.model.rows.n_rows(0), p
        fits.singular[:] = on_boundary(theta[:, None], self.model.layout.structure.theta_map)
        # of log SD, and of log sigma, which is the last
        of_sd = np.stack([1 / np.where(fits.singular, np.nan, theta), np.ones(len(theta))], axis=1)
        relative = np.einsum("ki,kij,kj->k", of_sd, fits.spread, of_sd)
        sds = np.stack([fits.theta[:, 0], np.ones(len(theta))], axis=1) * fits.sigma[:, None]
        fits.error[:] = sds * np.sqrt(np.stack([relative, fits.spread[:, 1, 1]], axis=1))
        fits.cov_error[:] = 2 * sds * fits.error
        largest = np.max(np.diagonal(cov, axis1=1, axis2=2), axis=1, initial=0.0)
        degenerate = (sigma2 < LEAST_VARIANCE) | (largest > 1 / LEAST_INFORMATION)
        status = np.where(degenerate, NO_RESIDUAL, np.asarray(opt.status))
        fits.status[:] = np.where(np.isfinite(fits.criterion) & np.isfinite(fits.sigma), status, NOT_FINITE)
        return fits

    def _coefficients(self, theta: np.ndarray, found: ResponseProducts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(X'V^-1 X)^-1 (m, p, p), coefficients (m, p) and the derivative of the first in theta."""
        p, t = len(self.zx), (theta**2)[:, None]
        share = 1 / (1 + t * self.squares)
        pairs = (self.zx[:, None] * self.zx).reshape(p * p, len(self.squares))
        m = np.eye(p) - ((t * share) @ pairs.T).reshape(len(theta), p, p)
        cov = np.linalg.inv(m)
        gamma = cov @ (found.wy[:, :-1] - (t * share * found.zy[0][:, :, 0]) @ self.zx.T)[:, :, None]
        d_m = (-2 * theta[:, None] * share**2 @ pairs.T).reshape(len(theta), p, p)
        return cov, gamma[:, :, 0], -cov @ d_m @ cov


def one_variance(model: Assembled) -> OneVariance | None:
    """Prepare a design of one data set; None where it has more variances, or needs what is known of single fits only.

    That is so where rounding decides about eigenvalues, variances are not identified, or fixed and random effects
    together could explain every response.
    """
    structure = model.layout.structure
    if structure.theta_map.n_theta != 1 or structure.q != (1,):
        return None
    n_levels, p = model.layout.factors[0].n_levels, len(model.keep)
    if n_levels > MOST_LEVELS or p + n_levels >= model.rows.n_rows(0):
        return None
    if find_redundancies(model).each[0] is not None:
        return None
    own = model.batch.one(0).products
    squares = np.asarray(own.zz[0])[0, 0, :n_levels]
    zx = np.asarray(own.zr[0])[0, :p, :n_levels]
    values, vectors = np.linalg.eigh(np.diag(squares) - zx.T @ zx)
    relative = values / values[-1]
    if ((np.abs(relative) > ZERO) & (relative < DOUBTFUL)).any():
        return None
    return OneVariance(model, squares, zx, np.where(relative > ZERO, values, 0.0), vectors)
