"""Progress bars: after two seconds, one at a time, off with one setting."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import remlax as rx
from remlax import progress as module
from remlax.engine import batch
from remlax.progress import progress, unseen


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELAY", 0.0)


def test_nothing_is_shown_within_two_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(2, "fit") as tell:
        tell(2)
    assert capsys.readouterr().err == ""


def test_a_bar_starts_with_what_is_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 1.0, 2.5])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(times))
    with progress(8, "fit") as tell:
        tell(1)
        assert capsys.readouterr().err == ""
        tell(3)
        assert "4/8 [00:02<00:02" in capsys.readouterr().err


@pytest.mark.usefixtures("now")
def test_no_bar_comes_when_all_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    """A call that compiles for long and then computes in no time."""
    with progress(60, "row") as tell:
        tell(60)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("now")
def test_work_inside_of_work_has_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(7, "fit") as tell, progress(5, "row") as inner:
        inner(5)
        assert capsys.readouterr().err == ""
        tell(3)
        tell(4)
    with unseen(), progress(7, "fit") as tell:
        tell(3)
        tell(4)
    assert "7/7" in capsys.readouterr().err
    with progress(1, "fit") as one, progress(5, "row") as inner:
        one(1)
        inner(2)
        inner(3)
    shown = capsys.readouterr().err
    assert "5/5" in shown
    assert "1/1" not in shown


@pytest.mark.usefixtures("now")
def test_long_calls_show_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(batch, "CHUNK_BYTES", 1)
    fits = rx.lmer_list("Yield ~ 1 + (1 | Batch)", [rx.datasets.dyestuff()] * 3)
    assert "3/3" in capsys.readouterr().err
    fits.confint("boot", n_sims=4, seed=1)
    assert "3/3 [" in capsys.readouterr().err
    rx.bootstrap(fits[0], 4, seed=1)  # one fit: its refits are counted
    assert "4/4" in capsys.readouterr().err


BARS = """
from remlax import progress
from remlax.studies.runner import _bar
progress.DELAY = 0
with progress.progress(2, "fit") as tell:
    tell(1)
with _bar(4, 4, True):
    pass
"""


@pytest.mark.parametrize("setting", [None, "", "0", "1"])
def test_one_setting_turns_bars_off(setting: str | None) -> None:
    """As it is set before Python starts: tqdm reads it when it is imported."""
    env = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    env |= {} if setting is None else {"TQDM_DISABLE": setting}
    done = subprocess.run([sys.executable, "-c", BARS], env=env, capture_output=True, text=True, check=True)
    for shown in ("1/2", "0/4"):
        assert (shown in done.stderr) is not (setting == "1")
    assert done.stdout == ""


@pytest.mark.usefixtures("now")
def test_the_setting_holds_from_when_it_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for setting, shown in (("1", False), ("0", True), ("", True)):
        monkeypatch.setenv("TQDM_DISABLE", setting)
        with progress(2, "fit") as tell:
            tell(1)
        assert ("1/2" in capsys.readouterr().err) is shown


def test_numbers_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [rx.datasets.dyestuff()] * 3
    together = rx.lmer_list("Yield ~ 1 + (1 | Batch)", frames)
    monkeypatch.setattr(batch, "CHUNK_BYTES", 1)
    np.testing.assert_allclose(rx.lmer_list("Yield ~ 1 + (1 | Batch)", frames).fixef(), together.fixef(), rtol=1e-13)
