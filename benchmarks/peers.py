"""The peers: an environment for each under .bench/, and how to run one on a workload."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import has_r

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent / ".bench"
REQUIREMENTS = {
    "glmm": ["glmm==0.6.2", "pandas"],
    "statsmodels": ["statsmodels==0.15.0"],
    "lme-python": ["lme-python==0.2.7", "pandas", "polars", "pyarrow"],
    "mixedlm": ["mixedlm==1.3.0"],
    "mixedlm-rs": ["mixedlm-rs==0.2.0", "pandas", "formulaic"],
    "interlace-lme": ["interlace-lme==0.3.2", "pandas"],
}
# these slow down on a busy machine when each of their libraries starts threads of its own: run both ways
BOTH_WAYS = ("mixedlm", "mixedlm-rs")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
DISAGREES = 1e-3

R_SCRIPT = """
suppressMessages({{library(lme4); {library}}})
paths <- c({paths})
frames <- lapply(paths, function(p) {{ d <- read.csv(p); for (f in c({factors})) d[[f]] <- factor(d[[f]]); d }})
criterion <- function(m) if (isGLMM(m)) -2 * as.numeric(logLik(m)) else REMLcrit(m)
quiet <- function(e) suppressWarnings(suppressMessages(e))
run <- function() quiet({call})
first <- system.time(fits <- run())[["elapsed"]]
times <- if (first < {patience}) replicate({repeats}, system.time(run())[["elapsed"]]) else first
status <- readLines("/proc/self/status")
peak <- as.numeric(gsub("[^0-9]", "", grep("VmHWM", status, value = TRUE))) / 1024
cat("\\n{{\\"first\\":", first, ",\\"seconds\\":[", paste(times, collapse = ","), "],\\"criteria\\":[",
  paste(sprintf("%.9f", sapply(fits, criterion)), collapse = ","), "],\\"peak_mb\\":", peak, "}}\\n", sep = "")
"""
R_CALLS = {
    "lme4": ("", "lapply(frames, function(d) lmer({formula}, d))"),
    "merTools": (
        "library(merTools)",
        "{{ f <- lmerModList({formula}, data = frames); invisible(modelFixedEff(f)); f }}",
    ),
    "glmer": ("", "lapply(frames, function(d) glmer({formula}, d, family = {family}))"),
    # with Satterthwaite's degrees of freedom for every coefficient
    "lmerTest": (
        "library(lmerTest)",
        "lapply(frames, function(d) {{ m <- lmerTest::lmer({formula}, d); invisible(coef(summary(m))); m }})",
    ),
    # one design, the responses of the other data sets put into it
    "lme4::refit": (
        "",
        "{{ m <- lmer({formula}, frames[[1]]); c(list(m), lapply(frames[-1], function(d) refit(m, d$y))) }}",
    ),
}


@dataclass(frozen=True)
class Workload:
    """Data sets and a model; ``scale`` data sets stand for so many more of the same cost."""

    name: str
    formula: str
    frames: list[pd.DataFrame]
    factors: tuple[str, ...]
    fits: int
    tools: tuple[str, ...]
    table: bool = False
    family: str = ""


def python_of(tool: str) -> Path:
    """Interpreter of a peer's environment, which is made when there is none."""
    folder = ROOT / tool
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS[tool]]
        subprocess.run(install, check=True, capture_output=True, text=True)
    return python


def write(frames: list[pd.DataFrame], folder: Path, *, csv: bool) -> None:
    for k, frame in enumerate(frames):
        columns = {
            n: np.asarray(c, dtype=str) if c.dtype.kind in "OT" or str(c.dtype) == "str" else c.to_numpy()
            for n, c in frame.items()
        }
        np.savez(folder / f"{k}.npz", **columns)
        if csv:
            frame.to_csv(folder / f"{k}.csv", index=False)


def measure(tool: str, workload: Workload, folder: Path, repeats: int, patience: float) -> dict[str, Any]:
    """Run one tool; the answer says ``failed`` and why where it does not get through."""
    name, _, threads = tool.partition(", ")
    environment = {**os.environ, **(ONE_THREAD if threads else {})}
    count = len(workload.frames)
    start = time.perf_counter()
    try:
        if name in R_CALLS:
            command, text = ["Rscript", "-"], _r_script(name, workload, folder, repeats, patience)
        else:
            task = {
                "tool": name,
                "formula": workload.formula,
                "frames": [str(folder / f"{k}.npz") for k in range(count)],
                "repeats": repeats,
                "patience": patience,
                "table": workload.table,
                "family": workload.family,
            }
            path = folder / "task.json"
            path.write_text(json.dumps(task), encoding="utf-8")
            python = Path(sys.executable) if name == "remlax" else python_of(name)
            command, text = [str(python), str(HERE / "worker.py"), str(path)], None
            start = time.perf_counter()
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, env=environment, timeout=20 * patience + 60
        )
    except subprocess.TimeoutExpired:
        return {"failed": "took too long"}
    except subprocess.CalledProcessError as error:
        return {"failed": f"could not be installed: {str(error.stderr).strip().splitlines()[-1:]}"}
    whole = time.perf_counter() - start
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        said = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {"failed": said[:120]}
    return {**json.loads(lines[-1]), "process": whole}


def _r_script(name: str, workload: Workload, folder: Path, repeats: int, patience: float) -> str:
    library, call = R_CALLS[name]
    return R_SCRIPT.format(
        library=library,
        call=call.format(formula=workload.formula, family=workload.family),
        paths=", ".join(f'"{folder / f"{k}.csv"}"' for k in range(len(workload.frames))),
        factors=", ".join(f'"{f}"' for f in workload.factors),
        repeats=repeats,
        patience=patience,
    )


def compare(workload: Workload, repeats: int, patience: float) -> list[dict[str, Any]]:
    """All tools on one workload: remlax first, times scaled to ``workload.fits`` fits, ratios to the best peer."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wants_r = any(tool in R_CALLS for tool in workload.tools) and has_r("lme4")
        write(workload.frames, folder, csv=wants_r)
        found = {
            tool: measure(tool, workload, folder, repeats, patience)
            for tool in ("remlax", *workload.tools)
            if wants_r or tool not in R_CALLS
        }
    reference = found.get("lme4") or found.get("lmerTest") or found.get("glmer") or found.get("merTools") or {}
    oracle = reference.get("criteria")
    rows = [_row(workload, tool, answer, oracle) for tool, answer in found.items()]
    ranked = [r["seconds"] for r in rows[1:] if r["verdict"] == "ok"]
    if ranked and rows[0]["seconds"] is not None:
        rows[0]["best peer / remlax"] = min(ranked) / rows[0]["seconds"]
        for row in rows[1:]:
            if row["seconds"] is not None:
                row["tool / remlax"] = row["seconds"] / rows[0]["seconds"]
    return rows


def _row(workload: Workload, tool: str, answer: dict[str, Any], oracle: list[float] | None) -> dict[str, Any]:
    row: dict[str, Any] = {"what": workload.name, "tool": tool, "seconds": None}
    if "failed" in answer:
        return {**row, "verdict": f"failed: {answer['failed']}"}
    scale = workload.fits / len(workload.frames)
    gap = None
    if oracle is not None:
        differences = np.array(answer["criteria"], dtype=float) - oracle[: len(answer["criteria"])]
        gap = float(differences[np.argmax(np.abs(differences))])
    wrong = gap is None or not abs(gap) <= DISAGREES
    verdict = "ok" if oracle is None or not wrong else f"criterion differs by {gap:.3g}: not ranked"
    lost = int(np.isnan(answer["criteria"]).sum())
    if lost:
        gap = None
        verdict = f"failed on {lost} of {len(answer['criteria'])} data sets: not ranked"
    return {
        **row,
        "seconds": statistics.median(answer["seconds"]) * scale,
        "first call": answer["first"],
        "calls": len(answer["seconds"]),
        "fits timed": len(workload.frames),
        "peak MB": answer["peak_mb"],
        "criterion - lme4's": gap,
        "verdict": verdict,
    }
