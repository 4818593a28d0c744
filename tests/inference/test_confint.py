"""Profile, bootstrap and Wald limits of all parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy
from numpy.testing import assert_allclose
from remlax.fitting.profile_grid import Parameter, ProfileTable, first_grid, make_table, next_grid

import remlax as rx
from fitted_cases import fit_case, fits_case, inference
from reference_cases import load_case
from remlax.errors import ConvergenceWarning, DataError
from remlax.fitting.profile import profile

CUT = float(np.sqrt(scipy.stats.chi2.ppf(0.95, 1)))
# lme4's limits come from a spline through its own grid: its sd of Dyestuff is 3e-4 off (see the test of the deviance)
LME4 = 5e-4


def same_parameter(name, table):
    """Row of lme4's name: sd_x|g, cor_b.a|g, sigma, or a coefficient."""
    if name == "sigma":
        return table.index[table["term"] == "sd__Observation"][0]
    kind, _, rest = name.partition("_")
    if kind in ("sd", "cor") and "|" in name:
        term, group = rest.split("|")
        names = [part.replace("(Intercept)", "Intercept") for part in term.split(".")]
        wanted = f"{kind}__{'.'.join(reversed(names))}"
        return table.index[(table["term"] == wanted) & table["group"].str.startswith(group)][0]
    plain = name.replace("(Intercept)", "Intercept").replace("SexFemale", "Sex[T.Female]")
    return table.index[table["term"] == plain][0]


QUICK = {"dyestuff", "dyestuff2_singular", "sleepstudy_corr"}


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in inference("profile")
        if name != "versions"
    ],
)
def test_profile_limits_as_lme4(name):
    _, fit = fit_case(name)
    expected = inference("profile")[name]
    table = fit.confint("profile")
    for term, low, high in zip(expected["names"], expected["low"], expected["high"], strict=True):
        row = table.loc[same_parameter(term, table)]
        if name == "orthodont_sex" and term.startswith("cor_"):
            # without the SD of age the correlation is arbitrary, and that fit is within the limits: so is every
            # correlation, and lme4's -0.94 is a local minimum
            assert (row["conf_low"], row["conf_high"]) == (-1, 1)
            sd = table[table["term"] == "sd__age"].iloc[0]
            assert sd["conf_low"] == 0
            continue
        assert_allclose([row["conf_low"], row["conf_high"]], [low, high], rtol=LME4, atol=1e-6)


def test_the_deviance_has_risen_by_the_quantile_at_the_limits():
    """Against n x n algebra and a derivative-free search over what is left."""
    (frame,) = load_case("dyestuff")[1]
    _, fit = fit_case("dyestuff")
    table = fit.confint("profile").set_index("term")
    y, batch = frame["Yield"].to_numpy(), frame["Batch"].to_numpy()
    same = (batch[:, None] == batch[None]).astype(float)

    def deviance(sd, sigma):
        v = sd**2 * same + sigma**2 * np.eye(len(y))
        inverse = np.linalg.inv(v)
        e = y - inverse.sum(axis=0) @ y / inverse.sum()
        return np.linalg.slogdet(v)[1] + e @ inverse @ e

    best = scipy.optimize.minimize(lambda t: deviance(*np.exp(t)), np.log([37.0, 49.0]), tol=1e-10).fun
    for limit in ("conf_low", "conf_high"):
        sd = table.loc["sd__Intercept", limit]
        at = scipy.optimize.minimize_scalar(lambda t, sd=sd: deviance(sd, np.exp(t)), bounds=(3, 5), method="bounded")
        assert_allclose(np.sqrt(at.fun - best), CUT, rtol=1e-5)
        sigma = table.loc["sd__Observation", limit]
        at = scipy.optimize.minimize_scalar(lambda t, s=sigma: deviance(np.exp(t), s), bounds=(-5, 6), method="bounded")
        assert_allclose(np.sqrt(at.fun - best), CUT, rtol=1e-5)


def test_profile_table():
    _, fit = fit_case("dyestuff")
    found = fit.profile()
    table = found.table
    for _, part in table.groupby("term"):
        assert (np.diff(part["value"]) > 0).all()
        assert (np.diff(part["zeta"]) > 0).all()
    ml = rx.lmer("Yield ~ 1 + (1 | Batch)", load_case("dyestuff")[1][0], reml=False)
    estimates = found.estimates["estimate"]
    assert_allclose(estimates[:2], ml.varcorr()["sdcor"], rtol=1e-7)
    assert_allclose(estimates[2], ml.fixef().iloc[0])
    wide, narrow = found.confint(0.99), found.confint(0.5)
    assert (wide["conf_low"] < narrow["conf_low"]).all()
    assert (wide["conf_high"] > narrow["conf_high"]).all()
    with pytest.raises(DataError, match=r"conf_level=95 must lie between 0 and 1"):
        found.confint(95)


@pytest.mark.slow
def test_a_correlation_costs_no_more_than_leaving_out_an_sd():
    """Beside a zero SD every correlation is the same: a bound that local searches can miss."""
    _, fit = fit_case("orthodont_sex")
    table = fit.profile().table
    zeta = table.query("term == 'cor__Intercept.age'")["zeta"]
    without = table.query("term == 'sd__age' and value == 0")["zeta"].iloc[0]
    assert zeta.abs().max() <= abs(without) + 1e-6


@pytest.mark.slow
def test_all_data_sets_in_one_stack_are_the_single_ones():
    frames = load_case("studentratings_k5")[1][:2]
    fits = rx.lmer_list("ReadAchiev ~ ReadDis + (1 | ID)", frames)
    both = profile(fits.fitted_stack, np.array([0, 1]), 0.95)
    table = fits.confint("profile")
    assert table["imp"].tolist() == [1] * 4 + [2] * 4
    assert_allclose(table["conf_high"], [one.limit(CUT, 1) for one in (*both[0], *both[1])])
    for k in range(2):
        alone = profile(fits.fitted_stack, np.array([k]), 0.95)[0]
        for a, b in zip(both[k], alone, strict=True):
            assert_allclose([a.limit(CUT, -1), a.limit(CUT, 1)], [b.limit(CUT, -1), b.limit(CUT, 1)], rtol=1e-6)


def test_limits_follow_the_units_of_the_response():
    (frame,) = load_case("dyestuff")[1]
    scaled = rx.lmer("Yield ~ 1 + (1 | Batch)", frame.assign(Yield=frame["Yield"] * 1000))
    _, fit = fit_case("dyestuff")
    columns = ["conf_low", "conf_high"]
    for method in ("wald", "profile", "boot"):
        options = {"n_sims": 20, "seed": 1} if method == "boot" else {}
        a, b = fit.confint(method, **options), scaled.confint(method, **options)
        assert_allclose(b[columns], 1000 * a[columns], rtol=1e-4, atol=1e-6)


def test_a_search_that_finds_nothing_says_so():
    table = ProfileTable(Parameter(-2, 0, 0), 0.0, np.array([-1.0, 0.0, 1.0]), np.array([-1.0, 0.0, 1.0]))
    assert np.isnan(table.limit(CUT, 1))
    assert np.isnan(table.limit(CUT, -1))
    grid, done = next_grid(table, CUT)
    assert not done
    assert grid.max() > 5
    assert grid.min() < -5
    _, fit = fit_case("dyestuff")
    found = fit.profile()
    lost = type(found)(found.table, found.estimates.iloc[2:], 0.95, (table,))
    with pytest.warns(ConvergenceWarning, match="did not reach the 95% limits of Intercept: they are NaN"):
        assert lost.confint()["conf_low"].isna().all()


def test_grids_and_tables():
    sd, cor = Parameter(0, 0, 0), Parameter(0, 0, 1)
    assert first_grid(sd, 0.0, np.nan, 2.0)[0] == 0
    assert first_grid(sd, 5.0, 0.2, 2.0)[0] == 0
    assert first_grid(cor, 0.2, 0.3, 1.0)[[0, -1]].tolist() == [-1, 1]
    table = make_table(sd, 1.0, np.array([0.0, 2.0, 3.0]), np.array([1.0, np.nan, 4.0]))
    assert table.value.tolist() == [0, 1, 3]
    assert table.zeta.tolist() == [-1, 0, 2]
    assert table.limit(CUT, -1) == 0


def test_bootstrap():
    _, fit = fit_case("dyestuff")
    table = fit.confint("boot", n_sims=400, seed=3)
    again = fit.confint("boot", n_sims=400, seed=3)
    assert_allclose(table["conf_low"], again["conf_low"])
    assert table.attrs["n_sims"] == 400
    assert table.attrs["n_failed"] == 0
    assert table.attrs["n_singular"] > 0
    assert (table["n_defined"] == 400).all()
    low, high = table["conf_low"].to_numpy(), table["conf_high"].to_numpy()
    # balanced one-way layout: SSE / sigma^2 and the mean have known laws; three Monte Carlo errors of a 2.5% quantile
    sigma, df = fit.sigma, 24
    for found, tail in ((low[1], 0.025), (high[1], 0.975)):
        exact = sigma * np.sqrt(scipy.stats.chi2.ppf(tail, df) / df)
        assert abs(found - exact) < 0.06 * sigma
    variance = fit.varcorr()["vcov"].iloc[0] / 6 + sigma**2 / 30
    half = scipy.stats.norm.ppf(0.975) * np.sqrt(variance)
    assert_allclose([low[2], high[2]], fit.fixef().iloc[0] + np.array([-half, half]), atol=0.35 * half)


def test_wald():
    _, fit = fit_case("sleepstudy_corr")
    table, fixed, random = fit.confint(), fit.tidy("fixed"), fit.tidy("ran_pars")
    columns = ["estimate", "conf_low", "conf_high"]
    assert_allclose(table.loc[table["effect"] == "fixed", columns], fixed[columns])
    assert_allclose(table.loc[table["effect"] == "ran_pars", columns], random[columns])
    assert table["term"].tolist() == [*random["term"], *fixed["term"]]
    assert table["group"].tolist()[:4] == random["group"].tolist()
    exact = fit.confint(ddf="kenward-roger").iloc[-1]
    assert exact["conf_low"] < exact["estimate"]


def test_every_fit_of_a_list():
    _, fits = fits_case("hsb_vignette")
    table = fits[1:3].confint(conf_level=0.9)
    assert table["imp"].unique().tolist() == [2, 3]
    assert_allclose(table.query("imp == 3")["conf_low"], fits[2].confint(conf_level=0.9)["conf_low"])


def test_what_cannot_be_asked():
    _, fit = fit_case("dyestuff")
    with pytest.raises(DataError, match="method='Wald' is not known: use 'wald', 'profile' or 'boot'"):
        fit.confint("Wald")
    with pytest.raises(DataError, match="conf_level=95 must lie between 0 and 1"):
        fit.confint(conf_level=95)
    with pytest.raises(DataError, match="n_sims=1 must be a whole number of at least 2"):
        fit.confint("boot", n_sims=1)
    _, fits = fits_case("hsb_vignette")
    stack = fits.fitted_stack
    broken = replace(stack, status=np.array([1, 0, 0, 0, 0]))
    with pytest.raises(DataError, match="the fit of imputation 1 did not converge: it has no profile"):
        rx.LmerFit(broken, 0).profile()
