"""Shared data of the imputation tests."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

REFERENCE = Path(__file__).resolve().parent.parent / "reference"


@pytest.fixture(scope="session")
def reference() -> Path:
    return REFERENCE


@pytest.fixture(scope="session")
def hsb_file() -> pd.DataFrame:
    """The vignette's incomplete data (.imp 0) and Amelia's five imputations of it."""
    return pd.read_csv(REFERENCE / "visible" / "hsb_vignette.csv.gz", dtype={"schid": str})


@pytest.fixture(scope="session")
def hsb(hsb_file: pd.DataFrame) -> pd.DataFrame:
    return hsb_file[hsb_file[".imp"] == 0].drop(columns=[".imp", ".id"]).reset_index(drop=True)
