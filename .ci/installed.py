"""Check an installed remlax against the numbers of lme4 and mice: python .ci/installed.py TESTS/REFERENCE/VISIBLE"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

import remlax as rx

REFERENCE = Path(sys.argv[1])
USED = ("jax", "jaxopt", "formulaic", "pandas", "numpy", "scipy")


def close(found: object, theirs: object, tolerance: float, what: str) -> None:
    """Stop where numbers differ by more than a relative tolerance."""
    found, theirs = np.asarray(found, dtype=float), np.asarray(theirs, dtype=float)
    worst = float(np.max(np.abs(found - theirs) / np.abs(theirs)))
    assert worst < tolerance, f"{what}: relative difference {worst:.1e}"


def case(name: str) -> dict:
    return json.loads((REFERENCE / f"{name}.json").read_text())


def main() -> None:
    """Fit one data set and five imputations, and compare."""
    where = Path(rx.__file__)
    assert where.is_relative_to(sys.prefix), f"{where} is not the installed package"
    assert metadata.version("remlax") == rx.__version__
    assert (where.parent / "py.typed").exists()

    theirs = case("sleepstudy_corr")["fits"][0]
    for optimizer in (rx.Newton(), rx.LBFGS()):
        fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy(), optimizer=optimizer)
        close(fit.criterion(), theirs["reml_criterion"], 1e-11, "REML criterion")
        close(fit.theta, list(theirs["theta"].values()), 1e-5, "theta")
        close(fit.fixef(), list(theirs["fixef"].values()), 1e-8, "fixed effects")
        close(fit.tidy("fixed")["df"], list(theirs["satterthwaite"]["df_accurate"].values()), 1e-5, "Satterthwaite df")

    reference = case("hsb_vignette")
    pooled = rx.lmer_list(reference["formula"], rx.datasets.hsb_imputed()).pool()
    table = pooled.tidy("fixed")
    theirs = reference["pooled"]["rubin"]
    close(table["estimate"], list(theirs["qbar"].values()), 1e-8, "pooled estimates")
    close(table["std_error"], list(theirs["se"].values()), 1e-8, "pooled standard errors")
    close(table["riv"], list(theirs["riv"].values()), 1e-6, "relative increase in variance")
    print(f"remlax {rx.__version__}, Python {sys.version.split()[0]}:", *(f"{n} {metadata.version(n)}" for n in USED))


main()
