"""Targets that are numbers, ordered and unordered categories at all three levels at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from remlax import impute
from remlax.errors import ImputationWarning
from remlax.impute import JointPrior, JointResult
from remlax.impute.joint_result import make_result
from remlax.impute.joint_run import run_sweeps, start
from remlax.plot import chain_plot


def schools(n_schools: int, classes: int = 3, pupils: int = 5, seed: int = 3) -> pd.DataFrame:
    """Rows with a number, an ordered and an unordered variable of pupils, of classes and of schools."""
    rng = np.random.default_rng(seed)
    klass = np.repeat(np.arange(n_schools * classes), pupils)
    a = rng.multivariate_normal(np.zeros(4), 0.4 * np.eye(4) + 0.3, n_schools)
    b = rng.multivariate_normal(np.zeros(3), 0.3 * np.eye(3) + 0.2, n_schools * classes)
    school, own = klass // classes, np.arange(n_schools * classes) // classes
    frame = pd.DataFrame({"school": school, "class": klass % classes})
    y = a[school, 0] + b[klass, 0] + rng.normal(size=len(klass))
    frame["y"] = y

    def of_levels(prefix: str, latent: np.ndarray, groups: np.ndarray, share: float) -> None:
        size = len(latent)
        noisy = latent + 0.7 * rng.normal(size=size)
        kind = np.digitize(latent + 0.7 * rng.normal(size=size), [-0.5, 0.5])
        columns = {
            f"{prefix}_number": latent,
            f"{prefix}_grade": np.digitize(noisy, [-0.8, 0.0, 0.8]) + 1.0,
            f"{prefix}_kind": np.array(["blue", "green", "red"], dtype=object)[kind],
        }
        for name, values in columns.items():
            frame[name] = pd.Series(values)[groups].to_numpy()
            frame.loc[(rng.random(size) < share)[groups], name] = np.nan
        frame[f"{prefix}_grade"] = frame[f"{prefix}_grade"].astype("Int64")

    of_levels("pupil", 0.5 * y + rng.normal(size=len(y)), np.arange(len(y)), 0.2)
    of_levels("class", a[own, 2] + b[:, 2], klass, 0.25)
    of_levels("school", a[:, 3], school, 0.25)
    frame.loc[rng.random(len(frame)) < 0.2, "y"] = np.nan
    return frame


ROLES = {
    "nominal": ["pupil_kind", "class_kind", "school_kind"],
    "ordinal": ["pupil_grade", "class_grade", "school_grade"],
}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return schools(16)


@pytest.fixture(scope="module")
def result(frame: pd.DataFrame) -> JointResult:
    with pytest.warns(ImputationWarning, match="Rhat"):
        return impute.joint(frame, cluster=["school", "class"], m=2, burn=15, iter=15, seed=1, **ROLES)


@pytest.mark.slow
def test_all_kinds_of_targets_at_all_levels_come_back(frame: pd.DataFrame, result: JointResult) -> None:
    for done in result.data.frames:
        for name in frame.columns:
            assert done[name].dtype == frame[name].dtype
            seen = frame[name].notna()
            assert done.loc[seen, name].equals(frame.loc[seen, name])
            if not name.endswith("number") and name != "y":
                assert set(done[name].unique()) == set(frame[name].dropna().unique())
        assert not done.isna().to_numpy().any()
        for level, groups in (("class", ["school", "class"]), ("school", ["school"])):
            for kind in ("number", "grade", "kind"):
                assert done.groupby(groups)[f"{level}_{kind}"].nunique().max() == 1
    counts = impute.level2_consistency(result.data, "class")
    assert (counts["inconsistent"] == 0).all()
    assert {"class_kind", "school_grade"} <= set(counts.index)
    shares = impute.observed_vs_imputed_shares(result.data)
    assert {"class_kind", "school_kind"} <= set(shares["variable"])


@pytest.mark.slow
def test_every_level_has_its_parameters_and_their_chains(result: JointResult) -> None:
    index = set(result.parameters.index)
    for name in (
        "pupil_grade ~ Intercept",
        "class_grade ~ Intercept",
        "school_grade ~ Intercept",
        "pupil_grade: 2 | 3",
        "class_grade: 2 | 3",
        "school_grade: 2 | 3",
        "class_kind[green]:Intercept, y:Intercept | school",
        "school_number, school_grade | school",
        "class_number, pupil_number:Intercept | class:school",
    ):
        assert name in index, sorted(index)
    # ends of the scale and the scale of a nominal latent are fixed: no rows of the table, and no shift of names
    assert "school_grade: 1 | 2" not in index
    assert len(result._names) > len(index)
    table = result.parameters
    assert np.isfinite(table[["mean", "sd", "rhat", "ess", "acf1"]].to_numpy()).all()
    for name in ("y ~ Intercept", "class_grade: 2 | 3", "school_number | school"):
        draws = result.chain(name)
        np.testing.assert_allclose([draws.mean(), draws.std()], table.loc[name, ["mean", "sd"]].astype(float))
        assert len(chain_plot(draws, name=name).lines) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.ImputationWarning")
def test_a_bar_counts_the_sweeps_of_three_levels(
    frame: pd.DataFrame, result: JointResult, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remlax.progress.DELAY", 0.0)
    again = impute.joint(frame, cluster=["school", "class"], m=2, burn=15, iter=15, seed=1, **ROLES)
    assert "60/60" in capsys.readouterr().err  # 2 chains of 15 + 15 sweeps
    np.testing.assert_array_equal(again.draws, result.draws)


@pytest.mark.slow
def test_without_variance_of_classes_it_is_the_model_of_two_levels() -> None:
    """Categories of schools: the two-level model, compared with jomo elsewhere, is the reference."""
    frame = schools(60)
    names = ["school_number", "school_grade", "school_kind"]
    call: dict[str, Any] = {
        "formula": "y + pupil_number ~ 1", "m": 4, "nominal": ["school_kind"], "ordinal": ["school_grade"],
    }  # fmt: skip
    with pytest.warns(ImputationWarning, match="Rhat"):
        model = impute.joint(frame, cluster=["school", "class"], level3=names, burn=0, iter=4, **call)._model
    chains = start(model, 4, 1000, JointPrior(), False, 1)
    # a prior that holds the variances of classes at next to nothing
    law = chains.priors._replace(random_df=np.float64(1e8))
    chains, _ = run_sweeps(replace(chains, priors=law), 1000, lambda count: None)
    chains, draws = run_sweeps(chains, 8000, lambda count: None)
    three = make_result(model, chains, draws, frame, None).parameters
    two = impute.joint(frame, cluster="school", level2=names, burn=1000, iter=8000, seed=2, **call).parameters
    assert three.loc["y:Intercept | class:school", "mean"] < 1e-6
    own = three.loc[two.index]
    expected = {"mean": two["mean"], "mcse": two["sd"] / np.sqrt(two["ess"]), "sd": two["sd"]}
    error = np.hypot(own["sd"] / np.sqrt(own["ess"]), expected["mcse"])
    assert ((own["mean"] - expected["mean"]) / error).abs().max() < 4.5
    # SDs have Monte Carlo errors of their own
    np.testing.assert_allclose(own["sd"], two["sd"], rtol=0.12)
