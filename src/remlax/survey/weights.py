"""Sampling weights of every level, as they were given, made conditional on the level above and scaled."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from ..design.groups import GroupingFactor
from ..design.rows import given_numbers
from ..errors import DataError, DataWarning, shortened, warn
from ..fitting.layout import Layout

Scale = Literal["size", "effective", None]
# slope and correlation of log(weight of rows) in log(weight of groups) from which the first look like products of both
TOTAL_SLOPE, TOTAL_CORRELATION = 0.75, 0.8


@dataclass(frozen=True, eq=False)
class SamplingWeights:
    """Weights of R versions of a sample, each conditional on the level above: the sample itself, then its replicates.

    Parameters
    ----------
    rows : ndarray (R, n)
    levels : tuple of ndarray (R, L)
        Per grouping factor, in elimination order; those of the outermost one have mean 1.
    product : ndarray (n,)
        Product of all weights of the sample before they were scaled, which replicates replicate.
    size : float
        Mean of the weights of the outermost units of the sample, as they were given.
    words : str
        How they were given, for print-outs; empty without weights.
    """

    rows: np.ndarray
    levels: tuple[np.ndarray, ...]
    product: np.ndarray
    size: float
    words: str

    @property
    def n_versions(self) -> int:
        """Number R of versions."""
        return len(self.rows)

    def take(self, versions: Sequence[int]) -> SamplingWeights:
        """Some of the versions."""
        at = list(versions)
        return replace(self, rows=self.rows[at], levels=tuple(own[at] for own in self.levels))

    def above(self, factors: tuple[GroupingFactor, ...], f: int) -> np.ndarray:
        """Omega: product of the weights of the levels of a factor and of those that hold them, (R, L)."""
        out = self.levels[f].copy()
        for g in range(f + 1, len(factors)):
            out *= self.levels[g][:, factors[f].parents(factors[g])]
        return out

    def total(self, factors: tuple[GroupingFactor, ...]) -> np.ndarray:
        """Product of all weights of every row, (R, n)."""
        return np.asarray(self.rows * self.above(factors, 0)[:, factors[0].codes])

    @classmethod
    def of_sample(
        cls, rows: np.ndarray, levels: list[np.ndarray], factors: tuple[GroupingFactor, ...], scale: Scale, words: str
    ) -> SamplingWeights:
        """Weights (n,) and (L,) of the sample, conditional on the level above, to be scaled."""
        size = float(levels[-1].mean())
        plain = cls(rows[None], tuple(own[None] for own in levels), rows, size, words)
        product = plain.total(factors)[0]
        if scale is not None:
            rows = _scaled(rows, factors[0].codes, scale)
            lower = [_scaled(own, factors[f].parents(factors[f + 1]), scale) for f, own in enumerate(levels[:-1])]
            levels = [*lower, levels[-1]]
        scaled = (*(own[None] for own in levels[:-1]), levels[-1][None] / size)
        return cls(rows[None], scaled, product, size, words)


def read_weights(
    given: Mapping[str, str], frame: pd.DataFrame, layout: Layout, scale: Scale, *, conditional: bool
) -> SamplingWeights:
    """Read the weights of the sample.

    Raises
    ------
    DataError
        A level that is not there, a column that is not there, weights that are missing, not positive, or that vary
        within a level.

    Warns
    -----
    DataWarning
        Weights of the rows that look like products with those of their groups.
    """
    factors, n = layout.factors, len(frame)
    columns = _by_level(dict(given), factors)
    values = {name: _positive(frame, column, name) for name, column in columns.values()}
    by_level: list[np.ndarray | None] = []
    for f, factor in enumerate(factors):
        own = columns.get(f)
        by_level.append(None if own is None else _of_levels(values[own[0]], factor, *own))
    rows = values[columns[-1][0]] if -1 in columns else None
    if not conditional:
        rows, by_level = _made_conditional(rows, by_level, factors)
    elif rows is not None and scale is None and by_level[0] is not None:
        _warn_totals(rows, by_level[0], factors[0], columns)
    if rows is not None:
        _warn_rows(rows, factors[0], columns, scale, conditional=conditional)
    whole_rows = np.ones(n) if rows is None else rows
    levels = [np.ones(f.n_levels) if own is None else own for f, own in zip(factors, by_level, strict=True)]
    return SamplingWeights.of_sample(whole_rows, levels, factors, scale, _words(columns, factors, scale, conditional))


def with_replicates(weights: SamplingWeights, replicates: np.ndarray, layout: Layout) -> SamplingWeights:
    """Add versions for replicate weights (R, n) of the rows, which replicate the product of all weights.

    What a replicate does to an outermost unit as a whole, its weighted mean over the rows, goes into the weight of the
    unit; the rest into those of the rows.

    Raises
    ------
    DataError
        Replicates that are none of the product of the sampling weights.
    """
    ratio = replicates / weights.product
    _check_ratios(ratio)
    top = layout.factors[-1]
    base = np.bincount(top.codes, weights.product)
    unit = np.stack([np.bincount(top.codes, own) for own in replicates]) / base
    within = np.divide(ratio, unit[:, top.codes], out=np.ones_like(ratio), where=unit[:, top.codes] > 0)
    # rounding error of a ratio that is the unit's own would make every version a different one
    within[np.abs(within - 1) < 1e-6] = 1.0
    outer = weights.levels[-1] * unit
    outer = outer / outer.mean(axis=1, keepdims=True)
    count = len(replicates)
    inner = [np.concatenate([own, np.repeat(own, count, axis=0)]) for own in weights.levels[:-1]]
    return replace(
        weights,
        rows=np.concatenate([weights.rows, weights.rows * within]),
        levels=(*inner, np.concatenate([weights.levels[-1], outer])),
    )


def _by_level(given: dict[str, str], factors: tuple[GroupingFactor, ...]) -> dict[int, tuple[str, str]]:
    """Factor of every weight, -1 for the rows: its name as given, and its column."""
    out: dict[int, tuple[str, str]] = {}
    for name, column in given.items():
        found = [f for f, factor in enumerate(factors) if sorted(name.split(":")) == sorted(factor.label.split(":"))]
        found = found or [f for f, factor in enumerate(factors) if name in factor.label.split(":")]
        place = found[0] if len(found) == 1 else -1
        if place in out:
            labels = [factor.label for factor in factors]
            close = difflib.get_close_matches(name, labels, 1)
            raise DataError(
                f"sampling_weights= names {out[place][0]!r} and {name!r}, which are no grouping factors of the model "
                f"({', '.join(map(repr, labels))}): one name stands for the rows, the others must be factors"
                + (f"; did you mean {close[0]!r}?" if close else "")
            )
        if not isinstance(column, str):
            kind = type(column).__name__
            raise DataError(f"sampling_weights= of {name!r} must be the name of a column, not a {kind}")
        out[place] = name, column
    alone = out.get(-1)
    labels = [factor.label for factor in factors]
    folded = {label.lower(): label for label in labels}
    close = difflib.get_close_matches(alone[0].lower(), folded, 1, 0.8) if alone is not None else []
    if alone is not None and close:
        raise DataError(
            f"sampling_weights= names {alone[0]!r}, which is no grouping factor: did you mean {folded[close[0]]!r}?"
        )
    return out


def _positive(frame: pd.DataFrame, column: str, name: str) -> np.ndarray:
    """Weights (n,) of a column."""
    what = f"the sampling weights {column!r} of {name!r}"
    if column not in frame.columns:
        raise DataError(f"{what} are not a column of the data")
    missing = int(frame[column].isna().sum())
    if missing:
        raise DataError(f"{what} are missing in {missing} rows: leave these rows out, or give them a weight")
    values = given_numbers(frame[column].to_numpy(), what)
    if (values <= 0).any():
        where = frame.index[np.flatnonzero(values <= 0)]
        raise DataError(
            f"{what} are {'0' if (values >= 0).all() else 'negative or 0'} in {len(where)} rows "
            f"({shortened(map(repr, where.tolist()))}): a row without weight is not in the sample, leave it out"
        )
    return values


def _of_levels(values: np.ndarray, factor: GroupingFactor, name: str, column: str) -> np.ndarray:
    """One weight per level, which all its rows must have."""
    first = np.zeros(factor.n_levels)
    first[factor.codes] = values
    wrong = np.flatnonzero(np.abs(values - first[factor.codes]) > 1e-9 * values)
    if len(wrong):
        level = factor.codes[wrong[0]]
        own = values[factor.codes == level]
        raise DataError(
            f"the sampling weights {column!r} of {name!r} vary within its level {factor.levels[level]!r}, from "
            f"{own.min():g} to {own.max():g}: all rows of a level must have its weight. Is {column!r} the weight of "
            "the rows?"
        )
    return first


def _made_conditional(
    rows: np.ndarray | None, levels: list[np.ndarray | None], factors: tuple[GroupingFactor, ...]
) -> tuple[np.ndarray | None, list[np.ndarray | None]]:
    """Divide total weights by those of the next level above that has some."""
    out: list[np.ndarray | None] = [None] * len(levels)
    above: tuple[int, np.ndarray] | None = None
    for f in range(len(factors) - 1, -1, -1):
        own = levels[f]
        if own is not None:
            out[f] = own if above is None else own / above[1][factors[f].parents(factors[above[0]])]
            above = f, own
    if rows is not None and above is not None:
        rows = rows / above[1][factors[above[0]].codes]
    return rows, out


def _warn_totals(
    rows: np.ndarray, groups: np.ndarray, factor: GroupingFactor, columns: dict[int, tuple[str, str]]
) -> None:
    """Say so where the weights of the rows grow with those of their groups as products of both would."""
    size = np.bincount(factor.codes)
    inner, outer = np.log(np.bincount(factor.codes, rows) / size), np.log(groups)
    if np.ptp(outer) < 1e-9 or len(outer) < 10:
        return
    covariance = np.cov(outer, inner)
    slope = covariance[0, 1] / covariance[0, 0]
    if slope > TOTAL_SLOPE and covariance[0, 1] > TOTAL_CORRELATION * np.sqrt(covariance[0, 0] * covariance[1, 1]):
        warn(
            f"the weights {columns[-1][1]!r} grow with those of their groups, {columns[0][1]!r}, as total weights do, "
            "and are taken as weights within the groups: for total weights say conditional=False",
            DataWarning,
        )


def _warn_rows(
    rows: np.ndarray,
    factor: GroupingFactor,
    columns: dict[int, tuple[str, str]],
    scale: Scale,
    *,
    conditional: bool,
) -> None:
    """Say so where weights of the rows look like those of groups, or were divided although they were conditional."""
    column = columns[-1][1]
    first = np.zeros(factor.n_levels)
    first[factor.codes] = rows
    if len(columns) == 1 and np.ptp(first) > 0 and (np.abs(rows - first[factor.codes]) <= 1e-9 * rows).all():
        warn(
            f"the weights {column!r} are taken for those of the rows and differ between the levels of "
            f"{factor.label!r} alone: if they are its weights, name it in sampling_weights=",
            DataWarning,
        )
    if not conditional and scale is None and len(columns) > 1 and np.median(rows) < 1:
        warn(
            f"the weights {column!r}, divided by those of the groups, are below 1 in most rows, which no inverse "
            "probability is: if they are weights within the groups already, leave out conditional=False",
            DataWarning,
        )


def _scaled(weights: np.ndarray, within: np.ndarray, scale: Scale) -> np.ndarray:
    """Scale weights within their groups to a sum of the size of the group, or of its effective size."""
    total = np.bincount(within, weights)
    if scale == "size":
        return np.asarray(weights * (np.bincount(within) / total)[within])
    return np.asarray(weights * (total / np.bincount(within, weights**2))[within])


def _check_ratios(ratio: np.ndarray) -> None:
    """Refuse replicates that are not those of the weights of the sample: their ratios average to one number.

    The mean of R ratios of a row is that number but for 10 percent, left to adjustments for nonresponse, and twice the
    error of a mean, which balanced replicates do not have.
    """
    ratio = ratio / np.median(ratio.mean(axis=0))
    mean = ratio.mean(axis=0)
    allowed = 0.1**2 + 4 * np.mean((ratio / np.where(mean > 0, mean, 1.0)).var(axis=0)) / len(ratio)
    if np.mean((mean - 1) ** 2) > allowed:
        raise DataError(
            "the replicate weights are not replicates of the product of the sampling weights: their mean relative to "
            f"it goes from {mean.min():.3g} to {mean.max():.3g} over the rows. Agencies replicate the total weights of "
            "the rows: give these in sampling_weights=, with conditional=False"
        )


def _words(
    columns: dict[int, tuple[str, str]], factors: tuple[GroupingFactor, ...], scale: Scale, conditional: bool
) -> str:
    if not columns:
        return ""
    named = [f"{columns[f][1]} of {factors[f].label}" for f in range(len(factors) - 1, -1, -1) if f in columns]
    named += [f"{columns[-1][1]} of the rows"] if -1 in columns else []
    how = "within the level above" if conditional else "total"
    scaled = {None: "", "size": ", scaled to the sizes of the groups", "effective": ", scaled to the effective sizes"}
    return f"{', '.join(named)} ({how}{scaled[scale]})"
