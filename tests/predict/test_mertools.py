"""The toolkit of merTools users, against merTools, dense algebra and Rubin's rules."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from predict_cases import dense_blocks, dense_joint, fits_of
from scipy import stats

import remlax as rx
from reference_cases import REFERENCE, load_case
from remlax.errors import DataError

CASES = ["sleepstudy_corr", "penicillin_crossed", "orthodont_sex"]


@cache
def mertools() -> dict[str, Any]:
    return json.loads((REFERENCE / "predict" / "mertools.json").read_text())


@cache
def hsb() -> tuple[dict[str, Any], rx.LmerFit, pd.DataFrame]:
    """merTools' numbers, the fit to the first imputation, and two of its pupils."""
    numbers, frame = mertools()["hsb"], load_case("hsb_vignette")[1][0]
    return numbers, rx.lmer(numbers["formula"], frame), frame.iloc[[0, 4999]]


def by_level(theirs: dict[str, list[Any]]) -> pd.DataFrame:
    """A table of merTools with one row per group, level and term, indexed by these."""
    table = pd.DataFrame(theirs).rename(columns={"groupID": "groupLevel"})
    table["term"] = table["term"].replace("(Intercept)", "Intercept")
    return table.set_index(["groupFctr", "groupLevel", "term"])


@pytest.mark.parametrize("case", CASES)
def test_expected_ranks_are_mertools(case):
    mine = fits_of(case)[0].expected_rank().set_index(["group", "level", "term"])
    theirs = by_level(mertools()[case]["expected_rank"]).loc[mine.index]
    assert np.allclose(mine["expected_rank"], theirs["ER"], rtol=1e-7)
    assert (mine["percentile"].round() == theirs["pctER"]).all()
    # their std.error is the conditional variance
    assert np.allclose(mine["std_error"] ** 2, theirs["std.error"], rtol=1e-6)


def test_expected_ranks_of_a_model_with_a_slope_of_many_levels():
    numbers, fit, _ = hsb()
    for term, theirs in numbers["expected_rank"].items():
        mine = fit.expected_rank("schid", term)
        assert np.allclose(mine["expected_rank"], theirs["ER"], rtol=1e-7)
        assert np.isclose(mine["expected_rank"].sum(), 160 * 161 / 2)


def test_expected_ranks_without_variance_are_tied_and_chunks_change_nothing(monkeypatch):
    singular = fits_of("dyestuff2_singular")[0].expected_rank()
    assert np.allclose(singular["expected_rank"], 3.5)
    whole = fits_of("penicillin_crossed")[0].expected_rank()
    monkeypatch.setattr("remlax.predict.levels.CHUNK_PAIRS", 50)
    assert np.allclose(whole["expected_rank"], fits_of("penicillin_crossed")[0].expected_rank()["expected_rank"])


def test_pooled_ranks_are_the_mean_of_the_fits():
    fits = fits_of("studentratings_k5")
    pooled = fits.pool()
    table, modes = pooled.expected_rank(), pooled.ranef(cond_var=True)["ID"]
    assert np.allclose(table["expected_rank"], np.mean([f.expected_rank()["expected_rank"] for f in fits], axis=0))
    assert np.allclose(table["estimate"], modes["Intercept"])
    assert np.allclose(table["std_error"] ** 2, modes.attrs["cond_var"][:, 0, 0])


@pytest.mark.parametrize("case", CASES)
def test_quantiles_averages_and_errors_are_mertools(case):
    fit, numbers = fits_of(case)[0], mertools()[case]
    for group, theirs in numbers["re_quantile"].items():
        mine = fit.re_quantile([0.1, 0.25, 0.5, 0.9, 1.0], group)
        # merTools has nothing where floor(prob * levels) is 0; here that is the lowest level
        assert all(m == t for m, t in zip(mine, theirs, strict=True) if t != [])
    average = fit.average_obs()
    assert dict(average.iloc[0]) == pytest.approx(numbers["average"])
    assert fit.rmse() == pytest.approx(numbers["rmse"], rel=1e-9)
    assert fit.rmse(scale=True) == pytest.approx(numbers["rmse_scaled"], rel=1e-9)
    assert np.allclose(fit.theta, numbers["theta"], rtol=1e-6)
    assert len(fit.predict(average)) == 1


def test_average_of_a_subset_and_of_other_terms():
    fit = fits_of("orthodont_sex")[0]
    theirs = mertools()["orthodont_sex"]["average_subset"]
    assert dict(fit.average_obs({"Sex": "Female"}).iloc[0]) == pytest.approx(theirs)
    assert fit.average_obs({"Subject": "F01"})["Subject"].tolist() == ["F01"]
    numbers, school, _ = hsb()
    assert school.re_quantile([0.05, 0.5, 0.95], term="ses").tolist() == numbers["quantile"]
    assert dict(school.average_obs().iloc[0]) == pytest.approx(numbers["average"])


def test_numbers_used_as_categories_are_not_averaged():
    frame = load_case("sleepstudy_corr")[1][0]
    frame = frame[frame["Days"].isin([0, 4, 9])]
    case = rx.lmer("Reaction ~ factor(Days) + (1 | Subject)", frame).average_obs()
    assert case["Days"].iloc[0] in (0, 4, 9)


def test_average_of_imputations():
    frames, pooled = load_case("studentratings_k5")[1], fits_of("studentratings_k5").pool()
    case = pooled.average_obs()
    assert case["SES"].iloc[0] == pytest.approx(np.mean([f["SES"].mean() for f in frames]))
    modes = pooled.ranef()["ID"]["Intercept"].sort_values()
    assert case["ID"].astype(str).iloc[0] == modes.index[24] == pooled.re_quantile().iloc[0]
    assert len(pooled.predict(case, interval="confidence")) == 1


def _arm_sd(fit: rx.LmerFit) -> np.ndarray:
    """SDs of arm::sim's effects: it multiplies the spherical effects by the transpose of Lambda."""
    x, z, g, _ = dense_blocks(fit.selection.fitted, 0)
    sigma2 = fit.sigma**2
    q = fit.selection.fitted.relative_factor(0).shape[1]
    root = np.kron(np.eye(len(g) // q), fit.selection.fitted.relative_factor(0)[0])
    u = z @ root
    joint = np.block([[u.T @ u + np.eye(len(g)), u.T @ x], [x.T @ u, x.T @ x]])
    cov = np.linalg.inv(joint)[: len(g), : len(g)] * sigma2
    return np.sqrt(np.diag(root.T @ cov @ root))


@pytest.mark.parametrize("case", CASES)
def test_simulated_effects_are_the_joint_posterior(case):
    fit, numbers, n = fits_of(case)[0], mertools()[case], 6000
    degrees = fit.nobs - len(fit.fixef())
    widening = np.sqrt(degrees / (degrees - 2))
    mine = fit.sim_ranef(n_sims=n, seed=2).set_index(["group", "level", "term"])
    fixed = fit.sim_fixef(n_sims=n, seed=2)
    # five standard errors of an SD from two simulations
    close = 5 * np.sqrt(0.5 / n + 0.5 / numbers["n_sims"])
    assert np.allclose(fixed["sd"], numbers["fe_sim"]["sd"], rtol=close)
    assert np.allclose(fixed["mean"], fit.fixef(), atol=5 / np.sqrt(n) * fixed["sd"].max())
    assert np.allclose((fixed["conf_high"] - fixed["conf_low"]) / fixed["sd"], 2 * 1.96, rtol=0.06)
    exact = np.sqrt(np.diag(dense_joint(fit.selection.fitted, 0)))[len(fixed) :] * widening
    names = [(f.label, level, c) for f, c in _columns(fit) for level in f.levels]
    order = pd.MultiIndex.from_tuples(names, names=mine.index.names)
    dense = pd.Series(_by_column(fit, exact), index=order)
    assert np.allclose(mine["sd"], dense.loc[mine.index], rtol=5 * np.sqrt(0.5 / n))
    theirs = by_level(numbers["re_sim"]).loc[mine.index]
    assert (np.abs(mine["mean"] - theirs["mean"]) < 5 * mine["sd"] * np.sqrt(1 / n + 1 / numbers["n_sims"])).all()
    if case == "penicillin_crossed":
        assert np.allclose(mine["sd"], theirs["sd"], rtol=close)
    else:
        # correlated slopes: arm::sim takes Lambda transposed, and that is what merTools' SDs are
        wrong = pd.Series(_by_column(fit, _arm_sd(fit) * widening), index=order)
        assert np.allclose(theirs["sd"], wrong.loc[mine.index], rtol=5 * np.sqrt(0.5 / numbers["n_sims"]))


def _columns(fit: rx.LmerFit) -> list[tuple[Any, str]]:
    layout = fit.selection.model.layout
    return [(layout.factors[t.factor], name) for t in layout.terms for name in t.names]


def _by_column(fit: rx.LmerFit, values: np.ndarray) -> np.ndarray:
    """Values per level and column, level by level within a factor, put in the order of `_columns`."""
    out, start = [], 0
    layout = fit.selection.model.layout
    for f, factor in enumerate(layout.factors):
        q = layout.structure.q[f]
        out.append((f, values[start : start + factor.n_levels * q].reshape(factor.n_levels, q)))
        start += factor.n_levels * q
    blocks = dict(out)
    return np.concatenate([blocks[t.factor][:, t.start + i] for t in layout.terms for i in range(t.q)])


@pytest.mark.slow
def test_pooled_simulation_has_rubins_variance():
    pooled, n = fits_of("studentratings_k5").pool(), 8000
    df = pooled.selection.model.rows.n_rows(0) - len(pooled.fixef())
    fixed = pooled.sim_fixef(n_sims=n, seed=4)
    total = np.diag(pooled.vcov()) + np.diag(pooled.vcov("within")) * (df / (df - 2) - 1)
    assert np.allclose(fixed["sd"] ** 2, total, rtol=5 * np.sqrt(2 / n))
    assert np.allclose(fixed["mean"], pooled.fixef(), atol=5 * fixed["sd"].max() / np.sqrt(5 * n))
    effects = pooled.sim_ranef("ID", n_sims=n, seed=4)
    exact = pooled.tidy("ran_vals", uncertainty="prediction")
    assert np.allclose(effects["sd"], exact["std_error"], rtol=0.04)
    assert pooled.sim_fixef(n_sims=50, seed=4).equals(pooled.sim_fixef(n_sims=50, seed=4))


def test_impact_is_mertools():
    numbers, fit, cases = hsb()
    theirs = pd.DataFrame({k: numbers["impact"][k] for k in ("case", "bin", "AvgFit", "nobs")})
    mine = fit.re_impact(cases, breaks=4, n_sims=400, seed=1).sort_values(["bin", "case"])
    theirs = theirs.sort_values(["bin", "case"])
    assert mine["n_levels"].tolist() == theirs["nobs"].tolist()
    # their fits are medians of 4000 draws of every school, averaged over 29 to 49 schools
    error = 5 * 1.26 / np.sqrt(4000)
    assert np.allclose(mine["estimate"], theirs["AvgFit"], atol=error)
    assert (mine["conf_low"] < mine["estimate"]).all()
    assert (mine["estimate"] < mine["conf_high"]).all()


def test_impact_of_one_level_per_bin_is_the_prediction():
    few = fits_of("penicillin_crossed")[0]
    case = few.average_obs()
    table = few.re_impact(case, group="sample", breaks=30, n_sims=6000, seed=1)
    alone = table[table["n_levels"] == 1]
    ranks = few.expected_rank("sample").set_index("percentile")["level"]
    moved = case.loc[[0] * len(alone)].assign(sample=ranks.loc[alone["percentile_low"]].to_numpy())
    exact = few.predict(moved, interval="confidence")
    assert len(alone) >= 4
    assert np.allclose(alone["estimate"], exact["estimate"], rtol=1e-9)
    assert np.allclose(alone["std_error"], exact["std_error"], rtol=0.05)


def test_margins_are_mertools():
    numbers, fit, cases = hsb()
    theirs = pd.DataFrame(numbers["margins"])
    at, n = [1, 26, 51, 76], 4000
    arguments: dict[str, Any] = {"n_sims": n, "seed": 2, "conf_level": 0.9, "draws": "separate"}
    mine = fit.re_margins(cases, percentiles=at, **arguments)
    assert len(mine) == 3 * len(theirs)
    for (case, term, percentile), block in mine.groupby(["case", "term", "percentile"]):
        chosen = (theirs["case"] == case) & (theirs["term"] == term) & (theirs["breaks"] == at.index(percentile) + 1)
        row = theirs[chosen].iloc[0]
        ranks = fit.expected_rank(term=term).set_index("level")["percentile"].round()
        own = block["level"].iloc[0]
        assert abs(ranks[own] - percentile) == (ranks - percentile).abs().min()
        if own != row["schid"]:
            # merTools looks its levels up among the rows of all terms, and so takes another for all but the first
            assert term == "ses"
            continue
        for effect, values in block.set_index("effect").iterrows():
            name = "schid" if effect == "schid" else effect
            low, high = row[f"lwr_{name}"], row[f"upr_{name}"]
            sd = (high - low) / (2 * stats.norm.ppf(0.95))
            error = 5 * sd * np.sqrt(2 / n) * np.sqrt(0.05 * 0.95) / stats.norm.pdf(stats.norm.ppf(0.95))
            assert abs(values["conf_low"] - low) < error
            assert abs(values["conf_high"] - high) < error
            assert abs(values["estimate"] - row[f"fit_{name}"]) < 5 * sd * np.sqrt(2 / n) * 1.26
    assert set(mine.loc[mine["term"] == "Intercept", "level"]) == set(
        theirs.loc[theirs["term"] == "Intercept", "schid"]
    )


def test_wiggle_is_mertools():
    numbers = mertools()["wiggle"]
    case = pd.DataFrame(numbers["data"]).astype({"Sex": pd.CategoricalDtype(["Male", "Female"])})
    for theirs, values in [("one", {"age": [8, 11, 14]}), ("two", {"age": [8, 14], "Sex": ["Male", "Female"]})]:
        table = rx.wiggle(case, values)
        expected = pd.DataFrame(numbers[theirs])[table.columns]
        assert table.astype(object).equals(expected.astype(object))
        assert table["Sex"].dtype == case["Sex"].dtype
    assert pd.api.types.is_numeric_dtype(rx.wiggle(case, {"age": [8, 11]})["age"])


def test_drawn_cases_are_rows_of_the_data():
    pooled, frames = fits_of("studentratings_k5").pool(), load_case("studentratings_k5")[1]
    rows = pooled.draw_obs(20, subset={"Sex": "Girl"}, seed=5)
    assert rows.equals(pooled.draw_obs(20, subset={"Sex": "Girl"}, seed=5))
    assert set(rows["Sex"]) == {"Girl"}
    assert rows.index.is_unique
    for label, row in rows.iterrows():
        assert any((frame.loc[label, rows.columns] == row).all() for frame in frames)


def test_subsamples_are_refits():
    fit, frame = fits_of("sleepstudy_weights")[0], load_case("sleepstudy_weights")[1][0]
    table = fit.sub_boot(lambda f: f.fixef(), n=150, n_boot=2, seed=9)
    random = np.random.default_rng(9)
    for r in (1, 2):
        chosen = frame.iloc[random.integers(180, size=150)]
        again = rx.lmer(fit.formula, chosen, reml=fit.reml, weights=load_case("sleepstudy_weights")[0]["weights"])
        assert np.allclose(table.iloc[r][["Intercept", "Days"]].astype(float), again.fixef(), rtol=1e-6)
    assert np.allclose(table.iloc[0][["Intercept", "Days"]].astype(float), fit.fixef())
    assert table["converged"].all()
    assert fit.sub_boot(lambda f: {"sd": f.sigma}, n_boot=1, seed=1).columns[-1] == "sd"
    assert fit.sub_boot(lambda f: f.theta, n_boot=1, seed=1).columns[-3:].tolist() == [
        f"statistic_{i}" for i in (1, 2, 3)
    ]
    assert fit.sub_boot(lambda f: f.sigma, n_boot=1, seed=1).columns[-1] == "statistic"


def test_subsamples_of_the_pooled_model_take_the_same_rows():
    fits, frames = fits_of("studentratings_k5"), load_case("studentratings_k5")[1]
    pooled = fits[:2].pool()
    table = pooled.sub_boot(lambda p: p.fixef(), n_boot=1, seed=3)
    chosen = np.random.default_rng(3).integers(750, size=750)
    again = rx.lmer_list(fits.formula, [frame.iloc[chosen] for frame in frames[:2]]).pool()
    assert np.allclose(table.iloc[1, 3:].astype(float), again.fixef(), rtol=1e-6)
    assert np.allclose(pooled.theta, np.mean([fit.theta for fit in fits[:2]], axis=0))
    assert pooled.rmse() == pytest.approx(np.mean([fit.rmse() for fit in fits[:2]]))


def test_mistakes_are_named():
    fit = fits_of("sleepstudy_corr")[0]
    case = fit.average_obs()
    for call, text in [
        (lambda: fit.expected_rank("School"), r"group='School' is no grouping factor of the model; it has 'Subject'"),
        (
            lambda: fit.expected_rank(term="days"),
            r"term='days' is not among the random effects; they are 'Intercept', ",
        ),
        (lambda: fit.re_quantile(term="x", group="Subject"), r"term='x' is not among the random effects of 'Subject'"),
        (lambda: fit.re_quantile(1.5), r"probs=1.5 must be numbers between 0 and 1"),
        (lambda: fit.average_obs({"sex": 1}), r"subset names 'sex', which is no variable of the model"),
        (lambda: fit.average_obs({"Days": 77}), r"no row of the data has Days = 77"),
        (lambda: fit.draw_obs(0), r"n=0 must be a whole number from 1 to 180"),
        (lambda: fit.re_impact(case, breaks=1), r"breaks=1 must be a whole number of at least 2"),
        (lambda: fit.re_impact({"Days": [1]}), r"newdata must be a DataFrame with at least one case"),
        (lambda: fit.re_margins(case, percentiles=[101]), r"percentiles=\[101\] must be numbers between 0 and 100"),
        (lambda: fit.sim_fixef(n_sims=1), r"n_sims=1 must be a whole number"),
        (lambda: fit.sub_boot(lambda f: f.theta, n=0), r"n=0 must be a whole number of at least 1"),
        (lambda: fit.sub_boot(lambda f: f.theta, n_boot=0), r"n_boot=0 must be a whole number of at least 1"),
        (lambda: fit.sub_boot(lambda f: "text"), r"statistic must return a number, a vector, a Series or a dict"),
        (lambda: fit.sub_boot(lambda f: 1.0, n=3, n_boot=2, seed=1), r"subsamples of n=3 rows do not identify"),
        (lambda: rx.wiggle(case, {"Day": [1]}), r"values names 'Day', which is no column of the data"),
        (lambda: rx.wiggle(case, {"Days": []}), r"values of 'Days' must be a list with at least one value"),
        (lambda: rx.wiggle(case.astype({"Subject": "category"}), {"Subject": ["999"]}), r"'999' is no category of"),
    ]:
        with pytest.raises(DataError, match=text):
            call()
    frames = [load_case("studentratings_k5")[1][0], load_case("studentratings_k5")[1][1].head(700)]
    uneven = rx.lmer_list(fits_of("studentratings_k5").formula, frames).pool()
    with pytest.raises(DataError, match="different numbers of rows: subsamples take the same rows"):
        uneven.sub_boot(lambda p: p.theta)
