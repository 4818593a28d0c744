"""Archive of arrays and text: a zip of .npy arrays and a JSON manifest that holds their checksums. No pickle."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..errors import FileFormatError

FORMAT = 1
MANIFEST = "manifest.json"
NAME = "remlax"
# a file unpacks to no more than this, or than this many times its own size
MOST_BYTES, MOST_TIMES = 2**28, 100


@dataclass(frozen=True)
class Archive:
    """What a file holds.

    Attributes
    ----------
    kind : str
        Name of the kind of object.
    content : dict
        Texts, numbers, lists and dicts, with arrays among them.
    version : str
        The remlax that wrote it.
    """

    kind: str
    content: dict[str, Any]
    version: str


def write_archive(path: str | os.PathLike[str], kind: str, content: dict[str, Any]) -> None:
    """Write a file, whole or not at all; an existing file is replaced.

    Parameters
    ----------
    path : path-like
    kind : str
    content : dict
        JSON's types, with numpy arrays (no objects) among the values.

    Raises
    ------
    FileFormatError
        The file cannot be written; what was there before stays.
    """
    arrays: dict[str, bytes] = {}
    tree = _without_arrays(content, arrays)
    manifest = {
        "format": NAME,
        "version": FORMAT,
        "remlax": __version__,
        "kind": kind,
        "checksums": {name: hashlib.sha256(data).hexdigest() for name, data in arrays.items()},
        "content": tree,
    }
    parts = {MANIFEST: json.dumps(manifest).encode(), **arrays}
    with replaced(path) as temporary:
        _write(temporary, parts, zipfile.ZIP_DEFLATED)
        if sum(map(len, parts.values())) > _most(temporary.stat().st_size):
            _write(temporary, parts, zipfile.ZIP_STORED)


def _write(path: Path, parts: dict[str, bytes], method: int) -> None:
    with path.open("wb") as file:
        with zipfile.ZipFile(file, "w") as members:
            for name, data in parts.items():
                # a fixed date: equal objects make equal files
                members.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, method, 6)
        file.flush()
        os.fsync(file.fileno())


def _most(size: int) -> int:
    """Bytes that a file of a size may unpack to: more is no data of ours but a trap."""
    return max(MOST_BYTES, MOST_TIMES * size)


@contextlib.contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name, of the same ending, that takes the place of ``path`` at the end if all goes well.

    Raises
    ------
    FileFormatError
        The file cannot be written; what was there before stays.
    """
    target = _path(path)
    temporary = target.with_name(f".{uuid.uuid4().hex}-{target.name}")
    try:
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise FileFormatError(
            f"{target} cannot be written ({error.strerror or error}): what was there before is unchanged; choose a "
            "directory that exists, can be written to and has room"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_archive(path: str | os.PathLike[str]) -> Archive:
    """Read a file that `write_archive` wrote.

    Raises
    ------
    FileFormatError
        There is no such file; it is damaged or truncated, of another program, or of a newer remlax.
    """
    source = _path(path)
    try:
        data = source.read_bytes()
    except OSError as error:
        raise FileFormatError(f"{source} cannot be read ({error.strerror or error})") from error
    if not data.startswith(b"PK"):
        raise FileFormatError(f"{source} is not a file that remlax wrote: give one made by save()")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            unpacked = sum(member.file_size for member in members.infolist())
            if unpacked > _most(len(data)):
                raise FileFormatError(
                    f"{source} has {len(data):,} bytes and would unpack to {unpacked:,}, which no file of remlax does: "
                    "it was made to fill the memory"
                )
            return _read(source, members)
    except FileFormatError:
        raise
    except Exception as error:  # bytes may be wrong in any way
        raise damaged(source, error) from error


def damaged(path: str | os.PathLike[str], why: object) -> FileFormatError:
    """Make the error that says a file is damaged."""
    return FileFormatError(f"{_path(path)} is damaged or truncated ({why}): copy it again, or fit and save again")


def _path(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise FileFormatError(f"a path is needed, not a {type(path).__name__}")
    if not Path(path).name or "\0" in str(path):
        raise FileFormatError(f"{str(path)!r} is not the name of a file")
    return Path(path)


def _read(source: Path, members: zipfile.ZipFile) -> Archive:
    names = members.namelist()
    if MANIFEST not in names:
        raise FileFormatError(f"{source} is not a file that remlax wrote: it has no {MANIFEST}")
    manifest = json.loads(members.read(MANIFEST))
    if not isinstance(manifest, dict) or manifest.get("format") != NAME:
        raise FileFormatError(f"{source} is not a file that remlax wrote: its {MANIFEST} is of another program")
    if manifest["version"] > FORMAT:
        raise FileFormatError(
            f"{source} was written by remlax {manifest['remlax']} in file format {manifest['version']}; this remlax "
            f"({__version__}) reads formats up to {FORMAT}: update remlax"
        )
    arrays = {}
    for name, checksum in manifest["checksums"].items():
        data = members.read(name)
        if hashlib.sha256(data).hexdigest() != checksum:
            raise damaged(source, f"the checksum of {name} does not hold")
        arrays[name] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    return Archive(manifest["kind"], _with_arrays(manifest["content"], arrays), manifest["remlax"])


def _without_arrays(tree: Any, arrays: dict[str, bytes]) -> Any:
    """Take the arrays out of a tree and leave their names."""
    if isinstance(tree, dict):
        return {key: _without_arrays(value, arrays) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_without_arrays(value, arrays) for value in tree]
    if isinstance(tree, np.ndarray):
        name = f"arrays/{len(arrays):04d}.npy"
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, tree, allow_pickle=False)
        arrays[name] = buffer.getvalue()
        return {"array": name}
    return tree


def _with_arrays(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(tree, dict):
        if list(tree) == ["array"]:
            return arrays[tree["array"]]
        return {key: _with_arrays(value, arrays) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_arrays(value, arrays) for value in tree]
    return tree
