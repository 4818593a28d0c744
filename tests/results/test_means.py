"""Marginal means where a cell is empty, with offsets, weights and transformed responses, against R's emmeans.

The numbers come from tests/reference/scripts/means.R, which also made the data.
"""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import remlax as rx
from fitted_cases import INFERENCE, inference
from reference_cases import read_reference_csv
from remlax.errors import (
    DataError,
    DesignError,
    FormulaError,
    RankDeficientWarning,
    UnknownNameError,
)
from remlax.pooling import pool_scalars
from remlax.results.back_transform import back_transform

# the zero column of an empty cell
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")

# lmerTest's df carry the error of its numerical derivatives
DF = 2e-4
EMPTY = "other columns determine k[T.c]:m[T.v] (no rows, or redundant columns)"


@cache
def sets() -> tuple[pd.DataFrame, ...]:
    frame = read_reference_csv(INFERENCE / "means.csv.gz", {})
    return tuple(part.drop(columns=".imp").reset_index(drop=True) for _, part in frame.groupby(".imp"))


def without_cell(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[~((frame["k"] == "c") & (frame["m"] == "v"))]


@cache
def fit(formula: str, **options: str) -> rx.LmerFit:
    return rx.lmer(formula, sets()[0], **options)


@cache
def empty() -> rx.LmerFit:
    with pytest.warns(RankDeficientWarning, match="dropping 1 column"):
        return rx.lmer(inference("means")["empty"]["formula"], without_cell(sets()[0]))


@cache
def empty_list() -> rx.LmerFitList:
    with pytest.warns(RankDeficientWarning, match="dropping 1 column"):
        return rx.lmer_list(inference("means")["empty"]["formula"], [without_cell(frame) for frame in sets()])


def numbers(values: list[float | None]) -> np.ndarray:
    return np.array(values, dtype=float)


def check(found: pd.DataFrame, expected: dict[str, list], estimate: str = "emmean") -> None:
    assert_allclose(found["estimate"], numbers(expected[estimate]), rtol=1e-6, atol=1e-8)
    assert_allclose(found["std_error"], numbers(expected["SE"]), rtol=1e-6)
    assert_allclose(found["df"], numbers(expected["df"]), rtol=DF)


def test_the_other_cells_have_means_and_differences() -> None:
    expected = inference("means")["empty"]
    # R varies the first factor fastest
    with pytest.warns(RankDeficientWarning, match=r"the mean at m = v, k = c cannot be estimated \(NaN\)"):
        found = empty().emmeans(["m", "k"])
    check(found.means, expected["cells"])
    assert np.isnan(found.matrix.loc["v c"]).all()
    with pytest.raises(FormulaError, match="L holds values that are not finite, in row 'v c'"):
        empty().contrast(found.matrix)
    note = f"the mean at m = v, k = c cannot be estimated (NaN): the data do not say anything about it, since {EMPTY}"
    assert found.means.attrs["notes"] == found.differences().attrs["notes"] == [note]
    assert str(found).endswith(note)
    table = found.differences("none")
    check(table, expected["cells_pairs"], "estimate")
    assert_allclose(table["p_value"], numbers(expected["cells_pairs"]["p.value"]), rtol=1e-4)
    # five means are compared in ten ways; R counts the sixth and its five differences as well
    assert_allclose(found.differences("bonferroni")["p_adjusted"], np.minimum(10 * table["p_value"], 1))
    tukey = stats.studentized_range.sf(np.sqrt(2) * table["statistic"].abs(), 5, table["df"])
    assert_allclose(found.differences()["p_adjusted"], tukey, rtol=1e-6)


def test_averages_over_an_empty_cell() -> None:
    expected = inference("means")["empty"]
    with pytest.warns(RankDeficientWarning, match="the mean at k = c cannot be estimated"):
        found = empty().emmeans("k")
    check(found.means, expected["k"])
    check(found.differences(), expected["k_pairs"], "estimate")
    with pytest.warns(RankDeficientWarning, match="the mean at k = c, m = v cannot be estimated"):
        found = empty().emmeans("k", by="m")
    check(found.means, expected["by_m"])
    table = found.differences()
    assert table["estimate"].isna().tolist() == [False] * 4 + [True] * 2
    # one comparison is left within v
    assert_allclose(table["p_adjusted"][3], table["p_value"][3])
    assert len(empty().emmeans("k", by="m", at={"k": ["a", "b"]}).means) == 4


def test_terms_that_have_a_test_are_tested() -> None:
    expected = inference("means")["empty"]
    with pytest.warns(RankDeficientWarning, match="anova: other columns determine"):
        found = rx.anova(empty())
    assert found["term"].tolist() == expected["anova"]["term"] == ["k", "m", "x", "k:m"]
    assert found["df1"].tolist() == [1, 0, 1, 1]
    assert found.attrs["notes"] == [f"{EMPTY}: k is tested on 1 of 2 df, m is not tested, k:m is tested on 1 of 2 df"]
    assert found["method"].tolist()[1] == "not estimable"
    # the covariate and the interaction as lmerTest has them, the factors as emmeans' joint_tests: lmerTest tests
    # hypotheses about them that depend on which cells are empty
    lmertest, joint = pd.DataFrame(expected["anova"]), pd.DataFrame(expected["joint"]).set_index("model term")
    assert_allclose(found["statistic"][2:], lmertest["F value"][2:], rtol=1e-5)
    assert_allclose(found["df2"][2:], lmertest["DenDF"][2:], rtol=DF)
    assert "m" not in joint.index
    rows = [0, 2, 3]
    assert found["df1"][rows].tolist() == joint.loc[found["term"][rows], "df1"].tolist()
    # joint_tests rounds to three decimals
    assert_allclose(found["statistic"][rows], joint.loc[found["term"][rows], "F.ratio"], atol=6e-4)


def test_terms_do_not_depend_on_which_cell_the_coding_loses() -> None:
    frame = without_cell(sets()[0])
    turned = frame.assign(k=pd.Categorical(frame["k"], ["c", "b", "a"]), m=pd.Categorical(frame["m"], ["v", "u"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankDeficientWarning)
        one = rx.anova(empty())
        other = rx.anova(rx.lmer(inference("means")["empty"]["formula"], turned))
    assert_allclose(one.iloc[:, 1:5].astype(float), other.iloc[:, 1:5].astype(float), rtol=1e-6)


def test_pooled_with_an_empty_cell() -> None:
    expected = inference("means")["empty"]["cells"]
    pooled = empty_list().pool()
    with pytest.warns(RankDeficientWarning, match="the mean at m = v, k = c"):
        found = pooled.emmeans(["m", "k"])
    observed = rx.lmer_list("y ~ 0 + cell + x + (1 | g)", [
        without_cell(frame).assign(cell=lambda d: d["m"] + d["k"]) for frame in sets()
    ]).pool().emmeans("cell")  # fmt: skip
    columns = ["estimate", "std_error", "df", "conf_low", "fmi", "riv", "dfcom"]
    assert_allclose(found.means[columns][:5], observed.means[columns], rtol=1e-6)
    assert np.isnan(found.means[columns].iloc[5]).all()
    assert found.means["k"].tolist() == expected["k"]
    assert "cannot be estimated" in found.means.attrs["notes"][-1]
    differences = found.differences("holm")
    assert_allclose(differences["p_adjusted"].dropna(), observed.differences("holm")["p_adjusted"], rtol=1e-6)
    with pytest.warns(RankDeficientWarning, match="k:m is tested on 1 of 2 df"):
        terms = rx.anova(pooled)
    assert terms["df1"].tolist() == [1, 0, 1, 1]
    assert_allclose(terms["statistic"][2], pooled.test("x")["statistic"][0])
    assert_allclose(terms["statistic"][3], pooled.test("k:m")["statistic"][0])
    assert terms.attrs["n_imputations"] == 2
    with pytest.warns(RankDeficientWarning, match="m is not tested"):
        assert rx.anova(empty_list(), method="D2")["method"].tolist() == ["D2", "not estimable", "D2", "D2"]


def test_a_cell_that_is_empty_in_one_imputation_is_refused_by_the_fit() -> None:
    first, second = sets()
    with pytest.raises(DesignError, match=r"'k\[T\.c\]:m\[T\.v\]' is determined by the others in imputation 2 but not"):
        rx.lmer_list("y ~ k * m + (1 | g)", [first, second.assign(m=second["m"].mask(second["k"] == "c", "u"))])


def test_redundant_columns_take_nothing_from_other_terms() -> None:
    frame = sets()[0].assign(z=lambda d: 1000 * d["x"] + d["w"])
    with pytest.warns(RankDeficientWarning):
        fit = rx.lmer("y ~ x + z + w + m + (1 | g)", frame)
    plain = rx.lmer("y ~ x + w + m + (1 | g)", frame)
    with pytest.warns(RankDeficientWarning, match=r"x is not tested, z is not tested, w is not tested$"):
        table = rx.anova(fit)
    assert_allclose(table.iloc[3, 1:5].astype(float), rx.anova(plain).iloc[2, 1:5].astype(float), rtol=1e-6)
    # the means of x, w and z keep to their relation
    assert_allclose(fit.emmeans("m").means["estimate"], plain.emmeans("m").means["estimate"])
    # where it is broken there are no means, but their differences
    with pytest.warns(RankDeficientWarning, match="the means at m = u; m = v cannot be estimated"):
        found = fit.emmeans("m", at={"z": 7.0})
    assert found.means["estimate"].isna().all()
    assert_allclose(found.differences()["estimate"], plain.emmeans("m").differences()["estimate"])


OFFSETS = {
    "formula": ("y ~ arm + x + offset(o) + (1 | g)", {}),
    "argument": ("y ~ arm + x + (1 | g)", {"offset": "o"}),
    "log": ("y ~ arm + x + offset(log(o)) + (1 | g)", {}),
    "both": ("y ~ arm + x + offset(o) + (1 | g)", {"offset": "w"}),
}


@pytest.mark.parametrize("name", OFFSETS)
def test_an_offset_stands_at_its_mean(name: str) -> None:
    formula, options = OFFSETS[name]
    expected = inference("means")["offset"][name]
    fits = rx.lmer_list(formula, list(sets()), **options)
    pooled = fits.pool().emmeans("arm")
    mean = np.mean([frame["x"].mean() for frame in sets()])
    for one, theirs in zip(fits, expected, strict=True):
        found = one.emmeans("arm", at={"x": mean})
        check(found.means, theirs["means"])
        check(found.differences(), theirs["pairs"], "estimate")
        assert_allclose(one.fixef() @ found.matrix.T + found.offset, theirs["means"]["emmean"], rtol=1e-6)
    # the offset of each imputation, as R takes it, belongs to what varies between them
    estimates, errors, df = (np.array([one["means"][c] for one in expected]) for c in ("emmean", "SE", "df"))
    want = pool_scalars(estimates, errors**2, dfcom=df.mean(axis=0))
    for column in ("estimate", "std_error", "fmi"):
        assert_allclose(pooled.means[column], getattr(want, column), rtol=1e-5)
    assert_allclose(pooled.means["df"], want.df, rtol=DF)
    assert f"offset at its mean = {pooled.offset:.6g}" in str(pooled)
    assert_allclose(pooled.offset, np.mean([one.offset for one in (fit.emmeans("arm") for fit in fits)]))


def test_an_offset_is_the_shift_that_predictions_have() -> None:
    frame = sets()[0]
    one = rx.lmer("y ~ arm + offset(o) + (1 | g)", frame)
    new = pd.DataFrame({"arm": ["active", "control", "high", "low"], "o": frame["o"].mean()})
    assert_allclose(one.emmeans("arm").means["estimate"], one.predict(new, re_formula="~0")["estimate"])
    array = rx.lmer("y ~ arm + (1 | g)", frame, offset=frame["o"].to_numpy())
    assert_allclose(array.emmeans("arm").means["estimate"], one.emmeans("arm").means["estimate"])
    assert one.emmeans("arm").differences()["estimate"][0] == pytest.approx(-one.fixef()["arm[T.control]"])
    with pytest.raises(DataError, match="at= names 'o', which is in the offset: the means take the offset at its mean"):
        one.emmeans("arm", at={"o": 1})
    plain = rx.lmer("y ~ arm + (1 | g)", frame).emmeans("arm")
    assert plain.offset is None
    assert "offset" not in str(plain)


def test_each_treatment_against_the_control() -> None:
    expected = inference("means")["control"]
    found = fit("y ~ arm + x + (1 | g)").emmeans("arm")
    table = found.differences(reference="control")
    assert table["contrast"].tolist() == expected["table"]["contrast"]
    check(table, expected["table"], "estimate")
    turned = found.differences("none", reference="control", reverse=True)
    assert turned["contrast"].tolist() == expected["reverse"]["contrast"]
    check(turned, expected["reverse"], "estimate")
    assert_allclose(turned["conf_low"], -table["conf_high"])
    # mvtnorm's own error is up to 1e-6; its degrees of freedom are whole numbers
    for ddf, name in ((40, "mvt"), (np.inf, "normal")):
        dunnett = fit("y ~ arm + x + (1 | g)").emmeans("arm", ddf=ddf).differences(reference="control")
        assert_allclose(dunnett["p_adjusted"], expected[name], rtol=1e-5, atol=2e-6)
    # emmeans cuts df to whole numbers and asks mvtnorm for 1e-3
    assert_allclose(table["p_adjusted"], expected["emmeans"], atol=1e-3)
    pd.testing.assert_frame_equal(table, found.differences("dunnett", reference="control"))
    assert found.differences("dunnett")["contrast"].tolist() == [f"{a} - active" for a in ("control", "high", "low")]


def test_a_reference_within_each_level_of_by() -> None:
    expected = inference("means")["control"]["by_m"]
    found = fit("y ~ arm * m + x + (1 | g)").emmeans("arm", by="m").differences("none", reference="control")
    assert found["m"].tolist() == expected["m"]
    assert found["contrast"].tolist() == expected["contrast"]
    check(found, expected, "estimate")


def test_a_reference_of_several_factors_and_of_numbers() -> None:
    frame = sets()[0].assign(late=(sets()[0]["m"] == "v").astype(float))
    one = rx.lmer("y ~ k * late + (1 | g)", frame)
    found = one.emmeans(["k", "late"])
    for reference in ("b 0", ("b", 0), ("b", 0.0)):
        table = found.differences(reference=reference)
        assert table["contrast"].tolist() == ["a 0 - b 0", "a 1 - b 0", "b 1 - b 0", "c 0 - b 0", "c 1 - b 0"]
    assert_allclose(table["estimate"][2], one.contrast("late + k[T.b]:late")["estimate"])
    assert one.emmeans("late").differences(reference=1)["contrast"].tolist() == ["0 - 1"]


def test_pairs_the_other_way_round() -> None:
    found = fit("y ~ arm + x + (1 | g)").emmeans("arm")
    one, other = found.differences(), found.differences(reverse=True)
    assert other["contrast"].tolist() == [" - ".join(text.split(" - ")[::-1]) for text in one["contrast"]]
    assert_allclose(other[["estimate", "conf_low", "conf_high"]], -one[["estimate", "conf_high", "conf_low"]])
    assert_allclose(other["p_adjusted"], one["p_adjusted"])


def test_pooled_comparisons_with_a_reference() -> None:
    pooled = rx.lmer_list("y ~ arm + x + (1 | g)", list(sets())).pool()
    found = pooled.emmeans("arm")
    table = found.differences(reference="control", reverse=True)
    rows = found.matrix.loc["control"] - found.matrix.drop("control")
    want = pooled.contrast(rows)
    for column in ("estimate", "std_error", "df", "fmi", "p_value"):
        assert_allclose(table[column], want[column], rtol=1e-7)
    cov = rows.to_numpy() @ pooled.vcov().to_numpy() @ rows.to_numpy().T
    corr = cov / np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    c = abs(table["statistic"][0])
    inside = stats.multivariate_t(shape=corr, df=table["df"][0]).cdf([c] * 3, lower_limit=[-c] * 3, random_state=1)
    assert_allclose(table["p_adjusted"][0], 1 - inside, atol=5e-5)


@pytest.mark.filterwarnings("ignore::remlax.errors.RankDeficientWarning")
def test_comparisons_that_cannot_be_estimated_do_not_count() -> None:
    table = empty().emmeans(["m", "k"]).differences(reference="u a")
    assert table["p_adjusted"].isna().tolist() == [False, False, False, False, True]
    assert table["contrast"][4] == "v c - u a"
    left = table["p_adjusted"][:4]
    assert ((left >= table["p_value"][:4]) & (left <= np.minimum(4 * table["p_value"][:4], 1))).all()
    assert empty().emmeans(["m", "k"]).differences(reference="v c")["p_adjusted"].isna().all()


def test_references_that_are_none() -> None:
    found = fit("y ~ arm + x + (1 | g)").emmeans("arm")
    with pytest.raises(DataError, match="reference='ctl' is none of the means; they are 'active', 'control', "):
        found.differences(reference="ctl")
    with pytest.raises(DataError, match="adjust='tukey' is for all pairs: with reference= use 'dunnett'"):
        found.differences("tukey", reference="control")
    with pytest.raises(UnknownNameError, match="no attribute 'contrast'; use differences"):
        found.contrast("trt.vs.ctrl")


def test_one_value_of_by_or_of_the_means_themselves() -> None:
    one = fit("y ~ arm * x + (1 | g)")
    both, low = (one.emmeans("arm", by="x", at={"x": values}) for values in ([1, 2], [1]))
    assert low.means["x"].tolist() == [1] * 4
    assert_allclose(low.means["estimate"], both.means["estimate"][:4])
    assert_allclose(low.differences()["p_adjusted"], both.differences()["p_adjusted"][:6])
    assert_allclose(one.emmeans("arm", by="x", at={"x": 1}).means["estimate"], low.means["estimate"])
    alone = one.emmeans("x", at={"x": 1})
    assert_allclose(alone.means["estimate"], [low.means["estimate"].mean()])
    with pytest.raises(DataError, match="there is one mean only"):
        alone.differences()
    with pytest.raises(DataError, match=r"'x' has one value only in the reference grid \(.*\): give values with at="):
        one.emmeans("arm", by="x")
    pooled = rx.lmer_list("y ~ arm * x + (1 | g)", list(sets())).pool()
    assert len(pooled.emmeans("arm", by="x", at={"x": [1]}).differences()) == 6


def test_means_weighted_by_the_rows_of_the_data() -> None:
    expected = inference("means")["proportional"]
    one = fit(expected["formula"])
    k = one.emmeans("k", weights="proportional")
    check(k.means, expected["k"])
    check(k.differences(), expected["k_pairs"], "estimate")
    check(one.emmeans("k").means, expected["equal"])
    check(one.emmeans("m", by="h", weights="proportional").means, expected["m_by_h"])
    check(one.emmeans("k", at={"h": ["p", "q"]}, weights="proportional").means, expected["k_at"])
    check(one.emmeans("x", at={"x": [0, 1]}, weights="proportional").means, expected["x"])
    # rows count, prior weights do not
    check(fit(expected["formula"], weights="w").emmeans("k", weights="proportional").means, expected["k_prior"])
    assert str(k).endswith("At: mean over m, mean over h, x = -0.11435, weighted by the rows of the data")
    pd.testing.assert_frame_equal(
        one.emmeans(["k", "m", "h"]).means, one.emmeans(["k", "m", "h"], weights="proportional").means
    )
    with pytest.raises(DataError, match="weights='cells' is not known: use 'equal' or 'proportional'"):
        one.emmeans("k", weights="cells")


def test_pooled_weights_are_the_rows_of_all_imputations() -> None:
    first, second = sets()
    frames = [first, second.assign(h=second["h"].where(second["x"] < 0.5, "p"))]
    pooled = rx.lmer_list("y ~ k + h + (1 | g)", frames).pool()
    found = pooled.emmeans("k", weights="proportional")
    share = pd.concat(frames)["h"].value_counts(normalize=True)
    want = pooled.contrast({"a": f"Intercept + {share['q']}*h[T.q] + {share['r']}*h[T.r]"})
    assert_allclose(found.means["estimate"][0], want["estimate"][0])
    assert_allclose(found.means["std_error"][0], want["std_error"][0])


@pytest.mark.filterwarnings("ignore::remlax.errors.RankDeficientWarning")
def test_an_empty_cell_has_no_weight() -> None:
    frame = without_cell(sets()[0])
    found = empty().emmeans("x", at={"x": [0.0]}, weights="proportional").means
    cells = rx.lmer("y ~ 0 + cell + x + (1 | g)", frame.assign(cell=frame["k"] + frame["m"]))
    share = (frame["k"] + frame["m"]).value_counts(normalize=True)
    want = sum(share[name] * cells.fixef()[f"cell[{name}]"] for name in share.index)
    assert_allclose(found["estimate"][0], want)
    assert np.isnan(empty().emmeans("x", at={"x": [0.0]}).means["estimate"][0])
    with pytest.raises(DataError, match="no row of the data has the values of k, m that at= gives"):
        empty().emmeans("x", at={"x": 0.0, "k": "c", "m": "v"}, weights="proportional")


@pytest.mark.parametrize("response", inference("means")["response"])
def test_means_on_the_scale_of_the_response(response: str) -> None:
    expected = inference("means")["response"][response]
    found = fit(f"{response} ~ arm + x + (1 | g)").emmeans("arm", type="response")
    check(found.means, expected, "response")
    assert_allclose(found.means[["conf_low", "conf_high"]].T, [expected["lower.CL"], expected["upper.CL"]], rtol=1e-5)
    assert str(found).startswith(f"Estimated marginal means of y, transformed back from {response}\n")


TRANSFORMS = {
    "-1000 / y": lambda y: -1000 / y,
    "1 / (2 * y + 1)": lambda y: 1 / (2 * y + 1),
    "I(y^2)": lambda y: y**2,
    "y^0.5": lambda y: y**0.5,
    "log(y, 3) - 1": lambda y: np.log(y) / np.log(3) - 1,
    "np.log(y / 100)": lambda y: np.log(y / 100),
    "exp(y / 10)": lambda y: np.exp(y / 10),
    "expm1(-y)": lambda y: np.expm1(-y),
    "cbrt(3 - y)": lambda y: np.cbrt(3 - y),
    "y": lambda y: y,
}


@pytest.mark.parametrize("response", TRANSFORMS)
def test_the_way_back_undoes_the_transformation(response: str) -> None:
    model = rx.lmer(f"{response} ~ 1 + (1 | g)", sets()[0]).fitted_stack
    back = back_transform(model, (0,))
    y = np.array([0.7, 2.0, 3.5])
    eta, step = TRANSFORMS[response](y), 1e-6
    table = pd.DataFrame({"estimate": eta, "std_error": 0.1, "conf_low": eta - 0.01, "conf_high": eta + 0.01})
    if response == "y":
        assert back is None
        return
    found = back.table(table)
    assert_allclose(found["estimate"], y, rtol=1e-10)
    slope = (TRANSFORMS[response](y + step) - TRANSFORMS[response](y - step)) / (2 * step)
    assert_allclose(found["std_error"], 0.1 / np.abs(slope), rtol=1e-6)
    assert (found["conf_low"] < found["estimate"]).all()
    assert (found["estimate"] < found["conf_high"]).all()
    assert_allclose(TRANSFORMS[response](found["conf_low"]), eta - 0.01 * np.sign(slope), rtol=1e-8)


def test_pooled_means_are_transformed_back_after_pooling() -> None:
    pooled = rx.lmer_list("log(y) ~ arm + x + (1 | g)", list(sets())).pool()
    model, response = pooled.emmeans("arm"), pooled.emmeans("arm", type="response")
    for column in ("estimate", "conf_low", "conf_high"):
        assert_allclose(response.means[column], np.exp(model.means[column]))
    assert_allclose(response.means["std_error"], np.exp(model.means["estimate"]) * model.means["std_error"])
    assert_allclose(response.means["riv"], model.means["riv"])
    pd.testing.assert_frame_equal(response.differences(), model.differences())
    assert response.differences().attrs["notes"][-1] == "differences are on the scale of the model, log(y)"


def test_responses_without_a_way_back() -> None:
    frame = sets()[0].assign(z=lambda d: d["y"] - 3)
    for response, message in (
        ("abs(y)", r"the inverse of 'abs\(y\)' in the response 'abs\(y\)' is not known; it is that of log, log2"),
        ("log(y + x^2)", r"the inverse of 'y \+ x\^2' in the response 'log\(y \+ x\^2\)' is not known"),
        ("log(y)^2", r"'log\(y\)\^2' in .* has an inverse for positive values only, and 'log\(y\)' has others"),
        ("I(z^2)", r"'z\^2' in the response 'I\(z\^2\)' has an inverse for positive values only, and 'z' has others"),
    ):
        one = rx.lmer(f"{response} ~ arm + (1 | g)", frame)
        with pytest.raises(DataError, match=message):
            one.emmeans("arm", type="response")
    with pytest.raises(DataError, match="type='link' is not known: use 'model' or 'response'"):
        one.emmeans("arm", type="link")
