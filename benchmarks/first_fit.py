"""The first fit of a process, as a multiple of the time that ``import jax, pandas`` takes in the same process.

``python benchmarks/first_fit.py`` starts fresh processes without a cache of programs, then with a filled one: imports,
data frames to pooled table, and ten different models of one random-effects shape one after another.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import arguments, report

CODE = """
import json, sys, time
start = time.perf_counter()
import jax, pandas
unit = time.perf_counter() - start
import remlax as rx
imported = time.perf_counter() - start - unit
sys.path.insert(0, sys.argv[1])
workload = sys.argv[2]
compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: compiled.append(event) if "backend_compile" in event else None)
if workload == "hsb":
    frames = list(rx.datasets.hsb_imputed().frames)[:5]
    formula = "mathach ~ ses + meanses + (1 | schid)"
elif workload == "binary":
    frames = [d.assign(high=(d["mathach"] > 13).astype(int)) for d in list(rx.datasets.hsb_imputed().frames)[:5]]
    formula = "high ~ ses + meanses + (1 | schid)"
elif workload == "growth":
    from structures import growth
    frames, formula = [growth()], "math ~ year + (1 + year | school/child)"
else:
    import tempfile
    from pathlib import Path
    from structures import ratings
    with tempfile.TemporaryDirectory() as folder:
        frames, formula = [ratings(Path(folder))], "y ~ service + (1 | s) + (1 | d)"
compiled.clear()
start = time.perf_counter()
if workload == "binary":
    rx.glmer_list(formula, frames, "binomial").pool().tidy("fixed")
elif len(frames) > 1:
    rx.lmer_list(formula, frames).pool().tidy("fixed")
else:
    rx.lmer(formula, frames[0]).tidy("fixed")
first = time.perf_counter() - start
programs = len(compiled)
if workload == "hsb":
    some = frames[0].assign(size=range(len(frames[0])))
    for fixed in ("1", "ses", "meanses", "female", "minority", "ses + female", "ses + minority", "ses * female",
                  "female + minority", "ses + meanses + female + minority"):
        rx.lmer(f"mathach ~ {fixed} + (1 | schid)", some).tidy("fixed")
print(json.dumps({"unit": unit, "import": imported, "first": first, "programs": programs,
                  "more": len(compiled) - programs}))
"""
WORKLOADS = {
    "hsb": "hsb, K = 5, pooled table",
    "binary": "hsb, binary outcome, K = 5, pooled table",
    "growth": "growth, three levels",
    "ratings": "ratings, crossed",
}
HERE = Path(__file__).resolve().parent


def once(workload: str, cache: str) -> dict[str, Any]:
    """One process; modules of the package come compiled, as pip leaves them."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", CODE, str(HERE), workload]
    done = subprocess.run(
        command, env={**environment, "REMLAX_CACHE": cache}, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    options = arguments(__doc__ or "")
    repeats = 1 if options.quick else 3
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for workload, name in WORKLOADS.items():
            once(workload, folder)
            for cache, said in (("off", "no cache"), (folder, "programs on disk")):
                found = [once(workload, cache) for _ in range(repeats)]
                row = {"what": name, "cache": said}
                for column in ("unit", "import", "first"):
                    row[f"{column}, s"] = statistics.median(one[column] for one in found)
                row["import remlax / unit"] = 1 + statistics.median(one["import"] / one["unit"] for one in found)
                row["first / unit"] = statistics.median(one["first"] / one["unit"] for one in found)
                row["programs compiled"] = found[0]["programs"]
                row["by ten more models"] = found[0]["more"] if workload == "hsb" else None
                rows.append(row)
    report("first_fit", rows)


if __name__ == "__main__":
    main()
