"""Compiled programs of remlax: counted as they are made, and dropped when a process holds too many.

Every compiled program maps memory, about 200 times, and Linux allows a process ``vm.max_map_count`` maps (65,530 by
default): XLA crashes beyond them. A long session that fits very many different models would meet that bound.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from ..errors import DeviceError
from .stored import Options, compile_and_store, load, program_name

MAPS = Path("/proc/self/maps")
MAP_LIMIT = Path("/proc/sys/vm/max_map_count")
# a program takes about 7 MB: at most about 2 GB
MOST_PROGRAMS = 256
# where others have filled the maps, dropping fewer than these would only compile them again and again
FEW_PROGRAMS = 16
# where JAX itself looks at each operation
CHECKED_BY_JAX = ("jax_debug_nans", "jax_debug_infs", "jax_disable_jit")


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
        """Take in a function that holds programs."""
        self._functions.append(function)

    def note(self) -> None:
        """Count a program that is new in memory."""
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
                self.drop()

    def drop(self) -> None:
        """Drop all programs."""
        for function in self._functions:
            function.clear_cache()
        self.held = self._checked = 0
        self.dropped += 1


T = TypeVar("T")
PROGRAMS = Programs()


class _Held:
    """A program of one kind of arguments, or the place where it will be; one thread makes it, others wait."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.call: Callable[..., Any] | None = None


class Program:
    """``jax.jit`` of a function, whose programs come from memory, from the cache on disk, or from the compiler.

    Programs are found by shapes and static arguments, before anything is traced: a hit on disk costs a file read.
    Inside of other traced functions, and where JAX checks for NaN or does not compile, it is ``jax.jit`` alone.

    Parameters
    ----------
    function : callable
    static : tuple of str
        Names of its static arguments.
    name : str
        What tells the function from all others.
    options : tuple of pairs, optional
        Options of XLA.
    """

    def __init__(self, function: Callable[..., Any], static: tuple[str, ...], name: str, options: Options = ()) -> None:
        functools.update_wrapper(self, function)
        self._name, self._options = name, options
        self._names = tuple(inspect.signature(function).parameters)
        self._static = frozenset(static)
        self._held: dict[Hashable, _Held] = {}

        def traced(names: tuple[str, ...], fixed: tuple[tuple[str, Any], ...], *values: Any) -> Any:
            return function(**dict(zip(names, values, strict=True)), **dict(fixed))

        traced.__name__ = function.__name__  # which profiles and dumps of XLA show
        self._jitted: Any = jax.jit(traced, static_argnums=(0, 1))
        PROGRAMS.add(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program of these arguments."""
        names, fixed, values = self._sorted(args, kwargs)
        leaves, tree = jax.tree.flatten(values)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves) or any(map(_setting, CHECKED_BY_JAX)):
            return self._jitted(names, fixed, *values)
        call = self._find(names, fixed, values, leaves, tree)
        return call(*values)

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Load or compile the program of these arguments, of which only the shapes count."""
        names, fixed, values = self._sorted(args, kwargs)
        self._find(names, fixed, values, *jax.tree.flatten(values))

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """As of ``jax.jit``; nothing is kept."""
        names, fixed, values = self._sorted(args, kwargs)
        return self._jitted.lower(names, fixed, *values)

    def trace(self, *args: Any, **kwargs: Any) -> Any:
        """As of ``jax.jit``, which makes it a function that ``jax.export`` takes."""
        names, fixed, values = self._sorted(args, kwargs)
        return self._jitted.trace(names, fixed, *values)

    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """As of ``jax.jit``."""
        names, fixed, values = self._sorted(args, kwargs)
        return self._jitted.eval_shape(names, fixed, *values)

    def clear_cache(self) -> None:
        """Forget the programs in memory."""
        self._held.clear()
        self._jitted.clear_cache()

    def _sorted(self, args: Any, kwargs: Any) -> tuple[tuple[str, ...], tuple[tuple[str, Any], ...], tuple[Any, ...]]:
        given = dict(zip(self._names, args, strict=False)) | kwargs
        fixed = tuple((name, given.pop(name)) for name in self._names if name in self._static and name in given)
        return tuple(given), fixed, tuple(given.values())

    def _find(
        self, names: tuple[str, ...], fixed: tuple[tuple[str, Any], ...], values: Any, leaves: list[Any], tree: Any
    ) -> Callable[..., Any]:
        shapes = tuple(map(_shape, leaves))
        key = (names, fixed, tree, shapes, _setting("jax_default_device"))
        held = self._held.get(key)
        if held is None:
            held = self._held.setdefault(key, _Held())
        if held.call is None:
            with held.lock:
                if held.call is None:
                    held.call = self._load_or_compile(names, fixed, values, tree, shapes)
                    PROGRAMS.note()
        return held.call

    def _load_or_compile(self, names: Any, fixed: Any, values: Any, tree: Any, shapes: Any) -> Callable[..., Any]:
        _import_tails()
        name = None
        # on one device, that of JAX's choice
        if _setting("jax_default_device") is None and all(len(shape) == 2 for shape in shapes):
            name = program_name(self._name, names, fixed, jax.tree.unflatten(tree, shapes))
        found = None if name is None else load(name, values)
        if found is not None:
            return found
        with _TRACING:
            lowered = self._jitted.lower(names, fixed, *values)
        return compile_and_store(lowered, name, self._options)


def _setting(name: str) -> Any:
    return getattr(jax.config, name)


def _shape(leaf: Any) -> tuple[Hashable, ...]:
    """Shape and type of an array, and where it must be if that is given."""
    if isinstance(leaf, np.ndarray):
        return leaf.shape, leaf.dtype
    if isinstance(leaf, jax.Array) and leaf.committed:
        return leaf.shape, leaf.dtype, leaf.sharding
    if hasattr(leaf, "dtype"):
        return leaf.shape, leaf.dtype
    return (), np.dtype(type(leaf))


def program(*static: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """`Program` of a function of a module, with the names of its static arguments."""

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        return Program(function, static, f"{function.__module__}.{function.__qualname__}")

    return decorate


_COMPILERS = ThreadPoolExecutor(2, thread_name_prefix="remlax-compile")
# traced one at a time, which Python's lock would do anyway, so that what is waited for is not slowed down
_TRACING = threading.Lock()


@functools.cache
def _import_tails() -> None:
    """Begin to import, side by side with the first program, what the tables after it need; Python waits for the end."""
    threading.Thread(target=importlib.import_module, args=("scipy.special",), name="remlax-import").start()


def prepare_aside(seconds: float, function: Any, *shapes: Any, **static: Hashable) -> Future[None]:
    """Begin to load or compile a program in another thread after a while; XLA compiles without Python's lock."""

    def prepare() -> None:
        time.sleep(seconds)
        with float64():
            function.prepare(*shapes, **static)

    return _COMPILERS.submit(prepare)


def shape_of(leaf: Any, *leading: int) -> jax.ShapeDtypeStruct:
    """Shape and type of an array, with other leading axes if these are given."""
    described: Callable[..., jax.ShapeDtypeStruct] = jax.ShapeDtypeStruct  # JAX gives it no types
    return described((*leading, *leaf.shape[len(leading) :]), leaf.dtype)


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
