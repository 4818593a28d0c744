"""Running the blocks of a study, and its pickled copy for processes that begin later."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import runpy
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..checks import Checks
from ..errors import FileFormatError, SimulationError
from ..progress import turned_off
from .folder import replacing
from .schedulers import BlockQueue, BlockResult, Results, dask_cluster, here, worker_processes
from .specification import StudySpec
from .store import ResultStore, read_store

STUDY = "study.pickle"
# what unpickling a damaged file may raise
DAMAGE = (pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError, ImportError, ValueError,
          ArithmeticError, MemoryError, NotImplementedError, RecursionError, OSError, struct.error)  # fmt: skip
_log = logging.getLogger(__name__)


def run_blocks(
    study: StudySpec, store: ResultStore, *, workers: int, client: Any, max_time: float | None, progress: bool
) -> None:
    """Do the blocks that a store lacks; parameters and errors as of `Study.run`."""
    to_do = store.to_do()
    queue = BlockQueue(to_do, None if max_time is None else time.monotonic() + max_time)
    if client is not None:
        results = dask_cluster(queue, pickled(study), store, client)
    elif workers > 1:
        results = worker_processes(queue, pickled(study), store, workers)
    else:
        results = here(queue, study, store)
    with _bar(len(store.blocks()), len(to_do), progress) as advance:
        for done in written(store, results):
            advance(done)


def written(store: ResultStore, results: Results) -> Iterator[BlockResult]:
    """What a scheduler yields, when it is in its file."""
    with contextlib.closing(results):
        for done in results:
            store.write(done.block, done.rows)
            yield done


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
        plan = study.plan()
        hash_ = plan.hash
    except FileNotFoundError as error:
        raise FileFormatError(f"{directory} holds no {STUDY}: make it with study.prepare(directory).") from error
    except DAMAGE as error:
        raise FileFormatError(f"{root / STUDY} cannot be read ({error}): prepare the study again.") from error
    store = read_store(root)
    if hash_ != store.hash:
        raise SimulationError(f"The code of the study in {root} has changed: prepare it in a new directory.")
    # blocks are numbered as `Study.prepare` did, whatever scenarios were added since
    return study, replace(store, scenarios=plan.scenarios, replications=plan.replications)


def _adopt(script: str | None) -> None:
    """Let functions that were pickled from a script be found, as multiprocessing's spawn does."""
    if script is not None and Path(script).exists():
        main = vars(sys.modules["__main__"])
        names = runpy.run_path(script, run_name="__mp_main__")
        main.update({name: value for name, value in names.items() if name not in main})


def _note(done: BlockResult) -> None:
    _log.info("block %s: %d rows, %d failed, %.2f s", done.block.name, len(done.rows), done.failed, done.seconds)


@contextlib.contextmanager
def _bar(total: int, left: int, show: bool) -> Iterator[Callable[[BlockResult], None]]:
    if not show or turned_off():
        yield _note
        return
    from tqdm.auto import tqdm  # it would add to the start of every process

    bar = tqdm(total=total, initial=total - left, unit="block", disable=False)
    failures = 0

    def advance(done: BlockResult) -> None:
        nonlocal failures
        failures += done.failed
        _note(done)
        bar.set_postfix(failed_rows=failures)
        bar.update(1)

    try:
        yield advance
    finally:
        bar.close()
