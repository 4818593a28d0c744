"""Every response has the fit that `lmer` gives it alone; what cannot be fitted is marked and disturbs nothing."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from numpy.testing import assert_allclose

import remlax as rx
from many_cases import FORMULA, close, design, draw, genes, many_genes
from remlax.errors import DataError, FormulaError
from remlax.many import fit as many_fit

pytestmark = pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")


def alone(formula: str, name: str, responses: pd.DataFrame, **given: object) -> rx.LmerFit:
    data = design().assign(**{name: responses[name]})
    return rx.lmer(f"{name} {formula}", data[responses[name].notna()], **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "formula",
    [
        FORMULA,
        "~ x + (1 + x | g)",
        pytest.param("~ x + (1 + x || g)", marks=pytest.mark.slow),
        pytest.param("~ x + (1 | b/g)", marks=pytest.mark.slow),
        pytest.param("~ x + f + (1 | g) + (1 | h)", marks=pytest.mark.slow),
        pytest.param("~ 0 + f + (0 + x | g)", marks=pytest.mark.slow),
    ],
)
def test_a_response_has_its_own_fit(formula: str):
    responses = draw(1, 6)
    some = draw(2, 3, missing=0.05)
    both = pd.concat([responses, some.add_prefix("m")], axis=1)
    many = rx.lmer_many(formula, design(), both)
    assert list(many.names) == list(both)
    for name in ("y0", "y5", "my0", "my2"):
        close(alone(formula, name, both), many, name)


def test_ml_and_weights_of_all():
    responses = draw(3, 5)
    many = rx.lmer_many(FORMULA, design(), responses, reml=False, weights="w")
    assert not many.reml
    for name in ("y1", "y4"):
        close(alone(FORMULA, name, responses, reml=False, weights="w"), many, name)


def test_weights_of_each():
    responses, rng = draw(4, 4, missing=0.03), np.random.default_rng(5)
    weights = pd.DataFrame(rng.uniform(0.3, 3, responses.shape), columns=responses.columns)
    weights.iloc[7, 1] = np.nan
    many = rx.lmer_many(FORMULA, design(), responses, weights=weights[["y3", "y2", "y1", "y0"]])
    for name in ("y0", "y1"):
        own = responses[name].where(weights[name].notna())
        data = design().assign(**{name: own, "w": weights[name]})[own.notna()]
        close(rx.lmer(f"{name} {FORMULA}", data, weights="w"), many, name)
        close(many[name], many, name)


def test_a_pattern_of_missing_rows_is_a_design(monkeypatch: pytest.MonkeyPatch):
    """Responses that lack the same rows share them; others have their own: both give the same."""
    responses = draw(6, 40)
    responses.iloc[3:9, 10:30] = np.nan  # 20 responses with one pattern, a whole group among its rows
    responses.iloc[0, 30] = np.nan
    many = rx.lmer_many(FORMULA, design(), responses)
    for name in ("y10", "y29", "y30", "y39"):
        close(alone(FORMULA, name, responses), many, name)
    monkeypatch.setattr(many_fit, "ALIKE", 1000)
    other = rx.lmer_many(FORMULA, design(), responses)
    assert_allclose(other.fits[0].theta, many.fits[0].theta, atol=1e-7)
    assert_allclose(other.tidy()["df"], many.tidy()["df"], rtol=1e-7)


def test_order_and_blocks_change_nothing():
    responses = draw(8, 30, missing=0.01)
    many = rx.lmer_many(FORMULA, design(), responses)
    rng = np.random.default_rng(1)
    turned = rng.permutation(30)
    other = rx.lmer_many(FORMULA, design(), responses.iloc[:, turned], block_size=7)
    columns = ["estimate", "std_error", "df", "statistic", "p_value", "p_adjusted"]
    ours = many.tidy().set_index(["response", "term"])
    theirs = other.tidy().set_index(["response", "term"]).loc[ours.index]
    assert_allclose(theirs[columns], ours[columns], rtol=1e-7)
    array = rx.lmer_many(FORMULA, design(), responses.to_numpy(), names=list(responses))
    pd.testing.assert_frame_equal(pd.DataFrame(array.tidy()), pd.DataFrame(many.tidy()))
    assert list(rx.lmer_many(FORMULA, design(), responses.to_numpy()[:, :2]).names) == [0, 1]


def test_a_response_that_cannot_be_fitted_is_marked():
    responses = draw(9, 8)
    responses["y0"] = np.nan
    responses["y1"] = 3.0
    responses.loc[4, "y2"] = np.inf
    responses["y3"] = 2 + 3 * design()["x"]
    responses.loc[3:, "y4"] = np.nan
    responses["y5"] = responses["y5"].where(design()["f"] == "u")  # the coefficient of f does not exist
    many = rx.lmer_many(FORMULA, design(), responses)
    assert many.status[["y0", "y1", "y2", "y3", "y4"]].tolist() == [
        "no values",
        "constant response",
        "infinite values",
        "explained exactly by the fixed part",
        "not estimable from its rows",
    ]
    table = many.tidy()
    lost = table["response"].isin([f"y{i}" for i in range(5)])
    assert table.loc[lost, "p_adjusted"].isna().all()
    assert table.loc[lost, "estimate"].isna().all()
    without = table.query("response == 'y5'").set_index("term")
    own = alone("~ x + (1 | g)", "y5", responses).tidy().set_index("term")
    assert np.isnan(without.loc["f[T.v]", "estimate"])
    assert_allclose(without.loc[["Intercept", "x"], "df"], own["df"], rtol=1e-7)
    both = many.contrast(["x", "x - f[T.v]"]).query("response == 'y5'")["std_error"]
    assert_allclose(both, [own.loc["x", "std_error"], np.nan], rtol=1e-7)
    # those that can be are as if alone, and the adjustment counts them only
    rest = rx.lmer_many(FORMULA, design(), responses[["y5", "y6", "y7"]]).tidy()
    assert_allclose(table.loc[~lost, "p_adjusted"], rest["p_adjusted"], rtol=1e-7)
    text = str(many)
    assert "Converged: 3 of 8" in text
    assert "Without estimates: 5 of 8 (no values 1, " in text
    assert many.fixef().loc["y0"].isna().all()
    assert np.isnan(many.sigma["y1"])
    assert many.moderate().s2_post.isna().sum() == 5
    assert not many.convergence().loc["y3", "converged"]


def test_rows_without_covariates_are_left_out():
    data, responses = design().copy(), draw(11, 3)
    data.loc[[2, 5], "x"] = np.nan
    with pytest.warns(rx.DroppedRowsWarning):
        many = rx.lmer_many(FORMULA, data, responses)
    close(rx.lmer(f"y1 {FORMULA}", data.assign(y1=responses["y1"]).dropna()), many, "y1")


def test_one_response_is_a_fit_with_all_that_fits_have():
    many, (data, responses) = many_genes(), genes()
    fit = many["gene06"]
    assert fit.formula == "gene06 ~ age + dose + batch + (1 | donor)"
    assert fit.nobs == responses["gene06"].notna().sum()
    close(fit, many, "gene06")
    assert_allclose(fit.augment()["gene06"], responses["gene06"].dropna())
    assert len(fit.predict(data)) == len(data)
    assert "gene06" in many
    assert next(iter(many)) == "gene01"
    with pytest.raises(DataError, match="no response is called 'gene99'; did you mean"):
        many["gene99"]


def test_contrasts_and_tests_are_those_of_a_fit():
    many = many_genes()
    contrast = many.contrast({"b3 - b2": "batch[T.b3] - batch[T.b2]", "dose": "dose"})
    joint = many.test("batch = 0")
    for name in ("gene01", "gene12"):
        fit = many[name]
        one = fit.contrast({"b3 - b2": "batch[T.b3] - batch[T.b2]", "dose": "dose"})
        ours = contrast[contrast["response"] == name].reset_index(drop=True)
        assert_allclose(ours["estimate"], one["estimate"], atol=1e-7)
        assert_allclose(ours["df"], one["df"], rtol=1e-6)
        test, own = fit.test("batch = 0"), joint[joint["response"] == name].reset_index(drop=True)
        for column in ("statistic", "df1", "df2", "p_value"):
            assert_allclose(own[column], test[column], rtol=1e-5)
        assert own["hypothesis"].tolist() == test["hypothesis"].tolist()
    null = many.contrast("dose", q0=0.1)
    assert_allclose(null["statistic"], (null["estimate"] - 0.1) / null["std_error"])
    with pytest.raises(FormulaError, match="no coefficient"):
        many.contrast("sex")


def test_terms_are_tested_as_those_of_a_fit():
    many = many_genes()
    table = many.anova()
    assert table["term"].iloc[:3].tolist() == ["age", "dose", "batch"]
    for name in ("gene01", "gene12"):
        own, ours = rx.anova(many[name]), table[table["response"] == name].reset_index(drop=True)
        for column in ("statistic", "df1", "df2", "p_value"):
            assert_allclose(ours[column], own[column], rtol=1e-5)
    batch = table[table["term"] == "batch"].reset_index(drop=True)
    assert_allclose(batch["statistic"], many.test("batch")["statistic"], rtol=1e-8)


def test_print_out_and_names():
    many = many_genes()
    text = repr(many)
    assert text.splitlines()[0] == "Linear mixed model fit by REML to 60 responses (gene01, gene02, gene03, ...)"
    assert "groups: donor, 50" in text
    assert len(text) < 600
    assert repr(pickle.loads(pickle.dumps(many))) == repr(copy.deepcopy(many)) == text
    with pytest.raises(rx.errors.UnknownNameError, match=r"use tidy"):
        _ = many.tidi
    assert many.tidy().notes == [line for line in text.splitlines() if "Singular" in line]


def refused(message: str, **given: object) -> None:
    arguments = {"formula": FORMULA, "data": design(), "responses": draw(1, 3), **given}
    with pytest.raises((DataError, FormulaError), match=message):
        rx.lmer_many(**arguments)  # type: ignore[arg-type]


def test_bad_input_is_refused():
    y = draw(1, 3)
    refused("has the response 'y': responses come from responses=", formula=f"y {FORMULA}")
    refused("has no '~': write '~ x", formula=FORMULA[2:])
    refused("cannot read '~ x': it has no random term", formula="~ x")
    refused(
        "'q' in the formula is not a column of the data; the columns are 'x', 'f', 'g', 'b', 'h', 'w'$",
        formula="~ q + (1 | g)",
    )
    refused("has 59 rows for 60 rows of the data", responses=y.iloc[1:])
    refused("each stands in a column, so transpose responses", responses=y.T.to_numpy())
    refused("stand in another order", responses=y.iloc[::-1])
    refused("must hold numbers: 'y1' is of another type", responses=y.assign(y1="a"))
    refused("holds values of type", responses=np.array([["a"]] * 60))
    refused(r"has the shape \(60, 0\)", responses=y[[]])
    refused("two responses have one name: 'y0'", responses=pd.concat([y, y[["y0"]]], axis=1))
    refused("names= has 2 names for 3 responses", names=["a", "b"])
    refused("must be a list of texts", names="abc")
    refused("several levels", responses=pd.concat({"a": y}, axis=1))
    refused("have other names than the responses", weights=pd.DataFrame(np.ones((60, 2))))
    refused("not positive and finite .first for 'y0'", weights=np.zeros((60, 3)))
    refused(r"has the shape \(60, 2\) for responses of shape \(60, 3\)", weights=np.ones((60, 2)))
    refused("block_size=0 must be a whole number", block_size=0)
    with pytest.raises(DataError, match="effects='ran_vals'"):
        many_genes().tidy("ran_vals")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="moderated are the tests of coefficients"):
        many_genes().moderate().tidy("ran_pars")  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_design_that_identifies_no_variance_says_so():
    data = design().assign(g2=design()["g"])
    with pytest.warns(rx.IdentifiabilityWarning):
        rx.lmer_many("~ x + (1 | g) + (1 | g2)", data, draw(2, 2))


def test_an_imputed_design_is_pooled_for_every_response():
    rng, every_fourth = np.random.default_rng(3), np.arange(60) % 4 == 0
    frames = [design().assign(x=design()["x"] + 0.3 * rng.normal(size=60) * every_fourth) for _ in range(4)]
    responses = draw(3, 6).assign(y5=1.0)
    responses.iloc[3, 4] = np.nan
    many = rx.lmer_many(FORMULA, frames, responses)
    hypotheses = ["x = 0", "f[T.v] = 0"]
    table, joint = many.tidy(), many.test(hypotheses)
    contrast = many.contrast({"sum": "x + f[T.v]"})
    for name in ("y0", "y4"):
        there = responses[name].notna()
        own = [frame.assign(**{name: responses[name]})[there] for frame in frames]
        pooled = rx.lmer_list(f"{name} {FORMULA}", own).pool()
        columns = ["estimate", "std_error", "statistic", "df", "p_value", "riv", "lambda", "fmi"]
        ours = table[table["response"] == name].reset_index(drop=True)
        assert_allclose(ours[columns], pooled.tidy()[columns], rtol=1e-6)
        one = contrast[contrast["response"] == name].reset_index(drop=True)
        assert_allclose(one[columns], pooled.contrast({"sum": "x + f[T.v]"})[columns], rtol=1e-6)
        test, ours = pooled.test(hypotheses), joint[joint["response"] == name].reset_index(drop=True)
        columns = ["statistic", "df1", "df2", "p_value", "riv"]
        assert_allclose(ours[columns], test[columns].astype(float), rtol=1e-6)
        assert_allclose(many.fixef().loc[name], pooled.fixef(), rtol=1e-6)
    assert table.loc[table["response"] == "y5", "riv"].isna().all()
    assert many.n_imputations == 4
    assert "Imputations of the design: 4, pooled by Rubin's rules" in str(many)
    assert len(many.convergence()) == 24
    assert "std_error" not in many.tidy("ran_pars")
    own = many["y4"]
    assert isinstance(own, rx.LmerFitList)
    there = responses["y4"].notna()
    one = rx.lmer_list(f"y4 {FORMULA}", [frame.assign(y4=responses["y4"])[there] for frame in frames])
    pd.testing.assert_frame_equal(pd.DataFrame(own.pool().tidy()), pd.DataFrame(one.pool().tidy()))
    assert list(own.pool().ranef()["g"].index) == list(one.pool().ranef()["g"].index)
    with pytest.raises(DataError, match="the imputations have 59 to 60 rows"):
        rx.lmer_many(FORMULA, [frames[0], frames[1].iloc[1:]], responses)
    with pytest.raises(rx.errors.DesignError, match=r"'x' is determined by the others in some imputations"):
        rx.lmer_many(FORMULA, [frames[0], frames[1].assign(x=1.0)], responses)


def test_models_without_coefficients_and_with_an_offset():
    responses = draw(12, 3) - 10
    for formula in ("~ 0 + (1 | g)", "~ x + offset(2 * w) + (1 | g)"):
        many = rx.lmer_many(formula, design(), responses)
        for name in responses:
            close(alone(formula, name, responses), many, name)
    assert len(rx.lmer_many("~ 0 + (1 | g)", design(), responses).tidy()) == 0


def test_names_that_formulas_would_have_to_quote():
    responses = draw(13, 3).set_axis(["HLA-A", "a`b", "x"], axis=1).assign(flat=0.0)
    many = rx.lmer_many(FORMULA, design(), responses)
    for name in ("HLA-A", "a`b"):
        close(many[name], many, name)
    with pytest.raises(DataError, match="has the name of a column of the formula"):
        many["x"]
    with pytest.raises(DataError, match="'flat' cannot be fitted: constant response"):
        many["flat"]


def least_squares_reml(x: np.ndarray, y: np.ndarray) -> float:
    """-2 log REML likelihood of least squares (Harville 1974)."""
    n, p = x.shape
    residual = y - x @ np.linalg.lstsq(x, y)[0]
    return (n - p) * (1 + np.log(2 * np.pi * residual @ residual / (n - p))) + np.linalg.slogdet(x.T @ x)[1]


def test_a_random_term_against_none():
    responses = draw(14, 5, missing=0.02).assign(y4=2.0)
    many = rx.lmer_many(FORMULA, design(), responses)
    table = many.random_tests()
    assert table["term"].unique().tolist() == ["(1 | g)"]
    assert table.notes[0] == "p-values of (1 | g): 0.5 chi2(1), 0.5 chi2(0)"
    for i, name in enumerate(["y0", "y1", "y2", "y3"]):
        there = responses[name].notna().to_numpy()
        x = np.column_stack([np.ones(60), design()["x"], design()["f"] == "v"])[there]
        statistic = least_squares_reml(x, responses[name].to_numpy()[there]) - many.glance().loc[name, "criterion"]
        assert_allclose(table["statistic"][i], max(statistic, 0.0), atol=1e-8)
        p = 0.5 * scipy.stats.chi2.sf(statistic, 1) if statistic > 1e-8 else 1.0
        assert_allclose(table["p_value"][i], p, atol=1e-8)
    assert np.isnan(table["statistic"][4])


@pytest.mark.slow
def test_random_terms_against_smaller_models():
    responses, both = draw(15, 3), "~ x + (1 + x | g) + (1 | h)"
    many = rx.lmer_many(both, design(), responses)
    table = many.random_tests().set_index(["response", "term"])
    for term, smaller, k in (("(1 | h)", "~ x + (1 + x | g)", 1), ("(1 + x | g)", "~ x + (1 | h)", 3)):
        for name in responses:
            statistic = alone(smaller, name, responses).criterion() - alone(both, name, responses).criterion()
            assert_allclose(table.loc[(name, term), "statistic"], max(statistic, 0.0), atol=1e-7)
            assert table.loc[(name, term), "df"] == k
    # by maximum likelihood it is the test that compares two fits, with its distribution
    table = rx.lmer_many(both, design(), responses, reml=False).random_tests()
    assert table.notes[:2] == [
        "p-values of (1 + x | g): chi2(3), conservative",
        "p-values of (1 | h): 0.5 chi2(1), 0.5 chi2(0)",
    ]
    for term, smaller in (("(1 | h)", "~ x + (1 + x | g)"), ("(1 + x | g)", "~ x + (1 | h)")):
        for name in responses:
            fits = (alone(formula, name, responses, reml=False) for formula in (both, smaller))
            own = rx.anova(*fits).iloc[1]
            ours = table.set_index(["response", "term"]).loc[(name, term)]
            assert_allclose(ours["statistic"], own["statistic"], atol=1e-7)
            assert ours["df"] == own["df"]
            assert_allclose(ours["p_value"], own["p_value"], rtol=1e-4, atol=1e-7)


def test_a_predictor_drawn_with_a_common_seed_is_no_response() -> None:
    donor = np.repeat(np.arange(20), 4)
    for seed in (0, 1, 42):
        data = pd.DataFrame({"x": np.random.default_rng(seed).standard_normal(80), "donor": donor})
        y = np.random.default_rng(7).normal(size=(80, 2)) + np.random.default_rng(8).normal(size=(20, 2))[donor]
        assert (rx.lmer_many("~ x + (1 | donor)", data, y).status == "converged").all()


@pytest.mark.parametrize("formula", [FORMULA, pytest.param("~ x + (1 + x | g)", marks=pytest.mark.slow)])
def test_standard_errors_of_variance_parameters(formula: str):
    responses = pd.concat([draw(16, 3), draw(17, 1, missing=0.05).add_prefix("m")], axis=1).assign(flat=1.0)
    responses["s"] = responses["y0"] - responses["y0"].groupby(design()["g"]).transform("mean")
    many = rx.lmer_many(formula, design(), responses, weights="w")
    for name in ("y0", "y1", "y2", "my0", "s"):
        fit = alone(formula, name, responses, weights="w")
        for scales in ("sdcor", "vcov"):
            own, table = fit.tidy("ran_pars", scales=scales), many.tidy("ran_pars", scales=scales)
            ours = table[table["response"] == name].reset_index(drop=True)
            assert ours[["group", "term"]].equals(own[["group", "term"]])
            tol = 1e-7 + 1000 * np.sqrt(max(fit.opt.decrement, 0.0))
            assert_allclose(ours[["estimate", "std_error"]], own[["estimate", "std_error"]], rtol=tol, atol=tol)
    assert many.tidy("ran_pars").notes == many.tidy().notes
    none = many.tidy("ran_pars").query("response == 's'")["std_error"]
    assert np.isnan(none.iloc[0]) == (formula == FORMULA)  # singular
    assert none.iloc[-1] > 0
    with pytest.raises(DataError, match="scales='sd'"):
        many.tidy("ran_pars", scales="sd")  # type: ignore[arg-type]
