"""Pooling on transformed scales: derivatives, worked numbers, and lanes on the boundary."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pooling_oracles import spread
from scipy import stats

from reference_cases import load_case
from remlax.errors import PoolingError, PoolingWarning
from remlax.pooling import FISHER_Z, LOG, LOGIT, R_SQUARED, REDUCTION, pool_scalars, pool_transformed

GRIDS = {
    "log": (LOG, np.array([1e-6, 0.3, 1.0, 27.967, 1e5])),
    "fisher_z": (FISHER_Z, np.array([-0.999, -0.3, 1e-4, 0.5, 0.99])),
    "logit": (LOGIT, np.array([1e-6, 0.1076, 0.5, 0.999])),
    "fisher_z_of_r": (R_SQUARED, np.array([1e-3, 0.1465, 0.5, 0.99])),
    "log_ratio": (REDUCTION, np.array([-20.0, -0.1, 0.33, 0.99])),
}


@pytest.mark.parametrize("name", GRIDS)
def test_inverse_and_derivatives(name):
    scale, x = GRIDS[name]
    assert scale.name == name
    z = scale.forward(x)
    assert_allclose(scale.inverse(z), x, rtol=1e-9)
    # central differences: error of the order step^2 + 1e-16 / step
    step = 1e-5 * np.minimum(x - scale.low, np.minimum(scale.high - x, x - scale.low))
    slope = (scale.forward(x + step) - scale.forward(x - step)) / (2 * step)
    assert_allclose(scale.derivative(x), slope, rtol=1e-6)
    slope = (scale.inverse(z + 1e-5) - scale.inverse(z - 1e-5)) / 2e-5
    assert_allclose(scale.inverse_derivative(z), slope, rtol=1e-6)
    assert_allclose(scale.derivative(x) * scale.inverse_derivative(z), 1.0, rtol=1e-9)
    assert (np.diff(z) > 0).all()


def test_forward_is_the_textbook_function():
    assert_allclose(LOG.forward(np.array(10.0)), 2.302585092994046)
    assert_allclose(FISHER_Z.forward(np.array(0.5)), np.log(3) / 2)
    assert_allclose(LOGIT.forward(np.array(0.2)), np.log(0.25))
    assert_allclose(R_SQUARED.forward(np.array(0.25)), np.log(3) / 2)
    assert_allclose(REDUCTION.forward(np.array(0.9)), np.log(10.0))
    # a limit below zero is a share of zero
    assert R_SQUARED.inverse(np.array(-0.1)) == 0
    # far out the derivative vanishes without a warning
    assert_allclose(FISHER_Z.inverse_derivative(np.array([-1e6, 1e6])), 0.0, atol=1e-300)


def test_worked_numbers_of_log_standard_deviations():
    # studentratings, five imputations: mean and U, B of log SD of the intercept and of log sigma
    mean, within, between = [3.3310255, 4.3889115], [0.024990849, 7.1626438e-4], [8.8258961e-4, 8.0659714e-5]
    values = np.exp(np.stack([spread(q, b, 5) for q, b in zip(mean, between, strict=True)], axis=1))
    pooled = pool_transformed(values, np.tile(within, (5, 1)), LOG)
    assert_allclose(pooled.t, [0.026049956, 8.1305603e-4], rtol=1e-7)
    assert_allclose(pooled.transformed.df, [2419.9, 282.2], atol=0.05)
    assert_allclose(pooled.estimate, [27.967, 80.553], atol=5e-4)
    assert_allclose(pooled.conf_low, [20.379, 76.156], atol=5e-4)
    assert_allclose(pooled.conf_high, [38.379, 85.203], atol=5e-4)
    assert_allclose(pooled.std_error[0], 4.514, atol=5e-4)
    assert_array_equal(pooled.m_used, 5)
    assert not pooled.excluded.any()
    assert (pooled.scale, pooled.m) == ("log", 5)


@pytest.mark.parametrize("scale", [LOG, FISHER_Z, LOGIT, REDUCTION], ids=lambda s: s.name)
def test_equals_rubins_rules_on_the_transformed_values(scale):
    phi = np.array([[0.1, -0.4], [0.3, 0.2], [-0.2, 0.9], [0.25, 0.4]])
    u = np.array([[0.02, 0.1], [0.03, 0.2], [0.02, 0.1], [0.01, 0.3]])
    pooled = pool_transformed(scale.inverse(phi), u, scale, dfcom=[30, inf], conf_level=0.9)
    direct = pool_scalars(phi, u, dfcom=[30, inf], conf_level=0.9)
    for key in ("estimate", "std_error", "riv", "lambda_", "fmi", "df", "statistic", "p_value"):
        assert_allclose(getattr(pooled.transformed, key), getattr(direct, key), rtol=1e-10, err_msg=key)
    for key in ("ubar", "b", "t"):
        assert_allclose(getattr(pooled, key), getattr(direct, key), rtol=1e-10, err_msg=key)
    for key in ("estimate", "conf_low", "conf_high"):
        assert_allclose(getattr(pooled, key), scale.inverse(getattr(direct, key)), rtol=1e-10, err_msg=key)
    # delta method: the slope of the back-transformation times the standard error
    slope = (scale.inverse(direct.estimate + 1e-6) - scale.inverse(direct.estimate - 1e-6)) / 2e-6
    assert_allclose(pooled.std_error, slope * direct.std_error, rtol=1e-6)
    assert_allclose(pooled.mean, scale.inverse(phi).mean(axis=0), rtol=1e-12)


def test_units_of_standard_deviations():
    sd, u = np.array([[1.0], [1.3], [0.8]]), np.full((3, 1), 0.05)
    one, thousand = pool_transformed(sd, u, LOG, dfcom=20), pool_transformed(1000 * sd, u, LOG, dfcom=20)
    for key in ("estimate", "std_error", "conf_low", "conf_high", "mean"):
        assert_allclose(getattr(thousand, key), 1000 * getattr(one, key), rtol=1e-12, err_msg=key)
    assert_allclose(thousand.transformed.df, one.transformed.df, rtol=1e-10)


def test_plain_means_are_those_of_the_reference():
    case, _ = load_case("studentratings_k5")
    sd = np.array([[fit["varcorr"][0]["sd"][0], fit["sigma"]] for fit in case["fits"]])
    pooled = pool_transformed(sd**2, np.full(sd.shape, 0.05), LOG)
    mitml = case["pooled"]["mitml_testEstimates"]["extra_pars"]
    assert_allclose(pooled.mean, [mitml["Intercept~~Intercept|ID"], mitml["Residual~~Residual"]], rtol=1e-9)
    share = sd[:, :1] ** 2 / (sd**2).sum(axis=1, keepdims=True)
    icc = pool_transformed(share, np.full((5, 1), 0.05), LOGIT)
    assert_allclose(icc.mean, mitml["ICC|ID"], rtol=1e-9)
    # Jensen: the log is concave
    assert (pooled.estimate < pooled.mean).all()


def test_identical_imputations():
    pooled = pool_transformed(np.full((4, 1), 0.1), np.full((4, 1), 0.04), LOG)
    assert pooled.b[0] == 0
    assert_allclose(pooled.estimate, 0.1, rtol=1e-14)
    assert_allclose(pooled.conf_high, 0.1 * np.exp(0.2 * stats.norm.ppf(0.975)), rtol=1e-12)


# ---- the boundary


def test_lanes_on_the_boundary_are_left_out_counted_and_named():
    sd = np.array([[1.0, 2.0], [0.0, 2.2], [1.4, 2.1], [0.0, 1.9], [1.2, 2.0]])
    u = np.where(sd > 0, 0.05, nan)
    with pytest.warns(PoolingWarning, match=r"Left out: SD of ses: 2 of 5 \(imputations 2, 4\)\.$"):
        pooled = pool_transformed(sd, u, LOG, dfcom=50, names=["SD of ses", "sigma"])
    assert_array_equal(pooled.m_used, [3, 5])
    assert_array_equal(pooled.excluded, sd == 0)
    keep = [0, 2, 4]
    three = pool_transformed(sd[keep, :1], u[keep, :1], LOG, dfcom=50)
    five = pool_transformed(sd[:, 1:], u[:, 1:], LOG, dfcom=50)
    for key in ("estimate", "std_error", "conf_low", "conf_high"):
        assert_allclose(getattr(pooled, key), np.append(getattr(three, key), getattr(five, key)), rtol=1e-13)
    for key in ("df", "fmi", "riv", "df_rubin1987", "relative_efficiency"):
        expected = np.append(getattr(three.transformed, key), getattr(five.transformed, key))
        assert_allclose(getattr(pooled.transformed, key), expected, rtol=1e-12, err_msg=key)
    for key in ("ubar", "b", "t"):
        assert_allclose(getattr(pooled, key), np.append(getattr(three, key), getattr(five, key)), rtol=1e-12)
    # the plain mean keeps the zeros
    assert_allclose(pooled.mean, sd.mean(axis=0), rtol=1e-13)


def test_fewer_than_two_interior_lanes_leave_no_inference():
    rho = np.array([[1.0, -1.0], [0.4, 1.0], [-1.0, nan]])
    with pytest.warns(PoolingWarning, match=r"parameter 1: 2 of 3 .*1, 3\); parameter 2: 3 of 3"):
        pooled = pool_transformed(rho, np.full((3, 2), 0.1), FISHER_Z)
    assert_array_equal(pooled.m_used, [1, 0])
    for key in ("estimate", "std_error", "conf_low", "conf_high", "ubar", "b", "t"):
        assert np.isnan(getattr(pooled, key)).all(), key
    for key in ("riv", "lambda_", "fmi", "df", "df_rubin1987", "statistic", "p_value", "conf_low"):
        assert np.isnan(getattr(pooled.transformed, key)).all(), key
    # means over the values there are
    assert_allclose(pooled.mean, [0.4 / 3, 0.0], atol=1e-15)


def test_a_value_without_a_variance_is_left_out_too():
    u = np.full((3, 1), 0.1)
    u[1] = nan
    with pytest.warns(PoolingWarning, match=r"without a variance.*1 of 3 \(imputation 2\)"):
        pooled = pool_transformed([[1.0], [5.0], [2.0]], u, LOG)
    assert_allclose(pooled.estimate, np.sqrt(2.0), rtol=1e-13)
    assert_allclose(pooled.mean, 8 / 3, rtol=1e-13)


def test_no_value_at_all():
    with pytest.warns(PoolingWarning, match="2 of 2"):
        pooled = pool_transformed(np.full((2, 1), nan), np.full((2, 1), nan), FISHER_Z)
    assert np.isnan(pooled.mean).all()


def test_batches():
    rng = np.random.default_rng(5)
    sd = rng.uniform(0.5, 2, size=(3, 4, 2))
    sd[1, 2, 0] = 0.0
    u = rng.uniform(0.01, 0.1, size=(3, 4, 2))
    with pytest.warns(PoolingWarning, match="parameter 1: 1 of 12 values"):
        batch = pool_transformed(sd, u, LOG)
    assert_array_equal(batch.m_used, [[4, 4], [3, 4], [4, 4]])
    for i in (0, 2):
        one = pool_transformed(sd[i], u[i], LOG)
        for key in ("estimate", "std_error", "conf_low", "conf_high", "mean", "b"):
            assert_allclose(getattr(batch, key)[i], getattr(one, key), rtol=1e-12)


def test_refusals():
    good, u = np.full((3, 1), 0.5), np.full((3, 1), 0.1)
    cases = [
        (lambda: pool_transformed(good[:1], u[:1], LOG), "at least two imputations"),
        (lambda: pool_transformed(good, u[:2], LOG), r"variances have the shape \(2, 1\)"),
        (
            lambda: pool_transformed([[1.0], [-0.1]], u[:2], LOG),
            r"'log' holds values from 0 to inf; .* imputation 2 ",
        ),
        (lambda: pool_transformed([[1.0], [inf]], u[:2], LOG), "imputation 2 .* lie outside or are infinite"),
        (lambda: pool_transformed([[1.0], [1.1]], u[:2], FISHER_Z), "from -1 to 1; those of imputation 2"),
        (lambda: pool_transformed(good, [[0.1], [-0.1], [0.1]], LOGIT), "Imputation 2 .* negative"),
        (
            lambda: pool_transformed(good, [[0.1], [inf], [0.1]], LOGIT),
            "imputation 2 .* are infinite; hand in NaN",
        ),
        (lambda: pool_transformed(good, u, LOG, dfcom=-1), "must be positive"),
        (lambda: pool_transformed(good, u, LOG, conf_level=2), "between 0 and 1"),
    ]
    for call, message in cases:
        with pytest.raises(PoolingError, match=message):
            call()
