"""GlmmResponse: the response of a generalised linear mixed model as numbers, with the constants of its density."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.special import betaln, gammaln

from ...design.build import ModelRows
from ...design.functions import level_name
from ...design.rows import RowArray
from ...errors import DataError, shortened
from ...glmm.families import Family

# how far successes may be from whole numbers, for proportions that were rounded
ROUNDED = 1e-6
# categories of an ordinal response: each has a threshold, and every pair of them second derivatives
MOST_CATEGORIES = 12
BINOMIAL = "family='binomial' needs 0/1, two levels, cbind(k, n - k), or proportions with weights="


@dataclass(frozen=True)
class GlmmResponse:
    """Response of all data sets as the kernels read it.

    Parameters
    ----------
    family : Family
        Of an ordinal response with the number of its thresholds.
    y : RowArray
        Numbers; proportions of successes for k of n; 0 and 1; codes of categories, from 0.
    weight : RowArray
        Prior weights, times the number of trials.
    trials : RowArray or None
        Trials of every row of a binomial response; None where each row is one.
    constant : ndarray (K,)
        What -2 log L of each data set has beside the sum of `glmm.families.log_density`.
    levels : tuple of str
        Categories in their order: two of a binary response, of which the second is the event, or all of an ordinal
        one; empty for numbers.
    """

    family: Family
    y: RowArray
    weight: RowArray
    trials: RowArray | None
    constant: np.ndarray
    levels: tuple[str, ...] = ()

    @property
    def shape_names(self) -> tuple[str, ...]:
        """Size (negative binomial), shape (gamma), or thresholds as clmm in R names them, ``"low|middle"``."""
        if self.family.name != "ordinal":
            return {"negative-binomial": ("size",), "gamma": ("shape",)}.get(self.family.name, ())
        return tuple(f"{below}|{above}" for below, above in pairwise(self.levels))


def read_response(rows: ModelRows, family: Family) -> GlmmResponse:
    """Turn the response and the weights of all data sets into numbers.

    Parameters
    ----------
    rows : ModelRows
        Read with ``any_response=True``.
    family : Family
        As `read_family` returns it.

    Returns
    -------
    GlmmResponse

    Raises
    ------
    DataError
        The response is not one of the family; the message names the column and the first such row.

    Notes
    -----
    Weights of 0/1 and of ``cbind(k, n - k)`` multiply the log-density; those of proportions are the numbers of trials,
    as in R's ``glm``.
    """
    given = _Given.of(rows, family)
    if family.name == "binomial":
        return _binomial(given)
    if given.y.ndim == 2:
        raise DataError(f"{given.name} has two columns, which family='binomial' takes; {family.name!r} takes one")
    if family.name == "ordinal":
        return _ordinal(given)
    if rows.levels is not None:
        raise DataError(f"family={family.name!r} needs numbers; {given.name} is categorical")
    y = given.y
    if family.name == "gamma":
        given.require(y > 0, "positive numbers")
        return given.response(y, given.prior, 2 * given.prior * np.log(y))
    given.require((y >= 0) & (y == np.round(y)), "whole numbers of at least 0")
    return given.response(y, given.prior, 2 * given.prior * gammaln(y + 1))


@dataclass(frozen=True)
class _Given:
    """Response and weights of all data sets, of one length: y (n,) or (n, 2), weights (n,) or None."""

    rows: ModelRows
    family: Family
    y: np.ndarray
    weights: np.ndarray | None
    offsets: np.ndarray | None

    @classmethod
    def of(cls, rows: ModelRows, family: Family) -> _Given:
        y, weights = rows.y, rows.weights
        if weights is None:
            return cls(rows, family, y.values, None, y.offsets)
        if y.offsets is None and weights.offsets is None:
            return cls(rows, family, y.values, weights.values, None)

        def stacked(part: RowArray) -> np.ndarray:
            return np.concatenate([part.of(k) for k in range(rows.n_sets)])

        return cls(rows, family, stacked(y), stacked(weights), rows.offsets)

    @property
    def name(self) -> str:
        """The response as messages name it."""
        return repr(self.rows.formula.response)

    @property
    def prior(self) -> np.ndarray:
        """Prior weights (n,)."""
        return np.ones(len(self.y)) if self.weights is None else self.weights

    def require(self, fits: np.ndarray, needs: str) -> None:
        """Refuse the response unless all of its rows fit; ``needs`` says what they must be."""
        other = ~fits
        if other.any():
            raise DataError(
                f"family={self.family.name!r} needs {needs}; {self.name} has other values in {self.located(other)}"
            )

    def located(self, bad: np.ndarray) -> str:
        """How many rows are bad, and which is the first."""
        at = int(np.argmax(bad))
        k = 0 if self.offsets is None else int(np.searchsorted(self.offsets, at, side="right")) - 1
        row = self.rows.index[k][at - (0 if self.offsets is None else self.offsets[k])]
        several = self.offsets is not None and self.rows.n_sets > 1
        value = ", ".join(f"{part:g}" for part in np.atleast_1d(self.y[at]))
        where = f" of imputation {self.rows.labels[k]}" if several else ""
        n = int(bad.sum())
        return f"{n} row{'s' if n > 1 else ''} (the first is row {row!r}{where}, with {value})"

    def response(
        self,
        y: np.ndarray,
        weight: np.ndarray,
        constants: np.ndarray,
        trials: np.ndarray | None = None,
        levels: tuple[str, ...] = (),
    ) -> GlmmResponse:
        """Put together arrays (n,); ``constants`` are those of the rows."""
        starts = [0] if self.offsets is None else self.offsets[:-1]
        sums = np.add.reduceat(constants, starts)
        every = np.broadcast_to(sums, self.rows.n_sets).copy()
        of_trials = None if trials is None else RowArray(trials, self.offsets)
        weights = RowArray(weight, self.offsets)
        return GlmmResponse(self.family, RowArray(y, self.offsets), weights, of_trials, every, levels)


def _binomial(given: _Given) -> GlmmResponse:
    y, levels = given.y, given.rows.levels
    if levels is not None and len(levels.names) > 2:
        shown = shortened(levels.names)
        raise DataError(f"{BINOMIAL}; {given.name} has {len(levels.names)} levels ({shown})")
    if y.ndim == 2:
        return _successes(given)
    weights, single = given.weights, np.isin(y, (0.0, 1.0)).all()
    if single:
        # as in R, whole weights of zeros and ones are trials
        trials = weights if weights is not None and (weights == np.round(weights)).all() else None
        return given.response(y, given.prior, np.zeros_like(y), trials, () if levels is None else levels.names)
    if weights is None or y.min() < 0 or y.max() > 1:
        values = np.unique(y)
        raise DataError(
            f"{BINOMIAL}; {given.name} has {len(values)} values ({shortened(f'{value:g}' for value in values)})"
        )
    k, n = np.round(y * weights), np.round(weights)
    whole = (np.abs(y * weights - k) <= ROUNDED * np.maximum(k, 1)) & (np.abs(weights - n) <= ROUNDED * n)
    if not whole.all():
        raise DataError(
            f"proportions times weights= must be whole numbers of successes, and weights= whole numbers of trials: "
            f"they are not for {given.name} in {given.located(~whole)}"
        )
    return given.response(k / n, n, -2 * _log_choose(n, k), n)


def _successes(given: _Given) -> GlmmResponse:
    """Successes and failures, k and n - k."""
    counts = given.y
    given.require(((counts >= 0) & (counts == np.round(counts))).all(axis=1), "successes and failures of at least 0")
    k, n = counts[:, 0], counts.sum(axis=1)
    if not n.all():
        raise DataError(f"{given.name} has no trials in {given.located(n == 0)}: leave those rows out of the data")
    return given.response(k / n, n * given.prior, -2 * given.prior * _log_choose(n, k), n)


def _ordinal(given: _Given) -> GlmmResponse:
    levels, y = given.rows.levels, given.y
    if levels is None:
        given.require(y == np.round(y), "ordered categories or whole numbers")
        numbers, codes = np.unique(y, return_inverse=True)
        names, y = tuple(level_name(float(number)) for number in numbers), codes.astype(np.float64)
    elif levels.ordered or len(levels.names) == 1:
        names = levels.names
    else:
        raise DataError(
            f"family='ordinal' needs categories in an order; {given.name} has none: make it a "
            f"pandas.Categorical(..., categories=[...], ordered=True)"
        )
    if len(names) < 2:
        raise DataError(f"family='ordinal' needs two categories or more; {given.name} has one ({names[0]})")
    if len(names) > MOST_CATEGORIES:
        raise DataError(
            f"family='ordinal' takes at most {MOST_CATEGORIES} categories; {given.name} has {len(names)} "
            f"({shortened(names)}): merge some into an ordered pandas.Categorical, or take another family for a number"
        )
    family = replace(given.family, n_shape=len(names) - 1)
    return replace(given, family=family).response(y, given.prior, np.zeros_like(y), levels=names)


def _log_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Logarithm of the binomial coefficient."""
    return np.asarray(-betaln(n - k + 1, k + 1) - np.log1p(n))
