"""simulate, refit and the parametric bootstrap: moments, fits from scratch, lme4's bootMer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.errors import DataError, DroppedRowsWarning, ModelSizeError
from remlax.fitting import memory

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


def _varied(k: int = 3) -> tuple[list[pd.DataFrame], list[np.ndarray]]:
    """Data sets with other days and reactions, and weights of each."""
    rng, data = np.random.default_rng(1), rx.datasets.sleepstudy()
    noise = rng.normal(size=(k, 2, 180))
    frames = [data.assign(Days=data["Days"] + 0.1 * a, Reaction=data["Reaction"] + b) for a, b in noise]
    return frames, list(rng.uniform(0.5, 2, (k, 180)))


def test_names_that_tables_use_themselves(fit: rx.LmerFit) -> None:
    data = rx.datasets.sleepstudy().rename(columns={"Subject": "Residual", "Days": "a|b"})
    odd = rx.lmer("Reaction ~ `a|b` + (1 + `a|b` | Residual)", data)
    terms = rx.bootstrap(odd, 2, seed=1).summary()["term"].tolist()
    assert terms[2:] == ["sd__Intercept|Residual", "sd__`a|b`|Residual", "cor__Intercept.`a|b`|Residual", "sigma"]
    means = [model.emmeans(name, at={name: [0, 1]}).means["estimate"] for model, name in ((odd, "a|b"), (fit, "Days"))]
    np.testing.assert_allclose(*means, rtol=1e-10)


def test_rows_in_another_order_are_refused(fit: rx.LmerFit) -> None:
    data = rx.datasets.sleepstudy()
    backwards = data["Days"].iloc[::-1] + 1.0
    gap = data.assign(Reaction=data["Reaction"].where(data["Days"] > 0))
    for options, what in (({"weights": backwards}, "weights"), ({"offset": backwards}, "offset")):
        with pytest.raises(DataError, match=f"the rows of {what} stand in another order than those of the data"):
            rx.lmer(FORMULA, data, **options)
        with pytest.raises(DataError, match=f"the rows of {what} stand in another order"):
            rx.lmer_list(FORMULA, [data, data], **{what: [data["Days"] + 1.0, backwards]})
        with pytest.warns(DroppedRowsWarning), pytest.raises(DataError, match="stand in another order"):
            rx.lmer(FORMULA, gap, **options)
    with pytest.raises(DataError, match="the rows of the responses stand in another order than those of the fit"):
        rx.refit(fit, data["Reaction"].iloc[::-1])
    # other labels are those of no row: by position, as arrays are
    same = rx.refit(fit, data["Reaction"].set_axis(np.arange(180) + 7))
    np.testing.assert_allclose(same[0].criterion(), fit.criterion(), rtol=1e-10)


@pytest.mark.parametrize("response", ["Reaction", "log(Reaction)"])
def test_refits_of_one_data_set_are_whole_models(response: str, tmp_path: Path) -> None:
    frames, weights = _varied()
    parts = FORMULA.replace("Reaction", response), FORMULA.replace("Reaction", "drawn")
    fit = rx.lmer_list(parts[0], frames, weights=weights)[1]
    drawn = rx.simulate(fit, 2, seed=1)
    again = rx.refit(fit, drawn)
    # the same response as a column of its own
    alone = rx.lmer(parts[1], frames[1].assign(drawn=drawn["sim_1"].to_numpy()), weights=weights[1])
    options = {"n_sims": 2, "seed": 1}
    share = alone.r2(**options)["estimate"]
    again.save(tmp_path / "refits")
    loaded = rx.load(tmp_path / "refits")
    loaded.save(tmp_path / "once_more")
    for one in (again[0], loaded[0], rx.load(tmp_path / "once_more")[0]):
        np.testing.assert_allclose(one.criterion(), alone.criterion(), rtol=1e-9)
        np.testing.assert_allclose(one.r2(**options)["estimate"], share, rtol=1e-6)
        part, other = (m.sub_boot(lambda m: m.sigma, n=180, n_boot=1, seed=3)["statistic"] for m in (one, alone))
        np.testing.assert_allclose(part, other, rtol=1e-6)


def test_refits_that_a_file_cannot_give_back_are_not_written(tmp_path: Path) -> None:
    fits = rx.lmer_list("Reaction ~ scale(Days) + (1 + Days | Subject)", _varied()[0])
    again = rx.refit(fits[1], rx.simulate(fits[1], 2, seed=1))
    with pytest.raises(DataError, match=r"these refits are of one of several data sets, .* keep their numbers"):
        again.save(tmp_path / "refits")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_explained_variance_of_one_of_several_fits_has_the_response_of_all() -> None:
    plain, scaled = (
        rx.lmer_list(FORMULA.replace("Reaction", y), _varied()[0]) for y in ("Reaction", "scale(Reaction)")
    )
    shares = [fits[1].r2(n_sims=2, seed=1)["estimate"] for fits in (plain, scaled)]
    np.testing.assert_allclose(*shares, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda fit: rx.simulate(fit, 10**12), "1000000000000 responses of 180 rows need about 4714.8 TB of memory"),
        (lambda fit: rx.bootstrap(fit, 10**12), "1000000000000 responses"),
        (lambda fit: fit.r2(n_sims=10**12), "1000000000000 responses"),
        (lambda fit: fit.predict_interval(n_sims=10**12), "1000000000000 draws of 2 coefficients and 48 effects need"),
        (lambda fit: fit.sim_ranef(n_sims=10**12), "1000000000000 draws"),
        (lambda fit: fit.sub_boot(lambda m: m.sigma, n_boot=10**12), "1000000000000 subsamples of 180 rows need"),
        (
            lambda fit: rx.wiggle(fit.draw_obs(9), {"Days": range(10**6), "Reaction": range(10**6)}),
            "combinations of 9 rows",
        ),
        (lambda fit: fit.emmeans("Days", at={"Days": range(10**5)}), "100000 points of the grid need"),
    ],
)
def test_what_memory_cannot_hold_is_refused(
    fit: rx.LmerFit, call: Callable[[rx.LmerFit], object], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # XLA ends the process where an array has more elements than it can count
    if "grid" in what:
        monkeypatch.setattr(memory, "available_bytes", lambda: 10**7)
    with pytest.raises(ModelSizeError, match=f"{what}.* are free: .* few"):
        call(fit)
