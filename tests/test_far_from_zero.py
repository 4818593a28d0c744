"""Predictors far from zero: the model with x + c is that with x, in other coordinates, and is as exact.

x lies on a grid of 2^-20, so that x + c is exact in double precision and nothing is lost before the fit. What is
compared at c = 1.7e9 (seconds since 1970, spread 1) and shares digits with c - coefficients of rows, and theta of the
user's columns - is known to c eps = 4e-7.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from dense_model import DenseTerm, dense, lower
from remlax.errors import DataError, DesignError, RankDeficientWarning
from remlax.fitting.refit import refit_to
from remlax.fitting.units import triangular

FAR = [1e5, -1.7e9]
FORMULA = "y ~ x + (1 + x | g)"


def draw(seed: int, n: int = 240, groups: int = 20) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = rng.integers(0, groups, n)
    x, z = np.round(rng.normal(size=(2, n)) * 2**20) / 2**20
    u, v = rng.normal(size=(groups, 3)) * [1.0, 0.5, 0.4], rng.normal(size=(4 * groups, 2)) * [0.7, 0.6]
    h = 4 * g + rng.integers(0, 4, n)
    y = 2 + x + u[g, 0] + u[g, 1] * x + u[g, 2] * z + v[h, 0] + v[h, 1] * x + rng.normal(size=n)
    f = rng.choice(["a", "b"], n)
    return pd.DataFrame({"y": y, "x": x, "z": z, "g": g, "h": h, "f": f, "w": rng.uniform(0.5, 2, n)})


@pytest.fixture(scope="module")
def frames() -> list[pd.DataFrame]:
    return [draw(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def near(frames: list[pd.DataFrame]) -> rx.LmerFitList:
    return rx.lmer_list(FORMULA, frames)


def moved(frames: list[pd.DataFrame], c: float, *names: str) -> list[pd.DataFrame]:
    return [frame.assign(**{name: frame[name] + c for name in names or ("x",)}) for frame in frames]


@pytest.mark.parametrize("c", FAR)
def test_everything_is_that_of_the_model_near_zero(frames: list[pd.DataFrame], near: rx.LmerFitList, c: float) -> None:
    far = rx.lmer_list(FORMULA, moved(frames, c))
    back = np.array([[1.0, -c], [0.0, 1.0]])  # coefficients and effects of (1, x + c) from those of (1, x)
    for one, other, frame in zip(near, far, moved(frames, c), strict=True):
        assert other.opt.status == "converged"
        assert other.criterion() == pytest.approx(one.criterion(), abs=1e-8)
        assert other.sigma == pytest.approx(one.sigma, rel=1e-9)
        assert other.is_singular == one.is_singular
        np.testing.assert_allclose(other.fixef(), back @ one.fixef(), rtol=1e-9)
        np.testing.assert_allclose(other.vcov(), back @ one.vcov() @ back.T, rtol=1e-8)
        ours, theirs = (fit.varcorr() for fit in (one, other))
        assert theirs["sdcor"][1] == pytest.approx(ours["sdcor"][1], rel=1e-8)
        sd, rho = ours["sdcor"].iloc[:2].to_numpy(), ours["sdcor"].iloc[2]
        covariance = np.array([[sd[0] ** 2, rho * sd[0] * sd[1]], [rho * sd[0] * sd[1], sd[1] ** 2]])
        expected = back @ covariance @ back.T
        np.testing.assert_allclose(theirs["vcov"].iloc[:3], expected[[0, 1, 0], [0, 1, 1]], rtol=1e-8)
        np.testing.assert_allclose(other.ranef()["g"], one.ranef()["g"] @ back.T, rtol=1e-7, atol=1e-8)
        for name in ("statistic", "df", "p_value"):
            assert other.tidy("fixed")[name].iloc[1] == pytest.approx(one.tidy("fixed")[name].iloc[1], rel=1e-6)
        a, b = (fit.tidy("ran_pars").query("term == 'sd__x'") for fit in (one, other))
        np.testing.assert_allclose(b.iloc[:, 2:].astype(float), a.iloc[:, 2:].astype(float), rtol=1e-6)
        assert np.isfinite(other.tidy("ran_pars")["std_error"]).all()
        # coordinates of rows share digits with c
        new, old = frame.head(4), frame.head(4).assign(x=lambda d: d["x"] - c)
        for interval in ("confidence", "prediction"):
            a, b = one.predict(old, interval=interval), other.predict(new, interval=interval)  # type: ignore[arg-type]
            np.testing.assert_allclose(b, a, rtol=1e-8, atol=4 * abs(c) * 2.0**-52)
        np.testing.assert_allclose(other.fitted(), one.fitted(), atol=8 * abs(c) * 2.0**-52)
        # at the user's own theta, which holds as many digits of the intercept as c leaves
        assert other.criterion(other.theta) == pytest.approx(one.criterion(), abs=1e-8)
        # where REML has its minimum ML has a slope: c eps of theta, 4e-7, shows
        assert other.criterion(other.theta, reml=False) == pytest.approx(one.criterion(one.theta, reml=False), abs=1e-6)
        # reductions of the intercept's variance are those at x = 0, wherever that is
        np.testing.assert_allclose(other.r2(n_sims=10)["estimate"][:3], one.r2(n_sims=10)["estimate"][:3], rtol=1e-7)


@pytest.mark.parametrize("c", FAR)
def test_pooled_results_are_those_near_zero(frames: list[pd.DataFrame], near: rx.LmerFitList, c: float) -> None:
    far = rx.lmer_list(FORMULA, moved(frames, c))
    for options in ({}, {"dfcom": "kenward-roger"}, {"vcov": "CR2"}):
        a, b = (fits.pool(**options).tidy("fixed").iloc[1, 1:] for fits in (near, far))  # type: ignore[arg-type]
        np.testing.assert_allclose(b.astype(float), a.astype(float), rtol=1e-6)
    a, b = (fits.pool().tidy("ran_pars").query("term == 'sd__x'") for fits in (near, far))
    np.testing.assert_allclose(b["estimate"], a["estimate"], rtol=1e-7)
    np.testing.assert_allclose(b["std_error"], a["std_error"], rtol=1e-6)
    for method in ("D3", "D4"):
        one, other = (
            rx.anova(fits, rx.lmer_list("y ~ 1 + (1 + x | g)", sets), method=method)  # type: ignore[arg-type]
            for fits, sets in ((near, frames), (far, moved(frames, c)))
        )
        np.testing.assert_allclose(other["statistic"].dropna(), one["statistic"].dropna(), rtol=1e-5)


@pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
@pytest.mark.parametrize(
    ("formula", "names", "c"),
    [
        pytest.param("y ~ x + (1 + x | g/h)", ("x",), 1e5, marks=pytest.mark.slow),
        ("y ~ x + z + (1 + x + z | g)", ("x", "z"), -1.7e9),
        pytest.param("y ~ x * f + (0 + f + x | g)", ("x",), 1e5, marks=pytest.mark.slow),
        pytest.param("y ~ 0 + f + x + (1 + x | g) + (1 | h)", ("x",), 1.7e9, marks=pytest.mark.slow),
        ("y ~ x + (x + 1 | g)", ("x",), 1.7e9),
    ],
)
def test_other_terms_are_those_near_zero(
    frames: list[pd.DataFrame], formula: str, names: tuple[str, ...], c: float
) -> None:
    one, other = (rx.lmer(formula, sets[0], weights="w") for sets in (frames, moved(frames, c, *names)))
    assert other.opt.status == "converged"
    # with x * f the columns f and x:f are collinear to 1e-5, by which the QR of X loses digits
    assert other.criterion() == pytest.approx(one.criterion(), abs=1e-7 if "*" in formula else 1e-8)
    for name in names:
        a, b = (fit.varcorr().query(f"var1 == '{name}' and var2.isna()")["sdcor"].to_numpy() for fit in (one, other))
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-5)  # atol: an SD of zero
        assert other.fixef()[name] == pytest.approx(one.fixef()[name], rel=1e-7)
        errors = [np.sqrt(fit.vcov().loc[name, name]) for fit in (one, other)]
        assert errors[1] == pytest.approx(errors[0], rel=1e-7)


@pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
def test_powers_of_what_is_far_from_zero_keep_the_digits_that_they_have(frames: list[pd.DataFrame]) -> None:
    formula = "y ~ x + I(x^2) + (1 + x + I(x^2) | g)"
    one, other = (rx.lmer(formula, sets[0]) for sets in (frames, moved(frames, 1e3)))
    # (x + 1000)^2 is rounded at 1e-10 of the x^2 that it contains
    assert other.criterion() == pytest.approx(one.criterion(), abs=1e-7)
    assert other.opt.status == "converged"
    a, b = (fit.varcorr().query("var1 == 'I(x^2)' and var2.isna()")["sdcor"] for fit in (one, other))
    np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)


def test_theta_of_the_users_columns_is_that_of_the_dense_criterion(frames: list[pd.DataFrame]) -> None:
    frame = moved(frames, 1e5)[0]
    fit = rx.lmer(FORMULA, frame)
    x = np.column_stack([np.ones(len(frame)), frame["x"]])
    term = DenseTerm(x, frame["g"].to_numpy(), int(frame["g"].max()) + 1)
    for theta in (fit.theta, fit.theta * [1.0, 1.0 + 1e-6, 1.2], np.array([2.0, 0.0, 1e-6])):
        answer = dense(x, frame["y"].to_numpy(), [term], [lower(theta, 2)])
        # V holds entries of (1e5 Lambda)^2 that all but cancel: 1e10 eps, times a gradient of about 1
        assert fit.criterion(theta) == pytest.approx(answer.reml, abs=1e-4)
        assert fit.criterion(theta, reml=False) == pytest.approx(answer.ml, abs=1e-4)


@pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
@pytest.mark.parametrize("term", ["(0 + x | g)", "(x || g)"])
def test_terms_that_are_other_models_elsewhere_are_not_centred(frames: list[pd.DataFrame], term: str) -> None:
    frame = moved(frames, 1e3)[0]
    fit = rx.lmer(f"y ~ x + {term}", frame)
    x = np.column_stack([np.ones(len(frame)), frame["x"]])
    terms = [DenseTerm(x[:, j : j + 1], frame["g"].to_numpy(), int(frame["g"].max()) + 1) for j in (0, 1)]
    terms = terms[-1:] if "0" in term else terms
    answer = dense(x, frame["y"].to_numpy(), terms, [np.array([[value]]) for value in fit.theta])
    assert fit.criterion() == pytest.approx(answer.reml, abs=1e-5)
    assert fit.fixef()["x"] == pytest.approx(answer.beta[1], rel=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.ConvergenceWarning")
def test_profiles_of_the_slope_are_those_near_zero(frames: list[pd.DataFrame], near: rx.LmerFitList) -> None:
    tables = [fit.confint("profile").set_index("term") for fit in (near[0], rx.lmer(FORMULA, moved(frames, 1e5)[0]))]
    for name in ("sd__x", "x"):
        np.testing.assert_allclose(tables[1].loc[name, "conf_low":"conf_high"].astype(float),
                                   tables[0].loc[name, "conf_low":"conf_high"].astype(float), rtol=1e-5)  # fmt: skip


def test_refits_and_files_keep_the_digits(frames: list[pd.DataFrame], near: rx.LmerFitList, tmp_path: Path) -> None:
    far = rx.lmer(FORMULA, moved(frames, -1.7e9)[0])
    y = frames[1]["y"].to_numpy()[None]
    refits = [refit_to(fit.selection.one(0), y).criterion[0] for fit in (near[0], far)]
    assert refits[1] == pytest.approx(refits[0], abs=1e-7)
    far.save(tmp_path / "far")
    again = rx.load(tmp_path / "far")
    pd.testing.assert_frame_equal(again.tidy("ran_vals"), far.tidy("ran_vals"), check_exact=True)  # type: ignore[union-attr]


def test_means_near_the_data_are_exact_or_refused(frames: list[pd.DataFrame], near: rx.LmerFitList) -> None:
    five = rx.lmer(FORMULA, moved(frames, 1e5)[0])
    one, other = (fit.emmeans("x", at={"x": [c, c + 1]}).means for fit, c in ((near[0], 0.0), (five, 1e5)))
    # x0'V x0 from entries of V that are 1e10 times as large
    np.testing.assert_allclose(other["std_error"], one["std_error"], rtol=1e-5)
    seconds = rx.lmer_list(FORMULA, moved(frames, 1.7e9))
    message = (
        "'x' is so far from zero for its spread that coefficients cancel and leave no digits of the standard error"
    )
    calls = [
        lambda: seconds[0].emmeans("x", at={"x": [1.7e9, 1.7e9 + 1]}),
        lambda: seconds[0].contrast("Intercept + 1.7e9 * x"),
        lambda: seconds[0].test(["x", "Intercept"]),
        lambda: seconds.pool().contrast("Intercept + 1.7e9 * x"),
        lambda: seconds.pool().test(["x", "Intercept"]),
    ]
    for call in calls:
        with pytest.raises(DataError, match=message):
            call()
    assert seconds.pool().test("x")["statistic"][0] == pytest.approx(near.pool().test("x")["statistic"][0], rel=1e-7)


def test_copies_and_constants_far_from_zero_are_still_dropped(frames: list[pd.DataFrame]) -> None:
    frame = moved(frames, 1.7e9)[0]
    frame = frame.assign(double=3 * frame["x"], same=3.7e8, still=1e9 + 1e-7 * np.arange(len(frame)) // 40)
    with pytest.warns(RankDeficientWarning, match="dropping 2 columns that others determine: double, same$"):
        fit = rx.lmer("y ~ x + double + same + (1 | g)", frame)
    alone = rx.lmer("y ~ x + (1 | g)", frames[0])
    assert fit.criterion() == pytest.approx(alone.criterion(), abs=1e-8)
    nearly = frame.assign(still=1e14 + np.arange(len(frame)) % 7)
    message = "determine: still; subtract a constant from 'still', whose mean is far from zero for its spread$"
    with pytest.warns(RankDeficientWarning, match=message):
        rx.lmer("y ~ still + (1 | g)", nearly)


@pytest.mark.parametrize("c", [2e3, 1.3e5])
def test_columns_that_follow_from_others_far_from_zero_are_dropped_in_every_order(
    frames: list[pd.DataFrame], c: float
) -> None:
    frame = frames[0].assign(s=frames[0]["x"] + c, a=frames[0]["z"] + c, b=frames[0]["z"] + frames[0]["x"] + c)
    for near, formulas in {
        "x": ("s + x", "x + s", "s + scale(s)"),
        "x * f": ("s * f + x", "x + s * f"),
        "x + z": ("a + b + x", "x + b + a"),
    }.items():
        expected = rx.lmer(f"y ~ {near} + (1 | g)", frame)
        for formula in formulas:
            with pytest.warns(RankDeficientWarning, match="dropping 1 column that others determine"):
                fit = rx.lmer(f"y ~ {formula} + (1 | g)", frame)
            # the columns are those times a matrix of determinant 1 or -1
            assert fit.criterion() == pytest.approx(expected.criterion(), abs=1e-8)
            np.testing.assert_allclose(fit.fitted(), expected.fitted(), atol=1e-9)


def test_sets_of_which_some_have_a_column_too_many_far_from_zero(frames: list[pd.DataFrame]) -> None:
    short = frames[0].assign(s=frames[0]["x"] + 2e3)
    full = short.assign(x=short["z"])
    for sets in ([full, short], [short, full]):
        with pytest.raises(DesignError, match="'x' is determined by the others in imputation"):
            rx.lmer_list("y ~ s + x + (1 | g)", sets)
    with pytest.warns(RankDeficientWarning, match="others determine: x$"):
        fits = rx.lmer_list("y ~ s + x + (1 | g)", [short, short.assign(y=frames[1]["y"])])
    expected = rx.lmer_list("y ~ x + (1 | g)", [short, short.assign(y=frames[1]["y"])])
    a, b = (pooled.tidy("fixed").iloc[1, 1:].astype(float) for pooled in (expected.pool(), fits.pool()))
    np.testing.assert_allclose(b, a, rtol=1e-6)


def test_triangular_roots_of_full_and_of_lower_rank() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 3, 3))
    root[1, 1] = 2 * root[1, 0]
    root[2, 0] = 0.0
    root[3] = 0.0
    found = triangular(root)
    np.testing.assert_allclose(found @ found.swapaxes(1, 2), root @ root.swapaxes(1, 2), atol=1e-13)
    assert not np.triu(found, 1).any()
    assert (np.diagonal(found, axis1=1, axis2=2) >= 0).all()
    assert not found[1][:, 1].any()
    assert not found[2][:, 0].any()
    np.testing.assert_allclose(found[0], np.linalg.cholesky(root[0] @ root[0].T))
    assert np.isnan(triangular(np.full((1, 2, 2), np.nan))).any()
