"""EMB on the host: tables of numbers to data sets of the kernel, and these back to data frames.

`EmbPlan` holds what `emb` was asked for, and does it for all rows or for those of a level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pandas as pd

from ..data.checks import Label
from ..data.imputation_model import ImputationModel
from ..design.congenial import quoted
from ..engine.programs import float64
from ..engine.shapes import bucket
from ..errors import ImputationError, ImputationWarning, warn
from ..progress import progress
from .arguments import checks
from .clusters import cluster_codes, copy_within_clusters, observed_means
from .columns import ColumnCode, FloatArray, categories, encode, fill, model_names, plan_columns, slots, time_powers
from .derive import Derivation
from .kernels.em import CellPriors, EmSettings, is_regular
from .kernels.emb import Bounds, EmbDraw, IncompleteRows, emb_draws
from .kernels.noise import seeded
from .patterns import PatternIndex, index_patterns
from .priors import CellPrior, PriorTable, bounds_table, prior_table
from .result import ImputationResult, account, completed_data

ROW_STAGE, CLUSTER_STAGE = 0, 1
BATCH_BYTES = 256 * 2**20


@dataclass(frozen=True)
class EmOptions:
    """Settings of EM and of the bootstrap, checked."""

    m: int
    tolerance: float
    max_iter: int
    ridge: float
    bootstrap: bool
    seed: int

    def __post_init__(self) -> None:
        checks.whole(self.m, "m=", 1)
        checks.whole(self.max_iter, "max_iter=", 1)
        checks.number(self.ridge, "ridge=", 0)
        checks.positive(self.tolerance, "tolerance=")
        checks.seed(self.seed, 63)


@dataclass(frozen=True)
class CompletedRows:
    """Completed rows of a table: positions (k,), values (m, k, p), and the fits of the m imputations."""

    rows: npt.NDArray[np.intp]
    values: FloatArray
    means: FloatArray
    covariances: FloatArray
    iterations: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int64]


def impute_table(
    x: FloatArray,
    options: EmOptions,
    stage: int,
    bounds: tuple[FloatArray, FloatArray] | None = None,
    priors: PriorTable | None = None,
) -> CompletedRows:
    """Impute a numeric table m times; x is (n, p), or (m, n, p) with equal gaps, NaN where missing."""
    missing = np.isnan(x if x.ndim == 2 else x[0])
    index = index_patterns(~missing)
    rows = np.flatnonzero(missing.any(axis=1))
    p, n_patterns = missing.shape[1], len(index.counts)
    draw_bytes = 8 * (len(rows) * (p + 1) * (2 * p + 4) + len(missing) * n_patterns + 8 * n_patterns * (p + 1) ** 2)
    most = int(np.clip(BATCH_BYTES // draw_bytes, 1, options.m))
    size = -(-options.m // -(-options.m // most))  # of calls as equal as can be: they share a program
    parts = []
    with float64(), progress(options.m, "imputation") as advance:
        key = jax.random.fold_in(seeded(options.seed), stage)
        table = jax.tree.map(jnp.asarray, _pad(x, missing, index, rows))
        settings = EmSettings(
            jnp.asarray(options.tolerance, jnp.float64),
            jnp.asarray(options.max_iter, jnp.int32),
            jnp.asarray(options.ridge, jnp.float64),
        )
        limits = None if bounds is None else Bounds(*map(jnp.asarray, bounds))
        known = None if priors is None else CellPriors(*map(jnp.asarray, priors))
        for first in range(0, options.m, size):
            # the last call may repeat imputations
            numbers = np.minimum(np.arange(first, first + size), options.m - 1)
            keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.asarray(numbers))
            own = table if x.ndim == 2 else table._replace(x=table.x[numbers])
            parts.append(jax.device_get(emb_draws(keys, own, settings, limits, known, bootstrap=options.bootstrap)))
            advance(len(np.unique(numbers)))
        draw = jax.tree.map(lambda *leaves: np.concatenate(leaves)[: options.m], *parts)
        return _collect(rows, draw)


def _padded(count: int) -> int:
    """Size with its padding, so that data sets of similar size share one compilation: coarse up to 2048."""
    return bucket(count, 16, 1 if count <= 2048 else 4)


def _pad(
    x: FloatArray, missing: npt.NDArray[np.bool_], index: PatternIndex, rows: npt.NDArray[np.intp]
) -> IncompleteRows:
    """Fill up rows, patterns and targets to rounded sizes.

    Added rows have no pattern and so no weight, added patterns no rows; added targets are row 0, drawn in
    vain.
    """
    n_rows = _padded(len(missing)) - len(missing)
    n_patterns = _padded(len(index.counts)) - len(index.counts)
    margin = ((0, 0),) * (x.ndim - 2)
    arrays: Any = (
        np.pad(np.nan_to_num(x), (*margin, (0, n_rows), (0, 0))),
        np.pad(missing, ((0, n_rows), (0, 0)), constant_values=True),
        np.pad(~index.observed, ((0, n_patterns), (0, 0))),
        np.pad(index.row_pattern, (0, n_rows), constant_values=-1),
        np.pad(rows, (0, _padded(len(rows)) - len(rows))),
    )
    return IncompleteRows(*arrays)


def _collect(rows: npt.NDArray[np.intp], draw: EmbDraw) -> CompletedRows:
    fit, scale = draw.fit, np.asarray(draw.scale)
    values = np.asarray(draw.rows)[:, : len(rows)]
    usable = np.isfinite(values).all(axis=(1, 2)) & np.asarray(is_regular(fit))
    codes = np.where(usable, np.where(np.asarray(fit.converged), 1, 3), 2)
    means = np.asarray(fit.mean) * scale + np.asarray(draw.centre)
    covariances = np.asarray(fit.cov) * scale[:, :, None] * scale[:, None, :]
    return CompletedRows(rows, values, means, covariances, np.asarray(fit.iterations, dtype=np.int64), codes)


def check_size(n: int, names: Sequence[str], ridge: float, unit: str) -> None:
    """Raise where there are more than n / 2 model columns, warn above n / 4 (Amelia's codes 34)."""
    p = len(names)
    if p < 2:
        raise ImputationError(f"the imputation model has only the column {names[0]!r}: it needs two or more")
    if 2 * p > n + ridge:
        raise ImputationError(
            f"{p} model columns are too many for {n} {unit}: leave columns out, or raise ridge= by {2 * p - n}"
        )
    if 4 * p > n:
        warn(
            f"{p} model columns for {n} {unit}: estimates may be unstable; consider fewer columns or ridge=",
            ImputationWarning,
        )


def check_draws(drawn: CompletedRows, names: Sequence[str], all_needed: bool = False) -> None:
    """Warn about imputations without a usable covariance; raise where none is left, or all are needed."""
    failed = np.flatnonzero(drawn.codes == 2)
    if not len(failed):
        return
    cov = drawn.covariances[failed[0]]
    hint = ""
    if np.isfinite(cov).all():
        scale = np.sqrt(np.maximum(np.diag(cov), np.finfo(float).tiny))
        loads = np.abs(np.linalg.eigh(cov / np.outer(scale, scale))[1][:, 0])
        hint = f" Nearly collinear: {', '.join(np.asarray(names)[loads > 0.3])}."
    text = (
        "the covariance matrix is not invertible in imputation "
        f"{', '.join(str(k + 1) for k in failed)}.{hint} Leave a column out, list it in id_vars= or "
        "derive=, or set ridge= (1 % of the rows, say)."
    )
    if all_needed or len(failed) == len(drawn.codes):
        raise ImputationError(text)
    warn(f"{text} These imputations are left out.", ImputationWarning)


def complete_frame(
    frame: pd.DataFrame,
    codes: Sequence[ColumnCode],
    drawn: CompletedRows,
    number: int,
    seed: int,
    stage: int = ROW_STAGE,
) -> pd.DataFrame:
    """Put the draws of one imputation into the missing cells of a frame; complete columns stay shared with it."""
    result, where = frame.copy(deep=False), slots(codes)
    for position, code in enumerate(codes):
        flags = frame[code.name].isna().to_numpy()
        if flags.any():
            values = drawn.values[number][flags[drawn.rows], where[code.name]]
            rng = np.random.default_rng((seed, stage, number, position))
            result[code.name] = fill(frame[code.name], flags, code.decode(values, rng))
    return result


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
        frames = [data] if self.cluster is None else self._fill_clusters(data, self.cluster, codes, options)
        drawn = self._impute_rows(frames, codes, options)
        completed: dict[Label, pd.DataFrame] = {
            k + 1: complete_frame(frames[k % len(frames)], codes, drawn, k, options.seed)[given.columns]
            for k in range(options.m)
            if drawn.codes[k] != 2
        }
        return ImputationResult(
            data=completed_data(completed, given, derive, self.described(given)),
            chain_lengths=drawn.iterations,
            codes=drawn.codes,
            model_columns=tuple(model_names(codes)),
            means=drawn.means,
            covariances=drawn.covariances,
            plan=tuple(codes),
            encoded=encode(frames[0], codes),
            **account(given),
        )

    def _impute_rows(
        self, frames: Sequence[pd.DataFrame], codes: Sequence[ColumnCode], options: EmOptions
    ) -> CompletedRows:
        """Impute the rows' missing cells m times, from one frame shared by all, or from m."""
        x = np.stack([encode(frame, codes) for frame in frames])
        check_size(x.shape[1], model_names(codes), options.ridge, "rows")
        blank = int(np.isnan(x[0]).all(axis=1).sum())
        if blank:
            warn(
                f"{blank} rows have no observed cell in the imputation model: they are drawn from the overall "
                "distribution and carry no information; consider dropping them",
                ImputationWarning,
            )
        limits = bounds_table(self.bounds, codes, frames[0], x.shape[2])
        known = prior_table(self.priors, codes, np.isnan(x[0]))
        drawn = impute_table(x[0] if len(frames) == 1 else x, options, ROW_STAGE, limits, known)
        check_draws(drawn, model_names(codes))
        return drawn

    def _fill_clusters(
        self, data: pd.DataFrame, cluster: str, codes: Sequence[ColumnCode], options: EmOptions
    ) -> list[pd.DataFrame]:
        """Copy the cluster-level columns and impute those of wholly empty clusters: one frame, or m.

        The model has one row per cluster: its own columns and the cluster means of the rows' columns.
        """
        filled = copy_within_clusters(data, cluster, self.upper)
        if not filled[list(self.upper)].isna().to_numpy().any():
            return [filled]
        own, below = ([code for code in codes if (code.name in self.upper) == upper] for upper in (True, False))
        ids, names = cluster_codes(filled, cluster)
        first = filled.drop_duplicates(cluster).reset_index(drop=True)
        x, columns = encode(first, own), model_names(own)
        if below:
            x = np.concatenate([x, observed_means(encode(filled, below), ids, len(names))], axis=1)
            columns += [f"mean of {name}" for name in model_names(below)]
        check_size(len(x), columns, options.ridge, "clusters")
        limits = {name: pair for name, pair in (self.bounds or {}).items() if name in self.upper}
        drawn = impute_table(x, options, CLUSTER_STAGE, bounds_table(limits, own, filled, x.shape[1]))
        check_draws(drawn, columns, all_needed=True)
        frames = []
        for k in range(options.m):
            completed = complete_frame(first, own, drawn, k, options.seed, CLUSTER_STAGE)
            cells = {code.name: completed[code.name].iloc[ids].set_axis(data.index) for code in own}
            frames.append(filled.assign(**cells))
        return frames

    def described(self, data: pd.DataFrame, by: str = "") -> ImputationModel:
        """The model in the words of formulas, for the imputations to keep."""
        degrees = {} if self.time is None else {self.time: 2} if isinstance(self.time, str) else dict(self.time)
        powers = [
            f"I({name}^{power})"
            for (column, degree), name in zip(degrees.items(), quoted(degrees), strict=True)
            for power in range(2, degree + 1)
        ]
        imputed, names = tuple(self.incomplete(data)), tuple(self.names(data))
        return ImputationModel(imputed, names, tuple(powers), by=by, categories=categories(data, self.roles))
