"""Functions that workers of a cluster import."""

from __future__ import annotations

import os
from pathlib import Path


def install() -> None:
    """Let the first worker that fits a block die, once."""
    from remlax.many.fit import SharedDesign

    fit = SharedDesign.fit

    def dying(self, y, weights=None):
        marker = Path(os.environ["MANY_MARKER"])
        if not marker.exists():
            marker.write_text("")
            os._exit(1)
        return fit(self, y, weights)

    SharedDesign.fit = dying
