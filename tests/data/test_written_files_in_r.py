"""mice and haven read what is written, and mice pools it to what numpy says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import remlax as rx
from remlax.errors import DataWarning

SCRIPT = """
suppressMessages(library(mice))
imp <- as.mids(read.csv("{csv}", stringsAsFactors = TRUE))
fits <- with(imp, lm(mathach ~ minority + ses))
stata <- haven::read_dta("{dta}")
cat(imp$m, sum(is.na(imp$data$ses)), unname(pool(fits)$pooled$estimate), table(stata[["_mi_m"]]), sep = "\\n")
"""


def has_r() -> bool:
    code = 'quit(status = !all(sapply(c("mice", "haven"), requireNamespace, quietly = TRUE)))'
    return shutil.which("Rscript") is not None and subprocess.run(["Rscript", "-e", code]).returncode == 0


@pytest.mark.slow
def test_r_reads_what_is_written(tmp_path: Path) -> None:
    if not has_r():
        pytest.skip("needs Rscript with mice and haven")
    data = rx.datasets.hsb_imputed()
    csv, dta = tmp_path / "long.csv", tmp_path / "flong.dta"
    with pytest.warns(DataWarning, match="a csv file does not say that 'schid' hold"):
        rx.write_imputations(data, csv)
    rx.write_imputations(data, dta)
    done = subprocess.run(["Rscript", "-"], input=SCRIPT.format(csv=csv, dta=dta), capture_output=True, text=True)
    said = [float(line) for line in done.stdout.split()]
    design = [np.column_stack([np.ones(len(d)), d["minority"], d["ses"]]) for d in data.frames]
    own = [np.linalg.lstsq(x, d["mathach"], rcond=None)[0] for x, d in zip(design, data.frames, strict=True)]
    assert said[:2] == [5, data.original["ses"].isna().sum()]
    np.testing.assert_allclose(said[2:5], np.mean(own, axis=0), rtol=1e-6)
    assert said[5:] == [7185] * 6
