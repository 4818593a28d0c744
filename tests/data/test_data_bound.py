"""Rows of several imputed data sets put together, and functions that meet data sets one by one."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import remlax as rx
from remlax import ImputedData
from remlax.errors import DataError, UnknownNameError

N = 12
ARM = np.tile([0, 1, 1], N // 3)


def whole(index: pd.Index[Any] | None = None) -> ImputedData:
    rng = np.random.default_rng(3)
    base = pd.DataFrame(
        {"arm": ARM, "site": pd.Categorical(list("abc") * (N // 3)), "x": rng.normal(size=N), "flag": ARM == 0},
        index=index,
    )
    gap = base.assign(x=base["x"].where(np.arange(N) % 4 > 0))
    frames = [base.assign(x=gap["x"].fillna(rng.normal())) for _ in range(3)]
    return ImputedData.from_frames(frames).with_original(gap)


def arms(data: ImputedData) -> list[ImputedData]:
    return [data.map(lambda d, k=k: d[d["arm"] == k]) for k in (0, 1)]


@pytest.mark.parametrize("index", [None, [f"p{i}" for i in range(N)], pd.MultiIndex.from_product([[1, 2], range(6)])])
def test_split_and_bound_data_are_the_same_again(index: Any) -> None:
    data = whole(None if index is None else pd.Index(index))
    bound = ImputedData.concat(arms(data))
    assert bound.labels == data.labels
    assert bound[0]["arm"].tolist() == sorted(ARM), "parts keep their order"
    again = bound.map(lambda d: d.loc[data[0].index])
    for ours, given in zip([*again, again.original], [*data, data.original], strict=True):
        assert_frame_equal(ours, given)


def test_fits_of_bound_data_are_those_of_the_whole() -> None:
    hsb = rx.datasets.hsb_imputed()[:2]
    parts = [hsb.map(lambda d, k=k: d[d["schtype"] == k].reset_index(drop=True)) for k in (0, 1)]
    bound = ImputedData.concat(tuple(parts))
    assert bound[1].index.equals(pd.RangeIndex(bound.n_rows)), "counted rows are counted on"
    # group means do not depend on the order of the rows
    for ours, theirs in zip(bound, hsb, strict=True):
        pd.testing.assert_series_equal(ours.groupby("schid")["ses"].mean(), theirs.groupby("schid")["ses"].mean())
    assert ImputedData.concat([hsb]).n_rows == hsb.n_rows


def test_columns_and_categories_take_the_order_of_the_first_part() -> None:
    first, second = arms(whole())
    turned = second.map(lambda d: d.assign(site=d["site"].cat.reorder_categories(list("cba")))[d.columns[::-1]])
    assert turned.columns != first.columns
    assert_frame_equal(ImputedData.concat([first, turned])[2], ImputedData.concat([first, second])[2])
    numbers = ImputedData.concat([first, second.map(lambda d: d.assign(arm=d["arm"].astype(float)))])
    assert numbers[0]["arm"].tolist() == sorted(ARM)


def test_originals_are_bound_or_absent() -> None:
    first, second = arms(whole())
    assert ImputedData.concat([first, second]).original["x"].isna().sum() == N // 4
    bare = [part.with_original(None) for part in (first, second)]
    assert ImputedData.concat(bare).original is None
    with pytest.raises(DataError, match=r"part 2 has no original but part 1 has one: add it using with_original\(\)"):
        ImputedData.concat([first, bare[1]])
    with pytest.raises(DataError, match="part 1 has no original but part 3 has one"):
        ImputedData.concat([*bare, second])


def test_parts_that_do_not_fit_are_refused() -> None:
    first, second = arms(whole())

    def with_second(message: str, part: ImputedData) -> None:
        with pytest.raises(DataError, match=message):
            ImputedData.concat([first, part])

    with_second(r"part 2 has 2 imputations but part 1 has 3: .*give part\[:2\] of each", second[:2])
    named = ImputedData.from_frames(dict(zip("abc", second, strict=True))).with_original(second.original)
    with_second(
        "the imputations of part 2 are called 'a', 'b', 'c' but those of part 1 1, 2, 3: name them alike", named
    )
    with_second(
        "imputation 1 of part 2 lacks the column 'x' that imputation 1 of part 1 has",
        second.map(lambda d: d.drop(columns="x")),
    )
    with_second(
        "column 'arm' holds text in imputation 1 of part 2 but numbers", second.map(lambda d: d.assign(arm="1"))
    )
    fewer = second.map(lambda d: d.assign(site=d["site"].cat.remove_unused_categories()))
    with_second("column 'site' has the categories 'b', 'c' in imputation 1 of part 2 but 'a', 'b', 'c'", fewer)
    with_second("row 0 is in imputation 1 of part 1 and in imputation 1 of part 2: .*reset_index", first)
    counted = second.map(lambda d: d.reset_index(drop=True))
    with_second("row 0 is in imputation 1 of part 1 and in imputation 1 of part 2: .*reset_index", counted)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], r"needs a list of at least one ImputedData, as in \[a, b\], not an empty list"),
        (whole(), r"as in \[a, b\], not an ImputedData"),
        (whole()[0], "not a DataFrame"),
        (3, "not an int"),
        ([whole(), whole()[0]], r"part 2 is a DataFrame, not an ImputedData: make one by ImputedData\.from_frames\(\)"),
        ([SimpleNamespace(data=whole())], r"part 1 is a SimpleNamespace, .* give the \.data of an imputation result"),
    ],
)
def test_what_is_no_list_of_imputed_data_is_refused(parts: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ImputedData.concat(parts)


def test_names_of_others_lead_to_concat() -> None:
    for owner in (rx, whole()):
        with pytest.raises(UnknownNameError, match=r"'rbind'; use (rx\.)?ImputedData\.concat\(\[a, b\]\)"):
            owner.rbind  # noqa: B018
    for name in ("append", "bind_rows", "cbind"):
        with pytest.raises(UnknownNameError, match=r"; use (rx\.ImputedData\.concat|data\.map)"):
            getattr(whole(), name)


def test_map_says_which_data_set_a_function_failed_for() -> None:
    data = whole()
    with pytest.raises(
        DataError,
        match=r"raised for the incomplete original \(\.original\); .*with_original\(None\)\.map.* \(IntCasting",
    ) as caught:
        data.map(lambda d: d.assign(x=d["x"].astype(int)))
    assert isinstance(caught.value.__cause__, pd.errors.IntCastingNaNError)
    assert data.with_original(None).map(lambda d: d.assign(x=d["x"].astype(int))).original is None

    def third(frame: pd.DataFrame) -> pd.DataFrame:
        if frame.equals(data[2]):
            raise ZeroDivisionError
        return frame

    with pytest.raises(DataError, match=r"the function given to map\(\) raised for imputation 3 \(ZeroDivisionError\)"):
        data.map(third)
    with pytest.raises(DataError, match=r"raised for imputation a \(KeyError: 'z'\)") as missing:
        ImputedData.from_frames({"a": data[0]}).map(lambda d: d.assign(y=d["z"]))
    assert isinstance(missing.value.__cause__, KeyError)
    with warnings.catch_warnings(), pytest.raises(KeyboardInterrupt):
        data.map(interrupt)


def interrupt(frame: pd.DataFrame) -> pd.DataFrame:
    raise KeyboardInterrupt
