"""Estimated marginal means: linear combinations of the coefficients over a reference grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from ..errors import DataError
from ..fitting.fit import Fitted
from ..fitting.memory import check_room
from ..hints import Hints
from ..pooling import Adjustment, adjust_p_values, tukey_p_value
from .printing import Summary

Adjust = Literal["tukey", "none", "bonferroni", "holm", "sidak"]
At = Mapping[str, Any]
# of a matrix (r, p) and r labels, the table of those linear combinations
MakeTable = Callable[[np.ndarray, Sequence[str]], pd.DataFrame]

# a covariate with at most this many values takes all of them, as in R's emmeans (cov.keep)
KEEP_VALUES = 2
ESTIMABLE_TOL = 1e-7
# columns of the table that the print-out leaves out
HIDDEN = ("riv", "lambda", "ubar", "b", "t", "dfcom")


@dataclass(frozen=True, eq=False, repr=False)
class EstimatedMeans(Hints):
    """Estimated marginal means, made by ``emmeans``.

    Attributes
    ----------
    means : pandas.DataFrame
        One row per mean: the values of the factors, then ``estimate std_error df conf_low conf_high`` (pooled: ``riv
        lambda fmi`` as well). Where a factor has the name of such a column, the column gets an underscore (``t_``).
    matrix : pandas.DataFrame
        The linear combination of coefficients that each mean is, one row each.
    by : tuple of str
        Factors within which means are compared.
    at : dict
        Values of the other variables: averaged over, where there are several.
    """

    means: pd.DataFrame
    matrix: pd.DataFrame
    by: tuple[str, ...]
    at: dict[str, list[Any]]
    _table: MakeTable
    _labels: tuple[str, ...]
    _factors: tuple[str, ...]

    def differences(self, adjust: Adjust = "tukey") -> pd.DataFrame:
        """Pairwise differences between the means, within each level of ``by``.

        Parameters
        ----------
        adjust : {"tukey", "holm", "bonferroni", "sidak", "none"}, default "tukey"
            Adjustment for the several comparisons within a level of ``by``: Tukey's studentized range (exact for
            independent means of equal variance, else an approximation), or one of the p-values themselves.

        Returns
        -------
        pandas.DataFrame
            ``by`` columns, ``contrast``, then the columns of ``contrast()`` and ``p_adjusted``. Limits are those of
            single comparisons.

        Raises
        ------
        DataError
            An unknown adjustment, or a single mean.
        """
        if adjust != "tukey" and adjust not in get_args(Adjustment):
            known = ", ".join(repr(name) for name in get_args(Adjust))
            raise DataError(f"adjust={adjust!r} is not known: use one of {known}")
        groups = self._groups()
        if all(len(rows) < 2 for rows in groups):
            raise DataError("there is one mean only: nothing to compare")
        parts = [self._compare(rows, adjust) for rows in groups if len(rows) > 1]
        return pd.concat(parts, ignore_index=True)

    def _groups(self) -> list[np.ndarray]:
        if not self.by:
            return [np.arange(len(self.means))]
        return [
            np.asarray(rows) for rows in self.means.groupby(list(self.by), sort=False, observed=True).indices.values()
        ]

    def _compare(self, rows: np.ndarray, adjust: Adjust) -> pd.DataFrame:
        pairs = list(combinations(rows, 2))
        matrix = self.matrix.to_numpy()
        labels = [f"{self._labels[a]} - {self._labels[b]}" for a, b in pairs]
        table = self._table(np.array([matrix[a] - matrix[b] for a, b in pairs]), labels)
        table = table.rename(columns={"term": "contrast"})
        if adjust == "tukey":
            adjusted = tukey_p_value(table["statistic"], len(rows), table["df"])
        else:
            adjusted = adjust_p_values(table["p_value"], adjust)
        table.insert(list(table.columns).index("p_value") + 1, "p_adjusted", adjusted)
        table = _beside(table, self.by)
        for position, name in enumerate(self.by):
            table.insert(position, name, self.means[name].iloc[rows[0]])
        return table

    def __repr__(self) -> str:
        return str(self._text())

    def _repr_html_(self) -> str:
        return self._text()._repr_html_()

    def _text(self) -> Summary:
        shown = [name for name in self.means.columns if name in self._factors or name.rstrip("_") not in HIDDEN]
        text = self.means[shown].to_string(index=False, float_format=lambda value: f"{value:.6g}")
        rest = [
            _over(name, values) if len(values) > 1 else f"{name} = {_shown(values[0])}"
            for name, values in self.at.items()
        ]
        return Summary(f"Estimated marginal means\n\n{text}" + (f"\n\nAt: {', '.join(rest)}" if rest else ""))


def estimated_means(
    fitted: Fitted,
    lanes: Sequence[int],
    specs: str | Sequence[str],
    by: str | Sequence[str] | None,
    at: At | None,
    table: MakeTable,
) -> EstimatedMeans:
    """Build the reference grid and average over it; see ``LmerFit.emmeans``."""
    wanted, groups = _names(specs), _names(by)
    values = reference_values(fitted, lanes, {} if at is None else at)
    _check_names(wanted, groups, values)
    shown = [*wanted, *groups]
    rest = [name for name in values if name not in shown]
    # by varies slowest, so that means that are compared stand together
    order = [*groups, *wanted]
    # a cell of the grid is a dict and a row of the model matrix
    size = math.prod(len(values[name]) for name in values)
    check_room(
        size * (32 + 2 * len(fitted.model.fixed_names)), f"{size} points of the grid", "give fewer values with at="
    )
    cells = list(product(*(values[name] for name in order)))
    grid = [dict(zip((*order, *rest), (*cell, *other), strict=True)) for cell in cells
            for other in product(*(values[name] for name in rest))]  # fmt: skip
    x = _grid_matrix(fitted, lanes, grid)
    matrix = x.reshape(len(cells), -1, x.shape[1]).mean(axis=1)
    fitted.model.check_digits(matrix)
    labels = [" ".join(_shown(v) for v in cell[len(groups) :]) for cell in cells]
    found = table(matrix, labels).drop(columns=["term", "statistic", "p_value"], errors="ignore")
    keys = pd.DataFrame({name: [cell[order.index(name)] for cell in cells] for name in shown})
    names = fitted.model.fixed_names
    means = pd.concat([keys, _beside(found, shown)], axis=1)
    means.attrs = found.attrs
    return EstimatedMeans(
        means,
        pd.DataFrame(matrix, index=labels, columns=names),
        groups,
        {name: values[name] for name in rest},
        table,
        tuple(labels),
        tuple(shown),
    )


def _check_names(wanted: tuple[str, ...], groups: tuple[str, ...], values: Mapping[str, list[Any]]) -> None:
    """Refuse names that have no means to compare in the grid."""
    for name in (*wanted, *groups):
        if name not in values and ("~" in name or "|" in name):
            raise DataError(f"{name!r} is a formula: name variables, as in emmeans('a', by='b') for R's ~ a | b")
        if name not in values:
            raise DataError(
                f"{name!r} is no variable of the fixed part; there are {', '.join(values) or 'none'}: name one of them"
            )
    if not wanted or len({*wanted, *groups}) < len(wanted) + len(groups):
        raise DataError("name at least one variable for the means, and none of them twice")
    single = [name for name in (*wanted, *groups) if len(values[name]) < 2]
    if single:
        raise DataError(
            f"{single[0]!r} has one value only in the reference grid ({_shown(values[single[0]][0])}): give several "
            f"with at={{{single[0]!r}: [...]}}"
        )


def _beside(table: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """Columns whose names factors have get another, so that they can stand in one table."""
    return table.rename(columns={name: f"{name}_" for name in factors})


def _names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(given, str) or given is None:
        return () if given is None else (given,)
    if not isinstance(given, Sequence) or not all(isinstance(name, str) for name in given):
        raise DataError(f"{given!r} must be the name of a variable, or a list of names")
    return tuple(given)


def _over(name: str, values: Sequence[object]) -> str:
    """Say over which values of a variable the means are taken: all categories of a factor, or those of a covariate."""
    numbers = all(isinstance(value, int | float | np.number) for value in values)
    return f"mean over {name}" + (f" = {', '.join(map(_shown, values))}" if numbers else "")


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def reference_values(fitted: Fitted, lanes: Sequence[int], at: At) -> dict[str, list[Any]]:
    """Values of every variable of the fixed part in the reference grid.

    All categories of a factor; both values of a covariate that has two; otherwise the covariate's mean over the rows of
    all data sets, so that imputations share one grid.
    """
    rows = fitted.model.rows
    assert rows.data is not None  # every fit keeps its data
    spec, frames = rows.fixed, [rows.data.frames[k] for k in lanes]
    unknown = [name for name in at if name not in spec.variables]
    if unknown:
        raise DataError(
            f"at= names {unknown[0]!r}, which is no variable of the fixed part; there are "
            f"{', '.join(spec.variables) or 'none'}"
        )
    out: dict[str, list[Any]] = {}
    for name in spec.variables:
        if name in at:
            given = at[name]
            values = [given] if isinstance(given, str) or np.ndim(given) == 0 else list(given)
            if not values:
                raise DataError(f"at={{{name!r}: ...}} has no value: give at least one")
            out[name] = values
            continue
        column = pd.concat([frame[name] for frame in frames], ignore_index=True)
        levels = pd.factorize(column, sort=True)[1]
        if name in spec.categorical_variables or len(levels) <= KEEP_VALUES:
            out[name] = list(levels)
        else:
            out[name] = [float(np.mean(column.to_numpy(dtype=float)))]
    return out


def _grid_matrix(fitted: Fitted, lanes: Sequence[int], grid: list[dict[str, Any]]) -> np.ndarray:
    """Model-matrix rows of the grid, (R, p), checked to be estimable."""
    model, rows = fitted.model, fitted.model.rows
    assert rows.data is not None  # every fit keeps its data
    frame = pd.DataFrame(grid)
    for name in rows.fixed.categorical_variables:
        dtype = rows.data.frames[lanes[0]][name].dtype
        if isinstance(dtype, pd.CategoricalDtype):
            known = set(dtype.categories)
            strange = [value for value in frame[name] if value not in known]
            if strange:
                raise DataError(
                    f"at= gives {name!r} the category {strange[0]!r}, which the data of the fit do not have"
                )
            frame[name] = frame[name].astype(dtype)
    whole = rows.fixed.build(frame)
    keep = model.keep
    dropped = np.setdiff1d(np.arange(whole.shape[1]), keep)
    if len(dropped):
        x = rows.x.lane(lanes[0])
        depend = np.linalg.lstsq(x[:, keep], x[:, dropped], rcond=None)[0]
        gap = np.abs(whole[:, keep] @ depend - whole[:, dropped]).max(axis=1)
        bad = np.flatnonzero(gap > ESTIMABLE_TOL * (1 + np.abs(whole).max()))
        if len(bad):
            where = ", ".join(f"{name} = {_shown(value)}" for name, value in grid[bad[0]].items())
            raise DataError(
                f"the mean at {where} cannot be estimated: the data do not say anything about it (the fixed part is "
                "rank deficient); leave it out with at="
            )
    return np.asarray(whole[:, keep])
