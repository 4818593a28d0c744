"""From incomplete binary data to pooled odds ratios: impute, fit a logistic mixed model to every data set, pool."""

from __future__ import annotations

import numpy as np
import pandas as pd

import remlax as rx


def clinics(n_clinics: int = 40, size: int = 25) -> pd.DataFrame:
    """Patients in clinics: recovery by treatment, smoking and age; smoking and age are incomplete."""
    rng = np.random.default_rng(1)
    clinic = np.repeat(np.arange(n_clinics), size)
    n = n_clinics * size
    treated = rng.integers(0, 2, n)
    age = rng.normal(50.0, 10.0, n)
    smoker = rng.uniform(size=n) < 1 / (1 + np.exp(1.0 - 0.03 * (age - 50)))
    eta = -0.2 + 0.8 * treated - 0.7 * smoker - 0.03 * (age - 50) + rng.normal(0, 0.8, n_clinics)[clinic]
    recovered = rng.uniform(size=n) < 1 / (1 + np.exp(-eta))
    data = pd.DataFrame(
        {
            "clinic": [f"clinic {i:02d}" for i in clinic],
            "treated": treated,
            "age": age,
            "smoker": pd.Categorical(np.where(smoker, "yes", "no"), categories=["no", "yes"]),
            "recovered": pd.Categorical(np.where(recovered, "yes", "no"), categories=["no", "yes"]),
        }
    )
    data.loc[rng.uniform(size=n) < 0.15, "smoker"] = np.nan
    data.loc[rng.uniform(size=n) < 0.1, "age"] = np.nan
    return data


def main() -> None:
    data = clinics()
    print(rx.impute.fraction_missing(data).round(3).to_dict())

    # the outcome takes part in the imputation model, and so do the clinics
    imputed = rx.impute.joint(
        data, "smoker + age ~ treated + recovered + (1 | clinic)", m=10, nominal=["smoker"], seed=1
    )
    fits = rx.glmer_list("recovered ~ treated + smoker + age + (1 | clinic)", imputed.data, family="binomial")
    pooled = fits.pool()
    print(pooled.summary())

    columns = ["term", "estimate", "conf_low", "conf_high", "p_value", "fmi"]
    print(pooled.tidy("fixed", exponentiate=True)[columns].round(3).to_string(index=False))
    print(pooled.report())


if __name__ == "__main__":
    main()
