"""Fit 30 models in remlax and in lme4 with lmerTest, and print the largest difference of every quantity."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import has_r, report

import remlax as rx

VISIBLE = Path(__file__).resolve().parent.parent / "tests" / "reference" / "visible"

# data, formula, REML, weights
MODELS: list[tuple[str, str, bool, str | None]] = [
    ("sleepstudy_wo", "Reaction ~ Days + (1 | Subject)", True, None),
    ("sleepstudy_wo", "Reaction ~ Days + (1 | Subject)", False, None),
    ("sleepstudy_wo", "Reaction ~ Days + (1 + Days | Subject)", True, None),
    ("sleepstudy_wo", "Reaction ~ Days + (1 + Days | Subject)", False, None),
    ("sleepstudy_wo", "Reaction ~ Days + (1 + Days | Subject)", True, "w"),
    ("sleepstudy_wo", "Reaction ~ Days + (1 + Days | Subject)", False, "w"),
    ("sleepstudy_wo", "Reaction ~ Days + (1 + Days || Subject)", True, None),
    ("sleepstudy_wo", "Reaction ~ Days + I(Days^2) + (1 + Days | Subject)", True, None),
    ("sleepstudy_wo", "Reaction ~ poly(Days, 3) + (1 | Subject)", True, None),
    ("sleepstudy_wo", "log(Reaction) ~ scale(Days) + (1 + Days | Subject)", True, None),
    ("sleepstudy_wo", "Reaction ~ 0 + Days + offset(off) + (1 | Subject)", True, None),
    ("dyestuff", "Yield ~ 1 + (1 | Batch)", True, None),
    ("dyestuff", "Yield ~ 1 + (1 | Batch)", False, None),
    ("cake", "angle ~ recipe * temperature + (1 | recipe:replicate)", True, None),
    ("cake", "angle ~ recipe * temp + (1 | recipe:replicate)", True, None),
    ("cake", "angle ~ recipe + temp + (1 + temp | replicate)", True, None),
    ("cake", "angle ~ recipe + temp + (1 | replicate) + (1 | recipe:replicate)", True, None),
    ("exam", "normexam ~ standLRT + (1 | school)", True, None),
    ("exam", "normexam ~ standLRT + sex + schgend + (1 + standLRT | school)", True, None),
    ("exam", "normexam ~ standLRT * sex + (1 + standLRT | school)", False, None),
    ("machines_3dim", "score ~ Machine + (1 | Worker)", True, None),
    ("machines_3dim", "score ~ Machine + (1 + Machine | Worker)", True, None),
    ("machines_3dim", "score ~ Machine + (1 | Worker) + (1 | Worker:Machine)", True, None),
    ("oats_splitplot", "Y ~ N * V + (1 | B/V)", True, None),
    ("oats_splitplot", "Y ~ N + V + (1 | B)", True, None),
    ("orthodont_sex", "distance ~ age * Sex + (1 + age | Subject)", True, None),
    ("orthodont_sex", "distance ~ age * Sex + (1 | Subject)", False, None),
    ("pastes_nested", "strength ~ 1 + (1 | batch/cask)", True, None),
    ("penicillin_crossed", "diameter ~ 1 + (1 | plate) + (1 | sample)", True, None),
    ("penicillin_crossed", "diameter ~ 1 + (1 | plate) + (1 | sample)", False, None),
]

SCRIPT = r"""
suppressMessages({library(lme4); library(lmerTest)})
options(contrasts = c("contr.treatment", "contr.poly"))
args <- commandArgs(TRUE); models <- readLines(args[1])
say <- function(i, what, x) cat(i, what, sprintf("%.17g", x), "\n")
for (i in seq_along(models)) {
  part <- strsplit(models[i], "\t")[[1]]
  d <- read.csv(part[1], stringsAsFactors = TRUE)
  for (name in strsplit(part[5], ",")[[1]]) d[[name]] <- factor(d[[name]])
  call <- list(quote(lmerTest::lmer), as.formula(part[2]), data = quote(d), REML = part[3] == "True",
    control = quote(lmerControl("bobyqa", calc.derivs = FALSE, optCtrl = list(rhoend = 1e-10, maxfun = 1e5))))
  if (part[4] != "") call$weights <- as.name(part[4])
  fit <- suppressWarnings(suppressMessages(eval(as.call(call))))
  say(i, "criterion", -2 * as.numeric(logLik(fit)))
  say(i, "theta", unname(getME(fit, "theta")))
  say(i, "sigma", sigma(fit))
  say(i, "fixef", unname(fixef(fit)))
  say(i, "se", unname(sqrt(diag(as.matrix(vcov(fit))))))
  say(i, "df", unname(coef(summary(fit))[, "df"]))
  modes <- as.data.frame(ranef(fit, condVar = FALSE))
  cat(i, "\tlevels\t", paste(modes$grpvar, modes$term, modes$grp, sep = "|", collapse = "\t"), "\n", sep = "")
  say(i, "modes", modes$condval)
}
"""

WORDS = {
    "at": "criterion at lme4's theta, relative",
    "criterion": "criterion at the optimum above lme4's",
    "theta": "theta, over its largest entry",
    "sigma": "residual SD, relative",
    "fixef": "coefficients, in standard errors",
    "se": "standard errors, relative",
    "df": "Satterthwaite df, relative",
    "modes": "conditional modes, over the largest of their term",
}


def frames() -> dict[str, pd.DataFrame]:
    """Data sets of the models, categories as texts."""
    out = {}
    for name in dict.fromkeys(data for data, *_ in MODELS):
        path = VISIBLE / f"{name}.csv.gz"
        about = json.loads(next(iter(sorted(VISIBLE.glob(f"{name.split('_')[0]}*.json")))).read_text())
        texts = {c: str for c, v in about["data"]["columns"].items() if v["type"] in ("factor", "character")}
        out[name] = pd.read_csv(path, dtype=texts)
    return out


def fits_of_r(data: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Fit all models in one R process."""
    with tempfile.TemporaryDirectory() as folder:
        lines = []
        for name, formula, reml, weights in MODELS:
            frame = data[name]
            frame.to_csv(path := Path(folder) / f"{name}.csv", index=False, float_format="%.17g")
            texts = ",".join(c for c in frame if not pd.api.types.is_numeric_dtype(frame[c]))
            lines.append("\t".join([str(path), formula, str(reml), weights or "", texts]))
        models, script = Path(folder) / "models.txt", Path(folder) / "fit.R"
        models.write_text("\n".join(lines) + "\n", encoding="utf-8")
        script.write_text(SCRIPT, encoding="utf-8")
        done = subprocess.run(["Rscript", str(script), str(models)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"R stopped:\n{done.stderr}")
    out: list[dict[str, Any]] = [{} for _ in MODELS]
    for line in done.stdout.splitlines():
        if "\tlevels\t" in line:
            number, _, *levels = line.split("\t")
            out[int(number) - 1]["levels"] = levels
        else:
            number, what, *values = line.split()
            out[int(number) - 1][what] = [float(value) for value in values]
    return out


def differences(fit: rx.LmerFit, theirs: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Differences of one model, by quantity."""
    r = {what: np.array(values) for what, values in theirs.items() if what != "levels"}
    least = float(r["criterion"][0])
    yield "at", abs(fit.criterion(theta=r["theta"]) / least - 1)
    yield "criterion", max(fit.criterion() - least, 0.0)
    yield "theta", float(np.max(np.abs(fit.theta - r["theta"])) / np.max(np.abs(r["theta"])))
    yield "sigma", abs(fit.sigma / float(r["sigma"][0]) - 1)
    yield "fixef", float(np.max(np.abs(fit.fixef() - r["fixef"]) / r["se"]))
    yield "se", float(np.max(np.abs(np.sqrt(np.diag(fit.vcov())) / r["se"] - 1)))
    if not fit.is_singular:
        yield "df", float(np.max(np.abs(fit.tidy()["df"] / r["df"] - 1)))
    ours = fit.tidy("ran_vals").set_index(["group", "term", "level"])["estimate"]
    largest = ours.abs().groupby(level=[0, 1]).max()
    for key, value in zip(theirs["levels"], r["modes"], strict=True):
        group, term, level = key.split("|")
        term = {"(Intercept)": "Intercept"}.get(term, term)
        if (group, term, level) not in ours.index:
            # R writes Machine2 for Machine[T.2]
            term = next(t for t in ours.loc[group].index.unique(0) if t.replace("[T.", "").replace("]", "") == term)
        yield "modes", abs(ours[group, term, level] - value) / max(largest[group, term], 1e-300)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    if not has_r("lme4", "lmerTest"):
        sys.exit(
            "this needs Rscript with the packages lme4 and lmerTest: install.packages('lmerTest') in R brings both"
        )
    data = frames()
    worst: dict[str, tuple[float, str]] = {}
    singular = 0
    for (name, formula, reml, weights), theirs in zip(MODELS, fits_of_r(data), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rx.SingularFitWarning)
            fit = rx.lmer(formula, data[name], reml=reml, weights=weights)
        singular += fit.is_singular
        for what, value in differences(fit, theirs):
            worst[what] = max(worst.get(what, (-1.0, "")), (float(value), f"{formula}, {'REML' if reml else 'ML'}"))
    report(
        "compare-r",
        [{"quantity": WORDS[k], "largest difference": worst[k][0], "in": worst[k][1]} for k in WORDS],
    )
    print(f"{len(MODELS)} models, {singular} of them singular")


if __name__ == "__main__":
    main()
