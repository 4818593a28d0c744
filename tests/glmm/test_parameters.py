"""Variance and shape parameters of generalised linear mixed models: standard errors, limits and pooling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from reference_models import binary, counts, counts_reference, frame, two_counts
from scipy import stats

import remlax as rx
from glmer_cases import logistic, ordinal
from remlax.errors import DataError, IdentifiabilityWarning

Z = stats.norm.ppf(0.975)


def delta_error(function: Callable[[np.ndarray], float], at: np.ndarray, covariance: np.ndarray) -> float:
    """Standard error of a function of parameters, by central differences."""
    step = 1e-5
    slope = [(function(at + step * unit) - function(at - step * unit)) / (2 * step) for unit in np.eye(len(at))]
    return float(np.sqrt(np.asarray(slope) @ covariance @ slope))


def test_size_and_sd_have_the_errors_of_the_joint_hessian() -> None:
    expected = counts_reference("(1 | site)", "negative-binomial")
    table = counts().tidy("ran_pars").set_index("term")
    sd, size = table.loc["sd__Intercept"], table.loc["size"]
    assert sd["estimate"] == pytest.approx(expected["theta"]["site.(Intercept)"], rel=1e-7)
    assert sd["std_error"] == pytest.approx(np.sqrt(expected["vcov_joint"][0][0]), rel=1e-6)
    assert size["group"] == "Response"
    assert size["estimate"] == pytest.approx(expected["size"], rel=1e-7)
    assert size["std_error"] == pytest.approx(expected["size"] * expected["size_log_se"], rel=1e-6)
    half = Z * expected["size_log_se"]
    limits = expected["size"] * np.exp([-half, half])
    np.testing.assert_allclose(size[["conf_low", "conf_high"]].astype(float), limits, rtol=1e-6)


def test_sds_and_a_correlation_have_the_errors_of_the_joint_hessian() -> None:
    expected = counts_reference("(1 + x | site)", "poisson")
    theta, joint = np.array(list(expected["theta"].values())), np.array(expected["vcov_joint"])[:3, :3]
    functions = {
        "sd__Intercept": lambda t: abs(t[0]),
        "sd__x": lambda t: np.hypot(t[1], t[2]),
        "cor__Intercept.x": lambda t: t[1] / np.hypot(t[1], t[2]),
    }
    fit = counts("(1 + x | site)", "poisson")
    table = fit.tidy("ran_pars").set_index("term")
    assert list(table.index) == list(functions)
    for name, function in functions.items():
        assert table.loc[name, "estimate"] == pytest.approx(function(theta), rel=1e-6)
        assert table.loc[name, "std_error"] == pytest.approx(delta_error(function, theta, joint), rel=1e-6)
    found = fit.varcorr()
    assert "Residual" not in set(found["group"])
    covariance = np.array(expected["varcorr"][0]["cov"])
    np.testing.assert_allclose(found["vcov"], covariance[[0, 1, 0], [0, 1, 1]], rtol=1e-6)


@pytest.mark.slow
def test_two_ordered_categories_are_a_binary_response() -> None:
    data = frame("glmm_counts_nested").assign(some=lambda d: (d["count"] > 1).astype(int))
    binomial = rx.glmer("some ~ x + (1 | site)", data)
    ordinal = rx.glmer("some ~ x + (1 | site)", data, "ordinal")
    intercept = binomial.tidy("fixed").iloc[0]
    sd, threshold = ordinal.tidy("ran_pars").iloc[0], ordinal.tidy("ran_pars").iloc[1]
    assert threshold["term"] == "0|1"
    assert threshold["estimate"] == pytest.approx(-intercept["estimate"], rel=1e-7)
    assert threshold["std_error"] == pytest.approx(intercept["std_error"], rel=1e-7)
    assert threshold["conf_low"] == pytest.approx(-intercept["conf_high"], rel=1e-7)
    assert sd["std_error"] == pytest.approx(binomial.tidy("ran_pars")["std_error"][0], rel=1e-7)
    assert ordinal.n_parameters == binomial.n_parameters
    assert ordinal.icc()["estimate"][0] == pytest.approx(binomial.icc()["estimate"][0], rel=1e-7)


@pytest.mark.parametrize(("fits", "term"), [(binary, "sd__Intercept"), (two_counts, "size")])
def test_sds_and_sizes_are_pooled_as_logarithms(fits: Callable[[], rx.GlmerFitList], term: str) -> None:
    each = pd.concat([fit.tidy("ran_pars").set_index("term").loc[[term]] for fit in fits()])
    log, variance = np.log(each["estimate"]), (each["std_error"] / each["estimate"]) ** 2
    total = variance.mean() + (1 + 1 / len(each)) * log.var(ddof=1)
    found = fits().pool().tidy("ran_pars").set_index("term").loc[term]
    assert found["estimate"] == pytest.approx(np.exp(log.mean()), rel=1e-12)
    assert found["scaled_se"] == pytest.approx(np.sqrt(total), rel=1e-10)
    assert found["std_error"] == pytest.approx(np.exp(log.mean()) * np.sqrt(total), rel=1e-10)
    assert found["n_boundary"] == 0


def test_limits_of_all_parameters() -> None:
    fit = counts()
    found = fit.confint().set_index("term")
    fixed = fit.tidy("fixed").set_index("term")
    half = Z * fixed["std_error"]
    np.testing.assert_allclose(found.loc[fixed.index, "conf_high"], fixed["estimate"] + half, rtol=1e-12)
    random = fit.tidy("ran_pars").set_index("term")
    np.testing.assert_array_equal(found.loc[random.index, "conf_low"], random["conf_low"])
    assert len(found) == fit.n_parameters
    assert len(two_counts().confint()) == 2 * fit.n_parameters
    for call in (fit.profile, lambda: fit.confint("profile"), lambda: two_counts().confint("profile")):
        with pytest.raises(DataError, match="profiles are for linear mixed models"):
            call()


def test_facts_of_a_fit() -> None:
    fit, expected = counts(), counts_reference("(1 | site)", "negative-binomial")
    row = fit.glance().iloc[0]
    assert (row["family"], row["link"], row["n_quad"]) == ("negative-binomial", "log", 1)
    for name, theirs in (("aic", "AIC"), ("bic", "BIC"), ("loglik", "logLik")):
        assert row[name] == pytest.approx(expected[theirs], rel=1e-10)
    assert row["df_residual"] == expected["nobs"] - expected["npar"]
    assert fit.opt.status == "converged"
    assert fit.opt.min_eigenvalue > 0
    assert np.isnan(fit.opt.theta0).all()
    assert two_counts().convergence()["converged"].all()
    assert two_counts().pool().glance()["family"][0] == "negative-binomial"


@pytest.mark.slow  # a program for two terms
def test_terms_that_repeat_each_other_are_named() -> None:
    data = frame("glmm_counts_nested").assign(place=lambda d: d["site"].astype(str))
    with pytest.warns(IdentifiabilityWarning, match="repeat"):
        fit = rx.glmer("count ~ x + (1 | site) + (1 | place)", data, "poisson")
    assert fit.n_parameters == 3
    assert fit.tidy("ran_pars")["std_error"].isna().all()


@pytest.mark.parametrize("fit", [lambda: logistic()[0], ordinal], ids=["binary", "ordinal"])
def test_coefficients_of_a_group_are_its_predictions_on_the_link_scale(fit: Callable[[], rx.GlmerFit]) -> None:
    own = fit()
    table = own.tidy("ran_coefs", conf_level=0.9)
    table = table[(table["group"] == "g") & (table["term"] == "Intercept")]
    new = pd.DataFrame({"g": table["level"], "x": 0.0, "item": 0})
    found = own.predict(new, scale="link", level=["g"], interval="confidence", conf_level=0.9)
    for column in ("estimate", "std_error", "conf_low", "conf_high"):
        np.testing.assert_allclose(table[column], found[column], rtol=1e-9)


def test_errors_of_modes_may_count_all_parameters() -> None:
    own = logistic()[0]
    known, total = (own.tidy("ran_vals", uncertainty=what)["std_error"] for what in ("conditional", "prediction"))
    assert (total > known).all()
    pooled = logistic().pool().tidy("ran_coefs").set_index("level")
    each = np.stack([one.tidy("ran_coefs")["estimate"] for one in logistic()])
    np.testing.assert_allclose(pooled["estimate"], each.mean(axis=0), rtol=1e-12)
