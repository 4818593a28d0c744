"""What a formula may say, and what the data must be: each mistake has a sentence."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mmrm_cases import quietly, trial

import remlax as rx
from remlax.errors import DataError, DataWarning, DesignError, DroppedRowsWarning, FormulaError
from remlax.fitting.mmrm.formula import parse_mmrm

FORMULA = "y ~ x + us(visit | id)"


@pytest.mark.parametrize(
    ("text", "fixed", "columns", "written"),
    [
        (FORMULA, "1 + x", ("visit", "id", None), FORMULA),
        ("y ~ us(visit | id)", "1", ("visit", "id", None), "y ~ 1 + us(visit | id)"),
        ("y ~ us(visit | id) + 0 + x:z", "0 + x:z", ("visit", "id", None), "y ~ 0 + x:z + us(visit | id)"),
        ("log(y) ~ x + ar1h(`a b` | arm/id) - 1", "x - 1", ("a b", "id", "arm"), None),
        ("y ~ cs(x, df=4) + cs(factor(visit) | (arm / id))", "1 + cs(x, df=4)", ("visit", "id", "arm"), None),
    ],
)
def test_formulas(text: str, fixed: str, columns: tuple[Any, ...], written: str | None) -> None:
    found = parse_mmrm(text)
    term = found.covariance
    assert (term.visit, term.patient, term.group) == columns
    assert found.fixed.replace(" ", "") == fixed.replace(" ", "")
    assert found.random == ()
    assert {name for name in columns if name} <= set(found.variables)
    assert written is None or found.text == written
    assert parse_mmrm(found.text).text == found.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y ~ x", "no covariance term; add one such as us"),
        ("y ~ x + us(visit | id) + cs(visit | id)", "several covariance terms, us.visit . id. and cs.visit . id."),
        ("y ~ x + un(visit | id)", "'un' is no covariance structure; did you mean 'us'"),
        ("y ~ x + adh(visit | id)", "did you mean 'ante1'"),
        ("y ~ x + spatial(visit | id)", "'spatial' is no covariance structure; they are us, cs"),
        ("y ~ x + us(visit)", "us.visit. does not say which visits of which patients"),
        ("y ~ x + us(visit || id)", "does not say which visits"),
        ("y ~ x + us(visit | visit)", "must name different columns"),
        ("y ~ x + us(a:b | id)", "must name different columns"),
        ("y ~ x * us(visit | id)", "is to be added to the fixed part"),
        ("y ~ x - us(visit | id)", "is to be added to the fixed part"),
        ("y ~ x + us(visit | id):x", "is to be added to the fixed part"),
        ("y ~ x + (1 | g) + us(visit | id)", "the random term .1 . g. has no place beside a covariance term"),
        ("us(visit | id)", "to be added|no '~'"),
    ],
)
def test_mistakes_in_formulas(text: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        parse_mmrm(text)


def test_a_formula_is_text() -> None:
    with pytest.raises(FormulaError, match="a formula is text"):
        rx.mmrm(3, trial())  # type: ignore[arg-type]


def test_a_visit_twice() -> None:
    data = trial()
    twice = pd.concat([data, data.iloc[[4]]], ignore_index=True)
    with pytest.raises(DataError, match=r"patient 'p\d\d' has visit 'v\d' twice: a row is one visit"):
        rx.mmrm(FORMULA, twice)
    with pytest.raises(DataError, match="twice in imputation 2"):
        rx.mmrm_list(FORMULA, [data, twice])


def test_a_patient_in_two_arms() -> None:
    data = trial(missing=0.0).copy()
    data.loc[0, "arm"] = "b"
    with pytest.raises(DataError, match="patient 'p00' is in several groups of 'arm'"):
        rx.mmrm("y ~ x + us(visit | arm / id)", data)


def test_one_visit_and_few_patients() -> None:
    data = trial()
    with pytest.raises(DesignError, match="the visits 'visit' are all 'v1'"):
        rx.mmrm(FORMULA, data[data["visit"] == "v1"])
    few = data[data["id"].isin(["p00", "p01"])]
    with pytest.raises(DesignError, match="2 patients are too few for an unstructured covariance matrix of 3 visits"):
        rx.mmrm("y ~ 1 + us(visit | id)", few)


def test_columns_that_are_not_there() -> None:
    with pytest.raises(FormulaError, match="'week' in the formula is not a column"):
        rx.mmrm("y ~ x + us(week | id)", trial())


def test_rows_with_missing_cells() -> None:
    data = trial()
    holes = data.assign(y=data["y"].where(data.index % 7 != 0))
    with pytest.warns(DroppedRowsWarning, match="rows have missing cells"):
        one = rx.mmrm(FORMULA, holes)
    with pytest.warns(DroppedRowsWarning, match="rows of 1 data sets have no response and are left out, as visits"):
        fits = rx.mmrm_list(FORMULA, [data, holes])
    np.testing.assert_allclose(fits[1].criterion(), one.criterion(), rtol=1e-10)
    with pytest.raises(DataError, match="no row of data set 2 has a response"):
        rx.mmrm_list(FORMULA, [data, data.assign(y=np.nan)])
    with pytest.raises(DataError, match="missing"):
        rx.mmrm_list(FORMULA, [data, data.assign(x=data["x"].where(data.index % 7 != 0))])


def test_levels_that_nobody_has() -> None:
    data = trial()
    levels = data.assign(visit=pd.Categorical(data["visit"], ["v1", "v2", "v9", "v3"], ordered=True))
    with pytest.warns(DataWarning, match="no patient has visit v9, which is left out; visits before and after"):
        fit = rx.mmrm("y ~ x + ar1(visit | id)", levels)
    assert fit.visits == ["v1", "v2", "v3"]


def test_the_order_of_categories_counts() -> None:
    data = trial()
    turned = data.assign(visit=pd.Categorical(data["visit"], ["v3", "v1", "v2"]))
    fit, other = rx.mmrm("y ~ x + ar1(visit | id)", data), rx.mmrm("y ~ x + ar1(visit | id)", turned)
    assert other.visits == ["v3", "v1", "v2"]
    assert abs(fit.criterion() - other.criterion()) > 1e-3


def test_visits_that_are_numbers() -> None:
    data = trial()
    weeks = data.assign(visit=data["visit"].map({"v1": 0, "v2": 4, "v3": 8}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = rx.mmrm("y ~ x + ar1(visit | id)", weeks)
    assert same.visits == ["0", "4", "8"]
    uneven = data.assign(visit=data["visit"].map({"v1": 0, "v2": 4, "v3": 24}))
    with pytest.warns(DataWarning, match="are not equally spaced, and 'ar1' takes them for neighbours"):
        fit = rx.mmrm("y ~ x + ar1(visit | id)", uneven)
    np.testing.assert_allclose(fit.criterion(), same.criterion(), rtol=1e-12)


def test_texts_that_sort_otherwise_than_their_numbers() -> None:
    data = trial()
    with pytest.warns(DataWarning, match="stand in the order w0, w12, w4, as texts sort"):
        rx.mmrm("y ~ x + ar1(visit | id)", data.assign(visit=data["visit"].map({"v1": "w0", "v2": "w4", "v3": "w12"})))


def test_visits_that_nobody_has_both_of() -> None:
    data = trial(missing=0.0)
    apart = data[np.where(data["id"] < "p15", data["visit"] != "v3", data["visit"] != "v1")]
    with pytest.warns(rx.SingularFitWarning, match="no patient has both visits v1 and v3, whose covariance is not"):
        fit = rx.mmrm(FORMULA, apart)
    assert fit.converged
    assert fit.is_singular
    assert not quietly("y ~ x + ar1(visit | id)", apart).is_singular


def test_a_visit_that_repeats_another() -> None:
    data = trial(missing=0.0)
    first = data.groupby("id")["y"].transform("first")
    with pytest.warns(rx.RemlaxWarning, match="structures with fewer parameters are, in this order, toeph, ar1h"):
        fit = rx.mmrm(FORMULA, data.assign(y=np.where(data["visit"] == "v2", first, data["y"])))
    assert not fit.converged or fit.is_singular
    assert np.isfinite(fit.fixef()).all()


def test_a_visit_that_the_fixed_part_explains() -> None:
    data = trial()
    own = data.assign(who=data["id"].where(data["visit"] == "v2", "all"))
    with pytest.warns(rx.RemlaxWarning) as caught:
        fit = rx.mmrm("y ~ 0 + visit:who + us(visit | id)", own)
    assert any("the data do not determine all covariance parameters" in str(one.message) for one in caught)
    assert fit.is_singular


@pytest.mark.parametrize(
    ("options", "message"),
    [({"optimizer": rx.LBFGS()}, r"fitted by rx\.Newton\(\) alone"), ({"reml": "yes"}, "must be True")],
)
def test_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        rx.mmrm(FORMULA, trial(), **options)
