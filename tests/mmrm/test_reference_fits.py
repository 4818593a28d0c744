"""Fits against reference numbers (own criteria in R, SAS PROC MIXED), closed forms and models of rx.lmer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from mmrm_cases import FORMULA, case, fitted, formula_of, frame, reference, trial

import remlax as rx
from remlax.inference.mmrm.choice import covariance_parameters

QUICK = [("mmrm_trial", "us"), ("mmrm_trial", "toeph"), ("mmrm_trial", "cs")]
SLOW = [
    pytest.param(name, structure, marks=pytest.mark.slow)
    for name in ("mmrm_fev", "mmrm_orthodont", "mmrm_trial")
    for structure in ("us", "cs", "csh", "ar1", "ar1h", "toep", "toeph", "diag")
    if (name, structure) not in QUICK and any(one["structure"] == structure for one in case(name)["fits"])
]


def compare(fit: rx.MmrmFit, one: dict[str, Any]) -> None:
    """Compare everything that is known of a fit."""
    table = fit.tidy()
    assert len(table) == len(one["fixef"])
    error = np.array(list(one["se"].values()))
    np.testing.assert_allclose(fit.criterion(), one["criterion"], atol=1e-6, rtol=0)
    np.testing.assert_allclose((table["estimate"] - list(one["fixef"].values())) / error, 0.0, atol=1e-6)
    np.testing.assert_allclose(table["std_error"], error, rtol=1e-6)
    np.testing.assert_allclose(table["df"], list(one["satterthwaite"]["df"].values()), rtol=1e-4)
    np.testing.assert_allclose(fit.residual_covariance(), one["residual_covariance"], rtol=1e-5, atol=1e-6)
    assert list(fit.residual_covariance().index) == one["visits"]
    if one["reml"]:
        for ddf, key in (("kenward-roger", "kenward_roger_linear"), ("kenward-roger-second", "kenward_roger_second")):
            if key in one:
                table = fit.tidy(ddf=ddf)
                np.testing.assert_allclose(table["std_error"], list(one[key]["se"].values()), rtol=1e-5)
                np.testing.assert_allclose(table["df"], list(one[key]["df"].values()), rtol=1e-4)
        np.testing.assert_allclose(fit.aic, one["AIC"], atol=1e-5)
        np.testing.assert_allclose(fit.bic, one["BIC_subjects"], atol=1e-5)
        np.testing.assert_allclose(fit.criterion() + 2 * fit.n_parameters, one["AIC_all_parameters"], atol=1e-5)


@pytest.mark.parametrize(("name", "structure"), [*QUICK, *SLOW])
def test_fits_are_those_of_the_reference(name: str, structure: str) -> None:
    for one in case(name)["fits"]:
        if one["structure"] == structure and (name, one["reml"]) != ("mmrm_trial", False):
            fit = fitted(name, formula_of(one))
            assert fit.converged
            compare(fit, one)


@pytest.mark.slow
def test_maximum_likelihood_fits_are_those_of_the_reference() -> None:
    for structure in ("us", "ar1"):
        one = reference("mmrm_trial", structure, reml=False)
        fit = fitted("mmrm_trial", formula_of(one), reml=False)
        compare(fit, one)
        np.testing.assert_allclose(fit.aic, one["AIC_all_parameters"], atol=1e-5)


@pytest.mark.parametrize("structure", ["us", "toeph", "cs"])
def test_covariance_parameters_are_those_of_sas(structure: str) -> None:
    one = reference("mmrm_trial", structure)
    table = fitted("mmrm_trial", formula_of(one)).covariance_parameters()
    errors = np.sqrt(np.diag(np.array(one["cov_par_vcov"])))
    np.testing.assert_allclose(np.sort(table["estimate"]), np.sort(list(one["cov_par"].values())), rtol=1e-5)
    np.testing.assert_allclose(np.sort(table["std_error"]), np.sort(errors), rtol=1e-5)


def test_kenward_roger_is_that_of_sas() -> None:
    sas = case("mmrm_fev")["sas"]["treatment_difference"]["us"]["kr_linear"]
    row = fitted("mmrm_fev", "FEV1 ~ ARMCD + us(AVISIT | USUBJID)").tidy(ddf="kenward-roger").iloc[1]
    np.testing.assert_allclose(row["estimate"], sas["estimate"], rtol=1e-4)
    np.testing.assert_allclose(row["std_error"], sas["se"], rtol=3e-4)
    np.testing.assert_allclose(row["df"], sas["df"], rtol=1e-3)


def test_means_by_visit_and_arm() -> None:
    one = reference("mmrm_trial", "us")["adjusted_means"]
    fit = fitted("mmrm_trial", FORMULA)
    found = fit.emmeans("arm", by="visit")
    means = found.means[found.means["visit"] == "v5"]
    np.testing.assert_allclose(means["estimate"], one["estimate"][:2], rtol=1e-6)
    np.testing.assert_allclose(means["std_error"], one["se"][:2], rtol=1e-6)
    np.testing.assert_allclose(means["df"], one["df_satterthwaite"][:2], rtol=1e-4)
    last = found.differences().query("visit == 'v5'").iloc[0]
    np.testing.assert_allclose(-last["estimate"], one["estimate"][2], rtol=1e-6)
    np.testing.assert_allclose([last["std_error"], last["df"]], [one["se"][2], one["df_satterthwaite"][2]], rtol=1e-4)
    adjusted = fit.emmeans("arm", by="visit", ddf="kenward-roger").differences().query("visit == 'v5'").iloc[0]
    np.testing.assert_allclose(adjusted["std_error"], one["se_kr_linear"][2], rtol=1e-5)


def test_pooled_by_rubins_rules() -> None:
    data = frame("mmrm_trial_mi_k5")
    sets = [own.drop(columns=".imp") for imp, own in data.groupby(".imp") if int(imp) > 0]
    fits = rx.mmrm_list(FORMULA, sets)
    for fit, one in zip(fits, case("mmrm_trial_mi_k5")["fits"], strict=True):
        compare(fit, one)
    pooled = case("mmrm_trial_mi_k5")["pooled"]
    found = fits.pool()
    np.testing.assert_allclose(found.residual_covariance(), pooled["mean_residual_covariance"], rtol=1e-5, atol=1e-6)
    rubin = pooled["rubin"]
    (given,) = (one for one in rubin["by_dfcom"] if one["dfcom"] == 169)
    table = fits.pool(169).tidy()
    for name, numbers in (("std_error", rubin["se"]), ("df", given["df"]), ("fmi", given["fmi"])):
        np.testing.assert_allclose(table[name], list(numbers.values()), rtol=1e-5)
    alone = rx.mmrm(FORMULA, sets[2])
    np.testing.assert_allclose(alone.criterion(), fits[2].criterion(), rtol=1e-12)
    np.testing.assert_allclose(alone.fixef(), fits[2].fixef(), rtol=1e-8)
    np.testing.assert_allclose(alone.tidy()["df"], fits[2].tidy()["df"], rtol=1e-6)
    np.testing.assert_allclose(found.tidy()["estimate"], fits.fixef().mean(), rtol=1e-10)
    ran_pars = found.tidy("ran_pars")
    assert len(ran_pars) == 15
    logs = np.log(np.stack([np.sqrt(np.diag(fit.residual_covariance())) for fit in fits]))
    np.testing.assert_allclose(ran_pars["estimate"][:5], np.exp(logs.mean(axis=0)), rtol=1e-8)


# -- closed forms ------------------------------------------------------------------------------------------------


def test_an_unstructured_covariance_of_complete_data_is_that_of_multivariate_regression() -> None:
    data = trial(missing=0.0)
    wide = data.pivot_table(index="id", columns="visit", values="y").to_numpy()
    x = np.column_stack([np.ones(len(wide)), data.groupby("id")["x"].first()])
    beta, *_ = np.linalg.lstsq(x, wide, rcond=None)
    residual = wide - x @ beta
    n, q, t = len(wide), 2, wide.shape[1]
    fit = rx.mmrm("y ~ 0 + visit + visit:x + us(visit | id)", data)
    np.testing.assert_allclose(fit.fixef(), beta.reshape(-1), rtol=1e-8)
    sigma = residual.T @ residual / (n - q)
    np.testing.assert_allclose(fit.residual_covariance(), sigma, rtol=1e-7)
    np.testing.assert_allclose(fit.vcov(), np.kron(np.linalg.inv(x.T @ x), sigma), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(fit.tidy()["df"], n - q, rtol=1e-6)
    # the F of Kenward and Roger is Hotelling's
    hotelling = n - q - t + 1
    tested = fit.test(np.eye(6)[3:], ddf="kenward-roger").iloc[0]
    b = beta[1]
    t2 = b @ np.linalg.solve(sigma * np.linalg.inv(x.T @ x)[1, 1], b)
    np.testing.assert_allclose([tested["df1"], tested["df2"]], [t, hotelling], rtol=1e-5)
    np.testing.assert_allclose(tested["statistic"], t2 * hotelling / (t * (n - q)), rtol=1e-5)


def test_compound_symmetry_is_a_random_intercept() -> None:
    data = trial()
    fit = rx.mmrm("y ~ x + visit + cs(visit | id)", data)
    mixed = rx.lmer("y ~ x + visit + (1 | id)", data)
    np.testing.assert_allclose(fit.criterion(), mixed.criterion(), rtol=1e-10)
    np.testing.assert_allclose(fit.fixef(), mixed.fixef(), rtol=1e-6)
    np.testing.assert_allclose(fit.vcov(), mixed.vcov(), rtol=1e-6)
    np.testing.assert_allclose(fit.tidy()["df"], mixed.tidy()["df"], rtol=1e-4)
    both = mixed.varcorr()["vcov"]
    np.testing.assert_allclose(fit.covariance_parameters()["estimate"], both[::-1], rtol=1e-5)


def test_uncorrelated_visits_with_one_patient_each_are_least_squares() -> None:
    data = trial(missing=0.0)
    fit = rx.mmrm("y ~ 0 + visit + diag(visit | id)", data)
    groups = data.groupby("visit")["y"]
    np.testing.assert_allclose(np.diag(fit.residual_covariance()), groups.var(), rtol=1e-8)
    np.testing.assert_allclose(fit.fixef(), groups.mean(), rtol=1e-9)


# -- invariance --------------------------------------------------------------------------------------------------


def test_units_rows_and_names_do_not_matter() -> None:
    data = trial()
    fit = rx.mmrm("y ~ x + visit + us(visit | id)", data, weights="w")
    other = data.assign(y=1e4 + 1e3 * data["y"], x=data["x"] / 50 + 1e5, id="z" + data["id"]).sample(
        frac=1, random_state=1
    )
    again = rx.mmrm("y ~ x + visit + us(visit | id)", other, weights="w")
    np.testing.assert_allclose(again.residual_covariance(), 1e6 * fit.residual_covariance(), rtol=1e-6)
    np.testing.assert_allclose(again.tidy()["df"][1:], fit.tidy()["df"][1:], rtol=1e-4)
    np.testing.assert_allclose(again.fixef().iloc[1:], fit.fixef().iloc[1:] * [50e3, 1e3, 1e3], rtol=1e-6)


def test_a_batch_of_trials_with_other_patterns_is_as_many_fits() -> None:
    sets = [trial(seed, n=24) for seed in (1, 2, 3)]
    fits = rx.mmrm_list("y ~ x + visit + us(visit | id)", sets, weights="w")
    for own, fit in zip(sets, fits, strict=True):
        alone = rx.mmrm("y ~ x + visit + us(visit | id)", own, weights="w")
        np.testing.assert_allclose(alone.criterion(), fit.criterion(), rtol=1e-11)
        np.testing.assert_allclose(alone.vcov(), fit.vcov(), rtol=1e-6)
        np.testing.assert_allclose(alone.tidy()["df"], fit.tidy()["df"], rtol=1e-5)


def test_a_covariance_of_each_arm() -> None:
    data = trial(missing=0.0)
    fit = rx.mmrm("y ~ 0 + arm:visit + us(visit | arm / id)", data)
    for arm, own in data.groupby("arm"):
        wide = own.pivot_table(index="id", columns="visit", values="y")
        np.testing.assert_allclose(fit.residual_covariance().loc[arm], wide.cov(), rtol=1e-7)
    assert list(fit.tidy("ran_pars")["group"].unique()) == ["a", "b"]
    assert len(covariance_parameters(fit.selection).sas_terms) == 12
    assert isinstance(fit.residual_correlation(), pd.DataFrame)
