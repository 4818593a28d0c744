"""Small data sets and fits of generalised linear mixed models that several tests read."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

import remlax as rx


@cache
def frame() -> pd.DataFrame:
    """200 rows in 20 groups and 5 items: a binary, an ordinal and a count response."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(20), 10)
    x = rng.normal(size=200)
    eta = 0.3 + 0.6 * x + rng.normal(size=20)[g]
    low_to_high = np.digitize(eta + rng.logistic(size=200), [-0.7, 1.0])
    return pd.DataFrame(
        {
            "g": [f"g{i:02d}" for i in g],
            "item": np.tile(np.arange(5), 40),
            "x": x,
            "y": (rng.uniform(size=200) < 1 / (1 + np.exp(-eta))).astype(int),
            "grade": pd.Categorical.from_codes(low_to_high, ["low", "middle", "high"], ordered=True),
            "n": rng.negative_binomial(2.0, 2.0 / (2.0 + np.exp(0.5 * eta))),
        }
    )


@cache
def imputed() -> list[pd.DataFrame]:
    """Three data sets, in which every fifth x is imputed."""
    data, gap = frame(), np.arange(200) % 5 == 0
    noise = (np.random.default_rng(k).normal(size=200) for k in range(3))
    return [data.assign(x=data["x"] + 0.3 * own * gap) for own in noise]


@cache
def logistic() -> rx.GlmerFitList:
    """Three logistic models of one data set each."""
    return rx.glmer_list("y ~ x + (1 | g)", imputed())


@cache
def ordinal() -> rx.GlmerFit:
    """A cumulative logit model with crossed factors."""
    return rx.glmer("grade ~ x + (1 | g) + (1 | item)", frame(), "ordinal")


@cache
def counts() -> rx.GlmerFit:
    """A negative binomial model."""
    return rx.glmer("n ~ x + (1 | g)", frame(), "negative-binomial")
