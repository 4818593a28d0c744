"""Programs on disk: only a folder of the user's alone is used, and whatever goes wrong there, fits go on."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import remlax as rx
from remlax import cache
from remlax.cache import FILES, ProgramFiles
from remlax.engine import stored
from remlax.engine.programs import PROGRAMS, Program, float64
from remlax.errors import FileFormatError
from remlax.kernels.newton import Newton, newton


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    mask = os.umask(0o002)
    monkeypatch.setattr(FILES, "_folder", FILES.folder())
    yield
    os.umask(mask)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.program"))


def test_a_new_folder_and_those_around_it_are_for_the_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert rx.enable_compilation_cache(folder) == folder
    assert mode(folder) == mode(folder.parent) == 0o700
    assert FILES.folder() == folder


@pytest.mark.parametrize("bits", [0o777, 0o775, 0o702, 0o1777])
def test_a_folder_that_others_write_to_is_refused(tmp_path: Path, bits: int) -> None:
    before = FILES.folder()
    tmp_path.chmod(bits)
    with pytest.raises(FileFormatError, match=r"which other users may write to: .* give another folder=.*chmod 700"):
        rx.enable_compilation_cache(tmp_path)
    assert FILES.folder() == before
    assert not list(tmp_path.iterdir())
    tmp_path.chmod(0o755)
    assert rx.enable_compilation_cache(tmp_path) == tmp_path


def test_a_link_is_judged_by_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "open")
    with pytest.raises(FileFormatError, match="other users may write to"):
        rx.enable_compilation_cache(tmp_path / "link")


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(FileFormatError, match="which belongs to another user"):
        rx.enable_compilation_cache(tmp_path)


@pytest.mark.parametrize("word", ["off", "0", "OFF"])
def test_an_environment_variable_turns_it_off(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMLAX_CACHE", word)
    assert ProgramFiles().folder() is None


def test_an_environment_variable_names_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMLAX_CACHE", str(tmp_path / "here"))
    assert ProgramFiles().folder() == tmp_path / "here"
    monkeypatch.setenv("REMLAX_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    if sys.platform == "linux":
        assert ProgramFiles().folder() == tmp_path / "home" / "remlax" / "programs"


def test_a_home_that_cannot_be_used_turns_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("REMLAX_CACHE", str(tmp_path / "file" / "inside"))
    with caplog.at_level(logging.WARNING, "remlax"):
        assert ProgramFiles().folder() is None
    assert "compiled programs cannot be kept" in caplog.text


FIT = """
import logging, sys, jax
logging.basicConfig(level=logging.WARNING)
compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: compiled.append(event) if "backend_compile" in event else None)
import remlax as rx
fit = rx.lmer("Yield ~ 1 + (1 | Batch)", rx.datasets.dyestuff())
fit.tidy("fixed")  # which waits for what is compiled aside
table = fit.tidy("fixed", ddf="kenward-roger")
print(len(compiled), *(float(x).hex() for x in [*fit.theta, *table["std_error"], *table["df"]]))
"""


def new_process(folder: Path) -> tuple[int, list[str], str]:
    """Programs compiled in a new process, its numbers, and what it said."""
    environment = {**os.environ, "REMLAX_CACHE": str(folder)}
    done = subprocess.run([sys.executable, "-c", FIT], capture_output=True, text=True, check=True, env=environment)
    count, *numbers = done.stdout.split()
    return int(count), numbers, done.stderr


def test_the_next_process_compiles_nothing_and_a_damaged_file_is_compiled_again(tmp_path: Path) -> None:
    """LAPACK is among what the programs call."""
    first, numbers, _ = new_process(tmp_path / "programs")
    kept = files(tmp_path / "programs")
    assert first >= len(kept) > 1
    second, again, _ = new_process(tmp_path / "programs")
    assert (second, again) == (0, numbers)
    content = kept[0].read_bytes()
    kept[0].write_bytes(content[:-7])
    kept[1].write_bytes(b"something else")
    third, again, said = new_process(tmp_path / "programs")
    assert (third, again) == (2, numbers)
    assert said.count("is damaged and compiled again") == 2
    assert kept[0].read_bytes()[:17] == content[:17]
    assert new_process(tmp_path / "programs")[0] == 0


def square(x: jax.Array, *, times: int) -> jax.Array:
    return x * x * times


def double(x: jax.Array, *, times: Callable[..., Any]) -> jax.Array:
    return 2.0 * x


def test_programs_are_told_apart_by_all_that_they_depend_on(tmp_path: Path, compiled: list[str]) -> None:
    rx.enable_compilation_cache(tmp_path)
    program = Program(square, ("times",), "square")
    with float64():
        for x, times in ((np.ones(3), 2), (np.ones(4), 2), (np.ones(3), 3), (np.ones(3, np.float32), 2)):
            np.testing.assert_array_equal(program(x, times=times), x * times)
        assert len(compiled) == len(files(tmp_path)) == 4
        np.testing.assert_array_equal(program(np.full(3, 2.0), times=2), np.full(3, 8.0))
        program.clear_cache()
        np.testing.assert_array_equal(program(np.full(3, 3.0), times=3), np.full(3, 27.0))
        assert len(compiled) == 4
        # of a function that is no part of the package, only the name would be known
        Program(double, ("times",), "double")(np.ones(3), times=lambda: None)
        assert (len(compiled), len(files(tmp_path))) == (5, 4)


def test_within_other_functions_and_under_checks_it_is_plain_jit(tmp_path: Path) -> None:
    rx.enable_compilation_cache(tmp_path)
    program = Program(square, ("times",), "square")
    with float64(), jax.debug_nans(True):
        np.testing.assert_array_equal(jax.vmap(lambda x: program(x, times=2))(np.ones(3)), np.full(3, 2.0))
        program(np.ones(3), times=2)
        with pytest.raises(FloatingPointError):
            program(np.full(3, np.nan), times=2)
    assert not files(tmp_path)


def test_a_device_of_the_users_choice_has_programs_of_its_own(tmp_path: Path) -> None:
    rx.enable_compilation_cache(tmp_path)
    with float64(), jax.default_device(jax.devices("cpu")[0]):
        np.testing.assert_array_equal(Program(square, ("times",), "square")(np.ones(2), times=2), [2.0, 2.0])
    assert not files(tmp_path)


def test_a_full_disk_costs_only_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rx.enable_compilation_cache(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with float64():
        np.testing.assert_array_equal(Program(square, ("times",), "square")(np.ones(2), times=2), [2.0, 2.0])
    assert not list(tmp_path.iterdir())


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ProgramFiles()
    found.use(tmp_path)
    monkeypatch.setattr(cache, "MOST_BYTES", 500)
    for age, name in ((300, "a"), (200, "b"), (100, "c")):
        found.write(name, b"x" * 100)
        os.utime(tmp_path / f"{name}.program", (1e9 - age, 1e9 - age))
    assert found.read("a") == b"x" * 100  # used now
    found.write("d", b"x" * 100)
    assert [path.stem for path in files(tmp_path)] == ["a", "c", "d"]


def test_what_jax_took_from_its_own_cache_is_not_kept(tmp_path: Path) -> None:
    """It would lack a part, and fail where it is loaded."""
    names = {
        "jax_compilation_cache_dir": str(tmp_path / "jax"),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: jax.config.values[name] for name in names}
    rx.enable_compilation_cache(tmp_path / "programs")
    try:
        for name, value in names.items():
            jax.config.update(name, value)
        for times in range(2):
            with float64():
                Program(square, ("times",), f"square {times}")(np.ones(2), times=2)
        assert len(files(tmp_path / "programs")) == 1
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def test_static_values_have_one_text() -> None:
    assert stored.describe((1, 2.5, "a", None, Newton(), newton)) == stored.describe(
        (1, 2.5, "a", None, Newton(), newton)
    )
    assert stored.describe(Newton(3)) != stored.describe(Newton(4))
    assert stored.describe(True) != stored.describe(1)
    assert stored.describe(frozenset("ab")) == stored.describe(frozenset("ba"))
    for odd in (lambda: None, square, object(), [object()]):
        with pytest.raises(TypeError):
            stored.describe(odd)


def test_dropped_programs_come_back_from_disk(tmp_path: Path, compiled: list[str]) -> None:
    rx.enable_compilation_cache(tmp_path)
    PROGRAMS.drop()
    data, formula = rx.datasets.dyestuff(), "Yield ~ 1 + (1 | Batch)"
    first = rx.lmer(formula, data)
    first.tidy("fixed")  # waits for what is compiled aside
    some = len(compiled)
    assert some > 0
    PROGRAMS.drop()
    np.testing.assert_array_equal(rx.lmer(formula, data).theta, first.theta)
    assert len(compiled) == some
