"""Axes, colours and line styles that the figures share.

Methods are told apart by colour (Okabe and Ito's palette, safe for colour-blind readers), marker and line style.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from ..errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LineStyle: TypeAlias = str | tuple[int, tuple[int, ...]]
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
Z95 = 1.959963984540054
MAIN, ACCENT, FAINT = COLOURS[0], COLOURS[1], "0.62"
# inches: at the width of a journal's column, letters of 10 points become 8
SIZE = (4.4, 3.3)
# inches of a letter of a tick's label, and the letters of a line of it
LETTER, LABEL_LETTERS = 0.085, 22


def axes(ax: Axes | None, *, size: tuple[float, float] = SIZE) -> Axes:
    """Return the given axes, or new ones without the upper and right lines."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtraError("Figures need matplotlib: pip install remlax[plot]") from error
    new = plt.subplots(figsize=size, layout="constrained")[1]
    new.spines[["top", "right"]].set_visible(False)
    return new


def plain(text: object) -> str:
    """Write a name of the data so that its dollar signs begin no formula."""
    return re.sub(r"(?<!\\)\$", r"\\$", str(text))


def require(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise DataError(
            f"a table with the columns {', '.join(columns)} is needed, not a {type(frame).__name__}: see the parameter "
            "'table' for what makes it"
        )
    missing = [column for column in columns if column not in frame]
    if missing:
        raise DataError(f"No column {', '.join(map(repr, missing))}; there are {', '.join(map(str, frame))}.")


def parts(rows: pd.DataFrame, by: str) -> Iterator[tuple[Hashable, pd.DataFrame, str, str, LineStyle]]:
    """Each method's rows in order of appearance, with its colour, marker and line style."""
    for number, (name, part) in enumerate(rows.groupby(by, sort=False, observed=True)):
        yield name, part, *look(number)


def look(number: int) -> tuple[str, str, LineStyle]:
    """Colour, marker and line style of one of several; no two of the first 49 are alike."""
    i = number % len(COLOURS)
    j = (number + number // len(COLOURS)) % len(COLOURS)
    return COLOURS[i], MARKERS[j], LINES[j]


def row_ticks(ax: Axes, labels: Iterable[object], limits: tuple[float, float], **style: Any) -> None:
    """Label places 0, 1, ... of the y axis, which has these limits."""
    texts = [plain(label) for label in labels]
    ax.set_yticks(range(len(texts)), texts, **style)
    ax.set_ylim(limits)


def interval_bars(ax: Axes, at: np.ndarray, table: pd.DataFrame, **style: Any) -> None:
    """Draw estimates with their confidence intervals, upright at places of the x axis."""
    half = np.stack([table["estimate"] - table["conf_low"], table["conf_high"] - table["estimate"]])
    ax.errorbar(at, table["estimate"], yerr=half, **style)


def category_ticks(ax: Axes, labels: Sequence[str]) -> None:
    """Label places 0, 1, ... of the x axis: in lines where words are long, upright where they would meet."""
    wrapped = [textwrap.fill(label, LABEL_LETTERS) for label in labels]
    ax.set_xticks(range(len(labels)), [plain(label) for label in wrapped])
    width = max(len(line) for label in wrapped for line in label.split("\n")) * LETTER
    if len(labels) * (width + 2 * LETTER) > 0.8 * ax.figure.bbox.width / ax.figure.dpi:
        ax.tick_params(axis="x", labelrotation=90)


def legend(ax: Axes, *, above: bool = False, markerscale: float = 1.0) -> None:
    """A legend if there is something to tell apart; above the axes where it would hide data, no wider than they are."""
    number = len(ax.get_legend_handles_labels()[0])
    if number < 2:
        return
    style: dict[str, Any] = {"frameon": False, "fontsize": "small", "markerscale": markerscale}
    if not above:
        ax.legend(loc="best", **style)
        return
    # without its ticks, for which the axes have no place yet
    room = 1.1 * ax.get_window_extent().width
    for columns in range(min(number, 4), 0, -1):
        made = ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=columns, **style)
        if made.get_window_extent().width <= room:
            return


def check_labels(labels: Mapping[str, str] | None, known: Iterable[str]) -> Mapping[str, str]:
    """Read words for names; DataError where they are not texts, or a name is not in the figure."""
    if labels is None:
        return {}
    if not isinstance(labels, Mapping) or not all(isinstance(text, str) for pair in labels.items() for text in pair):
        raise DataError("labels must be a dict from variables, terms or groups to the words to print")
    names = list(dict.fromkeys(known))
    for name in labels:
        if name not in names:
            raise DataError(
                f"labels has words for {name!r}, which the figure does not show; it shows {', '.join(names)}"
            )
    return labels


def level_words(levels: Iterable[str], words: Mapping[str, str], variables: Sequence[str]) -> list[str]:
    """Read the words for levels of a factor; words for a level that has the name of a variable are the variable's."""
    return [level if level in variables else words.get(level, level) for level in levels]
