"""Programs that call LAPACK on batches run one chunk at a time: at one time they can wait for each other for ever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from remlax.core import batch


@pytest.fixture
def threads(monkeypatch):
    """Numbers of threads on which chunks were run."""
    asked = []

    def pool(n):
        asked.append(n)
        return ThreadPoolExecutor(n)

    monkeypatch.setattr(batch, "ThreadPoolExecutor", pool)
    monkeypatch.setattr(batch.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(batch, "CHUNK_BYTES", 2**15)
    return asked


def frames(n_sets):
    """Crossed ratings, 30 persons by 8 items."""
    rng = np.random.default_rng(3)
    person, item = (part.ravel() for part in np.mgrid[:30, :8])
    x = rng.normal(size=240)
    for _ in range(n_sets):
        y = x + rng.normal(size=30)[person] + 0.5 * rng.normal(size=8)[item] + rng.normal(size=240)
        yield pd.DataFrame({"y": y, "x": x, "person": person, "item": item})


def test_chunks_of_crossed_models_run_one_after_the_other(threads):
    data = list(frames(12))
    fits = rx.lmer_list("y ~ x + (1 | person) + (1 | item)", data)
    assert set(threads) == {1}
    alone = rx.lmer("y ~ x + (1 | person) + (1 | item)", data[7])
    assert_allclose(fits[7].theta, alone.theta, rtol=1e-7)
    fits.pool().tidy("fixed")
    assert set(threads) == {1}


def test_chunks_of_one_factor_share_the_cores(threads):
    fits = rx.lmer_list("y ~ x + (1 | person)", list(frames(12)))
    fits.pool().tidy("fixed")
    assert set(threads) == {2}


@pytest.mark.parametrize(
    ("crossed", "size", "lapack", "alone"),
    [
        (False, 8, "plain", False),
        (False, 8, "differentiated", False),
        (False, 8, "batches", True),
        (True, 1, "plain", False),
        (True, 1, "differentiated", True),
        (True, 2, "plain", True),
    ],
)
def test_which_programs_run_alone(crossed, size, lapack, alone):
    (frame,) = frames(1)
    formula = "y ~ x + (1 | person) + (1 | item)" if crossed else "y ~ x + (1 | person)"
    structure = rx.lmer(formula, frame).fitted_stack.model.stack.structure
    assert batch._one_by_one(structure, size, lapack) is alone
