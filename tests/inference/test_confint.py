"""Profile, bootstrap and Wald limits of all parameters."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import scipy
from numpy.testing import assert_allclose

import remlax as rx
from fitted_cases import fit_case, fits_case, inference
from reference_cases import load_case
from remlax.errors import ConvergenceWarning, DataError
from remlax.fitting.selection import Selection
from remlax.inference.constrained import ConstrainedFits, Parameter
from remlax.inference.profile import ProfileTable, Side, make_table, profile

CUT = float(np.sqrt(scipy.stats.chi2.ppf(0.95, 1)))
# lme4's limits come from a spline through its own grid: its sd of Dyestuff is 3e-4 off (see the test of the deviance)
LME4 = 5e-4


def plain_name(name):
    for theirs, ours in (("(Intercept)", "Intercept"), ("SexFemale", "Sex[T.Female]")):
        name = name.replace(theirs, ours)
    return re.sub("^Machine(.)$", r"Machine[T.\1]", name)


def same_parameter(name, table):
    """Row of lme4's name: sd_x|g, cor_b.a|g, sigma, or a coefficient."""
    if name == "sigma":
        return table.index[table["term"] == "sd__Observation"][0]
    kind, _, rest = name.partition("_")
    if kind in ("sd", "cor") and "|" in name:
        term, group = rest.split("|")
        names = [plain_name(part) for part in term.split(".")]
        wanted = f"{kind}__{'.'.join(reversed(names))}"
        return table.index[(table["term"] == wanted) & table["group"].str.startswith(group)][0]
    return table.index[table["term"] == plain_name(name)][0]


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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["machines_3dim", "hsb_vignette"])
def test_limits_of_three_columns_and_of_many_groups_as_lme4(name):
    """lme4's own steps, an eighth of the way each, and its spline through them; for correlations a finer step."""
    expected = inference("profile_large")[name]
    table = rx.lmer(expected["formula"], load_case(name)[1][0]).confint("profile")
    for term, low, high in zip(expected["names"], expected["low"], expected["high"], strict=True):
        row = table.loc[same_parameter(term, table)]
        if (name, row["term"]) == ("hsb_vignette", "sd__ses"):
            # lme4's spline is off at the lower limit; the next test has the deviance there
            assert_allclose(row["conf_high"], high, atol=1e-3 * (high - low))
            continue
        assert_allclose([row["conf_low"], row["conf_high"]], [low, high], atol=1e-3 * (high - low))


@pytest.mark.slow
def test_lower_limit_of_a_slope_variance_by_algebra_per_group():
    """The deviance with that SD held, by sums over schools and derivative-free searches from several starts."""
    (frame,) = load_case("hsb_vignette")[1][:1]
    table = rx.lmer("mathach ~ ses + meanses + (1 + ses | schid)", frame).confint("profile")
    z = np.column_stack([np.ones(len(frame)), frame["ses"]])
    w = np.column_stack([z, frame["meanses"], frame["mathach"]])
    schools = [np.flatnonzero(frame["schid"] == g) for g in frame["schid"].unique()]
    zz, zw = np.array([z[i].T @ z[i] for i in schools]), np.array([z[i].T @ w[i] for i in schools])

    def deviance(c, log_sigma):
        c = c / np.exp(log_sigma)
        a, half = np.eye(2) + c.T @ zz @ c, c.T @ zw
        m = w.T @ w - np.sum(half.swapaxes(1, 2) @ np.linalg.solve(a, half), axis=0)
        rss = m[-1, -1] - m[-1, :-1] @ np.linalg.solve(m[:-1, :-1], m[:-1, -1])
        return np.linalg.slogdet(a)[1].sum() + 2 * len(w) * log_sigma + rss / np.exp(2 * log_sigma)

    def lowest(fun, starts):
        options = {"xatol": 1e-9, "fatol": 1e-10, "maxiter": 6000}
        return min(scipy.optimize.minimize(fun, s, method="Nelder-Mead", options=options).fun for s in starts)

    best = lowest(
        lambda p: deviance(np.array([[p[0], 0], [p[1], p[2]]]), p[3]), ([1.5, -0.3, 0.4, 1.79], [1.5, 0.1, 0.4, 1.79])
    )
    sd = table.set_index("term").loc["sd__ses", "conf_low"]
    held = lowest(
        lambda p: deviance(np.array([[p[0], 0], [sd * np.sin(p[1]), sd * np.cos(p[1])]]), p[2]),
        ([1.5, a, 1.79] for a in (-1.2, -0.6, -0.1, 0.5)),
    )
    assert_allclose(held - best, scipy.stats.chi2.ppf(0.95, 1), atol=1e-5)


@pytest.mark.slow
def test_correlations_of_three_columns_by_algebra_per_group():
    """Held and free deviances by dense algebra and derivative-free searches from several starts."""
    (frame,) = load_case("machines_3dim")[1]
    table = rx.lmer("score ~ Machine + (1 + Machine | Worker)", frame).confint("profile")
    x = np.column_stack([np.ones(len(frame)), frame["Machine"] == "B", frame["Machine"] == "C"])
    y, worker = frame["score"].to_numpy(), frame["Worker"].to_numpy()

    def deviance(c, log_sigma):
        logdet, cross = 0.0, np.zeros((4, 4))
        for g in np.unique(worker):
            z = x[worker == g]
            root = np.linalg.cholesky(z @ c @ c.T @ z.T + np.exp(2 * log_sigma) * np.eye(len(z)))
            half = np.linalg.solve(root, np.column_stack([z, y[worker == g]]))
            logdet, cross = logdet + 2 * np.log(np.diag(root)).sum(), cross + half.T @ half
        return logdet + np.linalg.cholesky(cross)[3, 3] ** 2

    def lowest(fun, centre):
        rng, best = np.random.default_rng(0), np.inf
        for _ in range(3):
            start = scipy.optimize.minimize(fun, centre + 0.4 * rng.normal(size=len(centre))).x
            options = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000}
            best = min(best, scipy.optimize.minimize(fun, start, method="Nelder-Mead", options=options).fun)
        return best

    def free(p):
        return deviance(np.array([[p[0], 0, 0], [p[1], p[2], 0], [p[3], p[4], p[5]]]), p[6])

    best = lowest(free, np.array([4.0, 0, 4, 0, 0, 3, 0]))
    names = ["Intercept", "Machine[T.B]", "Machine[T.C]"]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        row = table.set_index("term").loc[f"cor__{names[a]}.{names[b]}"]
        order = [a, b, 3 - a - b]
        for rho in row[["conf_low", "conf_high"]]:

            def held(p, rho=rho, order=order):
                s = np.exp(p[:2])
                c = np.array([[s[0], 0, 0], [s[1] * rho, s[1] * np.sqrt(1 - rho**2), 0], [p[2], p[3], p[4]]])
                return deviance(c[np.argsort(order)], p[5])

            rise = lowest(held, np.array([1.4, 1.4, 0, 0, 3, 0])) - best
            assert_allclose(np.sqrt(rise), CUT, rtol=1e-5)


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
    with pytest.raises(DataError, match=r"conf_level=95 must be a number between 0 and 1"):
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
    both = profile(fits.selection.take([0, 1]), 0.95)
    table = fits.confint("profile")
    assert table["imp"].tolist() == [1] * 4 + [2] * 4
    assert_allclose(table["conf_high"], [one.limit(CUT, 1) for one in (*both[0], *both[1])])
    for k in range(2):
        alone = profile(fits.selection.one(k), 0.95)[0]
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


def test_a_search_that_finds_nothing_says_so(monkeypatch):
    _, fit = fit_case("dyestuff")
    solve = ConstrainedFits.solve

    def fails_above_1560(self, asked, near):
        deviance, at = solve(self, asked, near)
        lost = [one is not None and one.kind == "beta" and value > 1560 for _, one, value in asked]
        return np.where(lost, np.nan, deviance), at

    monkeypatch.setattr(ConstrainedFits, "solve", fails_above_1560)
    with pytest.warns(ConvergenceWarning, match="did not reach the 95% limits of Intercept: they are NaN"):
        found = fit.confint("profile").set_index("term")
    monkeypatch.undo()
    whole = fit.confint("profile").set_index("term")
    assert np.isnan(found.loc["Intercept", "conf_high"])
    lost = found.index == "Intercept"
    assert_allclose(found.loc[~lost, "conf_high"], whole.loc[~lost, "conf_high"], rtol=1e-7)
    assert_allclose(found["conf_low"], whole["conf_low"], rtol=1e-5)


def walk(parameter, sign, estimate, first, deviance, cap=np.inf):
    """Walk one side over a known deviance; NaN is a search that fails."""
    start = np.array([float(deviance(estimate))])
    side, asked = Side(parameter, sign, first, np.array([estimate]), start, np.zeros((1, 2))), 0
    while (value := side.wanted(CUT, cap)) is not None:
        side, asked = side.added(value, float(deviance(value)), np.zeros(2)), asked + 1
    return make_table(parameter, estimate, side.value[1:], side.deviance[1:] - start[0]), asked


@pytest.mark.parametrize("first", [1e-3, 0.3, 1e3])
def test_walks_end_at_the_limit(first):
    """Deviances whose limits are known, from first steps that are far too short and far too long."""
    sd, cor, sigma, beta = Parameter(0, 0, 0), Parameter(0, 0, 1), Parameter(-1, 0, 0), Parameter(-2, 0, 0)
    table, asked = walk(beta, 1, 2.0, first, lambda v: 3 * (v - 2) ** 2)
    assert_allclose(table.limit(CUT, 1), 2 + CUT / np.sqrt(3), rtol=1e-6)
    assert asked < 25
    n = 100.0
    for sign in (-1, 1):
        table, _ = walk(sigma, sign, 1.0, min(first, 1.0), lambda v: n * (2 * np.log(v) + v**-2))
        exact = scipy.optimize.brentq(
            lambda v: n * (2 * np.log(v) + v**-2 - 1) - CUT**2, *((0.5, 1.0) if sign < 0 else (1.0, 2.0))
        )
        assert_allclose(table.limit(CUT, sign), exact, rtol=1e-6)
    table, _ = walk(sd, -1, 1.0, first, lambda v: 3 * (v - 1) ** 2)
    assert table.limit(CUT, -1) == 0
    table, _ = walk(sd, -1, 1.0, first, lambda v: 9 * (v - 1) ** 2)
    assert_allclose(table.limit(CUT, -1), 1 - CUT / 3, rtol=1e-6)
    table, _ = walk(cor, 1, 0.2, first, lambda v: 2 * (v - 0.2) ** 2)
    assert table.limit(CUT, 1) == 1
    table, _ = walk(cor, -1, 1.0, min(first, 1.0), lambda v: 9 * (v - 1) ** 2)
    assert_allclose(table.limit(CUT, -1), 1 - CUT / 3, rtol=1e-6)
    assert table.limit(CUT, 1) == 1


def test_walks_that_fail_jump_or_are_capped():
    cor, beta = Parameter(0, 0, 1), Parameter(-2, 0, 0)
    table, asked = walk(beta, 1, 0.0, 0.3, lambda v: v**2 if v < 1.5 else np.nan)
    assert np.isnan(table.limit(CUT, 1))
    assert asked < 50
    # another valley beyond 1.5: the limit is where the deviance jumps
    table, asked = walk(beta, 1, 0.0, 0.3, lambda v: v**2 + 9 * (v > 1.5))
    assert_allclose(table.limit(CUT, 1), 1.5, rtol=1e-4)
    assert asked < 50
    # a deviance that never rises far enough
    table, _ = walk(beta, 1, 0.0, 0.3, lambda v: 1 - np.exp(-(v**2)))
    assert np.isnan(table.limit(CUT, 1))
    table, asked = walk(cor, 1, 0.0, 0.3, lambda v: 90 * v**2, cap=1.0)
    assert table.value.tolist() == [0, 1]
    assert asked == 1


def test_a_lower_minimum_far_from_the_walk_is_walked_from():
    value = np.arange(0.0, 3.0, 0.5)
    side = Side(Parameter(-2, 0, 0), 1, 0.3, value, value**2, np.zeros((6, 2)))
    assert side.to_check(CUT) == 4
    assert side.checked(2.0, 4.0, np.ones(2)).settled
    lower = side.checked(2.0, 3.0, np.ones(2))
    assert not lower.settled
    assert lower.value.tolist() == [0, 0.5, 1, 1.5, 2]
    assert lower.deviance[-2:].tolist() == [2.25, 3]
    assert lower.at[-1].tolist() == [1, 1]
    assert lower.wanted(CUT) > 2


def test_tables():
    sd = Parameter(0, 0, 0)
    table = make_table(sd, 1.0, np.array([0.0, 2.0, 3.0]), np.array([1.0, np.nan, 4.0]))
    assert table.value.tolist() == [0, 1, 3]
    assert table.zeta.tolist() == [-1, 0, 2]
    assert table.limit(CUT, -1) == 0
    short = ProfileTable(Parameter(-2, 0, 0), 0.0, np.array([-1.0, 0.0, 1.0]), np.array([-1.0, 0.0, 1.0]))
    assert np.isnan([short.limit(CUT, -1), short.limit(CUT, 1)]).all()


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
    with pytest.raises(DataError, match="conf_level=95 must be a number between 0 and 1"):
        fit.confint(conf_level=95)
    with pytest.raises(DataError, match="n_sims=1 must be a whole number of at least 2"):
        fit.confint("boot", n_sims=1)
    _, fits = fits_case("hsb_vignette")
    stack = fits.selection.fitted
    broken = replace(stack, status=np.array([1, 0, 0, 0, 0]))
    with pytest.raises(DataError, match="the fit of imputation 1 did not converge: it has no profile"):
        rx.LmerFit(Selection(broken, (0,))).profile()
