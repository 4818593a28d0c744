"""Fits against an own criterion in R, which nlme::lme and glmmTMB agree with (tests/reference/next/README.md)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import remlax as rx

REFERENCE = Path(__file__).resolve().parent.parent / "reference" / "next"
QUICK = {("struct_times5", 0), ("struct_times5", 2), ("struct_machines", 2), ("struct_orthodont", 0)}


@cache
def case(name: str) -> tuple[dict[str, Any], pd.DataFrame]:
    found = json.loads((REFERENCE / f"{name}.json").read_text())
    data = pd.read_csv(REFERENCE / f"{name}.csv.gz")
    for column, of in found["data"]["columns"].items():
        if isinstance(of, dict) and of.get("levels"):
            data[column] = pd.Categorical(data[column].astype(str), categories=list(map(str, of["levels"])))
    return found, data


def cases() -> list[Any]:
    sizes = {"struct_times5": 7, "struct_machines": 5, "struct_orthodont": 4}
    pairs = [(name, i) for name, size in sizes.items() for i in range(size)]
    return [pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.slow) for pair in pairs]


@pytest.mark.parametrize(("name", "i"), cases())
def test_fit(name, i):
    """Criterion, coefficients, their covariance, sigma and the covariance matrix."""
    found, data = case(name)
    wanted = found["fits"][i]
    fit = rx.lmer(wanted["formula"], data, reml=wanted["reml"])
    assert fit.criterion() == pytest.approx(wanted["criterion"], abs=1e-6)
    assert fit.n_parameters == len(wanted["fixef"]) + wanted["n_cov_par"]
    se = np.array(list(wanted["se"].values()))
    names = [spelling(name) for name in wanted["fixef"]]
    np.testing.assert_allclose((fit.fixef()[names] - list(wanted["fixef"].values())) / se, 0, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.vcov().loc[names, names])), se, rtol=1e-5)
    assert fit.sigma == pytest.approx(wanted["sigma"], rel=1e-5)
    cov = np.array(wanted["varcorr"][0]["cov"])
    np.testing.assert_allclose(fit.selection.fitted.covariance(0)[0], cov, atol=1e-4 * cov.max())
    root = np.array(wanted["varcorr"][0]["relative_cholesky"])
    np.testing.assert_allclose(fit.theta, root.T[np.triu_indices(len(root))], atol=1e-5)


def spelling(name: str) -> str:
    """R's name of a coefficient as remlax spells it."""
    if name == "(Intercept)":
        return "Intercept"
    parts = name.split(":")
    for factor in ("Machine", "time", "Sex"):
        parts = [f"{factor}[T.{part[len(factor) :]}]" if part.startswith(factor) else part for part in parts]
    return ":".join(parts)
