"""Rows of imputations that are not the same units in the same order, against sets made to be so or not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.data.row_match import rows_differ
from remlax.errors import DataError

N, K = 60, 3
Frames = list[pd.DataFrame]


def pupils(*, discrete: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(20)
    school = np.repeat(np.arange(10), 6)
    x, y = rng.normal(size=(2, N))
    if discrete:
        x, y = (x > 0).astype(float), np.floor(3 + y).clip(1, 5)
    return pd.DataFrame({"school": [f"s{i}" for i in school], "x": x, "y": y + np.arange(10)[school] * (not discrete)})


def imputed(data: pd.DataFrame, share: float, columns: tuple[str, ...] = ("x", "y")) -> tuple[Frames, pd.DataFrame]:
    """Sets with some cells drawn from observed ones, as predictive mean matching draws them, and the original."""
    rng, original = np.random.default_rng(3), data.copy()
    for column in columns:
        original.loc[rng.random(N) < share, column] = None if original[column].dtype == object else np.nan
    sets = []
    for _ in range(K):
        one = original.copy()
        for column in columns:
            gaps = one[column].isna()
            one.loc[gaps, column] = rng.choice(one.loc[~gaps, column], gaps.sum())
        sets.append(one)
    return sets, original


def verdict(frames: Frames, original: pd.DataFrame | None = None) -> str:
    return rows_differ(frames, ["a", "b", "c"], ["school"], original)


def each(frames: Frames, change: Callable[[pd.DataFrame, int], pd.DataFrame]) -> Frames:
    return [change(frame, k).reset_index(drop=True) for k, frame in enumerate(frames)]


def shuffled(frame: pd.DataFrame, k: int) -> pd.DataFrame:
    return frame.sample(frac=1, random_state=k)


def within_schools(frame: pd.DataFrame, k: int) -> pd.DataFrame:
    return shuffled(frame, k).sort_values("school", kind="stable")


def one_left_out(frame: pd.DataFrame, k: int) -> pd.DataFrame:
    return frame.drop(index=7 * k + 2)


def next_left_out(frame: pd.DataFrame, k: int) -> pd.DataFrame:
    return frame.drop(index=k)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_imputed_cells_are_not_other_rows(discrete: bool, share: float) -> None:
    data = pupils(discrete=discrete)
    sets, original = imputed(data, share)
    assert all(not frame.equals(sets[0]) for frame in sets[1:])
    standard = [frame.assign(x=(frame["x"] - frame["x"].mean()) / frame["x"].std()) for frame in sets]
    whole = [frame.assign(y=(frame["y"] - frame["y"].mean()) / frame["y"].std()) for frame in standard]
    for frames in (sets, standard, whole):
        assert verdict(frames) == ""
    assert verdict(sets, original) == verdict(standard, original) == ""
    # a few imputed schools, and the order in which the sets are shared changes nothing
    schools, original = imputed(data, share / 3, ("school", "x", "y"))
    assert verdict(schools) == verdict(schools, original) == ""
    assert verdict([data, data, data]) == ""


@pytest.mark.parametrize("change", [shuffled, within_schools, one_left_out, next_left_out])
def test_other_rows_are_found(change: Callable[[pd.DataFrame, int], pd.DataFrame]) -> None:
    sets, original = imputed(pupils(), 0.1)
    found = verdict(each([pupils()] * K, change))
    assert found.endswith("in imputation a") or found.endswith("rows")
    as_category = each([pupils().astype({"school": "category"})] * K, change)
    assert verdict(as_category) == found
    if change is not next_left_out:  # rows 0 and 1 differ there in imputed cells only
        assert verdict(each(sets, change))
    if change in (shuffled, within_schools):
        assert "the original" in verdict(each(sets, change), original)
        assert verdict(each([pupils(discrete=True)] * K, change))
    # where a column names the rows, and where the labels do, nothing is in doubt
    named = [frame.assign(pupil=range(len(frame))) for frame in each(sets, within_schools)]
    assert verdict(named) == ""
    assert verdict([frame.set_axis(pd.Index(range(N)).astype(str)) for frame in each(sets, within_schools)]) == ""


def test_one_other_observed_school_is_enough_with_the_original() -> None:
    sets, original = imputed(pupils(), 0.3)
    sets[1].loc[4, "school"] = "s9"
    assert verdict(sets) == ""
    assert verdict(sets, original) == "'school' of imputation b is not that of the original in 1 of 60 rows"
    # where the original lacks it, it may have been imputed
    original.loc[4, "school"] = None
    assert verdict(sets, original) == ""


def test_a_long_frame_without_names_of_rows() -> None:
    sets, _ = imputed(pupils(), 0.1, ("x",))
    long = pd.concat([frame.assign(**{".imp": k + 1}) for k, frame in enumerate(sets)]).sample(frac=1, random_state=1)
    pooled = rx.lmer_list("y ~ x + (1 | school)", rx.read_imputations(long)).pool()
    whole = rx.lmer_list("y ~ x + (1 | school)", sets).pool()
    np.testing.assert_allclose(pooled.fixef(), whole.fixef(), rtol=1e-8)  # the order does not matter here
    with pytest.raises(DataError, match="the data sets have different rows: 'school' of imputation 2 is not that of"):
        pooled.augment()
    assert len(whole.augment()) == N
