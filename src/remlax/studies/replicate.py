"""One block of a study: data of its replications, every method on each of them, tidy rows.

Data are made in chunks of `CHUNK` replications that start at multiples of it, whatever the block: the same program
makes the same replication at the same place, so that its data are equal bit by bit for every block size.
"""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import jax
import numpy as np
import pandas as pd

from ..batched.batch import BatchData, BatchMethod, Scenario, batch_rows
from ..batched.methods import MixedModelMethod
from ..engine.programs import float64, shape_of
from ..errors import RemlaxError, TwoValuedResponseWarning, listening, quiet
from ..fitting.record import recorded
from ..simulation.amputation import apply, blank
from ..simulation.design import MultilevelDesign
from ..simulation.generate import CHUNK, SimulatedData, frames, generate_batch
from ..simulation.keys import Stream, generator, keys
from ..simulation.layout import layout_of, structure_of
from ..simulation.mechanisms import Mechanism, Stack, mask_of
from ..simulation.outcomes import TRIALS
from ..simulation.rows import Record, failed_records, method_records, tidy_rows
from .specification import Context, FrameAmputer, FrameGenerator, FrameMethod, StudySpec
from .store import Block

PIECE_BYTES = 2**28  # of the data of one piece of a block
_RECORDING = threading.RLock()


@dataclass(frozen=True)
class FrameData:
    """One replication as data frames; ``error`` instead of them if making them failed."""

    replication: int
    complete: pd.DataFrame
    data: pd.DataFrame
    error: str = ""


def block_rows(study: StudySpec, block: Block, scenario: Scenario) -> pd.DataFrame:
    """Rows of all methods for the replications of a block, replication by replication: columns of the results file.

    A method that raises, or returns what cannot be used, gives rows with status "failed" and the message.
    """
    by_frame = {name: method for name, method in study.methods.items() if not isinstance(method, BatchMethod)}
    batched = {name: method for name, method in study.methods.items() if isinstance(method, BatchMethod)}
    parts = []
    for piece in _pieces(study, block, scenario) if batched else ():
        _compile_ahead(study, piece, scenario, batched)
        batch = batch_data(study, piece, scenario, next(iter(batched)))
        for name, analysis in batched.items():
            of_method = replace(batch, keys=_keys(study, piece, Stream.METHOD, name))
            parts.append(_analyse_batch(study, of_method, name, analysis))
    if by_frame:
        own = {name: _keys(study, block, Stream.METHOD, name) for name in by_frame}
        records: list[Record] = []
        for i, data in enumerate(frame_data(study, block, scenario)):
            for name, method in by_frame.items():
                context = Context(scenario, data.replication, data.complete, study.model, own[name][i])
                records += _analyse(study, data, name, method, context)
        parts.append(tidy_rows(records))
    rows = pd.concat(parts, ignore_index=True)
    order = rows["method"].map({name: i for i, name in enumerate(study.methods)})
    places = np.lexsort((order.to_numpy(), rows["replication"].to_numpy()))  # stable: terms keep their order
    return rows.iloc[places].reset_index(drop=True)


def frame_data(study: StudySpec, block: Block, scenario: Scenario) -> Iterator[FrameData]:
    """The data frames of a block's replications, one after the other."""
    if isinstance(study.generate, FrameGenerator) or isinstance(study.ampute, FrameAmputer):
        whole = enumerate(_complete_frames(study, block, scenario), block.start)
        for own, (number, complete) in zip(_keys(study, block, Stream.AMPUTATION), whole, strict=True):
            yield _ampute_frame(study, scenario, number, complete, own)
        return
    design = study.design(scenario)
    for start, (data, mask) in _chunks(study, block, scenario):
        missing = {name: np.asarray(x) for name, x in mask.items()}
        real = np.asarray(data.weights) > 0
        for i, complete in enumerate(frames(data, design)):
            lost = {name: missing[name][i][real[i]] for name in missing}
            holes = pd.DataFrame(False, complete.index, complete.columns).assign(**lost)
            yield FrameData(start + i, complete, blank(complete, holes).data)


def batch_data(study: StudySpec, block: Block, scenario: Scenario, method: str) -> BatchData:
    """The data of a block's replications as arrays, for a batched method."""
    chunks = [chunk for _, chunk in _chunks(study, block, scenario)]
    with float64():
        # on the host, and not by jnp.asarray: XLA would compile a program for every size
        complete, mask = jax.tree.map(lambda *parts: jax.device_put(np.concatenate(parts)), *chunks)
    return _batch(study, block, scenario, complete, mask, method)


def _batch(
    study: StudySpec,
    block: Block,
    scenario: Scenario,
    complete: SimulatedData,
    mask: Mapping[str, jax.Array],
    name: str,
) -> BatchData:
    numbers = np.arange(block.start, block.stop)
    own = _keys(study, block, Stream.METHOD, name)
    return BatchData(scenario, numbers, own, complete, mask, study.design(scenario), study.model, block.full)


_begun: set[tuple[object, ...]] = set()  # batches for which programs were asked for; a false match costs time only


def _compile_ahead(study: StudySpec, block: Block, scenario: Scenario, methods: Mapping[str, BatchMethod]) -> None:
    """Begin to compile what the methods need while the data are made (and what makes them is compiled)."""
    name = (study.seed, block.scenario, block.stop - block.start, *methods)
    if name in _begun:
        return
    _begun.add(name)
    ahead = [method.compile_ahead for method in methods.values() if isinstance(method, MixedModelMethod)]

    # nothing but shapes is computed here; a mistake in the study is raised when its data are made
    with contextlib.suppress(Exception), float64():
        shapes = jax.eval_shape(partial(_chunk, study, block.scenario, scenario, range(CHUNK)))
        complete, mask = jax.tree.map(lambda leaf: shape_of(leaf, block.stop - block.start), shapes)
        for begin in ahead:
            begin(_batch(study, block, scenario, complete, mask, ""))


def _pieces(study: StudySpec, block: Block, scenario: Scenario) -> Iterator[Block]:
    """A block cut so that the arrays of a piece fit in memory, whatever the size of the block."""
    design = study.design(scenario)
    columns = 2 * (len(design.covariates) + 1) + len(design.factors)
    size = max(1, PIECE_BYTES // (8 * design.n_rows * columns * CHUNK)) * CHUNK
    for start in range(block.start - block.start % CHUNK, block.stop, size):
        yield replace(block, start=max(start, block.start), stop=min(start + size, block.stop))


def _chunks(
    study: StudySpec, block: Block, scenario: Scenario
) -> Iterator[tuple[int, tuple[SimulatedData, dict[str, jax.Array]]]]:
    """Data and masks of a block in pieces, each with the number of its first replication."""
    for start in range(block.start - block.start % CHUNK, block.stop, CHUNK):
        numbers = range(start, start + CHUNK)
        own = slice(max(block.start - start, 0), block.stop - start)
        with float64():
            made = _chunk(study, block.scenario, scenario, numbers)
            chunk = jax.tree.map(lambda x, own=own: np.asarray(x)[own], made)
        yield start + own.start, chunk


def _chunk(
    study: StudySpec, name: str, scenario: Scenario, numbers: range
) -> tuple[SimulatedData, dict[str, jax.Array]]:
    """Data and masks of `CHUNK` replications."""
    design = study.design(scenario)
    data = generate_batch(keys(study.seed, name, numbers, Stream.DATA), design)
    own = keys(study.seed, name, numbers, Stream.AMPUTATION)
    return data, _masks(design, study.mechanisms(scenario), data, own)


def _keys(study: StudySpec, block: Block, stream: Stream, name: str = "") -> jax.Array:
    return keys(study.seed, block.scenario, range(block.start, block.stop), stream, name)


def _masks(
    design: MultilevelDesign, mechanisms: list[Mechanism], data: SimulatedData, own: jax.Array
) -> dict[str, jax.Array]:
    levels = layout_of(structure_of(design)).levels
    names = [factor.name for factor in design.factors]
    categorical = frozenset(covariate.name for covariate in design.covariates if covariate.levels)
    # the number of trials is part of the design
    columns = {name: x for name, x in data.columns.items() if name != TRIALS or design.outcome is None}
    stack = Stack(columns, data.codes, dict(zip(names, levels, strict=True)), data.weights > 0, categorical)
    return mask_of(mechanisms, own, stack)


def _complete_frames(study: StudySpec, block: Block, scenario: Scenario) -> Iterator[pd.DataFrame | Exception]:
    """Complete frames of a block; an exception in the place of one that could not be made."""
    if isinstance(study.generate, FrameGenerator):
        for own in _keys(study, block, Stream.DATA):
            try:
                yield study.generate.function(scenario, generator(own))
            except Exception as error:
                yield error
        return
    for _, (data, _) in _chunks(study, block, scenario):
        yield from frames(data, study.design(scenario))


def _ampute_frame(
    study: StudySpec, scenario: Scenario, number: int, complete: pd.DataFrame | Exception, own: jax.Array
) -> FrameData:
    nothing = pd.DataFrame()
    if isinstance(complete, Exception):
        return FrameData(number, nothing, nothing, f"generate: {_text(complete)}")
    try:
        if isinstance(study.ampute, FrameAmputer):
            return FrameData(number, complete, study.ampute.function(complete, scenario, generator(own)))
        mechanisms = study.mechanisms(scenario)
        return FrameData(number, complete, apply(mechanisms, complete, own[None]).data if mechanisms else complete)
    except Exception as error:
        return FrameData(number, nothing, nothing, f"ampute: {_text(error)}")


def _analyse(study: StudySpec, data: FrameData, method: str, function: FrameMethod, context: Context) -> list[Record]:
    truth = study.truth(context.scenario)
    number = data.replication
    if data.error:
        return failed_records(data.error, replication=number, method=method, truth=truth)
    started = time.perf_counter()
    # warnings are caught for all threads of a process: one method at a time
    quieted = quiet(TwoValuedResponseWarning)
    with _RECORDING, quieted, warnings.catch_warnings(record=True) as caught, listening() as heard, recorded() as fits:
        warnings.simplefilter("always")
        try:
            found = function(data.data.copy(), context)
            seconds = time.perf_counter() - started
            message = "; ".join(dict.fromkeys([*(_text(w.message) for w in caught), *heard]))
            return method_records(
                found, replication=number, method=method, truth=truth, seconds=seconds, message=message, fits=fits
            )
        except Exception as error:
            seconds = time.perf_counter() - started
            return failed_records(_text(error), replication=number, method=method, truth=truth, seconds=seconds)


def _analyse_batch(study: StudySpec, batch: BatchData, name: str, method: BatchMethod) -> pd.DataFrame:
    truth = study.truth(batch.scenario)
    started = time.perf_counter()
    try:
        with float64():
            found = method.analyse_batch(batch)
            seconds = time.perf_counter() - started
            return batch_rows(found, replications=batch.replications, method=name, truth=truth, seconds=seconds)
    except RemlaxError:  # a mistake in the study, not in its data
        raise
    except Exception as error:
        lost = [
            record
            for number in batch.replications.tolist()
            for record in failed_records(_text(error), replication=number, method=name, truth=truth)
        ]
        return tidy_rows(lost)


def _text(error: BaseException | Warning | str) -> str:
    return f"{type(error).__name__}: {error}"
