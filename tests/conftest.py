"""Shared test set-up: strict JAX promotion, checked shapes, a shared cache of programs, the reference folder."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

import shape_checks

shape_checks.install()

from remlax.engine.programs import PROGRAMS  # noqa: E402
from remlax.fitting import fit as fitting  # noqa: E402

# all processes of the tests share their programs
CACHE = Path(__file__).resolve().parent.parent / ".cache" / "programs"
os.environ.setdefault("REMLAX_CACHE", str(CACHE))
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# wait for each program where it is called: a failure shows at its own line
jax.config.update("jax_cpu_enable_async_dispatch", False)

# the workers of the tests keep all cores busy: what a test may not need is not compiled aside
fitting.run_later = lambda *_, **__: None

# tests press Ctrl-C, which a run in the background of a shell is told to ignore
signal.signal(signal.SIGINT, signal.default_int_handler)

# every compiled program maps memory, and Linux allows a process 65,530 maps: XLA crashes beyond them
MOST_MAPS = 20_000


@pytest.fixture(autouse=True, scope="module")
def forget_programs() -> Iterator[None]:
    """Drop the compiled programs after a module where there are many; those needed again come from the disk."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_text().count("\n") > MOST_MAPS:
        PROGRAMS.drop()
        jax.clear_caches()
        gc.collect()


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Close what a test has drawn: pyplot keeps figures, and warns of many."""
    yield
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        pyplot.close("all")


@pytest.fixture
def compiled() -> Iterator[list[str]]:
    """What is compiled during a test."""
    events: list[str] = []

    def note(event: str, duration: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    yield events
    jax.monitoring.unregister_event_duration_listener(note)
