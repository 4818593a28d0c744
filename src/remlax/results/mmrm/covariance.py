"""Covariance matrices of the visits as tables, of one fit and pooled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy

from ...errors import PoolingWarning, quiet
from ...fitting.selection import Selection
from ...inference.mmrm.choice import covariance_parameters, mmrm_fitted
from ...pooling import FISHER_Z, LOG, pool_transformed
from ...tables.checks import checks
from ...tables.coefficients import transformed_columns
from ...tables.varcorr import to_correlation


def residual_covariance_frame(fits: Selection, *, correlation: bool = False) -> pd.DataFrame:
    """Covariance or correlation matrix of the visits, means over the data sets; groups below each other."""
    fitted = mmrm_fitted(fits)
    sigmas = fitted.sigmas[fits.index]
    if correlation:
        sigmas = to_correlation(sigmas)[1]
    mean, visits, groups = sigmas.mean(axis=0), list(fitted.visits.names), fitted.visits.groups
    name = fitted.covariance_term.visit
    if not groups:
        index = pd.Index(visits, name=name)
        return pd.DataFrame(mean[0], index=index, columns=pd.Index(visits, name=name))
    rows = pd.MultiIndex.from_product([list(groups), visits], names=[fitted.covariance_term.group, name])
    return pd.DataFrame(mean.reshape(len(rows), -1), index=rows, columns=pd.Index(visits, name=name))


def sd_and_correlation_table(fits: Selection, conf_level: float) -> pd.DataFrame:
    """SDs and correlations with limits from the log and Fisher-z scales; of several fits pooled by Rubin's rules."""
    checks.level(conf_level)
    found = covariance_parameters(fits)
    table = pd.DataFrame(found.labels, columns=["group", "term"])
    is_sd = found.is_sd
    if fits.n_sets > 1:
        return _pooled(fits, table, conf_level)
    estimate, sd = found.sdcor[0], np.sqrt(found.scaled_variance[0])
    quantile = scipy.special.ndtri((1 + conf_level) / 2)
    columns = {name: np.full(len(table), np.nan) for name in ("std_error", "conf_low", "conf_high")}
    for scale, rows in ((LOG, is_sd), (FISHER_Z, ~is_sd)):
        at = scale.forward(estimate[rows])
        columns["std_error"][rows] = scale.inverse_derivative(at) * sd[rows]
        columns["conf_low"][rows] = scale.inverse(at - quantile * sd[rows])
        columns["conf_high"][rows] = scale.inverse(at + quantile * sd[rows])
    return table.assign(estimate=estimate, **columns)


def _pooled(fits: Selection, table: pd.DataFrame, conf_level: float) -> pd.DataFrame:
    found = covariance_parameters(fits)
    parts = []
    for scale, rows in ((LOG, found.is_sd), (FISHER_Z, ~found.is_sd)):
        if rows.any():
            names = [f"{group} {term}" for group, term in table.loc[rows].to_numpy()]
            with quiet(PoolingWarning):  # the table counts the data sets that are left out
                pooled = pool_transformed(
                    found.sdcor[:, rows], found.scaled_variance[:, rows], scale, conf_level=conf_level, names=names
                )
            parts.append(transformed_columns(pooled).set_index(np.flatnonzero(rows)))
    out = pd.concat([table, pd.concat(parts).sort_index()], axis=1)
    out["mean"] = found.sdcor.mean(axis=0)
    return out.assign(n_boundary=len(fits.singular))


def sas_table(fits: Selection) -> pd.DataFrame:
    """Covariance parameters as SAS PROC MIXED prints them, of one fit."""
    found = covariance_parameters(fits)
    groups = [group for group, _ in found.labels]
    out = pd.DataFrame({"group": groups, "term": found.sas_terms, "estimate": found.sas[0]})
    return out.assign(std_error=np.where(np.isnan(found.scaled_variance[0]), np.nan, found.sas_error[0]))
