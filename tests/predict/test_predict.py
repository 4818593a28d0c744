"""Predictions against lme4, dense mixed-model equations, finite differences and Rubin's formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from predict_cases import dense_variance, fits_of, lme4_numbers, new_frame, pooled_numbers
from scipy import stats

import remlax as rx
from reference_cases import load_case
from remlax.errors import DataError, FormulaError
from remlax.fitting.fit import solve_at
from remlax.fitting.selection import Selection
from remlax.inference.satterthwaite import satterthwaite_df, variance_covariance
from remlax.predict.newdata import include_level, read_newdata
from remlax.predict.prediction import linear_predictor, satterthwaite_rows

CASES = [
    "sleepstudy_corr",
    "sleepstudy_ml",
    "sleepstudy_weights",
    "orthodont_sex",
    "pastes_nested",
    pytest.param("oats_splitplot", marks=pytest.mark.slow),
    "penicillin_crossed",
    pytest.param("machines_3dim", marks=pytest.mark.slow),
    "dyestuff2_singular",
]
# theta of both fits is exact to about 1e-7 relative, and predictions are stationary in it to first order only
CLOSE = {"rtol": 2e-6, "atol": 1e-9}


@pytest.mark.parametrize("case", CASES)
def test_estimates_and_standard_errors_are_lme4s(case):
    numbers = lme4_numbers()[case]
    fit = fits_of(case)[0]
    new = new_frame(numbers["newdata"], case)
    scale = np.abs(numbers["fit"]).max()
    group = fit.predict(new, interval="confidence")
    assert np.allclose(group["estimate"], numbers["fit"], rtol=0, atol=1e-6 * scale)
    assert np.allclose(group["std_error"], numbers["se_group"], **CLOSE)
    population = fit.predict(new, level="population", interval="confidence")
    assert np.allclose(population["estimate"], numbers["population"], rtol=0, atol=1e-6 * scale)
    assert np.allclose(population["std_error"], numbers["se_population"], **CLOSE)
    partial = fit.predict(new, level=numbers["partial_formula"])
    assert list(partial.columns) == ["estimate"]
    assert np.allclose(partial["estimate"], numbers["partial"], rtol=0, atol=1e-6 * scale)
    wide = fit.predict(new, interval="prediction")
    assert np.allclose(wide["std_error"] ** 2, group["std_error"] ** 2 + numbers["sigma"] ** 2, rtol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_leverage_and_residuals_are_lme4s(case):
    numbers = lme4_numbers()[case]
    fit = fits_of(case)[0]
    table = fit.augment()
    at = numbers["rows"]
    scale = np.abs(numbers["response"]).max()
    assert np.allclose(table["hat"].iloc[at], numbers["hat"], rtol=3e-6, atol=1e-9)
    assert np.isclose(table["hat"].sum(), numbers["hat_sum"], rtol=3e-6)
    assert np.allclose(table["cooks_d"].iloc[at], numbers["cooks"], rtol=1e-5, atol=1e-9)
    for kind in ("pearson", "response"):
        assert np.allclose(fit.residuals(kind).iloc[at], numbers[kind], rtol=0, atol=1e-6 * scale)
    assert np.allclose(fit.residuals("scaled").iloc[at], numbers["scaled"], rtol=0, atol=1e-6)
    assert np.allclose(fit.residuals("marginal") - fit.residuals(), table["fitted"] - table["fixed"], atol=1e-9 * scale)
    assert np.allclose(table["residual"], fit.residuals())
    assert np.allclose(table["fitted"], fit.predict()["estimate"])


def _scrambled(case: str, n: int) -> pd.DataFrame:
    """Rows whose groups need not have met in the data."""
    frame = load_case(case)[1][0].sample(n, replace=True, random_state=1).reset_index(drop=True)
    for name in ("plate", "sample", "batch", "cask", "Subject"):
        if name in frame:
            frame[name] = frame[name].astype(object).sample(frac=1, random_state=3, ignore_index=True)
    return frame


@pytest.mark.parametrize("case", ["sleepstudy_weights", "sleepstudy_split", "pastes_nested", "penicillin_crossed"])
def test_variance_is_that_of_the_dense_equations(case):
    stack = fits_of(case).selection.fitted
    new = _scrambled(case, 30)
    last = {"penicillin_crossed": "sample", "pastes_nested": "batch"}.get(case, "Subject")
    new.loc[:2, last] = ["one", "other", "one"]
    rows = read_newdata(Selection(stack, (0,)), new, include_level(stack, "group"), "draw")
    assert any(rows.new)
    found = linear_predictor(Selection(stack, (0,)), rows)
    assert np.allclose(found.variance[0], dense_variance(stack, 0, rows), rtol=1e-9)


@pytest.mark.slow
def test_implicitly_nested_groups_that_never_met():
    rng = np.random.default_rng(4)
    school = np.repeat(np.arange(12), 15)
    room = school * 3 + np.tile(np.repeat(np.arange(3), 5), 12)
    data = pd.DataFrame({"school": school, "room": room, "x": rng.normal(size=180)})
    effect = 2 * rng.normal(size=12)[school] + rng.normal(size=36)[room] + rng.normal(size=36)[room] * data["x"]
    data["y"] = data["x"] + effect + rng.normal(size=180)
    stack = rx.lmer("y ~ x + (1 + x | room) + (1 | school)", data).selection.fitted
    assert not stack.model.layout.structure.n_dense
    new = data.sample(25, random_state=1).assign(school=lambda d: (d["school"] + 5) % 12)
    rows = read_newdata(Selection(stack, (0,)), new, include_level(stack, "group"), "error")
    assert np.allclose(
        linear_predictor(Selection(stack, (0,)), rows).variance[0], dense_variance(stack, 0, rows), rtol=1e-9
    )


@pytest.mark.parametrize("case", ["sleepstudy_corr", "pastes_nested", "penicillin_crossed"])
def test_degrees_of_freedom_use_the_derivative_of_the_variance(case):
    stack = fits_of(case).selection.fitted
    rows = read_newdata(Selection(stack, (0,)), _scrambled(case, 8), include_level(stack, "group"), "error")
    found = linear_predictor(Selection(stack, (0,)), rows)
    h = 1e-5
    numeric = []
    for j in range(stack.theta.shape[1]):
        each = []
        for sign in (1, -1):
            inner = stack.inner.copy()
            inner[:, j] += sign * h
            moved = replace(solve_at(stack.model, stack.optimizer, stack.opt, inner), sigma=stack.sigma)
            each.append(dense_variance(moved, 0, rows))
        numeric.append((each[0] - each[1]) / (2 * h))
    numeric.append(2 * found.variance[0])
    gradient = np.stack(numeric, axis=1)
    assert np.allclose(found.gradient[0], gradient, rtol=1e-4, atol=1e-6 * np.abs(gradient).max())
    spread = np.einsum("rs,st,rt->r", gradient, variance_covariance(Selection(stack, (0,)))[0], gradient)
    df = 2 * found.variance[0] ** 2 / spread
    assert np.allclose(satterthwaite_rows(Selection(stack, (0,)), found)[0], df, rtol=1e-4)


def test_population_predictions_are_contrasts_of_the_coefficients():
    fit = fits_of("orthodont_sex")[0]
    new = load_case("orthodont_sex")[1][0].head(6)
    table = fit.predict(new, level="~0", interval="confidence", conf_level=0.9)
    x = fit.selection.model.rows.fixed.build(new)
    df = satterthwaite_df(fit.selection.one(0), x)[0]
    half = stats.t.ppf(0.95, df) * np.sqrt(np.diag(x @ fit.vcov().to_numpy() @ x.T))
    assert np.allclose(table["df"], df, rtol=1e-7)
    assert np.allclose(table["conf_low"], x @ fit.fixef().to_numpy() - half)
    assert np.allclose(table["conf_high"], x @ fit.fixef().to_numpy() + half)


def test_offset_in_the_formula_is_evaluated_on_new_data():
    numbers = lme4_numbers()["offset_formula"]
    frame = load_case("sleepstudy_offset")[1][0]
    fit = rx.lmer(numbers["formula"], frame)
    assert np.allclose(fit.predict(new_frame(numbers["newdata"]))["estimate"], numbers["fit"], rtol=1e-7)
    named = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", frame, offset="off")
    assert np.allclose(named.predict(new_frame(numbers["newdata"]))["estimate"], numbers["fit"], rtol=1e-7)
    unseen = lme4_numbers()["new_levels"]
    nobody = fit.predict(new_frame(unseen["newdata"]), new_levels="mean")
    assert np.allclose(nobody["estimate"], unseen["fit"], rtol=1e-7)
    given = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", frame, offset=frame["off"].to_numpy())
    assert np.allclose(given.predict()["estimate"], named.predict()["estimate"])
    with pytest.raises(DataError, match="offset that was given as an array"):
        given.predict(frame.head(2))


def test_new_levels():
    fit = fits_of("sleepstudy_corr")[0]
    new = pd.DataFrame({"Days": [3.0, 3.0], "Subject": ["308", "nobody"]})
    with pytest.raises(DataError, match=r"level 'nobody' of 'Subject'.*new_levels='mean'"):
        fit.predict(new)
    mean = fit.predict(new, new_levels="mean", interval="confidence").iloc[1]
    drawn = fit.predict(new, new_levels="draw", interval="confidence").iloc[1]
    population = fit.predict(new, level="population", interval="confidence").iloc[1]
    assert mean["estimate"] == drawn["estimate"] == population["estimate"]
    assert np.isclose(mean["std_error"], population["std_error"])
    z = np.array([1.0, 3.0])
    prior = z @ fit.selection.fitted.covariance(0)[0] @ z
    assert np.isclose(drawn["std_error"] ** 2, mean["std_error"] ** 2 + prior)


def test_what_is_wrong_with_new_data_is_named():
    fit = fits_of("orthodont_sex")[0]
    good = load_case("orthodont_sex")[1][0].head(3)
    for bad, text in [
        (good.drop(columns="Sex"), "no column 'Sex', which the fixed part needs"),
        (good.drop(columns="Subject"), "no column 'Subject', which the grouping factor 'Subject' needs"),
        (good.rename(columns={"age": "Age"}), "did you mean 'Age'"),
        (good.assign(Sex="neither"), "unseen category 'neither'"),
        (good.assign(age=[8.0, np.nan, 9.0]), "newdata: column 'age' in the fixed part has 1 missing cell"),
        (good.assign(Subject=["M01", None, "M01"]), "missing cells in the grouping column 'Subject'"),
        (good.head(0), "newdata has no rows"),
        ("age", "must be a DataFrame"),
    ]:
        with pytest.raises(DataError, match=text):
            fit.predict(bad)
    assert len(fit.predict(good.drop(columns="Subject"), level="population")) == 3
    with pytest.raises(FormulaError, match="asks for 'Sex"):
        fit.predict(good, level="~(0 + Sex | Subject)")
    with pytest.raises(FormulaError, match="asks for 'Intercept' by 'age'"):
        fit.predict(good, level="~(1 | age)")
    for arguments, text in [
        ({"interval": "both"}, "interval='both'"),
        ({"interval": "confidence", "conf_level": 95}, "conf_level=95"),
        ({"new_levels": "new"}, "new_levels='new'"),
    ]:
        with pytest.raises(DataError, match=text):
            fit.predict(good, **arguments)
    with pytest.raises(DataError, match="type='deviance'"):
        fit.residuals("deviance")


POOLED = {"studentratings_k5": "studentratings_k5", "hsb": "hsb_vignette", "star_crossed_k5": "star_crossed_k5"}


@pytest.mark.parametrize(
    "name",
    ["studentratings_k5", "hsb", pytest.param("star_crossed_k5", marks=pytest.mark.slow), "studentratings_imputed"],
)
def test_pooled_predictions_are_rubins(name):
    numbers = pooled_numbers()[name]
    case = POOLED.get(name, "studentratings_k5")
    fits = fits_of(case)
    if numbers["imputed"]:
        new = [new_frame(frame, case) for frame in numbers["newdata"]]
    else:
        new = new_frame(numbers["newdata"], case)
    for dfcom, label in ((math.inf, "inf"), (100.0, "100")):
        pooled = fits.pool(dfcom=dfcom)
        for interval in ("confidence", "prediction"):
            expected = numbers[f"{interval}_{label}"]
            table = pooled.predict(new, interval=interval)
            assert np.allclose(table["estimate"], expected["estimate"], rtol=1e-6)
            assert np.allclose(table["std_error"], expected["se"], rtol=5e-6)
            assert np.allclose(table["df"], expected["df"], rtol=1e-4)
            assert np.allclose(table["conf_low"], expected["low"], rtol=1e-5)
            assert np.allclose(table["conf_high"], expected["high"], rtol=1e-5)


def test_pooled_population_predictions_are_the_pooled_contrast():
    pooled = fits_of("hsb_vignette").pool(dfcom=50.0)
    new = load_case("hsb_vignette")[1][0].iloc[[5, 77]]
    table = pooled.predict(new, level="population", interval="confidence")
    x = pooled.selection.model.rows.fixed.build(new)
    expected = rx.pooling.linear(pooled.rubin, x, dfcom=50.0)
    for mine, theirs in [("estimate", "estimate"), ("std_error", "std_error"), ("df", "df"), ("fmi", "fmi")]:
        assert np.allclose(table[mine], getattr(expected, theirs), rtol=1e-9)


def test_level_by_grouping_factor():
    pooled = fits_of("star_crossed_k5").pool()
    new = load_case("star_crossed_k5")[1][0].head(4)
    both = pooled.predict(new)["estimate"]
    none = pooled.predict(new, level="population")["estimate"]
    teacher = pooled.predict(new.drop(columns="id"), level=["tch"])["estimate"]
    pupil = pooled.predict(new.drop(columns="tch"), level=["id"])["estimate"]
    assert np.allclose(both - none, (teacher - none) + (pupil - none))
    modes = pooled.ranef()["tch"]["Intercept"]
    assert np.allclose(teacher - none, modes.loc[new["tch"].astype(str)].to_numpy())
    with pytest.raises(DataError, match="'school', which is no grouping factor; they are 'id', 'tch'"):
        pooled.predict(new, level=["school"])
    with pytest.raises(DataError, match="level='all'"):
        pooled.predict(new, level="all")


def test_satterthwaite_df_enter_barnard_rubin():
    fits = fits_of("studentratings_k5")
    new = load_case("studentratings_k5")[1][0].iloc[[0, 400]]
    table = fits.pool().predict(new, interval="confidence")
    single = [fit.predict(new, interval="confidence") for fit in fits]
    q = np.stack([s["estimate"] for s in single])
    u = np.stack([s["std_error"] for s in single]) ** 2
    complete = np.mean([s["df"] for s in single], axis=0)
    expected = rx.pooling.pool_scalars(q, u, dfcom=complete)
    assert np.allclose(table["df"], expected.df, rtol=1e-9)
    assert np.allclose(table["conf_low"], expected.conf_low, rtol=1e-9)


def test_frames_of_new_data_must_match_the_fits():
    fits = fits_of("studentratings_k5")
    frames = [frame.head(3) for frame in load_case("studentratings_k5")[1]]
    with pytest.raises(DataError, match="2 frames for 5 fits"):
        fits.pool().predict(frames[:2])
    with pytest.raises(DataError, match="different numbers of rows"):
        fits.pool().predict([*frames[:4], frames[4].head(2)])
    with pytest.raises(DataError, match=r"newdata for imputation 3 has no column 'SES'"):
        fits.pool().predict([*frames[:2], frames[2].drop(columns="SES"), *frames[3:]])
    by_list = fits.pool().predict(frames)
    assert by_list.equals(fits.pool().predict(rx.ImputedData.from_frames(frames)))
    # frames that have labels go to the fits of these labels
    backwards = dict(zip(range(5, 0, -1), frames[::-1], strict=True))
    assert by_list.equals(fits.pool().predict(backwards))
    assert by_list.equals(fits.pool().predict(rx.ImputedData.from_frames(backwards)))
    assert fits[3:].pool().predict(backwards).equals(fits[3:].pool().predict(frames[3:]))
    with pytest.raises(
        DataError, match=r"frames for 0, 1, 2, 3, 4, and the fits are those of 1, 2, 3, 4, 5: use the same"
    ):
        fits.pool().predict(dict(enumerate(frames)))
    with pytest.raises(DataError, match="the rows of newdata stand in another order in some frames"):
        fits.pool().predict([*frames[:4], frames[4].iloc[::-1]])
    assert np.allclose(by_list["estimate"], fits.pool().fitted().head(3))


def test_rows_of_the_pooled_model():
    fits = fits_of("studentratings_k5")
    pooled = fits.pool()
    fitted = np.stack([fit.fitted() for fit in fits])
    residuals = np.stack([fit.residuals("pearson") for fit in fits])
    assert np.allclose(pooled.fitted(), fitted.mean(axis=0))
    assert np.allclose(pooled.residuals("pearson"), residuals.mean(axis=0))
    table = pooled.augment(per_imputation=True)
    assert "SES" not in table  # imputed
    assert {"ID", "ReadAchiev"} <= set(table.columns)
    assert np.allclose(table["fitted_3"], fitted[2])
    assert np.allclose(table["residual_5"], fits[4].residuals())
    assert np.allclose(table["hat"], np.mean([fit.augment()["hat"] for fit in fits], axis=0))
    within = np.mean([fit.augment()["std_error"] ** 2 for fit in fits], axis=0)
    assert np.allclose(table["std_error"] ** 2, within + 1.2 * fitted.var(axis=0, ddof=1))
    assert not any(name.startswith("fitted_") for name in pooled.augment())


def test_names_taken_by_augment_are_refused():
    frame = load_case("sleepstudy_corr")[1][0].rename(columns={"Days": "hat"})
    with pytest.raises(DataError, match="a column of the data is called 'hat'"):
        rx.lmer("Reaction ~ hat + (1 | Subject)", frame).augment()


def test_new_data_may_be_rows_of_the_fit():
    frames = load_case("star_crossed_k5")[1][:2]
    pooled = fits_of("star_crossed_k5")[:2].pool()
    at = [3, 700, 4991]
    table = pooled.predict([frame.iloc[at] for frame in frames], interval="confidence")
    assert np.allclose(table["estimate"], pooled.fitted().iloc[at])
    assert np.allclose(table["std_error"], pooled.augment()["std_error"].iloc[at], rtol=1e-9)
