"""Progress bars of imputations, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest

from remlax import impute


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(12), 5)
    y = rng.normal(size=12)[g] + rng.normal(size=60)
    return pd.DataFrame({"g": g, "x": rng.normal(size=60), "y": np.where(rng.random(60) < 0.3, np.nan, y)})


def run(frame: pd.DataFrame, iter: int = 60) -> impute.JointResult:  # noqa: A002
    return impute.joint(frame, "y ~ x + (1 | g)", m=4, burn=20, iter=iter, seed=1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.ImputationWarning")
def test_a_bar_counts_sweeps_and_imputations(
    frame: pd.DataFrame, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remlax.progress.DELAY", 1000.0)
    found = run(frame)
    assert capsys.readouterr().err == ""  # nothing for what is done in time
    monkeypatch.setattr("remlax.progress.DELAY", 0.0)
    again = run(frame)
    assert "320/320" in capsys.readouterr().err  # 4 chains of 20 + 60 sweeps
    np.testing.assert_array_equal(again.draws, found.draws)
    found.continue_(more=10)
    assert "40/40" in capsys.readouterr().err
    monkeypatch.setattr("remlax.impute.emb_run.BATCH_BYTES", 0)
    impute.emb(frame.drop(columns="g"), m=3, seed=1)
    assert "3/3" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.ImputationWarning")
def test_draws_do_not_depend_on_the_sweeps_per_call(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(frame)
    monkeypatch.setattr("remlax.impute.joint_run.FIRST_CHUNK", 1)
    monkeypatch.setattr("remlax.impute.joint_run.CALL_SECONDS", 0.0)
    np.testing.assert_array_equal(run(frame).draws, found.draws)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.ImputationWarning")
def test_ctrl_c_stops_the_chains_and_nothing_else(frame: pd.DataFrame) -> None:
    before = run(frame)
    threads = threading.active_count()
    pressed = []

    def press() -> None:
        pressed.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(1.0, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run(frame, iter=10**8)
    assert time.perf_counter() - pressed[0] < 20.0  # half a second and what a busy machine adds; else it is hours
    timer.join()
    assert threading.active_count() <= threads
    np.testing.assert_array_equal(run(frame).draws, before.draws)
