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


@pytest.fixture(scope="module")
def own(reference: Path) -> pd.DataFrame:
    """Estimates after joint() for every imputation, indexed by the number of the data set."""
    data = pd.read_csv(reference / "impute" / "pan_sets.csv")
    sets = [frame.drop(columns="set").reset_index(drop=True) for _, frame in data.groupby("set")]
    assert len(sets) == 40
    frames = [
        f for k, s in enumerate(sets) for f in joint(s, "y + x ~ w + (1 | g)", M, burn=300, iter=100, seed=k).data
    ]
    return estimates(frames).set_axis(np.repeat(np.arange(40), M))


def peer(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances over the imputations of each data set, (40, 5) each."""
    rows = json.loads(path.read_text())
    mean, var = (pd.DataFrame([row[key] for row in rows])[NAMES].to_numpy() for key in ("mean", "var"))
    return mean, var


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.RemlaxWarning")
def test_pooled_estimates_are_those_after_pan(own: pd.DataFrame, reference: Path) -> None:
    mean, var = peer(reference / "impute" / "pan_sets.json")
    sets = own.groupby(level=0)
    # each mean has the Monte Carlo error of M draws from the distribution of the imputations
    z = (sets.mean()[NAMES].to_numpy() - mean) / np.sqrt((sets.var()[NAMES].to_numpy() + var) / M)
    assert (np.abs(z) < 5.0).all()
    # 40 values of variance 38/36 (a t distribution): 4.5 standard errors about their mean and their mean square
    np.testing.assert_array_less(np.abs(z.mean(axis=0)), 4.5 * np.sqrt(38 / 36 / 40))
    np.testing.assert_allclose(np.square(z).mean(axis=0), 38 / 36, atol=4.5 * np.sqrt(2 / 40) * 1.1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.RemlaxWarning")
def test_chained_equations_of_mice_add_nothing_here(own: pd.DataFrame, reference: Path) -> None:
    # 2l.pan with cluster means in each cycle: another model, so that the means over the data sets are compared
    difference = own.groupby(level=0).mean()[NAMES].to_numpy() - peer(reference / "impute" / "mice_sets.json")[0]
    error = difference.std(axis=0, ddof=1) / np.sqrt(len(difference))
    assert (error < 0.01).all()
    np.testing.assert_array_less(np.abs(difference.mean(axis=0)), 3.5 * error)
