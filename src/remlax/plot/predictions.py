"""Figures along a predictor: the expected response of the population, and lines of the levels of a factor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from ..design.syntax import variables
from ..errors import DataError
from ..fitting.fit import Fitted
from ..predict.levels import choose_factor
from ..predict.observations import move_to_levels, wiggle
from .marks import COLOURS, axes, category_ticks, check_labels, interval_bars, legend, level_words, look, plain
from .model import (
    Model,
    column_of,
    is_number,
    predicted,
    predictors,
    response,
    selection_of,
    with_random_effects,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# points of a curve of the population, and of a line of a level
GRID, LINE_POINTS = 60, 25


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

    Other predictors are at their averages (`average_obs`); no random effect takes part. Categories that are in an
    order, and all where there are several lines, are joined.

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
        Axes to draw on, which are returned; new ones by default.

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
        text = plain(f"{words.get(by, by)} = {levels[line]}") if by is not None else None
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
    ax.set_xlabel(plain(words.get(name, name)))
    ax.set_ylabel(plain(f"{words.get(outcome, outcome)} ({conf_level:.0%} CI)"))
    legend(ax, above=True)
    return ax


def _draw_categories(ax: Axes, part: pd.DataFrame, i: int, n_lines: int, text: str | None, *, joined: bool) -> None:
    at = np.arange(len(part)) + (i - (max(1, n_lines) - 1) / 2) * min(0.12, 0.6 / max(1, n_lines))
    colour, mark, line = look(i)
    style = line if joined else "none"
    interval_bars(ax, at, part, color=colour, marker=mark, linestyle=style, linewidth=1.2, label=text)


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


def spaghetti(
    model: Model,
    x: str | None = None,
    *,
    group: str | None = None,
    labels: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the fitted line of every level of a grouping factor, and that of the population.

    Each line spans the values of x that its level has. Other predictors are at their averages (`average_obs`),
    other grouping factors take no part.

    Parameters
    ----------
    model : LmerFit or PooledLmer
    x : str, optional
        Predictor along which to draw, a number or categories; by default the first with a random slope, else the first
        numeric one of the model, else its first.
    group : str, optional
        Grouping factor; the first by default.
    labels : dict, optional
        Words for the predictor, its categories, the response and the grouping factor.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        Not a fit; x is no variable of the model; no such grouping factor.

    Examples
    --------
    >>> import remlax as rx
    >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
    >>> rx.plot.spaghetti(fit).get_xlabel()
    'Days'
    """
    fits = with_random_effects(model)
    factor = choose_factor(fits.fitted, group)
    label = fits.model.layout.factors[factor].label
    name = _line_variable(model, label, x)
    codes = fits.rows.factor_rows[fits.model.layout.factor_source[factor]]
    each = pd.DataFrame({"code": np.concatenate([codes.of(k) for k in fits.which]), "x": column_of(model, name)})
    number = is_number(model, name)
    grid = _along_number(each) if number else _along_categories(each, categories(model, name))
    levels = fits.model.layout.factors[factor].levels[grid.codes]
    lines = _level_lines(model, fits.fitted, name, label, levels, grid)
    middle = predicted(model, wiggle(model.average_obs(), {name: grid.whole}), "population", None)["estimate"]
    shown = [] if number else [str(value) for value in grid.whole]
    words = check_labels(labels, [name, response(model), label, *shown])
    ax = axes(ax)
    thin = float(np.clip(25 / len(levels), 0.25, 0.9))
    place = np.asarray(grid.whole, dtype=float) if number else np.arange(len(grid.whole))
    ax.plot(grid.place.T, lines.T, color=COLOURS[5], linewidth=0.8, alpha=max(thin, 0.35), zorder=1)
    ax.plot([], [], color=COLOURS[5], linewidth=1.2, label=plain(f"{len(levels)} levels of {words.get(label, label)}"))
    ax.plot(place, middle, color="black", linewidth=2.2, marker="none" if number else "o", label="population")
    ax.set(xlabel=plain(words.get(name, name)), ylabel=plain(words.get(response(model), response(model))))
    if not number:
        category_ticks(ax, level_words(shown, words, [name, response(model), label]))
        ax.set_xlim(-0.4, len(place) - 0.6)
    legend(ax, above=True)
    return ax


class LinePoints(NamedTuple):
    """Points of the lines: codes of the levels (L,); values and places on the axis (L, P); values of the whole (W,).

    A place that is not a number is one that the level does not have.
    """

    codes: np.ndarray
    values: np.ndarray
    place: np.ndarray
    whole: list[Any]


def _along_number(each: pd.DataFrame) -> LinePoints:
    ends = each.astype({"x": float}).groupby("code")["x"].agg(["min", "max"])
    grid = np.linspace(ends["min"], ends["max"], LINE_POINTS, axis=1)
    whole = np.linspace(ends["min"].min(), ends["max"].max(), 4 * LINE_POINTS)
    return LinePoints(ends.index.to_numpy(), grid, grid, list(whole))


def _along_categories(each: pd.DataFrame, known: list[Any]) -> LinePoints:
    codes = np.sort(each["code"].unique())
    values = np.empty((len(codes), len(known)), dtype=object)
    values[:] = known
    place = np.full(values.shape, np.nan)
    present = each.drop_duplicates()
    at = present["x"].astype(object).map({value: j for j, value in enumerate(known)}).to_numpy(dtype=int)
    place[np.searchsorted(codes, present["code"]), at] = at
    return LinePoints(codes, values, place, known)


def _level_lines(
    model: Model, fitted: Fitted, name: str, label: str, levels: np.ndarray, grid: LinePoints
) -> np.ndarray:
    """Fitted values (L, P) at the points of every level."""
    average = model.average_obs()
    n_points = grid.values.shape[1]
    frame = move_to_levels(fitted, pd.concat([average] * n_points, ignore_index=True), label, list(levels))
    frame[name] = pd.Series(grid.values.ravel(), index=frame.index).astype(average[name].dtype)
    lines = predicted(model, frame, [label], None)["estimate"].to_numpy().reshape(grid.values.shape)
    return np.where(np.isnan(grid.place), np.nan, lines)


def _line_variable(model: Model, group: str, given: str | None) -> str:
    """Read x: by default the first variable with a slope that varies by the group, else the first numeric predictor."""
    formula = selection_of(model).rows.formula
    slopes = [name for term in formula.random if term.group_label == group for name in variables(term.lhs_tree)]
    if given is None:
        known = [*slopes, *predictors(model)]
        return next((name for name in known if is_number(model, name) or name in slopes), known[0])
    known = list(dict.fromkeys([*variables(formula.fixed_tree), *slopes]))
    if given not in known:
        raise DataError(
            f"x={given!r} is not a variable of the fixed part or of a slope by {group}; they are "
            f"{', '.join(map(repr, known)) or 'none'}"
        )
    return given
