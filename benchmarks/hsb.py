"""K imputed copies of High School & Beyond, from data frames to the pooled table, against merTools::lmerModList."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from common import arguments, has_r, median_seconds, report, run_r

import remlax as rx
from remlax.engine.fit import fit

FORMULA = "mathach ~ minority + female + ses + meanses + (1 + ses | schid)"

R_SCRIPT = """
suppressMessages({{library(lme4); library(merTools)}})
long <- read.csv("{path}", colClasses = c(schid = "character"))
sets <- split(long, long$.imp)
for (k in c({ks})) {{
  data <- sets[rep_len(seq_along(sets), k)]
  times <- replicate({repeats}, system.time({{
    fits <- suppressWarnings(lmerModList({formula}, data = data))
    invisible(modelFixedEff(fits))
  }})["elapsed"])
  cat(sprintf("K%d %.6f\\n", k, median(times)))
}}
"""


def copies(k: int) -> list[Any]:
    """K frames with the imputed cells of the five imputations in turn, each its own object."""
    frames = list(rx.datasets.hsb_imputed().frames)
    return [frames[i % len(frames)].copy() for i in range(k)]


def frames_to_table(k: int, optimizer: Any, repeats: int) -> tuple[float, float]:
    """Seconds of the first call (compilation included) and median of warm ones."""
    data = copies(k)

    def run() -> None:
        rx.lmer_list(FORMULA, data, optimizer=optimizer).pool().tidy("fixed")

    start = time.perf_counter()
    run()
    return time.perf_counter() - start, median_seconds(run, repeats)


def fits_in_memory(n_fits: int, repeats: int) -> float:
    """Seconds of n fits whose cross-products are in memory already."""
    batch = rx.lmer_list(FORMULA, copies(5), optimizer=rx.Newton()).selection.model.batch
    many = batch.take(np.arange(n_fits) % 5)
    fit(many, rx.Newton())
    return median_seconds(lambda: fit(many, rx.Newton()), repeats)


def import_ratio(repeats: int) -> tuple[float, float]:
    """Seconds to import remlax, and to import what it stands on, each in a fresh process."""

    def seconds(statement: str) -> float:
        return median_seconds(lambda: subprocess.run([sys.executable, "-c", statement], check=True), repeats)

    peers = "import warnings; warnings.simplefilter('ignore'); import jax, pandas, formulaic, jaxopt"
    return seconds("import remlax"), seconds(peers)


def main() -> None:
    args = arguments(__doc__ or "")
    repeats = 3 if args.quick else 7
    ks = [1, 5, 20] if args.quick else [1, 5, 20, 100]
    peer: dict[str, float] = {}
    if has_r("lme4", "merTools"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "hsb.csv"
            rx.datasets.hsb_imputed().to_long().to_csv(path, index=False)
            script = R_SCRIPT.format(path=path, ks=", ".join(map(str, ks)), repeats=3, formula=FORMULA)
            peer = run_r(script)
    rows: list[dict[str, Any]] = []
    for k in ks[1:]:
        for optimizer in (rx.Newton(), rx.LBFGS()):
            first, warm = frames_to_table(k, optimizer, repeats)
            r = peer.get(f"K{k}")
            rows.append(
                {
                    "what": f"K = {k}, frames to pooled table",
                    "optimizer": type(optimizer).__name__,
                    "seconds": warm,
                    "first call": first,
                    "lmerModList": r,
                    "ratio": None if r is None else r / warm,
                }
            )
    n_fits = 500 if args.quick else 2000
    warm = fits_in_memory(n_fits, repeats)
    rows.append({"what": f"{n_fits} fits, cross-products in memory", "optimizer": "Newton", "seconds": warm})
    rows.append({"what": "... per fit", "seconds": warm / n_fits})
    ours, theirs = import_ratio(3)
    rows.append({"what": "import remlax", "seconds": ours})
    rows.append({"what": "import jax, pandas, formulaic, jaxopt", "seconds": theirs, "ratio": ours / theirs})
    print(f"jax {jax.__version__}, backend {jax.default_backend()}\n")
    report("hsb", rows)


if __name__ == "__main__":
    main()
