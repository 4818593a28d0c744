"""Figures of a simulation study's result rows: intervals, densities, agreement.

Every function draws on ``ax`` (or on new axes) and returns the axes.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from ..checks import Checks
from ..errors import DataError
from .marks import COLOURS, Z95, axes, legend, parts, plain, require

checks = Checks()

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def zip_plot(
    results: pd.DataFrame,
    *,
    truth: float,
    estimate: str = "estimate",
    se: str = "std_error",
    conf_low: str = "conf_low",
    conf_high: str = "conf_high",
    conf_level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Draw the intervals of all replications of one cell, stacked by how far they are from the truth.

    Intervals that miss the truth are orange and stand on top; where their zip opens should be the nominal level. Dashed
    lines: the interval in which the coverage lies with 95 % probability, from its Monte Carlo error.

    Parameters
    ----------
    results : pandas.DataFrame
        One row per replication of one scenario, method and term; rows without limits are left out.
    truth : float
        The true value.
    estimate, se, conf_low, conf_high : str
        Columns; `remlax.simulation.intervals.intervals` makes limits where there are none.
    conf_level : float, default 0.95
        The nominal level, between 0 and 1.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        A column is missing, there is no interval, or there are several methods, terms or scenarios.

    Notes
    -----
    Morris, White & Crowther (2019), Statistics in Medicine 38:2074-2102, section 5.5.

    Examples
    --------
    >>> rows = pd.DataFrame({"estimate": [0.1, -0.2], "std_error": 1.0, "conf_low": -2.0, "conf_high": 2.0})
    >>> zip_plot(rows, truth=0.0).get_xlabel()
    '95% confidence interval'
    """
    checks.number(truth, "truth=")
    checks.level(conf_level)
    require(results, [estimate, se, conf_low, conf_high])
    for column in ("scenario", "method", "term"):
        if column in results and len(results[column].drop_duplicates()) > 1:
            raise DataError(f"A zip plot shows one cell, but column {column!r} has several values: choose one.")
    rows = results.dropna(subset=[estimate, se, conf_low, conf_high])
    if rows.empty:
        raise DataError("No replication has an interval.")
    rows = rows.iloc[np.argsort(np.abs(rows[estimate] - truth) / rows[se], kind="stable")]
    low, high = rows[conf_low].to_numpy(), rows[conf_high].to_numpy()
    height = 100 * (np.arange(len(rows)) + 0.5) / len(rows)
    covers = (low <= truth) & (truth <= high)
    ax = axes(ax)
    for hit, colour, label in ((covers, COLOURS[5], "covers"), (~covers, COLOURS[1], "misses")):
        ax.hlines(height[hit], low[hit], high[hit], color=colour, linewidth=0.8, label=f"{label} ({hit.mean():.1%})")
    ax.axvline(truth, color="black", linewidth=1)
    spread = Z95 * np.sqrt(covers.mean() * (1 - covers.mean()) / len(rows))
    for line in (covers.mean() - spread, covers.mean() + spread):
        ax.axhline(100 * line, color="black", linestyle="--", linewidth=0.8)
    ax.set(xlabel=f"{conf_level:.0%} confidence interval", ylabel="Centile of distance from the truth", ylim=(0, 100))
    ax.set_yticks(sorted({5, 25, 50, 75, round(100 * conf_level, 3), 100}))
    legend(ax, above=True)
    return ax


def density_plot(
    results: pd.DataFrame,
    *,
    truth: float | None = None,
    estimate: str = "estimate",
    by: str = "method",
    ax: Axes | None = None,
) -> Axes:
    """Draw the density of the estimates of each method (Gaussian kernel, Scott's bandwidth).

    Parameters
    ----------
    results : pandas.DataFrame
        One row per replication and method of one scenario and term; rows without estimate are left out.
    truth : float, optional
        The true value, drawn as a vertical line; None for no line.
    estimate, by : str
        Columns of the estimates and of the methods.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        A column is missing, or a method has fewer than two different estimates.

    Examples
    --------
    >>> density_plot(pd.DataFrame({"method": "cc", "estimate": [0.1, 0.2, 0.4]}), truth=0.2).get_ylabel()
    'Density'
    """
    if truth is not None:
        checks.number(truth, "truth=")
    require(results, [estimate, by])
    rows = results.dropna(subset=[estimate])
    ax = axes(ax)
    span = rows[estimate].max() - rows[estimate].min()
    grid = np.linspace(rows[estimate].min() - 0.1 * span, rows[estimate].max() + 0.1 * span, 400)
    for name, part, colour, _, line in parts(rows, by):
        if part[estimate].nunique() < 2:
            raise DataError(f"{by} {name!r} has fewer than two different estimates: there is no density to draw.")
        height = stats.gaussian_kde(part[estimate].to_numpy(dtype=float))(grid)
        ax.plot(grid, height, color=colour, linestyle=line, linewidth=1.8, label=plain(name))
        ax.fill_between(grid, height, color=colour, alpha=0.08, linewidth=0)
    if truth is not None:
        ax.axvline(truth, color="black", linewidth=1, label="truth")
    ax.set(xlabel="Estimate", ylabel="Density", ylim=(0, None))
    legend(ax)
    return ax


def bland_altman_plot(
    results: pd.DataFrame,
    *,
    method: Hashable,
    reference: Hashable,
    estimate: str = "estimate",
    by: str = "method",
    replication: str = "replication",
    ax: Axes | None = None,
) -> Axes:
    """Draw the difference of two methods against their mean, replication by replication.

    Parameters
    ----------
    results : pandas.DataFrame
        One row per replication and method of one scenario and term.
    method, reference : hashable
        The two methods: the difference is ``method`` minus ``reference``.
    estimate, by, replication : str
        Columns of the estimates (or any other number, such as the standard error), methods and replications.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        A column or method is missing, or a method has a replication twice.

    Notes
    -----
    Bland & Altman (1986), Lancet 327:307-310. Dashed lines: mean difference and 1.96 SDs on either side.

    Examples
    --------
    >>> rows = pd.DataFrame({"replication": [0, 1, 0, 1], "method": ["a", "a", "b", "b"], "estimate": [1.0, 2, 1, 3]})
    >>> bland_altman_plot(rows, method="b", reference="a").get_ylabel()
    'b - a'
    """
    require(results, [estimate, by, replication])
    if method == reference:
        raise DataError(f"method={method!r} and reference= are the same: give two methods to compare.")
    pair = []
    for name in (method, reference):
        part = results[results[by] == name].set_index(replication)[estimate].dropna()
        if part.empty or not part.index.is_unique:
            raise DataError(f"{by} {name!r} needs estimates, one per replication: choose one scenario and one term.")
        pair.append(part)
    first, second = (part.to_numpy(dtype=float) for part in pair[0].align(pair[1], join="inner"))
    mean, difference = (first + second) / 2, first - second
    ax = axes(ax)
    ax.plot(
        mean, difference, "o", color=COLOURS[0], markersize=3, alpha=min(1.0, 20 / np.sqrt(len(mean))), rasterized=True
    )
    ax.axhline(0, color="black", linewidth=1)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1}
    centre, spread = difference.mean(), 1.96 * difference.std(ddof=1)
    for line, text in ((centre, "mean"), (centre - spread, "-1.96 SD"), (centre + spread, "+1.96 SD")):
        ax.axhline(line, color=COLOURS[1], linestyle="--", linewidth=1.2)
        label = f"{text} = {line:.3g}"
        ax.annotate(label, (0.99, line), xycoords=("axes fraction", "data"), ha="right", va="bottom", bbox=box)
    ax.set(xlabel=plain(f"Mean of {method} and {reference}"), ylabel=plain(f"{method} - {reference}"))
    return ax
