"""Tokens of formulas, and the words of their errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass

from ..errors import FormulaError

CONSTANTS = {"TRUE": True, "FALSE": False, "True": True, "False": False, "pi": 3.141592653589793}

# what to do about what formulas of other packages say
OWN_CONTRASTS = "a matrix of your own is given beside the formula, as contrasts={'f': matrix}"
ORDER = "for the order of the categories make the column a pandas.Categorical(..., categories=[...])"
RELEVEL = "for another first one write relevel(f, ref='b')"

# random terms with a covariance structure, and whether they have one standard deviation unless the formula says so
STRUCTURES: dict[str, bool | None] = {"us": None, "diag": False, "cs": False, "ar1": True}
_COVARIANCE = "the structures of random terms are us, diag, cs and ar1; for others use glmmTMB or nlme"
_TERM = "a random term with a structure stands by itself, as in y ~ x + {}(0 + f | g)"
_POWER = "for a power write I(x^2)"
_TREATMENT = "for another base level write relevel(f, ref='b'); other contrasts are C(f, contr.sum) and the like"
# functions of other packages, and what does the same
ELSEWHERE = {
    **{name: _TERM.format(name) for name in STRUCTURES},
    **dict.fromkeys(("ou", "mat", "gau", "exp_", "toep", "toeph", "csh", "ar1h", "ante1", "un", "rr"), _COVARIANCE),
    **{name: f"write {own}(..., hom = TRUE)" for name, own in (("homdiag", "diag"), ("homcs", "cs"))},
    **dict.fromkeys(("hetar1",), "write ar1(..., hom = FALSE)"),
    **dict.fromkeys(("corAR1", "corCompSymm", "pdDiag", "pdCompSymm", "pdSymm"), _COVARIANCE),
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
    "cbind": f"one response at a time; cbind(successes, failures) is a response of rx.glmer; {OWN_CONTRASTS}",
    **dict.fromkeys(("matrix", "rbind", "as.matrix"), OWN_CONTRASTS),
    **dict.fromkeys(("ordered", "as.ordered"), "make the column a pandas.Categorical(..., ordered=True)"),
}

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?L?)
      | (?P<string>"[^"\\]*"|'[^'\\]*')
      | (?P<quoted>`[^`]+`)
      | (?P<op>\*\*|\|\||&&|==|!=|<=|>=|%[^%\s]*%|[-+*/^:|~(),=<>!&])""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word of a formula: kind is "number", "string", "name", "quoted", "op" or "end"."""

    kind: str
    text: str
    start: int
    end: int


def clip(text: str, width: int = 120) -> str:
    """Shorten `text` for a message."""
    return text if len(text) <= width else text[: width - 3] + "..."


def problem(text: str, message: str) -> FormulaError:
    """Build the error that shows the formula and what is wrong with it."""
    return FormulaError(f"cannot read {clip(text)!r}: {clip(message, 500)}")


def nearest(name: str, known: Collection[str]) -> str:
    """Say which known names look like `name`; empty where none does."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


def is_syntactic(name: str) -> bool:
    """Whether `name` can be written in a formula without backticks."""
    starts = bool(name) and (name[0].isidentifier() or (name[0] == "." and not name[1:2].isdigit()))
    return starts and name not in CONSTANTS and all(_continues(c) for c in name)


def _continues(char: str) -> bool:
    return char == "." or ("a" + char).isidentifier()


def require_text(text: object) -> None:
    """Refuse a formula that is no text."""
    if not isinstance(text, str):
        raise FormulaError(f"a formula is text such as 'y ~ x + (1 | g)', not {type(text).__name__}")


def tokenize(text: str) -> list[Token]:
    """Cut `text` into tokens, without the blanks and with an "end" token."""
    require_text(text)
    tokens, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is not None:
            kind, end = str(match.lastgroup), match.end()
            if kind == "number" and end < len(text) and _continues(text[end]):
                raise problem(text, f"{_word(text, at)!r} is neither a number nor a name; "
                              "put a column name that starts with a digit in backticks")  # fmt: skip
        elif text[at].isidentifier() or text[at] == ".":
            kind, end = "name", at + len(_word(text, at))
        else:
            raise problem(text, _stray(text[at], text[:at]))
        if kind != "space":
            tokens.append(Token(kind, text[at:end], at, end))
        at = end
    return [*tokens, Token("end", "", at, at)]


def _word(text: str, at: int) -> str:
    end = at
    while end < len(text) and _continues(text[end]):
        end += 1
    return text[at:end]


def _stray(char: str, before: str) -> str:
    if char in "\"'`":
        return f"a quote ({char}) is opened and never closed, or is empty, or holds a backslash"
    if char == "[" and re.search(r"\b(levels|labels|categories)\s*=\s*$", before):
        return f"{ORDER}, {RELEVEL}"
    if char == "[" and re.search(r"\bC\([^()]*$", before):
        return f"{char!r} has no meaning in a formula; {OWN_CONTRASTS}"
    if char in "[]{}":
        return f"{char!r} has no meaning in a formula (no subscripts, lists or code)"
    return f"{char!r} has no meaning in a formula; put unusual column names in backticks"
