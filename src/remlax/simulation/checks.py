"""What users give, refused with a sentence that names the argument and the value and says what it must be."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from ..errors import RemlaxError, SimulationError

Refusal = type[RemlaxError]


def whole(value: object, what: str, least: int = 1, error: Refusal = SimulationError) -> int:
    """A whole number of at least ``least``."""
    try:
        number = least - 1 if isinstance(value, bool | np.bool_) else operator.index(cast(Any, value))
    except TypeError:
        number = least - 1
    if number < least:
        raise error(f"{what} must be a whole number of at least {least}, got {value!r}.")
    return number


def number(
    value: object, what: str, low: float = -math.inf, high: float = math.inf, error: Refusal = SimulationError
) -> float:
    """A number from ``low`` to ``high``, finite unless ``high`` is given as infinity by a caller that checks itself."""
    try:
        found = math.nan if isinstance(value, str | bool | np.bool_) else float(cast(Any, value))
    except (TypeError, ValueError):
        found = math.nan
    if math.isfinite(found) and low <= found <= high:
        return found
    if math.isinf(low):
        raise error(f"{what} must be a finite number, got {value!r}.")
    limits = f"be {low:g} or more" if math.isinf(high) else f"lie between {low:g} and {high:g}"
    raise error(f"{what} must {limits}, got {value!r}.")


def text(value: object, what: str, error: Refusal = SimulationError) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise error(f"{what} must be a text, got {value!r}.")
    return value


def names(value: object, what: str, error: Refusal = SimulationError) -> list[str]:
    """A list of texts, at least one; a single text is not one."""
    found = listed(value, what, "texts, such as ['x', 'w']", error)
    if not found or not all(isinstance(name, str) and name for name in found):
        raise error(f"{what} must be a list of texts, such as ['x', 'w'], got {value!r}.")
    return cast("list[str]", found)


def listed(value: object, what: str, of: str, error: Refusal = SimulationError) -> list[Any]:
    """The members of any sequence but a text or a mapping."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
        raise error(f"{what} must be a list of {of}, got {value!r}.")
    return list(value)


def one_of(value: object, known: Sequence[str], what: str) -> None:
    """One of a few texts."""
    if not isinstance(value, str) or value not in known:
        raise SimulationError(f"Unknown {what} {value!r}: choose {', '.join(known[:-1])} or {known[-1]}.")


def mapping(value: object, what: str, example: str) -> dict[str, Any]:
    """A dict with texts as keys."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise SimulationError(f"{what} must be a dict such as {example}, got {value!r}.")
    return dict(value)


def a(value: object, kind: type | tuple[type, ...], what: str, example: str) -> None:
    """An object of a class."""
    if not isinstance(value, kind):
        raise SimulationError(f"{what} must be made by {example}, got {value!r}.")


def flag(value: object, what: str) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise SimulationError(f"{what} must be True or False, got {value!r}.")


def known(keys: Iterable[str], among: Collection[str], what: str, kind: str = "names") -> None:
    """No names but those that there are."""
    for name in keys:
        if name not in among:
            there = f"which is not among {', '.join(map(repr, among))}" if among else f"and there are no {kind}"
            raise SimulationError(f"{what} names {name!r}, {there}.")


def frame(value: object, what: str, error: Refusal) -> None:
    """A data frame."""
    if not isinstance(value, pd.DataFrame):
        raise error(f"{what} must be a pandas DataFrame, not a {type(value).__name__}.")


def path(value: object, what: str, error: Refusal = SimulationError) -> Path:
    """A path that the system can take."""
    try:
        if isinstance(value, str | os.PathLike) and value != "" and b"\0" not in os.fsencode(value):
            return Path(value)
    except (TypeError, ValueError):  # a path of bytes; letters that no file name can have
        pass
    raise error(f"{what} must be the path of a folder, got {value!r}.")
