"""Errors of conditional modes, alone or together with the coefficients they deviate from."""

from __future__ import annotations

import numpy as np

from ..engine.batch import run
from ..fitting.fit import Fitted
from ..fitting.selection import Selection
from ..kernels.inference import prediction_variances


def coefficient_of_column(fitted: Fitted, factor: int) -> np.ndarray:
    """Indicator (q, p) of the coefficient of a random-effects column; zero rows where the column has none."""
    rows, keep = fitted.model.rows, fitted.model.keep
    out = np.zeros((fitted.model.layout.structure.q[factor], len(keep)))
    columns = rows.fixed.columns
    position = {columns[j]: i for i, j in enumerate(keep)}
    for term in fitted.model.layout.terms:
        if term.factor == factor:
            for i, column in enumerate(rows.term_specs[term.source].columns):
                if column in position:
                    out[term.start + i, position[column]] = 1.0
    return out


def error_variances(fits: Selection, *, coefficients: bool) -> list[np.ndarray]:
    """Variances of the errors of conditional modes that count the uncertainty of beta.

    Parameters
    ----------
    coefficients : bool
        Of coefficient + mode (their covariance included) rather than of the mode alone.

    Returns
    -------
    list of ndarray (K, levels, q, q)
        One per grouping factor, in elimination order.
    """
    model, structure = fits.model, fits.model.layout.structure
    select = []
    for f, q in enumerate(structure.q):
        chosen = np.zeros((fits.n_sets, q, structure.n_fixed))
        if coefficients:
            p = len(model.keep)
            indicator = coefficient_of_column(fits.fitted, f)
            inside = model.units[f].inside @ indicator
            chosen[:, :, :p] = np.einsum("qp,kpr->kqr", inside, model.inverse[fits.index])
        select.append(chosen)
    inner_variances = run(prediction_variances, model.batch.take(fits.index), fits.inner, tuple(select))
    out = []
    for f, variance in enumerate(inner_variances):
        user = model.units[f].variances(np.asarray(variance)[:, : model.layout.factors[f].n_levels])
        out.append(user * fits.fitted.sigma[fits.index, None, None, None] ** 2)
    return out
