"""Coefficients of a generalised linear mixed model as odds ratios, or as ratios of rates or means."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import DataError

RATIOS = ("logit", "log", "cloglog")


def exponentiated(table: pd.DataFrame, link: str) -> pd.DataFrame:
    """Exponentiate estimates and limits; standard errors are by the delta method, tests stay.

    Raises
    ------
    DataError
        Coefficients of the link are no logarithms.
    """
    require_ratios(link)
    return as_ratios(table)


def as_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Exponentiate estimates and limits, which are logarithms of ratios."""
    out = table.copy()
    out.attrs = table.attrs
    out["estimate"] = np.exp(table["estimate"])
    out["std_error"] = out["estimate"] * table["std_error"]
    for limit in ("conf_low", "conf_high"):
        out[limit] = np.exp(table[limit])
    return out


def require_ratios(link: str) -> None:
    """Refuse links whose coefficients are no logarithms."""
    if link not in RATIOS:
        raise DataError(f"exponentiate=True: coefficients of link={link!r} are no logarithms of ratios")
