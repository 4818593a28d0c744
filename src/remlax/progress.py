"""A progress bar for what takes its time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

DELAY = 2.0  # seconds without a bar


class _Depth(threading.local):
    """How many pieces of work this thread counts, one inside the other."""

    counted = 0


_DEPTH = _Depth()


@contextmanager
def progress(total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that counts finished work, from any thread; after two seconds tqdm shows a bar if work is left.

    What is done inside of work that is counted has no bar of its own, and a total of one has none.
    ``TQDM_DISABLE=1`` in the environment turns bars off.

    Examples
    --------
    >>> with progress(10, "sweep") as advance:
    ...     advance(10)
    """
    shown = total > 1 and _DEPTH.counted == 0 and not turned_off()
    bar, lock, began, done = None, threading.Lock(), time.perf_counter(), 0

    def advance(count: int) -> None:
        nonlocal bar, done
        with lock:
            done += count
            if bar is not None:
                bar.update(count)
            elif shown and done < total and (elapsed := time.perf_counter() - began) >= DELAY:
                bar = _bar(total, done, unit, elapsed)

    try:
        with unseen(total > 1):
            yield advance
    finally:
        if bar is not None:
            bar.close()


def turned_off() -> bool:
    """Whether ``TQDM_DISABLE`` turns bars off; tqdm reads it only when it is imported, and takes 0 for yes."""
    return os.environ.get("TQDM_DISABLE", "") not in ("", "0")


@contextmanager
def unseen(hide: bool = True) -> Iterator[None]:
    """Show no bars for what this thread does inside."""
    _DEPTH.counted += hide
    try:
        yield
    finally:
        _DEPTH.counted -= hide


def _bar(total: int, done: int, unit: str, elapsed: float) -> Any:
    # imported when two seconds have passed anyway: it would add to the start of every process
    from tqdm.auto import tqdm

    bar = tqdm(total=total, unit=f" {unit}", delay=1e-9, disable=False)  # a delay keeps it from printing zeros first
    bar.delay, bar.n = 0, done
    bar.start_t -= elapsed
    bar.refresh()
    return bar
