"""A simulation study from data generation to performance table, and fits alone; beside R's lme4 and mice.

20,000 fits: 1,000 replications x 20 imputations (EMB) of J = 50 groups x 20 rows with a random slope. The first run of
the process compiles; nothing is cached on disk. R does the same for 5 replications, scaled to 1,000: data generation,
amputation, mice (method norm, m = 20, 5 iterations: the closest that mice has to EMB), 20 fits by lmer, pooling.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np

import remlax as rx
from remlax.batched.array_model import read_model
from remlax.batched.pipeline import ReplicationColumns, _data_sets
from remlax.batched.treatments import Whole
from remlax.engine.queue import fit_queue

R_SCRIPT = """
suppressMessages({library(lme4); library(mice)})
set.seed(1)
J <- 50; n <- 20; m <- 20; reps <- %d
one <- function() {
  g <- rep(seq_len(J), each = n)
  x <- sqrt(0.2) * rnorm(J)[g] + sqrt(0.8) * rnorm(J * n)
  u0 <- 0.5 * rnorm(J); u1 <- 0.3 * (0.2 * u0 / 0.5 + sqrt(1 - 0.04) * rnorm(J))
  y <- 1 + 0.5 * x + u0[g] + u1[g] * x + rnorm(J * n)
  x[runif(J * n) < plogis(as.vector(scale(y)) - 0.5)] <- NA
  imp <- mice(data.frame(y, x), m = m, maxit = 5, method = "norm", printFlag = FALSE)
  fits <- lapply(seq_len(m), function(k)
    suppressMessages(suppressWarnings(lmer(y ~ x + (1 + x | g), cbind(complete(imp, k), g)))))
  q <- sapply(fits, fixef); u <- sapply(fits, function(f) diag(as.matrix(vcov(f))))
  c(rowMeans(q), sqrt(rowMeans(u) + (1 + 1 / m) * apply(q, 1, var)))
}
start <- proc.time()[["elapsed"]]
for (r in seq_len(reps)) one()
cat("r_seconds", proc.time()[["elapsed"]] - start, "\\n")
"""


def design(scenario: Mapping[str, Any]) -> Any:
    return rx.sim.MultilevelDesign(
        [rx.sim.Factor("g", scenario["J"])],
        scenario["n"],
        {"1": 1.0, "x": 0.5},
        [rx.sim.RandomTerm("g", {"1": 0.5, "x": 0.3}, 0.2)],
        1.0,
        [rx.sim.Covariate("x", icc={"g": 0.2})],
    )


def amputation(scenario: Mapping[str, Any]) -> Any:
    return rx.sim.Amputation(0.4, [["x"]], weights={"y": 1.0})


def study(replications: int) -> Any:
    return rx.sim.Study(
        scenarios={"J": [50], "n": [20]},
        generate=design,
        ampute=amputation,
        methods={"emb": rx.sim.EMB(m=20)},
        model="y ~ x + (1 + x | g)",
        estimands={"x": 0.5, "Intercept": 1.0},
        replications=replications,
        seed=2026,
    )


def whole(replications: int) -> float:
    """Seconds from data generation to performance table."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        made = study(replications)
        made.run(folder, progress=False)
        table = made.performance(folder)
    assert len(table)
    return time.perf_counter() - start


def fits_alone(fits: int) -> dict[str, Any]:
    """Fit 100,000 data sets of J = 30 x 10 from their cross-products, chunk by chunk on all threads."""
    scenario = {"J": 30, "n": 10}
    chunk = 2048
    with jax.enable_x64(True):
        model, groups = read_model(design(scenario), "y ~ x + (1 + x | g)", reml=True)
        keys = rx.sim.keys(1, "0" * 16, range(chunk), rx.sim.Stream.DATA)
        data = rx.sim.generate_batch(keys, design(scenario))
        columns = ReplicationColumns(
            {name: data.columns[name] for name in model.columns}, {}, data.weights > 0, data.codes["g"]
        )
        data_sets = _data_sets(keys, columns, groups, model=model, treatment=Whole(), at_once=64)
        program, problem = jax.jit(fit_queue), jax.block_until_ready(data_sets.problem)

        def run(_: int) -> int:
            with jax.enable_x64(True):
                return int(jnp.sum(program(problem).status != 0))

        run(0)
        calls = max(1, round(fits / chunk))
        from concurrent.futures import ThreadPoolExecutor

        start = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            failed = sum(pool.map(run, range(calls)))
        seconds = time.perf_counter() - start
    return {"what": f"fits alone, J=30 x 10: {calls * chunk}", "seconds": seconds, "failed": failed}


def main() -> None:
    quick = common.arguments(__doc__ or "").quick
    replications = 100 if quick else 1000
    rows: list[dict[str, Any]] = [
        {"what": f"{replications} replications x 20, with compilation", "seconds": whole(replications)},
        {"what": f"{replications} replications x 20, warm", "seconds": whole(replications)},
        fits_alone(10_000 if quick else 100_000),
        {"what": "peak memory, MB", "seconds": None, "value": common.peak_mb()},
    ]
    if common.has_r("lme4", "mice"):
        repeats = 1 if quick else 5
        seconds = common.run_r(R_SCRIPT % repeats)["r_seconds"] / repeats * replications
        rows.append({"what": f"R: mice and lme4, {repeats} replications scaled", "seconds": seconds})
        rows[-1]["value"] = seconds / float(np.asarray(rows[0]["seconds"]))
    common.report("simulation", rows)


if __name__ == "__main__":
    main()
