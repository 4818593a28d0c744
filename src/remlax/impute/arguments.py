"""What arguments of the imputation functions must be, checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from remlax.errors import ImputationError


def check_whole(name: str, value: object, least: int) -> None:
    """Raise an ImputationError unless the value is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ImputationError(f"{name}={value!r}: give a whole number of at least {least}")
    if value < least:
        raise ImputationError(f"{name}={value}: give at least {least}")


def check_number(name: str, value: object) -> None:
    """Raise an ImputationError unless the value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
        raise ImputationError(f"{name}={value!r}: give a finite number")


def check_seed(seed: object) -> None:
    """Raise an ImputationError unless the seed is a whole number that the generators take."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise ImputationError(f"seed={seed!r}: give a whole number from 0 to 2^63 - 1")


def check_mapping(name: str, value: object, of: str) -> None:
    """Raise an ImputationError unless the value is a dict or None."""
    if value is not None and not isinstance(value, Mapping):
        raise ImputationError(f"{name}= is a {type(value).__name__}: give a dict of {of}")


def check_derive(derive: Mapping[str, Callable[..., Any]] | None) -> None:
    """Raise an ImputationError unless `derive` maps names of columns to functions."""
    check_mapping("derive", derive, "functions of a data frame, by the name of the column they compute")
    for name, rule in (derive or {}).items():
        if not isinstance(name, str) or not callable(rule):
            raise ImputationError(
                f"derive= has {rule!r} for {name!r}: give a function of a data frame, such as cluster_mean('x', 'g') "
                "or lambda d: d['x'] ** 2"
            )
