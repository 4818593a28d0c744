"""Estimated marginal means: linear combinations of the coefficients over a reference grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from ..errors import DataError, RankDeficientWarning, warn
from ..fitting.estimable import Ties
from ..names import UnknownNames
from ..pooling import Adjustment, adjust_p_values, dunnett_p_value, tukey_p_value
from .back_transform import BackTransform, back_transform
from .checks import checks
from .coefficients import Combinations
from .exponentiate import as_ratios
from .notes import mark
from .printing import Summary
from .reference_grid import At, Grid, Weights, make_grid, shown
from .result_table import result_table, table_text

Adjust = Literal["tukey", "dunnett", "none", "bonferroni", "holm", "sidak"]
Scale = Literal["model", "response"]

# means that a message names
MOST_NAMED = 5


@dataclass(frozen=True, eq=False, repr=False)
class EstimatedMeans(UnknownNames):
    """Estimated marginal means, made by ``emmeans``.

    Attributes
    ----------
    means : pandas.DataFrame
        One row per mean: the values of the factors, then ``estimate std_error df conf_low conf_high`` (pooled: ``riv
        lambda fmi`` as well). Where a factor has the name of such a column, the column gets an underscore (``t_``).
        A mean that the data do not determine, such as that of an empty cell, is NaN, and ``attrs["notes"]`` names it.
    matrix : pandas.DataFrame
        The linear combination of coefficients that each mean is, one row each; NaN where there is none.
    by : tuple of str
        Factors within which means are compared.
    at : dict
        Values of the other variables: averaged over, where there are several.
    offset : float or None
        Mean of the model's offset (over all data sets), which is added to the combinations; None without an offset.
    """

    means: pd.DataFrame
    matrix: pd.DataFrame
    by: tuple[str, ...]
    at: dict[str, list[Any]]
    offset: float | None
    _back: BackTransform | None
    _grid: Grid
    _ties: Ties
    _combinations: Combinations
    _called = "means"

    def differences(
        self, adjust: Adjust | None = None, *, reverse: bool = False, reference: object = None
    ) -> pd.DataFrame:
        """Differences between the means, within each level of ``by``: of all pairs, or from a reference.

        Parameters
        ----------
        adjust : {"tukey", "dunnett", "holm", "bonferroni", "sidak", "none"}, optional
            Adjustment for the several comparisons within a level of ``by``. Tukey's studentized range is for all pairs,
            and the default there (exact for independent means of equal variance, else an approximation). Dunnett's is
            for comparisons with a reference, and the default there: the multivariate t distribution with the
            correlations of the differences. The others adjust the p-values themselves.
        reverse : bool, default False
            Take every difference the other way round.
        reference : optional
            The mean that all others are compared with, by its value (a tuple for several factors) or its label, as in
            ``reference="control"``: ``active - control``. ``adjust="dunnett"`` alone takes the first mean.

        Returns
        -------
        pandas.DataFrame
            ``by`` columns, ``contrast``, then the columns of ``contrast()`` and ``p_adjusted``. Limits are those of
            single comparisons. A difference that the data do not determine is NaN, and the adjustment does not count
            it. Differences are on the scale of the model, also of means that are transformed back; but those of means
            that were transformed back from a logit or log link are ratios of odds or of means, ``a / b``.

        Raises
        ------
        DataError
            An unknown adjustment, one that is not for these comparisons, a reference that is no mean, or a single mean.

        References
        ----------
        Tukey, J. W. (1953). The problem of multiple comparisons. Princeton University.
        Dunnett, C. W. (1955). JASA 50, 1096-1121.

        Examples
        --------
        >>> import remlax as rx
        >>> days = rx.datasets.sleepstudy().query("Days in [0, 1, 2]")
        >>> found = rx.lmer("Reaction ~ factor(Days) + (1 | Subject)", days).emmeans("Days")
        >>> found.differences(reference=0)[["contrast", "estimate", "p_adjusted"]].round(3).values.tolist()
        [['1 - 0', 7.844, 0.349], ['2 - 0', 8.71, 0.28]]
        """
        versus = reference is not None or adjust == "dunnett"
        method = ("dunnett" if versus else "tukey") if adjust is None else adjust
        self._check_adjust(method, versus)
        groups = self._groups()
        if all(len(rows) < 2 for rows in groups):
            raise DataError("there is one mean only: nothing to compare")
        parts = []
        for rows in groups:
            pairs = self._versus(rows, reference) if versus else list(combinations(rows, 2))
            parts.append(self._compare(np.array([pair[::-1] if reverse else pair for pair in pairs]), method))
        table = pd.concat(parts, ignore_index=True)
        table.attrs = dict(self.means.attrs)
        if self._back and self._back.ratio:
            table = as_ratios(table)
            note = f"ratios of {self._back.ratio}, from differences on the scale of the model, {self._back.response}"
            table.attrs["notes"] = [*table.attrs["notes"], note]
        elif self._back:
            note = f"differences are on the scale of the model, {self._back.response}"
            table.attrs["notes"] = [*table.attrs["notes"], note]
        return result_table(table)

    def _check_adjust(self, method: str, versus: bool) -> None:
        checks.choice(method, Adjust, "adjust=")
        if method == "tukey" and versus:
            raise DataError("adjust='tukey' is for all pairs: with reference= use 'dunnett', 'holm' or another")

    def _groups(self) -> list[np.ndarray]:
        if not self.by:
            return [np.arange(len(self.means))]
        return [
            np.asarray(rows) for rows in self.means.groupby(list(self.by), sort=False, observed=True).indices.values()
        ]

    def _versus(self, rows: np.ndarray, reference: object) -> list[tuple[int, int]]:
        """Pairs of every other mean and the reference."""
        asked = reference if isinstance(reference, tuple) else (reference,)
        values, names = [cell[len(self.by) :] for cell in self._grid.cells], self._grid.labels
        found = [i for i in rows if values[i] == asked or names[i] == reference]
        if not found and reference is not None:
            known = ", ".join(repr(names[i]) for i in rows)
            raise DataError(f"reference={reference!r} is none of the means; they are {known}")
        base = int(found[0] if found else rows[0])
        return [(int(i), base) for i in rows if i != base]

    def _compare(self, pairs: np.ndarray, method: str) -> pd.DataFrame:
        """Differences of pairs (r, 2) of means within a level of ``by``."""
        names, rows = self._grid.labels, self._grid.rows
        matrix = self._ties.reduced(rows[pairs[:, 0]] - rows[pairs[:, 1]])
        sign = "/" if self._back and self._back.ratio else "-"
        table = self._combinations.table(matrix, [f"{names[a]} {sign} {names[b]}" for a, b in pairs])
        table = table.rename(columns={"term": "contrast"})
        after = list(table.columns).index("p_value") + 1
        table.insert(after, "p_adjusted", self._adjusted(table, matrix, pairs, method))
        table = _beside(table, self.by)
        for position, name in enumerate(self.by):
            table.insert(position, name, self.means[name].iloc[pairs[0, 0]])
        return table

    def _adjusted(self, table: pd.DataFrame, matrix: np.ndarray, pairs: np.ndarray, method: str) -> np.ndarray:
        known = table["std_error"].notna().to_numpy()
        if method == "tukey":
            # only means that take part in a comparison count
            return tukey_p_value(table["statistic"], max(len(np.unique(pairs[known])), 2), table["df"])
        if method != "dunnett":
            return adjust_p_values(table["p_value"], cast(Adjustment, method))
        adjusted = np.full(len(table), np.nan)
        if known.any():
            covariance = self._combinations.covariance(matrix[known])
            size = np.sqrt(np.diag(covariance))
            tested = table[known]
            adjusted[known] = dunnett_p_value(tested["statistic"], covariance / np.outer(size, size), tested["df"])
        return adjusted

    def __repr__(self) -> str:
        return str(self._text())

    def _repr_html_(self) -> str:
        return self._text()._repr_html_()

    def _text(self) -> Summary:
        scale = f" of {self._back.column}, transformed back from {self._back.response}" if self._back else ""
        parts = [f"Estimated marginal means{scale}", table_text(self.means, notes=False)]
        rest = [
            _over(name, values) if len(values) > 1 else f"{name} = {shown(values[0])}"
            for name, values in self.at.items()
        ]
        if self._grid.weights == "proportional":
            rest.append("weighted by the rows of the data")
        if self.offset is not None:
            rest.append(f"offset at its mean = {self.offset:.6g}")
        if rest:
            parts.append(f"At: {', '.join(rest)}")
        return Summary("\n\n".join([*parts, *self.means.attrs["notes"]]))


def estimated_means(
    combos: Combinations,
    specs: str | Sequence[str],
    by: str | Sequence[str] | None,
    at: At | None,
    weights: Weights,
    scale: Scale,
) -> EstimatedMeans:
    """Build the reference grid and average over it; see ``LmerFit.emmeans``."""
    checks.choice(scale, Scale, "type=")
    fits = combos.fits
    grid, ties = make_grid(fits, specs, by, at, weights), fits.model.ties
    back = back_transform(fits) if scale == "response" else None
    matrix = ties.reduced(grid.rows)
    keys = grid.keys()
    offset = fits.rows.offset
    means_of = None if offset is None else np.array([offset.of(k).mean() for k in fits.which])
    missed = ties.missed(grid.rows)
    fits.model.check_digits(matrix[~missed.any(axis=1)])
    found = mark(combos.table(matrix, grid.labels, means_of), fits)
    found = back.table(found) if back else found
    if missed.any():
        names = [fits.rows.fixed.names[j] for j in ties.dropped[missed.any(axis=0)]]
        note = _not_estimable(keys.iloc[np.flatnonzero(missed.any(axis=1))], names)
        found.attrs["notes"] = [*found.attrs["notes"], note]
        warn(note, RankDeficientWarning)
    means = pd.concat([keys, _beside(found.drop(columns=["term", "statistic", "p_value"]), list(keys.columns))], axis=1)
    means.attrs = found.attrs
    table = pd.DataFrame(matrix, index=grid.labels, columns=fits.model.fixed_names)
    mean = None if means_of is None else float(means_of.mean())
    return EstimatedMeans(result_table(means), table, grid.by, grid.rest, mean, back, grid, ties, combos)


def _not_estimable(keys: pd.DataFrame, names: Sequence[str]) -> str:
    """Say which means have no estimate, and why."""
    where = [", ".join(f"{name} = {shown(value)}" for name, value in row.items()) for _, row in keys.iterrows()]
    listed = "; ".join(where[:MOST_NAMED]) + (f"; and {len(where) - MOST_NAMED} more" if where[MOST_NAMED:] else "")
    several = len(where) > 1
    return (
        f"the mean{'s' if several else ''} at {listed} cannot be estimated (NaN): the data do not say anything about "
        f"{'them' if several else 'it'}, since other columns determine {', '.join(names)} (no rows, or redundant "
        "columns)"
    )


def _beside(table: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """Columns whose names factors have get another, so that they can stand in one table."""
    return table.rename(columns={name: f"{name}_" for name in factors})


def _over(name: str, values: Sequence[object]) -> str:
    """Say over which values of a variable the means are taken: all categories of a factor, or those of a covariate."""
    numbers = all(isinstance(value, int | float | np.number) for value in values)
    return f"mean over {name}" + (f" = {', '.join(map(shown, values))}" if numbers else "")
