"""Crossed, nested and long data against lme4 in the same run: ratings, growth in three levels, a million rows."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import arguments, has_r, median_seconds, peak_mb, report, run_r

import remlax as rx


def ratings(folder: Path) -> pd.DataFrame:
    """Lecture ratings by students of lecturers: lme4's InstEval where R has it, else data of the same shape."""
    path = folder / "insteval.csv"
    if has_r("lme4"):
        subprocess.run(["Rscript", "-e", f"data(InstEval, package='lme4'); write.csv(InstEval, '{path}')"], check=True)
        return pd.read_csv(path, dtype={"s": str, "d": str, "service": str})[["y", "service", "s", "d"]]
    rng = np.random.default_rng(1)
    s, d = rng.integers(0, 2972, 73_421), rng.integers(0, 1128, 73_421)
    service = rng.integers(0, 2, len(s))
    y = 3.3 - 0.1 * service + 0.33 * rng.normal(size=2972)[s] + 0.5 * rng.normal(size=1128)[d]
    y = y + 1.18 * rng.normal(size=len(s))
    return pd.DataFrame({"y": y, "service": service.astype(str), "s": s.astype(str), "d": d.astype(str)})


def growth(seed: int = 2) -> pd.DataFrame:
    """7,230 rows: yearly scores of 1,721 children in 60 schools."""
    rng = np.random.default_rng(seed)
    child = np.sort(np.concatenate([np.repeat(np.arange(1721), 4), rng.integers(0, 1721, 7230 - 4 * 1721)]))
    school = np.arange(1721) % 60
    year = rng.integers(0, 6, len(child)) - 2.5
    a, b = rng.normal(size=(2, 1721)) * [[0.8], [0.1]]
    c, d = rng.normal(size=(2, 60)) * [[0.4], [0.12]]
    g = school[child]
    y = -0.8 + 0.76 * year + a[child] + c[g] + (b[child] + d[g]) * year + 0.55 * rng.normal(size=len(child))
    return pd.DataFrame({"math": y, "year": year, "child": child, "school": g})


def million(n: int) -> pd.DataFrame:
    """n rows in n / 50 groups with a random slope."""
    rng = np.random.default_rng(3)
    g = rng.integers(0, n // 50, n)
    x = rng.normal(size=n)
    u = rng.normal(size=(n // 50, 2)) * [0.7, 0.3]
    return pd.DataFrame({"y": 1 + 0.5 * x + u[g, 0] + u[g, 1] * x + rng.normal(size=n), "x": x, "g": g})


def lme4_seconds(frame: pd.DataFrame, formula: str, factors: list[str], folder: Path, repeats: int) -> dict[str, float]:
    if not has_r("lme4"):
        return {}
    path = folder / "data.csv"
    frame.to_csv(path, index=False)
    as_factor = "; ".join(f"d${f} <- factor(d${f})" for f in factors)
    script = f"""
    suppressMessages(library(lme4)); d <- read.csv("{path}"); {as_factor}
    times <- replicate({repeats}, {{
      t <- system.time(fit <<- suppressWarnings(suppressMessages(lmer({formula}, d))))["elapsed"]; t }})
    cat(sprintf("seconds %.6f\\n", median(times)))
    cat(sprintf("criterion %.9f\\n", REMLcrit(fit)))
    cat(sprintf("peak_mb %.1f\\n", sum(gc()[, 6])))
    """
    return run_r(script)


def measure(
    what: str, formula: str, frame: pd.DataFrame, factors: list[str], folder: Path, ks: list[int], repeats: int
) -> list[dict[str, Any]]:
    peer = lme4_seconds(frame, formula, factors, folder, 1 if len(frame) > 50_000 else 3)
    rows = []
    for k in ks:
        call: Callable[[], Any] = (
            (lambda: rx.lmer(formula, frame)) if k == 1 else (lambda k=k: rx.lmer_list(formula, copies(frame, k)))
        )
        start = time.perf_counter()
        found = call()
        first = time.perf_counter() - start
        warm = median_seconds(call, repeats)
        fit = found if k == 1 else found[0]
        r = peer.get("seconds")
        rows.append(
            {
                "what": f"{what}, K = {k}",
                "rows": len(frame),
                "seconds": warm,
                "per fit": warm / k,
                "first call": first,
                "lme4 per fit": r,
                "ratio": None if r is None else r / (warm / k),
                "criterion - lme4's": None if r is None or k > 1 else fit.criterion() - peer["criterion"],
                "our peak MB": peak_mb(),
                "R heap MB": peer.get("peak_mb"),
            }
        )
    return rows


def copies(frame: pd.DataFrame, k: int) -> list[pd.DataFrame]:
    """K data sets that differ in the response, as imputations of it would."""
    rng = np.random.default_rng(4)
    name = frame.columns[0]
    noise = 0.05 * frame[name].std()
    return [frame.assign(**{name: frame[name] + noise * rng.normal(size=len(frame))}) for _ in range(k)]


def main() -> None:
    args = arguments(__doc__ or "")
    repeats = 3 if args.quick else 5
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        three = "math ~ year + (1 + year | school/child)"
        rows += measure("growth, three levels", three, growth(), ["child", "school"], folder, [1, 20], repeats)
        n = 200_000 if args.quick else 1_000_000
        rows += measure("random slope", "y ~ x + (1 + x | g)", million(n), ["g"], folder, [1], repeats)
        crossed = "y ~ service + (1 | s) + (1 | d)"
        rows += measure("ratings, crossed", crossed, ratings(folder), ["s", "d", "service"], folder, [1, 5], repeats)
    report("structures", rows)


if __name__ == "__main__":
    main()
