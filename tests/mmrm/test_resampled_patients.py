"""The bootstrap of patients: fits of resamples written out as frames, who is drawn, and what cannot be drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from mmrm_cases import trial

import remlax as rx
from remlax.errors import DataError
from remlax.fitting.mmrm.resample import find_patients, fit_resampled_patients
from remlax.fitting.resample import Draw, draw_clusters, identified_draws
from remlax.fitting.selection import Selection

N_DRAWS = 3


def written_out(data: pd.DataFrame, draw: Draw) -> pd.DataFrame:
    """The resample as a frame, copies of a patient under names of their own."""
    return data.iloc[draw.rows].assign(id=[f"new {name}" for name in draw.names[-1]]).reset_index(drop=True)


@pytest.mark.parametrize(
    ("covariance", "weights"),
    [("us(visit | id)", "w"), pytest.param("ar1(visit | arm / id)", None, marks=pytest.mark.slow)],
    ids=["us", "ar1 by arm"],
)
def test_a_resample_is_the_fit_of_its_rows(covariance: str, weights: str | None) -> None:
    formula, data = f"y ~ x + arm + visit + {covariance}", trial().sample(frac=1, random_state=2)
    fit = rx.mmrm(formula, data, weights=weights)
    patients = find_patients(fit.selection, "id")
    rng = np.random.default_rng(5)
    draws = [draw_clusters(patients, rng) for _ in range(N_DRAWS)]
    found, identified = fit_resampled_patients(fit.selection, patients, draws)
    again = rx.MmrmFitList(Selection.all_of(found))
    assert identified.all()
    frames = [written_out(data, draw) for draw in draws]
    for one, frame in zip(again, frames, strict=True):
        explicit = rx.mmrm(formula, frame, weights=weights)
        np.testing.assert_allclose(one.criterion(), explicit.criterion(), rtol=1e-10)
        np.testing.assert_allclose(one.fixef(), explicit.fixef(), rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(one.residual_covariance(), explicit.residual_covariance(), rtol=1e-7)
        np.testing.assert_allclose(one.vcov(), explicit.vcov(), rtol=1e-7, atol=1e-10)
        assert one.ngrps == explicit.ngrps
    # the data come along, for statistics that read them
    one, explicit = again[1], rx.mmrm(formula, frames[1], weights=weights)
    np.testing.assert_allclose(
        one.emmeans("arm").means["estimate"], explicit.emmeans("arm").means["estimate"], rtol=1e-7
    )


def test_patients_are_drawn_with_all_visits_and_within_the_groups_of_the_covariance() -> None:
    data = trial()
    by_arm = rx.mmrm("y ~ arm + ar1(visit | arm / id)", data)
    patients = find_patients(by_arm.selection, ["id"])
    rng, seen = np.random.default_rng(6), set()
    size = data["id"].value_counts()
    for _ in range(5):
        frame = written_out(data, draw_clusters(patients, rng)).assign(old=lambda d: d["id"])
        assert (frame.groupby("arm")["id"].nunique() == data.groupby("arm")["id"].nunique()).all()
        seen.add(frame["id"].nunique())
        assert frame.groupby("id")["visit"].nunique().sum() == len(frame)
    assert seen == {30}
    assert size.sum() == len(data)


def test_the_bootstrap_of_patients() -> None:
    fit = rx.mmrm("y ~ x + arm + visit + us(visit | id)", trial(), weights="w")
    found = rx.bootstrap(fit, N_DRAWS, seed=1, resample="id")
    again = rx.bootstrap(fit, N_DRAWS, seed=1, resample="id", statistic=lambda fits: fits.fixef())
    np.testing.assert_allclose(found.replicates["x"], again.replicates["x"], rtol=1e-12)
    assert found.summary()["term"].tolist()[-1] == "cor__v2.v3|id"
    assert (found.summary()["n_failed"] == 0).all()
    for wrong in ("visit", ["id", "rows"], 3):
        with pytest.raises(DataError, match="patients are drawn, each with all visits: resample='id'"):
            rx.bootstrap(fit, 2, resample=wrong)  # type: ignore[arg-type]


def test_resamples_without_a_coefficient_are_left_out() -> None:
    data = trial().assign(rare=lambda d: d["id"].isin(["p00", "p07"]).astype(float))
    fit = rx.mmrm("y ~ rare + ar1(visit | id)", data).selection
    patients, rng = find_patients(fit, "id"), np.random.default_rng(7)
    draws = [draw_clusters(patients, rng) for _ in range(20)]
    identified = identified_draws(fit, draws)[1]
    drawn = [data["rare"].to_numpy()[draw.rows].any() for draw in draws]
    assert identified.tolist() == drawn
    assert 0 < sum(drawn) < 20
