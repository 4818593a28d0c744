"""Blocks of responses fitted by the workers of a dask cluster."""

from __future__ import annotations

import functools
import importlib
import pickle
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..errors import DataError, FitError, MissingExtraError
from ..progress import unseen
from .estimates import ResponseFits
from .fit import SharedDesign

# by dask, of a block whose task raised; a worker that dies is dealt with by dask itself
RETRIES = 2
Fits = tuple[ResponseFits, ...]
Key = TypeVar("Key")


@dataclass(frozen=True, eq=False)
class Unfitted:
    """A block of responses (m, n) that are to be fitted, perhaps with weights (m, n) of their own."""

    y: np.ndarray
    weights: np.ndarray | None

    def fit(self, designs: Sequence[SharedDesign]) -> Fits:
        """Fit them to every design."""
        return tuple(design.fit(self.y, self.weights) for design in designs)


class Cluster:
    """The workers of a `distributed.Client`, which hold the designs.

    Parameters
    ----------
    client : distributed.Client
    designs : sequence of SharedDesign

    Raises
    ------
    DataError
        Not a client, or one that is closed.
    MissingExtraError
        dask.distributed is not installed.
    """

    def __init__(self, client: Any, designs: Sequence[SharedDesign]) -> None:
        try:
            importlib.import_module("distributed")
        except ImportError as error:
            raise MissingExtraError("client= needs dask.distributed: pip install remlax[dask]") from error
        if not hasattr(client, "get_executor"):
            raise DataError(f"client= must be a distributed.Client, not {client!r}")
        if client.status != "running":
            raise DataError(f"client= is {client.status}, and has no workers: make another distributed.Client")
        self._client = client
        self._designs = client.scatter(pickle.dumps(tuple(designs)), broadcast=True, hash=False)

    def fits(self, blocks: Iterable[tuple[Key, Unfitted | Fits]]) -> Iterator[tuple[Key, Fits]]:
        """Fit blocks of responses, and pass on those that are fitted, in order.

        Raises
        ------
        FitError
            A block kills its worker every time.
        """
        executor = self._client.get_executor(retries=RETRIES, pure=False)
        # twice as many as there are threads: a worker that is done finds its next block waiting
        slots = max(2, 2 * sum(self._client.nthreads().values()))
        waiting: deque[tuple[Key, Future[Fits] | Fits]] = deque()
        try:
            for key, block in blocks:
                if isinstance(block, Unfitted):
                    waiting.append((key, executor.submit(_fit_pickled, self._designs, block)))
                else:
                    waiting.append((key, block))
                if len(waiting) >= slots:
                    yield _result(*waiting.popleft())
            while waiting:
                yield _result(*waiting.popleft())
        finally:
            executor.shutdown(wait=False)


def _result(key: Key, found: Future[Fits] | Fits) -> tuple[Key, Fits]:
    if isinstance(found, tuple):
        return key, found
    failure = found.exception()
    if failure is not None:
        raise FitError(f"a block of responses failed on the cluster: {type(failure).__name__}: {failure}") from failure
    return key, found.result()


def _fit_pickled(designs: bytes, block: Unfitted) -> Fits:
    with unseen():
        return block.fit(_unpickled(designs))


@functools.lru_cache(maxsize=1)
def _unpickled(designs: bytes) -> tuple[SharedDesign, ...]:
    found: tuple[SharedDesign, ...] = pickle.loads(designs)
    return found
