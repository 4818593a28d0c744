"""Variance components as tables: SDs and correlations, or variances and covariances, of one fit and pooled."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Literal

import numpy as np
import pandas as pd
import scipy

from ..errors import PoolingWarning, quiet, shortened, warn
from ..fitting.fit import Fitted
from ..fitting.selection import Selection
from ..inference.shape_parameters import shape_parameters
from ..inference.variance_parameters import VarianceParameters, variance_parameters
from ..pooling import FISHER_Z, LOG, pool_scalars, pool_transformed
from .checks import checks
from .coefficients import rubin_columns, transformed_columns
from .varcorr import term_labels

Scales = Literal["sdcor", "vcov"]
# group of the rows of shape parameters of the response
RESPONSE = "Response"
# standard error of log(SD) from which an interval of the SD says nothing: its ends differ by a factor of 2,500
NEAR_ZERO = 2.0
# the same of a table: the standard error of the SD is as large as the SD, and its limits differ by a factor of 50
TOO_WIDE = 1.0
WIDE = (
    "the standard error of {} is as large as the estimate or larger, so that the limits, made on the log scale, are of "
    "no use"
)
WIDE_FIT = f"{WIDE}; confint('{{}}') has limits that can be used"
WIDE_POOLED = f"{WIDE}; the column mean_sd has the plain mean"
KINDS = {"sdcor": ("sd", "cor"), "vcov": ("var", "cov")}


def parameter_labels(fitted: Fitted, parameters: VarianceParameters, scales: Scales) -> pd.DataFrame:
    """Group and broom.mixed's name of every parameter: sd__x, cor__x.z, sd__cs, sd__Observation; var__x, cov__x.z."""
    groups, terms = [], []
    labels = term_labels(fitted)
    for t, a, b in parameters.pairs:
        groups.append("Residual" if t < 0 else labels[t])
        own = None if t < 0 else fitted.model.layout.terms[t]
        terms.append(f"{KINDS[scales][0]}__Observation" if own is None else own.label(a, b, KINDS[scales]))
    return pd.DataFrame({"group": groups, "term": terms})


def ran_pars_table(fits: Selection, conf_level: float, scales: Scales) -> pd.DataFrame:
    """Variance parameters, and shape parameters of the response, of one fit or pooled; see ``PooledLmer.tidy``."""
    checks.choice(scales, Scales, "scales=")
    checks.level(conf_level)
    table = (_of_fit if fits.n_sets == 1 else _pooled)(fits, conf_level, scales)
    rows = shape_rows(fits, conf_level)
    if not len(rows):
        return table
    attrs = table.attrs | {"notes": [*table.attrs.get("notes", []), *rows.attrs.get("notes", [])]}
    table = pd.concat([table, rows], ignore_index=True)
    table.attrs = attrs
    return table


# what a table says of sizes that are left out
ENDLESS = "the size is infinite, without overdispersion, in {} of {} imputations, which are left out of the pooled size"


def shape_rows(fits: Selection, conf_level: float) -> pd.DataFrame:
    """Size, shape or thresholds: estimate, standard error and limits from their scale; empty where there are none."""
    names = fits.fitted.shape_names
    if not names:
        return pd.DataFrame()
    found = shape_parameters(fits)
    table = pd.DataFrame({"group": RESPONSE, "term": names})
    endless = np.isinf(found.value)
    if fits.n_sets > 1:
        values = np.where(endless, np.nan, found.value)
        with quiet(PoolingWarning) if endless.any() else nullcontext():
            pooled = pool_transformed(values, found.variance, found.scale, conf_level=conf_level, names=names)
        out = pd.concat([table, transformed_columns(pooled)], axis=1).assign(n_boundary=endless.sum(axis=0))
        if endless.any():
            out.attrs["notes"] = [ENDLESS.format(int(endless.any(axis=1).sum()), fits.n_sets)]
        return out
    phi, error = found.scale.forward(found.value[0]), np.sqrt(found.variance[0])
    half = scipy.special.ndtri((1 + conf_level) / 2) * error
    return table.assign(
        estimate=found.value[0],
        std_error=found.scale.inverse_derivative(phi) * error,
        conf_low=found.scale.inverse(phi - half),
        conf_high=found.scale.inverse(phi + half),
    )


def shape_values(fits: Selection) -> np.ndarray:
    """Estimates of the shape parameters, (K, s)."""
    return shape_parameters(fits).value if fits.fitted.shape_names else np.zeros((fits.n_sets, 0))


def _of_fit(fit: Selection, conf_level: float, scales: Scales) -> pd.DataFrame:
    """Variance parameters of one fit; limits from the log, Fisher-z or (covariances) natural scale."""
    found = variance_parameters(fit)
    table = parameter_labels(fit.fitted, found, scales)
    quantile = scipy.special.ndtri((1 + conf_level) / 2)
    is_sd, sd = found.is_sd, np.sqrt(found.scaled_variance()[0])
    value, error = found.sdcor[0], np.empty(len(table))
    low, high = np.empty(len(table)), np.empty(len(table))
    with np.errstate(divide="ignore", invalid="ignore"):
        for scale, rows in ((LOG, is_sd), (FISHER_Z, ~is_sd)):
            phi = scale.forward(value[rows])
            error[rows] = scale.inverse_derivative(phi) * sd[rows]
            low[rows] = scale.inverse(phi - quantile * sd[rows])
            high[rows] = scale.inverse(phi + quantile * sd[rows])
    if scales == "vcov":
        raw = found.covariance_error()[0]
        value, error = found.vcov[0], raw
        low = np.where(is_sd, low**2, value - quantile * raw)
        high = np.where(is_sd, high**2, value + quantile * raw)
    table["estimate"], table["std_error"] = value, error
    for name, limit in (("conf_low", low), ("conf_high", high)):
        table[name] = np.where(np.isnan(error), np.nan, limit)
    wide = is_sd & (np.nan_to_num(sd) > TOO_WIDE)
    if wide.any():
        table.attrs["notes"] = [WIDE_FIT.format(_named(table, wide), "profile" if fit.fitted.has_profile else "boot")]
    return table


def _named(table: pd.DataFrame, rows: np.ndarray) -> str:
    return ", ".join(f"{group} {term}" for group, term in table.loc[rows, ["group", "term"]].to_numpy())


def _pooled(fits: Selection, conf_level: float, scales: Scales) -> pd.DataFrame:
    """Pool variance parameters on the scale where each is nearest to normal."""
    found = variance_parameters(fits)
    table = parameter_labels(fits.fitted, found, "sdcor")
    # a parameter that is not identified in one imputation is not pooled from the others
    lost = found.lost.any(axis=0)
    variance, is_sd = np.where(lost, np.nan, found.scaled_variance()), found.is_sd
    boundary = found.boundary & ~lost
    names = [f"{group} {term}" for group, term in zip(table["group"], table["term"], strict=True)]
    parts = []
    for scale, rows in ((LOG, is_sd), (FISHER_Z, ~is_sd)):
        if rows.any():
            chosen = [name for name, row in zip(names, rows, strict=True) if row]
            with quiet(PoolingWarning):
                # said below in words that fit: every parameter has its count of imputations in the table
                pooled = pool_transformed(
                    found.sdcor[:, rows], variance[:, rows], scale, conf_level=conf_level, names=chosen
                )
            parts.append(transformed_columns(pooled).set_index(np.flatnonzero(rows)))
    out = pd.concat([table, pd.concat(parts).sort_index()], axis=1)
    if scales == "vcov":
        out = _as_variances(out, fits.fitted, found, conf_level)
    out["mean_sd"] = np.where(is_sd, found.sdcor.mean(axis=0), np.nan)
    out["mean_variance"] = np.where(is_sd, found.vcov.mean(axis=0), np.nan)
    known = ~np.isnan(found.sdcor)
    total = np.where(known, found.sdcor, 0.0).sum(axis=0)
    out["mean_cor"] = np.where(is_sd | ~known.any(axis=0), np.nan, total / np.maximum(known.sum(axis=0), 1))
    out["mean_cov"] = np.where(is_sd, np.nan, found.vcov.mean(axis=0))
    out["n_boundary"] = boundary.sum(axis=0)
    _say_boundary(out, names, boundary, fits)
    near_zero = is_sd & (np.nan_to_num(variance) > NEAR_ZERO**2) & ~boundary
    _say_near_zero(out, names, near_zero, fits)
    wide = is_sd & (out["scaled_se"].to_numpy() > TOO_WIDE)
    # what a warning has named needs no note
    wide &= ~near_zero.any(axis=0)
    if wide.any():
        out.attrs["notes"] = [*out.attrs.get("notes", []), WIDE_POOLED.format(_named(table, wide))]
    return out


def _as_variances(table: pd.DataFrame, fitted: Fitted, found: VarianceParameters, conf_level: float) -> pd.DataFrame:
    """Variances as squares of the pooled SDs; covariances pooled as they are."""
    out, is_sd = table.copy(), found.is_sd
    out["term"] = parameter_labels(fitted, found, "vcov")["term"]
    out["std_error"] = 2 * out["estimate"] * out["std_error"]
    for name in ("estimate", "conf_low", "conf_high"):
        out[name] = out[name] ** 2
    raw = found.covariance_error()
    for j in np.flatnonzero(~is_sd):
        use = ~found.cov_boundary[:, j] & ~found.cov_lost[:, j].any()
        out.loc[j, "scale"] = "identity"
        names = ["estimate", "std_error", "conf_low", "conf_high", "df", "riv", "lambda", "fmi"]
        scaled = ["scaled_estimate", "scaled_se", "ubar", "b", "t"]
        if use.sum() < 2:
            out.loc[j, names + scaled] = np.nan
            continue
        unit = float(raw[use, j].max())
        pool = pool_scalars(
            found.vcov[use, j][:, None] / unit, (raw[use, j][:, None] / unit) ** 2, conf_level=conf_level
        )
        limits = [unit * float(v[0]) for v in (pool.estimate, pool.std_error, pool.conf_low, pool.conf_high)]
        parts = [unit * unit * float(v[0]) for v in (pool.ubar, pool.b, pool.t)]
        out.loc[j, names + scaled] = [
            *limits,
            *(float(v[0]) for v in rubin_columns(pool).values()),
            *limits[:2],
            *parts,
        ]
    return out


def _say_near_zero(table: pd.DataFrame, names: list[str], near_zero: np.ndarray, fits: Selection) -> None:
    """Warn, and note in attrs, which SDs nearly vanish in which imputations: their logarithms rule the pooled ones."""
    labels = [str(label) for label in fits.labels]
    notes = [
        f"{names[j]} (imputation {shortened(labels[int(i)] for i in np.flatnonzero(near_zero[:, j]))})"
        for j in np.flatnonzero(near_zero.any(axis=0))
    ]
    if notes:
        text = (
            "some SDs are all but 0, so that their logarithms make the pooled estimate small and its limits "
            "meaninglessly wide; the column mean_sd has the plain mean, and rx.anova(fits, smaller_fits, method='D4') "
            f"tests the term: {'; '.join(notes)}"
        )
        warn(text, PoolingWarning)
        table.attrs["notes"] = [*table.attrs.get("notes", []), text]


def _say_boundary(table: pd.DataFrame, names: list[str], boundary: np.ndarray, fits: Selection) -> None:
    """Warn, and note in attrs, which imputations are left out of which parameter."""
    notes = []
    for j in np.flatnonzero(boundary.any(axis=0)):
        where = shortened(fits.rows.labels[fits.which[int(i)]] for i in np.flatnonzero(boundary[:, j]))
        notes.append(f"{names[j]}: {boundary[:, j].sum()} of {fits.n_sets} (imputation {where})")
    if notes:
        text = (
            "variance parameters on the boundary (SD 0 or correlation +-1) have no standard error; they are left out "
            "of the pooled estimate and its limits, and kept in the plain means: " + "; ".join(notes)
        )
        warn(text, PoolingWarning)
        table.attrs["notes"] = [*table.attrs.get("notes", []), text]
