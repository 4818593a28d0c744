"""Is the model identified? Each way in which it is not has a sentence of its own."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from ..data.checks import sum_of_squares
from ..design.build import ModelRows
from ..design.rows import RowMatrix
from ..engine.conditioning import ALIASED_PIVOT, aliased_columns
from ..errors import DataError, DataWarning, DesignError, RankDeficientWarning, shortened, warn
from ..kernels.lbfgs import LBFGS
from ..kernels.newton import Newton

# squares of larger numbers, and products with others, overflow
MAGNITUDE, WEIGHT_MAGNITUDE = 1e100, 1e20


def check_options(reml: object, optimizer: object) -> None:
    """Refuse options of a fit that are of the wrong type or size.

    Raises
    ------
    DataError
    """
    if not isinstance(reml, bool | np.bool_):
        raise DataError(f"reml={reml!r} must be True (REML) or False (maximum likelihood)")
    if not isinstance(optimizer, LBFGS | Newton):
        raise DataError(f"optimizer={optimizer!r} must be made by rx.Newton() or rx.LBFGS()")
    if isinstance(optimizer.max_iter, bool) or not isinstance(optimizer.max_iter, int | np.integer):
        raise DataError(f"max_iter={optimizer.max_iter!r} of the optimizer must be a whole number")
    if optimizer.max_iter < 1:
        raise DataError(f"max_iter={optimizer.max_iter!r} of the optimizer must be at least 1")
    if isinstance(optimizer, LBFGS):
        tol = optimizer.tol
        if not isinstance(tol, int | float | np.number) or not 0 < tol < np.inf:
            raise DataError(f"tol={tol!r} of the optimizer must be a positive number")


def refuse_prior(arguments: str, what: str) -> None:
    """Refuse what a fit with priors, given by these arguments if any, does not have.

    Raises
    ------
    DataError
    """
    if arguments:
        raise DataError(
            f"{what}, and a fit with a prior ({arguments}) maximises a penalised one: fit the model without the prior"
        )


def warn_structures(rows: ModelRows) -> None:
    """Warn of correlations that have no two columns, and of an order or a spacing of columns that may not be meant."""
    for term, source in zip(rows.terms, rows.formula.random, strict=True):
        if source.structure is None or not source.structure.has_correlation:
            continue
        kind, example = source.structure.kind, f"{source.structure.kind}(0 + factor(visit) | {source.group_label})"
        if len(term.names) == 1:
            warn(
                f"{source.text} has one column, {term.names[0]!r}, and so no correlation: for an effect of each "
                f"category, of numbers too, write such as {example}",
                DataWarning,
            )
        elif kind == "ar1":
            _warn_order(rows, term.names, source.text, example)


def _warn_order(rows: ModelRows, names: tuple[str, ...], text: str, example: str) -> None:
    """Warn of columns of an autoregressive term that are not the categories of a factor in the order of their numbers.

    An ordered or unordered ``pandas.Categorical`` has the order that was given to it.
    """
    factors, levels = {name.partition("[")[0] for name in names}, [name.partition("[")[2][:-1] for name in names]
    if len(factors) > 1 or not all(levels) or any(level.startswith("T.") for level in levels):
        warn(
            f"{text} has the columns {shortened(names)}, which it takes for equally spaced: for an effect of each "
            f"category write such as {example}",
            DataWarning,
        )
        return
    (factor,) = factors
    assert rows.data is not None  # every fit keeps its data
    frame = rows.data.frames[0]
    if factor in frame.columns and isinstance(frame[factor].dtype, pd.CategoricalDtype):
        return
    found = [re.fullmatch(r"(\D*?)(-?\d+(?:\.\d+)?)(\D*)", level) for level in levels]
    parts = [match.groups() for match in found if match]
    if len(parts) < len(levels) or len({(before, after) for before, _, after in parts}) > 1:
        return
    gaps = np.diff([float(number) for _, number, _ in parts])
    if not (gaps > 0).all():
        warn(
            f"the categories of {factor!r} stand in the order {shortened(levels)}, as texts sort, and {text} depends "
            f"on it: make {factor!r} an ordered pandas.Categorical",
            DataWarning,
        )
    elif np.ptp(gaps) > 1e-9 * np.max(gaps):
        warn(
            f"the categories {shortened(levels)} of {factor!r} are not equally spaced, and {text} takes them for "
            "neighbours at the same distance: use us or cs if that is not meant",
            DataWarning,
        )


def check_magnitudes(rows: ModelRows) -> None:
    """Refuse columns whose squares leave the range of double precision.

    Raises
    ------
    DataError
    """
    # one column, or successes and failures
    columns = [(f"the response {rows.formula.response!r}", y) for y in np.atleast_2d(rows.y.values.T)]
    columns += [
        (f"the fixed-effects column {name!r}", column)
        for name, column in zip(rows.fixed.names, rows.x.columns(), strict=True)
    ]
    columns += [
        (f"the random-effects column {name!r} of ({name} | {term.group})", column)
        for term in rows.terms
        for name, column in zip(term.names, term.rows.columns(), strict=True)
        if name not in rows.fixed.names  # else the same column
    ]
    if rows.weights is not None:
        # theta is relative to the residual of weight 1: weights far from 1 take it out of range sooner
        columns.append(("weights", rows.weights.values))
    if rows.offset is not None:
        columns.append(("the offset", rows.offset.values))
    for what, values in columns:
        limit = WEIGHT_MAGNITUDE if what == "weights" else MAGNITUDE
        if len(values) / limit**2 < sum_of_squares(values) < limit**2:
            continue
        largest = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
        if largest > limit or 0 < largest < 1 / limit:
            much = "large" if largest > 1 else "small"
            at = int(np.argmax(np.abs(values)))
            k = int(np.searchsorted(rows.offsets, at, side="right")) - 1
            where = f" in imputation {rows.labels[k]}" if len(values) > rows.offsets[1] else ""
            raise DataError(
                f"{what} has values as {much} as {largest:.3g}{where}, too {much} for double precision: change the unit"
            )


def check_levels(rows: ModelRows) -> None:
    """Refuse factors with one level.

    Raises
    ------
    DesignError
    """
    for k in range(rows.n_sets if any(f.offsets is not None for f in rows.factor_rows) else 1):
        where = f" in imputation {rows.labels[k]}" if rows.n_sets > 1 else ""
        for factor, codes in zip(rows.factors, rows.factor_rows, strict=True):
            if np.ptp(codes.of(k)) == 0:
                raise DesignError(
                    f"the grouping factor {factor.label!r} has only one level{where}: its variance cannot be estimated"
                )


def check_groups(rows: ModelRows) -> None:
    """Refuse factors with one level, one level per row, and more random effects than rows, as lme4 does.

    Terms with a covariance structure have few parameters, and may have more effects than there are rows.

    Raises
    ------
    DesignError
    """
    check_levels(rows)
    for k in range(rows.n_sets if any(f.offsets is not None for f in rows.factor_rows) else 1):
        where = f" in imputation {rows.labels[k]}" if rows.n_sets > 1 else ""
        n = rows.n_rows(k)
        present = [int(np.count_nonzero(np.bincount(f.of(k)))) for f in rows.factor_rows]
        for factor, levels in zip(rows.factors, present, strict=True):
            if levels >= n and rows.weights is None:
                raise DesignError(
                    f"the grouping factor {factor.label!r} has {levels} levels for {n} rows{where}: with one row per "
                    "level its variance cannot be told from the residual variance"
                )
        for term, structure in zip(rows.terms, (term.structure for term in rows.formula.random), strict=True):
            effects = len(term.names) * present[term.factor]
            if effects >= n and rows.weights is None and structure is None:
                raise DesignError(
                    f"the term ({' + '.join(term.names)} | {term.group}) has {effects} random effects for {n} rows"
                    f"{where}: its variances cannot be told from the residual variance; use fewer columns in the term"
                )


def independent_columns(rows: ModelRows, x: RowMatrix, noise: float = 0.0) -> np.ndarray:
    """Find the fixed-effect columns to keep, by QR of the pooled rows; warn about the others.

    Parameters
    ----------
    rows : ModelRows
    x : RowMatrix
        Columns of X, perhaps centred.
    noise : float, default 0
        Their rounding error.

    Raises
    ------
    DesignError
        A column is determined by the others in some data sets only.
    """
    names = np.asarray(rows.fixed.names, dtype=object)
    # rounding error is no column of its own
    least = max(ALIASED_PIVOT, 100 * noise)
    dropped = aliased_columns(x.values, least)
    keep = np.setdiff1d(np.arange(len(names)), dropped)
    if dropped:
        what = "column" if len(dropped) == 1 else "columns"
        warn(
            f"the fixed part is rank deficient: dropping {len(dropped)} {what} that others determine: "
            + shortened(names[j] for j in dropped)
            + _far_from_zero(x, dropped, names),
            RankDeficientWarning,
        )
    if x.differs:
        _check_each(rows, x, keep, names, least)
    return keep


def _far_from_zero(x: RowMatrix, dropped: list[int], names: np.ndarray) -> str:
    """Say which columns were dropped because all that varies in them is their last digits."""
    columns = x.columns()
    far = [j for j in dropped if 0 < np.ptp(columns[j]) < ALIASED_PIVOT * abs(np.mean(columns[j]))]
    return "".join(f"; subtract a constant from {names[j]!r}, whose mean is far from zero for its spread" for j in far)


def _check_each(rows: ModelRows, x: RowMatrix, keep: np.ndarray, names: np.ndarray, least: float) -> None:
    culprits: dict[str, list[str]] = {}
    for k in range(rows.n_sets):
        for j in aliased_columns(x.of(k)[:, keep], least):
            culprits.setdefault(str(names[keep[j]]), []).append(str(rows.labels[k]))
    if culprits:
        name, labels = next(iter(culprits.items()))
        raise DesignError(
            f"the fixed-effect column {name!r} is determined by the others in imputation {shortened(labels)} but not "
            "in all: its coefficient does not exist there and cannot be pooled; leave the term out or merge its "
            "categories"
        )
