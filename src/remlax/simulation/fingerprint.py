"""Stable hashes of scenarios and studies: the same in every process and on every machine."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import math
import types
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np

from ..errors import SimulationError
from ..hints import hinted


def canonical_json(value: object) -> str:
    """Write a value as JSON in one and only one way.

    Keys are sorted, there is no white space, a whole float is written as an integer (30 and 30.0 from a data
    frame are the same parameter) and NumPy scalars as Python's. A dataclass is its type's name, its fields and,
    like any object of a class of the user's, the code of its methods. A function is its name, its byte code and
    what it closes over: a comment does not count, a change does; the functions it calls are not followed.

    Parameters
    ----------
    value
        None, booleans, numbers, strings, sequences, sets, mappings with string keys, dataclasses, functions,
        or objects whose attributes are such values.

    Returns
    -------
    str

    Raises
    ------
    SimulationError
        The value holds NaN or something that has no stable form.

    Examples
    --------
    >>> canonical_json({"icc": 0.1, "J": 30.0})
    '{"J":30,"icc":0.1}'
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


@hinted
def scenario_id(parameters: Mapping[str, object]) -> str:
    """Name a scenario by its parameters: 16 hexadecimal digits.

    The name depends on nothing else: not on the place of the scenario in its table, nor on the others.

    Parameters
    ----------
    parameters
        Parameter names and values.

    Returns
    -------
    str
        The first 8 bytes of the BLAKE2s hash of `canonical_json`.

    Raises
    ------
    SimulationError
        As `canonical_json`.

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


def _plain(value: Any, seen: tuple[int, ...] = ()) -> Any:
    """The value in terms of what JSON knows; ``seen`` are the functions that contain it."""
    match value:
        case None | bool() | int() | str():
            return value
        case np.generic():
            return _plain(value.item())
        case float():
            return _number(value)
        case np.ndarray():
            return _plain(value.tolist())
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                raise SimulationError(f"The keys of {value!r} must be strings.")
            return {str(key): _plain(item, seen) for key, item in value.items()}
        case Set():
            return sorted((_plain(item, seen) for item in value), key=canonical_json)
        case bytes() | bytearray():
            return value.hex()
        case Sequence():
            return [_plain(item, seen) for item in value]
    return _object(value, seen)


def _number(value: float) -> int | float | str:
    if math.isnan(value):
        raise SimulationError("A parameter is NaN, which equals nothing, not even itself: use None.")
    if math.isinf(value):
        return "+inf" if value > 0 else "-inf"
    return int(value) if value.is_integer() else value


def _object(value: Any, seen: tuple[int, ...]) -> dict[str, Any]:
    """A dataclass, a function, or any object with attributes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _plain(getattr(value, field.name), seen) for field in dataclasses.fields(value)}
        return {"type": type(value).__qualname__, "fields": fields, **_methods(type(value), seen)}
    if isinstance(value, functools.partial):
        return {"partial": _plain([value.func, value.args, value.keywords], seen)}
    if isinstance(value, types.MethodType):
        return {"method": _plain([value.__func__, value.__self__], seen)}
    if isinstance(value, types.FunctionType):
        return _function(value, seen)
    if isinstance(value, (type, types.BuiltinFunctionType, types.ModuleType, np.ufunc)):
        return {"name": getattr(value, "__qualname__", None) or value.__name__}
    if hasattr(value, "__dict__"):
        return {"type": type(value).__qualname__, "fields": _plain(vars(value), seen), **_methods(type(value), seen)}
    raise SimulationError(f"{value!r} has no stable form; use numbers, strings, lists, dicts or dataclasses.")


def _methods(kind: type, seen: tuple[int, ...]) -> dict[str, Any]:
    """Code of a class of the user's; what remlax's own classes do is a matter of its version."""
    if _own(kind):
        return {}
    written = {
        name: _function(value, seen)
        for name, value in vars(kind).items()
        if isinstance(value, types.FunctionType) and value.__code__.co_filename != "<string>" and not _own(value)
    }
    return {"methods": written} if written else {}


def _own(value: type | types.FunctionType) -> bool:
    # functions of executed text have none
    return (value.__module__ or "").split(".")[0] == "remlax"


def _function(value: types.FunctionType, seen: tuple[int, ...]) -> dict[str, Any]:
    if _own(value):
        value = inspect.unwrap(value)
    if id(value) in seen:
        return {"recursion": value.__qualname__}
    inside = (*seen, id(value))
    cells = [cell.cell_contents for cell in value.__closure__ or ()]
    return {
        "function": value.__qualname__,
        "code": _code(value.__code__, value.__doc__),
        "defaults": _plain([value.__defaults__, value.__kwdefaults__], inside),
        "closure": _plain(cells, inside),
        "globals": {name: _global(value, name, inside) for name in sorted(_names(value.__code__))},
    }


def _names(code: types.CodeType) -> set[str]:
    """Names that a function and the functions in it look up."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)


def _global(function: types.FunctionType, name: str, seen: tuple[int, ...]) -> Any:
    """What a global name stands for, if it is data or a function of the same module; else only that it is used."""
    value = function.__globals__.get(name)
    if isinstance(value, (types.ModuleType, type)) or value is None:
        return None
    if isinstance(value, types.FunctionType) and value.__module__ != function.__module__:
        return None
    try:
        return _plain(value, seen)
    except SimulationError:
        return type(value).__qualname__


def _code(code: types.CodeType, doc: str | None = None) -> dict[str, Any]:
    """Byte code and constants, without line numbers and the docstring."""
    constants = [
        _code(constant) if isinstance(constant, types.CodeType) else _constant(constant)
        for constant in code.co_consts
        if constant is None or constant != doc
    ]
    return {"code": code.co_code.hex(), "names": list(code.co_names), "constants": constants}


def _constant(value: object) -> object:
    return repr(value) if isinstance(value, (complex, type(...), float)) else _plain(value)
