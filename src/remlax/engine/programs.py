"""Compiled programs of remlax: counted as they are made, and dropped when a process holds too many.

Every compiled program maps memory, about 200 times, and Linux allows a process ``vm.max_map_count`` maps (65,530 by
default): XLA crashes beyond them. A long session that fits very many different models would meet that bound.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import jax

from ..errors import DeviceError

MAPS = Path("/proc/self/maps")
MAP_LIMIT = Path("/proc/sys/vm/max_map_count")
# a program takes about 7 MB: at most about 2 GB
MOST_PROGRAMS = 256
# where others have filled the maps, dropping fewer than these would only compile them again and again
FEW_PROGRAMS = 16


class Programs:
    """The jitted functions of remlax, and how many programs they hold."""

    def __init__(self) -> None:
        self._functions: list[Any] = []
        self._lock = threading.Lock()
        self.held = 0
        self.dropped = 0  # times that all were dropped
        self._checked = 0
        self._process = 0

    def add(self, function: Any) -> None:
        """Take in a jitted function."""
        self._functions.append(function)

    def note(self) -> None:
        """Count a program that is being traced."""
        with self._lock:
            self.held += 1

    def check_process(self) -> None:
        """Refuse to compute in a process that was forked from one that has computed: its threads are not there.

        Raises
        ------
        DeviceError
        """
        self._process = self._process or os.getpid()
        if self._process != os.getpid():
            raise DeviceError(
                "this process was forked from one in which JAX has computed, and JAX would wait here for ever: start "
                "worker processes with multiprocessing.get_context('spawn'), or with joblib, which does"
            )

    def make_room(self) -> None:
        """Drop all programs when there are too many; what runs keeps its own. Each compiles again when it is called.

        The maps are only looked at after a new program.
        """
        if self.held == self._checked:
            return
        with self._lock:
            self._checked = self.held
            if self.held > MOST_PROGRAMS or (self.held > FEW_PROGRAMS and count_maps() > most_maps()):
                for function in self._functions:
                    function.clear_cache()
                self.held = self._checked = 0
                self.dropped += 1


T = TypeVar("T")
PROGRAMS = Programs()


def program(*static: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """``jax.jit`` of a function of remlax, with the names of its static arguments; its programs are counted."""

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(function)
        def traced(*args: Any, **kwargs: Any) -> T:
            PROGRAMS.note()
            return function(*args, **kwargs)

        jitted: Callable[..., T] = jax.jit(traced, static_argnames=static)
        PROGRAMS.add(jitted)
        return jitted

    return decorate


@contextmanager
def float64() -> Iterator[None]:
    """Compute in double precision in this thread, with room for new programs; a guard of the user's stays outside."""
    PROGRAMS.check_process()
    PROGRAMS.make_room()
    with jax.enable_x64(True), jax.transfer_guard("allow"):
        yield


def count_maps() -> int:
    """Memory maps of this process; 0 where the system does not tell."""
    return MAPS.read_bytes().count(b"\n") if MAPS.exists() else 0


def most_maps() -> int:
    """Maps beyond which programs are dropped: half of what the system allows."""
    return int(MAP_LIMIT.read_text()) // 2 if MAP_LIMIT.exists() else 32_765
