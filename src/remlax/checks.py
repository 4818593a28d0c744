"""Checks of arguments: what users give, refused with a sentence that names the argument, the value and what it must be.

What is checked is named as a message begins: ``"n_sims="``, after which the value stands, or a phrase such as
``"the name of a factor"``.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pandas as pd

from .errors import DataError, RemlaxError


@dataclass(frozen=True)
class Checks:
    """Checks that raise one class of error; each returns the value in the type that it is used in.

    Parameters
    ----------
    error : type, default DataError

    Examples
    --------
    >>> from typing import Literal
    >>> checks = Checks()
    >>> checks.whole(3, "n_sims=", 2)
    3
    >>> checks.choice("HC3", Literal["CR0", "CR2"], "vcov=")
    Traceback (most recent call last):
    remlax.errors.DataError: vcov='HC3' is not known: use 'CR0' or 'CR2'
    """

    error: type[RemlaxError] = DataError

    def choice(self, value: object, literal: object, what: str) -> None:
        """One of the values of a ``Literal``: texts and None."""
        known = get_args(literal)
        if not isinstance(value, str | None) or value not in known:
            *most, last = map(repr, known)
            raise self.error(f"{what}{value!r} is not known: use {', '.join(most)} or {last}")

    def whole(self, value: object, what: str, least: int = 1) -> int:
        """A whole number of at least ``least``."""
        try:
            number = None if isinstance(value, bool | np.bool_) else operator.index(cast(Any, value))
        except TypeError:
            number = None
        if number is None or number < least:
            raise self._refusal(what, value, f"must be a whole number of at least {least}")
        return number

    def seed(self, value: object, bits: int | None = None) -> int:
        """A seed: a whole number of any size, or of at most so many bits."""
        seed = self.whole(value, "seed=", 0)
        if bits is not None and seed >= 2**bits:
            raise self._refusal("seed=", value, f"must be less than 2**{bits}")
        return seed

    def number(self, value: object, what: str, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number from ``low`` to ``high``."""
        try:
            number = math.nan if isinstance(value, str | bool | np.bool_) else float(cast(Any, value))
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number) and low <= number <= high:
            return number
        if math.isinf(low):
            raise self._refusal(what, value, "must be a finite number")
        limits = f"be {low:g} or more" if math.isinf(high) else f"lie between {low:g} and {high:g}"
        raise self._refusal(what, value, f"must {limits}")

    def positive(self, value: object, what: str) -> float:
        """A finite number above 0."""
        number = self.number(value, what)
        if number <= 0:
            raise self._refusal(what, value, "must be a positive number")
        return number

    def level(self, value: object, what: str = "conf_level=", example: float = 0.95) -> float:
        """A confidence or significance level: a number between 0 and 1, neither of them."""
        if isinstance(value, int | float | np.number) and 0 < value < 1:
            return float(value)
        raise self._refusal(what, value, f"must be a number between 0 and 1, such as {example}")

    def flag(self, value: object, what: str) -> None:
        """True or False."""
        if not isinstance(value, bool):
            raise self._refusal(what, value, "must be True or False")

    def text(self, value: object, what: str) -> str:
        """A text that is not empty."""
        if not isinstance(value, str) or not value:
            raise self._refusal(what, value, "must be a text")
        return value

    def listed(self, value: object, what: str, of: str) -> list[Any]:
        """The members of any sequence but a text or a mapping."""
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
            raise self._refusal(what, value, f"must be a list of {of}")
        return list(value)

    def names(self, value: object, what: str) -> list[str]:
        """A list of texts, at least one; a single text is not one."""
        members = self.listed(value, what, "texts, such as ['x', 'w']")
        if not members or not all(isinstance(name, str) and name for name in members):
            raise self._refusal(what, value, "must be a list of texts, such as ['x', 'w']")
        return cast("list[str]", members)

    def mapping(self, value: object, what: str, example: str) -> dict[str, Any]:
        """A dict with texts as keys."""
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise self._refusal(what, value, f"must be a dict such as {example}")
        return dict(value)

    def a(self, value: object, kind: type | tuple[type, ...], what: str, example: str) -> None:
        """An object of a class."""
        if not isinstance(value, kind):
            raise self._refusal(what, value, f"must be made by {example}")

    def known(self, keys: Iterable[str], among: Collection[str], what: str, kind: str = "names") -> None:
        """No names but those that there are."""
        for name in keys:
            if name not in among:
                there = f"which is not among {', '.join(map(repr, among))}" if among else f"and there are no {kind}"
                raise self.error(f"{what} names {name!r}, {there}")

    def frame(self, value: object, what: str) -> None:
        """A data frame."""
        if not isinstance(value, pd.DataFrame):
            raise self.error(f"{what} must be a pandas DataFrame, not a {type(value).__name__}")

    def path(self, value: object, what: str) -> Path:
        """The path of a folder, such as the system can take."""
        try:
            if isinstance(value, str | os.PathLike) and value != "" and b"\0" not in os.fsencode(value):
                return Path(value)
        except (TypeError, ValueError):  # a path of bytes; letters that no file name can have
            pass
        raise self._refusal(what, value, "must be the path of a folder")

    def _refusal(self, what: str, value: object, must: str) -> RemlaxError:
        return self.error(f"{what}{value!r} {must}" if what.endswith("=") else f"{what} {must}, got {value!r}")
