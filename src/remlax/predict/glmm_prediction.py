"""Predictions of generalised linear mixed models on the scale of the link or of the response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special

from ..errors import DataError
from ..fitting.glmm import GlmmFitted
from ..fitting.responses.distribution import inverse_link
from ..fitting.selection import Selection
from ..inference.glmm import glmm_fitted
from ..pooling.tails import t_quantile
from ..tables.checks import checks
from ..tables.coefficients import estimate_columns
from ..tables.usable import warn_unconverged
from .glmm_error import new_level_variance, row_variances, spread_of
from .mean_response import MeanResponse, average_link, linear, mean_response
from .newdata import Level, NewData, NewLevels, PredictionRows, include_level, read_newdata
from .prediction import COLUMNS, estimates
from .redundant_rows import warn_redundant_rows
from .undetermined import warn_undetermined

GlmmLevel = Literal["average"] | Level
PredictionScale = Literal["response", "link"]


@dataclass(frozen=True)
class ExpectedRows:
    """Rows whose response is expected, and the rows with the random effects that it is averaged over, if any."""

    rows: PredictionRows
    over: PredictionRows | None

    def eta(self, fits: Selection) -> np.ndarray:
        """Linear predictor of every data set, (K, R)."""
        return estimates(fits, self.rows)

    def spread(self, fits: Selection, i: int) -> tuple[np.ndarray | None, np.ndarray]:
        """Variance (R,) that is averaged over, None for none, and its derivatives in theta inside (R, d)."""
        fitted = glmm_fitted(fits)
        if self.over is None:
            return None, np.zeros((self.rows.n_rows, fitted.theta_map.n_theta))
        return spread_of(fitted, fits.which[i], self.over.frame(i).z)


def expected_rows(
    fits: Selection,
    newdata: NewData,
    level: GlmmLevel,
    re_formula: str | None,
    new_levels: NewLevels,
    given_offset: np.ndarray | None = None,
) -> ExpectedRows:
    """Read the rows to predict; ``level="average"`` needs no grouping columns."""
    if level == "average" and re_formula is None:
        rows = read_newdata(fits, newdata, include_level(fits.fitted, "population"), new_levels, given_offset)
        over = read_newdata(fits, newdata, include_level(fits.fitted, "group"), "draw", given_offset)
        return ExpectedRows(rows, over)
    if level == "average":
        raise DataError(f"level='average' and re_formula={re_formula!r} say which random effects take part: give one")
    include = include_level(fits.fitted, level, re_formula)
    return ExpectedRows(read_newdata(fits, newdata, include, new_levels, given_offset), None)


def glmm_predict_table(
    fits: Selection,
    expected: ExpectedRows,
    scale: PredictionScale,
    interval: str | None,
    conf_level: float,
    dfcom: float,
) -> pd.DataFrame:
    """Table of predictions, pooled of several fits; see ``GlmerFit.predict``."""
    checks.choice(scale, PredictionScale, "scale=")
    if interval == "prediction":
        raise DataError(
            "interval='prediction' is for linear mixed models: intervals for new responses of a generalised one are "
            "quantiles of rx.simulate(fit), and predict_interval() has intervals of the expected response"
        )
    checks.choice(interval, Literal[None, "confidence"], "interval=")
    checks.level(conf_level)
    fitted, rows = glmm_fitted(fits), expected.rows
    ordinal = fitted.family.name == "ordinal"
    if ordinal and scale == "link" and expected.over is not None:
        raise DataError("level='average' averages probabilities: for an ordinal response use scale='response'")
    warn_unconverged(fits, "predict")
    warn_undetermined(rows.undetermined, rows.index)
    warn_redundant_rows(fits, rows)
    by_category = ordinal and scale == "response"
    values, variances = _quantities(fits, expected, by_category, interval is not None)
    table = _table(values, variances, dfcom, conf_level)
    if by_category:
        table = _probability_limits(table, len(fitted.response.levels), conf_level)
    elif scale == "response":
        table = _on_response(table, fitted.family.link)
    names = fitted.response.levels if by_category else ()
    return _labelled(table, rows, names)


def _quantities(
    fits: Selection, expected: ExpectedRows, by_category: bool, errors: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Links of expected responses, or probabilities of categories, and their variances, (K, R C)."""
    fitted = glmm_fitted(fits)
    eta = expected.eta(fits)
    values, variances = [], []
    for i, k in enumerate(fits.which):
        spread, d_spread = expected.spread(fits, i)
        by = _quantity(fitted, eta[i], fitted.shape[k], spread, by_category)
        values.append(by.value.reshape(-1))
        if errors:
            own = row_variances(fitted, k, expected.rows.frame(i), by, d_spread)
            own += by.d_eta**2 * new_level_variance(fitted, k, expected.rows.frame(i))[:, None]
            variances.append(own.reshape(-1))
    return np.stack(values), np.stack(variances) if errors else None


def _quantity(
    fitted: GlmmFitted, eta: np.ndarray, shape: np.ndarray, spread: np.ndarray | None, by_category: bool
) -> MeanResponse:
    if by_category:
        return mean_response(fitted.family, eta, shape, spread)
    if spread is None:
        return linear(eta, shape)
    return average_link(fitted.family.link, eta, shape, spread)


def _table(values: np.ndarray, variances: np.ndarray | None, dfcom: float, conf_level: float) -> pd.DataFrame:
    if variances is None:
        return pd.DataFrame({"estimate": values.mean(axis=0)})
    table = pd.DataFrame(estimate_columns(values, variances, dfcom, conf_level))
    return table[[name for name in COLUMNS if name in table]]


def _on_response(table: pd.DataFrame, link: str) -> pd.DataFrame:
    """Transform estimates and limits back from the link; standard errors are by the delta method."""
    out = table.copy()
    found = inverse_link(link, table["estimate"].to_numpy())
    out["estimate"] = found.mean
    if "std_error" in table:
        out["std_error"] = found.d1 * table["std_error"]
        for limit in ("conf_low", "conf_high"):
            out[limit] = inverse_link(link, table[limit].to_numpy()).mean
    return out


def _probability_limits(table: pd.DataFrame, n_categories: int, conf_level: float) -> pd.DataFrame:
    """Limits of probabilities on the logit scale."""
    if "std_error" not in table:
        return table
    out = table.copy()
    p = table["estimate"].to_numpy()
    # the other categories: 1 - p has no digits near 1
    rest = (p.reshape(-1, n_categories) @ (1 - np.eye(n_categories))).reshape(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        half = t_quantile(conf_level, table["df"].to_numpy()) * table["std_error"].to_numpy() / (p * rest)
        logit = np.log(p) - np.log(rest)
    certain = (p == 0) | (rest == 0)
    for limit, at in (("conf_low", logit - half), ("conf_high", logit + half)):
        out[limit] = np.where(certain, p, special.expit(at))
    return out


def _labelled(table: pd.DataFrame, rows: PredictionRows, categories: tuple[str, ...]) -> pd.DataFrame:
    """Rows as in newdata, a row per category where there are some; NaN where there is no prediction."""
    each = len(categories) or 1
    table = table.set_index(rows.index.repeat(each))
    if rows.undetermined is not None:
        table.iloc[np.repeat(rows.undetermined.rows, each)] = np.nan
    if categories:
        names = pd.Categorical(list(categories) * rows.n_rows, categories, ordered=True)
        table.insert(0, "category", pd.Series(names, table.index))
    return table
