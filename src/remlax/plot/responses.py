"""Figures of many responses, drawn from the tables of `remlax.LmerMany`.

Every function draws on ``ax`` (or on new axes) and returns the axes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..checks import Checks
from ..errors import DataError, shortened
from .marks import ACCENT, FAINT, MAIN, axes, category_ticks, plain, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

checks = Checks()
# share of the responses whose residual SDs make the trend at a point, as in limma's voom
SPAN = 0.5
COLUMNS = ["response", "term", "estimate", "p_value", "p_adjusted"]


def _of_term(table: pd.DataFrame, term: str | None, columns: list[str]) -> pd.DataFrame:
    """Rows of one term that have a p-value."""
    require(table, columns)
    terms = list(table["term"].unique())
    if term is None and len(terms) > 1:
        raise DataError(f"the table has several terms: name one of {shortened(map(repr, terms))}, term=...")
    if term is not None and term not in terms:
        raise DataError(f"term={term!r} is not in the table, which has {shortened(map(repr, terms))}")
    rows = table if term is None else table[table["term"] == term]
    found: pd.DataFrame = rows.loc[np.isfinite(rows["p_value"])]
    return found


def volcano(
    table: pd.DataFrame, term: str | None = None, *, level: float = 0.05, named: int = 5, ax: Axes | None = None
) -> Axes:
    """Draw the evidence about a coefficient in every response against its size.

    Parameters
    ----------
    table : pandas.DataFrame
        What ``tidy("fixed")``, ``contrast()`` or ``moderate().tidy()`` of an `LmerMany` returns.
    term : str, optional
        The coefficient; needed where the table has several.
    level : float, default 0.05
        Responses whose adjusted p-value is below it are coloured.
    named : int, default 5
        Responses with the least p-values, if coloured, whose names are printed.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        A column of the table is missing, or there is no such term.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"response": ["a", "b"], "term": "x", "estimate": [1.0, 0.1], "p_value": [1e-9, 0.5]})
    >>> volcano(table.assign(p_adjusted=table["p_value"])).get_xlabel()
    'Estimate of x'
    """
    checks.level(level, "level=")
    checks.whole(named, "named=", 0)
    rows = _of_term(table, term, COLUMNS).sort_values("p_value", kind="stable")
    ax = axes(ax)
    # a p-value that underflows is drawn at the least number
    evidence = -np.log10(np.maximum(rows["p_value"], np.finfo(float).tiny))
    found = (rows["p_adjusted"] < level).to_numpy()
    for part, colour, text in ((~found, FAINT, None), (found, ACCENT, f"adjusted p < {level:g}: {found.sum()}")):
        ax.scatter(rows["estimate"][part], evidence[part], s=8, color=colour, linewidths=0, label=text)
    for name, x, y in list(zip(rows["response"][found], rows["estimate"][found], evidence[found], strict=True))[:named]:
        ax.annotate(plain(name), (x, y), xytext=(3, 2), textcoords="offset points", fontsize="x-small")
    ax.axvline(0.0, color=FAINT, linewidth=0.6)
    ax.set(xlabel=plain(f"Estimate of {rows['term'].iloc[0]}" if len(rows) else "Estimate"), ylabel=r"$-\log_{10}$ p")
    ax.legend(loc="best", frameon=False, fontsize="small")
    return ax


def p_value_histogram(table: pd.DataFrame, term: str | None = None, *, bins: int = 20, ax: Axes | None = None) -> Axes:
    """Draw the p-values of a coefficient over all responses: uniform where it is zero in all of them.

    Parameters
    ----------
    table : pandas.DataFrame
        What ``tidy("fixed")``, ``contrast()``, ``test()`` or ``anova()`` of an `LmerMany` returns.
    term : str, optional
        The coefficient; needed where the table has several.
    bins : int, default 20
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        A column of the table is missing, or there is no such term.

    Examples
    --------
    >>> import pandas as pd
    >>> p_value_histogram(pd.DataFrame({"term": "x", "p_value": [0.1, 0.5]})).get_xlabel()
    'p of x'
    """
    checks.whole(bins, "bins=")
    if isinstance(table, pd.DataFrame) and "hypothesis" in table:
        table = table.rename(columns={"hypothesis": "term"})
    rows = _of_term(table, term, ["term", "p_value"])
    ax = axes(ax)
    ax.hist(rows["p_value"], bins=np.linspace(0, 1, bins + 1).tolist(), color=MAIN, edgecolor="white", linewidth=0.5)
    ax.axhline(len(rows) / bins, color=ACCENT, linestyle="--", linewidth=1.0)
    ax.set(xlabel=plain(f"p of {rows['term'].iloc[0]}" if len(rows) else "p"), ylabel="Responses", xlim=(0, 1))
    return ax


def mean_variance(variances: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the residual SDs of the responses against their averages, with the prior of moderated variances.

    The square root of the SD is drawn, as limma's ``plotSA`` and ``voom`` do. The curve is a local straight line
    through the nearest half of the responses (Cleveland 1979), the dashed line the prior: where the curve is not level,
    the variance depends on the average, and one prior for all responses is doubtful. Outliers of a robust fit, whose
    prior has less than half of the degrees of freedom of the others, are coloured.

    Parameters
    ----------
    variances : pandas.DataFrame
        What ``moderate().variances()`` of an `LmerMany` returns.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        A column of the table is missing, or no response has a variance.

    References
    ----------
    Law, C. W., Chen, Y., Shi, W. and Smyth, G. K. (2014). Genome Biol. 15, R29.
    Cleveland, W. S. (1979). JASA 74, 829-836.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"average": [1.0, 2.0, 4.0], "sigma2": [1.0, 1.5, 1.2], "s2_prior": 1.1, "df_prior": 9.0})
    >>> mean_variance(table).get_ylabel()
    'Square root of residual SD'
    """
    columns = ["average", "sigma2", "s2_prior", "df_prior"]
    require(variances, columns)
    known = variances[columns].dropna()
    if known.empty:
        raise DataError("no response has a residual variance: none has a fit")
    x, y = known["average"].to_numpy(), known["sigma2"].to_numpy() ** 0.25
    ax = axes(ax)
    outlying = (known["df_prior"] < known["df_prior"].max() / 2).to_numpy()
    ax.scatter(x[~outlying], y[~outlying], s=8, color=FAINT, linewidths=0)
    if outlying.any():
        ax.scatter(x[outlying], y[outlying], s=8, color=ACCENT, linewidths=0, label=f"outliers: {outlying.sum()}")
    # at a hundred places, or at all responses
    at = np.unique(np.quantile(x, np.linspace(0, 1, min(len(x), 100)), method="nearest"))
    ax.plot(at, _local_line(x, y, at), color=MAIN, label="trend")
    ax.axhline(known["s2_prior"].iloc[0] ** 0.25, color=ACCENT, linestyle="--", linewidth=1.0, label="prior")
    ax.set(xlabel="Average response", ylabel="Square root of residual SD")
    ax.legend(loc="best", frameon=False, fontsize="small")
    return ax


def _local_line(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Straight lines through the nearest points, with tricube weights (Cleveland 1979), at some places."""
    nearest, out = max(int(SPAN * len(x) + 1e-7), 2), np.empty(len(at))
    for i, place in enumerate(at):
        away = np.abs(x - place)
        width = np.partition(away, min(nearest, len(x)) - 1)[min(nearest, len(x)) - 1]
        weight = np.clip(1 - (away / width if width > 0 else (away > 0)) ** 3, 0, None) ** 3
        weight = weight / weight.sum()
        centre = weight @ x
        spread = weight @ (x - centre) ** 2
        # points that stand all but at one place have a mean and no slope
        several = np.sqrt(spread) > 1e-3 * np.ptp(x) + 1e-12 * abs(centre)
        slope = weight @ ((x - centre) * y) / spread if several else 0.0
        out[i] = weight @ y + slope * (place - centre)
    return out


def variance_share_violins(shares: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the distribution over the responses of each term's share of variance, the largest median first.

    Parameters
    ----------
    shares : pandas.DataFrame
        What ``varcorr_shares()`` of an `LmerMany` returns: a column for each term and ``Residual``, which comes last.
    ax : matplotlib Axes, optional
        Axes to draw on, which are returned; new ones by default.

    Raises
    ------
    DataError
        No column ``Residual``, or no response has shares.

    Examples
    --------
    >>> import pandas as pd
    >>> shares = pd.DataFrame({"age": [0.1, 0.2], "donor": [0.5, 0.4], "Residual": [0.4, 0.4]})
    >>> [text.get_text() for text in variance_share_violins(shares).get_xticklabels()]
    ['donor', 'age', 'Residual']
    """
    require(shares, ["Residual"])
    known = shares.dropna()
    if known.empty:
        raise DataError("no response has shares of variance: none has a fit")
    order = [*known.drop(columns="Residual").median().sort_values(ascending=False, kind="stable").index, "Residual"]
    ax = axes(ax)
    drawn = ax.violinplot([known[name].to_numpy() for name in order], range(len(order)), widths=0.85, showextrema=False)
    for body in drawn["bodies"]:  # type: ignore[attr-defined]
        body.set(facecolor=MAIN, alpha=0.45)
    ax.boxplot(
        [known[name].to_numpy() for name in order],
        positions=range(len(order)),
        widths=0.12,
        showfliers=False,
        medianprops={"color": ACCENT},
        manage_ticks=False,
    )
    category_ticks(ax, [str(name) for name in order])
    ax.set(ylabel="Share of variance", ylim=(0, 1))
    return ax
