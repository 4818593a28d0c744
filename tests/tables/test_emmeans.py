"""Estimated marginal means and their differences against R's emmeans."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from fitted_cases import fit_case, fits_case, inference
from reference_cases import load_case
from remlax.errors import DataError
from remlax.pooling import pool_scalars

# lmerTest's df under emmeans carry the error of its numerical derivatives
DF = 2e-4
SINGLE = {
    "cake_recipe": ("cake_numeric", "recipe", {}),
    "cake_interaction": ("cake_interaction", "recipe", {}),
    "cake_at": ("cake_numeric", "recipe", {"at": {"temp": 185}}),
    "oats_N": ("oats_splitplot", "N", {}),
    "oats_N_by_V": ("oats_splitplot", "N", {"by": "V"}),
}


@pytest.mark.parametrize("name", SINGLE)
def test_means_and_differences_as_emmeans(name):
    case, factor, options = SINGLE[name]
    expected = inference("emmeans")[name]
    found = fit_case(case)[1].emmeans(factor, **options)
    assert_allclose(found.means["estimate"], expected["means"]["emmean"], rtol=1e-8)
    assert_allclose(found.means["std_error"], expected["means"]["SE"], rtol=1e-6)
    assert_allclose(found.means["df"], expected["means"]["df"], rtol=DF)
    for adjust, p in expected["pairs"]["p"].items():
        pairs = found.differences(adjust)
        assert pairs["contrast"].tolist() == expected["pairs"]["contrast"]
        assert_allclose(pairs["estimate"], expected["pairs"]["estimate"], rtol=1e-6)
        assert_allclose(pairs["std_error"], expected["pairs"]["SE"], rtol=1e-6)
        assert_allclose(pairs["df"], expected["pairs"]["df"], rtol=DF)
        # R's ptukey is good to about 1e-8 in the tail
        assert_allclose(pairs["p_adjusted"], p, rtol=1e-3, atol=1e-8)


def test_every_combination_of_two_factors():
    expected = inference("emmeans")["oats_N_by_V"]
    means = fit_case("oats_splitplot")[1].emmeans(["V", "N"]).means
    assert means.columns[:2].tolist() == ["V", "N"]
    assert_allclose(means["estimate"], expected["means"]["emmean"], rtol=1e-8)


def test_pooled_over_one_grid():
    expected = inference("emmeans")["studentratings"]
    _, fits = fits_case("studentratings_k5_ml", expected["formula"])
    # the case is one of maximum likelihood, the reference of REML
    fits = rx.lmer_list(expected["formula"], load_case("studentratings_k5_ml")[1])
    found = fits.pool().emmeans("FedState")
    each = expected["sets"]
    for table, part, estimate in ((found.means, "means", "emmean"), (found.differences(), "pairs", "estimate")):
        values = np.array([one[part][estimate] for one in each])
        errors = np.array([one[part]["SE"] for one in each])
        dfs = np.array([one[part]["df"] for one in each])
        pooled = pool_scalars(values, errors**2, dfcom=dfs.mean(axis=0))
        assert_allclose(table["estimate"], pooled.estimate, rtol=1e-7)
        assert_allclose(table["std_error"], pooled.std_error, rtol=1e-5)
        assert_allclose(table["df"], pooled.df, rtol=DF)
        assert_allclose(table["fmi"], pooled.fmi, rtol=1e-3)
    # an equal test, written as a hypothesis about the coefficients
    row = fits.pool().test(found.matrix.iloc[:1].to_numpy() - found.matrix.iloc[1:].to_numpy()).iloc[0]
    assert_allclose(found.differences("none")["p_adjusted"][0], found.differences("none")["p_value"][0])
    assert_allclose(row["statistic"], found.differences()["statistic"][0] ** 2, rtol=1e-6)


def test_factors_with_names_of_columns():
    names = {"minority": "t", "female": "df"}
    frames = [frame.rename(columns=names) for frame in load_case("hsb_vignette")[1]]
    found = rx.lmer_list("mathach ~ t + df + ses + meanses + (1 + ses | schid)", frames).pool().emmeans("t", by="df")
    expected = fits_case("hsb_vignette")[1].pool().emmeans("minority", by="female")
    assert found.means[["t", "df"]].to_numpy().tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert_allclose(found.means[["estimate", "df_", "t_"]], expected.means[["estimate", "df", "t"]])
    assert repr(found).splitlines()[2].split()[:5] == ["t", "df", "estimate", "std_error", "df_"]
    assert found.differences()["df"].tolist() == [0, 1]
    assert_allclose(found.differences()["df_"], expected.differences()["df"])


def test_factors_written_in_the_formula_and_transformed_covariates():
    frame = load_case("sleepstudy_corr")[1][0]
    frame = frame.assign(late=frame["Days"] > 4, x=np.exp(np.random.default_rng(1).normal(size=180)))
    fit = rx.lmer("Reaction ~ factor(Days) + late:log(x) + (1 | Subject)", frame.query("Days in [0, 3, 5, 9]"))
    found = fit.emmeans("Days", at={"late": True, "x": [1.0, np.e]})
    assert found.means["Days"].tolist() == [0, 3, 5, 9]
    beta = fit.fixef()
    assert_allclose(found.means["estimate"][1] - found.means["estimate"][0], beta.iloc[1])
    assert_allclose(found.means["estimate"][0], beta.iloc[0] + 0.5 * beta["late[True]:log(x)"])
    assert "mean over x" in str(found)


def test_means_follow_the_units_of_the_response():
    (frame,) = load_case("cake_numeric")[1]
    a = fit_case("cake_numeric")[1].emmeans("recipe")
    b = rx.lmer(fit_case("cake_numeric")[0]["formula"], frame.assign(angle=100 * frame["angle"])).emmeans("recipe")
    assert_allclose(b.means["std_error"], 100 * a.means["std_error"], rtol=1e-6)
    assert_allclose(b.differences()["p_adjusted"], a.differences()["p_adjusted"], rtol=1e-5)


def test_other_covariances():
    _, fit = fit_case("oats_splitplot")
    found = fit.emmeans("N", ddf="kenward-roger", conf_level=0.9).differences("holm")
    row = fit.contrast(fit.emmeans("N").matrix.diff().iloc[[1]] * -1, ddf="kenward-roger").iloc[0]
    assert_allclose(found["df"][0], row["df"])
    assert_allclose(found["estimate"][0], row["estimate"])
    robust = fit.emmeans("N", vcov="CR2").means
    assert not np.allclose(robust["std_error"], fit.emmeans("N").means["std_error"])


def test_what_cannot_be_asked():
    _, fit = fit_case("oats_splitplot")
    with pytest.raises(DataError, match="'B' is no variable of the fixed part; there are "):
        fit.emmeans("B")
    with pytest.raises(DataError, match="none of them twice"):
        fit.emmeans("N", by="N")
    with pytest.raises(DataError, match="at= names 'Block'"):
        fit.emmeans("N", at={"Block": 1})
    with pytest.raises(DataError, match="has no value: give at least one"):
        fit.emmeans("N", at={"V": []})
    with pytest.raises(DataError, match="'V' the category 'Oats', which the data of the fit do not have"):
        fit.emmeans("N", at={"V": "Oats"})
    with pytest.raises(DataError, match="adjust='scheffe' is not known: use 'tukey'"):
        fit.emmeans("N").differences("scheffe")
    _, sleep = fit_case("sleepstudy_corr")
    with pytest.raises(DataError, match=r"'Days' has one value only in the reference grid \(4.5\)"):
        sleep.emmeans("Days")
    assert_allclose(sleep.emmeans("Days", at={"Days": [0, 2]}).differences()["estimate"], -2 * sleep.fixef()["Days"])
