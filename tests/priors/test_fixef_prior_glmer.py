"""Priors on coefficients of generalised models: against bglmer and a dense criterion; separated outcomes."""

from __future__ import annotations

import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from reference_cases import REFERENCE
from remlax.errors import ConvergenceWarning, DataError
from remlax.priors import Normal, StudentT

CASES: list[dict[str, Any]] = json.loads((REFERENCE / "next" / "blme_glmer.json").read_text())
FORMULA = "z ~ x + (1 | school)"
PRIOR = StudentT(df=2.0, scale={"Intercept": 0.3, "x": 0.2})


@cache
def schools() -> pd.DataFrame:
    data = pd.read_csv(REFERENCE / "next" / "blme_schools.csv.gz")
    return data.assign(apart=(data["x"] > 0).astype(int), k=data["y"].abs().round())


@cache
def imputed() -> list[pd.DataFrame]:
    data = schools()
    return [data.assign(x=data["x"] + 0.3 * np.random.default_rng(k).normal(size=len(data))) for k in range(3)]


@cache
def fits() -> rx.GlmerFitList:
    return rx.glmer_list(FORMULA, imputed(), cov_prior="wishart", fixef_prior=PRIOR)


def prior_of(case: dict[str, Any]) -> Normal | StudentT:
    return Normal(case["sd"]) if case["prior"] == "normal" else StudentT(case["df"], case["scale"])


@pytest.mark.parametrize(
    "case",
    [*CASES[:2], *(pytest.param(case, marks=pytest.mark.slow) for case in CASES[2:])],
    ids=lambda case: f"{case['response']}-{case['prior']}-{case['n_quad']}",
)
def test_estimates_are_those_of_bglmer(case: dict[str, Any]) -> None:
    """With tolPwrss = 1e-13; nlminb stops where theta moves the criterion, which is flat in it, by 1e-9 and less."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = rx.glmer(
            f"{case['response']} ~ x + (1 | school)",
            schools(),
            case["family"],
            n_quad=case["n_quad"],
            cov_prior="wishart",
            fixef_prior=prior_of(case),
        )
    np.testing.assert_allclose(fit.theta, case["theta"], rtol=3e-5)
    np.testing.assert_allclose(fit.fixef(), case["fixef"], rtol=1e-5)


def test_the_penalised_criterion_is_stationary_and_gives_the_errors() -> None:
    """-2 log L of the fits without a prior, and the t density of the user's coefficients, by finite differences."""
    fitted = rx.glmer_list(FORMULA, imputed(), cov_prior="wishart").selection.fitted
    for k, fit in enumerate(fits()):

        def objective(at: np.ndarray, k: int = k) -> float:
            squares = np.sum((at[1:] / [0.3, 0.2]) ** 2)
            return float(fitted.at(k, at[:1], at[1:]) + 4.0 * np.log1p(squares / 2.0) - 3.0 * np.log(at[0]))

        at = np.array([*fit.theta, *fit.fixef()])
        steps = 1e-4 * np.eye(3)
        slopes = [(objective(at + own) - objective(at - own)) / 2e-4 for own in steps]
        np.testing.assert_allclose(slopes, 0.0, atol=1e-5)
        hess = [
            [
                (objective(at + a + b) - objective(at + a - b) - objective(at - a + b) + objective(at - a - b)) / 4e-8
                for a in steps
            ]
            for b in steps
        ]
        np.testing.assert_allclose(fit.vcov(), np.linalg.inv(np.array(hess) / 2)[1:, 1:], rtol=2e-4)
        np.testing.assert_allclose(fit.criterion(), fitted.at(k, fit.theta, fit.fixef().to_numpy()), rtol=1e-10)


def test_separated_outcomes_have_finite_estimates_under_a_prior() -> None:
    """A prior on the intercept alone does not hold the slope."""
    formula = "apart ~ x + (1 | school)"
    for prior in (None, Normal({"Intercept": 1.0})):
        with pytest.warns(ConvergenceWarning) as said:
            assert not rx.glmer(formula, schools(), cov_prior="wishart", fixef_prior=prior).converged
        first = str(said[0].message)
        assert "x); under a prior they are finite: fixef_prior='normal'" in first
        assert ("Intercept" in first) == (prior is None)
    fit = rx.glmer(formula, schools(), cov_prior="wishart", fixef_prior=Normal({"x": 2.5}))
    assert fit.converged
    assert 0 < fit.fixef()["x"] < 20


def test_a_wide_prior_is_none() -> None:
    plain, wide = (
        rx.glmer_list(FORMULA, imputed(), cov_prior="wishart", fixef_prior=prior) for prior in (None, Normal(1e6))
    )
    for one, other in zip(plain, wide, strict=True):
        np.testing.assert_allclose(one.fixef(), other.fixef(), rtol=1e-6)
        np.testing.assert_allclose(one.vcov(), other.vcov(), rtol=1e-6)


def test_files_refits_and_print_outs_keep_the_prior(tmp_path: Path) -> None:
    fit = fits()[1]
    refit = rx.refit(fit, imputed()[1][["z"]])[0]
    np.testing.assert_allclose(refit.fixef(), fit.fixef(), rtol=1e-7)
    np.testing.assert_allclose(refit.vcov(), fit.vcov(), rtol=1e-6)
    fits().save(tmp_path / "fits.remlax")
    again = rx.load(tmp_path / "fits.remlax")
    assert isinstance(again, rx.GlmerFitList)
    assert str(again[1]) == str(fit)
    refit = rx.refit(again[1], imputed()[1][["z"]])[0]
    np.testing.assert_allclose(refit.fixef(), fit.fixef(), rtol=1e-7)
    text = "t (df = 2, location = 0, scale = 0.3 for Intercept, 0.2 for x)"
    assert all(text in said for said in (str(fit), str(fits().pool()), fit.report()))
    assert "relative" not in str(fit)
    with pytest.raises(DataError, match="a fit with a prior"):
        rx.anova(fit, rx.glmer("z ~ 1 + (1 | school)", imputed()[1], cov_prior="wishart"))
    with pytest.raises(DataError, match="names 'q', and the coefficients are Intercept, x"):
        rx.glmer(FORMULA, schools(), fixef_prior=Normal({"q": 1.0}))
