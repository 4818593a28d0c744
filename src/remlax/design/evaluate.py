"""Evaluator of expressions, by walking the tree: only columns and listed functions, on data frames or on arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError, FormulaError
from .columns import read_column
from .functions import FUNCTIONS, Array, CallError, Categorical, NamedColumns, State, Value, binary, negation, numeric
from .response import RESPONSES, ResponseLevels, response_values
from .syntax import tree_of
from .tree import Binary, Call, Constant, Expression, Group, Name, Node, Not, Sum, columns_in


def evaluate(expr: Expression, frame: pd.DataFrame, *, what: str = "response") -> NDArray[np.float64]:
    """Evaluate a response, offset or weights expression.

    Parameters
    ----------
    expr : str or Node
        Arithmetic over columns and functions, with R's meaning: ``"y"``, ``"log(y)"``, ``"y/10"``.
    frame : DataFrame
        The data, n rows, complete in the columns used.
    what : str, default "response"
        What the numbers are for; used in messages.

    Returns
    -------
    ndarray (n,)
        float64; truth values count as 0 and 1.

    Raises
    ------
    FormulaError
        If `expr` cannot be read, names something that is not there, or is categorical or constant.
    DataError
        For missing cells and for values that are not finite.

    Examples
    --------
    >>> evaluate("log(y)/2", pd.DataFrame({"y": [1.0, np.exp(4)]}))
    array([0., 2.])
    """
    node = tree_of(expr, arithmetic=True)
    value = FrameEvaluator(frame, {}, what).term(node)
    if isinstance(value, Categorical):
        raise FormulaError(f"the {what} {node.text!r} is categorical; it must be numeric")
    if isinstance(value, NamedColumns):
        raise FormulaError(f"the {what} {node.text!r} makes {len(value.parts)} columns; it must be one")
    return np.array(numeric(value), dtype=np.float64)  # a copy: the caller's frame stays its own


def evaluate_response(node: Node, frame: pd.DataFrame) -> tuple[np.ndarray, ResponseLevels | None]:
    """Evaluate the response of a generalised linear mixed model, which may be categories or counts.

    Parameters
    ----------
    node : Node
        Left side of a formula.
    frame : DataFrame
        The data, n rows, complete in the columns used.

    Returns
    -------
    values : ndarray (n,) or (n, 2)
        Numbers, codes of categories, or successes and failures.
    levels : ResponseLevels or None
        Of categories.

    Raises
    ------
    FormulaError
        The response is constant by its formula, or calls a function wrongly.
    DataError
        Missing cells, or values that are not finite.
    """
    return response_values(FrameEvaluator(frame, {}, "response").term(node))


class Evaluator:
    """Values of expressions; where names stand for arrays of JAX, so do the values.

    Parameters
    ----------
    columns : mapping of str to array
        What names stand for.
    states : dict
        What stateful functions have learnt, by the text of the call; filled where empty, obeyed otherwise.
    what : str
        Which part of the model this is, for messages.

    Examples
    --------
    >>> from remlax.design.syntax import parse
    >>> Evaluator({"x": np.array([1.0, 3.0])}).value(parse("x^2 + 1", arithmetic=True)).tolist()
    [2.0, 10.0]
    """

    def __init__(
        self, columns: Mapping[str, Array | jax.Array], states: dict[str, State] | None = None, what: str = "model"
    ) -> None:
        self.columns, self.states, self.what = columns, {} if states is None else states, what
        self.known: dict[str, Value] = {}

    def value(self, node: Node) -> Any:
        """Evaluate any piece of an expression."""
        match node:
            case Constant():
                return self.constant(node)
            case Group(inner):
                return self.value(inner)
            case Name() | Call():
                key = node.text
                if key not in self.known:
                    self.known[key] = self.column(node.id) if isinstance(node, Name) else self.call(node)
                return self.known[key]
            case Sum() | Not() | Binary():
                return self.attempt(node, lambda: self.operation(node))

    def constant(self, node: Constant) -> Value:
        """Evaluate a literal."""
        return node.value

    def column(self, name: str) -> Value:
        """Look up what a name stands for."""
        return self.columns[name]

    def call(self, node: Call) -> Value:
        """Call a function on the values of its arguments."""
        function = FUNCTIONS.get(node.func) or RESPONSES[node.func]
        args = [self.value(arg) for arg in node.args]
        named = {key: self.value(arg) for key, arg in node.named}
        if function.stateful:
            args.insert(0, self.states.setdefault(node.text, {}))
        return self.attempt(node, lambda: function.call(*args, **named))

    def attempt(self, node: Node, compute: Callable[[], Value]) -> Value:
        """Compute, and say in which piece what cannot be computed stands; numbers stay Python's."""
        try:
            value = compute()
        except CallError as error:
            raise FormulaError(f"{node.text!r} in the {self.what}: {error}") from None
        return value.item() if isinstance(value, np.generic) else value

    def operation(self, node: Sum | Not | Binary) -> Value:
        """Apply an operator."""
        match node:
            case Sum(items):
                sign, first = items[0]
                total: Value = sign * numeric(self.value(first))
                for sign, item in items[1:]:
                    part = numeric(self.value(item))
                    total = total + part if sign > 0 else total - part
                return total
            case Not(inner):
                return negation(self.value(inner))
        return binary(node.op, self.value(node.left), self.value(node.right))


class FrameEvaluator(Evaluator):
    """Values of expressions on a data frame, complete in the columns used; see `Evaluator`."""

    def __init__(self, frame: pd.DataFrame, states: dict[str, State], what: str) -> None:
        super().__init__({}, states, what)
        self.frame = frame

    def constant(self, node: Constant) -> Value:
        """Evaluate a literal."""
        if node.text == "pi" and "pi" in self.frame.columns:
            raise FormulaError(f"'pi' in the {self.what} is a number here and also a column; "
                               "write `pi` in backticks for the column")  # fmt: skip
        return node.value

    def column(self, name: str) -> Value:
        """Read a column."""
        return read_column(self.frame, name, self.what)

    def term(self, node: Node) -> Array | Categorical | NamedColumns:
        """Evaluate a whole factor of the model: a column, categories or several columns; all finite."""
        if isinstance(node, Name):
            return read_column(self.frame, node.id, self.what)  # which looks
        with np.errstate(all="ignore"):  # non-finite results are reported below, by name
            value = self.value(node)
        if not isinstance(value, np.ndarray | Categorical | NamedColumns):
            raise FormulaError(f"{node.text!r} in the {self.what} is a constant; it must use a column")
        for part in value.parts.values() if isinstance(value, NamedColumns) else [value]:
            if isinstance(part, np.ndarray) and not np.isfinite(part).all():
                raise self.not_finite(node, part)
        return value

    def not_finite(self, node: Node, values: Array) -> DataError:
        """Build the error that says where `values` are not finite, and from what."""
        bad = np.flatnonzero(~np.isfinite(values))
        where = ""
        for name in columns_in(node):
            column = self.column(name)
            if isinstance(column, np.ndarray):
                where = f", where {name} = {column[bad[0]]}"
                break
        return DataError(
            f"{node.text!r} in the {self.what} is not finite in {bad.size} of {values.size} rows "
            f"(the first is row {self.frame.index[bad[0]]!r}{where})"
        )
