"""Errors about names and arguments of other packages, which say what remlax calls them."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

from .errors import UnknownArgumentError, UnknownNameError
from .hint_words import ARGUMENTS, IN_ROOM, NAMES, OF_MODELS

P = ParamSpec("P")
R = TypeVar("R")
Kind = TypeVar("Kind", bound=type)


def _key(name: str) -> str:
    return name.lower().replace("_", "").replace(".", "")


def _say(hint: str) -> str:
    return hint if hint.startswith("not ") else f"use {hint}"


def unknown_name(
    owner: str, name: str, known: Iterable[str] = (), obj: object = None, *, room: str = ""
) -> UnknownNameError:
    """Make the error for a name that is not there; it says what the thing is called here.

    Examples
    --------
    >>> print(unknown_name("'LmerFit' object", "VarCorr"))
    'LmerFit' object has no attribute 'VarCorr'; use fit.varcorr()
    """
    key = _key(name)
    hint = IN_ROOM.get(f"{room}.{key}", "")
    if not hint and isinstance(obj, Hints):
        hint = obj._own_hints.get(key, "") or obj._addressed(NAMES.get(key, ""))
    hint = hint or NAMES.get("glm" if "glm" in key else key, "")
    if not hint:
        public = [other for other in known if not other.startswith("_")]
        begun = [other for other in public if len(name) > 1 and other.startswith(f"{name.lower()}_")]
        hint = " or ".join(begun or get_close_matches(name, public, n=2, cutoff=0.75))
    text = f"{owner} has no attribute {name!r}" + (f"; {_say(hint)}" if hint else "")
    return UnknownNameError(text, name=name, obj=obj)


def unknown_in(module: str) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module, which refuses what it does not have."""

    def refuse(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        here = vars(sys.modules[module])
        known = [other for other, value in here.items() if not inspect.ismodule(value)]
        raise unknown_name(f"module {module!r}", name, known, room=module.rpartition(".")[2])

    return refuse


class HintedMethods:
    """A class whose methods say what an argument of another package is called here."""

    def __init_subclass__(cls) -> None:
        """Make public methods, those of the parts of a class included, say what an argument is called here."""
        super().__init_subclass__()
        for name in dir(cls):
            method = inspect.getattr_static(cls, name)
            if name.startswith("_"):
                continue
            if inspect.isfunction(method) and method.__module__.startswith(__package__):
                found: Any = hinted(method)
                # pickle finds it under this name
                found.__module__, found.__qualname__ = cls.__module__, f"{cls.__qualname__}.{name}"
                setattr(cls, name, found)
            elif isinstance(method, classmethod):
                setattr(cls, name, classmethod(hinted(method.__func__)))


class Hints(HintedMethods):
    """A class whose objects say what a name of another package is called here."""

    _element: ClassVar[type | None] = None  # what a list holds
    _pooled: ClassVar[type | None] = None  # what a list is pooled to
    _called: ClassVar[str] = "fit"  # what messages call the object
    _own_hints: ClassVar[Mapping[str, str]] = {}  # where NAMES speaks of another class

    @classmethod
    def _addressed(cls, hint: str) -> str:
        """Put the hint for a fit in terms of this class: pooled.fixef(), fits.pool().tidy('fixed')."""

        def put(found: re.Match[str]) -> str:
            if hasattr(cls, found[1]):
                return f"{cls._called}.{found[1]}"
            if hasattr(cls._pooled, found[1]):
                return f"{cls._called}.pool().{found[1]}"
            return f"{cls._called}[0].{found[1]}" if hasattr(cls._element, found[1]) else found[0]

        return re.sub(r"\bfit\.(\w+)", put, hint)

    # hidden from type checkers, for which it would make every name exist
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Refuse a name that normal lookup has not found."""
            if name.startswith("_"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            owner = f"{type(self).__name__!r} object"
            if hasattr(self._element, name):
                one = f"[fit.{name} for fit in fits]"
                text = f"{owner} has no attribute {name!r}; each of its fits has: {one}"
                if hasattr(self._pooled, name):
                    text += f"; the pooled model has fits.pool().{name}"
                raise UnknownNameError(text, name=name, obj=self)
            raise unknown_name(owner, name, dir(type(self)), self)


def hinted(function: Callable[P, R], *, name: str = "") -> Callable[P, R]:
    """Refuse arguments that the function does not have, and say what does the same here."""
    own = name or function.__name__
    signature = inspect.signature(function)
    known = [one for one in signature.parameters if one not in ("self", "cls")]
    if any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values()):
        return function

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        for argument in kwargs:
            if argument not in known:
                raise _unknown_argument(own, argument, known)
        try:
            return function(*args, **kwargs)
        except TypeError:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise UnknownArgumentError(f"{own}(): {error}; {_has(known)}") from None
            raise

    return called


def hinted_class(kind: Kind) -> Kind:
    """Make the constructor of a class say so."""
    kind.__init__ = hinted(kind.__init__, name=kind.__name__)  # type: ignore[misc]
    return kind


def _unknown_argument(function: str, name: str, known: Sequence[str]) -> UnknownArgumentError:
    key, own = _key(name), _key(function)
    hint = ARGUMENTS.get(f"{own}.{key}") or (OF_MODELS.get(key, "") if "formula" in known else "")
    if not hint:
        general = ARGUMENTS.get(key, "")
        other = re.match(r"(\w+)=", general)
        hint = general if other is None or other.group(1) in known else ""
    if not hint:
        hint = " or ".join(f"{near}=" for near in get_close_matches(name, known))
    return UnknownArgumentError(f"{function}() has no argument {name!r}; " + (_say(hint) if hint else _has(known)))


def _has(known: Sequence[str]) -> str:
    return f"it has {', '.join(known)}" if known else "it takes none"
