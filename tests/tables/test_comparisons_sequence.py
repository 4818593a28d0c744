"""Several nested models at once: lme4's anova of four fits, and lists of fits pair by pair."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import remlax as rx
from fitted_cases import INFERENCE, inference
from reference_cases import read_reference_csv
from remlax.errors import ConvergenceWarning, DataError, PoolingError
from tables.test_comparisons import failing

SEQUENCE = inference("means")["sequence"]


@cache
def lists() -> tuple[rx.LmerFitList, ...]:
    frame = read_reference_csv(INFERENCE / "means.csv.gz", {})
    sets = [part.reset_index(drop=True) for _, part in frame.groupby(".imp")]
    sets.append(sets[0].assign(x=sets[0]["x"] + 0.3 * sets[1]["o"]))
    return tuple(rx.lmer_list(formula, sets) for formula in SEQUENCE["formulas"])


@pytest.mark.slow
def test_four_fits_as_lme4() -> None:
    null, arm, x, slope = (fits[0] for fits in lists())
    table = rx.anova(arm, slope, null, x)
    expected = SEQUENCE["anova"]
    assert table["formula"].tolist() == SEQUENCE["formulas"]
    assert table["n_parameters"].tolist() == expected["npar"]
    for ours, theirs in (("aic", "AIC"), ("bic", "BIC"), ("loglik", "logLik"), ("deviance", "deviance")):
        assert_allclose(table[ours], expected[theirs], rtol=1e-8)
    chisq, p = (np.array(expected[c], dtype=float) for c in ("Chisq", "Pr(>Chisq)"))
    assert_allclose(table["statistic"], chisq, rtol=1e-5)
    assert_allclose(table["df"], np.array(expected["Df"], dtype=float))
    assert_allclose(table["p_plain"], p, rtol=1e-4)
    # lme4 leaves the boundary out of account
    assert_allclose(table["p_value"][:3], p[:3], rtol=1e-4)
    assert_allclose(table["p_value"][3], (stats.chi2.sf(chisq[3], 1) + p[3]) / 2, rtol=1e-4)
    assert table.attrs["notes"][0] == "all models were refitted by maximum likelihood"
    assert table.attrs["notes"][-1].startswith("y ~ arm + x + (1 + x | g): p-value from the mixture 0.5 chi-square(2)")
    pd.testing.assert_frame_equal(table.iloc[2:].reset_index(drop=True).iloc[1:], rx.anova(x, slope).iloc[1:])


@pytest.mark.parametrize(
    "options",
    [
        {"method": "D4"},
        pytest.param({"method": "D3"}, marks=pytest.mark.slow),
        pytest.param({"method": "D2", "use": "likelihood"}, marks=pytest.mark.slow),
    ],
)
def test_lists_are_compared_pair_by_pair(options: dict[str, str]) -> None:
    null, arm, _, slope = lists()
    table = rx.anova(slope, null, arm, **options)
    assert table["model"].tolist() == [SEQUENCE["formulas"][i] for i in (1, 3)]
    assert table["null"].tolist() == [SEQUENCE["formulas"][i] for i in (0, 1)]
    pairs = pd.concat([rx.anova(arm, null, **options), rx.anova(slope, arm, **options)], ignore_index=True)
    pd.testing.assert_frame_equal(table, pairs)
    assert "mixture" in table["note"][1]
    assert table.attrs["notes"] == ["all models were refitted by maximum likelihood"]
    assert table.attrs["n_imputations"] == 3


def test_wald_tests_of_lists() -> None:
    null, arm, x, slope = lists()
    table = rx.anova(null, arm, x)
    assert table["df1"].tolist() == [3, 1]
    assert_allclose(table["statistic"][0], arm.pool().test("arm")["statistic"][0])
    assert_allclose(table["p_value"][1], x.pool().test("x")["p_value"][0])
    with pytest.raises(DataError, match=r"^y ~ arm \+ x \+ \(1 \+ x \| g\) against y ~ arm \+ x \+ \(1 \| g\): the"):
        rx.anova(null, arm, x, slope)


def test_models_that_make_no_sequence() -> None:
    null, arm, x, _ = lists()
    with pytest.raises(DataError, match="both models have 6 parameters"):
        rx.anova(null, arm, arm)
    with pytest.raises(DataError, match="not LmerFitList and LmerFitList and PooledLmer"):
        rx.anova(null, arm, x.pool())
    with pytest.raises(DataError, match="not LmerFit and NoneType and LmerFit"):
        rx.anova(null[0], None, x[0])
    with pytest.raises(DataError, match="different numbers of data sets, 2 and 3"):
        rx.anova(null, arm, x[:2])


def test_an_imputation_that_one_model_fails_in_is_left_out_of_all() -> None:
    null, arm, x, _ = lists()
    bad = failing(arm, 1)
    with pytest.raises(PoolingError, match="the fit failed in imputation 2"):
        rx.anova(null, bad, x, method="D4")
    with pytest.warns(ConvergenceWarning, match="imputation 2"):
        table = rx.anova(null, bad, x, method="D4", on_failure="drop")
    assert table.attrs["n_imputations"] == 2
    assert table.attrs["dropped_imputations"] == [2]
    kept = (rx.LmerFitList(fits.selection.take((0, 2))) for fits in (null, arm, x))
    assert_allclose(table["statistic"], rx.anova(*kept, method="D4")["statistic"], rtol=1e-8)
    with pytest.warns(ConvergenceWarning), pytest.raises(PoolingError, match="in which all models could be fitted"):
        rx.anova(failing(null, 0), bad, x, on_failure="drop")
