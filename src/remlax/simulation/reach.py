"""Which code a function reaches: the names that it looks up, the modules that it imports, and whose they are."""

from __future__ import annotations

import dis
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path

INSTALLED = frozenset({"site-packages", "dist-packages"})


def is_users(module: str | None) -> bool:
    """Tell whether a module is the user's: neither Python's, nor installed, nor remlax.

    Examples
    --------
    >>> is_users("json"), is_users("numpy.linalg"), is_users("remlax.sim"), is_users("__main__")
    (False, False, False, True)
    """
    root = (module or "").partition(".")[0]
    if root in ("__main__", "__mp_main__"):  # whatever started the process
        return True
    if root == "remlax" or root in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(module or ""), "__file__", None) or ""  # executed text has none
    return INSTALLED.isdisjoint(Path(file).parts)


def names_in(code: types.CodeType) -> frozenset[str]:
    """Global names and attributes that a function and the functions in it look up."""
    return frozenset(name for one in _codes(code) for name in one.co_names)


def imported_by(function: types.FunctionType) -> Iterator[types.ModuleType]:
    """The user's modules that a function imports when it is called; those that cannot be found are left out."""
    package = function.__globals__.get("__package__") or ""
    for code in _codes(function.__code__):
        steps = list(dis.get_instructions(code))
        for level, step in zip(steps, steps[2:], strict=False):  # the level and the from-list stand before the import
            if step.opname != "IMPORT_NAME":
                continue
            dots = "." * level.argval if isinstance(level.argval, int) else ""
            try:
                module = _users_module(importlib.util.resolve_name(dots + step.argval, package))
            except Exception:  # whatever importing the user's code may raise; the function may be prepared for it
                continue
            if module is not None:
                yield module


def _users_module(name: str) -> types.ModuleType | None:
    spec = importlib.util.find_spec(name.partition(".")[0])  # of the root, which imports nothing
    if not is_users(name) or spec is None or not INSTALLED.isdisjoint(Path(spec.origin or "").parts):
        return None
    return importlib.import_module(name)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)
