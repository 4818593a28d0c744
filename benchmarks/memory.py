"""Memory that one fit of long data takes above the data frame, over the size of the frame's own columns."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
from common import arguments, report
from structures import million

import remlax as rx

WORKLOADS = {"1M rows": 1_000_000, "10M rows": 10_000_000, "1M groups": 1_000_000}


def data(workload: str) -> tuple[str, pd.DataFrame]:
    """Rows in groups of 50 with a random slope; or groups of about 3 rows with a random intercept."""
    size = WORKLOADS[workload]
    if workload != "1M groups":
        return "y ~ x + (1 + x | g)", million(size)
    rng = np.random.default_rng(0)
    g = rng.integers(0, size, 3 * size)
    return "y ~ 1 + (1 | g)", pd.DataFrame({"y": rng.normal(size=3 * size) + rng.normal(size=size)[g], "g": g})


def resident(field: str) -> float:
    """A field of Linux's account of this process, in MB."""
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(field))


def measure(workload: str) -> None:
    """Print the MB of the columns, of arrays at their most, kept in the end, and resident above the start."""
    formula, frame = data(workload)
    rx.lmer(formula, frame)  # the programs
    gc.collect()
    with open("/proc/self/clear_refs", "w", encoding="utf-8") as file:
        file.write("5")
    start = resident("VmRSS")
    rx.lmer(formula, frame)
    above = resident("VmHWM") - start
    gc.collect()
    tracemalloc.start()
    fit = rx.lmer(formula, frame)
    kept, most = tracemalloc.get_traced_memory()
    assert fit.converged
    columns = frame.memory_usage(index=False).sum()
    print(*(size / 2**20 for size in (columns, most, kept)), above)


def main() -> None:
    options = arguments(__doc__ or "")
    rows = []
    for workload in ["1M rows"] if options.quick else WORKLOADS:
        done = subprocess.run([sys.executable, __file__, "--one", workload], capture_output=True, text=True, check=True)
        columns, most, kept, above = map(float, done.stdout.split())
        rows.append(
            {
                "workload": workload,
                "columns (MB)": columns,
                "arrays at most": most / columns,
                "arrays kept": kept / columns,
                "resident above start": above / columns,
            }
        )
    report("memory", rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measure(sys.argv[2])
    else:
        main()
