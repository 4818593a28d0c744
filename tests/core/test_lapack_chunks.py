"""Programs that call LAPACK on batches run one chunk at a time: at one time they can wait for each other for ever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from remlax.core import batch, batch_inference, batch_likelihood
from remlax.core import batch_posterior as posterior
from remlax.core.profile import Held
from remlax.data import ImputedData
from remlax.design.build import read_rows
from remlax.design.formula import parse_formula
from remlax.fitting.assemble import assemble


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


@pytest.mark.parametrize("formula", ["y ~ x + (1 | person)", "y ~ x + (1 | person) + (1 | item)"])
def test_chunks_share_the_cores(threads, formula):
    data = list(frames(12))
    fits = rx.lmer_list(formula, data)
    fits.pool().tidy("fixed")
    assert set(threads) == {2}
    alone = rx.lmer(formula, data[7])
    assert_allclose(fits[7].theta, alone.theta, rtol=1e-7)


def test_chunks_that_call_lapack_run_one_after_the_other(threads):
    fits = rx.lmer_list("y ~ x + (1 | person)", list(frames(12)))
    threads.clear()
    posterior.draw_stack(fits.fitted_stack.model.stack, np.zeros((12, 2), np.uint32), np.ones((12, 1)), 3)
    assert set(threads) == {1}


@pytest.mark.parametrize("formula", ["y ~ x + (1 + x | person)", "y ~ x + (1 + x | person) + (1 | item)"])
def test_other_programs_call_no_lapack(formula):
    """Unless a term has many columns: so their chunks may run at one time."""
    stack = assemble(read_rows(parse_formula(formula), ImputedData.from_frames(list(frames(2)))), reml=True).stack
    own, d = stack.structure, stack.structure.theta_map.n_theta
    theta, gamma = np.zeros((2, d)), np.zeros((2, own.n_fixed))
    held = Held(
        tuple(np.zeros((2, d, q, q)) for q in own.q),
        *np.zeros((3, 2, d + 1)),
        np.zeros((2, own.n_fixed)),
        *np.zeros((2, 2)),
    )
    given = (stack.index, stack.values)
    programs = {
        "newton": (batch._newton_lanes, (theta, *given, np.int32(9), own)),
        "solve": (batch._solve_lanes, (theta, *given, own)),
        "modes": (batch._modes_lanes, ((theta, gamma), *given, own)),
        "information": (batch._information_lanes, (theta, *given, own)),
        "deviances": (batch_likelihood._bordered_lanes, (theta, *given, own)),
        "Kenward-Roger": (batch_inference._kenward_roger_lanes, (theta, *given, own)),
        "held": (batch_inference._held_lanes, (held, *given, np.int32(9), own)),
    }
    with jax.enable_x64(True):
        called = {name for name, (program, given) in programs.items() if "lapack" in program.lower(*given).as_text()}
    assert called == set()


def test_the_check_sees_lapack():
    assert "lapack" in jax.jit(jax.numpy.linalg.cholesky).lower(np.eye(3)).as_text()
