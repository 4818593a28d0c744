"""Random terms that repeat each other, against dense algebra, lme4, and the model without what is repeated."""

from __future__ import annotations

import re
import warnings
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from remlax.errors import DataError, IdentifiabilityWarning, RemlaxWarning, SingularFitWarning
from remlax.fitting import find_redundancy
from remlax.fitting.find_redundancy import find_redundancies
from remlax.fitting.redundancy import entry_places
from remlax.fitting.selection import Selection
from remlax.fitting.unseen import depend_on_unseen
from remlax.tables.notes import redundancy_notes
from tables.redundant_cases import derivatives, design, groups, undetermined

# formula of the random part, and whether some parameters are not identified
DESIGNS = {
    "(1 | g)": False,
    "(1 + x | g)": False,
    "(1 + f || name)": True,
    "(1 + pm || g)": False,
    "(1 + pm | g) + (1 | cell)": True,
    "(1 | g) + (1 | cell)": False,
    "(year | top) + (year | g)": False,
    "(1 | g) + (1 | name)": True,
    "(1 | g / cls)": True,
    "(1 | top / g)": False,
    "(1 | g) + (1 + x | name)": True,
    "(1 | g) + (year | name)": True,
    "(x | g) + (0 + x | g)": True,
    "(1 + x | g) + (1 + f | num)": True,
    "(0 + f | g) + (1 | g:f)": True,
    "(1 | g) + (1 | name) + (1 | num)": True,
    "(1 + z | g)": True,
    "(0 + zf | g)": True,
    "(x + x2 | g)": True,
    "(x | g) + (x | item)": False,
    "(1 | item) + (1 | g) + (1 | name)": True,
    "(f | g) + (f | item)": True,
    "(x + f | g) + (x | item) + (1 | f)": False,
    "(f * x || g)": True,
}


@pytest.mark.parametrize(("random", "redundant"), DESIGNS.items())
@pytest.mark.parametrize("weights", [None, "w"])
def test_undetermined_parameters_are_those_of_the_dense_covariance(random, redundant, weights):
    model = design(random, groups().iloc[:120], weights=weights)
    n_lost, moved = undetermined(derivatives(model))
    assert bool(n_lost) == redundant
    found = find_redundancies(model)
    assert found.n_lost(0) == n_lost
    assert np.flatnonzero(found.undetermined([0])[0]).tolist() == moved


def test_rows_are_read_where_terms_may_repeat_each_other_only(monkeypatch):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("rows were read")

    monkeypatch.setattr(find_redundancy, "_redundancy", never)
    frames = [groups().assign(x=lambda d, k=k: np.roll(d["x"], k)) for k in range(3)]
    for random, redundant in DESIGNS.items():
        if not redundant:
            assert find_redundancies(design(random, *frames)).each == (None,) * 3
    with pytest.raises(AssertionError, match="rows were read"):
        find_redundancies(design("(1 | g) + (1 | name)"))


def test_every_imputation_is_looked_at():
    other = groups().assign(name=lambda d: np.where(d["g"] == 3, "n02", d["name"]))
    found = find_redundancies(design("(1 | g) + (1 | name)", other, groups(), other, groups()))
    assert [one is not None for one in found.each] == [False, True, False, True]
    crossed = "(1 + x | item) + (1 | g) + (1 | name)"
    found = find_redundancies(design(crossed, other, groups().assign(x=0.5 + groups()["x"] ** 2)))
    assert [one is not None for one in found.each] == [False, True]
    # a slope that varies in one imputation within groups, and not in the other
    between = groups().assign(x=lambda d: d["z"] + 0.0)
    found = find_redundancies(design("(1 + x | g)", groups(), between))
    assert [found.n_lost(k) for k in range(2)] == [0, undetermined(derivatives(design("(1 + x | g)", between)))[0]]


def warned(formula: str, data: pd.DataFrame, **options: object) -> tuple[rx.LmerFit, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = rx.lmer(formula, data, **options)
    return fit, [str(w.message) for w in caught if w.category is IdentifiabilityWarning]


@cache
def fitted(random: str) -> tuple[rx.LmerFit, list[str]]:
    return warned(f"y ~ x + {random}", groups())


# R 4.2, lme4 1.1-31, REMLcrit(lmer(y ~ x + ..., d)) of the data of `groups`, which prints no warning
LME4 = {
    "(1 | g) + (1 | name)": (658.233409543, 4),
    "(1 | g) + (1 + x | g)": (634.6102837, 6),
    "(1 + f || g)": (656.976359889, 6),
    "(1 + z | g)": (657.855420835, 5),
}


@pytest.mark.parametrize("random", LME4)
def test_criterion_is_that_of_lme4_and_parameters_are_counted_once(random):
    fit, _ = fitted(random)
    criterion, parameters = LME4[random]
    assert_allclose(fit.criterion(), criterion, atol=1e-5)
    assert fit.n_parameters == parameters
    assert_allclose(fit.aic, criterion + 2 * parameters, atol=1e-5)
    table = fit.glance().iloc[0]
    assert_allclose(table["bic"], criterion + parameters * np.log(240), atol=1e-5)
    assert table["df_residual"] == 240 - parameters


def test_variance_moved_between_the_terms_changes_nothing():
    fit, _ = fitted("(1 | g) + (1 + x | g)")
    theta = fit.theta
    total = theta[0] ** 2 + theta[1] ** 2
    for share in (0.0, 0.3, 0.6):
        moved = np.array([np.sqrt(share * total), np.sqrt((1 - share) * total), 0.0, 0.0])
        moved[2] = theta[1] * theta[2] / moved[1]
        moved[3] = np.sqrt(theta[2] ** 2 + theta[3] ** 2 - moved[2] ** 2)
        assert_allclose(fit.criterion(moved), fit.criterion(), rtol=1e-12)


SENTENCES = {
    "(1 | g) + (1 | name)": "the random terms (1 | g) and (1 | name) repeat each other, as the groups of name are "
    "those of g: only what they add up to is identified, not sd__Intercept of g and sd__Intercept of name; leave out "
    "(1 | name)",
    "(1 | g / cls)": "the groups of cls:g are those of g",
    "(1 | g) + (1 + x | g)": "as Intercept is in both: only what they add up to is identified, not sd__Intercept of g, "
    "sd__Intercept of g.1 and cor__Intercept.x of g.1; leave out (1 | g)",
    "(1 + f || g)": "leave out (1 | g); || does not drop the correlations between the categories of a factor: for "
    "effects without correlations, code f as numbers, such as -0.5 and 0.5",
    "(0 + f | g) + (1 | g:f)": "leave out (1 | g:f)",
    "(1 | g) + (1 | name) + (1 | num)": "leave out (1 | name) and (1 | num)",
    "(1 + x | g) + (1 + f | g)": "let every column stand in one term only",
    "(1 + z | g)": "in the random term (1 + z | g), z does not vary within the groups of g: not identified is sd__z of "
    "g and cor__Intercept.z of g; leave z out of the term",
    "(0 + zf | g)": "no group of g has rows that tell the correlations of the random term (0 + zf | g)",
    "(x + x2 | g)": "the other columns of the random term (1 + x + x2 | g) determine x2",
}


@pytest.mark.parametrize("random", SENTENCES)
def test_a_sentence_names_terms_and_what_to_write(random):
    model = design(random, groups().iloc[:96])
    # what the sentence needs of a fit
    fit = SimpleNamespace(
        model=model,
        redundancies=find_redundancies(model),
        theta=np.zeros((1, model.layout.structure.theta_map.n_theta)),
    )
    texts = redundancy_notes(Selection(fit, (0,)))
    assert len(texts) == 1
    assert SENTENCES[random] in texts[0]


def test_the_sentence_is_a_warning_of_the_fit():
    _, texts = fitted("(1 | g) + (1 | name)")
    assert texts == [SENTENCES["(1 | g) + (1 | name)"]]
    assert fitted("(1 | g)")[1] == []


def test_what_is_not_identified_has_no_error_and_the_rest_that_of_the_smaller_model():
    for random, smaller, rows in [
        ("(1 | g) + (1 | name)", "(1 | g)", {2: 1}),
        ("(1 | g) + (1 + x | g)", "(1 + x | g)", {2: 1, 4: 3}),
        ("(1 + f || g)", "(0 + f | g)", {4: 3}),
    ]:
        (fit, texts), (alone, _) = fitted(random), fitted(smaller)
        for scales in ("sdcor", "vcov"):
            ours, theirs = fit.tidy("ran_pars", scales=scales), alone.tidy("ran_pars", scales=scales)
            lost = ours.index.difference(list(rows))
            columns = ["std_error", "conf_low", "conf_high"]
            if scales == "vcov" and "x | g" in smaller:
                lost = lost.drop(3)  # the covariance is identified, the correlation is not
                assert_allclose(ours.loc[3, columns].astype(float), theirs.loc[2, columns].astype(float), rtol=1e-5)
            assert ours.loc[lost, columns].isna().all(axis=None)
            assert ours["estimate"].notna().all()
            assert texts[0] in ours.attrs["notes"]
            for i, j in rows.items():
                assert_allclose(ours.loc[i, columns].astype(float), theirs.loc[j, columns].astype(float), rtol=1e-5)
        # the fixed part feels nothing
        ours, theirs = fit.tidy().drop(columns="term"), alone.tidy().drop(columns="term")
        assert_allclose(ours, theirs, rtol=1e-5)
        wald = fit.confint()
        assert wald.loc[wald["effect"] == "ran_pars", "conf_low"].isna().sum() == len(fit.tidy("ran_pars")) - len(rows)


def test_shares_are_given_of_what_is_identified():
    (fit, _), (alone, _) = fitted("(1 | g) + (1 | name)"), fitted("(1 | g)")
    table, theirs = fit.icc().set_index("group"), alone.icc()
    numbers = ["estimate", "std_error", "conf_low", "conf_high"]
    assert table.loc[["g", "name"], numbers].isna().all(axis=None)
    assert_allclose(table.loc["g + name", numbers].astype(float), theirs[numbers], rtol=1e-6)
    (slopes, _), (alone, _) = fitted("(1 | g) + (1 + x | g)"), fitted("(1 + x | g)")
    assert_allclose(slopes.icc()[numbers].astype(float), alone.icc()[numbers], rtol=1e-6)
    (coded, _), (alone, _) = fitted("(1 + f || g)"), fitted("(0 + f | g)")
    table = coded.icc().set_index("kind")
    assert table.loc["intercept", numbers].isna().all()
    assert_allclose(table.loc[["adjusted", "unadjusted"], numbers].astype(float), alone.icc()[numbers], rtol=1e-6)


def test_anova_counts_what_the_data_determine():
    (small, _), (large, _) = fitted("(1 | g)"), fitted("(1 + f || g)")
    table = rx.anova(large, small)
    # R: anova(lmer(y ~ x + (1|g)), lmer(y ~ x + (0+f|g))): AIC 663.4099576, Chisq 1.26337 on 2, p 0.5317
    assert table["n_parameters"].tolist() == [4, 6]
    assert table["df"].tolist()[1] == 2
    assert_allclose(
        table.loc[1, ["aic", "statistic", "p_plain"]].astype(float), [663.4099576, 1.26337, 0.5317], rtol=1e-4
    )
    alone = rx.anova(fitted("(0 + f | g)")[0], small)
    numbers = ["aic", "bic", "deviance", "statistic", "df", "p_value", "p_plain"]
    assert_allclose(table[numbers].astype(float), alone[numbers].astype(float), rtol=1e-6)
    with pytest.raises(DataError, match="both models have 4 parameters, without those that random terms repeat"):
        rx.anova(fitted("(1 | g) + (1 | name)")[0], small)
    # one variance per kind of group: no boundary, and none is claimed
    between = rx.anova(fitted("(1 + z | g)")[0], small)
    assert between["df"].tolist()[1] == 1
    assert between.loc[1, "p_value"] == between.loc[1, "p_plain"]
    assert any("leaves open how many variances are zero" in note for note in between.attrs["notes"])


def test_print_outs_and_tables_say_so():
    fit, texts = fitted("(1 | g) + (1 + x | g)")
    assert texts[0] in str(fit.summary())
    assert f"{texts[0][0].upper()}{texts[0][1:]}." in fit.report()
    frame = fit.to_frame().loc["Random effects"]
    assert frame["Estimate"].tolist()[:2] == ["not identified"] * 2
    assert frame.index.tolist()[:2] == ["SD of intercept (g)", "SD of intercept (g.1)"]
    assert frame.loc["SD of x (g)", "95% CI"] == "[0.277, 0.628]"
    assert "not identified" in rx.model_table([fit]).to_markdown()
    named, _ = fitted("(1 | g) + (1 | name)")
    facts = named.to_frame().loc["Model", "Estimate"]
    assert facts["ICC: g + name"] == "0.51"
    assert "ICC: g" not in facts.index


def test_effects_whose_variance_is_not_identified_have_no_error():
    fit, _ = fitted("(1 | g) + (1 + x | g)")
    alone, _ = fitted("(1 + x | g)")
    ours = fit.tidy("ran_vals")
    assert ours.loc[ours["term"] == "Intercept", "std_error"].isna().all()
    theirs = alone.tidy("ran_vals")
    columns = ["estimate", "std_error", "conf_low", "conf_high"]
    x = ours.loc[ours["term"] == "x", columns].reset_index(drop=True)
    assert_allclose(x, theirs.loc[theirs["term"] == "x", columns].reset_index(drop=True), rtol=1e-5, atol=1e-7)
    ranks = fit.expected_rank(term=["Intercept", "x"]).groupby("term")["expected_rank"]
    assert ranks.count().to_dict() == {"Intercept": 0, "x": 30}
    with pytest.raises(DataError, match="the effects of g on Intercept are not identified: the random terms"):
        fit.re_impact(groups().head(2), group="g", term="Intercept", n_sims=10, seed=1)
    drawn = fit.sim_ranef(n_sims=10, seed=1)
    assert drawn.loc[drawn["term"] == "Intercept", "conf_low"].isna().all()
    assert drawn.loc[drawn["term"] == "x", "conf_low"].notna().all()


def test_predictions_that_take_the_terms_apart_are_named():
    fit, _ = fitted("(1 | g) + (1 | name)")
    alone, _ = fitted("(1 | g)")
    rows = groups().iloc[[0, 9, 17]]
    assert_allclose(fit.predict(rows, interval="prediction"), alone.predict(rows, interval="prediction"), rtol=1e-5)
    new = rows.assign(g=99, name="n99")
    ours, theirs = (one.predict(new, new_levels="draw", interval="confidence") for one in (fit, alone))
    assert_allclose(ours, theirs, rtol=1e-5)
    apart = rows.assign(name=["n00", "n05", "n02"])
    with pytest.warns(IdentifiabilityWarning, match="the prediction for row 9 depends on how random terms that repeat"):
        fit.predict(apart)
    with pytest.warns(IdentifiabilityWarning, match="for rows 0, 9, 17 depends"):
        fit.predict(rows, level="~(1 | g)")
    with pytest.warns(IdentifiabilityWarning, match="for row 9 depends"):
        fit.predict_interval(apart, n_sims=10, seed=1)
    parts = fit.predict_interval(rows, which="all", n_sims=10, seed=1).groupby("effect")["conf_low"].count()
    assert parts.to_dict() == {"combined": 3, "fixed": 3, "g": 0, "name": 0}
    # a slope is of the kind that the fit knows, whatever its value
    slopes, _ = fitted("(1 | g) + (1 + x | g)")
    slopes.predict(rows.assign(x=[0.0, 5.0, -3.0]))


@cache
def listed() -> tuple[rx.LmerFitList, list[str]]:
    """Three imputations: name tells the groups of the second only."""
    rng = np.random.default_rng(3)
    frames = [groups().assign(x=lambda d: d["x"] + 0.2 * rng.normal(size=240)) for _ in range(3)]
    for k in (0, 2):
        frames[k]["name"] = np.where(frames[k]["g"] < 6, "n05", frames[k]["name"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fits = rx.lmer_list("y ~ x + (1 | g) + (1 | name)", frames)
    return fits, [str(w.message) for w in caught if w.category is IdentifiabilityWarning]


def test_imputations_are_named_and_their_parameters_not_pooled():
    fits, texts = listed()
    assert len(texts) == 1
    assert texts[0].startswith("in imputation 2, the random terms (1 | g) and (1 | name) repeat each other")
    assert fits.glance()["df_residual"].tolist() == [235, 236, 235]
    assert fits[0].tidy("ran_pars")["std_error"].notna()[0]
    assert fits[1].tidy("ran_pars")["std_error"].notna().tolist() == [False, False, True]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", SingularFitWarning)
        pooled = fits.pool()
        for scales in ("sdcor", "vcov"):
            table = pooled.tidy("ran_pars", scales=scales)
            assert table[["estimate", "std_error", "conf_low", "fmi"]].isna().all(axis=1).tolist() == [
                True,
                True,
                False,
            ]
            assert table["n_boundary"].tolist() == [0, 0, 0]
            assert table["mean_sd"].notna().all()
            assert texts[0] in table.attrs["notes"]
        shares = pooled.icc()
    assert shares.groupby("group")["estimate"].count().to_dict() == {"g": 0, "g + name": 2, "name": 0}
    assert texts[0] in str(pooled.summary())
    assert texts[0] in str(fits.summary())
    assert texts[0][1:] in pooled.report()
    assert pooled.to_frame().loc["Random effects", "Estimate"].tolist()[:2] == ["not identified"] * 2
    with pytest.raises(DataError, match=r"5 identified parameters in imputation 1 and 4 in imputation 2, where random"):
        rx.anova(fits, rx.lmer_list("y ~ x + (1 | g)", [groups()] * 3), method="D4")


def test_figures_show_what_is_not_identified():
    pytest.importorskip("matplotlib")
    fits, _ = listed()
    pooled = fits.pool()
    axes = rx.plot.missing_information(pooled)
    assert [text.get_text() for text in axes.texts] == [" not identified"] * 2
    axes = rx.plot.variance_components(pooled)
    assert [len(line) for line in axes.collections[0].get_segments()] == [0, 0, 2]
    axes = rx.plot.caterpillar(fits[1], "g")
    assert axes.get_legend_handles_labels()[1] == ["no interval (30)"]


def test_a_saved_fit_knows(tmp_path):
    fit, texts = fitted("(1 | g) + (1 | name)")
    fit.save(tmp_path / "fit.remlax")
    again = rx.load(tmp_path / "fit.remlax")
    assert again.n_parameters == 4
    assert texts[0] in again.tidy("ran_pars").attrs["notes"]


@pytest.mark.slow
def test_the_fixed_part_hides_random_effects_from_reml():
    data = groups().iloc[:96]
    fit, texts = warned("y ~ factor(g) + (1 + x | g)", data)
    assert len(texts) == 1
    assert texts[0].startswith(
        "the fixed part explains what (1 + x | g) could: REML does not identify sd__Intercept of g "
    )
    # the criterion does not feel the variance of the intercept
    assert_allclose(fit.criterion(np.array([7.0, 0.0, fit.theta[2]])), fit.criterion(), rtol=1e-9)
    assert fit.tidy("ran_pars")["std_error"].notna().tolist() == [False, True, False, True]
    assert warned("y ~ factor(g) + (1 + x | g)", data, reml=False)[1] == []
    crossed, texts = warned("y ~ factor(g) + (1 | g) + (1 | item)", data)
    assert "sd__Intercept of g, nor" in texts[0]
    assert_allclose(crossed.criterion(np.array([7.0, crossed.theta[1]])), crossed.criterion(), rtol=1e-9)


@pytest.mark.parametrize(
    ("random", "fixed"),
    [
        ("(1 | zf / g)", "x + zf"),
        ("(1 | item) + (1 | zf)", "x + zf"),
        ("(1 + x | zf) + (1 | g)", "zf * x + f"),
        ("(1 + x | zf) + (1 | g)", "zf * f + x"),
        ("(1 | g) + (1 | item) + (1 | top)", "factor(top) + year + factor(item)"),
    ],
)
def test_contrasts_whose_variance_is_hidden_are_those_that_it_changes(random, fixed):
    model = design(random, groups().iloc[:160], fixed=fixed)
    unseen, v = find_redundancies(model).each[0].unseen, derivatives(model)
    x, p = model.rows.x.values, len(model.keep)
    contrasts = np.vstack([np.eye(p), np.diff(np.eye(p), axis=0), x[:3]])
    diagonal = [i for term in model.layout.terms for i in np.diag(entry_places(term))]

    def variances(hidden: float) -> np.ndarray:
        total = v[-1] + sum((hidden if i in unseen else 0.5) * v[i] for i in diagonal)
        return np.einsum("ri,ij,rj->r", contrasts, np.linalg.inv(x.T @ np.linalg.solve(total, x)), contrasts)

    changed = ~np.isclose(variances(1.0), variances(3.0), rtol=1e-6)
    assert 0 < changed.sum() < len(contrasts)
    assert depend_on_unseen(model, unseen, 0, contrasts).tolist() == changed.tolist()


@pytest.fixture(scope="module")
def hidden_and_without():
    """A term that the fixed part explains, and the model without it; for x they are the same."""
    frames = [groups().iloc[:160].assign(y=lambda d, s=s: d["y"] + s * d["item"] / 50) for s in range(3)]
    with pytest.warns(IdentifiabilityWarning, match="nor the standard errors of the coefficients that tell these"):
        hidden = rx.lmer_list("y ~ x + zf + (1 | zf / g)", frames)
    return hidden, rx.lmer_list("y ~ x + zf + (1 | g)", frames)


@pytest.mark.slow
def test_coefficients_of_hidden_groups_have_no_standard_errors(hidden_and_without, tmp_path):
    hidden, without = hidden_and_without
    options = [{}, {"ddf": "kenward-roger"}, {"ddf": "residual"}]
    for option in options:
        one, other = (fits[0].tidy("fixed", **option) for fits in (hidden, without))
        assert_allclose(one.iloc[1, 1:].astype(float), other.iloc[1, 1:].astype(float), rtol=1e-5)
        assert_allclose(one["estimate"], other["estimate"], rtol=1e-6)
        assert one.iloc[[0, 2], 2:].isna().all(axis=None)
        one, other = (fits[0].test("x", **option) for fits in (hidden, without))
        assert_allclose(one.iloc[0, 1:5].astype(float), other.iloc[0, 1:5].astype(float), rtol=1e-5)
        assert hidden[0].test(["x", "zf"], **option)[["statistic", "df2", "p_value"]].isna().all(axis=None)
    for option in options[:2]:
        vcov = hidden[0].vcov(**option)
        assert_allclose(vcov.loc["x", "x"], without[0].vcov(**option).loc["x", "x"], rtol=1e-6)
        assert np.isnan(vcov.to_numpy()).sum() == 8
    table = rx.anova(hidden[0]).set_index("term")
    assert np.isnan(table.loc["zf", "statistic"])
    assert_allclose(table.loc["x", "statistic"], rx.anova(without[0])["statistic"][0], rtol=1e-6)
    assert "REML does not identify" in " ".join(table.attrs["notes"])
    means = hidden[0].emmeans("x", at={"x": [0, 1]})
    assert means.means["std_error"].isna().all()
    expected = without[0].emmeans("x", at={"x": [0, 1]}).differences()
    assert_allclose(means.differences()["std_error"], expected["std_error"], rtol=1e-6)
    assert hidden[0].confint().iloc[-3:]["conf_low"].isna().tolist() == [True, False, True]
    pooled, expected = hidden.pool(), without.pool()
    pooled.save(tmp_path / "pooled.remlax")
    for model in (pooled, rx.load(tmp_path / "pooled.remlax"), hidden.pool(dfcom="kenward-roger")):
        assert model.tidy("fixed")["std_error"].isna().tolist() == [True, False, True]
    assert_allclose(pooled.tidy("fixed").iloc[1, 1:].astype(float), expected.tidy("fixed").iloc[1, 1:].astype(float),
                    rtol=1e-5)  # fmt: skip
    assert pooled.contrast("x - zf[T.q]").iloc[0, 2:].drop("b").isna().all()
    assert rx.anova(pooled)["p_value"].isna().tolist() == [False, True]
    assert "nan" in str(pooled.summary())
    assert rx.how_many_imputations(pooled)["term"].tolist() == ["x"]


def test_too_few_rows_beyond_the_coefficients():
    rng = np.random.default_rng(3)
    data = pd.DataFrame(rng.normal(size=(10, 8)), columns=[f"x{j}" for j in range(8)])
    data["y"], data["g"] = rng.normal(size=10), np.repeat(np.arange(5), 2)
    formula = f"y ~ {' + '.join(data.columns[:8])} + (1 | g)"
    fit, texts = warned(formula, data)
    assert "9 coefficients for 10 rows leave REML too little to tell 2 variances and covariances apart" in texts[0]
    assert_allclose([fit.criterion([t]) for t in (0.0, 1.0, 10.0)], fit.criterion(), rtol=1e-9)
    assert fit.tidy("ran_pars")["std_error"].isna().all()
    assert fit.icc()["estimate"].isna().all()
    # one coefficient less leaves two rows, three entries of V and two parameters
    assert warned(formula.replace("x7 + ", ""), data.assign(y=data["y"] + data["g"]))[1] == []


def test_one_row_per_level_is_told_from_the_residual_by_weights_only():
    data = groups().iloc[:60].assign(row=np.arange(60), w=np.linspace(1, 4, 60), one=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RemlaxWarning)
        constant = rx.lmer("y ~ x + (1 | row)", data, weights="one")
        known = rx.lmer("y ~ x + (1 | row)", data, weights="w")
    assert constant.tidy("ran_pars")["std_error"].isna().all()
    assert "(1 | row) and the residual repeat each other" in str(constant.summary())
    assert "repeat" not in str(known.summary())


@pytest.mark.slow
def test_profile_and_bootstrap_give_no_limits_of_what_is_not_identified():
    (fit, texts), (alone, _) = fitted("(1 | g) + (1 + x | g)"), fitted("(1 + x | g)")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours, theirs = fit.confint("profile"), alone.confint("profile")
        boot = fit.confint("boot", n_sims=20, seed=1)
    for table in (ours, boot):
        assert table["conf_low"].isna().tolist() == [True, True, False, True, False, False, False]
        assert table.attrs["notes"] == texts
    assert_allclose(
        ours.loc[[2, 4, 5, 6], ["conf_low", "conf_high"]],
        theirs.loc[[1, 3, 4, 5], ["conf_low", "conf_high"]],
        rtol=1e-4,
    )
    pytest.importorskip("matplotlib")
    with pytest.raises(DataError, match=re.escape("the profile of 'sd__Intercept' has no values")):
        rx.plot.zeta(fit.profile(), "sd__Intercept", group="g")


@pytest.mark.slow
def test_reductions_of_variance_that_are_not_identified_are_missing():
    fit, _ = fitted("(1 | g) + (1 | name)")
    alone, _ = fitted("(1 | g)")
    table = fit.r2(n_sims=2, seed=1)
    missing = table[table["estimate"].isna()]
    assert missing[["measure", "level"]].to_numpy().tolist() == [["raudenbush-bryk", "g"], ["raudenbush-bryk", "name"]]
    theirs = alone.r2(n_sims=2, seed=1)
    assert_allclose(table["estimate"].dropna(), theirs["estimate"].drop(3), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["D2", "D3", "D4"])
def test_pooled_comparisons_count_what_the_data_determine(method):
    rng = np.random.default_rng(5)
    frames = [groups().assign(x=lambda d: d["x"] + 0.3 * rng.normal(size=240)) for _ in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdentifiabilityWarning)
        large = rx.lmer_list("y ~ x + (1 + f || g)", frames)
    once, small = (rx.lmer_list(f"y ~ x + {random}", frames) for random in ("(0 + f | g)", "(1 | g)"))
    use = "likelihood" if method == "D2" else "wald"
    ours, theirs = (rx.anova(one, small, method=method, use=use) for one in (large, once))
    numbers = ["statistic", "df1", "df2", "p_value", "p_plain"]
    assert_allclose(ours[numbers].astype(float), theirs[numbers].astype(float), rtol=1e-5)
