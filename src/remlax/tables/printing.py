"""Plain-text blocks in lme4's order; numbers rounded by significant digits, columns aligned."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
