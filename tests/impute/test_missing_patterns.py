"""Patterns against mice::md.pattern; blanked cells against the binomial law."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from remlax.errors import ImputationError
from remlax.impute import add_missing, fraction_missing, missing_flags, pattern_table


def test_pattern_table_is_md_pattern(hsb: pd.DataFrame, reference: Path) -> None:
    expected = pd.read_csv(reference / "impute" / "hsb_md_pattern.csv")
    ours = pattern_table(hsb)
    key = sorted(hsb.columns)
    pd.testing.assert_frame_equal(
        ours.sort_values(key)[[*key, "n_rows", "n_missing"]].reset_index(drop=True),
        expected.sort_values(key)[[*key, "n_rows", "n_missing"]].reset_index(drop=True),
        check_dtype=False,
    )
    # mice's order: rows by missing count, columns by missing cells
    assert ours["n_missing"].is_monotonic_increasing
    margins = (1 - ours[list(expected.columns[:-2])]).mul(ours["n_rows"], axis=0).sum()
    assert margins[list(ours.columns[:-2])].is_monotonic_increasing


def test_fraction_missing_by_counting() -> None:
    frame = pd.DataFrame({"a": [1.0, np.nan, np.nan, 4.0], "b": ["x", None, "y", "z"], "c": range(4)})
    assert fraction_missing(frame).to_dict() == {"a": 0.5, "b": 0.25, "c": 0.0}
    assert missing_flags(frame, "b")["b"].tolist() == [False, True, False, False]


def test_unknown_column_is_named() -> None:
    with pytest.raises(ImputationError, match="'zzz'"):
        pattern_table(pd.DataFrame({"a": [1.0]}), ["zzz"])


def test_add_missing_rate_and_rest_untouched() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=40_000), "k": rng.integers(0, 9, 40_000), "s": "a", "b": True})
    out = add_missing(frame, {"x": 0.05, "k": 0.3, "b": 1.0}, seed=3)
    for name, prob in (("x", 0.05), ("k", 0.3)):
        rate = out[name].isna().mean()
        assert abs(rate - prob) < 4 * np.sqrt(prob * (1 - prob) / len(frame))
        seen = out[name].notna()
        assert (out.loc[seen, name] == frame.loc[seen, name]).all()
    assert out["b"].isna().all()
    assert out["b"].dtype == "boolean"
    assert out["s"].equals(frame["s"])
    assert frame.notna().all().all()
    both = (out["x"].isna() & out["k"].isna()).mean()  # independent columns
    assert abs(both - 0.015) < 4 * np.sqrt(0.015 / len(frame))


def test_add_missing_columns_do_not_move_each_other() -> None:
    frame = pd.DataFrame({"x": np.arange(500.0), "y": np.arange(500.0)})
    alone = add_missing(frame, 0.2, ["y"], seed=9)["y"].isna()
    assert alone.equals(add_missing(frame, 0.2, seed=9)["y"].isna())
    assert not alone.equals(add_missing(frame, 0.2, seed=10)["y"].isna())


def test_add_missing_refuses() -> None:
    frame = pd.DataFrame({"x": [1.0], "y": [2.0]})
    with pytest.raises(ImputationError, match=r"'x' is 1\.5"):
        add_missing(frame, 1.5, ["x"])
    with pytest.raises(ImputationError, match="'q'"):
        add_missing(frame, 0.1, ["q"])
    with pytest.raises(ImputationError, match="'y'"):
        add_missing(frame, {"x": 0.1}, ["x", "y"])
    with pytest.raises(ImputationError, match="prob='a' must be a finite number"):
        add_missing(frame, {"x": "a"})
    with pytest.raises(ImputationError, match="prob=None must be a finite number"):
        add_missing(frame, None)
    with pytest.raises(ImputationError, match="seed=-1 must be a whole number"):
        add_missing(frame, 0.1, seed=-1)
    with pytest.raises(ImputationError, match="the data are a list"):
        add_missing([1.0], 0.1)
