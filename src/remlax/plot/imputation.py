"""Figures of missing data and imputations, drawn from the tables of `remlax.impute`.

Every function draws on ``ax`` (or on new axes) and returns the axes. Observed values are blue, imputed ones orange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..errors import DataError
from .marks import COLOURS, axes, plain, require, row_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OBSERVED, IMPUTED = COLOURS[0], COLOURS[1]


def missing_map(flags: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw which cells are missing: rows downwards, columns from fewest to most missing cells.

    Parameters
    ----------
    flags : pandas.DataFrame
        What `remlax.impute.missing_flags` returns.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        The table is not of truth values.

    Examples
    --------
    >>> import remlax as rx
    >>> missing_map(rx.impute.missing_flags(rx.datasets.hsb_incomplete())).get_ylabel()
    'Row'
    """
    if not isinstance(flags, pd.DataFrame) or not all(map(pd.api.types.is_bool_dtype, flags.dtypes)):
        raise DataError("missing_map() needs a table of truth values: give missing_flags(data)")
    ax = axes(ax)
    flags = flags[flags.sum().sort_values(kind="stable").index]
    ax.imshow(flags.to_numpy(), aspect="auto", cmap="Greys", vmin=0, vmax=1.4)
    ax.set_xticks(range(flags.shape[1]), [plain(f"{name}\n{100 * flags[name].mean():.1f} %") for name in flags.columns])
    ax.set_ylabel("Row")
    ax.set_title("Missing cells (dark)", fontsize="medium")
    return ax


def imputed_density_plot(table: pd.DataFrame, *, name: str = "", ax: Axes | None = None) -> Axes:
    """Draw the density of the observed cells and, one thin line each, those of the imputations.

    Parameters
    ----------
    table : pandas.DataFrame
        What `remlax.impute.density_table` returns.
    name : str, optional
        Name of the variable.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        A column of the table is missing.
    """
    require(table, ["x", "density", "set"])
    ax = axes(ax)
    sets = list(table["set"].unique())
    for number, label in enumerate(label for label in sets if label != "observed"):
        part = table[table["set"] == label]
        text = "imputed" if number == 0 else None
        ax.plot(part["x"], part["density"], color=IMPUTED, linewidth=0.8, alpha=0.7, label=text)
    part = table[table["set"] == "observed"]
    ax.plot(part["x"], part["density"], color=OBSERVED, linewidth=2.0, label="observed")
    ax.set(xlabel=plain(name), ylabel="Density", ylim=(0, None))
    ax.legend(frameon=False, fontsize="small")
    return ax


def imputed_quantile_plot(table: pd.DataFrame, *, name: str = "", ax: Axes | None = None) -> Axes:
    """Draw quantiles of the imputed against those of the observed cells, with the line of equality.

    Parameters
    ----------
    table : pandas.DataFrame
        What `remlax.impute.quantile_table` returns.
    name, ax
        As for `imputed_density_plot`.

    Raises
    ------
    DataError
        A column of the table is missing.
    """
    require(table, ["observed", "imputed", "set"])
    ax = axes(ax)
    low, high = table[["observed", "imputed"]].min().min(), table[["observed", "imputed"]].max().max()
    ax.plot([low, high], [low, high], color="0.5", linewidth=1.0)
    for _, part in table.groupby("set", sort=False):
        ax.plot(part["observed"], part["imputed"], color=IMPUTED, linewidth=0.8, alpha=0.7)
    ax.set(xlabel=plain(f"Observed {name}".strip()), ylabel=plain(f"Imputed {name}".strip()))
    return ax


def overimputation_plot(table: pd.DataFrame, *, name: str = "", ax: Axes | None = None) -> Axes:
    """Draw predictive medians and intervals of observed cells against their values, with the line of equality.

    Intervals that miss the value are orange.

    Parameters
    ----------
    table : pandas.DataFrame
        ``.table`` of what `remlax.impute.overimpute` returns.
    name, ax
        As for `imputed_density_plot`.

    Raises
    ------
    DataError
        A column of the table is missing.
    """
    require(table, ["observed", "median", "low", "high", "covered"])
    ax = axes(ax)
    for covered, colour, label in ((True, OBSERVED, "inside"), (False, IMPUTED, "outside")):
        part = table[table["covered"] == covered]
        ax.vlines(part["observed"], part["low"], part["high"], color=colour, linewidth=0.6, alpha=0.5)
        ax.plot(part["observed"], part["median"], ".", color=colour, markersize=3, label=f"{label} ({len(part)})")
    ends = np.array([table["observed"].min(), table["observed"].max()])
    ax.plot(ends, ends, color="0.3", linewidth=1.0)
    ax.set(xlabel=plain(f"Observed {name}".strip()), ylabel="Predicted as if missing")
    ax.legend(frameon=False, fontsize="small")
    return ax


def imputed_icc_plot(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw intraclass correlations of observed cells (dots) and completed data (bars from least to greatest).

    Parameters
    ----------
    table : pandas.DataFrame
        What `remlax.impute.icc_table` returns.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        A column of the table is missing.
    """
    require(table, ["observed", "completed", "least", "greatest"])
    ax = axes(ax)
    place = np.arange(len(table))
    ax.hlines(place, table["least"], table["greatest"], color=IMPUTED, linewidth=3.0)
    ax.plot(table["completed"], place, "|", color=IMPUTED, markersize=12, label="completed")
    ax.plot(table["observed"], place, "o", color=OBSERVED, label="observed")
    row_ticks(ax, table.index, (-0.5, len(table) - 0.5))
    ax.set_xlabel("Intraclass correlation")
    ax.legend(frameon=False, fontsize="small")
    return ax


def chain_plot(draws: np.ndarray, *, name: str = "", start: int = 0, ax: Axes | None = None) -> Axes:
    """Draw the chains of one parameter of a sampler.

    Parameters
    ----------
    draws : array_like
        (chains, iterations).
    name : str, optional
        Name of the parameter.
    start : int, default 0
        Number of the first iteration, e.g. that after the burn-in.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        `draws` has not two axes.
    """
    values = np.asarray(draws)
    if values.ndim != 2:
        raise DataError(f"chain_plot() needs (chains, iterations) but got {values.ndim} axes: pick one parameter")
    ax = axes(ax)
    at = start + np.arange(values.shape[1])
    for number, chain in enumerate(values):
        ax.plot(at, chain, color=COLOURS[number % len(COLOURS)], linewidth=0.6, alpha=0.8)
    ax.set(xlabel="Iteration", ylabel=plain(name))
    return ax
