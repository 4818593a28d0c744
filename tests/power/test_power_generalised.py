"""Power of generalised models: p-values of lme4, a loop of single fits, closed forms of what is drawn, refusals."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy
from numpy.testing import assert_allclose, assert_array_equal

import remlax as rx
from remlax import sim
from remlax.many.design import parse_right_side
from remlax.power.generalised import OutcomeLaw, OutcomeTest, quantile
from remlax.power.plan import shared_design
from remlax.power.responses import EffectLaw
from remlax.tables.constraints import read_constraints

pytestmark = pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
FOLDER = Path(__file__).parents[1] / "reference" / "simulation"
MODEL = "y ~ arm + x + (1 | clinic)"
OUTCOMES = {
    "binomial": sim.Outcome("binomial"),
    "poisson": sim.Outcome("poisson"),
    "negative-binomial": sim.Outcome("negative-binomial", size=2.0),
    "gamma": sim.Outcome("gamma", shape=2.0),
}


def rows() -> pd.DataFrame:
    clinic, x = np.repeat(np.arange(20), 8), np.tile(np.linspace(-1, 1, 8), 20)
    return pd.DataFrame({"clinic": clinic, "arm": clinic % 2, "x": x})


def law(outcome: sim.Outcome) -> OutcomeLaw:
    frame = rows()
    mean = (-0.2 + 0.6 * frame["arm"] + 0.3 * frame["x"]).to_numpy()
    effects = (EffectLaw(frame["clinic"].to_numpy(), np.ones((160, 1)), np.array([[0.5]])),)
    return OutcomeLaw(mean, effects, outcome)


def made() -> pd.DataFrame:
    """What tests/reference/simulation/power_outcomes.csv.gz holds."""
    kinds = ("binomial", "poisson")
    drawn = {f"{kind}{r}": y for kind in kinds for r, y in enumerate(law(OUTCOMES[kind]).draw(3, range(10)))}
    return rows().assign(**drawn)


@cache
def reference() -> tuple[dict[str, dict[str, list[float]]], pd.DataFrame]:
    numbers = json.loads((FOLDER / "power_outcomes.json").read_text())
    return numbers, pd.read_csv(FOLDER / "power_outcomes.csv.gz")


def p_values_of(kind: str, method: str, y: np.ndarray) -> np.ndarray:
    design = shared_design(rows(), parse_right_side("~ arm + x + (1 | clinic)"), reml=False)
    linear = read_constraints("arm", design.model.fixed_names)
    test = OutcomeTest(design, linear, method, OUTCOMES[kind])  # type: ignore[arg-type]
    fits = test.fit(y)
    return test.p_values(fits, linear.null) if method == "wald" else test.ratio_p_values(fits, y, range(len(y)))


@pytest.mark.parametrize("kind", ["binomial", "poisson"])
@pytest.mark.parametrize("method", ["wald", "lrt"])
def test_p_values_are_those_of_lme4(kind: str, method: str) -> None:
    numbers, data = reference()
    y = data[[f"{kind}{r}" for r in range(10)]].to_numpy(np.float64).T
    # lme4's Hessian is made of finite differences, and its optimiser stops at 1e-6 of the deviance
    assert_allclose(p_values_of(kind, method, y), numbers[kind][method], rtol=2e-3 if method == "wald" else 1e-4)


@pytest.mark.parametrize("kind", [pytest.param("negative-binomial", marks=pytest.mark.slow), "gamma"])
def test_p_values_are_those_of_single_fits(kind: str) -> None:
    y = law(OUTCOMES[kind]).draw(5, range(3))
    wald, ratio = p_values_of(kind, "wald", y), p_values_of(kind, "lrt", y)
    for r, response in enumerate(y):
        frame = rows().assign(y=response)
        full = rx.glmer(MODEL, frame, kind)
        null = rx.glmer("y ~ x + (1 | clinic)", frame, kind)
        assert wald[r] == pytest.approx(full.tidy().set_index("term").loc["arm", "p_value"], rel=1e-5)
        statistic = null.criterion() - full.criterion()
        assert ratio[r] == pytest.approx(scipy.stats.chi2.sf(statistic, 1), rel=1e-5)


def test_power_is_that_of_single_fits_to_the_same_responses() -> None:
    frame = rows()
    curve = sim.power(
        MODEL, frame, test="arm", fixef={"Intercept": -0.2, "arm": 0.6, "x": 0.3}, varcorr={"clinic": 0.5},
        outcome=OUTCOMES["binomial"], replications=12, seed=3,
    )  # fmt: skip
    assert curve.method == "wald"
    p_values = []
    for without in (0.0, 0.6 * frame["arm"].to_numpy()):
        drawn = law(OUTCOMES["binomial"]).draw(3, range(12), without)
        fits = [rx.glmer(MODEL, frame.assign(y=y), "binomial") for y in drawn]
        p_values.append([fit.tidy().set_index("term").loc["arm", "p_value"] for fit in fits])
    shares = (np.array(p_values) < 0.05).mean(axis=1)
    assert_allclose([curve.table["power"][0], curve.table["type_1_error"][0]], shares)


@pytest.mark.parametrize("kind", list(OUTCOMES))
def test_responses_have_the_moments_of_their_outcome(kind: str) -> None:
    eta, outcome = 0.4, OUTCOMES[kind]
    uniform = (np.arange(200_000) + 0.5) / 200_000
    y = quantile(outcome, np.full(len(uniform), eta), uniform)
    mean = scipy.special.expit(eta) if kind == "binomial" else np.exp(eta)
    variance = {
        "binomial": mean * (1 - mean),
        "poisson": mean,
        "negative-binomial": mean + mean**2 / 2,
        "gamma": mean**2 / 2,
    }
    assert y.mean() == pytest.approx(mean, rel=1e-4)
    assert y.var() == pytest.approx(variance[kind], rel=1e-3)


def test_responses_without_the_effect_share_their_random_numbers() -> None:
    own = law(OUTCOMES["binomial"])
    with_effect, without = own.draw(1, range(50)), own.draw(1, range(50), 0.6 * rows()["arm"].to_numpy())
    assert (without <= with_effect).all()
    control = rows()["arm"].to_numpy() == 0
    assert_array_equal(without[:, control], with_effect[:, control])
    assert_array_equal(own.draw(1, range(20, 30)), with_effect[20:30])


def test_a_response_that_cannot_be_fitted_fails_alone() -> None:
    y = law(OUTCOMES["binomial"]).draw(2, range(4))
    whole = p_values_of("binomial", "wald", y)
    broken = y.copy()
    broken[1] = 0.0
    found = p_values_of("binomial", "wald", broken)
    assert np.isnan(found[1])
    assert_allclose(np.delete(found, 1), np.delete(whole, 1), rtol=1e-6)


def test_missing_responses_are_left_out() -> None:
    y = law(OUTCOMES["poisson"]).draw(2, range(2))
    y[0, :5] = np.nan
    fit = rx.glmer(MODEL, rows().assign(y=y[0]).dropna(), "poisson")
    p_value = fit.tidy().set_index("term").loc["arm", "p_value"]
    assert p_values_of("poisson", "wald", y)[0] == pytest.approx(p_value, rel=1e-5)


@pytest.mark.parametrize("kind", ["poisson", pytest.param("negative-binomial", marks=pytest.mark.slow)])
def test_a_pilot_fit_has_its_outcome(kind: str, tmp_path: Path) -> None:
    pilot = rx.glmer(MODEL, rows().assign(y=law(OUTCOMES[kind]).draw(1, range(1))[0]), kind)
    curve = sim.power(pilot, test="arm", n={"clinic": [20, 40]}, fixef={"arm": 0.8}, replications=20, seed=1)
    if kind == "negative-binomial":
        size = pilot.tidy("ran_pars").set_index("group").loc["Response", "estimate"]
        assert f"size {size:.3g}" in curve.assumptions
    assert f"{kind} mixed model (log link)" in curve.sentence()
    assert curve.table["power"][1] >= curve.table["power"][0]
    curve.save(tmp_path / "curve.power")
    assert rx.load(tmp_path / "curve.power").sentence() == curve.sentence()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["binomial", "poisson"])
def test_the_size_of_the_likelihood_ratio_is_right_with_many_clusters(kind: str) -> None:
    design = sim.MultilevelDesign(
        [sim.Factor("clinic", 200)], 6, {"1": -0.5, "arm": 0.3}, [sim.RandomTerm("clinic", {"1": 0.5})],
        covariates=[sim.Covariate("arm", level="clinic", kind="balanced", mean=0.5)], outcome=OUTCOMES[kind],
    )  # fmt: skip
    row = sim.power("y ~ arm + (1 | clinic)", design, test="arm", method="lrt", replications=2000, seed=1).at()
    assert row["type_1_low"] < 0.05 < row["type_1_high"]


REFUSED = {
    "df": ({"method": "satterthwaite"}, "models of poisson responses do not have: use 'wald' or 'lrt'"),
    "ordinal": ({"outcome": sim.Outcome("ordinal", thresholds=[0.0])}, "power\\(\\) has no 'ordinal' outcomes"),
    "trials": ({"outcome": sim.Outcome("binomial", trials=5)}, "no 'binomial' outcomes of several trials"),
    "residual": ({"varcorr": {"clinic": 0.5, "Residual": 1.0}}, "has a residual SD, and poisson responses have none"),
    "no outcome": ({"outcome": "poisson"}, r"outcome='poisson' must be made by sim.Outcome\('binomial'\)"),
    "varcorr": ({"varcorr": None}, r'no entry for \'clinic\'.* as in varcorr=\{"subject": 0.5\}'),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_power_does_not_have_is_refused(name: str) -> None:
    given, message = REFUSED[name]
    call = {"outcome": OUTCOMES["poisson"], "fixef": {"arm": 0.5}, "varcorr": {"clinic": 0.5}} | given
    with pytest.raises(rx.RemlaxError, match=message):
        sim.power(MODEL, rows(), test="arm", replications=2, seed=1, **call)  # type: ignore[arg-type]


def test_outcomes_of_designs_and_fits_are_their_own() -> None:
    fit = rx.glmer(MODEL, made().rename(columns={"binomial0": "y"}), "binomial")
    with pytest.raises(rx.RemlaxError, match="a MultilevelDesign and a fit have one of their own"):
        sim.power(fit, test="arm", outcome=OUTCOMES["poisson"], seed=1)
