"""What inference about the coefficients and the other parameters costs, beside the R packages that do the same."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace

from common import arguments, has_r, median_seconds, report, run_r

import remlax as rx
from remlax.fitting.selection import Selection

SLEEP = "Reaction ~ Days + (1 + Days | Subject)"
HSB = "mathach ~ ses + meanses + (1 + ses | schid)"
R_CODE = """
suppressPackageStartupMessages({library(lme4); library(lmerTest); library(pbkrtest); library(clubSandwich)})
fit <- lmerTest::lmer(Reaction ~ Days + (1 + Days | Subject), sleepstudy)
plain <- lme4::lmer(Reaction ~ Days + (1 + Days | Subject), sleepstudy)
again <- function(name, f, n) { f(); cat(name, median(sapply(1:n, function(i) system.time(f())[["elapsed"]])), "\\n") }
again("satterthwaite", function() coef(summary(fit)), 5)
again("kenward-roger", function() coef(summary(fit, ddf = "Kenward-Roger")), 5)
again("CR2", function() coef_test(plain, vcov = "CR2"), 5)
again("profile", function() suppressWarnings(suppressMessages(confint(plain, method = "profile"))), 1)
again("boot", function() suppressWarnings(suppressMessages(confint(plain, method = "boot", nsim = 200))), 1)
"""


def tasks(fits: rx.LmerFitList, n_sims: int) -> dict[str, Callable[[], object]]:
    """Each from estimates alone: nothing that was computed before is used again."""

    def fresh() -> rx.LmerFitList:
        return rx.LmerFitList(Selection(replace(fits.selection.fitted), fits.selection.which))

    def per_fit(**options: object) -> Callable[[], object]:
        return lambda: [fit.tidy("fixed", **options) for fit in fresh()]

    return {
        "satterthwaite": per_fit(),
        "kenward-roger": per_fit(ddf="kenward-roger"),
        "CR2": per_fit(vcov="CR2"),
        "profile": lambda: fresh()[0].profile().confint(),
        "boot": lambda: fresh()[0].confint("boot", n_sims=n_sims, seed=1),
    }


def main() -> None:
    quick = arguments("Cost of inference").quick
    warnings.simplefilter("ignore", rx.RemlaxWarning)
    sleep = rx.lmer_list(SLEEP, [rx.datasets.sleepstudy()])
    hsb = rx.lmer_list(HSB, rx.datasets.hsb_imputed())
    peers = run_r(R_CODE) if has_r("lmerTest", "pbkrtest", "clubSandwich") else {}
    rows = []
    for data, fits in (("sleepstudy", sleep), ("hsb, 5 imputations", hsb)):
        for name, task in tasks(fits, 200).items():
            one = name in ("profile", "boot")
            start = time.perf_counter()
            task()
            first = time.perf_counter() - start
            seconds = median_seconds(task, 1 if quick or one else 5)
            unit = "all parameters of one fit" if one else "all fits"
            row = {"data": data, "what": name, "of": unit, "first_s": first, "remlax_s": seconds}
            rows.append({**row, "r_s": peers.get(name)} if data == "sleepstudy" else row)
    report("inference", rows)


if __name__ == "__main__":
    main()
