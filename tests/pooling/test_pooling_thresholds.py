"""Where a rule of pooling changes its form, from both sides; which axis is which; what is refused at the edge."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pooling_oracles import spread
from scipy import stats

from remlax.errors import PoolingError
from remlax.pooling import chibar_p_value, chibar_weights, d1, d2, d4


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
