"""Covariance structures in generalised models: against glmmTMB and the Laplace approximation by dense matrices."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import gammaln

import remlax as rx
from reference_cases import REFERENCE
from remlax.errors import DataError, SingularFitWarning, quiet
from structured_cases import correlations

CASES: list[dict[str, Any]] = json.loads((REFERENCE / "next" / "glmm_structures.json").read_text())
FORMULA = "c ~ x + ar1(0 + t | g)"


@cache
def data() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "next" / "glmm_structures.csv.gz")


@cache
def ar1() -> rx.GlmerFit:
    return rx.glmer(FORMULA, data(), "poisson")


def shape(at: np.ndarray) -> np.ndarray:
    """Covariance matrix of a group at its SD and correlation."""
    return at[0] ** 2 * correlations("ar1", at[1])


def laplace(at: np.ndarray) -> float:
    """-2 log L of the counts at SD, correlation and coefficients, by Newton steps over all effects."""
    rows = data()
    z = np.eye(72)[(rows["g"].str[1:].astype(int) * 3 + rows["t"].str[1:].astype(int) - 4).to_numpy()]
    y, fixed = rows["c"].to_numpy(float), at[2] + at[3] * rows["x"].to_numpy()
    precision = np.kron(np.eye(24), np.linalg.inv(shape(at)))
    b = np.zeros(72)
    for _ in range(30):
        mean = np.exp(fixed + z @ b)
        b = b + np.linalg.solve(z.T @ (mean[:, None] * z) + precision, z.T @ (y - mean) - precision @ b)
    mean = np.exp(fixed + z @ b)
    loglik = y @ np.log(mean) - mean.sum() - gammaln(y + 1).sum()
    logs = np.linalg.slogdet(z.T @ (mean[:, None] * z) + precision)[1] - np.linalg.slogdet(precision)[1]
    return float(-2 * loglik + b @ precision @ b + logs)


@pytest.mark.parametrize(
    "case",
    [CASES[0], *(pytest.param(case, marks=pytest.mark.slow) for case in CASES[1:])],
    ids=lambda case: case["term"],
)
def test_estimates_are_those_of_glmmtmb(case: dict[str, Any]) -> None:
    """Its criterion is higher by less than 1e-9: nlminb leaves the estimates within 1e-5."""
    fit = ar1() if case is CASES[0] else rx.glmer(f"{case['response']} ~ x + {case['term']}", data(), case["family"])
    assert fit.converged
    np.testing.assert_allclose(fit.criterion(), case["criterion"], atol=1e-8)
    np.testing.assert_allclose(fit.fixef(), case["fixef"], rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.vcov())), case["se"], rtol=1e-5)
    found = fit.selection.fitted.covariance(0)[0]
    np.testing.assert_allclose(found, np.reshape(case["covariance"], (3, 3)), atol=1e-5)
    n_cov = {"ar1": 2, "cs": 4, "diag": 3}[case["term"].partition("(")[0]]
    assert fit.aic == pytest.approx(fit.criterion() + 2 * (2 + n_cov))


def test_criterion_and_errors_are_those_of_dense_matrices() -> None:
    """The standard errors of SD and correlation come from the Hessian in all parameters, on their scales."""
    random = ar1().tidy("ran_pars")
    at = np.array([*random["estimate"], *ar1().fixef()])
    np.testing.assert_allclose(ar1().criterion(), laplace(at), rtol=1e-11)
    steps = 1e-3 * np.eye(4)
    slopes = [(laplace(at + own) - laplace(at - own)) / 2e-3 for own in steps]
    # differences of third order are left
    np.testing.assert_allclose(slopes, 0.0, atol=2e-3)
    hess = [
        [(laplace(at + a + b) - laplace(at + a - b) - laplace(at - a + b) + laplace(at - a - b)) / 4e-6 for a in steps]
        for b in steps
    ]
    covariance = np.linalg.inv(np.array(hess) / 2)
    np.testing.assert_allclose(random["std_error"], np.sqrt(np.diag(covariance)[:2]), rtol=1e-3)
    np.testing.assert_allclose(ar1().vcov(), covariance[2:, 2:], rtol=1e-3)


def test_files_and_refits(tmp_path: Path) -> None:
    ar1().save(tmp_path / "fit.remlax")
    again = rx.load(tmp_path / "fit.remlax")
    assert isinstance(again, rx.GlmerFit)
    assert str(again) == str(ar1())
    pd.testing.assert_frame_equal(again.tidy("ran_pars"), ar1().tidy("ran_pars"))
    pd.testing.assert_frame_equal(again.tidy("ran_vals"), ar1().tidy("ran_vals"))
    np.testing.assert_allclose(rx.refit(again, data()[["c"]])[0].theta, ar1().theta, rtol=1e-7)
    new = data().iloc[:2].assign(g=["g01", "elsewhere"])
    pd.testing.assert_frame_equal(again.predict(new, new_levels="mean"), ar1().predict(new, new_levels="mean"))


def test_what_is_refused() -> None:
    with pytest.raises(DataError, match=r"cov_prior= is for random terms with any covariance matrix"):
        rx.glmer(FORMULA, data(), "poisson", cov_prior="wishart")
    with pytest.raises(DataError, match="profiles are for linear mixed models"):
        ar1().confint("profile")


@pytest.mark.slow
def test_data_sets_together_are_as_alone_and_pool() -> None:
    """The second and the third have no or opposite correlations, and SDs that end at zero."""
    rng = np.random.default_rng(2)
    counts = [data()["c"], rng.poisson(2.0, 216), np.where(data()["t"] == "t2", rng.poisson(9.0, 216), data()["c"])]
    sets = [data().assign(c=own) for own in counts]
    formula = "c ~ x + ar1(0 + t | g, hom = FALSE)"
    with pytest.warns(SingularFitWarning, match="in imputation 2: a variance is estimated as 0"):
        fits = rx.glmer_list(formula, sets, "poisson")
    assert fits.convergence()["converged"].all()
    fitted = fits.selection.fitted
    np.testing.assert_allclose(fitted.psi, np.asarray(fitted.opt.theta)[:, :4], atol=1e-8)
    assert (fitted.psi[:, :3] >= 0).all()
    for fit, own in zip(fits, sets, strict=True):
        with quiet(SingularFitWarning):
            alone = rx.glmer(formula, own, "poisson")
        np.testing.assert_allclose(alone.criterion(), fit.criterion(), rtol=1e-10)
        np.testing.assert_allclose(alone.fixef(), fit.fixef(), rtol=1e-5)
    pooled = fits.pool()
    np.testing.assert_allclose(pooled.tidy("fixed")["estimate"], fits.fixef().mean(), rtol=1e-9)
