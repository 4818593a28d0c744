"""Variance components and shares of variance as functions of all parameters, and their derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from ..fitting.layout import Layout
from ..fitting.units import Units
from ..tables.varcorr import layout_labels

STEP = 1e-30


@dataclass(frozen=True, eq=False)
class Quantities:
    """Functions of (beta, theta inside, log sigma).

    Parameters
    ----------
    layout : Layout
    x_spread : ndarray (..., p, p)
        Covariance of the columns of X.
    z_squares : tuple of ndarray (..., q, q)
        Mean of z z' per term, of the columns inside.
    units : tuple of Units
    """

    layout: Layout
    x_spread: np.ndarray
    z_squares: tuple[np.ndarray, ...]
    units: tuple[Units, ...]

    def values(self, parameters: np.ndarray) -> np.ndarray:
        """Values (..., r), in the order of `labels`, at parameters (..., s), which may be complex."""
        p, d = self.x_spread.shape[-1], self.layout.structure.theta_map.n_theta
        beta, theta = parameters[..., :p], parameters[..., p : p + d]
        sigma2 = np.exp(2 * parameters[..., -1])
        spreads, covariances, random = [], [], dict[str, np.ndarray]()
        for term, squares in zip(self.layout.terms, self.z_squares, strict=True):
            inside = _covariance(theta[..., term.theta], term.q) * sigma2[..., None, None]
            outside = self.units[term.factor].outside[term.columns, term.columns]
            cov = outside @ inside @ outside.T
            sd = np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1))
            pairs = list(combinations(range(term.q), 2))
            with np.errstate(invalid="ignore", divide="ignore"):
                correlations = [cov[..., a, b] / (sd[..., a] * sd[..., b]) for a, b in pairs]
            spreads += [*np.moveaxis(sd, -1, 0), *correlations]
            covariances += [cov[..., a, a] for a in range(term.q)] + [cov[..., a, b] for a, b in pairs]
            own = np.sum(inside * squares, axis=(-2, -1))
            random[term.group] = random.get(term.group, 0) + own
        fixed = np.einsum("...i,...ij,...j->...", beta, self.x_spread, beta)
        effects = sum(random.values())
        shares = [own / (effects + sigma2 + extra) for own in random.values() for extra in (0, fixed)]
        whole = fixed + effects + sigma2
        r2 = [fixed / whole, (fixed + effects) / whole]
        return np.stack([*spreads, np.sqrt(sigma2), *covariances, sigma2, *shares, *r2], axis=-1)

    def jacobian(self, parameters: np.ndarray) -> np.ndarray:
        """Derivatives (..., r, s), by complex steps, which are exact."""
        out = []
        for j in range(parameters.shape[-1]):
            step = parameters.astype(complex)
            step[..., j] += 1j * STEP
            with np.errstate(invalid="ignore", divide="ignore"):
                out.append(self.values(step).imag / STEP)
        return np.stack(out, axis=-1)


def labels(layout: Layout) -> pd.DataFrame:
    """Block, group and name of every value: blocks sdcor, vcov, icc and r2."""
    names = layout_labels(layout)
    rows = []
    for block, kinds in (("sdcor", ("sd", "cor")), ("vcov", ("var", "cov"))):
        for label, term in zip(names, layout.terms, strict=True):
            pairs = [(a, a) for a in range(term.q)] + list(combinations(range(term.q), 2))
            rows += [(block, label, term.label(a, b, kinds)) for a, b in pairs]
        rows.append((block, "Residual", f"{kinds[0]}__Observation"))
    groups = dict.fromkeys(term.group for term in layout.terms)
    rows += [("icc", group, kind) for group in groups for kind in ("adjusted", "unadjusted")]
    rows += [("r2", "", kind) for kind in ("marginal", "conditional")]
    return pd.DataFrame(rows, columns=["block", "group", "term"])


def _covariance(theta: np.ndarray, q: int) -> np.ndarray:
    """Lambda Lambda' (..., q, q) of the entries (..., q (q + 1) / 2) of Lambda, column by column."""
    col, row = np.triu_indices(q)
    lam = np.zeros((*theta.shape[:-1], q, q), theta.dtype)
    lam[..., row, col] = theta
    return np.asarray(lam @ lam.swapaxes(-1, -2))
