"""Table of the terms of one model: a joint test of each, whatever the coding of categories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import DataError
from ..fitting.coefficients import CoefficientInference, Ddf, coefficient_inference
from ..fitting.fit import Fitted
from .constraints import Linear
from .fit_print import fit_notes
from .marks import mark
from .pooled import PooledLmer
from .wald import WaldMethod, fit_test, pooled_wald, test_frame


def fit_terms(stack: Fitted, lane: int, ddf: Ddf | npt.ArrayLike) -> pd.DataFrame:
    """F test of every term of one fit: term, statistic, df1, df2, p_value, method.

    Raises
    ------
    DataError
    """
    within, beta = coefficient_inference(stack, (lane,), ddf), stack.beta[lane]
    table = _table({term: fit_test(beta, within, linear) for term, linear in _hypotheses(stack, lane).items()})
    table.attrs["notes"] = fit_notes(stack, lane)
    return table


def pooled_terms(pooled: PooledLmer, method: WaldMethod) -> pd.DataFrame:
    """D1 or D2 of every term: term, statistic, df1, df2, p_value, riv, dfcom, method, note.

    Raises
    ------
    DataError
    """
    stack, lanes, within = pooled.fitted_stack, pooled.lanes, pooled.within
    terms = _hypotheses(stack, lanes[0])
    table = _table({name: _pooled_row(stack, lanes, within, linear, method) for name, linear in terms.items()})
    return mark(table, stack, lanes, pooled.dropped)


def _pooled_row(
    stack: Fitted, lanes: Sequence[int], within: CoefficientInference, linear: Linear, method: WaldMethod
) -> pd.DataFrame:
    return test_frame(pooled_wald(stack.beta[list(lanes)], within, linear, method), "")


def _table(rows: dict[str, pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(list(rows.values()), ignore_index=True).drop(columns="hypothesis")
    table.insert(0, "term", list(rows))
    return table


def _hypotheses(stack: Fitted, lane: int) -> dict[str, Linear]:
    model, rows = stack.model, stack.model.rows
    assert rows.data is not None  # every fit keeps its data
    lost = sorted(set(rows.fixed.names) - set(model.fixed_names))
    if lost:
        raise DataError(
            f"the terms have no tests of their own, because other columns determine {', '.join(lost)}: leave out what "
            "is redundant, or test coefficients with test([...])"
        )
    found = rows.fixed.term_contrasts(rows.data.frames[lane])
    if not found:
        raise DataError(
            f"{rows.formula.text} has no term besides the intercept: give a second model to compare it with"
        )
    return {
        term: Linear(matrix, np.zeros(len(matrix)), [f"{term} {i + 1}" for i in range(len(matrix))])
        for term, matrix in found.items()
    }
