"""Imputation within the levels of a column, and products among the predictors of the joint model."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from remlax.engine.programs import PROGRAMS
from remlax.errors import ImputationError, ImputationWarning
from remlax.impute import CellPrior, ImputationResult, JointResult, cluster_mean, emb, joint, overimpute
from remlax.impute.within import split_rows


def quiet(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Run without warnings about short chains."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImputationWarning)
        return function(*args, **kwargs)


def trial() -> pd.DataFrame:
    """40 subjects at 4 visits in two arms, 15 lost rows in each, in no order; two rows have the same label."""
    rng = np.random.default_rng(2)
    subject, visit = np.repeat(np.arange(40), 4), np.tile(np.arange(4), 40)
    arm = np.where(subject % 2, "new", "old")
    y = rng.normal(size=40)[subject] + 0.5 * visit * (arm == "new") + rng.normal(size=160)
    frame = pd.DataFrame({"subject": [f"s{k}" for k in subject], "visit": visit, "arm": arm, "y": y, "n": 7})
    lost = [k for name in ("new", "old") for k in rng.choice(np.flatnonzero((arm == name) & (visit > 0)), 15, False)]
    frame.loc[lost, "y"] = np.nan
    frame = frame.iloc[rng.permutation(160)]
    return frame.set_axis(pd.Index(["same", "same", *range(158)]))


DATA = trial()
FORMULA = "y ~ visit + (1 + visit | subject)"
SHORT: dict[str, Any] = {"m": 2, "burn": 20, "iter": 20}


@pytest.fixture(scope="module")
def by_arm() -> JointResult:
    derive = {"mean": cluster_mean("y", "subject"), "rank": lambda d: d["y"].rank()}
    return quiet(joint, DATA, FORMULA, by="arm", seed=4, derive=derive, **SHORT)


def test_each_level_is_imputed_as_if_alone(by_arm: JointResult) -> None:
    held = PROGRAMS.held
    levels = split_rows(DATA, "arm", ["y", "visit"], 4)
    assert [level.name for level in levels] == list(by_arm.parts) == ["arm = new", "arm = old"]
    assert levels[0].seed != levels[1].seed
    for level in levels:
        alone = quiet(joint, level.frame, FORMULA, seed=level.seed, **SHORT)
        for label, frame in by_arm.data.iter():
            assert frame["y"].to_numpy()[level.rows].tolist() == alone.data[label - 1]["y"].tolist()
        own = by_arm.parameters.loc[by_arm.parameters.index.str.startswith(level.name)]
        assert own.index.tolist() == [f"{level.name}: {name}" for name in alone.parameters.index]
        assert own["mean"].tolist() == alone.parameters["mean"].tolist()
    assert held == PROGRAMS.held  # levels of one size share their programs, with each other and with data of that size


def test_rows_columns_and_cells_stay_where_they_were(by_arm: JointResult) -> None:
    seen = DATA["y"].notna()
    pd.testing.assert_frame_equal(by_arm.data.original[DATA.columns], DATA)
    for frame in by_arm.data.frames:
        pd.testing.assert_frame_equal(frame.loc[:, ["subject", "visit", "arm", "n"]], DATA.drop(columns="y"))
        assert frame["y"][seen.to_numpy()].tolist() == DATA["y"][seen.to_numpy()].tolist()
        assert frame["y"].notna().all()
        # derived of all rows, not level by level
        assert frame["rank"].max() == 160
        means = frame["y"].groupby(frame["subject"].to_numpy()).transform("mean")
        np.testing.assert_allclose(frame["mean"], means)
    one, two = (frame["y"][~seen.to_numpy()] for frame in by_arm.data.frames)
    assert (one != two).all()


def test_chains_of_all_levels_run_on(by_arm: JointResult) -> None:
    longer = quiet(by_arm.continue_, 10)
    once = quiet(joint, DATA, FORMULA, by="arm", seed=4, m=2, burn=20, iter=30)
    assert longer.n_sweeps == 50
    for one, other in zip(longer.data.frames, once.data.frames, strict=True):
        assert one["y"].tolist() == other["y"].tolist()
        assert one["rank"].max() == 160
    text = longer.summary()
    assert text.index("arm = new\nJoint multilevel") < text.index("arm = old\nJoint multilevel")
    assert repr(longer).startswith("JointWithin: 50 sweeps, largest Rhat")
    with pytest.raises(ImputationError, match="more=2 must be a whole number of at least 4"):
        by_arm.continue_(2)


def test_short_chains_warn_level_by_level() -> None:
    with pytest.warns(ImputationWarning, match=r"arm = (new|old): \d of 6 parameters have Rhat above"):
        joint(DATA, FORMULA, by="arm", m=2, burn=0, iter=4)


def test_a_complete_level_stays_as_it_is() -> None:
    data = DATA.assign(y=DATA["y"].fillna(0.0).where(DATA["arm"] == "old", DATA["y"]))
    found = quiet(joint, data, FORMULA, by="arm", seed=4, **SHORT)
    assert list(found.parts) == ["arm = new"]
    old = (data["arm"] == "old").to_numpy()
    assert all((frame["y"][old] == data["y"][old]).all() for frame in found.data.frames)
    assert found.data[0]["y"].notna().all()


def wide() -> pd.DataFrame:
    table = DATA.reset_index(drop=True).pivot_table(index=["subject", "arm"], columns="visit", values="y")
    return table.add_prefix("y").reset_index().assign(odd=np.arange(40) % 2 == 1)


def test_emb_within_levels() -> None:
    data = wide()
    found = emb(data, 3, id_vars=["subject"], by="arm", seed=9)
    assert isinstance(found, ImputationResult)
    levels = split_rows(data, "arm", ["y0", "y1", "y2", "y3", "odd"], 9)
    for level in levels:
        alone = emb(level.frame, 3, id_vars=["subject", "arm"], seed=level.seed)
        for frame, own in zip(found.data.frames, alone.data.frames, strict=True):
            pd.testing.assert_frame_equal(frame.iloc[level.rows].reset_index(drop=True), own)
        part = found.parts[level.name]
        np.testing.assert_array_equal(part.means, alone.means)
    pd.testing.assert_frame_equal(found.data.original, data)
    assert found.n_rows == 40
    assert found.codes.tolist() == [1, 1, 1]
    assert found.means.shape == (3, 10)
    assert found.covariances.shape == (3, 10, 10)
    assert (found.covariances[:, :5, 5:] == 0).all()
    assert found.model_columns[0] == "arm = new: y0"
    assert found.summary().count("EMB output with 3 imputed datasets.") == 2
    with pytest.raises(ImputationError, match=r"give one of result\.parts\[\.\.\.\] \('arm = new', 'arm = old'\)"):
        overimpute(found, "y1")
    assert (
        overimpute(found.parts["arm = new"], "y1").table.shape[0] == 20 - data["y1"][data["arm"] == "new"].isna().sum()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"by": "q"}, "by= names 'q', not among the columns"),
        ({"by": ["arm"]}, r"by=\['arm'\]: give the name of one column, such as by='arm'"),
        ({"by": "n"}, "by='n' has one value only: leave out by="),
        ({"by": "holes"}, "by='holes' has 1 missing cells: drop those rows"),
        (
            {"by": "few"},
            "by='few' leaves 2 rows with few = b, too few for an imputation model of 2 columns: merge levels",
        ),
        ({"by": "visit"}, "by='visit' is in the imputation model as well: every level gets a model of its own"),
        ({"by": "subject"}, "by= and the clusters are both 'subject'"),
        ({"by": "gone"}, "gone = b: column 'y' has no observed cell"),
        ({"formula": FORMULA, "fixed": ["arm"]}, "formula= and fixed= both name the predictors: give one of them"),
        ({"formula": FORMULA, "random": ["visit"]}, "formula= and random= both name the predictors"),
        ({"fixed": ["visits:arm"]}, "fixed= names 'visits', not among the columns"),
        ({"fixed": ["(1 | arm)"]}, r"fixed= has '\(1 \| arm\)': give columns or terms of them"),
        ({"fixed": [1]}, "fixed= has 1: give columns or terms of them"),
        ({"fixed": ["y2"]}, "predictor 'y2' of the fixed part has .* missing cells: make it a target"),
        ({"fixed": ["visit", "I(2 * visit)"]}, "are linearly dependent: drop one"),
        ({"fixed": ["y"]}, "'y' is a target and a predictor"),
    ],
)
def test_refuses_with_a_name(change: dict[str, Any], message: str) -> None:
    data = DATA.assign(
        holes=["a", None] * 1 + ["b"] * 158,
        few=["b"] * 2 + ["a"] * 158,
        gone=np.where(DATA["y"].isna(), "b", "a"),
        y2=DATA["y"],
    )
    model: dict[str, Any] = {"formula": FORMULA} if "by" in change else {"level1": ["y"], "cluster": "subject"}
    if "formula" in change:
        model = {}
    with pytest.raises(ImputationError, match=message):
        joint(data, **(model | change), **SHORT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"by": "subject"}, "too few for an imputation model of"),
        (
            {"by": "arm", "nominal": ["site"]},
            "by='arm' leaves column 'site' one value in the rows with arm = new",
        ),
        (
            {"by": "arm", "priors": [CellPrior("y1", 0.0, 1.0, row=3)]},
            "priors= of single rows count all rows of the data: leave out by=, or row=",
        ),
    ],
)
def test_emb_refuses_with_a_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ImputationError, match=message):
        emb(
            wide().assign(**{name: wide()["arm"] for name in change.get("nominal", [])}),
            2,
            id_vars=["subject"],
            **change,
        )


@pytest.mark.slow
def test_products_are_columns_of_the_imputation_model() -> None:
    by_terms = quiet(
        joint, DATA, level1=["y"], cluster="subject", fixed=["visit", "arm", "visit:arm"], random=["visit"], **SHORT
    )
    by_formula = quiet(joint, DATA, "y ~ visit * arm + (1 + visit | subject)", **SHORT)
    assert by_terms.parameters.index[:4].tolist() == [
        "y ~ Intercept",
        "y ~ visit",
        "y ~ arm[T.old]",
        "y ~ visit:arm[T.old]",
    ]
    pd.testing.assert_frame_equal(by_terms.parameters, by_formula.parameters)
    x, visit, old = by_terms._model.fixed.x, DATA["visit"].to_numpy(), (DATA["arm"] == "old").to_numpy()
    for column, raw in zip(x.T, (np.ones(160), visit, old, visit * old), strict=True):
        scaled = raw if raw.all() else (raw - raw.mean()) / raw.std()
        np.testing.assert_allclose(column, scaled, atol=1e-12)


@pytest.mark.parametrize(
    "levels",
    [
        {"cluster": "site", "level2": ["budget"]},
        {"cluster": ["site", "room"], "level2": ["size"], "level3": ["budget"]},
    ],
)
def test_a_value_of_a_cluster_is_not_drawn_for_each_of_its_parts(levels: dict[str, Any]) -> None:
    rng, site = np.random.default_rng(0), np.repeat(np.arange(20), 8)
    frame = pd.DataFrame({"site": site, "room": np.repeat(np.arange(40), 4), "arm": np.tile(["a", "b"], 80)})
    frame = frame.assign(
        y=rng.normal(size=160), size=rng.normal(size=40)[frame["room"]], budget=rng.normal(size=20)[site]
    )
    frame.loc[frame["site"] == 3, "budget"] = np.nan
    frame.loc[::5, "y"] = np.nan
    with pytest.raises(
        ImputationError, match="by='arm' divides 'site', and 'budget', which has one value in each of them"
    ):
        joint(frame, level1=["y"], **levels, by="arm", seed=1, **SHORT)
