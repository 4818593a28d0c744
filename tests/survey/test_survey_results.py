"""Predictions, printed tables and files of models of surveys."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from survey_cases import pupils

FORMULA = "score ~ x + (1 + x | school) + (1 | school:room)"
WEIGHTS = {"school": "w3", "school:room": "w2", "pupil": "w1"}
VALUES = ["pv1", "pv2", "pv3"]


@cache
def with_values() -> pd.DataFrame:
    rng, frame = np.random.default_rng(5), pupils().copy()
    for name in VALUES:
        frame[name] = frame["y"] + rng.normal(0, 0.5, len(frame))
    return frame


@cache
def fitted(rule: str = "rubin") -> rx.SurveyFit:
    return rx.lmer(FORMULA, with_values(), sampling_weights=WEIGHTS, conditional=False, plausible_values=VALUES,
                   combine=rule)  # fmt: skip


@cache
def single() -> rx.SurveyFit:
    return rx.lmer("y ~ x + (1 + x | school)", pupils(), sampling_weights={"school": "w3"})


# -- predictions -----------------------------------------------------------------------------------------------------


def test_predictions_are_coefficients_and_modes_of_the_row() -> None:
    fit, frame = fitted(), with_values()
    beta, modes = fit.fixef(), fit.ranef()
    row = frame.iloc[[17]]
    x, school, room = row["x"].item(), str(row["school"].item()), str(row["room"].item())
    of_school, of_room = modes["school"].loc[school], modes["school:room"].loc[f"{school}:{room}"]
    fixed = beta["Intercept"] + beta["x"] * x
    whole = fixed + of_school["Intercept"] + of_school["x"] * x + of_room["Intercept"]
    assert fit.predict(row)["estimate"].item() == pytest.approx(whole, rel=1e-12)
    assert fit.predict(row, level="population")["estimate"].item() == pytest.approx(fixed, rel=1e-12)
    np.testing.assert_allclose(fit.predict(), fit.predict(frame), rtol=1e-12)
    pd.testing.assert_index_equal(fit.predict().index, frame.index)


@pytest.mark.parametrize("rule", ["rubin", "pisa", "naep"])
def test_limits_of_a_population_prediction_are_those_of_a_coefficient(rule: str) -> None:
    # with x moved so that the row has x = 0, the prediction is the intercept of another fit
    frame, at = with_values(), 1.3
    moved = rx.lmer(FORMULA, frame.assign(x=frame["x"] - at), sampling_weights=WEIGHTS, conditional=False,
                    plausible_values=VALUES, combine=rule)  # fmt: skip
    found = fitted(rule).predict(pd.DataFrame({"x": [at]}), level="population", interval="confidence").iloc[0]
    wanted = moved.tidy().iloc[0]
    for name in ("estimate", "std_error", "df", "conf_low", "conf_high"):
        assert found[name] == pytest.approx(wanted[name], rel=1e-6), name


def test_a_new_level_is_refused_or_has_the_population_mean() -> None:
    row = pd.DataFrame({"x": [0.2], "school": ["none of them"]})
    with pytest.raises(rx.errors.DataError, match="has the level 'none of them' of 'school'"):
        single().predict(row)
    mean = single().predict(row, new_levels="mean")
    np.testing.assert_allclose(mean, single().predict(row, level="population"), rtol=1e-15)


REFUSED = {
    "interval of groups": ({"interval": "confidence"}, "needs level='population'"),
    "no column": ({"newdata": pd.DataFrame({"z": [1.0]})}, "newdata has no column 'x', which the fixed part needs"),
    "no rows": ({"newdata": pd.DataFrame({"x": []})}, "newdata has no rows"),
    "list": ({"newdata": [1.0]}, "newdata must be a pandas DataFrame, not a list"),
    "level": ({"level": "school"}, "level='school' is not known"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_cannot_be_predicted_is_refused(name: str) -> None:
    given, message = REFUSED[name]
    with pytest.raises(rx.RemlaxError, match=message):
        single().predict(**given)  # type: ignore[arg-type]


# -- tables ----------------------------------------------------------------------------------------------------------


def test_the_printed_table_has_the_numbers_of_the_fit() -> None:
    fit = fitted()
    cells = fit.to_frame()
    coefficient, sd = fit.tidy().iloc[1], fit.tidy("ran_pars").query("group == 'school'").iloc[0]
    icc = fit.icc().query("group == 'school' and kind == 'adjusted'").iloc[0]
    # three digits, of which standard errors then have two
    assert cells.loc[("Fixed effects", "x"), "Estimate"] == f"{coefficient['estimate']:.3f}"
    assert cells.loc[("Fixed effects", "x"), "SE"] == f"{coefficient['std_error']:.3f}"
    assert cells.loc[("Random effects", "SD of intercept (school)"), "Estimate"] == f"{sd['estimate']:.3f}"
    assert cells.loc[("Model", "ICC: school"), "Estimate"] == f"{icc['estimate']:.2f}"
    assert cells.loc[("Model", "Groups: school"), "Estimate"] == "24"
    notes = " ".join(cells.attrs["notes"])
    assert "maximum pseudo-likelihood; standard errors from the sandwich over 24 units of 'school'" in notes
    assert "3 plausible values combined by Rubin's rules" in notes


def test_models_of_surveys_stand_beside_others() -> None:
    plain = rx.lmer("y ~ x + (1 + x | school)", pupils(), reml=False)
    table = rx.model_table({"Weighted": single(), "Unweighted": plain}).to_frame()
    random = table.loc["Random effects"]
    assert (random != "").all(axis=None)
    assert table.loc[("Model", "Observations")].tolist() == [str(len(pupils()))] * 2


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [fitted, single])
def test_a_file_keeps_everything(make: object, tmp_path: Path) -> None:
    fit: rx.SurveyFit = make()  # type: ignore[operator]
    fit.save(tmp_path / "survey.remlax")
    again = rx.load(tmp_path / "survey.remlax")
    assert isinstance(again, rx.SurveyFit)
    assert str(again) == str(fit)
    assert again.report() == fit.report()
    pd.testing.assert_frame_equal(again.tidy(), fit.tidy())
    pd.testing.assert_frame_equal(again.r2(), fit.r2())
    pd.testing.assert_frame_equal(again.glance(), fit.glance())
    pd.testing.assert_frame_equal(again.predict(), fit.predict())
    pd.testing.assert_frame_equal(again.test("x"), fit.test("x"))


def test_a_file_of_other_numbers_is_refused(tmp_path: Path) -> None:
    from remlax.data.archive import write_archive
    from remlax.survey.content import survey_content

    content = survey_content(single())
    content["estimates"] = content["estimates"] | {"criterion": np.zeros(2)}
    write_archive(tmp_path / "wrong.remlax", "SurveyFit", content)
    with pytest.raises(rx.errors.FileFormatError, match="criterion is not of this model"):
        rx.load(tmp_path / "wrong.remlax")
