"""Keep compiled programs on disk, so that the next process starts at once."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax

from .errors import DataError, FileFormatError


def enable_compilation_cache(folder: str | os.PathLike[str] | None = None) -> Path:
    """Let JAX keep compiled programs in a folder and find them there in later processes.

    Without it, the first fit of a process compiles its programs, which takes seconds; with it only the first process
    on a machine does. This sets options of JAX for the whole process, which is why it is never done unasked.

    Parameters
    ----------
    folder : path, optional
        ``$XDG_CACHE_HOME/remlax`` or ``~/.cache/remlax`` by default. It is made if need be, for its owner alone. What
        is found in it is run, so that it must be the user's own and nobody else may be able to write to it.

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
    if folder is not None and not isinstance(folder, str | os.PathLike):
        raise DataError(f"folder={folder!r} must be a path")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = base / "remlax" if folder is None else Path(folder)
    try:
        _make(path)
        strangers = _strangers(path)
        if not strangers:
            with tempfile.TemporaryFile(dir=path):
                pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileFormatError(f"compiled programs cannot be kept in {path} ({reason}): give another folder=") from error
    if strangers:
        raise FileFormatError(
            f"compiled programs are not kept in {path}, which {strangers}: JAX runs what it finds there, so that the "
            "folder must be yours alone; give another folder=, or empty it and let nobody else write to it (chmod 700)"
        )
    update: Callable[[str, object], None] = jax.config.update
    update("jax_compilation_cache_dir", str(path))
    # programs of remlax are many and small: keep them all
    update("jax_persistent_cache_min_compile_time_secs", 0.0)
    update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path


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
