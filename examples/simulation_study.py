"""Simulation studies: published tables reproduced, and a multilevel study of ways to deal with missing values.

1. van Buuren (2018), Flexible Imputation of Missing Data, 2nd ed., section 2.5.2: two imputation methods, 1,000 runs.
2. The same book, tables 3.1 and 3.2: methods for one incomplete variable, 10,000 runs.
3. Mixed models with 40 % of the rows incomplete (MAR): all data, complete cases, EMB, joint model, over J groups, n
   rows per group and intraclass correlation.

    python examples/simulation_study.py [folder]        about ten minutes on two cores
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pandas as pd

import remlax as rx
from remlax import sim
from remlax.kernels.estimates import rubin


@dataclass(frozen=True)
class Regression:
    """y ~ x by least squares after imputation of one column from the other: a batched method of one's own.

    kind: "listwise", "predict" (regression), "nob" (regression and noise), "norm" (Bayesian), "boot" (bootstrap).
    """

    kind: str
    m: int = 5

    def analyse_batch(self, batch: sim.BatchData) -> sim.BatchRows:
        x, y = (batch.complete.columns[name] for name in ("x", "y"))
        (missing,) = batch.mask
        seen = (~batch.mask[missing]).astype(x.dtype)
        if self.kind == "listwise":
            slope, variance, n = least_squares(x, y, seen)
            return sim.BatchRows(["x"], slope[:, None], jnp.sqrt(variance)[:, None], df=(n - 2)[:, None])
        target, other = (y, x) if missing == "y" else (x, y)
        slopes, variances = [], []
        for k in range(self.m):
            keys = jax.vmap(lambda key, k=k: jax.random.fold_in(key, k))(batch.keys)
            drawn = jax.vmap(self.impute)(keys, target, other, seen)
            slope, variance, n = least_squares(*((x, drawn) if missing == "y" else (drawn, y)), jnp.ones_like(x))
            slopes.append(slope)
            variances.append(variance)
        return pooled(jnp.stack(slopes), jnp.stack(variances), n - 2)

    def impute(self, key: jax.Array, target: jax.Array, other: jax.Array, seen: jax.Array) -> jax.Array:
        """One imputation of one data set (n,)."""
        for_rows, for_parameters, for_noise = jax.random.split(key, 3)
        weights = seen
        if self.kind == "boot":
            picks = jax.random.categorical(for_rows, jnp.log(seen), shape=(target.size,))
            kept = (jnp.arange(target.size, dtype=seen.dtype) < seen.sum()).astype(target.dtype)
            weights = jax.ops.segment_sum(kept, picks, num_segments=seen.size)
        design = jnp.stack([jnp.ones_like(other), other], axis=1)
        inverse = jnp.linalg.inv(design.T @ (design * weights[:, None]))
        beta = inverse @ (design.T @ (weights * target))
        rss = (weights * (target - design @ beta) ** 2).sum()
        free = seen.sum() - 2
        # mice's norm.nob and norm.boot divide by one less
        sigma = jnp.sqrt(rss / (free - 1 if self.kind in ("nob", "boot") else free))
        if self.kind == "norm":
            for_sigma, for_beta = jax.random.split(for_parameters)
            sigma = jnp.sqrt(rss / (2 * jax.random.gamma(for_sigma, free / 2)))
            beta = beta + sigma * jnp.linalg.cholesky(inverse) @ jax.random.normal(for_beta, (2,), target.dtype)
        noise = sigma * jax.random.normal(for_noise, target.shape, target.dtype)
        drawn = design @ beta + (0.0 if self.kind == "predict" else 1.0) * noise
        return jnp.where(seen > 0, target, drawn)


def least_squares(x: jax.Array, y: jax.Array, seen: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Slope, its variance and the number of rows of R data sets (R, n)."""
    n = seen.sum(1)
    dx = x - ((x * seen).sum(1) / n)[:, None]
    dy = y - ((y * seen).sum(1) / n)[:, None]
    xx = (seen * dx**2).sum(1)
    slope = (seen * dx * dy).sum(1) / xx
    rss = (seen * (dy - slope[:, None] * dx) ** 2).sum(1)
    return slope, rss / (n - 2) / xx, n


def pooled(slopes: jax.Array, variances: jax.Array, dfcom: jax.Array) -> sim.BatchRows:
    """Rubin's rules over the first axis."""
    found = jax.vmap(rubin, in_axes=(1, 1, 0))(slopes[..., None], variances[..., None], dfcom[:, None])
    return sim.BatchRows(["x"], found.estimate, found.std_error, df=found.df, fmi=found.fmi)


def line(scenario: Mapping[str, Any]) -> sim.MultilevelDesign:
    """y = beta0 + beta1 x + e: one group without an effect."""
    return sim.MultilevelDesign(
        [sim.Factor("g", 1)],
        50,
        {"1": scenario["beta0"], "x": scenario["beta1"]},
        [sim.RandomTerm("g", {"1": 0.0})],
        scenario["sigma"],
        [sim.Covariate("x", mean=scenario["mean"], sd=scenario["sd"])],
    )


def half_missing(scenario: Mapping[str, Any]) -> sim.Amputation:
    return sim.Amputation(0.5, [[scenario["missing"]]], mechanism="MCAR")


def true_slope(scenario: Mapping[str, Any]) -> float:
    return float(scenario["beta1"])


FIRST = sim.Study(
    scenarios=pd.DataFrame([{"missing": "x", "beta0": 0.0, "beta1": 1.0, "sigma": 1.0, "mean": 0.0, "sd": 1.0}]),
    generate=line,
    ampute=half_missing,
    methods={"norm.predict": Regression("predict", m=2), "norm.nob": Regression("nob")},
    estimands={"x": true_slope},
    replications=1000,
    seed=252,
)
# the book does not print the law of x: this SD gives the published width of the listwise intervals, 0.251
TABLES = sim.Study(
    scenarios=pd.DataFrame(
        [
            {"missing": name, "beta0": 5.49, "beta1": -0.29, "sigma": 0.86, "mean": 5.35, "sd": 2.985}
            for name in ("y", "x")
        ]
    ),
    generate=line,
    ampute=half_missing,
    methods={
        "norm.predict": Regression("predict"),
        "norm.nob": Regression("nob"),
        "norm": Regression("norm"),
        "norm.boot": Regression("boot"),
        "listwise": Regression("listwise"),
    },
    estimands={"x": true_slope},
    replications=10_000,
    seed=31,
)


def clusters(scenario: Mapping[str, Any]) -> sim.MultilevelDesign:
    """Pupils in schools: a covariate of pupils, one of schools, and the intraclass correlation of the residual."""
    icc = scenario["icc"]
    return sim.MultilevelDesign(
        [sim.Factor("g", scenario["J"])],
        scenario["n"],
        {"1": 0.0, "x": 0.5, "w": 0.5},
        [sim.RandomTerm("g", {"1": icc**0.5})],
        (1 - icc) ** 0.5,
        [sim.Covariate("x", icc={"g": icc}), sim.Covariate("w", level="g")],
    )


def incomplete(scenario: Mapping[str, Any]) -> sim.Amputation:
    """40 % of the rows lack x (the more likely the larger y) or y (the larger x)."""
    return sim.Amputation(0.4, [["x"], ["y"]], weights=[{"y": 1.0}, {"x": 1.0}])


MULTILEVEL = sim.Study(
    scenarios={"J": [30, 150], "n": [5, 20], "icc": [0.1, 0.3]},
    generate=clusters,
    ampute=incomplete,
    methods={"complete": sim.CompleteData(), "listwise": sim.CompleteCases(), "emb": sim.EMB(m=20)},
    model="y ~ x + w + (1 | g)",
    estimands={"x": 0.5, "w": 0.5, "sd__Intercept|g": lambda scenario: scenario["icc"] ** 0.5},
    replications=500,
    seed=4,
)

# the same data, since these depend on the seed, the scenario and the number of the replication only; fewer of them,
# since chains take a hundred times as long as EMB
JOINT = replace(MULTILEVEL, methods={"joint": sim.Joint(m=10, sweeps=100)}, replications=200)


def show(table: pd.DataFrame, rows: list[str], measures: list[str]) -> str:
    """Estimates of some measures, one column each, in the order of the study."""
    kept = table[(table["summary"] == "all") & table["measure"].isin(measures)]
    wide = kept.pivot_table(index=rows, columns="measure", values="estimate", sort=False)
    return str(wide[[m for m in measures if m in wide]].round(3).to_string())


def main(folder: Path) -> None:
    rx.enable_compilation_cache(folder / "compiled")
    for name, study in (("first", FIRST), ("tables", TABLES), ("multilevel", MULTILEVEL), ("joint", JOINT)):
        study.run(folder / name, block_size=500, progress=sys.stderr.isatty())
    print("FIMD 2.5.2 (published: mean 1.343, coverage 0.36; unbiased, 0.925)\n")
    print(show(FIRST.performance(folder / "first"), ["method"], ["mean", "coverage"]))
    print("\nFIMD tables 3.1 (missing y) and 3.2 (missing x)\n")
    table = TABLES.performance(folder / "tables")
    print(show(table, ["missing", "method"], ["bias", "coverage", "width", "rmse"]))
    print("\nMixed models, 40 % incomplete rows\n")
    table = pd.concat([MULTILEVEL.performance(folder / "multilevel"), JOINT.performance(folder / "joint")])
    table = table.sort_values(["J", "n", "icc"], kind="stable")
    print(show(table[table["term"] != "sd__Intercept|g"], ["term", "J", "n", "icc", "method"], ["bias", "coverage"]))
    print()
    print(show(table[table["term"] == "sd__Intercept|g"], ["J", "n", "icc", "method"], ["bias", "empirical_se"]))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
