"""Files that R packages wrote, against what R says is in them; other programs' layouts; what is refused."""

from __future__ import annotations

import gzip
import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.data.readers.robjects import split_object
from remlax.errors import DataError, DataWarning, FileFormatError, ImputationWarning, MissingExtraError

FILES = Path(__file__).resolve().parent.parent / "reference" / "readers"
LEVELS = {1.0: "none", 2.0: "some", 3.0: "much"}


def expected(name: str) -> dict[int, pd.DataFrame]:
    """Sets as R listed them, 0 = original."""
    long = pd.read_csv(FILES / f"expected_{name}.csv", keep_default_na=False, na_values=[""])
    return {int(k): part.drop(columns=[".imp", ".id"]).reset_index(drop=True) for k, part in long.groupby(".imp")}


def assert_same(data: rx.ImputedData, name: str, columns: list[str] | None = None, rtol: float = 1e-13) -> None:
    sets = expected(name)
    assert data.labels == tuple(k for k in sets if k)
    pairs = [(frame, sets[k]) for k, frame in data.iter()]
    if data.original is not None:
        pairs.append((data.original, sets[0]))
    for ours, theirs in pairs:
        for column in columns or list(theirs.columns):
            found = ours[column]
            if theirs[column].dtype == np.float64 or theirs[column].dtype == np.int64:
                np.testing.assert_allclose(found.to_numpy(float), theirs[column].to_numpy(float), rtol=rtol)
            else:
                text = found.map(LEVELS) if pd.api.types.is_numeric_dtype(found.dtype) else found
                assert text.astype(object).where(text.notna(), None).tolist() == (
                    theirs[column].astype(object).where(theirs[column].notna(), None).tolist()
                )


@pytest.mark.parametrize(
    ("file", "name", "has_original"),
    [
        ("mice_long.csv", "mice", True),
        ("mice_long_imputed_only.csv", "mice", False),
        ("mice_long.rds", "mice", True),
        ("mice_long.RData", "mice", True),
        ("mice_mids.rds", "mice", True),
        ("mice_mids_without_formulas.rds", "mice", True),
        ("amelia_stacked.csv", "amelia", True),
        ("amelia_set*.csv", "amelia", False),
        ("amelia.dta", "amelia", True),
        ("amelia.rds", "amelia", True),
        ("mitml.rds", "mitml", True),
        ("mitml_list.rds", "mitml", False),
        ("mitml_spss.sav", "mitml", False),
        ("mitml_jomo.rds", "mitml_jomo", True),
        ("stata_flong.dta", "mice", True),
        ("stata_mlong.dta", "mice", True),
        ("stata_wide.dta", "mice", True),
        ("stata_sep.dta", "mice", True),
        ("sas_mi.csv", "mice", False),
        ("sas_mi.xpt", "mice", False),
        ("spss_mi.sav", "mice", True),
    ],
)
def test_files_hold_what_r_says(file: str, name: str, has_original: bool) -> None:
    data = rx.read_imputations(FILES / file)
    assert (data.original is not None) == has_original
    assert_same(data, name)


def test_levels_come_in_the_order_of_the_program() -> None:
    for file in ("mice_long.rds", "amelia.dta", "mice_mids_without_formulas.rds", "mitml_jomo.rds", "amelia.rds"):
        kind = rx.read_imputations(FILES / file)[0]["kind"]
        assert kind.cat.categories.tolist() == ["none", "some", "much"]
        assert not kind.cat.ordered


@pytest.mark.parametrize("file", ["jomo.csv", "jomo.rds"])
def test_jomo_loses_its_intercepts_and_keeps_the_rest(file: str) -> None:
    data = rx.read_imputations(FILES / file)
    assert set(data.columns) == {"x", "kind", "one", "y", "clus"}
    assert data.K == 3
    original = pd.read_csv(FILES / "original.csv")
    np.testing.assert_allclose(data.original["x"], original["x"])
    np.testing.assert_allclose(data[1]["y"], original["y"])
    assert data[2].notna().all(axis=None)
    assert data.varying == {"x", "kind"}


def test_names_and_layouts_can_be_given() -> None:
    frame = pd.read_csv(FILES / "mice_long.csv", na_values=[""], keep_default_na=False)
    odd = frame.rename(columns={".imp": "which", ".id": "row"})
    with pytest.raises(FileFormatError, match="has none of the columns that number imputations"):
        rx.read_imputations(odd)
    assert_same(rx.read_imputations(odd, imp="which", id="row"), "mice")
    assert_same(rx.read_imputations(frame, "mice"), "mice")
    with pytest.raises(FileFormatError, match=r"has no column '_Imputation_'.*layout="):
        rx.read_imputations(frame, "sas")
    with pytest.raises(FileFormatError, match='layout="long" needs imp='):
        rx.read_imputations(frame, "long")
    with pytest.raises(FileFormatError, match="layout='mitml' is no layout of one data frame"):
        rx.read_imputations(frame, "mitml")
    with pytest.raises(FileFormatError, match="layout='csv' is not known"):
        rx.read_imputations(frame, "csv")


def test_rows_are_matched_by_id() -> None:
    sas = pd.read_csv(FILES / "sas_mi.csv").assign(pupil=lambda d: d.groupby("_Imputation_").cumcount() + 100)
    mixed = pd.concat([sas[sas["_Imputation_"] == 1], sas[sas["_Imputation_"] > 1].iloc[::-1]])
    data = rx.read_imputations(mixed, id="pupil")
    assert_same(data, "mice", ["school", "y", "x", "flag"])
    assert data[0].index.tolist() == list(range(100, 130))
    with pytest.raises(FileFormatError, match=r"no column 'pupils' \(id=\)"):
        rx.read_imputations(mixed, id="pupils")
    with pytest.raises(DataError, match="column 'school' of the data frame names rows twice"):
        rx.read_imputations(mixed, id="school")
    other = mixed.assign(pupil=mixed["pupil"] + (mixed["_Imputation_"] == 2))
    with pytest.raises(
        DataError, match=r"imputation 2 .* has other row ids than the first: row 130 is not in imputation 1"
    ):
        rx.read_imputations(other, id="pupil")


def sets() -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    found = expected("mice")
    return found[0], [found[k] for k in (1, 2, 3)]


def test_lists_dicts_arrays_and_results() -> None:
    original, frames = sets()
    assert_same(rx.read_imputations(frames, original=original), "mice")
    assert_same(rx.read_imputations(frames, original=FILES / "original.csv"), "mice")
    assert rx.read_imputations(dict(zip("abc", frames, strict=True))).labels == ("a", "b", "c")
    numbers = [f[["y", "x", "flag"]] for f in frames]
    stacked = np.stack([f.to_numpy() for f in numbers])
    for source in (stacked, list(stacked)):
        data = rx.read_imputations(source, original=original[["y", "x", "flag"]])
        assert_same(data, "mice", ["y", "x", "flag"])
    imputed = rx.read_imputations(frames, original=original)
    assert rx.read_imputations(imputed).labels == imputed.labels
    paths = [FILES / f"amelia_set{k}.csv" for k in range(1, 12)]
    assert_same(rx.read_imputations(paths), "amelia")


class Kernel:
    """Stands in for miceforest's ImputationKernel."""

    num_datasets = 3

    def complete_data(self, dataset: int) -> pd.DataFrame:
        return sets()[1][dataset]


class MiceData:
    """Stands in for statsmodels' MICEData: one imputation at a time, in a frame that the next one overwrites."""

    def __init__(self) -> None:
        self.k = 0
        self.frame = sets()[1][0].copy()

    def next_sample(self) -> pd.DataFrame:
        self.frame[:] = sets()[1][self.k]
        self.k += 1
        return self.frame


class Imputer:
    """Stands in for a fitted scikit-learn imputer."""

    def __init__(self, k: int) -> None:
        self.k = k

    def fit(self) -> None: ...

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        return sets()[1][self.k][list(frame.columns)].to_numpy(float)


def test_python_libraries_are_read_and_named() -> None:
    original, _ = sets()
    with pytest.warns(ImputationWarning, match="miceforest draws cells from trees fitted once, and knows no clusters"):
        assert_same(rx.read_imputations(Kernel(), original=original), "mice")
    with pytest.warns(ImputationWarning, match="statsmodels' MICEData takes values from 20 donors"):
        assert_same(rx.read_imputations(MiceData(), m=3), "mice")
    numbers = original[["y", "x", "flag"]]
    with pytest.warns(
        ImputationWarning, match="scikit-learn's imputer draws cells without drawing the parameters"
    ) as caught:
        assert_same(
            rx.read_imputations([Imputer(0), Imputer(1), Imputer(2)], original=numbers), "mice", ["y", "x", "flag"]
        )
    assert len(caught) == 1


def test_sets_numbered_from_zero_without_gaps_are_imputations() -> None:
    data = rx.read_imputations(FILES / "mitml_spss.sav")  # mitml counts from 0 and writes no original
    assert data.labels == (1, 2, 3)


def test_semicolons_decimal_commas_and_tabs(tmp_path: Path) -> None:
    frame = pd.read_csv(FILES / "mice_long.csv", na_values=[""], keep_default_na=False)
    frame.to_csv(tmp_path / "a.csv", sep=";", decimal=",", index=False, na_rep="NA")
    frame.to_csv(tmp_path / "b.csv", sep=";", index=False, na_rep="NA")
    frame.to_csv(tmp_path / "c.txt", sep="\t", index=False, na_rep=".")
    frame.to_csv(tmp_path / "d.csv.gz", index=False, na_rep="NaN")
    frame.to_parquet(tmp_path / "e.parquet")
    for name in ("a.csv", "b.csv", "c.txt", "d.csv.gz", "e.parquet"):
        assert_same(rx.read_imputations(tmp_path / name), "mice")


def change(frames: list[pd.DataFrame], k: int, **columns: Any) -> list[pd.DataFrame]:
    return [f.assign(**columns) if i == k else f for i, f in enumerate(frames)]


def test_disagreements_are_named() -> None:
    original, frames = sets()
    other = frames[1]["y"].copy()
    other[2] += 1
    text = r"column 'y': 1 observed cells have another value in imputation 2 .* \(first in row 3: 34.83 became 35.83\)"
    with pytest.raises(DataError, match=text):
        rx.read_imputations(change(frames, 1, y=other), original=original)
    swapped = [frames[0], frames[1].iloc[::-1].reset_index(drop=True), frames[2]]
    with pytest.raises(DataError, match="rows are sorted differently"):
        rx.read_imputations(swapped, original=original)
    assert rx.read_imputations(swapped, original=original, check=False).K == 3
    with pytest.raises(DataError, match=r"different numbers of rows \(30 in imputation 1, 29 in imputation 2"):
        rx.read_imputations([frames[0], frames[1].iloc[:-1], frames[2]])
    with pytest.raises(DataError, match="column 'flag' holds text in imputation 3 but numbers"):
        rx.read_imputations(change(frames, 2, flag="x"))
    levels = [f.assign(kind=pd.Categorical(f["kind"])) for f in frames]
    fewer = [levels[0], levels[1].assign(kind=levels[1]["kind"].cat.add_categories("lots")), levels[2]]
    with pytest.raises(DataError, match="has the categories 'much', 'none', 'some', 'lots' in imputation 2"):
        rx.read_imputations(fewer)
    with pytest.raises(DataError, match="column 'kind': 1 observed cells"):
        rx.read_imputations(
            change(frames, 0, kind=["much" if i == 0 else v for i, v in enumerate(frames[0]["kind"])]),
            original=original,
        )
    with pytest.warns(DataWarning, match="one imputation only"):
        rx.read_imputations(frames[:1])


REFUSED: list[tuple[str, type[Exception], Callable[[], Any]]] = [
    ("there is no file", FileFormatError, lambda: "nowhere.csv"),
    ("no file matches", FileFormatError, lambda: "nowhere*.csv"),
    (
        "has the suffix '.r'; those that can be read are .csv",
        FileFormatError,
        lambda: FILES.parent / "scripts/readers.R",
    ),
    ("a int holds no imputations", FileFormatError, lambda: 3),
    ("give all of them, as in", FileFormatError, lambda: FILES / "amelia_set1.csv"),
    ("say how many to draw using m=", DataError, MiceData),
    ("the array has 2 axes", DataError, lambda: np.zeros((2, 2))),
    ("array without column names", DataError, lambda: np.zeros((2, 2, 2))),
    ("is an imputer: give the incomplete data", DataError, lambda: [Imputer(0)]),
    ("holds no imputation", DataError, list),
    ("has 1 missing cells: say which", DataError, lambda: pd.DataFrame({".imp": [1.0, None], "x": [1.0, 2.0]})),
    ("is 0 in every row", DataError, lambda: pd.DataFrame({".imp": [0, 0], "x": [1.0, None]})),
    ("has no column '_mi_id'", FileFormatError, lambda: pd.DataFrame({"_mi_m": [0, 1], "x": [None, 1.0]})),
    ("has no imputation", DataError, lambda: pd.DataFrame({"_mi_m": [0], "_mi_id": [1], "x": [1.0]})),
    ("names rows twice", DataError, lambda: pd.DataFrame({"_mi_m": [0, 1, 1], "_mi_id": [1, 1, 1], "x": [1.0] * 3})),
    ("has no column _2_y", DataError, lambda: pd.DataFrame({n: [1.0] for n in ("x", "y", "_1_x", "_1_y", "_2_x")})),
    ("imputation 1 is a list, not a pandas DataFrame", DataError, lambda: [[1.0]]),
]


@pytest.mark.parametrize(("message", "kind", "source"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refuses_with_a_reason(message: str, kind: type[Exception], source: Callable[[], Any]) -> None:
    with pytest.raises(kind, match=message):
        rx.read_imputations(source())


def test_array_of_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match=r"an array of \(2, 2\) but the original has \(30, 5\)"):
        rx.read_imputations(np.zeros((2, 2, 2)), original=sets()[0])


def test_sets_of_a_named_list_keep_their_numbers() -> None:
    frames = {str(k): frame for k, frame in enumerate(sets()[1], start=1)}
    assert list(split_object(frames, "x.rds").imputed) == [1, 2, 3]


def test_foreign_r_objects_are_refused() -> None:
    with pytest.raises(FileFormatError, match=r"lacks a part, or has one of another shape \(AttributeError"):
        split_object({"data": 1, "imp": 2, "where": 3}, "x.rds")
    with pytest.raises(FileFormatError, match="the parts a, b: it is no mids, amelia or mitml object"):
        split_object({"a": 1, "b": 2}, "x.rds")


@pytest.mark.parametrize(
    ("library", "file", "text"),
    [
        ("pyreadstat", "spss_mi.sav", "pyreadstat: pip install remlax\\[io\\]"),
        ("rdata", "mice_long.rds", "rdata: pip install remlax\\[io\\]"),
        ("pyarrow", "x.parquet", "pyarrow: pip install remlax\\[io\\]"),
    ],
)
def test_missing_extras_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str, file: str, text: str
) -> None:
    data = rx.read_imputations(sets()[1])
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path = FILES / file if (FILES / file).exists() else tmp_path / file
    path.touch()
    with pytest.raises(MissingExtraError, match=text):
        rx.read_imputations(path)
    if library == "pyarrow":
        with pytest.raises(MissingExtraError, match=text):
            rx.write_imputations(data, tmp_path / "y.parquet")


def typed() -> rx.ImputedData:
    original, frames = sets()
    kinds = pd.CategoricalDtype(["none", "some", "much"])
    sure = pd.array([True, False, None] * 10, dtype="boolean")

    def dress(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(kind=frame["kind"].astype(kinds), sure=sure, name=[f"p{i}" for i in range(30)])

    return rx.ImputedData.from_frames([dress(f) for f in frames]).with_original(dress(original))


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "dta", "parquet"])
def test_what_is_written_comes_back(tmp_path: Path, suffix: str) -> None:
    data = typed()
    path = tmp_path / f"out.{suffix}"
    rx.write_imputations(data, path)
    back = rx.read_imputations(path)
    assert_same(back, "mice", rtol=1e-15)
    assert back.original is not None
    assert back[1]["name"].tolist() == data[1]["name"].tolist()
    assert back[1]["sure"].astype(float).isna().sum() == 10
    assert back[1]["sure"].astype(float).sum() == 10
    if suffix == "parquet":
        assert (back[0].dtypes.astype(str) == data[0].dtypes.astype(str)).all()
    if suffix == "dta":
        assert back[0]["kind"].cat.categories.tolist() == ["none", "some", "much"]


@pytest.mark.parametrize("suffix", ["csv", "dta", "parquet"])
def test_columns_computed_from_imputed_ones_come_back(tmp_path: Path, suffix: str) -> None:
    # in the original they are those of the observed cells: mice and Stata would put these into every imputation
    data = typed().map(lambda d: d.assign(mean=d["x"].mean(), above=d["x"] > d["x"].mean()))
    path = tmp_path / f"out.{suffix}"
    rx.write_imputations(data, path)
    back = rx.read_imputations(path)
    assert back.original is not None
    assert data.original is not None
    assert back.original["mean"].isna().all()
    kept = back.original["above"].notna()
    same = np.array([frame["above"] == data.original["above"] for frame in data]).all(axis=0)
    assert kept.tolist() == same.tolist()
    assert 0 < kept.sum() < len(kept)
    for frame, other in zip(back, data, strict=True):
        np.testing.assert_allclose(frame["mean"], other["mean"], rtol=1e-15)
        assert (frame["above"].astype(bool) == other["above"]).all()
    with pytest.raises(
        DataError, match=r"column 'mean': 30 observed cells .* the column is computed from imputed ones"
    ):
        rx.read_imputations(data.to_long(include_original=True))


def test_text_with_missing_cells_agrees(tmp_path: Path) -> None:
    text = pd.Series(["a", pd.NA, "b"], dtype="string")
    original = pd.DataFrame({"t": text})
    frames = [pd.DataFrame({"t": text.fillna(fill)}) for fill in ("a", "b")]
    assert rx.read_imputations(frames, original=original).varying == {"t"}


def test_stata_file_has_the_columns_of_flong(tmp_path: Path) -> None:
    rx.write_imputations(typed(), tmp_path / "out.dta")
    frame = pd.read_stata(tmp_path / "out.dta")
    assert frame["_mi_m"].tolist() == [k for k in range(4) for _ in range(30)]
    assert frame.loc[frame["_mi_m"] == 0, "_mi_miss"].sum() == 8  # 'sure' stays missing: not imputed
    assert frame.loc[frame["_mi_m"] > 0, "_mi_miss"].isna().all()


def test_writers_refuse(tmp_path: Path) -> None:
    data = typed()
    with pytest.raises(FileFormatError, match=r"written as \.csv, \.dta or \.parquet"):
        rx.write_imputations(data, tmp_path / "a.xlsx")
    with pytest.raises(FileFormatError, match="there is no folder"):
        rx.write_imputations(data, tmp_path / "nowhere" / "a.csv")
    with pytest.raises(DataError, match=r"map\(\) needs a function of a data frame, not a int"):
        data.map(3)
    with pytest.raises(DataError, match=r"give the \.data of an imputation result"):
        rx.write_imputations(data[0], tmp_path / "a.csv")
    with pytest.raises(DataError, match="Stata's mi data need the original"):
        rx.write_imputations(data.with_original(None), tmp_path / "a.dta")
    with pytest.raises(DataError, match="'my x' is no name for a variable of Stata"):
        rx.write_imputations(data.map(lambda d: d.rename(columns={"x": "my x"})), tmp_path / "a.dta")
    with pytest.raises(DataError, match="'_mi_x', which Stata keeps"):
        rx.write_imputations(data.map(lambda d: d.rename(columns={"x": "_mi_x"})), tmp_path / "a.dta")
    with pytest.raises(DataError, match="Stata cannot hold these data"):
        rx.write_imputations(data.map(lambda d: d.assign(t=pd.Timedelta(1, "D"))), tmp_path / "a.dta")


def test_iter_gives_labels_and_frames() -> None:
    data = typed()
    assert [label for label, _ in data.iter()] == [1, 2, 3]
    pd.testing.assert_frame_equal(dict(data.iter())[2], data[1])


FUZZED = [
    "mice_long.csv", "mice_long.rds", "mids_types.rds", "amelia.rds", "mitml.rds", "stata_mlong.dta",
    "stata_wide.dta", "mice_long.RData", pytest.param("mitml_spss.sav", marks=pytest.mark.slow),
    pytest.param("sas_mi.xpt", marks=pytest.mark.slow),
]  # fmt: skip


@pytest.mark.parametrize("name", FUZZED)
def test_damaged_files_raise_only_what_remlax_raises(name: str, tmp_path: Path) -> None:
    content = (FILES / name).read_bytes()
    rng = np.random.default_rng(len(content))
    path = tmp_path / name
    damaged = [content[: int(len(content) * part)] for part in (0.0, 0.02, 0.3, 0.9, 0.99)]
    for _ in range(8):
        array = np.frombuffer(content, np.uint8).copy()
        array[rng.integers(len(array), size=rng.integers(1, 20))] = rng.integers(256)
        damaged.append(array.tobytes())
    n_refused = 0
    for piece in damaged:
        path.write_bytes(piece)
        try:
            rx.read_imputations(path)
        except (rx.RemlaxError, rx.RemlaxWarning):
            n_refused += 1
    assert n_refused >= 5  # the five that were cut short


def test_crash_of_the_sav_reader_ends_in_a_message(tmp_path: Path) -> None:
    content = bytearray((FILES / "spss_mi.sav").read_bytes())
    content[435] = 0x81
    path = tmp_path / "odd.sav"
    path.write_bytes(content)
    with pytest.raises(
        FileFormatError, match=r"odd\.sav' is damaged: pyreadstat, which reads such files, crashed on it"
    ):
        rx.read_imputations(path)


def test_flongsep_without_ids_is_refused(tmp_path: Path) -> None:
    for name in ("stata_sep.dta", "_1_stata_sep.dta"):
        shutil.copy(FILES / name, tmp_path / name)
    pd.read_stata(tmp_path / "_1_stata_sep.dta").drop(columns="_mi_id").to_stata(tmp_path / "_1_stata_sep.dta")
    with pytest.raises(FileFormatError, match=r"_1_stata_sep.dta' has no column '_mi_id'"):
        rx.read_imputations(tmp_path / "stata_sep.dta")


def test_a_file_written_by_sas(tmp_path: Path) -> None:
    path = tmp_path / "iris.sas7bdat"
    path.write_bytes(gzip.decompress((FILES / "iris.sas7bdat.gz").read_bytes()))
    data = rx.read_imputations([path, path])
    assert data.n_rows == 150
    # R: colSums(iris[1:4]), table(iris$Species)
    np.testing.assert_allclose(data[0].iloc[:, :4].sum(), [876.5, 458.6, 563.7, 179.9])
    assert data[0].iloc[:, 4].value_counts().tolist() == [50, 50, 50]
