"""Errors of conditional modes, alone or together with the coefficients they deviate from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..engine.batch import run
from ..fitting.fit import Fitted
from ..fitting.glmm import GlmmFitted
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
    if isinstance(fits.fitted, GlmmFitted):
        return _of_glmm(fits.fitted, fits.which, coefficients=coefficients)
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


def mode_tangents(fitted: GlmmFitted, k: int) -> tuple[np.ndarray, ...]:
    """Derivatives of the modes in the parameters of `GlmmFitted.joint`, per factor (parameters, levels, q)."""
    model, structure = fitted.model, fitted.structure
    d, p = structure.theta_map.n_theta, len(model.keep)
    used = np.r_[np.arange(d + p), np.arange(d + structure.n_fixed, structure.n_parameters)]
    return tuple(
        unit.effects(np.asarray(moved)[k][used][:, :, : factor.n_levels].swapaxes(1, 2))
        for moved, unit, factor in zip(fitted.description.moved, model.units, model.layout.factors, strict=True)
    )


def _of_glmm(fitted: GlmmFitted, which: Sequence[int], *, coefficients: bool) -> list[np.ndarray]:
    """Variances of modes given all parameters, and what the errors of these make of them; see `predict.glmm_error`."""
    d, p = fitted.theta_map.n_theta, len(fitted.model.keep)
    out: list[list[np.ndarray]] = [[] for _ in fitted.model.units]
    for k in which:
        for f, moved in enumerate(mode_tangents(fitted, k)):
            by = moved.transpose(1, 2, 0).copy()
            if coefficients:
                by[:, :, d : d + p] += coefficient_of_column(fitted, f) @ fitted.model.inverse[k]
            out[f].append(fitted.factor_modes[f].variances[k] + by @ fitted.joint[k] @ by.swapaxes(1, 2))
    return [np.stack(own) for own in out]
