"""Largest difference from R over every reference case in tests/reference, of linear and of generalised models."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import report

REFERENCE = Path(__file__).resolve().parent.parent / "tests" / "reference"
LINEAR = {
    "criterion_at": "criterion at given theta, relative",
    "criterion_opt": "criterion at the optimum above lme4's",
    "fixef": "fixed effects, in SEs",
    "se": "standard errors, relative",
    "sigma": "residual SD, relative",
    "satterthwaite": "Satterthwaite df, relative",
    "pooled_est": "pooled estimates, in SEs",
    "pooled_se": "pooled SEs, relative",
    "pooled_df": "Barnard-Rubin df, relative",
    "fmi": "fraction of missing information, relative",
    "D1": "D1 test, relative",
    "D3": "D3 test, relative",
    "D4": "D4 test, relative",
}
GENERALISED = {
    "deviance_at": "deviance at given parameters, relative",
    "deviance_at_lme4": "the same, lme4's own number",
    "deviance_opt": "deviance at the optimum above the reference, relative",
    "theta": "theta",
    "fixef": "fixed effects, in SEs",
    "se_hessian": "standard errors of the Hessian, relative",
    "se_rx": "standard errors given theta, relative",
    "size": "size of a negative binomial, relative",
    "ranef": "conditional modes",
    "cond_var": "their variances",
    "pooled_est": "pooled estimates, in SEs",
    "pooled_se": "pooled SEs, relative",
    "pooled_df": "degrees of freedom, relative",
    "fmi": "fraction of missing information, relative",
    "D1": "D1 test, relative",
    "D2": "D2 test of likelihood ratios, relative",
    "D3": "D3 test, relative",
    "D4": "D4 test, relative",
}


def checked(script: str, *arguments: str) -> dict[str, dict[str, float]]:
    """Largest difference by case and quantity, as a script of tests/reference finds them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.json"
        subprocess.run([sys.executable, str(REFERENCE / script), *arguments, "--json", str(path)], check=False)
        return json.loads(path.read_text(encoding="utf-8"))


def table(cases: dict[str, dict[str, float]], words: dict[str, str]) -> list[dict[str, Any]]:
    rows = []
    for key, text in words.items():
        found = {name: case[key] for name, case in cases.items() if key in case}
        if found:
            worst = max(found, key=lambda name: found[name])
            rows.append({"quantity": text, "largest difference": found[worst], "case": worst, "cases": len(found)})
    return rows


def main() -> None:
    linear = checked("check.py", str(REFERENCE / "visible"))
    found = checked("check_next.py", str(REFERENCE / "next"), "--block", "glmm", "glmm_mi")
    print()
    report("exactness", table(linear, LINEAR))
    report("exactness-generalised", table(found["rows"], GENERALISED))


if __name__ == "__main__":
    main()
