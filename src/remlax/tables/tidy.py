"""Tidy tables of coefficients, variance parameters and modes, and the Monte Carlo error of the pooled ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from ..errors import DataError, PoolingError, PoolingWarning, quiet
from ..fitting.selection import Selection
from ..inference.coefficients import CoefficientInference
from ..pooling import RubinPool, jackknife_error, jackknife_spread
from .coefficients import fit_table, pooled_table, standard_errors
from .modes import Uncertainty, fit_modes, pooled_modes
from .notes import dropped_note
from .variance import Scales, fit_ran_pars, pooled_ran_pars

Effects = Literal["fixed", "ran_pars", "ran_vals", "ran_coefs"]


def fixed_errors(
    terms: Sequence[str], betas: np.ndarray, variances: np.ndarray, dfcom: np.ndarray, conf_level: float
) -> pd.DataFrame:
    """Monte Carlo errors of pooled coefficients, from estimates and variances (K, p)."""
    found = jackknife_error(betas, variances, dfcom=dfcom, conf_level=conf_level)
    names = ("estimate", "std_error", "statistic", "df", "p_value", "conf_low", "conf_high", "riv", "lambda_", "fmi")
    return pd.DataFrame({"term": list(terms), **{name.rstrip("_"): getattr(found, name) for name in names}})


def ran_pars_errors(fits: Selection, conf_level: float) -> pd.DataFrame:
    """Monte Carlo errors of pooled variance parameters: the table without each imputation in turn.

    Raises
    ------
    PoolingError
        Fewer than three imputations.
    """
    if fits.n_sets < 3:
        raise PoolingError("The jackknife over imputations needs at least three of them, and there are two.")
    with quiet(PoolingWarning):
        # the table of all imputations says what is on the boundary
        tables = [
            pooled_ran_pars(fits.take([k for k in fits.which if k != out]), conf_level, "sdcor") for out in fits.which
        ]
    left_out = ["n_used", "n_boundary"]
    numbers = tables[0].select_dtypes("number").columns.drop(left_out)
    without = np.stack([table[numbers].to_numpy().reshape(-1) for table in tables])
    error = jackknife_spread(without).reshape(len(tables[0]), -1)
    return pd.concat([tables[0][["group", "term", "scale"]], pd.DataFrame(error, columns=numbers)], axis=1)


def fit_tidy(
    fit: Selection,
    effects: Effects,
    conf_level: float,
    within: Callable[[], CoefficientInference],
    scales: Scales,
    uncertainty: Uncertainty,
) -> pd.DataFrame:
    """Estimates of one fit; see ``LmerFit.tidy``. ``within`` is asked for only where coefficients are."""
    if effects == "fixed":
        own, names = within(), fit.model.fixed_names
        error = standard_errors(fit, own)
        table = fit_table(names, fit.beta[0], error, own.df(np.eye(len(names)))[0], conf_level)
        table.attrs["notes"] = dropped_note(fit)
        return table
    if effects == "ran_pars":
        return fit_ran_pars(fit, conf_level, scales)
    if effects in ("ran_vals", "ran_coefs"):
        return fit_modes(fit, conf_level, coefficients=effects == "ran_coefs", uncertainty=uncertainty)
    raise DataError(f"effects={effects!r} is not known: use 'fixed', 'ran_pars', 'ran_vals' or 'ran_coefs'")


def pooled_tidy(
    fits: Selection, rubin: RubinPool, effects: Effects, scales: Scales, uncertainty: Uncertainty
) -> pd.DataFrame:
    """Pooled estimates; see ``PooledLmer.tidy``."""
    if effects == "fixed":
        table = pooled_table(fits.model.fixed_names, rubin)
        table.attrs["notes"] = dropped_note(fits)
        return table
    if effects == "ran_pars":
        return pooled_ran_pars(fits, rubin.conf_level, scales)
    if effects in ("ran_vals", "ran_coefs"):
        return pooled_modes(fits, rubin.conf_level, coefficients=effects == "ran_coefs", uncertainty=uncertainty)
    raise DataError(f"effects={effects!r} is not known: use 'fixed', 'ran_pars', 'ran_vals' or 'ran_coefs'")


def monte_carlo_errors(
    fits: Selection, within: CoefficientInference, rubin: RubinPool, effects: Literal["fixed", "ran_pars"]
) -> pd.DataFrame:
    """Monte Carlo errors of pooled numbers; see ``PooledLmer.mcerror``."""
    if effects == "fixed":
        variances = np.diagonal(within.vcov, axis1=1, axis2=2)
        table = fixed_errors(fits.model.fixed_names, fits.beta, variances, rubin.dfcom, rubin.conf_level)
        table.loc[np.isnan(rubin.std_error), list(table.columns[2:])] = np.nan
        return table
    if effects == "ran_pars":
        return ran_pars_errors(fits, rubin.conf_level)
    raise DataError(f"effects={effects!r} is not known: use 'fixed' or 'ran_pars'")
