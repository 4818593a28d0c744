"""What write_imputations may not lose: categories that are numbers, names of rows, and the file that was there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import remlax as rx
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
