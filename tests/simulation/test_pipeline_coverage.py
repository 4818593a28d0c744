"""The whole pipeline: intervals after imputation cover as often as they should under the right model, and only then."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from remlax import sim

pytestmark = pytest.mark.slow


def clusters(scenario: Mapping[str, Any]) -> sim.MultilevelDesign:
    return sim.MultilevelDesign(
        [sim.Factor("g", scenario["J"])],
        scenario["n"],
        {"1": 0.0, "x": 0.5, "w": 0.5},
        [sim.RandomTerm("g", {"1": math.sqrt(0.3)})],
        math.sqrt(0.7),
        [sim.Covariate("x", icc={"g": 0.3}), sim.Covariate("w", level="g")],
    )


def incomplete(scenario: Mapping[str, Any]) -> sim.Amputation:
    return sim.Amputation(0.4, [["x"], ["y"]], weights=[{"y": 1.0}, {"x": 1.0}])


def cells(folder: Path, j: int, n: int, replications: int, methods: Mapping[str, Any]) -> Any:
    study = sim.Study(
        scenarios={"J": [j], "n": [n]},
        generate=clusters,
        ampute=incomplete,
        methods=methods,
        model="y ~ x + w + (1 | g)",
        estimands={"x": 0.5, "w": 0.5, "sd__Intercept|g": math.sqrt(0.3)},
        replications=replications,
        seed=17,
    )
    study.run(folder, progress=False)
    table = study.performance(folder)
    return table[table["summary"] == "all"].set_index(["method", "term", "measure"])


def test_joint_imputation_covers_on_both_levels(tmp_path: Path) -> None:
    methods = {"complete": sim.CompleteData(), "joint": sim.Joint(m=10, sweeps=150)}
    found = cells(tmp_path, 30, 5, 400, methods)
    for method in methods:
        for term in ("x", "w"):  # of the rows, and of the clusters
            coverage = found.loc[(method, term, "coverage")]
            assert abs(coverage["estimate"] - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 400), (method, term)
    for term in ("x", "w"):
        bias = found.loc[("complete", term, "bias")]
        assert abs(bias["estimate"]) < 3 * bias["mcse"], term
        # 30 clusters of 5 rows are few: on the same 400 data sets x is -0.0123 (0.0037) off the estimate of the
        # complete data. With the prior's scale of the residuals at 0.01 and of the clusters at 0.1 instead of 1 it is
        # -0.0063 (0.0037), with 0.1 of the clusters alone -0.0127; with 120 clusters it is 0.000 (0.002)
        off = found.loc[("joint", term, "bias"), "estimate"] - bias["estimate"]
        assert abs(off) < 0.012 + 3 * 0.004, term


def test_joint_imputation_is_unbiased_where_clusters_are_many(tmp_path: Path) -> None:
    methods = {"complete": sim.CompleteData(), "joint": sim.Joint(m=10, sweeps=150)}
    found = cells(tmp_path, 120, 5, 256, methods)
    for term in ("x", "w"):
        off = found.loc[("joint", term, "bias"), "estimate"] - found.loc[("complete", term, "bias"), "estimate"]
        assert abs(off) < 4 * 0.0022, term  # Monte Carlo error of the difference on the same data sets


def test_single_level_imputation_fails_on_clustered_data(tmp_path: Path) -> None:
    found = cells(tmp_path, 150, 20, 200, {"complete": sim.CompleteData(), "emb": sim.EMB(m=10)})
    limit = 3 * math.sqrt(0.95 * 0.05 / 200)
    assert abs(found.loc[("complete", "x", "coverage"), "estimate"] - 0.95) < limit
    assert found.loc[("emb", "x", "coverage"), "estimate"] < 0.95 - limit
    # the clusters look more alike than they are: variance between them is lost
    assert found.loc[("emb", "sd__Intercept|g", "bias"), "estimate"] < -0.08
    assert abs(found.loc[("complete", "sd__Intercept|g", "bias"), "estimate"]) < 0.02
