"""Table of the terms of one model: a joint test of each, whatever the coding of categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import DataError, RankDeficientWarning, warn
from ..fitting.selection import Selection
from ..inference.coefficients import Ddf, coefficient_inference
from .constraints import Linear
from .fit_print import fit_notes
from .marks import mark
from .pooled import PooledLmer
from .wald import WaldMethod, fit_test, pooled_wald, test_frame

# a row for a term that cannot be tested; the other columns are NaN
UNTESTED = {"hypothesis": "", "df1": 0, "method": "not estimable", "note": ""}


def fit_terms(fit: Selection, ddf: Ddf | npt.ArrayLike) -> pd.DataFrame:
    """F test of every term of one fit: term, statistic, df1, df2, p_value, method.

    Raises
    ------
    DataError
    """
    within, beta = coefficient_inference(fit, ddf), fit.beta[0]
    terms, notes = _hypotheses(fit)
    table = _table(terms, lambda linear: fit_test(beta, within, linear))
    table.attrs["notes"] = [*fit_notes(fit), *notes]
    return table


def pooled_terms(pooled: PooledLmer, method: WaldMethod) -> pd.DataFrame:
    """D1 or D2 of every term: term, statistic, df1, df2, p_value, riv, dfcom, method, note.

    Raises
    ------
    DataError
    """
    fits, within = pooled.selection, pooled.within
    terms, notes = _hypotheses(fits.each[0])
    betas = fits.beta
    table = _table(terms, lambda linear: test_frame(pooled_wald(betas, within, linear, method), ""))
    table = mark(table, fits)
    table.attrs["notes"] += notes
    return table


def _table(terms: Mapping[str, Linear | None], test: Callable[[Linear], pd.DataFrame]) -> pd.DataFrame:
    """Tests below each other; a term without one has no degrees of freedom."""
    rows = [linear if linear is None else test(linear) for linear in terms.values()]
    like = next(row for row in rows if row is not None)
    none = pd.DataFrame([{name: UNTESTED.get(name, np.nan) for name in like.columns}])
    table = pd.concat([none if row is None else row for row in rows], ignore_index=True).drop(columns="hypothesis")
    table.insert(0, "term", list(terms))
    return table


def _hypotheses(fit: Selection) -> tuple[dict[str, Linear | None], list[str]]:
    """What is tested of each term, None where nothing can be; a sentence about terms that are not tested whole.

    Raises
    ------
    DataError
        The fixed part has no term, or none that can be tested.
    """
    model, rows = fit.model, fit.rows
    assert rows.data is not None  # every fit keeps its data
    whole = rows.fixed.term_contrasts(rows.data.frames[fit.k])
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
