"""Imputation of the hsb data against Amelia and mitml in the same run, and of a thousand simulated data sets."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from common import arguments, has_r, median_seconds, report, run_r

from remlax import impute
from remlax.impute.kernels import all_patterns, emb_impute, joint_impute

HSB = Path(__file__).resolve().parent.parent / "tests" / "reference" / "visible" / "hsb_vignette.csv.gz"
FORMULA = "minority + female + ses ~ 1 + mathach + schtype + (1 | schid)"
R_PEERS = f"""
suppressMessages({{library(Amelia); library(mitml)}})
d <- read.csv(gzfile("{HSB}")); d <- d[d$.imp == 0, !(names(d) %in% c(".imp", ".id"))]
clock <- function(name, expr) cat(name, system.time(suppressWarnings(expr))[["elapsed"]], "\\n")
amelia_run <- function(m) amelia(d, m = m, idvars = c("schid", "meanses"), noms = c("minority", "female"), p2s = 0)
pan_run <- function(m, burn, iter) panImpute(d, formula = {FORMULA}, n.burn = burn, n.iter = iter, m = m,
                                             seed = 1, silent = TRUE)
invisible(amelia_run(1))
clock("amelia_5", amelia_run(5))
clock("pan_5", pan_run(5, 2500, 500))
clock("pan_50", pan_run(50, 5000, 100))
"""


def quiet(function: Any, *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


def timed(function: Any, repeats: int) -> tuple[float, float]:
    """First call, with compilation, and the median of warm ones."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start, median_seconds(function, repeats)


def simulated(sets: int, n_clusters: int = 20, size: int = 10) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(n_clusters), size)
    y = rng.normal(size=(sets, n_clusters * size, 2)) + 0.6 * rng.normal(size=(sets, n_clusters, 2))[:, cluster]
    return jnp.asarray(y), jnp.asarray(rng.random(y.shape) < 0.2), jnp.asarray(cluster)


def batched(sets: int, m: int, sweeps: int) -> dict[str, Any]:
    """Both kernels mapped over simulated data sets of 200 rows in 20 clusters, one program each."""
    with jax.enable_x64(True):
        y, missing, cluster = simulated(sets)
        keys = jax.random.split(jax.random.key(1), sets)
        ones, patterns = jnp.ones((y.shape[1], 1)), all_patterns(2, [0, 1])

        @jax.jit
        def joint(keys: Any, y: Any, missing: Any) -> Any:
            return jax.vmap(
                lambda k, v, g: joint_impute(k, v, g, ones, ones, cluster, patterns, 20, m=m, sweeps=sweeps)[0]
            )(keys, y, missing)

        @jax.jit
        def emb(keys: Any, y: Any, missing: Any) -> Any:
            return jax.vmap(lambda k, v, g: emb_impute(k, v, g, patterns, m=m)[0])(keys, y, missing)

        first, warm = timed(lambda: jax.block_until_ready(joint(keys, y, missing)), 1)
        first_emb, warm_emb = timed(lambda: jax.block_until_ready(emb(keys, y, missing)), 1)
    return {"joint": (first, warm), "emb": (first_emb, warm_emb)}


def main() -> None:
    quick = arguments(__doc__ or "").quick
    data = pd.read_csv(HSB, dtype={"schid": str})
    data = data[data[".imp"] == 0].drop(columns=[".imp", ".id"]).reset_index(drop=True)
    peers = run_r(R_PEERS) if has_r("Amelia", "mitml") and not quick else {}
    rows: list[dict[str, Any]] = []

    def add(what: str, m: int, sweeps: int | None, times: tuple[float, float], peer: str, factor: float = 1.0) -> None:
        other = peers[peer] * factor if peer in peers else None
        ratio = None if other is None else other / times[1]
        row = {"what": what, "m": m, "sweeps": sweeps, "first s": times[0], "warm s": times[1]}
        rows.append({**row, "R s": other, "ratio": ratio})

    emb = {"id_vars": ["schid", "meanses"], "nominal": ["minority", "female"]}
    for m in (5,) if quick else (5, 100):
        times = timed(lambda m=m: quiet(impute.emb, data, m, **emb, seed=1), 3 if m == 5 else 1)
        add("emb, hsb", m, None, times, "amelia_5" if m == 5 else "")
    for m in (5,) if quick else (5, 50):
        times = timed(
            lambda m=m: quiet(impute.joint, data, FORMULA, m=m, burn=500, iter=500, seed=1), 3 if m == 5 else 1
        )
        # mitml makes one chain: 5,000 sweeps for m = 5; for m = 50 a fifth of the 50,000 is timed
        add("joint, hsb", m, 1000, times, f"pan_{m}", 1.0 if m == 5 else 5.0)
    sets, m, sweeps = (50, 2, 20) if quick else (1000, 5, 50)
    for name, times in batched(sets, m, sweeps).items():
        add(f"{name}, {sets} simulated data sets", m, sweeps if name == "joint" else None, times, "")
    report("imputation", rows)


if __name__ == "__main__":
    main()
