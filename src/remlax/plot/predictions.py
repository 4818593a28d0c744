"""Figures of predictions over a predictor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import DataError
from ..predict.observations import wiggle
from .marks import axes, category_ticks, check_labels, figure, legend, level_words, look
from .model import Model, column_of, is_number, predicted, predictors, response

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRID = 60


@figure
def effect(
    model: Model,
    x: str | None = None,
    *,
    by: str | None = None,
    at: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    conf_level: float = 0.95,
    ax: Axes | None = None,
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
    at : dict, optional
        Values of variables: a list for `x` (the categories or points to draw) and for `by` (a line for each), one value
        for any other variable, which is at its average unless named here.
    labels : dict, optional
        Words for variables, for the response and for categories: ``{"ses": "Socio-economic status"}``.
    conf_level : float, default 0.95
    ax : matplotlib Axes, optional
        Axes to draw on; new ones by default.

    Returns
    -------
    matplotlib Axes
        Other predictors are at their averages (`average_obs`); no random effect takes part. Categories that are in an
        order, and all where there are several lines, are joined.

    Raises
    ------
    DataError
        Not a fit; x, by or a name in at is not a variable of the fixed part; a value in at is not a category; the data
        of the fit determine no point of the figure.

    Warns
    -----
    RankDeficientWarning
        They do not determine some of its points, which are left out.

    Examples
    --------
    >>> import remlax as rx
    >>> pooled = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed()).pool()
    >>> rx.plot.effect(pooled, "ses", labels={"ses": "Socio-economic status"}).get_xlabel()
    'Socio-economic status'
    """
    known = predictors(model)
    name = next((v for v in known if _continuous(model, v)), known[0]) if x is None else x
    fixed = dict(at or {})
    for given in (name, by, *fixed):
        if given is not None and given not in known:
            raise DataError(f"{given!r} is not a variable of the fixed part; they are {', '.join(map(repr, known))}")
    numeric = _continuous(model, name)
    values = _points(model, name, fixed.pop(name, None), numeric)
    lines = {} if by is None else _lines(model, by, fixed.pop(by, None))
    shown = [str(value) for value in (*(() if numeric else values), *lines)]
    words = check_labels(labels, [*known, response(model), *shown])
    levels = dict(zip(shown, level_words(shown, words, [*known, response(model)]), strict=True))
    moved: dict[str, list[Any]] = {name: values} | ({} if by is None else {by: list(lines.values())})
    frame = wiggle(model.average_obs(), moved | {other: [value] for other, value in fixed.items()})
    table = predicted(model, frame, "population", conf_level)
    ax = axes(ax)
    for i in range(max(1, len(lines))):
        part = table.iloc[i * len(values) : (i + 1) * len(values)]
        line = list(lines)[i] if lines else ""
        text = f"{words.get(by, by)} = {levels[line]}" if by is not None else None
        colour, _, style = look(i)
        if numeric:
            ax.fill_between(values, part["conf_low"], part["conf_high"], color=colour, alpha=0.18, linewidth=0)
            ax.plot(values, part["estimate"], color=colour, linestyle=style, linewidth=1.8, label=text)
        else:
            joined = bool(lines) or _ordered(model, name)
            _draw_categories(ax, part, i, len(lines), text, joined=joined)
    if not numeric:
        category_ticks(ax, [levels[str(v)] for v in values])
        ax.set_xlim(-0.6, len(values) - 0.4)
    outcome = response(model)
    ax.set(xlabel=words.get(name, name), ylabel=f"{words.get(outcome, outcome)} ({conf_level:.0%} CI)")
    legend(ax, above=True)
    return ax


def _draw_categories(ax: Axes, part: pd.DataFrame, i: int, n_lines: int, text: str | None, *, joined: bool) -> None:
    half = np.stack([part["estimate"] - part["conf_low"], part["conf_high"] - part["estimate"]])
    at = np.arange(len(part)) + (i - (max(1, n_lines) - 1) / 2) * min(0.12, 0.6 / max(1, n_lines))
    colour, mark, line = look(i)
    style = line if joined else "none"
    ax.errorbar(at, part["estimate"], yerr=half, color=colour, marker=mark, linestyle=style, linewidth=1.2, label=text)


def _points(model: Model, name: str, given: Any, numeric: bool) -> list[Any]:
    """Values of the variable along which is drawn."""
    if given is not None:
        return _listed(name, given)
    column = column_of(model, name)
    return list(np.linspace(column.min(), column.max(), GRID)) if numeric else categories(model, name)


def _listed(name: str, given: Any) -> list[Any]:
    if isinstance(given, str) or not np.iterable(given) or not len(list(given)):
        raise DataError(f"at= needs a list of values for {name!r}, not {given!r}")
    return list(given)


def _ordered(model: Model, name: str) -> bool:
    """Whether the categories of a variable are in an order: numbers, or an ordered categorical."""
    column = column_of(model, name)
    return is_number(model, name) or bool(getattr(column.dtype, "ordered", False))


def categories(model: Model, name: str) -> list[object]:
    """Values that a categorical variable has, in the order of its categories."""
    column = column_of(model, name)
    order = column.cat.categories if hasattr(column, "cat") else np.sort(column.unique())
    present = set(column.unique())
    return [value for value in order if value in present]


def _continuous(model: Model, name: str) -> bool:
    """Tell whether a variable is a number with more than two values."""
    return is_number(model, name) and column_of(model, name).nunique() > 2


def _lines(model: Model, by: str, given: Any) -> dict[str, object]:
    """Labels and values of the second variable."""
    column = column_of(model, by)
    if given is not None:
        return {_short(value): value for value in _listed(by, given)}
    if not is_number(model, by) or column.nunique() <= 3:
        return {_short(value): value for value in categories(model, by)}
    mean, sd = float(column.mean()), float(column.std())
    return {f"{v:.3g}": v for v in (mean - sd, mean, mean + sd)}


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
