"""A formula made ready for arrays: evaluated once, on a template data set, for all replications of a design."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from ..data import ImputedData
from ..design.build import ModelRows, needed_columns, read_rows, require_model_columns
from ..design.formula import parse_formula
from ..design.rows import RowMatrix
from ..design.syntax import variables
from ..design.tree import Call, Node
from ..engine.conditioning import ALIASED_PIVOT, aliased_columns
from ..engine.pairs import Meetings
from ..engine.programs import float64
from ..engine.shapes import host_leaf
from ..errors import SimulationError
from ..fitting.assemble import z_columns
from ..fitting.checks import check_groups
from ..fitting.layout import Layout, make_layout
from ..fitting.units import centring, mean_squares, turned
from ..kernels.cross_products import Table
from ..kernels.problem import Structure
from ..kernels.row_products import RowLayout
from ..simulation.design import MultilevelDesign, highest
from ..simulation.generate import CHUNK, frames, generate_batch
from ..simulation.keys import NO_SCENARIO, Stream, keys
from .array_columns import (
    Categories,
    Product,
    array_products,
    categories_of,
    check_expression,
    evaluate_expression,
    product_columns,
)
from .crossed_rows import CrossedGroups

AGREEMENT = 1e-10  # of columns evaluated on arrays with those evaluated on the template


class ModelShape(NamedTuple):
    """What the fits depend on, apart from the rows.

    structure: shape of the model; pairs: for each variance parameter but the residual SD its factor and two columns in
    the factor's block (equal for an SD); constants: per factor and column of Z the column of ones of its term, -1 for
    none; n_cells: of crossed factors, as in `Meetings`.
    """

    structure: Structure
    pairs: tuple[tuple[int, int, int], ...]
    constants: tuple[tuple[int, ...], ...]
    n_cells: tuple[int, ...] = ()


@dataclass(frozen=True)
class ArrayModel:
    """What compiled code depends on; hashable.

    Attributes
    ----------
    names
        Names of the p coefficients.
    parameters
        Names of the variance parameters: per term SDs, then correlations; the residual SD last.
    response, offsets
        Expressions of the response and of what is subtracted from it.
    fixed, constants
        Columns of X, and for each of them the column of ones, -1 for none.
    random
        Columns of Z per factor, in elimination order.
    shape, layout
        Shape of the model and of its rows.
    columns
        Columns of the data that the model reads, without grouping factors.
    """

    names: tuple[str, ...]
    parameters: tuple[str, ...]
    response: Node
    offsets: tuple[Node, ...]
    fixed: tuple[Product, ...]
    constants: tuple[int, ...]
    random: tuple[tuple[Product, ...], ...]
    shape: ModelShape
    layout: RowLayout
    columns: tuple[str, ...]

    def response_of(self, columns: Mapping[str, jax.Array]) -> jax.Array:
        """(n,) response of one data set, offsets taken off."""
        y: jax.Array = evaluate_expression(self.response, columns)
        for offset in self.offsets:
            y = y - evaluate_expression(offset, columns)
        return y

    def fixed_of(self, columns: Mapping[str, jax.Array]) -> jax.Array:
        """(n, p) columns of X of one data set."""
        return product_columns(self.fixed, columns, self.response_of(columns))

    def random_of(self, columns: Mapping[str, jax.Array]) -> tuple[jax.Array, ...]:
        """(n, q) columns of Z per factor of one data set."""
        y = self.response_of(columns)
        return tuple(product_columns(products, columns, y) for products in self.random)


class Groups(NamedTuple):
    """Which row belongs to which level: codes (n,) per table, and the index of `Nested` or `CrossedGroups`."""

    codes: tuple[jax.Array, ...]
    levels: tuple[tuple[jax.Array, ...], ...] | CrossedGroups


def read_model(design: MultilevelDesign, formula: str, *, reml: bool) -> tuple[ArrayModel, Groups]:
    """Evaluate a formula on one data set of a design, and keep what all data sets share.

    Returns what compiled code depends on, and the arrays that all replications share. The model: numeric columns,
    covariates with levels, products and elementwise functions; grouping factors nested or crossed.

    Raises
    ------
    SimulationError
        The formula uses what has no counterpart on arrays, or grouping factors that are drawn.
    RemlaxError
        As of `remlax.lmer`: the formula cannot be read, or the model is not identified.
    """
    reading = read_template(design, formula, reml=reml)
    return reading.model, reading.groups


class Reading(NamedTuple):
    """A model with the groups that all data sets share, and the rows and the layout that they were read from."""

    model: ArrayModel
    groups: Groups
    rows: ModelRows
    layout: Layout


def read_template(design: MultilevelDesign, formula: str, *, reml: bool, any_response: bool = False) -> Reading:
    """Do what `read_model` does; with ``any_response`` for a generalised linear mixed model.

    Of ``cbind(successes, failures)`` the response is the successes.
    """
    parsed = parse_formula(formula, counts=any_response)
    frame = template(design)
    require_model_columns(parsed, frame)
    rows = read_rows(parsed, ImputedData.from_frames([frame]), any_response=any_response)
    check_groups(rows)
    _check_factors(design, rows)
    names = rows.fixed.names
    check_columns(names, rows.x)
    layout = make_layout(rows, reml=reml)
    structure, tables, groups, n_cells = _grouping(layout, len(names))
    parameters, pairs = _parameters(layout)
    categories = categories_of(design)
    grouping = {column for term in parsed.random for column in term.group}
    fixed = array_products(rows.fixed, categories)
    random, constants = _random(rows, layout, categories)
    model = ArrayModel(
        names=names,
        parameters=parameters,
        response=checked(counted(parsed.response_tree)[0]),
        offsets=tuple(checked(tree) for tree in parsed.offset_trees),
        fixed=fixed,
        constants=_constants(fixed, 0),
        random=random,
        shape=ModelShape(structure, pairs, constants, n_cells),
        layout=RowLayout(tables, tuple(map(_block, groups.codes, (table.size for table in tables)))),
        columns=tuple(name for name in needed_columns(parsed) if name not in grouping),
    )
    compare_columns(model, rows, z_columns(rows, layout, 0), frame)
    return Reading(model, groups, rows, layout)


def _grouping(layout: Layout, n_fixed: int) -> tuple[Structure, tuple[Table, ...], Groups, tuple[int, ...]]:
    """Structure and tables, of nested factors without padding, the groups, and the cells of crossed factors."""
    index = layout.index
    if isinstance(index, Meetings):
        codes = tuple(host_leaf(part) for part in layout.table_codes)
        structure = replace(layout.structure, n_fixed=n_fixed)
        return structure, layout.tables, Groups(codes, CrossedGroups.of(index)), index.n_cells
    exact = tuple(factor.n_levels for factor in layout.factors)
    structure = replace(layout.structure, n_levels=exact, n_fixed=n_fixed)
    tables = tuple(table._replace(size=size) for table, size in zip(layout.tables, exact, strict=True))
    ancestors = tuple(
        tuple(host_leaf(part[:size]) for part in of_factor) for of_factor, size in zip(index, exact, strict=True)
    )
    return structure, tables, Groups(tuple(host_leaf(f.codes) for f in layout.factors), ancestors), ()


def counted(response: Node) -> tuple[Node, ...]:
    """Successes and failures of a response of both; otherwise the response."""
    return response.args if isinstance(response, Call) and response.func == "cbind" else (response,)


def template(design: MultilevelDesign) -> pd.DataFrame:
    """One data set with all the rows that there can be."""
    full = replace(
        design,
        factors=[replace(factor, levels=highest(factor.levels)) for factor in design.factors],
        size=highest(design.size),
    )
    with float64():
        # as many as a study makes at a time: for fixed sizes this is the same compiled program
        data = generate_batch(keys(0, NO_SCENARIO, range(CHUNK), Stream.DATA), full)
        drawn = frames(data, full)
        first = next(drawn)
        categories = categories_of(full)
        # a rare level may have no rows in the first of them
        for frame in itertools.chain([first], drawn):
            if all(frame[name].nunique() == len(levels) for name, levels in categories.items()):
                return frame
    return first


def check_columns(names: Sequence[str], x: RowMatrix) -> None:
    """Refuse columns that are constant or a linear combination of others."""
    turn, noise = centring(x, mean_squares(x))
    aliased = aliased_columns((x if turn is None else turned(x, turn)).values, max(ALIASED_PIVOT, 100 * noise))
    if not aliased:
        return
    name, column = names[aliased[0]], x.columns()[aliased[0]]
    if np.ptp(column) == 0:
        raise SimulationError(
            f"The column {name!r} of the model has the same value in all rows of the design's data: leave it out, or "
            "let the design vary it."
        )
    raise SimulationError(f"The column {name!r} is a linear combination of other columns of the model: leave it out.")


def _check_factors(design: MultilevelDesign, rows: ModelRows) -> None:
    known = {factor.name: factor for factor in design.factors}
    sides = (rows.formula.fixed_tree, *(term.lhs_tree for term in rows.formula.random))
    for name in (name for side in sides for name in variables(side)):
        if name in known:
            raise SimulationError(
                f"The model has the grouping factor {name!r} among its variables, which batched methods do not know: "
                "analyse such a model by a function of yours that calls remlax.lmer."
            )
    for name in dict.fromkeys(column for term in rows.formula.random for column in term.group):
        if name not in known or known[name].assigned:
            raise SimulationError(
                f"The grouping column {name!r} of the model is not a factor of the design's layout, so that its levels "
                "differ between replications: analyse such a model by a function of yours that calls remlax.lmer."
            )


def checked(node: Node) -> Node:
    """Refuse an expression that has no counterpart on arrays."""
    check_expression(node)
    return node


def _random(
    rows: ModelRows, layout: Layout, categories: Categories
) -> tuple[tuple[tuple[Product, ...], ...], tuple[tuple[int, ...], ...]]:
    """Columns of Z per factor, its terms one after the other, and the column of ones of each one's term."""
    out, constants = [], []
    for f in range(len(layout.factors)):
        terms = sorted((term for term in layout.terms if term.factor == f), key=lambda term: term.start)
        each = [array_products(rows.term_specs[term.source], categories) for term in terms]
        out.append(tuple(p for products in each for p in products))
        parts = [_constants(products, term.start) for term, products in zip(terms, each, strict=True)]
        constants.append(tuple(place for part in parts for place in part))
    return tuple(out), tuple(constants)


def _constants(products: tuple[Product, ...], start: int) -> tuple[int, ...]:
    """Place of the column of ones that each column could be centred by, counted from ``start``; -1 for none."""
    one = next((i for i, product in enumerate(products) if not product), None)
    return tuple(-1 if one is None or i == one else start + one for i in range(len(products)))


def _parameters(layout: Layout) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """Names and places of the variance parameters, in the order of ``varcorr()``."""
    names, pairs = [], []
    for term in layout.terms:
        for i in range(term.q):
            names.append(f"sd__{term.names[i]}|{term.group}")
            pairs.append((term.factor, term.start + i, term.start + i))
        for i, j in combinations(range(term.q), 2):
            names.append(f"cor__{term.names[i]}.{term.names[j]}|{term.group}")
            pairs.append((term.factor, term.start + i, term.start + j))
    return (*names, "sigma"), tuple(pairs)


def _block(codes: Any, levels: int) -> int:
    """Rows of every level if these stand together, level by level, and are equally many; else 0."""
    each = len(codes) // levels
    return each if np.array_equal(codes, np.repeat(np.arange(levels), each)) else 0


def numbers(column: pd.Series) -> np.ndarray:
    """A column as it is on arrays."""
    values = column.cat.codes if isinstance(column.dtype, pd.CategoricalDtype) else column
    return values.to_numpy(dtype=np.float64)


def compare_columns(model: ArrayModel, rows: ModelRows, z: Sequence[np.ndarray], frame: pd.DataFrame) -> None:
    """Refuse a model whose columns on arrays are not those on the template."""
    with float64():
        arrays = {name: jax.numpy.asarray(numbers(frame[name])) for name in model.columns}
        found = [model.fixed_of(arrays), *model.random_of(arrays)]
        y = np.asarray(model.response_of(arrays))
    offset = 0.0 if rows.offset is None else rows.offset.values
    own = rows.y.values.reshape(len(y), -1)[:, 0] - offset
    known = [rows.x.values, *z, own[:, None]]
    for ours, theirs in zip([*map(np.asarray, found), y[:, None]], known, strict=True):
        if not np.allclose(ours, theirs, rtol=AGREEMENT, atol=AGREEMENT):
            raise SimulationError(
                f"The model {rows.formula.text!r} cannot be evaluated for all replications at once: analyse it by a "
                "function of yours on data frames."
            )
