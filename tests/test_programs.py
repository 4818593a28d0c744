"""Compiled programs are dropped when a process holds too many, and nothing but time is lost by it."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import remlax as rx
from remlax.engine import programs
from remlax.engine.programs import PROGRAMS, Programs


class Function:
    """Stands for a jitted function."""

    def __init__(self) -> None:
        self.cleared = 0

    def clear_cache(self) -> None:
        self.cleared += 1


@pytest.fixture
def held() -> tuple[Programs, Function]:
    found, function = Programs(), Function()
    found.add(function)
    return found, function


def test_programs_are_dropped_beyond_a_number(held: tuple[Programs, Function]) -> None:
    found, function = held
    for _ in range(programs.MOST_PROGRAMS):
        found.note()
        found.make_room()
    assert (function.cleared, found.held) == (0, programs.MOST_PROGRAMS)
    found.note()
    found.make_room()
    assert (function.cleared, found.held) == (1, 0)


@pytest.mark.parametrize(("n_programs", "n_maps", "dropped"), [(17, 51, True), (17, 50, False), (16, 90, False)])
def test_programs_are_dropped_beyond_half_the_maps(
    held: tuple[Programs, Function],
    n_programs: int,
    n_maps: int,
    dropped: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "maps").write_text("7f00-7f01 r--p\n" * n_maps)
    (tmp_path / "limit").write_text("100\n")
    monkeypatch.setattr(programs, "MAPS", tmp_path / "maps")
    monkeypatch.setattr(programs, "MAP_LIMIT", tmp_path / "limit")
    found, function = held
    for _ in range(n_programs):
        found.note()
    found.make_room()
    assert bool(function.cleared) is dropped


def test_maps_are_looked_at_after_new_programs_only(
    held: tuple[Programs, Function], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = held
    looked: list[int] = []
    monkeypatch.setattr(programs, "count_maps", lambda: looked.append(1) or 0)
    for _ in range(programs.FEW_PROGRAMS + 1):
        found.note()
    found.make_room()
    found.make_room()
    assert len(looked) == 1


def test_maps_of_a_process_are_counted() -> None:
    assert programs.count_maps() > 100 or not Path("/proc").exists()
    assert programs.most_maps() > 1000


def test_a_fit_after_programs_were_dropped_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the user's own functions keep theirs."""
    traced: list[int] = []

    @jax.jit
    def of_the_user(x: jax.Array) -> jax.Array:
        traced.append(1)
        return x + 1

    one = jnp.ones(())
    of_the_user(one)
    data, formula = rx.datasets.dyestuff(), "Yield ~ 1 + (1 | Batch)"
    first = rx.lmer(formula, data)
    rx.lmer(formula, data)
    before = PROGRAMS.held
    monkeypatch.setattr(programs, "MOST_PROGRAMS", 0)
    PROGRAMS.note()
    again = rx.lmer(formula, data)
    # those of this fit were compiled again, and counted
    assert 0 < PROGRAMS.held < before + 1
    np.testing.assert_array_equal(again.theta, first.theta)
    np.testing.assert_array_equal(again.vcov(), first.vcov())
    of_the_user(one)
    assert len(traced) == 1


@pytest.mark.slow
def test_threads_may_drop_programs_while_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    data = rx.datasets.sleepstudy()
    formulas = ["Reaction ~ Days + (1 | Subject)", "Reaction ~ Days + (1 + Days | Subject)"] * 6
    serial = [rx.lmer(formula, data) for formula in formulas[:2]] * 6
    monkeypatch.setattr(programs, "MOST_PROGRAMS", 0)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda formula: rx.lmer(formula, data), formulas))
    for a, b in zip(serial, found, strict=True):
        np.testing.assert_array_equal(a.theta, b.theta)
        np.testing.assert_array_equal(a.vcov(), b.vcov())


SESSION = """
import warnings
import numpy as np, pandas as pd
import remlax as rx
from remlax.engine import programs
programs.MOST_PROGRAMS = 20
warnings.simplefilter("ignore")
rng = np.random.default_rng(1)
def resident():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS"))) // 1024
for i in range(200):
    levels, slopes, reml = 5 + 3 * (i // 8) , 1 + i % 4, i % 8 < 4
    n = 3 * levels
    data = pd.DataFrame({f"x{j}": rng.normal(size=n) for j in range(2 * slopes)})
    data["y"], data["g"] = rng.normal(size=n), np.arange(n) % levels
    rx.lmer("y ~ " + " + ".join(data.columns[:-2]) + " + (1 | g)", data, reml=reml)
    print(programs.count_maps(), resident(), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not tell the maps")
def test_a_long_session_of_different_models_does_not_grow() -> None:
    """200 fits of about 100 different shapes: neither maps nor memory grow after the first drops."""
    done = subprocess.run([sys.executable, "-c", SESSION], capture_output=True, text=True, check=True, env=os.environ)
    maps, megabytes = np.array([line.split() for line in done.stdout.splitlines()], dtype=int).T
    assert len(maps) == 200
    half = len(maps) // 2
    assert maps[half:].max() < 1.2 * maps[:half].max()
    assert megabytes[-20:].max() < megabytes[:half].max() + 150


ONE_PROGRAM = """
import threading
import remlax as rx
from remlax.engine.programs import float64, program
@program()
def twice(x):
    return 2 * x
with float64():
    assert twice(1.0) == 2.0
assert threading.active_count() <= 2
"""


def test_a_process_that_ends_with_its_first_program_ends_quietly() -> None:
    """What is imported aside for the tables is waited for."""
    done = subprocess.run([sys.executable, "-c", ONE_PROGRAM], capture_output=True, text=True, check=True)
    assert not done.stderr
