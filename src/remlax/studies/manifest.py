"""The manifest of a results folder: which study it belongs to, and how much of it is planned."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import Checks
from ..errors import FileFormatError, RemlaxWarning, SimulationError, warn
from ..simulation.fingerprint import canonical_json, digest
from ..simulation.keys import versions
from .folder import disk_error, locked, replacing

checks = Checks(SimulationError)

FORMAT = 1
MANIFEST = "manifest.json"
SAME_DRAWS = ("prng", "threefry_partitionable")  # a change of these changes every draw
SIMILAR_DRAWS = ("jax", "jaxlib", "backend", "machine")  # a change of these may change the last digits

# what a manifest says
ENTRIES = {"hash": str, "specification": dict, "scenarios": dict, "replications": int, "block_size": int,
           "versions": dict}  # fmt: skip


@dataclass(frozen=True)
class StudyPlan:
    """What a results folder is for.

    Attributes
    ----------
    specification
        What decides a replication's rows, other than its scenario: by parts, so that a difference can be named.
    scenarios
        Parameters of each scenario by its name. A folder may be joined with more or other scenarios.
    replications
        Replications of each scenario. A folder may be joined with more or fewer.
    """

    specification: Mapping[str, object]
    scenarios: Mapping[str, Mapping[str, Any]]
    replications: int

    @functools.cached_property
    def parts(self) -> dict[str, str]:
        """Hash of every part of the specification."""
        return {name: digest(value) for name, value in self.specification.items()}

    @property
    def hash(self) -> str:
        """Hash of the specification."""
        return digest(self.parts)

    def manifest(self, block_size: int) -> dict[str, Any]:
        """What the manifest of a folder says."""
        return {
            "format": FORMAT,
            "hash": self.hash,
            "specification": self.parts,
            "scenarios": {name: _plain_values(values) for name, values in self.scenarios.items()},
            "replications": self.replications,
            "block_size": block_size,
            "versions": versions(),
        }


@contextlib.contextmanager
def claimed(directory: str | os.PathLike[str], manifest: Mapping[str, Any]) -> Iterator[Path]:
    """A folder that belongs to a study as long as this lasts, made if need be; errors as of `driven`.

    The first of several studies that begin in a new folder owns it. A folder without results is taken over by another
    study (the first was given up, or corrected), unless some process works there.
    """
    root = checks.path(directory, "the directory of the results")
    path = root / MANIFEST
    try:
        (root / "parts").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(root, error) from error
    with locked(root, alone=True) as free:
        if not path.exists():
            _write(path, manifest, only_new=True)
        if free and not _same(read_manifest(root), manifest) and not has_parts(root):
            _write(path, manifest)
    with locked(root):  # from here on nobody takes it over
        known = read_manifest(root)
        check_same(root, known, manifest)
        grown = known | {
            "scenarios": known["scenarios"] | manifest["scenarios"],
            "replications": max(known["replications"], manifest["replications"]),
        }
        if grown != known:
            _write(path, grown)
        yield root


def check_owner(root: Path, hash_: str, block_size: int) -> None:
    """Raise a SimulationError if a folder belongs to another study by now, a FileFormatError if it is damaged."""
    if not _same(read_manifest(root), {"hash": hash_, "block_size": block_size}):
        raise SimulationError(
            f"{root} was taken over by another study while this one ran: run this one in a new directory."
        )


def has_parts(root: Path) -> bool:
    """Tell whether anything was finished."""
    return any((root / "parts").glob("*.parquet"))


def _same(known: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    return all(known[name] == manifest[name] for name in ("hash", "block_size"))


def _write(path: Path, manifest: Mapping[str, Any], *, only_new: bool = False) -> None:
    with replacing(path, only_new=only_new) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1))


def _plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON keeps them; what JSON does not know as its canonical form."""
    text = json.dumps(dict(values), default=lambda value: json.loads(canonical_json(value)))
    plain: dict[str, Any] = json.loads(text)
    return plain


def read_manifest(root: Path) -> dict[str, Any]:
    """What the manifest of a folder says; a FileFormatError if there is none, or it is damaged or too new."""
    path = root / MANIFEST
    try:
        known: dict[str, Any] = json.loads(path.read_text())
        newer = known["format"] > FORMAT
        wrong = [name for name, kind in ENTRIES.items() if not isinstance(known[name], kind)] if not newer else []
        if wrong:
            raise ValueError(f"{wrong[0]} is {known[wrong[0]]!r}")
    except FileNotFoundError as error:
        raise FileFormatError(f"{root} holds no study: there is no {MANIFEST}.") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{path} is damaged ({error}); restore it, or start a new directory.") from error
    if newer:
        raise FileFormatError(f"{path} was written by a newer version of remlax.")
    return known


def check_same(root: Path, known: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise a SimulationError for another study, block size or random numbers; warn of other versions."""
    idle = "" if has_parts(root) else " It has no results yet: delete the directory if it is no longer running."
    if known["hash"] != new["hash"]:
        old, now = known["specification"], new["specification"]
        parts = [
            name if name in old and name in now else f"{name} ({'new' if name in now else 'gone'})"
            for name in sorted(old.keys() | now.keys())
            if old.get(name) != now.get(name)
        ]
        differ = f"{', '.join(parts)} differ{'s' * (len(parts) == 1)}"
        if any(name not in ("seed", "model") for name in old.keys() & now.keys() & set(parts)):
            differ += " (code counts with the functions and data that it uses)"
        raise SimulationError(
            f"{root} belongs to another study: {differ}. Use a new directory; data of the same seed are the same there."
            f"{idle}"
        )
    if known["block_size"] != new["block_size"]:
        raise SimulationError(
            f"{root} was started with block_size={known['block_size']}: keep it, or use a new directory.{idle}"
        )
    changed = [n for n in SAME_DRAWS + SIMILAR_DRAWS if known["versions"].get(n) != new["versions"][n]]
    text = ", ".join(f"{n} {known['versions'].get(n)} -> {new['versions'][n]}" for n in changed)
    if set(changed) & set(SAME_DRAWS):
        raise SimulationError(f"{root} was started with other random numbers ({text}): use a new directory.")
    if changed:
        message = f"{root} was started under other versions ({text}): new blocks may differ in the last digits."
        warn(message, RemlaxWarning)
