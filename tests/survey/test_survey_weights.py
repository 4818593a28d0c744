"""Sampling weights: integer weights are repeated units; a dense pseudo-likelihood; what is refused."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import scipy

import remlax as rx
from remlax.survey.weights import read_weights
from survey_cases import MODELS, pupils


@cache
def fitted(name: str) -> rx.SurveyFit:
    formula, weights = MODELS[name]
    return rx.lmer(formula, pupils(), sampling_weights=weights, conditional=False)


def repeated(frame: pd.DataFrame) -> pd.DataFrame:
    """Every unit as often as its weight says, with a name of its own for every school and class."""
    rows = []
    for row in frame.itertuples():
        for a in range(row.w3):
            for b in range(row.w2):
                rows += [(f"{row.school}-{a}", f"{row.room}-{b}", row.x, row.y)] * row.w1
    return pd.DataFrame(rows, columns=["school", "room", "x", "y"])


def integer_weights() -> pd.DataFrame:
    frame, rng = pupils().copy(), np.random.default_rng(4)
    frame["w3"] = frame.groupby("school")["w3"].transform(lambda s: rng.integers(1, 4)).astype(int)
    frame["w2"] = frame.groupby(["school", "room"])["w2"].transform(lambda s: rng.integers(1, 4)).astype(int)
    frame["w1"] = rng.integers(1, 4, len(frame))
    return frame


# -- against repeated units ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", ["y ~ x + (1 + x | school) + (1 | school:room)", "y ~ x + (1 | school/room)"])
def test_integer_weights_are_repeated_units_at_every_level(formula: str) -> None:
    frame = integer_weights()
    ours = rx.lmer(formula, frame, sampling_weights={"school": "w3", "room": "w2", "pupil": "w1"})
    whole = rx.lmer(formula, repeated(frame), reml=False)
    assert ours.criterion()[0] == pytest.approx(whole.criterion(), rel=1e-12)
    np.testing.assert_allclose(ours.fixef(), whole.fixef(), rtol=1e-9)
    np.testing.assert_allclose(ours.varcorr()["vcov"], whole.varcorr()["vcov"], rtol=1e-8)
    modes = ours.tidy("ran_vals").set_index(["group", "term", "level"])["estimate"]
    theirs = whole.tidy("ran_vals").set_index(["group", "term", "level"])["estimate"]
    for (group, term, level), value in modes.items():
        copy = ":".join(f"{part}-0" for part in str(level).split(":"))
        assert value == pytest.approx(theirs[group, term, copy], abs=1e-7)


def test_without_weights_estimates_are_those_of_maximum_likelihood() -> None:
    ours = rx.lmer("y ~ x + (1 + x | school)", pupils(), plausible_values=["y"])
    plain = rx.lmer("y ~ x + (1 + x | school)", pupils(), reml=False)
    assert ours.criterion()[0] == pytest.approx(plain.criterion(), rel=1e-12)
    np.testing.assert_allclose(ours.fixef(), plain.fixef(), rtol=1e-9)
    icc = plain.icc().query("kind != 'intercept'")["estimate"].to_numpy()
    np.testing.assert_allclose(ours.icc()["estimate"], icc, rtol=1e-7)
    r2 = plain.r2(n_sims=2, seed=1).query("level == 'all' and measure != 'snijders-bosker'")["estimate"].to_numpy()
    np.testing.assert_allclose(ours.r2()["estimate"], r2, rtol=1e-7)


# -- against a dense pseudo-likelihood -------------------------------------------------------------------------------


def unit_deviance(parameters: np.ndarray, rows: pd.DataFrame) -> float:
    """-2 log of a school's pseudo-likelihood by numerical integration over its intercept, its weight as a factor."""
    beta, tau, sigma = parameters[:2], np.exp(parameters[2]), np.exp(parameters[3])
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    residual = rows["y"].to_numpy() - beta[0] - beta[1] * rows["x"].to_numpy()
    inner = (rows["w1"] / rows["w3"]).to_numpy()
    precision = inner.sum() / sigma**2 + 1 / tau**2
    centre, spread = (inner @ residual) / sigma**2 / precision, precision**-0.5
    b = centre + spread * nodes
    log_f = (inner[:, None] * scipy.stats.norm.logpdf(residual[:, None] - b, scale=sigma)).sum(axis=0)
    log_f += scipy.stats.norm.logpdf(b, scale=tau) + nodes**2 / 2 + np.log(weights * spread)
    return float(-2 * rows["w3"].iloc[0] * scipy.special.logsumexp(log_f))


def numerical(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of every school (24, 4) and the inverse of the information, by finite differences."""
    schools, step = [part for _, part in pupils().groupby("school")], 1e-4 * np.eye(4)

    def scores(point: np.ndarray) -> np.ndarray:
        return np.array(
            [[-(unit_deviance(point + e, s) - unit_deviance(point - e, s)) / 4e-4 for e in step] for s in schools]
        )

    information = np.array([(scores(at - e).sum(axis=0) - scores(at + e).sum(axis=0)) / 2e-4 for e in step])
    return scores(at), np.linalg.inv(information)


def parameters_of(fit: rx.SurveyFit) -> np.ndarray:
    return np.array([*fit.fixef(), *np.log(fit.tidy("ran_pars")["estimate"])])


def test_criterion_and_sandwich_are_those_of_numerical_integration_and_finite_differences() -> None:
    ours = fitted("intercept")
    at = parameters_of(ours)
    total = sum(unit_deviance(at, part) for _, part in pupils().groupby("school"))
    assert total == pytest.approx(ours.criterion()[0], rel=1e-10)
    scores, bread = numerical(at)
    covariance = 24 / 23 * bread @ scores.T @ scores @ bread
    np.testing.assert_allclose(ours.vcov(), covariance[:2, :2], rtol=1e-4)
    table = ours.tidy("ran_pars")
    np.testing.assert_allclose(table["std_error"], np.sqrt(np.diag(covariance)[2:]) * table["estimate"], rtol=1e-4)


def test_strata_centre_the_scores_by_stratum() -> None:
    formula, weights = MODELS["intercept"]
    ours = rx.lmer(formula, pupils(), sampling_weights=weights, conditional=False, strata="stratum")
    scores, bread = numerical(parameters_of(ours))
    strata = pupils().groupby("school")["stratum"].first().to_numpy()
    parts = [scores[strata == name] for name in "ab"]
    meat = sum(len(own) * np.cov(own.T) for own in parts)
    np.testing.assert_allclose(ours.vcov(), (bread @ meat @ bread)[:2, :2], rtol=1e-4)
    assert ours.tidy()["df"].tolist() == [22.0, 22.0]


# -- scales and total weights ----------------------------------------------------------------------------------------


def test_scaled_weights_do_not_depend_on_the_scale_they_came_in() -> None:
    formula, weights = MODELS["three"]
    frame = pupils()
    other = frame.assign(
        w1=frame["w1"] * frame.groupby(["school", "room"]).ngroup().add(1),
        w2=frame["w2"] * frame.groupby("school").ngroup().add(1),
    )
    for scale in ("size", "effective"):
        one, two = (rx.lmer(formula, f, sampling_weights=weights, scale=scale) for f in (frame, other))
        np.testing.assert_allclose(one.fixef(), two.fixef(), rtol=1e-9)
        assert abs(one.fixef()["x"] - fitted("three").fixef()["x"]) > 1e-4


def test_scales_are_the_sums_that_they_say() -> None:
    _, weights = MODELS["intercept"]
    for scale, sums in (("size", lambda w: len(w)), ("effective", lambda w: w.sum() ** 2 / (w**2).sum())):
        rows = read_weights(weights, pupils(), fitted("intercept").layout, scale, conditional=True).rows[0]
        for school, part in pupils().groupby("school"):
            assert rows[pupils()["school"] == school].sum() == pytest.approx(sums(part["w1"]))


def test_total_weights_are_divided_by_those_above() -> None:
    frame = pupils().assign(c1=lambda d: d["w1"] / d["w2"], c2=lambda d: d["w2"] / d["w3"])
    formula, _ = MODELS["three"]
    ours = rx.lmer(formula, frame, sampling_weights={"school": "w3", "room": "c2", "pupil": "c1"})
    np.testing.assert_allclose(ours.fixef(), fitted("three").fixef(), rtol=1e-9)
    assert ours.criterion()[0] == pytest.approx(fitted("three").criterion()[0], rel=1e-12)


def test_a_common_factor_of_the_weights_of_schools_changes_nothing_but_the_criterion() -> None:
    formula, weights = MODELS["slopes"]
    ours = rx.lmer(formula, pupils().assign(w3=pupils()["w3"] * 7, w1=pupils()["w1"] * 7), sampling_weights=weights,
                   conditional=False)  # fmt: skip
    np.testing.assert_allclose(ours.tidy()["std_error"], fitted("slopes").tidy()["std_error"], rtol=1e-9)
    assert ours.criterion()[0] == pytest.approx(7 * fitted("slopes").criterion()[0], rel=1e-12)


def test_weights_that_look_like_totals_are_said_to_be() -> None:
    formula, weights = MODELS["intercept"]
    frame = pupils().assign(w1=lambda d: 100 * d["w3"] ** 2 * d["w1"] / d["w3"])
    with pytest.warns(rx.errors.DataWarning, match="as total weights do"):
        rx.lmer(formula, frame, sampling_weights=weights)


def test_a_covariate_far_from_zero_is_the_same_covariate() -> None:
    formula, weights = MODELS["slopes"]
    far = pupils().assign(x=pupils()["x"] + 1e6)
    ours, near = rx.lmer(formula, far, sampling_weights=weights, conditional=False), fitted("slopes")
    assert ours.criterion()[0] == pytest.approx(near.criterion()[0], rel=1e-9)
    for name in ("estimate", "std_error"):
        assert ours.tidy()[name][1] == pytest.approx(near.tidy()[name][1], rel=1e-6)
    table, other = (fit.tidy("ran_pars").set_index("term") for fit in (ours, near))
    for name in ("sd__x", "sd__Observation"):
        assert table.loc[name, "std_error"] == pytest.approx(other.loc[name, "std_error"], rel=1e-5)
    np.testing.assert_allclose(ours.icc()["estimate"], near.icc()["estimate"], rtol=1e-6)


def test_modes_by_factor_are_those_of_the_table() -> None:
    frames = fitted("three").ranef()
    table = fitted("three").tidy("ran_vals").set_index(["group", "term", "level"])["estimate"]
    assert {name: frame.shape[1] for name, frame in frames.items()} == {"school:room": 1, "school": 2}
    assert frames["school"].loc["s03", "x"] == table["school", "x", "s03"]
