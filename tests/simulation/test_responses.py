"""simulate, refit and the parametric bootstrap: moments, fits from scratch, lme4's bootMer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.errors import DataError

FORMULA = "Reaction ~ Days + (1 + Days | Subject)"


@pytest.fixture(scope="module")
def fit() -> rx.LmerFit:
    return rx.lmer(FORMULA, rx.datasets.sleepstudy())


def test_simulated_responses_have_the_moments_of_the_model(fit: rx.LmerFit) -> None:
    drawn = rx.simulate(fit, 4000, seed=1)
    data = rx.datasets.sleepstudy()
    assert drawn.index.equals(data.index)
    assert list(drawn)[:2] == ["sim_1", "sim_2"]
    pd.testing.assert_frame_equal(rx.simulate(fit, 3, seed=1), drawn.iloc[:, :3])
    # closed form of one row's variance: z Sigma z' + sigma^2
    days = data["Days"].to_numpy()
    z = np.column_stack([np.ones(180), days])
    effects = fit.fitted_stack.covariance(0)[0]
    variance = np.einsum("ij,jk,ik->i", z, effects, z) + fit.sigma**2
    values = drawn.to_numpy()
    mean = fit.fixef()["Intercept"] + fit.fixef()["Days"] * days
    assert (np.abs(values.mean(axis=1) - mean) < 4.5 * np.sqrt(variance / 4000)).all()
    assert (np.abs(values.var(axis=1) / variance - 1) < 4.5 * np.sqrt(2 / 4000)).all()
    kept = rx.simulate(fit, 4000, seed=1, given_modes=True).to_numpy()
    assert np.abs(kept.var(axis=1) / fit.sigma**2 - 1).max() < 4.5 * np.sqrt(2 / 4000)
    assert np.abs(kept.mean(axis=1) - fit.fitted()).max() < 4.5 * fit.sigma / np.sqrt(4000)


def test_refits_equal_fits_from_scratch(fit: rx.LmerFit) -> None:
    drawn = rx.simulate(fit, 3, seed=2)
    again = rx.refit(fit, drawn)
    data = rx.datasets.sleepstudy()
    for k, name in enumerate(drawn):
        one = rx.lmer(FORMULA, data.assign(Reaction=drawn[name]))
        np.testing.assert_allclose(again[k].fixef(), one.fixef(), rtol=1e-8)
        np.testing.assert_allclose(again[k].theta, one.theta, rtol=1e-6)
        np.testing.assert_allclose(again[k].criterion(), one.criterion(), rtol=1e-10)
    same = rx.refit(fit, data["Reaction"])
    assert len(same) == 1
    np.testing.assert_allclose(same[0].fixef(), fit.fixef(), rtol=1e-9)


def test_bootstrap_standard_errors_near_the_models_and_over_imputations() -> None:
    fits = rx.lmer_list("mathach ~ ses + (1 | schid)", _two())
    found = rx.bootstrap(fits, 60, seed=3)
    assert found.replicates.shape == (120, 4)
    table = found.summary().set_index("term")
    assert list(table.index) == ["Intercept", "ses", "sd__Intercept|schid", "sigma"]
    pooled = fits.pool().tidy("fixed").set_index("term")
    # SD of an SD from 2 x 60 draws: about 1 / sqrt(2 * 118) = 6.5 %
    ratio = table.loc[["Intercept", "ses"], "std_error"] / pooled["std_error"]
    assert ((ratio > 0.75) & (ratio < 1.3)).all()
    np.testing.assert_allclose(table.loc["ses", "estimate"], pooled.loc["ses", "estimate"], rtol=1e-12)
    # Rubin's rules on the bootstrap variances, written out
    own, again = found.estimates["ses"], found.replicates["ses"]
    within = np.mean([again.loc[k].var() for k in own.index])
    assert table.loc["ses", "std_error"] == pytest.approx(np.sqrt(within + 1.5 * own.var()), rel=1e-12)
    assert table.loc["ses", "conf_low"] == pytest.approx(np.quantile(again, 0.025), rel=1e-12)
    again_seeded = rx.bootstrap(fits[:1], 60, seed=3)
    np.testing.assert_allclose(again_seeded.replicates["ses"], again.iloc[:60], rtol=1e-9)
    one = rx.bootstrap(fits[0], 5, seed=1, statistic=lambda f: f.fixef() ** 2)
    assert list(one.summary()["term"]) == ["Intercept", "ses"]
    assert one.summary()["std_error"].to_numpy() == pytest.approx(one.replicates.std().to_numpy())


def _two() -> list[pd.DataFrame]:
    return [frame.iloc[:600] for frame in rx.datasets.hsb_imputed().frames[:2]]


def test_mistakes_are_named(fit: rx.LmerFit) -> None:
    with pytest.raises(DataError, match="n_sims=0"):
        rx.simulate(fit, 0)
    with pytest.raises(DataError, match="n_sims=1: give at least 2"):
        rx.bootstrap(fit, 1)
    with pytest.raises(DataError, match="shape"):
        rx.refit(fit, np.zeros((2, 2, 2)))
    with pytest.raises(DataError, match="180 columns"):
        rx.refit(fit, np.zeros(3))
    with pytest.raises(DataError, match=r"gave float for 1 fits|one row per fit"):
        rx.bootstrap(fit, 2, statistic=lambda f: 1.0)  # type: ignore[arg-type, return-value]
    with pytest.raises(DataError, match="conf_level=2"):
        rx.bootstrap(fit, 2, seed=1).summary(2)
