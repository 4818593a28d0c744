"""psi, the parameters of structured random terms, and theta, the relative Cholesky entries, as a function of them.

A structured term has standard deviations, relative to the residual's, and perhaps one correlation. Lambda is the
diagonal matrix of the SDs times the Cholesky factor of the correlation matrix. The correlation stands in psi as an
angle in which this factor is smooth up to the limits of the correlation and the covariance is even beyond them, so that
an optimum at a limit is a stationary point, as a zero on the diagonal of an unstructured Lambda is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import jax.numpy as jnp
import numpy as np

from ...shapes import Bool, Float
from ..theta import ThetaMap, Thetas, array_module, canonical_theta

# shares of the angle of the upper and of the lower limit of a correlation
STARTS = (0.75, -0.6)
Kind = Literal["diag", "cs", "ar1"]


@dataclass(frozen=True)
class CovarianceStructure:
    """Form of the covariance matrix of a random term; without one (``us``) it is any.

    Parameters
    ----------
    kind : "diag", "cs" or "ar1"
        No correlations, one correlation of all pairs, or correlations rho^|i - j|.
    hom : bool
        One standard deviation for all columns, or one for each.
    """

    kind: Kind
    hom: bool

    @property
    def words(self) -> str:
        """Name as tables print it: ``"cs"``, ``"cs (hom)"``."""
        return f"{self.kind} (hom)" if self.hom else self.kind

    @property
    def has_correlation(self) -> bool:
        """Whether a correlation is among the parameters."""
        return self.kind != "diag"

    @property
    def bounded(self) -> bool:
        """Whether the covariance changes with the sign of an SD, so that SDs end at zero."""
        return self.has_correlation and not self.hom

    def n_sds(self, q: int) -> int:
        """Number of SDs of a term with q columns."""
        return 1 if self.hom else q

    def size(self, q: int) -> int:
        """Number of parameters of a term with q columns."""
        return self.n_sds(q) + self.has_correlation

    def least(self, q: int) -> float:
        """Lower limit of the correlation; the upper one is 1."""
        return -1.0 / (q - 1) if self.kind == "cs" else -1.0

    def folded(self, angle: Thetas, q: int) -> Thetas:
        """Angle of the same correlation between the limits."""
        xp = array_module(angle)
        out: Thetas
        if self.kind == "ar1":
            out = xp.arctan2(xp.sin(angle), abs(xp.cos(angle)))
        else:
            middle = self._middle(q)
            out = xp.arctan2(abs(xp.sin(middle + angle)), abs(xp.cos(middle + angle))) - middle
        return out

    def factor(self, angle: Thetas, q: int) -> Thetas:
        """Cholesky factor (..., q, q) of the correlation matrix at an angle (...), which is 0 for no correlation."""
        return self._ar1(angle, q) if self.kind == "ar1" else self._cs(angle, q)

    def angles(self, q: int) -> tuple[float, float]:
        """Angles of the limits of the correlation."""
        if self.kind == "ar1":
            return -math.pi / 2, math.pi / 2
        return -self._middle(q), math.pi / 2 - self._middle(q)

    def _middle(self, q: int) -> float:
        least = self.least(q)
        return math.asin(math.sqrt(-least / (1 - least)))

    def _ar1(self, angle: Thetas, q: int) -> Thetas:
        xp = array_module(angle)
        rho = xp.sin(angle)
        powers = [xp.ones_like(rho)]
        for _ in range(q - 1):
            powers.append(powers[-1] * rho)
        lag = np.abs(np.subtract.outer(np.arange(q), np.arange(q)))
        below = xp.stack(powers, -1)[..., lag] * xp.tri(q, dtype=rho.dtype)
        first = np.arange(q) == 0
        out: Thetas = below * xp.where(first, xp.ones_like(rho)[..., None], xp.cos(angle)[..., None])[..., None, :]
        return out

    def _cs(self, angle: Thetas, q: int) -> Thetas:
        """Columns have one number on the diagonal and one below it; see ``tests/fitting/test_structured.py``."""
        xp, least = array_module(angle), self.least(q)
        sine, cosine = xp.sin(self._middle(q) + angle)[..., None], xp.cos(self._middle(q) + angle)[..., None]
        rho = least + (1 - least) * sine * sine
        j = xp.arange(q, dtype=rho.dtype)
        before, here = 1 + (j - 1) * rho, 1 + j * rho
        rest = math.sqrt(1 - least) * cosine  # its square is 1 - rho
        # the last column ends where 1 + (q - 1) rho = (q - 1) (1 - least) sine^2
        last = math.sqrt((q - 1) * (1 - least)) * sine
        first, inner, one = np.arange(q) == 0, np.arange(q) < q - 1, xp.ones_like(before)
        over, root = xp.sqrt(xp.where(first, one, before)), xp.sqrt(xp.where(inner, here, one))
        diagonal = xp.where(first, one, rest * xp.where(inner, root, last) / over)
        beneath = xp.where(first, rho, rho * rest / (root * over))
        eye, below = xp.eye(q, dtype=rho.dtype), xp.tri(q, k=-1, dtype=rho.dtype)
        out: Thetas = eye * diagonal[..., None, :] + below * beneath[..., None, :]
        return out


@dataclass(frozen=True)
class TermParameters:
    """One random term: its entries of theta and of psi, which are the same without a structure."""

    structure: CovarianceStructure | None
    q: int
    theta: tuple[int, int]
    psi: tuple[int, int]


@dataclass(frozen=True)
class ParameterMap:
    """Map from psi to theta: per term its entries of theta, or SDs and then the angle of the correlation.

    Parameters
    ----------
    theta_map : ThetaMap
    structures : tuple of CovarianceStructure or None
        One per term, in the order of theta.
    widths : tuple of int
        Columns of the terms.
    """

    theta_map: ThetaMap
    structures: tuple[CovarianceStructure | None, ...]
    widths: tuple[int, ...]

    @cached_property
    def terms(self) -> tuple[TermParameters, ...]:
        """Where the terms stand."""
        out, theta, psi = [], 0, 0
        for structure, q in zip(self.structures, self.widths, strict=True):
            entries = q * (q + 1) // 2
            size = entries if structure is None else structure.size(q)
            out.append(TermParameters(structure, q, (theta, theta + entries), (psi, psi + size)))
            theta, psi = theta + entries, psi + size
        return tuple(out)

    @property
    def n_theta(self) -> int:
        """Length of psi, which takes the place of theta in a search."""
        return self.terms[-1].psi[1]

    @cached_property
    def sds(self) -> tuple[np.ndarray, ...]:
        """Places in psi of the SDs of each term; without a structure, of the diagonal of Lambda."""
        out = []
        for term in self.terms:
            at = np.arange(*term.psi)
            if term.structure is None:
                out.append(at[self.theta_map.diagonal[slice(*term.theta)]])
            else:
                out.append(at[: term.structure.n_sds(term.q)])
        return tuple(out)

    @property
    def diagonal(self) -> Bool[np.ndarray, " d"]:
        """Boolean mask of the entries of psi that are SDs or stand on a diagonal of Lambda, shape (d,)."""
        return np.isin(np.arange(self.n_theta), np.concatenate(self.sds))

    def start(self) -> Float[np.ndarray, " d"]:
        """Parameters of Lambda = I."""
        return self.diagonal.astype(np.float64)

    def more_starts(self) -> list[Float[np.ndarray, " d"]]:
        """Starts at large correlations of either sign, where the criterion may have another minimum.

        NaN asks for what the criterion starts from.
        """
        found = [(at[-1] + 1, term) for term, at in zip(self.terms, self.sds, strict=True)
                 if term.structure is not None and term.structure.has_correlation]  # fmt: skip
        out = []
        for share in STARTS if found else ():
            start = np.full(self.n_theta, np.nan)
            for place, term in found:
                assert term.structure is not None  # by which it was found
                least, most = term.structure.angles(term.q)
                start[place] = share * (most if share > 0 else -least)
            out.append(start)
        return out

    @property
    def lower(self) -> tuple[float, ...]:
        """Least values: 0 of SDs that the sign matters of, minus infinity of what may have either sign."""
        out = np.full(self.n_theta, -np.inf)
        for term, at in zip(self.terms, self.sds, strict=True):
            if term.structure is not None and term.structure.bounded:
                out[at] = 0.0
        return tuple(out.tolist())

    def theta(self, psi: Thetas) -> Thetas:
        """Theta (..., t) at psi (..., d), with JAX or NumPy."""
        xp, parts = array_module(psi), []
        for term in self.terms:
            own = psi[..., slice(*term.psi)]
            if term.structure is not None:
                col, row = np.triu_indices(term.q)
                n = term.structure.n_sds(term.q)
                sd = own[..., :n]
                if term.structure.has_correlation:
                    lam = sd[..., None] * term.structure.factor(own[..., n], term.q)
                else:
                    lam = (sd if n == term.q else xp.repeat(sd, term.q, -1))[..., None] * xp.eye(
                        term.q, dtype=psi.dtype
                    )
                own = lam[..., row, col]
            parts.append(own)
        out: Thetas = xp.concatenate(parts, -1)
        return out

    def canonical(self, psi: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "k d"]:
        """Psi (K, d) of the same covariances with no SD negative and correlations between their limits."""
        out = np.array(psi)
        for term, at in zip(self.terms, self.sds, strict=True):
            if term.structure is not None:
                out[:, at] = np.abs(psi[:, at])
                if term.structure.has_correlation:
                    out[:, at[-1] + 1] = term.structure.folded(psi[:, at[-1] + 1], term.q)
        theta = canonical_theta(self.theta(out), self.theta_map)
        for term in self.terms:
            if term.structure is None:
                out[:, slice(*term.psi)] = theta[:, slice(*term.theta)]
        return out

    def covariance_slopes(self, psi: Float[np.ndarray, " d"]) -> Float[np.ndarray, "t d"]:
        """Derivatives of the entries of Lambda Lambda', in the order of theta, at a psi (d,); on the host."""
        # complex steps: the functions are analytic, and nothing is subtracted
        theta, out = self.theta(psi + 1e-30j * np.eye(self.n_theta)), np.empty((self.terms[-1].theta[1], self.n_theta))
        for term in self.terms:
            col, row = np.triu_indices(term.q)
            lam = np.zeros((self.n_theta, term.q, term.q), complex)
            lam[:, row, col] = theta[:, slice(*term.theta)]
            out[slice(*term.theta)] = (lam @ lam.swapaxes(1, 2))[:, row, col].imag.T / 1e-30
        return out

    def slopes(self, psi: Float[np.ndarray, " d"]) -> Float[np.ndarray, "t d"]:
        """Derivatives of theta at a psi (d,); on the host."""
        return np.asarray(self.theta(psi + 1e-30j * np.eye(self.n_theta)).imag.T / 1e-30)

    def from_theta(self, theta: Float[jnp.ndarray, " t"]) -> Float[jnp.ndarray, " d"]:
        """Psi near a theta (t,) with a diagonal Lambda, as starts have."""
        parts = []
        for term in self.terms:
            own = theta[slice(*term.theta)]
            if term.structure is not None:
                sd = own[np.flatnonzero(self.theta_map.diagonal[slice(*term.theta)])]
                own = jnp.mean(sd, keepdims=True) if term.structure.hom else sd
                own = jnp.append(own, jnp.zeros(int(term.structure.has_correlation), theta.dtype))
            parts.append(own)
        return jnp.concatenate(parts)
