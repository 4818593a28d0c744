"""Programs that call LAPACK on batches run one chunk at a time: at one time they can wait for each other for ever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from remlax.data import ImputedData
from remlax.design.build import read_rows
from remlax.design.formula import parse_formula
from remlax.engine import batch
from remlax.fitting.assemble import assemble
from remlax.kernels.held import Held, minimise_held
from remlax.kernels.inference import (
    bordered_derivatives,
    conditional_modes,
    kenward_roger_parts,
    solve,
    variance_information,
)
from remlax.kernels.lbfgs import lbfgs
from remlax.kernels.newton import newton
from remlax.kernels.posterior import draw


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


@pytest.mark.slow
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
    keys, theta = np.zeros((12, 2), np.uint32), np.ones((12, 1))
    batch.run(draw, fits.selection.model.batch, keys, theta, lapack=True, n_sims=3, joint=True)
    assert set(threads) == {1}


@pytest.mark.parametrize(
    "formula",
    ["y ~ x + (1 + x | person)", pytest.param("y ~ x + (1 + x | person) + (1 | item)", marks=pytest.mark.slow)],
)
def test_other_programs_call_no_lapack(formula):
    """Unless a term has many columns: so their chunks may run at one time."""
    own = assemble(read_rows(parse_formula(formula), ImputedData.from_frames(list(frames(2)))), reml=True).batch
    own, d, problem = own.structure, own.structure.theta_map.n_theta, own.problem
    theta, gamma = np.zeros((2, d)), np.zeros((2, own.n_fixed))
    held = Held(
        tuple(np.zeros((2, d, q, q)) for q in own.q),
        *np.zeros((3, 2, d + 1)),
        np.zeros((2, own.n_fixed)),
        *np.zeros((2, 2)),
    )
    limit = np.full(2, 9, np.int32)
    kernels = {
        newton: (theta, limit),
        lbfgs: (theta, limit),
        solve: (theta,),
        conditional_modes: (theta, gamma),
        variance_information: (theta,),
        bordered_derivatives: (theta,),
        kenward_roger_parts: (theta,),
        minimise_held: (held, limit),
    }
    with jax.enable_x64(True):
        static = {lbfgs: (("options", rx.LBFGS()),)}
        texts = {
            kernel: batch.mapped(kernel).lower(given, problem, static.get(kernel, ())).as_text()
            for kernel, given in kernels.items()
        }
    assert not [kernel.__name__ for kernel, text in texts.items() if "lapack" in text]


def test_the_check_sees_lapack():
    assert "lapack" in jax.jit(jax.numpy.linalg.cholesky).lower(np.eye(3)).as_text()
