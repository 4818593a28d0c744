"""Pieces of formulas: the closed tree that a formula is read into, and its text.

A formula is made of these and of nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TypeAlias

from .tokens import is_syntactic

SPACED = frozenset(("*", "|", "||", "&", "&&", "==", "!=", "<", ">", "<=", ">=", "%in%"))


def deparse(node: Node) -> str:
    """Write `node` as R would print it; reading the text again gives `node`. What has been written is its ``text``."""
    match node:
        case Name(name):
            return name if is_syntactic(name) else f"`{name}`"
        case Constant(text, _):
            return text
        case Group(inner):
            return f"({inner.text})"
        case Not(inner):
            return f"!{inner.text}"
        case Sum(items):
            text = "".join((" + " if sign > 0 else " - ") + item.text for sign, item in items)
            return text[3:] if items[0][0] > 0 else "-" + text[3:]
        case Binary(op, left, right):
            return f"{left.text}{f' {op} ' if op in SPACED else op}{right.text}"
        case Call(func, args, named):
            parts = [arg.text for arg in args] + [f"{key}={value.text}" for key, value in named]
            return f"{func}({', '.join(parts)})"


class _Piece:
    """What all pieces but constants are: written once, and equal where they read the same."""

    text = cached_property(deparse)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Piece) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


@dataclass(frozen=True, eq=False)
class Name(_Piece):
    """A column of the data."""

    id: str


@dataclass(frozen=True)
class Constant:
    """A literal: number, string, logical, ``pi`` or the name of a contrast; `text` is how it was written."""

    text: str
    value: float | bool | str = field(compare=False)


@dataclass(frozen=True, eq=False)
class Group(_Piece):
    """Something in parentheses."""

    inner: Node


@dataclass(frozen=True, eq=False)
class Sum(_Piece):
    """Terms added (+1) and taken away (-1); flat, so that a thousand terms are no deeper than two."""

    items: tuple[tuple[int, Node], ...]


@dataclass(frozen=True, eq=False)
class Not(_Piece):
    """Logical negation."""

    inner: Node


@dataclass(frozen=True, eq=False)
class Binary(_Piece):
    """Any other operator between two pieces."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, eq=False)
class Call(_Piece):
    """A call of a function in the allow-list."""

    func: str
    args: tuple[Node, ...]
    named: tuple[tuple[str, Node], ...]


Node: TypeAlias = Name | Constant | Group | Sum | Not | Binary | Call
Expression: TypeAlias = "str | Node"  # text, or the tree where it has been read


def children(node: Node) -> tuple[Node, ...]:
    """The pieces that `node` is made of, in the order of the text."""
    match node:
        case Group(inner) | Not(inner):
            return (inner,)
        case Sum(items):
            return tuple(item for _, item in items)
        case Binary(_, left, right):
            return (left, right)
        case Call(_, args, named):
            return (*args, *(value for _, value in named))
        case _:
            return ()


def walk(node: Node) -> Iterator[tuple[Node, int]]:
    """Every piece of `node` with its depth, in the order of the text."""
    stack = [(node, 1)]
    while stack:
        piece, depth = stack.pop()
        yield piece, depth
        stack.extend((child, depth + 1) for child in reversed(children(piece)))


@lru_cache(maxsize=1024)
def columns_in(node: Node) -> tuple[str, ...]:
    """The data columns that `node` names, each once, in order of appearance."""
    return tuple(dict.fromkeys(piece.id for piece, _ in walk(node) if isinstance(piece, Name)))
