"""Syntax of formulas: R's operators over names, numbers and calls, read into a small closed tree.

Nothing is ever handed to Python's ``eval``: a formula is made of the nodes of `tree` and of nothing else,
so attribute access, subscripts, lambdas and unknown functions have no way in.
"""

from __future__ import annotations

from ..errors import FormulaError
from .functions import CONTRASTS, FUNCTIONS
from .response import RESPONSES
from .tokens import CONSTANTS, ELSEWHERE, ORDER, RELEVEL, STRUCTURES, Token, clip, nearest, problem, tokenize
from .tree import Binary, Call, Constant, Expression, Group, Name, Node, Not, Sum, columns_in, walk

MAX_DEPTH = 60  # nested pieces; far beyond any model, far below Python's recursion limit

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


def parse(text: str, *, arithmetic: bool = False) -> Node:
    """Read an expression into a tree.

    Parameters
    ----------
    text : str
        The expression; shown in messages.
    arithmetic : bool, default False
        Whether ``+ - * / ^`` do arithmetic (responses, offsets, weights, inside calls) or make terms.

    Raises
    ------
    FormulaError
        Whatever is not in the language.
    """
    return _Parser(text, tokenize(text)).side(arithmetic)


def parse_sides(text: str, *, counts: bool = False) -> tuple[Node, Node]:
    """Read what stands before and after the ``~`` of a formula: arithmetic, and terms.

    Parameters
    ----------
    text : str
    counts : bool, default False
        Whether ``cbind(successes, failures)`` may stand before the ``~``.

    Raises
    ------
    FormulaError
        Whatever is not in the language.
    """
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
    parser = _Parser(text, [*tokens[:at], tokens[-1], *tokens[at + 1 :]])
    parser.functions = FUNCTIONS | RESPONSES if counts else FUNCTIONS
    response = parser.side(arithmetic=True)
    parser.functions = FUNCTIONS
    if not columns_in(response):
        raise problem(text, f"the response {response.text} names no column")
    return response, parser.side(arithmetic=False)


def tree_of(expr: Expression, *, arithmetic: bool = False) -> Node:
    """Tree of an expression, which is read where it is text."""
    return expr if isinstance(expr, Node) else parse(expr, arithmetic=arithmetic)


class _Parser:
    """Precedence climbing over a list of tokens."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self.text, self.tokens, self.arithmetic = text, tokens, False
        self.functions = FUNCTIONS
        self.at = 0
        self.depth = 0

    def side(self, arithmetic: bool) -> Node:
        """Read on to the next "end" token, and over it."""
        self.arithmetic = arithmetic
        node = self.expression(0)
        self.finish()
        self.at += 1
        if max(depth for _, depth in walk(node)) > MAX_DEPTH:
            raise self.fail(f"it is nested more than {MAX_DEPTH} deep")
        return node

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
        if func in STRUCTURES and not self.arithmetic and self.holds_bar():
            return self.structured(func)
        function = self.functions.get(func)
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

    def holds_bar(self) -> bool:
        """Whether the parenthesis that opens here has a bar outside inner ones: ``cs(x, df = 3)`` makes a spline."""
        depth = 0
        for token in self.tokens[self.at :]:
            if token.kind == "op":
                depth += {"(": 1, ")": -1}.get(token.text, 0)
                if depth == 1 and token.text in ("|", "||"):
                    return True
            if not depth:
                break
        return False

    def structured(self, kind: str) -> Node:
        """Read a random term with a covariance structure: ``cs(0 + f | g, hom = TRUE)``."""
        start = self.tokens[self.at - 1].start
        self.at += 1
        inner = [self.expression(0)]
        named: dict[str, Node] = {}
        while self.token.text == ",":
            self.at += 1
            self.argument(kind, inner, named)
        self.close(start)
        return Call(kind, tuple(inner), tuple(named.items()))

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


def variables(expr: Expression) -> tuple[str, ...]:
    """Data columns that an expression uses.

    Parameters
    ----------
    expr : str or Node
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
    return columns_in(tree_of(expr))


def category_columns(expr: Expression) -> tuple[str, ...]:
    """Columns that an expression turns into categories, whatever their type: x in ``factor(x)``.

    Raises
    ------
    FormulaError
        If `expr` cannot be read.
    """
    calls = [piece for piece, _ in walk(tree_of(expr)) if isinstance(piece, Call) and piece.func in CATEGORICAL]
    return tuple(dict.fromkeys(name for call in calls for name in columns_in(call)))
