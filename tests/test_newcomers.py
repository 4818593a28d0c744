"""What people who come from lme4, mice, statsmodels and patsy write at first: the message says what to write here."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax import sim
from remlax.errors import (
    DataError,
    DataWarning,
    FileFormatError,
    FormulaError,
    FormulaWarning,
    ImputationError,
    PoolingWarning,
    SimulationError,
    UnknownNameError,
)

MODEL = "y ~ x + arm + (1 | g)"


def frame(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(6), 8)
    arm = np.tile(["a", "b", "c", "a"], 12)
    y = rng.normal(size=6)[g] + (arm == "b") + rng.normal(size=48)
    return pd.DataFrame({"y": y, "x": rng.normal(3.0, 1.0, 48), "arm": arm, "g": g})


@pytest.fixture(scope="module")
def data() -> rx.ImputedData:
    return rx.ImputedData.from_frames([frame(seed) for seed in (1, 2, 3)])


@pytest.fixture(scope="module")
def fits(data: rx.ImputedData) -> rx.LmerFitList:
    return rx.lmer_list(MODEL, data)


@pytest.mark.parametrize(
    ("name", "of_fit", "of_fits", "of_pooled"),
    [
        ("params", "use fit.fixef()", "use fits.fixef()", "use pooled.fixef()"),
        ("pvalues", "use fit.tidy('fixed'), with", "use fits.pool().tidy('fixed')", "use pooled.tidy('fixed'), with"),
        ("llf", "use fit.loglik", "use fits[0].loglik", "not pooled: fits.glance() has one per data set"),
        (
            "scale",
            "use fit.sigma ** 2",
            "use fits[0].sigma ** 2",
            "use pooled.glance()['sigma'], or pooled.tidy",
        ),
        ("conf_int", "use fit.confint('profile')", "use fits.confint('profile')", "use pooled.confint() for the coef"),
        ("wald_test", "use fit.test('x = 0')", "use fits.pool().test('x = 0')", "use pooled.test('x = 0')"),
    ],
)
def test_hints_speak_of_the_object_in_hand(
    fits: rx.LmerFitList, name: str, of_fit: str, of_fits: str, of_pooled: str
) -> None:
    for result, hint in ((fits[0], of_fit), (fits, of_fits), (fits.pool(), of_pooled)):
        with pytest.raises(UnknownNameError) as caught:
            getattr(result, name)
        assert hint in str(caught.value)


def test_what_only_single_fits_have(fits: rx.LmerFitList) -> None:
    pooled = fits.pool()
    for name, hint in (("aic", "D4"), ("sigma", r"pooled.glance\(\)"), ("nobs", r"pooled.glance\(\)\['nobs'\]")):
        with pytest.raises(UnknownNameError, match=f"{name}'; .*{hint}"):
            getattr(pooled, name)
    with pytest.raises(UnknownNameError, match=r"each of its fits has: .*; the pooled model has fits\.pool\(\)\.tidy"):
        _ = fits.tidy  # type: ignore[attr-defined]
    with pytest.raises(UnknownNameError, match=r"'Summary' .* use fit\.tidy\('fixed'\) and fit\.tidy\('ran_pars'\)"):
        _ = fits[0].summary().tables  # type: ignore[attr-defined]


def test_a_confidence_level_is_not_level(fits: rx.LmerFitList) -> None:
    pooled = fits.pool()
    for call in (lambda: pooled.predict(level=0.9), lambda: pooled.predict_interval(level=0.9)):
        with pytest.raises(DataError, match=r"level=0\.9 would name random effects: .* conf_level=0\.9"):
            call()
    with pytest.raises(DataError, match=r"level=3 is not known: use 'population'"):
        pooled.predict(level=3)  # type: ignore[arg-type]


def test_columns_are_no_data_frame(fits: rx.LmerFitList) -> None:
    with pytest.raises(DataError, match=r"newdata is a dict of columns: give pandas\.DataFrame\(newdata\)"):
        fits[0].predict({"x": [1.0], "arm": ["a"], "g": [0]})  # type: ignore[arg-type]


def test_means_over_given_values_say_which(fits: rx.LmerFitList) -> None:
    means = fits.pool().emmeans("arm", at={"x": [1, 2]})
    assert str(means).endswith("At: mean over x = 1, 2")
    halves = [fits.pool().emmeans("arm", at={"x": x}).means["estimate"] for x in (1, 2)]
    np.testing.assert_allclose(means.means["estimate"], sum(halves) / 2, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("head", r"use data\[0\]\.head of one data set, or data\.map\(lambda frame: \.\.\.\)"),
        ("m", r"use data\.K"),
        ("summary", r"use rx\.impute\.observed_vs_imputed\(data\)"),
        ("to_longg", "use to_long$"),
        ("zzz", "no attribute 'zzz'$"),
    ],
)
def test_an_imputed_data_set_is_several_frames(data: rx.ImputedData, name: str, hint: str) -> None:
    with pytest.raises(UnknownNameError, match=hint):
        getattr(data, name)


def test_positions_and_copies_of_imputed_data(data: rx.ImputedData) -> None:
    with pytest.raises(DataError, match=r"there is no data\[3\]: the 3 data sets are data\[0\] to data\[2\]"):
        data[3]
    assert data[-1].equals(data[2])
    for again in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert [a.equals(b) for a, b in zip(again, data, strict=True)] == [True] * 3
    with pytest.raises(AttributeError, match=r"no attribute '__array__'$"):
        data.__array__  # type: ignore[attr-defined]  # noqa: B018


def test_several_data_sets_for_lmer(data: rx.ImputedData) -> None:
    for several in (data, list(data), dict(enumerate(data))):
        with pytest.raises(DataError, match=r"data holds several data sets: use rx\.lmer_list\(formula, data\)"):
            rx.lmer(MODEL, several)  # type: ignore[arg-type]


def test_stacked_imputations_for_lmer(data: rx.ImputedData) -> None:
    """Three copies below each other would pass for three times as many rows."""
    long = data.to_long()
    with pytest.warns(DataWarning, match=r"column '\.imp' numbers imputations: .*use rx\.lmer_list\(formula, rx\.read"):
        assert rx.lmer(MODEL, long).nobs == 3 * 48
    assert rx.lmer(MODEL, long[long[".imp"] == 2]).nobs == 48  # without a warning
    assert rx.lmer("y ~ `.imp` + (1 | g)", long).nobs == 3 * 48  # the model knows of it


def test_what_is_no_list_of_frames(data: rx.ImputedData) -> None:
    long = data.to_long()
    with pytest.raises(DataError, match=r"use rx\.read_imputations\(frame\) .* below each other$"):
        rx.lmer_list(MODEL, long)
    with pytest.raises(DataError, match=r"not a str: the formula comes first, and a file is read by rx\.read_imput"):
        rx.lmer_list(MODEL, "imputed.csv")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"a groupby was given: give dict\(list\(groupby\)\)"):
        rx.lmer_list(MODEL, long.groupby(".imp"))  # type: ignore[arg-type]
    assert rx.ImputedData.from_frames(dict(list(long.groupby(".imp")))).labels == (1, 2, 3)


def test_the_original_is_no_imputation(data: rx.ImputedData) -> None:
    """Set 0 of mice and Stata would be fitted with the others, where its variables are complete."""
    long = data.with_original(data[0]).to_long(include_original=True)
    for number in (".imp", "_mi_m"):
        sets = dict(list(long.rename(columns={".imp": number}).groupby(number)))
        with pytest.raises(DataError, match=rf"imputation 0 is the incomplete original \('{number}' is 0 in it"):
            rx.lmer_list(MODEL, sets)
        with pytest.raises(DataError, match="imputation 1 is the incomplete original"):
            rx.lmer_list(MODEL, list(sets.values()))
        del sets[0]
        assert rx.lmer_list(MODEL, sets).labels == [1, 2, 3]
        assert rx.lmer(MODEL, long[long[".imp"] == 0]).nobs == 48


def test_imputations_beside_each_other(data: rx.ImputedData) -> None:
    broad = pd.concat([part.add_suffix(f".{k}") for k, part in enumerate(data, 1)], axis=1)
    with pytest.raises(FileFormatError, match=r"beside each other \(y\.1, y\.2, \.\.\.\): write complete\(m, 'long'"):
        rx.read_imputations(broad)
    with pytest.raises(FileFormatError, match=r"for one data set, pandas and rx\.lmer"):
        rx.read_imputations(data[0])


@pytest.mark.parametrize("term", ["x + x^2", "x**2", "arm + (x^3)"])
def test_powers_of_one_column_say_that_they_are_none(term: str) -> None:
    plain = rx.lmer(f"y ~ {'arm + ' * ('arm' in term)}x + (1 | g)", frame(1))
    with pytest.warns(FormulaWarning, match=r"x\^[23] among the terms is the column itself, as in R; .* I\(x\^[23]\)"):
        fit = rx.lmer(f"y ~ {term} + (1 | g)", frame(1))
    assert list(fit.fixef().index) == list(plain.fixef().index)


def test_powers_that_mean_something_are_silent() -> None:
    fit = rx.lmer("y ~ (x + arm)^2 + I(x^2) + (1 | g)", frame(1))
    assert {"x:arm[T.b]", "I(x^2)"} <= set(fit.fixef().index)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("pow(x, 2)", r"'pow' .*write I\(x\^2\)"),
        ("np.power(x, 2)", r"'np\.power' .*write I\(x\^2\)"),
        ("standardize(x)", r"write scale\(x\)"),
        ("np.where(x > 3, 1, 0)", r"write ifelse\(x > 3, 1, 0\)"),
        ("Q('my var')", "stand in backticks, as in `my var`"),
        ("lag(x)", "make a column of it first"),
        ("Group(g)", r"write a random term such as \(1 \| g\)"),
        ("C(arm, Sum)", r"'Sum' .*write C\(f, contr\.sum\)"),
        ("C(arm, Treatment)", r"'Treatment' .*relevel\(f, ref='b'\)"),
        ("x > 3", r"> reaches over '\+' to the random terms; a logical column stands in I\(\), as in I\(x > 3\)"),
        ("(x > 3)", r"for a logical column write I\(x > 3\)"),
    ],
)
def test_habits_of_patsy(term: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        rx.lmer(f"y ~ {term} + (1 | g)", frame(1))


def test_data_sets_are_named() -> None:
    with pytest.raises(UnknownNameError, match=r"'load'; the data sets are dyestuff\(\), hsb\(\), hsb_imputed\(\), "):
        _ = rx.datasets.load  # type: ignore[attr-defined]
    assert not hasattr(rx.datasets, "__wrapped__")


def test_patterns_are_of_the_incomplete_data(data: rx.ImputedData) -> None:
    with pytest.raises(ImputationError, match=r"is complete: give the incomplete data, which are data\.original"):
        rx.impute.fraction_missing(data)  # type: ignore[arg-type]


def one_way(tau: float) -> pd.DataFrame:
    """Balanced groups whose REML estimates are, by the analysis of variance, an SD of ``tau`` and errors of SD 1."""
    means, within = np.array([-1.5, -0.5, 0.5, 1.5, 0.0]), np.array([-1.0, 1.0, -1.0, 1.0])
    y = np.repeat(means * np.sqrt((tau**2 + 0.25) / means.var(ddof=1)), 4) + np.tile(within * np.sqrt(0.75), 5)
    return pd.DataFrame({"y": y, "g": np.repeat(list("abcde"), 4)})


def test_an_sd_near_zero_is_said() -> None:
    sds = (0.8, 0.03, 1.1)
    fits = rx.lmer_list("y ~ 1 + (1 | g)", [one_way(tau) for tau in sds])
    with pytest.warns(
        PoolingWarning, match=r"all but 0, .* mean_sd has the plain mean, .*: g sd__Intercept \(imputation 2\)$"
    ):
        table = fits.pool().tidy("ran_pars")
    np.testing.assert_allclose(table["mean_sd"], [np.mean(sds), 1.0], rtol=1e-5)
    assert table["conf_high"][0] > 1000.0  # what the warning is about
    assert "all but 0" in fits.pool().to_markdown()
    beyond = rx.lmer("y ~ 1 + (1 | g)", one_way(0.003)).tidy("ran_pars")
    assert beyond["conf_high"][0] == np.inf  # the limit is beyond the floats, and nothing overflows with a warning
    fits[::2].pool().tidy("ran_pars")  # without it there is none


# simulation studies


def trial(scenario: dict[str, float]) -> sim.MultilevelDesign:
    return sim.MultilevelDesign(
        factors=[sim.Factor("clinic", 10)],
        size=4,
        beta={"Intercept": 1.0, "arm": scenario["effect"]},
        random=[sim.RandomTerm("clinic", {"Intercept": 0.5})],
        sigma=1.0,
        covariates=[sim.Covariate("arm", level="clinic", kind="balanced", mean=0.5)],
    )


def study(**changes: Any) -> sim.Study:
    settings: dict[str, Any] = {
        "scenarios": {"effect": [0.5]},
        "generate": trial,
        "methods": {"all": sim.CompleteData()},
        "model": "y ~ arm + (1 | clinic)",
        "estimands": {"arm": 0.5},
        "replications": 3,
        "seed": 1,
    }
    return sim.Study(**(settings | changes))


def test_the_intercept_of_a_design_has_its_usual_names() -> None:
    designs = [
        sim.MultilevelDesign([sim.Factor("g", 2)], 2, {name: 1.0}, [sim.RandomTerm("g", {name: 0.5})], 1.0)
        for name in ("1", "Intercept", "(Intercept)")
    ]
    assert designs[0] == designs[1] == designs[2]


@pytest.mark.parametrize(("share", "ones"), [(0.5, [0, 1, 0, 1, 0, 1]), (1 / 3, [0, 0, 1, 0, 0, 1])])
def test_balanced_arms_are_dealt_in_turn(share: float, ones: list[int]) -> None:
    covariates = [
        sim.Covariate("arm", level="g", kind="balanced", mean=share),
        sim.Covariate("own", kind="balanced", mean=share),
    ]
    design = sim.MultilevelDesign([sim.Factor("g", 6)], 6, {"arm": 1.0}, [], 0.0, covariates)
    for data in sim.simulate_frames(design, 2, seed=1):
        assert data.groupby("g")["arm"].agg(["min", "max"]).to_numpy().T.tolist() == [ones, ones]
        assert [part.tolist() for _, part in data.groupby("g")["own"]] == [ones] * 6
        assert data["y"].tolist() == data["arm"].tolist()


def test_balanced_arms_are_not_drawn() -> None:
    with pytest.raises(SimulationError, match="of kind 'balanced' is not drawn: leave out icc="):
        sim.Covariate("arm", kind="balanced", mean=0.5, icc={"g": 0.1})
    with pytest.raises(SimulationError, match=r"mean=, lies between 0 and 1, got 0\.0; 0\.5 is even odds"):
        sim.Covariate("arm", kind="balanced")


def test_a_study_that_finished_nothing_can_be_corrected(tmp_path: Path) -> None:
    with pytest.raises(FormulaError, match="did you mean 'arm'"):
        study(model="y ~ armm + (1 | clinic)").run(tmp_path, progress=False)
    with pytest.raises(SimulationError, match=r"'all' gave no estimand 'arms'; it gave 'Intercept', 'arm', 'sd__"):
        study(estimands={"arms": 0.5}).run(tmp_path, progress=False, block_size=2)
    store = study().run(tmp_path, progress=False, block_size=2)
    assert str(store) == f"{tmp_path}: 1 scenarios x 3 replications, 2 of 2 blocks finished"
    assert len(study().results(tmp_path)) == 3
    with pytest.raises(SimulationError, match=r"another study: seed differs\. Use a new directory; data of the same"):
        study(seed=2).run(tmp_path, block_size=2)
    with pytest.raises(SimulationError, match=r"another study: method cc \(new\) differs\."):
        study(methods={"all": sim.CompleteData(), "cc": sim.CompleteCases()}).run(tmp_path, block_size=2)
    with pytest.raises(SimulationError, match="was started with block_size=2: keep it"):
        study().run(tmp_path)


def test_a_replication_is_printed_in_a_line() -> None:
    lost = sim.Amputation(0.5, patterns=[["y"]], mechanism="MCAR")
    replay = study(ampute=lambda scenario: lost).replay({"effect": 0.5}, 2)
    rows = int(replay.data["y"].isna().sum())
    assert 0 < rows < 40
    assert str(replay) == (
        f"Replication 2 of {{'effect': 0.5}}: 40 rows, {rows} of them incomplete; .data, .complete and .run() of 'all'"
    )


def test_directories_of_one_seed_hold_the_same_data(tmp_path: Path) -> None:
    """What the page on power says about a method that is added later."""
    parts = []
    for name, method in (("all", sim.CompleteData()), ("again", sim.CompleteCases())):
        own = study(methods={name: method})
        own.run(tmp_path / name, progress=False)
        parts.append(own.results(tmp_path / name))
    np.testing.assert_array_equal(parts[0]["estimate"], parts[1]["estimate"])  # nothing is missing
    table = sim.performance(pd.concat(parts), truth="truth", reference_method="all")
    gain = table[(table["measure"] == "relative_precision") & (table["method"] == "again")]
    np.testing.assert_allclose(gain["estimate"], 0.0, atol=1e-9)
