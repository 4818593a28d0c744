"""Read the reference cases: numbers from lme4, mice and mitml, and the data they were computed on."""

from __future__ import annotations

import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

REFERENCE = Path(__file__).resolve().parent / "reference"
VISIBLE = REFERENCE / "visible"
NOT_CASES = {"verification"}


@cache
def _case(name: str) -> dict[str, Any]:
    return json.loads((VISIBLE / f"{name}.json").read_text())


def case_names(kind: str | None = None) -> list[str]:
    """Names of the cases, sorted; `kind` is "lmm_single", "lmm_mi" or "glmm" (None: all)."""
    names = sorted(path.stem for path in VISIBLE.glob("*.json") if path.stem not in NOT_CASES)
    return [name for name in names if kind is None or _case(name)["kind"] == kind]


def read_reference_csv(path: Path, columns: dict[str, Any]) -> pd.DataFrame:
    """Read a reference csv exactly, with R's column types.

    Factors become categoricals with the levels in R's order (numerically or alphabetically sorted where the
    case does not list them), ordered where R's are; character columns become strings.
    """
    as_text = {name: str for name, column in columns.items() if column["type"] in ("factor", "character")}
    with warnings.catch_warnings():
        # Needed for exact numbers before pandas 3, deprecated since: there it is the default.
        warnings.filterwarnings("ignore", "The 'float_precision' argument", DeprecationWarning)
        frame = pd.read_csv(path, dtype=as_text, float_precision="round_trip", keep_default_na=False, na_values=[""])
    for name, column in columns.items():
        if column["type"] == "factor":
            levels = [str(level) for level in column.get("levels") or _sorted_levels(frame[name])]
            frame[name] = pd.Categorical(frame[name], categories=levels, ordered=bool(column.get("ordered", False)))
    return frame


def _sorted_levels(column: pd.Series) -> list[str]:
    levels = set(column.dropna())
    if all(level.isdecimal() for level in levels):
        return sorted(levels, key=int)
    return sorted(levels)


@cache
def _sets(name: str) -> tuple[pd.DataFrame | None, tuple[pd.DataFrame, ...]]:
    data = _case(name)["data"]
    frame = read_reference_csv(VISIBLE / data["file"], data["columns"])
    if ".imp" not in frame:
        return None, (frame,)
    sets = {int(imp): part.drop(columns=[".imp", ".id"]).reset_index(drop=True) for imp, part in frame.groupby(".imp")}
    return sets.get(0), tuple(sets[imp] for imp in sorted(sets) if imp > 0)


def load_case(name: str) -> tuple[dict[str, Any], list[pd.DataFrame]]:
    """Return a case and its data sets: one frame for a single fit, K frames (imputations 1..K) for lmm_mi.

    The case is shared between calls and must not be changed; the frames are copies.
    """
    return _case(name), [frame.copy() for frame in _sets(name)[1]]


def load_original(name: str) -> pd.DataFrame:
    """Return the incomplete data set that the imputations of an lmm_mi case complete."""
    original = _sets(name)[0]
    if original is None:
        raise ValueError(f"case {name} has no incomplete original")
    return original.copy()
