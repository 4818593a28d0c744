"""Tests of the terms of one model against lmerTest, and that they do not depend on how categories are coded."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from fitted_cases import fit_case, fits_case, inference
from reference_cases import load_case

MODELS = inference("anova")["models"]
UNBALANCED, NO_INTERCEPT = 5, 6


@cache
def fit_of(i: int) -> rx.LmerFit:
    model = MODELS[i]
    case, frames = load_case(model["case"])
    if model["formula"] == case["formula"] and not model["drop"] and case["reml"]:
        return fit_case(model["case"])[1]
    frame = frames[0].iloc[model["drop"] :]
    return rx.lmer(model["formula"], frame)


def check(found: pd.DataFrame, model: dict[str, Any], rule: str, rtol: float) -> None:
    expected = model[rule]
    assert [":".join(sorted(term.split(":"))) for term in found["term"]] == [
        ":".join(sorted(term.split(":"))) for term in model["terms"]
    ]
    assert found["df1"].tolist() == expected["df1"]
    assert_allclose(found["statistic"], expected["F"], rtol=rtol)
    assert_allclose(found["df2"], expected["df2"], rtol=1e-3)


@pytest.mark.parametrize("i", [0, 1, 3, UNBALANCED, *(pytest.param(i, marks=pytest.mark.slow) for i in (2, 4, 7))])
def test_terms_as_lmertest(i: int) -> None:
    check(rx.anova(fit_of(i)), MODELS[i], "satterthwaite", 1e-5)


def test_terms_by_kenward_roger_as_pbkrtest() -> None:
    assert MODELS[UNBALANCED]["case"] == "oats_splitplot"
    found = rx.anova(fit_of(UNBALANCED), dfcom="kenward-roger")
    check(found, MODELS[UNBALANCED], "kenward_roger", 1e-4)


@pytest.mark.slow
def test_without_an_intercept_the_means_of_the_first_factor_are_tested() -> None:
    # lmerTest takes them at the first category of the other factor, here they are averaged over it, as in emmeans
    fit = rx.lmer("Y ~ 0 + N + V + (1 | B/V)", load_case("oats_splitplot")[1][0].iloc[7:])
    table = rx.anova(fit).set_index("term")
    assert_allclose(table.loc["N", "statistic"], fit.test(fit.emmeans("N").matrix)["statistic"][0], rtol=1e-8)
    model = MODELS[NO_INTERCEPT]
    assert_allclose(fit.test("N")["statistic"][0], model["satterthwaite"]["F"][0], rtol=1e-5)
    assert_allclose(table.loc["V", "statistic"], model["satterthwaite"]["F"][1], rtol=1e-5)


def test_pooled_terms_are_those_of_any_coding() -> None:
    # coded by deviations from the mean, the coefficients of a term are what is tested
    case, fits = fits_case("studentratings_k5_ml")
    other = fits_case("studentratings_k5_ml", case["formula"].replace("FedState", "C(FedState, contr.sum)"))[1].pool()
    table = rx.anova(fits)
    assert table["term"].tolist() == ["FedState", "CognAbility", "ReadDis", "FedState:CognAbility"]
    columns = ["statistic", "df1", "df2", "p_value", "riv", "dfcom"]
    for _, row in table.iterrows():
        want = other.test(row["term"].replace("FedState", "C(FedState, contr.sum)")).iloc[0]
        assert_allclose(row[columns].astype(float), want[columns].astype(float), rtol=1e-6)
    pd.testing.assert_frame_equal(table, rx.anova(fits.pool()))
    assert table.attrs["n_imputations"] == 5
    d2 = rx.anova(fits, method="D2").iloc[2]
    assert d2["method"] == "D2"
    assert_allclose(d2["statistic"], fits.pool().test("ReadDis", method="D2")["statistic"][0])
    # with one column per term the F statistic of one data set is the square of its t
    single = rx.anova(fits[0])
    assert single["statistic"][2] == pytest.approx(fits[0].tidy("fixed").set_index("term")["statistic"]["ReadDis"] ** 2)


def test_name_of_a_factor_stands_for_its_coefficients() -> None:
    fit = fit_of(5)
    names = [name for name in fit.fixef().index if name.startswith("N[") and ":" not in name]
    assert len(names) == 3
    pd.testing.assert_frame_equal(fit.test("N"), fit.test(names))
    pd.testing.assert_frame_equal(fit.test("N = 0"), fit.test(names))
    pd.testing.assert_frame_equal(fit.test(["N:V", "N"]), fit.test("N:V, N"))
    assert fit.test("N:V")["df1"][0] == 6
    assert_allclose(fit.test("N = -1")["statistic"], fit.test(names, q0=-1.0)["statistic"])
    np.testing.assert_array_equal(fit.contrast("N")["estimate"], fit.fixef()[names])


def test_every_coefficient_has_a_column_of_correlations() -> None:
    fit = fit_of(1)
    text = str(fit.summary()).split("Correlation of fixed effects:\n")[1]
    heads = text.splitlines()[0].split()
    assert heads in (list(fit.fixef().index[:-1]), [f"({j})" for j in range(1, 6)])
    cov = fit.vcov()
    want = cov.loc["recipe[T.B]", "recipe[T.C]"] / np.sqrt(
        cov.loc["recipe[T.B]", "recipe[T.B]"] * cov.loc["recipe[T.C]", "recipe[T.C]"]
    )
    row = next(line for line in text.splitlines()[1:] if "recipe[T.C]" in line and ":" not in line).split()
    position = list(fit.fixef().index).index("recipe[T.B]")
    if heads[0] == "(1)":
        assert row.pop(0) == f"({list(fit.fixef().index).index('recipe[T.C]') + 1})"
    assert float(row[1 + position]) == pytest.approx(want, abs=5e-4)
