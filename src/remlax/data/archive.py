"""Archive of arrays and text: a zip of .npy arrays and one JSON manifest. No pickle."""

from __future__ import annotations

import contextlib
import io
import json
import os
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._version import __version__
from ..errors import FileFormatError

FORMAT = 2  # files of format 1 hold checksums beside those of the zip
MANIFEST = "manifest.json"
NAME = "remlax"


class Archive(NamedTuple):
    """Name of a kind of object, and its content: texts, numbers, lists and dicts, with arrays among them."""

    kind: str
    content: dict[str, Any]


def write_archive(path: str | os.PathLike[str], kind: str, content: dict[str, Any]) -> None:
    """Write a file, whole or not at all; an existing file is replaced.

    Raises FileFormatError: the file cannot be written; what was there before stays.

    Parameters
    ----------
    path : path-like
    kind : str
    content : dict
        JSON's types, with numpy arrays (no objects) among the values.
    """
    manifest = {"format": NAME, "version": FORMAT, "remlax": __version__, "kind": kind, "content": content}
    with replaced(path) as temporary, temporary.open("wb") as file:
        with zipfile.ZipFile(file, "w") as members:

            def write(name: str, data: str | bytes) -> None:
                # a fixed date: equal objects make equal files
                members.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)

            def write_array(array: object) -> dict[str, str]:
                name, buffer = f"arrays/{len(members.namelist()):04d}.npy", io.BytesIO()
                np.save(buffer, np.asarray(array), allow_pickle=False)
                write(name, buffer.getvalue())
                return {"array": name}

            write(MANIFEST, json.dumps(manifest, default=write_array))
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name, of the same ending, that takes the place of ``path`` at the end if all goes well.

    Raises FileFormatError: the file cannot be written; what was there before stays.
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

    Raises FileFormatError: there is no such file; it is damaged or truncated, of another program, or of a newer
    remlax.
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
    if MANIFEST not in members.namelist():
        raise FileFormatError(f"{source} is not a file that remlax wrote: it has no {MANIFEST}")
    text = members.read(MANIFEST)
    manifest = json.loads(text)
    if not isinstance(manifest, dict) or manifest.get("format") != NAME:
        raise FileFormatError(f"{source} is not a file that remlax wrote: its {MANIFEST} is of another program")
    if manifest["version"] > FORMAT:
        raise FileFormatError(
            f"{source} was written by remlax {manifest['remlax']} in file format {manifest['version']}; this remlax "
            f"({__version__}) reads formats up to {FORMAT}: update remlax"
        )

    def with_array(tree: dict[str, Any]) -> Any:
        if list(tree) != ["array"]:
            return tree
        return np.lib.format.read_array(io.BytesIO(members.read(tree["array"])), allow_pickle=False)

    return Archive(manifest["kind"], json.loads(text, object_hook=with_array)["content"])
