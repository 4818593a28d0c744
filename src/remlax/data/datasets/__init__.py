"""Small data sets for examples and tests, read from the installed package: no network."""

from typing import Any as _Any

from ...errors import UnknownNameError as _UnknownNameError
from .tables import dyestuff as dyestuff
from .tables import hsb as hsb
from .tables import hsb_imputed as hsb_imputed
from .tables import hsb_incomplete as hsb_incomplete
from .tables import sleepstudy as sleepstudy

__all__ = ["dyestuff", "hsb", "hsb_imputed", "hsb_incomplete", "sleepstudy"]


def __getattr__(name: str) -> _Any:
    """Refuse a name that is no data set, and say which there are."""
    text = f"module {__name__!r} has no attribute {name!r}"
    if name.startswith("_"):
        raise AttributeError(text)
    raise _UnknownNameError(f"{text}; the data sets are {', '.join(f'{known}()' for known in __all__)}", name=name)
