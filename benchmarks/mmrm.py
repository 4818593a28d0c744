"""Mixed models for repeated measures beside nlme::gls and the R package mmrm, on the same data in one run.

A trial of 200 patients x 6 visits with drop-out and an unstructured covariance matrix: one fit to the table with
Satterthwaite's degrees of freedom, 100 imputations pooled, 10,000 trials, and 10,000 simulated responses of one trial.
Peers fit one data set after the other; of the imputations and the trials they fit some, which stand for all. gls has no
such degrees of freedom: its table has those of the residuals.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import arguments, has_r, median_seconds, report, run_r

import remlax as rx

FIXED = "y ~ base * visit + arm * visit"
FORMULA = f"{FIXED} + us(visit | id)"
VISITS = [f"v{t}" for t in range(1, 7)]
CALLS = {
    "nlme::gls": "summary(gls({fixed}, d, correlation = corSymm(form = ~ as.integer(visit) | id), "
    "weights = varIdent(form = ~ 1 | visit)))$tTable",
    "mmrm": 'coef(summary(mmrm({fixed} + us(visit | id), d, method = "Satterthwaite")))',
}
SCRIPT = """
suppressMessages(library({library}))
frames <- lapply(c({paths}), function(p) {{
  d <- read.csv(p); for (f in c("id", "visit", "arm")) d[[f]] <- factor(d[[f]]); d[!is.na(d$y), ] }})
run <- function() for (d in frames) invisible(suppressWarnings({call}))
run()
cat("seconds", median(replicate({repeats}, system.time(run())[["elapsed"]])), "\\n")
"""


def trial(seed: int, *, drop_out: bool = True) -> pd.DataFrame:
    """200 patients in two arms; about a quarter of them leave before the last visit."""
    rng = np.random.default_rng(seed)
    n, t = 200, len(VISITS)
    arm, base, time = rng.integers(0, 2, n), rng.normal(size=n), np.arange(t)
    covariance = 0.7 ** np.abs(time[:, None] - time) * np.sqrt(np.outer(1 + 0.2 * time, 1 + 0.2 * time))
    y = 0.5 * base[:, None] - 0.2 * time - 0.1 * arm[:, None] * time
    y = y + rng.multivariate_normal(np.zeros(t), covariance, size=n)
    if drop_out:
        y[time >= np.where(rng.random(n) < 0.25, rng.integers(1, t, n), t)[:, None]] = np.nan
    return pd.DataFrame(
        {
            "id": np.repeat(np.char.add("p", np.arange(n).astype(str)), t),
            "visit": pd.Categorical(np.tile(VISITS, n), categories=VISITS),
            "arm": np.repeat(np.where(arm, "treated", "control"), t),
            "base": np.repeat(base, t),
            "y": y.ravel(),
        }
    )


def imputed(k: int) -> pd.DataFrame:
    """The same trial with other values in the place of the missing ones; the values of the model are good enough."""
    frame, complete = trial(1), trial(1, drop_out=False)
    noise = 0.5 * np.random.default_rng(k).normal(size=len(frame))
    return frame.assign(y=frame["y"].fillna(complete["y"] + noise))


def peers(frames: list[pd.DataFrame], repeats: int) -> dict[str, float]:
    """Seconds per data set of each peer that is installed."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{k}.csv" for k in range(len(frames))]
        for frame, path in zip(frames, paths, strict=True):
            frame.to_csv(path, index=False)
        for tool, call in CALLS.items():
            library = tool.split("::")[0]
            if has_r(library):
                listed = ", ".join(f'"{path}"' for path in paths)
                text = SCRIPT.format(library=library, paths=listed, call=call.format(fixed=FIXED), repeats=repeats)
                found[tool] = run_r(text)["seconds"] / len(frames)
    return found


def compare(
    name: str, ours: Callable[[], Any], some: list[pd.DataFrame], fits: int, repeats: int
) -> list[dict[str, Any]]:
    """remlax's time of a workload, and the peers' scaled to as many fits."""
    seconds = median_seconds(ours, repeats)
    rows: list[dict[str, Any]] = [{"what": name, "tool": "remlax", "seconds": seconds}]
    for tool, each in peers(some, 3).items():
        row = {"what": name, "tool": tool, "seconds": each * fits, "tool / remlax": each * fits / seconds}
        rows.append({**row, "fits timed": len(some)})
    return rows


def main() -> None:
    quick = arguments(__doc__ or "").quick
    os.environ["TQDM_DISABLE"] = "1"
    repeats, n_trials = (2, 200) if quick else (5, 10_000)
    one = trial(1).dropna()
    rx.mmrm(FORMULA, one).tidy("fixed")
    rows = compare("1 trial of 200 x 6", lambda: rx.mmrm(FORMULA, one).tidy("fixed"), [one], 1, repeats)
    sets = [imputed(k) for k in range(100)]
    rx.mmrm_list(FORMULA, sets).pool()
    rows += compare("K = 100, pooled", lambda: rx.mmrm_list(FORMULA, sets).pool().tidy("fixed"), sets[:3], 100, repeats)
    trials = [trial(seed).dropna() for seed in range(n_trials)]
    rx.mmrm_list(FORMULA, trials[:100])
    rows += compare(f"{n_trials} trials", lambda: rx.mmrm_list(FORMULA, trials), trials[:3], n_trials, 1)
    fit = rx.mmrm(FORMULA, one)
    simulated = rx.simulate(fit, n_trials, seed=1)
    rx.refit(fit, simulated.iloc[:, :100])
    what = f"{n_trials} simulated responses of 1 trial"
    rows.append({"what": what, "tool": "remlax", "seconds": median_seconds(lambda: rx.refit(fit, simulated), 1)})
    report("mmrm", rows)


if __name__ == "__main__":
    main()
