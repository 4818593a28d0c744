"""Fits of the reference cases, made once per test session, and R's coefficient names in remlax's order."""

from __future__ import annotations

import json
import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

import remlax as rx
from reference_cases import REFERENCE, load_case, read_reference_csv
from remlax.errors import RemlaxWarning

INFERENCE = REFERENCE / "inference"


@cache
def inference(name: str) -> dict[str, Any]:
    """Numbers of one file in tests/reference/inference."""
    return json.loads((INFERENCE / f"{name}.json").read_text())


def _options(case: dict[str, Any]) -> dict[str, Any]:
    return {"reml": case["reml"], "weights": case["weights"], "offset": case["offset"]}


@cache
def fit_case(name: str) -> tuple[dict[str, Any], rx.LmerFit]:
    """A single-fit case and its fit."""
    case, (frame,) = load_case(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RemlaxWarning)
        return case, rx.lmer(case["formula"], frame, **_options(case))


@cache
def fits_case(name: str, formula: str | None = None) -> tuple[dict[str, Any], rx.LmerFitList]:
    """A case of K imputations and its fits, of its own formula or another."""
    case, frames = load_case(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RemlaxWarning)
        return case, rx.lmer_list(formula or case["formula"], frames, **_options(case))


@cache
def studentratings(*, null: bool = False) -> tuple[dict[str, Any], rx.LmerFitList]:
    """mitml's studentratings, imputed with seed 1234: what mitml says of it, and the fits (of the null model)."""
    about = inference("studentratings_1234")
    frame = read_reference_csv(INFERENCE / "studentratings_1234.csv.gz", {})
    frames = [part.drop(columns=".imp").reset_index(drop=True) for _, part in frame.groupby(".imp")]
    return about, rx.lmer_list("ReadAchiev ~ 1 + (1 | ID)" if null else about["formula"], frames)


def plain(name: str) -> str:
    """R's coefficient name and remlax's, brought to one spelling."""
    text = str(name)
    for a, b in (("[T.", ""), ("]", ""), ("(Intercept)", "Intercept"), (" ", "")):
        text = text.replace(a, b)
    return ":".join(sorted(text.split(":")))


def r_order(ours: Any, theirs: Any) -> list[int]:
    """Positions of R's coefficients among ours."""
    where = {plain(name): i for i, name in enumerate(ours)}
    return [where[plain(name)] for name in theirs]


def numbers(values: dict[str, Any]) -> np.ndarray:
    """Values of a JSON object as floats."""
    return pd.to_numeric(pd.Series(list(values.values()), dtype=object)).to_numpy(dtype=float)
