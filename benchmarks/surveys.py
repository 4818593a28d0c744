"""Surveys: 10 plausible values x 80 replicates of 7,000 pupils in 250 schools, and one fit beside WeMix; in one run.

WeMix fits one plausible value with the sandwich, and is taken to need as long for each of the 810 fits: it has no
replicate weights for mixed models, so that they would be a loop.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy
from common import arguments, has_r, median_seconds, report

import remlax as rx

VALUES, REPLICATES = 10, 80
FORMULAS = {
    "random intercepts": "math ~ escs + girl + public + (1 | school)",
    "random slopes": "math ~ escs + girl + public + (1 + escs | school)",
}
R_SCRIPT = """
suppressMessages(library(WeMix))
d <- read.csv("{path}")
cat(system.time(mix({formula}, d, weights = c("w_pupil", "w_school")))[["elapsed"]], "\\n")
"""


def survey(schools: int = 250, pupils: int = 28, seed: int = 1) -> pd.DataFrame:
    """Like a country of PISA: total weights, plausible values, and replicate weights by Fay's method."""
    rng, n = np.random.default_rng(seed), schools * pupils
    school = np.repeat(np.arange(schools), pupils)
    escs = rng.normal(size=n) + 0.5 * rng.normal(size=schools)[school]
    girl, public = rng.integers(0, 2, n), rng.integers(0, 2, schools)[school]
    effects = rng.normal(size=(schools, 2)) * [45, 12]
    mean = 500 + (20 + effects[school, 1]) * escs + 8 * girl - 10 * public + effects[school, 0]
    score = mean + rng.normal(0, 65, n)
    w_school = rng.uniform(5, 50, schools)[school]
    w_pupil = w_school * rng.uniform(5, 20, schools)[school] * rng.uniform(0.8, 1.2, n)
    columns: dict[str, np.ndarray] = {"school": school, "escs": escs, "girl": girl, "public": public}
    columns |= {"w_school": w_school, "w_pupil": w_pupil}
    columns |= {f"pv{m + 1}": score + rng.normal(0, 30, n) for m in range(VALUES)}
    signs = scipy.linalg.hadamard(256)[:REPLICATES, 1 : 1 + (schools + 1) // 2]
    for r, sign in enumerate(signs):
        up = (sign[school // 2] > 0) == (school % 2 == 0)
        columns[f"w_rep{r + 1}"] = w_pupil * np.where(up, 1.5, 0.5)
    return pd.DataFrame(columns)


def ours(frame: pd.DataFrame, formula: str) -> rx.SurveyFit:
    return rx.lmer(
        formula,
        frame,
        sampling_weights={"school": "w_school", "pupil": "w_pupil"},
        conditional=False,
        plausible_values=[f"pv{m + 1}" for m in range(VALUES)],
        replicates=[f"w_rep{r + 1}" for r in range(REPLICATES)],
        method="fay",
    )


def wemix(frame: pd.DataFrame, formula: str) -> float:
    """Seconds of one fit."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        frame.iloc[:, :-REPLICATES].assign(math=frame["pv1"]).to_csv(path, index=False)
        script = R_SCRIPT.format(path=path, formula=formula)
        found = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True, check=True)
    return float(found.stdout.split()[-1])


def measured(schools: int, repeats: int) -> list[dict[str, Any]]:
    frame, rows = survey(schools), list[dict[str, Any]]()
    fits = VALUES * (1 + REPLICATES)
    for name, formula in FORMULAS.items():
        start = time.perf_counter()
        ours(frame, formula)
        first = time.perf_counter() - start
        seconds = median_seconds(lambda formula=formula: ours(frame, formula), repeats)
        what = f"{fits} fits of {len(frame)} pupils in {schools} schools, {name}"
        rows.append({"what": what, "tool": "remlax", "seconds": seconds, "first call": first})
        if has_r("WeMix"):
            loop = fits * wemix(frame, formula)
            rows.append({"what": what, "tool": "WeMix", "seconds": loop, "tool / remlax": loop / seconds})
    return rows


def main() -> None:
    quick = arguments(__doc__ or "").quick
    report("surveys", measured(*((40, 1) if quick else (250, 5))))


if __name__ == "__main__":
    main()
