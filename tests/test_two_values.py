"""A response of two values is fitted as a number, and that is said once."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.errors import DataWarning, TwoValuedResponseWarning

G = np.repeat(np.arange(12), 8)
RNG = np.random.default_rng(5)
LATENT = RNG.normal(size=96) + RNG.normal(size=12)[G]
FRAME = pd.DataFrame({"g": G, "x": RNG.normal(size=96), "pass": (LATENT > 0).astype(int), "y": LATENT})
MODEL = "`pass` ~ x + (1 | g)"


def two_valued(formula: str, frame: pd.DataFrame) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rx.lmer(formula, frame)
    return [str(w.message) for w in caught if issubclass(w.category, TwoValuedResponseWarning)]


@pytest.mark.parametrize(
    ("formula", "column", "values"),
    [
        (MODEL, FRAME["pass"], "0 and 1"),
        (MODEL, FRAME["pass"] == 1, "0 and 1"),
        (MODEL, FRAME["pass"].astype("boolean"), "0 and 1"),
        (MODEL, 2.5 - 3 * FRAME["pass"], "-0.5 and 2.5"),
        ("I(y > 0) ~ x + (1 | g)", FRAME["pass"], "0 and 1"),
    ],
    ids=["whole", "bool", "nullable", "floats", "expression"],
)
def test_one_warning_for_one_fit(formula: str, column: Any, values: str) -> None:
    (text,) = two_valued(formula, FRAME.assign(**{"pass": column}))
    assert f"has two values ({values}) and is fitted as a number, by a linear probability model: for a logistic" in text
    assert text.endswith("use rx.glmer or rx.glmer_list")
    assert issubclass(TwoValuedResponseWarning, DataWarning)


def test_missing_cells_are_no_third_value() -> None:
    gaps = FRAME.assign(**{"pass": FRAME["pass"].where(FRAME["x"] > -1.5)})
    assert len(two_valued(MODEL, gaps)) == 1


def test_a_third_value_anywhere_is_enough() -> None:
    one = FRAME.assign(**{"pass": FRAME["pass"].where(FRAME.index < 95, 2)})
    long = pd.concat([FRAME] * 11 + [one], ignore_index=True)  # the third value is in the last row
    assert not two_valued(MODEL, long)
    assert len(two_valued(MODEL, long.iloc[:-1])) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rx.lmer_list(MODEL, [FRAME, one])


def test_one_warning_for_a_list_and_none_afterwards() -> None:
    shifted = FRAME.assign(x=FRAME["x"] + 1, **{"pass": FRAME["pass"].iloc[::-1].to_numpy()})
    with pytest.warns(TwoValuedResponseWarning) as caught:
        fits = rx.lmer_list(MODEL, [FRAME, shifted])
    assert len(caught) == 1
    # coefficients are those of the linear model
    ours = rx.lmer("p ~ x + (1 | g)", FRAME.assign(p=FRAME["pass"] + 1e-9 * (FRAME.index == 3)))
    np.testing.assert_allclose(fits[0].fixef(), ours.fixef(), rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fits.pool().tidy("fixed")
        rx.refit(fits[0], FRAME["pass"].iloc[::-1].to_numpy())
        rx.bootstrap(fits[0], 2, statistic=lambda found: found.fixef(), seed=1)


def test_a_study_is_not_full_of_it(tmp_path: Path) -> None:
    def make(scenario: Any, rng: np.random.Generator) -> pd.DataFrame:
        return FRAME.assign(**{"pass": (LATENT + rng.normal(size=96) > 0).astype(int)})

    def analyse(data: pd.DataFrame, context: Any) -> pd.DataFrame:
        return pd.DataFrame({"term": ["x"], "estimate": [rx.lmer(MODEL, data).fixef()["x"]], "std_error": [1.0]})

    study = rx.sim.Study(
        scenarios={"n": [1]},
        generate=rx.sim.FrameGenerator(make),
        methods={"lpm": analyse},
        estimands={"x": 0.0},
        replications=2,
        seed=1,
    )
    study.run(tmp_path)
    results = study.results(tmp_path)
    assert results["estimate"].notna().all()
    assert not results["message"].str.contains("two values").any()
