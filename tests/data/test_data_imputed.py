"""ImputedData: checks, differing columns, the long layout; on hand-made frames and the reference data."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from reference_cases import VISIBLE, load_case, load_original
from remlax import ImputedData
from remlax.errors import DataError


def frame(**columns):
    base = {"y": [1.0, 2.0, 3.0], "x": [1, 0, 1], "g": ["a", "a", "b"]}
    return pd.DataFrame({**base, **columns})


def three():
    return [frame(), frame(y=[1.0, 2.5, 3.0]), frame(y=[1.0, 2.25, 3.0])]


# ---- building ---------------------------------------------------------------------------------------------


def test_list_and_dict_keep_order_and_labels():
    frames = three()
    assert ImputedData.from_frames(frames).labels == (1, 2, 3)
    imp = ImputedData.from_frames(dict(zip(["c", "a", "b"], frames, strict=True)))
    assert imp.labels == ("c", "a", "b")
    assert (imp.K, len(imp), imp.n_rows, imp.columns) == (3, 3, 3, ("y", "x", "g"))
    for k in range(3):
        assert_frame_equal(imp[k], frames[k])
        assert_frame_equal(list(imp)[k], frames[k])
    assert imp.original is None


def test_generator_of_frames_is_read_once():
    assert ImputedData.from_frames(f for f in three()).K == 3


def test_columns_take_the_order_of_the_first_frame():
    imp = ImputedData.from_frames([frame(), frame()[["g", "y", "x"]]])
    assert list(imp[1].columns) == ["y", "x", "g"]
    assert imp.varying == frozenset()


def test_categories_take_the_order_of_the_first_frame():
    values = ["u", "v", "u"]
    one = frame(g=pd.Categorical(values, categories=["v", "u"]))
    two = frame(g=pd.Categorical(values, categories=["u", "v"]))
    imp = ImputedData.from_frames([one, two])
    assert list(imp[1]["g"].cat.categories) == ["v", "u"]
    assert list(imp[1]["g"]) == values
    assert imp.varying == frozenset()
    assert list(two["g"].cat.categories) == ["u", "v"], "the caller's frame must stay as it is"


def test_integers_and_floats_are_one_type():
    imp = ImputedData.from_frames([frame(), frame(x=[1.0, 0.0, 1.0]), frame(x=pd.array([1, 0, 1], "Int64"))])
    assert imp.varying == frozenset()


def test_strings_of_any_storage_are_one_type():
    imp = ImputedData.from_frames([frame(), frame(g=np.array(["a", "a", "b"], dtype=object))])
    assert imp.varying == frozenset()


def test_later_changes_of_the_callers_frame_do_not_reach_in():
    frames = three()
    imp = ImputedData.from_frames(frames)
    frames[0]["y"] = -1.0
    taken = imp[1]
    taken["y"] = -1.0
    assert imp[0]["y"].tolist() == [1.0, 2.0, 3.0]
    assert imp[1]["y"].tolist() == [1.0, 2.5, 3.0]


def test_slice_is_imputed_data():
    imp = ImputedData.from_frames(three()).with_original(frame(y=[1.0, np.nan, 3.0]))
    part = imp[1:]
    assert isinstance(part, ImputedData)
    assert part.labels == (2, 3)
    assert_frame_equal(part.original, imp.original)
    with pytest.raises(DataError, match="positions 3:None hold none of the 3 imputations"):
        imp[3:]


# ---- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "there is no data set: give at least one DataFrame"),
        ({}, "there is no data set: give at least one DataFrame"),
        (frame(), "one data frame was given where several are needed: put it in a list, or use .*from_long"),
        (pa.table({"y": [1.0]}), "one data frame was given where several are needed"),
        (SimpleNamespace(data=ImputedData.from_frames(three())), r"its imputations are its attribute \.data"),
        (3, "a list or dict of DataFrames is needed, not a int"),
        ("data.csv", "a list or dict of DataFrames is needed, not a str"),
        (
            {"y": [1.0, 2.0]},
            r"imputation y is a list, not a pandas DataFrame: convert .*pandas\.Data",
        ),
        ([frame(), pa.table({"y": [1.0]})], r"imputation 2 is a pyarrow.* convert it with \.to_pandas\(\)"),
        ([frame(), frame().iloc[:0]], r"imputation 2 is empty \(0 rows, 3 columns\)"),
        ([pd.DataFrame(index=[1, 2])], r"imputation 1 is empty \(2 rows, 0 columns\)"),
        ([frame(), frame().rename(columns={"x": "y"})], "imputation 2 has more than one column named 'y'"),
        ([frame().rename(columns={"x": 7})], "imputation 1 has the column name 7, which is not text"),
        ([frame(), frame().drop(columns="x")], "imputation 2 lacks the column 'x' that imputation 1 has"),
        (
            [frame(), frame(z=1, w=2)],
            "imputation 1 lacks the columns 'z', 'w' that imputation 2 has: give all data sets the same",
        ),
        (
            {"p": frame(), "q": frame(x=["1", "0", "1"])},
            "column 'x' holds text in imputation q but numbers in imputation p: give it one type everywhere",
        ),
        (
            [frame(), frame(x=[True, False, True])],
            "column 'x' holds truth values in imputation 2 but numbers in imputation 1",
        ),
        (
            [frame(), frame(g=pd.Categorical(["a", "a", "b"]))],
            "column 'g' holds categories in imputation 2 but text in imputation 1",
        ),
        (
            [frame(), frame(g=np.array(["a", 1, None], dtype=object))],
            r"column 'g' holds Python objects \(mixed-integer\) in imputation 2 but text in imputation 1",
        ),
        (
            [frame(), frame(y=pd.to_datetime(["2020-01-01"] * 3))],
            "column 'y' holds values of type datetime64.* in imputation 2 but numbers in imputation 1",
        ),
        (
            [frame(g=pd.Categorical(list("aab"))), frame(g=pd.Categorical(list("aac")))],
            "column 'g' has the categories 'a', 'c' in imputation 2 but 'a', 'b' in imputation 1: "
            "give it one pandas.CategoricalDtype with all categories everywhere",
        ),
        (
            [
                frame(g=pd.Categorical(list("aab"), ["a", "b"], ordered=True)),
                frame(g=pd.Categorical(list("aab"), ["b", "a"], ordered=True)),
            ],
            "column 'g' has the categories 'b', 'a' in imputation 2 but 'a', 'b' .* categories in this order",
        ),
        (
            [frame(g=pd.Categorical(list("aab"))), frame(g=pd.Categorical(list("aab"), ordered=True))],
            "column 'g' is an ordered factor in imputation 2 but an unordered factor in imputation 1",
        ),
    ],
)
def test_refusals_say_what_where_and_what_to_do(frames, message):
    with pytest.raises(DataError, match=message):
        ImputedData.from_frames(frames)


def test_long_lists_in_messages_are_cut():
    many = frame(**{f"z{i}": 0 for i in range(9)})
    with pytest.raises(DataError, match="'z0', 'z1', 'z2', 'z3', 'z4', 'z5' and 3 more that imputation 2"):
        ImputedData.from_frames([frame(), many])


# ---- columns that differ ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hsb_vignette", "studentratings_k20", "star_crossed_k5"])
def test_varying_columns_are_the_imputed_ones(name):
    _, frames = load_case(name)
    missing = load_original(name).isna().any()
    expected = {
        column
        for column in missing.index[missing]
        if any(frames[0][column].astype(object).ne(other[column].astype(object)).any() for other in frames[1:])
    }
    imp = ImputedData.from_frames(frames)
    assert imp.varying == expected
    assert expected <= set(missing.index[missing])


@pytest.mark.parametrize(
    "values",
    [
        ([1.0, np.nan, 3.0], [1.0, np.nan, 3.0], [1.0, 2.0, 3.0]),
        (["a", None, "b"], ["a", None, "b"], ["a", "b", "b"]),
        (
            pd.Categorical(["a", None, "b"]),
            pd.Categorical(["a", None, "b"]),
            pd.Categorical(["a", "b", "b"]),
        ),
        (pd.array([1, None, 3], "Int64"), pd.array([1, None, 3], "Int64"), pd.array([1, 2, 3], "Int64")),
        (pd.array([True, None, True], "boolean"),) * 2 + (pd.array([True, False, True], "boolean"),),
        (pd.to_datetime(["2020", None, "2021"]),) * 2 + (pd.to_datetime(["2020", "2020", "2021"]),),
        (
            np.array(["a", None, "b"], object),
            np.array(["a", None, "b"], object),
            np.array(list("abb"), object),
        ),
    ],
)
def test_missing_equals_missing_but_not_a_value(values):
    one, same, other = (frame(v=v) for v in values)
    assert ImputedData.from_frames([one, same]).varying == frozenset()
    assert ImputedData.from_frames([one, same, other]).varying == {"v"}
    assert ImputedData.from_frames([other, one]).varying == {"v"}


def test_a_difference_in_the_last_imputation_and_last_row_is_seen():
    frames = [frame() for _ in range(10)]
    frames[-1].loc[2, "x"] = 0
    assert ImputedData.from_frames(frames).varying == {"x"}


def test_one_imputation_has_nothing_that_differs():
    assert ImputedData.from_frames([frame()]).varying == frozenset()


def test_data_sets_of_different_size_are_kept_but_not_compared():
    imp = ImputedData.from_frames([frame(), frame().iloc[[0, 0, 1, 2, 2]]])
    assert not imp.aligned
    assert [len(f) for f in imp] == [3, 5]
    assert repr(imp) == "ImputedData: 2 imputations of 3 to 5 rows x 3 columns"
    with pytest.raises(DataError, match="different numbers of rows cannot be compared row by row"):
        _ = imp.varying
    with pytest.raises(DataError, match="between 3 and 5 rows, so there is no one number of rows"):
        _ = imp.n_rows


def test_many_imputations_are_compared_quickly():
    _, frames = load_case("hsb_vignette")
    hundred = [f.copy() for f in frames for _ in range(20)]
    start = time.perf_counter()
    imp = ImputedData.from_frames(hundred)
    assert imp.varying == {"minority", "female", "ses", "size"}
    # About 0.03 s on an idle machine; a comparison that walks over cells in Python takes longer than 2 s.
    assert time.perf_counter() - start < 1.0
    start = time.perf_counter()
    assert len(imp.varying) == 4
    assert time.perf_counter() - start < 1e-3, "the answer is kept"


# ---- missing cells ----------------------------------------------------------------------------------------


def test_check_complete_names_column_imputation_and_count():
    frames = three()
    frames[1].loc[[0, 2], "y"] = np.nan
    frames[2].loc[1, "y"] = np.nan
    frames[2].loc[0, "g"] = None
    imp = ImputedData.from_frames(frames)
    imp.check_complete(["x"])
    message = (
        r"missing cells in variables of the model: 'y' \(2 in imputation 2, 1 in imputation 3\), "
        r"'g' \(1 in imputation 3\): impute these variables too, or leave them out of the model"
    )
    with pytest.raises(DataError, match=message):
        imp.check_complete(["y", "x", "g", "y"])


def test_check_complete_sees_cells_that_are_missing_in_every_imputation():
    frames = [frame(y=[1.0, np.nan, np.nan])] * 2
    with pytest.raises(DataError, match=r"'y' \(2 in imputation 1, 2 in imputation 2\)"):
        ImputedData.from_frames(frames).check_complete(["y"])


def test_check_complete_for_data_sets_of_different_size():
    frames = [frame(), frame(y=[1.0, np.nan, 3.0]).iloc[:2]]
    with pytest.raises(DataError, match=r"'y' \(1 in imputation 2\)"):
        ImputedData.from_frames(frames).check_complete(["x", "y"])


def test_check_complete_refuses_an_unknown_column():
    with pytest.raises(DataError, match="the imputations have no column 'ses'; they have 'y', 'x', 'g'"):
        ImputedData.from_frames(three()).check_complete(["y", "ses"])


# ---- the long layout --------------------------------------------------------------------------------------


def read_long(name):
    case, _ = load_case(name)
    text = [c for c, about in case["data"]["columns"].items() if about["type"] != "numeric"]
    return pd.read_csv(VISIBLE / case["data"]["file"], dtype=dict.fromkeys(text, str))


@pytest.mark.parametrize("name", ["hsb_vignette", "studentratings_k5"])
def test_long_round_trip(name):
    long = read_long(name)
    imp = ImputedData.from_long(long)
    assert imp.labels == tuple(range(1, imp.K + 1))
    assert imp.original is not None
    assert_frame_equal(imp.to_long(include_original=True), long)
    assert_frame_equal(imp.to_long(), long[long[".imp"] > 0].reset_index(drop=True))


def test_long_reads_the_same_data_as_separate_frames():
    _, frames = load_case("hsb_vignette")
    imp = ImputedData.from_long(read_long("hsb_vignette"))
    for ours, theirs in zip(imp, frames, strict=True):
        assert_frame_equal(ours, theirs)
    assert_frame_equal(imp.original, load_original("hsb_vignette"))


def test_rows_are_matched_by_their_names():
    x = [20.0, 10.0, 11.0, 21.0, np.nan, 22.0]
    long = pd.DataFrame({"m": [2, 2, 1, 1, 0, 0], "who": list("vuuvuv"), "x": x})
    imp = ImputedData.from_long(long, imp="m", id="who")
    assert imp.labels == (1, 2)
    assert imp.original.index.tolist() == ["u", "v"]
    assert [f.index.tolist() for f in imp] == [["u", "v"]] * 2
    assert [f["x"].tolist() for f in imp] == [[11.0, 21.0], [10.0, 20.0]]
    back = ImputedData.from_long(imp.to_long(include_original=True))
    assert_frame_equal(back[1], imp[1])


def test_row_names_that_repeat_or_differ_leave_the_rows_alone():
    resampled = pd.DataFrame({".imp": [1, 1, 2, 2], ".id": [2, 2, 2, 1], "x": [5.0, 5.0, 5.0, 4.0]})
    imp = ImputedData.from_long(resampled)
    assert [f["x"].tolist() for f in imp] == [[5.0, 5.0], [5.0, 4.0]]
    assert imp[1].index.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("imp", "labels"),
    [
        (["0", "10", "2"], (2, 10)),
        ([0.0, 10.0, 2.0], (2, 10)),
        (pd.Categorical(["0", "10", "2"]), (2, 10)),
        (["late", "early", "late"], ("late", "early")),
        ([1.5, 0.5, 1.5], (1.5, 0.5)),
    ],
)
def test_labels_are_sorted_whole_numbers_or_kept_as_they_appear(imp, labels):
    long = pd.DataFrame({".imp": imp, "x": [1.0, 2.0, 3.0]})
    data = ImputedData.from_long(long)
    assert data.labels == labels
    assert all(type(ours) is type(expected) for ours, expected in zip(data.labels, labels, strict=True))


def test_long_refusals():
    long = pd.DataFrame({".imp": [0, 1], "x": [1.0, 2.0]})
    with pytest.raises(DataError, match=r"no column 'imp' that numbers the imputations; .* '\.imp', 'x'"):
        ImputedData.from_long(long, imp="imp")
    with pytest.raises(DataError, match=r"column '\.imp' has 1 missing cells: say which imputation each row"):
        ImputedData.from_long(long.assign(**{".imp": [1, np.nan]}))
    with pytest.raises(DataError, match=r"column '\.imp' is 0 in every row: there is an original but no"):
        ImputedData.from_long(long.iloc[:1])
    with pytest.raises(DataError, match="the long frame is a list, not a pandas DataFrame"):
        ImputedData.from_long([long])
    with pytest.raises(DataError, match="the original has 1 rows but the imputations have 2"):
        ImputedData.from_long(pd.DataFrame({".imp": [0, 1, 1], "x": [1.0, 2.0, 3.0]}))


def test_to_long_refusals():
    imp = ImputedData.from_frames(three())
    with pytest.raises(DataError, match="there is no original to include: add it using with_original"):
        imp.to_long(include_original=True)
    with pytest.raises(DataError, match=r"a variable is called '\.imp', which the long layout needs: rename"):
        imp.map(lambda d: d.assign(**{".imp": 1})).to_long()
    with pytest.raises(DataError, match="an imputation has the label 0, which the long layout keeps for"):
        ImputedData.from_frames({0: frame(), 1: frame()}).to_long()


# ---- original, map, display -------------------------------------------------------------------------------


def test_with_original_checks_and_conforms():
    imp = ImputedData.from_frames(three())
    original = frame(y=[1.0, np.nan, 3.0])[["g", "y", "x"]]
    with_it = imp.with_original(original)
    assert list(with_it.original.columns) == ["y", "x", "g"]
    assert imp.original is None
    assert with_it.with_original(None).original is None
    with pytest.raises(DataError, match="the original lacks the column 'g' that imputation 1 has"):
        imp.with_original(original.drop(columns="g"))
    with pytest.raises(DataError, match="the original has 2 rows but the imputations have 3: give the same"):
        imp.with_original(original.iloc[:2])
    with pytest.raises(DataError, match="column 'x' holds text in the original but numbers in imputation 1"):
        imp.with_original(original.assign(x="1"))


def test_map_applies_to_every_imputation_and_the_original():
    imp = ImputedData.from_frames(dict(zip("abc", three(), strict=True)))
    imp = imp.with_original(frame(y=[1.0, np.nan, 3.0]))
    twice = imp.map(lambda d: d.assign(y2=2 * d["y"]))
    assert twice.labels == imp.labels
    assert [f["y2"].tolist() for f in twice] == [[2.0, 4.0, 6.0], [2.0, 5.0, 6.0], [2.0, 4.5, 6.0]]
    assert twice.original["y2"].isna().tolist() == [False, True, False]
    assert twice.varying == {"y", "y2"}
    with pytest.raises(DataError, match="imputation a is a NoneType, not a pandas DataFrame"):
        imp.map(lambda d: None)


def test_repr_says_size_and_what_differs():
    imp = ImputedData.from_frames(three())
    assert repr(imp) == "ImputedData: 3 imputations of 3 rows x 3 columns; differing: y"
    imp = imp.with_original(frame(y=[np.nan, np.nan, 3.0]))
    assert repr(imp).endswith("differing: y; 2 missing cells in the original")
    html = imp._repr_html_()
    assert "<tr><td>y</td><td>float64</td><td>yes</td><td>2</td></tr>" in html
    assert "<tr><td>x</td><td>int64</td><td></td><td>0</td></tr>" in html
    assert repr(imp[:1].with_original(None)).startswith("ImputedData: 1 imputation of 3 rows")


def test_html_escapes_names():
    html = ImputedData.from_frames([pd.DataFrame({"a<b": [1.0]})])._repr_html_()
    assert "a&lt;b" in html
    assert "a<b" not in html
