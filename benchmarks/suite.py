"""remlax beside every peer that can be installed, on the same data in the same run.

``python benchmarks/suite.py`` runs everything (about 20 minutes), ``--quick`` smaller sizes (2 minutes), and names such
as ``hsb rows`` only these workloads. Every tool runs in a process of its own, peers in environments under ``.bench``.
Times are medians of five calls after the first, for all data sets of the line; where a tool fits one data set after the
other and there are many, some are timed and the time scaled. Results go to benchmarks/results, docs/benchmarks.md is
written from them by ``benchmarks/page.py``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import RESULTS, has_r, machine, median_seconds
from peers import REQUIREMENTS, Workload, compare, measure, write
from structures import growth, million, ratings
from worker import peak_mb

import remlax as rx
from remlax.engine.fit import fit

HSB = "mathach ~ minority + female + ses + meanses + (1 + ses | schid)"
SLOPE = "y ~ x + (1 + x | g)"
FAST = ("glmm", "lme-python", "mixedlm", "mixedlm, one thread", "mixedlm-rs", "mixedlm-rs, one thread")
# what a quick run asks: with one thread their times depend least on what else the machine does
QUICK = ("glmm", "lme-python", "mixedlm, one thread", "mixedlm-rs, one thread")
SLOW = ("interlace-lme", "statsmodels")
Rows = list[dict[str, Any]]


def variants(frame: pd.DataFrame, k: int) -> list[pd.DataFrame]:
    """K data sets that differ in the response, as imputations of it would."""
    rng = np.random.default_rng(4)
    name = frame.columns[0]
    noise = 0.05 * frame[name].std()
    return [frame] + [frame.assign(**{name: frame[name] + noise * rng.normal(size=len(frame))}) for _ in range(k - 1)]


def small(seed: int) -> pd.DataFrame:
    """J = 30 groups x 10 rows with a random slope."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(30), 10)
    x, u = rng.normal(size=300), rng.normal(size=(30, 2)) * [0.7, 0.3]
    y = 1 + 0.5 * x + u[g, 0] + u[g, 1] * x + rng.normal(size=300)
    return pd.DataFrame({"y": y, "x": x, "g": np.char.add("g", g.astype(str))})


def alone(line: Workload, repeats: int, fits: int) -> dict[str, Any]:
    """Time remlax on so many fits where the peers do fewer."""
    many = [line.frames[k % len(line.frames)] for k in range(fits)]
    with tempfile.TemporaryDirectory() as name:
        write(many, Path(name), csv=False)
        task = Workload(line.name, line.formula, many, line.factors, fits, (), line.table)
        return measure("remlax", task, Path(name), repeats, 60.0)


def against(line: Workload, repeats: int, patience: float = 60.0) -> Rows:
    """Compare; where peers time fewer fits than the line has, remlax does all of them in one call."""
    rows = compare(line, repeats, patience)
    if line.fits > len(line.frames):
        own = alone(line, repeats, line.fits)
        if "failed" in own:
            raise RuntimeError(f"remlax on {line.name}: {own['failed']}")
        ratio = statistics.median(own["seconds"])
        ranked = [r["seconds"] for r in rows[1:] if r["verdict"] == "ok"]
        rows[0] |= {"seconds": ratio, "first call": own["first"], "peak MB": own["peak_mb"], "fits timed": line.fits}
        rows[0]["best peer / remlax"] = min(ranked) / ratio if ranked else None
        for row in rows[1:]:
            row["tool / remlax"] = None if row["seconds"] is None else row["seconds"] / ratio
    return rows


def hsb(*, quick: bool) -> Rows:
    """Frames to pooled table, K imputations of High School & Beyond."""
    frames = list(rx.datasets.hsb_imputed().frames)
    rows = []
    for k in (1, 5) if quick else (1, 5, 20, 100):
        tools = (*(QUICK if quick else FAST), "lme4", "merTools", *(SLOW if k == 5 and not quick else ()))
        name = f"hsb, K = {k}, data frames to pooled table"
        line = Workload(name, HSB, frames[: min(k, 5)], ("schid",), k, tools, table=True)
        rows += against(line, 3 if quick else 5, 2.5)
    return rows


def process(*, quick: bool) -> Rows:
    """hsb, K = 5, as whole processes that start cold: imports and compilation included."""
    repeats = 1 if quick else 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rx.datasets.hsb_imputed().to_long().to_csv(folder / "long.csv", index=False)
        code = f"""
import pandas as pd, remlax as rx
from remlax.fitting.selection import Selection
long = pd.read_csv({str(folder / "long.csv")!r}, dtype={{"schid": str}})
sets = [d for _, d in long.groupby(".imp")]
rx.lmer_list({HSB!r}, sets).pool().tidy("fixed")
"""
        r_code = f"""
suppressMessages({{library(lme4); library(merTools)}})
long <- read.csv("{folder / "long.csv"}", colClasses = c(schid = "character"))
f <- suppressWarnings(lmerModList({HSB}, data = split(long, long$.imp))); invisible(modelFixedEff(f))
"""
        own = [sys.executable, "-c", code]
        scripts = {
            "remlax, cache off": ["env", "REMLAX_CACHE=off", *own],
            "remlax": ["env", f"REMLAX_CACHE={folder / 'cache'}", *own],
        }
        if has_r("merTools"):
            scripts["merTools"] = ["Rscript", "-e", r_code]
        subprocess.run(scripts["remlax"], check=True)
        rows: Rows = []
        for tool, command in scripts.items():
            seconds = median_seconds(lambda command=command: subprocess.run(command, check=True), repeats)
            rows.append({"what": "hsb, K = 5, whole process", "tool": tool, "seconds": seconds, "verdict": "ok"})
            rows[-1]["calls"] = repeats
            rows[-1]["tool / remlax"] = seconds / rows[0]["seconds"]
    return rows


def long_data(*, quick: bool) -> Rows:
    """One fit, random slope, J = n / 50 groups."""
    rows = []
    for n in (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000, 10_000_000):
        tools = (*(QUICK if quick else FAST), "lme4") if n <= 1_000_000 else ("mixedlm-rs, one thread",)
        line = Workload(f"one fit, {n:,} rows", SLOPE, [million(n)], ("g",), 1, tools)
        rows += against(line, 3 if quick else 5, 2.0 if n > 100_000 else 20.0)
    return rows


def crossed(*, quick: bool) -> Rows:
    """Lecture ratings by students of lecturers."""
    with tempfile.TemporaryDirectory() as name:
        frame = ratings(Path(name))
    rows = []
    for k in (1,) if quick else (1, 5):
        tools = ("glmm", "lme-python", "mixedlm", "mixedlm, one thread", "lme4") if not quick else ("glmm",)
        formula = "y ~ service + (1 | s) + (1 | d)"
        frames = [frame] if k == 1 else variants(frame, 5)
        line = Workload(f"ratings, crossed, K = {k}", formula, frames, ("s", "d", "service"), k, tools)
        rows += against(line, 3 if quick else 5, 4.0)
    return rows


def nested(*, quick: bool) -> Rows:
    """Growth in three levels, 7,230 rows."""
    frame = growth()
    # codes of children are unique, so that tools without the slash can name the terms
    formula = "math ~ year + (1 + year | school) + (1 + year | child)"
    rows = []
    for k in (1,) if quick else (1, 20):
        line = Workload(
            f"growth, three levels, K = {k}",
            formula,
            variants(frame, min(k, 2)),
            ("child", "school"),
            k,
            ("glmm", "lme-python", "mixedlm", "mixedlm, one thread", "lme4"),
        )
        rows += against(line, 3 if quick else 5, 10.0)
    return rows


def in_own_process(function: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """Call a function in a fresh process, so that its peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *given).result()


def from_memory(frames: list[pd.DataFrame], formula: str, fits: int, name: str, repeats: int) -> dict[str, Any]:
    """Fits of data sets whose cross-products are in memory: the cost of the optimiser alone."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rx.RemlaxWarning)
        batch = rx.lmer_list(formula, frames).selection.model.batch
    many = batch.take(np.arange(fits) % len(frames))
    start = time.perf_counter()
    found = fit(many, rx.Newton())
    first = time.perf_counter() - start
    seconds = median_seconds(lambda: fit(many, rx.Newton()), repeats)
    blocks = many.problem.products.zz[0], many.problem.products.zr[0]
    read = sum(block.nbytes for block in blocks)
    both = np.concatenate([block.ravel() for block in blocks])
    copy = median_seconds(both.copy, 3)
    return {
        "what": name,
        "tool": "remlax, from cross-products",
        "seconds": seconds,
        "first call": first,
        "calls": repeats,
        "fits timed": fits,
        "peak MB": peak_mb(),
        "verdict": "ok" if not found.status.any() else f"{int((found.status != 0).sum())} not converged",
        "microseconds a fit": 1e6 * seconds / fits,
        "evaluations a fit": float(found.evaluations.mean()),
        "reads / copies a second": read * float(found.evaluations.mean()) / seconds / (read / copy),
    }


def simulation(*, quick: bool) -> Rows:
    """Many small fits: J = 30 x 10, random slope; peers from data frames, some timed and scaled."""
    frames = [small(seed) for seed in range(20)]
    tools = (*QUICK, "lme4") if quick else (*FAST, *SLOW, "lme4", "lme4::refit")
    name = "1,000 fits of J = 30 x 10"
    line = Workload(name + ", from data frames", SLOPE, frames, ("g",), 1000, tools)
    return against(line, 3 if quick else 5, 3.0)


def memory(*, quick: bool) -> Rows:
    """Many small fits from cross-products in memory, and with the generation of their data."""
    rows: Rows = []
    distinct = [small(seed) for seed in range(1000)]
    for fits in (1000, 20_000) if quick else (1000, 20_000, 100_000):
        name = f"{fits:,} fits of J = 30 x 10"
        rows.append(in_own_process(from_memory, distinct, SLOPE, fits, name, 3 if quick else 5))
    if not quick:
        rows.append(_study(1000))
    return rows


def _study(replications: int) -> dict[str, Any]:
    """Fits with the generation of their data: a study without missing values, from design to performance table."""
    from simulation import design

    def run() -> float:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            study = rx.sim.Study(
                scenarios={"J": [30], "n": [10]},
                generate=design,
                methods={"complete": rx.sim.CompleteData()},
                model=SLOPE,
                estimands={"x": 0.5},
                replications=20 * replications,
                seed=1,
            )
            study.run(folder, block_size=2000, progress=False)
            study.performance(folder)
        return time.perf_counter() - start

    first = run()
    name = f"{20 * replications:,} fits of J = 30 x 10, with generation of data"
    times = [run() for _ in range(3)]
    row = {"what": name, "tool": "remlax, rx.sim", "seconds": statistics.median(times), "first call": first}
    return {
        **row,
        "calls": 3,
        "verdict": "ok",
        "microseconds a fit": 1e6 * statistics.median(times) / replications / 20,
    }


def replications(*, quick: bool) -> Rows:
    """1,000 replications x 20 imputations of hsb-sized data from cross-products."""
    frames = list(rx.datasets.hsb_imputed().frames)
    fits = 2000 if quick else 20_000
    return [in_own_process(from_memory, frames, HSB, fits, f"{fits:,} fits of hsb", 3 if quick else 5)]


def inference(*, quick: bool) -> Rows:
    """D1 to D4 and Satterthwaite's degrees of freedom, K = 20, from estimates alone."""
    from dataclasses import replace

    frames = list(rx.datasets.hsb_imputed().frames)
    fits = rx.lmer_list(HSB, [frames[k % 5] for k in range(20)])
    less = rx.lmer_list("mathach ~ minority + female + ses + (1 + ses | schid)", [frames[k % 5] for k in range(20)])

    def fresh(found: rx.LmerFitList) -> rx.LmerFitList:
        return rx.LmerFitList(replace(found.selection, fitted=replace(found.selection.fitted)))

    tasks: dict[str, Callable[[], object]] = {
        f"D{j}": lambda j=j: rx.anova(fresh(less), fresh(fits), method=f"D{j}") for j in (1, 2, 3, 4)
    }
    tasks["Satterthwaite"] = lambda: [fit.tidy("fixed") for fit in fresh(fits)]
    return timed({f"{name}, K = 20": task for name, task in tasks.items()}, 3 if quick else 5)


def timed(tasks: dict[str, Callable[[], object]], repeats: int) -> Rows:
    """Time calls of remlax alone."""
    rows: Rows = []
    for name, task in tasks.items():
        start = time.perf_counter()
        task()
        row = {"what": name, "tool": "remlax", "first call": time.perf_counter() - start}
        rows.append(row | {"seconds": median_seconds(task, repeats), "calls": repeats, "verdict": "ok"})
    return rows


def refits(*, quick: bool) -> Rows:
    """2,000 refits of 20 groups x 10 rows with a random intercept, and the bootstraps that consist of them."""
    frame = small(1).iloc[:200]
    fit, n_sims = rx.lmer("y ~ x + (1 | g)", frame), 500 if quick else 2000
    drawn = rx.simulate(fit, n_sims, seed=1)
    tasks: dict[str, Callable[[], object]] = {
        "refit": lambda: rx.refit(fit, drawn),
        "confint, boot": lambda: fit.confint("boot", n_sims=n_sims, seed=1),
        "parametric bootstrap": lambda: rx.bootstrap(fit, n_sims, seed=1).summary(),
        "cluster bootstrap": lambda: rx.bootstrap(fit, n_sims, seed=1, resample="g").summary(),
        "r2": lambda: fit.r2(n_sims=n_sims, seed=1),
    }
    return timed({f"{name}, {n_sims:,} refits": task for name, task in tasks.items()}, 3 if quick else 5)


WORKLOADS: dict[str, Callable[..., Rows]] = {
    "hsb": hsb,
    "process": process,
    "rows": long_data,
    "crossed": crossed,
    "nested": nested,
    "simulation": simulation,
    "memory": memory,
    "replications": replications,
    "inference": inference,
    "refits": refits,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer calls")
    parser.add_argument("workloads", nargs="*", help=", ".join(WORKLOADS))
    args = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for name in args.workloads or WORKLOADS:
        rows = WORKLOADS[name](quick=args.quick)
        for row in rows:
            seconds = "-" if row["seconds"] is None else f"{row['seconds']:.4g} s"
            ratio = row.get("tool / remlax") or row.get("best peer / remlax")
            print(f"{row['what']:48} {row['tool']:28} {seconds:>12} {ratio or float('nan'):8.3g}  {row['verdict']}")
        kept = {"machine": machine(), "quick": args.quick, "versions": versions(), "rows": rows}
        path = RESULTS / f"suite-{name}{'-quick' if args.quick else ''}.json"
        path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """remlax, JAX, the peers and R's packages."""
    import jax

    found = {"remlax": rx.__version__, "jax": jax.__version__}
    found |= dict(pins[0].split("==") for pins in REQUIREMENTS.values())
    if has_r("lme4", "merTools"):
        ask = 'for (p in c("lme4", "merTools")) cat(p, as.character(packageVersion(p)), "\\n")'
        lines = subprocess.run(["Rscript", "-e", ask], capture_output=True, text=True, check=True).stdout.splitlines()
        found |= dict(line.split() for line in lines)
    return found


if __name__ == "__main__":
    main()
