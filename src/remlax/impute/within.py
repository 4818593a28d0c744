"""`emb` and `joint` within the levels of a column: rows split, seeds derived, completed rows put back in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.linalg import block_diag

from ..data import ImputedData
from ..data.checks import Label
from ..data.imputation_model import ImputationModel
from ..errors import ImputationError, about
from ..progress import progress
from .arguments import checks
from .columns import check_values
from .derive import Derivation
from .emb_run import EmbPlan
from .joint_plan import JointPlan
from .joint_result import JointResult, make_result
from .joint_run import Room, run_sweeps, start
from .patterns import check_columns
from .result import ImputationResult, account, completed_data


@dataclass(frozen=True)
class LevelRows:
    """One level of the column: its name in messages, positions of its rows (k,), these rows, and a seed of its own."""

    name: str
    rows: npt.NDArray[np.intp]
    frame: pd.DataFrame
    seed: int


def check_by(data: pd.DataFrame, by: object) -> None:
    """Refuse what is not the name of a column."""
    if by is None:
        return
    if not isinstance(by, str):
        raise ImputationError(f"by={by!r}: give the name of one column, such as by='arm'")
    check_columns(data, [by], "by=")
    check_values(data[by])


def split_rows(data: pd.DataFrame, by: str, used: Sequence[str], seed: int) -> list[LevelRows]:
    """Split the data by the levels of a column, of which none may have fewer rows than the model has columns.

    Raises ImputationError: the column is incomplete, has one value only, or too few rows with one of its values; or
    the imputation model has it.
    """
    if by in used:
        raise ImputationError(
            f"by={by!r} is in the imputation model as well: every level gets a model of its own, in which the column "
            "has one value; take it out of the model"
        )
    n_missing = int(data[by].isna().sum())
    if n_missing:
        raise ImputationError(f"by={by!r} has {n_missing} missing cells: drop those rows, or say which level they have")
    codes, names = _codes(data[by])
    if len(names) < 2:
        raise ImputationError(f"by={by!r} has one value only: leave out by=")
    counts = np.bincount(codes, minlength=len(names))
    least = int(counts.argmin())
    if counts[least] <= len(used):
        raise ImputationError(
            f"by={by!r} leaves {counts[least]} rows with {by} = {names[least]}, too few for an imputation model of "
            f"{len(used)} columns: merge levels, or impute all rows together with {by!r} in the model"
        )
    # the seed of a level has nothing to do with those of the imputations of one call, seed + k
    seeds = [int(np.random.SeedSequence([seed, k]).generate_state(1, np.uint64)[0] >> 1) for k in range(len(names))]
    where = [np.flatnonzero(codes == k) for k in range(len(names))]
    frames = [data.iloc[rows].set_axis(pd.RangeIndex(len(rows))) for rows in where]
    return [
        LevelRows(f"{by} = {name}", rows, frame, own)
        for name, rows, frame, own in zip(names, where, frames, seeds, strict=True)
    ]


def _codes(column: pd.Series) -> tuple[npt.NDArray[np.intp], list[object]]:
    """Levels in their order, those that cannot be sorted as they appear."""
    try:
        codes, names = pd.factorize(column, sort=True)
    except TypeError:
        codes, names = pd.factorize(column)
    return codes, list(names)


def bind_rows(
    levels: Sequence[LevelRows], parts: Mapping[str, ImputationResult | JointResult], original: pd.DataFrame
) -> dict[Label, pd.DataFrame]:
    """Put the completed rows of all levels back in the order of the original.

    A level that was complete, and has no part, is the same in all imputations; one that failed in a level is left out.
    """
    labels = [part.data.labels for part in parts.values()]
    common = [label for label in labels[0] if all(label in other for other in labels)]
    bound = []
    for level in levels:
        part = parts.get(level.name)
        sets = dict.fromkeys(common, level.frame) if part is None else dict(part.data.iter())
        placed = {label: sets[label].set_axis(pd.Index(level.rows)) for label in common}
        bound.append(ImputedData.from_frames(placed))
    whole = ImputedData.concat(bound)
    return {label: frame.sort_index().set_axis(original.index) for label, frame in whole.iter()}


@dataclass(frozen=True, eq=False, repr=False)
class ImputationWithin(ImputationResult):
    """Imputations made by `emb(by=...)`: the rows of each level by a model of their own.

    Attributes
    ----------
    data
        The completed data sets, all rows in their order; those that failed in a level are left out.
    parts
        What `emb` returned for the rows of each level that has missing cells, by "arm = a" and the like.
    chain_lengths, codes
        (m,) the longest and the worst of any level.
    model_columns, means, covariances
        As of `ImputationResult`, the columns of all levels side by side.
    """

    parts: Mapping[str, ImputationResult]

    def summary(self) -> str:
        """Return a text: the summaries of the levels, one below the other; to be printed."""
        return "\n".join(f"{name}\n{part.summary()}" for name, part in self.parts.items())


def emb_within(
    data: pd.DataFrame, by: str, levels: Sequence[LevelRows], plan: EmbPlan, derive: Mapping[str, Derivation] | None
) -> ImputationWithin:
    """Impute within the levels of a column.

    Raises ImputationError: a column of the model has one value within a level.
    """
    parts = {}
    for level in levels:
        if plan.incomplete(level.frame):
            constant = [name for name in plan.names(data) if len(level.frame[name].dropna().unique()) == 1]
            if constant:
                raise ImputationError(
                    f"by={by!r} leaves column {constant[0]!r} one value in the rows with {level.name}: split by a "
                    "column with fewer levels, or list the other one in id_vars="
                )
            with about(level.name):
                parts[level.name] = plan.impute(level.frame, None, level.seed)
    results = list(parts.values())
    codes = np.stack([part.codes for part in results])
    return ImputationWithin(
        data=completed_data(bind_rows(levels, parts, data), data, derive, plan.described(data, by)),
        chain_lengths=np.stack([part.chain_lengths for part in results]).max(axis=0),
        codes=np.where((codes == 2).any(axis=0), 2, codes.max(axis=0)),
        model_columns=tuple(f"{name}: {own}" for name, part in parts.items() for own in part.model_columns),
        means=np.concatenate([part.means for part in results], axis=1),
        covariances=np.stack([block_diag(*own) for own in zip(*(part.covariances for part in results), strict=True)]),
        plan=results[0].plan,
        encoded=results[0].encoded,
        parts=parts,
        **account(data),
    )


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
    _levels: tuple[LevelRows, ...]

    def continue_(self, more: int = 1000) -> JointWithin:
        """Run every chain of every level further and impute anew; see `JointResult.continue_`."""
        checks.whole(more, "more=", 4)
        with progress(sum(len(part.draws) for part in self.parts.values()) * more, "sweep") as advance:
            done = {name: (part, *run_sweeps(part._chains, more, advance)) for name, part in self.parts.items()}
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
    _check_clusters(data, plan)
    incomplete = [level for level in levels if plan.lacks_cells(level.frame)]
    models = []
    for level in incomplete:
        with about(level.name):
            models.append(plan.model(level.frame))
    room = Room.of(models) if plan.compatible_with is None else None
    results = {}
    with progress(len(models) * plan.m * (plan.burn + plan.iter), "sweep") as advance:
        for level, model in zip(incomplete, models, strict=True):
            with about(level.name):
                chains = start(model, plan.m, plan.burn, plan.priors, plan.specific, level.seed, room)
                chains, draws = plan.run(chains, advance)
                results[level.name] = make_result(model, chains, draws, level.frame, None)
    return _bind(tuple(levels), results, data, derive, plan.described(data))


def _check_clusters(data: pd.DataFrame, plan: JointPlan) -> None:
    """Refuse to draw the value of a cluster once for each part of it that has a model of its own."""
    formulas, top = plan.formulas, plan.formulas.top
    levels = [([formulas.cluster] if top is None else [top.cluster, formulas.cluster], formulas.upper_targets)]
    levels += [] if top is None else [([top.cluster], top.targets)]
    for columns, targets in levels:
        groups = data.groupby(columns, observed=True, sort=False)
        divided = groups[plan.by].transform("nunique") > 1
        for name in targets:
            lost = divided & (groups[name].transform("count") == 0)
            if lost.any():
                raise ImputationError(
                    f"by={plan.by!r} divides {' and '.join(map(repr, columns))}, and {name!r}, which has one value in "
                    f"each of them, would get one in each part (row {data.index[lost][0]!r}): leave out by=, and take "
                    f"{plan.by!r} for a predictor"
                )


def _bind(
    levels: tuple[LevelRows, ...],
    results: Mapping[str, JointResult],
    data: pd.DataFrame,
    derive: Mapping[str, Derivation] | None,
    described: ImputationModel | None,
) -> JointWithin:
    first = next(iter(results.values()))
    draws = np.concatenate([part.draws for part in results.values()], axis=2)
    names = tuple((kind, f"{name}: {own}") for name, part in results.items() for kind, own in part._names)
    whole = completed_data(bind_rows(levels, results, data), data, derive, described)
    rest = (first._model, first._chains, data, derive, results, levels)
    return JointWithin(whole, draws, first.n_sweeps, names, *rest)
