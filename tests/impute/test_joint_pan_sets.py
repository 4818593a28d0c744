"""joint(): pooled estimates of 40 incomplete data sets beside those after R's pan, set by set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.impute import joint

M = 20  # imputations of each data set, as many as those of pan
NAMES = ["x", "w", "between", "residual", "icc"]


def estimates(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Coefficients, variances and intraclass correlation of every completed data set."""
    fits = rx.lmer_list("y ~ x + w + (1 | g)", frames)
    parts = fits.varcorr().pivot_table("vcov", "imp", "group")
    icc = parts["g"] / parts.sum(axis=1)
    return fits.fixef()[["x", "w"]].assign(between=parts["g"], residual=parts["Residual"], icc=icc)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.RemlaxWarning")
def test_pooled_estimates_are_those_after_pan(reference: Path) -> None:
    data = pd.read_csv(reference / "impute" / "pan_sets.csv")
    pan = json.loads((reference / "impute" / "pan_sets.json").read_text())
    sets = [frame.drop(columns="set").reset_index(drop=True) for _, frame in data.groupby("set")]
    assert len(sets) == len(pan) == 40
    frames = [
        f for k, s in enumerate(sets) for f in joint(s, "y + x ~ w + (1 | g)", M, burn=300, iter=100, seed=k).data
    ]
    own = estimates(frames).groupby(np.repeat(np.arange(40), M))
    mean, var = (pd.DataFrame([row[key] for row in pan])[NAMES].to_numpy() for key in ("mean", "var"))
    difference = own.mean()[NAMES].to_numpy() - mean
    # each mean has the Monte Carlo error of M draws from the distribution of the imputations
    z = difference / np.sqrt((own.var()[NAMES].to_numpy() + var) / M)
    assert (np.abs(z) < 5.0).all()
    # 40 values of variance 38/36 (a t distribution): 4.5 standard errors about their mean and their mean square
    np.testing.assert_array_less(np.abs(z.mean(axis=0)), 4.5 * np.sqrt(38 / 36 / 40))
    np.testing.assert_allclose(np.square(z).mean(axis=0), 38 / 36, atol=4.5 * np.sqrt(2 / 40) * 1.1)
