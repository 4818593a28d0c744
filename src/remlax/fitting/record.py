"""What became of the fits that were made while a function ran, whether or not it silenced their warnings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from .fit import Fitted


@dataclass
class FitRecord:
    """Numbers of data sets fitted, of singular and of nonconverged fits among them."""

    fits: int = 0
    singular: int = 0
    nonconverged: int = 0


_RECORD: ContextVar[FitRecord | None] = ContextVar("fits_recorded", default=None)


@contextmanager
def recorded() -> Iterator[FitRecord]:
    """Count the fits of this thread."""
    found = FitRecord()
    token = _RECORD.set(found)
    try:
        yield found
    finally:
        _RECORD.reset(token)


def record(fitted: Fitted) -> None:
    """Take note of fits that a user asked for."""
    found = _RECORD.get()
    if found is not None:
        found.fits += fitted.n_sets
        found.singular += int((fitted.singular & fitted.converged).sum())
        found.nonconverged += int((~fitted.converged).sum())
