"""Intraclass correlations and explained variance of generalised linear mixed models, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from reference_models import binary, counts, counts_reference, frame
from scipy import stats
from test_parameters import delta_error

import remlax as rx

DATA = frame("glmm_counts_nested")
X = np.column_stack([np.ones(len(DATA)), DATA["x"], DATA["season"] == "wet", DATA["season"] == "mid"]).astype(float)


def parts(covariance: np.ndarray, beta: np.ndarray, size: float) -> tuple[float, float, float]:
    """Variance of the fixed part, of the random effects, and of the logarithm of a gamma variable in their place."""
    z = X[:, : len(covariance)]
    spread = np.einsum("ni,ij,nj->n", z, covariance, z)
    nodes, weights = hermegauss(40)
    eta = (X @ beta + DATA["logexp"].to_numpy())[:, None] + np.sqrt(spread)[:, None] * nodes
    mean = float(np.mean(np.exp(eta) @ weights / np.sqrt(2 * np.pi)))
    residual = float(stats.loggamma(1 / (1 / mean + 1 / size)).var())
    return float(np.var(X @ beta, ddof=1)), float(spread.mean()), residual


def test_shares_of_a_poisson_model_with_slopes() -> None:
    fit = counts("(1 + x | site)", "poisson")
    sd = fit.varcorr()["vcov"].to_numpy()
    fixed, random, residual = parts(np.array([[sd[0], sd[2]], [sd[2], sd[1]]]), fit.fixef().to_numpy(), np.inf)
    found = fit.icc().set_index("kind")["estimate"]
    assert found["adjusted"] == pytest.approx(random / (random + residual), rel=1e-8)
    assert found["unadjusted"] == pytest.approx(random / (fixed + random + residual), rel=1e-8)
    assert found["intercept"] == pytest.approx(sd[0] / (sd[0] + residual), rel=1e-8)
    r2 = fit.r2().set_index("measure")
    assert r2.loc["marginal", "estimate"] == pytest.approx(fixed / (fixed + random + residual), rel=1e-8)
    assert r2.loc["conditional", "estimate"] == pytest.approx((fixed + random) / (fixed + random + residual), rel=1e-8)
    assert set(r2["method"]) == {"trigamma"}


def test_shares_of_a_negative_binomial_model_count_every_parameter() -> None:
    expected = counts_reference("(1 | site)", "negative-binomial")
    at = np.array([*expected["theta"].values(), *expected["fixef"].values(), np.log(expected["size"])])
    joint = np.array(expected["vcov_joint"])

    def shares(point: np.ndarray) -> tuple[float, float, float]:
        return parts(np.array([[point[0] ** 2]]), point[1:-1], np.exp(point[-1]))

    def icc(point: np.ndarray) -> float:
        fixed, random, residual = shares(point)
        return random / (fixed + random + residual)

    def marginal(point: np.ndarray) -> float:
        fixed, random, residual = shares(point)
        return fixed / (fixed + random + residual)

    row = counts().icc().set_index("kind").loc["unadjusted"]
    assert row["estimate"] == pytest.approx(icc(at), rel=1e-6)
    assert row["std_error"] == pytest.approx(delta_error(icc, at, joint), rel=1e-5)
    row = counts().r2().set_index("measure").loc["marginal"]
    assert row["estimate"] == pytest.approx(marginal(at), rel=1e-6)
    assert row["std_error"] == pytest.approx(delta_error(marginal, at, joint), rel=1e-5)


def test_shares_of_a_logit_model_are_of_the_latent_response() -> None:
    pooled = binary().pool()
    each = [fit.varcorr()["vcov"][0] for fit in binary()]
    logits = np.log(each) - np.log(np.pi**2 / 3)
    found = pooled.icc().set_index("kind").loc["adjusted"]
    assert found["estimate"] == pytest.approx(1 / (1 + np.exp(-logits.mean())), rel=1e-10)
    assert found["method"] == "latent response"
    r2 = pooled.r2()
    assert r2["measure"].tolist() == ["marginal", "conditional"]
    fixed = [np.var(fit.selection.fitted.fitted_values(fit.selection.k, random=False), ddof=1) for fit in binary()]
    expected = [f / (f + v + np.pi**2 / 3) for f, v in zip(fixed, each, strict=True)]
    assert r2["mean"][0] == pytest.approx(np.mean(expected), rel=1e-10)


def test_the_variance_of_a_gamma_response_is_that_of_its_logarithm() -> None:
    data = DATA.assign(dose=np.random.default_rng(3).gamma(2.5, np.exp(0.3 * DATA["x"])))
    fit = rx.glmer("dose ~ x + (1 | site)", data, "gamma")
    variance = fit.varcorr()["vcov"][0]
    residual = stats.loggamma(fit.dispersion).var()
    fixed = np.var(fit.fixef()["x"] * data["x"], ddof=1)
    found = fit.r2().set_index("measure")["estimate"]
    assert found["marginal"] == pytest.approx(fixed / (fixed + variance + residual), rel=1e-8)
