"""The reference reader against what the case files and plain csv parsing say of the same data."""

from __future__ import annotations

import csv
import gzip

import numpy as np
import pytest

from reference_cases import VISIBLE, case_names, load_case, load_original


def test_every_json_but_the_verification_is_a_case():
    assert len(case_names()) == len(list(VISIBLE.glob("*.json"))) - 1
    assert sorted(case_names("lmm_single") + case_names("lmm_mi") + case_names("glmm")) == case_names()
    assert {"hsb_vignette", "star_crossed_k5"} <= set(case_names("lmm_mi"))


@pytest.mark.parametrize("name", case_names())
def test_data_agree_with_the_case_description(name):
    case, frames = load_case(name)
    data = case["data"]
    assert len(frames) == max(1, data["n_imp"])
    for frame in frames:
        assert len(frame) == data["n_rows_per_set"]
        assert list(frame.columns) == list(data["columns"])
        for column, about in data["columns"].items():
            values = frame[column]
            if about["type"] == "factor":
                assert values.cat.ordered is bool(about.get("ordered", False))
                assert len(values.cat.categories) == about["n_levels"]
                assert list(values.cat.categories) == about.get("levels", list(values.cat.categories))
                assert values.notna().all(), "a cell that is none of the listed levels"
            elif about["type"] == "character":
                assert values.dtype == "str"
            else:
                assert values.dtype.kind in "if"


@pytest.mark.parametrize("name", case_names("lmm_mi"))
def test_original_has_the_stated_missing_cells(name):
    case, _ = load_case(name)
    missing = load_original(name).isna().sum()
    assert {c: int(missing[c]) for c in missing.index} == {
        c: about["n_missing"] for c, about in case["data"]["columns"].items()
    }


def test_numbers_are_read_as_python_reads_them():
    _, frames = load_case("studentratings_k5")
    with gzip.open(VISIBLE / "studentratings_k5.csv.gz", "rt") as text:
        rows = [row for row in csv.DictReader(text) if row[".imp"] == "3"]
    expected = np.array([float(row["ReadDis"]) for row in rows])
    np.testing.assert_array_equal(frames[2]["ReadDis"].to_numpy(), expected)


def test_ordered_factor_and_levels_not_in_alphabetical_order():
    assert load_case("cake_poly")[1][0]["temperature"].cat.ordered
    assert list(load_case("exam_slopes")[1][0]["schgend"].cat.categories) == ["mixed", "boys", "girls"]


def test_frames_are_copies():
    frame = load_case("dyestuff")[1][0]
    frame.loc[0, "Yield"] = -1.0
    assert load_case("dyestuff")[1][0].loc[0, "Yield"] == 1545.0
