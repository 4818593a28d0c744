"""Predictions of fitted and pooled models, with the variance of their error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..engine.batch import run
from ..engine.shapes import bucket, host_leaf
from ..fitting.glmm import GlmmFitted
from ..fitting.selection import Selection
from ..inference.glmm import glmm_fitted
from ..inference.satterthwaite import matched_df, variance_covariance
from ..kernels.posterior import Rows, row_variance
from ..progress import progress
from ..tables.checks import checks
from ..tables.coefficients import estimate_columns
from ..tables.usable import warn_unconverged
from .glmm_error import new_level_variance, row_variances
from .mean_response import linear
from .newdata import FrameRows, PredictionRows
from .redundant_rows import warn_redundant_rows
from .undetermined import blank, warn_undetermined

Interval = Literal["confidence", "prediction"]
COLUMNS = ("estimate", "std_error", "df", "conf_low", "conf_high", "riv", "lambda", "fmi")

# numbers held at once while rows go through the elimination
CHUNK_NUMBERS = 16_000_000


@dataclass(frozen=True)
class LinearPredictor:
    """Predictions of every data set: estimate (K, R) and, where asked for, the variance of its error.

    variance (K, R); gradient (K, R, d + 1): its derivatives in (theta inside, log sigma); residual (K, R): residual
    variance of the row.
    """

    estimate: np.ndarray
    variance: np.ndarray
    gradient: np.ndarray
    residual: np.ndarray


def estimate_parts(fits: Selection, rows: PredictionRows) -> np.ndarray:
    """Predict x'beta + offset, then z'b of every factor, of every data set: (K, 1 + factors, R)."""
    out = np.zeros((fits.n_sets, 1 + len(fits.model.layout.factors), rows.n_rows))
    for i, k in enumerate(fits.which):
        frame = rows.frame(i)
        out[i, 0] = frame.x @ fits.fitted.beta[k] + frame.offset
        for f, (z, codes) in enumerate(zip(frame.z, frame.codes, strict=True)):
            known = (codes >= 0) & (codes < fits.model.layout.factors[f].n_levels)
            if known.any():
                modes = fits.fitted.factor_modes[f].modes[k]
                out[i, 1 + f, known] = np.einsum("ij,ij->i", z[known], modes[codes[known]])
    return out


def estimates(fits: Selection, rows: PredictionRows) -> np.ndarray:
    """Predict x'beta + z'b + offset of every data set, (K, R)."""
    return np.asarray(estimate_parts(fits, rows).sum(axis=1))


def linear_predictor(fits: Selection, rows: PredictionRows) -> LinearPredictor:
    """Predictions with the variance of their error (Henderson 1975) and its derivatives."""
    if isinstance(fits.fitted, GlmmFitted):
        return _glmm_predictor(fits, rows)
    model, k = fits.model, fits.index
    sigma = fits.fitted.sigma[k]
    scale = model.y_scale[k]
    batch = model.batch.take(np.asarray(k))
    chunk = chunk_rows(fits)
    variances, gradients = [], []
    with progress(rows.n_rows, "row") as tell:
        for start in range(0, rows.n_rows, chunk):
            part = slice(start, min(start + chunk, rows.n_rows))
            given = conditioned_rows(fits, rows, part)
            found = run(row_variance, batch, fits.fitted.inner[k], sigma / scale, given, lapack=True)
            size = part.stop - part.start
            variances.append(found.variance[:, :size] * scale[:, None] ** 2)
            gradients.append(found.gradient[:, :size] * scale[:, None, None] ** 2)
            tell(size)
    weights = np.stack([rows.frame(i).weights for i in range(len(k))])
    return LinearPredictor(
        estimate=estimates(fits, rows),
        variance=np.maximum(np.concatenate(variances, axis=1), 0.0),
        gradient=np.concatenate(gradients, axis=1),
        residual=sigma[:, None] ** 2 / weights,
    )


def _glmm_predictor(fits: Selection, rows: PredictionRows) -> LinearPredictor:
    """Linear predictors of generalised linear mixed models, whose variance counts all parameters."""
    fitted, estimate = glmm_fitted(fits), estimates(fits, rows)
    no_theta = np.zeros((rows.n_rows, fitted.theta_map.n_theta))
    variance = [
        row_variances(fitted, k, rows.frame(i), linear(estimate[i], fitted.shape[k]), no_theta)[:, 0]
        + new_level_variance(fitted, k, rows.frame(i))
        for i, k in enumerate(fits.which)
    ]
    zero = np.zeros_like(estimate)
    return LinearPredictor(estimate, np.stack(variance), np.zeros((*zero.shape, 1 + fitted.theta_map.n_theta)), zero)


def chunk_rows(fits: Selection) -> int:
    """Rows that go through the elimination at once."""
    structure = fits.model.layout.structure
    wide = structure.n_dense or structure.n_fixed + 1
    most = CHUNK_NUMBERS // (fits.n_sets * (structure.theta_map.n_theta + 2) * (wide + 8))
    size = _bucket(most + 1) // 4
    return max(64, size)


def conditioned_rows(fits: Selection, rows: PredictionRows, part: slice) -> Rows:
    """Some rows in the conditioned coordinates of every data set, padded, with a leading axis of data sets."""
    each = [_conditioned(fits.one(k), rows.frame(i), part) for i, k in enumerate(fits.which)]
    longest = _bucket(max(len(one["pair_row"]) for one in each))
    n_rows = len(each[0]["x"])
    for one in each:
        for name, fill in (("pair_row", n_rows), ("pair_entry", 0)):
            one[name] = np.pad(one[name], (0, longest - len(one[name])), constant_values=fill)
    return Rows(**{name: _stacked([one[name] for one in each]) for name in each[0]})


def _stacked(each: list[Any]) -> Any:
    """Arrays of the data sets with a leading axis; of every factor where there are several."""
    if isinstance(each[0], list):
        return tuple(_stacked(list(of_factor)) for of_factor in zip(*each, strict=True))
    return host_leaf(np.stack(each))


def _bucket(n: int) -> int:
    """Round up to 64, 256, 1024, ...: a new number of rows is rarely a new program."""
    return bucket(n, 64, 0.5)


def _conditioned(fit: Selection, frame: FrameRows, part: slice) -> dict[str, Any]:
    """Some rows of one data set as the fields of `Rows`, with a list for what every factor has."""
    model, structure = fit.model, fit.model.layout.structure
    n = part.stop - part.start
    size = _bucket(n)
    x = np.zeros((size, structure.n_fixed))
    x[:n, : len(model.keep)] = model.orthonormal(frame.x[part], fit.k)
    out: dict[str, Any] = {"x": x, "z": [], "codes": [], "z_new": [], "codes_new": []}
    for f, (z, codes) in enumerate(zip(frame.z, frame.codes, strict=True)):
        levels = model.layout.factors[f].n_levels
        scaled = np.zeros((size, z.shape[1]))
        scaled[:n] = model.units[f].columns(z[part])
        code = np.full(size, -1, np.int32)
        code[:n] = codes[part]
        known, new = (code >= 0) & (code < levels), code >= levels
        out["z"].append(scaled * known[:, None])
        out["codes"].append(np.where(known, code, 0).astype(np.int32))
        out["z_new"].append(scaled * new[:, None])
        # new levels stand behind the padded known ones
        out["codes_new"].append(np.where(new, code - levels + structure.n_levels[f], 0).astype(np.int32))
    out["pair_row"], out["pair_entry"] = model.batch.problem.row_entries(out["codes"][0], out["z"][0])
    return out


def with_residual(found: LinearPredictor, interval: Interval) -> LinearPredictor:
    """Add the residual variance where a new observation is predicted."""
    if interval == "confidence":
        return found
    gradient = found.gradient.copy()
    gradient[:, :, -1] += 2 * found.residual
    return replace(found, variance=found.variance + found.residual, gradient=gradient)


def satterthwaite_rows(fits: Selection, found: LinearPredictor) -> np.ndarray:
    """Degrees of freedom 2 v^2 / (g' A g) of every variance, (K, R); infinite where it does not vary."""
    df = matched_df(found.variance, found.gradient, variance_covariance(fits))
    return np.where(np.isnan(df), np.inf, df)


def predict_table(
    fits: Selection, rows: PredictionRows, interval: Interval | None, conf_level: float, dfcom: float | None = None
) -> pd.DataFrame:
    """Table of predictions, pooled of several fits; see ``LmerFit.predict``. ``dfcom=None`` takes Satterthwaite's."""
    checks.choice(interval, Literal[None, "confidence", "prediction"], "interval=")
    checks.level(conf_level)
    warn_unconverged(fits, "predict")
    warn_undetermined(rows.undetermined, rows.index)
    warn_redundant_rows(fits, rows)
    if interval is None:
        table = pd.DataFrame({"estimate": estimates(fits, rows).mean(axis=0)})
    else:
        found = with_residual(linear_predictor(fits, rows), interval)
        df = satterthwaite_rows(fits, found).mean(axis=0) if dfcom is None else dfcom
        columns = estimate_columns(found.estimate, found.variance, df, conf_level)
        table = pd.DataFrame({name: columns[name] for name in COLUMNS if name in columns})
    return blank(table.set_index(rows.index), rows.undetermined)
