"""Fitted values and residuals of generalised linear mixed models."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from scipy import special

from ..errors import DataError
from ..fitting.selection import Selection
from ..inference.glmm import glmm_fitted
from ..tables.checks import checks, fresh_seed
from ..tables.coefficients import total_variance
from .newdata import include_level, rows_of_fit
from .prediction import linear_predictor
from .residuals import data_columns, row_means

GlmmResidualType = Literal["response", "pearson", "deviance", "quantile"]

# nearest to 0 and 1 that a probability is taken to a normal quantile
LEAST = 1e-16


def fitted_values(fit: Selection) -> np.ndarray:
    """Means of the rows of one data set; of an ordinal response the probabilities of what was observed."""
    fitted, k = glmm_fitted(fit), fit.k
    means = fitted.means(k)
    if fitted.family.name != "ordinal":
        return means
    code = fitted.response.y.of(k).astype(np.int64)
    return np.asarray(fitted.distribution(k).probabilities(means)[np.arange(len(code)), code])


def glmm_residual_values(fit: Selection, type_: GlmmResidualType, seed: int | None = None) -> np.ndarray:
    """Residuals of one data set, (n,)."""
    checks.choice(type_, GlmmResidualType, "type=")
    fitted, k = glmm_fitted(fit), fit.k
    y, mean, own = fitted.response.y.of(k), fitted.means(k), fitted.distribution(k)
    if type_ == "quantile":
        below, at = own.limits(y, mean)
        share = np.random.default_rng(fresh_seed(seed)).random(len(y))
        return np.asarray(special.ndtri(np.clip(below + share * (at - below), LEAST, 1 - LEAST)))
    if fitted.family.name == "ordinal":
        raise DataError(f"type={type_!r} needs a response that is a number: for an ordinal one use type='quantile'")
    if type_ == "response":
        return np.asarray(y - mean)
    if type_ == "pearson":
        return np.asarray((y - mean) * np.sqrt(own.weight / own.variance(mean)))
    return np.asarray(np.sign(y - mean) * np.sqrt(own.weight * own.deviance(y, mean)))


def glmm_residual_series(fits: Selection, type_: GlmmResidualType, seed: int | None) -> pd.Series[float]:
    """Residuals, means over several fits; see ``GlmerFit.residuals``."""
    if type_ == "quantile" and fits.n_sets > 1:
        raise DataError(
            "means of quantile residuals over imputations have no standard normal distribution: use those of one fit, "
            "fits[0].residuals('quantile')"
        )
    return row_means(fits, [glmm_residual_values(fit, type_, seed) for fit in fits.each], "residual")


def glmm_fitted_series(fits: Selection) -> pd.Series[float]:
    """Fitted values, means over several fits; see ``GlmerFit.fitted``."""
    return row_means(fits, [fitted_values(fit) for fit in fits.each], "fitted")


def glmm_augment_table(fits: Selection, *, per_imputation: bool = False) -> pd.DataFrame:
    """Data with fitted values and residuals, means over several fits; see ``GlmerFit.augment``."""
    found = linear_predictor(fits, rows_of_fit(fits, include_level(fits.fitted, "group")))
    values = {
        "fitted": np.stack([fitted_values(fit) for fit in fits.each]),
        "linear_predictor": found.estimate,
        "std_error": np.sqrt(total_variance(found.estimate, found.variance))[None],
    }
    if glmm_fitted(fits).family.name != "ordinal":
        kinds: tuple[GlmmResidualType, ...] = ("response", "pearson", "deviance")
        for kind in kinds:
            name = "residual" if kind == "response" else f"{kind}_residual"
            values[name] = np.stack([glmm_residual_values(fit, kind) for fit in fits.each])
    out = data_columns(fits, list(values))
    each = {name: own.mean(axis=0) for name, own in values.items()}
    if per_imputation:
        names = [name for name in ("fitted", "residual") if name in values]
        each |= {f"{name}_{v}": values[name][i] for name in names for i, v in enumerate(fits.labels)}
    return pd.concat([out, pd.DataFrame(each, index=out.index)], axis=1)
