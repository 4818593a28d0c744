"""The tidy rows that a study's methods hand back: one per replication, method and term."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SimulationError
from ..fitting.record import FitRecord
from .intervals import intervals
from .measures import STATUSES

COLUMNS = {
    "replication": np.int64,
    "method": str,
    "term": str,
    "estimate": np.float64,
    "std_error": np.float64,
    "df": np.float64,
    "conf_low": np.float64,
    "conf_high": np.float64,
    "p_value": np.float64,
    "fmi": np.float64,
    "truth": np.float64,
    "status": str,
    "singular": np.float64,
    "message": str,
    "n_iter": np.float64,
    "seconds": np.float64,
}
OPTIONAL = ("std_error", "df", "conf_low", "conf_high", "p_value", "fmi", "message", "n_iter")

Rows = pd.DataFrame | Sequence[Mapping[str, Any]]
Record = dict[str, Any]


def method_records(
    found: Rows,
    *,
    replication: int,
    method: str,
    truth: Mapping[str, float],
    seconds: float,
    message: str = "",
    fits: FitRecord | None = None,
) -> list[Record]:
    """Check what a method returned for one data set, and place it: one record per estimand, for `tidy_rows`.

    Parameters
    ----------
    found
        Rows with term and estimate, and whatever of `OPTIONAL`, status, singular and converged there is. Other columns
        and terms that are not estimands are left out.
    replication, method, seconds
        Where the rows belong, and the time that the method took.
    truth
        {term: true value} of the estimands.
    message
        Message of the rows if the method gives none, such as the text of a warning.
    fits
        The fits that remlax made for the method: what its rows do not say of status, singular and converged.

    Raises
    ------
    SimulationError
        The rows lack a column or an estimand, name one twice, or hold an unknown status, a number that is none, or
        one that cannot be: a standard error below 0 or infinite, limits in the wrong order, a p-value outside 0 to 1.

    Examples
    --------
    >>> method_records([{"term": "x", "estimate": 1.0, "other": 7}],
    ...     replication=0, method="ols", truth={"x": 0.8}, seconds=0.1)[0]["truth"]
    0.8
    """
    rows = found.to_dict("records") if isinstance(found, pd.DataFrame) else found
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise SimulationError(
            f"Method {method!r} returned a {type(found).__name__}: return a DataFrame or a list of dicts, with the "
            "columns term and estimate."
        )
    absent = [name for name in ("term", "estimate") if not rows or any(name not in row for row in rows)]
    if absent:
        raise SimulationError(f"Method {method!r} returned rows without column {', '.join(map(repr, absent))}.")
    by_term = {str(row["term"]): row for row in rows if row["term"] in truth}
    if len(by_term) < sum(row["term"] in truth for row in rows):
        raise SimulationError(f"Method {method!r} returned a term twice among {', '.join(map(repr, by_term))}.")
    lacking = [term for term in truth if term not in by_term]
    if lacking:
        raise SimulationError(f"Method {method!r} returned no row for the estimand {', '.join(map(repr, lacking))}.")
    place = {"replication": replication, "method": method, "seconds": seconds}
    records = []
    for term, value in truth.items():
        row = by_term[term]
        given = {name: row[name] for name in OPTIONAL if name in row}
        own = {"term": term, "estimate": row["estimate"], "truth": value}
        for name, number in (given | own).items():
            if COLUMNS[name] is np.float64 and not _is_number(number):
                raise SimulationError(f"Method {method!r} returned {name}={number!r} for {term!r}: give a number.")
        _check_possible(given, term, method)
        state = _state(row, fits or FitRecord(), method)
        records.append({"message": message, "df": math.inf} | given | own | state | place)
    return records


def _check_possible(given: Mapping[str, Any], term: str, method: str) -> None:
    """Raise a SimulationError for numbers that no analysis can have; a missing one is left out of the tables."""
    of = {name: float(value) for name, value in given.items() if name != "message" and not _is_missing(value)}
    what = f"Method {method!r} returned for {term!r} "
    error, p = of.get("std_error", 0.0), of.get("p_value", 0.0)
    if not 0 <= error < math.inf:
        raise SimulationError(f"{what}std_error={error:g}: give a finite number of at least 0, or NaN.")
    if not 0 <= p <= 1:
        raise SimulationError(f"{what}p_value={p:g}: give a number from 0 to 1, or NaN.")
    low, high = of.get("conf_low", -math.inf), of.get("conf_high", math.inf)
    if low > high:
        raise SimulationError(f"{what}conf_low={low:g} above conf_high={high:g}: give the lower limit first.")


def _is_missing(value: Any) -> bool:
    return value is None or bool(pd.isna(value))


def _state(row: Mapping[Any, Any], fits: FitRecord, method: str) -> Record:
    """Status of a row, and whether its fit is singular: as the method says, or else as its fits were, or unknown."""
    made = fits.fits > 0
    singular = _flag(row, "singular", fits.singular > 0 if made else None, method)
    converged = _flag(row, "converged", fits.nonconverged == 0 if made else None, method)
    if "status" not in row:
        status = "nonconverged" if converged is False else "singular" if singular else "ok"
    elif row["status"] not in STATUSES:
        raise SimulationError(f"Method {method!r} returned status {row['status']!r}; known are {', '.join(STATUSES)}.")
    else:
        status = row["status"]
        if row.get("singular") is None:
            singular = status == "singular"
    return {"status": status, "singular": math.nan if singular is None else float(singular)}


def _flag(row: Mapping[Any, Any], name: str, otherwise: bool | None, method: str) -> bool | None:
    """What a row says by a column of True and False."""
    value = row.get(name)
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return otherwise
    if not isinstance(value, bool | int | float | np.bool_ | np.number) or value not in (0, 1):
        raise SimulationError(f"Method {method!r} returned {name}={value!r}: give True or False.")
    return bool(value)


def _is_number(value: Any) -> bool:
    if value is None or value is pd.NA:
        return True
    return np.ndim(value) == 0 and np.isrealobj(value) and not isinstance(value, str)


def failed_records(
    message: str, *, replication: int, method: str, truth: Mapping[str, float], seconds: float = math.nan
) -> list[Record]:
    """Records of a replication in which a method failed: no estimates, but the reason."""
    place = {"replication": replication, "method": method, "seconds": seconds, "message": message}
    return [{"term": term, "estimate": math.nan, "truth": value, **place} for term, value in truth.items()]


def tidy_rows(records: Sequence[Record] | pd.DataFrame) -> pd.DataFrame:
    """Checked records as a frame with the columns of `COLUMNS`, in order and with their types.

    Limits (95 %) and p-values that are missing are made from std_error and df (infinite, that is normal, if the method
    gave none); status is "ok" if none was given, and "failed" without an estimate. What is not known of singular fits
    stays missing.

    Examples
    --------
    >>> rows = tidy_rows(method_records([{"term": "x", "estimate": 1.0, "std_error": 0.5}],
    ...     replication=0, method="ols", truth={"x": 0.8}, seconds=0.1))
    >>> rows[["term", "conf_low", "truth", "status"]].round(3).values.tolist()
    [['x', 0.02, 0.8, 'ok']]
    """
    frame = pd.DataFrame(records)
    columns: dict[str, Any] = {}
    for name, kind in COLUMNS.items():
        if kind is str:
            columns[name] = frame[name].fillna("").astype(str).tolist() if name in frame else [""] * len(frame)
        elif name in frame:
            columns[name] = frame[name].to_numpy(dtype=kind)
        else:
            columns[name] = np.full(len(frame), math.inf if name == "df" else math.nan)
    rows = pd.DataFrame(columns)
    made = intervals(rows.drop(columns=["conf_low", "conf_high", "p_value"]))
    for name in ("conf_low", "conf_high", "p_value"):
        rows[name] = rows[name].fillna(made[name])
    failed = ~np.isfinite(rows["estimate"])
    rows["status"] = rows["status"].replace("", "ok").mask(failed, "failed")
    rows["singular"] = rows["singular"].mask(failed)
    return rows
