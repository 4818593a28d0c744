"""Columns of a model as functions of arrays: formula expressions in JAX, for every replication at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..design.evaluate import Evaluator
from ..design.functions import ARITHMETIC, FUNCTIONS
from ..design.model_matrix import MatrixSpec, Piece
from ..design.syntax import CATEGORICAL
from ..design.tree import Binary, Call, Constant, Group, Name, Node, Sum, columns_in
from ..errors import SimulationError
from ..simulation.design import MultilevelDesign, highest

REFUSAL = (
    "{!r} cannot be evaluated for all replications at once: models of batched methods are made of numeric columns, "
    "categories (covariates with levels; factor() of an index or of zeros and ones), products, arithmetic inside I(), "
    "and functions such as log, exp and sqrt; analyse such a model by a function of yours on data frames."
)


@dataclass(frozen=True)
class Coded:
    """A category as a number: what each value of a column stands for; any other value is 0."""

    column: str
    weights: tuple[tuple[float, float], ...]  # pairs of value and number


Product = tuple[Node | Coded, ...]
Categories = Mapping[str, Mapping[object, float]]  # of columns with few values: what arrays hold for each level


def check_expression(node: Node) -> None:
    """Raise a SimulationError for what has no counterpart on arrays: scale, poly, categories, comparisons."""
    match node:
        case Name():
            return None
        case Constant(_, value) if isinstance(value, (int, float)) and not isinstance(value, bool):
            return None
        case Group(inner):
            return check_expression(inner)
        case Sum(items):
            for _, item in items:
                check_expression(item)
            return None
        case Binary(op, left, right) if op in ARITHMETIC:
            check_expression(left)
            return check_expression(right)
        case Call(func, args, named) if FUNCTIONS[func].elementwise:
            for argument in (*args, *(value for _, value in named)):
                check_expression(argument)
            return None
    raise SimulationError(REFUSAL.format(node.text))


def categories_of(design: MultilevelDesign) -> Categories:
    """Values of the covariates that have few: places of levels, 0 and 1, numbers of rows in a cell."""
    found: dict[str, Mapping[object, float]] = {}
    for covariate in design.covariates:
        if covariate.levels:
            found[covariate.name] = {level: float(place) for place, level in enumerate(covariate.levels)}
        elif covariate.kind != "normal":
            found[covariate.name] = {
                float(k): float(k) for k in range(highest(design.size) if covariate.kind == "index" else 2)
            }
    return found


def array_products(spec: MatrixSpec, categories: Categories) -> tuple[Product, ...]:
    """What each column of a model matrix is a product of, on arrays; a SimulationError if it is of nothing there."""
    return tuple(tuple(_factor(piece, categories) for piece in pieces) for pieces in spec.pieces())


def _factor(piece: Piece, categories: Categories) -> Node | Coded:
    if piece.levels is None:
        if piece.selector is None:
            check_expression(piece.node)
            return piece.node
        raise SimulationError(REFUSAL.format(piece.node.text))
    column = _category(piece.node)
    if column is None or column not in categories:
        raise SimulationError(REFUSAL.format(piece.node.text))
    values = categories[column]
    lacking = [level for level in values if level not in piece.levels]
    if lacking:
        raise SimulationError(
            f"Level {lacking[0]!r} of {column!r} has no rows in any data set drawn to read the model: give it a "
            "larger probability, or the design more rows."
        )
    place = piece.selector
    weights = place if isinstance(place, np.ndarray) else [float(k == place) for k in range(len(piece.levels))]
    pairs = zip(piece.levels, weights, strict=True)
    return Coded(column, tuple((values[level], float(weight)) for level, weight in pairs if weight))


def _category(node: Node) -> str | None:
    """The column that an expression takes as a category."""
    match node:
        case Name(name):
            return name
        case Call(func, (argument, *_), _) if func in CATEGORICAL:
            return _category(argument)
    return None


def product_names(products: tuple[Product, ...]) -> tuple[str, ...]:
    """Columns that products are made of."""
    named = [
        name
        for product in products
        for node in product
        for name in ((node.column,) if isinstance(node, Coded) else columns_in(node))
    ]
    return tuple(dict.fromkeys(named))


def evaluate_expression(node: Node | Coded, columns: Mapping[str, jax.Array]) -> Any:
    """Evaluate a checked expression on the columns (n,) of one data set; constants stay Python numbers.

    Examples
    --------
    >>> from remlax.design.syntax import parse
    >>> evaluate_expression(parse("x^2 + 1", arithmetic=True), {"x": jnp.array([1.0, 3.0])}).tolist()
    [2.0, 10.0]
    """
    if isinstance(node, Coded):
        own = columns[node.column]
        return sum(weight * (own == value).astype(own.dtype) for value, weight in node.weights)
    return Evaluator(columns).value(node)


def product_columns(products: tuple[Product, ...], columns: Mapping[str, jax.Array], like: jax.Array) -> jax.Array:
    """Columns (n, k), each the product of its expressions; ``like`` (n,) gives the rows of an intercept."""
    out = []
    for product in products:
        column = jnp.ones_like(like)
        for node in product:
            column = column * evaluate_expression(node, columns)
        out.append(column)
    return jnp.stack(out, axis=1) if out else jnp.zeros((*like.shape, 0), like.dtype)
