"""Model matrices: R's meaning of a right side, formulaic's coding and names, one float64 array.

formulaic is asked once, about one row, which columns the terms make (coding, order, names); the n rows are
then written straight into the result. It never sees an expression: every factor reaches it finished.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError, FormulaError, shortened
from .coding import Finished, Plan, Selector, shape_of
from .evaluate import FrameEvaluator, evaluate
from .filling import fill, fill_column
from .functions import Categorical, NamedColumns, State, level_name
from .own_contrasts import GivenContrasts, check_names, with_contrasts
from .rows import RowMatrix
from .syntax import tree_of, variables
from .term_coding import code_terms
from .terms import expand, label
from .tree import Expression, Node, columns_in

__all__ = ["MatrixSpec", "ModelMatrix", "evaluate", "model_matrix", "variables"]

MAX_POLY_LEVELS = 95  # R's own limit of contr.poly
ZERO = 1e-9  # of weights that are simple fractions


class Piece(NamedTuple):
    """One of the factors whose product a column is: an expression, its levels if it is categorical, and its column.

    selector: None for numbers, the place of a level, weights by level, or the key of one of several columns.
    """

    node: Node
    levels: tuple[Any, ...] | None
    selector: Selector


@dataclass(frozen=True, eq=False)
class MatrixSpec:
    """How to build the matrix again, on other data.

    Attributes
    ----------
    tree : Node
        The right side.
    what : str
        Which part of the model it is, for messages.
    names : tuple of str
        Column names (p).
    variables : tuple of str
        The data columns used.
    """

    tree: Node
    what: str
    names: tuple[str, ...]
    variables: tuple[str, ...]
    _factors: tuple[Node, ...]
    _labels: tuple[str, ...]
    _levels: tuple[tuple[Any, ...] | None, ...]  # of the categorical factors
    _plan: Plan
    _owners: tuple[int, ...]  # per column: the position of its term; -1 for the intercept
    _terms: tuple[tuple[int, ...], ...]  # per term: positions of its factors
    _states: dict[str, State]

    @property
    def categorical_variables(self) -> frozenset[str]:
        """Data columns that enter as categories, inside ``factor(x)`` for instance."""
        pairs = zip(self._factors, self._levels, strict=True)
        return frozenset(name for node, levels in pairs if levels is not None for name in columns_in(node))

    @cached_property
    def columns(self) -> list[tuple[object, ...]]:
        """What every column is: its name, and the factors in it with their weights by level.

        A data column may be called ``Intercept``, and a contrast as a category is.
        """
        return [
            (name, *((self._labels[slot], _comparable(selector)) for slot, selector in product))
            for name, product in zip(self.names, self._plan, strict=True)
        ]

    def build(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Build the matrix on `frame` with the categories and transform states of the first data.

        Parameters
        ----------
        frame : DataFrame
            n rows, complete in `variables`.

        Returns
        -------
        ndarray (n, p)
            float64, Fortran-ordered.

        Raises
        ------
        FormulaError
            If a column is not there.
        DataError
            For a category that the first data did not have, a column that changed between numbers and
            categories, missing cells, and values that are not finite.
        """
        return fill(len(frame), self._values(frame), self._plan, self.names, self.what)

    def _values(self, frame: pd.DataFrame) -> list[Finished]:
        states = {text: dict(state) for text, state in self._states.items()}
        evaluator = FrameEvaluator(frame, states, self.what)
        return [
            _matched(_categories(evaluator.term(node)), levels, name, self.what)
            for node, levels, name in zip(self._factors, self._levels, self._labels, strict=True)
        ]

    @property
    def term_columns(self) -> dict[str, tuple[int, ...]]:
        """Positions of the columns of every term but the intercept, by the term as the formula has it."""
        labels = [":".join(self._labels[slot] for slot in term) for term in self._terms]
        return {name: tuple(j for j, owner in enumerate(self._owners) if owner == t) for t, name in enumerate(labels)}

    def term_contrasts(self, frame: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
        """Find the hypothesis about each term that does not depend on how categories are coded (SAS's type III).

        With categories coded as deviations from their mean, the coefficients of a term are zero. Those are linear
        combinations of the coefficients of these columns, whatever the data are: they are found from random rows in
        which every category of one factor meets every category of the others.

        Parameters
        ----------
        frame : DataFrame
            Any rows of the data.

        Returns
        -------
        dict of ndarray (r, p)
            By term, as in `term_columns`.
        """
        rng, n = np.random.default_rng(0), 8 * len(self.names) + 32
        like = self._values(frame.iloc[:1])
        rank = -1
        while rank < len(self.names):
            n *= 2
            values = [_drawn(value, n, rng) for value in like]
            coded = [
                replace(value, contrast="contr.sum") if isinstance(value, Categorical) else value for value in values
            ]
            other = code_terms(-1 in self._owners, self._terms, self._labels, tuple(map(shape_of, coded)))
            here = fill(n, values, self._plan, self.names, self.what)
            there = fill(n, coded, other.plan, other.names, self.what)
            weights, _, there_rank, _ = np.linalg.lstsq(there, here, rcond=None)
            rank = int(there_rank)
        weights[np.abs(weights) < ZERO] = 0.0
        owners = np.array(other.owners)
        return {name: weights[owners == t] for t, name in enumerate(self.term_columns)}

    def pieces(self) -> tuple[tuple[Piece, ...], ...]:
        """Find what each column is a product of; nothing for the intercept."""
        return tuple(
            tuple(Piece(self._factors[slot], self._levels[slot], selector) for slot, selector in pieces)
            for pieces in self._plan
        )


@dataclass(frozen=True, eq=False)
class ModelMatrix:
    """A model matrix.

    Attributes
    ----------
    names : tuple of str
        Column names (p).
    values : ndarray (n, p)
        float64, Fortran-ordered.
    spec : MatrixSpec
        Builds the same columns on other data; holds no data itself.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    spec: MatrixSpec

    def rebuild(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Build the same columns (n, p) on other data; see `MatrixSpec.build`."""
        return self.spec.build(frame)


def model_matrix(rhs: Expression, frame: pd.DataFrame, *, what: str = "fixed part") -> ModelMatrix:
    """Build the model matrix of a right side.

    Operators and functions mean what they mean in R: ``x*z + f``, ``I(x^2)``, ``poly(x, 2)``, ``scale(x)``,
    ``factor(f)``. Strings, truth values and unordered categories are coded against their first category,
    ordered categories by orthogonal polynomials. Categories without rows are dropped. The columns of ``f:g``
    without ``f`` and ``g`` are formulaic's (full rank), which span the same space as R's.

    Parameters
    ----------
    rhs : str or Node
        Right side without bars and offsets, ``"1 + x + f"``; the intercept is implied as in R.
    frame : DataFrame
        The data, n rows, complete in the columns used. For several imputations pass them stacked, so that all
        share one set of categories and one state of ``poly``, ``scale`` and splines.
    what : str, default "fixed part"
        Which part of the model this is, for messages.

    Returns
    -------
    ModelMatrix
        Names as formulaic's: ``Intercept``, ``x``, ``f[T.b]``, ``x:f[T.b]``, ``poly(x, 2)[1]``; of an ordered
        factor as R's: ``f.L``, ``f.Q``, ``f.C``, ``f^4``. ``"0"`` gives p = 0.

    Raises
    ------
    FormulaError
        If `rhs` cannot be read or names something that is not there.
    DataError
        For missing cells, values that are not finite, a factor with one category, dates.

    Examples
    --------
    >>> data = pd.DataFrame({"x": [1.0, 2.0, 3.0], "f": ["a", "b", "b"]})
    >>> model_matrix("I(x^2) + f", data).names
    ('Intercept', 'I(x^2)', 'f[T.b]')
    """
    if not len(frame):
        raise DataError(f"the data have no rows to build the {what} from")
    states: dict[str, State] = {}
    evaluator = FrameEvaluator(frame, states, what)
    spec, values = _specify(rhs, lambda node, _: evaluator.term(node), states, what)
    return ModelMatrix(spec.names, fill(len(frame), values, spec._plan, spec.names, what), spec)


def stacked_matrix(
    rhs: Expression,
    frame_of: Callable[[tuple[str, ...]], tuple[pd.DataFrame, bool]],
    offsets: NDArray[np.int_],
    *,
    what: str,
    contrasts: GivenContrasts = MappingProxyType({}),
    built: tuple[MatrixSpec, RowMatrix] | None = None,
) -> tuple[MatrixSpec, RowMatrix]:
    """Build the model matrix of several data sets: what does not differ between them is evaluated once.

    Parameters
    ----------
    rhs : str or Node
        Right side, as of `model_matrix`.
    frame_of : callable
        From names of columns to a frame that holds them, and whether that is all data sets below each other or the one
        whose values all share.
    offsets : ndarray of int (K + 1,)
        First row of each data set.
    what : str
        Which part of the model this is, for messages.
    contrasts : mapping of str to OwnContrasts or str, optional
        Contrasts of factors, which are named as `label` does.
    built : tuple of MatrixSpec and RowMatrix, optional
        Another matrix of the same data sets, whose columns are taken where it has all that are needed.

    Returns
    -------
    MatrixSpec, RowMatrix
    """
    states: dict[str, State] = {}
    owners: list[bool] = []

    def value(node: Node, names: tuple[str, ...]) -> Finished:
        frame, own = frame_of(names)
        owners.append(own)
        return FrameEvaluator(frame, states, what).term(node)

    spec, values = _specify(rhs, value, states, what, contrasts)
    if built is not None and set(spec.columns) <= set(built[0].columns):
        return spec, built[1].select([built[0].columns.index(column) for column in spec.columns])
    place, plans = [], {False: list[tuple[Any, ...]](), True: list[tuple[Any, ...]]()}
    names = {False: list[str](), True: list[str]()}
    sizes = np.diff(offsets)
    # even the intercept is not shared by data sets of different lengths
    aligned = bool((sizes == sizes[0]).all())
    for name, pieces in zip(spec.names, spec._plan, strict=True):
        own = not aligned or any(owners[slot] for slot, _ in pieces)
        place.append((own, len(plans[own])))
        plans[own].append(pieces)
        names[own].append(name)
    shared = fill(int(offsets[1]), values, tuple(plans[False]), tuple(names[False]), what)
    own_columns = tuple(
        fill_column(int(offsets[-1]), values, pieces, name, what)
        for name, pieces in zip(names[True], plans[True], strict=True)
    )
    return spec, RowMatrix(shared, own_columns, tuple(place), offsets)


def _specify(
    rhs: Expression,
    value: Callable[[Node, tuple[str, ...]], Finished],
    states: dict[str, State],
    what: str,
    contrasts: GivenContrasts = MappingProxyType({}),
) -> tuple[MatrixSpec, list[Finished]]:
    """Evaluate the factors of a right side, and find which columns they make."""
    tree = tree_of(rhs)
    terms = expand(tree, rhs if isinstance(rhs, str) else "")
    used = sorted({i for term in terms.terms for i in term})
    nodes = [terms.factors[i] for i in used]
    read = [columns_in(node) for node in nodes]
    values = [_categories(value(node, names)) for node, names in zip(nodes, read, strict=True)]
    labels = tuple(label(node) for node in nodes)
    for name, one in zip(labels, values, strict=True):
        _check_levels(one, name, what)
    slot = {factor: k for k, factor in enumerate(used)}
    products = tuple(tuple(slot[i] for i in term) for term in terms.terms)
    check_names(
        contrasts, [name for name, one in zip(labels, values, strict=True) if isinstance(one, Categorical)], what
    )
    values = [
        with_contrasts(one, name, contrasts) if isinstance(one, Categorical) else one
        for name, one in zip(labels, values, strict=True)
    ]
    names, plan, owners = code_terms(terms.intercept, products, labels, tuple(map(shape_of, values)))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FormulaError(f"two columns of the {what} would be called {twice!r}; rename the data column")
    levels = tuple(one.levels if isinstance(one, Categorical) else None for one in values)
    variables = tuple(dict.fromkeys(name for names in read for name in names))
    spec = MatrixSpec(tree, what, names, variables, tuple(nodes), labels, levels, plan, owners, products, states)
    return spec, values


def _comparable(selector: Selector) -> object:
    """Weights by level as numbers, where a column has them."""
    return selector.tobytes() if isinstance(selector, np.ndarray) else None


def _categories(value: Finished) -> Finished:
    """Truth values are a factor with two levels, whether or not both occur, as in R."""
    if isinstance(value, np.ndarray) and value.dtype == np.bool_:
        return Categorical(value.astype(np.intp), (False, True), logical=True)
    return value


def _check_levels(value: Finished, name: str, what: str) -> None:
    if not isinstance(value, Categorical):
        return
    if len(value.levels) < 2:
        raise DataError(f"{name!r} in the {what} has only one category ({value.levels[0]!r}) in these data; "
                        "leave it out of the formula")  # fmt: skip
    if len({level_name(level) for level in value.levels}) < len(value.levels):
        raise DataError(f"{name!r} in the {what} has different categories that are written the same; rename them")
    if value.contrast == "contr.poly" and len(value.levels) > MAX_POLY_LEVELS:
        count = len(value.levels)
        raise DataError(f"the ordered factor {name!r} in the {what} has {count} categories, too many for "
                        "polynomial contrasts; make it numeric or unordered")  # fmt: skip


def _matched(value: Finished, levels: tuple[Any, ...] | None, name: str, what: str) -> Finished:
    """Recode a factor of new data to the categories of the first data."""
    if isinstance(value, Categorical) != (levels is not None):
        now, before = ("numeric", "categorical") if levels is not None else ("categorical", "numeric")
        raise DataError(f"{name!r} in the {what} is {now} here and was {before} in the data of the fit")
    if not isinstance(value, Categorical) or levels is None or value.levels == levels:
        return value
    position = {level: k for k, level in enumerate(levels)}
    unseen = [level for level in value.levels if level not in position]
    if unseen:
        raise DataError(
            f"{name!r} in the {what} has the unseen category {unseen[0]!r}"
            f"{f' and {len(unseen) - 1} more' if unseen[1:] else ''}; the data of the fit have "
            f"{shortened(map(repr, levels))}"
        )
    codes = np.array([position[level] for level in value.levels], dtype=np.intp)[value.codes]
    return Categorical(codes, levels, value.contrast, value.logical)


def _drawn(value: Finished, n: int, rng: np.random.Generator) -> Finished:
    """Draw n rows of a factor: any of its categories, or numbers in place of numbers."""
    if isinstance(value, Categorical):
        return replace(value, codes=rng.integers(len(value.levels), size=n))
    if isinstance(value, NamedColumns):
        return NamedColumns({key: rng.normal(size=n) for key in value.parts})
    return rng.normal(size=n)
