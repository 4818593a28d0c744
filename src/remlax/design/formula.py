"""lme4 formulas: response, fixed part, offsets and random terms taken apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from .own_contrasts import GivenContrasts
from .syntax import (
    Binary,
    Call,
    Constant,
    Group,
    Name,
    Node,
    Sum,
    columns_in,
    deparse,
    parse,
)  # fmt: skip
from .terms import expand, flatten
from .tokens import clip, problem, tokenize


@dataclass(frozen=True)
class RandomEffectsTerm:
    """One random-effects term.

    Attributes
    ----------
    lhs : str
        Right side of the columns whose coefficients vary, intercept spelt out: ``"1 + x"``, ``"0 + f"``.
    group : tuple of str
        Columns whose interaction is the grouping factor, in the order in which lme4 writes its levels.
    correlated : bool, default True
        Whether the coefficients of one level are correlated; ``||`` is written out into separate terms.
    label : str, default ""
        lme4's name of the grouping factor where it is not ``":".join(group)``: ``"c:(b:a)"``.
    """

    lhs: str
    group: tuple[str, ...]
    correlated: bool = True
    label: str = field(default="", compare=False)

    @property
    def group_label(self) -> str:
        """Name of the grouping factor as lme4 prints it: ``"g"``, ``"a:b"``, ``"c:(b:a)"``."""
        return self.label or ":".join(self.group)


@dataclass(frozen=True)
class MixedFormula:
    """A mixed-model formula taken apart.

    Attributes
    ----------
    text : str
        The formula, evenly spaced.
    response : str
        Expression for the response.
    fixed : str
        Right side of the fixed part without bars and offsets, intercept spelt out: ``"1 + x + f"``, ``"0"``.
    offsets : tuple of str
        Expressions whose sum is the offset.
    random : tuple of RandomTerm
        In lme4's order; nesting and ``||`` written out.
    contrasts : mapping of str to OwnContrasts or str, default {}
        Contrasts of factors of the fixed part, given beside the text.
    """

    text: str
    response: str
    fixed: str
    offsets: tuple[str, ...]
    random: tuple[RandomEffectsTerm, ...]
    contrasts: GivenContrasts = field(default_factory=dict, compare=False)

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Data columns that the formula uses, each once, in order of appearance."""
        response, _, right = _sides(self.text)
        return tuple(dict.fromkeys((*columns_in(response), *columns_in(right))))


def parse_formula(text: str) -> MixedFormula:
    """Read an lme4 formula.

    Parameters
    ----------
    text : str
        ``"y ~ x + (1 + x | g)"``. Random terms: ``(x|g)`` (with its implied intercept), ``(0 + x|g)``,
        ``(x||g)`` (uncorrelated terms; the columns of one factor stay together), ``(1|a/b)`` (``b`` within
        ``a``), ``(1|a:b)``. ``offset(z)`` among the fixed terms. Column names that are not plain words go in
        backticks.

    Returns
    -------
    MixedFormula

    Raises
    ------
    FormulaError
        For anything that is not such a formula; the message shows the piece.

    Notes
    -----
    The syntax and the order of the terms are those of Bates, Maechler, Bolker & Walker (2015), Journal of
    Statistical Software 67(1), section 2.

    Examples
    --------
    >>> formula = parse_formula("y ~ x + (x || a/b)")
    >>> formula.fixed
    '1 + x'
    >>> [(term.lhs, term.group_label) for term in formula.random]
    [('1', 'b:a'), ('1', 'a'), ('0 + x', 'b:a'), ('0 + x', 'a')]
    """
    response, offsets_and_terms, right = _sides(text)
    fixed: list[tuple[int, Node]] = []
    offsets: list[str] = []
    random: list[RandomEffectsTerm] = []
    for sign, item in offsets_and_terms:
        bar = _bar(item)
        if bar is not None:
            if sign < 0:
                raise problem(text, f"the random term ({deparse(bar)}) is taken away; leave it out instead")
            random.extend(_random_terms(bar, text))
        elif isinstance(item, Call) and item.func == "offset":
            if sign < 0:
                raise problem(text, f"{deparse(item)} is taken away; write offset(-({deparse(item.args[0])}))")
            offsets.append(deparse(item.args[0]))
        else:
            fixed.append((sign, item))
    fixed_part = _with_intercept(fixed, text)
    if not random:
        raise problem(text, "it has no random term; add one such as (1 | g), where g names the groups")
    twice = next((term for k, term in enumerate(random) if term in random[:k]), None)
    if twice is not None:
        raise problem(text, f"it has the random term ({twice.lhs} | {twice.group_label}) twice")
    whole = f"{deparse(response)} ~ {deparse(right)}"
    return MixedFormula(whole, deparse(response), fixed_part, tuple(offsets), tuple(random))


def _sides(text: str) -> tuple[Node, list[tuple[int, Node]], Node]:
    """The response, the signed items of the right side, and the whole right side."""
    tokens = tokenize(text)
    tildes = [k for k, token in enumerate(tokens) if token.text == "~" and token.kind == "op"]
    if not tildes:
        raise problem(text, "it has no '~'; write response ~ terms, e.g. 'y ~ x + (1 | g)'")
    if len(tildes) > 1:
        raise problem(text, "it has more than one '~'")
    at = tildes[0]
    if at == 0:
        raise problem(text, "there is no response before the '~'")
    if tokens[at + 1].kind == "end":
        raise problem(text, "there is nothing after the '~'")
    depth = sum({"(": 1, ")": -1}.get(token.text, 0) for token in tokens[:at] if token.kind == "op")
    if depth > 0:
        raise problem(text, "the '~' stands inside parentheses, or a parenthesis before it is never closed")
    end = tokens[-1]
    response = parse(text, [*tokens[:at], end], arithmetic=True)
    if not columns_in(response):
        raise problem(text, f"the response {deparse(response)} names no column")
    right = parse(text, tokens[at + 1 :])
    if isinstance(right, Binary) and right.op in ("|", "||"):
        left, group = deparse(right.left), deparse(right.right)
        raise problem(text, f"the bar in {left} {right.op} {group} needs parentheses: "
                      f"write the random term as (1 {right.op} {group})")  # fmt: skip
    return response, flatten(right), right


def _bar(node: Node) -> Binary | None:
    """The bar that `node`, a random term in parentheses, holds."""
    if not isinstance(node, Group):
        return None
    if isinstance(node.inner, Binary) and node.inner.op in ("|", "||"):
        return node.inner
    return _bar(node.inner)


def _random_terms(bar: Binary, text: str) -> list[RandomEffectsTerm]:
    shown = f"({deparse(bar)})"
    if any(isinstance(item, Call) and item.func == "offset" for _, item in flatten(bar.left)):
        raise problem(text, f"an offset belongs to the fixed part, not into the random term {shown}")
    terms = expand(bar.left, text)
    if not terms.intercept and not terms.terms:
        raise problem(text, f"the random term {shown} has no column before the bar")
    left_sides = [_with_intercept(flatten(bar.left), text)]
    if bar.op == "||":
        left_sides = ["1"] * terms.intercept + [f"0 + {terms.text(term)}" for term in terms.terms]
    groups = _groups(bar.right, shown, text)
    return [RandomEffectsTerm(lhs, group, True, name) for lhs in left_sides for group, name in groups]


def _with_intercept(items: list[tuple[int, Node]], text: str) -> str:
    """Formula text of the items, the implied intercept spelt out; says so if they are no terms."""
    one = (1, Constant("1", 1.0))
    if not any(isinstance(item, Constant) for _, item in items):
        items = [one, *items]
    terms = Sum(tuple(items))
    expand(terms, text)
    return deparse(terms)


def _groups(node: Node, shown: str, text: str) -> list[tuple[tuple[str, ...], str]]:
    """Grouping factors of the part after a bar: columns, and lme4's name where that needs parentheses."""
    factors: list[tuple[tuple[str, ...], str]] = []
    for part in _nested(node):
        names = tuple(_grouping_column(leaf, node, shown, text) for leaf in _crossed(part))
        name = ":".join(names)
        if factors:
            outer, outer_name = factors[0]
            names = (*names, *outer)
            name = f"{name}:({outer_name})" if ":" in outer_name and len(outer) > 1 else f"{name}:{outer_name}"
        if len(set(names)) < len(names):
            raise problem(text, f"the grouping factor in {shown} names a column twice")
        factors.insert(0, (names, name))
    return [(names, "" if name == ":".join(names) else name) for names, name in factors]


def _nested(node: Node) -> list[Node]:
    """The pieces of a/b/c, outermost first."""
    if isinstance(node, Group):
        return _nested(node.inner)
    if isinstance(node, Binary) and node.op == "/":
        return [*_nested(node.left), *_nested(node.right)]
    return [node]


def _crossed(node: Node) -> list[Node]:
    """The pieces of a:b:c."""
    if isinstance(node, Group):
        return _crossed(node.inner)
    if isinstance(node, Binary) and node.op == ":":
        return [*_crossed(node.left), *_crossed(node.right)]
    return [node]


def _grouping_column(leaf: Node, whole: Node, shown: str, text: str) -> str:
    if isinstance(leaf, Call) and leaf.func in ("factor", "as.factor") and not leaf.named:
        leaf = leaf.args[0]  # groups are categories anyway
    if isinstance(leaf, Name):
        return leaf.id
    advice = "write a column, an interaction a:b or a nesting a/b"
    if isinstance(leaf, Binary) and leaf.op in ("|", "||"):
        advice = "one random term has one bar"
    elif isinstance(leaf, Sum) and all(isinstance(item, Name) for _, item in leaf.items):
        both = " + ".join(f"(... | {deparse(item)})" for _, item in leaf.items)
        advice = f"for crossed factors write {both}"
    elif isinstance(leaf, Binary) and leaf.op == "*":
        left, right = deparse(leaf.left), deparse(leaf.right)
        advice = f"write (... | {left}) + (... | {right}) + (... | {left}:{right})"
    raise problem(text, f"{clip(deparse(whole))!r} after the bar in {clip(shown)} is no grouping factor; {advice}")
