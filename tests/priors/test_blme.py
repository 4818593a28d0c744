"""Fits with priors against the numbers of tests/reference/next: blme's objective, carried to its optimum in R."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from reference_cases import REFERENCE, read_reference_csv

NEXT = REFERENCE / "next"
CASES = ("blme_dyestuff2", "blme_schools", "blme_sleepstudy")


@cache
def case(name: str) -> dict[str, Any]:
    return json.loads((NEXT / f"{name}.json").read_text())


@cache
def frame(name: str) -> pd.DataFrame:
    data = case(name)["data"]
    return read_reference_csv(NEXT / data["file"], data["columns"])


def prior_of(reference: dict[str, Any]) -> rx.priors.CovPrior:
    own = reference["cov_prior"]
    if own["name"] == "gamma":
        return rx.priors.Gamma(shape=own["shape"], rate=own["rate"])
    return rx.priors.Wishart()


@pytest.mark.parametrize(("name", "i"), [(name, i) for name in CASES for i in range(len(case(name)["fits"]))])
def test_linear_fits(name: str, i: int) -> None:
    reference = case(name)["fits"][i]
    fit = rx.lmer(reference["formula"], frame(name), reml=reference["reml"], cov_prior=prior_of(reference))
    assert fit.converged
    assert not fit.is_singular
    np.testing.assert_allclose(fit.theta, list(reference["theta"].values()), atol=1e-7)
    np.testing.assert_allclose(fit.fixef(), list(reference["fixef"].values()), rtol=1e-7)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.vcov())), list(reference["se"].values()), rtol=1e-7)
    np.testing.assert_allclose(fit.sigma, reference["sigma"], rtol=1e-8)
    np.testing.assert_allclose(fit.criterion(), reference["criterion_without_penalty"], atol=1e-6)
    penalty = fit.selection.model.penalty
    assert penalty is not None
    points = pd.DataFrame(reference["objective_at"])
    at, plain = np.array(points["theta"].tolist(), float), points["criterion_without_penalty"]
    np.testing.assert_allclose([fit.criterion(theta) for theta in at], plain, rtol=1e-9)
    # without its constants
    found = penalty.value(fit.selection.model.inner_theta(at))
    np.testing.assert_allclose(np.diff(found), np.diff(points["objective"] - plain), atol=1e-10)


def test_a_generalised_fit() -> None:
    (reference,) = case("blme_schools")["glmm_fits"]
    fit = rx.glmer(reference["formula"], frame("blme_schools"), "binomial", cov_prior="wishart")
    np.testing.assert_allclose(fit.theta, reference["theta"], atol=1e-6)
    np.testing.assert_allclose(fit.fixef(), list(reference["fixef"].values()), rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.vcov())), list(reference["se_hessian"].values()), rtol=1e-6)
    np.testing.assert_allclose(fit.vcov(use="rx"), reference["vcov_rx"]["matrix"], rtol=1e-5)
    np.testing.assert_allclose(fit.criterion(), reference["minus2_loglik"], atol=1e-6)
    np.testing.assert_allclose(fit.criterion(theta=fit.theta, beta=fit.fixef()), fit.criterion(), atol=1e-8)


@pytest.mark.parametrize(
    ("prior", "theta"),
    [
        (rx.priors.InverseWishart(), (0.861381266, 0.001590722, 0.323626528)),
        (rx.priors.InverseWishart(df=5.0, scale=2.0), (0.756799048, 0.005637366, 0.353124031)),
        (rx.priors.Wishart(df=6.0, scale=3.0), (1.147231912, -0.008667927, 0.272825540)),
    ],
)
def test_other_priors_on_two_columns(prior: rx.priors.CovPrior, theta: tuple[float, ...]) -> None:
    """Minima of blmer's own function (blme 1.0-5), devFunOnly, by nlminb, which stops within 3e-6 of them."""
    fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy(), cov_prior=prior)
    np.testing.assert_allclose(fit.theta, theta, atol=5e-6)


@pytest.mark.parametrize(
    ("prior", "theta"),
    [
        (rx.priors.Gamma(shape=2.0, rate=0.5, posterior_scale="var"), 1.22103844439),
        (rx.priors.Gamma(shape=3.0, rate=2.0), 1.1818959302),
    ],
)
def test_other_priors_on_one_column(prior: rx.priors.CovPrior, theta: float) -> None:
    """As above."""
    fit = rx.lmer("Reaction ~ Days + (1 | Subject)", rx.datasets.sleepstudy(), cov_prior=prior)
    np.testing.assert_allclose(fit.theta, [theta], atol=1e-6)


@pytest.mark.parametrize(
    ("prior", "theta"),
    [(rx.priors.InverseWishart(), 1.913688367), (rx.priors.Gamma(2.0, 0.5, posterior_scale="var"), 0.5163391031)],
)
def test_other_priors_of_a_generalised_model(prior: rx.priors.CovPrior, theta: float) -> None:
    """Estimates of bglmer (blme 1.0-5) with tolPwrss = 1e-12, whose optimiser stops within 1e-5 of the minimum."""
    fit = rx.glmer("z ~ x + (1 | school)", frame("blme_schools"), cov_prior=prior)
    np.testing.assert_allclose(fit.theta, [theta], atol=1e-5)
