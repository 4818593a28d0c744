"""What is pooled row by row is refused where the imputations have other rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.errors import DataError

FORMULA = "y ~ x + (1 | school)"


@pytest.fixture(scope="module")
def frames() -> list[pd.DataFrame]:
    rng, school = np.random.default_rng(20), np.repeat(np.arange(10), 6)
    data = pd.DataFrame({"school": [f"s{i}" for i in school], "x": rng.normal(size=60)})
    data["y"] = rng.normal(0, 1, 10)[school] + 0.5 * data["x"] + rng.normal(0, 0.5, 60)
    return [data.sample(frac=1, random_state=k).reset_index(drop=True) for k in range(3)]


@pytest.fixture(scope="module")
def pooled(frames: list[pd.DataFrame]) -> rx.PooledLmer:
    return rx.lmer_list(FORMULA, frames).pool()


ROWWISE: dict[str, Callable[[rx.PooledLmer], object]] = {
    "fitted": lambda p: p.fitted(),
    "residuals": lambda p: p.residuals("pearson"),
    "augment": lambda p: p.augment(per_imputation=True),
    "predict": lambda p: p.predict(interval="confidence"),
    "population": lambda p: p.predict(level="population"),
    "predict_interval": lambda p: p.predict_interval(n_sims=5, seed=1),
    "sub_boot": lambda p: p.sub_boot(lambda m: m.theta, n_boot=2, seed=1),
}


@pytest.mark.parametrize("name", ROWWISE)
def test_another_order_of_the_rows_is_refused(pooled: rx.PooledLmer, name: str) -> None:
    with pytest.raises(DataError, match=r"the data sets have different rows: 'school' of imputation 2 .* in 5\d of 60"):
        ROWWISE[name](pooled)


def test_the_reason_names_labels_and_numbers_of_rows(frames: list[pd.DataFrame]) -> None:
    split = [frame.set_axis(range(60 * k, 60 * k + 60)) for k, frame in enumerate(frames)]
    for sets, reason in (
        (split, r"the row labels of imputation 2 are not those of imputation 1 \(reset_index\(drop=True\) where"),
        ([frames[0], frames[0].iloc[:57], frames[0].iloc[:57]], "imputation 2 has 57 rows and imputation 1 60"),
    ):
        p = rx.lmer_list(FORMULA, sets).pool()
        with pytest.raises(DataError, match=f"the data sets have different rows: {reason}"):
            p.fitted()
        assert np.isfinite(p.rmse())  # a mean over the imputations, not over rows


def test_frames_of_newdata_in_another_order_are_refused(pooled: rx.PooledLmer, frames: list[pd.DataFrame]) -> None:
    with pytest.raises(DataError, match=r"the frames of newdata have different rows: \d+ rows of imputation 2 stand"):
        pooled.predict(frames)
    with pytest.raises(DataError, match="the frames of newdata have different rows"):
        pooled.predict_interval([frame.drop(columns="y") for frame in frames], n_sims=5)
    # other values of x in every imputation are what imputations are
    same = [frames[0].assign(x=frames[0]["x"] + k) for k in range(3)]
    found = pooled.predict(same)["estimate"]
    each = [pooled.predict(frame)["estimate"] for frame in same]
    np.testing.assert_allclose(found, pooled.predict(frames[0].assign(x=frames[0]["x"] + 1))["estimate"], rtol=1e-9)
    assert not np.allclose(found, each[0])
