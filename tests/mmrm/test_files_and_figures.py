"""Files, figures, tables for print and terms of mixed models for repeated measures."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mmrm_cases import trial

import remlax as rx
from remlax.data.archive import read_archive, write_archive
from remlax.errors import FileFormatError

FORMULA = "y ~ x + arm * visit + us(visit | id)"


@cache
def fit() -> rx.MmrmFit:
    return rx.mmrm(FORMULA, trial(), weights="w")


@cache
def fits() -> rx.MmrmFitList:
    """Data sets with different missing visits and a covariance matrix of each arm."""
    data = trial(missing=0.0)
    rng = np.random.default_rng(5)
    noise = [data.assign(y=(data["y"] + 0.4 * rng.normal(size=len(data))).mask(data.index % 7 == k)) for k in range(3)]
    return rx.mmrm_list(
        "y ~ x + arm * visit + csh(visit | arm / id)", [one.dropna() for one in noise], offset="0.1 * x"
    )


def everything(found: Any) -> dict[str, Any]:
    """All tables of a fit, a list or a pooled model."""
    if isinstance(found, rx.MmrmFitList):
        out = {"fixef": found.fixef(), "convergence": found.convergence(), "glance": found.glance()}
        return out | {"text": str(found), "pooled": found.pool("kenward-roger").tidy()}
    out = {name: found.tidy(name) for name in ("fixed", "ran_pars")}
    out |= {"covariance": found.residual_covariance(), "vcov": found.vcov(), "glance": found.glance()}
    out["text"] = str(found.summary())
    out |= {"means": found.emmeans("arm", by="visit").means, "test": found.test("x"), "report": found.report()}
    if isinstance(found, rx.MmrmFit):
        out |= {f"ddf {ddf}": found.tidy(ddf=ddf) for ddf in ("kenward-roger", "kenward-roger-second", "residual")}
        out |= {"patients": found.predict(level="patient", interval="prediction")}
        out |= {"residuals": found.residuals("normalized").to_frame()}
        out |= {"sas": found.covariance_parameters(), "CR2": found.vcov(vcov="CR2"), "aic": found.aic}
    return out


def assert_identical(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, other[name], check_exact=True, obj=name)
        else:
            assert value == other[name], name


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(fit, id="fit"),
        pytest.param(lambda: fits()[1], id="fit of several"),
        pytest.param(fits, id="list"),
        pytest.param(lambda: fits()[1:], id="slice"),
        pytest.param(lambda: fits().pool(conf_level=0.9), id="pooled"),
        pytest.param(lambda: fits().pool(math.inf), id="pooled, given df"),
        pytest.param(lambda: fits().pool("kenward-roger-second"), id="pooled, Kenward-Roger"),
        pytest.param(lambda: fits().pool(vcov="CR2"), id="pooled, CR2"),
    ],
)
def test_everything_comes_back_to_the_last_bit(make: Callable[[], Any], tmp_path: Path) -> None:
    found = make()
    found.save(tmp_path / "saved")
    again = rx.load(tmp_path / "saved")
    assert type(again) is type(found)
    assert_identical(everything(found), everything(again))


def test_files_whose_visits_are_others_are_refused(tmp_path: Path) -> None:
    fit().save(tmp_path / "saved")
    archive = read_archive(tmp_path / "saved")
    archive.content["stack"]["visits"]["names"] = ["v1", "v2", "v4"]
    write_archive(tmp_path / "changed", archive.kind, archive.content)
    with pytest.raises(FileFormatError, match="the visits are v1, v2, v3, not v1, v2, v4"):
        rx.load(tmp_path / "changed")
