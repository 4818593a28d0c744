"""Results of a study on disk: one file per block of replications, whole or not there at all.

A directory holds ``manifest.json`` (what the study is, its scenarios, versions) and ``parts/``, with one
parquet file per block, named after the scenario and the number of the block. A part is written under a
temporary name (beginning with a dot; left-overs of killed processes may be deleted) and renamed, which is
atomic. A block is finished when its part can be read, its checksums hold, and it was written for this study
and these replications. So any number of processes can work on one directory, and what was interrupted is what
is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pandas as pd

from ..errors import FileFormatError, MissingExtraError, RemlaxWarning, SimulationError, warn
from ..hints import hinted
from . import checks
from .fingerprint import canonical_json, digest
from .keys import versions
from .rows import COLUMNS

FORMAT = 1
MANIFEST = "manifest.json"
SAME_DRAWS = ("prng", "threefry_partitionable")  # a change of these changes every draw
SIMILAR_DRAWS = ("jax", "jaxlib", "backend", "machine")  # a change of these may change the last digits

# what a manifest says
ENTRIES = {"hash": str, "specification": dict, "scenarios": dict, "replications": int, "block_size": int,
           "versions": dict}  # fmt: skip

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
        blocks = self.blocks()
        done = sum(self.status(block) == "finished" for block in blocks)
        return (
            f"{self.directory}: {len(self.scenarios)} scenarios x {self.replications} replications, "
            f"{done} of {len(blocks)} blocks finished"
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
        try:
            self.read(block)
        except FileFormatError:
            return "damaged" if self.path(block).exists() else "missing"
        return "finished"

    def to_do(self) -> list[Block]:
        """Blocks that are missing or damaged, in order."""
        return [block for block in self.blocks() if self.status(block) != "finished"]

    def write(self, block: Block, rows: pd.DataFrame) -> None:
        """Write the rows of a block, whole or not at all; an existing part is replaced.

        Parameters
        ----------
        block
            The block.
        rows
            Its rows, with the columns of `remlax.simulation.rows.COLUMNS`.

        Raises
        ------
        SimulationError
            The file cannot be written (disk full, directory not writable); earlier parts stay whole.
        MissingExtraError
            pyarrow is not installed.
        """
        arrow, parquet = _pyarrow()
        note = {"hash": self.hash, "start": block.start, "stop": block.stop, "rows": len(rows), "versions": versions()}
        table = arrow.Table.from_pandas(rows[list(COLUMNS)], preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"remlax": json.dumps(note).encode()})
        with replacing(self.path(block)) as temporary, temporary.open("wb") as file:
            parquet.write_table(table, file, write_page_checksum=True)
            file.flush()
            os.fsync(file.fileno())

    def read(self, block: Block) -> pd.DataFrame:
        """Read the rows of a finished block.

        Raises
        ------
        FileFormatError
            The file is truncated, corrupt, or was written for another study or other replications.
        """
        arrow, parquet = _pyarrow()
        path = self.path(block)
        try:
            table = parquet.read_table(path, page_checksum_verification=True, partitioning=None)
            note = json.loads((table.schema.metadata or {})[b"remlax"])
            rows: pd.DataFrame = table.to_pandas()
            fits = (
                note["hash"] == self.hash
                and note["start"] == block.start
                and note["stop"] >= block.stop
                and note["rows"] == len(rows)
                and list(rows) == list(COLUMNS)
            )
        except (OSError, ValueError, KeyError, TypeError, arrow.ArrowException) as error:
            raise FileFormatError(f"{path} is damaged ({error}); run the study again to redo this block.") from error
        if not fits:
            raise FileFormatError(f"{path} holds other replications or another study; run the study to redo it.")
        return rows[rows["replication"] < block.stop]

    def results(self) -> pd.DataFrame:
        """All rows of the finished blocks, in the order of scenarios and replications, with the parameters.

        Returns
        -------
        DataFrame
            ``scenario`` (its name), the scenario's parameters, and the columns of
            `remlax.simulation.rows.COLUMNS`.
        """
        parts = []
        for block in self.blocks():
            with contextlib.suppress(FileFormatError):
                rows = self.read(block)
                place = {"scenario": block.scenario, **self.scenarios[block.scenario]}
                labels = pd.DataFrame([place] * len(rows), index=rows.index)
                parts.append(pd.concat([labels, rows], axis=1))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["scenario", *COLUMNS])

    def summary(self) -> pd.DataFrame:
        """For each scenario, how many blocks are finished, missing and damaged."""
        counts = {name: dict.fromkeys(("finished", "missing", "damaged"), 0) for name in self.scenarios}
        for block in self.blocks():
            counts[block.scenario][self.status(block)] += 1
        rows = [{"scenario": name, **self.scenarios[name], **count} for name, count in counts.items()]
        return pd.DataFrame(rows)


def open_store(
    directory: str | os.PathLike[str],
    specification: Mapping[str, object],
    scenarios: Mapping[str, Mapping[str, Any]],
    replications: int,
    block_size: int,
) -> ResultStore:
    """Start a results directory, or join the one that is there.

    Parameters
    ----------
    directory
        Where results go; made if need be.
    specification
        What decides a replication's rows, other than its scenario: by parts, so that a difference can be
        named.
    scenarios
        Parameters of each scenario by its name. A directory may be joined with more or other scenarios.
    replications
        Replications of each scenario. A directory may be joined with more or fewer.
    block_size
        Replications per block; fixed when the directory is started.

    Returns
    -------
    ResultStore

    Raises
    ------
    SimulationError
        The directory has results of another study, or another block size, or cannot be written.
    FileFormatError
        Its manifest is damaged or of a newer version.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = open_store(folder, {"seed": 1}, {"00000000000000ff": {"J": 30}}, 10, 5)
    ...     [block.name for block in store.to_do()]
    ['00000000000000ff-000000', '00000000000000ff-000001']
    """
    root = checks.path(directory, "The directory of the results")
    parts = {name: digest(value) for name, value in specification.items()}
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "hash": digest(parts),
        "specification": parts,
        "scenarios": {name: _plain_values(values) for name, values in scenarios.items()},
        "replications": replications,
        "block_size": block_size,
        "versions": versions(),
    }
    if not (root / MANIFEST).exists():
        try:
            (root / "parts").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _disk_error(root, error) from error
        with replacing(root / MANIFEST, only_new=True) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1))
    known = _read_manifest(root)  # another process may have been first
    same = all(known[name] == manifest[name] for name in ("hash", "block_size"))
    if not same and not any((root / "parts").glob("*.parquet")):
        known = manifest  # nothing was finished: the study was given up, or corrected
        with replacing(root / MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1))
    _check_same(root, known, manifest)
    grown = known | {
        "scenarios": known["scenarios"] | manifest["scenarios"],
        "replications": max(known["replications"], replications),
    }
    if grown != known:
        with replacing(root / MANIFEST) as temporary:
            temporary.write_text(json.dumps(grown, indent=1))
    return ResultStore(root, manifest["hash"], scenarios, replications, block_size)


@hinted
def read_store(directory: str | os.PathLike[str]) -> ResultStore:
    """Open a results directory as its manifest describes it.

    Raises
    ------
    FileFormatError
        There is no manifest, or it is damaged or of a newer version.
    """
    root = checks.path(directory, "The directory of the results", FileFormatError)
    known = _read_manifest(root)
    return ResultStore(root, known["hash"], known["scenarios"], known["replications"], known["block_size"])


def _plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON keeps them; what JSON does not know as its canonical form."""
    text = json.dumps(dict(values), default=lambda value: json.loads(canonical_json(value)))
    plain: dict[str, Any] = json.loads(text)
    return plain


def _read_manifest(root: Path) -> dict[str, Any]:
    path = root / MANIFEST
    try:
        known: dict[str, Any] = json.loads(path.read_text())
        newer = known["format"] > FORMAT
        wrong = [name for name, kind in ENTRIES.items() if not isinstance(known[name], kind)] if not newer else []
        if wrong:
            raise ValueError(f"{wrong[0]} is {known[wrong[0]]!r}")
    except FileNotFoundError as error:
        raise FileFormatError(f"{root} holds no study: there is no {MANIFEST}.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"{path} is damaged ({error}); restore it, or start a new directory.") from error
    if newer:
        raise FileFormatError(f"{path} was written by a newer version of remlax.")
    return known


def _check_same(root: Path, known: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    if known["hash"] != new["hash"]:
        old, now = known["specification"], new["specification"]
        parts = [
            name if name in old and name in now else f"{name} ({'new' if name in now else 'gone'})"
            for name in sorted(old.keys() | now.keys())
            if old.get(name) != now.get(name)
        ]
        differ = f"{', '.join(parts)} differ{'s' * (len(parts) == 1)}"
        raise SimulationError(
            f"{root} belongs to another study: {differ}. Use a new directory; data of the same seed are the same there."
        )
    if known["block_size"] != new["block_size"]:
        raise SimulationError(
            f"{root} was started with block_size={known['block_size']}: keep it, or use a new directory."
        )
    changed = [n for n in SAME_DRAWS + SIMILAR_DRAWS if known["versions"].get(n) != new["versions"][n]]
    text = ", ".join(f"{n} {known['versions'].get(n)} -> {new['versions'][n]}" for n in changed)
    if set(changed) & set(SAME_DRAWS):
        raise SimulationError(f"{root} was started with other random numbers ({text}): use a new directory.")
    if changed:
        message = f"{root} was started under other versions ({text}): new blocks may differ in the last digits."
        warn(message, RemlaxWarning)


@contextlib.contextmanager
def replacing(path: Path, *, only_new: bool = False) -> Iterator[Path]:
    """A temporary name that takes the place of ``path`` at the end, or vanishes if anything goes wrong."""
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        yield temporary
        if only_new:
            _link(temporary, path)
        else:
            temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _disk_error(path, error) from error
        raise


def _link(temporary: Path, path: Path) -> None:
    """Give a file its name unless another process was first."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        if not path.exists():
            temporary.replace(path)
            return
    temporary.unlink()


def _disk_error(path: Path, error: OSError) -> SimulationError:
    return SimulationError(
        f"Cannot write {path}: {error.strerror or error}. What was written before is whole; "
        "make room or choose another directory, and run the study again."
    )


def _pyarrow() -> Sequence[ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("Results are kept in parquet files: pip install remlax[sim]") from error
    return pyarrow, pyarrow.parquet
