"""Figures of group effects: caterpillar, quantiles, impact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy

from ..errors import DataError
from ..predict.levels import choose_effect
from .marks import ACCENT, COLOURS, FAINT, MAIN, MARKERS, axes, check_labels, interval_bars, legend, plain, row_ticks
from .model import Model, level_of, normal_scores, predictor_words, with_random_effects

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# more levels than this have no room for their names
MOST_NAMES = 40


def _modes(model: Model, group: str | None, term: str | None) -> tuple[pd.DataFrame, str, str]:
    """Rows of ``tidy("ran_vals")`` of one column of one factor, sorted; the labels of factor and column."""
    effect = choose_effect(with_random_effects(model).fitted, group, term)
    table = model.tidy("ran_vals")
    chosen = table[(table["group"] == effect.group) & (table["term"] == effect.term)]
    return chosen.sort_values("estimate", kind="stable", ignore_index=True), effect.group, effect.term


def caterpillar(
    model: Model,
    group: str | None = None,
    term: str | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the conditional modes of a grouping factor in order, with their intervals.

    Up to 40 levels stand one below the other with their names; more stand side by side without. Intervals
    that exclude 0 are blue; pooled, they use the total variance (mean conditional variance within the fits, and between
    imputations).

    Parameters
    ----------
    model : LmerFit or PooledLmer
    group : str, optional
        Grouping factor; the first by default.
    term : str, optional
        Random-effects column; the first by default.
    labels : dict, optional
        Words for the grouping factor, the term and the levels.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        Not a fit; no such grouping factor or term.

    Examples
    --------
    >>> import remlax as rx
    >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
    >>> rx.plot.caterpillar(fit, term="Days").get_xlabel()
    'Days by Subject (95% interval)'
    """
    table, label, name = _modes(model, group, term)
    levels = [str(level) for level in table["level"]]
    spoken = check_labels(labels, [label, name, *levels])
    label, name = spoken.get(label, label), spoken.get(name, name)
    low, high = table["conf_low"].to_numpy(), table["conf_high"].to_numpy()
    clear, place = (low > 0) | (high < 0), np.arange(len(table))
    known = ~np.isnan(low)
    flat = len(table) > MOST_NAMES
    ax = axes(ax, size=(4.4, 2.6) if flat else (4.4, max(1.8, 0.9 + 0.17 * len(table))))
    parts = (
        (known & ~clear, FAINT, "interval includes 0"),
        (clear, MAIN, "excludes 0"),
        (~known, ACCENT, "no interval"),
    )
    for keep, colour, words in parts:
        if keep.any():
            (ax.vlines if flat else ax.hlines)(place[keep], low[keep], high[keep], color=colour, linewidth=1.0)
            points = (place[keep], table["estimate"][keep])
            text = f"{words} ({int(keep.sum())})"
            ax.plot(*(points if flat else points[::-1]), "o", color=colour, markersize=2.2 if flat else 3.6, label=text)
    (ax.axhline if flat else ax.axvline)(0, color="black", linewidth=0.8, zorder=0)
    title = plain(f"{name} by {label} ({level_of(model):.0%} interval)")
    if flat:
        ax.set(xlabel=plain(f"{len(table)} levels of {label}, in order"), ylabel=title, xlim=(-2, len(table) + 1))
        ax.set_xticks([])
    else:
        row_ticks(ax, [spoken.get(level, level) for level in levels], (-0.8, len(table) - 0.2), fontsize="small")
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel(title)
    legend(ax, above=True, markerscale=2.2 if flat else 1.0)
    return ax


def qq_modes(model: Model, group: str | None = None, term: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the conditional modes of a grouping factor against normal quantiles, with their intervals.

    The line is the normal distribution with the SD of the modes.

    Parameters
    ----------
    model, group, term, ax
        As `caterpillar`.

    Raises
    ------
    DataError
        As `caterpillar`.

    Examples
    --------
    >>> import remlax as rx
    >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
    >>> rx.plot.qq_modes(fit).get_ylabel()
    'Intercept by Subject'
    """
    table, label, name = _modes(model, group, term)
    score = scipy.stats.norm.ppf(normal_scores(len(table)))
    ax = axes(ax)
    ax.vlines(score, table["conf_low"], table["conf_high"], color=FAINT, linewidth=0.8, alpha=0.7)
    ends = np.array([score[0], score[-1]]) * 1.06
    ax.plot(ends, ends * table["estimate"].std(ddof=0), color=ACCENT, linewidth=1.2)
    ax.plot(score, table["estimate"], "o", color=MAIN, markersize=3.4)
    ax.set(xlabel="Standard normal quantile", ylabel=plain(f"{name} by {label}"))
    return ax


def impact(
    model: Model,
    newdata: pd.DataFrame | None = None,
    *,
    group: str | None = None,
    term: str | None = None,
    breaks: int = 3,
    n_sims: int = 1000,
    seed: int | None = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw what is predicted for cases that move through the distribution of group effects (`re_impact`).

    Parameters
    ----------
    model : LmerFit or PooledLmer
    newdata : pandas.DataFrame, optional
        The cases, up to seven; the average case by default.
    group, term, breaks, n_sims
        As `LmerFit.re_impact`.
    seed : int, default 0
        A figure drawn twice is the same.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        As `LmerFit.re_impact`; more than seven cases.

    Examples
    --------
    >>> import remlax as rx
    >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
    >>> [label.get_text() for label in rx.plot.impact(fit).get_xticklabels()]
    ['8 to 30', '38 to 61', '66 to 91']
    """
    fits = with_random_effects(model)
    effect = choose_effect(fits.fitted, group, term)
    cases = model.average_obs() if newdata is None else newdata
    if len(cases) > len(COLOURS):
        raise DataError(f"{len(cases)} cases are too many for one figure: choose up to {len(COLOURS)}")
    options: dict[str, Any] = {"breaks": breaks, "n_sims": n_sims, "seed": seed, "conf_level": level_of(model)}
    table = model.re_impact(cases, group=effect.group, term=effect.term, **options)
    bins = table.drop_duplicates("bin")
    place = {number: i for i, number in enumerate(bins["bin"])}
    ax = axes(ax)
    shift = (np.arange(len(cases)) - (len(cases) - 1) / 2) * min(0.12, 0.5 / len(cases))
    for i, (case, rows) in enumerate(table.groupby("case")):
        at = np.array([place[number] for number in rows["bin"]]) + shift[i]
        style = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 5, "linewidth": 1.2}
        interval_bars(ax, at, rows, label=plain(f"case {case}"), **style)
    edges = zip(bins["percentile_low"], bins["percentile_high"], strict=True)
    ax.set_xticks(list(place.values()), [f"{low:.0f} to {high:.0f}" for low, high in edges])
    ax.set_xlabel(plain(f"Percentile of {effect.group} by {effect.term}"))
    ax.set_ylabel(plain(f"{predictor_words(model)} ({level_of(model):.0%} CI)"))
    ax.set_xlim(-0.5, len(place) - 0.5)
    legend(ax, above=True)
    return ax
