"""Data and dense algebra for random terms that repeat each other."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlax.data import ImputedData
from remlax.design.build import read_rows
from remlax.design.formula import parse_formula
from remlax.fitting.assemble import Assembled, assemble, z_columns


def groups() -> pd.DataFrame:
    """Thirty groups of eight rows (240): other names of the groups, groups of and within them, factors and numbers."""
    rng = np.random.default_rng(10)
    g = np.repeat(np.arange(30), 8)
    d = pd.DataFrame({"g": g, "x": rng.normal(size=240), "name": [f"n{i:02d}" for i in g], "cls": g % 3})
    d["y"] = rng.normal(0, 1, 30)[g] + 0.5 * d["x"] + rng.normal(0, 0.5, 30)[g] * d["x"] + rng.normal(0, 0.7, 240)
    d["f"] = np.where(np.arange(240) % 2, "a", "b")
    d["pm"] = np.where(d["f"] == "a", -0.5, 0.5)
    d["cell"] = 2 * g + (d["f"] == "a")
    d["num"], d["z"], d["year"], d["x2"] = 3.5 * g, (g % 2).astype(float), 2000 + d["x"], 2 * d["x"]
    d["zf"] = np.where(g % 2, "p", "q")
    d["item"], d["top"] = np.tile(np.arange(8), 30), g // 5
    d["w"] = np.linspace(1.0, 3.0, 240)
    return d


def design(random: str, *frames: pd.DataFrame, fixed: str = "x", reml: bool = True, weights: str | None = None):
    """The model of some data sets, not fitted."""
    data = ImputedData.from_frames(list(frames) or [groups()])
    return assemble(read_rows(parse_formula(f"y ~ {fixed} + {random}"), data, weights=weights), reml=reml)


def derivatives(model: Assembled, lane: int = 0) -> np.ndarray:
    """Derivatives of V in all variances and covariances (d, n, n), in the order of theta, and in sigma^2."""
    rows, layout, out = model.rows, model.layout, []
    columns = z_columns(rows, layout, lane)
    for term in layout.terms:
        codes = rows.factor_rows[layout.factor_source[term.factor]].of(lane)
        z, same = columns[term.factor][:, term.columns], codes[:, None] == codes
        for b in range(term.q):
            for a in range(b, term.q):
                product = np.outer(z[:, a], z[:, b])
                out.append(same * (product if a == b else product + product.T))
    weights = np.ones(rows.n_rows(lane)) if rows.weights is None else rows.weights.of(lane)
    return np.stack([*out, np.diag(1 / weights)])


def undetermined(v: np.ndarray) -> tuple[int, list[int]]:
    """Dimension of the null space of V as a function of its parameters, and the parameters that it moves.

    A parameter is determined where its derivative is no combination of the others.
    """
    flat = v.reshape(len(v), -1)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1), 1e-300)[:, None]

    def rank(rows: np.ndarray) -> int:
        # year leaves 2000^-2 of its square beside the intercept
        return int(np.linalg.matrix_rank(rows, tol=1e-10)) if len(rows) else 0

    whole = rank(flat)
    return len(v) - whole, [i for i in range(len(v)) if rank(np.delete(flat, i, axis=0)) == whole]
