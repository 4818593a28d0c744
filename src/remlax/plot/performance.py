"""Figures of a simulation study's performance table.

Every function draws on ``ax`` (or on new axes) and returns the axes. Bars are 95 % Monte Carlo intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..checks import Checks
from ..errors import DataError
from .marks import Z95, axes, legend, parts, plain, require, row_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TARGETS = {"coverage": 0.95, "bias_eliminated_coverage": 0.95, "type_1_error": 0.05, "convergence": 1.0}
NO_TARGET = ("mean", "empirical_se", "mse", "rmse", "model_se", "width", "power", "n_estimates", "n_replications")


def nested_loop_plot(
    table: pd.DataFrame,
    measure: str,
    *,
    factors: Sequence[str],
    by: str = "method",
    summary: str = "all",
    ax: Axes | None = None,
) -> Axes:
    """Draw a measure over all scenarios in lexicographic order, with the scenario's factors as steps below.

    Parameters
    ----------
    table : pandas.DataFrame
        A performance table with one column per factor.
    measure : str
        The measure to draw.
    factors : sequence of str
        Columns that make up a scenario, slowest first.
    by : str, default "method"
        Column of the lines.
    summary : {"all", "converged"}, default "all"
        Over all replications, or those that converged.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        A column or the measure is missing, or a scenario has two values of a line.

    Notes
    -----
    Rücker & Schwarzer (2014), Presenting simulation results in a nested loop plot, BMC Medical Research
    Methodology 14:129.

    Examples
    --------
    >>> table = pd.DataFrame({"J": [30, 150], "method": "cc", "summary": "all", "measure": "bias",
    ...     "estimate": [0.1, 0.0], "mcse": 0.01})
    >>> nested_loop_plot(table, "bias", factors=["J"]).get_ylabel()
    'Bias'
    """
    _check_list(factors, "factors")
    rows = _select(table, measure, summary, [*factors, by])
    scenarios = rows[list(factors)].drop_duplicates().sort_values(list(factors), ignore_index=True)
    scenarios["place"] = np.arange(len(scenarios))
    rows = rows.merge(scenarios, on=list(factors))
    ax = axes(ax)
    edges = np.arange(len(scenarios) + 1) - 0.5
    for name, part, colour, _, line in parts(rows, by):
        if part["place"].duplicated().any():
            raise DataError(f"{by} {name!r} has several values in one scenario: name all its factors, and one term.")
        values = part.set_index("place")["estimate"].reindex(range(len(scenarios))).to_numpy()
        ax.stairs(values, edges, baseline=None, color=colour, linestyle=line, linewidth=1.6, label=plain(name))
    _target_line(ax, measure)
    bottom, top = ax.get_ylim()
    step = (top - bottom) * 0.12
    for depth, factor in enumerate(factors):
        values, levels = pd.factorize(scenarios[factor])
        base = bottom - step * (depth + 1)
        ax.stairs(base + 0.5 * step * values / max(1, len(levels) - 1), edges, baseline=None, color="0.35")
        text, at = plain(f"{factor}: {', '.join(map(_short, levels))}"), (edges[0], base + 0.55 * step)
        ax.annotate(text, at, (4, 0), textcoords="offset points", fontsize="small", color="0.2")
    ax.set(xlim=(edges[0], edges[-1]), ylim=(bottom - step * (len(factors) + 0.4), top))
    ax.set_xlabel(plain(f"Scenario ({len(scenarios)}, in the order of {', '.join(factors)})"))
    ax.set_ylabel(_name(measure))
    ax.set_yticks([tick for tick in ax.get_yticks() if bottom <= tick <= top])
    ax.set_xticks([])
    legend(ax, above=True)
    return ax


def lollipop_plot(
    table: pd.DataFrame, measure: str, *, by: str = "method", summary: str = "all", ax: Axes | None = None
) -> Axes:
    """Draw a measure of one scenario as a stem from its target, one per method; brackets: Monte Carlo interval.

    Parameters
    ----------
    table : pandas.DataFrame
        A performance table with one row of the measure per method.
    measure, by, summary, ax
        As for `nested_loop_plot`.

    Raises
    ------
    DataError
        A column or the measure is missing, or a method has several rows.

    Examples
    --------
    >>> table = pd.DataFrame({"method": ["cc", "mi"], "summary": "all", "measure": "bias",
    ...     "estimate": [0.1, 0.0], "mcse": 0.01})
    >>> [label.get_text() for label in lollipop_plot(table, "bias").get_yticklabels()]
    ['cc', 'mi']
    """
    rows = _select(table, measure, summary, [by])
    if rows[by].duplicated().any():
        raise DataError(f"A lollipop plot shows one value per {by}: choose one scenario and one term.")
    ax = axes(ax)
    target = _target(measure)
    for place, (_, part, colour, marker, _) in enumerate(parts(rows, by)):
        value, error = part["estimate"].iloc[0], Z95 * part["mcse"].iloc[0]
        ax.plot([0.0 if target is None else target, value], [place, place], color=colour, linewidth=2.5)
        ax.plot(value, place, color=colour, marker=marker, markersize=9)
        for end, bracket in ((value - error, "$($"), (value + error, "$)$")):
            ax.plot(end, place, color="black", marker=bracket, markersize=10, markeredgewidth=0.3)
    _target_line(ax, measure, vertical=True)
    row_ticks(ax, [name for name, *_ in parts(rows, by)], (len(rows) - 0.5, -0.5))
    ax.set_xlabel(_name(measure))
    return ax


def forest_plot(
    table: pd.DataFrame,
    measure: str = "bias",
    *,
    rows: Sequence[str],
    by: str = "method",
    summary: str = "all",
    ax: Axes | None = None,
) -> Axes:
    """Draw a measure with its Monte Carlo intervals, one line per scenario, methods side by side.

    Parameters
    ----------
    table : pandas.DataFrame
        A performance table.
    measure : str
        The measure to draw.
    rows : sequence of str
        Columns that name the lines, such as the scenario's parameters and the term.
    by, summary, ax
        As for `nested_loop_plot`.

    Raises
    ------
    DataError
        A column or the measure is missing, or a line has two values of a method.

    Examples
    --------
    >>> table = pd.DataFrame({"J": [30, 150], "method": "cc", "summary": "all", "measure": "bias",
    ...     "estimate": [0.1, 0.0], "mcse": 0.01})
    >>> [label.get_text() for label in forest_plot(table, rows=["J"]).get_yticklabels()]
    ['J = 30', 'J = 150']
    """
    _check_list(rows, "rows")
    chosen = _select(table, measure, summary, [*rows, by])
    if chosen.duplicated([*rows, by]).any():
        raise DataError(f"Some lines have several values of one {by}: name more columns in rows=.")
    lines = chosen[list(rows)].drop_duplicates(ignore_index=True)
    lines["place"] = np.arange(len(lines), dtype=float)
    chosen = chosen.merge(lines, on=list(rows))
    ax = axes(ax)
    _intervals(ax, chosen, by, 0.6, upright=False)
    for edge in range(1, len(lines)):
        ax.axhline(edge - 0.5, color="0.9", linewidth=0.8, zorder=0)
    _target_line(ax, measure, vertical=True)
    labels = [", ".join(f"{name} = {_short(line[name])}" for name in rows) for _, line in lines.iterrows()]
    row_ticks(ax, labels, (len(lines) - 0.5, -0.5))
    ax.set_xlabel(_name(measure))
    legend(ax, above=True)
    return ax


def coverage_plot(
    table: pd.DataFrame,
    *,
    x: str,
    measure: str = "coverage",
    by: str = "method",
    conf_level: float = 0.95,
    summary: str = "all",
    ax: Axes | None = None,
) -> Axes:
    """Draw coverage against a parameter of the scenarios, with Monte Carlo intervals and the nominal level.

    Parameters
    ----------
    table : pandas.DataFrame
        A performance table with one row of the measure per value of ``x`` and method.
    x : str
        Column of the parameter; numbers are drawn to scale, anything else evenly.
    measure : str
        "coverage" or "bias_eliminated_coverage".
    conf_level : float, default 0.95
        The nominal level, between 0 and 1.
    by, summary, ax
        As for `nested_loop_plot`.

    Raises
    ------
    DataError
        A column or the measure is missing, or a value of ``x`` has two values of a method.

    Examples
    --------
    >>> table = pd.DataFrame({"J": [30, 150], "method": "cc", "summary": "all", "measure": "coverage",
    ...     "estimate": [0.9, 0.94], "mcse": 0.01})
    >>> coverage_plot(table, x="J").get_xlabel()
    'J'
    """
    Checks().level(conf_level)
    rows = _select(table, measure, summary, [x, by])
    if rows.duplicated([x, by]).any():
        raise DataError(f"Some values of {x!r} have several values of one {by}: choose one term and other parameters.")
    codes, levels = pd.factorize(rows[x], sort=True)
    numeric = pd.api.types.is_numeric_dtype(rows[x])
    place = rows[x].to_numpy(dtype=float) if numeric else codes.astype(float)
    rows = rows.assign(place=place).sort_values("place")
    gap = np.diff(np.unique(place)).min() if len(levels) > 1 else 1.0
    ax = axes(ax)
    _intervals(ax, rows, by, 0.08 * gap, upright=True)
    ax.axhline(conf_level, color="black", linewidth=1, zorder=0)
    ax.set_xticks(np.unique(place), [plain(_short(level)) for level in levels])
    ax.set(xlabel=plain(x), ylabel=_name(measure))
    legend(ax)
    return ax


def _select(table: pd.DataFrame, measure: str, summary: str, columns: Sequence[str]) -> pd.DataFrame:
    require(table, ["measure", "summary", "estimate", "mcse", *columns])
    rows = table[(table["measure"] == measure) & (table["summary"] == summary)]
    if rows.empty:
        known = ", ".join(map(str, table["measure"].unique()))
        raise DataError(f"The table has no measure {measure!r} in summary {summary!r}; it has {known}.")
    return rows


def _check_list(names: Sequence[str], what: str) -> None:
    if isinstance(names, str) or not names:
        raise DataError(f"{what}={names!r} must be a list of columns, such as ['J', 'icc'].")


def _intervals(ax: Axes, rows: pd.DataFrame, by: str, width: float, *, upright: bool) -> None:
    """Draw methods side by side with their Monte Carlo intervals; those of a method that stand upright are joined."""
    number = rows[by].nunique()
    shifts = (np.arange(number) - (number - 1) / 2) * width / max(number, 1)
    for shift, (name, part, colour, marker, line) in zip(shifts, parts(rows, by), strict=True):
        place, value, error = part["place"] + shift, part["estimate"], Z95 * part["mcse"]
        style: dict[str, Any] = {"color": colour, "marker": marker, "label": plain(name)}
        if upright:
            ax.errorbar(place, value, yerr=error, linestyle=line, capsize=3, **style)
        else:
            ax.errorbar(value, place, xerr=error, linestyle="none", capsize=2, markersize=5, **style)


def _target(measure: str) -> float | None:
    return None if measure in NO_TARGET else TARGETS.get(measure, 0.0)


def _target_line(ax: Axes, measure: str, *, vertical: bool = False) -> None:
    target = _target(measure)
    if target is not None:
        (ax.axvline if vertical else ax.axhline)(target, color="black", linewidth=1, zorder=0)


def _name(measure: str) -> str:
    percent = " (%)" if measure in ("relative_precision", "relative_error_model_se") else ""
    words = measure.replace("_", " ").replace(" se", " SE").replace("mse", "MSE").replace("rMSE", "RMSE")
    return plain(words[0].upper() + words[1:] + percent)


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, (int, float, np.number)) and not isinstance(value, bool) else str(value)
