"""Small designs and responses that several tests read."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

import remlax as rx
from reference_cases import REFERENCE, read_reference_csv

NEXT = REFERENCE / "next"
FORMULA = "~ x + f + (1 | g)"


@cache
def reference() -> dict[str, Any]:
    """The case of 60 responses."""
    case: dict[str, Any] = json.loads((NEXT / "many_genes.json").read_text())
    return case


@cache
def genes() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Its design and responses."""
    case = reference()
    design = read_reference_csv(NEXT / case["data"]["file"], case["data"]["columns"])
    return design, pd.read_csv(NEXT / case["responses_file"])


@cache
def many_genes() -> rx.LmerMany:
    """Its fits."""
    design, responses = genes()
    return rx.lmer_many(reference()["formula"], design, responses)


@cache
def design(n: int = 60) -> pd.DataFrame:
    """Rows in 12 groups that are nested in 4, and 5 that cross them."""
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(12), n // 12)
    return pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "f": rng.choice(["u", "v"], n),
            "g": [f"g{i:02d}" for i in g],
            "b": [f"b{i % 4}" for i in g],
            "h": [f"h{i}" for i in rng.integers(0, 5, n)],
            "w": rng.uniform(0.5, 2.0, n),
        }
    )


def draw(seed: int, n_responses: int, *, missing: float = 0.0) -> pd.DataFrame:
    """Responses with effects of every factor of the design, of some of them none; cells may be missing."""
    data, rng = design(), np.random.default_rng(seed)
    size = rng.choice([0.0, 0.6, 1.2], n_responses)
    y = rng.normal(size=(len(data), n_responses)) + 10 + np.outer(data["x"], rng.normal(size=n_responses))
    for name in ("g", "b", "h"):
        codes = pd.factorize(data[name], sort=True)[0]
        effects = rng.normal(size=(2, codes.max() + 1, n_responses)) * size
        y += effects[0][codes] + effects[1][codes] * data["x"].to_numpy()[:, None] * 0.5
    y[rng.uniform(size=y.shape) < missing] = np.nan
    return pd.DataFrame(y, columns=[f"y{i}" for i in range(n_responses)])


def close(fit: rx.LmerFit, many: rx.LmerMany, name: object) -> None:
    """Assert that one response has the numbers of its own fit.

    A fit stops at a Newton decrement of 1e-14 at most, which leaves a share of its root in theta; beyond that nothing
    is allowed but 1e-9.
    """
    own = fit.tidy("fixed")
    ours = many.tidy("fixed")
    ours = ours[ours["response"] == name].reset_index(drop=True)
    tol = 1e-9 + 100 * np.sqrt(max(fit.opt.decrement, 0.0))
    assert list(ours["term"]) == list(own["term"])
    error = own["std_error"].to_numpy()
    np.testing.assert_allclose(ours["estimate"] / error, own["estimate"] / error, rtol=0, atol=tol)
    for column in ("std_error", "df"):
        np.testing.assert_allclose(ours[column], own[column], rtol=tol)
    np.testing.assert_allclose(many.sigma[name], fit.sigma, rtol=tol)
    np.testing.assert_allclose(many.glance().loc[name, "criterion"], fit.criterion(), rtol=1e-11)
    found = many.varcorr()
    found = found[found["response"] == name]
    scale = max(fit.varcorr()["vcov"].abs().max(), 1e-300)
    np.testing.assert_allclose(found["vcov"] / scale, fit.varcorr()["vcov"] / scale, rtol=0, atol=tol)
    assert (many.status[name] == "singular") == fit.is_singular
