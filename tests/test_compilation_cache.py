"""The folder of compiled programs, which JAX runs: only one that belongs to the user alone is taken."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

import remlax as rx
from remlax.errors import FileFormatError
from remlax.studies.schedulers import share_compiled

OPTIONS = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    before = {name: jax.config.values[name] for name in OPTIONS}
    mask = os.umask(0o002)
    yield
    os.umask(mask)
    for name, value in before.items():
        jax.config.update(name, value)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def cache() -> object:
    return jax.config.values["jax_compilation_cache_dir"]


def test_a_new_folder_and_those_around_it_are_for_the_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert rx.enable_compilation_cache(folder) == folder
    assert mode(folder) == mode(folder.parent) == 0o700
    assert cache() == str(folder)


@pytest.mark.parametrize("bits", [0o777, 0o775, 0o702, 0o1777])
def test_a_folder_that_others_write_to_is_refused(tmp_path: Path, bits: int) -> None:
    before = cache()
    tmp_path.chmod(bits)
    with pytest.raises(FileFormatError, match=r"which other users may write to: .* give another folder=.*chmod 700"):
        rx.enable_compilation_cache(tmp_path)
    assert cache() == before
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


def test_a_study_goes_on_without_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    jax.config.update("jax_compilation_cache_dir", None)
    share_compiled(tmp_path)
    own = Path(str(cache()))
    assert own.is_relative_to(tmp_path / "compiled")
    assert mode(own) == 0o700
    jax.config.update("jax_compilation_cache_dir", None)
    own.chmod(0o770)
    share_compiled(tmp_path)
    assert cache() is None
