"""D1 to D4 against mitml, against likelihoods computed here, and in their limits."""

from __future__ import annotations

from functools import cache
from math import inf, nan

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pooling_oracles import R_NUMBERS, RandomIntercept, number, spread, stack_fits
from scipy import integrate, optimize, stats

from reference_cases import load_case
from remlax.errors import PoolingError, PoolingWarning
from remlax.pooling import at_boundary, chibar_p_value, chibar_weights, d1, d2, d3, d4, pool_rubin, wald_statistics

# case, number of the comparison -> the tested coefficients
COMPARISONS = {
    ("hsb_vignette", 0): ["meanses"],
    ("hsb_vignette", 1): ["female", "meanses"],
    ("star_crossed_k5", 0): ["sesN", "sxF"],
    ("star_crossed_k5", 1): ["cltypereg", "cltypereg+A"],
    ("studentratings_k20", 0): ["SES", "SchClimate"],
    ("studentratings_k20", 1): ["SchClimate"],
    ("studentratings_k5", 0): ["ReadDis"],
    ("studentratings_k5", 1): ["SES", "ReadDis"],
    ("studentratings_k5_ml", 0): ["FedStateSH:CognAbility"],
}
LIKELIHOODS = [(name, "tests", i) for name, i in COMPARISONS] + [
    (name, "tests_variance_components", 0) for name in ("hsb_vignette", "star_crossed_k5", "studentratings_k5_ml")
]


def comparison(name, i):
    """The reference comparison, and the estimates and covariances of the tested coefficients."""
    case, _ = load_case(name)
    names, q, u = stack_fits(case)
    index = [names.index(term) for term in COMPARISONS[name, i]]
    return case["pooled"]["tests"][i], q[:, index], u[:, index][:, :, index]


def assert_test(test, result, rtol=1e-8, p_rtol=1e-6):
    """Statistic, degrees of freedom and riv to `rtol`; a p-value magnifies their rounding."""
    for key, ours in {"F": test.statistic, "df1": test.df1, "df2": test.df2, "riv": test.riv}.items():
        assert_allclose(ours, number(result[key]), rtol=rtol, err_msg=key)
    assert_allclose(test.p_value, number(result["p"]), rtol=p_rtol)


# ---- D1


@pytest.mark.parametrize("key", COMPARISONS, ids=str)
def test_d1_in_large_samples(key):
    expected, q, u = comparison(*key)
    test = d1(q, u)
    assert_test(test, expected["D1"]["result"])
    assert (test.method, test.note) == ("D1", "")
    assert test.dfcom == inf


@pytest.mark.parametrize("key", COMPARISONS, ids=str)
def test_d1_in_small_samples(key):
    expected, q, u = comparison(*key)
    dfcom = expected["D1_dfcom"]["df_com"]
    test = d1(q, u, dfcom=dfcom)
    m, k = q.shape
    if k * (m - 1) == 4:
        # mitml divides by zero here; with one component the t test of Barnard and Rubin is exact
        pool = pool_rubin(q, u, dfcom=dfcom)
        assert_allclose(test.statistic, pool.statistic[0] ** 2, rtol=1e-10)
        assert_allclose(test.df2, pool.df[0], rtol=1e-10)
        assert_allclose(test.p_value, pool.p_value[0], rtol=1e-9)
        assert "Barnard and Rubin" in test.note
    else:
        assert_test(test, expected["D1_dfcom"]["result"])
        assert (test.note, test.dfcom) == ("", dfcom)


@pytest.mark.parametrize("name", list(R_NUMBERS["rubin"]))
def test_d1_and_d2_of_made_up_cases(name):
    case = R_NUMBERS["rubin"][name]
    q, u = np.array(case["estimates"]), np.array(case["covariances"])
    m, k = q.shape
    # B is computed from 15-digit numbers that agree in 4 digits
    rtol = 1e-6 if name == "tiny_between" else 1e-9
    for row in case["tests"]:
        if row["method"] == "D2":
            assert_test(d2(wald_statistics(q, u), k), row["result"], rtol=rtol)
            continue
        dfcom = number(row["dfcom"])
        r = row["result"]["riv"]
        c2 = dfcom * (dfcom + 1) / (dfcom + 3) - 4 * (1 + r * k * (m - 1) / (k * (m - 1) - 2 or nan))
        if dfcom == inf or c2 > 0:
            assert_test(d1(q, u, dfcom=dfcom), row["result"], rtol=rtol)
        else:
            with pytest.warns(PoolingWarning, match="Barnard and Rubin"):
                assert_allclose(d1(q, u, dfcom=dfcom).statistic, row["result"]["F"], rtol=rtol)


@pytest.mark.parametrize(("m", "k"), [(2, 2), (3, 2), (2, 4), (6, 3)])
def test_d1_where_reiters_expansion_does_not_exist(m, k):
    q, u = np.stack([spread(j, 0.5 * j, m) for j in range(1, k + 1)], axis=1), np.tile(np.eye(k), (m, 1, 1))
    dfcom = 5.0 if k * (m - 1) > 4 else 60.0
    message = (
        "dfcom is too small for Reiter's"
        if k * (m - 1) > 4
        else rf"need k \(m - 1\) > 4, with k coefficients and m = {m};"
    )
    with pytest.warns(PoolingWarning, match=message):
        test = d1(q, u, dfcom=dfcom)
    large = d1(q, u)
    observed = dfcom * (dfcom + 1) / (dfcom + 3) / (1 + test.riv)
    assert_allclose(1 / test.df2, 1 / large.df2 + 1 / observed, rtol=1e-12)
    assert test.df2 < min(large.df2, dfcom)
    assert_allclose(test.p_value, stats.f.sf(test.statistic, k, test.df2), rtol=1e-12)
    assert test.note


def test_d1_small_sample_df_meets_the_large_sample_one():
    _, q, u = comparison("studentratings_k5", 1)
    assert_allclose(d1(q, u, dfcom=1e9).df2, d1(q, u).df2, rtol=1e-6)


def test_d1_of_worked_numbers():
    # studentratings, five imputations: only r and k decide the degrees of freedom
    r = 0.6741917861
    q = np.stack([spread(0.0, 2 * r / 1.2, 5), np.zeros(5)], axis=1) + np.sqrt(36.58809634 * (1 + r))
    u = np.tile(np.eye(2), (5, 1, 1))
    test = d1(q, u)
    assert_allclose([test.riv, test.statistic, test.df2], [r, 36.58809634, 21.84966339], rtol=1e-8)
    assert_allclose(d1(q, u, dfcom=47).df2, 11.76059306, rtol=1e-8)


def test_d1_of_identical_imputations_is_the_wald_test_of_one_fit():
    q, u = np.tile([1.0, -0.7], (4, 1)), np.tile([[0.5, 0.2], [0.2, 0.4]], (4, 1, 1))
    wald = q[0] @ np.linalg.solve(u[0], q[0])
    test = d1(q, u)
    assert_allclose(test.statistic, wald / 2, rtol=1e-13)
    assert_array_equal([test.riv, test.df2], [0.0, inf])
    assert_allclose(test.p_value, stats.chi2.sf(wald, 2), rtol=1e-12)
    # Reiter without missing data: dfcom (dfcom + 1) / (dfcom + 3), k (m - 1) = 6
    assert_allclose(d1(q, u, dfcom=30).df2, 30 * 31 / 33, rtol=1e-12)


def test_d1_is_invariant_to_linear_maps_units_and_order():
    _, q, u = comparison("star_crossed_k5", 0)
    reference = d1(q, u, [-3.0, 1.0], dfcom=256)
    for A in (np.array([[1.0, 2.0], [-1.0, 0.5]]), np.diag([1e-6, 1e6]), -np.eye(2)):
        mapped = d1(q @ A.T, A @ u @ A.T, A @ [-3.0, 1.0], dfcom=256)
        for key in ("statistic", "riv", "df2", "p_value"):
            assert_allclose(getattr(mapped, key), getattr(reference, key), rtol=1e-8, err_msg=key)
    order = [3, 1, 4, 0, 2]
    assert_allclose(d1(q[order], u[order], [-3.0, 1.0], dfcom=256).p_value, reference.p_value, rtol=1e-9)


def test_d1_of_one_component_is_the_square_of_t():
    q, u = spread(1.0, 0.4, 4)[:, None], np.full((4, 1, 1), 0.3)
    pool = pool_rubin(q, u)
    test = d1(q, u)
    assert_allclose(test.statistic, pool.statistic[0] ** 2, rtol=1e-12)
    assert_allclose([test.df2, test.p_value], [pool.df[0], pool.p_value[0]], rtol=1e-10)


def test_dependent_components_are_refused():
    q = np.ones((3, 2))
    message = "singular: a component has no variance, or the constraints are linearly dependent"
    for matrix in (np.ones((2, 2)), np.diag([1.0, 0.0]), np.outer([1, 1e6], [1, 1e6])):
        with pytest.raises(PoolingError, match=message):
            d1(q, np.tile(matrix, (3, 1, 1)))
    # neither different units nor a correlation near one is singular
    for matrix in (np.diag([1e-20, 1e20]), np.array([[1.0, 1 - 1e-9], [1 - 1e-9, 1.0]])):
        expected = q[0] @ np.linalg.solve(matrix, q[0]) / 2
        assert_allclose(d1(q, np.tile(matrix, (3, 1, 1))).statistic, expected, rtol=1e-6)


# ---- D2


def as_mitml_sees_it(expected):
    """Likelihood-ratio statistics; mitml sets those below 1.5e-8 of the log-likelihood to zero (one, of 1.9e-5)."""
    d = np.array(expected["ml_logLik_diff_x2"])
    return np.where(np.abs(d) < 1.5e-8 * np.abs(expected["ml_logLik_model"]), 0.0, d)


@pytest.mark.parametrize("key", COMPARISONS, ids=str)
def test_d2_wald(key):
    expected, q, u = comparison(*key)
    assert_test(d2(wald_statistics(q, u), q.shape[1]), expected["D2_wald"]["result"])


@pytest.mark.parametrize("key", LIKELIHOODS, ids=str)
def test_d2_likelihood(key):
    name, part, i = key
    expected = load_case(name)[0]["pooled"][part][i]
    d = as_mitml_sees_it(expected)
    k = expected["df_model"] - expected["df_null"]
    assert_test(d2(d, k), expected["D2_likelihood"]["result"])


def test_d2_limits():
    test = d2([3.0, 3.0, 3.0], 2)
    assert_allclose([test.statistic, test.p_value], [1.5, stats.chi2.sf(3.0, 2)], rtol=1e-12)
    assert_array_equal([test.riv, test.df2, test.dfcom], [0.0, inf, inf])
    negative = d2([0.0, 9.0, 0.5], 1)
    assert negative.statistic < 0
    assert negative.p_value == 1.0
    assert negative.note == "The statistic is negative, hence p = 1."
    rounded = d2([-1e-9, 4.0, 1.0], 1)
    assert rounded.note.startswith("Statistics below zero by rounding count as 0.")
    assert_allclose(rounded.statistic, d2([0.0, 4.0, 1.0], 1).statistic, rtol=1e-14)


# ---- D3 and D4


def recovered(expected, m):
    """What mitml's D3 and D4 results imply about the likelihood ratios that are not in the file."""
    k = expected["df_model"] - expected["df_null"]
    h = expected["df_model"]
    plain, robust = expected["D4"]["result"], expected["D4_robust"]["result"]
    common = {key: r["F"] * k * (1 + r["riv"]) for key, r in (("D3", expected["D3"]["result"]), ("D4", plain))}
    gap = robust["riv"] * h * (m - 1) / (m + 1)
    stacked = m * (np.mean(expected["ml_logLik_model"]) - gap / 2)
    return k, h, common["D3"], stacked, stacked - m * common["D4"] / 2


@pytest.mark.parametrize("key", LIKELIHOODS, ids=str)
def test_d3_and_d4_of_all_reference_cases(key):
    name, part, i = key
    case, _ = load_case(name)
    expected = case["pooled"][part][i]
    m = len(case["fits"])
    k, h, common, stacked, stacked0 = recovered(expected, m)
    own = np.array(expected["ml_logLik_diff_x2"])
    assert_test(d3(own, np.full(m, common), k), expected["D3"]["result"])
    loglik = np.array(expected["ml_logLik_model"])
    loglik0 = loglik - as_mitml_sees_it(expected) / 2  # in D2 and D4, not in D3
    plain = d4(loglik, loglik0, stacked, stacked0, k)
    assert_test(plain, expected["D4"]["result"])
    robust = d4(loglik, loglik0, stacked, stacked0, k, robust=True, n_parameters=h)
    assert_test(robust, expected["D4_robust"]["result"], rtol=1e-8, p_rtol=1e-6)
    assert (plain.method, robust.method) == ("D4", "D4 (robust)")


@cache
def random_intercept_fits():
    """Both models of studentratings_k5, in each imputation and stacked."""
    _, frames = load_case("studentratings_k5")
    fits = {}
    for model, columns in {"full": ["SES", "ReadDis"], "without ReadDis": ["SES"], "neither": []}.items():
        data = []
        for imp, frame in enumerate(frames):
            sex = (frame["Sex"] == "Girl").to_numpy(float)
            X = np.column_stack([np.ones(len(frame)), sex, *(frame[c].to_numpy(float) for c in columns)])
            data.append((frame["ReadAchiev"].to_numpy(float), X, frame["ID"].to_numpy(int) + 10**6 * imp))
        y, X, groups = (np.concatenate(part) for part in zip(*data, strict=True))
        fits[model] = [RandomIntercept(*one) for one in data], RandomIntercept(y, X, groups)
    return fits


@pytest.mark.parametrize(("i", "null"), [(0, "without ReadDis"), (1, "neither")])
def test_d3_and_d4_from_likelihoods_computed_here(i, null):
    expected = load_case("studentratings_k5")[0]["pooled"]["tests"][i]
    fits = random_intercept_fits()
    k = i + 1
    own, pooled, stacked = {}, {}, {}
    for model in ("full", null):
        lanes, stack = fits[model]
        solved = [lane.fit() for lane in lanes]
        own[model] = np.array([loglik for _, loglik in solved])
        mean = [np.mean([parameters[j] for parameters, _ in solved], axis=0) for j in range(3)]
        pooled[model] = np.array([lane.loglik(*mean) for lane in lanes])
        stacked[model] = stack.fit()[1]
    assert_allclose(own["full"], expected["ml_logLik_model"], rtol=1e-11)
    statistics = 2 * (own["full"] - own[null])
    assert_test(d3(statistics, 2 * (pooled["full"] - pooled[null]), k), expected["D3"]["result"], rtol=1e-6)
    arguments = (own["full"], own[null], stacked["full"], stacked[null], k)
    assert_test(d4(*arguments), expected["D4"]["result"], rtol=1e-6)
    robust = d4(*arguments, robust=True, n_parameters=6)
    assert_test(robust, expected["D4_robust"]["result"], rtol=1e-6)


def test_likelihood_tests_of_worked_numbers():
    # studentratings, full against intercept-only model; the null model sees complete data only
    loglik = np.array([-4368.786468, -4379.971753, -4385.444377, -4386.924109, -4379.861808])
    loglik0 = np.full(5, -4437.258348)
    d = 2 * (loglik - loglik0)
    test = d2(d, 2)
    assert_allclose([test.statistic, test.df2, test.riv], [37.17205005, 22.87944536, 0.5142886111], rtol=1e-7)
    test = d3(d, np.full(5, 2 * 32.07866302 * 1.7629174048), 2)
    assert_allclose([test.statistic, test.df2, test.riv], [32.07866302, 19.73024127, 0.7629174048], rtol=1e-6)
    stacked0 = 5 * loglik0[0]
    stacked = stacked0 + 5 * 32.09171869 * 1.7622148038
    test = d4(loglik, loglik0, stacked, stacked0, 2)
    assert_allclose([test.statistic, test.df2, test.riv], [32.09171869, 42.76149878, 0.7622148038], rtol=1e-6)
    test = d4(loglik, loglik0, stacked, stacked0, 2, robust=True, n_parameters=5)
    assert_allclose([test.statistic, test.df2, test.riv], [43.33903893, 366.3535, 0.3048859215], rtol=1e-6)


def test_identical_imputations_give_the_ordinary_likelihood_ratio_test():
    p = stats.chi2.sf(7.0, 3)
    third = d3(np.full(4, 7.0), np.full(4, 7.0), 3)
    fourth = d4(np.full(4, -10.0), np.full(4, -13.5), -40.0, -54.0, 3)
    robust = d4(np.full(4, -10.0), np.full(4, -13.5), -40.0, -54.0, 3, robust=True, n_parameters=8)
    for test in (third, fourth, robust):
        assert_allclose([test.statistic, test.p_value], [7 / 3, p], rtol=1e-12)
        assert_array_equal([test.riv, test.df2], [0.0, inf])
        assert test.note == ""


def test_negative_increase_in_variance():
    # r = 3 (2 - 3) / 4 = -0.75 with k = 2, m = 5: kept by default, truncated on request
    test = d3(np.full(5, 2.0), np.full(5, 3.0), 2)
    assert_allclose([test.riv, test.statistic], [-0.75, 6.0], rtol=1e-12)
    # t = 8: 4 + 4 (1 - 0.75 / 0.75)^2
    assert_allclose(test.df2, 4.0, rtol=1e-12)
    assert "negative" in test.note
    positive = d3(np.full(5, 2.0), np.full(5, 3.0), 2, ariv="positive")
    assert_allclose([positive.riv, positive.statistic, positive.df2], [0.0, 1.5, inf])
    stacked = d4(np.zeros(5), np.full(5, -1.0), 7.5, 0.0, 2)
    assert_allclose([stacked.riv, stacked.statistic, stacked.df2], [-0.75, 6.0, 8 / 9], rtol=1e-12)
    stacked = d4(np.zeros(5), np.full(5, -1.0), 7.5, 0.0, 2, ariv="positive")
    assert_allclose([stacked.riv, stacked.statistic, stacked.df2], [0.0, 1.5, inf])


def test_increase_in_variance_of_minus_one_leaves_no_statistic():
    with pytest.warns(PoolingWarning, match=r'D3: the relative increase in variance is -1 or less.*ariv="positive"'):
        test = d3(np.full(5, 2.0), np.full(5, 4.0), 2)
    assert np.isnan(test.statistic)
    assert np.isnan(test.p_value)


def test_batches_equal_single_tests():
    rng = np.random.default_rng(3)
    q = rng.normal(size=(4, 6, 2))
    root = rng.normal(size=(4, 6, 2, 3))
    u = root @ root.mT
    first, wald = d1(q, u, dfcom=[20.0, 40.0, inf, 60.0]), wald_statistics(q, u)
    second = d2(wald, 2)
    third = d3(wald, 0.8 * wald, 2)
    loglik = rng.normal(size=(4, 6)) - 50
    stacked = (loglik.sum(axis=-1) - 3, (loglik - wald / 2).sum(axis=-1) - 4)
    fourth = d4(loglik, loglik - wald / 2, *stacked, 2, robust=True, n_parameters=4)
    for i in range(4):
        singles = (
            d1(q[i], u[i], dfcom=[20.0, 40.0, inf, 60.0][i]),
            d2(wald[i], 2),
            d3(wald[i], 0.8 * wald[i], 2),
            d4(
                loglik[i],
                loglik[i] - wald[i] / 2,
                stacked[0][i],
                stacked[1][i],
                2,
                robust=True,
                n_parameters=4,
            ),
        )
        for batch, single in zip((first, second, third, fourth), singles, strict=True):
            assert single.p_value.shape == ()
            for key in ("statistic", "df2", "p_value", "riv", "dfcom"):
                assert_allclose(getattr(batch, key)[i], getattr(single, key), rtol=1e-12, err_msg=key)


def test_refusals():
    q, u = np.ones((3, 2)), np.tile(np.eye(2), (3, 1, 1))
    two = np.ones(2)
    cases = [
        (lambda: d1(q[:1], u[:1]), "at least two imputations"),
        (lambda: d1(q, u[:, :1]), r"estimates of shape \(3, 2\) need \(3, 2, 2\)"),
        (lambda: d1(np.ones((3, 0)), np.ones((3, 0, 0))), "at least one component"),
        (lambda: d1(np.where(q > 0, [1.0, nan], q), u), "estimates of imputations 1, 2, 3"),
        (lambda: d1(q, u, [1.0, 2.0, 3.0]), "q0 must be one finite number or 2 of them"),
        (lambda: d1(q, u, dfcom=0), "must be positive"),
        (lambda: wald_statistics(q, u[:2]), r"shape \(2, 2, 2\); estimates of shape \(3, 2\)"),
        (lambda: d2([1.0], 1), "at least two imputations"),
        (lambda: d2(two, 0), "k is 0"),
        (
            lambda: d2([1.0, -0.5, 2.0], 1),
            r"chi-square statistics of imputation 2 \(counted from 1\) are negative",
        ),
        (lambda: d2([1.0, nan], 1), "chi-square statistics of imputation 2"),
        (lambda: d3(two, np.ones(3), 1), r"shape \(2,\) at own and \(3,\) at pooled"),
        (lambda: d3(two, [1.0, inf], 1), "at pooled parameters of imputation 2"),
        (lambda: d3(two, two, 1, ariv="robust"), "ariv='robust' is not known"),
        (lambda: d4(-two, -3 * two, -2.0, -4.0, 1, robust=True), "needs n_parameters"),
        (lambda: d4(-two, -3 * two, -2.0, -4.0, 3, robust=True, n_parameters=2), "at least k = 3"),
        (lambda: d4(-3 * two, -two, -6.0, -2.0, 1), "the models are not nested"),
        (lambda: d4(two, np.ones(3), 1.0, 1.0, 1), r"shapes \(2,\) and \(3,\)"),
        (lambda: d4(two, two, [1.0, 2.0], 1.0, 1), r"need \(\)"),
        (lambda: d4(two, two, nan, 1.0, 1), "stacked data is NaN or infinite"),
        (lambda: chibar_p_value(1.0, 2, 3), "between 0 and k = 2"),
        (lambda: chibar_p_value(1.0, 2, 2, weights=[0.5, 0.5]), r"n_boundary \+ 1 = 3 entries"),
        (lambda: chibar_weights([[1.0, 2.0], [2.0, 1.0]]), "symmetric positive definite"),
        (lambda: chibar_p_value(1.0, 0, 0), "at least one component"),
    ]
    for call, message in cases:
        with pytest.raises(PoolingError, match=message):
            call()


# ---- boundary


@pytest.mark.parametrize(
    ("k", "n_boundary", "critical"),
    # 5% points of the mixtures chi(0:1), chi(1:2), chi(2:3), and 1/4 chi(0) + 1/2 chi(1) + 1/4 chi(2)
    [(1, 1, 2.7055), (2, 1, 5.1385), (3, 1, 7.0452), (2, 2, 4.2306)],
)
def test_critical_values_of_the_chi_square_mixtures(k, n_boundary, critical):
    assert_allclose(chibar_p_value(critical, k, n_boundary), 0.05, atol=5e-6)


def test_boundary_mixture_limits():
    assert_allclose(chibar_p_value(3.0, 2, 0), stats.chi2.sf(3.0, 2), rtol=1e-12)
    assert_allclose(chibar_p_value(3.0, 1), stats.chi2.sf(3.0, 1) / 2, rtol=1e-12)
    assert_array_equal(chibar_p_value([0.0, -1.0, nan], 1), [1.0, 1.0, nan])
    assert_array_equal(chibar_p_value([0.0, -1.0], 2), [1.0, 1.0])


def test_f_mixture_is_the_chi_square_mixture_over_an_independent_scale():
    x, k, nu = 6.5, 3, 11.0
    expected = integrate.quad(
        lambda s: (stats.chi2.sf(x * s, 2) + stats.chi2.sf(x * s, 3)) / 2 * stats.chi2.pdf(nu * s, nu) * nu,
        0,
        np.inf,
        epsrel=1e-11,
    )[0]
    assert_allclose(chibar_p_value(x, k, 1, df2=nu), expected, rtol=1e-8)


def test_at_boundary_keeps_the_statistic_and_says_what_it_did():
    expected = load_case("studentratings_k5_ml")[0]["pooled"]["tests_variance_components"][0]
    test = d2(expected["ml_logLik_diff_x2"], 2)
    mixed = at_boundary(test)
    assert (mixed.statistic, mixed.df2) == (test.statistic, test.df2)
    expected_p = (stats.f.sf(2 * test.statistic, 1, test.df2) + stats.f.sf(test.statistic, 2, test.df2)) / 2
    assert_allclose(mixed.p_value, expected_p, rtol=1e-12)
    assert mixed.p_value < test.p_value
    assert mixed.note == "P-value from the mixture 0.5 F(2), 0.5 F(1) (Self and Liang 1987; Stram and Lee 1994)."


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_weights_of_correlated_variances_are_shares_of_projections(m):
    """Against projections of normal vectors on the orthant by non-negative least squares."""
    rng = np.random.default_rng(m)
    half = rng.normal(size=(m, m + 1))
    cov = half @ half.T
    root = np.linalg.cholesky(np.linalg.inv(cov)).T
    draws = rng.multivariate_normal(np.zeros(m), cov, 4000)
    zeros = [int((optimize.nnls(root, root @ one)[0] < 1e-10).sum()) for one in draws]
    expected = np.bincount(zeros, minlength=m + 1) / len(draws)
    found = chibar_weights(cov)
    assert_allclose(found, expected, atol=4 * np.sqrt(0.25 / len(draws)))
    assert_allclose(found.sum(), 1)
    assert_allclose(chibar_weights(7 * cov), found, atol=1e-5)


def test_weights_of_independent_variances_are_binomial():
    assert_allclose(chibar_weights(np.diag([1.0, 2.0, 5.0])), np.array([1, 3, 3, 1]) / 8, rtol=1e-12)
    plain = chibar_p_value(4.0, 3, 2)
    assert_allclose(chibar_p_value(4.0, 3, 2, weights=chibar_weights(np.eye(2))), plain, rtol=1e-12)
    test = at_boundary(d2([3.0, 4.0, 3.5], 2), 2, [0.3, 0.5, 0.2])
    assert test.note.endswith("P-value from the mixture 0.3 F(2), 0.5 F(1), 0.2 F(0) (Silvapulle and Sen 2005).")
