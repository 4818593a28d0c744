"""Pooled tests, likelihood ratios and tests of terms of generalised linear mixed models, against R and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reference_models import binary, case, counts, counts_reference, frame, two_counts
from scipy import stats

import remlax as rx
from remlax.errors import DataError

TESTS = case("glmm_mi_binary_k5")["pooled"]["tests"]
METHODS = {
    "D1": ("D1", "wald"),
    "D2_wald": ("D2", "wald"),
    "D2_likelihood": ("D2", "likelihood"),
    "D3": ("D3", "wald"),
    "D4": ("D4", "wald"),
}


@pytest.mark.parametrize("which", range(len(TESTS)))
@pytest.mark.parametrize("name", METHODS)
def test_pooled_tests_are_those_of_r(name: str, which: int) -> None:
    expected, (method, use) = TESTS[which]["own"][name], METHODS[name]
    smaller = binary(TESTS[which]["null_formula"].removeprefix("y ~ ").removesuffix(" + (1 | id)"))
    found = rx.anova(binary(), smaller, method=method, use=use).iloc[0]
    assert found["statistic"] == pytest.approx(expected["F"], rel=1e-8)
    assert found["df1"] == expected["df1"]
    assert found["df2"] == pytest.approx(expected["df2"], rel=1e-5)
    assert found["riv"] == pytest.approx(expected["riv"], rel=1e-6)
    assert found["p_value"] == pytest.approx(expected["p"], rel=1e-6)


@pytest.mark.parametrize("row", case("glmm_mi_binary_k5")["pooled"]["rubin_hessian"]["by_dfcom"])
def test_pooled_coefficients_are_those_of_r(row: dict) -> None:
    expected = case("glmm_mi_binary_k5")["pooled"]["rubin_hessian"]
    dfcom = math.inf if row["dfcom"] == "Inf" else float(row["dfcom"])
    table = binary().pool(dfcom=dfcom).tidy("fixed")
    np.testing.assert_allclose(table["estimate"], list(expected["qbar"].values()), rtol=1e-7)
    np.testing.assert_allclose(table["std_error"], list(expected["se"].values()), rtol=1e-7)
    np.testing.assert_allclose(table["df"], list(row["df"].values()), rtol=1e-5)
    if np.isfinite(dfcom):
        same = binary().pool(dfcom="residual").tidy("fixed")
        np.testing.assert_allclose(same["df"], table["df"], rtol=1e-12)


@pytest.mark.slow
def test_of_the_same_data_twice_d3_and_d4_are_the_likelihood_ratio() -> None:
    one = rx.anova(counts(), counts(fixed="x")).iloc[1]
    large, small = two_counts(same=True), two_counts("x", same=True)
    for method in ("D3", "D4"):
        found = rx.anova(large, small, method=method).iloc[0]
        assert found["statistic"] * found["df1"] == pytest.approx(one["statistic"], rel=1e-7)
        assert found["riv"] == pytest.approx(0.0, abs=1e-7)


def test_likelihood_ratio_of_two_fits() -> None:
    large, small = counts(), counts(fixed="x")
    found = rx.anova(large, small)
    assert found["n_parameters"].tolist() == [4, 6]
    statistic = 2 * (large.loglik - small.loglik)
    assert found["statistic"][1] == pytest.approx(statistic, rel=1e-12)
    assert found["p_value"][1] == pytest.approx(stats.chi2.sf(statistic, 2), rel=1e-10)
    assert found["loglik"][1] == pytest.approx(counts_reference("(1 | site)", "negative-binomial")["logLik"], rel=1e-10)
    assert found["bic"][1] == pytest.approx(counts_reference("(1 | site)", "negative-binomial")["BIC"], rel=1e-10)


@pytest.mark.slow  # a program for two factors
def test_one_variance_more_has_half_the_p_value() -> None:
    found = rx.anova(counts("(1 | site/plot)"), counts())
    expected = [counts_reference(random, "negative-binomial") for random in ("(1 | site)", "(1 | site/plot)")]
    statistic = expected[0]["minus2_loglik"] - expected[1]["minus2_loglik"]
    assert found["statistic"][1] == pytest.approx(statistic, rel=1e-8)
    assert found["p_plain"][1] == pytest.approx(stats.chi2.sf(statistic, 1), rel=1e-6)
    assert found["p_value"][1] == pytest.approx(found["p_plain"][1] / 2, rel=1e-10)


def test_terms_of_one_model_are_tested_with_infinite_df() -> None:
    fit = counts()
    found = rx.anova(fit).set_index("term")
    season = [name for name in fit.fixef().index if name.startswith("season")]
    part, values = fit.vcov().loc[season, season], fit.fixef()[season]
    wald = values @ np.linalg.solve(part, values)
    assert found.loc["season", "statistic"] * 2 == pytest.approx(wald, rel=1e-10)
    assert found.loc["season", "df2"] == math.inf
    assert found.loc["season", "p_value"] == pytest.approx(stats.chi2.sf(wald, 2), rel=1e-10)
    assert rx.anova(binary())["df2"].gt(0).all()


def test_tests_and_contrasts_are_wald_z() -> None:
    fit = counts()
    z = (fit.fixef()["x"] - 0.1) / np.sqrt(fit.vcov().loc["x", "x"])
    found = fit.test("x", [0.1])
    assert found["statistic"][0] == pytest.approx(z**2, rel=1e-12)
    assert found["p_value"][0] == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-10)
    assert fit.contrast("x")["std_error"][0] == pytest.approx(np.sqrt(fit.vcov(use="hessian").loc["x", "x"]))
    rx_error = fit.contrast("x", use="rx")["std_error"][0]
    assert rx_error == pytest.approx(np.sqrt(fit.vcov(use="rx").loc["x", "x"]))


def test_models_of_different_kinds_are_refused() -> None:
    data = frame("glmm_counts_nested")
    poisson, linear = counts(family="poisson", fixed="x"), rx.lmer("count ~ x + (1 | site)", data)
    with pytest.raises(DataError, match=r"n_quad=1\): a test needs the same family, link, n_quad and information$"):
        rx.anova(counts(), poisson)
    with pytest.raises(DataError, match="a linear mixed model"):
        rx.anova(counts(), linear)
    with pytest.raises(DataError, match="is for linear mixed models"):
        rx.anova(counts(), dfcom="satterthwaite")
    with pytest.raises(DataError, match="is for linear mixed models"):
        rx.anova(two_counts(), two_counts("x"), dfcom="kenward-roger")
