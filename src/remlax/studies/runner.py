"""Running the blocks of a study: here, in worker processes, or one by one under a scheduler."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import platform
import runpy
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import jax
import pandas as pd

from ..cache import enable_compilation_cache
from ..checks import Checks
from ..errors import FileFormatError, RemlaxError, SimulationError
from ..progress import unseen
from ..simulation.fingerprint import digest
from .folder import replacing
from .replicate import block_rows
from .specification import StudySpec
from .store import Block, ResultStore, read_store

STUDY = "study.pickle"
# what unpickling a damaged file may raise
DAMAGE = (pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError, ImportError, ValueError,
          ArithmeticError, MemoryError, NotImplementedError, RecursionError, OSError, struct.error)  # fmt: skip
_log = logging.getLogger(__name__)
ATTEMPTS = 2  # of a block, alone in a process, after a worker died that may have died of it


@dataclass(frozen=True)
class Done:
    """What is reported of a finished block."""

    block: Block
    rows: int
    failed: int
    seconds: float
    reason: str = ""  # of the first failure, where all failed

    @classmethod
    def of(cls, block: Block, rows: pd.DataFrame, seconds: float) -> Done:
        """What is reported of these rows."""
        failed = rows["status"] == "failed"
        return cls(block, len(rows), int(failed.sum()), seconds, rows["message"].iloc[0] if failed.all() else "")


class Bar(Protocol):
    """A progress bar, as tqdm's."""

    def update(self, n: int) -> object:
        """Advance."""
        ...

    def set_postfix(self, **values: object) -> None:
        """Show numbers after the bar."""
        ...

    def close(self) -> None:
        """Finish the line."""
        ...


Elsewhere = Callable[[bytes, ResultStore, Sequence[Block], float | None, Callable[[Done], None]], None]


def run_block(study: StudySpec, store: ResultStore, block: Block) -> Done:
    """Compute one block and write its part."""
    started = time.perf_counter()
    with unseen():
        rows = block_rows(study, block, store.scenarios[block.scenario])
    store.write(block, rows)
    return Done.of(block, rows, time.perf_counter() - started)


def run_blocks(
    study: StudySpec,
    store: ResultStore,
    *,
    workers: int,
    max_time: float | None,
    progress: bool,
    elsewhere: Elsewhere | None = None,
) -> None:
    """Compute what is missing.

    Parameters
    ----------
    study
        The study.
    store
        Its results directory.
    workers
        Worker processes; 1: this process does the work.
    max_time
        Seconds after which no further block is begun; None: no limit.
    progress
        Whether to show a progress bar.
    elsewhere
        Runs blocks (of a pickled study, in a store, until a deadline) on other computers.

    Raises
    ------
    SimulationError
        A part cannot be written, the study cannot be sent to workers, or a block kills its worker every time.
    MissingExtraError
        pyarrow is not installed.
    """
    to_do = store.to_do()
    deadline = None if max_time is None else time.monotonic() + max_time
    with _bar(len(store.blocks()), len(to_do), progress) as advance:
        if elsewhere is not None:
            elsewhere(pickled(study), store, to_do, deadline, advance)
        elif workers == 1:
            for block in to_do:
                if deadline is not None and time.monotonic() >= deadline:
                    return
                advance(run_block(study, store, block))
        else:
            _run_pool(pickled(study), store, to_do, workers, deadline, advance)


def pickled(study: StudySpec) -> bytes:
    """A study as bytes, for other processes.

    Raises
    ------
    SimulationError
        A function of the study is a lambda or was defined inside another function.
    """
    try:
        return pickle.dumps(study)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise SimulationError(
            f"The study cannot be sent to other processes ({error}): define its functions at the top level of a "
            "module or script, not as lambdas or inside functions; or use workers=1."
        ) from error


def save_study(study: StudySpec, directory: Path) -> None:
    """Put a study into its results directory, for `load_study` in other processes."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    content = {"script": script and str(Path(script).resolve()), "path": sys.path, "study": pickled(study)}
    with replacing(directory / STUDY) as temporary:
        temporary.write_bytes(pickle.dumps(content))


def load_study(directory: str | os.PathLike[str]) -> tuple[StudySpec, ResultStore]:
    """Take a study and its results directory up again, in another process.

    The study is unpickled, which runs code: open only directories that you trust.

    Raises
    ------
    FileFormatError
        There is no study, or it is damaged.
    SimulationError
        The code that the study names has changed since.
    """
    root = Checks(FileFormatError).path(directory, "the directory of the results")
    try:
        content = pickle.loads((root / STUDY).read_bytes())
        sys.path.extend(entry for entry in content["path"] if entry not in sys.path)
        _adopt(content["script"])
        study: StudySpec = pickle.loads(content["study"])
        parts = {name: digest(value) for name, value in study.fingerprint().items()}
    except FileNotFoundError as error:
        raise FileFormatError(f"{directory} holds no {STUDY}: make it with study.prepare(directory).") from error
    except DAMAGE as error:
        raise FileFormatError(f"{root / STUDY} cannot be read ({error}): prepare the study again.") from error
    store = read_store(root)
    if digest(parts) != store.hash:
        raise SimulationError(f"The code of the study in {root} has changed: prepare it in a new directory.")
    # blocks are numbered as `Study.prepare` did, whatever scenarios were added since
    return study, replace(store, scenarios=study.table(), replications=study.replications)


def _adopt(script: str | None) -> None:
    """Let functions that were pickled from a script be found, as multiprocessing's spawn does."""
    if script is not None and Path(script).exists():
        main = vars(sys.modules["__main__"])
        names = runpy.run_path(script, run_name="__mp_main__")
        main.update({name: value for name, value in names.items() if name not in main})


def _run_pool(
    study: bytes,
    store: ResultStore,
    to_do: Sequence[Block],
    workers: int,
    deadline: float | None,
    advance: Callable[[Done], None],
) -> None:
    """Blocks in worker processes. When one of these dies, what was running then is done alone, one by one."""
    waiting = list(to_do)
    while waiting:
        with _pool(workers, study, store) as pool:
            suspects, waiting = _feed(pool, waiting, workers, deadline, advance)
        for block in suspects:
            _alone(block, study, store, advance)
        if not suspects:
            return


@contextlib.contextmanager
def _pool(workers: int, study: bytes, store: ResultStore) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")  # a forked JAX hangs
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(study, store)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _feed(
    pool: ProcessPoolExecutor,
    waiting: Sequence[Block],
    workers: int,
    deadline: float | None,
    advance: Callable[[Done], None],
) -> tuple[list[Block], list[Block]]:
    """Keep all workers busy until all is done or time is up.

    Returns what was running when a worker died (nothing if none did), and what was not begun.
    """
    queue = list(waiting)
    running: dict[Future[Done], Block] = {}
    try:
        while queue or running:
            while queue and len(running) < workers and (deadline is None or time.monotonic() < deadline):
                running[pool.submit(_work, queue[0])] = queue[0]
                queue.pop(0)
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                advance(future.result())
                del running[future]
    except BrokenProcessPool:
        return list(running.values()), queue
    return [], queue


def _alone(block: Block, study: bytes, store: ResultStore, advance: Callable[[Done], None]) -> None:
    for _ in range(ATTEMPTS):
        with contextlib.suppress(BrokenProcessPool), _pool(1, study, store) as pool:
            advance(pool.submit(_work, block).result())
            return
    raise SimulationError(
        f"The worker process died {ATTEMPTS} times in block {block.name} (replications {block.start} to "
        f"{block.stop - 1}): it may need more memory than there is; replay its replications to see why."
    )


_worker: dict[str, object] = {}  # what a worker process works on, set once when it begins


def _begin(study: bytes, store: ResultStore) -> None:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several processes may share one GPU
    threading.Thread(target=_end_with_parent, daemon=True).start()
    share_compiled(store.directory)
    _worker.update(study=pickle.loads(study), store=store)


def share_compiled(directory: Path) -> None:
    """Let worker processes find each other's compiled programs in the results directory; never in a user's process.

    One folder per kind of processor, since a cluster may have several. Without access the worker compiles for itself.
    """
    if jax.config.values.get("jax_compilation_cache_dir"):
        return
    with contextlib.suppress(RemlaxError):  # a folder that is not to be trusted or cannot be written
        enable_compilation_cache(directory / "compiled" / digest([platform.machine(), _processor()]))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return " ".join(dict.fromkeys(line for line in lines if line.startswith(("model name", "flags", "Features"))))


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(block: Block) -> Done:
    study, store = _worker["study"], _worker["store"]
    assert isinstance(study, StudySpec)
    assert isinstance(store, ResultStore)
    return run_block(study, store, block)


def _note(done: Done) -> None:
    _log.info("block %s: %d rows, %d failed, %.2f s", done.block.name, done.rows, done.failed, done.seconds)


@contextlib.contextmanager
def _bar(total: int, left: int, show: bool) -> Iterator[Callable[[Done], None]]:
    if not show:
        yield _note
        return
    from tqdm.auto import tqdm  # it would add to the start of every process

    bar: Bar = tqdm(total=total, initial=total - left, unit="block")
    failures = 0

    def advance(done: Done) -> None:
        nonlocal failures
        failures += done.failed
        _note(done)
        bar.set_postfix(failed_rows=failures)
        bar.update(1)

    try:
        yield advance
    finally:
        bar.close()
