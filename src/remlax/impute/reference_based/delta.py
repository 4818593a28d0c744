"""Numbers that are added to imputed cells after the event: by visit, by arm, or one for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from ...design.groups import level_name
from ...errors import ImputationError, shortened
from ..arguments import checks
from ..columns import FloatArray
from .events import Events
from .trial import Trial

Delta = float | Mapping[str, "float | Mapping[str, float]"] | None
Deltas = Sequence[float] | Mapping[str, Sequence[float]]
WHAT = "delta="


def read_delta(trial: Trial, events: Events, given: object) -> FloatArray:
    """Number (n, T) that is added to every cell, 0 but for imputed cells after the event.

    Raises
    ------
    ImputationError
        No number, or neither arms nor visits.
    """
    by_arm = np.zeros((len(trial.arms), len(trial.visits)))
    if isinstance(given, Mapping):
        named = {level_name(key): value for key, value in given.items()}
        if set(named) <= set(trial.arms):
            for arm, value in named.items():
                by_arm[trial.arms.index(arm)] = _by_visit(trial, value)
        else:
            by_arm[:] = _by_visit(trial, named)
    elif given is not None:
        by_arm[:] = checks.number(given, WHAT)
    return np.asarray(np.where(events.missing & events.after, by_arm[trial.arm], 0.0))


def _by_visit(trial: Trial, given: object) -> FloatArray:
    """Numbers (T,) from one number, or a dict of them by visit."""
    out = np.zeros(len(trial.visits))
    if not isinstance(given, Mapping):
        out[:] = checks.number(given, WHAT)
        return out
    for visit, value in given.items():
        name = level_name(visit)
        if name not in trial.visits:
            raise ImputationError(
                f"{WHAT} names {name!r}, which is neither a visit ({shortened(map(repr, trial.visits))}) nor an "
                f"arm ({shortened(map(repr, trial.arms))})"
            )
        out[trial.visits.index(name)] = checks.number(value, WHAT)
    return out


def read_deltas(trial: Trial, given: object) -> tuple[list[int], list[tuple[float, ...]]]:
    """Arms with an adjustment, and every combination of their numbers.

    Raises
    ------
    ImputationError
        No numbers, or no such arm.
    """
    if isinstance(given, Mapping):
        named = {level_name(arm): value for arm, value in given.items()}
        checks.known(named, trial.arms, "deltas=", "arms")
        arms = [trial.arms.index(arm) for arm in named]
        lists = [_numbers(value) for value in named.values()]
    else:
        others = [a for a in range(len(trial.arms)) if a != trial.reference]
        if len(others) > 1:
            raise ImputationError("deltas= must be a dict of lists of numbers by arm, where there are several arms")
        arms, lists = others, [_numbers(given)]
    if not arms or not all(lists):
        raise ImputationError("deltas= is empty: give numbers to add after the event, such as {'drug': [0, 1, 2]}")
    return arms, list(product(*lists))


def _numbers(given: object) -> list[float]:
    return [checks.number(value, "deltas=") for value in checks.listed(given, "deltas=", "numbers")]
