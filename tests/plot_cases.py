"""Rendering of figures for the tests."""

from __future__ import annotations

import io

import matplotlib.pyplot as plt
from matplotlib.axes import Axes


def ink(ax: Axes) -> int:
    """Number of pixels that are not white in the rendered figure."""
    buffer = io.BytesIO()
    ax.figure.savefig(buffer, format="png", dpi=60)
    buffer.seek(0)
    return int((plt.imread(buffer)[..., :3].min(axis=2) < 0.95).sum())


def visible_text(ax: Axes) -> list[str]:
    """Every text that is drawn inside the figure's edges."""
    figure = ax.figure
    figure.draw_without_rendering()
    texts = [ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels()]
    if ax.get_legend() is not None:
        texts += ax.get_legend().get_texts()
    box, out = figure.bbox.padded(1), []
    for text in texts:
        drawn = text.get_window_extent()
        if text.get_text() and box.contains(*drawn.min) and box.contains(*drawn.max):
            out.append(text.get_text())
    return out
