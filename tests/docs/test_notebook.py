"""The vignette as a notebook, executed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "notebook.py"


@pytest.mark.slow
def test_notebook_of_the_vignette(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, NOTEBOOK, tmp_path / "hsb.ipynb"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    book = nbformat.read(tmp_path / "hsb.ipynb", as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert len(code) >= 6
    said = "".join(out.get("text", "") for cell in code for out in cell.outputs)
    assert "0.276" in said  # fmi of minority, as in the README
