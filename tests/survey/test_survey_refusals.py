"""What a user of surveys is warned of or refused, and scaled weights with replicates against a loop of single fits."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from survey_cases import pupils

FORMULA = "y ~ x + (1 | school)"
WEIGHTS = {"school": "w3", "pupil": "w1"}
SCHOOLS = sorted(set(pupils()["school"]))
HADAMARD = np.array([[(-1) ** bin(r & (z + 1)).count("1") for z in range(12)] for r in range(16)])


@cache
def unequal() -> pd.DataFrame:
    """Schools that differ in the mean of their pupils' weights, so that scales are not all the same."""
    factor = dict(zip(SCHOOLS, np.exp(np.random.default_rng(3).normal(0, 0.4, len(SCHOOLS))), strict=True))
    return pupils().assign(w1=pupils()["w1"] * pupils()["school"].map(factor))


@cache
def fay(coefficient: float = 0.5) -> pd.DataFrame:
    """Fay's replicates: schools in pairs, of which one is weighted up."""
    place = pupils()["school"].map({name: i for i, name in enumerate(SCHOOLS)}).to_numpy()
    sign = HADAMARD[:, place // 2] * np.where(place % 2, 1, -1)
    weights = unequal()["w1"].to_numpy() * (1 + (1 - coefficient) * sign)
    return pd.DataFrame(weights.T, columns=[f"r{r}" for r in range(16)])


def fit(**given: Any) -> rx.SurveyFit:
    call: dict[str, Any] = {"formula": FORMULA, "data": unequal(), "sampling_weights": WEIGHTS, "conditional": False}
    out = rx.lmer(**{**call, **given})
    assert isinstance(out, rx.SurveyFit)
    return out


# -- scales and replicates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [None, "size", "effective"])
def test_scaled_weights_with_replicates_are_a_loop_of_single_fits(scale: str | None) -> None:
    found = fit(replicates=fay(), method="fay", scale=scale)
    parts = []
    for name in fay():
        share = fay()[name] / unequal()["w1"]  # of the school as a whole, as pairs of schools are replicated
        single = unequal().assign(w3=unequal()["w3"] * share, w1=fay()[name])
        parts.append(fit(data=single, scale=scale).fixef().to_numpy())
    deviations = np.array(parts) - found.fixef().to_numpy()
    expected = np.sqrt(np.sum(deviations**2, axis=0) / (16 * 0.25))
    np.testing.assert_allclose(found.tidy()["std_error"], expected, rtol=1e-6)


# -- replicates that are none, or of another method ------------------------------------------------------------------


def test_replicates_of_another_product_are_refused() -> None:
    with pytest.raises(rx.RemlaxError, match="are not replicates of the product of the sampling weights"):
        fit(sampling_weights={"school": "w3"}, replicates=fay(), method="fay")


def test_a_foreign_column_is_refused() -> None:
    frame = unequal().join(fay()).assign(id=np.arange(1.0, len(unequal()) + 1))
    with pytest.raises(rx.RemlaxError, match=r"replicate 1 sums to .* it is none of their replicates"):
        fit(data=frame, replicates=["id", *fay()], method="fay")


@pytest.mark.parametrize(
    ("method", "options", "like"),
    [("brr", {}, "fay with fay=0.5"), ("fay", {"fay": 0.1}, "fay with fay=0.5"), ("jk1", {}, "fay with fay=0.5")],
)
def test_replicates_of_another_method_are_told(method: str, options: dict[str, float], like: str) -> None:
    with pytest.warns(
        rx.errors.DataWarning, match=f"differ from the weights by .* and these by 50%, as those of {like}"
    ):
        fit(replicates=fay(), method=method, **options)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a replicate of zeros": ({"replicates": fay().assign(r2=0.0), "method": "fay"}, "replicate 3 has no weight"),
    "the same replicate": ({"replicates": fay()[["r0", "r0"]], "method": "fay"}, "do not differ from each other"),
    "a column twice": ({"data": unequal().join(fay()), "replicates": ["r0", "r0"], "method": "fay"}, "a column twice"),
    "fay without replicates": ({"fay": 0.3}, "fay=0.3 says how replicate weights were made"),
    "scale without weights": ({"sampling_weights": None, "scale": "size"}, "scale='size' is for weights"),
    "strata that are not there": (
        {"formula": "v ~ x + (1 | school)", "data": unequal().assign(a=unequal()["y"], b=unequal()["y"] + 1),
         "plausible_values": ["a", "b"], "strata": "nope"},
        "strata='nope' is not a column of the data",
    ),
    "a level in capitals": ({"sampling_weights": {"SCHOOL": "w3"}}, "did you mean 'school'"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_cannot_be_used_is_refused(name: str) -> None:
    given, message = REFUSED[name]
    with pytest.raises(rx.RemlaxError, match=message):
        fit(**given)


def test_weights_of_schools_as_those_of_rows_are_told() -> None:
    with pytest.warns(rx.errors.DataWarning, match="differ between the levels of 'school' alone"):
        fit(sampling_weights={"w": "w3"}, conditional=True)


def test_conditional_weights_that_are_divided_are_told() -> None:
    frame = unequal().assign(w1=unequal()["w1"] / unequal()["w3"] ** 2)
    with pytest.warns(rx.errors.DataWarning, match="below 1 in most rows, which no inverse probability is"):
        fit(data=frame)


def test_rows_need_all_their_plausible_values() -> None:
    frame = unequal().assign(a=unequal()["y"], b=unequal()["y"] + 1)
    frame.loc[3, "b"] = np.nan
    given = {"formula": "v ~ x + (1 | school)", "plausible_values": ["a", "b"]}
    with pytest.warns(rx.DroppedRowsWarning, match="1 of"):
        found = fit(data=frame, **given)
    expected = fit(data=frame.drop(index=3), **given)
    np.testing.assert_allclose(found.fixef(), expected.fixef(), rtol=1e-12)


# -- what a result says ----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::remlax.SingularFitWarning")
def test_a_share_of_a_variance_of_zero_has_no_standard_error() -> None:
    noise = np.random.default_rng(1).normal(size=len(pupils()))
    flat = unequal().assign(y=noise - pd.Series(noise).groupby(pupils()["school"]).transform("mean"))
    found = fit(data=flat, sampling_weights={"school": "w3"}, conditional=True)
    assert found.is_singular
    assert found.icc()[["std_error", "conf_low", "conf_high"]].isna().all(axis=None)
    assert "school 0.000\n" in str(found)


def test_more_hypotheses_than_degrees_of_freedom_are_refused() -> None:
    two = fit(replicates=fay()[["r1", "r2"]], method="fay")
    with pytest.raises(rx.RemlaxError, match="a test of 2 hypotheses needs as many degrees of freedom"):
        two.test(["Intercept", "x"])


@pytest.mark.parametrize("name", ["confint", "emmeans", "pool", "deviance", "plot", "residuals", "profile"])
def test_what_surveys_do_not_have_is_said(name: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; not available for models of surveys"):
        getattr(fit(), name)


@pytest.mark.parametrize("call", [rx.bootstrap, rx.simulate, lambda found: rx.refit(found, [1.0])])
def test_functions_of_fits_refuse_them(call: Any) -> None:
    with pytest.raises(rx.RemlaxError, match=r"needs one fit, not a SurveyFit \(of rx\.lmer"):
        call(fit())


@pytest.mark.parametrize(
    ("name", "hint"), [("REML", "use reml="), ("replicate", "use replicates="), ("pv", "use plau")]
)
def test_names_of_other_software_are_told(name: str, hint: str) -> None:
    with pytest.raises(TypeError, match=f"has no argument '{name}': {hint}"):
        rx.lmer(FORMULA, pupils(), **{name: 1})
