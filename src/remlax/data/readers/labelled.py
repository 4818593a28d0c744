"""Files of SPSS and SAS: cells, labels of columns and of values, and the codes that are declared missing."""

from __future__ import annotations

import importlib.util
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ...errors import FileFormatError, MissingExtraError

# In a process of its own: pyreadstat ends the process where a damaged file has text of another encoding than it says
_CHILD = """
import json, pickle, sys
import pyreadstat
function, path, out, options = sys.argv[1:]
try:
    frame, about = getattr(pyreadstat, function)(path, **json.loads(options))
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
found = (frame, about.column_names_to_labels, about.variable_value_labels, getattr(about, "missing_ranges", {}))
with open(out, "wb") as file:
    pickle.dump(found, file)
"""


@dataclass(frozen=True, eq=False)
class LabelledData:
    """What a file holds.

    Parameters
    ----------
    frame : DataFrame
        Cells, as codes.
    column_labels : dict
        Label of every column, None without.
    value_labels : dict
        Of every column with labels, the label of each code.
    missing_ranges : dict
        Of every column with codes that are declared missing, their ranges: ``[{"lo": 7.0, "hi": 9.0}]``.
    """

    frame: pd.DataFrame
    column_labels: Mapping[str, str | None]
    value_labels: Mapping[str, Mapping[Any, str]]
    missing_ranges: Mapping[str, Sequence[Mapping[str, Any]]]


def require(library: str, what: str) -> None:
    """Refuse to go on without an optional library that a type of file needs."""
    if importlib.util.find_spec(library) is None:
        raise MissingExtraError(f"{what} need {library}: pip install remlax[io]")


def read_labelled(path: Path, function: str, **options: object) -> LabelledData:
    """Read a file by a function of pyreadstat.

    Raises MissingExtraError: pyreadstat is not installed. Raises FileFormatError: it crashed. Raises ValueError: it
    refused the file.
    """
    require("pyreadstat", f"{path.suffix} files")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found"
        command = [sys.executable, "-W", "ignore", "-c", _CHILD, function, str(path), str(out), json.dumps(options)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode < 0:
            raise FileFormatError(f"{str(path)!r} is damaged: pyreadstat, which reads such files, crashed on it")
        if done.returncode:
            raise ValueError(done.stderr.strip() or "pyreadstat gave no reason")
        return LabelledData(*pickle.loads(out.read_bytes()))


def categories_of(cells: pd.Series, labels: Mapping[Any, str]) -> pd.Categorical | None:
    """Labelled cells as categories in the order of their codes, as pandas reads those of Stata.

    None where no code in the cells has a label, as in a column of numbers of which only missing codes are labelled, and
    where two codes have the same one.
    """
    codes = sorted(cells.dropna().unique())
    shown = {code: labels.get(code, code) for code in codes}
    if not any(code in labels for code in codes) or len(set(shown.values())) < len(shown):
        return None
    return pd.Categorical(cells.map(shown), list(shown.values()))
