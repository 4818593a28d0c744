"""Two models of the same data: is one within the other, what does the larger have more, and the null model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..data import ImputedData
from ..data.checks import same_values
from ..design.build import ModelRows, needed_columns, read_rows
from ..design.formula import parse_formula
from ..design.tree import Name
from ..errors import DataError, shortened
from ..fitting.assemble import assemble, z_columns
from ..fitting.checks import refuse_prior
from ..fitting.fit import Fitted, fit_assembled
from ..fitting.layout import TermLayout
from ..fitting.priors import with_prior
from ..fitting.redundant_terms import count_variances
from ..fitting.selection import Selection

# a column is in the span of others where less than this share of it is left over
SPAN_TOL = 1e-8


def identified_parameters(fits: Selection) -> int:
    """Fixed coefficients, theta and sigma that the data determine; DataError where data sets differ in that."""
    counts = [fits.fitted.n_parameters(k) for k in fits.which]
    if len(set(counts)) > 1:
        fewest, most = counts.index(min(counts)), counts.index(max(counts))
        raise DataError(
            f"the model {fits.formula} has {max(counts)} identified parameters in imputation {fits.labels[most]} "
            f"and {min(counts)} in imputation {fits.labels[fewest]}, where random terms repeat each other: it is "
            "not one model, and cannot be compared with another; leave out the term that the fit warns of"
        )
    return counts[0]


def is_redundant(fits: Selection) -> bool:
    """Tell whether random terms repeat each other in one of the data sets."""
    return any(one is not None for one in fits.fitted.redundancies.of_terms(fits.which))


def identified_variances(fits: Selection) -> int | None:
    """Variances of random effects without terms that repeat others; None where they cannot be counted."""
    counts = {count_variances(fits.model, one) for one in fits.fitted.redundancies.of_terms(fits.which)}
    return counts.pop() if len(counts) == 1 else None


@dataclass(frozen=True, eq=False)
class Difference:
    """What a larger model has more than a smaller one."""

    n_fixed: int  # coefficients
    n_random: int  # parameters of the random part
    n_variances: int | None  # zero in the smaller model; None where terms that repeat each other leave that open
    sizes: tuple[int, int]  # identified parameters of both models
    redundant: bool  # whether random terms of one of them repeat each other

    @property
    def n_parameters(self) -> int:
        """All parameters that the larger model has more."""
        return self.n_fixed + self.n_random


def order_models(one: Selection, other: Selection) -> tuple[Selection, Selection]:
    """Put the model with more parameters first; DataError where both have as many."""
    n, m = identified_parameters(one), identified_parameters(other)
    if n == m:
        redundant = is_redundant(one) or is_redundant(other)
        raise DataError(
            f"both models have {n} parameters{', without those that random terms repeat' * redundant} "
            f"({one.formula}; {other.formula}): neither is within the other, and there is nothing to test"
        )
    return (one, other) if n > m else (other, one)


def compare(large: Selection, small: Selection) -> Difference:
    """Say what the smaller model lacks; DataError for different data and for models that are not nested."""
    check_same_data(large, small)
    _check_fixed(large, small)
    _check_random(large, small)
    if reason := large.fitted.lacks(small.fitted):
        raise DataError(f"the models are not nested: {reason}")
    n_fixed = len(large.model.keep) - len(small.model.keep)
    sizes = identified_parameters(large), identified_parameters(small)
    n_random = sizes[0] - sizes[1] - n_fixed
    most, least = (identified_variances(large), identified_variances(small)) if n_random else (0, 0)
    return Difference(
        n_fixed=n_fixed,
        n_random=n_random,
        n_variances=None if most is None or least is None else max(most - least, 0),
        sizes=sizes,
        redundant=is_redundant(large) or is_redundant(small),
    )


def check_same_kind(models: Sequence[Selection]) -> None:
    """Raise DataError for likelihoods that cannot be compared."""
    first = models[0].fitted.kind
    for other in models[1:]:
        if other.fitted.kind != first:
            raise DataError(
                f"the models are of different kinds ({first}; {other.fitted.kind}): a test needs the same "
                "family, link, n_quad and information"
            )


def check_same_data(one: Selection, other: Selection) -> None:
    """Raise DataError for models of different data sets."""
    if one.n_sets != other.n_sets:
        raise DataError(
            f"the models were fitted to different numbers of data sets, {one.n_sets} and {other.n_sets}: "
            "compare fits of the same imputations"
        )
    # a single fit may come from a list or stand alone: its data say whether it is the same
    if one.n_sets > 1 and one.labels != other.labels:
        raise DataError(
            f"the models were fitted to different imputations, {shortened(one.labels)} and {shortened(other.labels)}: "
            "compare fits of the same ones"
        )
    both = set(needed_columns(other.rows.formula))
    shared = [name for name in needed_columns(one.rows.formula) if name in both]
    for k, j in zip(one.which, other.which, strict=True):
        if differs := _differing(one, k, other, j, shared):
            where = f" in imputation {one.rows.labels[k]}" if one.n_sets > 1 else ""
            raise DataError(
                f"the models were fitted to different data: {differs}{where}; fit both to the same rows and weights"
            )


def _differing(one: Selection, k: int, other: Selection, j: int, columns: Sequence[str]) -> str:
    """Name the first thing that differs between two data sets; empty where nothing does."""
    a, b = one.rows, other.rows
    if a.n_rows(k) != b.n_rows(j):
        return f"{a.n_rows(k)} and {b.n_rows(j)} rows"
    if not np.array_equal(a.y.of(k), b.y.of(j)):
        return f"the response ({a.formula.response}; {b.formula.response}) differs"
    for name in ("weights", "offset"):
        given, theirs = getattr(a, name), getattr(b, name)
        if (given is None) != (theirs is None):
            return f"only one model has {name}"
        if given is not None and not np.array_equal(given.of(k), theirs.of(j)):
            return f"the {name} differ" if name == "weights" else f"the {name} differs"
    if a.data is not None and b.data is not None and a.data.frames[k] is not b.data.frames[j]:
        for column in columns:
            if not same_values(a.data.frames[k][column], b.data.frames[j][column]):
                return f"column {column!r} differs"
    return ""


def _check_fixed(large: Selection, small: Selection) -> None:
    names, theirs = set(large.model.fixed_names), small.model.fixed_names
    if names.issuperset(theirs):
        return
    for k, j in zip(large.which, small.which, strict=True):
        x, x0 = fixed_columns(large, k), fixed_columns(small, j)
        outside = np.flatnonzero(~_in_span(x0, x))
        if len(outside):
            raise DataError(
                f"the models are not nested: the fixed part of the smaller one ({small.formula}) has "
                f"{theirs[int(outside[0])]!r}, which is no combination of the columns of the larger one "
                f"({large.formula})"
            )


def _check_random(large: Selection, small: Selection) -> None:
    for term in small.model.layout.terms:
        within = [t for t in large.model.layout.terms if t.group == term.group]
        if not any(_term_within(small, term, large, t) for t in within):
            text = small.rows.formula.random[term.source].text if term.structure is not None else _named(term)
            raise DataError(
                f"the models are not nested: the random term {text} of the smaller one ({small.formula}) is not within "
                f"one of the larger one ({large.formula})"
            )


def _named(term: TermLayout) -> str:
    return f"({' + '.join(term.names)} | {term.group})"


def _term_within(small: Selection, term: TermLayout, large: Selection, larger: TermLayout) -> bool:
    if term.structure is not None or larger.structure is not None:
        return _structure_within(term, larger)
    if set(larger.names).issuperset(term.names):
        return True
    pairs = zip(small.which, large.which, strict=True)
    return all(_in_span(_term_columns(small, term, j), _term_columns(large, larger, k)).all() for j, k in pairs)


def _structure_within(term: TermLayout, larger: TermLayout) -> bool:
    """Tell whether a term is a special case of another, one of which has a covariance structure."""
    own, wide = term.structure, larger.structure
    if wide is None:
        return set(larger.names).issuperset(term.names)
    if own is None:  # any covariance; of one column there is but one
        return term.q == 1 and term.names[0] in larger.names and not wide.hom
    if (wide.hom and not own.hom) or own.kind not in ("diag", wide.kind):
        return False
    same = larger.names == term.names
    return same or (not wide.hom and not own.hom and own.kind == "diag" and set(larger.names).issuperset(term.names))


def _term_columns(model: Selection, term: TermLayout, k: int) -> np.ndarray:
    return z_columns(model.rows, model.model.layout, k)[term.factor][:, term.columns]


def fixed_columns(model: Selection, k: int) -> np.ndarray:
    """Fixed-effect columns (n, p) of one data set."""
    return model.rows.x.of(k)[:, model.model.keep]


def _in_span(columns: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Tell which columns are combinations of others."""
    left = columns - basis @ coordinates(columns, basis)
    return np.asarray(np.linalg.norm(left, axis=0) <= SPAN_TOL * np.linalg.norm(columns, axis=0))


def coordinates(columns: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Least-squares coordinates (p, r) of columns (n, r) in a basis (n, p), whatever the units of its columns."""
    size = np.linalg.norm(basis, axis=0)
    return np.asarray(np.linalg.lstsq(basis / size, columns, rcond=None)[0] / size[:, None])


def lacking_contrasts(large: Selection, small: Selection) -> np.ndarray:
    """Contrasts (r, p) of the larger model's coefficients that are zero in the smaller model.

    DataError where the smaller model is another hypothesis in every data set.
    """
    names, theirs = large.model.fixed_names, set(small.model.fixed_names)
    if set(names).issuperset(theirs):
        return np.eye(len(names))[[name not in theirs for name in names]]
    size = np.linalg.norm(fixed_columns(large, large.which[0]), axis=0)
    projections = []
    for k, j in zip(large.which, small.which, strict=True):
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


def null_model(fits: Selection) -> Fitted:
    """Fit an intercept and a random intercept per grouping factor to the data sets.

    Response, weights, offset, criterion, prior and optimizer are those of the model.

    Raises
    ------
    DataError
        There is a prior on the coefficients, which are not those of the model.
    """
    rows = fits.rows
    refuse_prior(
        "fixef_prior=" * (fits.model.fixef_prior is not None),
        "reductions of variance (n_sims=0 leaves them out) compare with a null model, which maximises a likelihood",
    )
    assert rows.data is not None  # every fit keeps its data
    data = ImputedData(tuple(rows.data.frames[k] for k in fits.which), tuple(rows.data.labels[k] for k in fits.which))
    read = read_rows(parse_formula(null_formula(rows)), data)
    # what scale(y) means, for instance, was decided over all data sets
    own = [None if part is None else part.of_sets(fits.which) for part in (rows.weights, rows.offset)]
    read = replace(read, y=rows.y.of_sets(fits.which), weights=own[0], offset=own[1])
    return fit_assembled(with_prior(assemble(read, reml=fits.fitted.reml), fits.model.prior), fits.fitted.optimizer)


def null_formula(rows: ModelRows) -> str:
    """Write the formula: ``y ~ 1 + offset(o) + (1 | a) + (1 | b)``."""
    groups = dict.fromkeys(":".join(Name(c).text for c in term.group) for term in rows.formula.random)
    parts = ["1", *(f"offset({text})" for text in rows.formula.offsets), *(f"(1 | {group})" for group in groups)]
    return f"{rows.formula.response} ~ {' + '.join(parts)}"
