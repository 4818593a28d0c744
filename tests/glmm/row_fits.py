"""Small fits of generalised linear mixed models that the tests of rows share."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

import remlax as rx

N_LEVELS, N_ROWS = 20, 10


@cache
def frame() -> pd.DataFrame:
    """200 rows in 20 groups with responses of every family."""
    rng = np.random.default_rng(5)
    n = N_LEVELS * N_ROWS
    g = np.repeat(np.arange(N_LEVELS), N_ROWS)
    x, f = rng.normal(size=n), rng.choice(list("abc"), n)
    eta = -0.3 + 0.7 * x + 0.4 * (f == "b") + 1.2 * rng.normal(size=N_LEVELS)[g]
    mean, size = 1 / (1 + np.exp(-eta)), rng.integers(3, 9, n)
    b = rng.normal(size=(2, N_LEVELS))[:, g]
    rate = np.exp(0.8 + 0.4 * x + 0.5 * b[0] + 0.4 * x * b[1])
    latent = np.digitize(eta + rng.logistic(size=n), [-1.0, 0.5, 1.5])
    return pd.DataFrame(
        {
            "g": [f"g{i:02d}" for i in g],
            "x": x,
            "f": f,
            "y": (rng.random(n) < mean).astype(int),
            "k": rng.binomial(size, mean),
            "n": size,
            "count": rng.poisson(rate),
            "over": rng.poisson(rate * rng.gamma(2.0, 0.5, n)),
            "positive": rng.gamma(3.0, rate / 3),
            "grade": pd.Categorical.from_codes(latent, ["low", "fair", "good", "best"], ordered=True),
        }
    )


FORMULAS = {
    "binary": ("y ~ x + f + (1 | g)", "binomial", None),
    "k-of-n": ("cbind(k, n - k) ~ x + (1 | g)", "binomial", "probit"),
    "poisson": ("count ~ x + (1 + x | g)", "poisson", None),
    "negative-binomial": ("over ~ x + (1 | g)", "negative-binomial", None),
    "gamma": ("positive ~ x + (1 | g)", "gamma", None),
    "ordinal": ("grade ~ x + (1 | g)", "ordinal", None),
}


@cache
def fit(name: str) -> rx.GlmerFit:
    """Fit one of `FORMULAS`."""
    formula, family, link = FORMULAS[name]
    return rx.glmer(formula, frame(), family, link=link)


@cache
def fits() -> rx.GlmerFitList:
    """Fits to three data sets whose predictor x differs."""
    rng = np.random.default_rng(7)
    sets = [frame().assign(x=frame()["x"] + 0.3 * rng.normal(size=len(frame()))) for _ in range(3)]
    return rx.glmer_list("y ~ x + f + (1 | g)", sets)
