"""Figures of repeated measures: means by visit, and the covariance matrix of the visits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..errors import DataError, shortened
from ..results import MmrmFit, PooledMmrm
from ..tables.emmeans import EstimatedMeans
from .marks import axes, category_ticks, check_labels, interval_bars, legend, look, plain, require
from .model import selection_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONTRAST = "contrast"
# visits up to which the cells of a matrix hold their numbers, and where numbers turn white
MOST_NUMBERS, DARK = 12, 0.6


def marginal_means(
    means: EstimatedMeans | pd.DataFrame,
    x: str | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw estimated marginal means with their limits, such as those by visit, a line for each arm; or differences.

    Parameters
    ----------
    means : EstimatedMeans or pandas.DataFrame
        What ``emmeans()`` of any model returns, or the table of its ``differences()``.
    x : str, optional
        Factor along which is drawn; by default the first that ``by=`` named, else the first one. The others make lines.
    labels : dict, optional
        Words for factors and their categories.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        No such table, or x is no factor of it.

    Examples
    --------
    >>> import remlax as rx
    >>> data = rx.datasets.sleepstudy().query("Days < 4")
    >>> fit = rx.mmrm("Reaction ~ factor(Days) + us(Days | Subject)", data)
    >>> rx.plot.marginal_means(fit.emmeans("Days")).get_xlabel()
    'Days'
    """
    table = means.means if isinstance(means, EstimatedMeans) else means
    require(table, ["estimate", "conf_low", "conf_high"])
    factors = [str(name) for name in table.columns[: table.columns.get_loc("estimate")]]
    along = _along(means, factors) if x is None else x
    if along not in factors:
        raise DataError(f"x={x!r} is no factor of these means; they have {shortened(map(repr, factors))}")
    others = [name for name in factors if name != along]
    words = check_labels(labels, [*factors, *(str(value) for name in factors for value in table[name].unique())])
    values = list(dict.fromkeys(table[along]))
    numeric = pd.api.types.is_numeric_dtype(table[along].dtype) and len(values) > 1
    places = np.array(values, float) if numeric else np.arange(len(values), dtype=float)
    parts = [((), table)] if not others else list(table.groupby(others, sort=False, observed=True))
    gap = float(np.min(np.diff(np.sort(places)), initial=1.0)) * min(0.12, 0.6 / len(parts))
    ax = axes(ax)
    for i, (names, part) in enumerate(parts):
        at = places[[values.index(value) for value in part[along]]] + (i - (len(parts) - 1) / 2) * gap
        colour, mark, line = look(i)
        text = plain(", ".join(words.get(str(name), str(name)) for name in names)) or None
        interval_bars(ax, at, part, color=colour, marker=mark, linestyle=line, linewidth=1.2, label=text)
    if numeric:
        ax.set_xticks(places)
    else:
        category_ticks(ax, [words.get(str(value), str(value)) for value in values])
        ax.set_xlim(-0.6, len(values) - 0.4)
    if CONTRAST in factors:
        ax.axhline(0, color="black", linewidth=0.8, zorder=0)
    ax.set_xlabel(plain(words.get(along, along)))
    ax.set_ylabel("Difference of means" if CONTRAST in factors else "Estimated marginal mean")
    legend(ax, above=True)
    return ax


def _along(means: EstimatedMeans | pd.DataFrame, factors: list[str]) -> str:
    if isinstance(means, EstimatedMeans) and means.by:
        return str(means.by[0])
    return next((name for name in factors if name != CONTRAST), CONTRAST)


def visit_covariance(
    model: MmrmFit | PooledMmrm, *, correlation: bool = True, group: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the correlations or covariances of the visits as a heat map; pooled, their means over the imputations.

    Parameters
    ----------
    model : MmrmFit or PooledMmrm
    correlation : bool, default True
        Correlations; False draws variances and covariances.
    group : str, optional
        The group, where each has a covariance matrix of its own.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        Not a mixed model for repeated measures, or no such group.

    Examples
    --------
    >>> import remlax as rx
    >>> data = rx.datasets.sleepstudy().query("Days < 4")
    >>> fit = rx.mmrm("Reaction ~ factor(Days) + us(Days | Subject)", data)
    >>> [text.get_text() for text in rx.plot.visit_covariance(fit).texts[:4]]
    ['1.00', '0.74', '0.47', '0.46']
    """
    selection_of(model)
    if not isinstance(model, MmrmFit | PooledMmrm):
        raise DataError("the model has no covariance matrix of visits: it is for fits of rx.mmrm and rx.mmrm_list")
    table = model.residual_correlation() if correlation else model.residual_covariance()
    if isinstance(table.index, pd.MultiIndex):
        known = list(dict.fromkeys(table.index.get_level_values(0)))
        if group not in known:
            given = "" if group is None else f"group={group!r} is none of them: "
            raise DataError(f"{given}each group has a covariance matrix: name one of {shortened(map(repr, known))}")
        table = pd.DataFrame(table.xs(group))
    elif group is not None:
        raise DataError(f"group={group!r}: all patients have one covariance matrix")
    values, visits = table.to_numpy(), [str(visit) for visit in table.columns]
    most = 1.0 if correlation else float(np.abs(values).max())
    ax = axes(ax)
    least = -most if (values < 0).any() else 0.0
    image = ax.imshow(values, cmap="RdBu_r" if least < 0 else "Blues", vmin=least, vmax=most, aspect="auto")
    if len(visits) <= MOST_NUMBERS:
        for (t, s), value in np.ndenumerate(values):
            colour = "white" if abs(value) > DARK * most else "black"
            number = f"{value:.2f}" if correlation else f"{value:.3g}"
            ax.text(s, t, number, ha="center", va="center", color=colour, fontsize="small")
    category_ticks(ax, visits)
    ax.set_yticks(range(len(visits)), [plain(visit) for visit in visits])
    ax.figure.colorbar(image, ax=ax, label="Correlation" if correlation else "Covariance")
    return ax
