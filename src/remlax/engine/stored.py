"""Stored programs: executables on disk, named by all that they depend on."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import logging
import os
import pickle
import platform
import threading
import types
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np

from ..cache import FILES

PACKAGE = __name__.partition(".")[0]
# settings of JAX that say where it keeps things and what it tells, not what it computes
NOT_COMPUTING = ("cache", "log", "traceback", "profil", "compile")
FOUND_IN_CACHE = "/jax/compilation_cache/cache_hits"

Options: TypeAlias = tuple[tuple[str, str | bool], ...]

_log = logging.getLogger(__name__)
_in_thread = threading.local()
_lapack = threading.Lock()


def program_name(function: str, *static: Any) -> str | None:
    """Name of a program by its function, static arguments and shapes; None where these have no stable text.

    Functions count by their names, which is right for those of this package alone: its files are part of the name.
    """
    try:
        text = "\n".join([environment(), function, *map(describe, static)])
    except TypeError:
        return None
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


def describe(value: Any) -> str:
    """Write a static value as a text that is the same in every process.

    Raises
    ------
    TypeError
        It holds what has no such text.
    """
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic | np.dtype):
        return repr(value)
    if isinstance(value, types.FunctionType | type):
        if value.__module__.partition(".")[0] in (PACKAGE, "builtins") and "<" not in value.__qualname__:
            return f"{value.__module__}.{value.__qualname__}"
        raise TypeError(f"{value!r} is no function of this package")
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if dataclasses.is_dataclass(value):
        parts = [f"{f.name}={describe(getattr(value, f.name))}" for f in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        parts = [f"{describe(k)}: {describe(v)}" for k, v in value.items()]
    elif isinstance(value, tuple | list):
        parts = [describe(item) for item in value]
    elif isinstance(value, Set):
        parts = sorted(describe(item) for item in value)
    elif jax.numpy.issubdtype(value, jax.dtypes.extended):
        parts = [str(value)]
    else:
        raise TypeError(f"{value!r} has no stable text")
    return f"{kind}({', '.join(parts)})"


def load(name: str, values: tuple[Any, ...]) -> Callable[..., Any] | None:
    """Load a program for arguments of this structure; None where it is not kept or not usable."""
    from jax.experimental import serialize_executable

    content = FILES.read(name)
    if content is None:
        return None
    try:
        payload, out = pickle.loads(content)
        if b"lapack" in payload:
            _register_lapack()
        structure = jax.tree.structure((values, {}))
        found: Callable[..., Any] = serialize_executable.deserialize_and_load(
            payload, structure, jax.tree.structure(out)
        )
    except Exception as error:  # whatever is wrong with it, the program can be compiled again
        _log.warning("the stored program %s cannot be used and is compiled again: %s", name, error)
        return None
    return found


def compile_and_store(lowered: jax.stages.Lowered, name: str | None, options: Options) -> Callable[..., Any]:
    """Compile with options of XLA, and keep the program under its name if it has one."""
    _listen()
    _in_thread.found = False
    compiled = _compile(lowered, options)
    # what JAX's own cache returned lacks a part of what has to be stored
    if name is None or _in_thread.found or FILES.folder() is None:
        return compiled
    from jax.experimental import serialize_executable

    try:
        payload, _, structure = serialize_executable.serialize(compiled)
        content = pickle.dumps((payload, jax.tree.unflatten(structure, range(structure.num_leaves))))
    except Exception as error:  # some platforms cannot
        _log.info("the program %s is not kept: %s", name, error)
        return compiled
    FILES.write(name, content)
    return compiled


def _compile(lowered: jax.stages.Lowered, options: Options) -> jax.stages.Compiled:
    try:
        return lowered.compile(compiler_options=dict(options))
    except jax.errors.JaxRuntimeError as error:
        if not any(name in str(error) for name, _ in options):
            raise
        return lowered.compile()  # a version of XLA without one of them


@functools.cache
def _listen() -> None:
    """Hear of programs that come from JAX's own cache, in the thread that asked for them."""

    def hear(event: str, **_: Any) -> None:
        if event == FOUND_IN_CACHE:
            _in_thread.found = True

    jax.monitoring.register_event_listener(hear)


def _register_lapack() -> None:
    """Lower a factorisation, at which JAX hands XLA the functions of LAPACK that a loaded program calls."""
    with _lapack:
        _lower_factorisation()


@functools.cache
def _lower_factorisation() -> None:
    jax.jit(jax.numpy.linalg.cholesky).lower(np.ones((1, 1)))


@functools.cache
def environment() -> str:
    """All but a program's own arguments that it depends on: versions, files of this package, device, processor."""
    device = jax.devices()[0]
    packages = [f"{name} {importlib.metadata.version(name)}" for name in (PACKAGE, "jax", "jaxlib")]
    settings = [
        f"{key}={value!r}"
        for key, value in sorted(jax.config.values.items())
        if not any(part in key for part in NOT_COMPUTING)
    ]
    flags = [f"{key}={os.environ.get(key, '')}" for key in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")]
    about = [
        platform.python_version(),
        device.platform,
        device.device_kind,
        str(len(jax.devices())),
        str(device.client.platform_version),
        _processor(),
    ]
    return "\n".join([*packages, *_sources(), *about, *settings, *flags])


def _sources() -> list[str]:
    """Files of this package with size and time, so that a changed function is another program."""
    root = Path(__file__).resolve().parent.parent
    about = [(path, path.stat()) for path in sorted(root.rglob("*.py"))]
    return [f"{path.relative_to(root)} {found.st_size} {found.st_mtime_ns}" for path, found in about]


def _processor() -> str:
    """Kind of processor with its instructions: a folder may be shared by several."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kept = (line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))
    return platform.machine() + " ".join(dict.fromkeys(kept))
