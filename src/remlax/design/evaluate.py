"""What an expression is worth on a data frame: only columns and listed functions, by walking the tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError, FormulaError
from .columns import read_column
from .rcalls import (
    FUNCTIONS,
    Array,
    CallError,
    Categorical,
    Columns,
    State,
    Value,
    level_name,
    numeric,
)
from .syntax import (
    Binary,
    Call,
    Constant,
    Group,
    Name,
    Node,
    Not,
    Sum,
    columns_in,
    deparse,
    parse,
)  # fmt: skip

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "*": np.multiply, "/": np.divide, "^": np.power, "%%": np.mod, "%/%": np.floor_divide,
}  # fmt: skip
_COMPARISON: dict[str, Callable[[Any, Any], Any]] = {
    "==": np.equal, "!=": np.not_equal, "<": np.less, ">": np.greater,
    "<=": np.less_equal, ">=": np.greater_equal,
}  # fmt: skip
_LOGICAL: dict[str, Callable[[Any, Any], Any]] = {"&": np.logical_and, "|": np.logical_or}


def evaluate(expr: str, frame: pd.DataFrame, *, what: str = "response") -> NDArray[np.float64]:
    """Evaluate a response, offset or weights expression.

    Parameters
    ----------
    expr : str
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
    node = parse(expr, arithmetic=True)
    value = Evaluator(frame, {}, what).term(node)
    if isinstance(value, Categorical):
        raise FormulaError(f"the {what} {deparse(node)!r} is categorical; it must be numeric")
    if isinstance(value, Columns):
        raise FormulaError(f"the {what} {deparse(node)!r} makes {len(value.parts)} columns; it must be one")
    return np.array(numeric(value), dtype=np.float64)  # a copy: the caller's frame stays its own


class Evaluator:
    """Values of expressions on one frame.

    Parameters
    ----------
    frame : DataFrame
        The data.
    states : dict
        What stateful functions have learnt, by the text of the call; filled where empty, obeyed otherwise.
    what : str
        Which part of the model this is, for messages.
    """

    def __init__(self, frame: pd.DataFrame, states: dict[str, State], what: str) -> None:
        self.frame, self.states, self.what = frame, states, what
        self.known: dict[str, Value] = {}

    def term(self, node: Node) -> Array | Categorical | Columns:
        """Evaluate a whole factor of the model: a column, categories or several columns; all finite."""
        with np.errstate(all="ignore"):  # non-finite results are reported below, by name
            value = self.value(node)
        if not isinstance(value, np.ndarray | Categorical | Columns):
            raise FormulaError(f"{deparse(node)!r} in the {self.what} is a constant; it must use a column")
        for part in value.parts.values() if isinstance(value, Columns) else [value]:
            if isinstance(part, np.ndarray) and not np.isfinite(part).all():
                raise self.not_finite(node, part)
        return value

    def not_finite(self, node: Node, values: Array) -> DataError:
        """Build the error that says where `values` are not finite, and from what."""
        bad = np.flatnonzero(~np.isfinite(values))
        where = ""
        for name in columns_in(node):
            column = read_column(self.frame, name, self.what)
            if isinstance(column, np.ndarray):
                where = f", where {name} = {column[bad[0]]}"
                break
        return DataError(
            f"{deparse(node)!r} in the {self.what} is not finite in {bad.size} of {values.size} rows "
            f"(the first is row {self.frame.index[bad[0]]!r}{where})"
        )

    def value(self, node: Node) -> Value:
        """Evaluate any piece of an expression."""
        match node:
            case Constant(text, value):
                if text == "pi" and "pi" in self.frame.columns:
                    raise FormulaError(f"'pi' in the {self.what} is a number here and also a column; "
                                       "write `pi` in backticks for the column")  # fmt: skip
                return value
            case Group(inner):
                return self.value(inner)
            case Name() | Call():
                key = deparse(node)
                if key not in self.known:
                    self.known[key] = (
                        read_column(self.frame, node.id, self.what) if isinstance(node, Name) else self.call(node)
                    )
                return self.known[key]
            case Sum() | Not() | Binary():
                return self.attempt(node, lambda: self.operation(node))

    def call(self, node: Call) -> Value:
        function = FUNCTIONS[node.func]
        args = [self.value(arg) for arg in node.args]
        named = {key: self.value(arg) for key, arg in node.named}
        if function.stateful:
            state = self.states.setdefault(deparse(node), {})
            return self.attempt(node, lambda: function.call(state, *args, **named))
        return self.attempt(node, lambda: function.call(*args, **named))

    def attempt(self, node: Node, compute: Callable[[], Value]) -> Value:
        try:
            return compute()
        except CallError as error:
            raise FormulaError(f"{deparse(node)!r} in the {self.what}: {error}") from None

    def operation(self, node: Sum | Not | Binary) -> Value:
        match node:
            case Sum(items):
                sign, first = items[0]
                total = sign * numeric(self.value(first))
                for sign, item in items[1:]:
                    part = numeric(self.value(item))
                    total = total + part if sign > 0 else total - part
                return total
            case Not(inner):
                return np.logical_not(numeric(self.value(inner)))
        return _binary(node.op, self.value(node.left), self.value(node.right))


def _binary(op: str, left: Value, right: Value) -> Value:
    result: Value
    if op in _COMPARISON and (isinstance(left, Categorical | str) or isinstance(right, Categorical | str)):
        if op not in ("==", "!="):
            raise CallError(f"categories can be compared with == and !=, not with {op}")
        result = _COMPARISON[op](_names(left), _names(right))
    else:
        table = _ARITHMETIC if op in _ARITHMETIC else _COMPARISON if op in _COMPARISON else _LOGICAL
        result = table[op](numeric(left), numeric(right))
    return result


def _names(value: Value) -> Any:
    if isinstance(value, Categorical):
        return np.array([level_name(level) for level in value.levels], dtype=object)[value.codes]
    if isinstance(value, str | bool | int | float):
        return level_name(value)
    raise CallError("categories can be compared with categories and with literals only")
