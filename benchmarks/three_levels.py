"""Pupils in classes in schools: variance components after imputation with two levels and with three.

Twenty simulated data sets of 50 schools, 4 classes each, 8 pupils in a class; y = x / 2 + effects of schools and
classes, and x varies between both; 40 % of y and 25 % of x are missing completely at random; m = 5. Every analysis is
y ~ 1 + (1 | school/class). Prints the table of docs/how-to/three-levels.md:

    python benchmarks/three_levels.py
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd

import remlax as rx
from remlax import impute

SETS, SCHOOLS, CLASSES, PUPILS = 20, 50, 4, 8
METHODS = {
    "complete data": None,
    '`joint`, `cluster=["school", "class"]`': ["school", "class"],
    '`joint`, `cluster="class"`': "class",
    '`joint`, `cluster="school"`': "school",
}


def simulated(rng: np.random.Generator) -> pd.DataFrame:
    """One complete data set."""
    klass = np.repeat(np.arange(SCHOOLS * CLASSES), PUPILS)
    school, n = klass // CLASSES, len(klass)

    def effects(of_schools: float, of_classes: float, of_pupils: float) -> np.ndarray:
        draws = [np.sqrt(v) * rng.normal(size=k) for v, k in ((of_schools, SCHOOLS), (of_classes, SCHOOLS * CLASSES))]
        return draws[0][school] + draws[1][klass] + np.sqrt(of_pupils) * rng.normal(size=n)

    x = effects(0.2, 0.2, 0.6)
    return pd.DataFrame({"school": school, "class": klass, "y": 0.5 * x + effects(0.2, 0.15, 0.6), "x": x})


def shares(data: rx.ImputedData) -> list[float]:
    """Shares of schools and classes in the variance of y, from the means over the imputations."""
    table = rx.lmer_list("y ~ 1 + (1 | school/class)", data).pool().varcorr().set_index("group")["vcov"]
    return [table["school"] / table.sum(), table["class:school"] / table.sum()]


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
    main()
