"""joint() with clusters in clusters: against JAGS, against two levels, and what it says of data that do not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from remlax.errors import ImputationError, ImputationWarning
from remlax.impute import JointPrior, JointResult, joint
from remlax.impute.joint_result import make_result
from remlax.impute.joint_run import run_sweeps, start
from remlax.impute.kernels.nested import TopData


def schools(seed: int = 4, n_schools: int = 12, tau: float = 0.7) -> pd.DataFrame:
    """Pupils in classes, numbered within schools, with missing cells at all levels."""
    rng = np.random.default_rng(seed)
    school = np.repeat(np.arange(n_schools), 15)
    own = np.tile(np.repeat(np.arange(3), 5), n_schools)
    code, n = school * 3 + own, len(school)
    a, b = tau * rng.normal(size=(n_schools, 2)), 0.5 * rng.normal(size=(3 * n_schools, 2))
    x = a[school, 0] + b[code, 0] + rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "school": np.array([f"s{k}" for k in range(n_schools)], dtype=object)[school],
            "class": own + 1,
            "y": 0.5 * x + a[school, 1] + b[code, 1] + rng.normal(size=n),
            "x": x,
            "size": (20.0 + 5.0 * (a[code // 3, 0] + b[code, 1])).round(1),
            "kind": np.where(a[school, 1] > 0.0, "rural", "urban").astype(object),
            "time": rng.normal(size=n),
        }
    )
    frame.loc[rng.random(n) < 0.2, "y"] = np.nan
    frame.loc[rng.random(n) < 0.2, "x"] = np.nan
    frame.loc[(code % 5 == 1), "size"] = np.nan
    frame.loc[(school % 4 == 2), "kind"] = np.nan
    return frame


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return schools()


@pytest.fixture(scope="module")
def result(data: pd.DataFrame) -> JointResult:
    with pytest.warns(ImputationWarning, match="Rhat"):
        return joint(
            data, m=3, cluster=["school", "class"], id_vars=["time"], nominal=["kind"], burn=20, iter=20, seed=1
        )


def test_every_column_is_imputed_at_its_level(data: pd.DataFrame, result: JointResult) -> None:
    for frame in result.data.frames:
        assert not frame.isna().to_numpy().any()
        assert list(frame.columns) == list(data.columns)
        assert frame["class"].equals(data["class"])
        assert frame.groupby(["school", "class"])["size"].nunique().max() == 1
        assert frame.groupby("school")["kind"].nunique().max() == 1
        assert set(frame["kind"]) == {"rural", "urban"}
        for name in ("y", "x", "size", "kind"):
            seen = data[name].notna()
            assert frame.loc[seen, name].equals(data.loc[seen, name])
    sizes = result.data.frames[0].groupby("school")["size"].nunique()
    assert sizes.min() > 1  # drawn for classes, not for schools
    assert "in 36 clusters of 'class' in 12 of 'school'" in result.summary()


def test_parameters_are_named_by_level(result: JointResult) -> None:
    index = list(result.parameters.index)
    for name in (
        "y:Intercept | class:school",
        "size, x:Intercept | class:school",
        "x:Intercept, y:Intercept | school",
        "size:Intercept, y:Intercept | school",
        "kind, size:Intercept | school",
        "kind ~ Intercept",
    ):
        assert name in index
    assert result.draws.shape[2] == len(result._names)
    for name in ("y ~ Intercept", "size | class:school", "size:Intercept | school", "kind ~ Intercept"):
        np.testing.assert_allclose(result.chain(name).mean(), result.parameters.loc[name, "mean"], rtol=1e-12)
    with pytest.raises(ImputationError, match="no parameter is called 'kind': take a name from the index"):
        result.chain("kind")


# one shape for several tests: one compilation
SLOPES = "y ~ time + (1 + time | school/class)"
CALL: dict[str, Any] = {"m": 2, "burn": 10, "iter": 10, "seed": 3, "level2": ["size"]}


@pytest.fixture(scope="module")
def slopes(data: pd.DataFrame) -> JointResult:
    with pytest.warns(ImputationWarning, match="Rhat"):
        return joint(data, SLOPES, **CALL)


def test_continue_is_the_longer_run(data: pd.DataFrame, slopes: JointResult) -> None:
    with pytest.warns(ImputationWarning, match="Rhat"):
        longer, whole = slopes.continue_(10), joint(data, SLOPES, **{**CALL, "iter": 20})
    np.testing.assert_array_equal(longer.draws, whole.draws[:, 10:])
    pd.testing.assert_frame_equal(longer.data.frames[1], whole.data.frames[1])


def test_formula_is_the_same_as_the_arguments(data: pd.DataFrame, slopes: JointResult) -> None:
    with pytest.warns(ImputationWarning, match="Rhat"):
        named = joint(data, level1=["y"], fixed=["time"], random=["time"], cluster=["school", "class"], **CALL)
    np.testing.assert_array_equal(named.draws, slopes.draws)
    assert list(named.parameters.index) == list(slopes.parameters.index)


def test_labels_of_classes_may_repeat_or_not(data: pd.DataFrame, slopes: JointResult) -> None:
    unique = [f"{a}-{b}" for a, b in zip(data["school"], data["class"], strict=True)]
    with pytest.warns(ImputationWarning, match="Rhat"):
        other = joint(data.assign(**{"class": unique}), SLOPES, **CALL)
    np.testing.assert_array_equal(other.draws, slopes.draws)


def test_units_do_not_matter(data: pd.DataFrame, slopes: JointResult) -> None:
    scaled = data.assign(y=data["y"] * 100.0 + 7.0, time=data["time"] * 60.0, size=data["size"] / 10.0)
    with pytest.warns(ImputationWarning, match="Rhat"):
        other = joint(scaled, SLOPES, **CALL).parameters["mean"]
    table = slopes.parameters["mean"]
    for name, factor in {
        "y:Intercept | school": 1e4,
        "y:time | class:school": 1e4 / 3600.0,
        "y:time, y:Intercept | school": 1e4 / 60.0,
        "size, y:time | class:school": 100.0 / 60.0 / 10.0,
        "size:Intercept, y:time | school": 100.0 / 60.0 / 10.0,
        "size:Intercept | school": 0.01,
    }.items():
        np.testing.assert_allclose(other[name], factor * table[name], rtol=1e-6)


def agree(result: JointResult, expected: dict[str, Any], rtol: float) -> None:
    """Means within 4.5 joint Monte Carlo errors, SDs within rtol."""
    table = result.parameters
    error = np.hypot(table["sd"] / np.sqrt(table["ess"]), expected["mcse"])
    z = (table["mean"] - expected["mean"]) / error
    assert z.abs().max() < 4.5, z
    np.testing.assert_allclose(table["sd"], expected["sd"], rtol=rtol)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "call"),
    [
        (
            "levels",
            {"formula": "y + x ~ z", "level2": ["w"], "level3": ["t"], "cluster": ["school", "cls"]},
        ),
        ("slopes", {"formula": "y ~ z + (1 + z | school) + (1 | cls:school)"}),
    ],
)
def test_posterior_is_that_of_jags(name: str, call: dict[str, Any], reference: Path) -> None:
    frame = pd.read_csv(reference / "impute" / "joint_nested.csv")
    numbers = json.loads((reference / "impute" / "joint_nested.json").read_text())
    result = joint(frame, m=4, burn=500, iter=10000, seed=1, **call)
    assert result.rhat < 1.01
    # the Monte Carlo error of an SD is about 1 % on both sides, more for skewed posteriors
    agree(result, numbers[name], rtol=0.06)


@pytest.mark.slow
def test_posterior_is_that_of_a_plain_gibbs_sampler(reference: Path) -> None:
    """Covariances of schools to a tenth of a per cent, where JAGS's Monte Carlo errors are three times as large."""
    frame = pd.read_csv(reference / "impute" / "joint_nested.csv")
    numbers = json.loads((reference / "impute" / "joint_nested_gibbs.json").read_text())
    call: dict[str, Any] = {"level2": ["w"], "level3": ["t"], "cluster": ["school", "cls"]}
    result = joint(frame, "y + x ~ z", m=32, burn=500, iter=5000, seed=11, **call)
    agree(result, numbers, rtol=0.02)
    expected = pd.Series(numbers["mean"], result.parameters.index)
    of_schools = [f"{name}:Intercept | school" for name in ("y", "x", "w")] + ["t | school"]
    gap = result.parameters.loc[of_schools, "mean"] / expected[of_schools] - 1.0
    assert gap.abs().max() < 0.004


@pytest.mark.slow
def test_without_variance_of_schools_it_is_the_model_of_two_levels() -> None:
    frame = schools(7, n_schools=30)
    frame["cls"] = pd.factorize(pd.MultiIndex.from_frame(frame[["school", "class"]]))[0]
    call: dict[str, Any] = {"formula": "y + x ~ time", "level2": ["size"], "m": 4}
    with pytest.warns(ImputationWarning, match="Rhat"):
        model = joint(frame, cluster=["school", "cls"], burn=0, iter=4, **call)._model
    chains = start(model, 4, 500, JointPrior(), False, 1)
    # a prior that holds the variances of schools at next to nothing
    top = chains.more
    assert isinstance(top, TopData)
    size = len(top.priors.random_scale)
    law = top.priors._replace(random_df=np.float64(1e8), random_scale=np.eye(size))
    chains, _ = run_sweeps(replace(chains, more=top._replace(priors=law)), 500, lambda count: None)
    chains, draws = run_sweeps(chains, 4000, lambda count: None)
    three = make_result(model, chains, draws, frame, None).parameters
    two = joint(frame, cluster="cls", burn=500, iter=4000, seed=2, **call).parameters
    own = three.rename(index=lambda name: name.replace("cls:school", "cls")).loc[two.index]
    assert three.loc["y:Intercept | school", "mean"] < 1e-6
    error = np.hypot(own["sd"] / np.sqrt(own["ess"]), two["sd"] / np.sqrt(two["ess"]))
    assert ((own["mean"] - two["mean"]) / error).abs().max() < 4.0
    np.testing.assert_allclose(own["sd"], two["sd"], rtol=0.06)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cluster": ["a", "b", "c"]}, r"give one column, or two with the outermost first"),
        ({"cluster": ["school", "school"]}, r"give one column, or two"),
        ({"cluster": ["school", 3]}, r"give one column, or two"),
        ({"cluster": ["school", "nobody"]}, "nobody"),
        ({"cluster": ["gap", "class"]}, "cluster column 'gap' has 1 missing cells"),
        ({"cluster": ["one", "class"]}, "'one' has one value only: there is no third level; write cluster='class'"),
        ({"cluster": ["unique", "school"]}, r"no 'unique' has more than one 'school': write cluster=\['school', 'uni"),
        (
            {"cluster": ["school", "moved"]},
            "'moved' is not nested in 'school': moved 's1-1' is in school 's0' and 's1'",
        ),
        (
            {"cluster": ["school", "copy"]},
            "no 'school' has more than one 'copy': the two cannot be told apart; write clu",
        ),
        ({"formula": "y ~ offset(x) + (1 | school/class)", "level1": []}, "has an offset, which the imputation model"),
        ({"formula": "y ~ 1 + (1 + y | school) + (1 | class)", "level1": []}, "'y' is a target and a predictor of the"),
        ({"level1": ["y", "size"]}, "'size' never varies within 'class': name it in level2="),
        ({"level2": ["kind"]}, "'kind' never varies within 'school': name it in level3="),
        ({"level3": ["size"]}, "level3= names 'size', which has several values in"),
        ({"level3": ["y"]}, "column 'y' is named twice"),
        ({"level3": "kind ~ 1 + (1 | school)"}, "level3='.*' has a random term"),
        (
            {"residual": "cluster"},
            "residual='cluster' needs one column in cluster=: it has no third level; write cluster='class', and enter "
            "what differs between groups of 'school' as predictors",
        ),
        ({"formula": "y ~ 1 + (1 | class)", "level1": []}, r"random term of 'class' only: write \(1 \| school/class\)"),
        ({"formula": "y ~ 1 + (1 | school/class) + (1 | kind)", "level1": []}, r"it has \(1 \| kind\) as well"),
        (
            {"formula": "x ~ 1", "level1": [], "compatible_with": "y ~ x + (1 | class)"},
            "compatible_with= needs one col",
        ),
        ({"priors": JointPrior(random_scale=np.eye(2))}, "random_scale must be a number with two columns in cluster="),
    ],
)
def test_errors_say_what_and_where(data: pd.DataFrame, change: dict[str, Any], message: str) -> None:
    unique = [f"{a}-{b}" for a, b in zip(data["school"], data["class"], strict=True)]
    frame = data.assign(
        one=1, copy=data["school"], unique=unique, moved=unique, gap=data["school"].where(data.index > 0)
    )
    frame.loc[0, "moved"] = "s1-1"
    call: dict[str, Any] = {"level1": ["y"], "cluster": ["school", "class"], "m": 1, "burn": 0, "iter": 4, **change}
    with pytest.raises(ImputationError, match=message):
        joint(frame, **call)


def test_one_school_in_a_part_of_the_rows(data: pd.DataFrame) -> None:
    frame = data.assign(region=np.where(data["school"] == "s0", "a", "b"))
    with pytest.raises(ImputationError, match="'school' has one value only: there is no third level; write cluster="):
        joint(frame, level1=["y", "x"], cluster=["school", "class"], by="region", m=1, burn=0, iter=4)


def test_level3_needs_two_clusters(data: pd.DataFrame) -> None:
    with pytest.raises(ImputationError, match="level3= needs two columns in cluster="):
        joint(data, level1=["y"], level3=["kind"], cluster="school")
