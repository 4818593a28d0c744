"""Monte Carlo error against the jackknife written out, and the number of imputations against its formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import remlax as rx
from fitted_cases import fits_case
from remlax.errors import DataError, PoolingError
from remlax.fitting.selection import Selection


def written_out(fits, effects):
    """Standard errors of the jackknife from pooled lists of fits that lack one each."""
    m = len(fits)
    tables = []
    for out in range(m):
        rest = rx.LmerFitList(fits.selection.take(tuple(k for k in range(m) if k != out)))
        tables.append(rest.pool(dfcom=60).tidy(effects).select_dtypes("number"))
    values = np.stack([table.to_numpy(dtype=float) for table in tables])
    return dict(zip(tables[0].columns, (np.sqrt((m - 1) * values.var(axis=0))).T, strict=True))


@pytest.mark.parametrize("effects", ["fixed", "ran_pars"])
def test_jackknife(effects):
    _, fits = fits_case("hsb_vignette")
    table = fits.pool(dfcom=60).mcerror(effects)
    expected = written_out(fits, effects)
    for column in ("estimate", "std_error", "df", "conf_low", "conf_high", "riv", "lambda", "fmi"):
        assert_allclose(table[column], expected[column], rtol=1e-8, atol=1e-12)
    assert table.attrs["n_imputations"] == 5
    assert table["term"].tolist() == fits.pool().tidy(effects)["term"].tolist()
    if effects == "ran_pars":
        assert_allclose(table["mean_sd"], expected["mean_sd"], rtol=1e-8)


def test_error_of_a_coefficient_is_that_of_a_mean():
    _, fits = fits_case("studentratings_k5")
    pooled = fits.pool()
    assert_allclose(pooled.mcerror()["estimate"], np.sqrt(pooled.tidy()["b"] / 5), rtol=1e-10)


def test_refusals():
    _, fits = fits_case("hsb_vignette")
    for effects in ("fixed", "ran_pars"):
        with pytest.raises(PoolingError, match="needs at least three of them"):
            fits[:2].pool().mcerror(effects)
    with pytest.raises(DataError, match="effects='ran_vals' is not known: use 'fixed' or 'ran_pars'"):
        fits.pool().mcerror("ran_vals")
    with pytest.raises(DataError, match="takes a pooled model, not LmerFitList"):
        rx.how_many_imputations(fits)


def test_number_of_imputations():
    _, fits = fits_case("studentratings_k20")
    pooled = fits.pool()
    table = rx.how_many_imputations(pooled, 0.1, conf_level=0.9)
    fmi = pooled.tidy()["fmi"].to_numpy()
    z = np.log(fmi / (1 - fmi)) + stats.norm.ppf(0.95) * np.sqrt(2 / 20)
    upper = 1 / (1 + np.exp(-z))
    assert_allclose(table["fmi_upper"], upper)
    assert table["n_imputations"].tolist() == np.ceil(1 + 0.5 * (upper / 0.1) ** 2).astype(int).tolist()
    assert table.attrs == {"n_needed": table["n_imputations"].max(), "n_pilot": 20}
    assert table["term"].tolist() == pooled.fixef().index.tolist()


def test_units():
    _, fits = fits_case("hsb_vignette")
    stack = fits.selection.fitted
    scaled = replace(stack, beta=100 * stack.beta, vcov=1e4 * stack.vcov)
    a, b = (rx.LmerFitList(Selection(f, fits.selection.which)).pool(dfcom=60).mcerror() for f in (stack, scaled))
    for column in ("estimate", "std_error", "conf_low", "conf_high"):
        assert_allclose(b[column], 100 * a[column], rtol=1e-9)
    for column in ("df", "statistic", "riv", "lambda", "fmi"):
        assert_allclose(b[column], a[column], rtol=1e-9)
