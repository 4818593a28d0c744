"""Rubin's rules against mice, mitml, and the worked numbers of the design guide."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pooling_oracles import R_NUMBERS, mertools_table, mice_df, number, spread, stack_fits

from reference_cases import case_names, load_case
from remlax.pooling import linear, pool_rubin, pool_scalars

CASES = case_names("lmm_mi")
RTOL = 1e-9


def by_name(table, names):
    return np.array([number(table[name]) for name in names])


@pytest.mark.parametrize("name", CASES)
def test_matrices_and_ratios_of_reference_cases(name):
    case, _ = load_case(name)
    names, estimates, covariances = stack_fits(case)
    rubin = case["pooled"]["rubin"]
    pool = pool_rubin(estimates, covariances)
    assert pool.m == rubin["m"]
    assert_allclose(pool.estimate, by_name(rubin["qbar"], names), rtol=1e-12)
    for ours, theirs in ((pool.ubar, "Ubar"), (pool.b, "B"), (pool.t, "T")):
        expected = np.array(rubin[theirs]["matrix"])
        assert rubin[theirs]["names"] == names
        assert_allclose(ours, expected, rtol=RTOL, atol=1e-12 * np.abs(expected).max())
    assert_allclose(pool.std_error, by_name(rubin["se"], names), rtol=RTOL)
    assert_allclose(pool.riv, by_name(rubin["riv"], names), rtol=RTOL)
    assert_allclose(pool.lambda_, by_name(rubin["lambda"], names), rtol=RTOL)
    assert_allclose(pool.df_rubin1987, by_name(rubin["df_rubin1987"], names), rtol=RTOL)
    assert_allclose(pool.relative_efficiency, 1 / (1 + pool.fmi / pool.m), rtol=1e-14)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("row", range(3))
def test_inference_of_reference_cases_at_each_dfcom(name, row):
    case, _ = load_case(name)
    names, estimates, covariances = stack_fits(case)
    expected = case["pooled"]["rubin"]["by_dfcom"][row]
    pool = pool_rubin(estimates, covariances, dfcom=number(expected["dfcom"]))
    pairs = {
        "df": pool.df,
        "fmi": pool.fmi,
        "t": pool.statistic,
        "p": pool.p_value,
        "ci_lower": pool.conf_low,
        "ci_upper": pool.conf_high,
    }
    for key, ours in pairs.items():
        assert_allclose(ours, by_name(expected[key], names), rtol=RTOL, err_msg=key)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("table", ["mice_pool", "mice_pool_dfcom_Jp", "mice_pool_dfcom_Inf"])
def test_mice_pool(name, table):
    case, _ = load_case(name)
    names, estimates, covariances = stack_fits(case)
    mice = case["pooled"][table]
    dfcom = np.array([number(v) for v in mice["pooled"]["dfcom"]])
    pool = pool_rubin(estimates, covariances, dfcom=dfcom)
    assert mice["pooled"]["term"] == names
    diagonal = {key: np.diagonal(getattr(pool, key)) for key in ("ubar", "b", "t")}
    for key, ours in {**diagonal, "riv": pool.riv, "lambda": pool.lambda_}.items():
        assert_allclose(ours, mice["pooled"][key], rtol=RTOL, err_msg=key)
    # mice raises lambda to 1e-4 in its degrees of freedom: same inputs, its floor
    floored = np.array([mice_df(pool.m, lam, nu) for lam, nu in zip(pool.lambda_, dfcom, strict=True)])
    assert_allclose(floored, mice["pooled"]["df"], rtol=RTOL)
    free = pool.lambda_ >= 1e-4
    assert free.any()
    summary = {k: np.array(v)[free] for k, v in mice["summary"].items()}
    assert_allclose(pool.df[free], summary["df"], rtol=RTOL)
    assert_allclose(pool.fmi[free], np.array(mice["pooled"]["fmi"])[free], rtol=RTOL)
    assert_allclose(pool.p_value[free], summary["p.value"], rtol=1e-8)
    assert_allclose(pool.conf_low[free], summary["2.5 %"], rtol=RTOL)
    assert_allclose(pool.conf_high[free], summary["97.5 %"], rtol=RTOL)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("table", ["mitml_testEstimates", "mitml_testEstimates_dfcom"])
def test_mitml_test_estimates(name, table):
    case, _ = load_case(name)
    names, estimates, covariances = stack_fits(case)
    mitml = case["pooled"][table]
    dfcom = inf if mitml["df_com"] == "NULL" else mitml["df_com"]
    pool = pool_rubin(estimates, covariances, dfcom=dfcom)
    rows = mitml["estimates"]
    assert rows["row"] == names
    pairs = {
        "Estimate": pool.estimate,
        "Std.Error": pool.std_error,
        "t.value": pool.statistic,
        "df": pool.df,
        "RIV": pool.riv,
        "FMI": pool.fmi,
    }
    for key, ours in pairs.items():
        assert_allclose(ours, [number(v) for v in rows[key]], rtol=RTOL, err_msg=key)
    # mitml computes 1 - pt(): cancellation below 1e-15
    assert_allclose(pool.p_value, rows["P(>|t|)"], rtol=RTOL, atol=4e-16)
    assert_allclose(pool.conf_low, by_name(mitml["ci_lower"], names), rtol=RTOL)
    assert_allclose(pool.conf_high, by_name(mitml["ci_upper"], names), rtol=RTOL)
    assert_allclose(pool.t, mitml["T"], rtol=RTOL, atol=1e-12 * np.abs(pool.t).max())


@pytest.mark.parametrize("name", list(R_NUMBERS["rubin"]))
def test_made_up_cases_of_mitml_and_mice(name):
    case = R_NUMBERS["rubin"][name]
    q, u = np.array(case["estimates"]), np.array(case["covariances"])
    for row in case["pooled"]:
        dfcom = number(row["dfcom"])
        pool = pool_rubin(q, u, dfcom=dfcom)
        mitml = {key: np.array([number(v) for v in values]) for key, values in row["mitml"].items()}
        if name == "no_between":
            # B = 0: mitml's df at df.com = NULL is infinite, which the file holds as null
            mitml["df"] = np.where(np.isnan(mitml["df"]), inf, mitml["df"])
        # with lambda = 1 - 1e-10 mitml loses 7 digits in 1 - lambda; with lambda = 1e-8, B has lost 8 digits
        rtol = {"nearly_all_between": 1e-6, "tiny_between": 1e-6}.get(name, 1e-10)
        for key, expected in mitml.items():
            assert_allclose(getattr(pool, key), expected, rtol=rtol, err_msg=f"{key} at {dfcom}")
        assert_allclose(np.diagonal(pool.t), row["mice"]["t"], rtol=1e-10)
        if name != "nearly_all_between":
            assert_allclose(mice_df(pool.m, pool.lambda_, dfcom), row["mice"]["df"], rtol=1e-9)


def test_nearly_all_variance_between_is_exact_where_r_cancels():
    # 1 / nu = lambda^2 / (m - 1) + (nu_com + 3) / (nu_com (nu_com + 1) (1 - lambda)), 1 - lambda = U / T
    case = R_NUMBERS["rubin"]["nearly_all_between"]
    q, u = np.array(case["estimates"]), np.array(case["covariances"])
    pool = pool_rubin(q, u, dfcom=30)
    share = np.diagonal(u.mean(axis=0)) / np.diagonal(pool.t)
    assert_allclose(pool.df, 30 * 31 / 33 * share, rtol=1e-8)  # the first term adds 1e-9 of the second


def test_worked_numbers_of_studentratings():
    # mitml's studentratings, panImpute, five imputations: estimate, SE, RIV -> everything else
    estimate = np.array([511.669986306, -32.227079452, 1.303834947])
    std_error = np.array([20.2176812008, 5.5150552964, 0.2357314483])
    riv = np.array([0.6134495108, 0.4235680848, 0.9407142348])
    within = std_error**2 / (1 + riv)
    q = np.stack([spread(e, b, 5) for e, b in zip(estimate, within * riv / 1.2, strict=True)], axis=1)
    u = np.broadcast_to(within, q.shape)
    large, small = pool_scalars(q, u), pool_scalars(q, u, dfcom=47)
    assert_allclose(large.std_error, std_error, rtol=1e-9)
    assert_allclose(large.df, [27.67025120, 45.18247518, 17.02424037], rtol=1e-8)
    assert_allclose(large.fmi, [0.4206262888, 0.3266980749, 0.5361908317], rtol=1e-8)
    assert_allclose(small.df, [13.908404697, 18.627806463, 9.827811271], rtol=1e-8)
    assert_allclose(small.df_rubin1987, large.df, rtol=1e-14)


def test_textbook_example():
    # m = 5, riv = 1/10: (m - 1)(1 + 1/r)^2 = 4 * 11^2 = 484
    pool = pool_scalars(spread(2.0, 1.0, 5)[:, None], np.full((5, 1), 12.0))
    assert_allclose([pool.riv[0], pool.lambda_[0], pool.df[0]], [0.1, 1 / 11, 484.0], rtol=1e-12)


def test_mertools_formula_is_another_and_not_equivariant():
    case, _ = load_case("hsb_vignette")
    names, q, u = stack_fits(case)
    standard_errors = np.sqrt(np.diagonal(u, axis1=1, axis2=2))
    wrong_se, wrong_df = mertools_table(q, standard_errors)
    printed = case["mertools_asis"]["modelFixedEff"]["value"]
    order = [printed["term"].index(name) for name in names]
    assert_allclose(wrong_se, np.array(printed["std.error"])[order], rtol=1e-9)
    assert_allclose(wrong_df, np.array(printed["df"])[order], rtol=1e-9)
    pool = pool_rubin(q, u)
    j = names.index("minority")
    mice = case["pooled"]["mice_pool"]["summary"]
    assert_allclose(pool.std_error[j], mice["std.error"][mice["term"].index("minority")], rtol=1e-9)
    assert_allclose([wrong_se[j], pool.std_error[j]], [0.2091, 0.2296], atol=5e-5)
    assert wrong_df[j] > 20 * pool.df[j]
    # a response in other units: Rubin's rules follow, merTools does not
    assert_allclose(pool_rubin(100 * q, 1e4 * u).std_error, 100 * pool.std_error, rtol=1e-12)
    assert mertools_table(100 * q, 100 * standard_errors)[0][j] > 500 * wrong_se[j]


def test_contrast_of_the_reference_case_equals_pooling_the_contrast():
    names, q, u = stack_fits(load_case("hsb_vignette")[0])
    L = np.zeros((2, len(names)))
    L[0, names.index("minority")], L[0, names.index("female")] = 1, -1
    L[1, names.index("meanses")] = 2
    combined = linear(pool_rubin(q, u), L, [0.5, 6.0], dfcom=[155, 30])
    direct = pool_rubin(q @ L.T, L @ u @ L.T, dfcom=[155, 30])
    for key in ("estimate", "ubar", "b", "t", "std_error", "riv", "fmi", "df", "conf_low", "conf_high"):
        assert_allclose(getattr(combined, key), getattr(direct, key), rtol=1e-10, err_msg=key)
    assert_allclose(combined.statistic, (direct.estimate - [0.5, 6.0]) / direct.std_error, rtol=1e-12)
    single = pool_rubin(q, u, dfcom=30)
    j = names.index("meanses")
    assert_allclose([combined.estimate[1], combined.std_error[1]], [2 * single.estimate[j], 2 * single.std_error[j]])
    assert_allclose(combined.df[1], single.df[j], rtol=1e-12)
