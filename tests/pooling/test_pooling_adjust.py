"""Adjusted p-values against R, closed forms and brute force."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from pooling_oracles import R_NUMBERS, number
from scipy import integrate, stats

from remlax.errors import PoolingError
from remlax.pooling import adjust_p_values, dunnett_p_value, tukey_p_value
from remlax.pooling.tails import f_upper

R = R_NUMBERS["adjust"]


@pytest.mark.parametrize("method", ["holm", "bonferroni"])
def test_p_adjust_of_r(method):
    assert_allclose(adjust_p_values(R["p"], method), R[method], rtol=1e-13)


def test_sidak_and_none():
    p = np.array([1e-12, 0.01, 0.3, 1.0])
    expected = [4e-12 - 6e-24, 1 - 0.99**4, 1 - 0.7**4, 1.0]
    assert_allclose(adjust_p_values(p, "sidak"), expected, rtol=1e-13)
    assert_array_equal(adjust_p_values(p, "none"), p)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_holm_rejects_what_the_step_down_procedure_rejects(p):
    adjusted = adjust_p_values(p, "holm")
    for alpha in (0.01, 0.05, 0.2):
        rejected, order = np.zeros(len(p), bool), np.argsort(p, kind="stable")
        for step, i in enumerate(order):
            # the same product as the procedure's p <= alpha / (n - step), without a second rounding
            if (len(p) - step) * p[i] > alpha:
                break
            rejected[i] = True
        assert_array_equal(adjusted <= alpha, rejected)
    assert (adjusted >= p).all()
    assert (adjusted <= adjust_p_values(p, "bonferroni") + 1e-15).all()


def test_missing_p_values_do_not_count():
    p = [0.01, nan, 0.04]
    assert_allclose(adjust_p_values(p, "holm"), [0.02, nan, 0.04])
    assert_allclose(adjust_p_values(p, "bonferroni"), [0.02, nan, 0.08])
    assert_allclose(adjust_p_values(p, "sidak"), [1 - 0.99**2, nan, 1 - 0.96**2])
    assert_array_equal(adjust_p_values([nan, nan], "holm"), [nan, nan])


@pytest.mark.parametrize("method", ["none", "bonferroni", "holm", "sidak"])
def test_families_lie_along_the_last_axis(method):
    p = np.random.default_rng(1).uniform(0, 0.3, size=(2, 3, 4))
    batch = adjust_p_values(p, method)
    for i in np.ndindex(2, 3):
        assert_allclose(batch[i], adjust_p_values(p[i], method), rtol=1e-14)


def test_ptukey_of_r():
    table = {key: np.array([number(v) for v in values]) for key, values in R_NUMBERS["tukey"].items()}
    # at 4 degrees of freedom R's quadrature is off by up to 2e-6 (see t for two means, and the test below)
    for n in (2, 3, 6):
        for few, atol in ((True, 2e-6), (False, 1e-10)):
            rows = (table["n_means"] == n) & ((table["df"] == 4) == few)
            ours = tukey_p_value(table["t"][rows], n, table["df"][rows])
            assert_allclose(ours, table["p"][rows], rtol=1e-9, atol=atol)


@pytest.mark.parametrize(("t", "n", "df"), [(2.5, 3, 4.0), (7.0, 3, 4.0), (2.5, 6, 4.0)])
def test_tukey_by_quadrature(t, n, df):
    def beyond(width):
        """P(range of n standard normal variables > width), from its upper tail."""
        z = np.linspace(-9, 9 + width, 3001)
        inside = 1 - stats.norm.cdf(z - width) / stats.norm.cdf(z)
        return n * integrate.simpson(stats.norm.pdf(z) * stats.norm.cdf(z) ** (n - 1) * (1 - inside ** (n - 1)), x=z)

    def integrand(s):
        return beyond(np.sqrt(2) * t * s) * 2 * df * s * stats.chi2.pdf(df * s * s, df)

    expected = integrate.quad(integrand, 0, 6, epsabs=1e-12, epsrel=1e-9, limit=200)[0]
    assert_allclose(tukey_p_value(t, n, df), expected, rtol=1e-7)


def test_two_means_need_no_adjustment():
    t = np.array([-0.3, 1.0, 2.5, 4.0, 40.0])
    assert_allclose(tukey_p_value(t, 2, 13.0), 2 * stats.t.sf(np.abs(t), 13), rtol=1e-12)


def test_tukey_far_out_is_positive_and_bounded():
    p, single = tukey_p_value([9.0, 40.0], 4, inf), 2 * stats.norm.sf([9.0, 40.0])
    assert (p >= single).all()
    assert (p <= 6 * single).all()
    assert p[0] > 0


def test_tukey_lies_between_unadjusted_and_bonferroni_and_keeps_nan():
    p = tukey_p_value([nan, 2.0, 2.0], 4, [nan, 9.0, inf])
    assert np.isnan(p[0])
    single = 2 * stats.t.sf(2.0, [9.0, inf])
    assert (p[1:] > single).all()
    assert (p[1:] < 6 * single).all()


@pytest.mark.parametrize(("n", "df", "atol"), [(2, 5.5, 1e-5), (4, 5.5, 1e-5), (4, inf, 1e-5), (8, inf, 1e-4)])
def test_dunnett_by_quadrature(n, df, atol):
    """Equal correlations of 0.5: a normal variable that all share, and the estimate of scale."""
    z, s = np.linspace(-9, 9, 401), np.linspace(1e-3, 5, 401)[:, None] if np.isfinite(df) else np.ones((1, 1))
    t = np.resize([1.5, 4.0, 2.5, 0.3], n)
    expected = []
    for c in t:
        inside = stats.norm.cdf(np.sqrt(2) * c * s - z) - stats.norm.cdf(-np.sqrt(2) * c * s - z)
        beyond = integrate.simpson(stats.norm.pdf(z) * (1 - inside**n), x=z)
        density = 2 * df * s * stats.chi2.pdf(df * s * s, df) if np.isfinite(df) else None
        expected.append(beyond[0] if density is None else integrate.simpson(beyond * density[:, 0], x=s[:, 0]))
    found = dunnett_p_value(t, 0.5 + 0.5 * np.eye(n), df)
    assert_allclose(found, expected, rtol=0.1)
    assert_allclose(found, expected, atol=atol)
    np.testing.assert_array_equal(found, dunnett_p_value(-t, 0.5 + 0.5 * np.eye(n), df))


def test_dunnett_of_comparisons_that_follow_from_each_other():
    # the same comparison three times, and once with the other sign, is one comparison
    sign = np.array([1.0, 1.0, 1.0, -1.0])
    assert_allclose(dunnett_p_value(2.0 * sign, np.outer(sign, sign), 9.0), 2 * stats.t.sf(2.0, 9), rtol=1e-6)
    assert_allclose(dunnett_p_value([2.0], [[1.0]], 9.0), 2 * stats.t.sf(2.0, 9))
    p = dunnett_p_value([2.0, nan, 0.0, inf], 0.5 + 0.5 * np.eye(4), [9.0, nan, 9.0, inf])
    assert np.isnan(p[1])
    assert p[2:].tolist() == [1.0, 0.0]


def test_pf_of_r():
    table = {key: np.array(values, float) for key, values in R_NUMBERS["f_tails"].items()}
    for x, df1, df2, p in zip(*(table[key] for key in ("x", "df1", "df2", "p")), strict=True):
        # pbeta and SciPy's incomplete beta agree to 1e-10 far out at 1e8 degrees of freedom
        assert_allclose(f_upper(np.array(x), df1, np.array(df2)), p, rtol=1e-9)


def test_refusals():
    cases = [
        (lambda: adjust_p_values([0.1, 1.2]), "between 0 and 1"),
        (lambda: adjust_p_values(0.1), "at least 1 axes"),
        (lambda: adjust_p_values([0.1], "fdr"), "method='fdr' is not known"),
        (lambda: tukey_p_value(1.0, 1, 5), "at least two means; there are 1"),
        (lambda: tukey_p_value(1.0, 3, 0), "degrees of freedom of a comparison must be positive"),
        (lambda: tukey_p_value([1.0, 2.0], 3, [5.0, nan]), "must be positive"),
        (lambda: dunnett_p_value([1.0, 2.0], np.eye(3), 5), r"2 comparisons need correlations of shape \(2, 2\)"),
        (lambda: dunnett_p_value([1.0, 2.0], [[1, 2], [2, 1]], 5), "not those of any estimates"),
        (lambda: dunnett_p_value([1.0, 2.0], np.eye(2), [5.0, 0.0]), "must be positive"),
    ]
    for call, message in cases:
        with pytest.raises(PoolingError, match=message):
            call()
