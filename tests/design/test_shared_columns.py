"""Model matrices of several data sets: columns that do not differ are evaluated and kept once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from remlax import ImputedData
from remlax.design.build import ModelRows, read_rows
from remlax.design.formula import parse_formula
from remlax.design.groups import grouping_factor
from remlax.design.model_matrix import model_matrix

N = 12


def frames(k: int = 3) -> list[pd.DataFrame]:
    """x, f differ; u, v do not."""
    rng = np.random.default_rng(1)
    fixed = {"u": np.arange(N) / 3, "v": list("abc" * 4), "g": list("pqrs" * 3), "y": rng.normal(size=N)}
    return [
        pd.DataFrame({**fixed, "x": rng.normal(size=N), "f": rng.permutation(list("mn" * (N // 2)))}) for _ in range(k)
    ]


def read(rhs: str, given: list[pd.DataFrame]) -> ModelRows:
    return read_rows(parse_formula(f"y ~ {rhs}"), ImputedData.from_frames(given))


@pytest.mark.parametrize("fixed", ["u + x + v", "u*x + f:v", "v*f + I(u^2)", "u + v", "x + f", "0 + v + x:v", "1"])
def test_every_data_set_has_the_matrix_of_its_own_frame(fixed):
    given = frames()
    rows = read(fixed + " + (1 + u | g)", given)
    for k, frame in enumerate(given):
        alone = model_matrix(fixed, frame)
        assert alone.names == rows.fixed.names
        np.testing.assert_array_equal(rows.x.of(k), alone.values)
        np.testing.assert_array_equal(rows.terms[0].rows.of(k), model_matrix("1 + u", frame).values)
    whole = rows.x.values
    assert whole.shape == (N if not rows.x.differs else 3 * N, len(rows.fixed.names))
    for k in range(3 if rows.x.differs else 0):
        np.testing.assert_array_equal(whole[N * k : N * (k + 1)], rows.x.of(k))


def test_columns_that_do_not_differ_are_kept_once():
    rows = read("u + x + v + (1 + x | g)", frames())
    assert rows.x.shared.shape == (N, 4)
    assert [len(column) for column in rows.x.own] == [3 * N]
    # the random term's columns are those of the fixed part
    assert rows.terms[0].rows.own is rows.x.own
    assert rows.terms[0].rows.shared is rows.x.shared


def test_a_transform_of_a_column_that_does_not_differ_is_that_of_one_data_set():
    given = frames()
    rows = read("poly(u, 2) + scale(u) + scale(x) + (1 | g)", given)
    alone = model_matrix("poly(u, 2) + scale(u)", given[1]).values
    np.testing.assert_allclose(rows.x.of(1)[:, :4], alone, atol=1e-14)
    stacked = np.concatenate([frame["x"] for frame in given])
    scaled = (given[1]["x"] - stacked.mean()) / stacked.std(ddof=1)
    np.testing.assert_allclose(rows.x.of(1)[:, 4], scaled, atol=1e-14)


def test_data_sets_of_different_lengths_share_nothing():
    given = [frame.iloc[: N - k] for k, frame in enumerate(frames())]
    rows = read("u*x + v + (1 | g)", given)
    assert rows.x.shared.size <= N * len(rows.fixed.names)
    for k, frame in enumerate(given):
        np.testing.assert_array_equal(rows.x.of(k), model_matrix("u*x + v", frame).values)


def test_a_data_column_called_as_a_column_of_the_model_is_not_taken_for_it():
    given = [frame.assign(Intercept=frame["u"], **{"o.L": frame["x"]}) for frame in frames()]
    given = [frame.assign(o=pd.Categorical(frame["f"], ["n", "m"], ordered=True)) for frame in given]
    rows = read("0 + Intercept + u + (1 | g) + (0 + Intercept | v)", given)
    assert rows.fixed.names == ("`Intercept`", "u")
    assert [term.names for term in rows.terms] == [("Intercept",), ("`Intercept`",)]
    np.testing.assert_array_equal(rows.terms[0].rows.of(1)[:, 0], 1.0)
    np.testing.assert_array_equal(rows.terms[1].rows.of(1)[:, 0], given[1]["u"])
    assert read("Intercept + (1 | g)", given).fixed.names == ("Intercept", "`Intercept`")
    rows = read("1 + o.L + (1 + o | g)", given)
    np.testing.assert_array_equal(rows.terms[0].rows.of(1), model_matrix("1 + o", given[1]).values)
    assert np.unique(rows.terms[0].rows.of(1)[:, 1]).size == 2


def test_constants_of_an_offset_are_no_columns():
    rng = np.random.default_rng(2)
    given = [pd.DataFrame({"y": rng.normal(size=6), "x": rng.normal(size=6), "g": list("aabbcc")}) for _ in range(2)]
    offset = read_rows(parse_formula("y ~ 1 + offset(2*pi*x) + (1 | g)"), ImputedData.from_frames(given)).offset
    assert offset is not None
    for k, frame in enumerate(given):
        np.testing.assert_array_equal(offset.of(k), 2 * np.pi * frame["x"])


@pytest.mark.parametrize("levels", [["b", "a", "B", "é", "10", "9"], ["a"], ["", " ", "\U0001f600", "\uffff"]])
def test_text_has_the_levels_and_codes_that_pandas_finds_in_objects(levels):
    cells = list(np.random.default_rng(2).permutation(np.array(levels * 3, dtype=object)))
    factor = grouping_factor(pd.DataFrame({"g": pd.Series(cells, dtype="str")}), ("g",), "g")
    codes, expected = pd.factorize(np.array(cells, dtype=object), sort=True)
    np.testing.assert_array_equal(factor.codes, codes)
    assert factor.levels.tolist() == list(expected)
