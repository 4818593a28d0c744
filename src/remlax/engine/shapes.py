"""Shapes that are rarely new: sizes rounded up, so that compiled programs serve again."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
from jax import Array


def bucket(n: int, least: int = 1, per_octave: float = 2) -> int:
    """Round up to a geometric grid of sizes.

    Parameters
    ----------
    n : int
    least : int, default 1
        Smallest size.
    per_octave : float, default 2
        Sizes per octave: a power of two, since more of them waste less work on padding, or 0.5 for powers of four.

    Examples
    --------
    >>> [bucket(n) for n in (5, 6, 7, 9)], bucket(9, per_octave=1), bucket(65, 64, 0.5)
    ([6, 6, 8, 12], 16, 256)
    """
    if n <= least:
        return least
    if per_octave < 1:
        size, factor = least, round(2 ** (1 / per_octave))
        while size < n:
            size *= factor
        return size
    unit = max(1, int(2 ** int(np.ceil(np.log2(n))) // (2 * per_octave)))
    return int(-(-n // unit) * unit)


def power_of_two(n: int) -> int:
    """Largest power of two that is at most n.

    Examples
    --------
    >>> [power_of_two(n) for n in (1, 7, 8)]
    [1, 4, 8]
    """
    return 1 << (n.bit_length() - 1)


def host_leaf(values: npt.ArrayLike) -> Array:
    """Hold a NumPy array where a jax Array is declared: it stays on the host until a compiled program takes it."""
    return cast(Array, np.asarray(values))
