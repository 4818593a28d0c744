"""Coefficients of a generalised linear mixed model as odds ratios, or as ratios of rates or means."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import DataError
from ..glmm.families import Family

RATIOS = ("logit", "log", "cloglog")
RATIO_WORDS = {
    "binomial": "odds ratios",
    "ordinal": "cumulative odds ratios",
    "poisson": "rate ratios",
    "negative-binomial": "rate ratios",
    "gamma": "ratios of means",
}


def ratio_words(family: Family) -> str:
    """What exponentiated coefficients are; empty where they are no ratios."""
    if family.link not in RATIOS:
        return ""
    return "hazard ratios" if family.link == "cloglog" else RATIO_WORDS[family.name]


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
