"""Schedulers: where the blocks of a study are computed. This process, worker processes, or a dask cluster.

A scheduler takes blocks from a queue and yields them when they are done, in any order; `runner` writes them. An array
job is `here` with a queue of one block.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import multiprocessing
import os
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..batched.batch import Scenario
from ..errors import MissingExtraError, SimulationError
from ..progress import unseen
from .replicate import block_rows
from .specification import StudySpec
from .store import Block, ResultStore

ATTEMPTS = 2  # of a block, alone in a process, after a worker died that may have died of it
RETRIES = 2  # by dask, of a block whose task raised; a worker that dies is dealt with by dask itself


@dataclass(frozen=True)
class BlockResult:
    """A block that is done: its rows, and how long it took."""

    block: Block
    rows: pd.DataFrame
    seconds: float

    @property
    def failed(self) -> int:
        """Rows without an estimate."""
        return int((self.rows["status"] == "failed").sum())

    @property
    def reason(self) -> str:
        """Of the first failure, where all failed."""
        return str(self.rows["message"].iloc[0]) if self.failed == len(self.rows) else ""


class BlockQueue:
    """Blocks that are not begun; empty once time (monotonic) is up."""

    def __init__(self, blocks: Sequence[Block], deadline: float | None = None) -> None:
        self.blocks, self.deadline = deque(blocks), deadline

    def __bool__(self) -> bool:
        return bool(self.blocks) and (self.deadline is None or time.monotonic() < self.deadline)


Results = Generator[BlockResult, None, None]
Submit = Callable[[Block], Future[BlockResult]]


def here(queue: BlockQueue, study: StudySpec, store: ResultStore) -> Results:
    """Compute blocks in this process, one after the other."""
    while queue:
        block = queue.blocks.popleft()
        yield _compute(study, block, store.scenarios[block.scenario])


def worker_processes(queue: BlockQueue, study: bytes, store: ResultStore, workers: int) -> Results:
    """Compute blocks of a pickled study in processes of this computer.

    When one of them dies, what was running then is done alone, one by one; a block that dies there `ATTEMPTS` times is
    a SimulationError.
    """
    while True:
        running: dict[Future[BlockResult], Block] = {}
        with contextlib.suppress(BrokenProcessPool), _pool(workers, study, store) as submit:
            for _, future in _in_flight(submit, queue, workers, running):
                yield future.result()
            return
        for block in running.values():
            yield _alone(block, study, store)


def dask_cluster(queue: BlockQueue, study: bytes, store: ResultStore, client: Any) -> Results:
    """Compute blocks of a pickled study on the workers of a `distributed.Client`.

    A block whose worker dies is given to another worker, up to dask's ``allowed-failures`` times. Workers need no
    access to the results directory.

    Raises
    ------
    SimulationError
        Not a client, a block kills its worker every time, or the study has a mistake.
    MissingExtraError
        dask.distributed is not installed.
    """
    try:
        importlib.import_module("distributed")
    except ImportError as error:
        raise MissingExtraError("client= needs dask.distributed: pip install remlax[dask]") from error
    if not hasattr(client, "get_executor"):
        raise SimulationError(f"client= must be a distributed.Client, got {client!r}.")
    executor = client.get_executor(retries=RETRIES, pure=False)
    whole = client.scatter(study, broadcast=True, hash=False)

    def submit(block: Block) -> Future[BlockResult]:
        scenario = dict(store.scenarios[block.scenario])
        future: Future[BlockResult] = executor.submit(_compute_pickled, whole, block, scenario)
        return future

    # twice as many as there are threads: a worker that is done finds its next block waiting
    slots = max(2, 2 * sum(client.nthreads().values()))
    try:
        for block, future in _in_flight(submit, queue, slots, {}):
            failure = future.exception()
            if failure is not None:
                raise _cluster_error(block, failure)
            yield future.result()
    finally:
        executor.shutdown(wait=False)


def _in_flight(
    submit: Submit, queue: BlockQueue, slots: int, running: dict[Future[BlockResult], Block]
) -> Iterator[tuple[Block, Future[BlockResult]]]:
    """Keep so many blocks running, and yield those that are done; ``running`` holds the others, whatever happens."""
    while True:
        while queue and len(running) < slots:
            running[submit(queue.blocks[0])] = queue.blocks[0]
            queue.blocks.popleft()
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running[future], future
            del running[future]


def _compute(study: StudySpec, block: Block, scenario: Scenario) -> BlockResult:
    started = time.perf_counter()
    with unseen():
        rows = block_rows(study, block, scenario)
    return BlockResult(block, rows, time.perf_counter() - started)


def _compute_pickled(study: bytes, block: Block, scenario: Scenario) -> BlockResult:
    return _compute(_unpickled(study), block, scenario)


@functools.lru_cache(maxsize=1)
def _unpickled(study: bytes) -> StudySpec:
    found: StudySpec = pickle.loads(study)
    return found


@contextlib.contextmanager
def _pool(workers: int, study: bytes, store: ResultStore) -> Iterator[Submit]:
    context = multiprocessing.get_context("spawn")  # a forked JAX hangs
    with ProcessPoolExecutor(workers, context, initializer=_begin) as pool:
        try:
            yield lambda block: pool.submit(_compute_pickled, study, block, store.scenarios[block.scenario])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin() -> None:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several processes may share one GPU
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _alone(block: Block, study: bytes, store: ResultStore) -> BlockResult:
    for _ in range(ATTEMPTS):
        with contextlib.suppress(BrokenProcessPool), _pool(1, study, store) as submit:
            return submit(block).result()
    raise SimulationError(
        f"The worker process died {ATTEMPTS} times in block {block.name} (replications {block.start} to "
        f"{block.stop - 1}): it may need more memory than there is; replay its replications to see why."
    )


def _cluster_error(block: Block, error: BaseException) -> BaseException:
    if isinstance(error, SimulationError):
        return error
    return SimulationError(
        f"Block {block.name} (replications {block.start} to {block.stop - 1}) failed on the cluster: "
        f"{type(error).__name__}: {error}. What was finished before is kept; replay its replications to see why."
    )
