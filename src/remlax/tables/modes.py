"""Conditional modes, and coefficients plus modes, as tables of one fit and pooled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import scipy

from ..errors import DataError
from ..fitting.selection import Selection
from ..inference.modes import coefficient_of_column, error_variances
from ..pooling import pool_scalars
from .checks import check_level
from .varcorr import factor_columns, factors_in_order, without_effects

Uncertainty = Literal["conditional", "prediction"]


@dataclass(frozen=True)
class FactorModes:
    """Modes of one grouping factor: values (K, levels, q) and the variances of their errors (K, levels, q).

    ``lost`` (q,): columns whose variances are not identified, so that the modes are not either.
    """

    factor: int
    group: str
    levels: np.ndarray
    columns: list[str]
    values: np.ndarray
    variances: np.ndarray
    lost: np.ndarray

    def labels(self) -> dict[str, object]:
        """Label columns of a table with one row per level and column."""
        return {
            "group": self.group,
            "level": np.repeat(self.levels, len(self.columns)),
            "term": np.tile(np.asarray(self.columns, dtype=object), len(self.levels)),
        }


def find_modes(fits: Selection, *, coefficients: bool, uncertainty: Uncertainty) -> Iterator[FactorModes]:
    """Modes of every grouping factor in lme4's order, with the variances that were asked for."""
    if uncertainty not in ("conditional", "prediction"):
        raise DataError(f"uncertainty={uncertainty!r} is not known: use 'conditional' or 'prediction'")
    index = fits.index
    full = (
        error_variances(fits.take(index), coefficients=coefficients)
        if coefficients or uncertainty != "conditional"
        else None
    )
    for f, factor in factors_in_order(fits.fitted):
        modes = fits.fitted.factor_modes[f]
        values = modes.modes[index]
        if coefficients:
            values = values + (fits.fitted.beta[index] @ coefficient_of_column(fits.fitted, f).T)[:, None, :]
        variances = modes.variances[index] if full is None else full[f]
        diagonal = np.diagonal(variances, axis1=2, axis2=3)
        lost = fits.fitted.redundancies.effects(index, f)
        yield FactorModes(f, factor.label, factor.levels, factor_columns(fits.fitted, f), values, diagonal, lost)


def fit_modes(fit: Selection, conf_level: float, *, coefficients: bool, uncertainty: Uncertainty) -> pd.DataFrame:
    """Modes of one fit with their standard errors and normal limits."""
    check_level(conf_level)
    quantile = scipy.stats.norm.ppf((1 + conf_level) / 2)
    parts = []
    for part in find_modes(fit, coefficients=coefficients, uncertainty=uncertainty):
        values, error = part.values[0].reshape(-1), np.sqrt(np.where(part.lost, np.nan, part.variances[0]).reshape(-1))
        columns = {"estimate": values, "std_error": error}
        columns |= {"conf_low": values - quantile * error, "conf_high": values + quantile * error}
        parts.append(pd.DataFrame({**part.labels(), **columns}))
    return pd.concat(parts, ignore_index=True)


def pooled_modes(fits: Selection, conf_level: float, *, coefficients: bool, uncertainty: Uncertainty) -> pd.DataFrame:
    """Pool modes by Rubin's rules: mean, within and between variance, limits; one row per level and column."""
    parts = []
    for part in find_modes(fits, coefficients=coefficients, uncertainty=uncertainty):
        n = fits.n_sets
        pool = pool_scalars(part.values.reshape(n, -1), part.variances.reshape(n, -1), conf_level=conf_level)
        table = pd.DataFrame(
            {
                **part.labels(),
                "estimate": pool.estimate,
                "std_error": pool.std_error,
                "conf_low": pool.conf_low,
                "conf_high": pool.conf_high,
                "df": pool.df,
                "riv": pool.riv,
                "lambda": pool.lambda_,
                "fmi": pool.fmi,
                "ubar": pool.ubar,
                "b": pool.b,
                "t": pool.t,
                "n_present": np.repeat(_present(fits, part.factor), len(part.columns)),
            }
        )
        numbers = table.columns.drop(["group", "level", "term", "estimate", "n_present"])
        table.loc[np.tile(part.lost, len(part.levels)), numbers] = np.nan
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def _present(fits: Selection, factor: int) -> np.ndarray:
    """In how many of the data sets each level has rows."""
    layout = fits.model.layout
    codes = fits.rows.factor_rows[layout.factor_source[factor]]
    size = layout.factors[factor].n_levels
    if codes.offsets is None:
        return np.full(size, fits.n_sets)
    return np.asarray(np.sum([np.bincount(codes.of(k), minlength=size) > 0 for k in fits.which], axis=0))


def fit_ranef(fit: Selection, *, cond_var: bool) -> dict[str, pd.DataFrame]:
    """Conditional modes of one fit, per grouping factor; see ``LmerFit.ranef``."""
    out = {}
    for f, factor in factors_in_order(fit.fitted):
        modes, columns = fit.fitted.factor_modes[f], factor_columns(fit.fitted, f)
        frame = pd.DataFrame(modes.modes[fit.k], index=pd.Index(factor.levels, name=factor.label), columns=columns)
        if cond_var:
            lost = fit.fitted.redundancies.effects(fit.which, f)
            frame.attrs["cond_var"] = without_effects(modes.variances[fit.k], lost)
        out[factor.label] = frame
    return out


def pooled_ranef(fits: Selection, *, cond_var: bool) -> dict[str, pd.DataFrame]:
    """Means of the conditional modes, per grouping factor; see ``PooledLmer.ranef``."""
    out = {}
    for f, factor in factors_in_order(fits.fitted):
        found, columns = fits.fitted.factor_modes[f], factor_columns(fits.fitted, f)
        modes = found.modes[fits.index]
        frame = pd.DataFrame(modes.mean(axis=0), index=pd.Index(factor.levels, name=factor.label), columns=columns)
        if cond_var:
            within = found.variances[fits.index].mean(axis=0)
            centred = modes - modes.mean(axis=0)
            between = np.einsum("kli,klj->lij", centred, centred) / (fits.n_sets - 1)
            lost = fits.fitted.redundancies.effects(fits.which, f)
            total = within + (1 + 1 / fits.n_sets) * between
            for name, part in (("within", within), ("between", between), ("cond_var", total)):
                frame.attrs[name] = without_effects(part, lost)
        out[factor.label] = frame
    return out
