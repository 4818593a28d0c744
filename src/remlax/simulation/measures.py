"""Performance of methods over the replications of a simulation study, with Monte Carlo standard errors.

Source: Morris, White & Crowther (2019), Using simulation studies to evaluate statistical methods,
Statistics in Medicine 38:2074-2102, table 6. Numbers agree with the R package rsimsum.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..checks import Checks
from ..errors import DataError
from .intervals import Floats, intervals, numbers, require

checks = Checks()

Triple = tuple[float, float, int]

CONVERGED = ("ok", "singular")  # a singular fit is an optimum, only one on the boundary
STD_ERROR = "std_error"
STATUSES = (*CONVERGED, "nonconverged", "failed")
_COLUMNS = ("summary", "measure", "estimate", "mcse", "n_used", "n_planned")


@dataclass(frozen=True)
class _Cell:
    """The replications of one cell of the table, one entry each; NaN where a number is missing."""

    estimate: Floats
    se: Floats
    low: Floats
    high: Floats
    p: Floats
    truth: Floats
    status: NDArray[np.str_]
    singular: Floats

    def take(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> _Cell:
        return _Cell(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


def performance(
    results: pd.DataFrame,
    *,
    truth: float | str | Mapping[str, float],
    estimate: str = "estimate",
    se: str = STD_ERROR,
    by: Sequence[str] = ("scenario", "method", "term"),
    df: str = "df",
    conf_low: str = "conf_low",
    conf_high: str = "conf_high",
    p_value: str = "p_value",
    status: str = "status",
    alpha: float = 0.05,
    conf_level: float | None = None,
    null: float = 0.0,
    reference_method: Hashable | None = None,
    method: str = "method",
    replication: str = "replication",
) -> pd.DataFrame:
    """Summarise the replications of every cell: one row per cell, summary and measure.

    Parameters
    ----------
    results
        One row per replication (and scenario, method, term). A failed replication stays in the frame with a
        missing estimate.
    truth
        The true value: a number, the name of a column, or a mapping from term to value (column ``term``).
    estimate, se
        Columns with the estimate and its standard error. Without a column ``std_error`` measures that need one are
        missing, unless the frame has limits or p-values.
    by
        Columns that define a cell.
    df, conf_low, conf_high, p_value, status
        Columns used when the frame has them. Without limits, t intervals are made from ``se`` and ``df``;
        without ``df`` they are normal. Without ``status``, a row with a finite estimate is "ok" and any other
        is "failed".
    alpha
        A replication rejects when its p-value is at most this.
    conf_level
        None: the limits in the frame if there are any, else 95% ones. A number: limits of that level are made
        from ``se`` and ``df``, whatever the frame holds.
    null
        Value under the null hypothesis. If it is not 0, p-values are made from ``se`` and ``df``.
    reference_method
        Value of column ``method`` with which the precision of the others is compared, in pairs of the same
        ``replication``; None leaves relative precision out.
    method, replication
        Columns used for that comparison.

    Returns
    -------
    DataFrame
        The ``by`` columns, then ``summary`` ("all": every replication with an estimate; "converged": only
        those with status "ok" or "singular", if there is a status column), ``measure``, ``estimate``,
        ``mcse`` (its Monte Carlo standard error; NaN where there is none) and ``n_used`` (replications used); for
        results of a study also ``n_planned`` (replications of the cell when the study is finished), and in ``attrs``
        a ``note`` that names missing blocks.
        Measures: n_replications, n_estimates, n_failed, convergence, singular (NaN where the results do not tell:
        neither a column ``singular`` nor a status), mean, bias, relative_bias, empirical_se, mse, rmse, model_se,
        relative_error_model_se (percent), coverage, bias_eliminated_coverage, width, power
        (named type_1_error where the truth is ``null``) and relative_precision (percent).

    Raises
    ------
    DataError
        A column is missing, a term has no true value, a status is unknown, or replications are not unique.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"method": "ols", "estimate": [0.9, 1.0, 1.4], "std_error": 0.2})
    >>> table = performance(rows, truth=1.0, by=("method",))
    >>> table.set_index("measure")["estimate"].round(3)[["bias", "empirical_se", "coverage"]].to_dict()
    {'bias': 0.1, 'empirical_se': 0.265, 'coverage': 0.667}
    """
    by = checks.names(by, "by=")
    _check_results(results, (estimate, *([se] if se != STD_ERROR else [])), by)
    checks.number(alpha, "alpha=", 0, 1)
    if se not in results:
        _check_without_se(conf_level, null)
        results = results.assign(**{se: math.nan})
    frame = intervals(
        results,
        estimate=estimate,
        se=se,
        df=df,
        conf_low=conf_low,
        conf_high=conf_high,
        p_value=p_value,
        conf_level=conf_level,
        null=null,
    )
    columns = {"estimate": estimate, "se": se, "low": conf_low, "high": conf_high, "p": p_value}
    values = {name: numbers(frame, column) for name, column in columns.items()}
    known = _status(frame, status, values["estimate"])
    cells = _Cell(**values, truth=_truth(frame, truth), status=known, singular=_singular(frame, status, known))
    summaries = ("all", "converged") if status in frame else ("all",)
    extra = _relative_precision(frame, cells, by, method, replication, reference_method, summaries)
    records = []
    for key, rows in _groups(frame, by):
        planned = _planned(results, rows, by)
        for summary in summaries:
            found = _measures(cells.take(rows), summary, alpha, null)
            if (key, summary) in extra:
                found["relative_precision"] = extra[key, summary]
            records += [(*key, summary, name, *triple, planned) for name, triple in found.items()]
    table = pd.DataFrame.from_records(records, columns=[*by, *_COLUMNS])
    if "n_planned" not in results.attrs:
        return table.drop(columns="n_planned")
    table.attrs = {"note": results.attrs.get("note", "")}
    return table


def _planned(results: pd.DataFrame, rows: NDArray[np.intp], by: Sequence[str]) -> int:
    """Rows of a cell when the study is finished: one per replication of whatever is in it."""
    others = [name for name in ("scenario", "method", "term") if name in results and name not in by]
    parts = len(results.iloc[rows][others].drop_duplicates()) if others else 1
    return int(results.attrs.get("n_planned", 0)) * parts


def _check_results(results: pd.DataFrame, needed: Sequence[str], by: Sequence[str]) -> None:
    require(results, [*needed, *by])
    if results.empty:
        raise DataError("The results have no rows: there is nothing to summarise.")
    clash = [name for name in by if name in _COLUMNS]
    if clash:
        raise DataError(f"Rename column {', '.join(map(repr, clash))}: the table has one of that name itself.")


def _check_without_se(conf_level: float | None, null: float) -> None:
    for what, asked in (("conf_level=", conf_level is not None), ("null=", null != 0)):
        if asked:
            raise DataError(
                f"{what} needs standard errors, and the results have no column {STD_ERROR!r}: name it in se=."
            )


def _measures(cell: _Cell, summary: str, alpha: float, null: float) -> dict[str, Triple]:
    """Every measure of one cell as (estimate, mcse, n)."""
    total = cell.status.size
    rates = {
        "n_replications": (float(total), math.nan, total),
        "n_estimates": (float(np.isfinite(cell.estimate).sum()), math.nan, total),
        "n_failed": (float((cell.status == "failed").sum()), math.nan, total),
        "convergence": _proportion(np.isin(cell.status, CONVERGED)),
        "singular": _singular_share(cell),
    }
    if summary == "converged":
        cell = cell.take(np.isin(cell.status, CONVERGED))
    cell = cell.take(np.isfinite(cell.estimate))
    return rates | _errors(cell) | _standard_errors(cell) | _decisions(cell, alpha, null)


def _errors(cell: _Cell) -> dict[str, Triple]:
    """Measures of the estimates alone."""
    estimate, error = cell.estimate, cell.estimate - cell.truth
    n = estimate.size
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(cell.truth == 0, math.nan, error / cell.truth)
    spread = _sd(estimate)
    mse, mse_error, _ = _mean(error**2)
    root = math.sqrt(mse)
    return {
        "mean": _mean(estimate),
        "bias": _mean(error),
        "relative_bias": _mean(relative),
        "empirical_se": (spread, spread / math.sqrt(2 * (n - 1)) if n > 1 else math.nan, n),
        "mse": (mse, mse_error, n),
        "rmse": (root, mse_error / (2 * root) if root > 0 else math.nan, n),  # delta method
    }


def _standard_errors(cell: _Cell) -> dict[str, Triple]:
    """How well the reported standard errors describe the spread of the estimates."""
    square = cell.se[np.isfinite(cell.se)] ** 2
    n, m = square.size, cell.estimate.size
    model = math.sqrt(square.mean()) if n else math.nan
    empirical = _sd(cell.estimate)
    if not (n > 1 and m > 1 and model > 0 and empirical > 0):
        return {"model_se": (model, math.nan, n), "relative_error_model_se": (math.nan, math.nan, n)}
    variance = float(np.var(square, ddof=1))
    ratio = model / empirical
    return {
        "model_se": (model, math.sqrt(variance / (4 * n)) / model, n),
        "relative_error_model_se": (
            100 * (ratio - 1),
            100 * ratio * math.sqrt(variance / (4 * n * model**4) + 1 / (2 * (m - 1))),
            n,
        ),
    }


def _decisions(cell: _Cell, alpha: float, null: float) -> dict[str, Triple]:
    """Measures of intervals and tests."""
    limits = cell.take(np.isfinite(cell.low) & np.isfinite(cell.high))
    middle = cell.estimate.mean() if cell.estimate.size else math.nan
    tested = cell.p[np.isfinite(cell.p)]
    is_null = cell.truth.size > 0 and bool((cell.truth == null).all())
    return {
        "coverage": _proportion((limits.low <= limits.truth) & (limits.truth <= limits.high)),
        "bias_eliminated_coverage": _proportion((limits.low <= middle) & (middle <= limits.high)),
        "width": _mean(limits.high - limits.low),
        "type_1_error" if is_null else "power": _proportion(tested <= alpha),
    }


def _relative_precision(
    frame: pd.DataFrame,
    cells: _Cell,
    by: Sequence[str],
    method: str,
    replication: str,
    reference: Hashable | None,
    summaries: Sequence[str],
) -> dict[tuple[tuple[Hashable, ...], str], Triple]:
    """Gain in precision over the reference method, from pairs of one replication, per cell and summary."""
    if reference is None:
        return {}
    require(frame, [method, replication])
    if method not in by:
        raise DataError(f"reference_method needs the column {method!r} among by={tuple(by)}.")
    if not (frame[method] == reference).any():
        raise DataError(f"reference_method={reference!r} does not occur in column {method!r}.")
    place = list(by).index(method)
    number = frame[replication].to_numpy()
    result: dict[tuple[tuple[Hashable, ...], str], Triple] = {}
    for summary in summaries:
        usable = np.isfinite(cells.estimate)
        if summary == "converged":
            usable &= np.isin(cells.status, CONVERGED)
        series: dict[tuple[Hashable, ...], pd.Series] = {}
        for key, rows in _groups(frame, by):
            keep = rows[usable[rows]]
            series[key] = pd.Series(cells.estimate[keep], index=number[keep])
            if not series[key].index.is_unique:
                cell = dict(zip(by, key, strict=True))
                raise DataError(f"Cell {cell} holds a replication twice: put more columns in by=.")
        for key, own in series.items():
            partner = series.get((*key[:place], reference, *key[place + 1 :]))
            if partner is not None and key[place] != reference:
                result[key, summary] = _gain(*(part.to_numpy() for part in partner.align(own, join="inner")))
    return result


def _gain(reference: Floats, other: Floats) -> Triple:
    """Percent gain in precision of ``other`` and its MCSE."""
    n = other.size
    if n < 2 or not _sd(other) > 0 or not _sd(reference) > 0:
        return math.nan, math.nan, n
    ratio = (_sd(reference) / _sd(other)) ** 2
    left_over = max(0.0, 1 - float(np.corrcoef(reference, other)[0, 1]) ** 2)
    return 100 * (ratio - 1), 200 * ratio * math.sqrt(left_over / (n - 1)), n


def _groups(frame: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[tuple[Hashable, ...], NDArray[np.intp]]]:
    """Key and row positions of every cell, in order of appearance."""
    for key, rows in frame.groupby(list(by), sort=False, observed=True, dropna=False).indices.items():
        yield (key if isinstance(key, tuple) else (key,)), np.asarray(rows, dtype=np.intp)


def _truth(frame: pd.DataFrame, truth: float | str | Mapping[str, float]) -> Floats:
    if isinstance(truth, str):
        require(frame, [truth])
        return numbers(frame, truth)
    if isinstance(truth, Mapping):
        require(frame, ["term"])
        unknown = sorted({str(term) for term in frame["term"]} - set(truth))
        if unknown:
            raise DataError(f"truth= names no value for term {', '.join(map(repr, unknown))}.")
        values = {term: checks.number(value, f"truth= of {term!r}") for term, value in truth.items()}
        return np.array([values[term] for term in frame["term"]], dtype=np.float64)
    return np.full(len(frame), checks.number(truth, "truth= (or a column, or a dict by term)"))


def _status(frame: pd.DataFrame, column: str, estimate: Floats) -> NDArray[np.str_]:
    finite = np.isfinite(estimate)
    if column not in frame:
        return np.where(finite, "ok", "failed")
    status = frame[column].to_numpy(dtype=str)
    unknown = sorted(set(status.tolist()) - set(STATUSES))
    if unknown:
        named, known = ", ".join(map(repr, unknown)), ", ".join(STATUSES)
        raise DataError(f"Column {column!r} holds {named}; a status is one of {known}.")
    return np.where(finite, status, "failed")


def _singular(frame: pd.DataFrame, column: str, status: NDArray[np.str_]) -> Floats:
    """1 where a fit is singular, 0 where it is not, NaN where the results do not tell."""
    if "singular" in frame:
        flags = numbers(frame, "singular")
        return np.where(np.isnan(flags) & (status == "singular"), 1.0, flags)
    return np.where(status == "singular", 1.0, 0.0 if column in frame else math.nan)


def _singular_share(cell: _Cell) -> Triple:
    """Share of singular fits among all that were tried; unknown if no method reported any fit, singular or not."""
    flags = cell.singular
    if not np.isfinite(flags).any():
        return math.nan, math.nan, 0
    return _proportion(flags[np.isfinite(flags) | ~np.isin(cell.status, CONVERGED)] == 1)


def _sd(x: Floats) -> float:
    return float(np.std(x, ddof=1)) if x.size > 1 else math.nan


def _mean(x: Floats) -> Triple:
    return (
        (float(x.mean()) if x.size else math.nan),
        (_sd(x) / math.sqrt(x.size) if x.size else math.nan),
        x.size,
    )


def _proportion(hits: NDArray[np.bool_]) -> Triple:
    if hits.size == 0:
        return math.nan, math.nan, 0
    p = float(hits.mean())
    return p, math.sqrt(p * (1 - p) / hits.size), hits.size
