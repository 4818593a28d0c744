"""Numbers, names and blocks of text as print-outs (in lme4's order) and tables of journals have them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from ..names import UnknownNames

INFINITE_DF = 1e7  # degrees of freedom beyond are printed as infinite
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


@dataclass(frozen=True)
class Summary(UnknownNames):
    """A printed summary: its text shows at the prompt and in notebooks.

    Parameters
    ----------
    text : str
    """

    text: str

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.text)}</pre>"


def significant(values: np.ndarray, digits: int = 4) -> list[str]:
    """Print a column with enough decimals for ``digits`` significant ones in its smallest value, as R does.

    A number that these decimals leave less than two significant digits of has decimals of its own.
    """
    values = np.asarray(values, dtype=float)
    finite = np.abs(values[np.isfinite(values) & (values != 0)])
    if not len(finite):
        return [_one(v, ".3f") for v in values]
    largest = int(np.floor(np.log10(finite.max())))
    # a number far below the column's largest does not decide: it would push out the decimals of all
    smallest = int(np.floor(np.log10(finite[finite > finite.max() * 1e-3].min())))
    if largest > 7 or largest < -digits:
        return [_one(v, f".{digits - 1}e") for v in values]
    decimals = min(max(digits - 1 - smallest, 0), 8)
    return [_one(v, _own_spec(v, decimals)) for v in values]


def _own_spec(value: float, decimals: int) -> str:
    """Format of a number in a column of so many decimals."""
    if not np.isfinite(value) or value == 0 or abs(value) >= 10.0 ** (1 - decimals):
        return f".{decimals}f"
    own = 1 - int(np.floor(np.log10(abs(value))))
    return f".{own}f" if own <= 8 else ".1e"


def _one(value: float, spec: str) -> str:
    if np.isnan(value):
        return ""
    if np.isinf(value):
        return "inf" if value > 0 else "-inf"
    return format(value, spec)


def p_value(value: float) -> str:
    """Print a p-value; below 0.0001 as a bound."""
    if np.isnan(value):
        return ""
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


def block(columns: dict[str, list[str]], left: int = 1) -> str:
    """Align columns of text, the first ``left`` of them to the left."""
    return "\n".join(f" {line}" for line in aligned(columns, [*columns][:left]))


def aligned(columns: Mapping[str, Sequence[str]], left: Collection[str]) -> list[str]:
    """Lines of columns of text under their names, some of them aligned to the left."""
    width = {name: max(map(len, (name, *cells))) for name, cells in columns.items()}
    return [
        "  ".join(
            cell.ljust(width[name]) if name in left else cell.rjust(width[name])
            for name, cell in zip(columns, row, strict=True)
        ).rstrip()
        for row in [[*columns], *zip(*columns.values(), strict=True)]
    ]


def random_effects_block(varcorr: pd.DataFrame) -> str:
    """lme4's "Random effects" block: variances, SDs and the correlations below the diagonal."""
    diagonal = varcorr[varcorr["var2"].isna()]
    inside = [
        varcorr[(varcorr["group"] == g) & (varcorr["var2"] == v)] for g, v in diagonal[["group", "var1"]].to_numpy()
    ]
    columns = {
        "Groups": diagonal["group"].mask(diagonal["group"] == diagonal["group"].shift(), "").tolist(),
        "Name": diagonal["var1"].fillna("").astype(str).tolist(),
        "Variance": significant(diagonal["vcov"].to_numpy()),
        "Std.Dev.": significant(diagonal["sdcor"].to_numpy()),
        "Corr": [" ".join(f"{v:5.2f}" for v in rows["sdcor"]) for rows in inside],
    }
    if "structure" in diagonal:
        names, groups = diagonal["structure"].tolist(), columns["Groups"]
        # the correlation of the second column with the first says all of a structure
        columns["Corr"] = [
            text if name == "us" or before else ""
            for text, name, before in zip(columns["Corr"], names, ["", *groups[:-1]], strict=True)
        ]
        columns["Structure"] = [name if group else "" for name, group in zip(names, groups, strict=True)]
    if not any(columns["Corr"]):
        del columns["Corr"]
    return block(columns, left=2)


def groups_line(nobs: str, ngrps: dict[str, str]) -> str:
    """lme4's line of observations and groups."""
    return f"Number of obs: {nobs}, groups: " + "; ".join(f"{name}, {n}" for name, n in ngrps.items())


def span(values: np.ndarray) -> str:
    """Print one number, or its range over the data sets."""
    low, high = int(np.min(values)), int(np.max(values))
    return f"{low}" if low == high else f"{low} to {high}"


# -- tables of journals --------------------------------------------------------------------------------------------


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
