"""Generalised linear mixed models beside lme4's glmer and the glmm package, on the same data in one run.

One fit of data like the Contraception survey (1,934 rows in 60 districts), 20 imputed data sets of the size of High
School and Beyond with a binary outcome, pooled, and 2,000 small sets of 30 groups x 10 rows. Peers fit one data set
after the other; of the small sets they fit some, which stand for all.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from common import arguments, report
from peers import Workload, compare

TOOLS = ("glmm", "glmer")
FORMULA = "y ~ x + (1 | g)"


def draw(eta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rng.random(len(eta)) < 1 / (1 + np.exp(-eta))).astype(float)


def survey(seed: int = 1) -> pd.DataFrame:
    """Like Contraception: districts of 2 to 118 women."""
    rng = np.random.default_rng(seed)
    share = rng.gamma(1.5, size=60)
    g = np.repeat(np.arange(60), 2 + rng.multinomial(1934 - 120, share / share.sum()))
    age, urban, children = rng.normal(size=1934), rng.integers(0, 2, 1934), rng.integers(0, 4, 1934)
    eta = -1.3 - 0.45 * age**2 + 0.7 * urban + 0.9 * (children > 0) + 0.45 * rng.normal(size=60)[g]
    frame = pd.DataFrame({"y": draw(eta, rng), "age": age, "age2": age**2, "urban": urban.astype(float)})
    return frame.assign(livch=np.char.add("c", children.astype(str)), g=np.char.add("g", g.astype(str)))


def schools(k: int) -> pd.DataFrame:
    """7,185 pupils in 160 schools; the predictors differ as imputed ones do."""
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(160), np.diff(np.linspace(0, 7185, 161).astype(int)))
    x = rng.normal(size=(7185, 4))
    y = draw(x @ [0.4, -0.3, 0.5, 0.1] + 0.6 * rng.normal(size=160)[g], rng)
    x = x + np.where(rng.random(x.shape) < 0.1, np.random.default_rng(k).normal(size=x.shape), 0.0)
    return pd.DataFrame(x, columns=list("abcd")).assign(y=y, g=np.char.add("g", g.astype(str)))


def small(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(30), 10), rng.normal(size=300)
    y = draw(0.5 * x + 0.7 * rng.normal(size=30)[g], rng)
    return pd.DataFrame({"y": y, "x": x, "g": np.char.add("g", g.astype(str))})


def main() -> None:
    quick = arguments(__doc__ or "").quick
    repeats, some = (2, 50) if quick else (5, 200)
    rows = []
    one = Workload(
        "survey, 1 fit",
        "y ~ age + age2 + urban + livch + (1 | g)",
        [survey()],
        ("livch", "g"),
        1,
        TOOLS,
        True,
        "binomial",
    )
    sets = [schools(k) for k in range(20)]
    many = Workload("schools, K = 20", "y ~ a + b + c + d + (1 | g)", sets, ("g",), 20, TOOLS, True, "binomial")
    for workload in (one, many):
        rows += compare(workload, repeats, 60.0)
    # remlax fits all of them, the peers some that stand for all
    frames = [small(seed) for seed in range(2000)]
    ours = compare(
        Workload("2,000 sets of 30 x 10", FORMULA, frames, ("g",), 2000, (), family="binomial"), repeats, 60.0
    )
    theirs = compare(
        Workload("2,000 sets of 30 x 10", FORMULA, frames[:some], ("g",), 2000, TOOLS, family="binomial"), repeats, 60.0
    )
    for row in theirs[1:]:
        row["tool / remlax"] = None if row["seconds"] is None else row["seconds"] / ours[0]["seconds"]
    report("glmm", rows + ours + theirs[1:])


if __name__ == "__main__":
    main()
