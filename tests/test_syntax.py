"""The formulas that people paste from R: each fitted as it stands, its REML criterion against lme4's."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

import remlax as rx
from reference_cases import REFERENCE
from remlax.errors import DroppedRowsWarning

SYNTAX = REFERENCE / "syntax"
# those whose meaning differs most between R and Python are fitted every day
EVERYDAY = {"y ~ I(x^2) + (1 | g)", "y ~ poly(x, 2) + (1 | g)", "y ~ scale(x) + (1 | g)", "y ~ x_na + (1 | g)"}
CRITERIA: dict[str, float] = json.loads((SYNTAX / "syntax.json").read_text())["reml_criterion"]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.read_csv(SYNTAX / "syntax.csv.gz")


def test_there_are_21():
    assert len(CRITERIA) == 21


def formulas() -> list[Any]:
    return [pytest.param(text, marks=() if text in EVERYDAY else pytest.mark.slow) for text in CRITERIA]


@pytest.mark.parametrize("formula", formulas())
def test_reml_criterion(formula, frame):
    missing = int(frame["x_na"].isna().sum())
    if "x_na" in formula:
        with pytest.warns(DroppedRowsWarning, match=rf"{missing} of {len(frame)} rows .* \(x_na {missing}\)"):
            fit = rx.lmer(formula, frame)
        assert fit.nobs == len(frame) - missing
    else:
        fit = rx.lmer(formula, frame)
    assert fit.converged
    # lme4's default optimiser is exact to about 1e-5; a lower criterion than its own is a better fit
    assert fit.criterion() <= CRITERIA[formula] + 1e-6
    assert fit.criterion() >= CRITERIA[formula] - 1e-4
