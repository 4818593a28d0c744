"""Responses, names, folders and permutations that are unusual or wrong: no silent wrong number, and clear messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from numpy.testing import assert_allclose

import remlax as rx
from many_cases import FORMULA, close, design, draw
from remlax.errors import DataError, FileFormatError, FormulaError
from remlax.many import permutation

BATCH = "~ x + batch + (1 | g)"


def with_batch() -> pd.DataFrame:
    return design().assign(batch=np.random.default_rng(3).choice(list("abc"), 60))


def alone(formula: str, name: str, responses: pd.DataFrame, data: pd.DataFrame) -> rx.LmerFit:
    return rx.lmer(f"{name} {formula}", data.assign(**{name: responses[name]})[responses[name].notna()])


@pytest.mark.parametrize("n_alike", [1, 20])
def test_coefficients_that_the_rows_of_a_response_do_not_determine(n_alike: int) -> None:
    data, responses = with_batch(), draw(1, 3)
    without_a = {f"a{i}": responses["y1"].where(data["batch"] != "a") for i in range(n_alike)}
    without_b = {f"b{i}": responses["y2"].where(data["batch"] != "b") for i in range(n_alike)}
    responses = responses.assign(**without_a, **without_b)
    many = rx.lmer_many(BATCH, data, responses)
    estimates = many.fixef()
    # against the reference category nothing can be estimated; x can, as by the model with a reference of its own
    assert estimates.loc["a0"].isna().tolist() == [True, False, True, True]
    own = alone(BATCH, "a0", responses, data.assign(batch=data["batch"].replace("a", "b")))
    table = many.tidy().query("response == 'a0' and term == 'x'")
    assert_allclose(table[["estimate", "std_error", "df"]], own.tidy().iloc[[1]][["estimate", "std_error", "df"]], 1e-7)
    # of the coefficients of categories there is one less
    assert estimates.loc["b0"].isna().tolist() == [False, False, True, False]
    assert many.glance().loc["a0", "aic"] == pytest.approx(own.aic)
    assert many.test("batch")["p_value"].isna().tolist() == [False] * 3 + [True] * 2 * n_alike
    shares = many.varcorr_shares()
    assert shares.loc["a0"].isna().all()
    assert_allclose(shares.loc[["y0", "b0"]].sum(axis=1), 1)
    n = responses.notna().sum()
    expected = (n - np.where(n == 60, 4, 3)).to_numpy()
    assert_allclose(many.moderate().df_residual, expected)


def test_sizes_of_responses() -> None:
    y = draw(1, 1)["y0"]
    scales = [1e-200, 1e-12, 1.0, 1e12, 1e160]
    responses = pd.DataFrame({f"y{i}": y * scale for i, scale in enumerate(scales)}).assign(far=y + 1e8)
    many = rx.lmer_many(FORMULA, design(), responses)
    beyond = "too large or small for double precision"
    assert list(many.status) == [beyond, "converged", "converged", "converged", beyond, "converged"]
    estimates = many.fixef()
    assert_allclose(estimates.loc[["y1", "y3"]] / np.array([[1e-12], [1e12]]), estimates.loc[["y2", "y2"]], 1e-7)
    assert_allclose(estimates.loc["far"] - [1e8, 0, 0], estimates.loc["y2"], 1e-6)
    with pytest.raises(DataError, match="'y4' cannot be fitted: too large or small"):
        many["y4"]


def test_masked_cells_are_missing() -> None:
    responses = draw(2, 3, missing=0.1)
    masked = np.ma.masked_invalid(responses.to_numpy())
    many = rx.lmer_many(FORMULA, design(), masked, names=list(responses))
    pd.testing.assert_frame_equal(many.fixef(), rx.lmer_many(FORMULA, design(), responses).fixef())
    weights = np.ma.masked_array(np.ones((60, 3)), masked.mask)
    weighted = rx.lmer_many(FORMULA, design(), responses.fillna(99.0), weights=weights)
    assert_allclose(weighted.fixef(), many.fixef(), rtol=1e-6)


def test_what_is_given_wrongly_is_named() -> None:
    data, y = design(), draw(1, 4)
    labelled = data.set_axis([f"s{i}" for i in range(60)])
    for given, message in (
        ({"names": 5}, "names=5 must be a list of texts"),
        ({"responses": iter([y]), "names": 5}, "names=5 must be a list of texts"),
        ({"responses": [y.iloc[:, :2], y.iloc[:, 2:]]}, "is a list of blocks: give an iterator"),
        ({"responses": [y.iloc[:, :1], y.iloc[:, 1:]]}, "is a list of blocks: give an iterator"),
        ({"responses": ["x", "w"]}, r"of columns of the data give data\[names\]"),
        ({"responses": y.astype(object)}, r"make them numbers, as astype\(float\) does"),
        ({"data": labelled, "responses": y.set_axis([f"s{i}" for i in range(1, 61)])}, "1 of 60, the first 's60'"),
        ({"data": data.iloc[5:], "responses": y.iloc[3:58]}, "2 of 55, the first 3"),
        ({"data": None}, "data is a NoneType: give a pandas.DataFrame"),
        ({"data": data.to_numpy()}, "data is a ndarray: give a pandas.DataFrame"),
        ({"data": [data, data.iloc[::-1]]}, "the rows of imputation 2 stand in another order"),
        ({"formula": ""}, "must be a text without a response"),
        ({"formula": None}, "must be a text without a response"),
        ({"weights": scipy.sparse.csr_array(np.ones((60, 4)))}, "give a dense array"),
        ({"weights": np.full((60, 4), 1e-150)}, "holds values from 1e-150 to 1e-150, which double precision"),
        ({"out": 3}, "out=3 must be the path of a folder"),
    ):
        with pytest.raises((DataError, FormulaError), match=message):
            rx.lmer_many(**{"formula": FORMULA, "data": data, "responses": y, **given})
    assert list(rx.lmer_many(FORMULA, labelled, y, names=(name for name in "abcd")).names) == list("abcd")
    fresh = pd.DataFrame(y.to_numpy()[5:], columns=y.columns)
    pd.testing.assert_frame_equal(
        rx.lmer_many(FORMULA, data.iloc[5:], fresh).fixef(), rx.lmer_many(FORMULA, data.iloc[5:], y.iloc[5:]).fixef()
    )
    with pytest.raises(DataError, match=r"^~ 1 \+ \(1 \| g\) has no term"):
        rx.lmer_many("~ 1 + (1 | g)", data, y).anova()
    with (
        pytest.raises(DataError, match="has 60 rows for 120"),
        pytest.warns(rx.errors.DataWarning, match=r"use rx.lmer_many\(formula, rx.read_imputations"),
    ):
        rx.lmer_many(FORMULA, pd.concat([data.assign(**{".imp": k}) for k in (1, 2)]), y)


def test_files_of_a_folder_that_are_of_another_kind(tmp_path: Path) -> None:
    y = draw(1, 4)
    whole = rx.lmer_many(FORMULA, design(), y, out=tmp_path, block_size=2)
    file = tmp_path / "block_000001.rx"
    whole["y0"].save(file)
    with pytest.raises(DataError, match=r"block_000001\.rx' holds fits of other responses"):
        rx.lmer_many(FORMULA, design(), y, out=tmp_path, block_size=2)
    file.write_bytes(b"PK")
    with pytest.raises(FileFormatError, match="delete it, and its responses are fitted again"):
        rx.lmer_many(FORMULA, design(), y, out=tmp_path, block_size=2)
    file.unlink()
    again = rx.lmer_many(FORMULA, design(), y, out=tmp_path, block_size=2)
    pd.testing.assert_frame_equal(again.glance(), whole.glance())


def test_names_of_several_types_in_a_file(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rx.lmer_many(FORMULA, design(), draw(1, 2), names=["a", 1]).to_parquet(tmp_path / "table")
    assert pd.read_parquet(tmp_path / "table")["response"].unique().tolist() == ["a", "1"]


def test_permutations_of_what_has_no_statistic_have_no_p_value() -> None:
    data, responses = with_batch(), draw(1, 3)
    responses["y1"] = responses["y1"].where(data["batch"] != "a")
    many = rx.lmer_many(BATCH, data, responses)
    table = many.permutation_test("batch[T.b]", "batch", n_permutations=9, seed=1)
    assert table["p_value"].isna().tolist() == table["p_adjusted"].isna().tolist() == [False, True, False]


def test_permutations_that_make_no_sense() -> None:
    data = design().assign(kind=np.where(np.arange(60) < 30, "p", "c"))
    responses = draw(1, 2)
    many = rx.lmer_many("~ kind + f + (1 | g)", data, responses)
    with pytest.raises(DataError, match=r"'f\[T.v\]' is not about 'kind'"):
        many.permutation_test("f[T.v]", "kind")
    with pytest.raises(DataError, match="for a fixed part of one coefficient"):
        many.permutation_test("Intercept", scheme="signs")
    few = data[data["g"].isin(["g00", "g01", "g06", "g07"])]
    many = rx.lmer_many("~ kind + (1 | g)", few, responses.loc[few.index])
    table = many.permutation_test("kind[T.p]", "kind", n_permutations=9, seed=1)
    assert table.notes[0] == "only 6 permutations differ: p-values are about 0.17 or larger"


def test_permuted_designs_keep_their_coefficients() -> None:
    """A permutation in which the column equals another one is drawn again."""
    data = design().assign(one=(np.arange(60) == 3) * 1.0, other=(np.arange(60) % 15 == 0) * 1.0)
    data.loc[data["g"] != "g00", "other"] = 0.0
    many = rx.lmer_many("~ one + other + (1 | g)", data, draw(1, 2))
    exchange = permutation.read_exchange(many.design[0].rows, "labels", "one", None)
    rng = np.random.default_rng(1)
    designs = [permutation._permuted_design(many.design[0], exchange, rng) for _ in range(20)]
    assert all(found.model.fixed_names == ["Intercept", "one", "other"] for found in designs)
    places = {int(np.argmax(found.rows.x.of(0)[:, 1])) for found in designs}
    assert places == {1, 2, 3, 4}  # row 0 has the other one


def test_names_of_contrasts_come_second_as_those_of_a_fit() -> None:
    many = rx.lmer_many(FORMULA, design(), draw(1, 2))
    fit, table = many["y0"], many.contrast("x", ["slope"], q0=0.1)
    close(fit, many, "y0")
    assert table["term"].tolist() == ["slope"] * 2 == many.moderate().contrast("x", ["slope"])["term"].tolist()
    assert fit.contrast("x", ["slope"])["term"].tolist() == ["slope"]
