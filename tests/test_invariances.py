"""What must not change the answer, and what must change it in a known way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.engine import fit as engine
from remlax.errors import RankDeficientWarning
from remlax.kernels.newton import NOT_FINITE, Newton

FORMULA = "y ~ x + (1 + x | g)"


def draw(seed: int, n: int = 160, groups: int = 14) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.concatenate([np.arange(groups), rng.integers(0, groups, n - groups)])
    x = rng.normal(size=n)
    u = rng.normal(size=(groups, 2)) * [1.0, 0.5]
    y = 2 + x + u[g, 0] + u[g, 1] * x + rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "g": [f"g{v:02d}" for v in g]})


def numbers(fit: rx.LmerFit) -> np.ndarray:
    errors = np.sqrt(np.diag(fit.vcov()))
    return np.concatenate(
        [[fit.criterion(), fit.sigma], fit.theta, fit.fixef(), errors, fit.ranef()["g"].to_numpy().ravel()]
    )


@pytest.fixture(scope="module")
def frames() -> list[pd.DataFrame]:
    return [draw(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def fits(frames: list[pd.DataFrame]) -> rx.LmerFitList:
    return rx.lmer_list(FORMULA, frames)


def test_a_batch_equals_single_fits(frames: list[pd.DataFrame], fits: rx.LmerFitList) -> None:
    for frame, fit in zip(frames, fits, strict=True):
        np.testing.assert_allclose(numbers(rx.lmer(FORMULA, frame)), numbers(fit), rtol=1e-8, atol=1e-9)


def test_order_of_imputations_does_not_matter(frames: list[pd.DataFrame], fits: rx.LmerFitList) -> None:
    turned = rx.lmer_list(FORMULA, frames[::-1])
    for one, other in zip(fits, list(turned)[::-1], strict=True):
        np.testing.assert_allclose(numbers(one), numbers(other), rtol=1e-8, atol=1e-9)
    a, b = fits.pool().tidy("fixed"), turned.pool().tidy("fixed")
    pd.testing.assert_frame_equal(a, b, rtol=1e-8)


def test_order_of_rows_does_not_matter(frames: list[pd.DataFrame], fits: rx.LmerFitList) -> None:
    shuffled = frames[0].sample(frac=1, random_state=1)
    np.testing.assert_allclose(numbers(rx.lmer(FORMULA, shuffled)), numbers(fits[0]), rtol=1e-8, atol=1e-9)


def test_names_of_groups_do_not_matter(frames: list[pd.DataFrame], fits: rx.LmerFitList) -> None:
    renamed = frames[0].assign(g=frames[0]["g"].str.replace("g", "z").map(lambda s: s[::-1]))
    fit = rx.lmer(FORMULA, renamed)
    np.testing.assert_allclose(fit.theta, fits[0].theta, rtol=1e-8)
    by_name = fit.ranef()["g"].rename(index=lambda s: s[::-1].replace("z", "g")).sort_index()
    np.testing.assert_allclose(by_name, fits[0].ranef()["g"].sort_index(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("c", [1e-90, 1e-6, 1e-3, 1e3, 1e6, 1e90])
def test_scale_of_the_response(frames: list[pd.DataFrame], fits: rx.LmerFitList, c: float) -> None:
    scaled = rx.lmer_list(FORMULA, [f.assign(y=f["y"] * c) for f in frames])
    a, b = fits.pool().tidy("fixed"), scaled.pool().tidy("fixed")
    for name in ("estimate", "std_error", "conf_low", "conf_high"):
        np.testing.assert_allclose(b[name], a[name] * c, rtol=1e-7)
    for name in ("statistic", "df", "p_value", "riv", "lambda", "fmi"):
        np.testing.assert_allclose(b[name], a[name], rtol=1e-6, atol=1e-300)
    df = fits.pool(dfcom="kenward-roger").tidy("fixed")["df"]
    np.testing.assert_allclose(scaled.pool(dfcom="kenward-roger").tidy("fixed")["df"], df, rtol=1e-6)
    new = frames[0].head(3)
    np.testing.assert_allclose(
        scaled[0].predict(new, interval="prediction")["df"],
        fits[0].predict(new, interval="prediction")["df"],
        rtol=1e-6,
    )
    np.testing.assert_allclose(scaled[0].theta, fits[0].theta, rtol=1e-7, atol=1e-9)
    shares = [one.pool().r2(n_sims=2, seed=1)["std_error"] for one in (fits, scaled)]
    np.testing.assert_allclose(shares[1], shares[0], rtol=1e-5)
    for one, other in ((fits[0], scaled[0]), (fits.pool(), scaled.pool())):
        a, b = (fit.tidy("ran_pars", scales="vcov") for fit in (one, other))
        # as SDs: their squares are in the range of double precision, those of variances need not be
        np.testing.assert_allclose(b["std_error"] / c, a["std_error"] * c, rtol=1e-6)


@pytest.mark.parametrize("c", [1e-90, 1e-6, 1e6, 1e90])
def test_scale_of_a_predictor(frames: list[pd.DataFrame], fits: rx.LmerFitList, c: float) -> None:
    fit = rx.lmer(FORMULA, frames[0].assign(x=frames[0]["x"] * c))
    for name in ("statistic", "df", "p_value"):
        np.testing.assert_allclose(fit.tidy("fixed")[name], fits[0].tidy("fixed")[name], rtol=1e-6)
    assert fit.fixef()["x"] * c == pytest.approx(fits[0].fixef()["x"], rel=1e-7)
    # whether an SD is zero does not depend on the unit
    errors = [one.tidy("ran_pars").query("term == 'sd__x'")["std_error"] for one in (fits[0], fit)]
    np.testing.assert_allclose(errors[1] * c, errors[0], rtol=1e-6)
    sd = fit.varcorr().set_index("var1")["sdcor"].loc["x"]
    assert sd * c == pytest.approx(fits[0].varcorr().set_index("var1")["sdcor"].loc["x"], rel=1e-7)
    # log|X'V^-1X| shifts by log c^2
    assert fit.criterion() == pytest.approx(fits[0].criterion() + 2 * np.log(c), rel=1e-10)


def test_large_mean_of_the_response_costs_no_digits(frames: list[pd.DataFrame], fits: rx.LmerFitList) -> None:
    fit = rx.lmer(FORMULA, frames[0].assign(y=frames[0]["y"] + 1e6))
    # the shift itself rounds y at 1e-10
    np.testing.assert_allclose(fit.theta, fits[0].theta, rtol=1e-6, atol=1e-8)
    assert fit.fixef()["x"] == pytest.approx(fits[0].fixef()["x"], rel=1e-8)


@pytest.mark.slow
def test_columns_of_zeros_are_dropped_without_a_word_of_numpys(
    frames: list[pd.DataFrame], fits: rx.LmerFitList
) -> None:
    several = [f.assign(z=0.0) for f in frames]
    with np.errstate(all="raise"):
        with pytest.warns(RankDeficientWarning, match="dropping 1 column that others determine: z"):
            found = rx.lmer_list("y ~ z + x + (1 + x | g)", several)
        for one, other in zip(found, fits, strict=True):
            np.testing.assert_allclose(numbers(one), numbers(other), rtol=1e-8, atol=1e-9)
        # an empty cell: its column of the product is zero
        cells = frames[0].assign(a=np.where(frames[0]["x"] > 0, "p", "q"), b=np.where(frames[0]["x"] > 1, "s", "t"))
        with pytest.warns(RankDeficientWarning, match=r"dropping 1 column that others determine: a\[T.q\]:b\[T.t\]"):
            crossed = rx.lmer("y ~ a * b + (1 + x | g)", cells)
        dummies = cells.assign(q=cells["a"] == "q", t=cells["b"] == "t")
        assert crossed.criterion() == pytest.approx(rx.lmer("y ~ q + t + (1 + x | g)", dummies).criterion(), rel=1e-12)


def test_copies_of_one_data_set_have_no_variance_between(frames: list[pd.DataFrame]) -> None:
    pooled = rx.lmer_list(FORMULA, [frames[0]] * 3).pool(dfcom=np.inf)
    table, single = pooled.tidy("fixed"), rx.lmer(FORMULA, frames[0])
    # zero but for the last bit of the estimates: a program may add in another order at another place of a chunk
    assert (table["b"] <= 1e-28 * table["estimate"] ** 2).all()
    assert (table["riv"] <= 1e-26).all()
    assert (table["df"] > 1e20).all()
    np.testing.assert_allclose(table["std_error"], np.sqrt(np.diag(single.vcov())), rtol=1e-10)


def test_a_failing_data_set_changes_nothing_elsewhere(fits: rx.LmerFitList) -> None:
    batch = fits.selection.model.batch
    clean = engine.fit(batch, Newton())
    broken = batch.take(np.arange(batch.n_sets))
    broken.problem.products.ww[1] = np.nan
    found = engine.fit(broken, Newton())
    assert found.status[1] == NOT_FINITE
    for name in ("theta", "value", "grad", "hess", "decrement", "status"):
        kept = [0, 2, 3]
        np.testing.assert_array_equal(getattr(found, name)[kept], getattr(clean, name)[kept])


def test_padding_of_data_sets_changes_nothing(fits: rx.LmerFitList) -> None:
    batch = fits.selection.model.batch
    whole = engine.fit(batch, Newton())
    three = engine.fit(batch.take(np.array([0, 1, 2])), Newton())
    np.testing.assert_allclose(three.theta, whole.theta[:3], rtol=1e-9)


def test_levels_and_rows_may_differ_between_data_sets() -> None:
    small, large = draw(7, 120, 9), draw(8, 200, 14)
    fits = rx.lmer_list(FORMULA, [small, large])
    for frame, fit in zip((small, large), fits, strict=True):
        single = rx.lmer(FORMULA, frame)
        np.testing.assert_allclose(fit.theta, single.theta, rtol=1e-6, atol=1e-8)
        assert fit.nobs == len(frame)
        assert fit.ngrps == {"g": frame["g"].nunique()}
        pd.testing.assert_frame_equal(fit.ranef()["g"].loc[single.ranef()["g"].index], single.ranef()["g"], rtol=1e-5)
    absent = fits[0].ranef(cond_var=True)["g"]
    row = list(absent.index).index("g13")
    assert (absent.iloc[row] == 0).all()
    lam = np.array([[fits[0].theta[0], 0], fits[0].theta[1:]])
    np.testing.assert_allclose(absent.attrs["cond_var"][row], fits[0].sigma ** 2 * lam @ lam.T, rtol=1e-9)


def test_optimisers_agree(frames: list[pd.DataFrame], fits: rx.LmerFitList) -> None:
    other = rx.lmer_list(FORMULA, frames, optimizer=rx.LBFGS())
    for a, b in zip(fits, other, strict=True):
        np.testing.assert_allclose(a.theta, b.theta, rtol=1e-7, atol=1e-9)
        assert b.converged
