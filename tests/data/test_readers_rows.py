"""Rows of what is read: Stata's data without the original, and columns that name the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import remlax as rx
from remlax.errors import DataError, DataWarning, FileFormatError

FILES = Path(__file__).resolve().parent.parent / "reference" / "readers"
MI = ["_mi_m", "_mi_id", "_mi_miss"]


def flong(name: str = "stata_flong.dta") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of m = 1, 2, ... and rows of m = 0."""
    frame = pd.read_stata(FILES / name)
    return frame[frame["_mi_m"] > 0], frame[frame["_mi_m"] == 0]


def assert_same(left: rx.ImputedData, right: rx.ImputedData, *, check_dtype: bool = True) -> None:
    assert left.labels == right.labels
    for one, other in zip(left, right, strict=True):
        assert_frame_equal(one, other, check_dtype=check_dtype)


@pytest.mark.parametrize("source", ["frame", "dta", "csv"])
def test_flong_without_the_original_is_read(source: str, tmp_path: Path) -> None:
    whole = rx.read_imputations(FILES / "stata_flong.dta")
    imputed, before = flong()
    shuffled: Any = imputed.sample(frac=1, random_state=1)
    if source == "dta":
        shuffled.to_stata(tmp_path / "a.dta", write_index=False)
        shuffled = tmp_path / "a.dta"
    elif source == "csv":
        shuffled.to_csv(tmp_path / "a.csv", index=False)
        shuffled = tmp_path / "a.csv"
    alone = rx.read_imputations(shuffled)
    assert alone.original is None
    order = imputed.sample(frac=1, random_state=1)
    own = order[order["_mi_m"] == 1]["_mi_id"].to_numpy() - 1
    for one, other in zip(alone, whole, strict=True):
        assert_frame_equal(one, other.iloc[own].reset_index(drop=True), check_dtype=False)
    for original in (before, before.sample(frac=1, random_state=2)):
        with_it = rx.read_imputations(shuffled, original=original)
        assert with_it.original is not None
        assert with_it.original.isna().sum().sum() == 10
        by_id = original["_mi_id"].to_numpy() - 1
        for one, other in zip([with_it.original, *with_it], [whole.original, *whole], strict=True):
            assert other is not None
            assert_frame_equal(one.reset_index(drop=True), other.iloc[by_id].reset_index(drop=True), check_dtype=False)


def test_original_without_ids_is_used_by_position() -> None:
    imputed, before = flong()
    data = rx.read_imputations(imputed, original=before.drop(columns=MI).reset_index(drop=True))
    assert_same(data, rx.read_imputations(FILES / "stata_flong.dta"))
    assert data.original is not None
    assert data.original["x"].isna().sum() == 4


def test_complete_rows_of_mlong_come_from_the_original() -> None:
    imputed, before = flong("stata_mlong.dta")
    whole = rx.read_imputations(FILES / "stata_mlong.dta")
    assert_same(rx.read_imputations(imputed, original=before.reset_index(drop=True)), whole)
    with pytest.warns(DataWarning, match="the data frame has no original .* its _mi_id has gaps: if Stata saved it in"):
        assert rx.read_imputations(imputed).n_rows < whole.n_rows
    with pytest.raises(DataError, match=r"lacks the row with _mi_id .* with the column 'y'"):
        rx.read_imputations(imputed, original=before.drop(columns="y"))
    with pytest.raises(DataError, match=r"the original has 30 rows but the imputations have"):
        rx.read_imputations(imputed, original=before.drop(columns=MI).reset_index(drop=True))


def test_numbers_and_ids_of_stata_must_make_sense() -> None:
    imputed, _ = flong()
    fewer = imputed.drop(imputed.index[-1])
    with pytest.raises(
        DataError, match=r"imputation 3 in the data frame lacks the row with _mi_id 30: give the original"
    ):
        rx.read_imputations(fewer)
    other = imputed.assign(_mi_id=np.where(np.arange(len(imputed)) == 40, 99, imputed["_mi_id"]))
    with pytest.raises(
        DataError, match=r"_mi_id of imputation 2 .* names rows twice, or rows that the first imputation"
    ):
        rx.read_imputations(other)
    for wrong in (imputed["_mi_m"].where(imputed["_mi_id"] > 1), imputed["_mi_m"] + 0.5, "one"):
        with pytest.raises(DataError, match="column '_mi_m' of the data frame has cells that are no whole number"):
            rx.read_imputations(imputed.assign(_mi_m=wrong))
    assert rx.read_imputations(imputed.assign(_mi_m=imputed["_mi_m"].astype(str))).labels == (1, 2, 3)


LONG = pd.read_csv(FILES / "mice_long.csv", keep_default_na=False, na_values=[""])


def test_the_id_of_a_layout_can_be_named() -> None:
    whole = rx.read_imputations(LONG)
    assert_same(rx.read_imputations(LONG, id=".id"), whole)
    assert_same(rx.read_imputations(LONG, "mice", imp=".imp", id=".id"), whole)
    imputed, _ = flong()
    assert_same(rx.read_imputations(imputed, id="_mi_id"), rx.read_imputations(imputed))
    named = LONG.assign(**{".id": "p" + LONG[".id"].astype(str)}).sample(frac=1, random_state=3)
    data = rx.read_imputations(named, id=".id")
    assert data.original is not None
    assert sorted(data[0].index) == sorted(data.original.index) == sorted(named[".id"].unique())
    assert data[0].index.equals(data.original.index)


@pytest.mark.parametrize("arguments", [{}, {"imp": ".imp"}])
def test_an_id_that_is_not_there_or_names_no_rows_is_refused(arguments: Any) -> None:
    with pytest.raises(FileFormatError, match=r"has no column '\.id' \(id=\); its columns are 'school', 'y'"):
        rx.read_imputations(LONG.drop(columns=".id"), id=".id", **arguments)
    twice = LONG.assign(**{".id": LONG["school"]})
    with pytest.raises(DataError, match=r"column '\.id' of the data frame names rows twice within an imputation"):
        rx.read_imputations(twice, id=".id", **arguments)


def test_rows_of_a_list_are_matched_by_id() -> None:
    sets = [part.drop(columns=".imp") for k, part in LONG.groupby(".imp") if k]
    before = LONG[LONG[".imp"] == 0].drop(columns=".imp")
    mixed = [sets[0], sets[1].iloc[::-1], sets[2].sample(frac=1, random_state=1)]
    data = rx.read_imputations(mixed, id=".id", original=before.iloc[::-1])
    for one, other in zip(
        [*data, data.original], [*rx.read_imputations(LONG), before.drop(columns=".id")], strict=True
    ):
        assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))
    assert data[1].index.tolist() == list(range(1, 31))
    with pytest.raises(FileFormatError, match=r"the list has no column 'pupil' \(id=\)"):
        rx.read_imputations(mixed, id="pupil")
