"""Type I error and standard errors of jump to reference by Rubin's rules and by the jackknife: a simulation study.

``python benchmarks/reference_based.py [REPLICATIONS] [--out DIR]`` writes results/reference_based.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from remlax import sim

PATIENTS, VISITS, DROP_OUT = 100, 4, 0.4
MODEL = "y ~ base * factor(visit) + arm * factor(visit) + us(visit | id)"
TERM = "drug - placebo"
SUMMARIES = ("type_1_error", "coverage", "model_se", "empirical_se", "bias")


def trial(scenario: dict[str, float]) -> sim.MultilevelDesign:
    """Two arms without a difference, four visits."""
    return sim.MultilevelDesign(
        [sim.Factor("id", PATIENTS)],
        VISITS,
        {"visit": 0.3, "base": 0.5},
        [sim.RandomTerm("id", {"1": 0.8})],
        0.6,
        [
            sim.Covariate("visit", kind="index"),
            sim.Covariate("base", level="id"),
            sim.Covariate("arm", level="id", kind="balanced", levels=["placebo", "drug"]),
        ],
    )


def leave(scenario: dict[str, float]) -> sim.DropOut:
    """Patients who leave, the more likely the higher their last value was."""
    return sim.DropOut(scenario["drop_out"], ["y"], subject="id", time="visit")


def method(draws: str) -> Any:
    """Jump to reference with 20 imputations, or with conditional means and the jackknife."""
    return sim.ReferenceBased(arm="arm", reference="placebo", analysis="y ~ base + arm", draws=draws)  # type: ignore[arg-type]


def main() -> None:
    """Run the study and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("replications", type=int, nargs="?", default=10_000)
    parser.add_argument("--out", help="directory of the study, to go on with")
    asked = parser.parse_args()
    study = sim.Study(
        scenarios={"drop_out": [DROP_OUT]},
        generate=trial,
        ampute=leave,
        methods={"rubin": method("bootstrap"), "jackknife": method("none")},
        model=MODEL,
        estimands={TERM: 0.0},
        replications=asked.replications,
        seed=1,
    )
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = asked.out or folder
        started = time.perf_counter()
        study.run(out)
        print(f"{time.perf_counter() - started:.0f} s")
        table, results = study.performance(out), study.results(out)
    rows = table[table["measure"].isin(SUMMARIES) & (table["summary"] == "all")]
    print(rows.to_string())
    found = {
        "replications": asked.replications,
        "patients": PATIENTS,
        "seconds": results.groupby("method")["seconds"].sum().round(1).to_dict(),
        "failed": results.groupby("method")["status"].apply(lambda own: int((own == "failed").sum())).to_dict(),
        "rows": rows[["method", "measure", "estimate", "mcse"]].to_dict("records"),
    }
    target = Path(__file__).resolve().parent / "results" / "reference_based.json"
    target.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
