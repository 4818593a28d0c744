"""Intraclass correlations and explained variance against mitml, dense algebra, refits of data frames, invariances."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from fitted_cases import fit_case, fits_case, inference, studentratings
from reference_cases import load_case
from remlax.design.build import read_rows
from remlax.design.formula import parse_formula
from remlax.errors import DataError, PoolingWarning, SingularFitWarning
from remlax.fitting.refit import draw_responses
from remlax.inference.nesting import null_formula
from remlax.tables.shares import fit_shares, nakagawa_estimates
from tables.dense_models import Dense, hessian, term_columns

MITML = [
    ("studentratings_k5", "studentratings"),
    pytest.param("hsb_vignette", "hsb", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "key"), MITML)
def test_means_as_mitml(name, key):
    reference = inference("mitml")[key]
    _, fits = fits_case(name, reference["formula"])
    table = fits.pool().r2(n_sims=2, seed=1)
    group = next(iter(fits[0].ngrps))
    assert table["level"].tolist() == ["all", "all", "residual", group, "all"]
    theirs = pd.DataFrame(reference["r2"])
    assert_allclose(table["mean"][[0, 2, 3, 4]], theirs.mean()[["MVP", "RB1", "RB2", "SB"]], rtol=1e-6)
    icc = fits.pool().icc().set_index("kind")
    kind = "intercept" if "intercept" in icc.index else "adjusted"
    assert_allclose(icc.loc[kind, "mean"], reference["extra_pars"][f"ICC|{group}"], rtol=1e-6)


def test_numbers_of_studentratings():
    about, fits = studentratings()
    assert_allclose(fits.pool().icc()["mean"][0], 0.10764626, rtol=1e-7)
    # the design notes print the means over the imputations
    means = fits.pool().r2(n_sims=2, seed=1)["mean"]
    assert_allclose(means[[2, 3, 4, 0]], [0.12849, 0.32978, 0.15579, 0.14657], atol=6e-6)
    r2 = fits[0].r2(n_sims=2, seed=1)["estimate"]
    assert_allclose(r2[[0, 2, 3, 4]], [about["r2"][k] for k in ("MVP", "RB1", "RB2", "SB")], rtol=1e-6)


def test_logit_of_a_random_intercept_model():
    # logit ICC = log tau^2 - log sigma^2, so that its variance needs the covariance of the two
    _, fit = fit_case("dyestuff")
    frame = load_case("dyestuff")[1][0]
    x = np.ones((len(frame), 1))
    model = Dense(x, frame["Yield"].to_numpy(), [term_columns(frame["Batch"], x)], [1])
    sds = fit.tidy("ran_pars")["estimate"].to_numpy()
    at = 2 * np.log(sds)
    v = 2 * np.linalg.inv(hessian(lambda u: model.deviance([np.exp(u[:1])[:, None]], np.exp(u[1] / 2)), at))
    se = np.sqrt(np.array([1.0, -1.0]) @ v @ [1.0, -1.0])
    logit = at[0] - at[1]
    row = fit.icc().iloc[0]
    share = 1 / (1 + np.exp(-logit))
    assert_allclose(row["estimate"], share, rtol=1e-10)
    assert_allclose(row["std_error"], se * share * (1 - share), rtol=1e-6)
    limits = 1 / (1 + np.exp(-(logit + np.array([-1, 1]) * 1.959963984540054 * se)))
    assert_allclose(row[["conf_low", "conf_high"]].astype(float), limits, rtol=1e-6)


@pytest.mark.slow
def test_random_slopes_against_dense_algebra():
    _, fit = fit_case("sleepstudy_corr")
    frame = load_case("sleepstudy_corr")[1][0]
    x = np.column_stack([np.ones(len(frame)), frame["Days"]])
    model = Dense(x, frame["Reaction"].to_numpy(), [term_columns(frame["Subject"], x)], [2])

    def covariance(u: np.ndarray) -> np.ndarray:
        s, r = np.exp(u[:2]), np.tanh(u[2])
        return np.array([[s[0] ** 2, r * s[0] * s[1]], [r * s[0] * s[1], s[1] ** 2]])

    value = fit.tidy("ran_pars")["estimate"].to_numpy()
    u0 = np.array([*np.log(value[:2]), np.arctanh(value[2]), np.log(value[3])])
    v = np.zeros((6, 6))
    v[:2, :2] = fit.vcov()
    v[2:, 2:] = 2 * np.linalg.inv(hessian(lambda u: model.deviance([covariance(u)], np.exp(u[3])), u0))
    at = np.concatenate([fit.fixef(), u0])

    def shares(a: np.ndarray) -> np.ndarray:
        f = np.var(x @ a[:2], ddof=1)
        z = np.einsum("ni,ij,nj->n", x, covariance(a[2:5]), x).mean()
        e, t = np.exp(2 * a[5]), covariance(a[2:5])[0, 0]
        icc = np.array([z / (z + e), z / (z + e + f), t / (t + e)])
        r2 = np.array([f / (f + z + e), (f + z) / (f + z + e)])
        return np.concatenate([np.log(icc / (1 - icc)), np.arctanh(np.sqrt(r2))])

    step = np.eye(6) * 1e-5 * np.maximum(np.abs(at), 1)
    jacobian = np.stack([(shares(at + h) - shares(at - h)) / (2 * h.max()) for h in step], axis=1)
    se, phi = np.sqrt(np.diag(jacobian @ v @ jacobian.T)), shares(at)
    icc, r2 = fit.icc(), fit_shares(nakagawa_estimates(fit.selection.one(0)), 0.95)
    assert icc["kind"].tolist() == ["adjusted", "unadjusted", "intercept"]
    assert_allclose(icc["estimate"], 1 / (1 + np.exp(-phi[:3])), rtol=1e-9)
    assert_allclose(icc["std_error"], se[:3] * icc["estimate"] * (1 - icc["estimate"]), rtol=1e-5)
    assert_allclose(icc["conf_low"], 1 / (1 + np.exp(-(phi - 1.959963984540054 * se)[:3])), rtol=1e-5)
    assert_allclose(r2["estimate"], np.tanh(phi[3:]) ** 2, rtol=1e-9)
    assert_allclose(r2["conf_high"], np.tanh((phi + 1.959963984540054 * se)[3:]) ** 2, rtol=1e-5)
    assert_allclose(r2["std_error"], 2 * np.tanh(phi[3:]) / np.cosh(phi[3:]) ** 2 * se[3:], rtol=1e-5)


@pytest.mark.slow
def test_shares_of_crossed_factors_add_up():
    _, fit = fit_case("penicillin_crossed")
    table = fit.icc()
    assert table["group"].tolist() == ["plate", "plate", "sample", "sample"]
    sd = fit.tidy("ran_pars")["estimate"].to_numpy()
    assert_allclose(table["estimate"][[0, 2]], sd[:2] ** 2 / np.sum(sd**2))
    # nothing is explained by an intercept
    assert_allclose(table["estimate"][[1, 3]], table["estimate"][[0, 2]])
    r2 = fit.r2(n_sims=2, seed=1)
    assert r2["level"].tolist() == ["all", "all", "residual", "plate", "sample", "all"]
    assert r2["estimate"][0] == 0
    assert np.isnan(r2["std_error"][0])
    assert_allclose(r2["estimate"][1], 1 - sd[2] ** 2 / np.sum(sd**2))


def three_sets(seed: int = 3) -> list[pd.DataFrame]:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(10), 6)
    out = []
    for _ in range(3):
        x = rng.normal(size=60) + rng.normal(size=10)[g]
        y = 1 + x + 1.5 * rng.normal(size=10)[g] + rng.normal(size=60)
        out.append(pd.DataFrame({"g": g, "x": x, "w": 1.0 + np.arange(60) % 2, "o": rng.normal(size=60), "y": y}))
    return out


def test_reductions_by_refits_of_data_frames():
    sets, n_sims = three_sets(), 8
    fits = rx.lmer_list("y ~ x + offset(o) + (1 | g)", sets, weights="w")
    rng = np.random.default_rng(5)
    log_ratios = []
    for k, frame in enumerate(sets):
        drawn = [frame.assign(y=y) for y in draw_responses(fits.selection.one(k), n_sims, rng)]
        full = (
            rx.lmer_list("y ~ x + offset(o) + (1 | g)", drawn, weights="w").varcorr()["vcov"].to_numpy().reshape(-1, 2)
        )
        null = (
            rx.lmer_list("y ~ 1 + offset(o) + (1 | g)", drawn, weights="w").varcorr()["vcov"].to_numpy().reshape(-1, 2)
        )
        log_ratios.append(np.log(np.column_stack([null, null.sum(1)]) / np.column_stack([full, full.sum(1)])))
    within = np.array([np.var(part, axis=0, ddof=1) for part in log_ratios]).mean(axis=0)
    table = fits.pool().r2(n_sims=n_sims, seed=5)
    # residual, g, sum
    assert_allclose(table["ubar"][[3, 2, 4]], within, rtol=1e-5)
    null = rx.lmer_list("y ~ 1 + offset(o) + (1 | g)", sets, weights="w").varcorr()["vcov"].to_numpy().reshape(-1, 2)
    full = fits.varcorr()["vcov"].to_numpy().reshape(-1, 2)
    phi = np.log(null[:, 1] / full[:, 1])
    row = table.iloc[2]
    assert_allclose([row["scaled_estimate"], row["estimate"]], [phi.mean(), 1 - np.exp(-phi.mean())], rtol=1e-6)
    assert_allclose(row["mean"], np.mean(1 - full[:, 1] / null[:, 1]), rtol=1e-6)
    assert_allclose(row["t"], within[1] + 4 / 3 * phi.var(ddof=1), rtol=1e-5)


def test_units_identical_imputations_and_one_array_of_weights_per_set():
    sets = three_sets()
    weights = [frame["w"].to_numpy() for frame in sets]
    a = rx.lmer_list("y ~ x + (1 | g)", sets, weights=weights).pool()
    b = rx.lmer_list("y ~ x + (1 | g)", [f.assign(y=1000 * f["y"]) for f in sets], weights="w").pool()
    columns = ["estimate", "std_error", "conf_low", "conf_high", "riv", "fmi", "mean"]
    for name, options in (("icc", {}), ("r2", {"n_sims": 4, "seed": 2})):
        assert_allclose(getattr(a, name)(**options)[columns], getattr(b, name)(**options)[columns], rtol=1e-6)
    same = rx.lmer_list("y ~ x + (1 | g)", [sets[0]] * 2)
    pooled, one = same.pool().icc(), same[0].icc()
    assert_allclose(pooled[["riv", "fmi", "b"]], 0, atol=1e-12)
    for column in ("estimate", "std_error", "conf_low", "conf_high"):
        assert_allclose(pooled[column], one[column], rtol=1e-9)


def test_null_model_repeats_grouping_and_offsets():
    frame = three_sets()[0].assign(**{"my group": np.arange(60) % 7})
    formula = parse_formula("log(y + 50) ~ x + offset(o) + (1 + x | g) + (1 | `my group`)")
    rows = read_rows(formula, rx.ImputedData.from_frames([frame]))
    assert null_formula(rows) == "log(y + 50) ~ 1 + offset(o) + (1 | g) + (1 | `my group`)"


def test_boundary_is_named_and_kept_in_the_mean():
    sets = three_sets()
    flat = sets[1].assign(y=lambda f: f["y"] - f.groupby("g")["y"].transform("mean"))
    flat["x"] -= flat.groupby("g")["x"].transform("mean")
    with pytest.warns(SingularFitWarning):
        fits = rx.lmer_list("y ~ x + (1 | g)", [sets[0], flat, sets[2]])
    with pytest.warns(PoolingWarning, match=r"ICC g adjusted: 1 of 3 \(imputation 2\)"):
        table = fits.pool().icc()
    each = [fit.icc()["estimate"][0] for fit in fits]
    assert each[1] == 0
    assert np.isnan(fits[1].icc()["conf_low"][0])
    assert table["n_used"].tolist() == [2, 2]
    assert table["n_boundary"].tolist() == [1, 1]
    assert_allclose(table["mean"][0], np.mean(each))
    assert table.attrs["singular_imputations"] == [2]
    assert any("imputation 2" in note for note in table.attrs["notes"])
    with pytest.warns(PoolingWarning, match=r"R2 raudenbush-bryk g: 1 of 3 \(imputation 2\)"):
        r2 = fits.pool().r2(n_sims=4, seed=1)
    assert any("simulated data sets gave a variance of zero" in note for note in r2.attrs["notes"])


def test_a_factor_without_an_intercept_has_no_reduction():
    sets = three_sets()
    fit = rx.lmer("y ~ x + (0 + x | g)", sets[0].assign(y=sets[0]["y"] + sets[0]["x"] * np.repeat(np.arange(10), 6)))
    assert fit.icc()["kind"].tolist() == ["adjusted", "unadjusted"]
    table = fit.r2(n_sims=2, seed=1)
    assert table["level"].tolist() == ["all", "all", "residual"]
    assert table.attrs["notes"] == ["no reduction of variance for g: there is no random intercept"]


def test_too_few_simulated_data_sets():
    _, fit = fit_case("dyestuff")
    with pytest.raises(DataError, match=r"n_sims=1: the interval .* 0 leaves the reductions out"):
        fit.r2(n_sims=1)
    with pytest.raises(DataError, match="n_sims=False must be a whole number of at least 0"):
        fit.r2(n_sims=False)


def test_explained_variance_without_simulation():
    # without predictors R2 is the intraclass correlation: marginal 0, conditional tau^2 / (tau^2 + sigma^2)
    _, fit = fit_case("dyestuff")
    tau, sigma = fit.tidy("ran_pars")["estimate"]
    table = fit.r2(n_sims=0)
    assert table["measure"].tolist() == ["marginal", "conditional"]
    assert_allclose(table["estimate"], [0, tau**2 / (tau**2 + sigma**2)], rtol=1e-12)
    # and with some it is the first rows of the table with simulations
    fits = rx.lmer_list("y ~ x + (1 | g)", three_sets())
    for result in (fits[0], fits.pool()):
        whole = result.r2(n_sims=2, seed=1).iloc[:2]
        pd.testing.assert_frame_equal(result.r2(n_sims=0), whole, check_dtype=False)
