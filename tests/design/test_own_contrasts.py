"""Contrast matrices of the caller's own: R's numbers, and the same model in other coordinates."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from reference_cases import load_case
from remlax.errors import DataError, SingularFitWarning

LEVELS = ["Golden.rain", "Marvellous", "Victory"]
MATRIX = pd.DataFrame({"new": [1.0, -0.5, -0.5], "rest": [0.0, 1.0, -1.0]}, index=LEVELS)


def oats() -> pd.DataFrame:
    frame: pd.DataFrame = load_case("oats_splitplot")[1][0]
    return frame


@pytest.fixture(scope="module")
def own() -> rx.LmerFit:
    return rx.lmer("Y ~ N * V + (1 | B / V)", oats(), contrasts={"V": MATRIX})


@pytest.fixture(scope="module")
def plain() -> rx.LmerFit:
    return rx.lmer("Y ~ N * V + (1 | B / V)", oats())


def test_the_numbers_are_lme4s(own):
    # lme4 1.1-31, lmerTest 3.1-3: M <- cbind(new = c(1, -0.5, -0.5), rest = c(0, 1, -1));
    # m <- lmer(Y ~ N * V + (1 | B/V), oats, contrasts = list(V = M)); summary(m)$coefficients
    table = own.tidy("fixed").set_index("term")
    expected = {
        "Intercept": (79.3888888889, 7.174754083, 6.791886137),
        "N[T.0.4cwt]": (34.8333333333, 4.435752047, 45.0),
        "V[new]": (0.6111111111, 5.608969668, 30.230804622),
        "V[rest]": (7.5833333333, 4.857510221, 30.230804623),
        "N[T.0.2cwt]:V[new]": (-1.0, 6.273100705, 45.0),
        "N[T.0.6cwt]:V[rest]": (-3.4166666667, 5.432664571, 45.0),
    }
    found = table.loc[list(expected), ["estimate", "std_error", "df"]].to_numpy()
    wanted = np.array(list(expected.values()))
    np.testing.assert_allclose(found[:, 0], wanted[:, 0], rtol=1e-9)
    # lme4's optimizer stops where its variance of the intercept is 1.2e-5 from the optimum's
    np.testing.assert_allclose(found[:, 1:], wanted[:, 1:], rtol=5e-5)
    assert len(table) == 12


def test_the_model_is_the_same_in_other_coordinates(own, plain):
    assert np.isclose(own.criterion(), plain.criterion() + 2 * 4 * np.log(3), rtol=1e-10)  # REML: log|X'V^-1 X|
    np.testing.assert_allclose(own.fitted(), plain.fitted(), rtol=1e-7)
    pd.testing.assert_frame_equal(own.varcorr(), plain.varcorr(), rtol=1e-6)
    means, others = own.emmeans("V", by="N"), plain.emmeans("V", by="N")
    pd.testing.assert_frame_equal(means.means, others.means, rtol=1e-6)
    pd.testing.assert_frame_equal(means.differences(), others.differences(), rtol=1e-6, atol=1e-8)
    pd.testing.assert_frame_equal(rx.anova(own), rx.anova(plain), rtol=1e-6)
    # coefficients are those of the cell means, M^-1 of which they are
    cell = plain.emmeans("V", by="N").means.query("N == '0.0cwt'")["estimate"]
    solved = np.linalg.solve(np.column_stack([np.ones(3), MATRIX]), cell)
    np.testing.assert_allclose(own.fixef()[["Intercept", "V[new]", "V[rest]"]], solved, rtol=1e-7)


def test_rows_are_matched_by_level_or_taken_in_order(own):
    for given in (MATRIX.loc[LEVELS[::-1]], MATRIX.to_numpy(), MATRIX.to_numpy().tolist()):
        other = rx.lmer("Y ~ N * V + (1 | B / V)", oats(), contrasts={"V": given})
        np.testing.assert_allclose(other.fixef(), own.fixef(), rtol=1e-10)
    assert list(other.fixef().index[4:6]) == ["V[1]", "V[2]"]


def test_new_data_are_coded_alike(own, plain):
    new = pd.DataFrame({"N": ["0.2cwt", "0.0cwt"], "V": ["Victory", "Victory"], "B": "I"})  # one level only
    for interval in ("confidence", "prediction"):
        expected = plain.predict(new, interval=interval)
        pd.testing.assert_frame_equal(own.predict(new, interval=interval), expected, rtol=1e-6)
    with pytest.raises(DataError, match="'V' in the fixed part has the unseen category 'Lochow'"):
        own.predict(new.assign(V="Lochow"))


def test_files_refits_and_subsamples_keep_them(own, tmp_path: Path):
    own.save(tmp_path / "fit")
    again = rx.load(tmp_path / "fit")
    assert isinstance(again, rx.LmerFit)
    pd.testing.assert_series_equal(again.fixef(), own.fixef())
    new = pd.DataFrame({"N": ["0.2cwt"], "V": ["Victory"], "B": "I"})
    pd.testing.assert_frame_equal(again.predict(new), own.predict(new))
    refit = rx.refit(own, oats()["Y"].to_numpy())[0]
    np.testing.assert_allclose(refit.fixef(), own.fixef(), rtol=1e-6)
    boot = again.sub_boot(lambda fit: fit.fixef(), n_boot=2, seed=1)
    np.testing.assert_allclose(boot[own.fixef().index].iloc[0], own.fixef(), rtol=1e-6)
    with pytest.raises(
        DataError, match=r"subsamples of n=3 rows do not identify the model \(contrasts= of 'V' has a row"
    ):
        own.sub_boot(lambda fit: fit.fixef(), n=3, n_boot=1, seed=2)


def test_lists_share_one_matrix(own):
    frames = [oats().assign(Y=lambda d, k=k: d["Y"] + k * np.arange(len(d)) % 3) for k in (0, 1)]
    fits = rx.lmer_list("Y ~ N * V + (1 | B / V)", frames, contrasts={"V": MATRIX})
    np.testing.assert_allclose(fits[0].fixef(), own.fixef(), rtol=1e-6)
    pooled, each = fits.pool(), [rx.lmer("Y ~ N * V + (1 | B / V)", f, contrasts={"V": MATRIX}) for f in frames]
    np.testing.assert_allclose(pooled.fixef(), np.mean([fit.fixef() for fit in each], axis=0), rtol=1e-6)
    means = pooled.emmeans("V").means["estimate"]
    np.testing.assert_allclose(means, np.mean([f.emmeans("V").means["estimate"] for f in each], axis=0), rtol=1e-6)


def test_names_of_contrasts_are_those_of_the_formula(own):
    del own  # compiled: the same shapes
    named = rx.lmer("Y ~ N * V + (1 | B / V)", oats(), contrasts={"V": "contr.sum"})
    written = rx.lmer("Y ~ N * C(V, contr.sum) + (1 | B / V)", oats())
    np.testing.assert_allclose(named.fixef(), written.fixef(), rtol=1e-10)
    assert list(named.fixef().index[4:6]) == ["V[S.Golden.rain]", "V[S.Marvellous]"]


def test_random_terms_and_full_coding_keep_their_columns():
    # as in lme4, contrasts= is about the fixed part, and about factors that the intercept makes redundant
    frame = oats()
    names = MATRIX.rename(columns={"new": "Victory", "rest": "T.Victory"})  # what categories are called
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularFitWarning)  # six blocks
        fit = rx.lmer("Y ~ V + (0 + V | B)", frame, contrasts={"V": names})
        other = rx.lmer("Y ~ V + (0 + V | B)", frame)
        full = rx.lmer("Y ~ 0 + V + (0 + V | B)", frame, contrasts={"V": MATRIX})
    np.testing.assert_allclose(fit.fitted(), other.fitted(), rtol=1e-5)
    pd.testing.assert_frame_equal(fit.varcorr(), other.varcorr(), rtol=1e-3)
    # the coefficient called V[Victory] is not that of the random effect of Victory
    effects, modes = fit.tidy("ran_coefs"), fit.tidy("ran_vals")
    np.testing.assert_allclose(effects["estimate"], modes["estimate"])
    assert list(full.fixef().index) == [f"V[{level}]" for level in LEVELS]


@pytest.mark.parametrize(
    ("contrasts", "message"),
    [
        ({"W": MATRIX}, "contrasts= names 'W', which is no categorical variable of the fixed part; there are 'N', 'V'"),
        ({"V": MATRIX.iloc[:2]}, "contrasts= of 'V' has no row for 'Victory'; the levels in the data are 'Golden"),
        ({"V": MATRIX.to_numpy()[:2]}, "has 2 rows; it needs 3, one for each level, in the order 'Golden.rain', 'Marv"),
        ({"V": np.eye(3)}, "contrasts= of 'V' has 3 columns; 3 levels need 2 columns"),
        ({"V": [1.0, 0.0, 0.0]}, "contrasts= of 'V' has 1 column; 3 levels need 2 columns"),
        (
            {"V": [[1, 2], [1, 2], [1, 2]]},
            "do not tell the levels apart: together with the intercept they have the ran",
        ),
        ({"V": [[1, 0], [1, 1], [1, 5]]}, "they have the rank 2, and 3 levels need 3"),
        ({"V": [[1, 0], [np.nan, 1], [1, 5]]}, r"must be a matrix of finite numbers, .*; its shape is \(3, 2\)"),
        ({"V": [["a"]]}, "contrasts= of 'V' must be a matrix of numbers, a row for each level"),
        ({"V": "sum"}, "contrasts= of 'V' is 'sum': give a matrix, or one of 'contr.treatment', 'contr.sum'"),
        ({"V": pd.concat([MATRIX, MATRIX])}, "contrasts= of 'V' has several rows called 'Golden.rain'"),
        ({"V": MATRIX.set_axis(["a", "a"], axis=1)}, "contrasts= of 'V' has several columns called 'a'"),
        (
            {"V": pd.concat([MATRIX, MATRIX.head(1).set_axis(["Lochow"])])},
            "has a row for 'Lochow', which is no level; the levels in the data are",
        ),
        (MATRIX.to_numpy(), "contrasts= is a dict from a factor of the formula to a matrix"),
    ],
)
def test_what_is_wrong_is_said(contrasts, message):
    for fit, data in ((rx.lmer, oats()), (rx.lmer_list, [oats(), oats()])):
        with pytest.raises(DataError, match=message):
            fit("Y ~ N * V + (1 | B / V)", data, contrasts=contrasts)


def test_any_unit_will_do():
    tiny = rx.lmer("Y ~ V + (1 | B)", oats(), contrasts={"V": 1e-9 * MATRIX})
    one = rx.lmer("Y ~ V + (1 | B)", oats(), contrasts={"V": MATRIX})
    np.testing.assert_allclose(1e-9 * tiny.fixef().iloc[1:], one.fixef().iloc[1:], rtol=1e-6)


def test_factors_are_named_as_the_formula_has_them():
    frame = oats().assign(k=lambda d: d["V"].cat.codes + 1.0)
    given = {"factor( k )": MATRIX.set_axis([3, 2, 1])}
    fit = rx.lmer("Y ~ factor(k) + (1 | B)", frame, contrasts=given)
    other = rx.lmer("Y ~ V + (1 | B)", frame, contrasts={"V": MATRIX.set_axis(LEVELS[::-1])})
    np.testing.assert_allclose(fit.fixef(), other.fixef(), rtol=1e-10)
    assert fit.fixef().index[1] == "factor(k)[new]"
