"""Checks of dispersion and of zeros of generalised linear mixed models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from reference_models import binary, counts, frame

import remlax as rx
from remlax.errors import DataError
from remlax.fitting.refit import draw_responses, refit_to
from remlax.fitting.selection import Selection
from remlax.inference.glmm_checks import _means_given


@pytest.mark.slow
def test_overdispersed_counts_are_seen() -> None:
    poisson = counts("(1 + x | site)", "poisson")
    found = poisson.check_dispersion(n_sims=99, seed=1).iloc[0]
    y = poisson.selection.rows.y.of(0)
    mean = np.exp(poisson.selection.fitted.fitted_values(0))
    assert found["statistic"] == pytest.approx(np.sum((y - mean) ** 2 / mean), rel=1e-12)
    assert found["df"] == 193 - 7
    assert found["dispersion"] == pytest.approx(found["statistic"] / found["df"])
    assert found["p_value"] == 0.01
    assert found["expected"] < 1  # the modes follow the data
    assert counts().check_dispersion(n_sims=99, seed=1).equals(counts().check_dispersion(n_sims=99, seed=1))


def test_counts_of_the_model_are_not_overdispersed() -> None:
    poisson = counts("(1 + x | site)", "poisson")
    drawn = draw_responses(poisson.selection, 3, np.random.default_rng(11))
    refits = Selection.all_of(refit_to(poisson.selection, drawn))
    found = [rx.GlmerFit(one).check_dispersion(n_sims=99, seed=1).iloc[0] for one in refits.each]
    assert all(row["p_value"] > 0.02 for row in found)
    assert all(row["dispersion"] / row["expected"] == pytest.approx(1.0, abs=0.2) for row in found)


@pytest.mark.slow
def test_modes_of_the_observed_response_are_those_of_the_fit() -> None:
    fitted = counts().selection.fitted
    found = _means_given(fitted, 0, np.tile(fitted.response.y.of(0), (2, 1)))
    np.testing.assert_allclose(found, np.tile(fitted.means(0), (2, 1)), rtol=1e-9)


def test_zeros_are_counted() -> None:
    fit = counts()
    found = fit.check_zeros(n_sims=400, seed=2).iloc[0]
    assert found["observed"] == int((fit.selection.rows.y.of(0) == 0).sum())
    # P(0) = (size / (size + mu))^size, averaged over the effects
    eta = fit.selection.fitted.fitted_values(0, random=False)[:, None]
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    mean = np.exp(eta + np.sqrt(fit.varcorr()["vcov"][0]) * nodes)
    size = fit.dispersion
    expected = float(np.sum(((size / (size + mean)) ** size) @ weights / np.sqrt(2 * np.pi)))
    assert found["expected"] == pytest.approx(expected, rel=0.03)
    assert 0.05 < found["p_value"] <= 1


def test_counts_of_successes_have_their_trials() -> None:
    data = frame("glmm_cbpp_links")
    fit = rx.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", data)
    mean = 1 / (1 + np.exp(-fit.selection.fitted.fitted_values(0)))
    pearson = np.sum((data["incidence"] - data["size"] * mean) ** 2 / (data["size"] * mean * (1 - mean)))
    found = fit.check_dispersion(n_sims=99, seed=1).iloc[0]
    assert found["statistic"] == pytest.approx(pearson, rel=1e-12)
    assert 0.5 < found["expected"] < 1
    zeros = fit.check_zeros(n_sims=99, seed=1).iloc[0]
    assert zeros["observed"] == (data["incidence"] == 0).sum()
    assert zeros["ratio"] == pytest.approx(1.0, abs=0.5)


def test_what_cannot_be_seen_is_refused() -> None:
    one = binary()[0]
    with pytest.raises(DataError, match="overdispersion cannot be seen in 0/1 responses"):
        one.check_dispersion()
    with pytest.raises(DataError, match="zeros of a 0/1 response are what the model fits"):
        one.check_zeros()
    with pytest.raises(DataError, match="n_sims"):
        counts().check_dispersion(n_sims=0)
    assert isinstance(counts().check_zeros(n_sims=10, seed=1), pd.DataFrame)
