"""Fits of generalised linear mixed models: a batch, verdicts where there is no maximum, and lowering for a GPU."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import cache

import jax
import numpy as np
import pandas as pd
import pytest
import row_fits
from jax import export

import remlax as rx
from remlax.engine.batch import mapped
from remlax.errors import ConvergenceWarning, DataError, DesignError
from remlax.glmm.optimum import fit

FORMULA = "y ~ x + (1 | g)"


def draw(seed: int, intercept: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(12), 6), rng.normal(size=72)
    eta = intercept + 0.6 * x + 0.8 * rng.normal(size=12)[g]
    return pd.DataFrame({"y": (rng.random(72) < 1 / (1 + np.exp(-eta))).astype(int), "x": x, "g": g})


def warned(call: Callable[[], rx.GlmerFit]) -> tuple[rx.GlmerFit, list[str]]:
    """What a call returns, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = call()
    return found, [str(one.message) for one in caught]


@cache
def fits() -> rx.GlmerFitList:
    return rx.glmer_list(FORMULA, [draw(seed) for seed in range(4)])


def test_a_batch_of_data_sets_is_as_many_fits() -> None:
    for k, one in enumerate(fits()):
        alone = rx.glmer(FORMULA, draw(k))
        np.testing.assert_allclose(alone.criterion(), one.criterion(), rtol=1e-12)
        np.testing.assert_allclose(alone.fixef(), one.fixef(), rtol=1e-8)
        np.testing.assert_allclose(alone.vcov(), one.vcov(), rtol=1e-7)
        np.testing.assert_allclose(alone.ranef()["g"], one.ranef()["g"], rtol=1e-7, atol=1e-9)


def test_lbfgs_ends_where_newton_does() -> None:
    other = rx.glmer_list(FORMULA, [draw(seed) for seed in range(4)], optimizer=rx.LBFGS())
    np.testing.assert_allclose(other.selection.theta, fits().selection.theta, rtol=1e-6)
    np.testing.assert_allclose(other.fixef(), fits().fixef(), rtol=1e-6)
    assert (other.convergence()["iterations"] > 0).all()


def test_successes_and_failures_are_proportions_with_trials() -> None:
    rng = np.random.default_rng(5)
    data = draw(0).assign(n=rng.integers(1, 6, 72))
    data["k"] = rng.binomial(data["n"], np.linspace(0.1, 0.9, 12)[data["g"]])
    both = rx.glmer("cbind(k, n - k) ~ x + (1 | g)", data)
    share = rx.glmer("share ~ x + (1 | g)", data.assign(share=data["k"] / data["n"]), weights="n")
    assert both.criterion() == pytest.approx(share.criterion(), rel=1e-12)
    np.testing.assert_allclose(both.fixef(), share.fixef(), rtol=1e-8)


def test_rows_and_units_may_change() -> None:
    data, one = draw(0), fits()[0]
    order = np.random.default_rng(1).permutation(len(data))
    other = rx.glmer(FORMULA, data.iloc[order].assign(x=lambda d: 1000 + 10 * d["x"]).reset_index(drop=True))
    assert other.criterion() == pytest.approx(one.criterion(), rel=1e-12)
    assert other.fixef()["x"] * 10 == pytest.approx(one.fixef()["x"], rel=1e-7)


def test_criterion_is_lowest_at_the_estimates() -> None:
    one = fits()[0]
    theta, beta = one.theta, one.fixef().to_numpy()
    assert one.criterion(theta=theta, beta=beta) == pytest.approx(one.criterion(), rel=1e-12)
    for step in ([0.05, 0, 0], [0, 0.05, 0], [0, 0, -0.05]):
        assert one.criterion(theta=theta + step[:1], beta=beta + step[1:]) > one.criterion()
    with pytest.raises(DataError, match="theta must hold 1 finite numbers"):
        one.criterion(theta=[1.0, 2.0])


def test_a_data_set_without_a_maximum_is_no_converged_fit() -> None:
    constant, separated, good = draw(0).assign(y=1), draw(1).assign(y=lambda d: (d["x"] > 0).astype(int)), draw(2)
    levels = draw(3).assign(y=lambda d: (d["g"] % 2 == 0).astype(int))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = rx.glmer_list(FORMULA, [constant, separated, good, levels])
    said = [str(one.message) for one in caught if issubclass(one.category, ConvergenceWarning)]
    assert found.convergence()["status"].tolist() == ["no maximum", "no maximum", "converged", "no maximum"]
    assert any("the response is constant in data set 1" in text for text in said)
    assert any("separates the outcome in data set 2" in text for text in said)
    assert any("all but determine the outcome in data set 4" in text for text in said)
    # the others are as if alone
    assert found[2].criterion() == pytest.approx(rx.glmer(FORMULA, good).criterion(), rel=1e-12)
    with pytest.raises(rx.RemlaxError):
        found.pool()
    # what rests on such a fit says so, and only that
    for call in (found[1].predict, lambda: rx.simulate(found[1], seed=1), lambda: found[1].slopes("x")):
        with pytest.warns(ConvergenceWarning, match="imputation 2 did not converge: a linear predictor separates"):
            call()
    with pytest.raises(DataError, match="the fit of imputation 2 did not converge: it cannot be simulated from"):
        rx.bootstrap(found[1], 2)
    found[2].predict()
    rx.simulate(found[2], seed=1)


def test_few_events_do_not_disturb_the_others() -> None:
    rare = [draw(seed, -5.0) for seed in range(12)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = rx.glmer_list(FORMULA, rare)
    ok = found.convergence()["converged"].to_numpy()
    assert not ok[[frame["y"].sum() == 0 for frame in rare]].any()
    assert np.abs(found.fixef().to_numpy()[ok]).max(initial=0.0) < 50


def test_lowers_for_cuda_without_callback() -> None:
    batch = fits().selection.model.batch
    n, p = batch.n_sets, batch.structure.n_parameters  # type: ignore[attr-defined]
    arguments = (np.full((n, p), np.nan), np.ones(n), np.full(n, 100, np.int32)), batch.problem
    with jax.enable_x64(True):
        module = export.export(mapped(fit), platforms=["cuda"])(*arguments).mlir_module()
    # without the names of the Python functions that it came from
    module = re.sub(r" loc\(#?[^)]*\)|^#loc.*\n", "", module, flags=re.MULTILINE)
    assert not re.findall(r"custom_call @(\w+)", module)
    assert "callback" not in module
    assert "f32" not in module
    # Newton, the search for modes, and loops over columns of small matrices
    assert module.count("stablehlo.while") <= 4


@pytest.mark.slow
def test_counts_without_overdispersion_have_poissons_estimates() -> None:
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(12), 6), rng.normal(size=72)
    mean = np.exp(1 + 0.3 * x + 0.5 * rng.normal(size=12)[g])
    # less variable than Poisson counts
    data = pd.DataFrame({"y": np.round(mean).astype(int), "x": x, "g": g})
    poisson = rx.glmer(FORMULA, data, "poisson")
    found, said = warned(lambda: rx.glmer(FORMULA, data, "negative-binomial"))
    assert said == ["singular fit: the size is infinite (no overdispersion), which is the Poisson model"]
    assert found.converged
    assert found.is_singular
    # a size of a million is not yet infinity
    assert found.criterion() == pytest.approx(poisson.criterion(), abs=1e-3)
    np.testing.assert_allclose(found.fixef(), poisson.fixef(), atol=1e-4)
    np.testing.assert_allclose(found.vcov(), poisson.vcov(), rtol=1e-3)
    size = found.tidy("ran_pars").set_index("term").loc["size"]
    assert np.isinf(size["estimate"])
    assert np.isnan(size["std_error"])
    assert np.isinf(found.dispersion)
    for text in (str(found.summary()), found.report(), *found.tidy().notes):
        assert "the size is infinite" in text
        assert "variance is estimated as 0" not in text


def test_separated_counts_have_no_maximum() -> None:
    data = draw(0).assign(f=np.tile(["a", "b", "c"], 24), y=np.random.default_rng(1).poisson(2.0, 72))
    zeros = data.assign(y=np.where(data["f"] == "c", 0, data["y"]))
    found, said = warned(lambda: rx.glmer("y ~ f + (1 | g)", zeros, "poisson"))
    assert any("separates the outcome in data set 1: " in text and "f[T.c]" in text for text in said)
    assert found.opt.status == "no maximum"


def test_the_unit_of_a_gamma_response_is_its_intercept() -> None:
    rng = np.random.default_rng(3)
    data = draw(0).assign(y=rng.gamma(3.0, size=72))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, other = (rx.glmer(FORMULA, data.assign(y=unit * data["y"]), "gamma") for unit in (1.0, 1e-4))
    np.testing.assert_allclose(other.fixef() - one.fixef(), [np.log(1e-4), 0.0], atol=1e-6)
    assert other.dispersion == pytest.approx(one.dispersion, rel=1e-6)


def test_each_coefficient_may_have_degrees_of_freedom_of_its_own() -> None:
    pooled = fits().pool(dfcom=[20.0, 40.0])
    assert pooled.tidy("fixed")["dfcom"].tolist() == [20.0, 40.0]
    assert fits()[0].tidy("fixed", ddf=np.array([20.0, 40.0]))["df"].tolist() == [20.0, 40.0]


@pytest.mark.slow
def test_thresholds_take_up_what_is_added_to_a_predictor() -> None:
    near, far = row_fits.fit("ordinal"), 1e5
    data = row_fits.frame().assign(x=lambda d: d["x"] + far)
    found = rx.glmer("grade ~ x + (1 | g)", data, "ordinal")
    assert found.converged
    assert found.criterion() == pytest.approx(near.criterion(), abs=1e-8)
    np.testing.assert_allclose(found.fixef(), near.fixef(), rtol=1e-9)
    np.testing.assert_allclose(found.vcov(), near.vcov(), rtol=1e-8)
    ours, theirs = (one.tidy("ran_pars").set_index("term").loc["low|fair":] for one in (near, found))
    np.testing.assert_allclose(theirs["estimate"] - far * found.fixef()["x"], ours["estimate"], atol=1e-8)
    # all but the error of the slope vanishes beside 1e5 times it
    np.testing.assert_allclose(theirs["std_error"], far * np.sqrt(found.vcov().iloc[0, 0]), rtol=1e-4)
    a = near.predict(row_fits.frame().head(3), interval="confidence")
    b = found.predict(data.head(3), interval="confidence")
    np.testing.assert_allclose(b[["estimate", "std_error"]], a[["estimate", "std_error"]], rtol=1e-8)
    at = {"theta": found.theta, "beta": found.fixef().to_numpy()}
    assert found.criterion(**at) == pytest.approx(near.criterion(), abs=1e-8)


def test_columns_that_make_a_constant_are_refused_beside_thresholds() -> None:
    with pytest.raises(DesignError, match=r"has thresholds in place of an intercept: leave '0 \+' out"):
        rx.glmer("grade ~ 0 + f + (1 | g)", row_fits.frame(), "ordinal")
