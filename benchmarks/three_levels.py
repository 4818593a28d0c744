"""Pupils in classes in schools: variance components after imputation with two levels and with three.

Twenty simulated data sets of 50 schools, 4 classes each, 8 pupils in a class; y = x / 2 + effects of schools and
classes, and x varies between both; 40 % of y and 25 % of x are missing completely at random; m = 5. Every analysis is
y ~ 1 + (1 | school/class). Prints the table of docs/how-to/three-levels.md:

    python benchmarks/three_levels.py

With "speed": 4,000 pupils in 400 classes in 100 schools, targets at all three levels, 20 chains of 1,000 sweeps; and,
where R is there, sweeps per second of jomo and of mitml's pan for the same pupils in classes (pan without the target of
classes). Neither has a third level, nor have the two-level methods of mice. Prints the table of speed on the same page:

    python benchmarks/three_levels.py speed
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from common import has_r, median_seconds, run_r

import remlax as rx
from remlax import impute

SETS, SCHOOLS, CLASSES, PUPILS = 20, 50, 4, 8
METHODS = {
    "complete data": None,
    '`joint`, `cluster=["school", "class"]`': ["school", "class"],
    '`joint`, `cluster="class"`': "class",
    '`joint`, `cluster="school"`': "school",
}


def simulated(rng: np.random.Generator, schools: int = SCHOOLS, pupils: int = PUPILS) -> pd.DataFrame:
    """One complete data set."""
    klass = np.repeat(np.arange(schools * CLASSES), pupils)
    school, n = klass // CLASSES, len(klass)

    def effects(of_schools: float, of_classes: float, of_pupils: float) -> np.ndarray:
        draws = [np.sqrt(v) * rng.normal(size=k) for v, k in ((of_schools, schools), (of_classes, schools * CLASSES))]
        return draws[0][school] + draws[1][klass] + np.sqrt(of_pupils) * rng.normal(size=n)

    x = effects(0.2, 0.2, 0.6)
    return pd.DataFrame({"school": school, "class": klass, "y": 0.5 * x + effects(0.2, 0.15, 0.6), "x": x})


def shares(data: rx.ImputedData) -> list[float]:
    """Shares of schools and classes in the variance of y, from the means over the imputations."""
    table = rx.lmer_list("y ~ 1 + (1 | school/class)", data).pool().varcorr().set_index("group")["vcov"]
    return [table["school"] / table.sum(), table["class:school"] / table.sum()]


R_PEERS = """
suppressMessages({{library(jomo); library(mitml)}})
d <- read.csv("{file}"); sweeps <- 300
clock <- function(name, expr) cat(name, sweeps / system.time(invisible(capture.output(expr)))[["elapsed"]], "\\n")
half <- sweeps / 2
clock("jomo", jomo(d[, c("y", "x")], Y2 = d["size"], clus = d["class"], nburn = half, nbetween = half, nimp = 2,
                   output = 0))
clock("pan", panImpute(d, formula = y + x ~ 1 + (1 | class), n.burn = sweeps - 10, n.iter = 10, m = 1, silent = TRUE))
"""


def speed() -> None:
    """Print sweeps per second and seconds."""
    rng = np.random.default_rng(0)
    data = simulated(rng, schools=100, pupils=10)
    of_class, of_school = data["class"].to_numpy(), data["school"].to_numpy()
    data["size"] = rng.normal(25.0, 4.0, 400)[of_class] + data.groupby("class")["y"].transform("mean")
    data["budget"] = rng.normal(100.0, 9.0, 100)[of_school] + data.groupby("school")["y"].transform("mean")
    for name, groups, share in (
        ("y", np.arange(len(data)), 0.4),
        ("x", np.arange(len(data)), 0.25),
        ("size", of_class, 0.2),
        ("budget", of_school, 0.2),
    ):
        data.loc[(rng.random(groups.max() + 1) < share)[groups], name] = np.nan
    levels = {"level1": ["y", "x"], "level2": ["size"], "m": 20, "burn": 500, "iter": 500, "seed": 1}
    calls = {
        "three levels": {"cluster": ["school", "class"], "level3": ["budget"], **levels},
        "pupils in classes": {"cluster": "class", "id_vars": ["school"], **levels},
    }
    print("| | sweeps per second | 20 imputations, 1,000 sweeps each | first call |\n|---|---|---|---|")
    for name, call in calls.items():

        def run(call: dict[str, object] = call) -> None:
            impute.joint(data, **call)

        start = time.perf_counter()
        run()
        first, warm = time.perf_counter() - start, median_seconds(run, 3)
        print(f"| `joint`, {name} | {20_000 / warm:,.0f} | {warm:.1f} s | {first:.1f} s |")
    if has_r("jomo", "mitml"):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "pupils.csv"
            data.to_csv(file, index=False)
            for name, rate in run_r(R_PEERS.format(file=file)).items():
                print(f"| {name}, pupils in classes | {rate:,.0f} | | |")


def main() -> None:
    """Print the table."""
    sets = int(sys.argv[1]) if len(sys.argv) > 1 else SETS
    found: dict[str, list[list[float]]] = {name: [] for name in METHODS}
    for number in range(sets):
        rng = np.random.default_rng(number)
        complete = simulated(rng)
        lost = complete.copy()
        for name, share in (("y", 0.4), ("x", 0.25)):
            lost.loc[rng.random(len(lost)) < share, name] = np.nan
        for name, cluster in METHODS.items():
            if cluster is None:
                found[name].append(shares(rx.ImputedData.from_frames([complete, complete])))
                continue
            ids = [c for c in ("school", "class") if c not in cluster and c != cluster]
            call = {"level1": ["y", "x"], "cluster": cluster, "id_vars": ids, "m": 5}
            found[name].append(shares(impute.joint(lost, burn=300, iter=100, seed=number, **call).data))
    base = np.array(found["complete data"])
    print("| | schools | classes in schools |\n|---|---|---|\n| truth | 0.208 | 0.167 |")
    for name, rows in found.items():
        mean, error = np.mean(rows, axis=0), np.std(rows - base, axis=0, ddof=1) / np.sqrt(sets)
        cells = [
            f"{m:.3f}" if name == "complete data" else f"{m:.3f} ({e:.3f})" for m, e in zip(mean, error, strict=True)
        ]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    speed() if sys.argv[1:] == ["speed"] else main()
