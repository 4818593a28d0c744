"""What every benchmark shares: medians, the machine, R peers run as whole scripts, results kept as JSON."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and smaller sizes")
    return parser.parse_args()


def median_seconds(function: Callable[[], Any], repeats: int = 5) -> float:
    """Median wall time of warm calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def machine() -> dict[str, str]:
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "processor": name,
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }


def has_r(*packages: str) -> bool:
    if shutil.which("Rscript") is None:
        return False
    check = "; ".join(f"library({p})" for p in packages)
    return subprocess.run(["Rscript", "-e", f"suppressMessages({{{check}}})"], capture_output=True).returncode == 0


def run_r(script: str) -> dict[str, float]:
    """Run R code that prints lines ``name value``; anything else is ignored."""
    done = subprocess.run(["Rscript", "-"], input=script, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    out = {}
    for line in done.stdout.splitlines():
        parts = line.split()
        if len(parts) == 2:
            out[parts[0]] = float(parts[1])
    return out


def report(name: str, rows: list[dict[str, Any]]) -> None:
    """Print the rows as a table, with the machine, and keep them."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *[[_cell(row.get(c)) for c in columns] for row in rows]]
    widths = [max(len(line[j]) for line in cells) for j in range(len(columns))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    info = machine()
    print("\n" + ", ".join(f"{key} {value}" for key, value in info.items()))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": info, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def peak_mb() -> float:
    """Peak resident memory of this process."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform != "darwin" else 1024**2)
