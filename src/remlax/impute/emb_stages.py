"""The stages of EMB on the host: tables of numbers to lanes of the kernel, and lanes back to data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pandas as pd

from remlax.errors import ImputationError, ImputationWarning, warn

from ..engine.programs import float64
from ..progress import progress
from .arguments import checks
from .clusters import cluster_codes, observed_means
from .columns import ColumnCode, FloatArray, encode, fill, slots
from .kernels.em import CellPriors, EmSettings, is_regular
from .kernels.emb import Bounds, EmbDraw, emb_lanes
from .kernels.noise import seeded
from .patterns import PatternIndex, index_patterns
from .priors import CellPrior, PriorTable, bounds_table, prior_table

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
class Drawn:
    """Completed rows of a table: positions (k,), values (m, k, p), and the fits of the m lanes."""

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
) -> Drawn:
    """Impute a numeric table m times; x is (n, p), or (m, n, p) with equal gaps, NaN where missing."""
    missing = np.isnan(x if x.ndim == 2 else x[0])
    index = index_patterns(~missing)
    rows = np.flatnonzero(missing.any(axis=1))
    p, n_patterns = missing.shape[1], len(index.counts)
    lane_bytes = 8 * (len(rows) * (p + 1) * (2 * p + 4) + len(missing) * n_patterns + 8 * n_patterns * (p + 1) ** 2)
    most = int(np.clip(BATCH_BYTES // lane_bytes, 1, options.m))
    size = -(-options.m // -(-options.m // most))  # of calls as equal as can be: they share a program
    padded = _pad(x, missing, index, rows)
    parts = []
    with float64(), progress(options.m, "imputation") as tell:
        key = jax.random.fold_in(seeded(options.seed), stage)
        own, *shared = map(jnp.asarray, padded)
        settings = EmSettings(
            jnp.asarray(options.tolerance, jnp.float64),
            jnp.asarray(options.max_iter, jnp.int32),
            jnp.asarray(options.ridge, jnp.float64),
        )
        limits = None if bounds is None else Bounds(*map(jnp.asarray, bounds))
        known = None if priors is None else CellPriors(*map(jnp.asarray, priors))
        for first in range(0, options.m, size):
            # the last call may repeat lanes
            lanes = np.minimum(np.arange(first, first + size), options.m - 1)
            keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.asarray(lanes))
            tables = own if x.ndim == 2 else own[lanes]
            draw = emb_lanes(keys, tables, *shared, settings, limits, known, bootstrap=options.bootstrap)
            parts.append(jax.device_get(draw))
            tell(len(np.unique(lanes)))
        draw = jax.tree.map(lambda *leaves: np.concatenate(leaves)[: options.m], *parts)
        return _collect(rows, draw)


def round_up(count: int) -> int:
    """Round a size up, so that data sets of similar size share one compilation.

    To a power of two below 2048, where time is no matter, above to 1, 1.25, 1.5 or 1.75 times one.
    """
    if count <= 2048:
        return 1 << (max(count, 16) - 1).bit_length()
    step = 1 << (count.bit_length() - 3)
    return -(-count // step) * step


def _pad(
    x: FloatArray, missing: npt.NDArray[np.bool_], index: PatternIndex, rows: npt.NDArray[np.intp]
) -> tuple[FloatArray, npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Fill up rows, patterns and targets to rounded sizes: x, missing, patterns, ids and targets of a lane.

    Added rows have no pattern and so no weight, added patterns no rows; added targets are row 0, drawn in
    vain.
    """
    n_rows = round_up(len(missing)) - len(missing)
    n_patterns = round_up(len(index.counts)) - len(index.counts)
    margin = ((0, 0),) * (x.ndim - 2)
    return (
        np.pad(np.nan_to_num(x), (*margin, (0, n_rows), (0, 0))),
        np.pad(missing, ((0, n_rows), (0, 0)), constant_values=True),
        np.pad(~index.observed, ((0, n_patterns), (0, 0))),
        np.pad(index.row_pattern, (0, n_rows), constant_values=-1),
        np.pad(rows, (0, round_up(len(rows)) - len(rows))),
    )


def _collect(rows: npt.NDArray[np.intp], draw: EmbDraw) -> Drawn:
    fit, scale = draw.fit, np.asarray(draw.scale)
    values = np.asarray(draw.rows)[:, : len(rows)]
    usable = np.isfinite(values).all(axis=(1, 2)) & np.asarray(is_regular(fit))
    codes = np.where(usable, np.where(np.asarray(fit.converged), 1, 3), 2)
    means = np.asarray(fit.mean) * scale + np.asarray(draw.centre)
    covariances = np.asarray(fit.cov) * scale[:, :, None] * scale[:, None, :]
    return Drawn(rows, values, means, covariances, np.asarray(fit.iterations, dtype=np.int64), codes)


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


def check_lanes(drawn: Drawn, names: Sequence[str], all_needed: bool = False) -> None:
    """Warn about lanes without a usable covariance; raise where none is left, or all are needed."""
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


def impute_clusters(
    data: pd.DataFrame,
    cluster: str,
    upper: Sequence[ColumnCode],
    lower: Sequence[ColumnCode],
    options: EmOptions,
    bounds: Mapping[str, tuple[float, float]] | None,
) -> list[pd.DataFrame]:
    """Impute cluster-level columns of wholly empty clusters, once per cluster: m copies of the data.

    The model has one row per cluster: its own columns and the cluster means of the rows' columns.
    """
    ids, names = cluster_codes(data, cluster)
    first = data.drop_duplicates(cluster).reset_index(drop=True)
    x = encode(first, upper)
    columns = [n for code in upper for n in code.model_names]
    if lower:
        x = np.concatenate([x, observed_means(encode(data, lower), ids, len(names))], axis=1)
        columns += [f"mean of {n}" for code in lower for n in code.model_names]
    check_size(len(x), columns, options.ridge, "clusters")
    drawn = impute_table(x, options, CLUSTER_STAGE, bounds_table(bounds, upper, data, x.shape[1]))
    check_lanes(drawn, columns, all_needed=True)
    frames = []
    for k in range(options.m):
        completed = complete_frame(first, upper, drawn, k, options.seed, CLUSTER_STAGE)
        frame = data.copy(deep=False)
        for code in upper:
            frame[code.name] = completed[code.name].iloc[ids].set_axis(data.index)
        frames.append(frame)
    return frames


def impute_rows(
    frames: Sequence[pd.DataFrame],
    codes: Sequence[ColumnCode],
    options: EmOptions,
    bounds: Mapping[str, tuple[float, float]] | None,
    priors: Sequence[CellPrior] | None,
) -> Drawn:
    """Impute the rows' missing cells in m lanes, from one frame shared by all, or from m."""
    x = np.stack([encode(frame, codes) for frame in frames])
    columns = [n for code in codes for n in code.model_names]
    check_size(x.shape[1], columns, options.ridge, "rows")
    _warn_blank_rows(x[0])
    limits = bounds_table(bounds, codes, frames[0], x.shape[2])
    known = prior_table(priors, codes, np.isnan(x[0]))
    drawn = impute_table(x[0] if len(frames) == 1 else x, options, ROW_STAGE, limits, known)
    check_lanes(drawn, columns)
    return drawn


def complete_frame(
    frame: pd.DataFrame,
    codes: Sequence[ColumnCode],
    drawn: Drawn,
    lane: int,
    seed: int,
    stage: int = ROW_STAGE,
) -> pd.DataFrame:
    """Put one lane's draws into the missing cells of a frame; complete columns stay shared with it."""
    result, where = frame.copy(deep=False), slots(codes)
    for position, code in enumerate(codes):
        flags = frame[code.name].isna().to_numpy()
        if flags.any():
            values = drawn.values[lane][flags[drawn.rows], where[code.name]]
            rng = np.random.default_rng((seed, stage, lane, position))
            result[code.name] = fill(frame[code.name], flags, code.decode(values, rng))
    return result


def _warn_blank_rows(x: FloatArray) -> None:
    count = int(np.isnan(x).all(axis=1).sum())
    if count:
        warn(
            f"{count} rows have no observed cell in the imputation model: they are drawn from the overall "
            "distribution and carry no information; consider dropping them",
            ImputationWarning,
        )
