"""A survey of three levels, its models, and WeMix's numbers for them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

FOLDER = Path(__file__).parent / "reference" / "survey"
MODELS = {
    "slopes": ("y ~ x + (1 + x | school)", {"school": "w3", "pupil": "w1"}),
    "intercept": ("y ~ x + (1 | school)", {"school": "w3", "pupil": "w1"}),
    "three": (
        "y ~ x + (1 + x | school) + (1 | school:room)",
        {"school": "w3", "school:room": "w2", "pupil": "w1"},
    ),
}


@cache
def pupils() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "pupils.csv.gz")


@cache
def wemix() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "wemix.json").read_text())
    return found
