"""Average marginal effects and comparisons: closed forms, finite differences of predictions, linear models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import reference_models
from row_fits import fit, fits, frame

import remlax as rx
from remlax.errors import DataError


@pytest.mark.parametrize("name", ["binary", "k-of-n", "poisson"])
@pytest.mark.parametrize("level", ["average", "group", "population"])
def test_slopes_are_derivatives_of_mean_predictions(name: str, level: str) -> None:
    found = fit(name)

    def mean(x) -> float:
        return float(found.predict(frame().assign(x=x), level=level)["estimate"].mean())

    step = 1e-4
    numeric = (mean(frame()["x"] + step) - mean(frame()["x"] - step)) / (2 * step)
    table = found.slopes("x", level=level)
    assert table["estimate"].iloc[0] == pytest.approx(numeric, rel=1e-6)
    assert table["conf_low"].iloc[0] < table["estimate"].iloc[0] < table["conf_high"].iloc[0]


def test_slopes_of_a_typical_group_are_by_the_delta_method_over_the_coefficients() -> None:
    """d mean(mu') beta_x by hand: mean(mu'' x) beta_x, and mean(mu') for beta_x itself."""
    found, data = fit("binary"), frame()
    x = np.column_stack([np.ones(len(data)), data["x"], data["f"] == "b", data["f"] == "c"])
    beta = found.fixef().to_numpy()
    mu = 1 / (1 + np.exp(-x @ beta))
    d1, d2 = mu * (1 - mu), mu * (1 - mu) * (1 - 2 * mu)
    gradient = (d2[:, None] * x).mean(axis=0) * beta[1]
    gradient[1] += d1.mean()
    table = found.slopes("x", level="population").iloc[0]
    assert table["estimate"] == pytest.approx(d1.mean() * beta[1], rel=1e-9)
    assert table["std_error"] == pytest.approx(np.sqrt(gradient @ found.vcov().to_numpy() @ gradient), rel=1e-8)


def test_the_average_effect_of_a_log_link_is_the_coefficient_times_the_mean() -> None:
    found = fit("gamma")
    mean = found.predict(level="average")["estimate"].mean()
    assert found.slopes("x")["estimate"].iloc[0] == pytest.approx(found.fixef()["x"] * mean, rel=1e-9)
    ratio = found.comparisons({"x": (0.0, 1.0)}, comparison="ratio").iloc[0]
    tidy = found.tidy(exponentiate=True).set_index("term").loc["x"]
    for name in ("estimate", "std_error", "conf_low", "conf_high"):
        assert ratio[name] == pytest.approx(tidy[name], rel=1e-9)


def test_comparisons_are_those_of_mean_predictions() -> None:
    found = fit("binary")
    p = {f: found.predict(frame().assign(f=f), level="average")["estimate"].mean() for f in "abc"}
    table = found.comparisons("f")
    assert table["contrast"].tolist() == ["b - a", "c - a"]
    np.testing.assert_allclose(table["estimate"], [p["b"] - p["a"], p["c"] - p["a"]], rtol=1e-10)
    odds = found.comparisons({"f": ("a", "b")}, comparison="odds-ratio").iloc[0]
    assert odds["estimate"] == pytest.approx(p["b"] / (1 - p["b"]) * (1 - p["a"]) / p["a"], rel=1e-10)
    back = found.comparisons({"f": ("b", "a")}, comparison="odds-ratio").iloc[0]
    assert back["estimate"] == pytest.approx(1 / odds["estimate"], rel=1e-10)
    assert back["conf_low"] == pytest.approx(1 / odds["conf_high"], rel=1e-10)


@pytest.mark.slow
def test_effects_on_categories_add_up_to_nothing() -> None:
    table = fit("ordinal").slopes("x")
    assert table["category"].tolist() == ["low", "fair", "good", "best"]
    assert table["estimate"].sum() == pytest.approx(0, abs=1e-10)
    assert table["estimate"].iloc[0] < 0 < table["estimate"].iloc[3]


def test_effects_are_pooled_and_not_curves() -> None:
    several = fits()
    pooled, each = several.pool().slopes("x").iloc[0], [one.slopes("x").iloc[0] for one in several]
    values, errors = np.array([e["estimate"] for e in each]), np.array([e["std_error"] for e in each])
    assert pooled["estimate"] == pytest.approx(values.mean(), rel=1e-12)
    total = (errors**2).mean() + (1 + 1 / len(each)) * values.var(ddof=1)
    assert pooled["std_error"] == pytest.approx(np.sqrt(total), rel=1e-10)


def test_pooled_predictions_are_pooled_on_the_link() -> None:
    several, new = fits(), frame().head(2)
    pooled = several.pool().predict(new, interval="confidence")
    each = [one.predict(new, scale="link", interval="confidence") for one in several]
    eta = np.stack([e["estimate"] for e in each])
    np.testing.assert_allclose(pooled["estimate"], 1 / (1 + np.exp(-eta.mean(axis=0))), rtol=1e-12)
    within = np.mean([e["std_error"] ** 2 for e in each], axis=0)
    total = within + (1 + 1 / len(each)) * eta.var(axis=0, ddof=1)
    slope = pooled["estimate"] * (1 - pooled["estimate"])
    np.testing.assert_allclose(pooled["std_error"], slope * np.sqrt(total), rtol=1e-10)


def test_slopes_of_a_linear_model_are_its_coefficients() -> None:
    data = rx.datasets.sleepstudy()
    plain = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", data)
    found, tidy = plain.slopes("Days").iloc[0], plain.tidy().set_index("term").loc["Days"]
    for name in ("estimate", "std_error", "df", "p_value", "conf_low", "conf_high"):
        assert found[name] == pytest.approx(tidy[name], rel=1e-7)
    curved = rx.lmer("Reaction ~ Days + I(Days^2) + (1 | Subject)", data)
    slope, by = curved.slopes("Days").iloc[0], np.array([0, 1, 2 * data["Days"].mean()])
    assert slope["estimate"] == pytest.approx(curved.fixef() @ by, rel=1e-8)
    assert slope["std_error"] == pytest.approx(np.sqrt(by @ curved.vcov().to_numpy() @ by), rel=1e-8)
    step = curved.comparisons({"Days": (2, 5)}).iloc[0]
    assert step["estimate"] == pytest.approx(curved.fixef() @ [0, 3, 21], rel=1e-8)


def test_names_and_values_that_are_not_there_are_refused() -> None:
    found = fit("binary")
    with pytest.raises(DataError, match="no variable of the fixed part"):
        found.slopes("z")
    with pytest.raises(DataError, match="has no slope"):
        found.slopes("f")
    with pytest.raises(DataError, match="give the values"):
        found.comparisons("x")
    with pytest.raises(DataError, match="must be a pair"):
        found.comparisons({"x": 1})
    with pytest.raises(DataError, match="categor"):
        found.comparisons({"f": ("a", "q")})
    with pytest.raises(DataError, match="odds-ratio"):
        fit("gamma").comparisons({"x": (0, 1)}, comparison="odds-ratio")


def test_means_are_transformed_back_and_compared_as_ratios() -> None:
    found = fit("binary")
    link, response = found.emmeans("f"), found.emmeans("f", type="response")
    np.testing.assert_allclose(response.means["estimate"], 1 / (1 + np.exp(-link.means["estimate"])), rtol=1e-12)
    new = frame().head(3).assign(f=list("abc"), x=frame()["x"].mean())
    table = found.predict(new, level="population", interval="confidence")
    for name in ("estimate", "std_error", "conf_low", "conf_high"):
        np.testing.assert_allclose(response.means[name], table[name], rtol=1e-8)
    differences, ratios = link.differences(), response.differences()
    assert ratios["contrast"].tolist() == ["a / b", "a / c", "b / c"]
    np.testing.assert_allclose(ratios["estimate"], np.exp(differences["estimate"]), rtol=1e-12)
    np.testing.assert_allclose(ratios["conf_high"], np.exp(differences["conf_high"]), rtol=1e-12)
    np.testing.assert_allclose(ratios["p_adjusted"], differences["p_adjusted"], rtol=1e-12)
    assert "ratios of odds" in ratios.attrs["notes"][-1]
    assert ", transformed back from the logit link\n" in str(response)
    with pytest.raises(DataError, match="probability for every category"):
        fit("ordinal").emmeans("x", at={"x": [0, 1]}, type="response")
    assert fits().pool().emmeans("f", type="response").means["estimate"].between(0, 1).all()


def test_an_offset_may_be_an_array() -> None:
    data, column = reference_models.frame("glmm_counts_nested"), reference_models.counts()
    array = rx.glmer("count ~ x + season + (1 | site)", data, "negative-binomial", offset=data["logexp"].to_numpy())
    tables = [(fit.slopes("x"), fit.comparisons("season", comparison="ratio")) for fit in (column, array)]
    for one, other in zip(*tables, strict=True):
        pd.testing.assert_frame_equal(other, one, rtol=1e-9)
    linear = [
        rx.lmer("count ~ x + (1 | site)", data, offset=given).comparisons({"x": (0, 1)})
        for given in ("logexp", data["logexp"].to_numpy())
    ]
    pd.testing.assert_frame_equal(*linear)
