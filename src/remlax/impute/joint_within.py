"""`joint` within the levels of a column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from remlax.data import ImputedData
from remlax.data.imputation_model import ImputationModel
from remlax.errors import about

from ..progress import progress
from .arguments import checks
from .derive import Derivation, apply_derivations
from .joint_plan import JointPlan
from .joint_result import JointResult, make_result
from .joint_run import Room, advance, start
from .within import Level, bind_rows, split_rows


@dataclass(frozen=True, eq=False, repr=False)
class JointWithin(JointResult):
    """Imputations made by `joint(by=...)`: the rows of each level by a model of their own.

    Attributes
    ----------
    data
        The m completed data sets, all rows in their order, with the incomplete data as `original`.
    parts
        What `joint` returned for the rows of each level that has missing cells, by "arm = a" and the like.
    draws, n_sweeps
        As of `JointResult`, the parameters of all levels side by side.
    """

    parts: Mapping[str, JointResult]
    _levels: tuple[Level, ...]

    def continue_(self, more: int = 1000) -> JointWithin:
        """Run every chain of every level further and impute anew; see `JointResult.continue_`."""
        checks.whole(more, "more=", 4)
        with progress(sum(len(part.draws) for part in self.parts.values()) * more, "sweep") as tell:
            done = {name: (part, *advance(part._chains, more, tell)) for name, part in self.parts.items()}
        results = {}
        for name, (part, chains, draws) in done.items():
            with about(name):
                results[name] = make_result(part._model, chains, draws, part._incomplete, None)
        return _bind(self._levels, results, self._incomplete, self._derive, self.data.imputed_by)

    def summary(self) -> str:
        """Return a text: the summaries of the levels, one below the other; to be printed."""
        return "\n".join(f"{name}\n{part.summary()}" for name, part in self.parts.items())


def joint_within(
    data: pd.DataFrame, plan: JointPlan, derive: Mapping[str, Derivation] | None, seed: int
) -> JointWithin:
    """Impute within the levels of a column; levels of one size share compiled programs."""
    levels = split_rows(data, plan.by, plan.used, seed)
    incomplete = [level for level in levels if plan.lacks_cells(level.frame)]
    models = []
    for level in incomplete:
        with about(level.name):
            models.append(plan.model(level.frame))
    room = Room.of(models) if plan.compatible_with is None else None
    results = {}
    with progress(len(models) * plan.m * (plan.burn + plan.iter), "sweep") as tell:
        for level, model in zip(incomplete, models, strict=True):
            with about(level.name):
                chains = start(model, plan.m, plan.burn, plan.priors, plan.specific, level.seed, room)
                chains, draws = plan.run(chains, tell)
                results[level.name] = make_result(model, chains, draws, level.frame, None)
    return _bind(tuple(levels), results, data, derive, plan.described(data))


def _bind(
    levels: tuple[Level, ...],
    results: Mapping[str, JointResult],
    data: pd.DataFrame,
    derive: Mapping[str, Derivation] | None,
    described: ImputationModel | None,
) -> JointWithin:
    sets = [results[level.name].data if level.name in results else None for level in levels]
    frames = {label: apply_derivations(frame, derive) for label, frame in bind_rows(levels, sets, data).items()}
    bound = ImputedData.from_frames(frames).with_original(apply_derivations(data, derive))
    first = next(iter(results.values()))
    return JointWithin(
        replace(bound, imputed_by=described),
        np.concatenate([part.draws for part in results.values()], axis=2),
        first.n_sweeps,
        tuple((kind, f"{name}: {own}") for name, part in results.items() for kind, own in part._names),
        first._model,
        first._chains,
        data,
        derive,
        results,
        levels,
    )
