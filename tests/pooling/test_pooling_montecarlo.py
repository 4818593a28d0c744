"""Monte Carlo error by the jackknife, and the number of imputations."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pooling_oracles import R_NUMBERS, stack_fits

from reference_cases import load_case
from remlax.errors import PoolingError
from remlax.pooling import how_many_imputations, jackknife_error, mean_error, pool_scalars

QUANTITIES = [
    "estimate",
    "std_error",
    "df",
    "statistic",
    "p_value",
    "conf_low",
    "conf_high",
    "riv",
    "lambda_",
    "fmi",
]


@pytest.mark.parametrize("dfcom", [inf, [40.0, 50, 60, 70, 80]])
def test_jackknife_is_the_error_of_the_mean_pseudo_value(dfcom):
    _, q, u = stack_fits(load_case("studentratings_k20")[0])
    u = np.diagonal(u, axis1=1, axis2=2)
    m = len(q)
    error = jackknife_error(q, u, dfcom=dfcom, conf_level=0.9)
    whole = pool_scalars(q, u, dfcom=dfcom, conf_level=0.9)
    for name in QUANTITIES:
        pseudo = []
        for k in range(m):
            rest = pool_scalars(np.delete(q, k, axis=0), np.delete(u, k, axis=0), dfcom=dfcom, conf_level=0.9)
            pseudo.append(m * getattr(whole, name) - (m - 1) * getattr(rest, name))
        expected = np.std(pseudo, axis=0, ddof=1) / np.sqrt(m)
        assert_allclose(getattr(error, name), expected, rtol=1e-8, err_msg=name)
        assert (expected > 0).all()


def test_error_of_the_estimate_has_a_closed_form():
    _, q, u = stack_fits(load_case("hsb_vignette")[0])
    u = np.diagonal(u, axis1=1, axis2=2)
    pool = pool_scalars(q, u)
    assert_allclose(jackknife_error(q, u).estimate, np.sqrt(pool.b / 5), rtol=1e-9)
    assert_allclose(mean_error(pool.b, 5), q.std(axis=0, ddof=1) / np.sqrt(5), rtol=1e-12)


def test_jackknife_follows_the_units_and_the_order():
    _, q, u = stack_fits(load_case("hsb_vignette")[0])
    u = np.diagonal(u, axis1=1, axis2=2)
    error, scaled = jackknife_error(q, u, dfcom=155), jackknife_error(1e3 * q[::-1], 1e6 * u[::-1], dfcom=155)
    for name in QUANTITIES:
        factor = 1e3 if name in ("estimate", "std_error", "conf_low", "conf_high") else 1.0
        assert_allclose(getattr(scaled, name), factor * getattr(error, name), rtol=1e-7, err_msg=name)


def test_identical_imputations_have_no_error():
    error = jackknife_error(np.full((4, 1), 0.3), np.full((4, 1), 0.1), dfcom=20)
    for name in QUANTITIES:
        assert_array_equal(getattr(error, name), 0.0, err_msg=name)
    # an infinite df has no error that could be computed
    assert np.isnan(jackknife_error(np.full((4, 1), 0.3), np.full((4, 1), 0.1)).df[0])


def test_batches():
    rng = np.random.default_rng(2)
    q, u = rng.normal(size=(3, 5, 2)), rng.uniform(1, 2, size=(3, 5, 2))
    dfcom = np.array([[10.0, 20], [30, 40], [50, 60]])
    batch = jackknife_error(q, u, dfcom=dfcom)
    for i in range(3):
        one = jackknife_error(q[i], u[i], dfcom=dfcom[i])
        for name in QUANTITIES:
            assert_allclose(getattr(batch, name)[i], getattr(one, name), rtol=1e-10)


def test_von_hippel_rule_against_r():
    expected = {key: np.array(values) for key, values in R_NUMBERS["how_many"].items()}
    for i in range(len(expected["fmi"])):
        m, cv, conf = int(expected["m"][i]), expected["cv"][i], expected["conf"][i]
        answer = how_many_imputations(expected["fmi"][i], m, cv=cv, conf_level=conf)
        assert_allclose(answer.fmi_upper, expected["upper"][i], rtol=1e-12)
        assert answer.m == max(expected["needed"][i], 2)
        assert (answer.m_pilot, answer.cv, answer.conf_level) == (m, cv, conf)


def test_von_hippel_rule_in_closed_form():
    # fmi = 1: 1 + (1 / 0.05)^2 / 2 = 201; fmi = 0: one would do, but two are the fewest that can be pooled
    answer = how_many_imputations([0.0, 1.0, 0.5], 10**9)
    assert_array_equal(answer.by_coefficient, [2, 201, 52])
    assert answer.m == 201
    assert_array_equal(answer.fmi_upper[:2], [0.0, 1.0])


def test_refusals():
    one = np.ones((3, 1))
    cases = [
        (lambda: jackknife_error(one[:2], one[:2]), "at least three"),
        (lambda: jackknife_error(one[:1], one[:1]), "at least two imputations"),
        (lambda: jackknife_error(one, one[:2]), "variances have the shape"),
        (lambda: jackknife_error(one, one, dfcom=0), "must be positive"),
        (lambda: mean_error(1.0, 1), "at least two"),
        (lambda: mean_error(-1.0, 3), "negative"),
        (lambda: how_many_imputations(1.2, 5), "between 0 and 1"),
        (lambda: how_many_imputations([0.2, nan], 5), "between 0 and 1"),
        (lambda: how_many_imputations([], 5), "between 0 and 1"),
        (lambda: how_many_imputations(0.2, 1), "at least two"),
        (lambda: how_many_imputations(0.2, 5, cv=0.0), "cv=0.0 must be a positive number"),
        (lambda: how_many_imputations(0.2, 5, conf_level=1.0), "conf_level"),
    ]
    for call, message in cases:
        with pytest.raises(PoolingError, match=message):
            call()
