"""rbmi's conditional mean imputation with the jackknife: its vignette's printed digits, and finer numbers."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from reference_based_cases import ANALYSIS, NAMES, antidepressant, conditional_means, rbmi, run

from remlax.impute.reference_based.cells import Parameters

VISITS = ("4", "5", "6", "7")
# vignette "rbmi: Inference with Conditional Mean Imputation" of rbmi 1.5.2: est, se, lci, uci; DRUG is the first arm
# there, so that its differences have the other sign; its lsm_ref is DRUG
PRINTED = {
    "trt_4": (-0.092, 0.695, -1.453, 1.27),
    "lsm_ref_4": (-1.616, 0.588, -2.767, -0.464),
    "lsm_alt_4": (-1.708, 0.396, -2.484, -0.931),
    "trt_5": (1.305, 0.878, -0.416, 3.027),
    "lsm_ref_5": (-4.133, 0.688, -5.481, -2.785),
    "lsm_alt_5": (-2.828, 0.604, -4.011, -1.645),
    "trt_6": (1.929, 0.862, 0.239, 3.619),
    "lsm_ref_6": (-6.088, 0.671, -7.402, -4.773),
    "lsm_alt_6": (-4.159, 0.686, -5.503, -2.815),
    "trt_7": (2.126, 0.858, 0.444, 3.807),
    "lsm_ref_7": (-6.965, 0.685, -8.307, -5.622),
    "lsm_alt_7": (-4.839, 0.762, -6.333, -3.346),
}
# of what is printed, and 5e-5 by which the optimiser behind it stops short
HALF_A_DIGIT = 5e-4 + 5e-5
P_VALUES = {"4": 0.895, "5": 0.137, "6": 0.025, "7": 0.013}


@pytest.mark.parametrize("visit", VISITS)
def test_the_vignettes_printed_digits(visit: str) -> None:
    table = conditional_means("JR").ancova(ANALYSIS, visit).set_index("term")
    for term, name, sign in (("DRUG - PLACEBO", "trt", -1), ("DRUG", "lsm_ref", 1), ("PLACEBO", "lsm_alt", 1)):
        row = table.loc[term]
        limits = sorted((sign * row["conf_low"], sign * row["conf_high"]))
        ours = (sign * row["estimate"], row["std_error"], *limits)
        np.testing.assert_allclose(ours, PRINTED[f"{name}_{visit}"], rtol=0, atol=HALF_A_DIGIT)
    assert table.loc["DRUG - PLACEBO", "p_value"] == pytest.approx(P_VALUES[visit], abs=HALF_A_DIGIT)


@cache
def theirs(event: str, *, same: bool) -> Parameters:
    """Parameters at which rbmi imputed, in the order of the coefficients here."""
    one = next(p for p in rbmi()["parameters"] if (p["event"], p["same_covariance"]) == (event, same))
    interactions = [f"VISIT[T.{v}]" for v in VISITS[1:]]
    names = ["Intercept", "THERAPY[T.PLACEBO]", *interactions, "BASVAL"]
    names += [f"{v}:{other}" for other in ("BASVAL", "THERAPY[T.PLACEBO]") for v in interactions]
    known = {frozenset(name.split(":")): value for name, value in zip(names, one["beta"], strict=True)}
    own = conditional_means("JR", same=same).fit.fixef().index
    sigmas = np.array(one["sigma"])[None, None]
    return Parameters(
        np.array([[[known[frozenset(name.split(":"))] for name in own]]]), sigmas[:, :, :1] if same else sigmas
    )


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("strategy", NAMES)
def test_conditional_means_of_every_cell(strategy: str, same: bool) -> None:
    found, want = conditional_means(strategy, same=same), run(strategy, same=same)["imputed"]
    frame = found.data.frames[0].set_index(["PATIENT", "VISIT"])["CHANGE"]
    cells = list(zip(rbmi()["patient"], rbmi()["visit"], strict=True))
    assert int(found.imputed.to_numpy().sum()) == len(cells)
    model = found._model
    exact = model.cells.completed(theirs("first missing", same=same))[0]
    at = [(model.trial.patients.index(p), model.trial.visits.index(v)) for p, v in cells]
    np.testing.assert_allclose([exact[i, t] for i, t in at], want, rtol=1e-9, atol=1e-9)
    # its optimiser stops short of the optimum by as much
    np.testing.assert_allclose(frame.loc[cells], want, atol=2.5e-3)


@pytest.mark.parametrize(
    ("strategy", "same"),
    [("JR", True), ("CIR", True), *(pytest.param(s, False, marks=pytest.mark.slow) for s in ("JR", "CIR", "CR"))],
)
def test_the_jackknife_with_and_without_a_delta(strategy: str, same: bool) -> None:
    found, one = conditional_means(strategy, same=same), run(strategy, same=same)
    for visit in VISITS[1:]:
        at = one["parameter"].index(f"trt_{visit}")
        row = found.ancova(ANALYSIS, visit).iloc[0]
        np.testing.assert_allclose([-row["estimate"], row["std_error"]], [one["est"][at], one["se"][at]], rtol=2e-4)
        np.testing.assert_allclose([-row["conf_high"], -row["conf_low"]], [one["lci"][at], one["uci"][at]], rtol=2e-3)
        assert row["p_value"] == pytest.approx(one["p"][at], rel=1e-2)
        shifted = found.tipping_point(ANALYSIS, [0, 3], visit).iloc[1]
        theirs_shifted = [one["delta_est"][at], one["delta_se"][at]]
        np.testing.assert_allclose([-shifted["estimate"], shifted["std_error"]], theirs_shifted, rtol=4e-4)


@pytest.mark.parametrize("strategy", ["JR", "CIR"])
def test_values_after_the_event_stay_and_take_no_part_in_the_fit(strategy: str) -> None:
    found, one = conditional_means(strategy, event="early_visit"), run(strategy, event="early")
    row = found.ancova(ANALYSIS).iloc[0]
    at = one["parameter"].index("trt_7")
    np.testing.assert_allclose([-row["estimate"], row["std_error"]], [one["est"][at], one["se"][at]], rtol=2e-4)
    kept = found.data.frames[0].merge(antidepressant(), on=["PATIENT", "VISIT"], suffixes=("", "_before"))
    np.testing.assert_array_equal(kept["CHANGE"], kept["CHANGE_before"])
