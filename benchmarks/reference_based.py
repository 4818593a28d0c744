"""Type I error and standard errors of jump to reference by Rubin's rules and by the jackknife: a simulation study.

``python benchmarks/reference_based.py [REPLICATIONS] [--out DIR]`` writes results/reference_based.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import remlax as rx
from remlax import sim

PATIENTS, VISITS = 100, 4
MODEL, ANALYSIS = "y ~ base * visit + arm * visit + us(visit | id)", "y ~ base + arm"
TERM = "drug - placebo"
SUMMARIES = ("type_1_error", "coverage", "model_se", "empirical_se", "bias")


def trial(scenario: dict[str, float], rng: np.random.Generator) -> pd.DataFrame:
    """Two arms without a difference, four visits, patients who leave after any of the first three."""
    drug, base, t = np.arange(PATIENTS) % 2, rng.normal(size=PATIENTS), np.arange(VISITS)
    sigma = 0.7 ** abs(t[:, None] - t)
    y = 0.5 * base[:, None] + 0.3 * t + rng.multivariate_normal(np.zeros(VISITS), sigma, PATIENTS)
    leaves = np.where(rng.random(PATIENTS) < scenario["drop_out"], rng.integers(1, VISITS, PATIENTS), VISITS)
    y[t >= leaves[:, None]] = np.nan
    return pd.DataFrame(
        {
            "id": np.repeat(np.arange(PATIENTS), VISITS),
            "arm": np.repeat(np.where(drug, "drug", "placebo"), VISITS),
            "base": np.repeat(base, VISITS),
            "visit": np.tile([f"v{i}" for i in t + 1], PATIENTS),
            "y": y.ravel(),
        }
    )


def analysed(data: pd.DataFrame, context: sim.Context, draws: str, m: int | None) -> pd.DataFrame:
    """Impute by jump to reference, and estimate the difference at the last visit."""
    imputed = rx.impute.reference(
        data, MODEL, arm="arm", reference="placebo", draws=draws, m=m, seed=context.seed  # type: ignore[arg-type]
    )  # fmt: skip
    table = pd.DataFrame(imputed.ancova(ANALYSIS))
    return table.loc[table["term"] == TERM, ["term", "estimate", "std_error", "df", "conf_low", "conf_high", "p_value"]]


def rubin(data: pd.DataFrame, context: sim.Context) -> pd.DataFrame:
    return analysed(data, context, "bootstrap", 20)


def jackknife(data: pd.DataFrame, context: sim.Context) -> pd.DataFrame:
    return analysed(data, context, "none", None)


def main() -> None:
    """Run the study and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("replications", type=int, nargs="?", default=2000)
    parser.add_argument("--out", help="directory of the study, to go on with")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    study = sim.Study(
        scenarios={"drop_out": [0.4]},
        generate=sim.FrameGenerator(trial),
        methods={"rubin": rubin, "jackknife": jackknife},
        estimands={TERM: 0.0},
        replications=asked.replications,
        seed=1,
    )
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = asked.out or folder
        study.run(out, workers=asked.workers)
        table = study.performance(out)
    rows = table[table["measure"].isin(SUMMARIES) & (table["summary"] == "all")]
    print(rows.to_string())
    found = {
        "replications": asked.replications,
        "patients": PATIENTS,
        "rows": rows[["method", "measure", "estimate", "mcse"]].to_dict("records"),
    }
    target = Path(__file__).resolve().parent / "results" / "reference_based.json"
    target.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
