"""The antidepressant trial with rbmi's numbers, a small made trial, and imputations of both, each made once."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

import remlax as rx
from reference_cases import REFERENCE
from remlax.impute import ReferenceResult

NEXT = REFERENCE / "next"
RBMI = "CHANGE ~ BASVAL * VISIT + THERAPY * VISIT + us(VISIT | {}PATIENT)"
ANALYSIS = "CHANGE ~ BASVAL + THERAPY"
NAMES = {
    "JR": "jump-to-reference",
    "CR": "copy-reference",
    "CIR": "copy-increments",
    "LMCF": "last-mean",
    "MAR": "mar",
}
MODEL = "y ~ base * visit + arm * visit + us(visit | id)"


@cache
def rbmi() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((NEXT / "rbmi_antidepressant.json").read_text())
    return found


def run(strategy: str, *, same: bool = True, event: str = "first missing") -> dict[str, Any]:
    """Numbers of one run of rbmi."""
    key = (strategy, event, same)
    return next(one for one in rbmi()["runs"] if (one["strategy"], one["event"], one["same_covariance"]) == key)


@cache
def antidepressant() -> pd.DataFrame:
    """The data of rbmi: a row for each visit that took place, columns PATIENT, VISIT, THERAPY, BASVAL, CHANGE."""
    frame = pd.read_csv(NEXT / "rbmi_antidepressant.csv.gz", dtype={"PATIENT": str, "VISIT": str})
    theirs = rbmi()
    for name in ("event_visit", "early_visit"):
        first = dict(zip(theirs["event_patient"], theirs[name], strict=True))
        frame[name] = frame["PATIENT"].map(first)
    return frame


@cache
def conditional_means(strategy: str, *, same: bool = True, event: str = "event_visit") -> ReferenceResult:
    formula = RBMI.format("" if same else "THERAPY / ")
    return rx.impute.reference(
        antidepressant(), formula, arm="THERAPY", reference="PLACEBO", strategy=NAMES[strategy], event=event,
        draws="none",
    )  # fmt: skip


@cache
def trial(seed: int = 1, n: int = 60) -> pd.DataFrame:
    """Four visits, two arms, drop-out and two visits missed before: columns id, arm, base, visit, y.

    Its model and its patterns of visits have the shape of the antidepressant trial's, so that programs serve both.
    """
    rng = np.random.default_rng(seed)
    base, drug = rng.normal(10, 2, n), np.arange(n) % 2
    y = 0.5 * base[:, None] - np.arange(4) - drug[:, None] * np.arange(4) + rng.normal(size=(n, 1))
    y = y + rng.normal(size=(n, 4))
    last = np.where(rng.random(n) < 0.4, rng.integers(1, 4, n), 4)
    last[:2] = 4
    y[np.arange(4) >= last[:, None]] = np.nan
    y[:2, 1] = np.nan
    return pd.DataFrame(
        {
            "id": np.repeat([f"p{i:02d}" for i in range(n)], 4),
            "arm": np.repeat(np.where(drug == 1, "drug", "placebo"), 4),
            "base": np.repeat(base, 4),
            "visit": np.tile(["v1", "v2", "v3", "v4"], n),
            "y": y.ravel(),
        }
    )


@cache
def drawn(draws: str = "bootstrap", m: int = 20) -> ReferenceResult:
    return rx.impute.reference(trial(), MODEL, arm="arm", reference="placebo", draws=draws, m=m, seed=3)  # type: ignore[arg-type]


@cache
def means() -> ReferenceResult:
    return rx.impute.reference(trial(), MODEL, arm="arm", reference="placebo", draws="none", seed=3)
