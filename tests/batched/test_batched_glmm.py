"""Batched generalised linear mixed models: what `rx.glmer` and `rx.glmer_list` find on the same data, one by one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.batched.batch import BatchData, BatchRows
from remlax.batched.glmm_model import read_glmm
from remlax.batched.methods import EMB, CompleteCases, CompleteData, Joint, MixedModelMethod
from remlax.batched.pipeline import ReplicationColumns
from remlax.engine.programs import PROGRAMS
from remlax.errors import RemlaxError
from remlax.fitting.responses.family import read_family
from remlax.studies.replicate import batch_data, frame_data
from remlax.studies.store import Block

sim = rx.sim
R = 4
COUNTS = sim.Outcome("negative-binomial", size=2.0)


def design(outcome: Any = COUNTS, **changes: Any) -> Any:
    beta = {"x": 0.5} if outcome.family == "ordinal" else {"1": 0.3, "x": 0.5}
    return sim.MultilevelDesign(
        **{
            "factors": [sim.Factor("g", 12)],
            "size": sim.Drawn.uniform(4, 6),
            "beta": beta,
            "random": [sim.RandomTerm("g", {"1": 0.7})],
            "covariates": [sim.Covariate("x", icc={"g": 0.2})],
            "outcome": outcome,
        }
        | changes
    )


def study(own: Any = None, **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "scenarios": {"one": [1]},
        "generate": lambda scenario: own or design(),
        "ampute": lambda scenario: sim.Amputation(0.3, [["x"]], weights={"y": 1.0}),
        "methods": {"any": CompleteData()},
        "model": "y ~ x + (1 | g)",
        "estimands": {"x": 0.5},
        "replications": R,
        "seed": 4,
    }
    return sim.Study(**(settings | changes))


def batch_of(own: Any = None, **changes: Any) -> tuple[BatchData, list[Any]]:
    made = study(own, **changes)
    ((name, scenario),) = made.table().items()
    block = Block(name, 0, 0, made.replications)
    return batch_data(made, block, scenario, "any"), list(frame_data(made, block, scenario))


def analysed(method: MixedModelMethod, batch: BatchData) -> BatchRows:
    with jax.enable_x64(True):
        return method.analyse_batch(batch)


def fitted(frames: list[pd.DataFrame], family: str, formula: str = "y ~ x + (1 | g)", **options: Any) -> Any:
    """Fits of data sets that share a program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rx.glmer_list(formula, frames, family, **options)


def same_fit(found: BatchRows, i: int, fit: Any) -> None:
    """Compare one replication with a fit, order of terms included."""
    fixed, others = fit.tidy("fixed"), fit.tidy("ran_pars")
    p = len(fixed)
    assert list(found.terms[:p]) == fixed["term"].tolist()
    groups = [f"|{group}" if group != "Response" else "" for group in others["group"]]
    assert list(found.terms[p:]) == [f"{term}{group}" for term, group in zip(others["term"], groups, strict=True)]
    np.testing.assert_allclose(found.estimate[i, :p], fixed["estimate"], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.std_error[i, :p], fixed["std_error"], rtol=1e-8)
    np.testing.assert_allclose(found.estimate[i, p:], others["estimate"], rtol=1e-7, atol=1e-8)
    assert np.isinf(found.df[i, :p]).all()
    assert np.isnan(found.fmi[i]).all()
    assert found.status[i] == (1 if fit.is_singular else 0)


@pytest.fixture(scope="module")
def counts() -> tuple[BatchData, list[Any]]:
    return batch_of()


def test_complete_data_and_complete_cases_are_single_fits(counts: tuple[BatchData, list[Any]]) -> None:
    batch, data = counts
    fits = fitted([data[0].complete, data[2].data.dropna()], "negative-binomial")
    for i, method, fit in ((0, CompleteData(), fits[0]), (2, CompleteCases(), fits[1])):
        found = analysed(method, batch)
        same_fit(found, i, fit)
    assert found.terms == ["Intercept", "x", "sd__Intercept|g", "size"]


def test_an_infinite_size_is_no_number_and_is_named() -> None:
    batch, data = batch_of(design(sim.Outcome("negative-binomial", size=1e6)))
    found = analysed(CompleteData(), batch)
    fits = fitted([one.complete for one in data], "negative-binomial")
    endless = np.isinf([fit.dispersion for fit in fits])
    assert endless.any()
    np.testing.assert_array_equal(np.isnan(found.estimate[:, -1]), endless)
    np.testing.assert_array_equal(found.status, [1 if fit.is_singular else 0 for fit in fits])
    assert [bool(found.message[i].count("the size is infinite")) for i in range(R)] == endless.tolist()


NESTED = {
    "factors": [sim.Factor("school", 5), sim.Factor("class", 3, within="school")],
    "size": 5,
    "random": [sim.RandomTerm("school", {"1": 0.4}), sim.RandomTerm("class", {"1": 0.6})],
    "covariates": [sim.Covariate("x")],
}


@pytest.mark.parametrize(
    ("own", "formula", "options"),
    [
        pytest.param(
            design(sim.Outcome("ordinal", "probit", thresholds=[-0.8, 0.7], levels=["low", "mid", "high"])),
            "y",
            {},
            marks=pytest.mark.slow,
        ),
        (design(sim.Outcome(link="cloglog", trials=6)), "cbind(y, trials - y)", {}),
        pytest.param(
            design(sim.Outcome("poisson"), **NESTED),
            "y ~ x + offset(x / 4) + (1 | school / class)",
            {},
            marks=pytest.mark.slow,
        ),
        pytest.param(design(sim.Outcome("gamma", shape=3.0)), "y", {}, marks=pytest.mark.slow),
        pytest.param(design(sim.Outcome()), "y ~ x + (1 + x | g)", {}, marks=pytest.mark.slow),
        pytest.param(design(sim.Outcome()), "y", {"n_quad": 5}, marks=pytest.mark.slow),
    ],
    ids=["ordinal", "trials", "nested", "gamma", "slopes", "nodes"],
)
def test_every_family_is_that_of_single_fits(own: Any, formula: str, options: dict[str, Any]) -> None:
    formula = formula if "~" in formula else f"{formula} ~ x + (1 | g)"
    batch, data = batch_of(own, ampute=None, model=formula, replications=2)
    found = analysed(CompleteData(**options), batch)
    frames, outcome = [one.complete for one in data], own.outcome
    for i, fit in enumerate(fitted(frames, outcome.family, formula, link=outcome.link, **options)):
        same_fit(found, i, fit)


def completed_frames(batch: BatchData, data: list[Any], i: int, method: Any) -> list[pd.DataFrame]:
    """The completed data sets of one replication: the same imputations as frames."""
    with jax.enable_x64(True):
        model, _ = read_glmm(batch.design, str(batch.model), read_family("negative-binomial"), 1)
        treatment = method._treatment(batch, model)
        columns = ReplicationColumns(
            {k: v[i] for k, v in batch.complete.columns.items()},
            {k: v[i] for k, v in batch.mask.items()},
            batch.complete.weights[i] > 0,
            batch.complete.codes["g"][i],
        )
        completed = treatment.complete(batch.keys[i], columns)
    rows = np.asarray(completed.rows)
    return [
        data[i].data.assign(**{name: np.asarray(v)[k][rows] for name, v in completed.imputed.items()})
        for k in range(treatment.sets)
    ]


@pytest.mark.parametrize("method", [EMB(m=3), pytest.param(Joint(m=3, sweeps=20), marks=pytest.mark.slow)])
@pytest.mark.slow
def test_imputation_by_a_count_is_glmer_list_pooled(counts: tuple[BatchData, list[Any]], method: Any) -> None:
    batch, data = counts
    found = analysed(method, batch)
    frames = completed_frames(batch, data, 0, method)
    gone = data[0].data["x"].isna()
    assert (frames[0].loc[gone, "x"] != frames[1].loc[gone, "x"]).all()
    fits = fitted(frames, "negative-binomial")
    pooled = fits.pool().tidy("fixed")
    for ours, theirs in ((found.estimate, "estimate"), (found.std_error, "std_error"), (found.fmi, "fmi")):
        np.testing.assert_allclose(ours[0, :2], pooled[theirs], rtol=1e-7)
    np.testing.assert_allclose(found.df[0, :2], pooled["df"], rtol=1e-6)
    sds = [float(fit.varcorr()["sdcor"].iloc[0]) for fit in fits]
    sizes = [fit.tidy("ran_pars")["estimate"].iloc[1] for fit in fits]
    np.testing.assert_allclose(found.estimate[0, 2:], [np.mean(sds), np.mean(sizes)], rtol=1e-6)


def binary_batch() -> tuple[BatchData, list[Any]]:
    return batch_of(design(sim.Outcome()), replications=5)


def with_response(batch: BatchData, i: int, y: Any) -> BatchData:
    columns = dict(batch.complete.columns)
    columns["y"] = np.where(np.arange(len(columns["y"]))[:, None] == i, y, columns["y"])
    return replace(batch, complete=replace(batch.complete, columns=columns))


def test_replications_without_a_maximum_fail_alone_and_say_why() -> None:
    batch, _ = binary_batch()
    x = np.asarray(batch.complete.columns["x"])
    usual = analysed(CompleteCases(), batch)
    broken = with_response(with_response(batch, 1, 1.0), 2, (x > 0).astype(float))
    lost = dict(batch.mask)
    lost["x"] = np.where(np.arange(5)[:, None] == 3, True, lost["x"])
    found = analysed(CompleteCases(), replace(broken, mask=lost))
    assert found.status[1:4].tolist() == [3, 3, 3]
    assert found.message[1] == "no maximum: the response is constant in data set 1: no maximum of the likelihood exists"
    reason = "a linear predictor separates the outcome in data set 1: estimates go to infinity (Intercept, x)"
    assert found.message[2].startswith(f"no maximum: {reason}")
    assert "no estimates" in found.message[3]
    for array in (found.estimate, found.std_error, found.df):
        assert np.isnan(array[1:4, :2]).all()
    np.testing.assert_allclose(found.estimate[[0, 4]], usual.estimate[[0, 4]], rtol=1e-12)


def test_counts_that_are_none_fail_with_their_replication() -> None:
    batch, _ = binary_batch()
    y = np.asarray(batch.complete.columns["y"])
    found = analysed(CompleteData(), with_response(batch, 0, y + 0.5))
    assert found.status[0] == 3
    assert set(found.status[1:]) <= {0, 1}


def test_a_study_of_a_binary_outcome_with_missing_responses(tmp_path: Path) -> None:
    own = design(sim.Outcome())
    made = study(
        own,
        ampute=lambda scenario: sim.Amputation(0.3, [["y"]], weights={"x": 1.0}),
        methods={"all": CompleteData(), "listwise": CompleteCases(dfcom="residual")},
        estimands={"x": 0.5, "sd__Intercept|g": 0.7},
        replications=5,
    )
    made.run(tmp_path, progress=False)
    rows = made.results(tmp_path)
    assert set(rows["status"]) <= {"ok", "singular"}
    own_rows = rows[(rows["method"] == "listwise") & (rows["term"] == "x")]
    name, scenario = next(iter(made.table().items()))
    observed = [len(one.data.dropna()) for one in frame_data(made, Block(name, 0, 0, 5), scenario)]
    assert own_rows["df"].tolist() == [n - 3 for n in observed]  # two coefficients and a variance
    table = made.performance(tmp_path)
    assert set(table["method"]) == {"all", "listwise"}
    assert set(table["term"]) == {"x", "sd__Intercept|g"}


def test_numbers_of_a_scenario_do_not_compile_anew() -> None:
    batch, _ = binary_batch()
    analysed(CompleteData(), batch)
    held = PROGRAMS.held
    other, _ = batch_of(design(sim.Outcome(), beta={"1": -0.2, "x": 0.1}), replications=5)
    analysed(CompleteData(), other)
    assert held == PROGRAMS.held


@pytest.mark.parametrize(
    ("method", "own", "changes", "message"),
    [
        (
            EMB(columns=["y", "x"]),
            design(sim.Outcome()),
            {"ampute": lambda scenario: sim.Amputation(0.3, [["y"]], weights={"x": 1.0})},
            "Column 'y' is a binomial outcome with missing cells, and EMB imputes continuous columns",
        ),
        (
            Joint(targets=["y"]),
            design(sim.Outcome()),
            {"ampute": lambda scenario: sim.Amputation(0.3, [["y"]], weights={"x": 1.0})},
            "Column 'y' is a binomial outcome with missing cells, and Joint imputes continuous columns",
        ),
        (CompleteData(family="poisson"), replace(design(), outcome=None, sigma=1.0), {}, "whole numbers of at least 0"),
        (CompleteData(family="ordinal"), design(sim.Outcome()), {}, "'y' has no categories: family='ordinal' needs"),
        (CompleteData(family="gaussian", n_quad=3), design(), {}, "link= and n_quad= are for generalised linear"),
        (CompleteData(n_quad=3), design(**NESTED), {"model": "y ~ x + (1 | school / class)"}, "n_quad is for one"),
    ],
)
def test_mistakes_are_named(method: MixedModelMethod, own: Any, changes: Mapping[str, Any], message: str) -> None:
    batch, _ = batch_of(own, **changes)
    with pytest.raises(RemlaxError, match=message):
        analysed(method, batch)


def test_a_linear_model_of_an_outcome_is_asked_for_by_name(counts: tuple[BatchData, list[Any]]) -> None:
    batch, data = counts
    found = analysed(CompleteData(family="gaussian"), batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = rx.lmer("y ~ x + (1 | g)", data[0].complete)
    np.testing.assert_allclose(found.estimate[0, :2], fit.fixef(), rtol=1e-7)
    assert np.isfinite(found.df[0, 1])
