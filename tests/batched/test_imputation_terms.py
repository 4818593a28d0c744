"""Imputation models of batched methods: products, slopes, levels of a column, and what they lack."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import remlax as rx
from remlax.batched.array_model import read_model
from remlax.batched.batch import BatchData
from remlax.batched.methods import EMB, CompleteCases, Joint, MixedModelMethod
from remlax.batched.pipeline import ReplicationColumns
from remlax.batched.treatments import _with_ones
from remlax.engine.programs import float64
from remlax.errors import ImputationWarning, RemlaxError, SimulationError
from remlax.impute.kernels.noise import fold_in
from remlax.studies.replicate import batch_data
from remlax.studies.store import Block

sim = rx.sim
MODEL = "y ~ time * arm + (1 + time | id)"


def trial(scenario: Mapping[str, Any]) -> Any:
    return sim.MultilevelDesign(
        [sim.Factor("id", scenario["n"])],
        4,
        {"1": 0.0, "time": 0.3, "arm[T.new]:time": -0.8},
        [sim.RandomTerm("id", {"1": 0.7, "time": 0.5})],
        0.8,
        [
            sim.Covariate("time", kind="index"),
            sim.Covariate("arm", level="id", kind="balanced", levels=["old", "new"]),
            sim.Covariate("x"),
        ],
    )


def leave(scenario: Mapping[str, Any]) -> Any:
    return sim.DropOut(scenario.get("lost", 0.3), ["y"], subject="id", time="time")


def lose_x(scenario: Mapping[str, Any]) -> Any:
    return sim.Amputation(0.3, [["x"]], weights={"y": 1.0})


def study(methods: Mapping[str, Any], **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "scenarios": {"n": [12]},
        "generate": trial,
        "ampute": leave,
        "methods": methods,
        "model": MODEL,
        "estimands": {"time:arm[T.new]": -0.8},
        "replications": 4,
        "seed": 6,
    }
    return sim.Study(**(settings | changes))


def batch_of(made: Any) -> BatchData:
    ((name, scenario),) = made.table().items()
    return batch_data(made, Block(name, 0, 0, made.replications), scenario, next(iter(made.methods)))


@pytest.fixture(scope="module")
def batch() -> BatchData:
    return batch_of(study({"any": CompleteCases()}))


def columns_of(batch: BatchData, i: int) -> ReplicationColumns:
    return ReplicationColumns(
        {name: x[i] for name, x in batch.complete.columns.items()},
        {name: x[i] for name, x in batch.mask.items()},
        batch.complete.weights[i] > 0,
        batch.complete.codes["id"][i],
    )


def treatment(batch: BatchData, method: MixedModelMethod) -> Any:
    return method._treatment(batch, read_model(batch.design, method.model or MODEL, reml=True)[0])


@pytest.mark.parametrize("fixed", [["time", "arm", "time:arm"], ["time*arm"], ["arm", "time", "arm:time"]])
def test_products_are_columns_of_the_joint_model(batch: BatchData, fixed: list[str]) -> None:
    made = treatment(batch, Joint(fixed=fixed, random=["time", "I(time^2)"]))
    with float64():
        columns = columns_of(batch, 0)
        x, z = (np.asarray(_with_ones(columns, part)) for part in (made.fixed, made.random))
        time, new = (np.asarray(columns.values[name]) for name in ("time", "arm"))
    raw = {"time": time, "arm": new, "product": time * new}
    order = ["arm", "time", "product"] if fixed[0] == "arm" else ["time", "arm", "product"]
    for found, parts in ((x, [raw[name] for name in order]), (z, [time, time**2])):
        wanted = np.column_stack([np.ones_like(time), *((part - part.mean()) / part.std() for part in parts)])
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_products_and_levels_are_columns_of_emb(batch: BatchData) -> None:
    made = treatment(batch, EMB(m=2, columns=["x", "y", "arm", "time:arm", "time"]))
    assert made.numbers == ("x", "y", "time")
    assert made.incomplete == ("y",)
    with float64():
        columns = columns_of(batch, 0)
        found = [np.asarray(_with_ones(columns, (term,)))[:, 1] for term in made.terms]
        time, new = (np.asarray(columns.values[name]) for name in ("time", "arm"))
    for column, raw in zip(found, (new, time * new), strict=True):
        np.testing.assert_allclose(column, (raw - raw.mean()) / raw.std(), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", [EMB(m=3, by="arm"), Joint(m=3, sweeps=8, by="arm", random=["time"])], ids=["emb", "joint"]
)
def test_levels_know_nothing_of_each_other(batch: BatchData, method: Any) -> None:
    made = treatment(batch, method)
    with float64():
        columns = columns_of(batch, 1)
        new = np.asarray(columns.values["arm"]) == 1
        complete = jax.jit(made.complete)
        first = np.asarray(complete(batch.keys[1], columns).imputed["y"])
        values = dict(columns.values)
        values["y"] = values["y"] + 100 * values["arm"] * values["time"] ** 2
        other = np.asarray(complete(batch.keys[1], columns._replace(values=values)).imputed["y"])
        again = np.asarray(complete(fold_in(batch.keys[1], 5), columns).imputed["y"])
    lost = np.asarray(columns.mask["y"])
    assert lost[new].any()
    assert lost[~new].any()
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first[:, ~new], other[:, ~new])
    assert (abs(first[:, new & lost] - other[:, new & lost]) > 1).all()
    assert (first[:, lost] != again[:, lost]).all()
    assert (first[0, lost] != first[1, lost]).all()
    np.testing.assert_array_equal(first[:, ~lost], np.broadcast_to(columns.values["y"], first.shape)[:, ~lost])


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Joint(fixed=["tim:arm"]), r"fixed= names 'tim'; the data have 'arm', 'time', 'x', 'y'\."),
        (Joint(fixed=["y:arm"]), "fixed= names 'y', which is incomplete: name complete columns"),
        (Joint(random=["y"]), "random= names 'y', which is incomplete"),
        (Joint(fixed=["time", "I(2 * time)"]), r"fixed=: the column 'I\(2 \* time\)' is a linear combination of other"),
        (
            Joint(fixed=["(1 | arm)"]),
            r"fixed= has '\(1 \| arm\)': give columns or terms of them, as \['x', 'w', 'x:w'\]",
        ),
        (Joint(fixed=["1"]), "fixed= has '1', which names no column"),
        (Joint(fixed=["factor(x)"]), r"'factor\(x\)' cannot be evaluated for all replications at once"),
        (Joint(targets=["q"]), "targets= names 'q', which is not among 'arm', 'time', 'x', 'y'"),
        (Joint(targets=["x"]), "Column 'y' of the model is incomplete and is not imputed: name it in targets="),
        (
            Joint(by="time"),
            "by= names 'time': give a covariate that is binary, balanced or categorical; the design has 'arm'",
        ),
        (Joint(by="q"), "by= names 'q'"),
        (Joint(by="arm", fixed=["time:arm"]), "by= and fixed= both name 'arm': within a level it has one value"),
        (Joint(by="arm", random=["arm"]), "by= and random= both name 'arm'"),
        (EMB(by="arm", columns=["y", "arm"]), "by= and columns= both name 'arm'"),
        (EMB(columns=["y", "x:q"]), "columns= names 'q'"),
        (EMB(columns=["time"]), "Column 'y' of the model is incomplete and is not imputed: name it in columns="),
    ],
)
def test_mistakes_are_named(batch: BatchData, method: MixedModelMethod, message: str) -> None:
    with pytest.raises(RemlaxError, match=message):
        treatment(batch, method)


def test_a_level_is_not_imputed_by_batched_methods() -> None:
    def lose_arm(scenario: object) -> Any:
        return sim.Amputation(0.2, [["arm"]], weights={"x": 1.0})

    incomplete = batch_of(study({"any": CompleteCases()}, ampute=lose_arm))
    with pytest.raises(SimulationError, match=r"Column 'arm' has levels and is incomplete: EMB .* imputes numbers"):
        treatment(incomplete, EMB())
    with pytest.raises(SimulationError, match="Column 'arm' cannot be a target"):
        treatment(incomplete, Joint())
    with pytest.raises(SimulationError, match="by= names 'arm', which is incomplete"):
        treatment(incomplete, Joint(by="arm", targets=["x", "arm"], model="y ~ x + (1 | id)"))


LACKS = (
    "the product 'time:arm' and the random slope of 'time' in 'id', which the model has: estimates of such terms are"
)


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        (
            Joint(),
            {},
            f"method 'it' imputes 'y' without {LACKS} then biased, as a rule towards 0; give it "
            "fixed=['time', 'arm', 'time:arm'] and random=['time']",
        ),
        (Joint(fixed=["arm"], random=["time"]), {}, "give it fixed=['arm', 'time', 'time:arm'] and random=['time']"),
        (Joint(fixed=["time", "arm", "time:arm"]), {}, "without the random slope of 'time' in 'id', which"),
        (Joint(by="arm"), {}, "without the random slope of 'time' in 'id', which"),
        (EMB(), {}, "give it columns=['y', 'time', 'arm', 'time:arm']"),
        (Joint(model="y ~ factor(time) + (1 | id)"), {}, "without the term 'factor(time)', which"),
        (
            Joint(targets=["x", "y"], model="y ~ x * time + (1 | id)"),
            {"ampute": lose_x},
            "impute by remlax.impute.joint(..., compatible_with='y ~ x * time + (1 | id)') in a function of yours",
        ),
        (Joint(fixed=["time*arm"], random=["time"]), {}, ""),
        (Joint(by="arm", random=["time"]), {}, ""),
        (EMB(by="arm"), {}, ""),
        (EMB(columns=["y", "time", "arm", "time:arm"]), {}, ""),
        (Joint(model="y ~ time + arm + (1 | id)"), {}, ""),
        (Joint(), {"ampute": None}, ""),
        (CompleteCases(), {}, ""),
    ],
)
def test_a_study_says_what_its_imputation_models_lack(
    tmp_path: Path, method: MixedModelMethod, changes: dict[str, Any], message: str
) -> None:
    made = study({"it": method, "cases": CompleteCases()}, scenarios={"n": [12, 16], "lost": [0.2, 0.3]}, **changes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made.prepare(tmp_path)
    said = [str(w.message) for w in caught if issubclass(w.category, ImputationWarning)]
    assert len(said) == (1 if message else 0)
    assert not message or message in said[0]


@pytest.mark.slow
def test_a_congenial_imputation_model_has_no_bias(tmp_path: Path) -> None:
    """Drop-out at random: 200 trials of 50 subjects per arm, 20 imputations of the joint model."""
    methods = {
        "plain": Joint(m=10, sweeps=100),
        "congenial": Joint(m=10, sweeps=100, fixed=["time", "arm", "time:arm"], random=["time"]),
        "by": Joint(m=10, sweeps=100, by="arm", random=["time"]),
        "cases": CompleteCases(),
    }
    made = study(methods, scenarios={"n": [100], "lost": [0.2]}, replications=200)
    with pytest.warns(ImputationWarning, match="method 'plain'"):
        made.run(tmp_path, progress=False)
    table = made.performance(tmp_path)
    bias = table[(table["measure"] == "bias") & (table["summary"] == "all")].set_index("method")
    ratio = bias["estimate"] / bias["mcse"]
    assert ratio["plain"] > 3
    assert (ratio[["congenial", "by", "cases"]].abs() < 3).all()
    np.testing.assert_allclose(bias.loc[["congenial", "by"], "estimate"], bias.loc["cases", "estimate"], atol=0.03)
