"""Where a rule of pooling changes its form, from both sides; which axis is which; what is refused at the edge."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pooling_oracles import spread
from scipy import stats

from remlax.errors import PoolingError, PoolingWarning
from remlax.pooling import (
    LOG,
    chibar_p_value,
    chibar_weights,
    d1,
    d2,
    d3,
    d4,
    jackknife_spread,
    linear,
    pool_rubin,
    pool_transformed,
    wald_statistics,
)


@pytest.mark.parametrize(("failed", "words"), [(8, "1, 2, 3, 4, 5, 6, 7, 8 "), (9, "1, 2, 3, 4, 5, 6, 7, 8, ... ")])
def test_up_to_eight_imputations_are_named(failed, words):
    values = np.ones(10)
    values[:failed] = nan
    with pytest.raises(PoolingError, match=rf"imputations {words}\(counted"):
        d2(values, 1)


def test_one_statistic_alone_is_refused():
    with pytest.raises(PoolingError, match="need at least 1 axes"):
        d2(3.0, 1)


def test_the_imputation_is_named_not_the_replication():
    values = np.ones((2, 4))
    values[0, 2] = nan
    with pytest.raises(PoolingError, match="of imputation 3 "):
        d2(values, 1)


@pytest.mark.parametrize(("m", "df"), [(5, 16.0), (6, 4 + 1.6**2)])
def test_large_sample_df_on_both_sides_of_k_m_minus_1_equal_to_4(m, df):
    """Li, Raghunathan and Rubin (1991), r = 1: t (1 + 1/k) (1 + 1/r)^2 / 2, then 4 + (t - 4) (1 + (1 - 2/t) / r)^2."""
    estimates = spread(0.0, 1 / (1 + 1 / m), m)[:, None]
    test = d1(estimates, np.ones((m, 1, 1)))
    assert_allclose(test.riv, 1.0, rtol=1e-12)
    assert_allclose(test.df2, df, rtol=1e-12)


@pytest.mark.parametrize(
    ("cov", "words"),
    [
        ([1.0, 2.0], "need at least 2 axes"),
        (np.ones((2, 3)), "symmetric positive definite"),
        ([[2.0, 1.0], [0.0, 2.0]], "symmetric positive definite"),
        ([[1.0, 2.0], [2.0, 1.0]], "symmetric positive definite"),
    ],
)
def test_no_covariance_of_variances(cov, words):
    with pytest.raises(PoolingError, match=words):
        chibar_weights(cov)


def test_the_point_mass_at_zero_holds_nothing_above():
    assert_allclose(chibar_p_value(0.5, 1), 0.5 * stats.chi2.sf(0.5, 1), rtol=1e-12)
    assert chibar_p_value(0.0, 1) == 1.0


def test_robust_d4_of_a_model_that_is_tested_whole():
    """Chan and Meng (2022): gap 2 (-11 + 22.5 / 2) = 0.5, r = 3 / (h (m - 1)) gap with h = k = 1."""
    test = d4([-10.0, -12.0], [-13.0, -14.0], -22.5, -27.0, 1, robust=True, n_parameters=1)
    assert_allclose(test.riv, 1.5, rtol=1e-12)
    assert_allclose(test.df2, (1 + 1 / 1.5) ** 2, rtol=1e-12)


def test_a_covariance_that_failed_names_the_imputation_in_a_batch():
    covariances = np.ones((2, 4, 1, 1))
    covariances[0, 2] = nan
    with pytest.raises(PoolingError, match="covariances of imputation 3 "):
        pool_rubin(np.ones((2, 4, 1)), covariances)


def test_one_null_value_in_a_list_holds_for_every_row():
    pool = pool_rubin([[1.0, 2.0], [2.0, 5.0]], np.stack([np.eye(2)] * 2))
    rows = [[1.0, 0.0], [0.0, 1.0]]
    assert_allclose(linear(pool, rows, [0.5]).statistic, (pool.estimate - 0.5) / pool.std_error, rtol=1e-12)


def test_only_the_quantity_that_is_infinite_has_no_jackknife_error():
    found = jackknife_spread(np.array([[1.0, inf], [2.0, 1.0], [3.0, 2.0]]))
    assert_allclose(found, [np.sqrt(4 / 3), nan], rtol=1e-12)


def test_an_increase_in_variance_of_exactly_minus_one_leaves_no_statistic():
    with pytest.warns(PoolingWarning, match="-1 or less"):
        test = d3([1.0, 1.0], [2.0, 2.0], 3)
    assert test.riv == -1.0
    assert np.isnan(test.statistic)


def test_one_value_is_its_own_plain_mean():
    with pytest.warns(PoolingWarning, match="left out"):
        pooled = pool_transformed([[3.0], [nan]], [[0.1], [0.1]], LOG)
    assert_allclose(pooled.mean, [3.0], rtol=1e-15)


def test_reiter_df_close_to_where_they_end():
    """mitml 0.4-4's .D1 with df.com = 8 at r = 0.5, m = 6, k = 2, where c2 = 0.045 is just above zero."""
    estimates = np.stack([spread(1.0, 0.5 / (1 + 1 / 6), 6)] * 2, axis=-1)
    test = d1(estimates, np.stack([np.eye(2)] * 6), dfcom=8.0)
    assert_allclose(test.df2, 4.0000267777506036, rtol=1e-10)
    assert test.note == ""


def test_one_null_value_in_a_list_holds_for_every_component():
    estimates, covariances = np.array([[1.0, 2.0], [2.0, 2.5], [3.0, 1.0]]), np.stack([np.eye(2)] * 3)
    assert d1(estimates, covariances, [0.5]).statistic == d1(estimates, covariances, 0.5).statistic


def test_estimates_without_an_axis_for_imputations_are_refused():
    with pytest.raises(PoolingError, match="estimates need at least 2 axes"):
        d1([1.0, 2.0], np.ones((2, 1, 1)))


def test_a_covariance_that_failed_names_the_imputation_in_a_batch_of_tests():
    covariances = np.ones((2, 4, 1, 1))
    covariances[0, 2] = nan
    with pytest.raises(PoolingError, match="covariances of imputation 3 "):
        d1(np.ones((2, 4, 1)), covariances)


def test_wald_statistics_are_taken_from_the_null_value():
    assert_allclose(wald_statistics([[3.0], [5.0]], [[[1.0]], [[2.0]]], 1.0), [4.0, 8.0], rtol=1e-12)


def test_a_failed_fit_of_a_batch_is_named_by_its_imputation():
    covariances, variances = np.ones((2, 4, 1, 1)), np.ones((2, 4, 1))
    covariances[0, 2], variances[0, 2] = nan, -1.0
    with pytest.raises(PoolingError, match="covariances of imputation 3 "):
        wald_statistics(np.ones((2, 4, 1)), covariances)
    with pytest.raises(PoolingError, match=r"Imputation 3 .*negative"):
        pool_transformed(np.ones((2, 4, 1)), variances, LOG)
