"""One exception tree and one warning tree: every message says what, where, and what to do."""

from __future__ import annotations

import functools
import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class RemlaxError(Exception):
    """Base class of every error that remlax raises on purpose."""


class DataError(RemlaxError, ValueError):
    """The data frames cannot be used as they are (missing cells, misaligned imputations, wrong types)."""


class FormulaError(RemlaxError, ValueError):
    """The model formula cannot be read, or names something that is not there."""


class DesignError(RemlaxError, ValueError):
    """Formula and data fit together, but the model they describe is not identified."""


class ModelSizeError(RemlaxError, MemoryError):
    """The model needs more memory than there is; the message names the bytes."""


class DeviceError(RemlaxError, ValueError):
    """There is no such device, or what was given is none."""


class FitError(RemlaxError, RuntimeError):
    """A fit failed and the caller asked for an exception."""


class PoolingError(RemlaxError, ValueError):
    """The fits cannot be pooled (one fit only, different terms, failed fits)."""


class FileFormatError(RemlaxError, ValueError):
    """A file is damaged, of an unknown layout, or written by a newer version."""


class SimulationError(RemlaxError, RuntimeError):
    """A simulation study cannot be run or resumed as asked."""


class ImputationError(RemlaxError, ValueError):
    """The incomplete data cannot be imputed as asked."""


class MissingExtraError(RemlaxError, ImportError):
    """An optional library is needed; the message says what to install."""


class UnknownNameError(RemlaxError, AttributeError):
    """There is no such name; the message says what other packages' names are called here."""


class RemlaxWarning(UserWarning):
    """Base class of every warning that remlax emits."""


class DroppedRowsWarning(RemlaxWarning):
    """Rows with missing values were left out of a single fit."""


class RankDeficientWarning(RemlaxWarning):
    """Fixed-effect columns were dropped because others determine them, or what is asked for needs such a column."""


class IdentifiabilityWarning(RemlaxWarning):
    """Random terms repeat each other, so that the data cannot tell some of their variances apart."""


class SingularFitWarning(RemlaxWarning):
    """A fit lies on the boundary of the parameter space."""


class ConvergenceWarning(RemlaxWarning):
    """A fit did not meet the convergence criterion."""


class PoolingWarning(RemlaxWarning):
    """The pooled numbers leave something out, or rest on an approximation."""


class ImputationWarning(RemlaxWarning):
    """Imputations are usable only with care."""


class SimulationWarning(RemlaxWarning):
    """The results of a simulation study are partial, or rest on fits that failed."""


class FormulaWarning(RemlaxWarning):
    """A formula says something else than it seems to say."""


class DataWarning(RemlaxWarning):
    """The data may not be what was intended."""


class TwoValuedResponseWarning(DataWarning):
    """A response of two values is fitted as a number: a linear probability model."""


MAX_NAMED = 6  # of more, a message names this many and counts the rest

# what this thread keeps to itself: filters of the warnings module belong to all threads
_KEPT: ContextVar[tuple[type[RemlaxWarning], ...]] = ContextVar("kept_warnings", default=())
_WHERE: ContextVar[str] = ContextVar("where", default="")
# what was said while a function ran that may have silenced it
_HEARD: ContextVar[list[str] | None] = ContextVar("heard_warnings", default=None)
_OTHERS = threading.Lock()
# cached properties are called from there
_INSIDE = (os.path.dirname(__file__) + os.sep, functools.__file__)


def shortened(items: Iterable[object], most: int = MAX_NAMED) -> str:
    """Join what a message or a print-out names; of many the first few, and how many more there are.

    Examples
    --------
    >>> shortened(range(1, 201), 3)
    '1, 2, 3 and 197 more'
    """
    names = [str(item) for item in items]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def warn(text: str, category: type[RemlaxWarning]) -> None:
    """Emit a warning about the line outside remlax that led to it, unless the caller has asked for `quiet`."""
    if issubclass(category, _KEPT.get()):
        return
    text = _WHERE.get() + text
    heard = _HEARD.get()
    if heard is not None:
        heard.append(f"{category.__name__}: {text}")
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)


@contextmanager
def quiet(category: type[RemlaxWarning]) -> Iterator[None]:
    """Keep warnings of remlax back in this thread, where the caller says the same in other words."""
    token = _KEPT.set((*_KEPT.get(), category))
    try:
        yield
    finally:
        _KEPT.reset(token)


@contextmanager
def about(where: str) -> Iterator[None]:
    """Begin what is warned of and raised in this thread by a word on which part of the data it is about."""
    token = _WHERE.set(f"{_WHERE.get()}{where}: ")
    try:
        yield
    except RemlaxError as error:
        raise type(error)(f"{where}: {error}") from error.__cause__
    finally:
        _WHERE.reset(token)


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect what remlax warns of in this thread, whatever filters there are."""
    heard: list[str] = []
    token = _HEARD.set(heard)
    try:
        yield heard
    finally:
        _HEARD.reset(token)


@contextmanager
def others_quiet(message: str = "", category: type[Warning] = Warning) -> Iterator[None]:
    """Keep warnings of other libraries back, one thread at a time: the filters of all are put back afterwards."""
    with _OTHERS, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message, category)
        yield
