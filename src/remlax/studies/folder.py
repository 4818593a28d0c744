"""Files of a results folder: written whole or not at all, and a lock that ends with the process that holds it."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from ..errors import SimulationError

LOCK = ".lock"

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# flock: the kernel drops it when its holder dies, whereas a file that says "taken" outlives a killed process. It is
# taken on a file of its own, opened for writing, since NFS refuses exclusive locks on directories; lockf would let go
# as soon as any thread of the process closes the file. Where there are no locks nobody counts as alone, so that no
# folder is ever taken over; and every write compares the manifest.


@contextlib.contextmanager
def locked(root: Path, *, alone: bool = False) -> Iterator[bool]:
    """Work in a folder beside others of the same study; or keep all others out for a moment.

    False if somebody else works in a folder that is wanted ``alone``, or there are no locks.
    """
    try:
        descriptor = _locked(root / LOCK, exclusive=alone)
    except BlockingIOError:
        descriptor = None
    try:
        yield descriptor is not None
    finally:
        _let_go(root / LOCK, descriptor)


def _locked(path: Path, *, exclusive: bool) -> int | None:
    """Descriptor of the locked file; None where there are no locks, or the file cannot be made."""
    while fcntl is not None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
            if _is_at(path, descriptor):
                return descriptor
            os.close(descriptor)  # its last holder took the file away: lock the next one
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
    return None


def _let_go(path: Path, descriptor: int | None) -> None:
    """Unlock, and take the file away if nobody else holds it."""
    if descriptor is None or fcntl is None:
        return
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(path, descriptor):
            path.unlink()
    os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


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
            raise disk_error(path, error) from error
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


def disk_error(path: Path, error: OSError) -> SimulationError:
    """The error of a file that cannot be written."""
    return SimulationError(
        f"Cannot write {path}: {error.strerror or error}. What was written before is whole; "
        "make room or choose another directory, and run the study again."
    )
