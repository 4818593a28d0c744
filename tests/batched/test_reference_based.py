"""Reference-based imputation in studies: what impute.reference finds on the same trials, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pytest

import remlax as rx
from remlax.batched.batch import BatchRows
from remlax.errors import DesignError, ImputationError, RemlaxError, SimulationError
from remlax.fitting.mmrm.fit import flat
from remlax.studies.replicate import batch_data, frame_data
from remlax.studies.store import Block

sim = rx.sim
MODEL = "y ~ base * factor(visit) + arm * factor(visit) + us(visit | id)"
ANALYSIS = "y ~ base + arm"


def trial(scenario: Mapping[str, Any]) -> Any:
    return sim.MultilevelDesign(
        [sim.Factor("id", scenario["n"])],
        scenario.get("size", 3),
        {"1": 10.0, "visit": 0.3, "base": 0.5, "arm[T.drug]:visit": 0.8},
        [sim.RandomTerm("id", {"1": 0.8})],
        0.6,
        [
            sim.Covariate("visit", kind="index"),
            sim.Covariate("base", level="id"),
            sim.Covariate("arm", level="id", kind="balanced", levels=scenario.get("arms", ["placebo", "drug"])),
        ],
    )


def method(**changes: Any) -> Any:
    usual: dict[str, Any] = {"arm": "arm", "reference": "placebo", "analysis": ANALYSIS, "draws": "none"}
    return sim.ReferenceBased(**(usual | changes))


def study(n: int = 24, share: float = 0.4, arms: Any = ("placebo", "drug"), lost: Any = ("y",), **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "scenarios": {"n": [n]},
        "generate": lambda scenario: trial(scenario | {"arms": list(arms)}),
        "ampute": lambda scenario: sim.DropOut(share, list(lost), subject="id", time="visit"),
        "methods": {"reference": method()},
        "model": MODEL,
        "estimands": {"drug - placebo": 1.6},
        "replications": 3,
        "seed": 4,
    }
    return sim.Study(**(settings | changes))


def analysed(one: Any, made: Any) -> tuple[list[Any], np.ndarray, BatchRows]:
    """Frames and seeds of the replications, and what the method finds in all of them."""
    ((name, scenario),) = made.table().items()
    block = Block(name, 0, 0, made.replications)
    batch = batch_data(made, block, scenario, "reference")
    seeds = np.asarray(jax.random.key_data(batch.keys))[:, 1]
    with jax.enable_x64(True):
        return list(frame_data(made, block, scenario)), seeds, one.analyse_batch(batch)


@pytest.mark.parametrize(
    ("options", "arms"),
    [
        ({}, ("placebo", "drug")),
        ({"strategy": {"placebo": "mar", "drug": "copy-increments"}, "visit": 1, "reml": False}, ("placebo", "drug")),
        ({"strategy": "copy-reference", "model": MODEL.replace("| id", "| arm / id")}, ("placebo", "drug")),
        ({"strategy": "last-mean", "model": MODEL + " + offset(base)"}, ("low", "placebo", "drug")),
        ({"draws": "bootstrap", "m": 3}, ("placebo", "drug")),
    ],
)
def test_replications_have_what_impute_reference_finds(options: dict[str, Any], arms: tuple[str, ...]) -> None:
    frames, seeds, found = analysed(method(**options), study(n=12 * len(arms), arms=arms))
    own = {"draws": "none"} | {name: value for name, value in options.items() if name not in ("visit", "model")}
    for i, data in enumerate(frames):
        imputed = rx.impute.reference(
            data.data, options.get("model", MODEL), arm="arm", reference="placebo", seed=int(seeds[i]), **own
        )
        table = imputed.ancova(ANALYSIS, options.get("visit"))
        assert list(found.terms) == table["term"].tolist()
        np.testing.assert_allclose(found.estimate[i], table["estimate"], rtol=1e-9)
        np.testing.assert_allclose(found.std_error[i], table["std_error"], rtol=1e-9)
        np.testing.assert_allclose(found.df[i], table["df"], rtol=1e-8)
        if "fmi" in table:
            np.testing.assert_allclose(found.fmi[i], table["fmi"], rtol=1e-8)
    assert (found.status == 0).all()


def test_a_study_has_the_numbers_of_a_function_of_the_same_name(tmp_path: Any) -> None:
    def by_hand(data: Any, context: Any) -> Any:
        imputed = rx.impute.reference(data, MODEL, arm="arm", reference="placebo", m=2, seed=context.seed)
        return imputed.ancova(ANALYSIS).query("term == 'drug - placebo'")

    rows = []
    for number, own in enumerate((method(draws="bootstrap", m=2), by_hand)):
        made = study(methods={"rubin": own})
        made.run(tmp_path / str(number), progress=False)
        rows.append(made.results(tmp_path / str(number)))
    assert (rows[0]["status"] == "ok").all()
    for name in ("estimate", "std_error", "df"):
        np.testing.assert_allclose(rows[0][name], rows[1][name], rtol=1e-8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.RemlaxWarning")
@pytest.mark.parametrize("options", [{}, {"draws": "bootstrap", "m": 2}])
def test_trials_that_are_refused_alone_are_failures_of_their_own(options: dict[str, Any]) -> None:
    frames, seeds, found = analysed(method(**options), study(n=20, share=0.75, replications=8))
    own = {"draws": "none"} | options
    for i, data in enumerate(frames):
        try:
            imputed = rx.impute.reference(data.data, MODEL, arm="arm", reference="placebo", seed=int(seeds[i]), **own)
            table = imputed.ancova(ANALYSIS)
        except (ImputationError, DesignError):
            assert found.status[i] == 3
            assert np.isnan(found.estimate[i]).all()
            assert found.message[i].startswith("the imputation model")
        else:
            assert found.status[i] == 0
            np.testing.assert_allclose(found.estimate[i], table["estimate"], rtol=1e-7)
            np.testing.assert_allclose(found.std_error[i], table["std_error"], rtol=1e-6)
    assert 0 < (found.status == 3).sum() < 8


def test_complete_trials_are_analysed_as_they_are() -> None:
    frames, _, found = analysed(method(), study(ampute=None))
    last = frames[0].complete.query("visit == 2")
    y, x = last["y"].to_numpy(), np.column_stack([np.ones(24), last["base"], last["arm"] == "drug"])
    assert found.estimate[0, 0] == pytest.approx(np.linalg.lstsq(x, y, rcond=None)[0][2], rel=1e-9)


@pytest.mark.parametrize(
    ("one", "changes", "message"),
    [
        (method(), {"model": None}, r"imputes from a mixed model for repeated measures, such as .*, got None\.$"),
        (method(arm="base"), {}, r"^arm='base' is no covariate of the design with levels or of zeros and ones\.$"),
        (method(reference="control"), {}, r"^reference='control' is no arm of 'arm', which has 'placebo', 'drug'$"),
        (method(analysis="y ~ base"), {}, r"'y ~ base' does not have 'arm'"),
        (method(visit=7), {}, r"^visit=7 is no visit"),
        (method(strategy={"drug": "mar"}), {}, r"^strategy= has none for the arm 'placebo': name one for every arm\.$"),
        (method(strategy={"drug": "mar", "x": "mar"}), {}, r"strategy=.*'x'"),
        (method(), {"lost": ["y", "base"]}, r"^Column 'base' is incomplete: .* completes 'y', and takes"),
        (
            method(),
            {"generate": lambda scenario: trial(scenario | {"size": sim.Drawn.uniform(2, 3)})},
            r"^The trials of the design do not all have the same patients and visits 'visit', row by row",
        ),
    ],
)
def test_what_cannot_be_analysed(one: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RemlaxError, match=message) as caught:
        analysed(one, study(**changes))
    assert isinstance(caught.value, (SimulationError, ImputationError))


def test_a_hessian_of_zeros_is_flat() -> None:
    hess = np.array([np.zeros((2, 2)), np.eye(2), np.diag([1.0, 0.0]), np.full((2, 2), np.nan)])
    assert flat(hess).tolist() == [True, False, True, False]
