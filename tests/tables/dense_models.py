"""Dense linear algebra of a mixed model, written out from the textbook: an oracle for small data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


def indicator(codes: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Indicator matrix (n, levels) of a grouping column and its levels."""
    levels = sorted(codes.astype(str).unique())
    return (codes.astype(str).to_numpy()[:, None] == np.array(levels)[None]).astype(float), levels


def term_columns(codes: pd.Series, columns: np.ndarray) -> np.ndarray:
    """Z of one term (n, levels * q), level by level."""
    d, _ = indicator(codes)
    return np.einsum("nl,nq->nlq", d, columns).reshape(len(d), -1)


@dataclass
class Dense:
    """y = X beta + Z b + e, Var b = block diagonal of the terms' covariances, Var e = sigma^2 / weights."""

    x: np.ndarray
    y: np.ndarray
    z: list[np.ndarray]
    q: list[int]
    weights: np.ndarray | None = None

    def g(self, covs: list[np.ndarray]) -> np.ndarray:
        """Covariance of all random effects."""
        blocks = [np.kron(np.eye(z.shape[1] // q), c) for z, q, c in zip(self.z, self.q, covs, strict=True)]
        out = np.zeros((sum(len(b) for b in blocks),) * 2)
        at = 0
        for b in blocks:
            out[at : at + len(b), at : at + len(b)] = b
            at += len(b)
        return out

    def v(self, covs: list[np.ndarray], sigma: float) -> np.ndarray:
        """Covariance of y."""
        z = np.hstack(self.z)
        w = np.ones(len(self.y)) if self.weights is None else self.weights
        return z @ self.g(covs) @ z.T + sigma**2 * np.diag(1 / w)

    def deviance(self, covs: list[np.ndarray], sigma: float, reml: bool = True) -> float:
        """Unprofiled -2 log (restricted) likelihood."""
        v = self.v(covs, sigma)
        vi = np.linalg.inv(v)
        xvx = self.x.T @ vi @ self.x
        r = self.y - self.x @ np.linalg.solve(xvx, self.x.T @ vi @ self.y)
        n, p = self.x.shape
        out = np.linalg.slogdet(v)[1] + r @ vi @ r + (n - reml * p) * np.log(2 * np.pi)
        return float(out + (np.linalg.slogdet(xvx)[1] if reml else 0.0))

    def henderson(self, covs: list[np.ndarray], sigma: float) -> np.ndarray:
        """Covariance of (beta-hat - beta, b-hat - b): inverse of the mixed-model equations."""
        w = np.ones(len(self.y)) if self.weights is None else self.weights
        t = np.hstack([self.x, *self.z])
        ridge = np.zeros((t.shape[1], t.shape[1]))
        p = self.x.shape[1]
        ridge[p:, p:] = np.linalg.inv(self.g(covs))
        return np.linalg.inv((t.T * w) @ t / sigma**2 + ridge)


def hessian(function, at: np.ndarray, step: float = 1e-3) -> np.ndarray:
    """Central differences, Richardson-extrapolated once."""

    def once(h: float) -> np.ndarray:
        d = len(at)
        out, one = np.zeros((d, d)), np.eye(d) * h
        for i in range(d):
            for j in range(i + 1):
                plus, minus = one[i] + one[j], one[i] - one[j]
                value = function(at + plus) - function(at + minus) - function(at - minus) + function(at - plus)
                out[i, j] = out[j, i] = value / (4 * h * h)
        return out

    return (4 * once(step / 2) - once(step)) / 3
