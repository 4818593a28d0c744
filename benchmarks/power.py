"""Power by simulation, beside the loop of simr: draw a response, refit the model, test it with lmerTest; in one run.

1,000 data sets of 40 subjects x 40 items with random intercepts and slopes of both, and of a cluster-randomised and a
longitudinal design, tested with Satterthwaite's degrees of freedom. R fits some of the data sets, which stand for all.
``simr`` itself, its powerSim, is timed where it is installed. The bootstrap test, 199 draws for every data set, stands
beside PBmodcomp of pbkrtest.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, has_r, median_seconds, report

from remlax import sim

R_SCRIPT = """
suppressMessages(library({library}))
data <- read.csv("{path}")
for (f in c({factors})) data[[f]] <- factor(data[[f]])
fit <- {fit}({formula}, data)
times <- system.time(suppressWarnings(suppressMessages({work})))
cat(times[["elapsed"]], sum(times[c("user.self", "sys.self")]), "\\n")
"""
# what powerSim of simr does for every data set, its test by lmerTest
LOOP = """for (y in simulate(fit, {some}, seed = 1)) {{
  data$y <- y
  p <- coef(summary(lmerTest::lmer({formula}, data)))["{term}", "Pr(>|t|)"]
}}"""
# the bootstrap test, which needs the fit without the term
PAIR = """for (y in simulate(fit, {some}, seed = 1)) {{
  data$y <- y
  full <- lme4::lmer({formula}, data, REML = FALSE)
  p <- pbkrtest::PBmodcomp(full, update(full, . ~ . - {term}), nsim = 199)
}}"""
SIMR = 'powerSim(fit, fixed("{term}", "sa"), nsim = {some}, progress = FALSE)'


def crossed() -> sim.MultilevelDesign:
    return sim.MultilevelDesign(
        [sim.Factor("subj", 40), sim.Factor("item", 40)],
        1,
        {"1": 0.0, "cond": 0.2},
        [sim.RandomTerm("subj", {"1": 0.5, "cond": 0.3}, 0.2), sim.RandomTerm("item", {"1": 0.4, "cond": 0.2})],
        1.0,
        [sim.Covariate("cond", kind="balanced", mean=0.5)],
    )


def clusters() -> sim.MultilevelDesign:
    return sim.MultilevelDesign(
        [sim.Factor("clinic", 30)],
        20,
        {"1": 0.0, "arm": 0.3},
        [sim.RandomTerm("clinic", {"1": 0.3})],
        1.0,
        [sim.Covariate("arm", level="clinic", kind="balanced", mean=0.5)],
    )


def visits() -> sim.MultilevelDesign:
    return sim.MultilevelDesign(
        [sim.Factor("id", 60)],
        5,
        {"1": 0.0, "time": 0.1, "arm:time": 0.2},
        [sim.RandomTerm("id", {"1": 0.7, "time": 0.2})],
        1.0,
        [sim.Covariate("time", kind="index"), sim.Covariate("arm", level="id", kind="balanced", mean=0.5)],
    )


WORKLOADS = [
    ("40 subjects x 40 items", crossed, "y ~ cond + (1 + cond | subj) + (1 + cond | item)", "cond"),
    ("30 clinics x 20 patients", clusters, "y ~ arm + (1 | clinic)", "arm"),
    ("60 patients x 5 visits", visits, "y ~ time + time:arm + (1 + time | id)", "time:arm"),
]
# data sets of which R tests one by the bootstrap
EACH = 25


def in_r(
    design: sim.MultilevelDesign, formula: str, term: str, some: int, *, simr: bool = False, loop: str = LOOP
) -> tuple[float, float]:
    """Wall and processor seconds of some data sets."""
    work = (SIMR if simr else loop).format(formula=formula, term=term, some=some)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        sim.simulate_frames(design, 1, seed=1)[0].to_csv(path, index=False)
        script = R_SCRIPT.format(
            library="simr" if simr else "lmerTest",
            path=path,
            factors=", ".join(repr(factor.name) for factor in design.factors),
            formula=formula,
            fit="lme4::lmer",
            work=work,
        )
        found = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True, check=True)
    elapsed, processor = map(float, found.stdout.split()[-2:])
    return elapsed, processor


def measured(replications: int, some: int, repeats: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    tools = [(name, flag) for name, flag, package in (("lme4, lmerTest", False, "lmerTest"), ("simr", True, "simr"))
             if has_r(package)]  # fmt: skip
    for name, make, formula, term in WORKLOADS:
        design = make()

        def ours(design: Any = design, formula: str = formula, term: str = term) -> Any:
            return sim.power(formula, design, test=term, replications=replications, seed=1)

        start = time.perf_counter()
        ours()
        first = time.perf_counter() - start
        seconds = median_seconds(ours, repeats)
        began = time.process_time()
        ours()
        processor = time.process_time() - began
        what = f"{replications} data sets of {name}"
        rows.append({"what": what, "tool": "remlax", "seconds": seconds, "processor": processor, "first call": first})
        for tool, simr in tools:
            elapsed, own = (np.array(in_r(design, formula, term, some, simr=simr)) * replications / some).tolist()
            ratio = {"tool / remlax": elapsed / seconds, "by processor": own / processor}
            rows.append({"what": what, "tool": tool, "seconds": elapsed, "processor": own, **ratio})
    return rows


def bootstrapped(replications: int, some: int) -> list[dict[str, Any]]:
    """The bootstrap test of a trial, once in each program."""
    name, make, formula, term = WORKLOADS[1]

    def ours() -> Any:
        return sim.power(formula, make(), test=term, method="bootstrap", replications=replications, seed=1)

    what = f"{replications} data sets of {name}, bootstrap tests"
    ours()
    seconds = median_seconds(ours, 1)
    rows: list[dict[str, Any]] = [{"what": what, "tool": "remlax", "seconds": seconds}]
    if has_r("pbkrtest"):
        elapsed = in_r(make(), formula, term, some, loop=PAIR)[0] * replications / some
        rows.append({"what": what, "tool": "lme4, pbkrtest", "seconds": elapsed, "tool / remlax": elapsed / seconds})
    return rows


def main() -> None:
    quick = arguments(__doc__ or "").quick
    replications, some, repeats = (1000, 10, 1) if quick else (1000, 50, 3)
    tests = bootstrapped(100 if quick else replications, max(1, some // EACH))
    report("power", measured(replications, some, repeats) + tests)


if __name__ == "__main__":
    main()
