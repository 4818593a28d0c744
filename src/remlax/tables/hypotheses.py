"""Wald tests of linear hypotheses about the coefficients, and of every term of a model, of one fit and pooled."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from ..design.build import ModelRows
from ..errors import DataError, RankDeficientWarning, warn
from ..fitting.assemble import Assembled
from ..fitting.selection import Selection
from ..inference.coefficients import CoefficientInference
from ..pooling import PooledTest, d1, d2, wald_statistics
from ..pooling.tails import f_upper
from .checks import checks
from .constraints import Linear
from .notes import mark

WaldMethod = Literal["D1", "D2"]


def check_rank(linear: Linear) -> None:
    """Refuse hypotheses that follow from each other, or contradict each other."""
    size = np.sqrt((linear.matrix**2).sum(axis=1, keepdims=True))
    if np.linalg.matrix_rank(linear.matrix / size) < len(linear.matrix):
        raise DataError(f"the hypotheses are linearly dependent ({'; '.join(linear.labels)}): leave one out")


def wald_test(fits: Selection, within: CoefficientInference, linear: Linear, method: WaldMethod = "D1") -> pd.DataFrame:
    """Test L beta = q0: F test of one fit, ``hypothesis statistic df1 df2 p_value method``; D1 or D2 of several.

    Those of several fits have ``riv dfcom note`` as well.
    """
    one = fits.n_sets == 1
    row = _f_test(fits, within, linear) if one else test_row(pooled_wald(fits, within, linear, method))
    written = "; ".join(f"{label} = {value:.6g}" for label, value in zip(linear.labels, linear.null, strict=True))
    return pd.DataFrame([{"hypothesis": written, **row}])


def test_row(test: PooledTest) -> dict[str, object]:
    """A pooled test as the row of a table."""
    return {
        "statistic": float(test.statistic),
        "df1": test.df1,
        "df2": float(test.df2),
        "p_value": float(test.p_value),
        "riv": float(test.riv),
        "dfcom": float(test.dfcom),
        "method": test.method,
        "note": test.note,
    }


def _f_test(fit: Selection, within: CoefficientInference, linear: Linear) -> dict[str, object]:
    """F test of one fit; NaN where a variance is not known."""
    check_rank(linear)
    difference = linear.matrix @ fit.beta[0] - linear.null
    variance = linear.matrix @ within.vcov[0] @ linear.matrix.T
    joint = within.joint(linear.matrix)
    known = np.nan if fit.unknown_variance(linear.matrix).any() else 1.0
    df1, df2 = len(linear.matrix), known * float(joint.df2[0])
    statistic = float(known * joint.scale[0] * difference @ np.linalg.solve(variance, difference) / df1)
    p = f_upper(np.asarray(statistic), df1, np.asarray(df2))
    return {
        "statistic": statistic,
        "df1": df1,
        "df2": df2,
        "p_value": float(p),
        "method": joint.name or f"F, {within.rule}",
    }


def pooled_wald(fits: Selection, within: CoefficientInference, linear: Linear, method: WaldMethod) -> PooledTest:
    """D1 or D2 (of Wald statistics) of L beta = q0; NaN where a variance is not known.

    The complete-data degrees of freedom of D1 are those of the F test of each fit, averaged.
    """
    checks.choice(method, WaldMethod, "method=")
    check_rank(linear)
    estimates = fits.beta @ linear.matrix.T
    covariances = linear.matrix @ within.vcov @ linear.matrix.T
    if method == "D1":
        test = d1(estimates, covariances, linear.null, dfcom=float(within.joint(linear.matrix).df2.mean()))
    else:
        test = d2(wald_statistics(estimates, covariances, linear.null), len(linear.matrix))
    if fits.unknown_variance(linear.matrix).any():
        none = np.full_like(test.statistic, np.nan)
        return replace(test, statistic=none, df2=none, p_value=none, riv=none, dfcom=none)
    return test


# a row for a term that cannot be tested; the other columns are NaN
UNTESTED = {"hypothesis": "", "df1": 0, "method": "not estimable", "note": ""}


def term_tests(fits: Selection, within: CoefficientInference, method: WaldMethod = "D1") -> pd.DataFrame:
    """Test every term: the columns of `wald_test`, with ``term``; one without a test has no degrees of freedom."""
    first = fits.each[0]
    assert first.rows.data is not None  # every fit keeps its data
    terms, notes = term_hypotheses(first.model, first.rows, first.rows.data.frames[first.k])
    rows = [None if linear is None else wald_test(fits, within, linear, method) for linear in terms.values()]
    like = next(row for row in rows if row is not None)
    none = pd.DataFrame([{name: UNTESTED.get(name, np.nan) for name in like.columns}])
    table = pd.concat([none if row is None else row for row in rows], ignore_index=True).drop(columns="hypothesis")
    table.insert(0, "term", list(terms))
    table = mark(table, fits)
    table.attrs["notes"] += notes
    return table


def term_hypotheses(
    model: Assembled, rows: ModelRows, frame: pd.DataFrame
) -> tuple[dict[str, Linear | None], list[str]]:
    """What is tested of each term, None where nothing can be; a sentence about terms that are not tested whole."""
    whole = rows.fixed.term_contrasts(frame)
    if not whole:
        raise DataError(
            f"{rows.formula.text} has no term besides the intercept: give a second model to compare it with"
        )
    ties = model.ties
    found = {term: ties.estimable_part(matrix) for term, matrix in whole.items()}
    lost = ", ".join(rows.fixed.names[j] for j in ties.dropped)
    if not any(map(len, found.values())):
        raise DataError(
            f"the terms have no tests of their own, because other columns determine {lost}: leave out what is "
            "redundant, or test coefficients with test([...])"
        )
    limited = [
        f"{term} is not tested" if not len(own) else f"{term} is tested on {len(own)} of {len(whole[term])} df"
        for term, own in found.items()
        if len(own) < len(whole[term])
    ]
    notes = [f"other columns determine {lost} (no rows, or redundant columns): {', '.join(limited)}"] if limited else []
    for note in notes:
        warn(f"anova: {note}", RankDeficientWarning)
    return {term: _linear(term, matrix) for term, matrix in found.items()}, notes


def _linear(term: str, matrix: np.ndarray) -> Linear | None:
    labels = [f"{term} {i + 1}" for i in range(len(matrix))]
    return Linear(matrix, np.zeros(len(matrix)), labels) if len(matrix) else None
