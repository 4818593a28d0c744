"""Batched methods: what they find is what lmer and lmer_list find on the same data, one replication after the other."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.batched.batch import BatchData, BatchRows
from remlax.batched.methods import EMB, CompleteCases, CompleteData, Joint, MixedModelMethod
from remlax.batched.pipeline import ReplicationColumns
from remlax.engine.programs import PROGRAMS, float64
from remlax.errors import RemlaxError, SimulationError
from remlax.studies.replicate import batch_data, frame_data
from remlax.studies.store import Block

MODEL = "y ~ x * w + b + I(x^2) + (1 + x | g)"
sim = rx.sim


def design(scenario: Mapping[str, Any]) -> Any:
    return sim.MultilevelDesign(
        [sim.Factor("g", 10)],
        sim.Drawn.uniform(4, 7),
        {"1": 1.0, "x": 0.5, "w": 0.3, "b": 0.4},
        [sim.RandomTerm("g", {"1": scenario.get("sd", 0.6), "x": scenario.get("sd", 0.6) / 2}, 0.3)],
        1.0,
        [
            sim.Covariate("x", icc={"g": 0.2}, mean=1.0),
            sim.Covariate("w", level="g"),
            sim.Covariate("b", kind="binary", mean=0.4),
        ],
    )


def amputation(scenario: Mapping[str, Any]) -> Any:
    return sim.Amputation(0.5, [["x"], ["b"], ["x", "b"]], weights={"y": 1.0})


def study(**changes: Any) -> Any:
    settings: dict[str, Any] = {
        "scenarios": {"one": [1]},
        "generate": design,
        "ampute": amputation,
        "methods": {"any": CompleteData()},
        "model": MODEL,
        "estimands": {"x": 0.5},
        "replications": 4,
        "seed": 3,
    }
    return sim.Study(**(settings | changes))


def analysed(method: MixedModelMethod, **changes: Any) -> tuple[BatchData, list[Any], BatchRows]:
    """Arrays and frames of the replications, and what a method makes of the arrays."""
    made = study(**changes)
    ((name, scenario),) = made.table().items()
    block = Block(name, 0, 0, made.replications)
    batch = batch_data(made, block, scenario, "any")
    with jax.enable_x64(True):
        return batch, list(frame_data(made, block, scenario)), method.analyse_batch(batch)


def same_fit(found: BatchRows, i: int, fixed: pd.DataFrame, varcorr: pd.DataFrame) -> None:
    """Compare one replication with tables of a fit or a pooled model; order of coefficients included."""
    p = len(fixed)
    assert list(found.terms[:p]) == fixed["term"].tolist()
    for ours, theirs, rtol in (
        (found.estimate, fixed["estimate"], 1e-7),
        (found.std_error, fixed["std_error"], 1e-6),
        (found.df, fixed["df"], 1e-4),
    ):
        np.testing.assert_allclose(ours[i, :p], theirs, rtol=rtol)
    np.testing.assert_allclose(found.estimate[i, p:], varcorr, rtol=1e-6, atol=1e-9)


def test_complete_data_and_complete_cases_are_single_fits() -> None:
    for method in (CompleteData(), CompleteCases()):
        _, data, found = analysed(method)
        for i, one in enumerate(data[:2]):
            frame = one.complete if isinstance(method, CompleteData) else one.data.dropna()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fit = rx.lmer(MODEL, frame)
            same_fit(found, i, fit.tidy("fixed"), fit.varcorr()["sdcor"])
            assert np.isnan(found.fmi[i]).all()
            assert (found.status[i] == 1) == fit.is_singular
    assert found.terms[6:] == ["sd__Intercept|g", "sd__x|g", "cor__Intercept.x|g", "sigma"]


@pytest.mark.parametrize("c", [1e5, 1.7e9])
def test_slopes_of_covariates_far_from_zero_are_those_near_zero(c: float) -> None:
    far = f"I(x + {c:.0f})"

    def near(scenario: Mapping[str, Any]) -> Any:
        return sim.MultilevelDesign(
            [sim.Factor("g", 10)],
            sim.Drawn.uniform(4, 7),
            {"1": 1.0, "x": 0.5},
            [sim.RandomTerm("g", {"1": 0.6, "x": 0.8}, 0.3)],
            1.0,
            [sim.Covariate("x", icc={"g": 0.2})],
        )

    amputed = {"ampute": lambda scenario: sim.Amputation(0.3, [["x"]], weights={"y": 1.0})}
    model = f"y ~ {far} + (1 + {far} | g)"
    _, data, found = analysed(CompleteCases(), generate=near, model=model, estimands={far: 0.5}, **amputed)
    use = [1, 3, 5]  # the coefficient of x, its SD between groups, and sigma
    for i, one in enumerate(data):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # as far as the digits go that are left of x
            fit = rx.lmer("y ~ x + (1 + x | g)", one.data.dropna().assign(x=lambda d: (d["x"] + c) - c))
        fixed = fit.tidy("fixed").iloc[1]
        expected = [fixed["estimate"], *fit.varcorr()["sdcor"].iloc[[1, 3]]]
        np.testing.assert_allclose(found.estimate[i, use], expected, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(found.std_error[i, 1], fixed["std_error"], rtol=1e-6)
        np.testing.assert_allclose(found.df[i, 1], fixed["df"], rtol=1e-4)
        assert (found.status[i] == 1) == fit.is_singular
    assert set(found.status) <= {0, 1}


def completed_frames(batch: BatchData, data: list[Any], i: int, method: EMB | Joint) -> list[pd.DataFrame]:
    """The completed data sets of one replication: the same imputations as frames."""
    with jax.enable_x64(True):
        treatment = method._treatment(batch, _model(batch))
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


def _model(batch: BatchData) -> Any:
    from remlax.batched.array_model import read_model

    return read_model(batch.design, MODEL, reml=True)[0]


@pytest.fixture(scope="module")
def emb() -> tuple[BatchData, list[Any], BatchRows]:
    return analysed(EMB(m=4))


@pytest.mark.slow
def test_emb_is_lmer_list_pooled(emb: tuple[BatchData, list[Any], BatchRows]) -> None:
    batch, data, found = emb
    for i in range(len(data)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fits = rx.lmer_list(MODEL, completed_frames(batch, data, i, EMB(m=4)))
            pooled = fits.pool().tidy("fixed")
        each = fits.varcorr().groupby(["group", "var1", "var2"], dropna=False, sort=False)["sdcor"].mean()
        same_fit(found, i, pooled, each)
        np.testing.assert_allclose(found.fmi[i, :6], pooled["fmi"], rtol=1e-5)
        singular = int(fits.convergence()["singular"].sum())
        assert (found.message[i] == f"singular in {singular} of 4 imputations") == (singular > 0)


@pytest.mark.slow
def test_joint_is_lmer_list_pooled() -> None:
    method = Joint(m=3, sweeps=20)

    def lost(scenario: object) -> Any:
        return sim.Amputation(0.4, [["x"], ["y"]], weights=[{"w": 1.0}, {"w": 1.0}])

    batch, data, found = analysed(method, ampute=lost)
    for i in range(2):
        frames = completed_frames(batch, data, i, method)
        seen = data[i].data.notna().to_numpy()
        assert all((frame.to_numpy()[seen] == data[i].data.to_numpy()[seen]).all() for frame in frames)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fits = rx.lmer_list(MODEL, frames)
            each = fits.varcorr().groupby(["group", "var1", "var2"], dropna=False, sort=False)["sdcor"].mean()
            same_fit(found, i, fits.pool().tidy("fixed"), each)


@pytest.mark.slow
def test_imputed_cells_are_missing_cells_and_categories_are_drawn(
    emb: tuple[BatchData, list[Any], BatchRows],
) -> None:
    batch, data, _ = emb
    frames = completed_frames(batch, data, 2, EMB(m=4))
    seen = data[2].data.notna().to_numpy()
    for frame in frames:
        assert (frame.to_numpy()[seen] == data[2].data.to_numpy()[seen]).all()
        assert frame.notna().all(axis=None)
        assert set(frame["b"]) == {0.0, 1.0}
    gone = data[2].data["x"].isna()
    assert (frames[0]["x"][gone] != frames[1]["x"][gone]).all()


@pytest.mark.slow
def test_imputations_do_not_depend_on_other_replications() -> None:
    _, _, few = analysed(EMB(m=4), replications=3)
    _, _, many = analysed(EMB(m=4), replications=4)
    np.testing.assert_allclose(few.estimate, many.estimate[:3], rtol=1e-9)


@pytest.mark.slow
def test_fits_on_the_boundary_are_those_of_single_fits() -> None:
    _, data, found = analysed(CompleteData(), scenarios={"sd": [0.0]}, replications=24)
    singular = []
    for i, one in enumerate(data):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = rx.lmer(MODEL, one.complete)
        singular.append(fit.is_singular)
        np.testing.assert_allclose(found.estimate[i, :6], fit.fixef(), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(found.std_error[i, :6], fit.tidy("fixed")["std_error"], rtol=1e-5)
    assert 6 < sum(singular) < 24
    assert [status == 1 for status in found.status] == singular


@pytest.mark.slow
def test_a_response_without_residual_variance_is_flagged_as_in_single_fits() -> None:
    def exact(scenario: object) -> Any:
        return replace(design({}), beta={"1": 1.0, "x": 0.5}, sigma=1e-7, random=[sim.RandomTerm("g", {"1": 0.6})])

    method = CompleteData(model="y ~ x + (1 | g)")
    _, data, found = analysed(method, generate=exact, ampute=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = [rx.lmer("y ~ x + (1 | g)", one.complete) for one in data]
    assert [fit.opt.status for fit in fits] == ["no residual variance"] * 4
    assert found.status.tolist() == [2] * 4  # nonconverged, as convergence() of the fits says
    assert found.message == ["no residual variance"] * 4
    np.testing.assert_allclose(found.estimate[:, 1], [fit.fixef()["x"] for fit in fits], rtol=1e-5)


@pytest.mark.slow
def test_nested_factors_and_residual_df() -> None:
    def nested(scenario: object) -> Any:
        return sim.MultilevelDesign(
            [sim.Factor("school", 6), sim.Factor("class", 3, within="school")],
            4,
            {"1": 1.0, "x": 0.5},
            [sim.RandomTerm("school", {"1": 0.7}), sim.RandomTerm("class", {"1": 0.5})],
            1.0,
            [sim.Covariate("x")],
        )

    formula = "log(exp(y)) ~ x + offset(x / 4) + (1 | school / class)"
    method = CompleteData(model=formula, dfcom="residual")
    _, data, found = analysed(method, generate=nested, ampute=None, model=None)
    for i, one in enumerate(data):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = rx.lmer(formula, one.complete)
        same_fit(found, i, fit.tidy("fixed").assign(df=70.0), fit.varcorr()["sdcor"])
    assert found.terms[2:4] == ["sd__Intercept|class:school", "sd__Intercept|school"]


def test_a_replication_without_enough_rows_fails_alone() -> None:
    method = CompleteCases(dfcom=math.inf)
    batch, _, found = analysed(method)
    gone = dict(batch.mask)
    gone["x"] = jnp.where(jnp.arange(4)[:, None] == 2, True, gone["x"])
    with jax.enable_x64(True):
        broken = method.analyse_batch(
            BatchData(batch.scenario, batch.replications, batch.keys, batch.complete, gone, batch.design, batch.model)
        )
    assert broken.status.tolist()[2] == 3
    assert "no estimates" in broken.message[2]
    assert np.isnan(broken.estimate[2]).all()
    others = [0, 1, 3]
    np.testing.assert_array_equal(broken.estimate[others], found.estimate[others])
    assert np.isinf(found.df[0, :6]).all()


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        (CompleteData(), {"model": None}, "needs a model"),
        (CompleteData(model="y ~ scale(x) + (1 | g)"), {}, r"'scale\(x\)' cannot be evaluated for all"),
        (
            CompleteData(model="y ~ factor(x) + (1 | g)"),
            {},
            r"'factor\(x\)' cannot .* a function of yours on data frames",
        ),
        (CompleteData(model="y ~ I(x > 1) + (1 | g)"), {}, r"'I\(x > 1\)' cannot be evaluated for all"),
        (
            CompleteData(model="y ~ x + I(2 * x) + (1 | g)"),
            {},
            r"'I\(2 \* x\)' is a linear combination of other columns",
        ),
        (
            CompleteData(model="y ~ x + I(b^0) + (1 | g)"),
            {},
            r"'I\(b\^0\)' of the model has the same value in all rows",
        ),
        (CompleteData(model="y ~ x + g + (1 | g)"), {}, "has the grouping factor 'g' among its variables"),
        (CompleteData(model="y ~ x + (1 | b)"), {}, "'b' of the model is not a factor"),
        (CompleteData(model="y ~ z + (1 | g)"), {}, "'z'"),
        (EMB(columns=["y", "z"]), {}, "columns= names 'z'"),
        (Joint(), {}, "'b' cannot be a target"),
        (Joint(targets=["x", "b"], random=["b"]), {}, "random= names 'b', which is incomplete"),
        (Joint(cluster="school"), {}, "cluster= names 'school'"),
        (EMB(columns=["y", "b"]), {}, "'x' of the model is incomplete"),
    ],
)
def test_mistakes_are_named(method: MixedModelMethod, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RemlaxError, match=message):
        analysed(method, **changes)


def test_mistakes_in_a_study_stop_it(tmp_path: Any) -> None:
    with pytest.raises(SimulationError, match="needs a model"):
        study(model=None).run(tmp_path, progress=False)
    with pytest.raises(SimulationError, match="m=1 must be a whole number of at least 2"):
        EMB(m=1)
    with pytest.raises(SimulationError, match="m=1 must be a whole number of at least 2"):
        Joint(m=1)
    with pytest.raises(SimulationError, match="sweeps=0 must be a whole number of at least 1"):
        Joint(sweeps=0)


def test_a_last_and_smaller_block_compiles_nothing() -> None:
    """Its replications are filled up to the chunks of a full block, and its results are those of a block of its own."""
    own = study(replications=9, methods={"any": CompleteData()}, model="y ~ x + (1 | g)")
    name, scenario = next(iter(own.table().items()))
    method = CompleteData(model="y ~ x + (1 | g)")
    with float64():
        first = batch_data(own, Block(name, 0, 0, 8), scenario, "any")
        last = batch_data(own, Block(name, 1, 8, 9), scenario, "any")
        alone = batch_data(own, Block(name, 0, 8, 9), scenario, "any")
        method.analyse_batch(first)
        held = PROGRAMS.held
        short = method.analyse_batch(last)
        assert held == PROGRAMS.held
        np.testing.assert_allclose(short.estimate, method.analyse_batch(alone).estimate, rtol=1e-8)
    assert short.estimate.shape[0] == 1
