"""Draws and simulated intervals against dense algebra, merTools and the analytic intervals."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from predict_cases import dense_joint, fits_of
from scipy import stats

import remlax as rx
from reference_cases import REFERENCE, load_case
from remlax.errors import DataError
from remlax.fitting import layout
from remlax.fitting.selection import Selection
from remlax.predict.draws import draw_estimates, row_draws
from remlax.predict.newdata import include_level, read_newdata, rows_of_fit


@cache
def mertools() -> dict[str, Any]:
    return json.loads((REFERENCE / "predict" / "mertools.json").read_text())


@pytest.mark.parametrize("case", ["sleepstudy_corr", "pastes_nested", "penicillin_crossed", "dyestuff2_singular"])
def test_joint_draws_have_the_covariance_of_the_mixed_model_equations(case):
    stack, n = fits_of(case).selection.fitted, 8000
    draws = draw_estimates(Selection(stack, (0,)), n, seed=3)
    effects = [np.swapaxes(e[0], 1, 2).reshape(n, -1) for e in draws.effects]
    flat = np.concatenate([draws.gamma[0], *effects], axis=1)
    expected = dense_joint(stack, 0)
    sd = np.sqrt(np.diag(expected) + 1e-12 * np.diag(expected).max())
    means = np.concatenate([stack.beta[0], *(m.modes[0].reshape(-1) for m in stack.factor_modes)])
    # largest of thousands of standard normal deviates: below 5.5 with near certainty
    assert np.abs((flat.mean(axis=0) - means) / sd * np.sqrt(n)).max() < 5.5
    rho = expected / np.outer(sd, sd)
    # sigma is drawn as well, which widens everything by (n - p) / (n - p - 2): take that out
    degrees = stack.model.rows.n_rows(0) - stack.beta.shape[1]
    found = np.cov(flat.T) / np.outer(sd, sd) * (degrees - 2) / degrees
    # 7 rather than 5.5 deviates: these are products of t variables
    assert np.abs((found - rho) / np.sqrt((1 + rho**2) / n)).max() < 7
    assert np.isclose(np.mean(1 / draws.sigma[0] ** 2), 1 / stack.sigma[0] ** 2, rtol=5 * np.sqrt(2 / degrees / n))


def _quantile_error(p: float, n: int) -> float:
    """Monte Carlo standard error of a normal quantile, in standard deviations."""
    return float(np.sqrt(p * (1 - p) / n) / stats.norm.pdf(stats.norm.ppf(p)))


@pytest.mark.parametrize(
    "case",
    ["sleepstudy_corr", *(pytest.param(c, marks=pytest.mark.slow) for c in ("penicillin_crossed", "orthodont_sex"))],
)
def test_separate_draws_give_mertools_intervals(case):
    numbers = mertools()[case]
    fit, new = fits_of(case)[0], load_case(case)[1][0].iloc[numbers["rows"]]
    n = 8000

    def compare(theirs: dict[str, Any], level: float, at: slice = slice(None), **arguments: Any) -> None:
        mine = fit.predict_interval(new, n_sims=n, seed=11, conf_level=level, draws="separate", **arguments)
        if arguments.get("which") == "all":
            name = theirs["effect"][at.start]
            mine = mine[mine["effect"] == name]
        high, low = np.array(theirs["upr"][at]), np.array(theirs["lwr"][at])
        tail = (1 + level) / 2
        sd = (high - low) / (2 * stats.norm.ppf(tail))
        # two simulations, of n and n_sims draws
        error = np.sqrt(1 + n / numbers["n_sims"]) * sd
        assert (np.abs(mine["conf_high"] - high) < 4.5 * error * _quantile_error(tail, n)).all()
        assert (np.abs(mine["conf_low"] - low) < 4.5 * error * _quantile_error(tail, n)).all()
        assert (np.abs(mine["estimate"] - theirs["fit"][at]) < 4.5 * error * _quantile_error(0.5, n)).all()

    compare(numbers["full"], 0.8)
    compare(numbers["full95_mean"], 0.95, stat="mean")
    compare(numbers["fixed"], 0.9, which="fixed")
    compare(numbers["no_residual"], 0.9, residual=False)
    compare(numbers["random_no_residual"], 0.9, which="random", residual=False)
    size = len(numbers["rows"])
    for start in range(0, len(numbers["all"]["effect"]), size):
        compare(numbers["all"], 0.8, slice(start, start + size), which="all", residual=False)


@pytest.mark.parametrize("residual", [True, False])
def test_joint_draws_give_the_analytic_intervals(residual):
    fit, new = fits_of("sleepstudy_corr")[0], load_case("sleepstudy_corr")[1][0].iloc[[0, 77, 150]]
    n, level = 20_000, 0.9
    table = fit.predict_interval(new, n_sims=n, seed=5, conf_level=level, residual=residual)
    exact = fit.predict(new, interval="prediction" if residual else "confidence")
    # given theta the joint posterior is a t distribution with n - p degrees of freedom
    quantile = stats.t.ppf((1 + level) / 2, 178)
    error = 4.5 * exact["std_error"] * 1.05 * _quantile_error(0.95, n)
    assert (np.abs(table["conf_high"] - exact["estimate"] - quantile * exact["std_error"]) < error).all()
    assert (np.abs(table["conf_low"] - exact["estimate"] + quantile * exact["std_error"]) < error).all()
    by_formula = fit.predict_interval(new, method="analytic", conf_level=level, residual=residual)
    direct = fit.predict(new, interval="prediction" if residual else "confidence", conf_level=level)
    assert np.array_equal(by_formula, direct[["estimate", "conf_low", "conf_high"]])


def test_pooled_draws_have_the_total_variance():
    pooled = fits_of("studentratings_k5").pool()
    fits = pooled.selection
    new = load_case("studentratings_k5")[1][0].iloc[[0, 300, 700]]
    rows = read_newdata(fits, new, include_level(fits.fitted, "group"), "error")
    n = 20_000
    ((part, values),) = row_draws(fits, rows, n, 1, "joint")
    assert part == slice(0, 3)
    total = values[:, :-1].sum(axis=1).reshape(-1, 3)
    exact = pooled.predict(new, interval="confidence")
    df = fits.n_rows[0] - fits.beta.shape[1]
    within = exact["std_error"] ** 2 / (1 + exact["riv"])
    variance = exact["std_error"] ** 2 + within * (df / (df - 2) - 1)
    assert np.allclose(total.var(axis=0), variance, rtol=4.5 * np.sqrt(2 / (5 * n)))
    assert (np.abs(total.mean(axis=0) - exact["estimate"]) < 4.5 * exact["std_error"] / np.sqrt(5 * n)).all()
    residual = values[:, -1].reshape(-1, 3)
    sigma2 = np.mean(fits.sigma**2) * df / (df - 2)
    assert np.allclose(residual.var(axis=0), sigma2, rtol=5 * np.sqrt(2 / (5 * n)))
    assert abs(np.corrcoef(residual.T)[0, 1]) < 5 / np.sqrt(5 * n)


def test_new_levels_are_drawn_from_their_prior():
    fit = fits_of("sleepstudy_corr")[0]
    new = pd.DataFrame({"Days": [0.0, 8.0, 0.0], "Subject": ["one", "one", "two"]})
    stack, n = fit.selection.fitted, 20_000
    rows = read_newdata(Selection(stack, (0,)), new, include_level(stack, "group"), "draw")
    ((_, values),) = row_draws(Selection(stack, (0,)), rows, n, 1, "joint")
    z = np.array([[1.0, 0.0], [1.0, 8.0]])
    prior = z @ stack.covariance(0)[0] @ z.T * 178 / 176
    found = np.cov(values[0, 1].T)
    assert np.allclose(found[:2, :2], prior, rtol=0.05)  # 5 standard errors of a variance
    assert abs(found[0, 2] / found[0, 0]) < 5 / np.sqrt(n)
    table = fit.predict_interval(new, n_sims=200, seed=1, new_levels="mean", which="random", residual=False)
    assert (table == 0).all(axis=None)


def test_seeds():
    pooled = fits_of("studentratings_k5").pool()
    frame = load_case("studentratings_k5")[1][0]
    one = pooled.predict_interval(frame.iloc[[0, 5]], n_sims=50, seed=7)
    assert one.equals(pooled.predict_interval(frame.iloc[[0, 5]], n_sims=50, seed=7))
    assert not one.equals(pooled.predict_interval(frame.iloc[[0, 5]], n_sims=50, seed=8))
    assert not one.equals(pooled.predict_interval(frame.iloc[[0, 5]], n_sims=50))
    # coefficients and effects do not depend on which rows are asked for, nor on the other imputations
    alone = pooled.predict_interval(frame.iloc[[5]], n_sims=50, seed=7, residual=False)
    among = pooled.predict_interval(frame.iloc[[0, 5]], n_sims=50, seed=7, residual=False)
    assert np.allclose(alone.iloc[0], among.iloc[1], rtol=1e-12)
    together, last = draw_estimates(pooled.selection, 20, 3), draw_estimates(pooled.selection.one(4), 20, 3)
    assert np.allclose(together.gamma[4], last.gamma[0], rtol=1e-12)


def test_rows_are_drawn_in_pieces(monkeypatch):
    fit = fits_of("sleepstudy_weights")[0]
    stack = fit.selection.fitted
    rows = rows_of_fit(Selection(stack, (0,)), include_level(stack, "group"))
    whole = next(iter(row_draws(Selection(stack, (0,)), rows, 40, 2, "joint")))[1]
    monkeypatch.setattr("remlax.predict.draws.CHUNK_DRAWS", 40 * 3 * 64)
    pieces = list(row_draws(Selection(stack, (0,)), rows, 40, 2, "joint"))
    assert [p.start for p, _ in pieces] == [0, 64, 128]
    together = np.concatenate([values for _, values in pieces], axis=3)
    assert np.allclose(together[:, :-1], whole[:, :-1])
    # residuals of the weighted rows: variance sigma^2 / w
    weights = stack.model.rows.weights.of(0)
    scaled = together[0, -1] * np.sqrt(weights) / stack.sigma[0]
    assert abs(scaled.var() - 1) < 5 * np.sqrt(2 / scaled.size + 2 / 180 / 40)


def test_arguments_are_checked():
    fit = fits_of("sleepstudy_corr")[0]
    for arguments, text in [
        ({"which": "both"}, "which='both'"),
        ({"stat": "mode"}, "stat='mode'"),
        ({"n_sims": 1}, "n_sims=1"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"conf_level": 1.0}, "conf_level=1.0"),
        ({"draws": "other"}, "draws='other'"),
        ({"method": "bootstrap"}, "method='bootstrap'"),
        ({"method": "analytic", "which": "random"}, "which='random' needs method='simulate'"),
    ]:
        with pytest.raises(DataError, match=text):
            fit.predict_interval(**arguments)


def test_draws_do_not_depend_on_padding(monkeypatch):
    frame = rx.datasets.sleepstudy()
    found = []
    for small_work in (512, 0):
        monkeypatch.setattr(layout, "SMALL_WORK", small_work)
        fit = rx.lmer("Reaction ~ Days + (1 | Subject)", frame)
        found.append((fit.selection.model.layout.structure.n_levels, fit.predict_interval(n_sims=20, seed=1)))
    assert found[0][0] != found[1][0]
    assert np.allclose(found[0][1], found[1][1], rtol=1e-9)
