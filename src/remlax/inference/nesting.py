"""Two models of the same data: is one within the other, and what does the larger have more?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.checks import same_values
from ..design.build import ModelRows, needed_columns
from ..errors import DataError, shortened
from ..fitting.assemble import z_columns
from ..fitting.fit import Fitted
from ..fitting.layout import TermLayout
from ..fitting.redundant_terms import count_variances

# a column is in the span of others where less than this share of it is left over
SPAN_TOL = 1e-8


@dataclass(frozen=True, eq=False)
class Lanes:
    """Some data sets of a stack."""

    fitted: Fitted
    lanes: tuple[int, ...]

    @property
    def rows(self) -> ModelRows:
        """What the model read from the data."""
        return self.fitted.model.rows

    @property
    def formula(self) -> str:
        """The model formula."""
        return self.rows.formula.text

    @property
    def labels(self) -> list[object]:
        """Labels of the data sets."""
        return [self.rows.labels[k] for k in self.lanes]

    @property
    def n_parameters(self) -> int:
        """Fixed coefficients, theta and sigma, as far as the data determine them.

        Raises
        ------
        DataError
            They are fewer in some data sets than in others.
        """
        counts = [self.fitted.n_parameters(k) for k in self.lanes]
        if len(set(counts)) > 1:
            fewest, most = counts.index(min(counts)), counts.index(max(counts))
            raise DataError(
                f"the model {self.formula} has {max(counts)} identified parameters in imputation {self.labels[most]} "
                f"and {min(counts)} in imputation {self.labels[fewest]}, where random terms repeat each other: it is "
                "not one model, and cannot be compared with another; leave out the term that the fit warns of"
            )
        return counts[0]

    @property
    def redundant(self) -> bool:
        """Whether random terms repeat each other in one of the data sets."""
        return any(one is not None for one in self.fitted.redundancies.of_terms(self.lanes))

    @property
    def n_variances(self) -> int | None:
        """Variances of random effects without terms that repeat others; None where they cannot be counted."""
        counts = {count_variances(self.fitted.model, one) for one in self.fitted.redundancies.of_terms(self.lanes)}
        return counts.pop() if len(counts) == 1 else None


@dataclass(frozen=True, eq=False)
class Difference:
    """What a larger model has more than a smaller one.

    Parameters
    ----------
    n_fixed, n_random : int
        Coefficients, and parameters of the random part.
    n_variances : int or None
        Variances that are zero in the smaller model; None where terms that repeat each other leave that open.
    sizes : tuple of int
        Identified parameters of both models.
    redundant : bool
        Whether random terms of one of them repeat each other.
    """

    n_fixed: int
    n_random: int
    n_variances: int | None
    sizes: tuple[int, int]
    redundant: bool

    @property
    def n_parameters(self) -> int:
        """All parameters that the larger model has more."""
        return self.n_fixed + self.n_random


def order_models(one: Lanes, other: Lanes) -> tuple[Lanes, Lanes]:
    """Put the model with more parameters first.

    Raises
    ------
    DataError
        Both have as many.
    """
    if one.n_parameters == other.n_parameters:
        redundant = one.redundant or other.redundant
        raise DataError(
            f"both models have {one.n_parameters} parameters{', without those that random terms repeat' * redundant} "
            f"({one.formula}; {other.formula}): neither is within the other, and there is nothing to test"
        )
    return (one, other) if one.n_parameters > other.n_parameters else (other, one)


def compare(large: Lanes, small: Lanes) -> Difference:
    """Check that one model is within the other and say what it lacks.

    Raises
    ------
    DataError
        Different numbers of data sets, different data, or models that are not nested; the message says which.
    """
    check_same_data(large, small)
    _check_fixed(large, small)
    _check_random(large, small)
    n_fixed = len(large.fitted.model.keep) - len(small.fitted.model.keep)
    n_random = large.n_parameters - small.n_parameters - n_fixed
    most, least = (large.n_variances, small.n_variances) if n_random else (0, 0)
    return Difference(
        n_fixed=n_fixed,
        n_random=n_random,
        n_variances=None if most is None or least is None else max(most - least, 0),
        sizes=(large.n_parameters, small.n_parameters),
        redundant=large.redundant or small.redundant,
    )


def check_same_data(one: Lanes, other: Lanes) -> None:
    """Refuse models of different data sets.

    Raises
    ------
    DataError
    """
    if len(one.lanes) != len(other.lanes):
        raise DataError(
            f"the models were fitted to different numbers of data sets, {len(one.lanes)} and {len(other.lanes)}: "
            "compare fits of the same imputations"
        )
    # a single fit may come from a list or stand alone: its data say whether it is the same
    if len(one.lanes) > 1 and one.labels != other.labels:
        raise DataError(
            f"the models were fitted to different imputations, {shortened(one.labels)} and {shortened(other.labels)}: "
            "compare fits of the same ones"
        )
    both = set(needed_columns(other.rows.formula))
    shared = [name for name in needed_columns(one.rows.formula) if name in both]
    for k, j in zip(one.lanes, other.lanes, strict=True):
        found = _differing(one, k, other, j, shared)
        if found:
            where = f" in imputation {one.rows.labels[k]}" if len(one.lanes) > 1 else ""
            raise DataError(
                f"the models were fitted to different data: {found}{where}; fit both to the same rows and weights"
            )


def _differing(one: Lanes, k: int, other: Lanes, j: int, columns: Sequence[str]) -> str:
    """Name the first thing that differs between two data sets; empty where nothing does."""
    a, b = one.rows, other.rows
    if a.n_rows(k) != b.n_rows(j):
        return f"{a.n_rows(k)} and {b.n_rows(j)} rows"
    if not np.array_equal(a.y.lane(k), b.y.lane(j)):
        return f"the response ({a.formula.response}; {b.formula.response}) differs"
    for name in ("weights", "offset"):
        given, theirs = getattr(a, name), getattr(b, name)
        if (given is None) != (theirs is None):
            return f"only one model has {name}"
        if given is not None and not np.array_equal(given.lane(k), theirs.lane(j)):
            return f"the {name} differ" if name == "weights" else f"the {name} differs"
    if a.data is not None and b.data is not None and a.data.frames[k] is not b.data.frames[j]:
        for column in columns:
            if not same_values(a.data.frames[k][column], b.data.frames[j][column]):
                return f"column {column!r} differs"
    return ""


def _check_fixed(large: Lanes, small: Lanes) -> None:
    names, theirs = set(large.fitted.model.fixed_names), small.fitted.model.fixed_names
    if names.issuperset(theirs):
        return
    for k, j in zip(large.lanes, small.lanes, strict=True):
        x, x0 = fixed_columns(large, k), fixed_columns(small, j)
        outside = np.flatnonzero(~_in_span(x0, x))
        if len(outside):
            raise DataError(
                f"the models are not nested: the fixed part of the smaller one ({small.formula}) has "
                f"{theirs[int(outside[0])]!r}, which is no combination of the columns of the larger one "
                f"({large.formula})"
            )


def _check_random(large: Lanes, small: Lanes) -> None:
    for term in small.fitted.model.layout.terms:
        within = [t for t in large.fitted.model.layout.terms if t.group == term.group]
        if not any(_term_within(small, term, large, t) for t in within):
            text = f"({' + '.join(term.names)} | {term.group})"
            raise DataError(
                f"the models are not nested: the random term {text} of the smaller one ({small.formula}) is not within "
                f"one of the larger one ({large.formula})"
            )


def _term_within(small: Lanes, term: TermLayout, large: Lanes, larger: TermLayout) -> bool:
    if set(larger.names).issuperset(term.names):
        return True
    pairs = zip(small.lanes, large.lanes, strict=True)
    return all(_in_span(_term_columns(small, term, j), _term_columns(large, larger, k)).all() for j, k in pairs)


def _term_columns(model: Lanes, term: TermLayout, lane: int) -> np.ndarray:
    return z_columns(model.rows, model.fitted.model.layout, lane)[term.factor][:, term.columns]


def fixed_columns(model: Lanes, lane: int) -> np.ndarray:
    """Fixed-effect columns (n, p) of one data set."""
    return model.rows.x.lane(lane)[:, model.fitted.model.keep]


def _in_span(columns: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Tell which columns are combinations of others."""
    left = columns - basis @ coordinates(columns, basis)
    return np.asarray(np.linalg.norm(left, axis=0) <= SPAN_TOL * np.linalg.norm(columns, axis=0))


def coordinates(columns: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Least-squares coordinates (p, r) of columns (n, r) in a basis (n, p), whatever the units of its columns."""
    size = np.linalg.norm(basis, axis=0)
    return np.asarray(np.linalg.lstsq(basis / size, columns, rcond=None)[0] / size[:, None])


def lacking_contrasts(large: Lanes, small: Lanes) -> np.ndarray:
    """Contrasts (r, p) of the larger model's coefficients that are zero in the smaller model.

    Raises
    ------
    DataError
        The smaller model is another hypothesis in every data set.
    """
    names, theirs = large.fitted.model.fixed_names, set(small.fitted.model.fixed_names)
    if set(names).issuperset(theirs):
        return np.eye(len(names))[[name not in theirs for name in names]]
    size = np.linalg.norm(fixed_columns(large, large.lanes[0]), axis=0)
    projections = []
    for k, j in zip(large.lanes, small.lanes, strict=True):
        x, x0 = fixed_columns(large, k), fixed_columns(small, j)
        # the projection says which hypothesis it is, whatever basis describes it
        basis, _ = np.linalg.qr(size[:, None] * coordinates(x0 / np.linalg.norm(x0, axis=0), x))
        projections.append(basis @ basis.T)
        if not np.allclose(projections[-1], projections[0], rtol=0, atol=1e-6):
            raise DataError(
                "the smaller model's fixed part is another hypothesis about the coefficients in imputation "
                f"{large.rows.labels[k]} than in imputation {large.labels[0]}: use D3 or D4, or D2 with "
                "use='likelihood'"
            )
    vectors = np.linalg.svd(projections[0])[0][:, len(theirs) :]
    return np.asarray(vectors.T * size)
