"""Model comparisons against mitml and lme4, dense likelihoods, limits and invariances; every refusal by its words."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, stats

import remlax as rx
from fitted_cases import fit_case, fits_case, studentratings
from reference_cases import load_case
from remlax.errors import ConvergenceWarning, DataError, FitError, PoolingError, RemlaxWarning, SingularFitWarning
from remlax.fitting.selection import Selection
from remlax.inference import likelihood
from remlax.inference.likelihood import maximum_likelihood, stacked_loglik
from remlax.kernels.newton import MAX_ITER
from tables.dense_models import Dense, term_columns

OPTIONS: dict[str, dict[str, Any]] = {
    "D1": {"method": "D1", "dfcom": math.inf},
    "D2_wald": {"method": "D2"},
    "D2_likelihood": {"method": "D2", "use": "likelihood"},
    "D3": {"method": "D3"},
    "D4": {"method": "D4"},
    "D4_robust": {"method": "D4", "ariv": "robust"},
    "D3_positive": {"method": "D3", "ariv": "positive"},
    "D4_positive": {"method": "D4", "ariv": "positive"},
}


def compare_all(
    fits: rx.LmerFitList, null: rx.LmerFitList, tests: dict[str, Any], *, dfcom: float = math.inf, random: bool = False
) -> int:
    """Every pooled test that the reference has; how many these were."""
    count = 0
    for name, options in (OPTIONS | {"D1_dfcom": {"method": "D1", "dfcom": dfcom}}).items():
        found = tests.get(name, {})
        reference = found.get("result", found)
        if "F" not in reference:
            continue
        row = rx.anova(fits, null, **options).iloc[0]
        assert row["df1"] == reference["df1"]
        tol = 1e-5 if name[:2] in ("D3", "D4") else 1e-6
        # these numbers divide by the relative increase in variance, a small difference of large likelihoods
        loose = max(tol, 2e-8 / abs(reference["riv"])) if "ikelihood" in name or name[:2] in ("D3", "D4") else tol
        assert_allclose(row["statistic"], reference["F"], rtol=tol, err_msg=name)
        assert_allclose(row[["df2", "riv"]].astype(float), [reference["df2"], reference["riv"]], rtol=loose)
        p = "p_plain" if random else "p_value"
        assert_allclose(row[p], reference["p"], rtol=1e-3, atol=1e-14)
        count += 1
    return count


CASES = [
    ("studentratings_k5", "tests", 0),
    ("hsb_vignette", "tests", 0),
    pytest.param("studentratings_k5", "tests", 1, marks=pytest.mark.slow),
    pytest.param("hsb_vignette", "tests", 1, marks=pytest.mark.slow),
    ("hsb_vignette", "tests_variance_components", 0),
    ("studentratings_k5_ml", "tests", 0),
    ("studentratings_k5_ml", "tests_variance_components", 0),
    pytest.param("studentratings_k20", "tests", 0, marks=pytest.mark.slow),
    pytest.param("studentratings_k20", "tests", 1, marks=pytest.mark.slow),
    pytest.param("star_crossed_k5", "tests", 0, marks=pytest.mark.slow),
    pytest.param("star_crossed_k5", "tests", 1, marks=pytest.mark.slow),
    pytest.param("star_crossed_k5", "tests_variance_components", 0, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "kind", "i"), CASES)
def test_reference_cases(name, kind, i):
    case, fits = fits_case(name)
    tests = case["pooled"][kind][i]
    _, null = fits_case(name, tests["null_formula"])
    if (name, i) == ("studentratings_k20", 1):
        # mitml sets a difference of 1.9e-5 to zero there, which changes D2 by 8e-4
        tests = {key: value for key, value in tests.items() if key != "D2_likelihood"}
    random = kind == "tests_variance_components"
    if fits.selection.fitted.beta.shape[1] - null.selection.fitted.beta.shape[1] == 1 and len(fits) == 5:
        # mitml divides by zero there: see D1 of remlax.pooling
        tests = {key: value for key, value in tests.items() if key != "D1_dfcom"}
    dfcom = case["pooled"]["df_com_used"]
    assert compare_all(fits, null, tests, dfcom=dfcom, random=random) >= (4 if random else 5)


def test_studentratings_numbers():
    about, fits = studentratings()
    _, null = studentratings(null=True)
    assert compare_all(fits, null, about["tests"]) == 6
    reiter = rx.anova(fits, null, dfcom=47).iloc[0]
    expected = about["tests"]["D1_dfcom_47"]
    assert_allclose(reiter[["statistic", "df2", "p_value"]].astype(float), [expected[k] for k in ("F", "df2", "p")])
    assert "refitted by maximum likelihood" in rx.anova(fits, null, method="D3").attrs["notes"][0]
    assert rx.anova(fits, null).attrs["notes"] == []


@cache
def small_sets(n_sets: int = 3) -> tuple[pd.DataFrame, ...]:
    """Small imputed data with a random slope."""
    rng = np.random.default_rng(12)
    g = np.repeat(np.arange(8), [5, 6, 7, 5, 6, 4, 7, 8])
    x = rng.normal(size=len(g))
    b = rng.normal(size=(8, 2)) @ [[1.5, 0.5], [0.0, 1.2]]
    y = 2 + 0.4 * x + b[g, 0] + b[g, 1] * x + rng.normal(size=len(g))
    z = rng.normal(size=len(g))
    missing = np.arange(len(g)) % 4 == 0
    out = []
    for _ in range(n_sets):
        own = np.where(missing, 0.2 * y + rng.normal(size=len(g)), x)
        out.append(pd.DataFrame({"g": g, "x": own, "z": z, "y": y, "w": 1.0 + (np.arange(len(g)) % 3)}))
    return tuple(out)


def test_stacked_likelihood_against_dense_algebra():
    sets = small_sets()
    fits = rx.lmer_list("y ~ x + (1 + x | g)", list(sets), weights="w")
    models = []
    for frame in sets:
        x = np.column_stack([np.ones(len(frame)), frame["x"]])
        models.append(
            Dense(x, frame["y"].to_numpy(), [term_columns(frame["g"], x)], [2], weights=frame["w"].to_numpy())
        )

    def deviance(phi: np.ndarray) -> float:
        root = np.array([[phi[0], 0.0], [phi[1], phi[2]]])
        sigma = np.exp(phi[3])
        vs = [model.v([root @ root.T], sigma) for model in models]
        inverses = [np.linalg.inv(v) for v in vs]
        xvx = sum(m.x.T @ v @ m.x for m, v in zip(models, inverses, strict=True))
        xvy = sum(m.x.T @ v @ m.y for m, v in zip(models, inverses, strict=True))
        beta = np.linalg.solve(xvx, xvy)
        total = 0.0
        for m, v, vi in zip(models, vs, inverses, strict=True):
            r = m.y - m.x @ beta
            total += np.linalg.slogdet(v)[1] + r @ vi @ r + len(r) * np.log(2 * np.pi)
        return float(total)

    found = min(
        (optimize.minimize(deviance, start, method="BFGS") for start in ([1, 0.2, 0.5, 0.0], [0.5, 0.0, 0.8, 0.2])),
        key=lambda r: r.fun,
    )
    ml = maximum_likelihood(fits.selection.take(np.arange(3)))
    assert_allclose(stacked_loglik(ml), -found.fun / 2, rtol=1e-10)


@pytest.mark.slow
def test_stacked_likelihood_is_that_of_the_stacked_data():
    sets = small_sets()
    fits = rx.lmer_list("y ~ x * z + (1 | g)", list(sets), reml=False)
    stacked = pd.concat([frame.assign(g=frame["g"] + 100 * k) for k, frame in enumerate(sets)])
    one = rx.lmer("y ~ x * z + (1 | g)", stacked, reml=False)
    ml = maximum_likelihood(fits.selection.take(np.arange(3)))
    assert_allclose(stacked_loglik(ml), one.loglik, rtol=1e-11)
    part = maximum_likelihood(fits.selection.take([0, 2]))
    two = rx.lmer("y ~ x * z + (1 | g)", stacked[stacked["g"] // 100 != 1], reml=False)
    assert_allclose(stacked_loglik(part), two.loglik, rtol=1e-11)


def test_padded_columns_and_unequal_rows_do_not_count():
    sets = [frame.iloc[k:] for k, frame in enumerate(small_sets())]
    formula = "y ~ x + z + I(x^2) + I(z^2) + (1 | g)"
    fits = rx.lmer_list(formula, sets, reml=False)
    stacked = pd.concat([frame.assign(g=frame["g"] + 100 * k) for k, frame in enumerate(sets)])
    ml = maximum_likelihood(fits.selection.take(np.arange(3)))
    assert_allclose(stacked_loglik(ml), rx.lmer(formula, stacked, reml=False).loglik, rtol=1e-11)


def test_identical_imputations_give_the_test_of_one_fit():
    frame = small_sets()[0]
    fits = [rx.lmer_list(f, [frame] * 2, reml=False) for f in ("y ~ x + z + (1 | g)", "y ~ 1 + (1 | g)")]
    one = rx.anova(fits[0][0], fits[1][0]).iloc[1]
    for options in (OPTIONS["D2_likelihood"], OPTIONS["D3"], OPTIONS["D4"], OPTIONS["D4_robust"]):
        row = rx.anova(*fits, **options).iloc[0]
        assert_allclose(row["riv"], 0, atol=1e-8)
        assert_allclose([2 * row["statistic"], row["p_value"]], [one["statistic"], one["p_value"]], rtol=1e-6)
    wald = fits[0].pool(dfcom=math.inf).test(["x", "z"]).iloc[0]
    row = rx.anova(*fits, dfcom=math.inf).iloc[0]
    assert_allclose([row["statistic"], row["p_value"]], [wald["statistic"], wald["p_value"]])


@pytest.mark.slow
def test_units_and_the_order_of_the_models_do_not_matter():
    sets = small_sets()
    formulas = ("y ~ x + z + (1 | g)", "y ~ z + (1 | g)")
    fits = [rx.lmer_list(f, list(sets)) for f in formulas]
    scaled = [rx.lmer_list(f, [s.assign(y=1000 * s["y"], x=s["x"] / 50) for s in sets]) for f in formulas]
    for name in ("D1", "D2_wald", "D2_likelihood", "D3", "D4", "D4_robust"):
        a, b = (rx.anova(*pair, **OPTIONS[name]).iloc[0] for pair in (fits, scaled[::-1]))
        columns = ["statistic", "df2", "riv", "p_value"]
        assert_allclose(a[columns].astype(float), b[columns].astype(float), rtol=1e-5)


def test_d1_does_not_depend_on_how_the_models_are_written():
    sets = [
        frame.assign(a=np.where(frame["z"] > 0.3, "u", np.where(frame["z"] > -0.3, "v", "w"))) for frame in small_sets()
    ]
    plain = rx.anova(*(rx.lmer_list(f, sets) for f in ("y ~ x + a + (1 | g)", "y ~ x + (1 | g)")), dfcom=math.inf).iloc[
        0
    ]
    other = rx.anova(
        *(rx.lmer_list(f, sets) for f in ("y ~ 0 + a + I(2 * x) + (1 | g)", "y ~ x + (1 | g)")), dfcom=math.inf
    ).iloc[0]
    columns = ["statistic", "df1", "df2", "p_value"]
    assert_allclose(plain[columns].astype(float), other[columns].astype(float), rtol=1e-6)


def test_a_hypothesis_that_changes_between_imputations_has_no_d1():
    # x in each imputation is another combination of u and v
    sets = [
        frame.assign(u=frame["x"], v=frame["z"], s=frame["x"] + (k + 1) * frame["z"])
        for k, frame in enumerate(small_sets())
    ]
    fits = [rx.lmer_list(f, sets) for f in ("y ~ u + v + (1 | g)", "y ~ s + (1 | g)")]
    with pytest.raises(
        DataError, match="another hypothesis about the coefficients in imputation 2 than in imputation 1"
    ):
        rx.anova(*fits)
    assert np.isfinite(rx.anova(*fits, **OPTIONS["D2_likelihood"])["statistic"][0])


def test_one_variance_on_the_boundary():
    case, fits = fits_case("hsb_vignette")
    _, null = fits_case("hsb_vignette", case["pooled"]["tests_variance_components"][0]["null_formula"])
    row = rx.anova(fits, null, method="D4").iloc[0]
    k, f, df2 = row["df1"], row["statistic"], row["df2"]
    # one variance and its covariance with the intercept
    assert k == 2
    expected = (stats.f.sf(k * f, 1, df2) + stats.f.sf(f, 2, df2)) / 2
    assert_allclose(row["p_value"], expected, rtol=1e-12)
    assert row["p_value"] < row["p_plain"]
    assert "Stram and Lee 1994" in row["note"]


@pytest.mark.slow
def test_several_variances_on_the_boundary_keep_the_plain_distribution():
    frame = small_sets()[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RemlaxWarning)
        large = rx.lmer("y ~ x + (1 + x + z | g)", frame)
        null = rx.lmer("y ~ x + (1 | g)", frame)
    table = rx.anova(large, null)
    assert table["p_value"][1] == table["p_plain"][1]
    assert "2 variances are zero in the smaller model" in table.attrs["notes"][-1]


@pytest.mark.slow
def test_two_variances_of_their_own_have_the_weights_of_their_information():
    """Weights from the information matrix of n x n algebra at the smaller model's fit."""
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(12), 8)
    x = rng.normal(size=96)
    z = 0.7 * x + 0.7 * rng.normal(size=96)
    frame = pd.DataFrame({"y": x + rng.normal(size=12)[group] + rng.normal(size=96), "x": x, "z": z, "g": group})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RemlaxWarning)
        large = rx.lmer("y ~ x + z + (1 | g) + (0 + x | g) + (0 + z | g)", frame)
    null = rx.lmer("y ~ x + z + (1 | g)", frame, reml=False)
    table = rx.anova(large, null)

    same = (group[:, None] == group).astype(float)
    parts = [same * np.outer(x, x), same * np.outer(z, z), same, np.eye(96)]
    v = null.varcorr()["vcov"].iloc[0] * same + null.sigma**2 * np.eye(96)
    design = np.column_stack([np.ones(96), x, z])
    inverse = np.linalg.inv(v)
    inverse -= inverse @ design @ np.linalg.solve(design.T @ inverse @ design, design.T @ inverse)
    cov = np.linalg.inv([[np.trace(inverse @ a @ inverse @ b) for b in parts] for a in parts])[:2, :2]
    corr = cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])
    both = 0.25 + np.arcsin(corr) / (2 * np.pi)
    statistic = table["statistic"][1]
    expected = both * stats.chi2.sf(statistic, 2) + 0.5 * stats.chi2.sf(statistic, 1) + (0.5 - both) * (statistic <= 0)
    assert abs(corr) > 0.05
    assert_allclose(table["p_value"][1], expected, rtol=1e-6)
    assert table.attrs["notes"][-1].endswith("chi-square(0) (Silvapulle and Sen 2005)")


def test_single_fits_against_lme4():
    # lme4 1.1-31: anova(lmer(Reaction ~ Days + (1 + Days | Subject)), lmer(Reaction ~ Days + (1 | Subject)))
    _, large = fit_case("sleepstudy_corr")
    _, null = fit_case("sleepstudy_intercept")
    table = rx.anova(large, null)
    assert table["n_parameters"].tolist() == [4, 6]
    assert_allclose(table["aic"], [1802.0786, 1763.9393], atol=1e-3)
    assert_allclose(table["loglik"], [-897.0393, -875.9697], atol=1e-4)
    assert_allclose(table["deviance"][1], load_case("sleepstudy_ml")[0]["fits"][0]["ml_deviance_at_theta"], rtol=1e-9)
    row = table.iloc[1]
    assert_allclose(row["statistic"], 42.1393, atol=1e-3)
    assert_allclose(row["p_plain"], stats.chi2.sf(row["statistic"], 2))
    assert_allclose(row["p_value"], (stats.chi2.sf(row["statistic"], 1) + row["p_plain"]) / 2)
    assert table.attrs["notes"][0] == "both models were refitted by maximum likelihood"
    assert np.isnan(table["statistic"][0])


@pytest.mark.slow
def test_nested_by_columns_rather_than_by_names():
    frame = small_sets()[0]
    a = rx.anova(*(rx.lmer(f, frame) for f in ("y ~ x + I(x^2) + (1 + x | g)", "y ~ x + (1 + x | g)")))
    b = rx.anova(*(rx.lmer(f, frame) for f in ("y ~ poly(x, 2) + (1 + x | g)", "y ~ x + (1 + I(2*x - 3) | g)")))
    assert_allclose(a["statistic"][1], b["statistic"][1], rtol=1e-6)


def pair(large: str, small: str, **options: Any) -> tuple[rx.LmerFitList, rx.LmerFitList]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RemlaxWarning)
        return tuple(rx.lmer_list(f, list(small_sets()), **options) for f in (large, small))  # type: ignore[return-value]


def test_models_that_are_not_nested():
    with pytest.raises(DataError, match=r"fixed part of the smaller one .* has 'z', which is no combination"):
        rx.anova(*pair("y ~ x + I(x^2) + (1 | g)", "y ~ z + (1 | g)"))
    with pytest.raises(DataError, match=r"random term \(z \| g\) of the smaller one .* is not within one"):
        rx.anova(*pair("y ~ x + z + (1 + x | g)", "y ~ x + (0 + z | g)"), method="D3")
    with pytest.raises(DataError, match=r"both models have 4 parameters .* nothing to test"):
        rx.anova(*pair("y ~ x + (1 | g)", "y ~ z + (1 | g)"))
    with pytest.raises(DataError, match="differ in the random part, and D1 with Wald statistics"):
        rx.anova(*pair("y ~ x + (1 + x | g)", "y ~ x + (1 | g)"))


def test_fits_of_different_data():
    sets = list(small_sets())
    fits = rx.lmer_list("y ~ x + (1 | g)", sets)
    null = "y ~ 1 + (1 | g)"
    with pytest.raises(DataError, match="different numbers of data sets, 3 and 2"):
        rx.anova(fits, rx.lmer_list(null, sets[:2]))
    with pytest.raises(DataError, match="different imputations, 1, 2 and 2, 3"):
        rx.anova(fits[:2], rx.lmer_list(null, sets)[1:])
    changed = [sets[0], sets[1].assign(y=sets[1]["y"] + 1), sets[2]]
    with pytest.raises(DataError, match=r"the response \(y; y\) differs in imputation 2"):
        rx.anova(fits, rx.lmer_list(null, changed))
    with pytest.raises(DataError, match="48 and 47 rows in imputation 1"):
        rx.anova(fits, rx.lmer_list(null, [frame.iloc[1:] for frame in sets]))
    with pytest.raises(DataError, match="only one model has weights in imputation 1"):
        rx.anova(fits, rx.lmer_list(null, sets, weights="w"))
    again = [frame.assign(x=frame["x"] * 2) for frame in sets]
    with pytest.raises(DataError, match="column 'x' differs in imputation 1"):
        rx.anova(rx.lmer_list("y ~ x + z + (1 | g)", sets), rx.lmer_list("y ~ x + (1 | g)", again))
    with pytest.raises(DataError, match="the weights differ in imputation 1"):
        rx.anova(rx.lmer_list(null, sets, weights="w"), rx.lmer_list("y ~ x + (1 | g)", sets, weights="I(2*w)"))
    with pytest.raises(DataError, match="the offset differs in imputation 1"):
        rx.anova(rx.lmer_list(null, sets, offset="z"), rx.lmer_list("y ~ x + (1 | g)", sets, offset="x"))


def test_a_fit_of_a_list_and_one_that_stands_alone():
    sets = list(small_sets())
    fits, alone = rx.lmer_list("y ~ x + (1 | g)", sets), rx.lmer("y ~ 1 + (1 | g)", sets[1])
    both = rx.anova(fits[1], alone), rx.anova(fits[1], rx.lmer_list("y ~ 1 + (1 | g)", sets)[1])
    assert_allclose(both[0]["p_value"][1], both[1]["p_value"][1], rtol=1e-8)
    with pytest.raises(DataError, match="column 'x' differs; fit both"):
        rx.anova(fits[0], rx.lmer("y ~ x + z + (1 | g)", sets[1]))


def test_wrong_arguments():
    fits, null = pair("y ~ x + (1 | g)", "y ~ 1 + (1 | g)")
    with pytest.raises(DataError, match="not LmerFitList and PooledLmer"):
        rx.anova(fits, null.pool())
    for options, message in (
        ({"method": "D5"}, "method='D5' is not known"),
        ({"method": "D2", "use": "score"}, "use='score' is not known"),
        ({"method": "D4", "ariv": "both"}, "ariv='both' is not known"),
        ({"method": "D3", "ariv": "robust"}, "ariv='robust' is not defined for D3"),
        ({"method": "D1", "ariv": "positive"}, "ariv='positive' is not defined for D1"),
    ):
        with pytest.raises(DataError, match=message):
            rx.anova(fits, null, **options)


def failing(fits: rx.LmerFitList, lane: int) -> rx.LmerFitList:
    """The same fits, one of them marked as failed."""
    status = fits.selection.fitted.status.copy()
    status[lane] = MAX_ITER
    return rx.LmerFitList(Selection(replace(fits.selection.fitted, status=status), fits.selection.which))


def test_failed_fits_are_refused_or_left_out_by_name():
    fits, null = pair("y ~ x + (1 | g)", "y ~ 1 + (1 | g)")
    bad = failing(null, 1)
    with pytest.raises(PoolingError, match=r"the fit failed in imputation 2 \(iteration limit\)"):
        rx.anova(fits, bad, method="D3")
    with pytest.warns(ConvergenceWarning, match="imputation 2"):
        kept = rx.anova(fits, bad, method="D3", on_failure="drop")
    assert kept.attrs["dropped_imputations"] == kept.attrs["failed_imputations"] == [2]
    assert kept.attrs["n_imputations"] == 2
    assert "left out: imputation 2" in kept.attrs["notes"]
    two = rx.anova(
        rx.LmerFitList(fits.selection.take((0, 2))), rx.LmerFitList(null.selection.take((0, 2))), method="D3"
    )
    assert_allclose(kept["statistic"], two["statistic"], rtol=1e-10)
    with pytest.warns(ConvergenceWarning), pytest.raises(PoolingError, match="fewer than two imputations are left"):
        rx.anova(failing(fits, 0), bad, on_failure="drop")


def test_a_common_fit_that_fails_says_so(monkeypatch):
    fits = pair("y ~ x + (1 | g)", "y ~ 1 + (1 | g)")
    monkeypatch.setattr(likelihood, "COMMON_TOL", 0.0)
    with pytest.raises(FitError, match=r"common parameters \(D4\) did not converge: use D3"):
        rx.anova(*fits, method="D4")


def test_a_failed_or_singular_single_fit_is_named():
    frame = small_sets()[0]
    fits = [rx.lmer(f, frame, reml=False) for f in ("y ~ x + (1 | g)", "y ~ 1 + (1 | g)")]
    status = np.array([MAX_ITER], dtype=np.int32)
    bad = rx.LmerFit(Selection(replace(fits[0].selection.fitted, status=status), (0,)))
    with pytest.warns(ConvergenceWarning, match="anova: the fit of the larger model did not converge"):
        table = rx.anova(bad, fits[1])
    assert table.attrs["notes"] == ["the larger model did not converge"]
    flat = frame.assign(y=frame["y"] - frame.groupby("g")["y"].transform("mean"))
    with pytest.warns(SingularFitWarning):
        fits = [rx.lmer(f, flat) for f in ("y ~ x + (1 | g)", "y ~ 1 + (1 | g)")]
    assert "the smaller model is singular" in rx.anova(*fits).attrs["notes"]
