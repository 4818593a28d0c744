"""How many replications a simulation study needs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from ..errors import DataError
from ..simulation import checks

_PROPORTIONS = ("coverage", "bias_eliminated_coverage", "power", "type_1_error", "convergence", "singular")


def n_needed(
    measure: str,
    mcse: float,
    *,
    proportion: float | None = None,
    sd: float | None = None,
    variance_ratio: float | None = None,
    correlation: float = 0.0,
) -> int:
    """Replications needed for a Monte Carlo standard error, from what is known before the study.

    Parameters
    ----------
    measure
        A measure of `performance`.
    mcse
        The standard error wanted, on the scale of the measure.
    proportion
        Expected value, for coverage, bias_eliminated_coverage, power, type_1_error, convergence and singular.
    sd
        Expected standard deviation over replications: of the estimates for mean, bias and empirical_se, of
        estimate/truth for relative_bias, of the interval's width for width.
    variance_ratio, correlation
        For relative_precision: variance of the reference method's estimates over that of the other's, and the
        correlation of the two.

    Returns
    -------
    int
        The number of replications.

    Raises
    ------
    DataError
        The measure is unknown, has no closed form (use `n_needed_from`), or a number it needs is missing.

    Examples
    --------
    >>> n_needed("coverage", 0.005, proportion=0.95)
    1900
    >>> n_needed("bias", 0.005, sd=0.2)
    1600
    """
    _check_mcse(mcse)
    if measure in _PROPORTIONS:
        p = _given(measure, "proportion", proportion, 1.0)
        return _ceil(p * (1 - p) / mcse**2)
    if measure in ("mean", "bias", "relative_bias", "width"):
        return _ceil((_given(measure, "sd", sd) / mcse) ** 2)
    if measure == "empirical_se":
        return _ceil((_given(measure, "sd", sd) / mcse) ** 2 / 2) + 1
    if measure == "relative_precision":
        ratio = _given(measure, "variance_ratio", variance_ratio)
        checks.number(correlation, "correlation=", -1, 1, DataError)
        return _ceil((200 * ratio / mcse) ** 2 * (1 - correlation**2)) + 1
    raise DataError(
        f"No closed form for measure {measure!r}: run a pilot study and use n_needed_from. "
        f"Closed forms: {', '.join((*_PROPORTIONS, 'mean', 'bias', 'relative_bias', 'width'))}, "
        "empirical_se, relative_precision."
    )


def n_needed_from(table: pd.DataFrame, measure: str, mcse: float) -> pd.DataFrame:
    """Replications needed for a Monte Carlo standard error, from a pilot study.

    Every Monte Carlo standard error falls as one over the square root of the number of replications.

    Parameters
    ----------
    table
        What `performance` returned for the pilot study.
    measure
        The measure to plan for.
    mcse
        The standard error wanted.

    Returns
    -------
    DataFrame
        The rows of that measure, with the column ``n_needed`` (integer; missing where the pilot gave no
        standard error).

    Raises
    ------
    DataError
        The table does not hold the measure, or ``mcse`` is not positive.

    Examples
    --------
    >>> import pandas as pd
    >>> from remlax.simulation.measures import performance
    >>> rows = pd.DataFrame({"method": "ols", "estimate": [0.9, 1.0, 1.4], "std_error": 0.2})
    >>> table = performance(rows, truth=1.0, by=("method",))
    >>> n_needed_from(table, "bias", 0.01)["n_needed"].tolist()
    [700]
    """
    _check_mcse(mcse)
    checks.frame(table, "The table", DataError)
    lacking = [name for name in ("measure", "n_used", "mcse") if name not in table]
    if lacking:
        raise DataError(f"The table has no column {lacking[0]!r}: give what performance() returns.")
    rows = table[table["measure"] == measure]
    if rows.empty:
        known = ", ".join(map(str, table["measure"].unique()))
        raise DataError(f"The table has no measure {measure!r}; it has {known}.")
    need = [
        _ceil(n * (now / mcse) ** 2) if np.isfinite(now) else pd.NA
        for n, now in zip(rows["n_used"], rows["mcse"], strict=True)
    ]
    return rows.assign(n_needed=pd.array(need, dtype="Int64"))


def _given(measure: str, name: str, value: float | None, high: float = math.inf) -> float:
    if value is None:
        raise DataError(f"n_needed({measure!r}) needs {name}=.")
    return checks.number(value, f"{name}=", 0, high, DataError)


def _check_mcse(mcse: object) -> None:
    if isinstance(mcse, str | bool) or not isinstance(mcse, int | float | np.number) or not 0 < mcse < math.inf:
        raise DataError(f"mcse must be positive, got {mcse!r}.")


def _ceil(x: float) -> int:
    return math.ceil(x * (1 - 1e-12))  # 0.95 * 0.05 / 0.005**2 is 1900 and a rounding error
