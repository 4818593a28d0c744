"""Confidence limits and p-values of result rows, and the reading of their columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from ..errors import DataError
from . import checks

Floats = NDArray[np.float64]


def intervals(
    results: pd.DataFrame,
    *,
    estimate: str = "estimate",
    se: str = "std_error",
    df: str = "df",
    conf_low: str = "conf_low",
    conf_high: str = "conf_high",
    p_value: str = "p_value",
    conf_level: float | None = None,
    null: float = 0.0,
) -> pd.DataFrame:
    """Add confidence limits and p-values to result rows that have none.

    Parameters
    ----------
    results
        Rows with an estimate and a standard error.
    estimate, se, df, conf_low, conf_high, p_value, conf_level, null
        As for `performance`.

    Returns
    -------
    DataFrame
        A copy with the columns ``conf_low``, ``conf_high`` and ``p_value``: those of the frame, or made from
        the t distribution with ``df`` degrees of freedom (the normal one without that column).

    Raises
    ------
    DataError
        A column is missing, only one of the two limits is there, or the level is none.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = intervals(pd.DataFrame({"estimate": [1.0], "std_error": [0.5], "df": [10.0]}))
    >>> rows[["conf_low", "conf_high", "p_value"]].round(4).to_numpy().tolist()
    [[-0.1141, 2.1141, 0.0734]]
    """
    require(results, [estimate, se])
    if conf_level is not None and not (isinstance(conf_level, int | float | np.number) and 0 < conf_level < 1):
        raise DataError(f"conf_level={conf_level!r} must lie between 0 and 1, as in 0.95.")
    if (conf_low in results) != (conf_high in results):
        raise DataError(f"The results hold only one of the limits {conf_low!r} and {conf_high!r}: give both, or none.")
    checks.number(null, "null=", error=DataError)
    middle, spread = numbers(results, estimate), numbers(results, se)
    if (spread < 0).any():
        raise DataError(f"Column {se!r} of the results holds negative standard errors: {spread[spread < 0][0]:g}.")
    degrees = numbers(results, df) if df in results else np.full(len(results), math.inf)
    new: dict[str, Floats] = {}
    if conf_level is not None or conf_low not in results:
        half = stats.t.ppf(0.5 + (0.95 if conf_level is None else conf_level) / 2, degrees) * spread
        new |= {conf_low: middle - half, conf_high: middle + half}
    if null != 0 or p_value not in results:
        with np.errstate(divide="ignore", invalid="ignore"):
            new[p_value] = np.asarray(2 * stats.t.sf(np.abs(middle - null) / spread, degrees))
    return results.assign(**new)


def require(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise a DataError naming the columns that the results lack."""
    checks.frame(frame, "The results", DataError)
    missing = [column for column in columns if column not in frame]
    if missing:
        named, known = ", ".join(map(repr, missing)), ", ".join(map(str, frame))
        raise DataError(f"The results have no column {named}; they have {known}.")


def numbers(frame: pd.DataFrame, column: str) -> Floats:
    """Column of the results as float64, missing as NaN."""
    try:
        return frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"Column {column!r} of the results must hold numbers; it holds {frame[column].dtype}."
        ) from error
