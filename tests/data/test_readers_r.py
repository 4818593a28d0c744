"""R objects as saveRDS writes them, against what mice's complete and mitml's mitmlComplete say is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.data.readers.rstream import without_code
from remlax.errors import FileFormatError

FILES = Path(__file__).resolve().parent.parent / "reference" / "readers"
NOT_TEXT = ("truth", "left", "full")  # logical in what R completed


def completed(name: str, *, truth: tuple[str, ...] = NOT_TEXT) -> dict[int, pd.DataFrame]:
    """Sets as R wrote them, 0 = original; logicals as True and False."""
    long = pd.read_csv(FILES / f"expected_{name}.csv", keep_default_na=False, na_values=[""])
    for column in set(truth) & set(long.columns):
        long[column] = long[column].astype(object).map({True: True, False: False}).astype("boolean")
    return {int(k): part.drop(columns=[".imp", ".id"]).reset_index(drop=True) for k, part in long.groupby(".imp")}


@pytest.mark.parametrize("name", ["mids_types", "mids_ibind", "mitml_logical"])
def test_every_type_of_column_is_what_r_completes_it_to(name: str) -> None:
    data, sets = rx.read_imputations(FILES / f"{name}.rds"), completed(name)
    assert data.labels == tuple(range(1, len(sets)))
    assert data.original is not None
    for k, frame in [(0, data.original), *data.iter()]:
        for column, theirs in sets[int(str(k))].items():
            ours = frame[column]
            assert ours.isna().tolist() == theirs.isna().tolist(), column
            if pd.api.types.is_float_dtype(theirs.dtype):
                np.testing.assert_allclose(ours.to_numpy(float), theirs, rtol=1e-14)
            else:
                assert ours.astype(object).dropna().tolist() == theirs.astype(object).dropna().tolist(), column


def test_types_are_those_of_r() -> None:
    data = rx.read_imputations(FILES / "mids_types.rds")
    assert data.varying == {"x", "drawn01", "two", "whole", "ranks"}
    kinds = {name: column.dtype.kind for name, column in data[0].items() if isinstance(column.dtype, np.dtype)}
    assert kinds == {"school": "i", "x": "f", "drawn01": "f", "whole": "f"}
    assert data[0]["two"].cat.categories.tolist() == ["yes", "no"]
    assert data[0]["ranks"].cat.ordered
    assert data[1]["ranks"].cat.categories.tolist() == ["lo", "mid", "hi"]


@pytest.mark.parametrize("dtype", ["boolean", "object"])
def test_an_original_with_truth_values_fits_completed_numbers(dtype: Any) -> None:
    sets = completed("mids_types")
    before = sets[0].assign(drawn01=(sets[0]["drawn01"] == 1).astype("boolean").where(sets[0]["drawn01"].notna()))
    before["drawn01"] = before["drawn01"].astype(dtype)
    data = rx.read_imputations([sets[1], sets[2]], original=before)
    assert data.original is not None
    np.testing.assert_array_equal(data.original["drawn01"], sets[0]["drawn01"])


def test_code_in_an_r_object_is_passed_over() -> None:
    content = (FILES / "mids_types.rds").read_bytes()
    plain = without_code(content)
    assert b"blots" in plain
    assert b"seq_len" not in plain, "functions are left out"
    assert without_code(plain) == plain
    for form in (b"A\n3\n", b"B\n\x03\x00", b"PK"):
        assert without_code(form) == form
    for end in range(40, len(plain), 997):
        with pytest.raises(ValueError, match="the file ends early"):
            without_code(plain[:end])
    head = plain[: plain.index(b"UTF-8") + 5]
    with pytest.raises(ValueError, match="an item of type 99, which R does not write"):
        without_code(head + (99).to_bytes(4, "big"))
    with pytest.raises(ValueError, match="a reference leads nowhere"):
        without_code(head + (255 + (9 << 8)).to_bytes(4, "big"))
    with pytest.raises(ValueError, match="a length is negative"):
        without_code(head + (19).to_bytes(4, "big") + (-5).to_bytes(4, "big", signed=True))


def test_an_unreadable_r_object_says_what_to_save(tmp_path: Path) -> None:
    path = tmp_path / "m.rds"
    path.write_bytes(without_code((FILES / "mids_types.rds").read_bytes())[:-50])
    with pytest.raises(FileFormatError, match=r"the file ends early; in R, saveRDS\(complete\(m, 'long', include"):
        rx.read_imputations(path)
