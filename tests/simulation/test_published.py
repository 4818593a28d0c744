"""examples/simulation_study.py gives the numbers of van Buuren (2018), Flexible Imputation of Missing Data, 2nd ed."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

# section 2.5.2: mean and coverage where printed; tables 3.1 and 3.2: bias, coverage, width, RMSE
FIRST = {"norm.predict": {"mean": 1.343, "coverage": 0.36}, "norm.nob": {"mean": 1.0, "coverage": 0.925}}
TABLES = {
    ("y", "norm.predict"): (0.0000, 0.652, 0.114, 0.063),
    ("y", "norm.nob"): (-0.0001, 0.908, 0.226, 0.064),
    ("y", "norm"): (-0.0001, 0.951, 0.314, 0.066),
    ("y", "norm.boot"): (-0.0001, 0.941, 0.299, 0.066),
    ("y", "listwise"): (0.0001, 0.946, 0.251, 0.063),
    ("x", "norm.predict"): (-0.1007, 0.359, 0.160, 0.118),
    ("x", "norm.nob"): (0.0006, 0.924, 0.202, 0.056),
    ("x", "norm"): (0.0075, 0.955, 0.254, 0.058),
    ("x", "norm.boot"): (-0.0014, 0.946, 0.238, 0.058),
    ("x", "listwise"): (-0.0001, 0.946, 0.251, 0.063),
}


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[2] / "examples" / "simulation_study.py"))


def cells(study: Any, folder: Path, columns: list[str]) -> pd.DataFrame:
    study.run(folder, block_size=500, progress=False)
    table = study.performance(folder)
    return table[table["summary"] == "all"].set_index([*columns, "measure"])


def test_two_methods_of_section_2_5_2(example: dict[str, Any], tmp_path: Path) -> None:
    found = cells(example["FIRST"], tmp_path, ["method"])
    for method, published in FIRST.items():
        for measure, value in published.items():
            cell = found.loc[(method, measure)]
            assert abs(cell["estimate"] - value) < 3 * cell["mcse"], (method, measure, cell["estimate"])


def test_tables_3_1_and_3_2(example: dict[str, Any], tmp_path: Path) -> None:
    found = cells(example["TABLES"], tmp_path, ["missing", "method"])
    for (missing, method), published in TABLES.items():
        for measure, value in zip(("bias", "coverage", "width", "rmse"), published, strict=True):
            cell = found.loc[(missing, method, measure)]
            assert abs(cell["estimate"] - value) < 3 * cell["mcse"], (missing, method, measure, cell["estimate"])
