"""Permutation tests over many responses: labels are exchanged or signs flipped, and all responses refitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, lgamma
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from ..data.imputed import ImputedData
from ..design.build import ModelRows, read_rows
from ..design.syntax import variables
from ..errors import DataError, RankDeficientWarning, quiet, shortened
from ..progress import progress
from ..tables.constraints import Linear
from ..tables.result_table import ResultTable
from .estimates import ResponseFits
from .fit import SharedDesign
from .responses import Responses
from .tables import failed, long_table

if TYPE_CHECKING:
    from .base import ManyTests

Scheme = Literal["labels", "signs"]
# a statistic that equals the observed one but for rounding counts as one that reaches it
TIE = 1e-9
# draws of a relabelling in which the fixed part keeps its rank
DRAWS = 100


@dataclass(frozen=True)
class Exchange:
    """What is exchangeable under the null hypothesis.

    Parameters
    ----------
    scheme : {"labels", "signs"}
    column : str, optional
        Column whose values are permuted.
    codes : ndarray of int (n,)
        Group of each row of the model.
    """

    scheme: Scheme
    column: str | None
    codes: np.ndarray

    def permuted(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Values of the rows: exchanged between groups where they are the same in each, else within groups."""
        first = np.unique(self.codes, return_index=True)[1]
        if (values == values[first][self.codes]).all():
            return np.asarray(values[first][rng.permutation(len(first))][self.codes])
        # rows in order of their group, and at random in it
        shuffled = np.lexsort((rng.random(len(values)), self.codes))
        out = values.copy()
        out[np.argsort(self.codes, kind="stable")] = values[shuffled]
        return out

    def distinct(self, values: np.ndarray) -> float:
        """How many different results `permuted` or `signs` have."""
        if self.scheme == "signs":
            return 2.0 ** min(int(self.codes.max()) + 1, 1000)
        first = np.unique(self.codes, return_index=True)[1]
        between = (values == values[first][self.codes]).all()
        pools = [values[first]] if between else [values[self.codes == g] for g in range(len(first))]
        sizes = [(len(pool), np.unique(pool, return_counts=True)[1]) for pool in pools]
        log = sum(lgamma(n + 1) - sum(lgamma(m + 1) for m in counts) for n, counts in sizes)
        return round(exp(log)) if log < 50 else inf

    def signs(self, rng: np.random.Generator) -> np.ndarray:
        """A sign for each row, the same in a group."""
        return np.asarray(rng.choice([-1.0, 1.0], int(self.codes.max()) + 1)[self.codes])


def read_exchange(rows: ModelRows, scheme: Scheme, column: str | None, groups: str | None) -> Exchange:
    """Find the groups, and check what is to be exchanged.

    Raises
    ------
    DataError
    """
    assert rows.data is not None  # the design keeps its data
    labels = [factor.label for factor in rows.factors]
    if groups is None and len(labels) > 1:
        raise DataError(f"the model has several grouping factors: name the exchangeable one, groups={labels[0]!r}")
    name = labels[0] if groups is None else groups
    if name not in labels:
        raise DataError(
            f"groups={groups!r} is no grouping factor of the model; they are {shortened(map(repr, labels))}"
        )
    codes = np.asarray(rows.factor_rows[labels.index(name)].of(0), dtype=np.int64)
    if scheme == "signs":
        if column is not None:
            raise DataError(f"column={column!r} is permuted by scheme='labels'; signs of the responses are flipped")
        if len(rows.fixed.names) > 1:
            raise DataError(
                "scheme='signs' is for a fixed part of one coefficient, as ~ 1 + (1 | subject) of differences: with "
                f"{shortened(rows.fixed.names)} the others would change sign too"
            )
        if rows.offset is not None:
            raise DataError("signs cannot be flipped of responses with an offset: subtract it from them")
    elif column is None:
        raise DataError("column= is missing: name the column of the data whose values are permuted")
    elif column not in rows.formula.variables or column in name.split(":"):
        known = [one for one in rows.formula.variables[1:] if one not in labels]
        raise DataError(f"column={column!r} is no variable of the fixed part; there are {shortened(map(repr, known))}")
    return Exchange(scheme, column, np.unique(codes, return_inverse=True)[1])


def _permuted_design(design: SharedDesign, exchange: Exchange, rng: np.random.Generator) -> SharedDesign:
    """Design with the values of the column permuted, which has the same coefficients."""
    rows = design.rows
    assert rows.data is not None
    frame, name = rows.data.frames[0], exchange.column
    assert name is not None
    values = _values(rows, name)
    for _ in range(DRAWS):
        places = np.unique(values, return_index=True)[1][exchange.permuted(values, rng)]
        own = frame.assign(**{name: frame[name].take(places).set_axis(frame.index)})
        one = read_rows(rows.formula, ImputedData((own,), rows.labels), weights=rows.given_weights)
        with quiet(RankDeficientWarning):
            found = SharedDesign.of(one, reml=design.reml)
        if found.model.fixed_names == design.model.fixed_names:
            return found
    raise DataError(
        f"permuting {name!r} makes columns of the fixed part redundant, {DRAWS} times in a row: leave the covariates "
        "out that are nearly determined by the others"
    )


def _values(rows: ModelRows, column: str) -> np.ndarray:
    """Different values of a column of the data, numbered."""
    assert rows.data is not None
    return np.asarray(pd.factorize(rows.data.frames[0][column])[0])


def _check_hypothesis(design: SharedDesign, linear: Linear, column: str) -> None:
    """Refuse to permute a column on which what is tested does not depend."""
    terms = {name: term for term, names in design.model.term_names.items() for name in names}
    for row, label in zip(linear.matrix, linear.labels, strict=True):
        tested = {terms.get(design.model.fixed_names[j], "") for j in np.flatnonzero(row)} - {""}
        if not any(column in variables(term) for term in tested):
            raise DataError(f"{label!r} is not about {column!r}: permute the column whose effect is tested, column=")


@dataclass(frozen=True, eq=False)
class _Counts:
    """How often a statistic (G, r) was reached by that of its own response, and by the largest of all."""

    observed: np.ndarray
    own: np.ndarray
    largest: np.ndarray

    @classmethod
    def of(cls, observed: np.ndarray) -> _Counts:
        """Count the observed data as one of the permutations (Phipson & Smyth 2010)."""
        return cls(observed * (1 - TIE), np.ones(observed.shape), np.ones(observed.shape))

    def add(self, size: np.ndarray) -> None:
        """Take in the absolute statistics of a permutation; a response without a fit reaches nothing."""
        size = np.nan_to_num(size, nan=-1.0)
        self.own[:] += size >= self.observed
        self.largest[:] += size.max(axis=0) >= self.observed


def permutation_table(
    many: ManyTests, linear: Linear, exchange: Exchange, n_permutations: int, rng: np.random.Generator
) -> ResultTable:
    """Refit all responses to permuted data; see `LmerMany.permutation_test`."""
    (design,), (fits,) = many.design, many.fits
    observed = _statistics(fits, linear)
    if exchange.column is not None:
        _check_hypothesis(design, linear, exchange.column)
    values = np.zeros(0) if exchange.column is None else _values(design.rows, exchange.column)
    distinct = exchange.distinct(values)
    if distinct == 1:
        raise DataError(f"every permutation of {exchange.column!r} is the data again: there is nothing to exchange")
    unknown = failed(many.fits)[:, None] | ~np.isfinite(observed)
    counts = _Counts.of(np.where(unknown, np.inf, np.abs(observed)))
    by_sign = exchange.scheme == "signs"
    refit = refits(many, (lambda: exchange.signs(rng)) if by_sign else (lambda: 1.0))
    with progress(n_permutations, "permutation") as advance:
        for _ in range(n_permutations):
            own = design if by_sign else _permuted_design(design, exchange, rng)
            counts.add(np.abs(_statistics(refit(own), linear)))
            advance(1)
    estimate, variance, _ = fits.combinations(linear.matrix)
    columns = {
        "estimate": estimate,
        "std_error": np.sqrt(variance),
        "statistic": observed,
        "p_value": np.where(unknown, np.nan, counts.own / (n_permutations + 1)),
        "p_adjusted": np.where(unknown, np.nan, counts.largest / (n_permutations + 1)),
    }
    table = long_table(many.names, linear.labels, columns, many.fits)
    if distinct < n_permutations:
        least = f"only {distinct:.0f} permutations differ: p-values are about {1 / distinct:.2g} or larger"
        table.attrs["notes"] = [least, *table.attrs["notes"]]
    return table


def refits(
    many: ManyTests, sign: Callable[[], np.ndarray | float] = lambda: 1.0
) -> Callable[[SharedDesign], ResponseFits]:
    """Make the function that fits all responses, perhaps with other signs each time, to other designs."""
    source = many.source
    if source.responses is None:
        raise DataError("the responses were read in blocks and are not kept: this needs them")
    size = many.design[0].block_size()
    pieces = list(source.responses.pieces(size))
    weights: list[Responses | None] = [None] * len(pieces)
    if source.weights is not None:
        weights = list(source.weights.pieces(size))

    def refit(design: SharedDesign) -> ResponseFits:
        own, parts = sign(), []
        for piece, given in zip(pieces, weights, strict=True):
            y = piece.block(slice(None), source.kept) * own
            parts.append(design.fit(y, None if given is None else given.block(slice(None), source.kept)))
        return ResponseFits.joined(parts)

    return refit


def _statistics(fits: ResponseFits, linear: Linear) -> np.ndarray:
    """T statistics (G, r), NaN where there is no fit."""
    estimate, variance, _ = fits.combinations(linear.matrix)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (estimate - linear.null) / np.sqrt(variance)
    return np.where(fits.converged[:, None], t, np.nan)
