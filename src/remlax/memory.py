"""How much memory there is, for decisions made before anything is allocated."""

from __future__ import annotations

import os

from .errors import ModelSizeError


def available_bytes() -> int:
    """Bytes of main memory that are free or can be freed; a generous guess where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (OSError, ValueError, AttributeError):
        return 4 * 2**30


def check_room(numbers: int, what: str, advice: str) -> None:
    """Refuse what cannot be held.

    Parameters
    ----------
    numbers : int
        Numbers of eight bytes that are held at once.
    what : str
        What needs them: ``"1000 draws"``.
    advice : str
        What to do instead.

    Raises
    ------
    ModelSizeError
    """
    needed, free = 8 * int(numbers), available_bytes()
    if needed > free:
        raise ModelSizeError(
            f"{what} need about {human_bytes(needed)} of memory; {human_bytes(free)} are free: {advice}"
        )


def human_bytes(n: int) -> str:
    """Print a number of bytes in the largest fitting unit."""
    size = float(n)
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"
