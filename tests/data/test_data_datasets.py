"""The data sets of the package against the reference files, cell by cell."""

from __future__ import annotations

import doctest
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import remlax as rx
from reference_cases import REFERENCE, load_case, load_original, read_reference_csv
from remlax.data import imputed
from remlax.data.datasets import tables

IMPUTED = ["minority", "female", "ses", "size"]


def as_text(data):
    """Factors of the reference reader as strings: the package stores labels, not levels."""
    return data.apply(lambda c: c.astype(str) if isinstance(c.dtype, pd.CategoricalDtype) else c)


def test_hsb_is_the_complete_table_exported_from_r():
    columns = load_case("hsb_vignette")[0]["data"]["columns"]
    expected = read_reference_csv(REFERENCE / "datasets" / "hsb.csv.gz", columns)
    assert_frame_equal(rx.datasets.hsb(), expected, check_exact=True)
    assert expected.shape == (7185, 8)
    assert expected["schid"].nunique() == 160


def test_hsb_incomplete_is_the_original_of_the_vignette():
    assert_frame_equal(rx.datasets.hsb_incomplete(), load_original("hsb_vignette"), check_exact=True)


def test_observed_cells_of_hsb_incomplete_are_those_of_hsb():
    incomplete = rx.datasets.hsb_incomplete()
    assert_frame_equal(incomplete.fillna(rx.datasets.hsb()), rx.datasets.hsb(), check_exact=True, check_dtype=False)
    assert incomplete.isna().sum().loc[IMPUTED].tolist() == [353, 370, 361, 338]


def test_hsb_imputed_are_the_imputations_of_the_vignette():
    imp = rx.datasets.hsb_imputed()
    _, frames = load_case("hsb_vignette")
    assert imp.K == len(frames) == 5
    for ours, theirs in zip(imp, frames, strict=True):
        # Imputed columns are floating-point here also where a single imputation holds whole numbers only.
        assert_frame_equal(ours, theirs, check_exact=True, check_dtype=False)
    assert_frame_equal(imp.original, load_original("hsb_vignette"), check_exact=True)
    assert imp.varying == set(IMPUTED)
    imp.check_complete(imp.columns)


@pytest.mark.parametrize(
    ("load", "case", "rows"),
    [(rx.datasets.sleepstudy, "sleepstudy_corr", 180), (rx.datasets.dyestuff, "dyestuff", 30)],
)
def test_lme4_data_sets(load, case, rows):
    (expected,) = load_case(case)[1]
    assert_frame_equal(load(), as_text(expected), check_exact=True)
    assert len(expected) == rows


def test_labels_are_text_and_counts_are_whole_numbers():
    columns = ["minority", "female", "ses", "mathach", "size", "schtype", "meanses"]
    assert "".join(rx.datasets.hsb()[column].dtype.kind for column in columns) == "iiffiif"
    assert all(isinstance(school, str) for school in rx.datasets.hsb()["schid"])
    assert pd.api.types.is_string_dtype(rx.datasets.sleepstudy()["Subject"].dtype)


def test_loading_is_quick():
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        rx.datasets.hsb_imputed()
        seconds.append(time.perf_counter() - start)
    # About 0.02 s on an idle machine; five parsed frames of 57,480 cells each would take several times that.
    assert min(seconds) < 0.1


def test_each_call_returns_a_fresh_frame():
    first = rx.datasets.sleepstudy()
    first["Reaction"] = 0.0
    assert rx.datasets.sleepstudy()["Reaction"].min() > 100.0
    one = rx.datasets.hsb_imputed()[0]
    one["ses"] = 0.0
    assert np.ptp(rx.datasets.hsb_imputed()[0]["ses"]) > 1.0


def test_tables_stay_small_and_are_all_described():
    folder = Path(tables.__file__).parent
    stored = {path.name: path.stat().st_size for path in folder.glob("*") if path.suffix == ".gz"}
    assert set(stored) == {"hsb.csv.gz", "hsb_imputed_cells.csv.gz", "sleepstudy.csv.gz", "dyestuff.csv.gz"}
    assert sum(stored.values()) < 200_000
    for name in rx.datasets.__all__:
        doc = getattr(rx.datasets, name).__doc__
        assert "rows" in doc
        assert ">>> " in doc


@pytest.mark.parametrize("module", [tables, imputed], ids=["datasets", "imputed"])
def test_docstring_examples(module):
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0
