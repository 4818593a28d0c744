"""Rows whose expected response the data do not determine: NaN and a warning, whatever the order of the terms."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax import plot
from remlax.errors import DataError, DesignError, FormulaError, RankDeficientWarning
from remlax.fitting.estimable import find_ties

matplotlib.use("Agg")

TIED = "y ~ z + ses + ses2 + k * m + (1 | school)"
# rows A and D leave what the data determine: ses2 = 2 * ses, and no cell c:v
NEW = pd.DataFrame(
    {"z": [0.5, 0.0, 0.2, 0.0], "ses": [0.0, 0.3, 1.0, 1.0], "ses2": [2.0, 0.6, 2.0, 2.0],
     "k": list("abcc"), "m": list("uvuv"), "school": [3, 4, 5, 6]},
    index=list("ABCD"),
)  # fmt: skip
LOST, KEPT = ["A", "D"], ["B", "C"]
SAID = (
    r"no prediction \(NaN\) for row 'A' of newdata, where 'ses2' is not what 'ses' makes it in the data of the fit, "
    r"and for row 'D', where 'k\[T.c\]:m\[T.v\]' is not 0, as it is in all data of the fit: the fixed part is rank"
)


def tied_frame(seed: int) -> pd.DataFrame:
    rng, school = np.random.default_rng(19), np.repeat(np.arange(15), 10)
    frame = pd.DataFrame({"school": school, "ses": rng.normal(size=150), "z": rng.normal(size=150)})
    frame["ses2"] = 2 * frame["ses"]
    frame["k"], frame["m"] = np.tile(list("aaaabbbbcc"), 15), np.tile(list("uvuvuvuvuu"), 15)
    own = np.random.default_rng(seed)
    frame["y"] = 1 + rng.normal(0, 1, 15)[school] + 0.4 * frame["ses"] + own.normal(0, 1, 150)
    return frame


def fitted(formula: str) -> rx.LmerFitList:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankDeficientWarning)  # said by the fit, which other tests look at
        return rx.lmer_list(formula, [tied_frame(seed) for seed in range(3)])


@pytest.fixture(scope="module")
def tied() -> rx.LmerFitList:
    return fitted(TIED)


@pytest.fixture(scope="module")
def free() -> rx.LmerFitList:
    """The same model in cells and without the column that another determines: of full rank."""
    frames = [tied_frame(seed).assign(cell=lambda d: d["k"] + d["m"]) for seed in range(3)]
    return rx.lmer_list("y ~ z + ses + cell + (1 | school)", frames)


PREDICTIONS = {
    "estimates": lambda model: model.predict(NEW),
    "confidence": lambda model: model.predict(NEW, interval="confidence"),
    "prediction": lambda model: model.predict(NEW, interval="prediction"),
    "draws": lambda model: model.predict_interval(NEW, n_sims=20, seed=1),
    "fixed": lambda model: model.predict_interval(NEW, which="fixed", n_sims=20, seed=1),
    "analytic": lambda model: model.predict_interval(NEW, method="analytic"),
}


@pytest.mark.parametrize("name", PREDICTIONS)
@pytest.mark.parametrize("pooled", [False, True])
def test_rows_outside_the_row_space_have_no_prediction(tied, name, pooled):
    with pytest.warns(RankDeficientWarning, match=SAID):
        table = PREDICTIONS[name](tied.pool() if pooled else tied[1])
    assert table.loc[LOST].isna().all(axis=None)
    assert table.loc[KEPT].notna().all(axis=None)


@pytest.mark.parametrize("pooled", [False, True])
def test_other_rows_are_those_of_the_model_of_full_rank(tied, free, pooled):
    one, other = (fits.pool() if pooled else fits[1] for fits in (tied, free))
    rows = NEW.loc[KEPT].assign(cell=lambda d: d["k"] + d["m"])
    for interval in ("confidence", "prediction"):
        expected = other.predict(rows, interval=interval)
        pd.testing.assert_frame_equal(one.predict(rows, interval=interval), expected, rtol=1e-6)


def test_the_order_of_the_terms_does_not_matter(tied):
    other = fitted("y ~ m * k + ses2 + ses + z + (1 | school)").pool()
    with pytest.warns(RankDeficientWarning, match="where 'ses' is not what 'ses2' makes it"):
        table = other.predict(NEW, interval="confidence")
    with pytest.warns(RankDeficientWarning):
        expected = tied.pool().predict(NEW, interval="confidence")
    pd.testing.assert_frame_equal(table, expected, rtol=1e-6)


def test_each_part_of_a_prediction(tied):
    with pytest.warns(RankDeficientWarning, match=SAID):
        table = tied[0].predict_interval(NEW, which="all", n_sims=20, seed=1)
    missing = table.loc[LOST].groupby("effect")["estimate"].apply(lambda v: v.isna().all())
    assert missing.to_dict() == {"combined": True, "fixed": True, "school": False}
    assert table.loc[KEPT].notna().all(axis=None)
    # random effects have a prediction in every row
    assert tied[0].predict_interval(NEW, which="random", n_sims=20, seed=1).notna().all(axis=None)


def test_rows_of_the_data_are_predicted(tied):
    pooled = tied.pool()
    frames = [tied_frame(seed) for seed in range(3)]
    np.testing.assert_allclose(pooled.predict(frames)["estimate"], pooled.fitted(), rtol=1e-9)
    assert pooled.predict()["estimate"].notna().all()
    assert pooled.predict(pooled.average_obs(), interval="confidence").notna().all(axis=None)
    assert pooled.predict(pooled.draw_obs(5, seed=1)).notna().all(axis=None)


def test_frames_of_imputations_are_told_apart(tied):
    good = NEW.loc[KEPT]
    bad = good.assign(ses2=[0.6, 5.0])
    with pytest.warns(RankDeficientWarning, match="for row 'C' of newdata for imputation 2, where 'ses2' is not"):
        table = tied.pool().predict([good, bad, good])
    assert table["estimate"].isna().tolist() == [False, True]


def test_cases_that_are_moved(tied):
    with pytest.warns(RankDeficientWarning, match=SAID):
        impact = tied.pool().re_impact(NEW, n_sims=20, seed=1)
    assert impact.groupby("case")["estimate"].apply(lambda v: v.isna().all()).tolist() == [True, False, False, True]
    assert impact.loc[impact["case"].isin([2, 3])].notna().all(axis=None)
    with pytest.warns(RankDeficientWarning, match=SAID):
        margins = tied[0].re_margins(NEW, n_sims=20, seed=1, percentiles=[20, 80])
    lost = margins["estimate"].isna()
    assert (lost == (margins["case"].isin([1, 4]) & margins["effect"].isin(["combined", "fixed"]))).all()


def test_one_of_two_tied_variables_is_moved(tied):
    case = tied.pool().average_obs()
    with pytest.warns(RankDeficientWarning, match="for rows 0, 1 of newdata, where 'ses2' is not what 'ses' makes it"):
        assert tied.pool().predict(rx.wiggle(case, {"ses": [-1.0, 1.0]}))["estimate"].isna().all()
    assert tied.pool().predict(rx.wiggle(case, {"z": [-1.0, 1.0]})).notna().all(axis=None)


def test_figures_have_gaps_or_are_refused(tied):
    for model in (tied[0], tied.pool()):
        for draw in (plot.effect, plot.spaghetti):
            with pytest.raises(DataError, match="would be empty, for all along it 'ses2' is not what 'ses' makes it"):
                draw(model, "ses")
        with pytest.warns(RankDeficientWarning, match=r"has gaps, where 'k\[T.c\]:m\[T.v\]' is not 0"):
            ax = plot.effect(model, "k", by="m")
        drawn = {part.get_label(): np.asarray(part.lines[0].get_ydata(), dtype=float) for part in ax.containers}
        assert np.isnan(drawn["m = v"]).tolist() == [False, False, True]
        assert np.isfinite(drawn["m = u"]).all()
    plot.effect(tied[0], "z")  # the others at their averages, which keep the tie
    matplotlib.pyplot.close("all")


def test_saved_and_refitted_models_know(tied, tmp_path: Path):
    pooled = tied.pool()
    pooled.save(tmp_path / "model")
    again = rx.load(tmp_path / "model")
    assert isinstance(again, rx.PooledLmer)
    with pytest.warns(RankDeficientWarning):
        expected = pooled.predict(NEW, interval="confidence")
    with pytest.warns(RankDeficientWarning, match=SAID):
        pd.testing.assert_frame_equal(again.predict(NEW, interval="confidence"), expected)
    other = rx.refit(tied[0], tied_frame(7)["y"])[0]
    with pytest.warns(RankDeficientWarning, match=SAID):
        assert other.predict(NEW)["estimate"].isna().tolist() == [True, False, False, True]


def test_a_cell_that_is_empty_in_one_imputation_is_refused_by_the_fit():
    frames = [tied_frame(seed) for seed in range(3)]
    for frame in frames[:2]:
        frame.loc[frame.index % 10 == 9, "m"] = "v"
    with pytest.raises(DesignError, match=r"'k\[T.c\]:m\[T.v\]' is determined by the others in imputation 3 but"):
        rx.lmer_list("y ~ k * m + (1 | school)", frames)


# -- the rule itself, against the rank of dense matrices ------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_the_rank_decides_in_any_unit_and_order(seed, unit):
    rng = np.random.default_rng(seed)
    basis = np.column_stack([np.ones(40), rng.normal(size=(40, 3)), np.zeros(40)])
    mix = np.eye(5)[:, :4] @ rng.integers(-2, 3, size=(4, 2))
    x = np.column_stack([basis, basis @ mix])[:, rng.permutation(7)]
    inside = rng.normal(size=(5, 40)) @ x
    rows = np.vstack([inside, inside + 0.01 * rng.normal(size=(5, 7)), np.eye(7)])
    rank = np.linalg.matrix_rank(x)
    expected = [np.linalg.matrix_rank(np.vstack([x, row])) > rank for row in rows]
    units = unit ** rng.choice([0.0, 0.5, 1.0], size=7)
    for order in (np.arange(7), np.arange(7)[::-1]):
        scaled = (x * units)[:, order]
        kept = []
        for j in range(7):  # as many of the first columns as are independent
            if np.linalg.matrix_rank(x[:, order[[*kept, j]]]) > len(kept):
                kept.append(j)
        ties = find_ties(scaled, np.array(kept), list("abcdefg"))
        assert ties.broken((rows * units)[:, order]).any(axis=1).tolist() == expected


@pytest.mark.parametrize("c", [0.0, 1e3, 1e6, 1e9])
def test_the_rule_is_that_near_zero_wherever_zero_is(c):
    rng = np.random.default_rng(3)
    x, z = np.round(rng.normal(size=(2, 120)) * 2**10) / 2**10
    near = np.column_stack([np.ones(120), x, x, z, np.tile([0, 1], 60)])
    near = np.column_stack([near, near[:, 4:] * near[:, [1, 1]]])
    new = np.array(
        [[1, 1, 1, 0, 1, 1, 1], [1, 1, 2, 0, 0, 0, 0], [1, 1, 1 + 2**-10, 0, 0, 0, 0], [1, 1, 1, 0, 1, 1, 2]]
    )
    shift = np.eye(7)
    shift[0, 2] = shift[4, 6] = c  # the second column of each pair is far from zero
    for order in ([0, 1, 2, 3, 4, 5, 6], [0, 2, 1, 3, 4, 6, 5]):
        names = [list("1xszfuv")[j] for j in order]
        ties = find_ties((near @ shift)[:, order], np.array([0, 1, 3, 4, 5]), names)
        assert ties.broken((new @ shift)[:, order]).any(axis=1).tolist() == [False, True, True, True]
        assert not ties.broken((near @ shift)[:, order]).any()


def test_rows_of_a_fit_with_tied_columns_far_from_zero_have_no_prediction():
    frame = tied_frame(0).assign(big=lambda d: d["ses"] + 1e6)
    new = pd.DataFrame({"ses": [1.0, 1.0], "big": [1e6 + 1, 1e6 + 2], "school": [3, 3]})
    for formula, name in {"y ~ ses + big + (1 | school)": "big", "y ~ big + ses + (1 | school)": "ses"}.items():
        with pytest.warns(RankDeficientWarning, match="dropping 1 column"):
            fit = rx.lmer(formula, frame)
        with pytest.warns(RankDeficientWarning, match=f"for row 1 of newdata, where '{name}' is not what 'Intercept'"):
            assert fit.predict(new)["estimate"].isna().tolist() == [False, True]


def test_rows_as_inexact_as_the_data_are_estimable():
    rng = np.random.default_rng(1)
    a = rng.normal(size=200)
    x = np.column_stack([np.ones(200), a, (2 * a).astype(np.float32)])
    x[7, 2] += 1e-5  # one row that is off
    ties = find_ties(x, np.array([0, 1]), ["Intercept", "a", "b"])
    assert not ties.broken(x).any()
    assert ties.broken(np.array([[1.0, 1.0, 2.0], [1.0, 1.0, 2.001], [1.0, 0.0, 1e-3]])).ravel().tolist() == [
        False, True, True,
    ]  # fmt: skip
    assert not find_ties(x, np.arange(3), ["Intercept", "a", "b"]).broken(x).any()


def test_every_output_names_the_columns_left_out(tied):
    note, pooled = "left out, as other columns determine them: ses2, k[T.c]:m[T.v]", tied.pool()
    for text in (tied, tied[0], tied[0].summary(), pooled, pooled.summary(), pooled.display()):
        assert note in str(text)
    for model in (tied[0], pooled):
        assert note in model.tidy().attrs["notes"]
        assert note.capitalize()[:40] in model.report()
        assert note.replace("[", r"\[")[:40].capitalize() in model.to_markdown()


def test_a_hypothesis_about_a_column_left_out_says_so(tied):
    name, pooled = "k[T.c]:m[T.v]", tied.pool()
    said = r"'k\[T.c\]:m\[T.v\]'.* was left out of the model, as other columns determine it"
    for ask in (tied[0].contrast, tied[0].test, pooled.contrast, pooled.test):
        for given in (name, f"2*{name} - ses", pd.DataFrame({name: [1.0]})):
            with pytest.raises(FormulaError, match=said):
                ask(given)
    with pytest.raises(FormulaError, match=said):
        tied[0].contrast({"a": name})
