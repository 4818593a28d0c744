"""Commands for a scheduler: one block of a prepared study at a time, and what is left to do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..errors import RemlaxError, SimulationError
from .folder import locked
from .runner import load_study, written
from .schedulers import BlockQueue, here
from .store import read_store


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    ``run-block DIR I`` does block I of the study in DIR unless it is finished; a SLURM array whose index runs
    over the blocks does them all, and submitting it again does what is missing. ``status DIR`` counts blocks, and fits
    that failed. ``run-block`` unpickles the study, which runs code: only in directories that you trust.

    Parameters
    ----------
    arguments
        The command line after the program's name; that of the process if None.

    Returns
    -------
    int
        0, or 1 after an error, whose message goes to standard error.
    """
    parser = argparse.ArgumentParser(prog="python -m remlax.sim", description="Blocks of a simulation study.")
    commands = parser.add_subparsers(dest="command", required=True)
    block = commands.add_parser("run-block", help="do one block of a study that was prepared with Study.prepare")
    block.add_argument("directory", metavar="DIR")
    block.add_argument("index", type=int, metavar="I", help="number of the block, from 0")
    status = commands.add_parser(
        "status", help="count failed fits, and finished, missing and damaged blocks, by scenario"
    )
    status.add_argument("directory", metavar="DIR")
    given = parser.parse_args(arguments)
    try:
        if given.command == "run-block":
            print(_run_block(given.directory, given.index))
        else:
            print(read_store(given.directory).summary().to_string(index=False))
    except RemlaxError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _run_block(directory: str, index: int) -> str:
    study, store = load_study(directory)
    blocks = store.blocks()
    if not 0 <= index < len(blocks):
        raise SimulationError(f"The study in {directory} has blocks 0 to {len(blocks) - 1}; there is no {index}.")
    if store.status(blocks[index]) == "finished":
        return f"block {index} of {len(blocks)} ({blocks[index].name}) is finished already"
    with locked(store.directory):
        (done,) = written(store, here(BlockQueue([blocks[index]]), study, store))
    report = f"{len(done.rows)} rows, {done.failed} failed, {done.seconds:.1f} s"
    if done.reason:
        report += f": {done.reason}"
    return f"block {index} of {len(blocks)} ({done.block.name}): {report}"
