"""read_spss: labels, numbers and missing codes of files of surveys, against the cells that were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import remlax as rx

pyreadstat = pytest.importorskip("pyreadstat")

CELLS = pd.DataFrame(
    {
        "CNT": ["DNK", "DNK", "ISL", "ISL", "ISL", "DNK"],
        "CNTSCHID": [101.0, 101.0, 102.0, 102.0, 103.0, 103.0],
        "ESCS": [0.5, -1.2, 9999.0, 0.1, 9997.0, 1.5],
        "ST004": [1.0, 2.0, 1.0, 2.0, 7.0, 1.0],
        "BOOKS": [4.0, 2.0, 3.0, 1.0, 8.0, np.nan],
        "HOURS": [0.0, 2.0, 3.0, 12.0, 99.0, 5.0],
    }
)
LABELS = {
    "ESCS": {9997: "N/A", 9999: "Missing"},
    "ST004": {1: "Female", 2: "Male", 7: "N/A", 9: "Missing"},
    "BOOKS": {1: "none", 2: "few", 3: "some", 4: "many", 8: "Invalid", 9: "Missing"},
    "HOURS": {0: "no hours", 99: "Missing"},
}
MISSING = {"ESCS": [{"lo": 9997, "hi": 9999}], "ST004": [7, 8, 9], "BOOKS": [8, 9], "HOURS": [99]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    out = tmp_path / "pupils.sav"
    names = {"ESCS": "Index of status", "ST004": "Sex"}
    pyreadstat.write_sav(CELLS, out, variable_value_labels=LABELS, missing_ranges=MISSING, column_labels=names)
    return out


def test_indices_are_numbers_and_answers_are_categories(file: Path) -> None:
    with pytest.warns(rx.errors.DataWarning, match="only some codes have labels in 'HOURS'"):
        data = rx.read_spss(file)
    assert data["ESCS"].dtype == np.float64
    np.testing.assert_array_equal(data["ESCS"], [0.5, -1.2, np.nan, 0.1, np.nan, 1.5])
    assert data["CNTSCHID"].tolist() == [101, 101, 102, 102, 103, 103]
    assert data["CNTSCHID"].dtype == np.int64
    assert data["CNT"].tolist() == CELLS["CNT"].tolist()
    # in the order of the codes, missing codes are no levels
    assert data["ST004"].cat.categories.tolist() == ["Female", "Male"]
    assert data["BOOKS"].cat.categories.tolist() == ["none", "few", "some", "many"]
    assert data["BOOKS"].tolist()[:4] == ["many", "few", "some", "none"]
    np.testing.assert_array_equal(data["HOURS"], [0, 2, 3, 12, np.nan, 5])


def test_labels_and_counts_of_missing_codes_are_kept(file: Path) -> None:
    data = rx.read_spss(file, ["ESCS", "ST004", "BOOKS"])
    assert data.columns.tolist() == ["ESCS", "ST004", "BOOKS"]
    assert data.attrs["labels"] == {"ESCS": "Index of status", "ST004": "Sex"}
    assert data.attrs["missing"] == {
        "ESCS": {"N/A": 1, "Missing": 1},
        "ST004": {"N/A": 1},
        "BOOKS": {"Invalid": 1},
    }
    assert data.attrs["value_labels"]["ST004"] == LABELS["ST004"]


def test_reasons_say_why_a_cell_is_missing(file: Path) -> None:
    data = rx.read_spss(file, ["CNT", "BOOKS"], reasons=["ESCS", "BOOKS"])
    assert data.columns.tolist() == ["CNT", "BOOKS", "BOOKS_missing", "ESCS", "ESCS_missing"]
    assert data["ESCS_missing"].astype(object).where(data["ESCS_missing"].notna(), None).tolist() == [
        None, None, "Missing", None, "N/A", None,
    ]  # fmt: skip
    # an empty cell of the file has no reason
    assert data["BOOKS"].isna().tolist() == [False] * 4 + [True] * 2
    assert data["BOOKS_missing"].isna().tolist() == [True] * 4 + [False, True]


REFUSED = {
    "no file": ({"path": "none.sav"}, "there is no file 'none.sav'"),
    "another type": ({"path": "data.csv"}, "'data.csv' is no file of SPSS: its suffix is not .sav or .zsav"),
    "no column": ({"columns": ["st004"]}, "the file has no column 'st004'; it has 'ST004'"),
    "reasons of a column without": ({"reasons": ["CNT"]}, "reasons= has 'CNT', of which the file declares no code"),
    "a text": ({"columns": "ESCS"}, "columns='ESCS' must be a list of texts"),
    "reasons as text": ({"reasons": "ESCS"}, "reasons='ESCS' must be a list of texts"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSED))
@pytest.mark.filterwarnings("ignore::remlax.errors.DataWarning")
def test_what_cannot_be_read_is_refused_in_a_sentence(name: str, file: Path) -> None:
    given, message = REFUSED[name]
    call: dict[str, object] = {"path": file, **given}
    with pytest.raises(rx.RemlaxError, match=message):
        rx.read_spss(**call)  # type: ignore[arg-type]


def test_a_damaged_file_is_refused(tmp_path: Path, file: Path) -> None:
    (tmp_path / "cut.sav").write_bytes(file.read_bytes()[:200])
    with pytest.raises(rx.RemlaxError, match=r"cut\.sav' (cannot be read as a file of SPSS|is damaged)"):
        rx.read_spss(tmp_path / "cut.sav")


def test_imputed_files_keep_indices_as_numbers(tmp_path: Path) -> None:
    # pandas and pyreadstat turn every column with a label into categories
    frame = pd.concat([CELLS.assign(Imputation_=float(m), ESCS=CELLS["CNTSCHID"] / 7 + m) for m in (1, 2)])
    pyreadstat.write_sav(frame, tmp_path / "mi.sav", variable_value_labels=LABELS, missing_ranges=MISSING)
    data = rx.read_imputations(tmp_path / "mi.sav")
    np.testing.assert_allclose(data[1]["ESCS"], CELLS["CNTSCHID"] / 7 + 2, rtol=1e-15)
