"""Folder of compiled programs, so that the next process need not trace or compile them again."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
import threading
from pathlib import Path

import platformdirs

from .checks import Checks
from .errors import FileFormatError

# "off", or a folder
ENVIRONMENT = "REMLAX_CACHE"
OFF = frozenset({"off", "0", "false", "no"})
MOST_BYTES = 2**29
SUFFIX = ".program"
MAGIC = b"remlax program 1\n"

_log = logging.getLogger(__name__)


def enable_compilation_cache(folder: str | os.PathLike[str] | None = None) -> Path:
    """Keep the compiled programs of this process in a folder of one's own choice.

    Compiled programs are kept without asking, in the user's cache folder, so that only the first fit of its kind on a
    machine waits for the compiler. The environment variable ``REMLAX_CACHE`` names another folder for all processes, or
    ``off``. No option of JAX is changed. The folder takes at most 512 MB; what was not used for longest goes first.

    Parameters
    ----------
    folder : path, optional
        The user's cache folder by default. It is made if need be, for its owner alone. What is found in it is run, so
        that it must be the user's own and nobody else may be able to write to it.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    DataError
        The folder is no path.
    FileFormatError
        It cannot be made or written to, belongs to another user, or others may write to it.

    Examples
    --------
    >>> import tempfile, remlax as rx
    >>> rx.enable_compilation_cache(tempfile.mkdtemp()).is_dir()
    True
    """
    path = _default() if folder is None else Checks().path(folder, "folder=")
    FILES.use(path)
    return path


class ProgramFiles:
    """Files of compiled programs in a folder that is the user's alone; whatever goes wrong here, fits go on."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._asked = False
        self._lock = threading.Lock()  # of threads that ask first at one time

    def use(self, path: Path) -> None:
        """Take a folder, or say why not.

        Raises
        ------
        FileFormatError
        """
        try:
            _make(path)
            strangers = _strangers(path)
            if not strangers:
                with tempfile.TemporaryFile(dir=path):
                    pass
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise FileFormatError(
                f"compiled programs cannot be kept in {path} ({reason}): give another folder="
            ) from error
        if strangers:
            raise FileFormatError(
                f"compiled programs are not kept in {path}, which {strangers}: what is found there is run, so that the "
                "folder must be yours alone; give another folder=, or empty it and let nobody else write to it "
                "(chmod 700)"
            )
        self._folder, self._asked = path, True

    def folder(self) -> Path | None:
        """Folder in use: the one named, that of the environment, or the user's cache folder; None where it is off."""
        with self._lock:
            if not self._asked:
                self._asked = True
                wanted = os.environ.get(ENVIRONMENT, "")
                if wanted.lower() not in OFF:
                    try:
                        self.use(Path(wanted) if wanted else _default())
                    except FileFormatError as error:
                        _log.warning("%s", error)
            return self._folder

    def read(self, name: str) -> bytes | None:
        """Content of a file; None where there is none or it is damaged."""
        folder = self.folder()
        if folder is None:
            return None
        path = folder / (name + SUFFIX)
        try:
            content = path.read_bytes()
            os.utime(path)  # used now
        except OSError:
            return None
        body = content[len(MAGIC) + 32 :]
        if content[: len(MAGIC) + 32] != _head(body):
            _log.warning("%s is damaged and compiled again", path)
            return None
        return body

    def write(self, name: str, body: bytes) -> None:
        """Write a file aside and put it in its place, so that readers see all of it or nothing."""
        folder = self.folder()
        if folder is None:
            return
        aside = ""
        try:
            handle, aside = tempfile.mkstemp(suffix=".part", dir=folder)
            with os.fdopen(handle, "wb") as file:
                file.write(_head(body) + body)
            os.replace(aside, folder / (name + SUFFIX))
            _make_room(folder)
        except OSError as error:
            _log.info("a compiled program is not kept in %s: %s", folder, error)
            Path(aside).unlink(missing_ok=True)


FILES = ProgramFiles()


def _head(body: bytes) -> bytes:
    return MAGIC + hashlib.blake2b(body, digest_size=32).digest()


def _default() -> Path:
    return Path(platformdirs.user_cache_path("remlax", appauthor=False)) / "programs"


def _make_room(folder: Path) -> None:
    """Delete the files that were not used for longest, where all take more than `MOST_BYTES`."""
    with os.scandir(folder) as entries:
        found = [(entry.stat(), entry.path) for entry in entries if entry.name.endswith((SUFFIX, ".part"))]
    total = sum(about.st_size for about, _ in found)
    for about, path in sorted(found, key=lambda item: item[0].st_mtime):
        if total <= MOST_BYTES:
            break
        Path(path).unlink(missing_ok=True)
        total -= about.st_size


def _make(path: Path) -> None:
    """Make a folder, and those it is to lie in, for the user alone; the umask can only take more away."""
    if not path.is_dir():
        _make(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def _strangers(path: Path) -> str:
    """Say who else can put programs into a folder; nothing where nobody can, or the system knows no owners."""
    if not hasattr(os, "getuid"):
        return ""
    found = path.stat()
    if found.st_uid != os.getuid():
        return "belongs to another user"
    return "other users may write to" if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else ""
