"""Several threads at once give the numbers and the warnings of one; Ctrl-C leaves the process usable."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax import errors
from remlax.engine import batch
from remlax.errors import DeviceError, PoolingWarning, RankDeficientWarning, quiet, warn
from remlax.kernels.inference import solve

FORMULAS = ("Reaction ~ Days + (1 | Subject)", "Reaction ~ Days + (1 + Days | Subject)")


@pytest.fixture(scope="module")
def imputed() -> list[pd.DataFrame]:
    sleep = rx.datasets.sleepstudy()
    rng = np.random.default_rng(3)
    return [sleep.assign(Reaction=sleep["Reaction"] + rng.normal(0, 10, len(sleep))) for _ in range(5)]


def everything(formula: str, frames: list[pd.DataFrame]) -> tuple[str, list[np.ndarray]]:
    fits = rx.lmer_list(formula, frames)
    pooled = fits.pool()
    numbers = [fits[1].theta, fits.fixef(), pooled.vcov(), fits[0].ranef()["Subject"], fits[2].vcov()]
    return str(pooled.summary()) + pooled.tidy("ran_pars").to_string(), [np.asarray(x) for x in numbers]


def test_threads_give_the_numbers_and_tables_of_one(imputed: list[pd.DataFrame]) -> None:
    serial = [everything(formula, imputed) for formula in FORMULAS]
    start = Barrier(4)

    def work(which: int) -> list[tuple[str, list[np.ndarray]]]:
        start.wait()
        return [everything(FORMULAS[(which + i) % 2], imputed) for i in range(3)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(4)))
    for which, results in enumerate(found):
        for i, (text, numbers) in enumerate(results):
            expected_text, expected = serial[(which + i) % 2]
            assert text == expected_text
            for a, b in zip(numbers, expected, strict=True):
                np.testing.assert_array_equal(a, b)


def test_threads_may_share_a_fit(imputed: list[pd.DataFrame]) -> None:
    """What is computed when it is first asked for comes out the same, whoever asks first."""
    fits = rx.lmer_list(FORMULAS[1], imputed)
    with ThreadPoolExecutor(4) as pool:
        tables = list(
            pool.map(lambda _: fits.pool().tidy("fixed").assign(mode=fits[0].ranef()["Subject"].iloc[0, -1]), range(8))
        )
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0])


def test_a_thread_keeps_only_its_own_warnings_back() -> None:
    before = list(warnings.filters)
    inside, done = Barrier(2), Barrier(2)

    def keep() -> None:
        with quiet(PoolingWarning):
            inside.wait()
            warn("kept back", PoolingWarning)
            with pytest.warns(RankDeficientWarning, match="not kept back"):
                warn("not kept back", RankDeficientWarning)
            done.wait()

    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(keep)
        inside.wait()
        with pytest.raises(PoolingWarning, match="from the other"):  # warnings are errors here
            warn("from the other", PoolingWarning)
        done.wait()
        task.result()
    assert warnings.filters == before


def test_a_warning_names_the_line_outside_the_library(tmp_path: Path) -> None:
    rx.datasets.dyestuff().assign(**{".imp": 1}).to_csv(tmp_path / "one.csv", index=False)
    with pytest.warns(errors.DataWarning, match="one imputation only") as caught:
        rx.read_imputations(tmp_path / "one.csv")  # several calls deep
    assert caught[0].filename == __file__
    with pytest.warns(PoolingWarning) as caught:
        warn("here", PoolingWarning)
    assert caught[0].filename == __file__


def test_filters_survive_threads_that_silence_other_libraries() -> None:
    before = list(warnings.filters)

    def silence(_: int) -> None:
        for _ in range(20):
            with errors.others_quiet():
                warnings.warn("of a parser", UserWarning, stacklevel=1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(silence, range(4)))
    assert warnings.filters == before


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np
import remlax as rx
from remlax.engine.programs import PROGRAMS
frames = [rx.datasets.sleepstudy()] * 6
formula = "Reaction ~ Days + (1 + Days | Subject)"
def analysis():
    fits = rx.lmer_list(formula, frames)
    return np.concatenate([fits[4].theta, fits.pool().fixef(), fits[0].ranef()["Subject"].iloc[:, -1]])
began = time.perf_counter()
expected = analysis()
longest = time.perf_counter() - began
interrupted = 0
for part in map(float, sys.argv[1:]):
    PROGRAMS.drop()
    timer = threading.Timer(part * longest, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        analysis()
        timer.join()
        time.sleep(0.1)
    except KeyboardInterrupt:
        interrupted += 1
    np.testing.assert_array_equal(analysis(), expected)
print(interrupted)
"""


def interrupt(*parts: float) -> int:
    """Interrupt an analysis after parts of its time, check the next one each time, count the interrupts."""
    command = [sys.executable, "-c", INTERRUPTED, *map(str, parts)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_a_fit_after_an_interrupted_one_is_right() -> None:
    # a signal may also arrive inside a callback whose exceptions Python reports and drops
    assert interrupt(*np.linspace(0.05, 0.9, 12).round(3)) >= 8


def test_an_interrupt_while_chunks_run_stops_those_that_wait(
    imputed: list[pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = rx.lmer_list(FORMULAS[1], imputed).selection.model.batch.take(np.arange(20) % 5)
    monkeypatch.setattr(batch, "CHUNK_BYTES", 1)  # every data set a chunk
    ran: list[int] = []

    def program(arguments: tuple[np.ndarray], *_: object, **__: object) -> np.ndarray:
        ran.append(1)
        if len(ran) == 1:
            raise KeyboardInterrupt
        time.sleep(0.02)
        return arguments[0]

    monkeypatch.setattr(batch, "mapped", lambda _: program)
    with pytest.raises(KeyboardInterrupt):
        batch.run(solve, many, np.zeros((20, 3)))
    assert len(ran) < 10


CROSSED = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np, pandas as pd
import remlax as rx
rng = np.random.default_rng(1)
def frame():
    a, b = rng.integers(0, 30, 400), rng.integers(0, 25, 400)
    y = rng.normal(size=30)[a] + rng.normal(size=25)[b] + rng.normal(size=400)
    return pd.DataFrame({"y": y, "a": a, "b": b})
sets = [[frame() for _ in range(16)] for _ in range(4)]
def fit(frames):
    return rx.lmer_list("y ~ 1 + (1 | a) + (1 | b)", frames).selection.fitted.theta
serial = [fit(frames) for frames in sets]
with ThreadPoolExecutor(4) as pool:
    for _ in range(5):
        for a, b in zip(serial, pool.map(fit, sets), strict=True):
            np.testing.assert_array_equal(a, b)
"""


@pytest.mark.slow
def test_threads_that_fit_crossed_factors_do_not_wait_for_each_other() -> None:
    """LAPACK's calls on batches of two threads would, for ever."""
    subprocess.run([sys.executable, "-c", CROSSED], check=True, timeout=300)


def test_a_forked_process_says_so_rather_than_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    data = rx.datasets.dyestuff()
    rx.lmer("Yield ~ 1 + (1 | Batch)", data)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(DeviceError, match=r"forked from one in which JAX has computed, .*get_context\('spawn'\)"):
        rx.lmer("Yield ~ 1 + (1 | Batch)", data)


FORK = """
import os, warnings
import remlax as rx
data = rx.datasets.dyestuff()
fit = rx.lmer("Yield ~ 1 + (1 | Batch)", data)
before = fit.predict()["estimate"]
warnings.simplefilter("ignore")
child = os.fork()
if child == 0:
    same = fit.predict(data)["estimate"].equals(before)
    try:
        rx.lmer("Yield ~ 0 + Batch + (1 | Batch)", data.assign(Yield=data["Yield"] + 1))
    except rx.errors.DeviceError:
        os._exit(7 if same else 1)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_a_fork_can_read_a_fit_but_not_make_one() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == "7"
