"""Kenward-Roger's degrees of freedom of every response are those of its own fit, which are compared with pbkrtest."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from many_cases import FORMULA, design, draw
from remlax.errors import DataError, ModelSizeError

pytestmark = pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
COLUMNS = ["std_error", "df", "statistic", "p_value"]


def compare(many: rx.LmerMany, name: str, fit: rx.LmerFit) -> None:
    """Fits stop at a Newton decrement, which leaves a share of its root; both start from their own theta."""
    tol = 1e-8 + 100 * np.sqrt(max(fit.opt.decrement, 0.0))
    for ours, own, columns in (
        (many.tidy(ddf="kenward-roger"), fit.tidy(ddf="kenward-roger"), COLUMNS),
        (many.contrast("x", ddf="kenward-roger"), fit.contrast("x", ddf="kenward-roger"), COLUMNS),
        (
            many.test(["x = 0", "Intercept = 1"], ddf="kenward-roger"),
            fit.test(["x = 0", "Intercept = 1"], ddf="kenward-roger"),
            ["statistic", "df1", "df2", "p_value"],
        ),
        (many.anova(ddf="kenward-roger"), rx.anova(fit, dfcom="kenward-roger"), ["statistic", "df1", "df2", "p_value"]),
    ):
        here = ours[ours["response"] == name].reset_index(drop=True)
        assert_allclose(here[columns], own[columns].astype(float), rtol=tol, atol=1e-12)


def alone(formula: str, name: str, responses: pd.DataFrame, **given: object) -> rx.LmerFit:
    data = design().assign(**{name: responses[name]})
    return rx.lmer(f"{name} {formula}", data[responses[name].notna()], **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("formula", [FORMULA, pytest.param("~ x + (1 + x | g) + (1 | h)", marks=pytest.mark.slow)])
def test_every_response_has_the_numbers_of_its_own_fit(formula: str):
    responses = pd.concat([draw(31, 4), draw(32, 2, missing=0.05).add_prefix("m")], axis=1).assign(flat=1.0)
    many = rx.lmer_many(formula, design(), responses, weights="w")
    for name in ("y0", "y3", "my0", "my1"):
        compare(many, name, alone(formula, name, responses, weights="w"))
    table = many.tidy(ddf="kenward-roger")
    assert table.loc[table["response"] == "flat", COLUMNS].isna().all(axis=None)


def test_patterns_and_weights_of_each():
    responses = draw(33, 20)
    responses.iloc[3:9, 1:] = np.nan
    responses["y19"] = draw(33, 20)["y19"].where(design()["f"] == "u")  # the coefficient of f does not exist
    many = rx.lmer_many(FORMULA, design(), responses)
    for name in ("y0", "y7"):
        compare(many, name, alone(FORMULA, name, responses))
    table = many.tidy(ddf="kenward-roger").query("response == 'y19'").set_index("term")
    own = alone("~ x + (1 | g)", "y19", responses).tidy(ddf="kenward-roger").set_index("term")
    assert_allclose(table.loc[["Intercept", "x"], COLUMNS], own[COLUMNS], rtol=1e-6)
    assert np.isnan(table.loc["f[T.v]", "std_error"])
    weights = pd.DataFrame(np.random.default_rng(5).uniform(0.3, 3, (60, 2)), columns=["y0", "y1"])
    weighted = rx.lmer_many(FORMULA, design(), responses[["y0", "y1"]], weights=weights)
    for name in weights:
        there = responses[name].notna()
        data = design().assign(**{name: responses[name], "w": weights[name]})[there]
        compare(weighted, name, rx.lmer(f"{name} {FORMULA}", data, weights="w"))


def test_an_imputed_design_is_pooled():
    shift = 0.3 * np.random.default_rng(3).normal(size=60) * (np.arange(60) % 4 == 0)
    frames = [design().assign(x=design()["x"] + k * shift) for k in range(3)]
    responses = draw(34, 2)
    many = rx.lmer_many(FORMULA, frames, responses)
    pooled = rx.lmer_list(f"y1 {FORMULA}", [frame.assign(y1=responses["y1"]) for frame in frames]).pool("kenward-roger")
    ours = many.tidy(ddf="kenward-roger").query("response == 'y1'").reset_index(drop=True)
    columns = [*COLUMNS, "riv", "fmi"]
    assert_allclose(ours[columns], pooled.tidy()[columns], rtol=1e-6)
    test, own = many.test("f", ddf="kenward-roger"), pooled.test("f")
    columns = ["statistic", "df1", "df2", "p_value", "riv"]
    assert_allclose(test.query("response == 'y1'")[columns], own[columns].astype(float), rtol=1e-6)


def test_where_it_is_not_defined_or_not_affordable(monkeypatch: pytest.MonkeyPatch):
    y = draw(35, 2)
    with pytest.raises(DataError, match="is one for REML, and this model was fitted by maximum likelihood"):
        rx.lmer_many(FORMULA, design(), y, reml=False).tidy(ddf="kenward-roger")
    whole = rx.lmer_many(FORMULA, design(), y)
    blocks = rx.lmer_many(FORMULA, design(), iter([y]))
    pd.testing.assert_frame_equal(
        pd.DataFrame(blocks.tidy(ddf="kenward-roger")), pd.DataFrame(whole.tidy(ddf="kenward-roger"))
    )
    y.iloc[3, 0] = np.nan
    lacking = rx.lmer_many(FORMULA, design(), iter([y]))
    with pytest.raises(DataError, match="1 responses lack rows, and the responses were read in blocks"):
        lacking.tidy(ddf="kenward-roger")
    with pytest.raises(DataError, match="ddf='residual'"):
        whole.tidy(ddf="residual")  # type: ignore[arg-type]
    monkeypatch.setattr("remlax.inference.kenward_roger.available_bytes", lambda: 10)
    with pytest.raises(ModelSizeError, match="needs second derivatives of every level's block"):
        rx.lmer_many(FORMULA, design(), y).tidy(ddf="kenward-roger")
