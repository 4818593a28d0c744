"""Tables, contrasts and tests of coefficients against lmerTest, mice, mitml and Rubin's rules."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from fitted_cases import fit_case, fits_case, inference, numbers, r_order, studentratings
from reference_cases import case_names, load_case
from remlax.errors import DataError, FormulaError, PoolingWarning

F_CASES = [name for name in inference("ftests") if name != "versions"]
MI_CASES = case_names("lmm_mi")
# lmerTest's derivatives are numerical: its own df are off by up to 1.6e-4 (statistics of the reference cases)
LMERTEST = 2e-4


@pytest.mark.parametrize("name", case_names("lmm_single"))
def test_satterthwaite_df_of_every_coefficient(name):
    case, fit = fit_case(name)
    reference = case["fits"][0]
    table = fit.tidy("fixed").set_index("term")
    order = r_order(table.index, reference["fixef"])
    assert_allclose(table["df"].iloc[order], numbers(reference["satterthwaite"]["df_accurate"]), rtol=1e-4)
    assert_allclose(table["std_error"].iloc[order], numbers(reference["se"]), rtol=1e-6)


@pytest.mark.parametrize("name", F_CASES)
def test_f_tests_as_lmertest(name):
    case, fit = fit_case(name)
    reference = inference("ftests")[name]
    order = r_order(fit.fixef().index, case["fits"][0]["fixef"])
    matrix = np.zeros((len(reference["L"]), len(order)))
    matrix[:, order] = reference["L"]
    row = fit.test(matrix).iloc[0]
    expected = reference["satterthwaite"]
    assert row["df1"] == expected["df1"]
    assert_allclose([row["statistic"], row["df2"]], [expected["F"], expected["df2"]], rtol=LMERTEST)
    assert_allclose(row["p_value"], expected["p"], rtol=2e-3)


def test_f_test_of_one_row_is_the_squared_t_test():
    _, fit = fit_case("sleepstudy_quadratic_I")
    row, t = fit.test("Days = 3").iloc[0], fit.contrast({"Days": "Days = 3"}).iloc[0]
    assert_allclose([row["statistic"], row["df2"], row["p_value"]], [t["statistic"] ** 2, t["df"], t["p_value"]])


def test_f_test_does_not_depend_on_how_the_hypothesis_is_written():
    _, fit = fit_case("machines_3dim")
    a = fit.test(["Machine[T.B]", "Machine[T.C]"]).iloc[0]
    b = fit.test("Machine[T.B] = Machine[T.C] = 0").iloc[0]
    # the df are not invariant: lmerTest takes the eigenvectors of L C L' as it stands
    assert_allclose(b["statistic"], a["statistic"])
    assert a["df1"] == b["df1"] == 2


@pytest.mark.parametrize("name", ["boundary_trap", "dyestuff2_singular"])
def test_singular_fits_say_what_is_left_out(name):
    _, fit = fit_case(name)
    (note,) = fit.tidy("fixed").attrs["notes"]
    assert "singular fit" in note
    assert "leave out those on the boundary" in note
    assert note in str(fit.summary())
    assert fit_case("sleepstudy_corr")[1].tidy("fixed").attrs["notes"] == []


@pytest.mark.parametrize("name", MI_CASES)
def test_pooled_coefficients_as_mice_and_mitml(name):
    case, fits = fits_case(name)
    reference = case["pooled"]["rubin"]
    for row in reference["by_dfcom"]:
        dfcom = math.inf if row["dfcom"] == "Inf" else float(row["dfcom"])
        table = fits.pool(dfcom=dfcom).tidy("fixed")
        order = r_order(table["term"], reference["qbar"])
        for column, expected in (
            ("estimate", reference["qbar"]),
            ("std_error", reference["se"]),
            ("riv", reference["riv"]),
            ("df", row["df"]),
            ("fmi", row["fmi"]),
        ):
            assert_allclose(table[column].iloc[order], numbers(expected), rtol=1e-6, err_msg=column)
        assert_allclose(table["conf_low"].iloc[order], numbers(row["ci_lower"]), rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", MI_CASES)
def test_default_dfcom_is_the_mean_satterthwaite_df(name):
    case, fits = fits_case(name)
    table = fits.pool().tidy("fixed")
    order = r_order(table["term"], case["fits"][0]["fixef"])
    expected = np.mean([numbers(fit["satterthwaite"]["df_accurate"]) for fit in case["fits"]], axis=0)
    assert_allclose(table["dfcom"].iloc[order], expected, rtol=1e-4)


def test_studentratings_as_mitml():
    about, fits = studentratings()
    for dfcom, key in ((math.inf, "estimates"), (47, "estimates_dfcom_47")):
        table = fits.pool(dfcom=dfcom).tidy("fixed").set_index("term")
        for name, row in about[key].items():
            ours = table.loc[name.replace("(Intercept)", "Intercept")]
            got = [ours[c] for c in ("estimate", "std_error", "statistic", "df", "riv", "fmi")]
            assert_allclose(got, [row[k] for k in ("Estimate", "Std.Error", "t.value", "df", "RIV", "FMI")], rtol=1e-6)


def test_pooled_tests_as_mitml():
    about, fits = studentratings()
    names = ["ReadDis", "SES"]
    for dfcom, method, key in ((math.inf, "D1", "D1"), (47, "D1", "D1_dfcom_47"), (math.inf, "D2", "D2_wald")):
        row = fits.pool(dfcom=dfcom).test(names, method=method).iloc[0]
        expected = about["tests"][key]
        assert_allclose(
            [row["statistic"], row["df1"], row["df2"], row["riv"]], [expected[k] for k in ("F", "df1", "df2", "riv")],
            rtol=1e-6,
        )  # fmt: skip


def test_d1_takes_the_df_of_the_f_tests():
    _, fits = studentratings()
    pooled = fits.pool()
    row = pooled.test(["ReadDis", "SES"]).iloc[0]
    expected = np.mean([fit.test(["ReadDis", "SES"])["df2"].iloc[0] for fit in fits])
    assert_allclose(row["dfcom"], expected)


def test_test_of_one_coefficient_is_the_squared_t_test():
    # k (m - 1) = 4: D1 falls back to the df of Barnard and Rubin, which are those of the table
    _, fits = studentratings()
    pooled = fits.pool()
    row, t = pooled.test("SES = 1").iloc[0], pooled.contrast("SES = 1").iloc[0]
    assert_allclose([row["statistic"], row["df2"], row["p_value"]], [t["statistic"] ** 2, t["df"], t["p_value"]])


def test_contrasts_by_refitting_in_other_coordinates():
    case, fits = fits_case("hsb_vignette")
    pooled = fits.pool()
    frames = [frame.assign(total=frame["minority"] + frame["female"]) for frame in load_case("hsb_vignette")[1]]
    # minority (a) and female (b): y = a m + b f = (a - b) m + b (m + f)
    other = rx.lmer_list("mathach ~ minority + total + ses + meanses + (1 + ses | schid)", frames).pool()
    got = pooled.contrast({"difference": "minority - female"}).iloc[0]
    expected = other.tidy("fixed").set_index("term").loc["minority"]
    columns = ["estimate", "std_error", "statistic", "df", "p_value", "conf_low", "riv", "lambda", "fmi", "b", "dfcom"]
    assert_allclose(got[columns].astype(float), expected[columns].astype(float), rtol=1e-6)
    assert case["formula"].startswith("mathach")


def test_ways_to_write_a_hypothesis():
    _, fits = fits_case("hsb_vignette")
    pooled = fits.pool()
    names = list(pooled.fixef().index)
    matrix = np.zeros((2, 5))
    matrix[0, names.index("ses")] = 1
    matrix[1, names.index("meanses")], matrix[1, names.index("female")] = 2, -1
    expected = pooled.test(matrix, [0, 1])
    frame = pd.DataFrame({"ses": [1, 0], "meanses": [0, 2], "female": [0, -1]})
    for written in (
        pooled.test("ses, 2*meanses - female = 1"),
        pooled.test(["ses = 0", "2 * meanses = 1 + female"]),
        pooled.test(["ses", "meanses/0.5 - female"], q0=[0, 1]),
        pooled.test(frame, q0=[0, 1]),
    ):
        columns = ["statistic", "df1", "df2", "p_value"]
        assert_allclose(written[columns].astype(float), expected[columns].astype(float))
    assert expected["hypothesis"].iloc[0] == "ses = 0; -female + 2*meanses = 1"


def test_interactions_and_r_names_are_read():
    _, fit = fit_case("orthodont_sex")
    assert "age:Sex[T.Female]" in fit.fixef().index
    by_name = fit.contrast("(Intercept) + 11 * age + age:Sex[T.Female]")
    assert_allclose(by_name["estimate"], fit.fixef() @ [1.0, 11.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nothing = 0", "'nothing' in the hypothesis 'nothing = 0' is no coefficient; there are Intercept, minority"),
        ("minority * female", "not linear"),
        ("minority female", r"'\+' or '-' is missing before 'female'"),
        ("minority = ", "empty side"),
        ("minority - minority = 0", "no coefficient is left"),
        ("minority + * 2", "cannot be read"),
        (np.ones((1, 3)), r"shape \(1, 3\); it needs one column for each of Intercept, minority"),
        (np.array([[1, np.nan, 0, 0, 0]]), "not finite"),
        (pd.DataFrame({"sex": [1]}), "the columns of L name no coefficient: sex"),
        ({"a": "ses = 0, female = 0"}, "must be one expression each"),
        ([["a"], [1]], "a hypothesis is text such as"),
    ],
)
def test_hypotheses_that_cannot_be_read(given, message):
    _, fits = fits_case("hsb_vignette")
    with pytest.raises(FormulaError, match=message):
        fits.pool().test(given)


def test_wrong_numbers_of_values_and_names():
    _, fits = fits_case("hsb_vignette")
    pooled = fits.pool()
    with pytest.raises(FormulaError, match="q0 must be one finite number or 2"):
        pooled.test(["ses", "meanses"], q0=[1, 2, 3])
    with pytest.raises(FormulaError, match="1 names for 2 linear combinations"):
        pooled.contrast(["ses", "meanses"], names=["one"])
    with pytest.raises(DataError, match="linearly dependent"):
        pooled.test(["ses = meanses", "meanses = ses"])
    with pytest.raises(DataError, match="method='D3' is not known"):
        pooled.test("ses", method="D3")


def test_degrees_of_freedom_that_are_given():
    _, fits = fits_case("hsb_vignette")
    each = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    pooled = fits.pool(dfcom=each)
    assert_allclose(pooled.tidy("fixed")["dfcom"], each)
    # a combination has the smallest df of the coefficients in it
    assert pooled.contrast("minority - meanses")["dfcom"].iloc[0] == 20
    assert pooled.test(["female", "meanses"])["dfcom"].iloc[0] == 30
    with pytest.warns(PoolingWarning, match="too small"):
        assert "too small" in fits.pool(dfcom=3).test(["female", "meanses"])["note"].iloc[0]
    assert fits.pool(dfcom="residual").tidy("fixed")["dfcom"].tolist() == [7180.0] * 5
    with pytest.raises(DataError, match="'between-within' are not known"):
        fits.pool(dfcom="between-within")
    with pytest.raises(DataError, match=r"shape \(2,\): give one number, or 5"):
        fits.pool(dfcom=[1.0, 2.0])
    assert fits[0].tidy("fixed", ddf=math.inf)["df"].tolist() == [math.inf] * 5
    assert_allclose(fits[0].test("ses", ddf=math.inf)["p_value"], fits[0].tidy("fixed", ddf=math.inf)["p_value"][3])


def test_identical_imputations_give_the_single_fit():
    (frame,) = load_case("sleepstudy_corr")[1]
    fits = rx.lmer_list("Reaction ~ Days + (1 + Days | Subject)", [frame] * 3)
    table, single = fits.pool(dfcom=math.inf).tidy("fixed"), fits[0].tidy("fixed")
    assert_allclose(table[["estimate", "std_error"]], single[["estimate", "std_error"]], rtol=1e-12)
    assert_allclose(table["riv"], 0.0)
    assert np.isinf(table["df"]).all()
    limited = fits.pool().tidy("fixed")
    assert_allclose(limited["df"], 17 * 18 / 20, rtol=1e-6)


@pytest.mark.slow
def test_everything_follows_the_units_of_the_response():
    frames = load_case("hsb_vignette")[1]
    formula = "mathach ~ minority + ses + (1 + ses | schid)"
    a = rx.lmer_list(formula, frames).pool()
    b = rx.lmer_list(formula, [f.assign(mathach=f["mathach"] * 1000) for f in frames]).pool()
    x, y = a.tidy("fixed"), b.tidy("fixed")
    for column in ("estimate", "std_error", "conf_low", "conf_high"):
        assert_allclose(y[column], 1000 * x[column], rtol=1e-7)
    for column in ("statistic", "df", "p_value", "riv", "lambda", "fmi", "dfcom"):
        assert_allclose(y[column], x[column], rtol=1e-6)
    columns = ["statistic", "df2", "p_value", "riv"]
    assert_allclose(
        b.test(["minority", "ses"])[columns].astype(float),
        a.test(["minority", "ses"])[columns].astype(float),
        rtol=1e-6,
    )
