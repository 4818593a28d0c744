"""Figures of estimates: coefficients, variance components, imputations side by side, missing information."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from ..checks import Checks
from ..design.syntax import variables
from ..errors import DataError, PoolingWarning, quiet
from ..fitting.selection import Selection
from ..results import LmerFitList, MmrmFitList, PooledLmer, PooledMmrm
from ..tables.confint import parameter_frame, parameter_values
from ..tables.exponentiate import exponentiated
from ..tables.printing import term_words
from ..tables.variance import RESPONSE, TOO_WIDE
from .marks import (
    ACCENT,
    COLOURS,
    FAINT,
    LETTER,
    MAIN,
    SIZE,
    axes,
    check_labels,
    interval_bars,
    legend,
    plain,
    row_ticks,
)
from .model import Model, level_of, pooled_only, ratios_of, selection_of, with_random_effects

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Component = Literal["sd", "cor"]
# of a line of a row's label
ROW_LETTERS = 40
Measure = Literal["fmi", "riv", "lambda"]
MEASURES = {
    "fmi": "Fraction of missing information",
    "riv": "Relative increase in variance",
    "lambda": "Share of variance between imputations",
}


def forest(
    model: Model,
    *,
    intercept: bool = False,
    exponentiate: bool = False,
    labels: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the fixed effects with their confidence intervals; pooled, each imputation's estimate as a faint mark.

    Parameters
    ----------
    model : LmerFit, PooledLmer, GlmerFit or PooledGlmer
    intercept : bool, default False
        Draw the intercept as well; it is often on another scale.
    exponentiate : bool, default False
        Odds ratios (logit), rate ratios or ratios of means (log) of a generalised model, on a logarithmic axis.
    labels : dict, optional
        Words for terms (``"sex[T.m]"``) or variables (``"sex"``), as in `model_table`.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        Not a fit, a model without coefficients to draw, or coefficients that are no logarithms of ratios.

    Examples
    --------
    >>> import remlax as rx
    >>> pooled = rx.lmer_list("mathach ~ minority + ses + (1 | schid)", rx.datasets.hsb_imputed()).pool()
    >>> [label.get_text() for label in rx.plot.forest(pooled).get_yticklabels()]
    ['minority', 'ses']
    """
    fits = selection_of(model)
    table: pd.DataFrame = model.tidy("fixed").reset_index(drop=True)
    keep = np.flatnonzero((table["term"] != "Intercept") | intercept)
    if not len(keep):
        raise DataError("the model has no coefficient besides the intercept: use intercept=True")
    each, ratios = fits.beta[:, keep], ""
    if exponentiate:
        ratios, link = ratios_of(model)
        table, each = exponentiated(table, link), np.exp(each)
    words = check_labels(labels, [*table["term"], *variables(fits.rows.formula.fixed_tree)])
    ax = _intervals(table.iloc[keep], [term_words(term, words) for term in table["term"].iloc[keep]], each, ax)
    ax.axvline(1 if exponentiate else 0, color="black", linewidth=0.8, zorder=0)
    ax.set_xlabel(f"{ratios or 'Coefficient'} ({level_of(model):.0%} CI)")
    if exponentiate:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("{x:g}")
    return ax


def variance_components(
    model: Model, *, kind: Component = "sd", labels: Mapping[str, str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the standard deviations of the random effects and the residual, or their correlations, with intervals.

    A generalised model has no residual; its random effects are on the scale of the link.

    A component on the boundary, or not identified, has no interval and is drawn hollow, and so is one whose
    interval says nothing (its standard error is as large as itself); faint marks are the imputations.

    Parameters
    ----------
    model : LmerFit or PooledLmer
    kind : {"sd", "cor"}, default "sd"
        Standard deviations, in units of the response per unit of the predictor; or correlations.
    labels : dict, optional
        Words for terms, variables and grouping factors.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        Not a fit, an unknown kind, or a model without correlations.

    Examples
    --------
    >>> import remlax as rx
    >>> fit = rx.lmer("Reaction ~ Days + (1 + Days | Subject)", rx.datasets.sleepstudy())
    >>> [label.get_text() for label in rx.plot.variance_components(fit).get_yticklabels()]
    ['Intercept | Subject', 'Days | Subject', 'Residual']
    """
    Checks().choice(kind, Component, "kind=")
    fits = with_random_effects(model)
    table = ran_pars(model)
    chosen = table[table["term"].str.startswith(f"{kind}__")]
    if chosen.empty:
        raise DataError("the model has no correlation of random effects")
    values = np.stack([_parameter_values(fits, row) for _, row in chosen.iterrows()], axis=1)
    rows = fits.rows
    names = [*(name for term in rows.terms for name in term.names), *(name for name in rows.formula.variables)]
    words = check_labels(labels, [*names, *(str(group) for group in chosen["group"])])
    texts = [component_label(str(row["group"]), str(row["term"]), words=words) for _, row in chosen.iterrows()]
    shown = chosen.copy()
    # where every imputation is on the boundary there is no pooled estimate: the mean stands in
    shown["estimate"] = np.where(shown["estimate"].isna(), values.mean(axis=0), shown["estimate"])
    if kind == "sd":
        # limits that say nothing would leave no room for the others
        shown.loc[shown["std_error"] > TOO_WIDE * shown["estimate"], ["conf_low", "conf_high"]] = np.nan
    ax = _intervals(shown, texts, values, ax)
    name = "Standard deviation" if kind == "sd" else "Correlation"
    ax.set_xlabel(f"{name} ({level_of(model):.0%} CI)")
    if kind == "sd":
        ax.set_xlim(0, 1.06 * float(np.nanmax([*shown["conf_high"], *shown["estimate"], *values.ravel()])))
    else:
        ax.axvline(0, color="black", linewidth=0.8, zorder=0)
    return ax


def trace(model: PooledLmer, term: str | None = None, *, group: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw an estimate of every imputation with its interval, and the pooled estimate with its band.

    Parameters
    ----------
    model : PooledLmer
    term : str, optional
        A coefficient, or a variance parameter as in ``tidy("ran_pars")``: ``"sd__Intercept"``. The last coefficient by
        default.
    group : str, optional
        Grouping factor of a variance parameter, where several have one of that name.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        A single fit; no such term, or several.

    Examples
    --------
    >>> import remlax as rx
    >>> pooled = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed()).pool()
    >>> rx.plot.trace(pooled).get_xlabel()
    'Imputation'
    """
    pooled = pooled_only(model, "a trace")
    fits = selection_of(pooled)
    names = fits.model.fixed_names
    chosen = term if term is not None else names[-1]
    fixed = chosen in names
    total = pooled.tidy("fixed") if fixed else ran_pars(pooled)
    row = one_row(total, chosen, None if fixed else group)
    level = level_of(pooled)
    several = MmrmFitList(fits) if isinstance(pooled, PooledMmrm) else LmerFitList(fits)
    tables = [fit.tidy("fixed" if fixed else "ran_pars", conf_level=level) for fit in several]
    each = pd.DataFrame([one_row(table, chosen, None if fixed else group) for table in tables])
    ax = axes(ax)
    place = np.arange(1, fits.n_sets + 1)
    ax.axhspan(row["conf_low"], row["conf_high"], color=MAIN, alpha=0.14, linewidth=0, label=f"pooled, {level:.0%} CI")
    ax.axhline(row["estimate"], color=MAIN, linewidth=1.4)
    points = {"color": "0.25", "marker": "o", "markersize": 4, "linestyle": "none", "linewidth": 1}
    interval_bars(ax, place, each, label="each imputation", **points)
    labels = [plain(label) for label in fits.labels]
    step = max(1, -(-len(place) // 15))
    ax.set_xticks(place[::step], labels[::step])
    ax.set_xlim(0.4, len(place) + 0.6)
    name = term_words(chosen, {}) if fixed else component_label(str(row["group"]), chosen, long=True)
    ax.set(xlabel="Imputation", ylabel=plain(name))
    legend(ax, above=True)
    return ax


def missing_information(model: PooledLmer, *, measure: Measure = "fmi", ax: Axes | None = None) -> Axes:
    """Draw what the missing data cost every estimate: coefficients, then variance parameters, then size or thresholds.

    Parameters
    ----------
    model : PooledLmer
    measure : {"fmi", "riv", "lambda"}, default "fmi"
        Fraction of missing information; relative increase in variance; share of variance between imputations.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        A single fit, or an unknown measure.

    Examples
    --------
    >>> import remlax as rx
    >>> pooled = rx.lmer_list("mathach ~ ses + (1 | schid)", rx.datasets.hsb_imputed()).pool()
    >>> rx.plot.missing_information(pooled).get_xlabel()
    'Fraction of missing information'
    """
    Checks().choice(measure, Measure, "measure=")
    pooled = pooled_only(model, "missing information")
    fixed, variance = pooled.tidy("fixed"), ran_pars(pooled)
    pairs = zip(variance["group"], variance["term"], strict=True)
    labels = [*(term_words(term, {}) for term in fixed["term"]), *(component_label(g, t, long=True) for g, t in pairs)]
    values = np.concatenate([fixed[measure], variance[measure]])
    ax = axes(ax, size=_size(labels))
    fits = selection_of(pooled)
    place, shapes = np.arange(len(labels)), fits.fitted.shape_names
    n, end = len(fixed), len(labels) - len(shapes)
    last = "thresholds" if fits.fitted.has_thresholds else "".join(shapes)
    parts = [(slice(n), MAIN, "fixed effects"), (slice(n, end), COLOURS[4], "variances")]
    for part, colour, words in [*parts, (slice(end, None), COLOURS[2], last)][: 3 if shapes else 2]:
        ax.barh(place[part], np.nan_to_num(values[part]), height=0.6, color=colour, label=words)
    lost = np.zeros(len(labels), bool)
    if fits.model.layout.factors:
        lost[n:end] = fits.fitted.redundancies.parameters(fits.which)[0].any(axis=0)
    for number in np.flatnonzero(np.isnan(values)):
        words = " not identified" if lost[number] else " on the boundary"
        ax.text(0, float(number), words, va="center", fontsize="small", color="0.35")
    row_ticks(ax, labels, (len(labels) - 0.4, -0.6))
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(MEASURES[measure])
    if measure != "riv":
        ax.set_xlim(0, max(0.05, min(1.0, 1.15 * float(np.nanmax(values, initial=0)))))
    legend(ax, above=True)
    return ax


def ran_pars(model: Model) -> pd.DataFrame:
    """Table of SDs and correlations; what is on the boundary is seen in the figure, not warned of."""
    with quiet(PoolingWarning):
        return model.tidy("ran_pars").reset_index(drop=True)


def _parameter_values(fits: Selection, row: pd.Series) -> np.ndarray:
    """SD or correlation of every imputation that belongs to a row of ``tidy("ran_pars")``."""
    frame = parameter_frame(fits.fitted)
    at = np.flatnonzero((frame["group"] == row["group"]) & (frame["term"] == row["term"]))[0]
    return np.asarray(parameter_values(fits.fitted)[fits.index, at])


def component_label(group: str, term: str, *, long: bool = False, words: Mapping[str, str] | None = None) -> str:
    """Words for sd__x of a group: x | group; with ``long`` what it is in front; shape parameters by their names."""
    kind, _, name = term.partition("__")
    known = words or {}
    if group == "Residual":
        return "SD residual" if long else known.get(group, group)
    if group == RESPONSE and kind not in ("sd", "cor"):  # a grouping factor may have that name
        return known.get(term, term)
    head = f"{'SD' if kind == 'sd' else 'cor'} " if long else ""
    names = name.split(".", 1) if kind == "cor" else [name]
    spoken = ", ".join(term_words(one, known) if known else one for one in names)
    return f"{(head + spoken).strip()} | {known.get(group, group)}"


def one_row(table: pd.DataFrame, term: str, group: str | None) -> pd.Series:
    rows = table[table["term"] == term]
    if group is not None:
        rows = rows[rows["group"] == group]
    if len(rows) != 1:
        known = ", ".join(map(repr, dict.fromkeys(table["term"])))
        why = "no such estimate" if rows.empty else f"{len(rows)} of that name: add group="
        raise DataError(f"term={term!r}{'' if group is None else f' of group={group!r}'}: {why}; there are {known}")
    return rows.iloc[0]


def _size(labels: Sequence[str]) -> tuple[float, float]:
    """Inches of a figure with a row per label: the axes keep their width where labels are long."""
    lines = [line for label in labels for line in label.split("\n")]
    beyond = max(0, max(map(len, lines), default=0) - 14)
    height = 0.7 + 0.32 * len(labels) + 0.12 * (len(lines) - len(labels))
    return SIZE[0] + beyond * LETTER, max(1.4, height)


def _intervals(table: pd.DataFrame, labels: list[str], each: np.ndarray, ax: Axes | None) -> Axes:
    """Estimates with intervals as rows from top to bottom; each (K, rows) as faint marks below them."""
    labels = [textwrap.fill(label, ROW_LETTERS) for label in labels]
    ax = axes(ax, size=_size(labels))
    place = np.arange(len(labels), dtype=float)
    estimate = table["estimate"].to_numpy()
    bounded = table["conf_low"].isna().to_numpy()
    ax.hlines(place, table["conf_low"], table["conf_high"], color=MAIN, linewidth=1.6)
    ax.plot(estimate[~bounded], place[~bounded], "o", color=MAIN, markersize=5.5)
    ax.plot(
        estimate[bounded], place[bounded], "o", color=ACCENT, markerfacecolor="white", markersize=5.5, clip_on=False
    )
    if len(each) > 1:
        marks = np.broadcast_to(place + 0.24, each.shape)
        ax.plot(each.ravel(), marks.ravel(), "|", color=FAINT, markersize=5, markeredgewidth=0.8, zorder=1)
    row_ticks(ax, labels, (len(labels) - 0.4, -0.6))
    ax.tick_params(axis="y", length=0)
    return ax
