"""The bootstrap of patients, who are drawn with replacement, each with all visits; the model fitted to resamples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from ...design.rows import RowArray
from ...errors import DataError
from ...kernels.newton import Newton
from ..resample import Clusters, Draw, identified_draws, nested_levels, resampled_rows
from ..selection import Selection
from .fit import MmrmFitted, assemble_mmrm, fit_mmrm, read_formula
from .visits import formula_of


def find_patients(fit: Selection, resample: str | Sequence[str]) -> Clusters:
    """Patients of one data set, to be drawn within their group of the covariance term, if there are groups.

    Raises
    ------
    DataError
        ``resample`` is not the column of the patients.
    """
    term, rows = formula_of(fit.rows).covariance, fit.rows
    named = list(resample) if isinstance(resample, Iterable) and not isinstance(resample, str) else [resample]
    if named != [term.patient]:
        raise DataError(
            f"resample={resample!r}: of a mixed model for repeated measures patients are drawn, each with all visits: "
            f"resample={term.patient!r}"
        )
    codes = [part.of(fit.k).astype(np.int64) for part in (*rows.factor_rows[2:], rows.factor_rows[0])]
    levels = nested_levels(codes, [*(False for _ in codes[1:]), True, False])
    return Clusters(levels, ((len(codes) - 1, term.patient),))


def fit_resampled_patients(fit: Selection, clusters: Clusters, draws: Sequence[Draw]) -> tuple[MmrmFitted, np.ndarray]:
    """Fit the model to resamples, all in one batch.

    Returns
    -------
    MmrmFitted
        One data set per resample that identifies the coefficients.
    identified : ndarray of bool (n_draws,)

    Raises
    ------
    DataError
        No resample identifies the coefficients.
    """
    kept, identified = identified_draws(fit, draws)
    given, taken = fit.rows, np.concatenate([draw.rows for draw in kept])
    rows = resampled_rows(replace(given, formula=formula_of(given).with_factors), fit.k, clusters, kept)
    # visits and groups are those of the fit, whether or not they were drawn
    own = (RowArray(part.of(fit.k)[taken], rows.offsets) for part in given.factor_rows[1:])
    rows = replace(rows, factors=(rows.factors[0], *given.factors[1:]), factor_rows=(rows.factor_rows[0], *own))
    model, visits = assemble_mmrm(rows, reml=fit.fitted.reml, keep=fit.model.keep)
    again = fit_mmrm(replace(model, rows=read_formula(rows)), visits, cast(Newton, fit.fitted.optimizer))
    return again, identified
