"""Figures of generalised linear mixed models."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

import glmer_cases as cases
import remlax as rx
from remlax.errors import DataError
from remlax.fitting.selection import Selection
from remlax.plot.estimates import component_label

mpl.use("Agg")


def test_forest_of_odds_ratios() -> None:
    pooled = cases.logistic().pool()
    ax = rx.plot.forest(pooled, exponentiate=True)
    assert ax.get_xlabel() == "Odds ratio (95% CI)"
    assert ax.get_xscale() == "log"
    drawn = [line.get_xdata() for line in ax.lines]
    odds = pooled.tidy("fixed", exponentiate=True).set_index("term").loc["x", "estimate"]
    assert any(len(x) == 1 and x[0] == pytest.approx(odds) for x in drawn)
    marks = next(np.asarray(x) for x in drawn if len(x) == 3)
    np.testing.assert_allclose(marks, np.exp(cases.logistic().fixef()["x"]))
    assert rx.plot.forest(cases.counts(), exponentiate=True).get_xlabel().startswith("Rate ratio")
    with pytest.raises(DataError, match="generalised models with a logit"):
        rx.plot.forest(rx.lmer("x ~ y + (1 | item)", cases.frame()), exponentiate=True)


def test_effect_is_on_the_scale_of_the_response() -> None:
    fit = cases.logistic()[0]
    ax = rx.plot.effect(fit, "x")
    line = ax.lines[0]
    frame = fit.average_obs().assign(x=line.get_xdata()[0])
    expected = fit.predict(frame, level="population")["estimate"].iloc[0]
    assert line.get_ydata()[0] == pytest.approx(expected)
    assert 0 < np.min(line.get_ydata()) < np.max(line.get_ydata()) < 1
    with pytest.raises(DataError, match="a probability for every category"):
        rx.plot.effect(cases.ordinal(), "x")


def test_residuals_are_those_of_the_family() -> None:
    fit = cases.logistic()[0]
    ax = rx.plot.residual_fitted(fit, type="quantile")
    assert ax.get_ylabel() == "Quantile residual"
    np.testing.assert_allclose(ax.lines[0].get_ydata(), fit.residuals("quantile", seed=0))
    assert rx.plot.residual_fitted(cases.logistic().pool()).get_ylabel() == "Pearson residual"
    assert rx.plot.qq_residuals(cases.ordinal()).get_ylabel() == "Quantile residual"
    assert rx.plot.scale_location(cases.counts()).get_ylabel() == "√|quantile residual|"
    with pytest.raises(DataError, match="type="):
        rx.plot.residual_fitted(fit, type="scaled")
    with pytest.raises(DataError, match="generalised models"):
        rx.plot.residual_fitted(rx.lmer("x ~ y + (1 | item)", cases.frame()), type="quantile")


def test_random_effects_and_imputations() -> None:
    pooled = cases.logistic().pool()
    assert rx.plot.caterpillar(pooled).get_xlabel() == "Intercept by g (95% interval)"
    assert rx.plot.qq_modes(pooled).get_ylabel() == "Intercept by g"
    labels = [text.get_text() for text in rx.plot.variance_components(pooled).get_yticklabels()]
    assert labels == ["Intercept | g"]
    rx.plot.trace(pooled, "x")
    twice = rx.GlmerFitList(Selection(cases.counts().selection.fitted, (0, 0))).pool()
    for model, legend in ((pooled, ["fixed effects", "variances"]), (twice, ["fixed effects", "variances", "size"])):
        ax = rx.plot.missing_information(model)
        assert ax.get_legend_handles_labels()[1] == legend
    assert component_label("Response", "size", long=True) == "size"
    assert component_label("Response", "low|middle", long=True) == "low|middle"
    assert component_label("Response", "sd__x", long=True) == "SD x | Response"
    assert rx.plot.impact(pooled, n_sims=20).get_ylabel() == "linear predictor, logit link (95% CI)"
    with pytest.raises(DataError, match="profiles are for linear mixed models"):
        rx.plot.zeta(pooled)
