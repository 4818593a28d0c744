"""What write_imputations may not lose: categories that are numbers, names of rows, and the file that was there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.data.readers.files import CATEGORIES
from remlax.errors import DataError, DataWarning, FileFormatError

BASE = pd.DataFrame({"y": np.arange(6.0), "g": list("aabbcc")})


def data(column: object = None, frame: pd.DataFrame = BASE) -> rx.ImputedData:
    """Two imputations with a column m."""
    frame = frame.assign(m=column)
    return rx.ImputedData.from_frames([frame, frame.assign(y=frame["y"] + 1)]).with_original(frame)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("values", [[9, 3, 1], [2.0, 1.5, 7.0], [True, False]])
def test_parquet_keeps_categories_that_are_numbers(tmp_path: Path, values: list[object], ordered: bool) -> None:
    given = data(pd.Categorical(values[:2] * 3, values, ordered=ordered))
    rx.write_imputations(given, tmp_path / "a.parquet")
    back = rx.read_imputations(tmp_path / "a.parquet")
    for one, other in zip(given, back, strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert given.original is not None
    assert back.original is not None
    pd.testing.assert_series_equal(given.original["m"], back.original["m"])


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"values": [9, 3], "ordered": False}, r"cells of 'm' hold 1, which is not among the categories .*\(9, 3\)"),
        ({"values": ["9", "3", "1"], "ordered": False}, "cells of 'm' hold 9, which is not among"),
        ({"values": [9, 9, 3, 1], "ordered": False}, "cannot be read as .parquet: "),
        ({"ordered": False}, "cannot be read as .parquet: KeyError"),
        ([9, 3, 1], "cannot be read as .parquet: TypeError"),
    ],
)
def test_categories_that_are_not_those_of_the_cells_are_refused(tmp_path: Path, kept: object, message: str) -> None:
    frame = data([9, 3, 1] * 2).to_long(include_original=True)
    frame.attrs = {CATEGORIES: {"m": kept}}
    frame.to_parquet(tmp_path / "a.parquet", index=False)
    with pytest.raises(FileFormatError, match=message):
        rx.read_imputations(tmp_path / "a.parquet")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_of_two_names_come_back_in_order(tmp_path: Path, suffix: str) -> None:
    rows = pd.MultiIndex.from_product([[1, 2], [3, 1, 2]])
    first = BASE.set_index(rows)
    given = rx.ImputedData.from_frames([first, first.assign(y=7.0).iloc[[*range(5), 0, 5]]])  # of different lengths
    rx.write_imputations(given, tmp_path / f"a.{suffix}")
    back = rx.read_imputations(tmp_path / f"a.{suffix}", check=False)
    assert back[0].index.tolist() == [str(row) for row in rows]
    assert [len(frame) for frame in back] == [6, 7]


@pytest.mark.parametrize(
    "column",
    [pd.Categorical([3, 1, 2] * 2), ["01", "02", "03", "1", "2", "3"], ["NA", "b", "b", "b", "a", "a"], list("..abab")],
)
def test_csv_warns_of_texts_that_will_be_numbers_or_missing(tmp_path: Path, column: object) -> None:
    given = data(column)
    with pytest.warns(DataWarning, match="a csv file does not say that 'm' hold categories or texts"):
        rx.write_imputations(given, tmp_path / "a.csv")
    rx.write_imputations(given, tmp_path / "a.parquet")
    assert rx.read_imputations(tmp_path / "a.parquet")[1]["m"].tolist() == given[1]["m"].tolist()


def test_types_that_a_file_cannot_hold_are_refused(tmp_path: Path) -> None:
    mixed = data(["a", 1, 2.5, None, True, "b"])
    with pytest.raises(DataError, match=r"a parquet file cannot hold these data: .*column m.*make that column"):
        rx.write_imputations(mixed, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="the categories of 'm' are neither texts nor numbers"):
        rx.write_imputations(data(pd.cut(BASE["y"], 3)), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="Stata cannot hold the whole numbers of 'm' to their last digit"):
        rx.write_imputations(data(2**60 + 1), tmp_path / "a.dta")
    with pytest.raises(DataError, match="two categories of 'm' are written the same"):
        rx.write_imputations(data(pd.Categorical([1, "1"] * 3)), tmp_path / "a.dta")
    assert not list(tmp_path.iterdir())
    rx.write_imputations(data(pd.Categorical([3, 1] * 3)), tmp_path / "a.dta")
    assert rx.read_imputations(tmp_path / "a.dta")[0]["m"].tolist() == ["3", "1"] * 3


DAYS = pd.Series(pd.to_datetime(["2020-02-28", "1931-01-01", "2020-02-29", "1960-01-02", "2030-12-31", "2020-03-01"]))
GAP = DAYS.index != 2


@pytest.mark.parametrize(
    ("times", "raw"),
    [
        (DAYS, -10592),  # R: as.Date("1931-01-01") - as.Date("1960-01-01")
        (DAYS.astype("datetime64[ms]") + pd.Timedelta("13:01:02.003"), -915101937997),  # that * 864e5 + 46862003
        (DAYS.dt.date, -10592),
        (DAYS.astype(object), -10592),
    ],
    ids=["days", "times", "date objects", "time objects"],
)
def test_dates_and_times_go_to_stata_and_back(tmp_path: Path, times: pd.Series, raw: int) -> None:
    path = tmp_path / "a.dta"
    drawn = [times, times.where(GAP, times[3])]
    given = rx.ImputedData.from_frames([BASE.assign(m=column) for column in drawn])
    given = given.with_original(BASE.assign(m=times.where(GAP, None)))
    rx.write_imputations(given, path)
    stored = pd.read_stata(path, convert_dates=False)["m"]
    assert stored[7] == stored[13] == raw
    back = rx.read_imputations(path)
    assert back.varying == {"m"}
    assert back.original is not None
    assert back.original["m"].isna().tolist() == [not seen for seen in GAP]
    for frame, column in zip(back, drawn, strict=True):
        assert frame["m"].dtype.kind == "M"
        assert frame["m"].tolist() == pd.to_datetime(column).tolist()


def test_dates_that_stay_missing_come_back_missing(tmp_path: Path) -> None:
    for column in (DAYS.where(GAP), DAYS.where(DAYS.index > 9)):
        rx.write_imputations(data(column), tmp_path / "a.dta")
        back = rx.read_imputations(tmp_path / "a.dta")
        for frame in [*back, back.original]:
            assert frame is not None
            assert frame["m"].equals(column.astype(frame["m"].dtype))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (DAYS.dt.tz_localize("Europe/Berlin"), r"Stata keeps no time zones, which 'm' has: .*tz_localize\(None\)"),
        (DAYS.dt.tz_localize("UTC").astype(object), "Stata keeps no time zones, which 'm' has"),
        (DAYS + pd.Timedelta("1us"), "Stata's times are whole milliseconds, those of 'm' are not: round them"),
        (
            DAYS - DAYS[0],
            r"Stata cannot hold these data: 'm' holds values of type timedelta64.*: make it numbers or text",
        ),
        (DAYS.dt.to_period("M"), r"Stata cannot hold these data: 'm' holds values of type period\[M\]"),
        (["a", 1, None, 2, "b", 3], r"these data: 'm' holds Python objects \(mixed-integer\)"),
        (pd.Series([None] * 6, dtype=object), "'m' has missing cells only, whose type Stata cannot tell: leave"),
        (np.arange(6) * 1j, "Stata cannot hold these data: Data type complex128 not supported"),
    ],
)
@pytest.mark.filterwarnings("ignore:Casting complex values")
def test_what_stata_cannot_hold_is_named(tmp_path: Path, column: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rx.write_imputations(data(column), tmp_path / "a.dta")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet", "dta"])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"a.{suffix}"
    rx.write_imputations(data(0.0), path)
    before = path.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(FileFormatError, match=r"cannot be written \(No space left on device\): what was there before"):
        rx.write_imputations(data(1.0), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
