"""How far above the best value found anywhere the fits of 20,000 small data sets end.

Data sets of J = 30 groups x 10 rows, a fourth of them with no true variance between groups. Every one is fitted by
``lmer_list`` and again from ten random starts by the same Newton iteration; on a subset every peer has its say, from
data frames. Printed: the number of data sets that end more than 1e-6 above the lowest criterion found.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from common import arguments, report
from peers import R_CALLS, Workload, measure, write

import remlax as rx
from remlax.engine.batch import Batch
from remlax.engine.fit import _fit_once
from remlax.kernels.newton import PROFILED

SLOPE = "y ~ x + (1 + x | g)"
ABOVE = 1e-6
TOOLS = ("glmm", "lme-python", "mixedlm", "mixedlm-rs", "interlace-lme", "statsmodels", "lme4")


def small(seed: int) -> pd.DataFrame:
    """Four kinds in turn: both variances, no slope variance, small ones, neither."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(30), 10)
    spread = [(0.7, 0.3), (0.7, 0.0), (0.2, 0.1), (0.0, 0.0)][seed % 4]
    x, u = rng.normal(size=300), rng.normal(size=(30, 2)) * spread
    y = 1 + 0.5 * x + u[g, 0] + u[g, 1] * x + rng.normal(size=300)
    return pd.DataFrame({"y": y, "x": x, "g": np.char.add("g", g.astype(str))})


def from_starts(batch: Batch, n_starts: int, seed: int = 1) -> np.ndarray:
    """Lowest criterion of every data set over random starts, from far inside to far outside."""
    rng = np.random.default_rng(seed)
    m, d = batch.n_sets, batch.structure.theta_map.n_theta
    best = np.full(m, np.inf)
    for _ in range(n_starts):
        theta = rng.normal(size=(m, d)) * np.exp(rng.uniform(-3, 1.5, size=(m, 1)))
        value = _fit_once(batch, theta, rx.Newton(), PROFILED).value
        best = np.fmin(best, value)
    return best


def criteria(n: int, n_starts: int, first: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Criterion where lmer_list ends, the lowest from random starts, and whether it says that it converged."""
    frames = [small(seed) for seed in range(first, first + n)]
    fitted = rx.lmer_list(SLOPE, frames).selection.fitted
    return fitted.criterion, from_starts(fitted.model.batch, n_starts), fitted.converged


def peers(n: int) -> list[dict[str, Any]]:
    """The tools on the first n data sets, against the best of all of them."""
    frames = [small(seed) for seed in range(n)]
    found = {}
    with tempfile.TemporaryDirectory() as name:
        write(frames, Path(name), csv=True)
        line = Workload("small sets", SLOPE, frames, ("g",), n, TOOLS)
        for tool in ("remlax", *TOOLS):
            answer = measure(tool, line, Path(name), 1, 60.0)
            if "failed" in answer and tool in R_CALLS:
                continue
            found[tool] = np.array(answer.get("criteria", [np.nan] * n), dtype=float)
    best = np.nanmin(np.stack(list(found.values())), axis=0)
    return [
        {
            "tool": tool,
            "data sets": n,
            "above by 1e-6": int((~(values <= best + ABOVE)).sum()),
            "above by 0.1": int((~(values <= best + 0.1)).sum()),
            "worst": float(np.nanmax(values - best)) if np.isfinite(values).any() else None,
            "failed": int(np.isnan(values).sum()),
        }
        for tool, values in found.items()
    ]


def main() -> None:
    args = arguments(__doc__ or "")
    warnings.simplefilter("ignore", rx.RemlaxWarning)
    n, at_once = (2000, 1000) if args.quick else (20_000, 2000)
    above, worst, failed = 0, -np.inf, 0
    for first in range(0, n, at_once):
        own, best, converged = criteria(at_once, 10, first)
        excess = own - np.fmin(own, best)
        above += int((excess > ABOVE).sum())
        worst, failed = max(worst, float(excess.max())), failed + int((~converged).sum())
    rows: list[dict[str, Any]] = [
        {"tool": "remlax, beside ten starts", "data sets": n, "above by 1e-6": above, "worst": worst}
    ]
    rows[0]["not converged"] = failed
    rows += peers(20 if args.quick else 200)
    print(f"jax {jax.__version__}")
    report("small_sets", rows)


if __name__ == "__main__":
    main()
