"""Predictions of fitted and pooled models, with the variance of their error."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import scipy

from ..engine.batch import run
from ..engine.shapes import bucket, host_leaf
from ..errors import DataError
from ..fitting.selection import Selection
from ..inference.coefficients import CoefficientInference, GivenDf
from ..inference.satterthwaite import matched_df, variance_covariance
from ..kernels.posterior import Rows, row_variance
from ..pooling import pool_scalars
from ..progress import progress
from ..tables.checks import check_level
from .newdata import FrameRows, PredictionRows
from .redundant_rows import warn_redundant_rows
from .undetermined import blank, warn_undetermined

Interval = Literal["confidence", "prediction"]

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
    longest = _bucket(max(len(one.pair_row) for one in each))
    n_rows = each[0].x.shape[0]

    def padded(a: np.ndarray, fill: int) -> np.ndarray:
        return np.concatenate([a, np.full(longest - len(a), fill, a.dtype)])

    each = [
        one._replace(
            pair_row=host_leaf(padded(np.asarray(one.pair_row), n_rows)),
            pair_entry=host_leaf(padded(np.asarray(one.pair_entry), 0)),
        )
        for one in each
    ]
    factors = range(len(each[0].z))
    return Rows(
        x=host_leaf(np.stack([one.x for one in each])),
        z=tuple(host_leaf(np.stack([one.z[f] for one in each])) for f in factors),
        codes=tuple(host_leaf(np.stack([one.codes[f] for one in each])) for f in factors),
        z_new=tuple(host_leaf(np.stack([one.z_new[f] for one in each])) for f in factors),
        codes_new=tuple(host_leaf(np.stack([one.codes_new[f] for one in each])) for f in factors),
        pair_row=host_leaf(np.stack([one.pair_row for one in each])),
        pair_entry=host_leaf(np.stack([one.pair_entry for one in each])),
    )


def _bucket(n: int) -> int:
    """Round up to 64, 256, 1024, ...: a new number of rows is rarely a new program."""
    return bucket(n, 64, 0.5)


def _conditioned(fit: Selection, frame: FrameRows, part: slice) -> Rows:
    model, structure = fit.model, fit.model.layout.structure
    n = part.stop - part.start
    size = _bucket(n)
    x = np.zeros((size, structure.n_fixed))
    x[:n, : len(model.keep)] = model.orthonormal(frame.x[part], fit.k)
    known_z, known_codes, new_z, new_codes = [], [], [], []
    for f, (z, codes) in enumerate(zip(frame.z, frame.codes, strict=True)):
        levels = model.layout.factors[f].n_levels
        scaled = np.zeros((size, z.shape[1]))
        scaled[:n] = model.units[f].columns(z[part])
        code = np.full(size, -1, np.int32)
        code[:n] = codes[part]
        known, new = (code >= 0) & (code < levels), code >= levels
        known_z.append(host_leaf(scaled * known[:, None]))
        known_codes.append(host_leaf(np.where(known, code, 0).astype(np.int32)))
        new_z.append(host_leaf(scaled * new[:, None]))
        # new levels stand behind the padded known ones
        new_codes.append(host_leaf(np.where(new, code - levels + structure.n_levels[f], 0).astype(np.int32)))
    pair_row, pair_entry = model.batch.problem.row_entries(np.asarray(known_codes[0]), np.asarray(known_z[0]))
    return Rows(
        host_leaf(x),
        tuple(known_z),
        tuple(known_codes),
        tuple(new_z),
        tuple(new_codes),
        host_leaf(pair_row),
        host_leaf(pair_entry),
    )


def check_interval(interval: Interval | None, conf_level: float) -> None:
    """Refuse an unknown kind of interval and a level outside (0, 1)."""
    if interval not in (None, "confidence", "prediction"):
        raise DataError(f"interval={interval!r} is not known: use None, 'confidence' or 'prediction'")
    check_level(conf_level)


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


def predict_one(fit: Selection, rows: PredictionRows, interval: Interval | None, conf_level: float) -> pd.DataFrame:
    """Table of predictions of one fit; see ``LmerFit.predict``."""
    check_interval(interval, conf_level)
    warn_undetermined(rows.undetermined, rows.index)
    warn_redundant_rows(fit, rows)
    if interval is None:
        table = pd.DataFrame({"estimate": estimates(fit, rows)[0]}, index=rows.index)
        return blank(table, rows.undetermined)
    found = with_residual(linear_predictor(fit, rows), interval)
    df = satterthwaite_rows(fit, found)[0]
    error = np.sqrt(found.variance[0])
    half = scipy.stats.t.ppf((1 + conf_level) / 2, df) * error
    table = pd.DataFrame(
        {
            "estimate": found.estimate[0],
            "std_error": error,
            "df": df,
            "conf_low": found.estimate[0] - half,
            "conf_high": found.estimate[0] + half,
        },
        index=rows.index,
    )
    return blank(table, rows.undetermined)


def predict_pooled(
    fits: Selection,
    rows: PredictionRows,
    interval: Interval | None,
    conf_level: float,
    dfcom: float | None,
) -> pd.DataFrame:
    """Table of pooled predictions; see ``PooledLmer.predict``. ``dfcom=None`` takes Satterthwaite's."""
    check_interval(interval, conf_level)
    warn_undetermined(rows.undetermined, rows.index)
    warn_redundant_rows(fits, rows)
    if interval is None:
        table = pd.DataFrame({"estimate": estimates(fits, rows).mean(axis=0)}, index=rows.index)
        return blank(table, rows.undetermined)
    found = with_residual(linear_predictor(fits, rows), interval)
    complete = satterthwaite_rows(fits, found).mean(axis=0) if dfcom is None else dfcom
    pooled = pool_scalars(found.estimate, found.variance, dfcom=complete, conf_level=conf_level)
    table = pd.DataFrame(
        {
            "estimate": pooled.estimate,
            "std_error": pooled.std_error,
            "df": pooled.df,
            "conf_low": pooled.conf_low,
            "conf_high": pooled.conf_high,
            "riv": pooled.riv,
            "lambda": pooled.lambda_,
            "fmi": pooled.fmi,
        },
        index=rows.index,
    )
    return blank(table, rows.undetermined)


def common_dfcom(within: CoefficientInference, dfcom: np.ndarray) -> float | None:
    """Complete-data degrees of freedom for predictions: the smallest where they are given, else None."""
    return float(np.min(dfcom, initial=math.inf)) if isinstance(within, GivenDf) else None
