"""Chains of the joint model on the host: arrays in, chains run on all cores, draws and cells out."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pandas as pd
from jax import Array

from ..engine.programs import float64
from ..engine.shapes import bucket
from ..errors import ImputationError
from .arguments import checks
from .columns import ColumnCode, FloatArray, fill, slots
from .joint_model import JointModel, Targets, TopModel
from .joint_outcome import OutcomeModel, outcome_values
from .kernels.compatible import CompatibleState, Monomials, OutcomeArrays
from .kernels.draws import KnownCells
from .kernels.joint import JointState
from .kernels.joint_data import JointData, JointPriors, JointSpec, reduce_rows
from .kernels.nested import NestedState, TopData, reduce_top
from .kernels.noise import seeded
from .kernels.programs import More, State, run_chains, start_chains
from .patterns import index_patterns

DF_MEAN = 50.0  # prior mean of a - r - 1: clusters neither forced to be alike nor apart
CHUNK = 250  # most sweeps per call: one program for any number of sweeps
FIRST_CHUNK = 10
CALL_SECONDS = 0.5  # between calls a progress bar moves and Ctrl-C is heard


@dataclass(frozen=True)
class JointPrior:
    """Priors of the joint model, on the scale of the standardised columns.

    Targets and predictors are centred and divided by their standard deviation (latents of categorical variables
    are left alone), so that these numbers do not depend on units.

    Attributes
    ----------
    residual_df, residual_scale
        Inverse Wishart of the residual covariance (r, r): df (default r) and scale (a number for a multiple of
        the identity, default 1, or a matrix). With `residual="cluster"` they are the df and the inverse scale of
        the Wishart of A.
    random_df, random_scale
        The same of the covariance of random effects and cluster-level residuals (D, D), D = r q + s.
    coef_precision
        Precision of the normal prior of the fixed coefficients; 0 = flat.

    Examples
    --------
    >>> JointPrior(random_scale=0.1).random_scale
    0.1
    """

    residual_df: float | None = None
    residual_scale: float | FloatArray = 1.0
    random_df: float | None = None
    random_scale: float | FloatArray = 1.0
    coef_precision: float = 0.0

    def arrays(self, r: int, size: int) -> JointPriors:
        """Return the arrays of the kernel: float64, checked."""
        checks.number(self.coef_precision, "priors: coef_precision=", 0)
        return JointPriors(
            _df("residual_df", self.residual_df, r),
            _scale("residual_scale", self.residual_scale, r),
            _df("random_df", self.random_df, size),
            _scale("random_scale", self.random_scale, size),
            jnp.asarray(self.coef_precision, jnp.float64),
            jnp.asarray(DF_MEAN, jnp.float64),
        )


def _df(name: str, value: float | None, size: int) -> jax.Array:
    df = size if value is None else checks.number(value, f"priors: {name}=")
    if not df > size - 1:
        raise ImputationError(
            f"priors: {name}={value} gives no proper prior of a {size} x {size} covariance: > {size - 1}"
        )
    return jnp.asarray(df, jnp.float64)


def _scale(name: str, value: float | FloatArray, size: int) -> jax.Array:
    try:
        matrix = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.array([[np.nan]])
    matrix = matrix * np.eye(size) if matrix.ndim == 0 else matrix
    if (
        matrix.shape != (size, size)
        or not np.isfinite(matrix).all()
        or np.linalg.eigvalsh(0.5 * (matrix + matrix.T)).min() <= 0.0
    ):
        raise ImputationError(f"priors: {name} must be a positive number or a positive definite {size} x {size} matrix")
    return jnp.asarray(matrix, jnp.float64)


def padded_rows(count: int) -> int:
    """Number of rows with its padding, a multiple of eight: data of similar size share one compilation."""
    return 8 * bucket(-(-count // 8), per_octave=8)


@dataclass(frozen=True)
class Chains:
    """m chains after `done` sweeps, the first `burn` of which adapted the sampler.

    keys (m,), state with a leading axis m; rows (k,) are the active rows of the data frame; more is there with an
    outcome or a third level.
    """

    keys: Any
    state: State
    data: JointData
    priors: JointPriors
    spec: JointSpec
    rows: npt.NDArray[np.intp]
    done: int
    burn: int
    more: More
    terms: Monomials

    @property
    def joint(self) -> JointState:
        """State of the joint model."""
        return self.state if isinstance(self.state, JointState) else self.state.joint


@dataclass(frozen=True)
class Room:
    """Sizes that arrays are filled up to, so that data sets of similar size share compiled programs.

    rows, active rows (with a cell to draw), patterns of missing cells.
    """

    rows: int
    active: int
    patterns: int

    @classmethod
    def of(cls, models: Sequence[JointModel]) -> Room:
        """Room for the rows of any of the models."""
        sizes = [(len(model.lower.y), *_active_size(model.lower)) for model in models]
        return cls(*(max(size) for size in zip(*sizes, strict=True)))


def _active_size(targets: Targets) -> tuple[int, int]:
    """Active rows and patterns among them, rounded up."""
    rows = _active_rows(targets)
    index = index_patterns(~np.isnan(targets.y[rows]))
    # rows that fill up have a pattern of their own
    return padded_rows(len(rows)), bucket(len(index.counts) + 1, per_octave=1)


def _cells(
    y: FloatArray, category: npt.NDArray[np.intp], size: int, least_patterns: int = 1
) -> tuple[FloatArray, KnownCells]:
    """Arrays of k rows, filled up to `size` rows without anything to draw."""
    k, r = y.shape
    missing = np.zeros((size, r), bool)
    missing[:k] = np.isnan(y)
    index = index_patterns(~missing)
    n_patterns = max(bucket(len(index.counts), per_octave=1), least_patterns)
    observed = np.ones((n_patterns, r))
    observed[: len(index.counts)] = index.observed
    levels = np.full((size, category.shape[1]), -1, np.int32)
    levels[:k] = category
    filled = np.zeros((size, r))
    filled[:k] = np.nan_to_num(y)
    return filled, KnownCells(*map(jnp.asarray, (missing, levels, index.row_pattern.astype(np.int32), observed)))


def _active_rows(targets: Targets) -> npt.NDArray[np.intp]:
    return np.flatnonzero(np.isnan(targets.y).any(axis=1) | (targets.category >= 0).any(axis=1))


@dataclass(frozen=True)
class Loaded:
    """What the sampler needs of a model; rows (k,) are the positions of the active rows."""

    data: JointData
    spec: JointSpec
    rows: npt.NDArray[np.intp]
    top: TopData | None


def load(model: JointModel, specific: bool, prior: JointPrior, room: Room | None = None) -> Loaded:
    """Reduce the model's arrays to what the sampler needs."""
    lower, upper = model.lower, model.upper
    rows = _active_rows(lower)
    n, k = len(lower.y), padded_rows(len(rows)) if room is None else room.active
    # at least one more row of weight 0, for the places that no active row takes
    more = 1 if room is None else room.rows - n + 1
    y = np.pad(np.nan_to_num(lower.y), ((0, more), (0, 0)))
    # a row without an observed target says nothing, unless there is an outcome
    counts = ~np.isnan(lower.y).all(axis=1) | (model.outcome is not None)
    weight = np.pad(counts.astype(np.float64), (0, more))
    active = np.full(k, n)
    active[: len(rows)] = rows
    _, cells = _cells(lower.y[rows], lower.category[rows], k, 1 if room is None else room.patterns)
    y2, cells2 = _cells(upper.y, upper.category, len(upper.y))
    x, z = (np.pad(part.x, ((0, more), (0, 0))) for part in (model.fixed, model.random))
    cluster = np.pad(model.cluster, (0, more)).astype(np.int32)
    arrays: tuple[Array, Array, Array, Array, Array, Array]
    arrays = jax.tree.map(jnp.asarray, (y, x, z, cluster, weight, active))
    above = (jnp.asarray(y2), jnp.asarray(model.upper_fixed.x), cells2)
    data = reduce_rows(*arrays, cells=cells, n_clusters=len(upper.y), specific=specific, upper=above)
    spec = JointSpec(lower.blocks, upper.blocks, specific)
    if model.top is None:
        return Loaded(data, spec, rows, None)
    top = _load_top(model.top, arrays, data, prior)
    return Loaded(data, spec._replace(top=model.top.targets.blocks), rows, top)


def _load_top(
    model: TopModel, rows: tuple[Array, Array, Array, Array, Array, Array], data: JointData, prior: JointPrior
) -> TopData:
    """Reduce the arrays of the third level; rows as `reduce_rows` has them."""
    y, active = rows[0], rows[-1]
    if np.ndim(prior.random_scale):
        raise ImputationError("priors: random_scale must be a number with two columns in cluster=, not a matrix")
    above, cells = _cells(model.targets.y, model.targets.category, len(model.targets.y))
    z = np.pad(model.random.x, ((0, len(y) - len(model.random.x)), (0, 0)))
    r = y.shape[1]
    law = prior.arrays(r, r * z.shape[1] + data.y2.shape[1] + above.shape[1])
    own = (jnp.asarray(above), jnp.asarray(model.fixed.x), cells)
    parent = jnp.asarray(model.parent.astype(np.int32))
    return reduce_top(data, rows[:5], jnp.asarray(z), active, parent, own, law)


def start(
    model: JointModel, m: int, burn: int, prior: JointPrior, specific: bool, seed: int, room: Room | None = None
) -> Chains:
    """Start m chains; chain k depends on the seed and on k alone."""
    with float64():
        own = load(model, specific, prior, room)
        data = own.data
        r, s = data.y.shape[1], data.y2.shape[1]
        priors = prior.arrays(r, r * data.z.shape[1] + s)
        base = seeded(seed)
        keys = jax.vmap(lambda number: jax.random.fold_in(base, number))(jnp.arange(m))
        levels = [model.lower, model.upper, *([] if model.top is None else [model.top.targets])]
        cuts = [tuple(map(jnp.asarray, level.cuts)) for level in levels]
        more: More = own.top
        terms = Monomials((), ())
        if model.outcome is not None:
            more = _load_outcome(model.outcome, model, own.rows, len(data.y), prior)
            terms = Monomials(model.outcome.columns, model.outcome.powers)
        state = start_chains(keys, data, more, cuts[0], cuts[1], cuts[2] if len(cuts) > 2 else (), spec=own.spec)
        return Chains(keys, state, data, priors, own.spec, own.rows, 0, burn, more, terms)


def _load_outcome(
    own: OutcomeModel, model: JointModel, rows: npt.NDArray[np.intp], size: int, prior: JointPrior
) -> OutcomeArrays:
    """Arrays of the outcome's model; its priors have identity scales as far as those of `prior` are matrices."""
    n, q = len(own.y), own.random.shape[1]
    places = np.full(size, n)
    places[: len(rows)] = rows
    residual, random = (1.0 if np.ndim(v) else float(v) for v in (prior.residual_scale, prior.random_scale))
    law = JointPrior(residual_scale=residual, random_scale=random, coef_precision=prior.coef_precision)
    cluster = model.cluster.astype(np.int32)
    host = (np.nan_to_num(own.y), np.isnan(own.y), own.fixed, own.random, own.targets, places, cluster)
    arrays: tuple[Array, Array, Array, Array, Array, Array, Array] = jax.tree.map(jnp.asarray, host)
    return OutcomeArrays(*arrays, priors=law.arrays(1, q))


def run_sweeps(chains: Chains, sweeps: int, advance: Callable[[int], None]) -> tuple[Chains, FloatArray]:
    """Make more sweeps; also the parameters after each, (m, sweeps, P), on the standardised scale.

    `advance` is told how many sweeps of single chains are done, again and again.
    """
    m = chains.keys.shape[0]
    threads = min(os.cpu_count() or 1, m)
    size = -(-m // threads)
    # pieces of equal size share a program: the last may repeat chains
    pieces = [np.minimum(np.arange(k, k + size), m - 1) for k in range(0, m, size)]
    stop = threading.Event()

    def run(piece: npt.NDArray[np.intp]) -> tuple[Any, FloatArray]:
        with float64():
            return _run_piece(chains, piece, sweeps, advance, stop)

    with float64():
        _run_piece(chains, pieces[0], 0, advance, stop)  # compile once, before the threads meet
    if len(pieces) == 1:
        results = [run(pieces[0])]
    else:
        with ThreadPoolExecutor(threads) as pool:
            futures = [pool.submit(run, piece) for piece in pieces]
            try:
                results = [future.result() for future in futures]
            except BaseException:
                stop.set()  # the pool waits for its threads: Ctrl-C would be heard after the last sweep
                raise
    draws = np.concatenate([draw for _, draw in results])[:m]
    state = jax.tree.map(lambda *parts: np.concatenate(parts)[:m], *[state for state, _ in results])
    return replace(chains, state=state, done=chains.done + sweeps), draws


def _run_piece(
    chains: Chains, piece: npt.NDArray[np.intp], sweeps: int, advance: Callable[[int], None], stop: threading.Event
) -> tuple[Any, FloatArray]:
    state = jax.tree.map(lambda leaf: leaf[piece], chains.state)
    keys, done, most, own = chains.keys[piece], 0, FIRST_CHUNK, len(np.unique(piece))
    records: list[FloatArray] = []
    while (done < sweeps or not records) and not stop.is_set():
        count, started = min(most, CHUNK, sweeps - done), time.perf_counter()
        numbers = [jnp.asarray(number, jnp.int32) for number in (chains.done + done, count, chains.burn)]
        state, record = run_chains(
            keys, state, chains.data, chains.more, chains.priors, *numbers,
            spec=chains.spec, terms=chains.terms, room=CHUNK,
        )  # fmt: skip
        records.append(np.asarray(record)[:, :count])
        done += count
        advance(count * own)
        most = max(int(count * CALL_SECONDS / (time.perf_counter() - started)), 1)
    return jax.device_get(state), np.concatenate(records, axis=1)


def completed_frames(
    model: JointModel, chains: Chains, donors: Mapping[str, npt.NDArray[np.intp]]
) -> list[pd.DataFrame]:
    """Data frames with the missing cells as each chain has them now, or as their donors, rows (m, n), have them."""
    # where the cells of each row are among what the chains have: active rows, and clusters
    places = np.zeros(len(model.data), np.intp)
    places[chains.rows] = np.arange(len(chains.rows))
    joint, data, outcome = chains.joint, model.data, model.outcome
    levels = [(model.lower, joint.y, joint.cuts, places), (model.upper, joint.y2, joint.cuts2, model.cluster)]
    if model.top is not None and isinstance(chains.state, NestedState):
        levels.append((model.top.targets, chains.state.y, chains.state.cuts, model.top.codes))
    frames = []
    for k in range(chains.keys.shape[0]):
        frame = data.copy(deep=False)
        for targets, drawn, cuts, place in levels:
            for code, values in _decoded(targets, np.asarray(drawn[k]), [np.asarray(cut[k]) for cut in cuts]):
                flags = data[code.name].isna().to_numpy()
                if not flags.any():
                    continue
                if code.name in donors:
                    cells = _take(_listed(data[code.name]), donors[code.name][k][flags])
                else:
                    cells = _take(values, place[flags])
                frame[code.name] = fill(data[code.name], flags, cells)
        if outcome is not None and isinstance(chains.state, CompatibleState):
            flags = np.isnan(outcome.y)
            if flags.any():
                cells = outcome_values(outcome, np.asarray(chains.state.outcome[k]), flags)
                frame[outcome.name] = fill(data[outcome.name], flags, cells)
        frames.append(frame)
    return frames


def _take(values: Any, where: npt.NDArray[np.intp]) -> Any:
    return values[where] if isinstance(values, np.ndarray) else [values[i] for i in where]


def _listed(column: pd.Series[Any]) -> Any:
    """Cells of a column, in the form that keeps its type in `fill`."""
    return column.to_numpy() if isinstance(column.dtype, np.dtype) else column.tolist()


def _decoded(targets: Targets, drawn: FloatArray, cuts: Sequence[FloatArray]) -> list[tuple[ColumnCode, Any]]:
    """Cells of every target (k values) from the model columns (k, r)."""
    out: list[tuple[ColumnCode, Any]] = []
    left = iter(cuts)
    for code, own in zip(targets.codes, slots(targets.codes).values(), strict=True):
        if code.kind == "continuous":
            values = drawn[:, own] * targets.scale[own] + targets.centre[own]
            out.append((code, code.backward(values[:, 0])))
            continue
        if code.kind == "nominal":
            latents = drawn[:, own]
            picks = np.where(latents.max(axis=1) > 0.0, latents.argmax(axis=1) + 1, 0)
        else:
            picks = np.searchsorted(next(left), drawn[:, own.start])
        out.append((code, [code.levels[i] for i in picks]))
    return out
