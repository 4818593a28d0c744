"""What profile and bootstrap limits of all parameters cost, and how far the profile limits are from lme4's.

remlax and lme4's ``confint`` on the same data in the same run: a random slope, 160 schools, three correlated columns,
200 x 30 crossed levels. lme4 takes its own steps, and its spline through them is most of the difference shown.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import arguments, has_r, median_seconds, report

import remlax as rx

REFERENCE = Path(__file__).resolve().parent.parent / "tests" / "reference" / "visible"
R_CODE = """
suppressPackageStartupMessages(library(lme4))
d <- read.csv("{path}", stringsAsFactors = TRUE, check.names = FALSE)
for (v in c({groups})) d[[v]] <- factor(d[[v]])
fit <- lmer({formula}, d)
quiet <- function(x) suppressWarnings(suppressMessages(x))
s <- system.time(ci <- quiet(confint(fit, method = "profile", oldNames = FALSE)))[["elapsed"]]
cat("seconds", s, "\\n")
for (i in seq_len(nrow(ci))) cat("limit", ci[i, 1], ci[i, 2], "\\n")
b <- {boot}
if (b > 0) cat("boot", system.time(quiet(confint(fit, method = "boot", nsim = b)))[["elapsed"]], "\\n")
"""


def crossed(seed: int = 1) -> pd.DataFrame:
    """3,000 ratings of 30 items by 200 persons."""
    rng = np.random.default_rng(seed)
    g, h, x = rng.integers(0, 200, 3000), rng.integers(0, 30, 3000), rng.normal(size=3000)
    y = 1 + 0.5 * x + 0.7 * rng.normal(size=200)[g] + 0.5 * rng.normal(size=30)[h] + rng.normal(size=3000)
    return pd.DataFrame({"y": y, "x": x, "g": g.astype(str), "h": h.astype(str)})


def machines() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "machines_3dim.csv.gz", dtype={"Worker": str, "Machine": str})


def order_of_lme4(table: pd.DataFrame) -> list[int]:
    """SDs and correlations of a term column by column, as lme4 lists them, then sigma and the coefficients."""
    out: list[int] = []
    random = table[(table["effect"] == "ran_pars") & (table["group"] != "Residual")]
    for _, term in random.groupby("group", sort=False):
        names = [name.removeprefix("sd__") for name in term["term"] if name.startswith("sd__")]
        where = {name: int(i) for i, name in term["term"].items()}
        for j, first in enumerate(names):
            out += [where[f"sd__{first}"], *(where[f"cor__{first}.{second}"] for second in names[j + 1 :])]
    return out + [i for i in range(len(table)) if i not in out]


def lme4(frame: pd.DataFrame, formula: str, groups: list[str], n_boot: int) -> dict[str, Any]:
    """Seconds and limits of lme4."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        frame.to_csv(path, index=False)
        quoted = ", ".join(f"'{group}'" for group in groups)
        code = R_CODE.format(path=path, groups=quoted, formula=formula, boot=n_boot)
        done = subprocess.run(["Rscript", "-"], input=code, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    lines = [line.split() for line in done.stdout.splitlines()]
    found: dict[str, Any] = {line[0]: float(line[1]) for line in lines if line[0] in ("seconds", "boot")}
    limits = [[float("nan") if v == "NA" else float(v) for v in line[1:]] for line in lines if line[0] == "limit"]
    return found | {"limits": np.array(limits)}


def main() -> None:
    quick = arguments(__doc__ or "").quick
    warnings.simplefilter("ignore", rx.RemlaxWarning)
    sleep = rx.datasets.sleepstudy()
    workloads: dict[str, tuple[pd.DataFrame, str, list[str]]] = {
        "sleepstudy": (sleep, "Reaction ~ Days + (1 + Days | Subject)", ["Subject"]),
        "machines, three columns": (machines(), "score ~ Machine + (1 + Machine | Worker)", ["Worker"]),
        "hsb": (rx.datasets.hsb(), "mathach ~ ses + meanses + (1 + ses | schid)", ["schid"]),
        "200 x 30 crossed": (crossed(), "y ~ x + (1 | g) + (1 | h)", ["g", "h"]),
    }
    n_boot = 0 if quick else 200
    rows = []
    for name, (frame, formula, groups) in workloads.items():
        fit = rx.lmer(formula, frame)
        start = time.perf_counter()
        table = fit.confint("profile")
        row: dict[str, Any] = {"data": name, "parameters": len(table), "first_s": time.perf_counter() - start}
        row["remlax_s"] = median_seconds(lambda fit=fit: fit.confint("profile"), 3)
        if n_boot:
            fit.confint("boot", n_sims=n_boot, seed=1)
            row["boot_s"] = median_seconds(lambda fit=fit: fit.confint("boot", n_sims=n_boot, seed=1), 3)
        if has_r("lme4"):
            peer = lme4(frame, formula, groups, n_boot)
            ours = table[["conf_low", "conf_high"]].to_numpy()[order_of_lme4(table)]
            width = (ours[:, 1] - ours[:, 0])[:, None]
            row |= {"lme4_s": peer["seconds"], "lme4_boot_s": peer.get("boot")}
            row["largest difference, share of width"] = float(np.nanmax(np.abs(ours - peer["limits"]) / width))
        rows.append(row)
    report("profile_limits", rows)


if __name__ == "__main__":
    main()
