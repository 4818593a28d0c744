"""Batch: many data sets with one structure, and the one function that maps a kernel over them.

Data sets run in chunks about the size of the cache, on as many threads as there are cores. Nothing a data set does
changes its neighbours.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

from ..kernels.blocks import UNROLL_UP_TO
from ..kernels.problem import Problem, Structure
from ..progress import progress
from .placement import over_sets, place
from .programs import PROGRAMS, Program, float64, prepare_aside, shape_of
from .shapes import bucket, power_of_two

# bytes of cross-products per chunk of data sets: about the L2 cache of one core
CHUNK_BYTES = 2**20
MAX_CHUNK = 512
# the same for an accelerator: enough to fill it, temporaries (about six times as much) well inside its memory
DEVICE_CHUNK_BYTES = 2**29
MAX_DEVICE_CHUNK = 2**15
# the older emitters of loops, with which kernels compile in about half the time and run as fast; the last digits of a
# number may depend on the shapes then, which draws of imputations may not
QUICK = (("xla_cpu_use_fusion_emitters", False),)
T = TypeVar("T")
Static = tuple[tuple[str, Hashable], ...]
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Batch:
    """K data sets with one structure.

    Parameters
    ----------
    problem : Problem
        Every leaf of its products has a leading axis of data sets (K, ...). The index is built over the union of their
        levels; a block that a data set lacks is zero there.
    mesh : Mesh, optional
        Devices that share the data sets; None is JAX's default device.
    """

    problem: Problem[Any, Any]
    mesh: Mesh | None = None

    @property
    def structure(self) -> Structure:
        """Structure that all data sets share."""
        structure: Structure = self.problem.structure
        return structure

    @property
    def n_sets(self) -> int:
        """Number K of data sets."""
        return int(self.problem.products.n_obs.shape[0])

    def take(self, which: np.ndarray) -> Batch:
        """Take some data sets."""
        return self.with_products(jax.tree.map(lambda a: a[which], self.problem.products))

    def one(self, k: int) -> Problem[Any, Any]:
        """Problem of one data set."""
        return self.problem.filled(jax.tree.map(lambda a: a[k], self.problem.products), self.problem.index)

    def with_products(self, products: Any) -> Batch:
        """Replace the cross-products."""
        return replace(self, problem=self.problem.filled(products, self.problem.index))

    def with_reml(self, reml: bool) -> Batch:
        """Return the same data sets under REML or ML."""
        return replace(self, problem=self.problem.with_reml(reml))


def chunk_size(batch: Batch, threads: int, n_runs: int | None = None, *, some: bool = False) -> int:
    """Data sets per chunk: a rounded number that fits the cache and gives every thread as much work.

    ``n_runs`` is the number of runs where it is not that of the data sets. On a mesh every device gets such a number.
    ``some``: these are some data sets of a list, another number each time, so that only powers of two are taken.
    """
    devices = 1 if batch.mesh is None else batch.mesh.size
    runs = -(-(batch.n_sets if n_runs is None else n_runs) // devices)
    if runs == 1:
        return devices
    room, most = (CHUNK_BYTES, MAX_CHUNK) if _platform(batch) == "cpu" else (DEVICE_CHUNK_BYTES, MAX_DEVICE_CHUNK)
    each = sum(leaf.nbytes for leaf in jax.tree.leaves(batch.problem.products)) / batch.n_sets
    each = max(each, 8.0 * batch.structure.n_dense**2)
    fits = max(1, min(most, int(room // max(each, 1.0))))
    # a second thread is worth its start from about a quarter of a chunk of work
    share = runs if 4 * each * runs < room else -(-runs // threads)
    most_sets = power_of_two(fits)
    if share > most_sets:
        rounds = -(-share // most_sets)
        share = -(-share // rounds)
    return devices * min(most_sets, bucket(share, per_octave=1 if some else 4))


@functools.cache
def n_cores() -> int:
    """Cores of the machine; the system takes long to tell."""
    return os.cpu_count() or 1


def _threads(batch: Batch) -> int:
    """Threads that feed chunks: one where several devices share each of them, or where a device computes."""
    several = batch.mesh is not None and batch.mesh.size > 1
    return n_cores() if _platform(batch) == "cpu" and not several else 1


def _platform(batch: Batch) -> str:
    return jax.default_backend() if batch.mesh is None else str(batch.mesh.devices.flat[0].platform)


@functools.cache
def mapped(kernel: Callable[..., Any]) -> Program:
    """Compile a kernel over data sets: a function of (arguments, problem, static, mesh)."""

    def over(
        arguments: tuple[Any, ...], problem: Problem[Any, Any], static: Static = (), mesh: Mesh | None = None
    ) -> Any:
        def one(own: tuple[Any, ...], of: Problem[Any, Any]) -> Any:
            return kernel(*own, of, **dict(static))

        return over_sets(one, problem, mesh)(arguments, problem)

    over.__name__ = kernel.__name__  # which profiles and dumps of XLA show
    return Program(over, ("static", "mesh"), f"{kernel.__module__}.{kernel.__qualname__}", QUICK)


def run(
    kernel: Callable[..., T],
    batch: Batch,
    *arguments: Any,
    which: np.ndarray | None = None,
    lapack: bool = False,
    some: bool = False,
    **static: Hashable,
) -> T:
    """Map a kernel over the data sets of a batch, in chunks on a pool of threads; arrays come back on the host.

    Every chunk has the same number of data sets (the last is filled with copies of its first), so that one compiled
    program serves all. Several devices share every chunk; then one thread feeds them.

    Parameters
    ----------
    kernel : callable
        Of (*arguments, problem) of one data set; a function of a module, which is what programs are kept by.
    batch : Batch
    *arguments
        Pytrees of arrays with a leading axis of data sets, or of runs of the data sets ``which``.
    which : ndarray of int, optional
        Data set of each run; one may run several times.
    lapack : bool, default False
        The kernel calls LAPACK, as every kernel of a term with many columns does: chunks must not run at one time then,
        for the calls wait for each other for ever (see kernels/small.py).
    some : bool, default False
        See `chunk_size`.
    **static
        Further arguments of the kernel: hashable, part of the compile key.
    """
    threads = _threads(batch)
    sets = np.arange(batch.n_sets) if which is None else which
    size = chunk_size(batch, threads, len(sets), some=some)
    pieces = [np.arange(i, min(i + size, len(sets))) for i in range(0, len(sets), size)]
    alone = lapack or max(batch.structure.q) > UNROLL_UP_TO
    compiled, fixed = mapped(kernel), tuple(sorted(static.items()))

    def one(piece: np.ndarray) -> T:
        own, problem = arguments, batch.problem
        if which is not None or size != batch.n_sets:
            filled = np.concatenate([piece, np.repeat(piece[:1], size - len(piece))])
            own = jax.tree.map(lambda a: np.asarray(a)[filled], arguments)
            problem = batch.take(sets[filled]).problem
        # and no other thread of the process runs one at that time
        with float64(), _ONE_AT_A_TIME if alone else nullcontext():
            placed = place(batch.mesh, own, problem)
            out = compiled(*placed, static=fixed, mesh=batch.mesh)
            on_host: T = jax.tree.map(lambda a: np.asarray(a)[: len(piece)], out)
            return on_host

    if len(pieces) == 1:
        return one(pieces[0])
    joined: T = jax.tree.map(lambda *parts: np.concatenate(parts), *_in_threads(one, pieces, 1 if alone else threads))
    return joined


# by then what is waited for has begun
SECONDS_LATER = 0.05
_BEGUN: set[Hashable] = set()


def run_later(kernel: Callable[..., Any], batch: Batch, *arguments: Any, **static: Hashable) -> None:
    """Begin to compile what `run` of these will need, side by side with what is compiled now.

    What was begun before is known by structure and number of data sets, since a warm fit asks as well.
    """
    fixed, size = tuple(sorted(static.items())), chunk_size(batch, _threads(batch))
    name = (kernel, batch.structure, size, fixed, PROGRAMS.dropped)
    if batch.mesh is not None or name in _BEGUN:
        return
    _BEGUN.add(name)
    own, products = jax.tree.map(lambda a: shape_of(a, size), (arguments, batch.problem.products))
    problem = batch.problem.filled(products, batch.problem.index)
    prepare_aside(SECONDS_LATER, mapped(kernel), own, problem, static=fixed, mesh=None)


def _in_threads(one: Callable[[np.ndarray], T], pieces: list[np.ndarray], threads: int) -> list[T]:
    results = []
    with progress(sum(map(len, pieces)), "fit") as advance, ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(one, piece) for piece in pieces]
        try:
            for piece, future in zip(pieces, waiting, strict=True):
                results.append(future.result())
                advance(len(piece))
        finally:
            for future in waiting:  # after Ctrl-C none of them begins
                future.cancel()
    return results
