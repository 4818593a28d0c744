"""The account of a reference-based imputation in words: estimand, strategies, model, events and imputed cells."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...errors import shortened
from ..columns import FloatArray
from .events import STRATEGIES, Events
from .kernels import COPY, INCREMENTS, JUMP, LAST_MEAN, MAR
from .model import ReferenceModel
from .trial import Trial

# what is assumed after the event, {} being the reference arm
ASSUMED = {
    JUMP: "patients have the mean of {}",
    COPY: "patients have the mean of {}, as they had before it",
    INCREMENTS: "the mean changes as that of {} does",
    LAST_MEAN: "the mean stays that of the last visit before it",
    MAR: "patients have the mean of their own arm",
}
NAMED = {
    JUMP: "jump to reference",
    COPY: "copy reference",
    INCREMENTS: "copy increments in reference",
    LAST_MEAN: "last mean carried forward",
    MAR: "missing at random",
}
DRAWN = {
    "bootstrap": "fits to resamples of the patients within arms",
    "posterior": "draws from the normal approximation to the posterior",
    "none": "the estimates themselves (conditional means)",
}


def _by_strategy(trial: Trial, events: Events) -> dict[str, dict[str, int]]:
    """Patients with an event by strategy and arm."""
    has = events.before < trial.shape[1]
    out: dict[str, dict[str, int]] = {}
    for s in np.unique(events.strategy[has]):
        own = trial.arm[has & (events.strategy == s)]
        out[STRATEGIES[s]] = {trial.arms[a]: int((own == a).sum()) for a in np.unique(own)}
    return out


def strategies_text(trial: Trial, events: Events) -> str:
    """Strategies of patients with an event, in a line."""
    found = _by_strategy(trial, events)
    if not found:
        return "no events: missing at random"
    names = [NAMED[name] + (f" ({', '.join(arms)})" if len(found) > 1 else "") for name, arms in found.items()]
    return f"after the event: {'; '.join(names)}"


def described(
    model: ReferenceModel,
    draws: str,
    n_sets: int,
    n_replaced: int,
    delta: FloatArray,
    events: pd.DataFrame,
    imputed: pd.DataFrame,
) -> str:
    """The account."""
    trial, fitted = model.trial, model.fitted
    reference = repr(trial.arms[trial.reference])
    others = shortened(repr(arm) for a, arm in enumerate(trial.arms) if a != trial.reference)
    lines = [
        f"Reference-based imputation of {trial.response}: {n_sets} data set{'s' if n_sets > 1 else ''}, "
        f"{trial.shape[0]} patients, {trial.shape[1]} visits ({trial.visit_column})",
        f"Estimand: difference of {others} and {reference} ({trial.arm_column}), where after the event",
    ]
    found = _by_strategy(trial, model.events)
    for name, arms in found.items():
        counts = ", ".join(f"{arm} {n}" for arm, n in arms.items())
        lines.append(f"  {ASSUMED[name].format(reference)} ({NAMED[name]}; patients with an event: {counts})")
    if not found:
        lines.append("  nothing is assumed: there are no events, and missing visits are missing at random")
    moved = np.unique(delta[delta != 0])
    if len(moved):
        span = f"{moved[0]:g}" if len(moved) == 1 else f"{moved[0]:g} to {moved[-1]:g}"
        lines.append(f"Added to imputed cells after the event: {span} ({int((delta != 0).sum())} cells)")
    cells = int(model.events.modelled.sum())
    by = "REML" if fitted.reml else "maximum likelihood"
    lines.append(f"Imputation model: {fitted.model.rows.formula.text}, {by}, {cells} observed cells")
    again = f"; {n_replaced} resamples without a usable fit were drawn again" if n_replaced else ""
    lines.append(f"Parameters of each data set: {DRAWN[draws]}{again}")
    tables = ["First visit after the event, patients:", events.to_string(), "", "Imputed cells:", imputed.to_string()]
    return "\n".join([*lines, "", *tables])
