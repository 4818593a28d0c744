"""Responses drawn from a fitted model, and refits to other responses, against dense algebra and separate fits."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from dense_model import lower
from fitted_cases import fit_case, fits_case
from random_models import random_frame, random_model
from remlax.errors import DataError
from remlax.fitting.refit import draw_responses, refit_to
from remlax.fitting.selection import Selection


@pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
@pytest.mark.parametrize(
    "structure",
    [
        "(1 + x | g)",
        pytest.param("(1 + x | b/a)", marks=pytest.mark.slow),
        pytest.param("(1 + x | g) + (1 | h)", marks=pytest.mark.slow),
    ],
)
def test_a_refit_is_the_fit_of_that_response(structure):
    frames = [random_frame(seed, n, levels=8) for seed, n in ((1, 60), (2, 55))]
    formula = random_model(structure, frames[0]).formula
    fits = rx.lmer_list(formula, frames, weights="w", offset="off")
    rng = np.random.default_rng(1)
    y = 100 + 3 * rng.normal(size=(3, 55)) + frames[1]["y"].to_numpy()
    again = rx.LmerFitList(Selection(refit_to(fits.selection.one(1), y), (0, 1, 2)))
    for k in range(3):
        one = rx.lmer(formula, frames[1].assign(y=y[k]), weights="w", offset="off")
        assert_allclose(again[k].criterion(), one.criterion(), rtol=1e-9)
        assert_allclose(again[k].fixef(), one.fixef(), rtol=1e-6)
        assert_allclose(again[k].vcov(), one.vcov(), rtol=1e-5, atol=1e-12)
        assert_allclose(again[k].fitted(), one.fitted(), rtol=1e-6)
        # the data come along: tables that show them show the new response
        assert_allclose(again[k].augment()["y"], y[k])


def test_the_own_response_gives_the_own_fit():
    _, fit = fit_case("sleepstudy_corr")
    stack = fit.selection.fitted
    again = refit_to(Selection(stack, (0,)), stack.model.rows.y.of(0)[None])
    assert_allclose(again.theta, stack.theta, rtol=1e-7)
    assert_allclose(again.beta, stack.beta, rtol=1e-10)
    # and a refit can be refitted
    assert_allclose(
        refit_to(Selection(again, (0,)), again.model.rows.y.of(0)[None]).criterion, stack.criterion, rtol=1e-10
    )


def test_refits_follow_the_units_of_the_response():
    _, fits = fits_case("hsb_vignette")
    stack = fits.selection.fitted
    y = draw_responses(Selection(stack, (2,)), 2, np.random.default_rng(3))
    a, b = refit_to(Selection(stack, (2,)), y), refit_to(Selection(stack, (2,)), 1e6 + 1000 * y)
    assert_allclose(b.sigma, 1000 * a.sigma, rtol=1e-7)
    assert_allclose(b.beta[:, 1:], 1000 * a.beta[:, 1:], rtol=1e-6)
    assert_allclose(b.theta, a.theta, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
@pytest.mark.parametrize("structure", ["(1 + x | g)", pytest.param("(1 + x | g) + (1 | h)", marks=pytest.mark.slow)])
def test_draws_have_the_covariance_of_the_model(structure):
    frame = random_frame(4, 24, levels=4)
    model = random_model(structure, frame)
    fit = rx.lmer(model.formula, frame, weights="w", offset="off")
    stack = fit.selection.fitted
    v = np.diag(1 / frame["w"].to_numpy())
    for t, term in enumerate(stack.model.layout.terms):
        dense = model.term(term.group, term.names)
        root = dense.wide() @ np.kron(np.eye(dense.n_levels), lower(fit.theta[term.theta], term.q))
        assert_allclose(lower(fit.theta[term.theta], term.q), stack.relative_factor(t)[0])
        v = v + root @ root.T
    v *= fit.sigma**2
    n_sims = 40_000
    y = draw_responses(Selection(stack, (0,)), n_sims, np.random.default_rng(5))
    mean = model.x @ fit.fixef().to_numpy() + frame["off"].to_numpy()
    assert np.abs((y.mean(axis=0) - mean) / np.sqrt(np.diag(v) / n_sims)).max() < 4.5
    error = np.sqrt((np.outer(np.diag(v), np.diag(v)) + v**2) / n_sims)
    assert np.abs((np.cov(y.T, bias=True) - v) / error).max() < 5
    # the first draws do not depend on how many there are, and modes that are kept leave the residual alone
    assert_allclose(draw_responses(Selection(stack, (0,)), 3, np.random.default_rng(5)), y[:3])
    kept = draw_responses(Selection(stack, (0,)), n_sims, np.random.default_rng(5), given_modes=True)
    z = (kept - fit.fitted().to_numpy()) * np.sqrt(frame["w"].to_numpy()) / fit.sigma
    assert abs(np.mean(z**2) - 1) < 5 * np.sqrt(2 / z.size)


def test_responses_that_cannot_be_fitted():
    _, fit = fit_case("sleepstudy_corr")
    stack = fit.selection.fitted
    n = fit.nobs
    with pytest.raises(DataError, match=rf"shape \(2, 3\); they need one row per data set and {n} columns"):
        refit_to(Selection(stack, (0,)), np.ones((2, 3)))
    bad = np.random.default_rng(1).normal(size=(2, n))
    bad[1, 4] = np.nan
    with pytest.raises(DataError, match="response 2 of 2 holds values that are not finite"):
        refit_to(Selection(stack, (0,)), bad)
    with pytest.raises(DataError, match="explains response 1 of 1 exactly"):
        refit_to(Selection(stack, (0,)), np.ones((1, n)))
