"""Hypotheses and linear combinations of coefficients, written as text or as a matrix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import FormulaError, shortened

Constraints = str | Sequence[str] | Mapping[str, str] | npt.ArrayLike | pd.DataFrame

Terms = Mapping[str, Sequence[str]]

NUMBER = re.compile(r"\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?")
INSIDE_NAME = re.compile(r"[\w.]")
LEFT_OUT = "was left out of the model, as other columns determine it: test the coefficients that are there"
MANY = 20  # coefficients that a message names for the reader to choose from


@dataclass(frozen=True)
class Linear:
    """Linear combinations L beta and the values they are compared with.

    matrix (r, p); null (r,); labels (r,): one per row.
    """

    matrix: np.ndarray
    null: np.ndarray
    labels: list[str]


def read_constraints(
    given: Constraints,
    names: Sequence[str],
    q0: npt.ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    *,
    terms: Terms | None = None,
    dropped: Sequence[str] = (),
) -> Linear:
    """Read hypotheses about coefficients, whose names are ``names``.

    Given are ``"a = b"``, ``"2*a - b = 1"``, ``"a"`` (a = 0), ``"a = b = 0"``, several separated by commas; a list of
    such texts; a dict of label to text; or the matrix L (r, p), its columns in the order of the coefficients (matched
    by name where it is a DataFrame). ``q0``, one or (r,), holds values under the hypothesis, and ``labels`` a name per
    row. ``terms`` has the coefficients of each term: the name of a factor alone, or with a number (``"f = 0"``), stands
    for each of its. ``dropped`` columns are left out of the model, which messages say.
    """
    if isinstance(given, Mapping) and not all(isinstance(text, str) for text in given.values()):
        raise FormulaError(
            f"the values of the dict {dict(given)!r} must be texts such as 'a - b', its keys their labels; weights of "
            "coefficients stand in the text: '2*a - b'"
        )
    if isinstance(given, Mapping) and not given:
        raise FormulaError("the dict has no hypothesis: give at least one text, as in {'difference': 'a - b'}")
    several = {term: own for term, own in (terms or {}).items() if term not in names}
    if isinstance(given, Mapping):
        linear = _from_text(list(given.values()), names, several, dropped, [str(k) for k in given])
    elif isinstance(given, str):
        linear = _from_text([given], names, several, dropped)
    elif isinstance(given, pd.DataFrame):
        linear = _from_frame(given, names, dropped)
    elif isinstance(given, list | tuple) and given and all(isinstance(g, str) for g in given):
        linear = _from_text([str(g) for g in given], names, several, dropped)
    else:
        linear = _from_matrix(np.asarray(given), names)
    empty = [label for label, row in zip(linear.labels, linear.matrix, strict=True) if not row.any()]
    if empty:
        raise FormulaError(f"the hypothesis {empty[0]!r} has coefficients of zero only: it says nothing")
    null = linear.null if q0 is None else _null(q0, linear)
    if labels is None:
        return Linear(linear.matrix, null, linear.labels)
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise FormulaError(f"names={labels!r} must be a list of texts, one for each linear combination")
    labels = list(labels)
    if len(labels) != len(linear.matrix):
        raise FormulaError(f"{len(labels)} names for {len(linear.matrix)} linear combinations: give one each")
    return Linear(linear.matrix, null, [str(label) for label in labels])


def _null(q0: npt.ArrayLike, linear: Linear) -> np.ndarray:
    try:
        values = np.asarray(q0, dtype=float)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if values.shape not in ((), (1,), (len(linear.matrix),)) or not np.isfinite(values).all():
        raise FormulaError(f"q0 must be one finite number or {len(linear.matrix)} of them, one per row of L")
    return np.asarray(linear.null + values)


def _from_frame(frame: pd.DataFrame, names: Sequence[str], dropped: Sequence[str]) -> Linear:
    unknown = [str(c) for c in frame.columns if c not in names]
    if left_out := [name for name in unknown if name in dropped]:
        raise FormulaError(f"{left_out[0]!r}, a column of L, {LEFT_OUT}")
    if unknown:
        raise FormulaError(
            f"the columns of L name no coefficient: {shortened(unknown)}; there are {shortened(names, MANY)}"
        )
    whole = frame.reindex(columns=list(names), fill_value=0.0)
    try:
        matrix = whole.to_numpy(dtype=float)
    except (TypeError, ValueError):
        raise FormulaError("L holds cells that are no numbers") from None
    if not np.isfinite(matrix).all():
        bad = whole.index[int(np.argmax(~np.isfinite(matrix).all(axis=1)))]
        raise FormulaError(f"L holds values that are not finite, in row {bad!r}")
    return Linear(matrix, np.zeros(len(whole)), [str(v) for v in whole.index])


def _from_matrix(given: np.ndarray, names: Sequence[str]) -> Linear:
    try:
        matrix = np.atleast_2d(given.astype(float))
    except (TypeError, ValueError):
        raise FormulaError("a hypothesis is text such as 'a = b', a list of texts, or a matrix of numbers") from None
    if matrix.ndim != 2 or matrix.shape[1] != len(names) or not len(matrix):
        raise FormulaError(f"L has the shape {matrix.shape}; it needs one column for each of {shortened(names, MANY)}")
    if not np.isfinite(matrix).all():
        raise FormulaError("L holds values that are not finite")
    return Linear(matrix, np.zeros(len(matrix)), [_written(row, names) for row in matrix])


def _written(row: np.ndarray, names: Sequence[str]) -> str:
    """Write a row of L as a sum of coefficients."""
    parts: list[str] = []
    for value, name in zip(row, names, strict=True):
        if value:
            size = "" if abs(value) == 1 else f"{abs(value):.6g}*"
            sign = "-" if value < 0 else "+" if parts else ""
            parts.append(f"{sign} {size}{name}" if parts else f"{sign}{size}{name}")
    return " ".join(parts) or "0"


def _from_text(
    texts: Sequence[str], names: Sequence[str], terms: Terms, dropped: Sequence[str], labels: list[str] | None = None
) -> Linear:
    rows, null, found = [], [], []
    for i, text in enumerate(texts):
        for piece in _split(text, names, terms, dropped):
            sides = [_side(tokens, names, text) for tokens in piece]
            if not all(np.isfinite([*weights, constant]).all() for weights, constant in sides):
                raise FormulaError(f"the hypothesis {text!r} has a number that is not finite")
            pairs = list(pairwise(sides)) if len(sides) > 1 else [(sides[0], (np.zeros(len(names)), 0.0))]
            for (left, left_const), (right, right_const) in pairs:
                rows.append(left - right)
                null.append(right_const - left_const)
                found.append(_written(left - right, names) if labels is None else labels[i])
    matrix = np.array(rows)
    if not np.abs(matrix).max(axis=1).all():
        raise FormulaError(f"no coefficient is left in {texts[0]!r}: both sides are the same")
    if labels is not None and len(found) != len(labels):
        raise FormulaError("a named combination must be one expression each: no comma, and at most one '='")
    return Linear(matrix, np.array(null), found)


def _split(text: str, names: Sequence[str], terms: Terms, dropped: Sequence[str]) -> list[list[list[str]]]:
    """Cut a text into hypotheses (at commas, and one for each coefficient of a term), each into sides, into tokens."""
    out: list[list[list[str]]] = [[[]]]
    for token in _tokens(text, [*names, *terms], dropped):
        if token == ",":
            out.append([[]])
        elif token == "=":
            out[-1].append([])
        else:
            out[-1][-1].append(token)
    if any(not side for piece in out for side in piece):
        raise FormulaError(f"the hypothesis {text!r} has an empty side")
    return [one for piece in out for one in _each(piece, terms, text)]


def _each(piece: list[list[str]], terms: Terms, text: str) -> list[list[list[str]]]:
    """One hypothesis per coefficient, where it is about a term that has several."""
    term = next((token for side in piece for token in side if token in terms), None)
    if term is None:
        return [piece]
    if piece[0] != [term] or any(
        not NUMBER.fullmatch(token) and token not in "+-" for side in piece[1:] for token in side
    ):
        raise FormulaError(
            f"{term!r} in the hypothesis {text!r} is a term with the coefficients {shortened(terms[term], MANY)}: name "
            "one of them, or the term alone for all"
        )
    return [[[name], *piece[1:]] for name in terms[term]]


def _tokens(text: str, names: Sequence[str], dropped: Sequence[str]) -> list[str]:
    spelled = {name: name for name in names}
    if "Intercept" in spelled:
        spelled["(Intercept)"] = "Intercept"
    longest = sorted([*spelled, *dropped], key=len, reverse=True)
    out, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        name = next((n for n in longest if text.startswith(n, at) and _ends(text, at + len(n), n)), None)
        number = NUMBER.match(text, at)
        if name is not None and name not in spelled:
            raise FormulaError(f"{name!r} in the hypothesis {text!r} {LEFT_OUT}")
        if name is not None:
            out.append(spelled[name])
            at += len(name)
        elif number is not None:
            out.append(number.group())
            at = number.end()
        elif text[at] in "+-*/=,":
            out.append(text[at])
            at += 1
        else:
            word = re.split(r"[\s+\-*/=,]", text[at:], maxsplit=1)[0]
            raise FormulaError(
                f"{word!r} in the hypothesis {text!r} is no coefficient; there are {shortened(names, MANY)}"
            )
    return out


def _ends(text: str, at: int, name: str) -> bool:
    """Tell whether a name that matches up to here is not the beginning of a longer word."""
    return at >= len(text) or not INSIDE_NAME.match(text[at]) or not INSIDE_NAME.match(name[-1])


def _side(tokens: list[str], names: Sequence[str], text: str) -> tuple[np.ndarray, float]:
    """Sum of products of numbers and at most one coefficient: weights (p,) and a constant."""
    weights, constant, at = np.zeros(len(names)), 0.0, 0
    while at < len(tokens):
        sign = 1.0
        while at < len(tokens) and tokens[at] in "+-":
            sign = -sign if tokens[at] == "-" else sign
            at += 1
        value, name, at = _product(tokens, at, names, text)
        if name is None:
            constant += sign * value
        else:
            weights[list(names).index(name)] += sign * value
        if at < len(tokens) and tokens[at] not in "+-":
            raise FormulaError(f"'+' or '-' is missing before {tokens[at]!r} in the hypothesis {text!r}")
    return weights, constant


def _product(tokens: list[str], at: int, names: Sequence[str], text: str) -> tuple[float, str | None, int]:
    value, name, operator = 1.0, None, "*"
    while at < len(tokens):
        token = tokens[at]
        if token in names:
            if name is not None or operator == "/":
                raise FormulaError(f"the hypothesis {text!r} is not linear in the coefficients")
            name = token
        elif NUMBER.fullmatch(token):
            number = float(token)
            value = value * number if operator == "*" else value / number if number else np.inf
        else:
            break
        at += 1
        if at >= len(tokens) or tokens[at] not in "*/":
            return value, name, at
        operator = tokens[at]
        at += 1
    raise FormulaError(f"the hypothesis {text!r} cannot be read: a coefficient or a number is missing")
