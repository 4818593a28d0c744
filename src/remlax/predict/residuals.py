"""Residuals, leverages and Cook's distances of the rows that a model was fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from ..errors import DataError
from ..fitting.selection import Selection
from ..tables.checks import checks
from ..tables.coefficients import total_variance
from .newdata import include_level, rows_of_fit
from .observations import model_columns
from .prediction import linear_predictor
from .same_rows import require_same_rows

ResidualType = Literal["response", "pearson", "scaled", "marginal"]


def residual_values(fit: Selection, type_: ResidualType) -> np.ndarray:
    """Residuals of one data set, (n,)."""
    checks.choice(type_, ResidualType, "type=")
    rows = fit.rows
    values = rows.y.of(fit.k) - fit.fitted.fitted_values(fit.k, random=type_ != "marginal")
    if type_ in ("pearson", "scaled") and rows.weights is not None:
        values = values * np.sqrt(rows.weights.of(fit.k))
    return np.asarray(values / fit.fitted.sigma[fit.k] if type_ == "scaled" else values)


def augment_table(fits: Selection, *, per_imputation: bool = False) -> pd.DataFrame:
    """Data with fitted values, residuals and influence, means over several fits; see ``LmerFit.augment``.

    The leverage is w Var(x'beta-hat + z'b-hat - x'beta - z'b) / sigma^2, the diagonal of the hat matrix (lme4's
    hatvalues); Cook's distance is lme4's: r^2 h / (p sigma^2 (1 - h)^2) with Pearson residuals r.
    """
    found = linear_predictor(fits, rows_of_fit(fits, include_level(fits.fitted, "group")))
    hat = found.variance / found.residual
    scaled = np.stack([residual_values(fit, "scaled") for fit in fits.each])
    p = fits.fitted.beta.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        cooks = scaled**2 * hat / (p * (1 - hat) ** 2) if p else np.full_like(hat, np.nan)
    values = {
        "fitted": found.estimate,
        "fixed": np.stack([fits.fitted.fitted_values(k, random=False) for k in fits.which]),
        "residual": np.stack([residual_values(fit, "response") for fit in fits.each]),
        "scaled_residual": scaled,
        "std_error": np.sqrt(total_variance(found.estimate, found.variance))[None],
        "hat": hat,
        "cooks_d": cooks,
    }
    out = data_columns(fits, list(values))
    each = {name: each.mean(axis=0) for name, each in values.items()}
    if per_imputation:
        each |= {f"{name}_{v}": values[name][i] for name in ("fitted", "residual") for i, v in enumerate(fits.labels)}
    return pd.concat([out, pd.DataFrame(each, index=out.index)], axis=1)


def data_columns(fits: Selection, taken: Sequence[str]) -> pd.DataFrame:
    """The model's data columns, those that are the same in all data sets."""
    data = fits.rows.data
    assert data is not None  # every fit keeps its data
    names = model_columns(fits.fitted)
    for name in names:
        if name in taken:
            raise DataError(f"a column of the data is called {name!r}, as one of augment()'s: rename it")
    if fits.n_sets > 1 and data.aligned:
        names = [name for name in names if name not in data.varying]
    return data.frames[fits.which[0]][names].copy()


def fitted_series(fits: Selection) -> pd.Series[float]:
    """Fitted values, means over several fits; see ``LmerFit.fitted``."""
    return row_means(fits, [fits.fitted.fitted_values(k) for k in fits.which], "fitted")


def residual_series(fits: Selection, type_: ResidualType) -> pd.Series[float]:
    """Residuals, means over several fits; see ``LmerFit.residuals``."""
    return row_means(fits, [residual_values(fit, type_) for fit in fits.each], "residual")


def row_means(fits: Selection, each: list[np.ndarray], name: str) -> pd.Series[float]:
    require_same_rows(fits)
    means: np.ndarray = np.mean(each, axis=0)
    return pd.Series(means, index=fits.rows.index[fits.which[0]], name=name)
