"""MixedFormula: response, fixed part, offsets and random terms of an lme4 formula."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import cast

from ..kernels.structured.parameters import CovarianceStructure, Kind
from .own_contrasts import GivenContrasts
from .syntax import parse_sides
from .terms import expand, flatten, product
from .tokens import STRUCTURES, clip, problem, require_text
from .tree import Binary, Call, Constant, Group, Name, Node, Sum, columns_in, walk

ZERO, ONE = Constant("0", 0.0), Constant("1", 1.0)


@dataclass(frozen=True)
class RandomEffectsTerm:
    """One random-effects term.

    Attributes
    ----------
    lhs_tree : Node
        Right side of the columns whose coefficients vary, intercept spelt out.
    group : tuple of str
        Columns whose interaction is the grouping factor, in the order in which lme4 writes its levels.
    correlated : bool, default True
        Whether the coefficients of one level are correlated; ``||`` is written out into separate terms.
    label : str, default ""
        lme4's name of the grouping factor where it is not ``":".join(group)``: ``"c:(b:a)"``.
    structure : CovarianceStructure, optional
        Form of the covariance matrix; any unless given.
    """

    lhs_tree: Node
    group: tuple[str, ...]
    correlated: bool = True
    label: str = field(default="", compare=False)
    structure: CovarianceStructure | None = field(default=None, compare=False)

    @property
    def text(self) -> str:
        """The term as a formula writes it: ``"(1 + x | g)"``, ``"cs(0 + f | g, hom = TRUE)"``."""
        inside = f"{self.lhs} | {self.group_label}"
        if self.structure is None:
            return f"({inside})"
        kind, hom = self.structure.kind, self.structure.hom
        return f"{kind}({inside}{'' if hom == STRUCTURES[kind] else f', hom = {str(hom).upper()}'})"

    @property
    def lhs(self) -> str:
        """Text of the columns whose coefficients vary: ``"1 + x"``, ``"0 + f"``."""
        return self.lhs_tree.text

    @property
    def group_label(self) -> str:
        """Name of the grouping factor as lme4 prints it: ``"g"``, ``"a:b"``, ``"c:(b:a)"``."""
        return self.label or ":".join(self.group)


@dataclass(frozen=True)
class MixedFormula:
    """A mixed-model formula taken apart; trees, whose text is written where it is asked for.

    Attributes
    ----------
    response_tree, right_tree : Node
        What stands before and after the ``~``.
    fixed_tree : Node
        Right side of the fixed part without bars and offsets, intercept spelt out.
    offset_trees : tuple of Node
        Expressions whose sum is the offset.
    random : tuple of RandomEffectsTerm
        In lme4's order; nesting and ``||`` written out.
    contrasts : mapping of str to OwnContrasts or str, default {}
        Contrasts of factors of the fixed part, given beside the text.
    """

    response_tree: Node
    right_tree: Node
    fixed_tree: Node
    offset_trees: tuple[Node, ...]
    random: tuple[RandomEffectsTerm, ...]
    contrasts: GivenContrasts = field(default_factory=dict, compare=False)

    @property
    def text(self) -> str:
        """The formula, evenly spaced."""
        return f"{self.response} ~ {self.right_tree.text}"

    @property
    def response(self) -> str:
        """Text of the response."""
        return self.response_tree.text

    @property
    def fixed(self) -> str:
        """Text of the fixed part: ``"1 + x + f"``, ``"0"``."""
        return self.fixed_tree.text

    @property
    def offsets(self) -> tuple[str, ...]:
        """Texts of the offsets."""
        return tuple(tree.text for tree in self.offset_trees)

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Data columns that the formula uses, each once, in order of appearance."""
        return tuple(dict.fromkeys((*columns_in(self.response_tree), *columns_in(self.right_tree))))


def parse_formula(text: str, *, counts: bool = False, structures: bool = False) -> MixedFormula:
    """Read an lme4 formula.

    Parameters
    ----------
    text : str
        ``"y ~ x + (1 + x | g)"``. Random terms: ``(x|g)`` (with its implied intercept), ``(0 + x|g)``,
        ``(x||g)`` (uncorrelated terms; the columns of one factor stay together), ``(1|a/b)`` (``b`` within
        ``a``), ``(1|a:b)``. Covariance structures as in lme4 2.0: ``us(x|g)``, which is ``(x|g)``, ``diag(x|g)``,
        ``cs(0 + f|g)``, ``ar1(0 + t|g)``, each but us with ``hom = TRUE`` (one standard deviation for all columns) or
        ``hom = FALSE``; ar1 has one unless told otherwise. ``offset(z)`` among the fixed terms. Column names that are
        not plain words go in backticks.
    counts : bool, default False
        Whether the response may be ``cbind(successes, failures)``, as that of a generalised linear mixed model.
    structures : bool, default False
        Whether random terms may have a covariance structure.

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
    require_text(text)
    formula = _parsed(text, counts)
    for term in formula.random:
        if term.structure is not None and not structures:
            raise problem(text, f"{term.text} has a covariance structure, which rx.lmer, rx.glmer and their lists "
                          f"take; here write ({term.lhs} | {term.group_label})")  # fmt: skip
    return formula


@lru_cache(maxsize=64)  # a formula is fitted again and again, as to bootstrap samples
def _parsed(text: str, counts: bool) -> MixedFormula:
    response, right = parse_sides(text, counts=counts)
    if isinstance(right, Binary) and right.op in ("|", "||"):
        left, group = right.left.text, right.right.text
        raise problem(text, f"the bar in {left} {right.op} {group} needs parentheses: "
                      f"write the random term as (1 {right.op} {group})")  # fmt: skip
    fixed: list[tuple[int, Node]] = []
    offsets: list[Node] = []
    random: list[RandomEffectsTerm] = []
    for sign, item in flatten(right):
        structured = item if isinstance(item, Call) and _has_bar(item) else None
        bar = _bar(item) if structured is None else _structured_bar(structured, text)
        if bar is not None:
            if sign < 0:
                raise problem(text, f"the random term ({bar.text}) is taken away; leave it out instead")
            structure = None if structured is None else _structure(structured, text)
            random.extend(replace(term, structure=structure) for term in _random_terms(bar, text))
        elif isinstance(item, Call) and item.func == "offset":
            if sign < 0:
                raise problem(text, f"{item.text} is taken away; write offset(-({item.args[0].text}))")
            offsets.append(item.args[0])
        else:
            _refuse_inside(item, text)
            fixed.append((sign, item))
    fixed_part = _with_intercept(fixed, text)
    if not random:
        raise problem(text, "it has no random term; add one such as (1 | g), where g names the groups")
    twice = next((term for k, term in enumerate(random) if term in random[:k]), None)
    if twice is not None:
        raise problem(text, f"it has the random term ({twice.lhs} | {twice.group_label}) twice")
    return MixedFormula(response, right, fixed_part, tuple(offsets), tuple(random))


def _bar(node: Node) -> Binary | None:
    """The bar that `node`, a random term in parentheses, holds."""
    if not isinstance(node, Group):
        return None
    if isinstance(node.inner, Binary) and node.inner.op in ("|", "||"):
        return node.inner
    return _bar(node.inner)


def _has_bar(term: Call) -> bool:
    """Whether a call is a random term with a covariance structure, not a spline of natural cubic pieces."""
    return term.func in STRUCTURES and any(isinstance(p, Binary) and p.op in ("|", "||") for p in term.args)


def _refuse_inside(item: Node, text: str) -> None:
    """Refuse a random term with a covariance structure inside another term."""
    for piece, _ in walk(item):
        if isinstance(piece, Call) and _has_bar(piece):
            raise problem(text, f"{piece.text} stands by itself, neither in parentheses nor in a product")


def _structured_bar(term: Call, text: str) -> Binary:
    """The bar of a random term with a covariance structure."""
    example = f"{term.func}(0 + f | g, hom = TRUE)"
    bar = term.args[0]
    if len(term.args) != 1 or not isinstance(bar, Binary):
        raise problem(text, f"{term.text} is not a random term with a structure, as {example} is")
    if bar.op == "||":
        raise problem(text, f"the structure of {term.text} says which correlations there are: write | for ||")
    return bar


def _structure(term: Call, text: str) -> CovarianceStructure | None:
    """Covariance structure that a call names, from its name and `hom`."""
    kind, usual, hom = term.func, STRUCTURES[term.func], STRUCTURES[term.func]
    for name, value in term.named:
        if name != "hom":
            raise problem(text, f"{kind}() has no argument {name!r}; the only one beside the term is hom")
        if usual is None:
            raise problem(text, f"{kind}() has no hom: its variances are free; write diag, cs or ar1 for equal ones")
        if not isinstance(value, Constant) or not isinstance(value.value, bool):
            raise problem(text, f"hom = {value.text} in {term.text} must be TRUE (equal variances) or FALSE")
        hom = value.value
    return None if hom is None else CovarianceStructure(cast(Kind, kind), hom)


def _random_terms(bar: Binary, text: str) -> list[RandomEffectsTerm]:
    items = flatten(bar.left)
    if any(isinstance(item, Call) and item.func == "offset" for _, item in items):
        raise problem(text, f"an offset belongs to the fixed part, not into the random term ({bar.text})")
    terms = expand(bar.left, text)
    if not terms.intercept and not terms.terms:
        raise problem(text, f"the random term ({bar.text}) has no column before the bar")
    left_sides = [_with_intercept(items, text)]
    if bar.op == "||":
        products = [product([terms.factors[i] for i in term]) for term in terms.terms]
        left_sides = [Sum(((1, ONE),))] * terms.intercept + [Sum(((1, ZERO), (1, node))) for node in products]
    groups = _groups(bar, text)
    return [RandomEffectsTerm(lhs, group, True, name) for lhs in left_sides for group, name in groups]


def _with_intercept(items: list[tuple[int, Node]], text: str) -> Sum:
    """Sum of the items, the implied intercept spelt out; says so if they are no terms."""
    if not any(isinstance(item, Constant) for _, item in items):
        items = [(1, ONE), *items]
    terms = Sum(tuple(items))
    expand(terms, text)
    return terms


def _groups(bar: Binary, text: str) -> list[tuple[tuple[str, ...], str]]:
    """Grouping factors of the part after a bar: columns, and lme4's name where that needs parentheses."""
    factors: list[tuple[tuple[str, ...], str]] = []
    for part in _nested(bar.right):
        names = tuple(_grouping_column(leaf, bar, text) for leaf in _crossed(part))
        name = ":".join(names)
        if factors:
            outer, outer_name = factors[0]
            names = (*names, *outer)
            name = f"{name}:({outer_name})" if ":" in outer_name and len(outer) > 1 else f"{name}:{outer_name}"
        if len(set(names)) < len(names):
            raise problem(text, f"the grouping factor in ({bar.text}) names a column twice")
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


def _grouping_column(leaf: Node, bar: Binary, text: str) -> str:
    if isinstance(leaf, Call) and leaf.func in ("factor", "as.factor") and not leaf.named:
        leaf = leaf.args[0]  # groups are categories anyway
    if isinstance(leaf, Name):
        return leaf.id
    advice = "write a column, an interaction a:b or a nesting a/b"
    if isinstance(leaf, Binary) and leaf.op in ("|", "||"):
        advice = "one random term has one bar"
    elif isinstance(leaf, Sum) and all(isinstance(item, Name) for _, item in leaf.items):
        both = " + ".join(f"(... | {item.text})" for _, item in leaf.items)
        advice = f"for crossed factors write {both}"
    elif isinstance(leaf, Binary) and leaf.op == "*":
        left, right = leaf.left.text, leaf.right.text
        advice = f"write (... | {left}) + (... | {right}) + (... | {left}:{right})"
    shown = clip(f"({bar.text})")
    raise problem(text, f"{clip(bar.right.text)!r} after the bar in {shown} is no grouping factor; {advice}")
