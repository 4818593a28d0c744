"""Draws that are returned, coefficients that count as known, and new data without the grouping column."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from predict_cases import fits_of

import remlax as rx
from reference_cases import load_case
from remlax.errors import DataError
from remlax.fitting.selection import Selection
from remlax.predict.known_terms import given_coefficients, intercept_correction

UNIT = pd.DataFrame({"Days": [0.0, 1.0], "Subject": "308"})


def sleep():
    return fits_of("sleepstudy_corr")[0]


def pooled():
    return fits_of("studentratings_k5").pool()


def rated():
    return load_case("studentratings_k5")[1][0].iloc[[0, 5, 9]]


# -- draws ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["full", "fixed", "random", "all"])
@pytest.mark.parametrize("model", [sleep, pooled])
def test_intervals_are_quantiles_of_the_draws(model, which):
    new = UNIT if model is sleep else rated()
    options = {"which": which, "n_sims": 20, "seed": 4}
    table = model().predict_interval(new, conf_level=0.8, **options)
    draws = model().predict_interval(new, return_draws=True, **options)
    found = draws.quantile([0.1, 0.5, 0.9], axis=1).T
    np.testing.assert_allclose(table[["conf_low", "estimate", "conf_high"]], found, rtol=1e-12)
    assert draws.index.droplevel("effect").equals(table.index) if which == "all" else draws.index.equals(new.index)
    if which == "all":
        assert draws.index.get_level_values("effect").tolist() == table["effect"].tolist()


def test_draws_are_named():
    one = sleep().predict_interval(UNIT, return_draws=True, n_sims=20, seed=1)
    assert one.columns.tolist() == list(range(1, 21))
    assert one.columns.name == "draw"
    several = pooled().predict_interval(rated(), return_draws=True, n_sims=20, seed=1)
    assert several.shape == (3, 100)
    assert several.columns.names == ["imp", "draw"]
    assert several[2].shape == (3, 20)
    assert several.attrs == pooled().predict_interval(rated(), n_sims=20, seed=1).attrs


def test_parts_of_a_draw_add_up():
    draws = sleep().predict_interval(UNIT, which="all", return_draws=True, n_sims=20, seed=1, residual=False)
    np.testing.assert_allclose(draws.loc["combined"], draws.loc["fixed"] + draws.loc["Subject"], rtol=1e-12)


# -- coefficients that count as known -------------------------------------------------------------------------------


def corrected_precision(fit) -> np.ndarray:
    """Inverse covariance of the coefficients after merTools' correction, from the tables of the fit."""
    vcov = fit.vcov().to_numpy()
    modes, variances = fit.tidy("ran_vals"), fit.varcorr()
    left = vcov[0, 0]
    for group in modes["group"].unique():
        own = variances[(variances["group"] == group) & (variances["var1"] == "Intercept") & variances["var2"].isna()]
        levels = modes[(modes["group"] == group) & (modes["term"] == "Intercept")]
        left -= 1 / (1 / (own["vcov"].item() + levels["std_error"] ** 2)).sum()
    precision = np.linalg.inv(vcov)
    precision[0, 0] *= vcov[0, 0] / left
    return precision


@pytest.mark.parametrize("case", ["sleepstudy_corr", "orthodont_sex"])
def test_the_corrected_covariance_is_mertools(case):
    fit = fits_of(case)[0]
    matrix = intercept_correction(fit.selection.one(0))
    found = matrix @ fit.vcov().to_numpy() @ matrix.T
    np.testing.assert_allclose(found, np.linalg.inv(corrected_precision(fit)), rtol=1e-8)
    if case == "sleepstudy_corr":
        # merTools 0.5.2, 50,000 draws: fm <- lmer(Reaction ~ Days + (Days | Subject), sleepstudy);
        # x <- attr(predictInterval(fm, data.frame(Days = 0:1, Subject = "308"), which = "fixed", n.sims = 2000,
        #   include.resid.var = FALSE, returnSims = TRUE, fix.intercept.variance = TRUE), "sim.results"), 25 seeds;
        # cov(cbind(x[1, ], x[2, ] - x[1, ])): standard errors of 0.6 %
        np.testing.assert_allclose(found[[0, 1], [0, 1]], [4.4048, 2.3548], rtol=0.025)


@pytest.mark.parametrize("known", [[0], [1, 3], [0, 1, 2, 3]])
def test_known_coefficients_have_the_conditional_covariance(known):
    vcov = fits_of("orthodont_sex")[0].vcov().to_numpy()
    matrix = given_coefficients(vcov, known)
    rest = np.setdiff1d(np.arange(4), known)
    expected = np.zeros((4, 4))
    # the inverse of the precision without the rows and columns of what is known
    expected[np.ix_(rest, rest)] = np.linalg.inv(np.linalg.inv(vcov)[np.ix_(rest, rest)])
    np.testing.assert_allclose(matrix @ vcov @ matrix.T, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "covariance"),
    [
        ({}, lambda fit: fit.vcov().to_numpy()),
        ({"ignore_fixed_terms": "Days"}, lambda fit: np.diag([1 / np.linalg.inv(fit.vcov())[0, 0], 0.0])),
        ({"fix_intercept_variance": True}, lambda fit: np.linalg.inv(corrected_precision(fit))),
        (
            {"fix_intercept_variance": True, "ignore_fixed_terms": ["(Intercept)"]},
            lambda fit: np.diag([0.0, 1 / corrected_precision(fit)[1, 1]]),
        ),
    ],
)
def test_draws_have_the_covariance(options, covariance):
    n = 4000
    draws = (
        sleep()
        .predict_interval(
            UNIT, which="fixed", draws="separate", residual=False, return_draws=True, n_sims=n, seed=2, **options
        )
        .to_numpy()
    )
    beta, expected = np.stack([draws[0], draws[1] - draws[0]]), covariance(sleep())
    size = np.sqrt(np.diag(sleep().vcov()))
    # 4.5 standard errors of variances, covariances and means
    error = 4.5 * np.sqrt(2 / n) * np.sqrt(np.outer(np.diag(expected), np.diag(expected))) + 1e-9 * np.outer(size, size)
    assert (np.abs(np.cov(beta) - expected) < error).all()
    assert (np.abs(beta.mean(axis=1) - sleep().fixef()) < 4.5 * np.sqrt(np.diag(expected) / n) + 1e-9 * size).all()


def test_random_effects_are_drawn_as_before():
    same = {"which": "random", "draws": "separate", "residual": False, "n_sims": 20, "seed": 3}
    one = sleep().predict_interval(UNIT, **same)
    pd.testing.assert_frame_equal(one, sleep().predict_interval(UNIT, ignore_fixed_terms=["Days"], **same))


def test_a_known_coefficient_is_the_pooled_estimate():
    model, new = pooled(), rated().iloc[[0, 0]]
    name = next(one for one, dtype in new.dtypes.items() if one in model.fixef() and dtype.kind == "f")
    new = new.assign(**{name: [0.0, 1.0]}).reset_index(drop=True)
    same = {"which": "fixed", "draws": "separate", "residual": False, "return_draws": True, "n_sims": 20, "seed": 3}
    free = model.predict_interval(new, **same).diff().iloc[1]
    assert free.std() > 0.1 * model.tidy("fixed").set_index("term")["std_error"][name]
    known = model.predict_interval(new, ignore_fixed_terms=name, **same).diff().iloc[1]
    np.testing.assert_allclose(known, model.fixef()[name], rtol=1e-9)
    every = model.predict_interval(new, ignore_fixed_terms=list(model.fixef().index), **same)
    expected = model.predict(new, level="population")["estimate"]
    np.testing.assert_allclose(every, np.tile(expected.to_numpy()[:, None], every.shape[1]), rtol=1e-9)


def test_options_of_draws_are_checked():
    fit = sleep()
    for arguments, text in [
        ({"ignore_fixed_terms": "Days"}, "ignore_fixed_terms= makes up for what draws='separate' counts twice"),
        ({"fix_intercept_variance": True}, "fix_intercept_variance= makes up for what draws='separate' counts twice"),
        ({"ignore_fixed_terms": "Day", "draws": "separate"}, "names 'Day', which is no coefficient; there are Interc"),
        ({"ignore_fixed_terms": [1], "draws": "separate"}, r"ignore_fixed_terms=\[1\] must name coefficients: Interc"),
        ({"ignore_fixed_terms": True, "draws": "separate"}, "ignore_fixed_terms=True must name coefficients"),
        ({"return_draws": True, "method": "analytic"}, "return_draws= is about draws, and method='analytic' makes no"),
        ({"fix_intercept_variance": True, "method": "analytic"}, "fix_intercept_variance= is about draws, and"),
        ({"return_draws": True, "n_sims": 10**12}, "ask for fewer draws"),
    ]:
        error = MemoryError if "n_sims" in arguments else DataError
        with pytest.raises(error, match=text):
            fit.predict_interval(UNIT, **arguments)
    # merTools warns "fix.intercept.variance got negative variance" here and goes on
    with pytest.raises(DataError, match=r"takes 0\.6616 from the intercept's variance of 0\.6538, and nothing is left"):
        fits_of("penicillin_crossed")[0].predict_interval(fix_intercept_variance=True, draws="separate")
    slopes = rx.lmer("Reaction ~ Days + (0 + Days | Subject)", rx.datasets.sleepstudy())
    with pytest.raises(DataError, match="needs an intercept, and the random part of the model has none"):
        intercept_correction(slopes.selection.one(0))


def test_a_variance_of_zero_takes_nothing():
    stack = fits_of("dyestuff2_singular").selection.fitted
    np.testing.assert_allclose(intercept_correction(Selection(stack, (0,))), np.eye(1))


# -- new data without the grouping column ---------------------------------------------------------------------------


def test_the_fixed_part_needs_no_groups():
    days = UNIT.drop(columns="Subject")
    same = {"which": "fixed", "n_sims": 20, "seed": 5}
    pd.testing.assert_frame_equal(sleep().predict_interval(days, **same), sleep().predict_interval(UNIT, **same))
    strange = UNIT.assign(Subject="never seen")
    pd.testing.assert_frame_equal(sleep().predict_interval(strange, **same), sleep().predict_interval(UNIT, **same))
    label = "ID"
    one, other = rated().drop(columns=label), rated()
    pd.testing.assert_frame_equal(pooled().predict_interval(one, **same), pooled().predict_interval(other, **same))


@pytest.mark.slow
@pytest.mark.parametrize("new_levels", ["draw", "mean"])
def test_rows_without_the_column_are_of_a_new_group(new_levels):
    days, named = UNIT.drop(columns="Subject"), UNIT.assign(Subject="new")
    for which in ("full", "random"):
        same = {"which": which, "new_levels": new_levels, "n_sims": 20, "seed": 5}
        pd.testing.assert_frame_equal(sleep().predict_interval(days, **same), sleep().predict_interval(named, **same))
    same = {"interval": "confidence", "new_levels": new_levels}
    pd.testing.assert_frame_equal(sleep().predict(days, **same), sleep().predict(named, **same))
    label = "ID"
    one, other = rated().drop(columns=label), rated().assign(**{label: "new"})
    pd.testing.assert_frame_equal(pooled().predict(one, **same), pooled().predict(other, **same))


def test_one_new_group_has_one_effect():
    days = UNIT.drop(columns="Subject").iloc[[0, 0]]
    draws = sleep().predict_interval(
        days, which="random", residual=False, new_levels="draw", return_draws=True, n_sims=20, seed=5
    )
    np.testing.assert_array_equal(draws.iloc[0], draws.iloc[1])


@pytest.mark.slow
def test_a_new_group_within_a_known_one():
    fit, new = fits_of("pastes_nested")[0], load_case("pastes_nested")[1][0].head(2)
    inner = next(c for t in fit.selection.model.rows.formula.random if len(t.group) > 1 for c in t.group[:1])
    same = {"new_levels": "draw", "interval": "confidence"}
    found = fit.predict(new.drop(columns=inner), **same)
    named = new.assign(**{inner: "new"})
    pd.testing.assert_frame_equal(found, fit.predict(named, **same))


def test_a_column_that_is_missing_is_named():
    days = UNIT.drop(columns="Subject")
    needs = (
        r"has no column 'Subject', which the grouping factor 'Subject' needs; its columns are 'Days'; it needs none wi"
    )
    for arguments in ({}, {"which": "random"}):
        with pytest.raises(DataError, match=needs):
            sleep().predict_interval(days, **arguments)
    misspelt = days.assign(subject="308")
    with pytest.raises(DataError, match=r"has no column 'Subject', .*; did you mean 'subject'"):
        sleep().predict_interval(misspelt, new_levels="draw")
