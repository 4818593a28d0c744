"""Draws of outcomes that are not Gaussian against closed forms, exact probabilities, and each other.

As in test_generate, means over replications are allowed 4 Monte Carlo standard errors; seeds are fixed.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from remlax.engine.programs import PROGRAMS
from remlax.errors import SimulationError
from remlax.simulation.design import Covariate, Drawn, Factor, MultilevelDesign, RandomTerm
from remlax.simulation.from_formula import design_from_formula
from remlax.simulation.generate import SimulatedData, generate_batch, simulate_frames
from remlax.simulation.keys import Stream, keys
from remlax.simulation.outcomes import Outcome

R, GROUPS, ROWS = 400, 30, 4
INTERCEPT, SD = 0.4, 0.7


def design(outcome: Outcome, sd: float = SD, intercept: float = INTERCEPT, **changes: Any) -> MultilevelDesign:
    beta = {} if outcome.family == "ordinal" else {"1": intercept}
    return MultilevelDesign([Factor("g", GROUPS)], ROWS, beta, [RandomTerm("g", {"1": sd})], outcome=outcome, **changes)


def draw(own: MultilevelDesign, replications: int = R, seed: int = 5) -> SimulatedData:
    with jax.enable_x64(True):
        data = generate_batch(keys(seed, "0" * 16, range(replications), Stream.DATA), own)
        return jax.tree.map(np.asarray, data)


def responses(own: MultilevelDesign) -> np.ndarray:
    """(R, groups, rows)."""
    return draw(own).columns["y"].reshape(R, GROUPS, ROWS)


def close(per_replication: np.ndarray, expected: float) -> None:
    error = per_replication.std(ddof=1) / math.sqrt(len(per_replication))
    assert abs(per_replication.mean() - expected) < 4 * error, (per_replication.mean(), expected, error)


def same_pair(y: np.ndarray) -> np.ndarray:
    """Mean product of two rows of a group, per replication."""
    return (y[:, :, 0] * y[:, :, 1]).mean(1)


def test_probit_outcomes_have_their_marginal_and_joint_probabilities() -> None:
    y = responses(design(Outcome(link="probit")))
    assert set(np.unique(y)) == {0.0, 1.0}
    at = INTERCEPT / math.sqrt(1 + SD**2)
    rho = SD**2 / (1 + SD**2)
    close(y.mean((1, 2)), float(special.ndtr(at)))
    both = stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([at, at])
    close(same_pair(y), float(both))


@pytest.mark.parametrize(("link", "mean"), [("logit", special.expit), ("cloglog", lambda eta: -np.expm1(-np.exp(eta)))])
def test_binary_outcomes_at_a_covariate_have_the_inverse_link(link: str, mean: Any) -> None:
    own = design(Outcome(link=link), 0.0, covariates=[Covariate("b", kind="binary", mean=0.3)])
    data = draw(dataclasses.replace(own, beta={"1": -0.5, "b": 1.2})).columns
    for value, eta in ((0, -0.5), (1, 0.7)):
        here = data["b"] == value
        close((data["y"] * here).sum(1) / here.sum(1), float(mean(eta)))


def test_successes_of_trials_are_binomial() -> None:
    data = draw(design(Outcome(trials=7), 0.0)).columns
    assert (data["trials"] == 7).all()
    counts = np.bincount(data["y"].astype(int).ravel(), minlength=8)
    expected = stats.binom(7, special.expit(INTERCEPT)).pmf(np.arange(8)) * data["y"].size
    assert stats.chisquare(counts, expected).pvalue > 0.001


@pytest.mark.parametrize("intercept", [INTERCEPT, 5.0], ids=["small", "large"])
def test_counts_have_the_moments_of_a_poisson_lognormal(intercept: float) -> None:
    y = responses(design(Outcome("poisson"), intercept=intercept, sd=0.3))
    mean, growth = math.exp(intercept + 0.3**2 / 2), math.expm1(0.3**2)
    close(y.mean((1, 2)), mean)
    close(((y - mean) ** 2).mean((1, 2)), mean + mean**2 * growth)
    close(same_pair(y - mean), mean**2 * growth)


def test_poisson_counts_have_exact_probabilities() -> None:
    y = responses(design(Outcome("poisson"), 0.0))
    law = stats.poisson(math.exp(INTERCEPT))
    counts = np.bincount(np.minimum(y.astype(int), 6).ravel(), minlength=7)
    expected = np.append(law.pmf(np.arange(6)), law.sf(5)) * y.size
    assert stats.chisquare(counts, expected).pvalue > 0.001


def test_negative_binomial_counts_have_exact_probabilities() -> None:
    y = responses(design(Outcome("negative-binomial", size=1.5), 0.0))
    mu = math.exp(INTERCEPT)
    law = stats.nbinom(1.5, 1.5 / (1.5 + mu))
    assert law.var() == pytest.approx(mu + mu**2 / 1.5)
    counts = np.bincount(np.minimum(y.astype(int), 8).ravel(), minlength=9)
    expected = np.append(law.pmf(np.arange(8)), law.sf(7)) * y.size
    assert stats.chisquare(counts, expected).pvalue > 0.001


def test_gamma_outcomes_are_gamma() -> None:
    y = responses(design(Outcome("gamma", shape=2.5), 0.0))
    law = stats.gamma(2.5, scale=math.exp(INTERCEPT) / 2.5)
    assert stats.kstest(y.ravel(), law.cdf).pvalue > 0.001
    close(y.mean((1, 2)), math.exp(INTERCEPT))


@pytest.mark.parametrize(("link", "cdf", "sd"), [("logit", special.expit, 0.0), ("probit", special.ndtr, SD)])
def test_categories_have_their_cumulative_probabilities(link: str, cdf: Any, sd: float) -> None:
    thresholds = [-1.0, 0.2, 1.5]
    y = responses(design(Outcome("ordinal", link=link, thresholds=thresholds), sd))
    for k, threshold in enumerate(thresholds):
        close((y <= k).mean((1, 2)), float(cdf(threshold / math.sqrt(1 + sd**2))))
    assert set(np.unique(y)) == {0.0, 1.0, 2.0, 3.0}


@pytest.mark.slow
def test_draws_are_the_same_whatever_the_number_of_keys() -> None:
    own = design(Outcome("negative-binomial", size=1.5))
    with jax.enable_x64(True):
        every = keys(5, "0" * 16, range(5), Stream.DATA)
        whole = generate_batch(every, own).columns["y"]
        for i in range(0, 5, 2):
            np.testing.assert_array_equal(generate_batch(every[i : i + 2], own).columns["y"], whole[i : i + 2])


def test_numbers_of_an_outcome_do_not_compile_anew_and_the_dtype_is_the_default() -> None:
    own = design(Outcome("ordinal", thresholds=[-1.0, 0.2, 1.5]), 0.0)
    draw(own)
    before = PROGRAMS.held
    draw(dataclasses.replace(own, outcome=Outcome("ordinal", thresholds=[0.0, 0.1, 0.2])))
    assert before == PROGRAMS.held
    single = generate_batch(keys(5, "0" * 16, range(R), Stream.DATA), own)
    assert single.columns["y"].dtype == np.float32


def test_frames_have_integers_ordered_categories_and_trials() -> None:
    short = Drawn.uniform(1, ROWS)
    (binary,) = simulate_frames(dataclasses.replace(design(Outcome()), size=short), seed=1)
    assert binary["y"].dtype == np.int64
    assert set(binary["y"]) == {0, 1}
    assert len(binary) < GROUPS * ROWS
    (of_trials,) = simulate_frames(design(Outcome(trials=7)), seed=1)
    assert list(of_trials.columns) == ["g", "y", "trials"]
    assert of_trials["trials"].tolist() == [7] * (GROUPS * ROWS)
    (ordinal,) = simulate_frames(design(Outcome("ordinal", thresholds=[0.0], levels=["no", "yes"])), seed=1)
    assert ordinal["y"].dtype == pd.CategoricalDtype(["no", "yes"], ordered=True)


def test_a_formula_makes_the_same_design() -> None:
    settings: dict[str, Any] = {"sd": {"g": [SD]}, "factors": [Factor("g", GROUPS)], "size": ROWS}
    for formula in ("y ~ 1 + (1 | g)", "cbind(y, trials - y) ~ 1 + (1 | g)"):
        assert design_from_formula(formula, beta=[INTERCEPT], outcome=Outcome(trials=7), **settings) == design(
            Outcome(trials=7)
        )
    ordinal = Outcome("ordinal", thresholds=[0.0])
    assert design_from_formula("y ~ 1 + (1 | g)", beta={}, outcome=ordinal, **settings) == design(ordinal)


def test_means_that_are_too_large_for_counts_are_refused() -> None:
    with pytest.raises(SimulationError, match="Means of 'y' are too large to draw counts: lower beta= or SDs"):
        simulate_frames(design(Outcome("poisson"), 0.0, intercept=40.0), seed=1)
