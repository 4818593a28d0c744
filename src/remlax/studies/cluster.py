"""Blocks of a study on the workers of a dask cluster: one computer or many."""

from __future__ import annotations

import importlib
import os
import pickle
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import MissingExtraError, SimulationError
from .replicate import block_rows
from .runner import Done, share_compiled
from .store import Block, ResultStore

RETRIES = 2  # of a block whose task raised; a worker that dies is dealt with by dask itself


def run_on_cluster(
    client: Any,
    study: bytes,
    store: ResultStore,
    to_do: Sequence[Block],
    deadline: float | None,
    advance: Callable[[Done], None],
) -> None:
    """Compute blocks on the workers of a dask client; this process writes what comes back.

    A block whose worker dies is given to another worker, up to dask's ``allowed-failures`` times. Workers need no
    access to the results directory; where they have it, they share compiled programs in it.

    Parameters
    ----------
    client
        A `distributed.Client`.
    study
        The pickled study.
    store
        Its results directory, on this computer.
    to_do
        Blocks that are missing.
    deadline
        Time (monotonic) after which no further block is begun.
    advance
        Called with every block that is done.

    Raises
    ------
    SimulationError
        A block kills its worker every time, or the study has a mistake.
    MissingExtraError
        dask.distributed is not installed.
    """
    try:
        as_completed: Any = importlib.import_module("distributed").as_completed
    except ImportError as error:
        raise MissingExtraError("client= needs dask.distributed: pip install remlax[dask]") from error
    if not hasattr(client, "submit"):
        raise SimulationError(f"client= must be a distributed.Client, got {client!r}.")
    whole = client.scatter(study, broadcast=True, hash=False)
    here = (socket.gethostname(), os.getpid())
    directory = str(Path(store.directory).resolve())
    queue = list(to_do)
    blocks: dict[Any, Block] = {}
    seq = as_completed([], raise_errors=False)

    def begin() -> None:
        if queue and (deadline is None or time.monotonic() < deadline):
            block = queue.pop(0)
            scenario = dict(store.scenarios[block.scenario])
            future = client.submit(
                _remote_rows, whole, block, scenario, directory, here, retries=RETRIES, pure=False, key=_key(block)
            )
            blocks[future] = block
            seq.add(future)

    try:
        # twice as many as there are threads: a worker that is done finds its next block waiting
        for _ in range(max(2, 2 * sum(client.nthreads().values()))):
            begin()
        for future in seq:
            block = blocks.pop(future)
            if future.status != "finished":
                raise _failure(block, future.exception())
            rows, seconds = future.result()
            store.write(block, rows)
            advance(Done.of(block, rows, seconds))
            begin()
    finally:
        client.cancel(list(blocks))


def _key(block: Block) -> str:
    return f"remlax-{block.name}-{os.urandom(4).hex()}"


def _remote_rows(
    study: bytes, block: Block, scenario: dict[str, Any], directory: str, driver: tuple[str, int]
) -> tuple[pd.DataFrame, float]:
    started = time.perf_counter()
    if (socket.gethostname(), os.getpid()) != driver:  # a worker that is a thread of the user's process is left alone
        share_compiled(Path(directory))
    rows = block_rows(pickle.loads(study), block, scenario)
    return rows, time.perf_counter() - started


def _failure(block: Block, error: BaseException | None) -> BaseException:
    if isinstance(error, SimulationError):
        return error
    return SimulationError(
        f"Block {block.name} (replications {block.start} to {block.stop - 1}) failed on the cluster: "
        f"{type(error).__name__}: {error}. What was finished before is kept; replay its replications to see why."
    )
