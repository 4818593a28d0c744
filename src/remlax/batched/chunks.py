"""Replications in chunks of one size, so that the same compiled programs serve every block, on all threads."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from ..engine.programs import float64, shape_of
from ..engine.shapes import bucket, power_of_two
from ..kernels.blocks import UNROLL_UP_TO
from ..memory import available_bytes
from ..simulation.keys import IMPLEMENTATION
from .array_model import ArrayModel, Groups
from .glmm_model import GlmmModel, TiledRows
from .glmm_pipeline import analyse_glmm, compile_glmm_ahead
from .mmrm_model import MmrmModel, TemplateRows
from .mmrm_pipeline import analyse_mmrm, compile_mmrm_ahead
from .pipeline import (
    Analysis,
    AnalysisOptions,
    Findings,
    ReplicationColumns,
    Treatment,
    analyse,
    analyse_on,
    compile_ahead,
)

CACHE_BYTES = 2**21  # of the replications that are treated at a time
CHUNK_BYTES = 2**26  # of those that one call of the compiled program holds, at most

Ddf = Literal["satterthwaite", "residual"] | float


class Job(NamedTuple):
    """What is to be done with a batch of R replications.

    The rows of ``columns`` are weights here: 0 for padding. The batch is cut into chunks for ``threads``, of ``size``
    replications per call of the compiled program and device.
    """

    columns: ReplicationColumns
    groups: Groups | TiledRows | TemplateRows
    analysis: Analysis
    threads: int
    size: int


def make_job(
    columns: ReplicationColumns,
    groups: Groups | TiledRows | TemplateRows,
    model: ArrayModel,
    treatment: Treatment,
    dfcom: Ddf,
    full: int,
) -> Job:
    """A job in chunks that suit a ``full`` batch of the same study: a last, smaller one is filled up."""
    r, n = columns.rows.shape
    width = 4 + len(columns.values) * 3 + sum(len(z) for z in model.random) * 4 + len(model.fixed) * 2
    per_replication = 8 * n * treatment.sets * width
    devices = jax.local_device_count()
    threads = threads_of(model) if devices == 1 and jax.default_backend() == "cpu" else 1
    shares = threads * devices
    most = max(1, min(CHUNK_BYTES, available_bytes() // (4 * shares)) // per_replication)
    size = min(power_of_two(most), bucket(-(-max(r, full) // shares), per_octave=1))
    options = AnalysisOptions(
        satterthwaite=dfcom == "satterthwaite",
        dfcom=None if isinstance(dfcom, str) else float(dfcom),
        at_once=min(size, power_of_two(max(1, CACHE_BYTES // per_replication))),
    )
    return Job(columns, groups, Analysis(model, treatment, options), threads, size)


def threads_of(model: ArrayModel) -> int:
    """All cores, or all but one where LAPACK factors matrices: its calls wait in XLA's threads, and all would wait."""
    cores = os.cpu_count() or 1
    return max(1, cores - 1) if max(model.shape.structure.q) > UNROLL_UP_TO else cores


def programs(keys: Any, job: Job) -> list[Future[Any]]:
    """The compiled programs for one chunk of a batch, begun."""
    own, columns = jax.tree.map(lambda leaf: shape_of(leaf, job.size), (keys, job.columns))
    begin: Any = {GlmmModel: compile_glmm_ahead, MmrmModel: compile_mmrm_ahead}.get(
        type(job.analysis.model), compile_ahead
    )
    begun: list[Future[Any]] = begin(own, columns, job.groups, job.analysis)
    return begun


def in_chunks(keys: jax.Array, job: Job) -> Findings:
    """Run the compiled program on chunks of replications: one per thread, or one for all devices."""
    r = job.columns.rows.shape[0]
    devices = tuple(jax.local_devices())
    several: dict[str, Any] = {"devices": devices} if len(devices) > 1 else {}
    lmm: Any = analyse_on if several else analyse
    one: Any = {GlmmModel: analyse_glmm, MmrmModel: analyse_mmrm}.get(type(job.analysis.model), lmm)
    program = partial(one, analysis=job.analysis, **several)
    if not several:
        for compiled in programs(keys, job):
            compiled.result()
    whole = job.size * len(devices)
    values = jax.tree.map(np.asarray, (jax.random.key_data(keys), job.columns))

    def run(start: int) -> Findings:
        with float64():
            which = np.minimum(np.arange(start, start + whole), r - 1)  # the last chunk is filled up
            words, part = jax.tree.map(lambda a: a[which], values)
            found = program(jax.random.wrap_key_data(words, impl=IMPLEMENTATION), part, job.groups)
            on_host: Findings = jax.tree.map(lambda a: np.asarray(a)[: r - start], found)
            return on_host

    with ThreadPoolExecutor(job.threads) as pool:
        parts = list(pool.map(run, range(0, r, whole)))
    joined: Findings = jax.tree.map(lambda *pieces: np.concatenate(pieces), *parts)
    return joined
