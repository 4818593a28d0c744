"""Rubin's rules in their limits, under transformations, in batches, and when they must refuse."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from pooling_oracles import spread, stack_fits
from scipy import integrate, stats

from reference_cases import load_case
from remlax.errors import PoolingError
from remlax.pooling import linear, pool_rubin, pool_scalars
from remlax.pooling.tails import f_upper, t_quantile, t_two_sided

COLUMNS = [
    "estimate",
    "std_error",
    "riv",
    "lambda_",
    "fmi",
    "df",
    "df_rubin1987",
    "dfcom",
    "statistic",
    "p_value",
    "conf_low",
    "conf_high",
    "relative_efficiency",
    "ubar",
    "b",
    "t",
]


def assert_same(left, right, rtol=1e-9, skip=()):
    for key in COLUMNS:
        if key not in skip:
            assert_allclose(getattr(left, key), getattr(right, key), rtol=rtol, atol=1e-12, err_msg=key)


# ---- limits


@pytest.mark.parametrize("dfcom", [3.0, 47.0, 1e6])
def test_identical_imputations(dfcom):
    q = np.tile([0.1, -1 / 3, 0.0], (7, 1))
    u = np.tile(np.diag([0.3, 1.1, 2.0]), (7, 1, 1))
    pool = pool_rubin(q, u, dfcom=dfcom)
    assert_array_equal(pool.b, 0.0)
    assert_array_equal(pool.riv, 0.0)
    assert_array_equal(pool.lambda_, 0.0)
    assert_array_equal(pool.estimate, q[0])
    assert_array_equal(pool.df_rubin1987, inf)
    assert_allclose(pool.t, u[0], rtol=1e-14)
    observed = dfcom * (dfcom + 1) / (dfcom + 3)
    assert_allclose(pool.df, observed, rtol=1e-13)
    assert_allclose(pool.fmi, 2 / (observed + 3), rtol=1e-13)
    assert_allclose(pool.p_value, 2 * stats.t.sf(np.abs(q[0]) / np.sqrt(np.diag(u[0])), observed), rtol=1e-12)


def test_identical_imputations_in_a_large_sample_give_the_normal_limit():
    pool = pool_scalars(np.full((4, 1), 2.0), np.full((4, 1), 0.25))
    assert pool.df[0] == inf
    assert pool.fmi[0] == 0.0
    assert_allclose(pool.p_value[0], 2 * stats.norm.sf(4.0), rtol=1e-13)
    assert_allclose([pool.conf_low[0], pool.conf_high[0]], 2 + 0.5 * stats.norm.ppf([0.025, 0.975]), rtol=1e-13)


def test_infinite_dfcom_is_rubin_1987_and_the_limit_of_large_ones():
    q, u = np.array([[1.0], [2.0], [4.0]]), np.full((3, 1), 2.0)
    infinite = pool_scalars(q, u)
    b = np.var(q, ddof=1)
    assert_allclose(infinite.df, 2 * (1 + 2.0 / (4 / 3 * b)) ** 2, rtol=1e-13)
    assert_same(infinite, pool_scalars(q, u, dfcom=1e12), skip=("dfcom",))


def test_no_within_variance():
    # all of the variance between: lambda = 1, df = m - 1 in a large sample, none left in a small one
    q = spread(3.0, 2.0, 4)[:, None]
    large = pool_scalars(q, np.zeros((4, 1)))
    assert_array_equal([large.lambda_[0], large.riv[0], large.fmi[0], large.df[0]], [1.0, inf, 1.0, 3.0])
    assert_allclose(large.std_error[0], np.sqrt(2.5), rtol=1e-12)
    small = pool_scalars(q, np.zeros((4, 1)), dfcom=20)
    assert_array_equal([small.df[0], small.p_value[0], small.conf_low[0], small.conf_high[0]], [0, 1, -inf, inf])


@pytest.mark.parametrize("dfcom", [inf, 20.0])
def test_aliased_parameter_without_any_variance(dfcom):
    pool = pool_rubin(np.tile([5.0, 0.0], (3, 1)), np.tile(np.diag([1.0, 0.0]), (3, 1, 1)), dfcom=dfcom)
    assert_array_equal([pool.std_error[1], pool.riv[1], pool.lambda_[1]], 0.0)
    assert np.isnan(pool.statistic[1])
    assert np.isnan(pool.p_value[1])
    assert_array_equal([pool.conf_low[1], pool.conf_high[1]], 0.0)
    assert np.isfinite(pool.p_value[0])


def test_lambda_near_one_and_two_imputations():
    pool = pool_scalars([[-1e8], [1e8]], [[1e-8], [1e-8]])
    assert pool.lambda_[0] == 1.0
    assert_allclose(pool.df[0], 1.0, rtol=1e-14)
    pool = pool_scalars([[0.0], [1.0]], [[1.5], [1.5]])
    # B = 1/2, (1 + 1/2) B = 3/4, r = 1/2: df = 1 * 3^2
    assert_allclose([pool.b[0], pool.riv[0], pool.df[0]], [0.5, 0.5, 9.0], rtol=1e-14)


def test_extreme_magnitudes_do_not_warn():
    tiny, huge = np.array([[1.0], [1.0 + 1e-15]]), np.array([[1e150], [-1e150]])
    assert np.isfinite(pool_scalars(tiny, np.full((2, 1), 1e200)).std_error).all()
    assert pool_scalars(huge, np.full((2, 1), 1e-300)).riv[0] == inf
    assert pool_scalars(tiny, np.full((2, 1), 1e200)).df[0] == inf


def test_conf_level_and_coverage_of_the_limits():
    q, u = np.array([[1.0], [2.0], [4.0]]), np.full((3, 1), 2.0)
    pool = pool_scalars(q, u, dfcom=30, conf_level=0.8)
    inside = stats.t.cdf((pool.conf_high - pool.estimate) / pool.std_error, pool.df)
    assert_allclose(2 * inside - 1, 0.8, rtol=1e-12)
    assert pool.conf_level == 0.8


# ---- tails


def test_t_tail_against_quadrature_and_its_limits():
    for x, df in ((0.7, 2.5), (3.0, 11.0), (6.0, 4.0)):
        area = integrate.quad(stats.t(df).pdf, x, np.inf, epsabs=0, epsrel=1e-12)[0]
        assert_allclose(t_two_sided(np.array(-x), np.array(df)), 2 * area, rtol=1e-9)
    assert t_two_sided(np.array(3.0), np.array(0.0)) == 1.0
    assert np.isnan(t_two_sided(np.array(nan), np.array(0.0)))
    assert t_quantile(0.95, np.array(0.0)) == inf
    assert np.isnan(t_quantile(0.95, np.array(nan)))
    assert_allclose(t_two_sided(np.array(30.0), np.array(inf)), 2 * stats.norm.sf(30.0), rtol=1e-12)


def test_f_tail_meets_chi_square_and_does_not_lose_small_p_values():
    assert_allclose(f_upper(np.array(40.0), 2, np.array(inf)), np.exp(-40.0), rtol=1e-12)
    assert_allclose(f_upper(np.array(40.0), 2, np.array(1e14)), np.exp(-40.0), rtol=1e-9)
    assert f_upper(np.array(-1.0), 2, np.array(inf)) == 1.0
    assert f_upper(np.array(-1.0), 2, np.array(5.0)) == 1.0


# ---- transformations and batches

sizes = st.tuples(st.integers(2, 6), st.integers(1, 4))
# quarters: equal numbers are exactly equal, and unequal ones differ by more than rounding
quarters = st.integers(-40, 40).map(lambda i: i / 4)


@st.composite
def imputations(draw):
    m, p = draw(sizes)
    q = draw(hnp.arrays(float, (m, p), elements=quarters))
    roots = draw(hnp.arrays(float, (m, p, p), elements=quarters))
    return q, roots @ roots.mT + 0.5 * np.eye(p), draw(st.sampled_from([3.0, 25.0, 400.0, inf]))


@settings(max_examples=60, deadline=None)
@given(imputations(), st.permutations(range(6)))
def test_order_of_imputations_does_not_matter(data, order):
    q, u, dfcom = data
    order = [i for i in order if i < len(q)]
    assert_same(pool_rubin(q, u, dfcom=dfcom), pool_rubin(q[order], u[order], dfcom=dfcom))


@settings(max_examples=60, deadline=None)
@given(imputations(), st.sampled_from([1e-6, 0.3, -2.0, 1e6]))
def test_units_of_the_response_do_not_matter(data, c):
    q, u, dfcom = data
    pool, scaled = pool_rubin(q, u, dfcom=dfcom), pool_rubin(c * q, c**2 * u, dfcom=dfcom)
    assert_allclose(scaled.estimate, c * pool.estimate, rtol=1e-9, atol=1e-12 * abs(c))
    assert_allclose(scaled.std_error, abs(c) * pool.std_error, rtol=1e-9)
    assert_allclose(scaled.statistic, np.sign(c) * pool.statistic, rtol=1e-9, atol=1e-12)
    limits = [pool.conf_low, pool.conf_high][:: 1 if c > 0 else -1]
    for ours, theirs in zip([scaled.conf_low, scaled.conf_high], limits, strict=True):
        assert_allclose(ours, c * theirs, rtol=1e-9, atol=1e-11 * abs(c))
    for key in ("riv", "lambda_", "fmi", "df", "df_rubin1987", "p_value", "relative_efficiency"):
        assert_allclose(getattr(scaled, key), getattr(pool, key), rtol=1e-8, err_msg=key)


@settings(max_examples=60, deadline=None)
@given(imputations())
def test_bounds_that_every_pool_obeys(data):
    q, u, dfcom = data
    pool = pool_rubin(q, u, dfcom=dfcom)
    m = len(q)
    assert (np.linalg.eigvalsh(pool.t - pool.ubar) > -1e-9 * np.abs(pool.t).max()).all()
    assert ((pool.lambda_ >= 0) & (pool.lambda_ < 1)).all()
    assert (pool.fmi >= pool.lambda_).all()
    assert (pool.fmi <= 1).all()
    assert (pool.df <= np.minimum(pool.df_rubin1987, dfcom) * (1 + 1e-12)).all()
    assert (pool.df_rubin1987 >= m - 1).all()
    assert (pool.conf_low < pool.estimate).all()
    # a 95% interval excludes zero exactly when p < 0.05
    assert_array_equal((pool.conf_low > 0) | (pool.conf_high < 0), pool.p_value < 0.05)
    # the harmonic form of Barnard and Rubin
    if np.isfinite(dfcom):
        observed = (1 - pool.lambda_) * dfcom * (dfcom + 1) / (dfcom + 3)
        assert_allclose(1 / pool.df, 1 / observed + pool.lambda_**2 / (m - 1), rtol=1e-9)


@settings(max_examples=40, deadline=None)
@given(imputations(), st.data())
def test_contrasts_equal_the_pooled_contrasts_of_each_fit(data, draw):
    q, u, dfcom = data
    L = draw.draw(hnp.arrays(float, (2, q.shape[1]), elements=st.integers(-3, 3).map(float)))
    combined = linear(pool_rubin(q, u), L, dfcom=dfcom)
    direct = pool_rubin(q @ L.T, L @ u @ L.T, dfcom=dfcom)
    # df runs to infinity as B -> 0, where rounding decides: its reciprocal is what is determined
    assert_same(combined, direct, skip=("df", "df_rubin1987", "statistic"))
    assert_allclose(1 / combined.df, 1 / direct.df, rtol=1e-9, atol=1e-12)
    assert_allclose(combined.statistic, direct.statistic, rtol=1e-9, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(imputations())
def test_scalars_equal_the_diagonal(data):
    q, u, dfcom = data
    pool, scalars = (
        pool_rubin(q, u, dfcom=dfcom),
        pool_scalars(q, np.diagonal(u, axis1=1, axis2=2), dfcom=dfcom),
    )
    assert_same(pool, scalars, skip=("ubar", "b", "t"))
    for key in ("ubar", "b", "t"):
        assert_allclose(np.diagonal(getattr(pool, key)), getattr(scalars, key), rtol=1e-12)


def test_unit_contrasts_return_the_parameters():
    _, q, u = stack_fits(load_case("studentratings_k20")[0])
    pool = pool_rubin(q, u, dfcom=[9, 20, 30, 40, inf])
    assert_same(pool, linear(pool, np.eye(5), dfcom=pool.dfcom))


def test_a_contrast_that_does_not_vary_between_imputations():
    # q1 - q2 is the same in each imputation: L B L' is zero, and may be -1e-16 in floating point
    x = np.array([-0.8, -1.3, -0.2, 0.4])
    pool = pool_rubin(np.stack([x, x + 0.3], axis=1), np.tile(np.eye(2), (4, 1, 1)))
    contrast = linear(pool, [[1.0, -1.0]])
    assert 0 <= contrast.riv[0] < 1e-14
    assert_allclose(contrast.estimate, -0.3, rtol=1e-12)
    below = replace(pool, b=np.array([[1.0, 1.0], [1.0, 1.0 - 2.0**-53]]))
    contrast = linear(below, [[1.0, -1.0]])
    assert_array_equal([contrast.riv[0], contrast.lambda_[0], contrast.df[0]], [0.0, 0.0, inf])


def test_leading_axes_are_replications():
    rng = np.random.default_rng(1)
    q = rng.normal(size=(3, 2, 5, 4))
    root = rng.normal(size=(3, 2, 5, 4, 4))
    u = root @ root.mT
    dfcom = rng.uniform(5, 50, size=(3, 2, 4))
    batch = pool_rubin(q, u, dfcom=dfcom)
    scalars = pool_scalars(q, np.diagonal(u, axis1=-2, axis2=-1), dfcom=dfcom)
    contrasts = linear(batch, [[1.0, 1.0, 0, 0]], dfcom=dfcom[..., :1])
    for i in np.ndindex(3, 2):
        one = pool_rubin(q[i], u[i], dfcom=dfcom[i])
        contrast = linear(one, [[1.0, 1.0, 0, 0]], dfcom=dfcom[i][:1])
        for key in COLUMNS:
            assert_allclose(getattr(batch, key)[i], getattr(one, key), rtol=1e-12, err_msg=key)
            assert_allclose(getattr(contrasts, key)[i], getattr(contrast, key), rtol=1e-12, err_msg=key)
        assert_allclose(scalars.df[i], one.df, rtol=1e-12)


# ---- refusals


def ones(m, p):
    return np.ones((m, p)), np.tile(np.eye(p), (m, 1, 1))


def test_one_imputation_is_refused_with_a_sentence():
    with pytest.raises(PoolingError, match="at least two imputations, and there is one: the spread"):
        pool_rubin(*ones(1, 2))
    with pytest.raises(PoolingError, match="there is none"):
        pool_scalars(np.ones((0, 2)), np.ones((0, 2)))


def test_values_that_are_not_finite_name_the_imputation():
    q, u = ones(5, 2)
    bad = q.copy()
    bad[[1, 4], 0] = nan
    with pytest.raises(PoolingError, match=r"estimates of imputations 2, 5 \(counted from 1\)"):
        pool_rubin(bad, u)
    worse = u.copy()
    worse[2, 0, 1] = inf
    with pytest.raises(PoolingError, match=r"covariances of imputation 3 \(counted from 1\)"):
        pool_rubin(q, worse)
    with pytest.raises(PoolingError, match=r"variances of imputation 1 "):
        pool_scalars(q, np.where(np.arange(5)[:, None] == 0, nan, q))
    with pytest.raises(PoolingError, match=r"imputation 4 "):
        pool_scalars(np.where(np.arange(5)[:, None] == 3, nan, np.ones((2, 5, 3))), np.ones((2, 5, 3)))
    with pytest.raises(PoolingError, match=r"imputations 1, 2, 3, 4, 5, 6, 7, 8, \.\.\. "):
        pool_scalars(np.full((9, 1), nan), np.ones((9, 1)))


def test_negative_variance_names_the_imputation():
    q, u = ones(3, 2)
    u[1, 1, 1] = -1e-3
    with pytest.raises(PoolingError, match=r"Imputation 2 \(counted from 1\): a variance is negative"):
        pool_rubin(q, u)
    with pytest.raises(PoolingError, match=r"Imputation 3 .*negative"):
        pool_scalars(np.ones((3, 1)), [[1.0], [1.0], [-1.0]])


@pytest.mark.parametrize("dfcom", [0.0, -3.0, nan, [1.0, nan]])
def test_dfcom_must_be_positive(dfcom):
    with pytest.raises(PoolingError, match=r"must be positive numbers; math\.inf stands"):
        pool_rubin(*ones(3, 2), dfcom=dfcom)


def test_shapes_that_do_not_fit():
    q, u = ones(3, 2)
    with pytest.raises(PoolingError, match=r"covariances need at least 3 axes, and have the shape \(3, 2\)"):
        pool_rubin(q, u[:, 0])
    with pytest.raises(PoolingError, match=r"estimates of shape \(3, 2\) need \(3, 2, 2\)"):
        pool_rubin(q, u[:2])
    with pytest.raises(PoolingError, match=r"at least 2 axes, and have the shape \(3,\)"):
        pool_rubin(q[:, 0], u)
    with pytest.raises(PoolingError, match="cannot be read as one array of numbers"):
        pool_rubin([["a", "b"]] * 3, u)
    with pytest.raises(PoolingError, match=r"variances have the shape \(3, 1\)"):
        pool_scalars(q, q[:, :1])
    with pytest.raises(PoolingError, match=r"shape \(3,\); one number or an array that broadcasts to \(2,\)"):
        pool_rubin(q, u, dfcom=[1.0, 2.0, 3.0])
    pool = pool_rubin(q, u)
    with pytest.raises(PoolingError, match="needs 2 axes and 2 columns"):
        linear(pool, np.ones((1, 3)))
    with pytest.raises(PoolingError, match="q0 has the shape"):
        linear(pool, np.ones((1, 2)), [1.0, 2.0])
    with pytest.raises(PoolingError, match="finite numbers only"):
        linear(pool, [[nan, 1.0]])


@pytest.mark.parametrize("level", [0.0, 1.0, 95, nan])
def test_conf_level_must_lie_between_0_and_1(level):
    with pytest.raises(PoolingError, match=r"between 0 and 1, such as 0\.95"):
        pool_rubin(*ones(2, 1), conf_level=level)
