"""Crossed factors in batched methods: what they find is what lmer finds in the same data, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import remlax as rx

sim = rx.sim
MODEL = "y ~ cond + x + (1 + cond | subject) + (1 | item)"
COLUMNS = ["term", "estimate", "std_error", "df", "conf_low", "conf_high", "p_value"]
pytestmark = pytest.mark.filterwarnings("ignore::remlax.RemlaxWarning")


def design(scenario: Any) -> Any:
    return sim.MultilevelDesign(
        [sim.Factor("subject", 9), sim.Factor("item", 5)],
        1,
        {"1": 1.0, "cond": 0.3, "x": 0.4},
        [sim.RandomTerm("subject", {"1": 0.6, "cond": 0.4}, 0.2), sim.RandomTerm("item", {"1": 0.5})],
        1.0,
        [sim.Covariate("cond", kind="balanced", mean=0.5), sim.Covariate("x", icc={"subject": 0.2})],
    )


def by_lmer(data: pd.DataFrame, context: Any) -> pd.DataFrame:
    return pd.DataFrame(rx.lmer(MODEL, data.dropna()).tidy())[COLUMNS]


@pytest.mark.parametrize("missing", [pytest.param(False, marks=pytest.mark.slow), True])
def test_estimates_are_those_of_lmer(missing: bool, tmp_path: Path) -> None:
    method = sim.CompleteCases() if missing else sim.CompleteData()
    study = sim.Study(
        scenarios={"one": [1]},
        generate=design,
        ampute=(lambda scenario: sim.Amputation(0.4, [["x"]], weights={"y": 1.0})) if missing else None,
        methods={"batched": method, "loop": by_lmer},
        model=MODEL,
        estimands={"Intercept": 1.0, "cond": 0.3, "x": 0.4},
        replications=5,
        seed=2,
    )
    study.run(tmp_path, progress=False)
    found = study.results(tmp_path).pivot_table(
        index=["replication", "term"], columns="method", values=["estimate", "std_error", "df"]
    )
    assert len(found) == 15
    for name in ("estimate", "std_error"):
        np.testing.assert_allclose(found[name]["batched"], found[name]["loop"], rtol=1e-7)
    np.testing.assert_allclose(found["df"]["batched"], found["df"]["loop"], rtol=1e-5)


@pytest.mark.slow
def test_imputed_data_sets_of_crossed_factors_are_pooled(tmp_path: Path) -> None:
    study = sim.Study(
        scenarios={"one": [1]},
        generate=design,
        ampute=lambda scenario: sim.Amputation(0.3, [["x"]], weights={"y": 1.0}),
        methods={"emb": sim.EMB(m=3), "complete": sim.CompleteData()},
        model=MODEL,
        estimands={"x": 0.4},
        replications=4,
        seed=2,
    )
    study.run(tmp_path, progress=False)
    table = (
        study.results(tmp_path)
        .query("term == 'x'")
        .pivot_table(index="replication", columns="method", values="std_error")
    )
    assert np.isfinite(table).all(axis=None)
    assert (table["emb"] > table["complete"]).mean() > 0.5


def test_generalised_models_of_crossed_factors_are_refused(tmp_path: Path) -> None:
    study = sim.Study(
        scenarios={"one": [1]},
        generate=lambda scenario: sim.MultilevelDesign(
            [sim.Factor("subject", 6), sim.Factor("item", 5)], 1, {"1": 0.0, "x": 0.4},
            [sim.RandomTerm("subject", {"1": 0.6}), sim.RandomTerm("item", {"1": 0.5})],
            covariates=[sim.Covariate("x")], outcome=sim.Outcome("binomial"),
        ),
        methods={"any": sim.CompleteData()},
        model="y ~ x + (1 | subject) + (1 | item)",
        estimands={"x": 0.4},
        replications=2,
        seed=2,
    )  # fmt: skip
    with pytest.raises(rx.errors.SimulationError, match="are crossed: batched methods fit generalised models of one"):
        study.run(tmp_path, progress=False)
