"""Data sets of similar size share their compiled programs; a cache of programs does not grow with the fits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.cache import FILES
from remlax.engine.programs import PROGRAMS


@pytest.fixture
def compiles(compiled: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The compilations that happen during a test, without programs on disk."""
    monkeypatch.setattr(FILES, "_folder", None)
    PROGRAMS.drop()
    return compiled


def one_factor(n: int, groups: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.concatenate([np.arange(groups), np.arange(groups), rng.integers(0, groups, n - 2 * groups)])
    x = rng.normal(size=n)
    u = rng.normal(size=(groups, 2))
    return pd.DataFrame({"y": x + u[g, 0] + u[g, 1] * x + rng.normal(size=n), "x": x, "g": g.astype(str)})


def crossed(n: int, groups: int, seed: int) -> pd.DataFrame:
    frame = one_factor(n, groups, seed)
    h = np.random.default_rng(seed + 100).integers(0, 5, n)
    return frame.assign(h=h.astype(str), y=frame["y"] + np.random.default_rng(seed).normal(size=5)[h])


def everything(formula: str, frame: pd.DataFrame) -> None:
    fit = rx.lmer(formula, frame)
    fit.tidy("fixed")
    fit.ranef()
    fit.summary()


@pytest.mark.parametrize(
    ("formula", "other", "make"),
    [
        ("y ~ x + (1 + x | g)", "y ~ x + (1 | g)", one_factor),
        pytest.param("y ~ x + (1 | g) + (1 | h)", "y ~ x + (1 + x | g) + (1 | h)", crossed, marks=pytest.mark.slow),
    ],
)
def test_a_second_data_set_of_similar_size_compiles_nothing(
    formula: str, other: str, make: Callable[[int, int, int], pd.DataFrame], compiles: list[str]
) -> None:
    everything(formula, make(230, 29, 1))
    first = len(compiles)
    assert first > 0
    everything(formula, make(229, 29, 5))
    assert len(compiles) == first
    # another structure does compile: the count can move
    everything(other, make(230, 29, 3))
    assert len(compiles) > first
