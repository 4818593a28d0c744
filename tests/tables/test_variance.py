"""Variance components: standard errors against dense finite differences, pooling against published numbers."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from fitted_cases import fit_case, fits_case, inference, studentratings
from reference_cases import load_case
from remlax.errors import DataError, PoolingWarning, SingularFitWarning
from tables.dense_models import Dense, hessian, term_columns
from tables.redundant_cases import groups


def _sleepstudy_dense() -> Dense:
    frame = load_case("sleepstudy_corr")[1][0]
    x = np.column_stack([np.ones(len(frame)), frame["Days"]])
    return Dense(x, frame["Reaction"].to_numpy(), [term_columns(frame["Subject"], x)], [2])


def test_standard_errors_against_a_dense_hessian():
    model = _sleepstudy_dense()
    _, fit = fit_case("sleepstudy_corr")

    def deviance(phi: np.ndarray) -> float:
        s, r = np.exp(phi[:2]), np.tanh(phi[2])
        cov = np.array([[s[0] ** 2, r * s[0] * s[1]], [r * s[0] * s[1], s[1] ** 2]])
        return model.deviance([cov], np.exp(phi[3]))

    table = fit.tidy("ran_pars")
    value = table["estimate"].to_numpy()
    phi = np.array([*np.log(value[:2]), np.arctanh(value[2]), np.log(value[3])])
    se = np.sqrt(np.diag(2 * np.linalg.inv(hessian(deviance, phi))))
    derivative = np.array([value[0], value[1], 1 - value[2] ** 2, value[3]])
    assert_allclose(table["std_error"], se * derivative, rtol=2e-6)
    back = [np.exp, np.exp, np.tanh, np.exp]
    assert_allclose(
        table["conf_low"], [f(p - 1.959963985 * s) for f, p, s in zip(back, phi, se, strict=True)], rtol=1e-5
    )
    assert_allclose(
        table["conf_high"], [f(p + 1.959963985 * s) for f, p, s in zip(back, phi, se, strict=True)], rtol=1e-5
    )
    assert table["term"].tolist() == ["sd__Intercept", "sd__Days", "cor__Intercept.Days", "sd__Observation"]


@pytest.mark.slow
def test_variances_and_covariances_against_a_dense_hessian():
    model = _sleepstudy_dense()
    _, fit = fit_case("sleepstudy_corr")
    table = fit.tidy("ran_pars", scales="vcov")
    assert table["term"].tolist() == ["var__Intercept", "var__Days", "cov__Intercept.Days", "var__Observation"]
    value = table["estimate"].to_numpy()
    scale = np.array([100.0, 10.0, 10.0, 100.0])

    def deviance(u: np.ndarray) -> float:
        a, b, c, s = u * scale
        return model.deviance([np.array([[a, c], [c, b]])], np.sqrt(s))

    se = np.sqrt(np.diag(2 * np.linalg.inv(hessian(deviance, value / scale, 1e-2)))) * scale
    assert_allclose(table["std_error"], se, rtol=1e-5)
    # covariance: limits on its own scale; variances: squares of the limits of the SD
    assert_allclose(table["conf_low"][2], value[2] - 1.959963985 * se[2], rtol=1e-5)
    assert_allclose(table["conf_low"][[0, 1, 3]], fit.tidy("ran_pars")["conf_low"][[0, 1, 3]] ** 2)


def test_maximum_likelihood_uses_its_own_deviance():
    model = _sleepstudy_dense()
    _, fit = fit_case("sleepstudy_ml")

    def deviance(phi: np.ndarray) -> float:
        s, r = np.exp(phi[:2]), np.tanh(phi[2])
        cov = np.array([[s[0] ** 2, r * s[0] * s[1]], [r * s[0] * s[1], s[1] ** 2]])
        return model.deviance([cov], np.exp(phi[3]), reml=False)

    value = fit.tidy("ran_pars")["estimate"].to_numpy()
    phi = np.array([*np.log(value[:2]), np.arctanh(value[2]), np.log(value[3])])
    se = np.sqrt(np.diag(2 * np.linalg.inv(hessian(deviance, phi))))
    assert_allclose(
        fit.tidy("ran_pars")["std_error"], se * [value[0], value[1], 1 - value[2] ** 2, value[3]], rtol=2e-6
    )


def test_pooled_numbers_of_studentratings():
    # independent NumPy computation in the design notes, 8 digits
    table = studentratings()[1].pool().tidy("ran_pars").set_index("term")
    columns = ["scaled_estimate", "ubar", "b", "t", "df", "estimate", "conf_low", "conf_high"]
    low, high = table.loc["sd__Intercept"], table.loc["sd__Observation"]
    expected = [3.3310255, 0.024990849, 8.8258961e-4, 0.026049956, 2419.9, 27.967, 20.379, 38.379]
    assert_allclose(low[columns].astype(float), expected, rtol=3e-5)
    expected = [4.3889115, 7.1626438e-4, 8.0659714e-5, 8.1305603e-4, 282.2, 80.553, 76.156, 85.203]
    assert_allclose(high[columns].astype(float), expected, rtol=2e-4)
    assert_allclose(low["scaled_estimate"], 3.3310255, rtol=1e-7)
    assert_allclose(low["std_error"], 4.514, rtol=1e-4)
    assert_allclose(table["std_error"], table["estimate"] * table["scaled_se"])
    assert_allclose([low["mean_variance"], high["mean_variance"]], [783.2635, 6489.5690], rtol=1e-7)


@pytest.mark.parametrize(("name", "key"), [("studentratings", "studentratings"), ("hsb", "hsb")])
def test_mean_variances_as_mitml(name, key):
    reference = inference("mitml")[key]
    case = {"studentratings": "studentratings_k5", "hsb": "hsb_vignette"}[name]
    _, fits = fits_case(case, reference["formula"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PoolingWarning)
        table = fits.pool().tidy("ran_pars")
    means = dict(zip(table["term"], table["mean_variance"].fillna(table["mean_cov"]), strict=True))
    group = table["group"][0]
    expected = {
        "sd__Intercept": f"Intercept~~Intercept|{group}",
        "sd__ses": f"ses~~ses|{group}",
        "cor__Intercept.ses": f"Intercept~~ses|{group}",
        "sd__Observation": "Residual~~Residual",
    }
    for term, theirs in expected.items():
        if term in means:
            assert_allclose(means[term], reference["extra_pars"][theirs], rtol=1e-6)


@pytest.mark.slow
def test_mean_sds_as_mertools():
    case, fits = fits_case("star_crossed_k5")
    table = fits.pool().tidy("ran_pars")
    reference = [np.mean([fit["varcorr"][k]["sd"][0] for fit in case["fits"]]) for k in range(2)]
    assert_allclose(table["mean_sd"][:2], reference, rtol=1e-6)


def test_pooling_by_hand():
    _, fits = fits_case("hsb_vignette")
    table = fits.pool().tidy("ran_pars").set_index("term").loc["cor__Intercept.ses"]
    each = pd.concat([fit.tidy("ran_pars").set_index("term").loc[["cor__Intercept.ses"]] for fit in fits])
    z = np.arctanh(each["estimate"].to_numpy())
    u = (each["std_error"].to_numpy() / (1 - each["estimate"].to_numpy() ** 2)) ** 2
    t = u.mean() + 1.2 * z.var(ddof=1)
    assert_allclose(table[["scaled_estimate", "ubar", "b", "t"]].astype(float), [z.mean(), u.mean(), z.var(ddof=1), t])
    assert_allclose(table["estimate"], np.tanh(z.mean()))
    assert_allclose(table["std_error"], np.sqrt(t) * (1 - np.tanh(z.mean()) ** 2))
    assert_allclose(table["mean_cor"], each["estimate"].mean())


def test_covariances_are_pooled_as_they_are():
    _, fits = fits_case("hsb_vignette")
    table = fits.pool().tidy("ran_pars", scales="vcov").set_index("term")
    each = pd.concat([fit.tidy("ran_pars", scales="vcov").set_index("term") for fit in fits]).loc["cov__Intercept.ses"]
    row = table.loc["cov__Intercept.ses"]
    t = (each["std_error"] ** 2).mean() + 1.2 * each["estimate"].var()
    assert_allclose([row["estimate"], row["std_error"]], [each["estimate"].mean(), np.sqrt(t)])
    sd = fits.pool().tidy("ran_pars").set_index("term").loc["sd__ses"]
    variance = table.loc["var__ses"]
    assert_allclose(
        variance[["estimate", "std_error", "conf_low"]].astype(float),
        [sd["estimate"] ** 2, 2 * sd["estimate"] * sd["std_error"], sd["conf_low"] ** 2],
    )


def _one_boundary_set() -> rx.LmerFitList:
    """Three data sets of which the second has no variance between groups."""
    rng = np.random.default_rng(4)
    frames = []
    for tau in (2.0, 0.0, 1.5):
        g = np.repeat(np.arange(12), 8)
        e = rng.normal(size=96)
        # group means of the residuals taken out: the REML estimate of the variance is zero
        e -= np.bincount(g, e)[g] / 8
        frames.append(pd.DataFrame({"g": g, "y": 5 + tau * rng.normal(size=12)[g] + e}))
    with pytest.warns(SingularFitWarning, match="imputation 2"):
        return rx.lmer_list("y ~ 1 + (1 | g)", frames)


def test_imputations_on_the_boundary_are_named_and_kept_in_the_means():
    fits = _one_boundary_set()
    with pytest.warns(PoolingWarning, match=r"g sd__Intercept: 1 of 3 \(imputation 2\)"):
        table = fits.pool().tidy("ran_pars")
    row = table.iloc[0]
    sds = np.array([fit.tidy("ran_pars")["estimate"][0] for fit in fits])
    assert sds[1] < 1e-4 < 0.5 < min(sds[[0, 2]])
    assert (row["n_boundary"], row["n_used"]) == (1, 2)
    assert_allclose([row["estimate"], row["mean_sd"]], [np.exp(np.log(sds[[0, 2]]).mean()), sds.mean()], rtol=1e-6)
    assert table["n_used"].tolist() == [2, 3]
    assert any("imputation 2" in note for note in table.attrs["notes"])
    assert table.attrs["singular_imputations"] == [2]
    single = fits[1].tidy("ran_pars")
    assert np.isnan(single.loc[0, ["std_error", "conf_low", "conf_high"]].astype(float)).all()
    assert np.isfinite(single.loc[1, ["std_error", "conf_low", "conf_high"]].astype(float)).all()


def test_a_parameter_on_the_boundary_everywhere_has_means_only():
    _, fits = fits_case("studentratings_k5_ml")
    with pytest.warns(PoolingWarning, match=r"cor__Intercept.I\(CognAbility - 50\): 5 of 5"):
        table = fits.pool().tidy("ran_pars").set_index("term")
    row = table.loc["cor__Intercept.I(CognAbility - 50)"]
    assert row["n_used"] == 0
    assert np.isnan(row[["estimate", "std_error", "conf_low", "df"]].astype(float)).all()
    assert abs(row["mean_cor"]) > 0.999
    assert np.isfinite(table.loc["sd__Intercept", "std_error"])
    with pytest.warns(PoolingWarning, match="5 of 5"):
        raw = fits.pool().tidy("ran_pars", scales="vcov").set_index("term")
    assert np.isnan(raw.loc["cov__Intercept.I(CognAbility - 50)", "estimate"])
    assert np.isfinite(raw.loc["cov__Intercept.I(CognAbility - 50)", "mean_cov"])


def test_units_of_the_response_and_of_a_slope():
    frames = load_case("hsb_vignette")[1]
    formula = "mathach ~ ses + (1 + ses | schid)"
    a = rx.lmer_list(formula, frames).pool().tidy("ran_pars").set_index("term")
    scaled = [f.assign(mathach=100 * f["mathach"], ses=f["ses"] / 10) for f in frames]
    b = rx.lmer_list(formula, scaled).pool().tidy("ran_pars").set_index("term")
    factor = np.array([100.0, 1000.0, 1.0, 100.0])
    for column in ("estimate", "std_error", "conf_low", "conf_high"):
        assert_allclose(b[column], factor * a[column], rtol=1e-5)
    for column in ("df", "riv", "lambda", "fmi", "scaled_se"):
        assert_allclose(b[column], a[column], rtol=1e-5)


def test_unknown_scales():
    _, fit = fit_case("sleepstudy_corr")
    with pytest.raises(DataError, match="scales='sd' is not known"):
        fit.tidy("ran_pars", scales="sd")
    with pytest.raises(DataError, match="effects='random' is not known"):
        fit.tidy("random")


@cache
def _weak_groups() -> rx.LmerFitList:
    """Four data sets whose variance between groups is small; it is told from 0 in the last."""
    data, frames = groups(), []
    for seed in (0, 2, 4, 12):
        rng = np.random.default_rng(seed)
        y = 0.5 * data["x"] + 0.15 * rng.normal(size=30)[data["g"]] + rng.normal(size=240)
        frames.append(data.assign(y=y))
    return rx.lmer_list("y ~ x + (1 | g)", frames)


def test_an_error_as_large_as_the_sd_is_noted():
    fits = _weak_groups()
    text = "he standard error of g sd__Intercept is as large as the estimate or larger"
    for fit in fits:
        table = fit.tidy("ran_pars")
        wide = table.loc[0, "std_error"] > table.loc[0, "estimate"]
        assert [text in note for note in table.attrs["notes"]] == [True] * int(wide)
        assert [text in note for note in fit.confint().attrs["notes"]] == [True] * int(wide)
        assert (text in fit.to_markdown().replace("\\", "")) == wide
        assert all("confint('profile')" in note for note in table.attrs["notes"])
    assert [len(fit.tidy("ran_pars").attrs["notes"]) for fit in fits] == [1, 1, 1, 0]
    pooled = fits[:3].pool().tidy("ran_pars")
    assert pooled.loc[0, "scaled_se"] > 1
    assert [text in note and "mean_sd" in note for note in pooled.attrs["notes"]] == [True]


def test_limits_of_no_use_are_not_drawn():
    pytest.importorskip("matplotlib")
    fits = _weak_groups()
    for fit, drawn in ((fits[0], [0, 2]), (fits[3], [2, 2])):
        axes = rx.plot.variance_components(fit)
        assert [len(line) for line in axes.collections[0].get_segments()] == drawn
        assert axes.get_xlim()[1] < 1.3
