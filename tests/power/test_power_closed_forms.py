"""Power of balanced designs has closed forms: non-central t and F distributions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from remlax import sim

pytestmark = pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
REPLICATIONS = 2000


def near(found: float, exact: float) -> bool:
    """Within four Monte Carlo standard errors, and half a per cent for boundary fits."""
    return abs(found - exact) < 4 * np.sqrt(exact * (1 - exact) / REPLICATIONS) + 0.005


def t_power(effect: float, error: float, df: float, alpha: float = 0.05) -> float:
    limit = stats.t.isf(alpha / 2, df)
    return float(stats.nct.sf(limit, df, effect / error) + stats.nct.cdf(-limit, df, effect / error))


def test_two_arms_of_clusters_are_a_t_test_of_means():
    clusters, size, tau, sigma, effect = 16, 8, 0.7, 1.0, 0.9
    trial = sim.MultilevelDesign(
        [sim.Factor("clinic", clusters)],
        size,
        {"1": 1.0, "arm": effect},
        [sim.RandomTerm("clinic", {"1": tau})],
        sigma,
        [sim.Covariate("arm", level="clinic", kind="balanced", mean=0.5)],
    )
    row = sim.power("y ~ arm + (1 | clinic)", trial, test="arm", replications=REPLICATIONS, seed=3).at()
    error = np.sqrt(4 * (tau**2 + sigma**2 / size) / clusters)
    assert near(row["power"], t_power(effect, error, clusters - 2))
    assert near(row["type_1_error"], 0.05)


def test_three_arms_are_a_one_way_analysis_of_variance():
    clusters, size, tau, effects = 18, 6, 0.6, np.array([0.0, 0.2, 0.9])
    trial = sim.MultilevelDesign(
        [sim.Factor("clinic", clusters)],
        size,
        {"1": 0.0, "arm[T.low]": effects[1], "arm[T.high]": effects[2]},
        [sim.RandomTerm("clinic", {"1": tau})],
        1.0,
        [sim.Covariate("arm", level="clinic", kind="balanced", levels=["none", "low", "high"])],
    )
    row = sim.power("y ~ arm + (1 | clinic)", trial, test="arm", replications=REPLICATIONS, seed=4).at()
    scale = tau**2 + 1 / size
    noncentrality = clusters / 3 * np.sum((effects - effects.mean()) ** 2) / scale
    limit = stats.f.isf(0.05, 2, clusters - 3)
    assert near(row["power"], float(stats.ncf.sf(limit, 2, clusters - 3, noncentrality)))
    assert near(row["type_1_error"], 0.05)


@pytest.mark.slow
def test_a_counterbalanced_design_has_the_power_of_westfall_kenny_and_judd():
    """Westfall, Kenny & Judd (2014), J. Exp. Psychol. Gen. 143:2020: non-central t with Satterthwaite's df."""
    p, q, effect = 24, 16, 0.6
    v_p, v_q, v_e = 0.5**2, 0.4**2, 1.0  # of the condition's effect over participants and over stimuli; the residual
    design = sim.MultilevelDesign(
        [sim.Factor("participant", p), sim.Factor("stimulus", q)],
        1,
        {"1": 0.0, "cond": effect},
        [
            sim.RandomTerm("participant", {"1": 0.6, "cond": np.sqrt(v_p)}, 0.2),
            sim.RandomTerm("stimulus", {"1": 0.5, "cond": np.sqrt(v_q)}),
        ],
        np.sqrt(v_e),
        [sim.Covariate("cond", kind="balanced", mean=0.5)],
    )
    row = sim.power(
        "y ~ cond + (1 + cond | participant) + (1 + cond | stimulus)",
        design,
        test="cond",
        replications=REPLICATIONS,
        seed=5,
    ).at()
    by_p, by_q, rest = q * v_p + 4 * v_e, p * v_q + 4 * v_e, 4 * v_e
    error = np.sqrt((by_p + by_q - rest) / (p * q))
    df = (by_p + by_q - rest) ** 2 / (by_p**2 / (p - 1) + by_q**2 / (q - 1) + rest**2 / ((p - 1) * (q - 1)))
    exact = t_power(effect, error, df)
    # the closed form takes mean squares for known, where REML bounds variances by 0
    assert abs(row["power"] - exact) < 4 * np.sqrt(exact * (1 - exact) / REPLICATIONS) + 0.015
    assert 0.03 < row["type_1_error"] < 0.07


def test_without_variance_between_groups_it_is_the_t_test():
    frame = pd.DataFrame({"g": np.repeat(np.arange(20), 6), "x": np.tile([0.0, 1.0], 60)})
    row = sim.power(
        "y ~ x + (1 | g)",
        frame,
        test="x",
        fixef={"x": 0.5},
        varcorr={"g": 0.8, "Residual": 1.0},
        replications=REPLICATIONS,
        seed=6,
    ).at()
    # x differs within groups: their variance plays no part
    assert near(row["power"], t_power(0.5, np.sqrt(4 / 120), 99))
