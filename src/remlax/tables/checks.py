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


def check_draws(n_sims: int, conf_level: float) -> None:
    """Refuse fewer than two draws and a level outside (0, 1)."""
    if not (isinstance(n_sims, int | np.integer) and n_sims >= 2):
        raise DataError(f"n_sims={n_sims!r} must be a whole number of at least 2")
    check_level(conf_level)


def fresh_seed(seed: int | None) -> int:
    """Return the seed, or a new one where none is given.

    Raises
    ------
    DataError
        The seed is no whole number.
    """
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise DataError(f"seed={seed!r} must be a whole number that is not negative")
    return int(seed)
