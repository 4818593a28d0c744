"""Replicate weights against a loop of single fits, plausible values against the rules written out, print-outs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.pooling import pool_rubin
from remlax.survey import fit as survey_fit
from survey_cases import pupils, wemix

FORMULA = "y ~ x + (1 | school)"
WEIGHTS = {"school": "w3", "pupil": "w1"}
VALUES = [f"pv{m}" for m in range(1, 6)]


@cache
def jackknife() -> pd.DataFrame:
    """Replicate weights that leave out one school each."""
    schools = sorted(set(pupils()["school"]))
    factor = len(schools) / (len(schools) - 1)
    columns = {f"r{s}": pupils()["w1"] * factor * (pupils()["school"] != s) for s in schools}
    return pd.DataFrame(columns)


@cache
def replicated() -> rx.SurveyFit:
    return rx.lmer(FORMULA, pupils(), sampling_weights=WEIGHTS, conditional=False, replicates=jackknife(), method="jk1")


def parameters(fit: rx.SurveyFit) -> np.ndarray:
    shares = [*fit.icc()["estimate"], *fit.r2()["estimate"]]
    return np.array([*fit.fixef(), *fit.tidy("ran_pars")["estimate"], *shares])


def errors(fit: rx.SurveyFit) -> np.ndarray:
    shares = [*fit.icc()["std_error"], *fit.r2()["std_error"]]
    return np.array([*fit.tidy()["std_error"], *fit.tidy("ran_pars")["std_error"], *shares])


def test_jackknife_is_a_loop_over_fits_without_one_school() -> None:
    found = []
    for school in sorted(set(pupils()["school"])):
        rest = pupils()[pupils()["school"] != school].reset_index(drop=True)
        found.append(parameters(rx.lmer(FORMULA, rest, sampling_weights=WEIGHTS, conditional=False)))
    deviations = np.array(found) - parameters(replicated())
    assert len(deviations) == 24
    # the weights of rows that are left count for R2, whose divisor differs a little with the number of rows
    expected = np.sqrt(23 / 24 * np.sum(deviations**2, axis=0))
    np.testing.assert_allclose(errors(replicated())[:5], expected[:5], rtol=1e-6)
    np.testing.assert_allclose(errors(replicated())[5:], expected[5:], rtol=1e-2)


def test_replicates_in_blocks_are_those_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_fit, "CHUNK_BYTES", 7 * survey_fit._lane_bytes(replicated().layout, 2))
    assert [len(own) for own in survey_fit._chunks(25, survey_fit._lane_bytes(replicated().layout, 2))] == [8, 8, 8, 4]
    blocks = rx.lmer(FORMULA, pupils(), sampling_weights=WEIGHTS, conditional=False, replicates=jackknife(),
                     method="jk1")  # fmt: skip
    np.testing.assert_allclose(parameters(blocks), parameters(replicated()), rtol=1e-12)
    np.testing.assert_allclose(errors(blocks), errors(replicated()), rtol=1e-9)


def test_degrees_of_freedom_are_those_of_the_package_survey() -> None:
    assert replicated().tidy()["df"].tolist() == [wemix()["jk1"]["df"]] * 2
    assert wemix()["jk1"]["scale"] == pytest.approx(23 / 24)


@pytest.mark.parametrize(
    ("method", "factor"),
    [("brr", 1 / 24), ("fay", 1 / (24 * 0.7**2)), ("jk1", 23 / 24), ("jk2", 1.0), ("bootstrap", 1 / 23)],
)
@pytest.mark.filterwarnings("ignore:replicates made by method")
def test_factors_of_the_methods(method: str, factor: float) -> None:
    fit = rx.lmer(FORMULA, pupils(), sampling_weights=WEIGHTS, conditional=False, replicates=jackknife(),
                  method=method, fay=0.3)  # fmt: skip
    ratio = fit.vcov().to_numpy() / replicated().vcov().to_numpy()
    np.testing.assert_allclose(ratio, factor * 24 / 23, rtol=1e-9)
    half = rx.lmer(FORMULA, pupils(), sampling_weights=WEIGHTS, conditional=False, replicates=jackknife(),
                   method=method, replicate_factor=0.5)  # fmt: skip
    np.testing.assert_allclose(half.vcov() / replicated().vcov(), 0.5 * 24 / 23, rtol=1e-9)


def test_replicates_that_vary_within_schools_are_split_between_school_and_rows() -> None:
    rng = np.random.default_rng(2)
    ratios = rng.uniform(0.5, 1.5, (6, len(pupils())))
    frame = pupils().assign(**{f"r{k}": pupils()["w1"] * own for k, own in enumerate(ratios)})
    fit = rx.lmer(FORMULA, frame, sampling_weights=WEIGHTS, conditional=False,
                  replicates=[f"r{k}" for k in range(6)], method="bootstrap")  # fmt: skip
    found = []
    for k in range(6):
        total = frame.groupby("school")["w1"].transform("sum")
        own = frame.groupby("school")[f"r{k}"].transform("sum") / total
        one = frame.assign(w3=frame["w3"] * own, w1=frame[f"r{k}"])
        found.append(rx.lmer(FORMULA, one, sampling_weights=WEIGHTS, conditional=False).fixef())
    deviations = np.array(found) - fit.fixef().to_numpy()
    np.testing.assert_allclose(fit.vcov(), deviations.T @ deviations / 5, rtol=1e-7)


# -- plausible values ------------------------------------------------------------------------------------------------


@cache
def several(rule: str = "rubin") -> rx.SurveyFit:
    return rx.lmer(
        "score ~ x + (1 | school)", pupils(), sampling_weights=WEIGHTS, conditional=False, plausible_values=VALUES,
        combine=rule,
    )  # fmt: skip


def test_plausible_values_are_single_fits_combined_by_rubins_rules() -> None:
    fit, theirs = several(), wemix()["pv"]
    by_value = fit.by_value()
    np.testing.assert_allclose(by_value["estimate"], np.ravel([one["coef"] for one in theirs]), rtol=1e-6)
    estimates = by_value["estimate"].to_numpy().reshape(5, 2)
    covariances = np.stack(
        [
            rx.lmer(f"{name} ~ x + (1 | school)", pupils(), sampling_weights=WEIGHTS, conditional=False)
            .vcov()
            .to_numpy()
            for name in VALUES
        ]
    )
    pooled, table = pool_rubin(estimates, covariances, dfcom=23), fit.tidy()
    for ours, name in (("estimate", "estimate"), ("std_error", "std_error"), ("df", "df"), ("p_value", "p_value"),
                       ("conf_low", "conf_low")):  # fmt: skip
        np.testing.assert_allclose(table[ours], getattr(pooled, name), rtol=1e-7)
    np.testing.assert_allclose(table["between"], np.var(estimates, axis=0, ddof=1), rtol=1e-7)
    sds = [np.sqrt(one["vars"]) for one in theirs]
    np.testing.assert_allclose(fit.tidy("ran_pars")["estimate"], np.mean(sds, axis=0), rtol=1e-5)


def test_rules_of_agencies_have_other_sampling_variances_and_normal_limits() -> None:
    by_value = several().by_value()
    own = by_value["std_error"].to_numpy().reshape(5, 2) ** 2
    between = np.var(by_value["estimate"].to_numpy().reshape(5, 2), axis=0, ddof=1)
    for rule, sampling in (("pisa", own.mean(axis=0)), ("naep", own[0])):
        table = several(rule).tidy()
        np.testing.assert_allclose(table["std_error"], np.sqrt(sampling + 1.2 * between), rtol=1e-9)
        np.testing.assert_allclose(table["conf_high"], table["estimate"] + 1.959963984540054 * table["std_error"])
        assert rule.upper() in several(rule).report()


def test_imputed_data_sets_take_a_plausible_value_each() -> None:
    rng = np.random.default_rng(5)
    frames = [pupils().assign(x=pupils()["x"] + rng.normal(0, 0.2, len(pupils()))) for _ in VALUES]
    fit = rx.lmer_survey(
        "score ~ x + (1 | school)", frames, sampling_weights=WEIGHTS, conditional=False, plausible_values=VALUES
    )
    for m, (frame, value) in enumerate(zip(frames, VALUES, strict=True)):
        one = rx.lmer(f"{value} ~ x + (1 | school)", frame, sampling_weights=WEIGHTS, conditional=False)
        np.testing.assert_allclose(fit.by_value()["estimate"][2 * m : 2 * m + 2], one.fixef(), rtol=1e-8)
        np.testing.assert_allclose(fit.by_value()["std_error"][2 * m : 2 * m + 2], one.tidy()["std_error"], rtol=1e-7)


def test_a_test_of_one_coefficient_is_its_t_squared() -> None:
    for fit in (replicated(), several("pisa")):
        test, row = fit.test("x"), fit.tidy().set_index("term").loc["x"]
        assert test["statistic"].item() == pytest.approx(row["statistic"] ** 2)
        assert test["p_value"].item() == pytest.approx(row["p_value"])
    assert several().test("x = 0")["statistic"].item() == pytest.approx(several().tidy()["statistic"][1] ** 2)
    both = replicated().test(["Intercept = 9", "x"])
    difference = replicated().fixef().to_numpy() - [9, 0]
    expected = difference @ np.linalg.solve(replicated().vcov(), difference) / 2
    assert both["statistic"].item() == pytest.approx(expected)


# -- what is shown ---------------------------------------------------------------------------------------------------


def test_print_outs_say_what_was_done() -> None:
    text = str(several())
    for words in ("w3 of school, w1 of the rows (total)", "5 plausible values, combined by Rubin's rules",
                  "the sandwich over 24 units of 'school'", "groups: school, 24"):  # fmt: skip
        assert words in text
    assert "24 replicates by the jackknife (JK1)" in str(replicated())
    report = replicated().report()
    assert "maximum pseudo-likelihood" in report
    assert "24 replicates by the jackknife (JK1)" in report
    facts = several().glance().iloc[0]
    assert (facts["nobs"], facts["n_values"], facts["n_replicates"]) == (len(pupils()), 5, 0)


def test_a_variance_of_zero_is_said_to_be_one() -> None:
    rng = np.random.default_rng(6)
    frame = pupils().assign(y=rng.normal(size=len(pupils())))
    frame["y"] -= frame.groupby("school")["y"].transform("mean")
    with pytest.warns(rx.SingularFitWarning, match="singular fit: a variance is estimated as 0"):
        fit = rx.lmer(FORMULA, frame, sampling_weights=WEIGHTS, conditional=False)
    assert fit.is_singular
    assert "singular fit" in str(fit)
    assert np.isnan(fit.tidy("ran_pars")["std_error"][0])
    assert np.isfinite(fit.tidy()["std_error"]).all()


# -- what is refused -------------------------------------------------------------------------------------------------


def changed(**columns: object) -> pd.DataFrame:
    return pupils().assign(**columns)


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "no such level": ({"sampling_weights": {"scool": "w3", "pupil": "w1"}}, "'scool' and 'pupil', which are no groupi"),
    "one wrong level": ({"sampling_weights": {"schol": "w3"}}, "'schol', which is no grouping factor: did you mean"),
    "no such column": ({"sampling_weights": {"school": "w9"}}, "'w9' of 'school' are not a column"),
    "varying": ({"sampling_weights": {"school": "w1"}}, "vary within its level 's00', from .* Is 'w1' the weight of"),
    "missing": (
        {"data": changed(w1=lambda d: d["w1"].mask(d.index == 3)), "sampling_weights": {"pupil": "w1"}},
        "are missing in 1 rows",
    ),
    "zero": (
        {"data": changed(w1=lambda d: d["w1"].mask(d.index == 3, 0.0)), "sampling_weights": {"pupil": "w1"}},
        r"are 0 in 1 rows \(3\): a row without weight is not in the sample",
    ),
    "text": ({"data": changed(w1="a"), "sampling_weights": {"pupil": "w1"}}, "must be numbers"),
    "scale": ({"scale": "sum"}, "scale='sum' is not known: use 'size', 'effective' or None"),
    "a list": ({"sampling_weights": ["w1", "w3"]}, "must be a dict such as"),
    "an array": ({"sampling_weights": {"school": np.ones(3)}}, "must be the name of a column, not a ndarray"),
    "a value twice": ({"plausible_values": ["pv1", "pv1"]}, "names a column twice"),
    "no residual": ({"data": changed(y=lambda d: 2 * d["x"])}, "the fixed part explains y exactly"),
    "method missing": ({"replicates": ["w1", "w2"]}, "replicates= needs method="),
    "replicates missing": ({"method": "jk1"}, "give them as replicates="),
    "method": ({"replicates": ["w1", "w2"], "method": "jk3"}, "method='jk3' is not known"),
    "one replicate": ({"replicates": ["w1"], "method": "jk1"}, "at least two are needed"),
    "replicate column": ({"replicates": ["w1", "r1"], "method": "jk1"}, "replicates= names 'r1'"),
    "replicate rows": ({"replicates": jackknife().iloc[:5], "method": "jk1"}, "has 5 rows, and the data have"),
    "replicate of what": (
        {"replicates": pd.DataFrame({f"r{a}": np.exp(pupils()["x"] * a) for a in (3, 3.1)}), "method": "jk1"},
        "are not replicates of the product",
    ),
    "strata with replicates": ({"replicates": jackknife(), "method": "jk1", "strata": "stratum"}, "leave one of them"),
    "strata": ({"strata": "state"}, "strata='state' is not a column"),
    "strata vary": ({"strata": "room"}, "the strata 'room' vary within 's00'"),
    "one unit": (
        {"data": changed(stratum=lambda d: d["stratum"].mask(d["school"] == "s03", "c")), "strata": "stratum"},
        "the stratum 'c' of 'stratum' has a single unit",
    ),
    "value": ({"plausible_values": ["pv1", "pv9"]}, "'pv9', which is no column"),
    "response": ({"formula": "x + y ~ 1 + (1 | school)", "plausible_values": ["pv1"]}, "must be a name such as"),
    "combine": ({"combine": "timss", "plausible_values": VALUES}, "combine='timss' is not known"),
    "crossed": ({"formula": "y ~ x + (1 | school) + (1 | room)", "plausible_values": ["y"]}, "are crossed"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_cannot_be_used_is_refused_in_a_sentence(name: str) -> None:
    given, message = REFUSED[name]
    call: dict[str, object] = {"formula": FORMULA, "data": pupils(), **given}
    with pytest.raises(rx.RemlaxError, match=message):
        rx.lmer_survey(**call)  # type: ignore[arg-type]


def test_files_of_spss_keep_labels_and_codes_of_missing_values(tmp_path: Path) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    frame = pupils().assign(girl=np.arange(len(pupils())) % 2 + 1.0)
    frame.loc[[3, 7], "girl"] = 9.0
    pyreadstat.write_sav(
        frame[["school", "y", "x", "w1", "girl"]],
        tmp_path / "pupils.sav",
        variable_value_labels={"girl": {1: "boy", 2: "girl", 9: "no answer"}},
        missing_ranges={"girl": [9]},
    )
    read = rx.read_spss(tmp_path / "pupils.sav")
    with pytest.warns(rx.DroppedRowsWarning, match=r"2 of \d+ rows .*girl 2"):
        fit = rx.lmer("y ~ x + girl + (1 | school)", read, sampling_weights={"pupil": "w1"})
    kept = frame[frame["girl"] < 9].assign(girl=lambda d: d["girl"] - 1)
    other = rx.lmer("y ~ x + girl + (1 | school)", kept, sampling_weights={"pupil": "w1"})
    assert fit.fixef().index.tolist() == ["Intercept", "x", "girl[T.girl]"]
    np.testing.assert_allclose(fit.fixef(), other.fixef(), rtol=1e-7)
    assert "2 rows with missing cells left out" in str(fit)
