"""Figure of a power curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ..checks import Checks
from ..errors import DataError
from .marks import FAINT, axes, legend, parts, plain, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

checks = Checks()
COLUMNS = ("power", "power_low", "power_high", "type_1_error")


def power_plot(
    table: pd.DataFrame, sizes: Sequence[str], *, alpha: float = 0.05, target: float = 0.8, ax: Axes | None = None
) -> Axes:
    """Draw power against size with Monte Carlo intervals, a line per second size, and the type I error, faint, below.

    Parameters
    ----------
    table : pandas.DataFrame
        That of a `remlax.sim.PowerCurve`.
    sizes : sequence of str
        Columns of the sizes: the axis, and the lines.
    alpha : float, default 0.05
        The significance level, a dotted line, as is the target.
    target : float, default 0.8
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        A column is missing, or there are more than two sizes.

    Examples
    --------
    >>> table = pd.DataFrame({"subject": [20, 40], "power": [0.5, 0.8], "power_low": [0.4, 0.7],
    ...     "power_high": [0.6, 0.9], "type_1_error": 0.05})
    >>> power_plot(table, ["subject"]).get_xlabel()
    'Number of levels of subject'
    """
    checks.level(target, "target=")
    require(table, [*sizes, *COLUMNS])
    if len(sizes) not in (1, 2):
        raise DataError(f"a figure has one size or two, not {len(sizes)}: take the rows of a table with others fixed")
    ax = axes(ax)
    first, *second = sizes
    by = second[0] if second else "line"
    for name, part, colour, marker, line in parts(table.assign(line=""), by):
        rows = part.sort_values(first)
        x, power = rows[first].to_numpy(), rows["power"].to_numpy()
        error = [power - rows["power_low"].to_numpy(), rows["power_high"].to_numpy() - power]
        label = plain(f"{name} levels of {by}") if second else None
        ax.errorbar(x, power, yerr=error, color=colour, marker=marker, linestyle=line, capsize=2, label=label)
        ax.plot(x, rows["type_1_error"], color=FAINT, marker=marker, linestyle=line, markersize=3, linewidth=0.8)
    for level in (target, alpha):
        ax.axhline(level, color=FAINT, linestyle=":", linewidth=0.8)
    ax.set(ylim=(0, 1.02), xlabel=plain(f"Number of levels of {first}"), ylabel="Power (grey: type I error)")
    if second:
        legend(ax, above=True)
    return ax
