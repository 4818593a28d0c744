"""P-values of many data sets are those of lme4, lmerTest and pbkrtest: tests/reference/next/power_crossed.R."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from reference_cases import REFERENCE
from remlax.many.design import parse_right_side
from remlax.power.plan import shared_design
from remlax.power.testing import DesignTest
from remlax.tables.constraints import read_constraints

pytestmark = pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
NEXT = REFERENCE / "next"


@cache
def reference() -> tuple[dict[str, Any], pd.DataFrame]:
    cases = json.loads((NEXT / "power_crossed.json").read_text())
    return cases, pd.read_csv(NEXT / "power_crossed.csv.gz")


@pytest.mark.parametrize(
    ("term", "method"),
    [
        ("cond", "satterthwaite"),
        ("cond", "wald"),
        pytest.param("cond", "kenward-roger", marks=pytest.mark.slow),
        pytest.param("cond", "lrt", marks=pytest.mark.slow),
        pytest.param("arm", "satterthwaite", marks=pytest.mark.slow),
        pytest.param("arm", "wald", marks=pytest.mark.slow),
        pytest.param("arm", "kenward-roger", marks=pytest.mark.slow),
        pytest.param("arm", "lrt", marks=pytest.mark.slow),
    ],
)
def test_p_values_are_those_of_r(term: str, method: str):
    cases, data = reference()
    case, y = cases[term], data[[f"y{r}" for r in range(10)]].to_numpy().T
    design = shared_design(data, parse_right_side(f"~ {case['formula']}"), reml=method != "lrt")
    assert design.symmetry is not None
    linear = read_constraints(term, design.model.fixed_names, terms=design.model.term_names)
    test = DesignTest(design, linear, method)  # type: ignore[arg-type]
    fits = test.fit(np.ascontiguousarray(y))
    found = test.ratio_p_values(fits, y, range(10)) if method == "lrt" else test.p_values(fits, linear.null)
    expected, singular = np.array(case[method.replace("-", "_")]), np.array(case["singular"]) > 0
    assert fits.converged.all()
    # lmerTest's derivatives are numerical, and on the boundary they are one-sided
    assert_allclose(found[~singular], expected[~singular], rtol=2e-4)
    if method in ("wald", "lrt"):
        assert_allclose(found[singular], expected[singular], rtol=1e-3)
