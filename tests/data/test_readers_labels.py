"""Value labels of Stata and SPSS files that haven wrote: levels in the order of the codes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyreadstat
import pytest

import remlax as rx

FILES = Path(__file__).resolve().parent.parent / "reference" / "readers"


def levels(data: rx.ImputedData, name: str) -> list[object]:
    found = {tuple(frame[name].cat.categories) for frame in data}
    assert len(found) == 1
    assert not data[0][name].cat.ordered
    return list(found.pop())


@pytest.mark.parametrize("suffix", ["sav", "dta"])
def test_levels_are_in_the_order_of_their_codes(suffix: str) -> None:
    data = rx.read_imputations(FILES / f"labels.{suffix}")
    assert data.labels == (1, 2)
    assert data.original is not None
    assert data.original["k"].isna().sum() == data.original["far"].isna().sum() == 2
    # R: levels(as_factor(k)), levels(as_factor(part)) of haven
    assert levels(data, "k") == ["none", "much", "some"]
    assert levels(data, "part") == ["zero", 2.0, "some"]
    # a label that no row has is no level, as after lme4's drop.unused.levels
    assert levels(data, "far") == ["zeta", "beta", "alpha"]
    assert data[1]["k"].tolist()[1] == "much"
    # two codes with one label stay codes
    assert data[0]["twice"].map({1: "none", 2: "much", 3: "some"}).tolist() == data[0]["k"].tolist()
    fits = rx.lmer_list("y ~ k + (1 | school)", data)
    assert fits.fixef().columns.tolist() == ["Intercept", "k[T.much]", "k[T.some]"]
    if suffix == "sav":
        assert levels(data, "word") == ["zz", "yy", "xx"]


def test_files_of_single_sets_have_the_order_too(tmp_path: Path) -> None:
    labels = {"k": {1: "none", 2: "much", 3: "some"}}
    for m in (1, 2):
        frame = pd.DataFrame({"y": [1.0, 2.0, 3.0 + m, 4.0], "k": [3.0, 2.0, 1.0, m]})
        pyreadstat.write_sav(frame, tmp_path / f"out{m}.sav", variable_value_labels=labels)
    data = rx.read_imputations(tmp_path / "out*.sav")
    assert levels(data, "k") == ["none", "much", "some"]
    assert data[1]["k"].tolist() == ["some", "much", "none", "much"]
