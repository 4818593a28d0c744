"""simulate, refit and the parametric bootstrap: moments, fits from scratch, lme4's bootMer."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax import memory
from remlax.data.made_frames import MadeFrames
from remlax.errors import DataError, DroppedRowsWarning, FormulaError, ModelSizeError, PoolingError
from remlax.fitting import refit as refit_module
from remlax.fitting.refit import RefitFrames
from remlax.fitting.resample import ResampleFrames

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
    effects = fit.selection.fitted.covariance(0)[0]
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


@pytest.mark.slow
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
    with pytest.raises(DataError, match="n_sims=1 must be a whole number of at least 2"):
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


def test_frames_of_refits_are_made_where_they_are_asked_for(fit: rx.LmerFit, monkeypatch: pytest.MonkeyPatch) -> None:
    given = rx.simulate(fit, 3, seed=1).to_numpy(copy=True)
    again, drawn = rx.refit(fit, given), given.copy()
    given[:] = 0.0
    data = again.selection.rows.data
    assert data is not None
    for k, frame in enumerate(data):
        pd.testing.assert_frame_equal(frame, rx.datasets.sleepstudy().assign(Reaction=drawn[:, k]))
    assert [len(part) for part in (data.frames[1:], data[:2])] == [2, 2]
    pd.testing.assert_frame_equal(data.frames[-1], data.frames[2])
    with pytest.raises(IndexError):
        data.frames[3]
    assert pickle.loads(pickle.dumps(again)).fixef().equals(again.fixef())

    def refuse(frames: MadeFrames, k: int) -> pd.DataFrame:
        raise AssertionError(f"frame {k} was made")

    for kind in (RefitFrames, ResampleFrames):
        monkeypatch.setattr(kind, "make", refuse)
    rx.refit(fit, drawn).convergence()
    fit.confint("boot", n_sims=3, seed=1)
    for resample in (None, "Subject"):
        rx.bootstrap(fit, 3, seed=1, resample=resample).summary()


def test_refits_are_the_same_in_blocks(fit: rx.LmerFit, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = rx.simulate(fit, 5, seed=1)
    whole = rx.refit(fit, drawn)
    monkeypatch.setattr(refit_module, "BLOCK_NUMBERS", 2 * 180)
    parts = rx.refit(fit, drawn)
    np.testing.assert_allclose(parts.fixef(), whole.fixef(), rtol=1e-12)
    with pytest.raises(DataError, match="the fixed part explains response 4 of 5 exactly"):
        rx.refit(fit, drawn.assign(sim_4=0.5))


def test_refits_to_different_outcomes_are_not_imputations(fit: rx.LmerFit) -> None:
    rng, data = np.random.default_rng(6), rx.datasets.sleepstudy()
    again = rx.refit(fit, rx.simulate(fit, 12, seed=1))
    counts = pd.DataFrame({name: rng.poisson(0.2, 180).astype(float) for name in "ab"})  # alike, for most are 0
    for refits in (again, again[:2], rx.refit(fit, counts)):
        with pytest.raises(PoolingError, match=rf"these are refits to {len(refits)} responses .* use the fits'"):
            refits.pool()
        with pytest.raises(PoolingError, match="not imputations of one outcome"):
            rx.bootstrap(refits, 2)
    assert again[:1][0].fixef().shape == (2,)
    # of many fits the first are shown, and all where they are asked for
    many = rx.LmerFitList(again.selection.take(tuple(range(12)) * 4))
    assert len(repr(many).splitlines()) == 35
    assert repr(many).endswith("\nand 18 more")
    assert len(str(many.summary()).splitlines()) == 52
    assert repr(again) == str(again.summary())
    # imputations of the response are pooled, as separate data sets are
    for y in (data["Reaction"].to_numpy(), (data["Reaction"] // 20).to_numpy()):
        sets = [np.where(rng.random(180) < 0.1, rng.permutation(y), y) for _ in range(3)]
        whole = rx.lmer_list(FORMULA, [data.assign(Reaction=one) for one in sets]).pool()
        np.testing.assert_allclose(rx.refit(fit, np.transpose(sets)).pool().vcov(), whole.vcov(), rtol=1e-7)


def test_responses_of_rows_that_are_not_in_the_fit(fit: rx.LmerFit) -> None:
    data = rx.datasets.sleepstudy()
    gaps = data.assign(Reaction=data["Reaction"].where(~data.index.isin([3, 70, 71])))
    with pytest.warns(DroppedRowsWarning):
        part = rx.lmer(FORMULA, gaps)
    for name, call in {
        "y": lambda v: rx.refit(part, v),
        "weights": lambda v: rx.refit(part, part.fitted() + np.arange(177) % 5, weights=v),
    }.items():
        said = rf"3 rows with missing cells were left out of the fit: give {name}\.loc\[fit\.residuals\(\)\.index\]"
        for given in (data["Days"] + 1.0, (data["Days"] + 1.0).to_numpy(), data[["Days", "Reaction"]]):
            with pytest.raises(DataError, match=said):
                call(given)
    y = data["Reaction"].loc[part.residuals().index]
    np.testing.assert_allclose(rx.refit(part, y)[0].fixef(), part.fixef(), rtol=1e-9)
    with pytest.warns(DroppedRowsWarning):
        one = rx.lmer(FORMULA, gaps.assign(Reaction=gaps["Reaction"].where(gaps.index != 9)))
    with pytest.raises(DataError, match="4 rows with missing cells were left out"):
        rx.refit(one, data["Reaction"])


def test_refits_with_other_weights_are_fits_with_them(fit: rx.LmerFit, tmp_path: Path) -> None:
    data = rx.datasets.sleepstudy().assign(w=np.random.default_rng(8).uniform(0.2, 3, 180))
    columns = pd.DataFrame({"a": data["w"], "b": 1 / data["w"]})
    y = rx.simulate(fit, 2, seed=4)
    weighted = rx.lmer_list(FORMULA, [data, data.assign(Days=data["Days"] ** 1.1)], weights="w")[1]
    for base, days in ((fit, data["Days"]), (weighted, data["Days"] ** 1.1)):
        for given in (columns, columns.to_numpy(), [columns["a"], columns["b"].to_numpy()]):
            again = rx.refit(base, y, weights=given)
            for k, name in enumerate("ab"):
                frame = data.assign(Reaction=y[f"sim_{k + 1}"], Days=days)
                one = rx.lmer(FORMULA, frame, weights=columns[name])
                np.testing.assert_allclose(again[k].criterion(), one.criterion(), rtol=1e-9)
                np.testing.assert_allclose(again[k].fixef(), one.fixef(), rtol=1e-9)
                np.testing.assert_allclose(again[k].vcov(), one.vcov(), rtol=1e-6)
    # one column for all, by name or by values
    named = rx.lmer(FORMULA, data)
    pair = rx.refit(named, y, weights="1 / w"), rx.refit(named, y, weights=columns["b"])
    np.testing.assert_allclose(pair[0].fixef(), pair[1].fixef(), rtol=1e-12)
    pair[1].save(tmp_path / "refits")
    np.testing.assert_allclose(rx.load(tmp_path / "refits").fixef(), pair[1].fixef(), rtol=1e-12)
    for bad, error, said in (
        (
            columns.assign(c=1.0),
            DataError,
            r"weights= has 3 columns of 180 rows for 2 responses of 180: give one",
        ),
        (np.ones(3), DataError, r"weights= has 1 columns of 3 rows for 2 responses of 180"),
        (columns.assign(b=0.0), DataError, r"weights= holds values that are not positive and finite in column 2"),
        ("v", FormulaError, "'v' in the weights is not a column of the data"),
        (["a", "b"], DataError, "the weights must be numbers"),
        (columns.iloc[::-1], DataError, "the rows of the weights stand in another order"),
    ):
        with pytest.raises(error, match=said):
            rx.refit(fit, y, weights=bad)


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
        (lambda fit: rx.bootstrap(fit, 10**12, resample="Subject"), "1000000000000 resamples of 180 rows need"),
        (lambda fit: fit.r2(n_sims=10**12), "1000000000000 responses"),
        (lambda fit: fit.predict_interval(n_sims=10**12), "1000000000000 draws of 2 coefficients and 36 effects need"),
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


@pytest.mark.filterwarnings("ignore::remlax.errors.IdentifiabilityWarning")
def test_bootstrap_gives_no_limits_of_what_is_not_identified() -> None:
    data = rx.datasets.sleepstudy().assign(name=lambda frame: "S" + frame["Subject"].astype(str))
    drawn = rx.bootstrap(rx.lmer("Reaction ~ Days + (1 | Subject) + (1 | name)", data), 3, seed=1)
    assert drawn.unidentified == ("sd__Intercept|Subject", "sd__Intercept|name")
    table = drawn.summary().set_index("term")
    limits = table[["std_error", "conf_low", "conf_high"]].isna().all(axis=1)
    assert limits[limits].index.tolist() == list(drawn.unidentified)
    assert "leave out (1 | name)" in drawn.summary().attrs["notes"][0]
