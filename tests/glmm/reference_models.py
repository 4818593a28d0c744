"""Reference data and numbers of generalised linear mixed models, and fits to them, each made once."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

import remlax as rx
from reference_cases import REFERENCE, read_reference_csv

NEXT = REFERENCE / "next"


@cache
def case(name: str) -> dict[str, Any]:
    return json.loads((NEXT / f"{name}.json").read_text())


@cache
def frame(name: str) -> pd.DataFrame:
    data = case(name)["data"]
    return read_reference_csv(NEXT / data["file"], data["columns"])


@cache
def counts(random: str = "(1 | site)", family: str = "negative-binomial", fixed: str = "x + season") -> rx.GlmerFit:
    """Fit to the counts."""
    return rx.glmer(f"count ~ {fixed} + {random}", frame("glmm_counts_nested"), family, offset="logexp")


@cache
def two_counts(fixed: str = "x + season", *, same: bool = False) -> rx.GlmerFitList:
    """Negative binomial fits to the counts, and to them again, or to counts that differ a little."""
    data = frame("glmm_counts_nested")
    other = data if same else data.assign(count=data["count"] + (np.arange(len(data)) % 7 == 0))
    return rx.glmer_list(f"count ~ {fixed} + (1 | site)", [data, other], "negative-binomial", offset="logexp")


def counts_reference(random: str, family: str) -> dict[str, Any]:
    """Numbers of the fit with one node."""
    formula = f"count ~ x + season + {random}"
    (found,) = [
        fit
        for fit in case("glmm_counts_nested")["fits"]
        if (fit["formula"], fit["family"], fit["n_quad"]) == (formula, family, 1)
    ]
    return found


@cache
def binary(fixed: str = "x1 + x2 + t") -> rx.GlmerFitList:
    """Logit fits to five imputations."""
    sets = [part.drop(columns=".imp") for imp, part in frame("glmm_mi_binary_k5").groupby(".imp") if int(imp) > 0]
    return rx.glmer_list(f"y ~ {fixed} + (1 | id)", sets)
