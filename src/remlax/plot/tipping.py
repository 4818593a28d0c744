"""Figure of a tipping-point analysis: differences of arms, or their p-values, by what was added to imputed cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..errors import DataError
from ..tables.checks import checks
from .marks import axes, interval_bars, legend, parts, plain, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PREFIX = "delta_"


def tipping_point(table: pd.DataFrame, *, level: float = 0.05, ax: Axes | None = None) -> Axes:
    """Draw a tipping-point table: estimates with limits by the number added in one arm, or p-values by those in two.

    Marks are filled where the p-value is below the level. Where numbers are added in two arms, colours are p-values and
    a line shows where they cross the level.

    Parameters
    ----------
    table : pandas.DataFrame
        What ``tipping_point()`` of imputations made by `impute.reference` returns, or some of its rows.
    level : float, default 0.05
        Level of the test.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        No such table; numbers added in more than two arms; in two arms, several differences or missing combinations.

    Examples
    --------
    >>> import pandas as pd
    >>> import remlax as rx
    >>> table = pd.DataFrame({"delta_drug": [0, 1], "term": "drug - placebo", "estimate": [-2.0, -1.5]})
    >>> table = table.assign(conf_low=table.estimate - 1.7, conf_high=table.estimate + 1.7, p_value=[0.02, 0.08])
    >>> rx.plot.tipping_point(table).get_xlabel()
    'Added to imputed values of drug'
    """
    require(table, ["term", "estimate", "conf_low", "conf_high", "p_value"])
    checks.level(level, "level=")
    added = [str(name) for name in table.columns if str(name).startswith(PREFIX)]
    if len(added) not in (1, 2):
        raise DataError(f"the table has {len(added)} columns {PREFIX}<arm>, and the figure has room for one or two")
    ax = axes(ax)
    if len(added) == 1:
        _lines(ax, table, added[0], level)
    else:
        _surface(ax, table, added, level)
    ax.set_xlabel(_words(added[0]))
    return ax


def _words(column: str) -> str:
    return plain(f"Added to imputed values of {column.removeprefix(PREFIX)}")


def _lines(ax: Axes, table: pd.DataFrame, added: str, level: float) -> None:
    several = list(parts(table, "term"))
    values = np.sort(table[added].unique())
    gap = float(np.min(np.diff(values), initial=1.0)) * min(0.12, 0.6 / len(several))
    for i, (name, rows, colour, mark, line) in enumerate(several):
        at = rows[added].to_numpy(float) + (i - (len(several) - 1) / 2) * gap
        interval_bars(ax, at, rows, color=colour, linestyle=line, linewidth=1.2)
        for below, fill in ((True, colour), (False, "white")):
            own = (rows["p_value"].to_numpy() < level) == below
            said = f"{name}, p {'<' if below else '≥'} {level:g}"
            if own.any():
                ax.plot(
                    at[own], rows["estimate"][own], linestyle="", marker=mark, color=colour, markerfacecolor=fill,
                    label=plain(said), zorder=3,
                )  # fmt: skip
    ax.axhline(0, color="black", linewidth=0.8, zorder=0)
    ax.set_ylabel("Difference of arms")
    legend(ax, above=True)


def _surface(ax: Axes, table: pd.DataFrame, added: list[str], level: float) -> None:
    if len(table["term"].unique()) > 1:
        raise DataError("the table has several differences of arms: give the rows of one of them")
    grid = table.pivot_table(index=added[1], columns=added[0], values="p_value")
    if grid.isna().to_numpy().any() or min(grid.shape) < 2:
        raise DataError("the figure needs every combination of at least two numbers in each arm")
    x, y, p = grid.columns.to_numpy(float), grid.index.to_numpy(float), grid.to_numpy()
    image = ax.pcolormesh(x, y, p, cmap="RdBu", vmin=0, vmax=2 * level, shading="nearest")
    if p.min() < level < p.max():
        ax.contour(x, y, p, levels=[level], colors="black", linewidths=1.2)
    ax.set_ylabel(_words(added[1]))
    ax.figure.colorbar(image, ax=ax, label="p-value", extend="max")
