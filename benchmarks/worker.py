"""One tool on one workload, in a process and an environment of its own: ``python worker.py task.json``.

Stands alone: the environments of the peers have no remlax. Prints one line of JSON: seconds of the first call and of
the later ones for all fits of the task, criteria, flags of convergence, peak memory.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Task = dict[str, Any]
# criterion, converged, fixed effects
Fit = tuple[float, bool, Any]


def load(path: str) -> pd.DataFrame:
    with np.load(path) as columns:
        return pd.DataFrame({n: c.astype(object) if c.dtype.kind == "U" else c for n, c in columns.items()})


def _parts(task: Task) -> tuple[str, list[str]]:
    """Fixed part, and random terms without their brackets."""
    random = re.findall(r"\(([^()]*\|[^()]*)\)", task["formula"])
    fixed = re.sub(r"\s*\+?\s*\([^()]*\|[^()]*\)", "", task["formula"])
    return fixed.strip(), random


def lme_python(task: Task) -> Callable[[pd.DataFrame], Fit]:
    import lme_python as peer

    def fit(frame: pd.DataFrame) -> Fit:
        found = peer.lmer(task["formula"], frame, factors=None)
        return found.reml_criterion, found.converged, found.coefficients

    return fit


def mixedlm(task: Task) -> Callable[[pd.DataFrame], Fit]:
    import mixedlm as peer

    def fit(frame: pd.DataFrame) -> Fit:
        found = peer.lmer(task["formula"], frame)
        return float(found.REMLcrit()), found.converged, list(found.fixef().values())

    return fit


def glmm(task: Task) -> Callable[[pd.DataFrame], Fit]:
    """With Satterthwaite's degrees of freedom, as it comes."""
    # not the script of that name beside this one
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]
    import glmm as peer

    def fit(frame: pd.DataFrame) -> Fit:
        found = peer.fit(frame, task["formula"], *([task["family"]] if task["family"] else []))
        return -2 * float(found.loglik), bool(found.converged), found.beta

    return fit


def _statsmodels_like(task: Task, model: Callable[..., Any]) -> Callable[[pd.DataFrame], Fit]:
    fixed, random = _parts(task)
    if len(random) != 1 or "/" in random[0]:
        raise NotImplementedError("one grouping factor only")
    terms, group = (part.strip() for part in random[0].split("|"))

    def fit(frame: pd.DataFrame) -> Fit:
        found = model(fixed, frame, groups=group, re_formula="~ " + terms).fit()
        return float(-2 * found.llf), bool(found.converged), found.fe_params

    return fit


def mixedlm_rs(task: Task) -> Callable[[pd.DataFrame], Fit]:
    import mixedlm_rs as peer

    return _statsmodels_like(task, peer.mixedlm)


def statsmodels(task: Task) -> Callable[[pd.DataFrame], Fit]:
    import statsmodels.formula.api as peer

    return _statsmodels_like(task, peer.mixedlm)


def interlace(task: Task) -> Callable[[pd.DataFrame], Fit]:
    import interlace as peer

    fixed, random = _parts(task)

    def fit(frame: pd.DataFrame) -> Fit:
        found = peer.fit(fixed, frame, random=[f"({term})" for term in random])
        value = found.llf_restricted
        return float(-2 * (value() if callable(value) else value)), bool(found.converged), found.fe_params

    return fit


def remlax(task: Task) -> Callable[[list[pd.DataFrame]], list[Fit]]:
    """All data sets in one call."""
    import remlax as rx

    if len(task["frames"]) == 1 and not task["family"]:

        def one(frames: list[pd.DataFrame]) -> list[Fit]:
            fit = rx.lmer(task["formula"], frames[0])
            fit.tidy("fixed") if task["table"] else None
            return [(float(fit.criterion()), True, fit.fixef())]

        return one

    def generalised(frames: list[pd.DataFrame]) -> list[Fit]:
        if len(frames) == 1:
            fit = rx.glmer(task["formula"], frames[0], task["family"])
            fit.tidy("fixed")
            return [(fit.criterion(), fit.converged, None)]
        fits = rx.glmer_list(task["formula"], frames, task["family"])
        if task["table"]:
            fits.pool().tidy("fixed")
        own = fits.selection.fitted
        return [(float(c), bool(ok), None) for c, ok in zip(own.criterion, own.converged, strict=True)]

    def many(frames: list[pd.DataFrame]) -> list[Fit]:
        if task["family"]:
            return generalised(frames)
        fits = rx.lmer_list(task["formula"], frames)
        if task["table"]:
            fits.pool().tidy("fixed")
        own = fits.selection.fitted
        return [(float(c), bool(ok), None) for c, ok in zip(own.criterion, own.converged, strict=True)]

    return many


PEERS: dict[str, Callable[[Task], Callable[[pd.DataFrame], Fit]]] = {
    "glmm": glmm,
    "lme-python": lme_python,
    "mixedlm": mixedlm,
    "mixedlm-rs": mixedlm_rs,
    "statsmodels": statsmodels,
    "interlace-lme": interlace,
}


def _pool(fits: list[Fit]) -> None:
    """Mean and variance between of the coefficients: what a pooled table needs at the least."""
    found = [np.asarray(fit[2], dtype=float).ravel() for fit in fits if fit[2] is not None]
    values = np.array(found)
    values.mean(axis=0), values.var(axis=0)


def _one_by_one(fit: Callable[[pd.DataFrame], Fit], frames: list[pd.DataFrame]) -> list[Fit]:
    """Fit every data set; where the tool raises, its criterion is not a number."""
    fits: list[Fit] = []
    error: Exception | None = None
    for frame in frames:
        try:
            fits.append(fit(frame))
        except Exception as raised:
            fits.append((np.nan, False, None))
            error = raised
    if error is not None and all(found[2] is None for found in fits):
        raise error
    _pool(fits)
    return fits


def peak_mb() -> float:
    """Peak resident memory of this process alone: getrusage would count what the parent had when it forked."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(float(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024 if sys.platform != "darwin" else 1024**2)


def main() -> None:
    warnings.simplefilter("ignore")
    with open(sys.argv[1], encoding="utf-8") as file:
        task: Task = json.load(file)
    frames = [load(path) for path in task["frames"]]
    if task["tool"] == "remlax":
        together = remlax(task)
    else:
        fit = PEERS[task["tool"]](task)

        def together(frames: list[pd.DataFrame]) -> list[Fit]:
            return _one_by_one(fit, frames)

    start = time.perf_counter()
    fits = together(frames)
    first, times = time.perf_counter() - start, []
    # a first call that takes minutes says enough, unless it compiles
    if first > 5 * task["patience"] and task["tool"] != "remlax":
        times.append(first)
    for _ in range(0 if times else task["repeats"]):
        start = time.perf_counter()
        together(frames)
        times.append(time.perf_counter() - start)
        # what takes long is not asked five times
        if times[-1] > task["patience"]:
            break
    out = {
        "first": first,
        "seconds": times,
        "criteria": [float(f[0]) for f in fits],
        "converged": [bool(f[1]) for f in fits],
        "peak_mb": peak_mb(),
    }
    print("\n" + json.dumps(out))


if __name__ == "__main__":
    main()
