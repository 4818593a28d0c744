"""Algebra of terms: what ``+ - * / : ^`` mean between the terms of a formula (R's ``terms()``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..errors import FormulaError
from .syntax import tree_of
from .tokens import problem
from .tree import Binary, Call, Constant, Expression, Group, Name, Node, Sum, children

MAX_TERMS = 10_000

_Indices = tuple[int, ...]


@dataclass(frozen=True)
class TermList:
    """The terms of a right side.

    Attributes
    ----------
    intercept : bool
        Whether there is an intercept.
    factors : tuple of Node
        The distinct variables or calls, in order of appearance.
    terms : tuple of tuple of int
        Each term as the increasing positions of its factors in `factors`; by degree, then as written.
    """

    intercept: bool
    factors: tuple[Node, ...]
    terms: tuple[_Indices, ...]

    def text(self, term: _Indices) -> str:
        """One term as formula text, e.g. ``"a:b"``."""
        return ":".join(self.factors[i].text for i in term)


def label(factor: Node) -> str:
    """Name of a factor in coefficient names; a column has backticks only where it could be misread."""
    if isinstance(factor, Name) and factor.id == "Intercept":
        return "`Intercept`"
    if isinstance(factor, Name) and re.fullmatch(r"(?=.*[^\W\d])[\w. ]+", factor.id):
        return factor.id
    return factor.text


def product(factors: Sequence[Node]) -> Node:
    """Term of one or several factors, ``a:b``; halves, so that many are not nested deeply."""
    half = len(factors) // 2
    return Binary(":", product(factors[:half]), product(factors[half:])) if half else factors[0]


@lru_cache(maxsize=128)
def expand(node: Node, text: str = "") -> TermList:
    """Work out the terms of a right side as R's ``terms()`` does.

    Parameters
    ----------
    node : Node
        The tree of the right side, without bars and offsets.
    text : str, optional
        The formula, for messages; that of the tree by default.

    Raises
    ------
    FormulaError
        For numbers other than 0 and 1, comparisons, offsets or bars among the terms, or too many terms.
    """
    algebra = _Algebra(node, text)
    intercept = True
    terms: dict[_Indices, None] = {}
    for sign, item in flatten(node):
        if isinstance(item, Constant):
            algebra.check_number(item)
            intercept = (item.value == 1) == (sign > 0)
            continue
        own = algebra.terms(item)
        if sign > 0:
            terms.update(dict.fromkeys(own))
        else:
            _take_away(terms, own)
    return TermList(intercept, tuple(algebra.factors), tuple(sorted(terms, key=len)))


def idle_powers(rhs: Expression) -> list[str]:
    """Powers of single columns among the terms of a formula: R reads x^2 as x crossed with x, which is x.

    Examples
    --------
    >>> idle_powers("x + z^2 + I(x^2) + (x + z)^2")
    ['z^2']
    """
    powers, waiting = [], [tree_of(rhs)]
    while waiting:
        node = waiting.pop()
        match node:
            case Binary("^", Name() | Call(), Constant(_, value)) if value != 1:
                powers.append(node.text)
            case Group() | Sum() | Binary():
                waiting.extend(children(node))
    return powers


def flatten(node: Node, sign: int = 1) -> list[tuple[int, Node]]:
    """The signed items of a sum, sums in parentheses opened."""
    if isinstance(node, Group) and isinstance(node.inner, Sum | Group | Constant):
        return flatten(node.inner, sign)
    if isinstance(node, Sum):
        return [pair for s, item in node.items for pair in flatten(item, s * sign)]
    return [(sign, node)]


class _Algebra:
    """Terms as sets of positions in a growing list of factors."""

    def __init__(self, whole: Node, text: str) -> None:
        self.whole, self.text = whole, text
        self.factors: list[Node] = []
        self.positions: dict[str, int] = {}

    def problem(self, message: str) -> FormulaError:
        return problem(self.text or self.whole.text, message)

    def terms(self, node: Node) -> list[_Indices]:
        match node:
            case Call(func="offset"):
                raise self.problem(f"{node.text} can only be added to the fixed part as a whole")
            case Name() | Call():
                return [(self.position(node),)]
            case Group(inner):
                return self.terms(inner)
            case Sum(items):
                return self.sum(items)
            case Binary("^", left, Constant(_, value)):
                return self.power(self.terms(left), value, node)
            case Binary(":" | "*" | "/" as op, left, right):
                return self.product(op, self.terms(left), self.terms(right))
            case _:
                raise self.problem(self.refuse(node))

    def position(self, factor: Node) -> int:
        key = factor.text
        if key not in self.positions:
            self.positions[key] = len(self.factors)
            self.factors.append(factor)
        return self.positions[key]

    def sum(self, items: tuple[tuple[int, Node], ...]) -> list[_Indices]:
        if items[0][0] < 0:
            raise self.problem(f"{items[0][1].text} is taken away from nothing; write arithmetic inside I()")
        terms: dict[_Indices, None] = {}
        for sign, item in items:
            own = self.terms(item)
            if sign > 0:
                terms.update(dict.fromkeys(own))
            else:
                _take_away(terms, own)
        return list(terms)

    def product(self, op: str, left: list[_Indices], right: list[_Indices]) -> list[_Indices]:
        self.check_size(len(left) * len(right))
        if op == "/":
            whole = _union(*left)
            return list(dict.fromkeys([*left, *(_union(whole, term) for term in right)]))
        crossed = [_union(a, b) for a in left for b in right]
        return list(dict.fromkeys([*left, *right, *crossed] if op == "*" else crossed))

    def power(self, base: list[_Indices], exponent: object, node: Node) -> list[_Indices]:
        if not isinstance(exponent, float) or exponent < 1 or exponent != int(min(exponent, 1e9)):
            raise self.problem(f"the power in {node.text} must be a whole number of at least 1; "
                          f"for arithmetic write I({node.text})")  # fmt: skip
        terms = base
        # more rounds than factors add nothing new
        for _ in range(min(int(exponent), len(self.factors)) - 1):
            self.check_size(len(terms) * len(base))
            terms = list(dict.fromkeys(_union(a, b) for a in terms for b in base))
        return terms

    def check_size(self, count: int) -> None:
        if count > MAX_TERMS:
            raise self.problem(f"it expands to more than {MAX_TERMS} terms")

    def check_number(self, item: Constant) -> None:
        if isinstance(item.value, bool | str) or item.value not in (0, 1):
            raise self.problem(self.refuse(item))

    def refuse(self, node: Node) -> str:
        shown = node.text
        match node:
            case Constant(_, value) if not isinstance(value, bool | str) and value in (0, 1):
                return f"{shown} (intercept or none) can only be added or taken away, not multiplied"
            case Constant():
                return f"{shown} is not a term: only 0 and 1 are (no intercept, intercept); " \
                    "write arithmetic inside I(), e.g. I(x/10)"  # fmt: skip
            case Binary("|" | "||"):
                return f"the random term ({shown}) can only be added to the fixed part, and holds no other"
            case Binary("%in%", left, right):
                return f"write {right.text}:{left.text} for {shown}"
            case Binary("^", _, _):
                return f"the power in {shown} must be a whole number; for arithmetic write I({shown})"
            case Binary(op, left, right) if any("|" in side.text for side in (left, right)):
                return f"{op} reaches over '+' to the random terms; a logical column stands in I(), as in I(x {op} 3)"
            case _:
                return f"{shown} is not a term; for a logical column write I({shown})"


def _take_away(terms: dict[_Indices, None], taken: list[_Indices]) -> None:
    for term in taken:
        terms.pop(term, None)


def _union(*terms: _Indices) -> _Indices:
    return tuple(sorted(set().union(*terms)))
