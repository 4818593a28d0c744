"""Raters and students crossed: every student is rated by some raters, every rater rates many students."""

from __future__ import annotations

import numpy as np
import pandas as pd

import remlax as rx


def simulated(seed: int = 1) -> pd.DataFrame:
    """Two hundred students, thirty raters, four ratings each."""
    rng = np.random.default_rng(seed)
    students, raters, each = 200, 30, 4
    student = np.repeat(np.arange(students), each)
    rater = np.concatenate([rng.choice(raters, each, replace=False) for _ in range(students)])
    essay = rng.normal(0, 1, students)
    severity, ability = rng.normal(0, 0.6, raters), rng.normal(0, 0.8, students)
    rating = 5 + 0.5 * essay[student] - severity[rater] + ability[student] + rng.normal(0, 0.7, len(student))
    return pd.DataFrame({"rating": rating, "essay": essay[student], "student": student, "rater": rater})


def main() -> None:
    data = simulated().astype({"student": str, "rater": str})
    fit = rx.lmer("rating ~ essay + (1 | student) + (1 | rater)", data)
    print(fit)
    print("\nStandard deviations and coefficients with Wald limits")
    print(fit.confint("wald").round(3).to_string(index=False))
    print("\nThe most lenient and the most severe rater")
    rater = fit.ranef()["rater"]["Intercept"].sort_values()
    print(rater.iloc[[-1, 0]].round(2).to_string())
    variances = fit.tidy("ran_pars", scales="vcov").set_index("group")["estimate"]
    print("\nReliability of the mean of k ratings by different raters")
    noise = variances["rater"] + variances["Residual"]
    for k in (1, 2, 4):
        print(f"k = {k}: {variances['student'] / (variances['student'] + noise / k):.3f}")


if __name__ == "__main__":
    main()
