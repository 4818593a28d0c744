"""Conditional modes and their errors against the inverse of Henderson's equations, pooled against Rubin's rules."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from fitted_cases import fit_case, fits_case, studentratings
from reference_cases import load_case
from remlax.errors import DataError
from tables.dense_models import Dense, term_columns


def _models() -> dict[str, tuple[Dense, rx.LmerFit, list[tuple[int, list[str]]]]]:
    """Dense models beside fits: a slope, a chain of factors, crossed factors, weights."""
    out = {}
    frame = load_case("sleepstudy_weights")[1][0]
    x = np.column_stack([np.ones(len(frame)), frame["Days"]])
    case, fit = fit_case("sleepstudy_weights")
    weights = frame[case["weights"]].to_numpy()
    y = frame["Reaction"].to_numpy()
    out["slopes"] = Dense(x, y, [term_columns(frame["Subject"], x)], [2], weights), fit
    for name, response, groups in (
        ("oats_splitplot", "Y", [lambda f: f["V"].astype(str) + ":" + f["B"].astype(str), lambda f: f["B"]]),
        ("penicillin_crossed", "diameter", [lambda f: f["plate"], lambda f: f["sample"]]),
    ):
        frame, fit = load_case(name)[1][0], fit_case(name)[1]
        one = np.ones((len(frame), 1))
        z = [term_columns(group(frame), one) for group in groups]
        x = fit.selection.model.rows.x.of(0)
        out[name] = Dense(x, frame[response].to_numpy(), z, [1, 1]), fit
    return out


@pytest.mark.parametrize("name", ["slopes", "oats_splitplot", "penicillin_crossed"])
def test_errors_of_modes_against_henderson(name):
    model, fit = _models()[name]
    stack = fit.selection.fitted
    covs = [stack.covariance(t)[0] for t in range(len(model.z))]
    inverse = model.henderson(covs, fit.sigma)
    p = model.x.shape[1]
    sizes = [z.shape[1] for z in model.z]
    prediction = fit.tidy("ran_vals", uncertainty="prediction")
    conditional = fit.tidy("ran_vals")
    coefs = fit.tidy("ran_coefs")
    assert_allclose(prediction["std_error"], np.sqrt(np.diag(inverse)[p:]), rtol=1e-7)
    # given beta: the inverse of the random block alone
    given = np.linalg.inv(np.linalg.inv(inverse)[p:, p:])
    assert_allclose(conditional["std_error"], np.sqrt(np.diag(given)), rtol=1e-7)
    picks = np.zeros((sum(sizes), p))
    if name == "slopes":
        picks[0::2, 0] = picks[1::2, 1] = 1
    else:
        picks[:, list(fit.fixef().index).index("Intercept")] = 1
    sums = np.hstack([picks, np.eye(sum(sizes))])
    assert_allclose(coefs["std_error"], np.sqrt(np.diag(sums @ inverse @ sums.T)), rtol=1e-7)
    assert_allclose(coefs["estimate"], picks @ fit.fixef() + conditional["estimate"], rtol=1e-12)


def test_limits_of_one_fit():
    _, fit = fit_case("sleepstudy_corr")
    table = fit.tidy("ran_vals", conf_level=0.9)
    assert_allclose(table["conf_high"] - table["estimate"], 1.6448536269514722 * table["std_error"])
    assert table["term"].tolist()[:2] == ["Intercept", "Days"]
    assert table["level"].nunique() == 18
    assert table["group"].unique().tolist() == ["Subject"]


def test_a_random_column_without_a_coefficient():
    frame = load_case("sleepstudy_corr")[1][0]
    fit = rx.lmer("Reaction ~ 1 + (0 + Days | Subject)", frame)
    modes, coefs = fit.tidy("ran_vals", uncertainty="prediction"), fit.tidy("ran_coefs")
    assert_allclose(coefs[["estimate", "std_error"]], modes[["estimate", "std_error"]])


@pytest.mark.parametrize("effects", ["ran_vals", "ran_coefs"])
def test_pooled_modes_by_hand(effects):
    _, fits = studentratings()
    table = fits.pool().tidy(effects)
    each = [fit.tidy(effects) for fit in fits]
    values = np.array([t["estimate"] for t in each])
    ubar = np.mean([t["std_error"] ** 2 for t in each], axis=0)
    b = values.var(axis=0, ddof=1)
    assert_allclose(table["estimate"], values.mean(axis=0))
    assert_allclose(table["ubar"], ubar)
    assert_allclose(table["b"], b, rtol=1e-6)
    assert_allclose(table["std_error"], np.sqrt(ubar + 1.2 * b))
    assert table["n_present"].tolist() == [5] * 50


def test_pooled_modes_as_the_reference():
    case, fits = fits_case("hsb_vignette")
    reference = case["pooled"]["ranef_pooled"][0]
    shown = len(reference["levels"])
    table = fits.pool().tidy("ran_vals").iloc[: 2 * shown]
    assert table["level"].tolist()[::2] == reference["levels"]
    columns = {"estimate": "mean_mode", "ubar": "within_var", "b": "between_var", "t": "total_var"}
    for ours, theirs in columns.items():
        assert_allclose(table[ours].to_numpy().reshape(shown, 2), reference[theirs], rtol=2e-5, atol=1e-8)


def test_levels_missing_in_some_data_sets():
    rng = np.random.default_rng(1)
    frames = []
    for k in range(3):
        g = np.repeat(np.arange(10), 6)
        frame = pd.DataFrame({"g": g, "y": rng.normal(size=10)[g] * 2 + rng.normal(size=60)})
        frames.append(frame[frame["g"] != k].reset_index(drop=True))
    fits = rx.lmer_list("y ~ 1 + (1 | g)", frames)
    table = fits.pool().tidy("ran_vals").set_index("level")
    assert table["n_present"].tolist() == [2, 2, 2, *[3] * 7]
    single = fits[0].tidy("ran_vals").set_index("level").loc["0"]
    assert single["estimate"] == 0
    assert_allclose(single["std_error"], fits[0].varcorr()["sdcor"][0])
    # what is known of a group that is not in the data: its prior, and the uncertainty of the intercept
    coef = fits[0].tidy("ran_coefs").set_index("level").loc["0"]
    assert_allclose(coef["std_error"] ** 2, single["std_error"] ** 2 + fits[0].vcov().iloc[0, 0])


def test_unknown_uncertainty():
    _, fit = fit_case("sleepstudy_corr")
    with pytest.raises(DataError, match="uncertainty='both' is not known"):
        fit.tidy("ran_vals", uncertainty="both")
