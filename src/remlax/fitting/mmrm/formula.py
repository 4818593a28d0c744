"""MmrmFormula: a formula whose covariance term says how the visits of a patient are correlated."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache

from ...design.formula import ONE, MixedFormula, RandomEffectsTerm, parse_formula
from ...design.functions import FUNCTIONS
from ...design.syntax import parse, parse_sides
from ...design.terms import flatten
from ...design.tokens import Token, nearest, problem, require_text, tokenize
from ...design.tree import Binary, Call, Group, Name, Node, Sum, walk
from ...mmrm.structures import STRUCTURES

EXAMPLE = "us(visit | id), or us(visit | arm / id) for a covariance matrix of each arm"
# what other programs call them
ELSEWHERE = {"un": "us", "unr": "us", "ar": "ar1", "arh": "ar1h", "ad": "ante1", "adh": "ante1", "vc": "diag"}


@dataclass(frozen=True)
class CovarianceTerm:
    """``us(visit | group / patient)``: the columns that it names.

    Attributes
    ----------
    structure, visit, patient : str
    group : str or None
        Column of the groups with a covariance matrix of their own.
    """

    structure: str
    visit: str
    patient: str
    group: str | None

    @property
    def factors(self) -> tuple[RandomEffectsTerm, ...]:
        """Patients, visits and groups as what is read like grouping factors."""
        names = [name for name in (self.patient, self.visit, self.group) if name is not None]
        return tuple(RandomEffectsTerm(Sum(((1, ONE),)), (name,)) for name in names)


@dataclass(frozen=True, kw_only=True)
class MmrmFormula(MixedFormula):
    """Formula of a mixed model for repeated measures; without random terms.

    Attributes
    ----------
    covariance : CovarianceTerm
    """

    covariance: CovarianceTerm

    @property
    def with_factors(self) -> MmrmFormula:
        """The formula with `CovarianceTerm.factors` in the place of random terms, for reading rows."""
        return replace(self, random=self.covariance.factors)


def parse_mmrm(text: str) -> MmrmFormula:
    """Read a formula with one covariance term.

    Parameters
    ----------
    text : str
        ``"y ~ x + arm * visit + us(visit | id)"``.

    Raises
    ------
    FormulaError

    Examples
    --------
    >>> formula = parse_mmrm("y ~ base + us(visit | arm / id)")
    >>> formula.fixed, formula.covariance.group, formula.text
    ('1 + base', 'arm', 'y ~ base + us(visit | arm/id)')
    """
    require_text(text)
    return _parsed(text)


@lru_cache(maxsize=64)
def _parsed(text: str) -> MmrmFormula:
    tokens = tokenize(text)
    calls = covariance_calls(tokens, text)
    if not calls:
        raise problem(text, f"it has no covariance term; add one such as {EXAMPLE}")
    if len(calls) > 1:
        both = " and ".join(text[tokens[a].start : tokens[b].end] for a, b in calls[:2])
        raise problem(text, f"it has several covariance terms, {both}: a model has one")
    first, last = calls[0]
    term, call = _term(tokens[first].text, text[tokens[first].start : tokens[last].end], text)
    rest = _without(tokens, first, last, text)
    response, right = parse_sides(rest)
    for _, item in flatten(right):
        bars = [node for node, _ in walk(item) if isinstance(node, Binary) and node.op in ("|", "||")]
        if bars and not isinstance(item, Call):
            raise problem(
                text,
                f"the random term ({bars[0].text}) has no place beside a covariance term: leave it out, or use rx.lmer",
            )
    read = parse_formula(f"{rest} + (1 | {Name(term.patient).text})")
    whole = Sum((*(right.items if isinstance(right, Sum) else ((1, right),)), (1, call)))
    own = {part.name: getattr(read, part.name) for part in fields(MixedFormula)}
    return MmrmFormula(**own | {"response_tree": response, "right_tree": whole, "random": ()}, covariance=term)


def covariance_calls(tokens: list[Token], text: str) -> list[tuple[int, int]]:
    """First and last token of every covariance term."""
    out = []
    for at, token in enumerate(tokens[:-1]):
        if token.kind != "name" or tokens[at + 1].text != "(":
            continue
        end, has_bar = _closing(tokens, at + 1)
        function = token.text in FUNCTIONS  # cs() without a bar is a spline, and a bar elsewhere a logical "or"
        if token.text in STRUCTURES and end is not None and (has_bar or not function):
            out.append((at, end))
        elif has_bar and not function:
            known = ELSEWHERE.get(token.text.lower().strip("1"), token.text.lower())
            hint = f"; did you mean {known!r}?" if known in STRUCTURES else nearest(token.text, STRUCTURES)
            raise problem(text, f"{token.text!r} is no covariance structure{hint}; they are {', '.join(STRUCTURES)}")
    return out


def _closing(tokens: list[Token], at: int) -> tuple[int | None, bool]:
    """Place of the parenthesis that closes the one at ``at``, and whether a bar stands between them."""
    depth, has_bar = 0, False
    for place, token in enumerate(tokens[at:], start=at):
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "op" else 0
        has_bar |= depth == 1 and token.text in ("|", "||")
        if depth == 0:
            return place, has_bar
    return None, has_bar


def _term(structure: str, written: str, text: str) -> tuple[CovarianceTerm, Call]:
    """What a covariance term says, and its tree."""
    inner = _peeled(parse(written[len(structure) :].strip()))
    if not isinstance(inner, Binary) or inner.op != "|":
        raise problem(text, f"{written} does not say which visits of which patients are correlated: write {EXAMPLE}")
    right = _peeled(inner.right)
    group = None
    if isinstance(right, Binary) and right.op == "/":
        group, right = right.left, right.right
    columns = [_column(node) for node in (inner.left, right, *([] if group is None else [group]))]
    if None in columns or len(set(columns)) < len(columns):
        raise problem(text, f"{written} must name different columns of visits, patients and perhaps groups: {EXAMPLE}")
    visit, patient, own = (*columns, None)[:3]
    assert visit is not None  # no column is missing
    assert patient is not None
    return CovarianceTerm(structure, visit, patient, own), Call(structure, (inner,), ())


def _peeled(node: Node) -> Node:
    return _peeled(node.inner) if isinstance(node, Group) else node


def _column(node: Node) -> str | None:
    """Name of a column, which is taken for categories anyway."""
    node = _peeled(node)
    if isinstance(node, Call) and node.func in ("factor", "as.factor") and len(node.args) == 1 and not node.named:
        node = node.args[0]
    return node.id if isinstance(node, Name) else None


def _without(tokens: list[Token], first: int, last: int, text: str) -> str:
    """Formula without the covariance term."""
    before, after = tokens[first - 1].text if first else "", tokens[last + 1]
    start, end = tokens[first].start, tokens[last].end
    if before not in ("+", "~") or not (after.kind == "end" or after.text in ("+", "-")):
        written = text[start:end]
        raise problem(text, f"{written} is to be added to the fixed part, as in 'y ~ x + {written}'")
    if before == "+":
        return text[: tokens[first - 1].start] + text[end:]
    rest = text[after.end :] if after.text == "+" else text[end:]
    return f"{text[:start]}{'1' if after.kind == 'end' else ''}{rest}"
