"""Figure of fitted lines: one for every level of a grouping factor, and that of the population."""

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
from .marks import COLOURS, axes, category_ticks, check_labels, figure, legend, level_words
from .model import Model, column_of, is_number, predicted, predictors, response, selection_of
from .predictions import categories

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE_POINTS = 25


@figure
def spaghetti(
    model: Model,
    x: str | None = None,
    *,
    group: str | None = None,
    labels: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the fitted line of every level of a grouping factor, and that of the population.

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
        Axes to draw on; new ones by default.

    Returns
    -------
    matplotlib Axes
        Each line spans the values of x that its level has. Other predictors are at their averages (`average_obs`),
        other grouping factors take no part.

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
    fits = selection_of(model)
    factor = choose_factor(fits.fitted, group)
    label = fits.model.layout.factors[factor].label
    name = _variable(model, label, x)
    codes = fits.rows.factor_rows[fits.model.layout.factor_source[factor]]
    each = pd.DataFrame({"code": np.concatenate([codes.of(k) for k in fits.which]), "x": column_of(model, name)})
    number = is_number(model, name)
    grid = _along_number(each) if number else _along_categories(each, categories(model, name))
    levels = fits.model.layout.factors[factor].levels[grid.codes]
    lines = _lines(model, fits.fitted, name, label, levels, grid)
    middle = predicted(model, wiggle(model.average_obs(), {name: grid.whole}), "population", None)["estimate"]
    shown = [] if number else [str(value) for value in grid.whole]
    words = check_labels(labels, [name, response(model), label, *shown])
    ax = axes(ax)
    thin = float(np.clip(25 / len(levels), 0.25, 0.9))
    place = np.asarray(grid.whole, dtype=float) if number else np.arange(len(grid.whole))
    ax.plot(grid.place.T, lines.T, color=COLOURS[5], linewidth=0.8, alpha=max(thin, 0.35), zorder=1)
    ax.plot([], [], color=COLOURS[5], linewidth=1.2, label=f"{len(levels)} levels of {words.get(label, label)}")
    ax.plot(place, middle, color="black", linewidth=2.2, marker="none" if number else "o", label="population")
    ax.set(xlabel=words.get(name, name), ylabel=words.get(response(model), response(model)))
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


def _lines(model: Model, fitted: Fitted, name: str, label: str, levels: np.ndarray, grid: LinePoints) -> np.ndarray:
    """Fitted values (L, P) at the points of every level."""
    average = model.average_obs()
    n_points = grid.values.shape[1]
    frame = move_to_levels(fitted, pd.concat([average] * n_points, ignore_index=True), label, list(levels))
    frame[name] = pd.Series(grid.values.ravel(), index=frame.index).astype(average[name].dtype)
    lines = predicted(model, frame, [label], None)["estimate"].to_numpy().reshape(grid.values.shape)
    return np.where(np.isnan(grid.place), np.nan, lines)


def _variable(model: Model, group: str, given: str | None) -> str:
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
