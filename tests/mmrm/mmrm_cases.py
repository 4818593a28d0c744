"""Data, reference numbers and fits of mixed models for repeated measures, each made once; and a dense criterion."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

import remlax as rx
from reference_cases import REFERENCE, read_reference_csv

NEXT = REFERENCE / "next"
FORMULA = "score ~ base + arm * visit + us(visit | id)"


@cache
def case(name: str) -> dict[str, Any]:
    return json.loads((NEXT / f"{name}.json").read_text())


@cache
def frame(name: str) -> pd.DataFrame:
    data = case(name)["data"]
    return read_reference_csv(NEXT / data["file"], data["columns"])


def reference(name: str, structure: str, formula: str | None = None, *, reml: bool = True) -> dict[str, Any]:
    """Numbers of one fit."""
    found = [one for one in case(name)["fits"] if (one["structure"], one["reml"]) == (structure, reml)]
    return next(one for one in found if formula in (None, one["formula"]))


def formula_of(one: dict[str, Any]) -> str:
    return f"{one['formula']} + {one['structure']}({one['visit']} | {one['id']})"


@cache
def fitted(name: str, formula: str, *, reml: bool = True) -> rx.MmrmFit:
    """Fit to the reference data, without their incomplete rows."""
    data = frame(name)
    return rx.mmrm(formula, data.dropna(subset=[formula.split(" ~ ")[0]]), reml=reml)


@cache
def trial(seed: int = 1, n: int = 30, visits: int = 3, missing: float = 0.15) -> pd.DataFrame:
    """A small trial with missing visits: columns id, arm, x, visit, y, w."""
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(0.5 * np.eye(visits) + 0.5 + np.diag(0.3 * np.arange(visits)))
    y = rng.standard_normal((n, visits)) @ root.T
    out = pd.DataFrame(
        {
            "id": np.repeat([f"p{i:02d}" for i in range(n)], visits),
            "arm": np.repeat(np.where(np.arange(n) % 2, "b", "a"), visits),
            "x": np.repeat(rng.standard_normal(n), visits),
            "visit": np.tile([f"v{t + 1}" for t in range(visits)], n),
            "w": rng.uniform(0.5, 2.0, n * visits),
        }
    )
    out["y"] = 2.0 + 0.5 * out["x"] + y.reshape(-1)
    return out[rng.random(n * visits) >= missing].reset_index(drop=True)


def patients(data: pd.DataFrame, x: np.ndarray, weights: np.ndarray | None = None) -> list[tuple[Any, ...]]:
    """Visits, columns, responses, roots of weights and arm of every patient."""
    names = sorted(data["visit"].unique())
    root = np.ones(len(data)) if weights is None else np.sqrt(weights)
    out = []
    for _, own in data.groupby("id"):
        at = own.sort_values("visit").index.to_numpy()
        visit = np.array([names.index(v) for v in data["visit"].to_numpy()[at]])
        out.append((visit, x[at], data["y"].to_numpy()[at], root[at], data["arm"].to_numpy()[at][0]))
    return out


def dense_criterion(
    sigmas: dict[str, np.ndarray] | np.ndarray, rows: list[tuple[Any, ...]], p: int, *, reml: bool
) -> tuple[float, np.ndarray, np.ndarray]:
    """-2 log L with all constants, patient by patient; coefficients and their covariance."""
    m, logdet, n = np.zeros((p + 1, p + 1)), 0.0, 0
    for visit, x, y, root, arm in rows:
        sigma = sigmas[arm] if isinstance(sigmas, dict) else sigmas
        v = sigma[np.ix_(visit, visit)] / (root[:, None] * root)
        both = np.concatenate([x, y[:, None]], axis=1)
        m = m + both.T @ np.linalg.solve(v, both)
        logdet, n = logdet + np.linalg.slogdet(v)[1], n + len(y)
    cov = np.linalg.inv(m[:p, :p])
    beta = cov @ m[:p, p]
    value = logdet + m[p, p] - beta @ m[:p, p] + n * np.log(2 * np.pi)
    if reml:
        value = value + np.linalg.slogdet(m[:p, :p])[1] - p * np.log(2 * np.pi)
    return float(value), beta, cov


def slopes(of: Callable[[np.ndarray], Any], at: np.ndarray, step: float = 1e-3) -> np.ndarray:
    """Derivatives in every coordinate by differences of fourth order, along the first axis."""
    out = []
    for unit in step * np.eye(len(at)):
        near, far = (np.asarray(of(at + k * unit)) - np.asarray(of(at - k * unit)) for k in (1, 2))
        out.append((8 * near - far) / (12 * step))
    return np.stack(out)


def quietly(formula: str, data: pd.DataFrame, **options: Any) -> rx.MmrmFit:
    """Fit without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rx.mmrm(formula, data, **options)
