"""A trial with visits and drop-out: a mixed model for repeated measures of the observed visits, and of imputations.

160 patients in two arms are measured at weeks 2, 4, 8 and 12; the worse a patient feels, the more likely the next visit
is missed. True differences between the arms are 0, 1, 2 and 3.
"""

import numpy as np
import pandas as pd

import remlax as rx

WEEKS = ["week 2", "week 4", "week 8", "week 12"]
MODEL = "score ~ base * visit + arm * visit + us(visit | patient)"


def simulate_trial(n: int = 160, seed: int = 3) -> pd.DataFrame:
    """One row per patient and planned visit; scores after drop-out are missing."""
    rng = np.random.default_rng(seed)
    arm, base = np.arange(n) % 2, rng.normal(25, 5, n)
    sd, visit = np.array([4.0, 4.5, 5.0, 5.5]), np.arange(4)
    covariance = 0.75 ** abs(visit[:, None] - visit) * np.outer(sd, sd)
    score = 0.7 * base[:, None] - 2 * visit - visit * arm[:, None] + rng.multivariate_normal(np.zeros(4), covariance, n)
    for t in range(1, 4):
        leaves = rng.random(n) < 1 / (1 + np.exp(3 - 0.12 * (score[:, t - 1] - 10)))
        score[leaves | np.isnan(score[:, t - 1]), t] = np.nan
    return pd.DataFrame(
        {
            "patient": np.repeat(np.arange(n), 4),
            "arm": pd.Categorical(np.repeat(np.where(arm, "active", "placebo"), 4), ["placebo", "active"]),
            "base": np.repeat(base, 4),
            "visit": pd.Categorical(np.tile(WEEKS, n), WEEKS),
            "score": score.ravel(),
        }
    )


def imputed(trial: pd.DataFrame, m: int = 20) -> list[pd.DataFrame]:
    """Impute a row per patient and a column per visit, jointly normal given the arm, and stack the visits again."""
    wide = trial.pivot(index=["patient", "arm", "base"], columns="visit", values="score")  # noqa: PD010 (all are kept)
    filled = rx.impute.emb(wide.reset_index(), m=m, id_vars=["patient"], nominal=["arm"], seed=1).data
    long = [frame.melt(["patient", "arm", "base"], WEEKS, "visit", "score") for frame in filled]
    return [frame.assign(visit=pd.Categorical(frame["visit"], WEEKS)) for frame in long]


def main() -> None:
    trial = simulate_trial()
    print("Patients seen:", trial.groupby("visit", observed=True)["score"].count().to_dict())
    observed = rx.mmrm(MODEL, trial.dropna())
    pooled = rx.mmrm_list(MODEL, imputed(trial)).pool("kenward-roger")
    means = {
        "Observed visits": observed.emmeans("arm", by="visit", ddf="kenward-roger"),
        "20 imputations": pooled.emmeans("arm", by="visit"),
    }
    columns = ["visit", "estimate", "std_error", "df", "conf_low", "conf_high", "p_value"]
    for name, found in means.items():
        print(f"\n{name}: active - placebo")
        print(found.differences(reference="placebo")[columns].round(3).to_string(index=False))
    print(f"\nCorrelations of the visits:\n{observed.residual_correlation().round(2)}")
    print(f"\n{pooled.report()}")
    figure = rx.plot.marginal_means(means["Observed visits"]).figure
    figure.savefig("trial_means.png")


if __name__ == "__main__":
    main()
