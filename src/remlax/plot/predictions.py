"""Figures of predictions over a predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ..results.cases import wiggle
from .marks import COLOURS, LINES, MAIN, MARKERS, axes, figure, legend
from .model import Model, column_of, is_number, predicted, predictors, response

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRID = 60


@figure
def effect(
    model: Model, x: str | None = None, *, by: str | None = None, conf_level: float = 0.95, ax: Axes | None = None
) -> Axes:
    """Draw the expected response of the population over a predictor, with its confidence interval.

    Parameters
    ----------
    model : LmerFit or PooledLmer
    x : str, optional
        A variable of the fixed part, numeric or categorical; by default the first numeric one, else the first. A number
        with two values is drawn as categories.
    by : str, optional
        A second variable: a line for each category, or for the mean and one SD below and above it.
    conf_level : float, default 0.95
    ax : matplotlib Axes, optional
        Axes to draw on; new ones by default.

    Returns
    -------
    matplotlib Axes
        Other predictors are at their averages (`average_obs`); no random effect takes part.

    Raises
    ------
    DataError
        Not a fit; x or by is no variable of the fixed part; the data of the fit determine no point of the figure.

    Warns
    -----
    RankDeficientWarning
        They do not determine some of its points, which are left out.

    Examples
    --------
    >>> import remlax as rx
    >>> pooled = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed()).pool()
    >>> rx.plot.effect(pooled, "ses").get_xlabel()
    'ses'
    """
    known = predictors(model)
    name = next((v for v in known if _continuous(model, v)), known[0]) if x is None else x
    for given in (name, by):
        if given is not None and given not in known:
            raise DataError(f"{given!r} is no variable of the fixed part; they are {', '.join(map(repr, known))}")
    numeric, column = _continuous(model, name), column_of(model, name)
    grid = np.linspace(column.min(), column.max(), GRID) if numeric else np.empty(0)
    values = list(grid) if numeric else categories(model, name)
    lines = {} if by is None else _lines(model, by)
    frame = wiggle(model.average_obs(), {name: values} | ({} if by is None else {by: list(lines.values())}))
    table = predicted(model, frame, "population", conf_level)
    ax = axes(ax)
    n_lines = max(1, len(lines))
    for i in range(n_lines):
        part = table.iloc[i * len(values) : (i + 1) * len(values)]
        colour = COLOURS[i % len(COLOURS)] if by else MAIN
        text = f"{by} = {list(lines)[i]}" if by else None
        if numeric:
            ax.fill_between(grid, part["conf_low"], part["conf_high"], color=colour, alpha=0.18, linewidth=0)
            ax.plot(grid, part["estimate"], color=colour, linestyle=LINES[i % len(LINES)], linewidth=1.8, label=text)
        else:
            half = np.stack([part["estimate"] - part["conf_low"], part["conf_high"] - part["estimate"]])
            at = np.arange(len(values)) + (i - (n_lines - 1) / 2) * 0.12
            mark = MARKERS[i % len(MARKERS)]
            ax.errorbar(at, part["estimate"], yerr=half, color=colour, marker=mark, linestyle="none", label=text)
    if not numeric:
        ax.set_xticks(range(len(values)), [str(v) for v in values])
        ax.set_xlim(-0.6, len(values) - 0.4)
    ax.set(xlabel=name, ylabel=f"{response(model)} ({conf_level:.0%} CI)")
    legend(ax, above=True)
    return ax


def categories(model: Model, name: str) -> list[object]:
    """Values that a categorical variable has, in the order of its categories."""
    column = column_of(model, name)
    order = column.cat.categories if hasattr(column, "cat") else np.sort(column.unique())
    present = set(column.unique())
    return [value for value in order if value in present]


def _continuous(model: Model, name: str) -> bool:
    """Tell whether a variable is a number with more than two values."""
    return is_number(model, name) and column_of(model, name).nunique() > 2


def _lines(model: Model, by: str) -> dict[str, object]:
    """Labels and values of the second variable."""
    column = column_of(model, by)
    if not is_number(model, by) or column.nunique() <= 3:
        return {f"{v:g}" if isinstance(v, float) else str(v): v for v in categories(model, by)}
    mean, sd = float(column.mean()), float(column.std())
    return {f"{v:.3g}": v for v in (mean - sd, mean, mean + sd)}
