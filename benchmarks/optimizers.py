"""Newton beside jaxopt's L-BFGS, by the structure of the model: whole calls, data frames in, pooled table out.

Both optimizers run in one process and take turns. Times are medians of processor seconds of all threads, which other
work on the machine changes little.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jaxopt
import numpy as np
import pandas as pd
from common import arguments, report

import remlax as rx

Make = Callable[[np.random.Generator], pd.DataFrame]
OPTIMIZERS = {"Newton": rx.Newton, "LBFGS": rx.LBFGS}


def effects(rng: np.random.Generator, codes: np.ndarray, spread: list[float], z: np.ndarray) -> np.ndarray:
    """Random effects of independent columns z (n, q) with these SDs, on every row."""
    drawn = rng.normal(size=(codes.max() + 1, len(spread))) * spread
    return np.asarray(np.einsum("nq,nq->n", drawn[codes], z))


def wide(q: int) -> tuple[str, Make]:
    """One factor of 100 groups x 30 rows, a term of q correlated columns: q (q + 1) / 2 entries of theta."""

    def make(rng: np.random.Generator) -> pd.DataFrame:
        g, x = np.repeat(np.arange(100), 30), rng.normal(size=(3000, q - 1))
        z = np.column_stack([np.ones(3000), x])
        y = x.sum(axis=1) + effects(rng, g, [0.4] * q, z) + rng.normal(size=3000)
        return pd.DataFrame({f"x{j}": x[:, j] for j in range(q - 1)} | {"y": y, "g": g})

    columns = " + ".join(f"x{j}" for j in range(q - 1))
    return f"y ~ {columns} + (1 + {columns} | g)", make


def nested(rng: np.random.Generator) -> pd.DataFrame:
    """40 schools of 5 classes of 10 pupils."""
    pupil = np.arange(2000)
    s, c, x = pupil // 50, pupil // 10, rng.normal(size=2000)
    z = np.column_stack([np.ones(2000), x])
    y = x + effects(rng, s, [0.6, 0.3], z) + effects(rng, c, [0.5, 0.3], z) + rng.normal(size=2000)
    return pd.DataFrame({"y": y, "x": x, "s": s, "c": c})


def crossed(rng: np.random.Generator) -> pd.DataFrame:
    """60 persons by 20 items."""
    p, i = (part.ravel() for part in np.mgrid[:60, :20])
    x = rng.normal(size=1200)
    z = np.column_stack([np.ones(1200), x])
    y = x + effects(rng, p, [1.0, 0.4], z) + effects(rng, i, [0.5, 0.3], z) + rng.normal(size=1200)
    return pd.DataFrame({"y": y, "x": x, "p": p, "i": i})


def small(rng: np.random.Generator) -> pd.DataFrame:
    """30 groups of 10 rows; a slope variance in every other data set, so that many fits end on the boundary."""
    g, x = np.repeat(np.arange(30), 10), rng.normal(size=300)
    z = np.column_stack([np.ones(300), x])
    y = x + effects(rng, g, [0.7, 0.3 * rng.integers(2)], z) + rng.normal(size=300)
    return pd.DataFrame({"y": y, "x": x, "g": g})


def hsb(rng: np.random.Generator) -> pd.DataFrame:
    """Pupils of High School and Beyond with noise added to the response, as imputations differ."""
    frame = rx.datasets.hsb_imputed().frames[0]
    return frame.assign(mathach=frame["mathach"] + rng.normal(scale=0.5, size=len(frame)))


HSB = "mathach ~ ses + meanses + (1 + ses | schid)"
CASES: list[tuple[str, str, Make, int]] = [
    *[("hsb", HSB, hsb, k) for k in (5, 20, 100)],
    ("small", "y ~ x + (1 + x | g)", small, 20_000),
    *[(f"term of {q} columns", *wide(q), 20) for q in (4, 6, 8)],
    ("nested", "y ~ x + (1 | s / c)", nested, 20),
    ("nested, slopes", "y ~ x + (1 + x | s / c)", nested, 20),
    ("crossed", "y ~ x + (1 | p) + (1 | i)", crossed, 20),
    ("crossed, slopes", "y ~ x + (1 + x | p) + (1 + x | i)", crossed, 20),
]


def compare(formula: str, frames: list[pd.DataFrame], repeats: int) -> dict[str, Any]:
    """Medians of processor seconds in turn, and how far the two ends are apart."""
    fits, seconds = {}, {name: list[float]() for name in OPTIMIZERS}
    for turn in range(repeats + 1):
        for name, optimizer in OPTIMIZERS.items():
            start = time.process_time()
            fits[name] = rx.lmer_list(formula, frames, optimizer=optimizer())
            fits[name].pool().tidy("fixed")
            if turn:  # the first one compiles
                seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    newton, other = (fits[name].selection.fitted for name in OPTIMIZERS)
    table = fits["LBFGS"].convergence()
    return {
        "entries of theta": newton.theta.shape[1],
        "Newton": medians["Newton"],
        "LBFGS": medians["LBFGS"],
        "ratio": medians["LBFGS"] / medians["Newton"],
        "Hessians, Newton": float(newton.opt.evaluations.mean()),
        "Hessians, LBFGS": float(table["evaluations"].mean()),
        "L-BFGS iterations": float(table["iterations"].mean()),
        "criterion apart": float(np.abs(newton.criterion - other.criterion).max()),
    }


def main() -> None:
    args = arguments(__doc__ or "")
    warnings.simplefilter("ignore", rx.RemlaxWarning)
    rows = []
    for what, formula, make, k in CASES:
        n = min(k, 2000) if args.quick else k
        rng = np.random.default_rng(1)
        found = compare(formula, [make(rng) for _ in range(n)], 3 if args.quick else 7)
        rows.append({"what": what, "K": n, **found})
    print(f"remlax {rx.__version__}, jax {jax.__version__}, jaxopt {jaxopt.__version__}, {jax.default_backend()}\n")
    report("optimizers", rows)


if __name__ == "__main__":
    main()
