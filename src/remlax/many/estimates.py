"""Estimates of one model for many responses, as arrays with a leading axis of responses, in the user's units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from ..fitting.fit import Fitted
from ..fitting.selection import Selection
from ..inference.satterthwaite import SAME_DF, matched_df
from ..inference.variance_parameters import variance_parameters
from ..kernels.newton import CONVERGED, STATUS_TEXT

# why a response has no fit at all
NO_VALUES, INFINITE, CONSTANT, EXPLAINED, NOT_ESTIMABLE, OUT_OF_RANGE = 10, 11, 12, 13, 14, 15
UNFITTED = frozenset((NO_VALUES, INFINITE, CONSTANT, EXPLAINED, NOT_ESTIMABLE, OUT_OF_RANGE))
VERDICTS = {
    **STATUS_TEXT,
    NO_VALUES: "no values",
    INFINITE: "infinite values",
    CONSTANT: "constant response",
    EXPLAINED: "explained exactly by the fixed part",
    NOT_ESTIMABLE: "not estimable from its rows",
    OUT_OF_RANGE: "too large or small for double precision",
}


@dataclass(frozen=True, eq=False)
class ResponseFits:
    """G fits of one model, each to a response of its own; NaN where there is none.

    Parameters
    ----------
    beta : ndarray (G, p)
        NaN where the rows of the response do not determine the coefficient, or only together with others.
    vcov : ndarray (G, p, p)
        Rows and columns of coefficients whose variance is not identified are NaN.
    d_cov : ndarray (G, p, p, d + 1)
        Derivatives of vcov in theta (of the columns inside) and log sigma.
    spread : ndarray (G, d + 1, d + 1)
        Asymptotic covariance of these.
    theta : ndarray (G, d)
        In lme4's order and scale.
    sigma, criterion, gradient, decrement : ndarray (G,)
    n_obs, rank, status, evaluations, starts : ndarray of int (G,)
        Rows, and the rank of the fixed part in them; how the fit went.
    singular : ndarray of bool (G,)
    average : ndarray (G,)
        Mean of the response over its rows.
    error, cov_error : ndarray (G, r)
        Standard errors of the SDs and correlations, and of the variances and covariances, in the order of VarCorr with
        the residual last; NaN on the boundary.
    """

    beta: np.ndarray
    vcov: np.ndarray
    d_cov: np.ndarray
    spread: np.ndarray
    theta: np.ndarray
    sigma: np.ndarray
    criterion: np.ndarray
    gradient: np.ndarray
    decrement: np.ndarray
    n_obs: np.ndarray
    rank: np.ndarray
    status: np.ndarray
    evaluations: np.ndarray
    starts: np.ndarray
    singular: np.ndarray
    average: np.ndarray
    error: np.ndarray
    cov_error: np.ndarray

    @classmethod
    def none(cls, n: int, p: int, d: int) -> Self:
        """Make room for n fits, of which none is there yet."""
        number, whole = np.full(n, np.nan), np.zeros(n, np.int32)
        return cls(
            beta=np.full((n, p), np.nan),
            vcov=np.full((n, p, p), np.nan),
            d_cov=np.full((n, p, p, d + 1), np.nan),
            spread=np.full((n, d + 1, d + 1), np.nan),
            theta=np.full((n, d), np.nan),
            sigma=number,
            criterion=number.copy(),
            gradient=number.copy(),
            decrement=number.copy(),
            n_obs=whole,
            rank=whole.copy(),
            status=np.full(n, NO_VALUES, np.int32),
            evaluations=whole.copy(),
            starts=whole.copy(),
            singular=np.zeros(n, bool),
            average=number.copy(),
            error=np.full((n, d + 1), np.nan),
            cov_error=np.full((n, d + 1), np.nan),
        )

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """Fits of one block of responses after the other."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    @classmethod
    def of(cls, fitted: Fitted, keep: np.ndarray) -> Self:
        """Take over the fits of a batch; ``keep`` are the coefficients that a fit may have, of the fixed part."""
        fits, found = Selection.all_of(fitted), fitted.information
        n, d = fitted.theta.shape
        out = cls.none(n, len(keep), d)
        here = np.flatnonzero(np.isin(keep, fitted.model.keep))
        out.beta[:, here] = fitted.beta
        out.vcov[:, here[:, None], here] = _known_covariances(fitted)
        out.d_cov[:, here[:, None], here] = np.asarray(found.d_cov)
        # coefficients that depend on which of the columns no row tells apart is left out have no meaning
        ties = fitted.model.ties
        lost = np.isin(ties.dropped, keep)
        tied = here[(ties.shares[:, lost] > 0).any(axis=1)]
        out.beta[:, tied] = np.nan
        out.vcov[:, tied], out.vcov[:, :, tied] = np.nan, np.nan
        out.rank[:] = len(here)
        opt, variances = fitted.opt, variance_parameters(fits)
        rest = {
            "spread": variances.information,
            "theta": fitted.theta,
            "sigma": fitted.sigma,
            "criterion": fitted.criterion,
            "gradient": np.max(np.abs(np.asarray(opt.grad)), axis=1),
            "decrement": opt.decrement,
            "n_obs": np.diff(fitted.model.rows.offsets),
            "status": fitted.status,
            "evaluations": opt.evaluations,
            "starts": opt.starts,
            "singular": fitted.singular,
            "error": variances.error(),
            "cov_error": variances.covariance_error(),
        }
        for name, values in rest.items():
            getattr(out, name)[:] = values
        return out

    def put(self, which: np.ndarray, part: ResponseFits) -> None:
        """Enter the fits of some responses."""
        for f in fields(self):
            getattr(self, f.name)[which] = getattr(part, f.name)

    def take(self, which: np.ndarray) -> Self:
        """Fits of some responses."""
        return type(self)(*(getattr(self, f.name)[which] for f in fields(self)))

    def tree(self) -> dict[str, np.ndarray]:
        """Arrays by name, for files."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_tree(cls, tree: Mapping[str, np.ndarray]) -> Self:
        """Take them from a file."""
        return cls(**{f.name: np.asarray(tree[f.name]) for f in fields(cls)})

    @property
    def converged(self) -> np.ndarray:
        """Boolean (G,)."""
        return np.asarray(self.status == CONVERGED)

    def combinations(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Estimates, variances and Satterthwaite's degrees of freedom of contrasts (r, p), each (G, r)."""
        if np.array_equal(matrix, np.eye(self.beta.shape[1])):
            variance = np.diagonal(self.vcov, axis1=1, axis2=2)
            slope = np.moveaxis(np.diagonal(self.d_cov, axis1=1, axis2=2), 2, 1)
            return self.beta, variance, matched_df(variance, slope, self.spread)
        estimate, variance, df = np.empty((3, len(self.beta), len(matrix)))
        for i, row in enumerate(matrix):
            # each by itself: a coefficient that takes no part must not take its NaN there
            used = np.flatnonzero(row)
            at, part = np.ix_(np.arange(len(self.beta)), used, used), row[used]
            estimate[:, i] = self.beta[:, used] @ part
            variance[:, i] = np.einsum("i,kij,j->k", part, self.vcov[at], part)
            slope = np.einsum("i,kijt,j->kt", part, self.d_cov[at], part)
            df[:, i] = matched_df(variance[:, i : i + 1], slope[:, None], self.spread)[:, 0]
        return estimate, variance, df

    def joint(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Covariances (G, q, q) of contrasts (q, p); denominator df of their F test and its factor, each (G,).

        The degrees of freedom are those of `satterthwaite_joint_df`, and the factor is 1.
        """
        used = np.flatnonzero((matrix != 0).any(axis=0))
        rows, at = matrix[:, used], np.ix_(np.arange(len(self.beta)), used, used)
        covariance = np.asarray(rows @ self.vcov[at] @ rows.T)
        there = np.isfinite(covariance).all(axis=(1, 2))
        size, vectors = np.linalg.eigh(np.where(there[:, None, None], covariance, np.eye(len(matrix))))
        turned = np.einsum("krm,ri->kmi", vectors, rows)
        slope = np.einsum("kri,kijt,krj->krt", turned, self.d_cov[at], turned)
        nu = matched_df(size, slope, self.spread)
        same = (np.abs(np.diff(nu, axis=1)) < SAME_DF).all(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.sum(nu / (nu - 2), axis=1)
            several = np.where((nu > 2).all(axis=1), 2 * mean / (mean - nu.shape[1]), 2.0)
        df2 = np.where(same, nu.mean(axis=1), several)
        return covariance, np.where(there & np.isfinite(nu).all(axis=1), df2, np.nan), np.ones(len(df2))


def _known_covariances(fitted: Fitted) -> np.ndarray:
    """Covariances of the coefficients (K, p, p), NaN where a variance is not identified."""
    if all(found is None for found in fitted.redundancies.each):
        return fitted.vcov
    unknown = np.stack([fitted.unknown_variance((k,)) for k in range(fitted.n_sets)])
    return np.where(unknown[:, :, None] | unknown[:, None], np.nan, fitted.vcov)
