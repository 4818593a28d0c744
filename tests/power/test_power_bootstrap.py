"""The bootstrap test: p-values of pbkrtest, the F test where the ratio is a function of it, covariances of draws."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import remlax as rx
from reference_cases import REFERENCE
from remlax import sim
from remlax.many.design import parse_right_side
from remlax.power.bootstrap import BootstrapTest
from remlax.power.plan import shared_design
from remlax.tables.constraints import read_constraints

pytestmark = pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
NEXT = REFERENCE / "next"
MODEL = "y ~ arm + (1 | clinic)"


def bootstrap(formula: str, frame: pd.DataFrame, term: str, n_boot: int = 199) -> BootstrapTest:
    design = shared_design(frame, parse_right_side(f"~ {formula}"), reml=False)
    linear = read_constraints(term, design.model.fixed_names, terms=design.model.term_names)
    return BootstrapTest(design, linear, "bootstrap", n_boot, 1)


def p_values(test: BootstrapTest, y: np.ndarray) -> np.ndarray:
    return test.ratio_p_values(test.fit(y), y, range(len(y)))


def clusters(tau: float, clinics: int = 8, size: int = 4) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows, and responses (40, n) without an effect of the arm."""
    rng, clinic = np.random.default_rng(5), np.repeat(np.arange(clinics), size)
    y = tau * rng.standard_normal((40, clinics))[:, clinic] + rng.standard_normal((40, len(clinic)))
    return pd.DataFrame({"clinic": clinic, "arm": clinic % 2, "o": np.linspace(0, 3, len(clinic))}), y


@pytest.mark.slow
@pytest.mark.parametrize("term", ["cond", "arm"])
def test_p_values_are_those_of_pbkrtest(term: str):
    cases = json.loads((NEXT / "power_bootstrap.json").read_text())
    data, case = pd.read_csv(NEXT / "power_crossed.csv.gz"), cases[term]
    y = np.ascontiguousarray(data[[f"y{r}" for r in cases["sets"]]].to_numpy().T)
    test = bootstrap(case["formula"], data, term, 1999)
    fits = test.fit(y)
    assert_allclose(test.ratio(fits, y)[0], case["ratio"], rtol=1e-4)  # lme4 stops at its tolerance
    theirs, ours = np.array(case["p_value"]), test.ratio_p_values(fits, y, range(len(y)))
    # both are shares of draws
    error = np.sqrt(theirs * (1 - theirs) * (1 / np.array(case["draws"]) + 1 / test.n_boot))
    assert (np.abs(ours - theirs) < 4 * error).all()


def test_where_the_ratio_is_a_function_of_f_it_is_the_f_test():
    """Balanced clusters, variance between them far from 0: the ratio is K log(1 + F / (K - 2)) for K of them."""
    frame, y = clusters(tau=3.0)
    found = p_values(bootstrap("arm + (1 | clinic)", frame, "arm"), y)
    means = y.reshape(40, 8, 4).mean(axis=2)
    exact = stats.ttest_ind(means[:, ::2], means[:, 1::2], axis=1).pvalue
    assert (np.abs(found - exact) < 4.5 * np.sqrt(exact * (1 - exact) / 199) + 1 / 200).all()
    assert abs(np.mean(found - exact)) < 4 * np.sqrt(np.mean(exact * (1 - exact)) / 199 / 40) + 1 / 400
    assert_allclose(found * 200, np.round(found * 200), atol=1e-9)


def test_draws_have_the_covariance_of_the_fit():
    frame = pd.DataFrame({"g": np.repeat([0, 1, 2], 4), "x": np.tile([0.0, 1.0, 2.0, 4.0], 3), "h": np.tile([0, 1], 6)})
    test = bootstrap("x + (1 + x | g) + (1 | h)", frame, "x", 40_000)
    theta = np.array([0.8, -0.3, 0.5, 0.7])
    drawn = test._draw(theta, 3)
    root, z = np.array([[0.8, 0.0], [-0.3, 0.5]]), np.column_stack([np.ones(12), frame["x"]]) * 1.0
    same_g, same_h = (np.equal.outer(frame[name].to_numpy(), frame[name].to_numpy()) for name in "gh")
    expected = np.eye(12) + same_g * (z @ root @ root.T @ z.T) + same_h * 0.49
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / len(drawn))
    assert (np.abs(np.cov(drawn.T) - expected) < 5 * error).all()
    assert (np.abs(drawn.mean(axis=0)) < 5 * np.sqrt(np.diag(expected) / len(drawn))).all()
    assert_array_equal(drawn, test._draw(theta, 3))
    assert not np.array_equal(drawn[:5], test._draw(theta, 4)[:5])


def test_units_offsets_and_hypotheses_other_than_zero_are_the_same_test():
    frame, y = clusters(tau=0.3)
    y, arm = y[:6], frame["arm"].to_numpy()
    test = bootstrap("arm + (1 | clinic)", frame, "arm", 49)
    found = p_values(test, y)
    assert 0.02 <= found.min() < found.max() <= 1
    assert_allclose(p_values(test, 100 + 3 * y), found, atol=1e-12)
    with_offset = bootstrap("arm + offset(o) + (1 | clinic)", frame, "arm", 49)
    assert_allclose(p_values(with_offset, y + frame["o"].to_numpy()), found, atol=1e-12)
    other = replace(test, linear=replace(test.linear, null=np.array([0.7])))
    assert_allclose(p_values(other, y + 0.7 * arm), found, atol=1e-12)


def trial(clinics: int = 8) -> sim.MultilevelDesign:
    return sim.MultilevelDesign(
        [sim.Factor("clinic", clinics)],
        4,
        {"1": 0.0, "arm": 1.2},
        [sim.RandomTerm("clinic", {"1": 0.4})],
        1.0,
        [sim.Covariate("arm", level="clinic", kind="balanced", mean=0.5)],
    )


def test_power_by_the_bootstrap_is_the_share_of_its_p_values(tmp_path):
    options = {"test": "arm", "method": "bootstrap", "n_boot": 39, "seed": 2}
    curve = sim.power(MODEL, trial(), replications=30, out=tmp_path, **options)
    frame = sim.simulate_frames(trial(), 1, seed=1)[0].drop(columns="y")
    again = sim.power(
        MODEL, frame, fixef={"arm": 1.2}, varcorr={"clinic": 0.4, "Residual": 1.0}, replications=30, **options
    )
    assert curve.table.equals(again.table)
    assert "the likelihood-ratio test by parametric bootstrap of arm = 1.2" in curve.sentence()
    assert curve.table["power"][0] > curve.table["type_1_error"][0]
    sim.power(MODEL, trial(), replications=30, out=tmp_path, **{**options, "n_boot": 49})
    assert len(list(tmp_path.iterdir())) == 2
    lrt = sim.power(MODEL, trial(), replications=30, test="arm", method="lrt", seed=2)
    assert curve.table["power"][0] <= lrt.table["power"][0]  # which rejects too often with few clinics


@pytest.mark.slow
def test_rejections_are_as_frequent_as_alpha_says_where_the_likelihood_ratio_is_not():
    options = {"test": "arm", "replications": 1000, "seed": 4}
    row = sim.power(MODEL, trial(), method="bootstrap", **options).at()
    lrt = sim.power(MODEL, trial(), method="lrt", **options).at()
    # the variance is near 0, where the bootstrap is not exact but nearly
    assert abs(row["type_1_error"] - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 1000)
    assert lrt["type_1_low"] > 0.05
    assert row["power"] < lrt["power"]


def test_mistakes_are_named():
    drop = sim.DropOut(0.5, ["y"], subject="clinic", time="time")
    cases = [
        ({"n_boot": 99}, "n_boot= is the number of draws of method='bootstrap'"),
        ({"method": "bootstrap", "n_boot": 9}, r"no p-value is below 0\.1, and alpha is 0\.05: take at least 19\."),
        ({"method": "bootstrap", "n_boot": 0}, "n_boot=0"),
        ({"method": "bootstrap", "missing": drop}, "draws whole responses: leave out missing="),
    ]
    for given, message in cases:
        with pytest.raises(rx.errors.SimulationError, match=message):
            sim.power(MODEL, trial(), test="arm", seed=1, replications=4, **given)  # type: ignore[arg-type]
    counts = sim.MultilevelDesign(
        [sim.Factor("clinic", 4)], 3, {"1": 0.0}, [sim.RandomTerm("clinic", {"1": 0.5})], outcome=sim.Outcome("poisson")
    )
    with pytest.raises(rx.errors.SimulationError, match=r"draws of Gaussian responses, which models of poisson"):
        sim.power("y ~ 1 + (1 | clinic)", counts, test="Intercept", method="bootstrap", seed=1)
