"""Cluster-robust covariance of the coefficients (Liang & Zeger 1986; Bell & McCaffrey 2002; Pustejovsky & Tipton 2018).

With W_j = V_j^-1 the inverse of the fitted covariance of cluster j and M = (X'WX)^-1, the sandwich is M sum_j S_j'e_j
e_j'S_j M, S_j = A_j W_j X_j. A_j is the identity (CR0), or (CR2) the symmetric matrix that makes the sandwich unbiased
when V is right: A_j (V_j - X_j M X_j') A_j = V_j. Outside the columns of X_j and Z_j both V_j and A_j are multiples of
the identity, and so each cluster is rotated to as many rows as it has columns before anything is factorized.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ..engine.fit import solve_batch
from ..errors import DataError
from ..fitting.assemble import inner_columns
from ..fitting.checks import refuse_prior
from ..fitting.fit import Fitted
from ..fitting.selection import Selection

RobustKind = Literal["CR0", "CR2"]

# numbers in one batch of equal-sized clusters
BATCH_NUMBERS = 4_000_000
# eigenvalues below this share of the largest belong to a direction that the coefficients absorb
EIGEN_TOL = 1e-11


@dataclass(frozen=True, eq=False)
class ClusterScores:
    """One data set's J clusters, in conditioned coordinates and relative to sigma^2.

    scores (J, p): S_j'e_j; hat (J, p, p): X_j'S_j; spread (J, p, p): S_j'V_j S_j; bread (p, p): M; inverse (p, p): to
    the user's coefficients.
    """

    scores: np.ndarray
    hat: np.ndarray
    spread: np.ndarray
    bread: np.ndarray
    inverse: np.ndarray

    def vcov(self) -> np.ndarray:
        """Sandwich covariance of the user's coefficients, (p, p)."""
        half = self.scores @ self.bread @ self.inverse.T
        return np.asarray(half.T @ half)

    def moments(self, contrasts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pieces of Cov(n_i'y, n_j'y) = (i = j) a_i - g_i'g_j, n_i'y what cluster i adds to contrasts (q, p).

        Returns
        -------
        a (J, q, q), g (J, p, q)
        """
        moved = self.bread @ self.inverse.T @ contrasts.T
        a = np.einsum("is,jik,kt->jst", moved, self.spread, moved)
        root = np.linalg.cholesky(self.bread)
        return a, np.einsum("ki,jkl,lt->jit", root, self.hat, moved)

    def df(self, contrasts: np.ndarray) -> np.ndarray:
        """Satterthwaite df of single contrasts (r, p): 2 E^2 / Var of each one's sandwich variance under the model."""
        out = []
        for row in contrasts:
            a, g = self.moments(row[None])
            a, g = a[:, 0, 0], g[:, :, 0]
            both = g.T @ g
            own = np.einsum("ji,ji->j", g, g)
            mean = np.sum(a - own)
            with np.errstate(divide="ignore", invalid="ignore"):
                a, own, both = a / mean, own / mean, both / mean  # squares could leave the range of double precision
                out.append(1 / (np.sum(a**2 - 2 * a * own) + np.sum(both**2)))
        return np.array(out)

    def wishart_df(self, contrasts: np.ndarray) -> float:
        """Degrees of freedom of the Wishart distribution that approximates the sandwich of several contrasts (q, p).

        Mean and total variance of its entries are matched under the model, in coordinates where its mean is the
        identity (Pustejovsky & Tipton 2018, section 3.2).
        """
        a, g = self.moments(contrasts)
        omega = a.sum(axis=0) - np.einsum("jis,jit->st", g, g)
        root = np.linalg.inv(np.linalg.cholesky(omega))
        a, g = root @ a @ root.T, g @ root.T
        own = np.einsum("jis,jit->jst", g, g)
        trace, trace_own = np.einsum("jss->j", a), np.einsum("jss->j", own)
        both = np.einsum("jas,jbt->asbt", g, g)
        total = (
            np.sum(trace**2 - 2 * trace * trace_own)
            + np.sum(both**2)
            + np.sum(a * a.swapaxes(1, 2) - 2 * a * own.swapaxes(1, 2))
            + np.einsum("asbt,atbs->", both, both)
        )
        q = len(contrasts)
        return float(q * (q + 1) / total)


def robust_scores(fits: Selection, kind: RobustKind, cluster: str | None) -> list[ClusterScores]:
    """Scores of some data sets; ``cluster`` is a grouping factor, by default the outermost, or a column of the data.

    Raises
    ------
    DataError
        Clusters that are not known, or do not contain whole levels of every grouping factor.
    """
    model, p = fits.model, len(fits.model.keep)
    refuse_prior(
        "fixef_prior=" * (model.fixef_prior is not None),
        "a cluster-robust covariance is one of coefficients that maximise the likelihood",
    )
    breads = np.asarray(solve_batch(model.batch.take(fits.index), fits.inner).unscaled_cov)[:, :p, :p]
    return [
        _scores(fits.one(k), _clusters(fits.one(k), cluster), bread, kind)
        for k, bread in zip(fits.index, breads, strict=True)
    ]


def cluster_name(fitted: Fitted, cluster: str | None) -> str:
    """Name of the clusters: what is asked for, or the grouping factor that all others are nested in."""
    if cluster is not None:
        return cluster
    outer = [f for f in fitted.model.layout.factors if all(g.nested_in(f) for g in fitted.model.layout.factors)]
    if not outer:
        names = " and ".join(repr(f.label) for f in fitted.model.layout.factors)
        raise DataError(
            f"the grouping factors {names} are crossed, so that none of them has independent clusters: name a column "
            "of the data that contains whole levels of each with cluster="
        )
    return outer[0].label


def _clusters(fit: Selection, cluster: str | None) -> np.ndarray:
    """Cluster of every row of one data set, numbered from 0."""
    rows, layout, name = fit.rows, fit.model.layout, cluster_name(fit.fitted, cluster)
    codes = [rows.factor_rows[s].of(fit.k) for s in layout.factor_source]
    labels = next((c for f, c in zip(layout.factors, codes, strict=True) if f.label == name), None)
    if labels is None:
        assert rows.data is not None  # every fit keeps its data
        frame = rows.data.frames[fit.k]
        if name not in frame.columns:
            raise DataError(
                f"cluster={name!r} is neither a grouping factor of the model "
                f"({', '.join(f.label for f in layout.factors)}) nor a column of its data"
            )
        labels = pd.factorize(frame[name])[0]
        if (labels < 0).any():
            raise DataError(f"the cluster column {name!r} has {int((labels < 0).sum())} missing cells")
    clusters = np.unique(labels, return_inverse=True)[1].reshape(-1)
    if clusters.max() < 1:
        raise DataError(f"cluster={name!r} has a single cluster: robust standard errors need several")
    for factor, code in zip(layout.factors, codes, strict=True):
        parent = np.zeros(factor.n_levels, dtype=int)
        parent[code] = clusters
        if not np.array_equal(parent[code], clusters):
            raise DataError(
                f"levels of the grouping factor {factor.label!r} lie in several clusters of {name!r}: clusters must be "
                "independent, and so contain whole levels of every grouping factor"
            )
    return clusters


def _scores(fit: Selection, clusters: np.ndarray, bread: np.ndarray, kind: RobustKind) -> ClusterScores:
    p, n = len(fit.model.keep), int(clusters.max()) + 1
    scores, hat, spread = np.zeros((n, p)), np.zeros((n, p, p)), np.zeros((n, p, p))
    for which, x, z, residual, weights in _batches(fit, clusters):
        if weights is None and p + z.shape[2] < x.shape[1]:
            basis = np.linalg.qr(np.concatenate([x, z], axis=2))[0].swapaxes(1, 2)
            x, z, residual = basis @ x, basis @ z, basis @ residual
        noise = np.eye(x.shape[1]) / (1 if weights is None else weights[:, :, None])
        scores[which], hat[which], spread[which] = sums_of_clusters(
            noise + z @ z.swapaxes(1, 2), x, residual, bread, kind
        )
    return ClusterScores(scores, hat, spread, bread, fit.model.inverse[fit.k])


def sums_of_clusters(
    v: np.ndarray, x: np.ndarray, residual: np.ndarray, bread: np.ndarray, kind: RobustKind
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, hat and spread of `ClusterScores` from V (G, n, n), X (G, n, p) and residuals (G, n, 1) of G clusters."""
    s = np.linalg.solve(v, x)
    if kind == "CR2":
        s = _adjustment(v, v - x @ bread @ x.swapaxes(1, 2)) @ s
    turned = s.swapaxes(1, 2)
    return (turned @ residual)[:, :, 0], x.swapaxes(1, 2) @ s, turned @ v @ s


def _adjustment(v: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Solve A rest A = V for symmetric A, (G, n, n): L (L' rest L)^-1/2 L' with V = L L'."""
    root = np.linalg.cholesky(v)
    inner = root.swapaxes(1, 2) @ rest @ root
    size, vectors = np.linalg.eigh((inner + inner.swapaxes(1, 2)) / 2)
    keep = size > EIGEN_TOL * size[:, -1:]
    axes = root @ vectors
    power = np.where(keep, 1 / np.sqrt(np.where(keep, size, 1.0)), 0.0)
    return np.asarray((axes * power[:, None, :]) @ axes.swapaxes(1, 2))


def _batches(
    fit: Selection, clusters: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]]:
    """Clusters of one size: which, X (G, n, p), Z Lambda (G, n, k), residuals (G, n, 1), weights (G, n) or None."""
    model, rows = fit.model, fit.rows
    x = model.orthonormal(rows.x.of(fit.k)[:, model.keep], fit.k)
    residual = rows.y.of(fit.k) - fit.fitted.fitted_values(fit.k, random=False)
    weights = None if rows.weights is None else rows.weights.of(fit.k)
    columns = [_columns_in_clusters(fit, f, z, clusters) for f, z in enumerate(inner_columns(model, fit.k))]
    order = np.argsort(clusters, kind="stable")
    count = np.bincount(clusters)
    start = np.cumsum(count) - count
    for n in np.unique(count):
        same = np.flatnonzero(count == n)
        step = max(1, BATCH_NUMBERS // int(n * n))
        for which in (same[i : i + step] for i in range(0, len(same), step)):
            at = order[start[which][:, None] + np.arange(n)]
            z = np.concatenate([_spread_out(values[at], position[at]) for values, position in columns], axis=2)
            yield which, x[at], z, residual[at, None], None if weights is None else weights[at]


def _columns_in_clusters(
    fit: Selection, factor: int, z: np.ndarray, clusters: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Z Lambda of one factor (n, q), and the position of every row's level among the levels of its cluster (n,)."""
    model = fit.model
    lam = np.zeros((z.shape[1], z.shape[1]))
    for t, term in enumerate(model.layout.terms):
        if term.factor == factor:
            lam[term.columns, term.columns] = fit.fitted.inner_factor(t)[fit.k]
    codes = model.rows.factor_rows[model.layout.factor_source[factor]].of(fit.k)
    levels, inverse = np.unique(codes, return_inverse=True)
    parent = np.zeros(len(levels), dtype=int)
    parent[inverse] = clusters
    order = np.argsort(parent, kind="stable")
    first = np.searchsorted(parent[order], np.arange(clusters.max() + 1))
    position = np.empty(len(levels), dtype=int)
    position[order] = np.arange(len(levels)) - first[parent[order]]
    return z @ lam, position[inverse.reshape(-1)]


def _spread_out(values: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Put rows (G, n, q) into the columns of their level: (G, n, levels * q)."""
    n_clusters, n, q = values.shape
    out = np.zeros((n_clusters, n, int(position.max()) + 1, q))
    out[np.arange(n_clusters)[:, None], np.arange(n)[None], position] = values
    return out.reshape(n_clusters, n, -1)
