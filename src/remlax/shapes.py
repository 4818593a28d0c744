"""Shapes: types of arrays with their axes, such as ``Float[Array, "levels q q"]``, for the rooms without labels.

Axes have one size within a call; those whose name begins with an underscore differ between the members of a tuple, and
``*k`` stands for the axes of a batch, if any. The tests check them with jaxtyping, which they import before remlax; it
would make the import of remlax longer, so that nothing is imported where it has not been.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Bool as Bool
    from jaxtyping import Float as Float
    from jaxtyping import Int as Int
    from jaxtyping import UInt as UInt
else:
    Bool = Float = Int = UInt = None
