"""Responses drawn from generalised linear mixed models against their moments; refits and bootstrap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from row_fits import fit, frame

import remlax as rx
from remlax.errors import DataError
from remlax.predict.mean_response import averaged

N_SIMS = 4000


@pytest.mark.parametrize("name", ["k-of-n", "poisson", "negative-binomial", "gamma"])
def test_draws_given_the_modes_have_the_moments_of_the_family(name: str) -> None:
    found = fit(name)
    drawn = rx.simulate(found, N_SIMS, seed=1, given_modes=True).to_numpy()
    mean, own = found.fitted().to_numpy(), found.selection.fitted.distribution(0)
    trials = frame()["n"].to_numpy() if name == "k-of-n" else 1.0
    variance = own.variance(mean) * trials
    z = (drawn.mean(axis=1) - mean * trials) / np.sqrt(variance / N_SIMS)
    assert np.abs(z).max() < 5
    np.testing.assert_allclose((drawn.var(axis=1) / variance).mean(), 1.0, rtol=0.02)


def test_draws_have_the_average_over_the_random_effects() -> None:
    found = fit("poisson")
    drawn = rx.simulate(found, N_SIMS, seed=2).to_numpy()
    mean = found.predict(level="average")["estimate"].to_numpy()
    error = drawn.std(axis=1) / np.sqrt(N_SIMS)
    assert np.abs((drawn.mean(axis=1) - mean) / error).max() < 5
    v = found.varcorr().set_index("var1")
    assert averaged("log", np.zeros(1), np.array([v.loc["Intercept", "vcov"].iloc[0]])).mean[0] > 1


def test_draws_of_categories_have_their_probabilities() -> None:
    found = fit("ordinal")
    drawn = rx.simulate(found, N_SIMS, seed=1, given_modes=True)
    assert drawn["sim_1"].dtype == frame()["grade"].dtype
    share = np.stack([(drawn == name).mean(axis=1) for name in ("low", "fair", "good", "best")], axis=1)
    expected = found.predict()["estimate"].to_numpy().reshape(-1, 4)
    assert np.abs(share - expected).max() < 5 * np.sqrt(0.25 / N_SIMS)


def test_draws_depend_on_the_seed_and_not_on_how_many_there_are() -> None:
    found = fit("negative-binomial")
    assert rx.simulate(found, 2, seed=4).equals(rx.simulate(found, 5, seed=4).iloc[:, :2])
    assert not rx.simulate(found, 1, seed=5).equals(rx.simulate(found, 1, seed=4))


def test_other_parameters_move_the_draws() -> None:
    found = fit("poisson")
    more = rx.simulate(found, 500, seed=1, fixef={"Intercept": 2.0}, varcorr={"g": np.zeros((2, 2))})
    np.testing.assert_allclose(np.log(more.to_numpy().mean(axis=1)), 2.0 + found.fixef()["x"] * frame()["x"], atol=0.15)
    with pytest.raises(DataError, match="does not have"):
        rx.simulate(found, 1, varcorr={"Residual": 1.0})


@pytest.mark.parametrize(("name", "response"), [("k-of-n", "k"), ("ordinal", "grade"), ("binary", "y")])
def test_a_refit_to_its_own_response_is_the_fit(name: str, response: str) -> None:
    found = fit(name)
    again = rx.refit(found, frame()[response])
    assert isinstance(again, rx.GlmerFitList)
    np.testing.assert_allclose(again.fixef().iloc[0], found.fixef(), rtol=1e-6)
    assert again[0].criterion() == pytest.approx(found.criterion(), rel=1e-10)


def test_refits_are_the_fits_of_the_new_responses() -> None:
    found = fit("binary")
    drawn = rx.simulate(found, 2, seed=3)
    again = rx.refit(found, drawn)
    other = rx.glmer("y ~ x + f + (1 | g)", frame().assign(y=drawn["sim_2"]))
    np.testing.assert_allclose(again[1].fixef(), other.fixef(), rtol=1e-6)
    assert again[1].criterion() == pytest.approx(other.criterion(), rel=1e-10)


@pytest.mark.parametrize("as_numbers", [False, True])
@pytest.mark.slow
def test_files_keep_refits_to_categories(tmp_path: Path, as_numbers: bool) -> None:
    found, data = fit("ordinal"), frame()
    if as_numbers:
        data = data.assign(grade=data["grade"].cat.codes + 1.0)
        found = rx.glmer("grade ~ x + (1 | g)", data, "ordinal")
    drawn = rx.simulate(found, 2, seed=3)
    again = rx.refit(found, drawn)
    again.save(tmp_path / "refits.remlax")
    loaded = rx.load(tmp_path / "refits.remlax")
    assert isinstance(loaded, rx.GlmerFitList)
    pd.testing.assert_frame_equal(loaded.fixef(), again.fixef())
    for one in (again[1], loaded[1]):
        assert one.augment()["grade"].tolist() == drawn["sim_2"].tolist()
        pd.testing.assert_frame_equal(rx.simulate(one, 2, seed=1), rx.simulate(again[1], 2, seed=1))
        assert rx.simulate(one, 1, seed=1)["sim_1"].dtype == data["grade"].dtype
        assert one.predict().equals(again[1].predict())


def test_what_is_no_response_of_the_family_is_refused() -> None:
    with pytest.raises(DataError, match="whole numbers"):
        rx.refit(fit("poisson"), frame()["x"])
    with pytest.raises(DataError, match="more than trials"):
        rx.refit(fit("k-of-n"), frame()["n"] + 1)
    with pytest.raises(DataError, match="none of the categories"):
        rx.refit(fit("ordinal"), pd.Series(["poor"] * len(frame())))
    with pytest.raises(DataError, match="weights="):
        rx.refit(fit("poisson"), frame()["count"], weights="n")


def test_the_bootstrap_has_shape_parameters() -> None:
    found = fit("gamma")
    drawn = rx.bootstrap(found, 20, seed=1)
    table = drawn.summary().set_index("term")
    assert table.index.tolist() == ["Intercept", "x", "sd__Intercept|g", "shape"]
    assert table.loc["shape", "estimate"] == pytest.approx(found.dispersion)
    np.testing.assert_allclose(table["std_error"], [0.14, 0.05, 0.09, 0.3], rtol=0.6)
    with pytest.raises(DataError, match="resample="):
        rx.bootstrap(found, 2, resample="g")
    limits = found.confint("boot", n_sims=20, seed=1)
    assert (limits["conf_low"] < limits["conf_high"]).all()
