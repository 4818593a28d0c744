"""Classes numbered within schools: means, tables and warnings keep class 1 of one school from that of another."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from test_joint_nested import schools

from remlax.data import ImputedData
from remlax.errors import ImputationError, ImputationWarning
from remlax.impute import (
    JointResult,
    centred,
    cluster_mean,
    icc_table,
    intraclass_correlation,
    joint,
    level2_consistency,
)
from remlax.impute.three_levels.formulas import check_nested


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return schools()


@pytest.fixture(scope="module")
def result(data: pd.DataFrame) -> JointResult:
    derive = {
        "own": cluster_mean("x", "class"),
        "pair": cluster_mean("x", ["school", "class"]),
        "above": cluster_mean("x", "school"),
        "gap": centred("x", "class"),
    }
    with pytest.warns(ImputationWarning, match="Rhat"):
        return joint(
            data, level1=["y", "x"], level2=["size"], cluster=["school", "class"], derive=derive, m=2, burn=5, iter=5
        )


def unique(data: pd.DataFrame) -> pd.Series:
    """Labels of classes that no other school has."""
    return data["school"] + "-" + data["class"].astype(str)


def test_means_are_of_the_class_within_the_school(data: pd.DataFrame, result: JointResult) -> None:
    for frame in (*result.data.frames, result.data.original):
        assert frame is not None
        for mean, groups in (("own", unique(data)), ("above", data["school"])):
            for label in groups.unique():
                rows = (groups == label).to_numpy()
                np.testing.assert_allclose(frame[mean][rows], np.nanmean(frame["x"][rows]), rtol=1e-12)
        np.testing.assert_array_equal(frame["own"], frame["pair"])
        np.testing.assert_allclose(frame["gap"], frame["x"] - frame["own"], rtol=1e-12, atol=1e-12)
        assert frame.groupby("class")["own"].nunique().min() == 12


def test_means_survive_more_sweeps(result: JointResult) -> None:
    with pytest.warns(ImputationWarning, match="Rhat"):
        frame = result.continue_(5).data.frames[0]
    np.testing.assert_allclose(frame["own"], frame.groupby(["school", "class"])["x"].transform("mean"), rtol=1e-12)


def test_tables_are_of_the_class_within_the_school(data: pd.DataFrame, result: JointResult) -> None:
    other = ImputedData.from_frames([frame.assign(label=unique(data)) for frame in result.data.frames])
    assert result.data.original is not None
    other = other.with_original(result.data.original.assign(label=unique(data)))
    # `other` does not know its imputation model: labels that no other school has are the reference
    for own in ("class", ["class"], ["school", "class"]):
        assert icc_table(result.data, own, ["y", "x"]).equals(icc_table(other, "label", ["y", "x"]))
    assert icc_table(other, ["school", "class"]).equals(icc_table(other, "label"))
    expected = intraclass_correlation(result.data.frames[0]["y"], unique(data))
    assert icc_table(result.data, "class").loc["y", ["least", "greatest"]].isin([expected]).any()
    table = level2_consistency(result.data, "class")
    assert {"size", "kind", "own", "above"} <= set(table.index)
    assert not {"y", "x", "gap", "school"} & set(table.index)
    assert (table.loc["size", ["n_clusters", "inconsistent"]] == [36, 0]).all()
    mixed = level2_consistency(other, "class", ["size"])
    assert (mixed.loc["size", ["n_clusters", "inconsistent"]] == [3, 3]).all()


def test_an_inconsistent_class_is_named_with_its_school(data: pd.DataFrame) -> None:
    broken = data.copy()
    broken.loc[(broken["school"] == "s1") & (broken["class"] == 2), "size"] = [1.0, 2.0, 3.0, 4.0, 5.0]
    table = level2_consistency(ImputedData.from_frames([broken]).with_original(data), ["school", "class"])
    assert table.loc["size", ["n_clusters", "inconsistent", "example"]].tolist() == [36, 1.0, "s1 / 2"]


def test_an_undeclared_mean_of_classes_is_found(data: pd.DataFrame) -> None:
    frame = data.assign(mean=data.groupby(["school", "class"])["x"].transform("mean"))
    call = {"level1": ["y", "x"], "level2": ["size"], "cluster": ["school", "class"], "m": 2, "burn": 5, "iter": 5}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        joint(frame, **call)
    text = [str(w.message) for w in caught if "looks like" in str(w.message)]
    assert len(text) == 1
    assert "'mean' looks like the mean of 'x' within 'class'" in text[0]
    assert 'derive={"mean": cluster_mean("x", ["school", "class"])}' in text[0]


def test_wrong_clusters_are_refused(result: JointResult) -> None:
    with pytest.raises(ImputationError, match=r"cluster_mean\(\) needs names of columns"):
        cluster_mean("x", [])
    with pytest.raises(ImputationError, match=r"centred\(\) needs names of columns, not 3"):
        centred("x", ["school", 3])  # type: ignore[list-item]
    with pytest.raises(ImputationError, match="cluster= is empty"):
        icc_table(result.data, [])
    with pytest.raises(ImputationError, match="nobody"):
        level2_consistency(result.data, ["school", "nobody"])


def test_an_order_that_may_be_the_wrong_one_is_told(data: pd.DataFrame) -> None:
    with pytest.warns(ImputationWarning, match=r"If 'class' lies within 'school', write cluster=\['school', 'class'\]"):
        check_nested(data, "class", "school")
    check_nested(data, "school", "class")
