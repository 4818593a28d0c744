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
