"""The mixed model by n x n linear algebra in NumPy: the slow and plain answer that every structure is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

Array = np.ndarray


@dataclass(frozen=True)
class DenseTerm:
    """One random term: its columns (n, q), the level of every row (n,), and the number of levels."""

    z: Array
    codes: Array
    n_levels: int

    def wide(self) -> Array:
        """Z (n, levels * q), level by level."""
        n, q = self.z.shape
        out = np.zeros((n, self.n_levels, q))
        out[np.arange(n), self.codes] = self.z
        return out.reshape(n, -1)


@dataclass(frozen=True)
class DenseAnswer:
    """Everything that follows from one theta.

    Per term, modes (levels, q), their variances given beta and theta (levels, q, q).
    """

    reml: float
    ml: float
    beta: Array
    vcov_reml: Array
    vcov_ml: Array
    sigma_reml: float
    sigma_ml: float
    modes: list[Array]
    variances_over_sigma2: list[Array]


def lower(theta: Array, q: int) -> Array:
    """Lambda of one term from its part of theta, column by column."""
    out = np.zeros((q, q))
    out[np.triu_indices(q)[::-1]] = theta
    return out


def dense(
    x: Array, y: Array, terms: Sequence[DenseTerm], lams: Sequence[Array], weights: Array | None = None
) -> DenseAnswer:
    """Solve the model at given Lambdas: V = W^-1 + sum Z Lambda Lambda' Z'."""
    n, p = x.shape
    w = np.ones(n) if weights is None else weights
    v = np.diag(1 / w)
    roots = []
    for term, lam in zip(terms, lams, strict=True):
        root = term.wide() @ np.kron(np.eye(term.n_levels), lam)
        roots.append(root)
        v += root @ root.T
    factor = cho_factor(v, lower=True)
    log_v = 2 * np.sum(np.log(np.diag(factor[0])))
    xv = cho_solve(factor, x)
    xvx = x.T @ xv
    beta = np.linalg.solve(xvx, xv.T @ y) if p else np.zeros(0)
    residual = y - x @ beta
    solved = cho_solve(factor, residual)
    r2 = float(residual @ solved)
    log_x = np.linalg.slogdet(xvx)[1] if p else 0.0
    inverse = np.linalg.inv(xvx)
    modes, variances = [], []
    for term, lam, root in zip(terms, lams, roots, strict=True):
        q, levels = lam.shape[0], term.n_levels
        spread = np.kron(np.eye(levels), lam)
        modes.append((spread @ (root.T @ solved)).reshape(levels, q))
        inner = spread @ (np.eye(levels * q) - root.T @ cho_solve(factor, root)) @ spread.T
        blocks = inner.reshape(levels, q, levels, q)
        variances.append(blocks[np.arange(levels), :, np.arange(levels)])
    return DenseAnswer(
        reml=log_v + log_x + (n - p) * (1 + np.log(2 * np.pi * r2 / (n - p))),
        ml=log_v + n * (1 + np.log(2 * np.pi * r2 / n)),
        beta=beta,
        vcov_reml=inverse * r2 / (n - p),
        vcov_ml=inverse * r2 / n,
        sigma_reml=float(np.sqrt(r2 / (n - p))),
        sigma_ml=float(np.sqrt(r2 / n)),
        modes=modes,
        variances_over_sigma2=variances,
    )
