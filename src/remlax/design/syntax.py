"""The formula language: R's operators over names, numbers and calls, read into a small closed tree.

Nothing is ever handed to Python's ``eval``: a formula is made of the nodes below and of nothing else,
so attribute access, subscripts, lambdas and unknown functions have no way in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import FormulaError
from .rcalls import CONTRASTS, FUNCTIONS
from .tokens import CONSTANTS, ORDER, OWN_CONTRASTS, RELEVEL, Token, clip, is_syntactic, nearest, problem, tokenize

_COVARIANCE = "covariances other than (x | g) and (x || g) are not here; use glmmTMB or nlme"
_POWER = "for a power write I(x^2)"
_TREATMENT = "for another base level write relevel(f, ref='b'); other contrasts are C(f, contr.sum) and the like"
# functions of other packages, and what does the same
ELSEWHERE = {
    **dict.fromkeys(("ar1", "diag", "us", "ou", "mat", "gau", "homcs", "toep", "rr", "corAR1"), _COVARIANCE),
    **dict.fromkeys(("Treatment", "Sum", "contr.treatment", "contr.sum", "contr.helmert", "contr.poly"), _TREATMENT),
    "ns": "for natural splines write cr(x, df=k, constraints='center'), which spans the curves of ns(x, df=k)",
    **dict.fromkeys(("s", "te", "t2"), "write bs(x, df=k) or cr(x, df=k); penalised smooths need gamm4 or mgcv"),
    **dict.fromkeys(("pow", "power", "np.power"), _POWER),
    **dict.fromkeys(("standardize", "zscore", "stats.zscore"), "write scale(x)"),
    **dict.fromkeys(("np.where", "where"), "write ifelse(x > 3, 1, 0)"),
    **dict.fromkeys(("lag", "lead", "shift", "diff", "cut", "qcut", "pd.cut", "np.diff"), "make a column of it first"),
    **dict.fromkeys(("random", "Group", "re", "group"), "write a random term such as (1 | g)"),
    "Q": "names that R would not read stand in backticks, as in `my var`",
    "Error": "write a random term such as (1 | g)",
    "cbind": f"one response at a time (several need brms or MCMCglmm); {OWN_CONTRASTS}",
    **dict.fromkeys(("matrix", "rbind", "as.matrix"), OWN_CONTRASTS),
    **dict.fromkeys(("ordered", "as.ordered"), "make the column a pandas.Categorical(..., ordered=True)"),
}
MAX_DEPTH = 60  # nested pieces; far beyond any model, far below Python's recursion limit


@dataclass(frozen=True, slots=True)
class Name:
    """A column of the data."""

    id: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal: number, string, logical, ``pi`` or the name of a contrast; `text` is how it was written."""

    text: str
    value: float | bool | str


@dataclass(frozen=True, slots=True)
class Group:
    """Something in parentheses."""

    inner: Node


@dataclass(frozen=True, slots=True)
class Sum:
    """Terms added (+1) and taken away (-1); flat, so that a thousand terms are no deeper than two."""

    items: tuple[tuple[int, Node], ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Logical negation."""

    inner: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """Any other operator between two pieces."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function in the allow-list."""

    func: str
    args: tuple[Node, ...]
    named: tuple[tuple[str, Node], ...]


Node: TypeAlias = Name | Constant | Group | Sum | Not | Binary | Call

# R's precedences (help page ?Syntax); "^" binds to the right, everything else to the left.
POWER, SIGN, PRODUCT, ADDITIVE, NEGATION = 90, 80, 50, 40, 25
BINDING = {
    **dict.fromkeys(("|", "||"), 15),
    **dict.fromkeys(("&", "&&"), 20),
    **dict.fromkeys(("==", "!=", "<", ">", "<=", ">="), 30),
    **dict.fromkeys(("+", "-"), ADDITIVE),
    **dict.fromkeys(("*", "/"), PRODUCT),
    **dict.fromkeys(("%%", "%/%", "%in%"), 60),
    ":": 70,
    "^": POWER,
}
NOT_ARITHMETIC = {
    ":": "':' makes interactions and belongs outside function calls",
    "||": "write '|' for a logical 'or'",
    "&&": "write '&' for a logical 'and'",
    "%in%": "'%in%' is not available",
}
CATEGORICAL = frozenset(("factor", "as.factor", "C", "relevel"))
SPACED = frozenset(("*", "|", "||", "&", "&&", "==", "!=", "<", ">", "<=", ">=", "%in%"))


def parse(text: str, tokens: list[Token] | None = None, *, arithmetic: bool = False) -> Node:
    """Read an expression into a tree.

    Parameters
    ----------
    text : str
        The expression; shown in messages.
    tokens : list of Token, optional
        The part of `text` to read, closed by an "end" token; all of it by default.
    arithmetic : bool, default False
        Whether ``+ - * / ^`` do arithmetic (responses, offsets, weights, inside calls) or make terms.

    Raises
    ------
    FormulaError
        Whatever is not in the language.
    """
    parser = _Parser(text, tokenize(text) if tokens is None else tokens, arithmetic)
    node = parser.expression(0)
    parser.finish()
    if max(depth for _, depth in _walk_depth(node)) > MAX_DEPTH:
        raise problem(text, f"it is nested more than {MAX_DEPTH} deep")
    return node


class _Parser:
    """Precedence climbing over a list of tokens."""

    def __init__(self, text: str, tokens: list[Token], arithmetic: bool) -> None:
        self.text, self.tokens, self.arithmetic = text, tokens, arithmetic
        self.at = 0
        self.depth = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        token = self.token
        self.at += 1
        return token

    def fail(self, message: str) -> FormulaError:
        return problem(self.text, message)

    def finish(self) -> None:
        if self.token.kind == "end":
            return
        if self.token.text == ")":
            raise self.fail("a parenthesis is closed that was never opened")
        raise self.fail(f"{self.token.text!r} is unexpected {self.before()}")

    def before(self) -> str:
        seen = self.text[: self.token.start].rstrip()
        return f"after {'...' if len(seen) > 20 else ''}{seen[-20:]!r}" if seen else "at the start"

    def expression(self, floor: int) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"it is nested more than {MAX_DEPTH} deep")
        left = self.operand()
        items: list[tuple[int, Node]] = []  # of a sum that is still growing: joined once, at its end
        while self.token.kind == "op":
            op = "^" if self.token.text == "**" else self.token.text
            power = BINDING.get(op)
            if power is None and op.startswith("%"):
                raise self.fail(f"the operator {op!r} is not available")
            if power is None or power < floor:
                break
            if self.arithmetic and op in NOT_ARITHMETIC:
                raise self.fail(NOT_ARITHMETIC[op])
            self.at += 1
            right = self.expression(power if op == "^" else power + 1)
            if op in ("+", "-"):
                items = items or _items(left)
                items.append((1 if op == "+" else -1, right))
                continue
            left, items = Binary(op, Sum(tuple(items)) if items else left, right), []
        self.depth -= 1
        return Sum(tuple(items)) if items else left

    def operand(self) -> Node:
        token = self.take()
        if token.kind == "number":
            return Constant(token.text, float(token.text.rstrip("L")))
        if token.kind == "string":
            return Constant(token.text, token.text[1:-1])
        if token.kind == "quoted":
            return Name(token.text[1:-1])
        if token.kind == "name":
            return self.named(token)
        if token.text == "(":
            inner = self.expression(0)
            self.close(token.start)
            return Group(inner)
        if token.text in ("+", "-"):
            # among terms a leading sign belongs to the whole first term: -a:b takes a:b away
            inner = self.expression(SIGN if self.arithmetic else PRODUCT)
            return Sum(((1 if token.text == "+" else -1, inner),))
        if token.text == "!":
            return Not(self.expression(NEGATION))
        self.at -= 1
        if token.kind == "end":
            raise self.fail("it ends where a term is expected" if self.text.strip() else "it is empty")
        if token.text == "~":
            raise self.fail("a '~' stands where a term is expected")
        before = self.tokens[self.at - 1].text if self.at else ""
        if token.text == ")" and before in ("|", "||"):
            raise self.fail(f"no grouping factor follows the bar; write (1 {before} g), where g names the groups")
        if token.text in ("|", "||") and before == "(":
            raise self.fail(f"nothing stands before the bar; write (1 {token.text} g) for a random intercept")
        raise self.fail(f"a term is missing before {token.text!r}")

    def named(self, token: Token) -> Node:
        if self.token.text == "(" and self.token.kind == "op":
            return self.call(token.text)
        if not token.text.strip("."):
            raise self.fail(f"{token.text!r} (all other columns) is not available: write the columns out")
        if token.text in CONSTANTS and (self.arithmetic or token.text != "pi"):
            return Constant(token.text, CONSTANTS[token.text])
        if token.text in CONTRASTS and self.arithmetic:
            return Constant(token.text, token.text)
        return Name(token.text)

    def call(self, func: str) -> Node:
        function = FUNCTIONS.get(func)
        if function is None:
            known = [name for name in FUNCTIONS if not name.startswith("np.")]
            hint = nearest(func, known) or f"; the functions are {', '.join(known)}"
            hint = f": {ELSEWHERE[func]}" if func in ELSEWHERE else hint
            raise self.fail(f"{func!r} is not a function that a formula may use{hint}")
        start = self.tokens[self.at - 1].start
        self.at += 1
        outside, self.arithmetic = self.arithmetic, True
        args: list[Node] = []
        named: dict[str, Node] = {}
        while self.token.text != ")":
            self.argument(func, args, named)
            if self.token.text != ",":
                break
            self.at += 1
        self.arithmetic = outside
        self.close(start)
        try:
            function.check(args, named)
        except TypeError as error:
            hint = f"; {ELSEWHERE['ordered'] if 'ordered' in named else f'{ORDER}, {RELEVEL}'}"
            hint = hint if func in ("factor", "as.factor") else ""
            raise self.fail(f"{func}(): {error}{hint}") from None
        return Call(func, tuple(args), tuple(named.items()))

    def argument(self, func: str, args: list[Node], named: dict[str, Node]) -> None:
        following = self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        if self.token.kind != "name" or following.text != "=":
            if named:
                raise self.fail(f"{func}(): an argument without a name follows one with a name")
            args.append(self.expression(0))
            return
        key = self.take().text
        self.at += 1
        if key in named:
            raise self.fail(f"{func}(): the argument {key!r} is given twice")
        value = self.expression(0)
        # R users write raw = T; a column called T cannot be meant there
        short = {"T": True, "F": False}
        if isinstance(value, Name) and value.id in short:
            value = Constant(value.id, short[value.id])
        named[key] = value

    def close(self, start: int) -> None:
        if self.token.text == ")":
            self.at += 1
        elif self.token.kind == "end":
            raise self.fail(f"the parenthesis opened in {clip(self.text[start:], 30)!r} is never closed")
        elif self.token.text == "=":
            raise self.fail("'=' stands alone; write '==' to compare")
        else:
            raise self.fail(f"{self.token.text!r} is unexpected {self.before()}")


def _items(node: Node) -> list[tuple[int, Node]]:
    """Signed items of a sum; any other piece is the first item of one."""
    return list(node.items) if isinstance(node, Sum) else [(1, node)]


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


def _walk_depth(node: Node) -> Iterator[tuple[Node, int]]:
    stack = [(node, 1)]
    while stack:
        piece, depth = stack.pop()
        yield piece, depth
        stack.extend((child, depth + 1) for child in reversed(children(piece)))


def columns_in(node: Node) -> tuple[str, ...]:
    """The data columns that `node` names, each once, in order of appearance."""
    return tuple(dict.fromkeys(piece.id for piece, _ in _walk_depth(node) if isinstance(piece, Name)))


def variables(expr: str) -> tuple[str, ...]:
    """Data columns that an expression uses.

    Parameters
    ----------
    expr : str
        Right side of a formula, response, offset or weights expression.

    Returns
    -------
    tuple of str
        Column names, each once, in order of appearance. They need not exist.

    Raises
    ------
    FormulaError
        If `expr` cannot be read.

    Examples
    --------
    >>> variables("log(x^2) + poly(z, 2):`my var`")
    ('x', 'z', 'my var')
    """
    return columns_in(parse(expr))


def category_columns(expr: str) -> tuple[str, ...]:
    """Columns that an expression turns into categories, whatever their type: x in ``factor(x)``.

    Raises
    ------
    FormulaError
        If `expr` cannot be read.
    """
    calls = [piece for piece, _ in _walk_depth(parse(expr)) if isinstance(piece, Call) and piece.func in CATEGORICAL]
    return tuple(dict.fromkeys(name for call in calls for name in columns_in(call)))


def deparse(node: Node) -> str:
    """Write `node` as R would print it; reading the text again gives `node`."""
    match node:
        case Name(name):
            return name if is_syntactic(name) else f"`{name}`"
        case Constant(text, _):
            return text
        case Group(inner):
            return f"({deparse(inner)})"
        case Not(inner):
            return f"!{deparse(inner)}"
        case Sum(items):
            text = "".join((" + " if sign > 0 else " - ") + deparse(item) for sign, item in items)
            return text[3:] if items[0][0] > 0 else "-" + text[3:]
        case Binary(op, left, right):
            return f"{deparse(left)}{f' {op} ' if op in SPACED else op}{deparse(right)}"
        case Call(func, args, named):
            parts = [deparse(arg) for arg in args] + [f"{key}={deparse(value)}" for key, value in named]
            return f"{func}({', '.join(parts)})"
