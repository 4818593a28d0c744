"""Results of a study on disk: one file per block of replications, whole or not there at all.

A directory holds ``manifest.json`` (what the study is, its scenarios, versions) and ``parts/``, with one parquet file
per block, named after the scenario and the number of the block. A part is written under a temporary name (beginning
with a dot; left-overs of killed processes may be deleted) and renamed, which is atomic. A block is finished when its
part can be read, its checksums hold, and it says itself that it was written for this study, this scenario and these
replications. So any number of processes can work for one study in its directory; another study is refused there.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import pandas as pd

from ..checks import Checks
from ..errors import FileFormatError, MissingExtraError, SimulationError, SimulationWarning, warn
from ..simulation.keys import versions
from ..simulation.rows import COLUMNS
from .folder import locked, replacing
from .manifest import MANIFEST, StudyPlan, check_owner, check_same, claimed, read_manifest
from .shortfall import failed_fits, failure_notes, partial_note

checks = Checks(SimulationError)

Status = Literal["finished", "missing", "damaged"]


@dataclass(frozen=True)
class Block:
    """Replications start to stop - 1 of one scenario."""

    scenario: str
    index: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Name of the block's file, without its ending."""
        return f"{self.scenario}-{self.index:06d}"

    @property
    def full(self) -> int:
        """Replications of the block, or of those before it if it is the last and smaller."""
        return self.start // self.index if self.index else self.stop - self.start


@dataclass(frozen=True, repr=False)
class ResultStore:
    """The results directory of one study.

    Attributes
    ----------
    directory
        Where it is.
    hash
        Hash of the study's specification, without its scenarios and number of replications.
    scenarios
        Parameters of each scenario, by its name, in order.
    replications
        Replications of each scenario.
    block_size
        Replications per block.

    Examples
    --------
    >>> store = ResultStore(Path("results"), "0" * 16, {"00000000000000ff": {"J": 30}}, 100, 64)
    >>> [(block.start, block.stop) for block in store.blocks()]
    [(0, 64), (64, 100)]
    """

    directory: Path
    hash: str
    scenarios: Mapping[str, Mapping[str, Any]]
    replications: int
    block_size: int

    def __repr__(self) -> str:
        rows, found = self._survey()
        done = sum(status == "finished" for status in found.values())
        failed = failed_fits(rows)
        return (
            f"{self.directory}: {len(self.scenarios)} scenarios x {self.replications} replications, "
            f"{done} of {len(found)} blocks finished"
            + (f", {failed.sum()} of {failed.size} fits failed ({failed.mean():.0%})" if failed.any() else "")
        )

    def blocks(self) -> list[Block]:
        """Every block of the study, in order."""
        starts = range(0, self.replications, self.block_size)
        return [
            Block(scenario, index, start, min(start + self.block_size, self.replications))
            for scenario in self.scenarios
            for index, start in enumerate(starts)
        ]

    def path(self, block: Block) -> Path:
        """The file of a block."""
        return self.directory / "parts" / f"{block.name}.parquet"

    def status(self, block: Block) -> Status:
        """Whether a block is finished, missing, or there but unusable (truncated, corrupt, of another study)."""
        return self._read(block)[1]

    def to_do(self) -> list[Block]:
        """Blocks that are missing or damaged, in order."""
        return [block for block in self.blocks() if self.status(block) != "finished"]

    def write(self, block: Block, rows: pd.DataFrame) -> None:
        """Write the rows of a block, with `COLUMNS`, whole or not at all; an existing part is replaced.

        Raises
        ------
        SimulationError
            The file cannot be written, and earlier parts stay whole; or the directory belongs to another study by now.
        MissingExtraError
            pyarrow is not installed.
        """
        arrow, parquet = _pyarrow()
        note = {"hash": self.hash, "scenario": block.scenario, "start": block.start, "stop": block.stop,
                "rows": len(rows), "versions": versions()}  # fmt: skip
        table = arrow.Table.from_pandas(rows[list(COLUMNS)], preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"remlax": json.dumps(note).encode()})
        with locked(self.directory):  # nobody takes the directory over between the look at its owner and the end
            check_owner(self.directory, self.hash, self.block_size)
            with replacing(self.path(block)) as temporary, temporary.open("wb") as file:
                parquet.write_table(table, file, write_page_checksum=True)
                file.flush()
                os.fsync(file.fileno())
            check_owner(self.directory, self.hash, self.block_size)  # for file systems without locks

    def read(self, block: Block) -> pd.DataFrame:
        """Rows of a finished block; a FileFormatError if its file is truncated, corrupt, or written for another one."""
        arrow, parquet = _pyarrow()
        path = self.path(block)
        try:
            table = parquet.read_table(path, page_checksum_verification=True, partitioning=None)
            note = json.loads((table.schema.metadata or {})[b"remlax"])
            rows: pd.DataFrame = table.to_pandas()
            fits = (
                note["hash"] == self.hash
                and note["scenario"] == block.scenario
                and note["start"] == block.start
                and note["stop"] >= block.stop
                and note["rows"] == len(rows)
                and list(rows) == list(COLUMNS)
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError, arrow.ArrowException) as error:
            raise FileFormatError(f"{path} is damaged ({error}); run the study again to redo this block.") from error
        if not fits:
            raise FileFormatError(f"{path} is of another study, scenario or block; run the study again to redo it.")
        return rows[rows["replication"] < block.stop]

    def results(self) -> pd.DataFrame:
        """All rows of the finished blocks, in the order of scenarios and replications.

        Returns
        -------
        DataFrame
            ``scenario`` (its name), the scenario's parameters, and the columns of `remlax.simulation.rows.COLUMNS`.
            Its ``attrs`` hold ``n_planned``, the replications of each scenario when the study is finished, and
            ``note``, which says what is missing (empty if nothing is).

        Warns
        -----
        SimulationWarning
            Some blocks are missing or damaged, and others are there.
        """
        rows, found = self._survey()
        there = dict.fromkeys(self.scenarios, 0)
        for block in (block for block, status in found.items() if status == "finished"):
            there[block.scenario] += block.stop - block.start
        counts = {what: sum(status == what for status in found.values()) for what in get_args(Status)}
        note = partial_note(counts, there, self.replications)
        if note and len(rows):
            warn(f"{self.directory}: {note}; run the study again to do the rest", SimulationWarning)
        rows.attrs = {"n_planned": self.replications, "note": note}
        return rows

    def summary(self) -> pd.DataFrame:
        """For each scenario, fits that failed, and how many blocks are finished, missing and damaged."""
        rows, found = self._survey()
        failed = failed_fits(rows).groupby(level="scenario").sum()
        counts = {
            name: {"failed_fits": int(failed.get(name, 0))} | dict.fromkeys(get_args(Status), 0)
            for name in self.scenarios
        }
        for block, status in found.items():
            counts[block.scenario][status] += 1
        return pd.DataFrame([{"scenario": name, **self.scenarios[name], **count} for name, count in counts.items()])

    def failures(self) -> list[str]:
        """Sentences about methods, and estimands, that failed in every replication of a scenario so far."""
        return failure_notes(self._survey()[0], self.scenarios)

    def _read(self, block: Block) -> tuple[pd.DataFrame | None, Status]:
        try:
            return self.read(block), "finished"
        except FileFormatError:
            return None, "damaged" if self.path(block).exists() else "missing"

    def _survey(self) -> tuple[pd.DataFrame, dict[Block, Status]]:
        """Rows of the finished blocks, and the state of all."""
        parts, found = [], dict[Block, Status]()
        for block in self.blocks():
            rows, found[block] = self._read(block)
            if rows is None:
                continue
            place = {"scenario": block.scenario, **self.scenarios[block.scenario]}
            parts.append(pd.concat([pd.DataFrame([place] * len(rows), index=rows.index), rows], axis=1))
        return (pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["scenario", *COLUMNS])), found


@contextlib.contextmanager
def driven(directory: str | os.PathLike[str], plan: StudyPlan, block_size: int) -> Iterator[ResultStore]:
    """The results directory of a study, made if need be, which no other study can take over meanwhile.

    Raises
    ------
    SimulationError
        The directory has results of another study, or another block size, or cannot be written.
    FileFormatError
        Its manifest is damaged or of a newer version.
    """
    manifest = plan.manifest(block_size)
    _check_parts(checks.path(directory, "the directory of the results"), plan.hash)
    with claimed(directory, manifest) as root:
        yield ResultStore(root, plan.hash, plan.scenarios, plan.replications, block_size)


def join_store(directory: str | os.PathLike[str], plan: StudyPlan) -> ResultStore:
    """The results directory of a study, for reading: nothing is made or changed there. Errors as of `driven`."""
    root = checks.path(directory, "the directory of the results")
    block_size = (known := read_manifest(root))["block_size"]
    check_same(root, known, plan.manifest(block_size))
    return ResultStore(root, plan.hash, plan.scenarios, plan.replications, block_size)


def read_store(directory: str | os.PathLike[str]) -> ResultStore:
    """Open a results directory as its manifest describes it.

    Raises
    ------
    FileFormatError
        There is no manifest, or it is damaged or of a newer version.
    """
    root = Checks(FileFormatError).path(directory, "the directory of the results")
    known = read_manifest(root)
    return ResultStore(root, known["hash"], known["scenarios"], known["replications"], known["block_size"])


def _check_parts(root: Path, hash_: str) -> None:
    """Refuse a directory without a manifest that holds results of another study, which would be overwritten."""
    parts = [] if (root / MANIFEST).exists() else sorted((root / "parts").glob("*.parquet"))
    for path in parts:
        arrow, parquet = _pyarrow()
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, RecursionError, arrow.ArrowException):
            if json.loads(parquet.read_metadata(path).metadata[b"remlax"])["hash"] != hash_:
                raise SimulationError(
                    f"{root} has no {MANIFEST} but results of another study ({path.name}): use a new directory."
                )


def _pyarrow() -> Sequence[ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("Results are kept in parquet files: pip install remlax[sim]") from error
    return pyarrow, pyarrow.parquet
