"""The marginal likelihood by dense n x n algebra, and small designs of every structure to compare with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from remlax.data import ImputedData
from remlax.design.build import read_rows
from remlax.design.formula import parse_formula
from remlax.fitting.assemble import Assembled, assemble, z_columns

STRUCTURES = {
    "intercept": "y ~ x + (1 | a)",
    "slope": "y ~ x + (1 + x | a)",
    "uncorrelated": "y ~ x + (1 + x || a)",
    "three columns": "y ~ x + z + (1 + x + z | a)",
    "no fixed part": "y ~ 0 + (1 | a)",
    "nested": "y ~ x + (1 | a/b)",
    "nested slopes": "y ~ x + (1 + x | a/b)",
    "three levels": "y ~ x + (1 | s/a/b)",
    "crossed": "y ~ x + (1 | a) + (1 | c)",
    "crossed slopes": "y ~ x + (1 + x | a) + (1 + z | c)",
    "nested and crossed": "y ~ x + (1 | a/b) + (1 | c)",
    "three crossed": "y ~ x + (1 | a) + (1 | c) + (0 + z | d)",
    "shared factor": "y ~ x + (1 | a) + (0 + z | a) + (1 | c)",
}


def draw(seed: int, n: int = 90) -> pd.DataFrame:
    """Unbalanced data with some groups of one row; b is nested in a, a in s; c and d are crossed with them."""
    rng = np.random.default_rng(seed)
    a = np.concatenate([np.arange(12), rng.integers(0, 12, n - 12)])
    b = np.where(np.arange(n) < 24, np.arange(n) % 24 // 12, rng.integers(0, 3, n))
    frame = pd.DataFrame(
        {
            "a": [f"a{v}" for v in a],
            "b": [f"b{v}" for v in b],
            "s": [f"s{v % 4}" for v in a],
            "c": [f"c{v}" for v in np.concatenate([np.arange(7), rng.integers(0, 7, n - 7)])],
            "d": [f"d{v}" for v in np.concatenate([np.arange(5), rng.integers(0, 5, n - 5)])],
            "x": rng.normal(size=n),
            "z": 3 + 2 * rng.normal(size=n),
            "w": rng.uniform(0.3, 3.0, n),
            "off": rng.normal(size=n),
        }
    )
    effect = rng.normal(size=12)
    frame["y"] = 5 + 2 * frame["x"] + effect[a] + rng.normal(size=n)
    return frame


def model(formula: str, frames: list[pd.DataFrame], *, reml: bool = True, **options: str) -> Assembled:
    rows = read_rows(parse_formula(formula), ImputedData.from_frames(frames), **options)
    return assemble(rows, reml=reml)


@dataclass(frozen=True)
class Dense:
    """Everything about one data set at one theta."""

    reml: float
    ml: float
    beta: np.ndarray
    vcov: np.ndarray
    sigma: float
    modes: list[np.ndarray]
    cond_var: list[np.ndarray]


def dense(assembled: Assembled, theta: np.ndarray, lane: int = 0, *, reml: bool = True) -> Dense:
    """Solve by V = W^-1 + Z Lambda Lambda' Z', an n x n matrix."""
    rows, layout = assembled.rows, assembled.layout
    x = rows.x.lane(lane)[:, assembled.keep]
    y = rows.y.lane(lane) - (0 if rows.offset is None else rows.offset.lane(lane))
    n, p = x.shape
    weights = np.ones(n) if rows.weights is None else rows.weights.lane(lane)
    lams = []
    for f, q in enumerate(layout.structure.q):
        where, row, col = layout.structure.theta_map.entries(f)
        lam = np.zeros((q, q))
        lam[row, col] = theta[where]
        lams.append(lam)
    blocks, v = [], np.diag(1 / weights)
    for f, z in enumerate(z_columns(rows, layout, lane)):
        codes = rows.factor_rows[layout.factor_source[f]].lane(lane)
        q, levels = z.shape[1], layout.factors[f].n_levels
        wide = np.zeros((n, levels * q))
        for j in range(q):
            wide[np.arange(n), codes * q + j] = z[:, j]
        d = np.kron(np.eye(levels), lams[f] @ lams[f].T)
        blocks.append((wide, d, levels, q))
        v = v + wide @ d @ wide.T
    inverse = np.linalg.inv(v)
    xvx = x.T @ inverse @ x
    beta = np.linalg.solve(xvx, x.T @ inverse @ y) if p else np.zeros(0)
    r = y - x @ beta
    r2, logdet = r @ inverse @ r, np.linalg.slogdet(v)[1]
    ml = logdet + n * (1 + np.log(2 * np.pi * r2 / n))
    fixed = np.linalg.slogdet(xvx)[1] if p else 0.0
    by_reml = logdet + fixed + (n - p) * (1 + np.log(2 * np.pi * r2 / (n - p)))
    sigma2 = r2 / (n - p if reml else n)
    modes, spread = [], []
    whole = np.concatenate([b[0] for b in blocks], axis=1)
    prior = np.zeros((whole.shape[1], whole.shape[1]))
    at = 0
    for _, d, levels, q in blocks:
        prior[at : at + levels * q, at : at + levels * q] = d
        at += levels * q
    b_all = prior @ whole.T @ inverse @ r
    cov_all = sigma2 * (prior - prior @ whole.T @ inverse @ whole @ prior)
    at = 0
    for _, _, levels, q in blocks:
        part = slice(at, at + levels * q)
        modes.append(b_all[part].reshape(levels, q))
        square = cov_all[part, part].reshape(levels, q, levels, q)
        spread.append(np.stack([square[i, :, i] for i in range(levels)]))
        at += levels * q
    return Dense(float(by_reml), float(ml), beta, sigma2 * np.linalg.inv(xvx), float(np.sqrt(sigma2)), modes, spread)
