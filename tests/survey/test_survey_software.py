"""Numbers of other software for weighted models: WeMix's, and others' as its vignette and tests quote them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.engine.batch import run
from remlax.survey import fit as survey_fit
from remlax.survey.pseudo_likelihood import pseudo_information
from survey_cases import FOLDER, MODELS, pupils, wemix


def with_block_errors(monkeypatch: pytest.MonkeyPatch, *arguments: Any, **options: Any) -> tuple[rx.SurveyFit, Any]:
    """A fit, and the standard errors of a sandwich whose bread is the block of two coefficients alone.

    WeMix and Stata take the coefficients for independent of the variances; remlax inverts the whole information.
    """
    found: list[Any] = []
    turns: list[np.ndarray] = []
    outside = survey_fit._outside

    def spied(kernel: Any, *parts: Any, **more: Any) -> Any:
        out = run(kernel, *parts, **more)
        if kernel is pseudo_information:
            found.append(out)
        return out

    def kept(*parts: Any) -> Any:
        out = outside(*parts)
        turns.append(out[1][0][:2, :2])
        return out

    monkeypatch.setattr(survey_fit, "run", spied)
    monkeypatch.setattr(survey_fit, "_outside", kept)
    fit = rx.lmer(*arguments, **options)
    n = fit.layout.factors[-1].n_levels
    scores, bread = np.asarray(found[0].scores)[0, :n, :2], np.linalg.inv(np.asarray(found[0].information)[0, :2, :2])
    half = turns[0] @ bread @ scores.T
    return fit, np.sqrt(n / (n - 1) * np.sum(half**2, axis=1))


# -- WeMix 4.0.4 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(MODELS))
def test_estimates_and_standard_errors_are_those_of_wemix(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (formula, weights), theirs = MODELS[name], wemix()[name]
    ours, blocks = with_block_errors(monkeypatch, formula, pupils(), sampling_weights=weights, conditional=False)
    assert ours.criterion()[0] == pytest.approx(-2 * theirs["lnl"], rel=1e-12)
    np.testing.assert_allclose(ours.fixef(), theirs["coef"], rtol=1e-7)
    variances = ours.tidy("ran_pars", scales="vcov").query("not term.str.startswith('cov')")["estimate"]
    np.testing.assert_allclose(variances, theirs["vars"], rtol=1e-5)
    np.testing.assert_allclose(blocks, theirs["se"], rtol=1e-5)
    # the whole sandwich is another number, by less than 1 % here
    np.testing.assert_allclose(ours.tidy()["std_error"], theirs["se"], rtol=0.01)


# -- Stata -----------------------------------------------------------------------------------------------------------

# quoted in tests/testthat/test-1-main.R of WeMix 4.0.4, "Weighted three level model: compare against mixed stata":
# log pseudo-likelihood, coefficients, their standard errors, variances (subject, group, slope of group, residual)
STATA = {
    "Reaction ~ Days + (1 | Subject) + (1 | Group)": (
        -1389.0983,
        (243.6831, 12.67954),
        (11.68881, 2.468474),
        (360.97, 756.5857, 1153.704),
    ),
    "Reaction ~ Days + (1 | Subject) + (1 | Group) + (0 + Days | Group)": (
        -1377.6876,
        (247.6234, 11.71211),
        (9.97378, 2.60348),
        (397.6301, 220.4182, 16.86835, 1022.88),
    ),
}


def weighted_sleepstudy() -> pd.DataFrame:
    data = rx.datasets.sleepstudy()
    subject = data["Subject"].astype(str)
    groups = {2: "310 309 349 335", 3: "330 352 337 369", 4: "331 332 334 372"}
    data["Group"] = 1
    for group, members in groups.items():
        data.loc[subject.isin(members.split()), "Group"] = group
    data["w1"] = np.where(np.arange(len(data)) < 4, 2, 1)
    data["w2"] = np.where(subject == "308", 2, 1)
    data["w3"] = np.where(data["Group"] == 1, 2, 1)
    return data


@pytest.mark.parametrize("formula", list(STATA))
def test_three_levels_of_weights_give_the_numbers_of_stata(formula: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log_likelihood, coefficients, errors, variances = STATA[formula]
    weights = {"Group": "w3", "Subject": "w2", "row": "w1"}
    ours, blocks = with_block_errors(monkeypatch, formula, weighted_sleepstudy(), sampling_weights=weights)
    assert -ours.criterion()[0] / 2 == pytest.approx(log_likelihood, abs=1e-4)
    np.testing.assert_allclose(ours.fixef(), coefficients, rtol=1e-6)
    # Stata stops where the variance of the four groups is still 5e-5 off WeMix's and ours
    np.testing.assert_allclose(ours.tidy("ran_pars", scales="vcov")["estimate"], variances, rtol=1e-4)
    np.testing.assert_allclose(blocks, errors, rtol=1e-4)
    # with four groups the whole sandwich and its block differ by 3 %
    np.testing.assert_allclose(ours.tidy()["std_error"], errors, rtol=0.03)


# -- SAS, Mplus, GLLAMM ----------------------------------------------------------------------------------------------

# Tables 1 and 2 of the vignette "Introduction to weighted mixed-effects models with WeMix" (Bailey, Kelley and Nguyen,
# 2019): PISA 2012, United States. All programs give these log-likelihoods, variances and coefficients. Standard errors
# here are those of SAS PROC GLIMMIX, which Mplus shares and which have no factor J / (J - 1); GLLAMM's have it.
TERMS = "st29q03 + sc14q02 + st04q01 + escs"
VIGNETTE: dict[str, dict[str, Any]] = {
    f"pv1math ~ {TERMS} + (1 | schoolid)": {
        "log_likelihood": -12789992.0,
        "variances": (1413.81, 5264.80),
        "variance_errors": (364.73, 151.93),
        "coefficients": (486.80, -11.108, -41.542, -19.255, -26.913, -11.782, -21.340, 9.5077, 25.568),
        "errors": (7.929, 5.6816, 6.84, 5.4400, 7.7714, 12.958, 17.239, 2.9754, 2.131),
        "gllamm": (7.9545, 5.6998, 6.8629, 5.4574, 7.7959, 13.000, 17.294, 2.9850, 2.1373),
    },
    f"pv1math ~ {TERMS} + (1 | schoolid) + (0 + escs | schoolid)": {
        "log_likelihood": -12741522.7,
        "variances": (1354.71, 370.33, 4967.36),
        "variance_errors": (311.72, 66.325, 137.36),
        "coefficients": (483.89, -10.628, -38.708, -17.303, -39.941, -12.592, -20.064, 10.294, 28.016),
        "errors": (7.4985, 5.4737, 6.7593, 5.3572, 7.4109, 12.831, 15.5911, 3.0188, 2.5341),
    },
}


def pisa() -> pd.DataFrame:
    data = pd.read_csv(FOLDER / "pisa2012_usa.csv.gz", dtype={"schoolid": str})
    agreement = ["Strongly agree", "Agree", "Strongly disagree", "Disagree"]
    shortage = ["Not at all", "A lot", "To some extent", "Very little"]
    return data.assign(
        st29q03=pd.Categorical(data["st29q03"], agreement), sc14q02=pd.Categorical(data["sc14q02"], shortage)
    )


@pytest.mark.parametrize("formula", list(VIGNETTE))
def test_pisa_gives_the_numbers_of_sas_mplus_and_gllamm(formula: str) -> None:
    # rtol 1e-4: half a unit of the last digit that the tables print
    wanted, data = VIGNETTE[formula], pisa()
    fit = rx.lmer(formula, data, sampling_weights={"schoolid": "w_fschwt", "pupil": "w_fstuwt"}, conditional=False)
    random = fit.tidy("ran_pars", scales="vcov")
    factor = np.sqrt(156 / 157)
    assert -fit.criterion()[0] / 2 == pytest.approx(wanted["log_likelihood"], abs=0.051)
    np.testing.assert_allclose(fit.fixef(), wanted["coefficients"], rtol=1e-4)
    np.testing.assert_allclose(random["estimate"], wanted["variances"], rtol=1e-5)
    np.testing.assert_allclose(random["std_error"] * factor, wanted["variance_errors"], rtol=1e-4)
    errors = fit.tidy()["std_error"]
    np.testing.assert_allclose(errors * factor, wanted["errors"], rtol=3e-4)  # 2.131 has four digits
    if "gllamm" in wanted:
        np.testing.assert_allclose(errors, wanted["gllamm"], rtol=1e-4)
