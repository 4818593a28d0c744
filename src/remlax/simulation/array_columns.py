"""Columns of a model as functions of arrays: formula expressions in JAX, for every replication at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ..design.syntax import Binary, Call, Constant, Group, Name, Node, Sum, deparse
from ..errors import SimulationError

_FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "I": lambda x: x,
    "as.numeric": lambda x: x,
    **{
        prefix + name: getattr(jnp, name)
        for prefix in ("", "np.")
        for name in ("exp", "log", "log2", "log10", "log1p", "expm1", "sqrt", "abs", "sin", "cos", "tan", "tanh")
    },
}
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": lambda a, b: a**b,
}

Product = tuple[Node, ...]


def check_expression(node: Node) -> None:
    """Refuse an expression that has no counterpart on arrays.

    Raises
    ------
    SimulationError
        It uses a function that learns from the data (such as scale or poly), a category or a comparison.
    """
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
        case Binary(op, left, right) if op in _OPERATORS:
            check_expression(left)
            return check_expression(right)
        case Call(func, (argument,), ()) if func in _FUNCTIONS:
            return check_expression(argument)
    raise SimulationError(
        f"{deparse(node)!r} cannot be evaluated for all replications at once: models of batched methods are made of "
        "numeric columns, their products, arithmetic inside I(), and functions such as log, exp and sqrt; analyse such "
        "a model by a function of yours on data frames."
    )


def evaluate_expression(node: Node, columns: Mapping[str, jax.Array]) -> Any:
    """Evaluate a checked expression on the columns (n,) of one data set; constants stay Python numbers.

    Examples
    --------
    >>> from remlax.design.syntax import parse
    >>> evaluate_expression(parse("x^2 + 1", arithmetic=True), {"x": jnp.array([1.0, 3.0])}).tolist()
    [2.0, 10.0]
    """
    match node:
        case Name(name):
            return columns[name]
        case Constant(_, value):
            return value
        case Group(inner):
            return evaluate_expression(inner, columns)
        case Sum(items):
            total: Any = 0.0
            for sign, item in items:
                total = total + sign * evaluate_expression(item, columns)
            return total
        case Binary(op, left, right):
            return _OPERATORS[op](evaluate_expression(left, columns), evaluate_expression(right, columns))
        case Call(func, (argument,), _):
            return _FUNCTIONS[func](evaluate_expression(argument, columns))
    raise AssertionError(f"{node!r} was not checked")


def product_columns(products: tuple[Product, ...], columns: Mapping[str, jax.Array], like: jax.Array) -> jax.Array:
    """Columns (n, k), each the product of its expressions; ``like`` (n,) gives the rows of an intercept."""
    out = []
    for product in products:
        column = jnp.ones_like(like)
        for node in product:
            column = column * evaluate_expression(node, columns)
        out.append(column)
    return jnp.stack(out, axis=1) if out else jnp.zeros((*like.shape, 0), like.dtype)
