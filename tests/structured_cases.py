"""Data and fits with covariance structures that several tests read, and their likelihood by n x n algebra."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

import remlax as rx

VISITS = 3


@cache
def frame() -> pd.DataFrame:
    """15 groups, three visits, two rows at each, with an autoregressive effect of the visit."""
    rng = np.random.default_rng(8)
    rho, sd = 0.6, np.array([0.8, 1.0, 1.3])
    lag = np.abs(np.subtract.outer(np.arange(VISITS), np.arange(VISITS)))
    effects = rng.normal(size=(15, VISITS)) @ np.linalg.cholesky(rho**lag).T * sd
    g, t = np.repeat(np.arange(15), 2 * VISITS), np.tile(np.repeat(np.arange(VISITS), 2), 15)
    x = rng.normal(size=len(g))
    y = 1 + 0.5 * x + effects[g, t] + 0.7 * rng.normal(size=len(g))
    return pd.DataFrame({"y": y, "x": x, "t": [f"t{i}" for i in t], "g": [f"g{i:02d}" for i in g]})


@cache
def imputed() -> list[pd.DataFrame]:
    """Three data sets in which x differs."""
    data = frame()
    noise = (np.random.default_rng(k).normal(size=len(data)) for k in range(3))
    return [data.assign(x=data["x"] + 0.4 * own) for own in noise]


@cache
def heterogeneous() -> rx.LmerFit:
    """One SD for each visit and an autoregressive correlation."""
    return rx.lmer("y ~ x + ar1(0 + t | g, hom = FALSE)", frame())


@cache
def fits() -> rx.LmerFitList:
    """The same model of three data sets."""
    return rx.lmer_list("y ~ x + ar1(0 + t | g, hom = FALSE)", imputed())


def correlations(kind: str, rho: float, q: int = VISITS) -> np.ndarray:
    """Correlation matrix as its definition says."""
    lag = np.abs(np.subtract.outer(np.arange(q), np.arange(q)))
    return np.where(lag == 0, 1.0, rho) if kind == "cs" else np.float64(rho) ** lag


def moments(data: pd.DataFrame, cov: np.ndarray, sigma: float) -> tuple[float, np.ndarray, np.ndarray]:
    """-2 log REML likelihood, coefficients and their covariance of y ~ x with effects of the visits, n x n."""
    z = np.zeros((len(data), 15, VISITS))
    z[np.arange(len(data)), data["g"].str[1:].astype(int), data["t"].str[1:].astype(int)] = 1
    v = sigma**2 * np.eye(len(data)) + np.einsum("igs,st,jgt->ij", z, cov, z, optimize=True)
    x, y = np.column_stack([np.ones(len(data)), data["x"]]), data["y"].to_numpy()
    inner = np.linalg.solve(v, np.column_stack([x, y]))
    vcov = np.linalg.inv(x.T @ inner[:, :2])
    beta = vcov @ x.T @ inner[:, 2]
    rest = y - x @ beta
    value = np.linalg.slogdet(v)[1] - np.linalg.slogdet(vcov)[1] + rest @ np.linalg.solve(v, rest)
    return float(value + (len(data) - 2) * np.log(2 * np.pi)), beta, vcov
