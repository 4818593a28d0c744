"""Settings of an amputation as users give them, checked and made into arrays: P patterns, p columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..checks import Checks
from ..errors import SimulationError
from .ampute import TYPES

checks = Checks(SimulationError)

Weights = Mapping[str, float]
Kind = Literal["RIGHT", "LEFT", "MID", "TAIL"]
MissingMechanism = Literal["MCAR", "MAR", "MNAR"]


def freq_of(given: Sequence[float] | None, patterns: int) -> NDArray[np.float64]:
    """(P,) share of the incomplete units by pattern."""
    if given is None:
        return np.full(patterns, 1 / patterns)
    members = checks.listed(given, "freq=", "numbers, one per pattern")
    freq = np.array([checks.number(value, "a member of freq", 0) for value in members])
    if len(freq) != patterns or not freq.sum():
        raise SimulationError(f"freq= needs {patterns} numbers of 0 or more, one per pattern, got {given!r}.")
    shares: NDArray[np.float64] = freq / freq.sum()
    return shares


def odds_of(
    given: Sequence[Sequence[float]] | None, patterns: int, prop: float
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """(P, G) relative probabilities in quantile groups, and the number of these groups of each pattern."""
    if given is None:
        return np.ones((patterns, 1)), np.ones(patterns, dtype=np.int32)
    rows = [
        [checks.number(value, "a member of odds", 0) for value in checks.listed(row, "a row of odds", "numbers")]
        for row in checks.listed(given, "odds=", "lists of numbers")
    ]
    if len(rows) != patterns or not all(map(sum, rows)):
        raise SimulationError(f"odds= needs {patterns} lists of numbers of 0 or more, one per pattern, not all 0.")
    groups = np.array([len(row) for row in rows], dtype=np.int32)
    odds = np.zeros((patterns, groups.max()))
    for i, row in enumerate(rows):
        odds[i, : len(row)] = row
        if prop > np.count_nonzero(row) / len(row):
            raise SimulationError(f"prop={prop} cannot be reached: the odds {list(row)} leave too few candidates.")
    return odds, groups


def indicator(names: Sequence[str] | Weights, columns: Sequence[str], where: str) -> list[float]:
    """The weight of each column: 1 where only names are given, 0 where none."""
    unknown = sorted(set(names) - set(columns))
    if unknown or not names or isinstance(names, str):
        raise SimulationError(f"{where} has {names!r}; give columns among {', '.join(map(repr, columns))}.")
    return [float(names[name] if isinstance(names, Mapping) else 1) if name in names else 0.0 for name in columns]


def per_pattern(
    weights: Weights | Sequence[Weights] | None, columns: Sequence[str], patterns: int, where: str
) -> NDArray[np.float64] | None:
    """(P, p) weights."""
    if weights is None:
        return None
    rows = [weights] * patterns if isinstance(weights, Mapping) else list(weights)
    if len(rows) != patterns:
        raise SimulationError(f"{where} has {len(rows)} mappings for {patterns} patterns.")
    return np.array([indicator(row, columns, where) for row in rows])


def check_weights(weights: Weights | Sequence[Weights], what: str) -> None:
    """Refuse weights that are no dicts of numbers."""
    for row in [weights] if isinstance(weights, Mapping) else checks.listed(weights, what, "dicts such as {'y': 1.0}"):
        given = checks.mapping(row, what, "{'y': 1.0}")
        for name, value in given.items():
            checks.number(value, f"{what} of {name!r}")


def types_of(types: str | Sequence[str], patterns: int | None, *, flat: bool = False) -> NDArray[np.int32]:
    """Places in `TYPES` of each pattern, of any number of them if ``patterns`` is None; all FLAT if so asked."""
    names = [types] * (patterns or 1) if isinstance(types, str) else checks.listed(types, "types=", "RIGHT, LEFT, ...")
    if (patterns is not None and len(names) != patterns) or any(name not in TYPES[1:] for name in names):
        number = "one per pattern" if patterns is None else patterns
        raise SimulationError(f"types= needs RIGHT, LEFT, MID or TAIL, one for all or {number}, got {types!r}.")
    return np.array([TYPES.index("FLAT" if flat else name) for name in names], dtype=np.int32)
