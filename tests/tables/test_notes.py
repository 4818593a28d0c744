"""Failed and singular fits are named, by imputation, wherever pooled numbers are shown."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from remlax.errors import ConvergenceWarning, PoolingError, PoolingWarning, SingularFitWarning
from remlax.fitting.selection import Selection
from remlax.kernels.newton import MAX_ITER, NOT_FINITE


@cache
def fits() -> rx.LmerFitList:
    """Five data sets: the second is singular; the fourth is marked as failed."""
    rng = np.random.default_rng(8)
    g = np.repeat(np.arange(9), 6)
    x = rng.normal(size=54)
    frames = []
    for k in range(5):
        e = rng.normal(size=54)
        if k == 1:
            e -= np.bincount(g, e)[g] / 6
        frames.append(pd.DataFrame({"g": g, "x": x, "y": 3 + (k != 1) * (x + 2 * rng.normal(size=9)[g]) + e}))
    frames[1]["y"] -= frames[1].groupby("g")["y"].transform("mean")
    with pytest.warns(SingularFitWarning, match="imputation b"):
        found = rx.lmer_list("y ~ x + (1 | g)", dict(zip("abcde", frames, strict=True)))
    status = found.selection.fitted.status.copy()
    status[3] = MAX_ITER
    return rx.LmerFitList(Selection(replace(found.selection.fitted, status=status), found.selection.which))


def pooled(on_failure: str) -> rx.PooledLmer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fits().pool(on_failure=on_failure)


TABLES = {
    "tidy fixed": lambda p: p.tidy(),
    "tidy ran_pars": lambda p: p.tidy("ran_pars"),
    "tidy vcov": lambda p: p.tidy("ran_pars", scales="vcov"),
    "tidy ran_vals": lambda p: p.tidy("ran_vals"),
    "tidy ran_coefs": lambda p: p.tidy("ran_coefs"),
    "contrast": lambda p: p.contrast("x"),
    "test": lambda p: p.test("x"),
    "icc": lambda p: p.icc(),
    "r2": lambda p: p.r2(n_sims=2, seed=1),
    "mcerror": lambda p: p.mcerror(),
    "mcerror ran_pars": lambda p: p.mcerror("ran_pars"),
    "varcorr": lambda p: p.varcorr(),
    "ranef": lambda p: p.ranef()["g"],
    "vcov": lambda p: p.vcov(),
    "confint": lambda p: p.confint(),
    "glance": lambda p: p.glance(),
    "predict": lambda p: p.predict(pd.DataFrame({"x": [0.0], "g": [1]})),
    "predict_interval": lambda p: p.predict_interval(pd.DataFrame({"x": [0.0], "g": [1]}), n_sims=10, seed=1),
    "analytic": lambda p: p.predict_interval(pd.DataFrame({"x": [0.0], "g": [1]}), method="analytic"),
    "augment": lambda p: p.augment(),
}


# the program that draws is long to compile
SLOW = {"predict_interval"}


@pytest.mark.parametrize("name", ["tidy fixed", "tidy ran_vals", "contrast", "test"])
def test_tables_that_print_themselves_have_them_as_attributes(name):
    table = TABLES[name](pooled("drop"))
    assert (table.singular, table.failed, table.left_out) == (["b"], ["d"], ["d"])
    assert table.notes == table.attrs["notes"]
    single = fits()[1].tidy()
    assert single.notes[0].startswith("singular fit")
    assert single.failed == []


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in TABLES])
def test_every_table_names_them(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PoolingWarning)
        table = TABLES[name](pooled("drop"))
    assert table.attrs["n_imputations"] == 4
    assert table.attrs["singular_imputations"] == ["b"]
    assert table.attrs["failed_imputations"] == table.attrs["dropped_imputations"] == ["d"]
    for note in ("singular fits: imputation b", "fits that did not converge: imputation d", "left out: imputation d"):
        assert note in table.attrs["notes"]


def test_comparisons_name_them():
    frames = fits().selection.model.rows.data
    with pytest.warns(SingularFitWarning, match="imputation b"):
        null = rx.lmer_list("y ~ 1 + (1 | g)", frames)
    for options in ({"method": "D1"}, {"method": "D3"}):
        with pytest.warns(ConvergenceWarning, match="imputation d"):
            table = rx.anova(fits(), null, on_failure="drop", **options)
        assert table.attrs["singular_imputations"] == ["b"]
        assert table.attrs["failed_imputations"] == table.attrs["dropped_imputations"] == ["d"]
        assert "larger model, singular fits: imputation b" in table.attrs["notes"]
        assert "fits that did not converge: imputation d" in table.attrs["notes"]


def test_print_outs_name_them():
    for text in (str(pooled("drop").summary()), str(pooled("drop").display())):
        assert "Imputations: 4 pooled, 4 converged" in text
        assert "left out because they failed: d" in text
        assert "singular fits: imputation b" in text
    warned = str(pooled("warn").summary())
    assert "Imputations: 5 pooled, 4 converged" in warned
    assert "imputation d: iteration limit" in warned
    row = pooled("drop").glance().iloc[0]
    assert row[["n_imputations", "n_singular", "n_failed", "n_dropped"]].tolist() == [4, 1, 1, 1]
    assert pooled("warn").glance().iloc[0][["n_imputations", "n_failed", "n_dropped"]].tolist() == [5, 1, 0]


def test_what_happens_on_failure():
    with pytest.raises(PoolingError, match=r"the fit failed in imputation d \(iteration limit\)"):
        fits().pool()
    with pytest.raises(PoolingError, match="on_failure='skip' is not known"):
        fits().pool(on_failure="skip")
    with pytest.warns(ConvergenceWarning, match="pooling leaves out 1 failed fit: imputation d"):
        dropped = fits().pool(on_failure="drop")
    rest = rx.LmerFitList(fits().selection.take((0, 1, 2, 4))).pool()
    assert_allclose(dropped.tidy().select_dtypes("number"), rest.tidy().select_dtypes("number"))
    with pytest.warns(ConvergenceWarning, match="pooling fits that did not converge: imputation d"):
        kept = fits().pool(on_failure="warn")
    assert_allclose(kept.fixef(), fits().fixef().mean())
    # numbers that are not finite cannot be pooled, whatever was asked for
    stack = fits().selection.fitted
    status, vcov = stack.status.copy(), stack.vcov.copy()
    status[3], vcov[3] = NOT_FINITE, np.nan
    broken = rx.LmerFitList(Selection(replace(stack, status=status, vcov=vcov), fits().selection.which))
    with pytest.warns(ConvergenceWarning, match=r"leaves out 1 failed fit: imputation d \(not finite\)"):
        assert broken.pool(on_failure="warn").n_imputations == 4


def test_two_imputations_and_one():
    two = fits()[:3:2]
    table = two.pool().tidy()
    b = two.fixef().var().to_numpy()
    assert_allclose(table["t"], table["ubar"] + 1.5 * b, rtol=1e-12)
    assert_allclose(table["df"], 1 / (table["lambda"] ** 2 + 1 / observed_df(table)), rtol=1e-10)
    with pytest.raises(PoolingError, match="pooling needs at least two fits; there is one"):
        fits()[:1].pool()


def observed_df(table: pd.DataFrame) -> pd.Series:
    nu = table["dfcom"]
    return (nu + 1) / (nu + 3) * nu * (1 - table["lambda"])


def test_large_dfcom_is_the_limit():
    good = fits()[:3]
    columns = ["df", "fmi", "p_value", "conf_low", "conf_high"]
    infinite, large = (good.pool(dfcom=v).tidy()[columns] for v in (np.inf, 1e9))
    assert_allclose(large, infinite, rtol=1e-5)
    assert_allclose(good.pool(dfcom=np.inf).test("x")["df2"], good.pool(dfcom=1e9).test("x")["df2"], rtol=1e-5)


def test_of_many_fits_the_first_few_are_named() -> None:
    rng, g = np.random.default_rng(2), np.repeat(np.arange(5), 4)
    frames = {}
    for k in range(1, 21):
        e = rng.normal(size=20)
        frames[f"g{k}"] = pd.DataFrame({"g": g, "y": e - np.bincount(g, e)[g] / 4})
    few = "imputation g1, g2, g3, g4, g5, g6 and 14 more"
    with pytest.warns(SingularFitWarning, match=f"singular fit in {few}: a variance"):
        found = rx.lmer_list("y ~ 1 + (1 | g)", frames)
    p = found.pool()
    assert p.tidy().attrs["notes"] == [f"singular fits: {few}"]
    assert len(p.tidy().attrs["singular_imputations"]) == 20
    assert f"singular fits: {few}\n" in str(p.summary())
    why = "a variance is estimated as 0 or a correlation as +-1"
    assert f"20 of 20 pooled fits are singular ({why}): {few}." in p.report()
    with pytest.warns(PoolingWarning, match=rf"20 of 20 \({few}\)"):
        p.tidy("ran_pars")
    with pytest.warns(PoolingWarning, match=rf"20 of 20 \({few}\)"):
        p.icc()
    # and of those that failed
    failed = rx.LmerFitList(
        Selection(replace(found.selection.fitted, status=np.full(20, MAX_ITER)), found.selection.which)
    )
    few = r"g1 \(.*\), g2 \(.*\), .* and 14 more"
    with pytest.raises(PoolingError, match=f"the fit failed in imputation {few}"):
        failed.pool()
    with pytest.warns(ConvergenceWarning, match=f"imputation {few}"):
        text = str(failed.pool(on_failure="warn").summary())
    assert text.count("imputation g") == 7
    assert "imputation g6: " in text
    assert "and 14 more that did not converge" in text
