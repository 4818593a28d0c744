"""Studies whose functions other processes can import."""

from __future__ import annotations

import hashlib
import os
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from remlax.batched.batch import BatchData, BatchRows
from remlax.batched.methods import EMB, CompleteCases
from remlax.simulation.design import Covariate, Drawn, Factor, MultilevelDesign, RandomTerm
from remlax.simulation.mechanisms import Amputation, DropOut, Mechanism
from remlax.studies.specification import Context, FrameGenerator
from remlax.studies.study import Study


def design(scenario: Mapping[str, Any]) -> MultilevelDesign:
    return MultilevelDesign(
        [Factor("g", scenario["J"])],
        Drawn.uniform(3, 5),
        {"1": 1.0, "x": 0.5},
        [RandomTerm("g", {"1": scenario["sd"], "x": 0.2})],
        1.0,
        [Covariate("x", icc={"g": 0.2}), Covariate("time", kind="index")],
    )


def mechanisms(scenario: Mapping[str, Any]) -> list[Mechanism]:
    return [
        Amputation(0.3, [["x"]], weights={"y": 1.0}, between={"y": 1.0}, cluster="g"),
        DropOut(0.4, ["y"], subject="g", time="time"),
    ]


def fingerprint(data: pd.DataFrame, context: Context) -> list[dict[str, Any]]:
    """A number that stands for every bit of the data, complete and incomplete, and of the method's seed."""
    content = b"".join(frame.to_numpy(dtype=float).tobytes() for frame in (data, context.complete))
    whole = hashlib.blake2s(content + context.seed.to_bytes(8, "big"), digest_size=6).digest()
    return [{"term": "x", "estimate": int.from_bytes(whole, "big"), "std_error": 1.0}]


def least_squares(data: pd.DataFrame, context: Context) -> list[dict[str, Any]]:
    seen = data.dropna()
    x, y = seen["x"] - seen["x"].mean(), seen["y"] - seen["y"].mean()
    slope = (x * y).sum() / (x**2).sum()
    df = len(seen) - 2
    error = np.sqrt(((y - slope * x) ** 2).sum() / df / (x**2).sum())
    return [{"term": "x", "estimate": slope, "std_error": error, "df": df}]


class BatchedLeastSquares:
    """The same in JAX, on all replications at once."""

    def analyse_batch(self, batch: BatchData) -> BatchRows:
        weights = batch.complete.weights
        seen = weights * (~(batch.mask["x"] | batch.mask["y"])).astype(weights.dtype)

        def centred(name: str) -> jax.Array:
            value = batch.complete.columns[name]
            return (value - (value * seen).sum(1, keepdims=True) / seen.sum(1, keepdims=True)) * seen

        x, y = centred("x"), centred("y")
        slope = (x * y).sum(1) / (x**2).sum(1)
        df = seen.sum(1) - 2
        error = jnp.sqrt(((y - slope[:, None] * x) ** 2).sum(1) / df / (x**2).sum(1))
        return BatchRows(["other", "x"], *(jnp.stack([v * 0, v], axis=1) for v in (slope, error, df)))


def study(**changes: Any) -> Study:
    settings: dict[str, Any] = {
        "scenarios": {"J": [6, 8], "sd": [0.5]},
        "generate": design,
        "ampute": mechanisms,
        "methods": {"bits": fingerprint, "ls": least_squares},
        "estimands": {"x": 0.5},
        "replications": 70,
        "seed": 20,
    }
    return Study(**(settings | changes))


def complete_cases() -> CompleteCases:
    return CompleteCases()


def batched(**changes: Any) -> Study:
    """Imputation, fits and pooling in compiled programs."""
    settings = {
        "scenarios": {"J": [6], "sd": [0.5]},
        "ampute": lost_x,
        "methods": {"emb": EMB(m=3), "cc": CompleteCases()},
        "model": "y ~ x + (1 | g)",
        "replications": 5,
    }
    return study(**(settings | changes))


def lost_x(scenario: Mapping[str, Any]) -> Amputation:
    return Amputation(0.3, [["x"]], weights={"y": 1.0})


def draw(scenario: Mapping[str, Any], rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame({"y": rng.normal(scenario["mu"], 1.0, 10)})


def mean(data: pd.DataFrame, context: Context) -> list[dict[str, Any]]:
    y = data["y"]
    return [{"term": "mu", "estimate": y.mean(), "std_error": y.std() / np.sqrt(len(y)), "df": len(y) - 1}]


def slow_mean(data: pd.DataFrame, context: Context) -> list[dict[str, Any]]:
    time.sleep(0.02)
    return mean(data, context)


def fragile_mean(data: pd.DataFrame, context: Context) -> list[dict[str, Any]]:
    if context.replication % 10 == 3:
        raise ZeroDivisionError("nothing to divide by")
    if context.replication % 10 == 4:
        warnings.warn("look out", UserWarning, stacklevel=1)
    return mean(data, context)


def dying_mean(data: pd.DataFrame, context: Context) -> list[dict[str, Any]]:
    """Kills its process: once (as long as a marker is not there), or always in replication 11."""
    marker = os.environ.get("STUDY_MARKER", "")
    if context.replication == 11 and not (marker and Path(marker).exists()):
        if marker:
            Path(marker).touch()
        os._exit(1)
    return mean(data, context)


def interrupted_mean(data: pd.DataFrame, context: Context) -> list[dict[str, Any]]:
    if context.replication == 11 and "STUDY_INTERRUPT" in os.environ:
        raise KeyboardInterrupt
    return mean(data, context)


def simple(**changes: Any) -> Study:
    settings: dict[str, Any] = {
        "scenarios": {"mu": [0.0, 1.0]},
        "generate": FrameGenerator(draw),
        "methods": {"mean": mean},
        "estimands": {"mu": truth},
        "replications": 20,
        "seed": 5,
    }
    return Study(**(settings | changes))


def truth(scenario: Mapping[str, Any]) -> float:
    return float(scenario["mu"])


if __name__ == "__main__":  # python studies.py DIR WORKERS: the driver that tests kill; or DIR prepare
    if sys.argv[2] == "prepare":
        simple().prepare(sys.argv[1], block_size=8)
    else:
        simple(methods={"mean": slow_mean}).run(sys.argv[1], block_size=5, workers=int(sys.argv[2]), progress=False)
