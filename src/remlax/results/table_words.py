"""Numbers and names as journals print them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

MINUS = "\N{MINUS SIGN}"
# treatment contrasts of a variable, by whatever call
RECODED = re.compile(
    r"(?:(?:factor|as\.factor|C)\(\s*(`[^`]+`|[\w.]+)\s*(?:,\s*contr\.treatment)?"
    r"|relevel\(\s*(`[^`]+`|[\w.]+)\s*,\s*(?:ref\s*=\s*)?(['\"]?)(.*)\3)\s*\)"
)
SQUARE = re.compile(r"I\((`[^`]+`|[\w.]+)\^([23])\)")
SUPERSCRIPT = {"2": "\N{SUPERSCRIPT TWO}", "3": "\N{SUPERSCRIPT THREE}"}
NAMED = re.compile(r"`[^`]+`|(?<![\w.'\"])[^\W\d][\w.]*(?![\w.('\"])")
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


def decimals(error: float, estimate: float, least: int) -> int:
    """Decimals that show two significant digits of a standard error, or of the estimate where there is none."""
    size = error if np.isfinite(error) and error > 0 else abs(estimate)
    if not np.isfinite(size) or size == 0:
        return least
    return max(least, 1 - int(np.floor(np.log10(size))))


def number(value: float, places: int) -> str:
    """Print a number with a true minus sign; nothing for a missing one."""
    if np.isnan(value):
        return ""
    if np.isinf(value):
        return "\N{INFINITY}" if value > 0 else f"{MINUS}\N{INFINITY}"
    text = f"{value:.{places}f}" if places <= 6 and abs(value) < 1e7 else f"{value:.2e}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", MINUS)


def interval(low: float, high: float, places: int) -> str:
    """Print limits in brackets; nothing where they are missing."""
    if np.isnan(low) or np.isnan(high):
        return ""
    return f"[{number(low, places)}, {number(high, places)}]"


def p_text(value: float) -> str:
    """Print a p-value with three decimals, below 0.001 as a bound."""
    if np.isnan(value):
        return ""
    return "<0.001" if value < 0.0005 else f"{value:.3f}"


def stars_of(value: float) -> str:
    """One star below 0.05, two below 0.01, three below 0.001."""
    return next((mark for level, mark in STARS if value < level), "")


def span_of(values: Sequence[float], places: int = 0) -> str:
    """Print one number, or the range of several."""
    low, high = (f"{v:.{places}f}" for v in (min(values), max(values)))
    return low if low == high else f"{low}\N{EN DASH}{high}"


def term_words(term: str, labels: Mapping[str, str]) -> str:
    """Print a coefficient: ``sex[T.m]:x`` as ``sex: m x x`` with a multiplication sign; given labels go first.

    A label may stand for the whole term, or for a variable wherever it takes part.
    """
    if term in labels:
        return labels[term]
    return " \N{MULTIPLICATION SIGN} ".join(_factor_words(part, labels) for part in _split(term))


def _factor_words(part: str, labels: Mapping[str, str]) -> str:
    if part in labels:
        return labels[part]
    found = re.fullmatch(r"(.*)\[(T\.)?(.*)\]", part, flags=re.DOTALL)
    if found is None:
        return _variable_words(part, labels)
    variable, treatment, category = found.groups()
    made = RECODED.fullmatch(variable) if treatment and variable not in labels else None
    if made is None:
        return f"{_variable_words(variable, labels)}: {category}"
    against = f" (vs {made[4]})" if made[4] else ""  # another base level than that of other models in the table
    return f"{_variable_words(made[1] or made[2], labels)}: {category}{against}"


def _variable_words(text: str, labels: Mapping[str, str]) -> str:
    """A variable by its label; in a call, every variable that has one: ``log(income)``; ``I(x^2)`` with its power."""
    name = text.strip("`")
    if text in labels or name in labels:
        return labels.get(text, labels.get(name, name))
    power = SQUARE.fullmatch(text)
    if power:
        return f"{_variable_words(power[1], labels)}{SUPERSCRIPT[power[2]]}"
    if "(" not in name:
        return name
    return NAMED.sub(lambda found: labels.get(found[0].strip("`"), found[0]), name)


def _split(term: str) -> list[str]:
    """Split an interaction at colons outside brackets, parentheses and backticks."""
    parts, depth, quoted = [""], 0, False
    for i, char in enumerate(term):
        quoted ^= char == "`"
        depth += (char in "([") - (char in ")]")
        if char == ":" and depth == 0 and not quoted and 0 < i < len(term) - 1:
            parts.append("")
        else:
            parts[-1] += char
    return parts
