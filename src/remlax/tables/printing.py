"""Plain-text blocks in lme4's order; numbers rounded by significant digits, columns aligned."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from ..names import UnknownNames

INFINITE_DF = 1e7  # degrees of freedom beyond are printed as infinite


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
    """Print a column with enough decimals for ``digits`` significant ones in its smallest value, as R does."""
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
    return [_one(v, f".{decimals}f") for v in values]


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
    lines = []
    width = {name: max([len(name), *(len(cell) for cell in cells)]) for name, cells in columns.items()}
    for row in [list(columns), *(list(cells) for cells in zip(*columns.values(), strict=True))]:
        parts = [
            cell.ljust(width[name]) if j < left else cell.rjust(width[name])
            for j, (name, cell) in enumerate(zip(columns, row, strict=True))
        ]
        lines.append(" " + "  ".join(parts).rstrip())
    return "\n".join(lines)


def random_effects_block(varcorr: pd.DataFrame) -> str:
    """lme4's "Random effects" block: variances, SDs and the correlations below the diagonal."""
    groups, names, correlations = [], [], []
    variances, sds = [], []
    diagonal = varcorr[varcorr["var2"].isna()]
    last = None
    for _, row in diagonal.iterrows():
        groups.append(str(row["group"]) if row["group"] != last else "")
        last = row["group"]
        names.append("" if row["var1"] is None or pd.isna(row["var1"]) else str(row["var1"]))
        variances.append(row["vcov"])
        sds.append(row["sdcor"])
        inside = varcorr[(varcorr["group"] == row["group"]) & (varcorr["var2"] == row["var1"])]
        correlations.append(" ".join(f"{v:5.2f}" for v in inside["sdcor"]))
    columns = {
        "Groups": groups,
        "Name": names,
        "Variance": significant(np.array(variances)),
        "Std.Dev.": significant(np.array(sds)),
    }
    if any(correlations):
        columns["Corr"] = correlations
    return block(columns, left=2)


def groups_line(nobs: str, ngrps: dict[str, str]) -> str:
    """lme4's line of observations and groups."""
    return f"Number of obs: {nobs}, groups: " + "; ".join(f"{name}, {n}" for name, n in ngrps.items())


def span(values: np.ndarray) -> str:
    """Print one number, or its range over the data sets."""
    low, high = int(np.min(values)), int(np.max(values))
    return f"{low}" if low == high else f"{low} to {high}"
