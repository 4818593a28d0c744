"""The layout of theta and of the random-effects columns: lme4's order outside, elimination order inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from ..design.build import ModelRows
from ..design.groups import GroupingFactor, elimination_order
from ..engine.pairs import Cells, find_cells, find_meetings, padded_size, pair_count
from ..engine.shapes import bucket
from ..engine.stack import Index
from ..errors import ModelSizeError
from ..kernels.cross_products import Table, nested_tables
from ..kernels.dense import CrossedStructure
from ..kernels.problem import Structure
from ..kernels.structured.parameters import CovarianceStructure, ParameterMap
from ..kernels.theta import ThetaMap
from ..memory import available_bytes, human_bytes

# levels of all data sets and factors up to which padding costs less than compiling a program of another size
SMALL_WORK = 512


@dataclass(frozen=True)
class TermLayout:
    """One random term: where its columns stand in its factor and its entries in theta.

    Parameters
    ----------
    group : str
    names : tuple of str
        Column names.
    factor : int
        Grouping factor, in elimination order.
    start : int
        First column inside the factor's block.
    theta : slice
        Its entries of theta.
    source : int
        Position in the formula.
    structure : CovarianceStructure, optional
        Form of the covariance matrix; any unless given.
    """

    group: str
    names: tuple[str, ...]
    factor: int
    start: int
    theta: slice
    source: int
    structure: CovarianceStructure | None = None

    @property
    def q(self) -> int:
        """Number of columns."""
        return len(self.names)

    @property
    def n_sds(self) -> int:
        """Number of SDs among its parameters."""
        return self.q if self.structure is None else self.structure.n_sds(self.q)

    @property
    def parameters(self) -> list[tuple[int, int]]:
        """Columns of the SDs and then of the correlations that are its parameters.

        An SD stands for all where they are equal, and the correlation of the first two columns for all of a structure.
        """
        pairs = list(combinations(range(self.q), 2))
        if self.structure is not None:
            pairs = pairs[: self.structure.has_correlation]
        return [(a, a) for a in range(self.n_sds)] + pairs

    @property
    def correlated(self) -> list[tuple[int, int]]:
        """Columns of all correlations that need not be zero."""
        none = self.structure is not None and not self.structure.has_correlation
        return [] if none else list(combinations(range(self.q), 2))

    def parameter_names(self, a: int, b: int, kinds: tuple[str, str] = ("sd", "cor")) -> tuple[str, ...]:
        """Columns that a parameter is named by, or its structure where it is one of all columns."""
        if self.structure is not None and (self.structure.hom or kinds[a != b] == "cor"):
            return (self.structure.kind,)
        return (self.names[a],) if a == b else (self.names[a], self.names[b])

    def label(self, a: int, b: int, kinds: tuple[str, str] = ("sd", "cor")) -> str:
        """Name of a parameter as broom.mixed writes it: sd__x, cor__x.z; of a structure sd__cs, cor__ar1."""
        return f"{kinds[a != b]}__{'.'.join(self.parameter_names(a, b, kinds))}"

    @property
    def columns(self) -> slice:
        """Columns inside the factor's block."""
        return slice(self.start, self.start + self.q)


@dataclass(frozen=True)
class Layout:
    """Labels and index arrays of a model, computed once for all data sets.

    Parameters
    ----------
    terms : tuple of TermLayout
        In lme4's order.
    factors : tuple of GroupingFactor
        In elimination order.
    factor_source : tuple of int
        Their positions in ``ModelRows.factors``.
    structure : Structure
    tables : tuple of Table
    table_codes : tuple
        For each table, the code of every row (stacked rows, or one data set's where shared).
    index : tuple or Meetings
        Ancestors of the levels of nested factors, or which levels of crossed ones meet.
    """

    terms: tuple[TermLayout, ...]
    factors: tuple[GroupingFactor, ...]
    factor_source: tuple[int, ...]
    structure: Structure
    tables: tuple[Table, ...]
    table_codes: tuple[np.ndarray, ...]
    index: Index

    @property
    def parameters(self) -> ParameterMap | None:
        """What theta is a function of, where a term has a covariance structure."""
        structures = tuple(term.structure for term in self.terms)
        if all(structure is None for structure in structures):
            return None
        return ParameterMap(self.structure.theta_map, structures, tuple(term.q for term in self.terms))

    @property
    def n_parameters(self) -> int:
        """Number of parameters that the covariance matrices of the random effects have, relative to sigma^2."""
        parameters = self.parameters
        return (self.structure.theta_map if parameters is None else parameters).n_theta


def lme4_order(levels: list[int]) -> list[int]:
    """Order the terms by decreasing number of levels, ties reversed, as lme4 does; unchanged where sorted."""
    if all(a >= b for a, b in pairwise(levels)):
        return list(range(len(levels)))
    return sorted(range(len(levels)), key=lambda i: (levels[i], i))[::-1]


def make_layout(rows: ModelRows, *, reml: bool) -> Layout:
    """Lay out a model.

    Raises
    ------
    ModelSizeError
        The dense block of a crossed model does not fit in memory.
    """
    widths = [0] * len(rows.factors)
    for term in rows.terms:
        widths[term.factor] += len(term.names)
    order, crossed = elimination_order(list(rows.factors), widths)
    factors = tuple(rows.factors[i] for i in order)
    terms = _layout_terms(rows, order)
    theta_map = _theta_map(terms, tuple(widths[i] for i in order))
    n_levels, n_fixed = _sizes(rows, factors)
    if crossed:
        # a large dense block costs the cube of its size: a finer grid there
        n_levels[1:] = [bucket(f.n_levels, 8, 2 if f.n_levels <= 64 else 8) for f in factors[1:]]
        dense = CrossedStructure(theta_map, tuple(n_levels), n_fixed, reml)
        return _crossed_layout(terms, factors, tuple(order), dense)
    structure = Structure(theta_map, tuple(n_levels), n_fixed, reml)
    ancestors = tuple(
        tuple(_padded(fine.parents(coarse), n_levels[f]) for coarse in factors[f + 1 :])
        for f, fine in enumerate(factors)
    )
    codes = tuple(f.codes for f in factors)
    return Layout(terms, factors, tuple(order), structure, nested_tables(structure), codes, ancestors)


def _sizes(rows: ModelRows, factors: Sequence[GroupingFactor]) -> tuple[list[int], int]:
    """Levels of every factor and columns of X with padding: where the work is small, one program serves most models."""
    p = len(rows.fixed.names)
    if rows.n_sets * sum(f.n_levels for f in factors) <= SMALL_WORK:
        return [bucket(f.n_levels, 64, 0.5) for f in factors], bucket(p, 8, 1)
    return [bucket(f.n_levels, 4) for f in factors], bucket(p)


def _padded(parents: np.ndarray, size: int) -> np.ndarray:
    out = np.zeros(size, np.int32)
    out[: len(parents)] = parents
    return out


def _layout_terms(rows: ModelRows, order: list[int]) -> tuple[TermLayout, ...]:
    inside = {source: position for position, source in enumerate(order)}
    filled = [0] * len(order)
    out, theta = [], 0
    for source in lme4_order([rows.factors[t.factor].n_levels for t in rows.terms]):
        term = rows.terms[source]
        q, factor = len(term.names), inside[term.factor]
        size = q * (q + 1) // 2
        structure = rows.formula.random[source].structure if q > 1 else None  # of one column there is but one
        place = slice(theta, theta + size)
        out.append(TermLayout(term.group, term.names, factor, filled[factor], place, source, structure))
        filled[factor] += q
        theta += size
    return tuple(out)


def _theta_map(terms: tuple[TermLayout, ...], q: tuple[int, ...]) -> ThetaMap:
    factor: list[int] = []
    row: list[int] = []
    col: list[int] = []
    for term in terms:
        for j in range(term.q):
            for i in range(j, term.q):
                factor.append(term.factor)
                row.append(term.start + i)
                col.append(term.start + j)
    return ThetaMap(q, tuple(factor), tuple(row), tuple(col))


def _crossed_layout(
    terms: tuple[TermLayout, ...],
    factors: tuple[GroupingFactor, ...],
    source: tuple[int, ...],
    structure: CrossedStructure,
) -> Layout:
    q, k = structure.q, len(factors)
    first = tuple(find_cells(factors[0].codes, f.codes, f.n_levels) for f in factors[1:])
    _refuse_too_large(structure, first, factors)
    dense: dict[tuple[int, int], Cells] = {
        (g, h): find_cells(factors[g + 1].codes, factors[h + 1].codes, factors[h + 1].n_levels)
        for g in range(k - 1)
        for h in range(g + 1, k - 1)
    }
    tables = [Table(f, (f,), True, structure.n_levels[f]) for f in range(k)]
    codes = [f.codes for f in factors]
    for g, cells in enumerate(first, start=1):
        tables.append(Table(0, (g,), False, padded_size(len(cells.left))))
        codes.append(cells.codes)
    for (g, h), cells in sorted(dense.items()):
        tables.append(Table(g + 1, (h + 1,), False, padded_size(len(cells.left))))
        codes.append(cells.codes)
    assert len(q) == k  # one width per factor
    meetings = find_meetings(structure, first, dense)
    return Layout(terms, factors, source, structure, tuple(tables), tuple(codes), meetings)


def _refuse_too_large(
    structure: CrossedStructure, first: tuple[Cells, ...], factors: tuple[GroupingFactor, ...]
) -> None:
    """Compute the memory of the dense block and of the pair list before anything is allocated."""
    pairs = pair_count(first, structure.q, structure.n_levels[0])
    # the block, its factor, its inverse and their derivatives; four index arrays and two products per pair
    needed = 8 * structure.n_dense**2 * (6 + structure.theta_map.n_theta) + 48 * pairs
    if needed > available_bytes():
        names = " and ".join(repr(f.label) for f in factors[1:])
        raise ModelSizeError(
            f"the crossed grouping factors {names} form a dense block of {structure.n_dense} columns, which "
            f"needs about {human_bytes(needed)} of memory; {human_bytes(available_bytes())} are free. Use fewer levels "
            "(or nested factors, which need no dense block), or a machine with more memory"
        )
