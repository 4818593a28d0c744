"""Events of patients and what is assumed after them: visits before the event, strategies, cells that are imputed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ...design.groups import level_name
from ...errors import ImputationError, ImputationWarning, shortened, warn
from ..arguments import checks
from ..columns import FloatArray
from ..patterns import BoolArray, IntArray, check_columns
from .kernels import LAST_MEAN, MAR
from .trial import Trial

Strategy = Literal["jump-to-reference", "copy-reference", "copy-increments", "last-mean", "mar"]
AfterEvent = Literal["kept", "missing"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)


@dataclass(frozen=True, eq=False)
class Events:
    """What is known of n patients at T visits, and what is assumed.

    Attributes
    ----------
    before : ndarray of int (n,)
        Visits before the event; T where there is none.
    strategy : ndarray of int (n,)
        Place of the patient's strategy in `STRATEGIES`.
    y : ndarray (n, T)
        Responses that count as observed, NaN elsewhere.
    """

    before: IntArray
    strategy: IntArray
    y: FloatArray

    @property
    def missing(self) -> BoolArray:
        """MissingVisits (n, T) that are imputed."""
        return np.isnan(self.y)

    @property
    def after(self) -> BoolArray:
        """Visits (n, T) after the event."""
        return np.asarray(np.arange(self.y.shape[1]) >= self.before[:, None])

    @property
    def modelled(self) -> BoolArray:
        """Observed cells (n, T) that the imputation model is fitted to: not those after an event, but for MAR."""
        return np.asarray(~self.missing & (~self.after | (self.strategy == STRATEGIES.index(MAR))[:, None]))


def read_events(trial: Trial, event: str | None, strategy: object, after_event: str) -> Events:
    """Find every patient's event and strategy.

    Raises
    ------
    ImputationError
        No such column, strategy or arm; an event that is no visit or after the last one; a patient whose last mean is
        asked for without a visit before the event; nothing to impute.
    """
    checks.choice(after_event, AfterEvent, "after_event=")
    n_visits = trial.shape[1]
    y = trial.y
    seen = ~np.isnan(y)
    if event is None:
        # the first visit after the last observed one
        before = np.where(seen.any(axis=1), n_visits - np.argmax(seen[:, ::-1], axis=1), 0)
    else:
        before = _visits_before(trial, event)
    found = Events(before, _strategies(trial, strategy), y)
    if after_event == "missing":
        found = replace(found, y=np.where(found.after, np.nan, y))
    if not found.missing.any():
        raise ImputationError(f"{trial.response!r} is observed at every visit of every patient: there is nothing to do")
    none = np.flatnonzero((found.before == 0) & (found.strategy == STRATEGIES.index(LAST_MEAN)))
    if len(none):
        raise ImputationError(
            f"strategy 'last-mean' has no mean to carry forward for {len(none)} patients without a visit before the "
            f"event ({trial.named(none)}): give them another strategy in a column"
        )
    unseen = np.flatnonzero(found.missing.all(axis=1))
    if len(unseen):
        warn(
            f"{len(unseen)} patients have no observed {trial.response!r} ({trial.named(unseen)}) and are imputed from "
            "their covariates alone",
            ImputationWarning,
        )
    return found


def _visits_before(trial: Trial, column: str) -> IntArray:
    """Visits before each patient's event, whose column has the first visit after it, or a time where visits are."""
    if not isinstance(column, str):
        raise ImputationError(f"event={column!r}: give the name of the column that has the first visit after the event")
    check_columns(trial.frame, [column], "event=")
    values = trial.of_patient(column, "event=")
    n_visits = trial.shape[1]
    out = np.full(len(values), n_visits)
    times = trial.frame[trial.visit_column]
    there = values.notna().to_numpy()
    if pd.api.types.is_numeric_dtype(times.dtype) and pd.api.types.is_numeric_dtype(values.dtype):
        at = times.to_numpy(float)[trial.row[0]]
        out[there] = np.searchsorted(at, values.to_numpy(float, na_value=np.nan)[there])
        late = np.flatnonzero(there & (out == n_visits))
        if len(late):
            raise ImputationError(
                f"event={column!r} of {len(late)} patients is after the last visit, {trial.visits[-1]} "
                f"({trial.named(late)}): such an event changes no visit; leave the cell empty"
            )
        return out
    place = {name: t for t, name in enumerate(trial.visits)}
    names = [level_name(value) for value in values[there]]
    unknown = [name for name in names if name not in place]
    if unknown:
        raise ImputationError(
            f"event={column!r} has {unknown[0]!r}, which is no visit: it must have the first visit after the event, "
            f"one of {shortened(map(repr, trial.visits))}, and be empty where there was none"
        )
    out[there] = [place[name] for name in names]
    return out


def _strategies(trial: Trial, given: object) -> IntArray:
    """Place of every patient's strategy, from one name, a dict by arm, or a column."""
    known = f"strategies are {', '.join(map(repr, STRATEGIES))}"
    if isinstance(given, Mapping):
        named = {level_name(arm): name for arm, name in given.items()}
        checks.known(named, trial.arms, "strategy=", "arms")
        without = [arm for arm in trial.arms if arm not in named]
        if without:
            raise ImputationError(f"strategy= has none for the arm {without[0]!r}: name one for every arm")
        names = [named[trial.arms[a]] for a in trial.arm]
    elif not isinstance(given, str):
        raise ImputationError(f"strategy={given!r}: give a strategy, a dict of them by arm, or a column; {known}")
    elif given in STRATEGIES:
        names = [given] * trial.shape[0]
    elif given in trial.frame.columns:
        values = trial.of_patient(given, "strategy=")
        names = [MAR if missing else value for value, missing in zip(values, values.isna(), strict=True)]
    else:
        raise ImputationError(f"strategy={given!r} is neither a strategy nor a column; {known}")
    wrong = [name for name in names if name not in STRATEGIES]
    if wrong:
        raise ImputationError(f"strategy= has {wrong[0]!r}; {known}")
    return np.array([STRATEGIES.index(name) for name in names])
