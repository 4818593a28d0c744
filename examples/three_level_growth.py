"""Growth of pupils in schools: four measurements per pupil, pupils in schools, intercepts and slopes at both levels."""

from __future__ import annotations

import numpy as np
import pandas as pd

import remlax as rx

FORMULA = "score ~ time * treated + (1 + time | school) + (1 + time | pupil)"


def simulated(seed: int = 1) -> pd.DataFrame:
    """Forty schools, half of them treated, fifteen pupils each."""
    rng = np.random.default_rng(seed)
    schools, pupils, times = 40, 15, 4
    school_effects = rng.multivariate_normal([0, 0], [[4.0, 0.3], [0.3, 0.25]], schools)
    pupil_effects = rng.multivariate_normal([0, 0], [[9.0, 0.5], [0.5, 0.5]], schools * pupils)
    school = np.repeat(np.arange(schools), pupils * times)
    pupil = np.repeat(np.arange(schools * pupils), times)
    time = np.tile(np.arange(times), schools * pupils)
    treated = school % 2
    random = school_effects[school] + pupil_effects[pupil]
    score = 50 + random[:, 0] + (2 + 0.8 * treated + random[:, 1]) * time + rng.normal(0, 2, len(time))
    return pd.DataFrame({"school": school, "pupil": pupil, "time": time, "treated": treated, "score": score})


def main() -> None:
    data = simulated().astype({"school": str, "pupil": str})
    fit = rx.lmer(FORMULA, data)
    print(fit)
    print("\nWhat treatment adds per year, with Kenward-Roger's degrees of freedom for 40 schools")
    table = fit.tidy("fixed", ddf="kenward-roger").set_index("term")
    print(table.loc[["time:treated"]].round(3).to_string())
    print("\nAre slopes of schools needed?")
    smaller = rx.lmer("score ~ time * treated + (1 | school) + (1 + time | pupil)", data)
    test = rx.anova(fit, smaller)
    print(test.round(4).to_string(index=False))
    print("\nShares of variance")
    print(fit.icc()[["group", "kind", "estimate"]].round(3).to_string(index=False))


if __name__ == "__main__":
    main()
