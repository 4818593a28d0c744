"""The tidy rows that a study's methods hand back: one per replication, method and term."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SimulationError
from .intervals import intervals
from .measures import STATUSES

NUMBERS = ("estimate", "std_error", "df", "conf_low", "conf_high", "p_value", "fmi", "truth", "seconds", "n_iter")
TEXTS = ("method", "term", "status", "message")
COLUMNS = (
    "replication",
    "method",
    "term",
    "estimate",
    "std_error",
    "df",
    "conf_low",
    "conf_high",
    "p_value",
    "fmi",
    "truth",
    "status",
    "message",
    "n_iter",
    "seconds",
)

Rows = pd.DataFrame | Sequence[Mapping[str, Any]]


def method_rows(
    found: Rows, *, replication: int, method: str, truth: Mapping[str, float], seconds: float
) -> pd.DataFrame:
    """Bring what a method returned for one data set into the form of the results file.

    Parameters
    ----------
    found
        Rows with the columns term and estimate; std_error, df, conf_low, conf_high, p_value, fmi, status,
        message and n_iter if there are any. Other columns and terms that are not estimands are left out.
        Limits (95 %) and p-values that are not given are made from std_error and df (normal without df).
    replication, method
        Where the rows belong.
    truth
        {term: true value} of the estimands.
    seconds
        Time that the method took.

    Returns
    -------
    DataFrame
        One row per estimand, with `COLUMNS`.

    Raises
    ------
    SimulationError
        The rows lack a column or an estimand, name one twice, or hold an unknown status.

    Examples
    --------
    >>> rows = method_rows([{"term": "x", "estimate": 1.0, "std_error": 0.5}],
    ...     replication=0, method="ols", truth={"x": 0.8}, seconds=0.1)
    >>> rows[["term", "conf_low", "truth", "status"]].round(3).values.tolist()
    [['x', 0.02, 0.8, 'ok']]
    """
    frame = found if isinstance(found, pd.DataFrame) else pd.DataFrame(list(found))
    absent = [name for name in ("term", "estimate") if name not in frame]
    if absent:
        raise SimulationError(f"Method {method!r} returned rows without the column {', '.join(map(repr, absent))}.")
    frame = frame[frame["term"].isin(list(truth))].set_index("term")
    if not frame.index.is_unique:
        raise SimulationError(f"Method {method!r} returned a term twice: {', '.join(map(repr, frame.index))}.")
    lacking = [term for term in truth if term not in frame.index]
    if lacking:
        raise SimulationError(f"Method {method!r} returned no row for the estimand {', '.join(map(repr, lacking))}.")
    frame = frame.loc[list(truth)].reset_index()
    if "std_error" in frame:
        frame = intervals(frame)
    estimated = np.isfinite(frame["estimate"].to_numpy(dtype=np.float64, na_value=np.nan))
    frame["status"] = np.where(estimated, frame.get("status", "ok"), "failed")
    unknown = sorted(set(frame["status"]) - set(STATUSES))
    if unknown:
        known = ", ".join(STATUSES)
        raise SimulationError(f"Method {method!r} returned status {unknown[0]!r}; known are {known}.")
    filled = frame.assign(replication=replication, method=method, truth=list(truth.values()), seconds=seconds)
    return _complete(filled)


def failed_rows(
    message: str, *, replication: int, method: str, truth: Mapping[str, float], seconds: float = math.nan
) -> pd.DataFrame:
    """Rows of a replication in which a method failed: no estimates, but the reason."""
    return _complete(
        pd.DataFrame({"term": list(truth), "truth": list(truth.values())}).assign(
            replication=replication, method=method, status="failed", message=message, seconds=seconds
        )
    )


def _complete(frame: pd.DataFrame) -> pd.DataFrame:
    """All columns, in order and with their types."""
    columns = {
        name: pd.to_numeric(frame[name]).to_numpy(dtype=np.float64, na_value=np.nan)
        if name in frame
        else np.full(len(frame), math.nan)
        for name in NUMBERS
    }
    texts = {
        name: frame[name].fillna("").astype(str).to_numpy(dtype=object) if name in frame else np.full(len(frame), "")
        for name in TEXTS
    }
    whole = {"replication": frame["replication"].to_numpy(dtype=np.int64)}
    every: dict[str, Any] = columns | texts | whole
    return pd.DataFrame({name: every[name] for name in COLUMNS})
