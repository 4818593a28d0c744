"""A progress bar for imputations that take their time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

DELAY = 2.0  # seconds without a bar


@contextlib.contextmanager
def progress(total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that counts finished work, from any thread; tqdm shows it after two seconds, if it is there.

    ``TQDM_DISABLE=1`` in the environment turns the bar off.

    Examples
    --------
    >>> with progress(10, "sweep") as tell:
    ...     tell(10)
    """
    with contextlib.ExitStack() as stack:
        bar, lock = None, threading.Lock()
        with contextlib.suppress(ImportError):
            from tqdm.auto import tqdm

            bar = stack.enter_context(tqdm(total=total, unit=unit, delay=DELAY))

        def tell(count: int) -> None:
            if bar is not None:
                with lock:
                    bar.update(count)

        yield tell
