"""Imputations and their analyses: what is imputed, seeds, pooling, standard errors, files, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from reference_based_cases import MODEL, drawn, means, trial

import remlax as rx
from remlax.errors import DataError, FormulaError, ImputationError, ImputationWarning
from remlax.fitting.mmrm.posterior import draw_parameters
from remlax.fitting.mmrm.reweighted import refit_weighted
from remlax.impute import ReferenceResult
from remlax.impute.reference_based import resamples
from remlax.impute.reference_based.model import ReferenceModel

mpl.use("Agg")
ANALYSIS = "y ~ base + arm"


def impute(data: pd.DataFrame | None = None, formula: str = MODEL, **options: Any) -> ReferenceResult:
    usual: dict[str, Any] = {"arm": "arm", "reference": "placebo", "draws": "none"}
    return rx.impute.reference(trial() if data is None else data, formula, **(usual | options))


def values(found: ReferenceResult) -> np.ndarray:
    return np.stack([frame["y"].to_numpy() for frame in found.data.frames])


# -- imputations ------------------------------------------------------------------------------------------------------


def test_observed_cells_stay_and_missing_ones_are_filled() -> None:
    found, seen = drawn(), trial()["y"].notna().to_numpy()
    assert found.data.K == len(found) == 20
    assert np.isfinite(values(found)).all()
    assert (values(found)[:, seen] == trial()["y"].to_numpy()[seen]).all()
    pd.testing.assert_frame_equal(found.data.original, trial())
    assert (values(found)[:, ~seen].std(axis=0) > 0.1).all()


@pytest.mark.parametrize("draws", ["bootstrap", "posterior"])
def test_an_imputation_depends_on_its_number_and_not_on_how_many_there_are(draws: str) -> None:
    np.testing.assert_allclose(values(drawn(draws, 17)), values(drawn(draws))[:17], rtol=1e-8)


def test_draws_average_to_the_conditional_means() -> None:
    missing = trial()["y"].isna().to_numpy()
    center = values(means())[0, missing]
    for draws in ("bootstrap", "posterior"):
        cells = values(drawn(draws, 200))[:, missing]
        z = (cells.mean(axis=0) - center) / (cells.std(axis=0) / np.sqrt(200))
        assert abs(z).max() < 4.5
        # proper draws vary more than cells do around fixed parameters
        assert cells.std(axis=0).mean() > 0.9


def test_rows_of_missed_visits_need_not_be_there() -> None:
    without = impute(trial().dropna())
    frame = without.data.frames[0].sort_values(["id", "visit"])
    np.testing.assert_allclose(frame["y"], values(means())[0], rtol=1e-8)
    assert frame["base"].tolist() == trial()["base"].tolist()
    assert without.data.original.shape == trial().shape


def test_visits_and_patients_named_beside_the_formula() -> None:
    short = impute(formula="y ~ base * visit + arm * visit", visit="visit", id="id")
    np.testing.assert_array_equal(values(short), values(means()))


def test_refits_are_fits_of_the_resampled_patients() -> None:
    model: ReferenceModel = means()._model
    counts = np.ones((20, len(model.patient)))
    counts[1, 3] = 0
    counts[1, 4] = 2
    found = refit_weighted(model.fitted, counts)
    np.testing.assert_allclose(found.beta[0], model.fitted.beta[0], rtol=1e-6)
    names = [model.trial.patients[i] for i in model.patient]
    data = trial().dropna()
    again = data[data["id"] == names[4]].assign(id="twice")
    fit = rx.mmrm(MODEL, pd.concat([data[data["id"] != names[3]], again], ignore_index=True))
    np.testing.assert_allclose(found.beta[1], fit.fixef().to_numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.sigmas[1, 0], fit.residual_covariance().to_numpy(), rtol=1e-5)
    assert not found.failed.any()


def test_posterior_draws_have_the_covariance_of_the_coefficients_given_sigma() -> None:
    fitted = means()._model.fitted
    d, p = fitted.theta.shape[1], fitted.beta.shape[1]
    beta, sigmas = draw_parameters(fitted, np.zeros((20, d)), np.eye(20, p))
    np.testing.assert_allclose(beta[-1], fitted.beta[0], rtol=1e-9)
    np.testing.assert_allclose(sigmas[-1], fitted.sigmas[0], rtol=1e-9)
    away = beta - fitted.beta[0]
    np.testing.assert_allclose(away.T @ away, fitted.vcov[0], rtol=1e-6, atol=1e-9)
    # innovation variances: the draws of their logarithms have the inverse of the information as covariance
    z = np.vstack([np.eye(d), np.zeros((20 - d, d))])
    phi = fitted.theta[0] + z @ np.linalg.inv(np.linalg.cholesky(np.asarray(fitted.opt.hess)[0] / 2))
    _, moved = draw_parameters(fitted, z, np.zeros((20, p)))
    innovations = np.linalg.det(moved[:, 0, :1, :1]) / float(fitted.model.y_scale[0]) ** 2
    np.testing.assert_allclose(np.log(innovations) / 2, phi[:, 0], rtol=1e-8)


def test_numbers_may_name_arms_and_visits() -> None:
    data = trial().assign(arm=(trial()["arm"] == "drug") * 1.0, visit=trial()["visit"].str[1:].astype(int))
    model = "y ~ base * factor(visit) + arm * factor(visit) + us(visit | id)"
    by_arm = {0: "mar", 1: "copy-reference"}
    found = impute(data, model, reference=0, strategy=by_arm, delta={1: {4: 2.0}})
    usual = impute(strategy={"placebo": "mar", "drug": "copy-reference"}, delta={"drug": {"v4": 2.0}})
    np.testing.assert_allclose(values(found), values(usual), rtol=1e-6)
    ours, row = found.ancova(ANALYSIS, 4).iloc[0], usual.ancova(ANALYSIS, "v4").iloc[0]
    assert ours["term"] == "1 - 0"
    assert ours["std_error"] == pytest.approx(row["std_error"], rel=1e-5)


def test_resamples_without_a_fit_are_drawn_again_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    refits, calls = ReferenceModel.refits, []

    def failing(self: ReferenceModel, counts: np.ndarray) -> Any:
        parameters, failed = refits(self, counts)
        calls.append(len(counts))
        return parameters, failed | ((np.arange(len(counts)) == 1) & (len(calls) == 1))

    monkeypatch.setattr(ReferenceModel, "refits", failing)
    with pytest.warns(ImputationWarning, match="1 resamples of the patients, beside the 20 used, had no fit"):
        found = impute(draws="bootstrap", m=20, seed=3)
    assert found.n_replaced == 1
    assert "1 resamples without a usable fit were drawn again" in found.summary()
    ours, usual = values(found), values(drawn())
    np.testing.assert_array_equal(ours[[0, 2]], usual[[0, 2]])
    assert (ours[1] != usual[1]).any()

    def never(self: ReferenceModel, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return refits(self, counts)[0], np.ones(len(counts), bool)

    monkeypatch.setattr(ReferenceModel, "refits", never)
    monkeypatch.setattr(resamples, "MOST_ATTEMPTS", 1)
    with pytest.raises(ImputationError, match="could not be fitted to resamples of the patients, 2 times in a row"):
        impute(draws="bootstrap", m=20)
    with pytest.raises(ImputationError, match="the jackknife needs all of them"):
        impute().ancova(ANALYSIS)


# -- events and strategies --------------------------------------------------------------------------------------------


def with_event(**at: object) -> pd.DataFrame:
    return trial().assign(event=lambda d: d["id"].map(at))


def test_a_strategy_for_each_arm_or_patient() -> None:
    by_arm = impute(strategy={"drug": "jump-to-reference", "placebo": "mar"})
    np.testing.assert_allclose(values(by_arm), values(means()), rtol=1e-12)
    column = trial().assign(how=np.where(trial()["arm"] == "drug", "last-mean", None))
    mixed, lmcf, mar = (impute(column, strategy=own) for own in ("how", "last-mean", "mar"))
    drug = (trial()["arm"] == "drug").to_numpy()
    np.testing.assert_allclose(values(mixed), np.where(drug, values(lmcf), values(mar)), rtol=1e-12)
    assert "last mean carried forward (drug); missing at random (placebo)" in repr(mixed)


def test_an_event_may_be_a_visit_or_a_time() -> None:
    numbers = trial().assign(visit=trial()["visit"].str[1:].astype(int), event=np.nan)
    numbers.loc[numbers["id"] == "p05", "event"] = 1.5
    model = "y ~ base * factor(visit) + arm * factor(visit) + us(visit | id)"
    found = impute(numbers, model, event="event")
    assert found.events.loc["drug"].tolist() == [0, 1, 0, 0, 29]
    named = impute(with_event(p05="v2"), event="event")
    np.testing.assert_allclose(values(named), values(found), rtol=1e-6)


def test_values_after_the_event_can_be_imputed() -> None:
    complete = trial().groupby("id")["y"].transform(lambda y: y.notna().all())
    who = trial().loc[complete & (trial()["arm"] == "drug"), "id"].iloc[0]
    kept = impute(with_event(**{who: "v4"}), event="event")
    gone = impute(with_event(**{who: "v4"}), event="event", after_event="missing")
    at = ((trial()["id"] == who) & (trial()["visit"] == "v4")).to_numpy()
    assert values(kept)[0, at] == trial().loc[at, "y"].to_numpy()
    assert values(gone)[0, at] != trial().loc[at, "y"].to_numpy()
    assert gone.imputed.to_numpy().sum() == kept.imputed.to_numpy().sum() + 1
    # under MAR what follows the event is part of the fit
    mar = impute(with_event(**{who: "v4"}), event="event", strategy="mar")
    np.testing.assert_allclose(values(mar), values(impute(strategy="mar")), rtol=1e-8)


def test_patients_without_an_observation_are_imputed_from_their_covariates() -> None:
    data = trial().assign(y=trial()["y"].where(trial()["id"] != "p01"))
    with pytest.warns(ImputationWarning, match="1 patients have no observed 'y' \\('p01'\\)"):
        found = impute(data)
    own = found.data.frames[0].query("id == 'p01'")
    beta = found.fit.fixef()
    for name, t in (("v1", 0), ("v4", 3)):
        mean = beta["Intercept"] + beta["base"] * own["base"].iloc[0] + beta["arm[T.placebo]"]
        if t:
            slope = beta[f"base:visit[T.{name}]"] * own["base"].iloc[0]
            mean += beta[f"visit[T.{name}]"] + slope + beta[f"visit[T.{name}]:arm[T.placebo]"]
        assert own["y"].iloc[t] == pytest.approx(mean, rel=1e-9)


def test_the_account() -> None:
    text = means().summary()
    assert "Estimand: difference of 'drug' and 'placebo' (arm), where after the event" in text
    assert "patients have the mean of 'placebo' (jump to reference; patients with an event: drug" in text
    events, cells = means().events, means().imputed
    assert events.to_numpy().sum() == 60
    assert cells.to_numpy().sum() == trial()["y"].isna().sum()
    assert cells.loc["placebo", "v2"] == 1 + events.loc["placebo", "v2"]
    assert "nothing is assumed: there are no events" in impute(with_event(), event="event").summary()
    assert "Added to imputed cells after the event: 1 to 2 (" in impute(delta={"v2": 1, "v4": 2}).summary()


# -- analyses ---------------------------------------------------------------------------------------------------------


def least_squares(frame: pd.DataFrame) -> tuple[float, float]:
    """Difference of arms at the last visit and its variance, by the normal equations."""
    last = frame[frame["visit"] == "v4"]
    x = np.column_stack([np.ones(len(last)), last["base"], last["arm"] == "drug"]).astype(float)
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ x.T @ last["y"].to_numpy()
    residual = last["y"].to_numpy() - x @ beta
    return float(beta[2]), float(residual @ residual / (len(x) - 3) * inverse[2, 2])


def test_drawn_imputations_are_pooled_by_rubins_rules() -> None:
    table = drawn().ancova(ANALYSIS).set_index("term")
    estimates, variances = np.array([least_squares(frame) for frame in drawn().data.frames]).T
    row = table.loc["drug - placebo"]
    assert row["estimate"] == pytest.approx(estimates.mean(), rel=1e-10)
    total = variances.mean() + (1 + 1 / 20) * estimates.var(ddof=1)
    assert row["std_error"] == pytest.approx(np.sqrt(total), rel=1e-10)
    assert row["df"] < 57
    assert table.loc["drug", "estimate"] - table.loc["placebo", "estimate"] == pytest.approx(row["estimate"])
    assert "standard errors by Rubin's rules of 20 imputations" in drawn().ancova(ANALYSIS).notes[0]


def test_the_bootstrap_repeats_the_whole_procedure() -> None:
    found = means()
    row = found.ancova(ANALYSIS, se="bootstrap", n_boot=200).iloc[0]
    jackknife = found.ancova(ANALYSIS, se="jackknife").iloc[0]
    assert row["estimate"] == pytest.approx(least_squares(found.data.frames[0])[0], rel=1e-9)
    assert row["estimate"] == jackknife["estimate"]
    assert row["std_error"] == pytest.approx(jackknife["std_error"], rel=0.25)
    # one resample by hand: patients that are counted twice are there twice
    resampled = found._resamples["bootstrap", 200]
    weights = resampled.counts[7]
    frame = found.data.frames[0].assign(y=np.nan)
    frame.loc[frame["visit"] == "v4", "y"] = resampled.at(3).resamples[7]
    rows = frame[frame["visit"] == "v4"]
    want = least_squares(rows.loc[rows.index.repeat(weights.astype(int))])[0]
    lanes = resampled.at(3)
    ancova = found._analysed(ANALYSIS, None, "jackknife", 2, 0.95)[0]
    assert ancova.estimates(lanes.resamples[[7]], weights[None])[0, 0] == pytest.approx(want, rel=1e-9)


def test_delta_and_tipping_point() -> None:
    plain = drawn().ancova(ANALYSIS).iloc[0]
    table = drawn().tipping_point(ANALYSIS, [0, 1.5, 3])
    assert list(table.columns[:3]) == ["delta_drug", "term", "estimate"]
    assert table["estimate"].iloc[0] == pytest.approx(plain["estimate"], rel=1e-12)
    options: dict[str, Any] = {"draws": "bootstrap", "m": 20, "seed": 3}
    added = impute(delta={"drug": 3}, **options)
    row = added.ancova(ANALYSIS).iloc[0]
    np.testing.assert_allclose(row[["estimate", "std_error", "df"]].astype(float),
                               table.iloc[2][["estimate", "std_error", "df"]].astype(float))  # fmt: skip
    moved = values(added) - values(drawn())
    after = trial()["y"].isna().to_numpy() & ~trial()["id"].isin(["p00", "p01"]).to_numpy()
    np.testing.assert_allclose(moved, np.broadcast_to(np.where(after & (trial()["arm"] == "drug"), 3, 0), moved.shape))
    grid = means().tipping_point(ANALYSIS, {"drug": [0, 2, 8], "placebo": [0, 1]})
    assert len(grid) == 6
    for table in (drawn().tipping_point(ANALYSIS, [0, 1.5, 3]), grid):
        ax = rx.plot.tipping_point(table)
        assert ax.get_xlabel() == "Added to imputed values of drug"
        plt.close(ax.figure)
    with pytest.raises(DataError, match="the figure needs every combination"):
        rx.plot.tipping_point(grid.iloc[1:])
    with pytest.raises(DataError, match="several differences of arms"):
        rx.plot.tipping_point(pd.concat([grid, grid.assign(term="other")]))


@pytest.mark.slow
def test_imputations_are_data_sets_for_other_models() -> None:
    fits = rx.mmrm_list(MODEL, drawn().data)
    row = fits.pool().contrast("-arm[T.placebo] - visit[T.v4]:arm[T.placebo]")
    pooled = drawn().ancova("y ~ base + arm").iloc[0]
    # complete data: the model gives each visit the regression of that visit
    assert row["estimate"].iloc[0] == pytest.approx(pooled["estimate"], abs=0.02)


def test_an_analysis_is_a_method_of_a_study(tmp_path: Path) -> None:
    def rubin(data: pd.DataFrame, context: rx.sim.Context) -> pd.DataFrame:
        found = impute(data, draws="bootstrap", m=20, seed=context.seed)
        return found.ancova(ANALYSIS).query("term == 'drug - placebo'")

    def jackknife(data: pd.DataFrame, context: rx.sim.Context) -> pd.DataFrame:
        return impute(data).ancova(ANALYSIS).query("term == 'drug - placebo'")

    study = rx.sim.Study(
        scenarios={"n": [60]},
        generate=rx.sim.FrameGenerator(lambda scenario, rng: trial(int(rng.integers(100)), scenario["n"])),
        methods={"rubin": rubin, "jackknife": jackknife},
        estimands={"drug - placebo": -3.0},
        replications=2,
        seed=1,
    )
    study.run(tmp_path, progress=False)
    table = study.performance(tmp_path).query("summary == 'all' and measure == 'model_se'").set_index("method")
    assert table["n_used"].tolist() == [2, 2]
    assert table.loc["rubin", "estimate"] > table.loc["jackknife", "estimate"]


def test_only_the_difference_of_arms_matters_not_their_coding() -> None:
    coded = trial().assign(arm=pd.Categorical(trial()["arm"], ["placebo", "drug"]))
    columns = ["estimate", "std_error"]
    table = impute(coded).ancova("y ~ base + factor(arm)")[columns].iloc[0]
    usual = means().ancova(ANALYSIS)[columns].iloc[0]
    np.testing.assert_allclose(table.astype(float), usual.astype(float), rtol=1e-8)


# -- what is refused --------------------------------------------------------------------------------------------------


def changed(column: str, cells: object, who: str = "p03") -> pd.DataFrame:
    return trial().assign(**{column: trial()[column].mask(trial()["id"] == who, cells)})


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "strategy": ({"strategy": "j2r"}, "strategy='j2r' is neither a strategy nor a column; strategies are 'jump-to"),
    "strategy: number": ({"strategy": 3}, "strategy=3: give a strategy, a dict of them by arm, or a column"),
    "strategy: unknown arm": ({"strategy": {"drag": "mar"}}, "strategy= names 'drag', which is not among 'drug', 'pl"),
    "strategy: arm lacking": ({"strategy": {"drug": "mar"}}, "strategy= has none for the arm 'placebo'"),
    "strategy: wrong in dict": ({"strategy": {"drug": "mar", "placebo": "x"}}, "strategy= has 'x'; strategies are"),
    "arm": ({"arm": "group"}, "'group'"),
    "arm not in the formula": ({"formula": "y ~ visit + us(visit | id)"}, "arm='arm' is not in the fixed part of"),
    "reference": ({"reference": "control"}, "reference='control' is no arm of 'arm', which has 'drug', 'placebo'"),
    "one arm": ({"data": trial().query("arm == 'drug'")}, "all patients are in the arm 'drug' of 'arm'"),
    "baseline": ({"data": changed("base", np.nan)}, r"'base' is missing for 1 patients \('p03'\)"),
    "arm missing": ({"data": changed("arm", None)}, "column 'arm' has 4 missing cells"),
    "arm changes": (
        {"data": trial().assign(arm=trial()["arm"].mask(trial().index == 13, "placebo"))},
        "column 'arm' changes between the rows of patient 'p03'",
    ),
    "visit twice": ({"data": pd.concat([trial(), trial().iloc[:1]])}, "patient 'p00' has visit 'v1' twice"),
    "response": ({"formula": "log(y) ~ arm * visit + us(visit | id)"}, r"the response 'log\(y\)' is no column"),
    "response: text": ({"data": trial().assign(y="a")}, "the response 'y' holds .*, not numbers"),
    "response: infinite": ({"data": changed("y", np.inf)}, "the response 'y' has infinite cells"),
    "nothing missing": ({"data": trial().fillna({"y": 1.0})}, "'y' is observed at every visit of every patient"),
    "event: no column": ({"event": "stop"}, "'stop'"),
    "event: not a name": ({"event": 3}, "event=3: give the name of the column"),
    "event: no visit": ({"data": with_event(p03="v9"), "event": "event"}, "event='event' has 'v9', which is no visit"),
    "event: after the last": (
        {"data": trial().assign(visit=trial()["visit"].str[1:].astype(int), late=9.0), "event": "late",
         "formula": "y ~ arm * factor(visit) + us(visit | id)"},
        "event='late' of 60 patients is after the last visit, 4",
    ),
    "last mean without one": (
        {"data": with_event(p03="v1"), "event": "event", "strategy": "last-mean"},
        r"strategy 'last-mean' has no mean to carry forward for 1 patients without a visit before the event \('p03'\)",
    ),
    "all after the event": (
        {"data": trial().assign(event="v4"), "event": "event"},
        "nobody has an observed 'y' before the event at visit 'v4'",
    ),
    "delta: visit": ({"delta": {"v7": 1.0}}, "delta= names 'v7', which is neither a visit"),
    "delta: text": ({"delta": "big"}, "delta='big' must be a finite number"),
    "m": ({"m": 0, "draws": "bootstrap"}, "m=0 must be a whole number of at least 1"),
    "m without draws": ({"m": 5}, "m=5: without draws all imputations are the same"),
    "draws": ({"draws": "bayes"}, "draws='bayes' is not known: use 'bootstrap', 'posterior' or 'none'"),
    "seed": ({"seed": -1}, "seed=-1"),
    "after_event": ({"after_event": "drop"}, "after_event='drop' is not known: use 'kept' or 'missing'"),
    "dependent columns": (
        {"formula": "y ~ base + b2 + arm * visit + us(visit | id)", "data": trial().assign(b2=2 * trial()["base"])},
        r"the coefficients '(base|b2)' of the imputation model cannot be estimated",
    ),
    "visit without id": ({"formula": "y ~ arm * visit", "visit": "visit"}, "id=None must be a text"),
    "covariates of missed visits": (
        {"data": trial().assign(z=np.arange(240) / 7).dropna(), "formula": "y ~ z + arm * visit + us(visit | id)"},
        "'z' is missing for .* patients",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::remlax.errors.RankDeficientWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_get_a_sentence(case: str) -> None:
    options, message = REFUSED[case]
    with pytest.raises(ImputationError, match=message):
        impute(**options)


ANALYSES: dict[str, tuple[Any, str]] = {
    "visit": (lambda: means().ancova(ANALYSIS, "v9"), "visit='v9' is no visit: they are 'v1', 'v2', 'v3', 'v4'"),
    "response": (lambda: means().ancova("base ~ arm"), "the response of 'base ~ arm' is not 'y'"),
    "no arm": (lambda: means().ancova("y ~ base"), "'y ~ base' does not have 'arm'"),
    "random": (lambda: means().ancova("y ~ arm + (1 | base)"), "is analysed by least squares at one visit"),
    "column": (lambda: means().ancova("y ~ arm + age"), "names 'age', which is no column"),
    "dependent": (lambda: means().ancova("y ~ arm + base + I(2 * base)"), "determine each other at visit 'v4'"),
    "many": (lambda: means().ancova("y ~ arm + base + factor(id)"), "determine each other|too few for"),
    "se": (lambda: drawn().ancova(ANALYSIS, se="jackknife"), "se='jackknife' is for conditional means"),
    "se: unknown": (lambda: means().ancova(ANALYSIS, se="sandwich"), "se='sandwich' is not known: use 'jackknife'"),
    "n_boot": (lambda: means().ancova(ANALYSIS, se="bootstrap", n_boot=1), "n_boot=1 must be a whole number"),
    "level": (lambda: means().ancova(ANALYSIS, conf_level=95), "conf_level=95 must be a number between 0 and 1"),
    "formula": (lambda: means().ancova(3), "formula=3 must be a text"),
    "one imputation": (lambda: drawn("bootstrap", 1).ancova(ANALYSIS), "one imputation has no standard error"),
    "deltas: none": (lambda: means().tipping_point(ANALYSIS, []), "deltas= is empty"),
    "deltas: arm": (lambda: means().tipping_point(ANALYSIS, {"drag": [1]}), "deltas= names 'drag'"),
    "deltas: number": (lambda: means().tipping_point(ANALYSIS, 3), "deltas=3 must be a list of numbers"),
}


@pytest.mark.parametrize("case", ANALYSES)
def test_mistakes_of_analyses_get_a_sentence(case: str) -> None:
    call, message = ANALYSES[case]
    with pytest.raises(ImputationError, match=message):
        call()


def test_formulas_that_cannot_be_read() -> None:
    with pytest.raises(FormulaError, match="no covariance term"):
        impute(formula="y ~ arm * visit")
    with pytest.raises(FormulaError, match="several covariance terms"):
        impute(visit="visit", id="id")


# -- other ways to the same numbers -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_missing_at_random_is_that_of_the_joint_model() -> None:
    """Compound symmetry is a random intercept: the joint multilevel model imputes from the same distribution."""
    m, data = 200, trial()
    dummies = {name: (data["visit"] == name) * 1.0 for name in ("v2", "v3", "v4")}
    data = data.assign(**dummies, drug=(data["arm"] == "drug") * 1.0)
    data = data.assign(**{f"{name}d": data[name] * data["drug"] for name in dummies})
    model = "y ~ base + arm * visit + cs(visit | id)"
    ours = impute(data, model, strategy="mar", draws="bootstrap", m=m, seed=1)
    joint = "y ~ 1 + base + v2 + v3 + v4 + drug + v2d + v3d + v4d + (1 | id)"
    chains = rx.impute.joint(data, joint, m=m, burn=300, iter=100, seed=2)
    theirs = np.array([least_squares(frame) for frame in chains.data.frames])
    mine = np.array([least_squares(frame) for frame in ours.data.frames])
    error = np.sqrt(2 * mine[:, 0].var(ddof=1) / m)
    assert abs(mine[:, 0].mean() - theirs[:, 0].mean()) < 4 * error
    assert mine[:, 0].std() == pytest.approx(theirs[:, 0].std(), rel=0.25)
    assert mine[:, 1].mean() == pytest.approx(theirs[:, 1].mean(), rel=0.1)
