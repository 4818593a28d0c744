"""What `emb` was asked for, and how it is done for all rows or for those of a level."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from remlax.data import ImputedData
from remlax.data.imputation_model import ImputationModel
from remlax.design.congenial import quoted

from .clusters import copy_within_clusters
from .columns import ColumnCode, FloatArray, encode, plan_columns, time_powers
from .derive import Derivation, apply_derivations
from .emb_stages import CompletedRows, EmOptions, complete_frame, impute_clusters, impute_rows
from .patterns import check_columns, fraction_missing, pattern_table
from .priors import CellPrior
from .result import ImputationResult


@dataclass(frozen=True)
class EmbPlan:
    """Columns, their roles and settings of EM; see `emb` for them."""

    ids: Sequence[str]
    roles: Mapping[str, Sequence[str]]
    bounds: Mapping[str, tuple[float, float]] | None
    priors: Sequence[CellPrior] | None
    time: str | Mapping[str, int] | None
    cluster: str | None
    upper: Sequence[str]
    derived: Sequence[str]
    options: EmOptions

    def names(self, data: pd.DataFrame) -> list[str]:
        """Columns of the data that are in the model."""
        return [c for c in data.columns if c not in {*self.ids, self.cluster, *self.derived}]

    def check(self, data: pd.DataFrame) -> None:
        """Refuse columns that cannot be used as asked."""
        time_powers(data, self.time)
        plan_columns(data, self.names(data), **self.roles)

    def incomplete(self, data: pd.DataFrame) -> list[str]:
        """Columns of the model with missing cells."""
        return [c for c in self.names(data) if data[c].isna().any()]

    def impute(
        self, given: pd.DataFrame, derive: Mapping[str, Derivation] | None, seed: int | None = None
    ) -> ImputationResult:
        """Impute the rows of a data frame, from the seed of the settings or another one."""
        options = self.options if seed is None else replace(self.options, seed=seed)
        data = given.assign(**time_powers(given, self.time))
        codes = plan_columns(data, self.names(data), **self.roles)
        frames = [data]
        if self.cluster is not None:
            frames = _fill_clusters(data, self.cluster, self.upper, codes, options, self.bounds)
        drawn = impute_rows(frames, codes, options, self.bounds, self.priors)
        completed: dict[Hashable, pd.DataFrame] = {
            k + 1: apply_derivations(
                complete_frame(frames[k % len(frames)], codes, drawn, k, options.seed)[given.columns], derive
            )
            for k in range(options.m)
            if drawn.codes[k] != 2
        }
        found = _result(given, completed, codes, drawn, derive, encode(frames[0], codes))
        return replace(found, data=replace(found.data, imputed_by=self.described(given)))

    def described(self, data: pd.DataFrame, by: str = "") -> ImputationModel:
        """The model in the words of formulas, for the imputations to keep."""
        degrees = {} if self.time is None else {self.time: 2} if isinstance(self.time, str) else dict(self.time)
        powers = [
            f"I({name}^{power})"
            for (column, degree), name in zip(degrees.items(), quoted(degrees), strict=True)
            for power in range(2, degree + 1)
        ]
        roles = ("nominal", "ordinal")
        categories = tuple(name for role in roles for name in check_columns(data, self.roles[role], f"{role}="))
        imputed, names = tuple(self.incomplete(data)), tuple(self.names(data))
        return ImputationModel(imputed, names, tuple(powers), by=by, categories=categories)


def _fill_clusters(
    data: pd.DataFrame,
    cluster: str,
    upper: Sequence[str],
    codes: Sequence[ColumnCode],
    options: EmOptions,
    bounds: Mapping[str, tuple[float, float]] | None,
) -> list[pd.DataFrame]:
    """Copy the cluster-level columns and impute those of wholly empty clusters: one frame, or m."""
    filled = copy_within_clusters(data, cluster, upper)
    if not filled[list(upper)].isna().to_numpy().any():
        return [filled]
    own = [code for code in codes if code.name in upper]
    below = [code for code in codes if code.name not in upper]
    limits = {name: pair for name, pair in (bounds or {}).items() if name in upper}
    return impute_clusters(filled, cluster, own, below, options, limits)


def _result(
    data: pd.DataFrame,
    completed: Mapping[Hashable, pd.DataFrame],
    codes: Sequence[ColumnCode],
    drawn: CompletedRows,
    derive: Mapping[str, Derivation] | None,
    encoded: FloatArray,
) -> ImputationResult:
    return ImputationResult(
        data=ImputedData.from_frames(completed).with_original(apply_derivations(data, derive)),
        chain_lengths=drawn.iterations,
        codes=drawn.codes,
        fraction_missing=fraction_missing(data),
        patterns=pattern_table(data),
        n_rows=len(data),
        n_complete=int(data.notna().all(axis=1).sum()),
        model_columns=tuple(n for code in codes for n in code.model_names),
        means=drawn.means,
        covariances=drawn.covariances,
        plan=tuple(codes),
        encoded=encoded,
    )
