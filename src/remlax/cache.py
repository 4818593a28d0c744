"""Keep compiled programs on disk, so that the next process starts at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax

from .errors import DataError, FileFormatError
from .hints import hinted


@hinted
def enable_compilation_cache(folder: str | os.PathLike[str] | None = None) -> Path:
    """Let JAX keep compiled programs in a folder and find them there in later processes.

    Without it, the first fit of a process compiles its programs, which takes seconds; with it only the first process
    on a machine does. This sets options of JAX for the whole process, which is why it is never done unasked.

    Parameters
    ----------
    folder : path, optional
        ``$XDG_CACHE_HOME/remlax`` or ``~/.cache/remlax`` by default. It is made if need be.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    DataError
        The folder is no path.
    FileFormatError
        It cannot be made or written to.

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
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileFormatError(f"compiled programs cannot be kept in {path} ({reason}): give another folder=") from error
    update: Callable[[str, object], None] = jax.config.update
    update("jax_compilation_cache_dir", str(path))
    # programs of remlax are many and small: keep them all
    update("jax_persistent_cache_min_compile_time_secs", 0.0)
    update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path
