"""Batched mixed models for repeated measures: what mmrm and mmrm_list find on the same data, one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.batched.batch import BatchData, BatchRows
from remlax.batched.methods import EMB, CompleteCases, CompleteData, Joint, MixedModelMethod
from remlax.batched.mmrm_model import is_mmrm, read_mmrm
from remlax.batched.pipeline import ReplicationColumns
from remlax.errors import DataError, FormulaError, SimulationError
from remlax.studies.congeniality import warn_uncongenial
from remlax.studies.replicate import batch_data, frame_data
from remlax.studies.store import Block

MODEL = "y ~ base + arm * relevel(visit, ref = '2') + us(visit | patient)"
sim = rx.sim


def trial(scenario: Mapping[str, Any]) -> Any:
    return sim.MultilevelDesign(
        [sim.Factor("patient", scenario["patients"])],
        3,
        {"1": 20.0, "visit": -0.5, "base": 0.5, "arm[T.active]:visit": -0.8},
        [sim.RandomTerm("patient", {"1": 2.0, "visit": 1.0})],
        2.0,
        [
            sim.Covariate("visit", kind="index"),
            sim.Covariate("base", level="patient"),
            sim.Covariate("arm", level="patient", kind="balanced", levels=["control", "active"]),
        ],
    )


def study(patients: int = 30, share: float = 0.3, **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "scenarios": {"patients": [patients]},
        "generate": trial,
        "ampute": lambda scenario: sim.DropOut(share, ["y"], subject="patient", time="visit"),
        "methods": {"observed": CompleteCases()},
        "model": MODEL,
        "estimands": {"arm[T.active]": -1.6},
        "replications": 3,
        "seed": 4,
    }
    return sim.Study(**(settings | changes))


def analysed(method: MixedModelMethod, made: Any) -> tuple[BatchData, list[Any], BatchRows]:
    """Arrays and frames of the replications, and what a method makes of the arrays."""
    ((name, scenario),) = made.table().items()
    block = Block(name, 0, 0, made.replications)
    batch = batch_data(made, block, scenario, "observed")
    with jax.enable_x64(True):
        return batch, list(frame_data(made, block, scenario)), method.analyse_batch(batch)


def same_fit(found: BatchRows, i: int, fixed: pd.DataFrame, random: pd.DataFrame) -> None:
    p = len(fixed)
    assert list(found.terms[:p]) == fixed["term"].tolist()
    assert list(found.terms[p:]) == [f"{row.term}|{row.group}" for row in random.itertuples()]
    for ours, name in ((found.estimate, "estimate"), (found.std_error, "std_error"), (found.df, "df")):
        np.testing.assert_allclose(ours[i, :p], fixed[name], rtol=1e-8)


def test_a_study_finds_what_mmrm_finds_on_replayed_data(tmp_path: Any) -> None:
    made = study(methods={"complete": CompleteData(), "observed": CompleteCases()})
    made.run(tmp_path, progress=False)
    rows = made.results(tmp_path)
    assert (rows["status"] == "ok").all()
    for i in range(3):
        again = made.replay({"patients": 30}, i)
        for method, frame in (("complete", again.complete), ("observed", again.data.dropna())):
            fixed = rx.mmrm(MODEL, frame).tidy().set_index("term").loc["arm[T.active]"]
            (row,) = rows[(rows["method"] == method) & (rows["replication"] == i)].itertuples()
            np.testing.assert_allclose(
                [row.estimate, row.std_error, row.df], fixed[["estimate", "std_error", "df"]].astype(float), rtol=1e-8
            )


@pytest.mark.parametrize(
    ("model", "dfcom"), [(MODEL, "residual"), ("y ~ arm + offset(base) + ar1(visit | arm / patient)", "satterthwaite")]
)
def test_coefficients_and_covariance_parameters_are_those_of_single_fits(model: str, dfcom: Any) -> None:
    _, data, found = analysed(CompleteCases(dfcom=dfcom), study(model=model))
    for i, one in enumerate(data):
        fit = rx.mmrm(model, one.data.dropna())
        random = fit.tidy("ran_pars")
        same_fit(found, i, fit.tidy(ddf=dfcom), random)
        np.testing.assert_allclose(found.estimate[i, -len(random) :], random["estimate"], rtol=1e-7)
    assert (found.status == 0).all()


@pytest.mark.slow
def test_emb_is_mmrm_list_pooled() -> None:
    method = EMB(m=3, columns=["y", "base", "visit"], by="arm")
    batch, data, found = analysed(method, study())
    with jax.enable_x64(True):
        treatment = method._treatment(batch, read_mmrm(batch.design, MODEL, reml=True)[0])
        columns = ReplicationColumns(
            {k: v[1] for k, v in batch.complete.columns.items()},
            {k: v[1] for k, v in batch.mask.items()},
            batch.complete.weights[1] > 0,
            batch.complete.codes["patient"][1],
        )
        y = np.asarray(treatment.complete(batch.keys[1], columns).imputed["y"])
    pooled = rx.mmrm_list(MODEL, [data[1].data.assign(y=own) for own in y]).pool()
    same_fit(found, 1, pooled.tidy(), pooled.tidy("ran_pars"))
    np.testing.assert_allclose(found.fmi[1, :7], pooled.tidy()["fmi"], rtol=1e-6)


def test_replications_that_cannot_be_fitted_are_failures_of_their_own() -> None:
    # few patients stay to the last visit, in some data sets none of an arm
    _, data, found = analysed(CompleteCases(), study(patients=8, share=0.85, replications=12))
    last = [one.data.dropna().query("visit == 2")["arm"].nunique() for one in data]
    failed = np.array(last) < 2
    assert 0 < failed.sum() < 12
    assert (found.status[failed] == 3).all()
    assert np.isnan(found.estimate[failed]).all()
    assert np.isfinite(found.estimate[~failed][:, :7]).all()
    assert found.message[int(np.argmax(failed))].startswith("no estimates")


@pytest.mark.parametrize("term", ["us(visit | patient)", "ar1(visit | arm / patient)", "toep(visit | patient)"])
def test_a_covariance_term_wants_products_and_no_random_slope(term: str) -> None:
    products = ["base", "visit", "arm", "arm:visit"]
    for method, lacks in (
        (EMB(m=3), True),
        (Joint(m=3), True),
        (EMB(m=3, columns=["y", *products]), False),
        (Joint(m=3, fixed=products), False),
        (Joint(m=3, fixed=["base", "visit"], by="arm"), False),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_uncongenial(study(model=f"y ~ base + arm * visit + {term}", methods={"imputed": method}))
        texts = [str(one.message) for one in caught]
        assert len(texts) == lacks
        assert all("the product 'arm:visit', which" in text and "slope" not in text for text in texts)


def test_what_a_formula_may_say() -> None:
    assert is_mmrm(MODEL)
    assert not is_mmrm("y ~ x + (1 + x | g)")
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"model": "y ~ base + us(visit | site)"}, FormulaError, "site"),
        ({"model": "y ~ base + us(base | patient)"}, SimulationError, "'base' of the covariance term is no category"),
        ({"model": "y ~ base + un(visit | patient)"}, FormulaError, "did you mean 'us'"),
        ({"model": "y ~ base + us(visit | arm)"}, SimulationError, "patients 'arm' of the model are not a factor"),
    ]
    for changes, kind, message in cases:
        with pytest.raises(kind, match=message):
            analysed(CompleteCases(), study(**changes))
    with pytest.raises(SimulationError, match="it is for a Gaussian response"):
        analysed(CompleteCases(family="poisson"), study())
    twice = sim.MultilevelDesign(
        [sim.Factor("patient", 6)], 4, {"1": 1.0}, [], 1.0, [sim.Covariate("visit", kind="balanced", levels=["a", "b"])]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match="has visit 'a' twice"):
            read_mmrm(twice, "y ~ visit + us(visit | patient)", reml=True)
