"""Residuals, leverages and Cook's distances of the rows that a model was fitted to."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from ..design.build import needed_columns
from ..errors import DataError
from ..fitting.selection import Selection
from .newdata import include_level, rows_of_fit
from .prediction import estimates, linear_predictor, predict_pooled

ResidualType = Literal["response", "pearson", "scaled", "marginal"]
COLUMNS = ("fitted", "fixed", "residual", "scaled_residual", "std_error", "hat", "cooks_d")


def residual_values(fit: Selection, type_: ResidualType) -> np.ndarray:
    """Residuals of one data set, (n,).

    Raises
    ------
    DataError
        The type is not known.
    """
    if type_ not in ("response", "pearson", "scaled", "marginal"):
        raise DataError(f"type={type_!r} is not known: use 'response', 'pearson', 'scaled' or 'marginal'")
    rows = fit.rows
    values = rows.y.of(fit.k) - fit.fitted.fitted_values(fit.k, random=type_ != "marginal")
    if type_ in ("pearson", "scaled") and rows.weights is not None:
        values = values * np.sqrt(rows.weights.of(fit.k))
    return np.asarray(values / fit.fitted.sigma[fit.k] if type_ == "scaled" else values)


def augment_values(fits: Selection) -> dict[str, np.ndarray]:
    """The columns of ``augment`` for every data set, (K, n) each.

    The leverage is w Var(x'beta-hat + z'b-hat - x'beta - z'b) / sigma^2, the diagonal of the hat matrix (lme4's
    hatvalues); Cook's distance is lme4's: r^2 h / (p sigma^2 (1 - h)^2) with Pearson residuals r.
    """
    rows = rows_of_fit(fits, include_level(fits.fitted, "group"))
    found = linear_predictor(fits, rows)
    hat = found.variance / found.residual
    scaled = np.stack([residual_values(fits.one(k), "scaled") for k in fits.which])
    p = fits.fitted.beta.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        cooks = scaled**2 * hat / (p * (1 - hat) ** 2) if p else np.full_like(hat, np.nan)
    return {
        "fitted": found.estimate,
        "fixed": np.stack([fits.fitted.fitted_values(k, random=False) for k in fits.which]),
        "residual": np.stack([residual_values(fits.one(k), "response") for k in fits.which]),
        "scaled_residual": scaled,
        "std_error": np.sqrt(found.variance),
        "hat": hat,
        "cooks_d": cooks,
    }


def augment_one(fit: Selection) -> pd.DataFrame:
    """Table of one fit; see ``LmerFit.augment``."""
    out = _data_columns(fit)
    for name, values in augment_values(fit).items():
        out[name] = values[0]
    return out


def augment_pooled(fits: Selection, dfcom: float | None, *, per_imputation: bool) -> pd.DataFrame:
    """Table of the pooled model; see ``PooledLmer.augment``."""
    values = augment_values(fits)
    rows = rows_of_fit(fits, include_level(fits.fitted, "group"))
    pooled = predict_pooled(fits, rows, "confidence", 0.95, dfcom)
    out = _data_columns(fits)
    for name in COLUMNS:
        out[name] = pooled["std_error"].to_numpy() if name == "std_error" else values[name].mean(axis=0)
    if per_imputation:
        labels = fits.labels
        each = {f"{name}_{label}": values[name][i] for name in ("fitted", "residual") for i, label in enumerate(labels)}
        out = pd.concat([out, pd.DataFrame(each, index=out.index)], axis=1)
    return out


def _data_columns(fits: Selection) -> pd.DataFrame:
    """The model's data columns, those that are the same in all data sets."""
    rows = fits.rows
    assert rows.data is not None  # every fit keeps its data
    names = needed_columns(
        rows.formula, *(g if isinstance(g, str) else None for g in (rows.given_weights, rows.given_offset))
    )
    taken = [name for name in names if name in COLUMNS]
    if taken:
        raise DataError(f"a column of the data is called {taken[0]!r}, as one of augment()'s: rename it")
    if fits.n_sets > 1 and rows.data.aligned:
        names = [name for name in names if name not in rows.data.varying]
    return rows.data.frames[fits.which[0]][names].copy()


def pooled_fitted(fits: Selection) -> pd.Series[float]:
    """Means of the fitted values; see ``PooledLmer.fitted``."""
    rows = rows_of_fit(fits, include_level(fits.fitted, "group"))
    return pd.Series(estimates(fits, rows).mean(axis=0), index=rows.index, name="fitted")


def pooled_residuals(fits: Selection, type_: ResidualType) -> pd.Series[float]:
    """Means of the residuals; see ``PooledLmer.residuals``."""
    rows = rows_of_fit(fits, include_level(fits.fitted, "group"))
    each = np.stack([residual_values(fit, type_) for fit in fits.each])
    return pd.Series(each.mean(axis=0), index=rows.index, name="residual")
