"""Checks of options that many methods share."""

from __future__ import annotations

import numpy as np

from ..errors import DataError


def check_level(conf_level: object) -> None:
    """Refuse a confidence level that is no number between 0 and 1.

    Raises
    ------
    DataError
    """
    if not isinstance(conf_level, int | float | np.number) or not 0 < conf_level < 1:
        raise DataError(f"conf_level={conf_level!r} must be a number between 0 and 1, such as 0.95")
