"""Stable hashes of scenarios and studies: the same in every process and on every machine.

The hash of a function covers the code that it reaches: the names that it looks up and the modules that it imports.
"""

from __future__ import annotations

import dataclasses
import dis
import functools
import hashlib
import importlib
import importlib.util
import json
import math
import sys
import types
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ..errors import SimulationError

# of dataclass fields that version 0.1 did not have: at their default they leave hashes as they were
LATER = {"later": True}


def canonical_json(value: object) -> str:
    """Write a value as JSON in one and only one way; a SimulationError if it has no stable form or holds NaN.

    Keys are sorted, there is no white space, a whole float is written as an integer (30 and 30.0 from a data
    frame are the same parameter) and NumPy scalars as Python's. A dataclass is its type's name, its fields and,
    like any object of a class of the user's, the code of its methods. A function is its name, its byte code, what it
    closes over, and what stands behind the names that it uses: data, and functions, classes and modules of the user's,
    wherever they are defined and however deep; a comment does not count, a change does. What is not followed: code of
    Python and of installed packages, names that are put together at run time (``getattr``), files.

    Examples
    --------
    >>> canonical_json({"icc": 0.1, "J": 30.0})
    '{"J":30,"icc":0.1}'
    """
    met = _Met()
    try:
        plain = _plain(value, met)
        code, met.inside = list[dict[str, Any]](), True
        while len(code) < len(met.items):  # describing an item may add others
            code.append(_describe(*met.items[len(code)], met))
    except RecursionError:
        raise SimulationError(f"A {type(value).__name__} that contains itself has no stable form.") from None
    whole = {"value": plain, "code": code} if code else plain
    return json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def scenario_id(parameters: Mapping[str, object]) -> str:
    """Name a scenario by its parameters and nothing else: 16 hexadecimal digits.

    Parameters
    ----------
    parameters
        Parameter names and values.

    Returns
    -------
    str
        The first 8 bytes of the BLAKE2s hash of their canonical JSON.

    Raises
    ------
    SimulationError
        A value is NaN or has no stable form.

    Examples
    --------
    >>> scenario_id({"icc": 0.1, "J": 30}) == scenario_id({"J": 30.0, "icc": 0.1})
    True
    """
    if not isinstance(parameters, Mapping):
        raise SimulationError(f"The parameters of a scenario are a dict, not a {type(parameters).__name__}.")
    return digest(dict(parameters))


def digest(value: object) -> str:
    """Hash a value: 16 hexadecimal digits of BLAKE2s over `canonical_json`."""
    return hashlib.blake2s(canonical_json(value).encode(), digest_size=8).hexdigest()


@dataclasses.dataclass
class _Met:
    """Functions, classes and modules of the user's that a value refers to, in the order in which they are met."""

    items: list[tuple[Any, frozenset[str]]] = dataclasses.field(default_factory=list)
    inside: bool = False  # what is met now belongs to code

    def place(self, item: Any, names: frozenset[str] = frozenset()) -> int:
        """Number of an item, of which only the named attributes count if it is a module."""
        for i, (known, wanted) in enumerate(self.items):
            if known is item and wanted == names:
                return i
        self.items.append((item, names))
        return len(self.items) - 1


def _plain(value: Any, met: _Met) -> Any:
    """The value in terms of what JSON knows; code is put into ``met``, and its number here."""
    match value:
        case None | bool() | int() | str():
            return value
        case np.generic():
            return _plain(value.item(), met)
        case float():
            return _number(value, met)
        case np.ndarray():
            return _plain(value.tolist(), met)
        case jax.Array():
            raw = jax.random.key_data(value) if jnp.issubdtype(value.dtype, jax.dtypes.prng_key) else value
            return _plain(np.asarray(raw).tolist(), met)
        case pd.DataFrame() | pd.Series() | pd.Index():
            return _frame(value)
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                raise SimulationError(f"The keys of {value!r} must be strings.")
            return {str(key): _plain(item, met) for key, item in value.items()}
        case Set():
            return [_plain(item, met) for item in sorted(value, key=_order)]
        case bytes() | bytearray():
            return value.hex()
        case Sequence():
            return [_plain(item, met) for item in value]
    return _object(value, met)


def _order(item: object) -> str:
    """A key to sort the members of a set by: their content, the name if they are code."""
    return getattr(item, "__qualname__", None) or canonical_json(item)


def _frame(value: pd.DataFrame | pd.Series | pd.Index) -> dict[str, Any]:
    labels = value.columns if isinstance(value, pd.DataFrame) else [value.name]
    try:
        content = pd.util.hash_pandas_object(value).to_numpy().tobytes()
    except TypeError as error:
        raise SimulationError(f"A data frame with {error} has no stable form.") from error
    return {"frame": hashlib.blake2s(content).hexdigest(), "labels": [str(label) for label in labels]}


def _number(value: float, met: _Met) -> int | float | str:
    if math.isnan(value):
        if met.inside:  # data that code uses
            return "nan"
        raise SimulationError("A parameter is NaN, which equals nothing, not even itself: use None.")
    if math.isinf(value):
        return "+inf" if value > 0 else "-inf"
    return int(value) if value.is_integer() else value


def _object(value: Any, met: _Met) -> dict[str, Any]:
    """A dataclass, code, or any object with attributes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = [field for field in dataclasses.fields(value) if not _unused(field, getattr(value, field.name))]
        fields = {field.name: _plain(getattr(value, field.name), met) for field in own}
        return {"type": type(value).__qualname__, "fields": fields, **_class(type(value), met)}
    if isinstance(value, functools.partial):
        return {"partial": _plain([value.func, value.args, value.keywords], met)}
    if isinstance(value, types.MethodType):
        return {"method": _plain([value.__func__, value.__self__], met)}
    if isinstance(value, types.FunctionType):
        return {"function": met.place(value)}
    if isinstance(value, type):
        return {"name": value.__qualname__, **_class(value, met)}
    if isinstance(getattr(value, "__wrapped__", None), types.FunctionType):  # cached or compiled functions
        return {"type": type(value).__qualname__, "function": met.place(value.__wrapped__)}
    if isinstance(value, (types.BuiltinFunctionType, types.ModuleType, np.ufunc)):
        return {"name": getattr(value, "__qualname__", None) or value.__name__}
    if hasattr(value, "__dict__"):
        return {"type": type(value).__qualname__, "fields": _plain(vars(value), met), **_class(type(value), met)}
    raise SimulationError(f"{value!r} has no stable form; use numbers, strings, lists, dicts or dataclasses.")


def _unused(field: dataclasses.Field[Any], value: object) -> bool:
    """Whether a field is a later one, and has its default."""
    return "later" in field.metadata and value == field.default


def _class(kind: type, met: _Met) -> dict[str, Any]:
    """The code of a class of the user's; what other classes do is a matter of versions."""
    return {"class": met.place(kind)} if is_users(kind.__module__) else {}


def _describe(item: Any, names: frozenset[str], met: _Met) -> dict[str, Any]:
    """What a function, class or module does, or of a module what is asked for."""
    if isinstance(item, types.FunctionType):
        return _describe_function(item, met)
    if isinstance(item, types.ModuleType):
        here = {name: value for name, value in vars(item).items() if name in names}
        return {"module": {name: _used(value, names, item.__name__, met) for name, value in sorted(here.items())}}
    bases = [met.place(base) for base in item.__bases__ if is_users(base.__module__)]
    members = {name: _member(value, item, met) for name, value in sorted(vars(item).items()) if _written(name, value)}
    return {"class": item.__qualname__, "bases": bases, "members": members}


def _describe_function(function: types.FunctionType, met: _Met) -> dict[str, Any]:
    code, module = function.__code__, function.__module__
    ours = (module or "").split(".")[0] == "remlax"  # functions of executed text have no module
    names = names_in(code)
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    # what Python itself sets, such as __name__, is another in a script and in its workers
    globals_ = {name: function.__globals__.get(name) for name in sorted(names) if not name.startswith("__")}
    return {
        "function": function.__qualname__,
        "code": _code(code, function.__doc__),
        "defaults": _plain([function.__defaults__, function.__kwdefaults__], met),
        "closure": _plain(cells, met),
        "globals": {name: _used(value, names, module, met) for name, value in globals_.items()},
        "imports": [met.place(one, names) for one in imported_by(function)] if not ours else [],
    }


def _used(value: Any, names: frozenset[str], module: str | None, met: _Met) -> Any:
    """What a name stands for, for code of a module that uses it; None if it is not the user's, or not there."""
    if isinstance(value, types.ModuleType):
        return {"module": met.place(value, names)} if is_users(value.__name__) else None
    if isinstance(value, type):
        return _class(value, met) or None
    code = getattr(value, "__wrapped__", value)
    if isinstance(code, types.FunctionType) and code.__module__ != module and not is_users(code.__module__):
        return None
    return _whatever(value, met)


def _whatever(value: Any, met: _Met) -> Any:
    """Data of the user's in a stable form, or else by its type only."""
    try:
        return _plain(value, met)
    except (SimulationError, RecursionError):
        return type(value).__qualname__


def _written(name: str, value: object) -> bool:
    """Tell whether a member of a class was written by its author, and not by Python or `dataclasses`."""
    if isinstance(value, types.FunctionType):
        return value.__code__.co_filename != "<string>" or not name.startswith("__")
    return not name.startswith("__") and name != "_abc_impl"


def _member(value: Any, kind: type, met: _Met) -> Any:
    if isinstance(value, property):
        return [_used(part, frozenset(), kind.__module__, met) for part in (value.fget, value.fset, value.fdel)]
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, functools.cached_property):
        value = value.func
    return _used(value, frozenset(), kind.__module__, met)


def _code(code: types.CodeType, doc: str | None = None) -> dict[str, Any]:
    """Byte code and constants, without line numbers and the docstring."""
    constants = [
        _code(constant) if isinstance(constant, types.CodeType) else _constant(constant)
        for constant in code.co_consts
        if constant is None or constant != doc
    ]
    return {"code": code.co_code.hex(), "names": list(code.co_names), "constants": constants}


def _constant(value: object) -> object:
    return repr(value) if isinstance(value, (complex, type(...), float)) else _plain(value, _Met())


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
